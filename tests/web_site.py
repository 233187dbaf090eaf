"""A site to test: the starter corpus and a few PubMed citations, one of them hostile, one retracted."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from conftest import make_article

from harvest.record import Author, Correction, Deleted, MeshHeading, OtherAbstract, Section
from kb import serving
from kb.build import build
from kb.store import Store
from kb.tagging import TAGGER_VERSION, tag_many

ROOT = Path(__file__).resolve().parent.parent
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&amp;{{7*7}}"
HOSTILE_ID = 'doi:10.5555/<b>&"x"(1)/y#z?q'


def _sections(*texts: str) -> list[Section]:
    labels = ("BACKGROUND", "METHODS", "RESULTS", "CONCLUSIONS")
    return [Section(text, label, label) for label, text in zip(labels, texts, strict=True)]


def records() -> list[Any]:
    """Citations as a harvest brings them, in our own words."""
    return [
        make_article("900001"),
        make_article(
            "900002",
            title="Ketamine infusion and later stress symptoms: a trial that was withdrawn",
            year=2012,
            published="2012",
            publication_types=["Journal Article", "Randomized Controlled Trial", "Retracted Publication"],
            corrections=[Correction("RetractionIn", "900003", "Notice in J Test. 2013;4:1", "")],
        ),
        make_article(
            "900004",
            title=f"Ketamine {HOSTILE} in depression",
            journal=f"Journal {HOSTILE}",
            year=2026,
            doi="10.5555/hostile.4",
            vernacular_title=HOSTILE,
            keywords=[HOSTILE],
            authors=[Author(last=HOSTILE, initials="A"), Author(collective=f"Group {HOSTILE}")],
            mesh=[MeshHeading(f"Ketamine {HOSTILE}", "D1", True)],
            copyright=f"Copyright {HOSTILE}",
            other_abstracts=[OtherAbstract(HOSTILE, "fre", "Publisher")],
            corrections=[Correction("CommentIn", 'x"><i>', f"Comment {HOSTILE}", HOSTILE)],
            sections=_sections(
                f"Ketamine {HOSTILE} blocks NMDA receptors.",
                f"We randomized 60 adults to ketamine 0.5 mg/kg {HOSTILE} or saline.",
                f"Depression scores fell more with ketamine than with saline within 24 hours {HOSTILE}.",
                f"Ketamine rapidly reduced depressive symptoms {HOSTILE}.",
            ),
        ),
        dataclasses.replace(
            make_article("900007"),
            id=HOSTILE_ID,
            pmid=None,
            doi=HOSTILE_ID[4:],
            title="Ketamine with a strange identifier",
        ),
        make_article(
            "900005",
            title="Effet de la kétamine sur l'état de stress post-traumatique",
            language="fre",
            year=2019,
            sections=[],
            mesh=[],
        ),
        make_article("900006", title="Ketamine study that PubMed no longer lists", year=2020),
    ]


def make_database(path: Path) -> Path:
    """The starter corpus, a PubMed harvest of `records()`, a correction that changed one of them, all tagged."""
    build(path)
    with Store(path) as store:
        store.sync_query("core", term="ketamine[tiab] AND ptsd[tiab]", source="pubmed", purpose="Ketamine and PTSD")
        harvest = store.begin_harvest(
            "pubmed",
            query_id="core",
            term="ketamine[tiab] AND ptsd[tiab]",
            hits=6,
            translation='"ketamine"[tiab] AND "ptsd"[tiab]',
        )
        store.save(records(), harvest)
        store.save(
            [
                make_article(
                    "900001", title="One infusion of ketamine in adults with depression, corrected", version=2
                ),
                Deleted("900006"),
            ],
            harvest,
        )
        store.finish_harvest(harvest, found=6)
        store.retag(tag_many, TAGGER_VERSION)
    return path


class Site:
    """Datasette over a database, asked in-process. `get` and `ask` do not follow redirects."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.loop = asyncio.new_event_loop()
        self.datasette = serving.make_datasette(path, **options)
        self.loop.run_until_complete(self.datasette.invoke_startup())

    def ask(self, method: str, path: str, **options: Any) -> Any:
        return self.loop.run_until_complete(self.datasette.client.request(method, path, **options))

    def get(self, path: str, **options: Any) -> Any:
        return self.ask("GET", path, **options)


@functools.lru_cache(maxsize=1)
def shared_site() -> Site:
    """One site for all tests that only read."""
    folder = Path(tempfile.mkdtemp(prefix="kb-web-"))
    return Site(make_database(folder / "kb.db"))


def start_server(path: Path) -> tuple[subprocess.Popen[str], str]:
    """A real server on a free port of 127.0.0.1, and its address."""
    code = f"from kb import serving; serving.serve({str(path)!r}, port=0, announce=lambda a: print(a, flush=True))"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    line = (process.stdout.readline() if process.stdout else "").strip()
    if not line.startswith("http://127.0.0.1:"):
        process.kill()
        rest = process.stdout.read() if process.stdout else ""
        raise RuntimeError(f"the server did not start: {line} {rest}")
    return process, line.rstrip("/")
