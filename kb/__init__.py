"""Ketamine and PTSD evidence base.

    from kb import open_kb

    with open_kb() as kb:
        for row in kb.evidence(claim="bdnf", stance="contradicts"):
            print(row["year"], row["sentence"])

See kb/notebook.py and docs/python.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kb.notebook import KB, open_kb

__version__ = "0.1.0"
__all__ = ["KB", "__version__", "open_kb"]


def __getattr__(name: str) -> Any:
    # Late, so that the command line and the plugin do not load what they do not use.
    if name in ("KB", "open_kb"):
        from kb import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module 'kb' has no attribute {name!r}")
