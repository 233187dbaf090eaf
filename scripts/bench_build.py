"""`kb build` from nothing and again, beside the floor: a bare interpreter that imports what it needs."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path


def seconds(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


with tempfile.TemporaryDirectory() as folder:
    db = str(Path(folder) / "kb.db")
    floor = seconds(sys.executable, "-c", "import click, sqlite_utils, kb.tagging")
    first = seconds(sys.executable, "-m", "kb.cli", "build", "--db", db)
    again = seconds(sys.executable, "-m", "kb.cli", "build", "--db", db)
print(f"imports alone {floor:.2f} s; build from nothing {first:.2f} s ({first / floor:.1f} times that; the aim is "
      f"under 10 s); build again {again:.2f} s ({again / floor:.1f} times)")
