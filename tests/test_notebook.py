"""`from kb import open_kb`: plain rows, one figure from docs, clear errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import kb
from kb import open_kb
from kb.schema import DatabaseProblem


@pytest.fixture(scope="module")
def base(built: Path):
    with open_kb(built) as base:
        yield base


def test_rows_are_plain_dicts_with_the_columns_of_the_database(base) -> None:
    (row,) = base.articles(["24740528"])
    assert type(row) is dict and row["study_design"] == "rct" and row["year"] == 2014
    evidence = base.evidence(claim="bdnf", stance="contradicts")
    assert evidence and {r["claim"] for r in evidence} == {"bdnf"}
    assert {"sentence", "citation", "article_id", "n", "level"} <= set(evidence[0])
    assert [c["id"] for c in base.claims()][:2] == ["nmda-antagonism", "bdnf"]
    assert {"supports", "contradicts", "mixed", "background"} <= set(base.claims()[0])


def test_selections_narrow_and_agree_with_sql(base) -> None:
    every = base.evidence()
    assert (
        len(every)
        == base.query("SELECT count(*) AS n FROM evidence WHERE retracted = 0 AND deleted IS NULL")[0]["n"]
    )
    rct = base.evidence(design="rct", since=2015)
    assert rct and all(r["design"] == "rct" and r["year"] >= 2015 for r in rct)
    assert {a["study_design"] for a in base.articles(design="animal")} == {"animal"}
    years = [a["year"] or 0 for a in base.articles()]
    assert years == sorted(years, reverse=True)
    assert len(base.articles(str(n) for n in range(2_000))) == 0


def test_retracted_articles_are_left_out_unless_asked_for(database: Path) -> None:
    with kb.open_kb(database) as base:
        before = len(base.evidence()), len(base.articles())
    import sqlite3

    connection = sqlite3.connect(database)
    with connection:
        connection.execute("UPDATE articles SET retracted = 1 WHERE id = '24740528'")
    connection.close()
    with kb.open_kb(database) as base:
        assert len(base.evidence()) < before[0] and len(base.articles()) == before[1] - 1
        assert (len(base.evidence(retracted=True)), len(base.articles(retracted=True))) == before
        assert base.articles(["24740528"])[0]["retracted"] == 1


def test_the_version_stamp_and_exports_are_at_hand(base) -> None:
    assert {"data_version", "tagger_version", "built"} <= set(base.meta)
    assert base.export("ris", ids=["24740528"]).startswith("TY  - JOUR")


def test_what_does_not_exist_is_said(base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown claim 'x': use one of nmda-antagonism"):
        base.evidence(claim="x")
    with pytest.raises(ValueError, match="unknown stance"):
        base.evidence(stance="x")
    monkeypatch.setenv("KB_DB", str(tmp_path / "none.db"))
    with pytest.raises(DatabaseProblem, match="run `kb build"):
        open_kb()


def test_it_only_reads(base) -> None:
    import sqlite3

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        base.query("DELETE FROM tags")


def test_importing_kb_loads_neither_database_nor_web() -> None:
    code = "import sys, kb; print([m for m in ('sqlite_utils', 'datasette', 'lxml') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        kb.nothing  # noqa: B018
