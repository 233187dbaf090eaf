"""What a newcomer runs: the wheel installed elsewhere, and the two scripts when something is missing."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import urllib.request

import pytest
from conftest import ROOT

SOURCE = shutil.ignore_patterns(".git", ".venv", "*.egg-info", "__pycache__", "build", "node_modules", "*.db*",
                                ".pytest_cache", ".hypothesis")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """The project as a wheel, unpacked where no checkout is near."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=SOURCE)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", folder / "dist", folder / "source"], check=True, timeout=240)
    shutil.rmtree(folder / "source")
    wheel, = (folder / "dist").glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True, timeout=120)
    return folder


def environment(folder):
    return {**os.environ, "PYTHONPATH": str(folder / "site"), "PYTHONUNBUFFERED": "1"}


def test_the_wheel_builds_a_database_and_serves_a_page(elsewhere, tmp_path):
    kb = [sys.executable, "-m", "kb.cli"]
    where = subprocess.run([sys.executable, "-c", "import kb; print(kb.__file__)"], cwd=tmp_path,
                           env=environment(elsewhere), capture_output=True, text=True, check=True).stdout
    assert str(elsewhere) in where
    built = subprocess.run([*kb, "build", "--db", "kb.db"], cwd=tmp_path, env=environment(elsewhere),
                           capture_output=True, text=True, timeout=60)
    assert built.returncode == 0 and "200 new" in built.stdout, built.stderr
    server = subprocess.Popen([*kb, "serve", "--db", "kb.db", "--port", "0"], cwd=tmp_path, text=True,
                              env=environment(elsewhere), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        lines = []
        for line in server.stdout:
            lines.append(line)
            address = re.search(r"http://127\.0\.0\.1:\d+/", line)
            if address:
                break
        else:
            pytest.fail("no address was printed: " + "".join(lines))
        for path in ("", "claims/nmda-antagonism", "articles/24740528", "kb/evidence", "static/kb.css"):
            if path == "static/kb.css":
                home = urllib.request.urlopen(address[0], timeout=30).read().decode()
                path = re.search(r'href="/?([^"]+\.css[^"]*)"', home)[1]
            with urllib.request.urlopen(address[0] + path, timeout=30) as response:
                assert response.status == 200 and len(response.read()) > 500, path
        # metadata.json came along: its ready queries are there
        assert len(json.load(urllib.request.urlopen(address[0] + "kb.json", timeout=30))["queries"]) >= 12
    finally:
        server.terminate()
        server.wait(timeout=20)
        server.stdout.close()


def fake(folder, name, body):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def script(tmp_path, name, *args, **env):
    """Run a script of a bare copy (no .venv) and give its status and what it said."""
    copy = tmp_path / "copy"
    (copy / "scripts").mkdir(parents=True)
    for path in ("scripts/run", "scripts/test", "scripts/venv.sh", "setup.cfg", "pyproject.toml"):
        shutil.copy2(ROOT / path, copy / path)
    (copy / "kb").mkdir()
    shutil.copy2(ROOT / "kb/__init__.py", copy / "kb/__init__.py")
    result = subprocess.run([copy / "scripts" / name, *args], capture_output=True, text=True, timeout=120,
                            env={**os.environ, **env})
    return result.returncode, result.stderr


PYTHONS = ("python3", "python3.11", "python3.12", "python3.13", "python3.14")


@pytest.mark.parametrize("name", ["run", "test"])
def test_python_too_old(tmp_path, name):
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for python in PYTHONS:
        fake(bin_, python, 'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac')
    status, said = script(tmp_path, name, PATH=f"{bin_}:/usr/bin:/bin", PYTHON="")
    assert status == 1 and said.count("\n") == 1
    assert "Python 3.11 or newer is needed (found: Python 3.9.2)" in said


def test_python3_venv_missing(tmp_path):
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    fake(bin_, "python3", 'case "$1" in -m) echo "ensurepip is not available." >&2; exit 1;; *) exit 0;; esac')
    status, said = script(tmp_path, "run", PATH=f"{bin_}:/usr/bin:/bin", PYTHON="")
    assert status == 1 and said.count("\n") == 1 and "apt-get install python3-venv" in said
    assert not (tmp_path / "copy" / ".venv").exists()


def test_pip_fails(tmp_path):
    status, said = script(tmp_path, "run", PYTHON=sys.executable, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert status == 1 and "pip could not install" in said.splitlines()[-1] and "Traceback" not in said


def test_run_says_how_it_is_used(tmp_path):
    status, said = script(tmp_path, "run", "--help")
    assert status == 0 and said == ""


@pytest.mark.skipif(not (ROOT / ".venv/bin/kb").exists(), reason="no .venv: run the tests through scripts/test")
def test_run_serves_stops_cleanly_and_loses_nothing(tmp_path):
    env = {**os.environ, "KB_DB": str(tmp_path / "kb.db"), "PYTHONUNBUFFERED": "1"}
    for turn in ("200 new", "200 unchanged"):
        server = subprocess.Popen([ROOT / "scripts/run", "--port", "0"], env=env, text=True, start_new_session=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        lines = []
        try:
            for line in server.stdout:
                lines.append(line)
                address = re.search(r"http://127\.0\.0\.1:\d+/", line)
                if address:
                    break
            else:
                pytest.fail("no address was printed: " + "".join(lines))
            assert turn in "".join(lines)
            assert urllib.request.urlopen(address[0], timeout=30).status == 200
            port = address[0].rstrip("/").rpartition(":")[2]
            taken = subprocess.run([ROOT / "scripts/run", "--port", port], env=env, capture_output=True, text=True,
                                   timeout=60)
            assert taken.returncode == 1 and "Traceback" not in taken.stderr
            assert port in taken.stderr and "--port" in taken.stderr
        finally:
            os.killpg(server.pid, signal.SIGINT)  # what Ctrl-C sends
            rest, _ = server.communicate(timeout=20)
        assert server.returncode in (0, 130) and "Traceback" not in rest, rest
