"""`kb harvest` as people run it: into a real database, from the test server and from files, and broken off."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from eutils_server import Citation, EutilsServer, article_set

from harvest import landmarks
from harvest.pubmed import Harvest
from harvest.record import Article
from kb import schema
from kb.cli import main
from kb.harvesting import AnotherHarvest, harvest_lock
from kb.store import Store

ROOT = Path(__file__).resolve().parents[1]
TERM = "ketamine[tiab]"
KEY = "0123456789abcdefsecret"
# The kb command with a wall of 500 in the place of 9,999, so that a small search has several parts.
LOW_WALL = (
    "from harvest.pubmed import Harvest; Harvest.__init__.__kwdefaults__['wall'] = 500; "
    "from kb.cli import main; main(prog_name='kb')"
)


def studies(*numbers: int, **values: Any) -> list[Citation]:
    return [
        Citation(
            str(n),
            title=f"Ketamine study number {n} of this kind.",
            abstract=f"Ketamine eased symptoms in study {n}.",
            doi=f"10.5555/cli.{n}",
            **values,
        )
        for n in numbers
    ]


@pytest.fixture
def server() -> Iterator[EutilsServer]:
    with EutilsServer(studies(*range(900_001, 900_031), created="2024-01-01", revised="2024-01-01")) as running:
        yield running


def kb(*arguments: object, **environment: str) -> Result:
    return CliRunner(
        env={"KB_DB": None, "KB_EUTILS_URL": None, "NCBI_API_KEY": None, "KB_EMAIL": None, **environment}
    ).invoke(main, [str(a) for a in arguments])


def pubmed(server: EutilsServer, db: Path, *more: object) -> Result:
    arguments = [] if any(str(m).startswith("--term") for m in more) else ["--term", TERM]
    return kb("harvest", "pubmed", "--base-url", server.url, "--rate", 1000, "--db", db, *arguments, *more)


def rows(db: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(db)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def whole(db: Path) -> None:
    """The database is sound: SQLite's own check, foreign keys, full-text indexes."""
    assert rows(db, "PRAGMA integrity_check") == [("ok",)]
    assert rows(db, "PRAGMA foreign_key_check") == []
    with Store(db) as store:
        assert schema.full_text_problems(store.db) == []


# ---------------------------------------------------------------- over HTTP


def test_a_harvest_and_what_it_leaves_behind(server: EutilsServer, database: Path) -> None:
    before = rows(database, "SELECT count(*) FROM articles")[0][0]
    result = pubmed(server, database)
    assert result.exit_code == 0, result.output
    assert "30 new" in result.stdout and "kb tag" in result.stdout
    assert rows(database, "SELECT count(*) FROM articles")[0][0] == before + 30
    (run,) = rows(
        database,
        "SELECT term, translation, status, hits, found, new, missing, requests, software_version "
        "FROM harvests WHERE source = 'pubmed'",
    )
    assert run[:7] == (TERM, TERM, "done", 30, 30, 30, 0) and run[7] == len(server.log) and run[8]
    assert rows(database, "SELECT term, purpose FROM queries WHERE source = 'pubmed'") == [
        (TERM, "Asked for with --term")
    ]
    assert rows(
        database,
        "SELECT count(*) FROM harvest_hits h JOIN harvests v ON v.id = h.harvest_id WHERE v.source = 'pubmed'",
    ) == [(30,)]
    assert rows(database, "SELECT part, expected, found FROM harvest_slices") == [("1:99999999", 30, 30)]
    whole(database)


def test_json_for_programs(server: EutilsServer, database: Path) -> None:
    result = pubmed(server, database, "--json", "--limit", 7)
    answer = json.loads(result.stdout)
    assert result.exit_code == 0 and answer["status"] == "done"
    assert {k: answer[k] for k in ("found", "new", "changed", "unchanged", "deleted", "quarantined", "missing")} == {
        "found": 7,
        "new": 7,
        "changed": 0,
        "unchanged": 0,
        "deleted": 0,
        "quarantined": 0,
        "missing": 0,
    }
    assert {"requests", "retries", "seconds", "to_tag", "queries"} <= answer.keys()
    assert answer["queries"][0]["term"] == TERM


def test_the_second_run_brings_revisions_deletions_and_retractions(server: EutilsServer, database: Path) -> None:
    pubmed(server, database)
    asked = len(server.log)
    assert "0 found" in pubmed(server, database).stdout
    assert not [1 for u, _ in server.log[asked:] if u == "efetch"]
    server.records["900005"].corrections = [("RetractionIn", "J Made Up. 2026;1:1", "")]
    server.records["900005"].types.append(("D016441", "Retracted Publication"))
    server.records["900005"].revised = "2099-01-01"
    server.remove("900006")
    server.records["900007"].title = "No longer about it."
    server.records["900007"].abstract = ""
    server.add(*studies(900_050, created="2099-01-01"))
    result = pubmed(server, database, "--json")
    answer = json.loads(result.stdout)
    assert (answer["new"], answer["deleted"], answer["left"]) == (1, 1, 1) and answer["changed"] >= 1
    assert answer["queries"][0]["mode"] == "update"
    assert rows(database, "SELECT retracted, retraction_note FROM articles WHERE id = '900005'") == [
        (1, "J Made Up. 2026;1:1")
    ]
    assert rows(database, "SELECT kind, citation FROM corrections WHERE article_id = '900005'") == [
        ("RetractionIn", "J Made Up. 2026;1:1")
    ]
    changed = rows(
        database, "SELECT field, old, new FROM changes WHERE article_id = '900005' AND harvest_id IS NOT NULL"
    )
    assert ("retracted", "0", "1") in changed
    assert rows(database, "SELECT deleted IS NOT NULL FROM articles WHERE id = '900006'") == [(1,)]
    assert rows(database, "SELECT title FROM articles WHERE id = '900007'") == [("No longer about it.",)]
    assert rows(database, "SELECT article_id FROM harvest_hits WHERE outcome = 'left' ORDER BY 1") == [
        ("900006",),
        ("900007",),
    ]
    whole(database)


def test_a_retraction_drops_out_of_every_count_the_next_moment(server: EutilsServer, database: Path) -> None:
    citation = server.records["900001"]
    citation.title = "Ketamine for depression: a randomized trial."
    citation.abstract = (
        "We randomized 60 adults with depression to ketamine or midazolam. Depression scores fell "
        "significantly more with ketamine than with midazolam at 24 hours. Ketamine rapidly reduced "
        "depressive symptoms."
    )
    assert pubmed(server, database).exit_code == 0 and kb("tag", "--db", database).exit_code == 0

    def supports() -> int:
        return int(rows(database, "SELECT supports FROM claim_summary WHERE claim = 'antidepressant-effect'")[0][0])

    counted = supports()
    assert rows(
        database, "SELECT stance FROM tags WHERE article_id = '900001' AND claim_id = 'antidepressant-effect'"
    )
    citation.types = [("D016428", "Journal Article"), ("D016441", "Retracted Publication")]
    citation.revised = "2099-01-01"
    assert pubmed(server, database).exit_code == 0
    assert supports() == counted - 1


@pytest.mark.parametrize("by", ["pmid", "doi", "title"])
def test_a_harvest_takes_over_a_landmark_study(database: Path, tmp_path: Path, by: str) -> None:
    """PubMed's record replaces our summary; our reviewers' labels stay with the article, under its PMID."""
    landmark = next(
        a
        for a in landmarks.articles()
        if isinstance(a, Article) and a.pmid and a.doi and len(a.title) > 40 and a.landmark and a.landmark.labels
    )
    old = landmark.id
    if by != "pmid":  # as if it had come to us without a PMID
        with Store(database) as store, store.transaction() as c:
            c.execute(
                "UPDATE articles SET id = ?, pmid = NULL, doi = ? WHERE id = ?",
                ("doi:" + landmark.doi, landmark.doi if by == "doi" else None, landmark.id),
            )
        old = "doi:" + str(landmark.doi)
    labels = rows(database, "SELECT claim_id, stance FROM reviews WHERE article_id = ? ORDER BY 1", old)
    record = Citation(
        str(landmark.pmid),
        title=landmark.title,
        published=f"{landmark.year}-05-01",
        doi=str(landmark.doi) if by == "doi" else "",
        abstract="Ketamine was given. This text stands for the abstract that PubMed holds.",
    )
    with EutilsServer([record]) as server:
        result = pubmed(server, database)
    assert result.exit_code == 0 and "0 new, 1 changed" in result.stdout
    assert rows(database, "SELECT id, abstract_origin, source FROM articles WHERE pmid = ?", landmark.pmid) == [
        (landmark.pmid, "publisher", "pubmed")
    ]
    assert (
        labels
        and rows(database, "SELECT claim_id, stance FROM reviews WHERE article_id = ? ORDER BY 1", landmark.pmid)
        == labels
    )
    assert by == "pmid" or rows(database, "SELECT count(*) FROM articles WHERE id = ?", old) == [(0,)]
    whole(database)


def test_named_searches_credit_the_articles_they_find(server: EutilsServer, database: Path) -> None:
    server.records["900001"].abstract = "Ketamine raised BDNF."
    result = kb(
        "harvest", "pubmed", "bdnf", "psychotherapy", "--base-url", server.url, "--rate", 1000, "--db", database
    )
    assert result.exit_code == 0, result.output
    found = rows(
        database,
        "SELECT v.query_id, h.article_id FROM harvest_hits h JOIN harvests v ON v.id = h.harvest_id "
        "WHERE v.source = 'pubmed'",
    )
    assert found == [("bdnf", "900001")] and "In all:" in result.stdout
    assert (
        len(rows(database, "SELECT purpose FROM queries WHERE id IN ('bdnf', 'psychotherapy') AND purpose <> ''"))
        == 2
    )


def test_a_database_that_is_not_there_yet_is_built(server: EutilsServer, tmp_path: Path) -> None:
    path = tmp_path / "sub" / "new.db"
    assert pubmed(server, path).exit_code == 0
    assert rows(path, "SELECT count(*) FROM articles WHERE source = 'pubmed'") == [(30,)]
    assert rows(path, "SELECT count(*) FROM claims")[0][0] >= 14


def test_the_key_is_nowhere_to_be_read(server: EutilsServer, database: Path) -> None:
    server.keys = {"another"}
    refused = kb(
        "harvest",
        "pubmed",
        "--term",
        TERM,
        "--base-url",
        server.url,
        "--db",
        database,
        "--email",
        "someone@example.org",
        NCBI_API_KEY=KEY,
    )
    assert refused.exit_code == 1 and "API key" in refused.stderr and KEY not in refused.output
    server.keys = {KEY}
    done = pubmed(server, database, "--api-key", KEY)
    assert done.exit_code == 0 and KEY not in done.output
    assert all(KEY not in url for url in server.urls)
    for path in database.parent.glob("kb.db*"):
        assert KEY.encode() not in path.read_bytes()


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--term", ""], "empty"),
        (["--term", "(ketamine"], "parentheses"),
        (["--term", "ketamine", "bdnf"], "not both"),
        (["nonsense"], "no search named nonsense"),
        (["--since", "yesterday"], "no date"),
        (["--until", "2024-02-30"], "date"),
        (["--since", "2025", "--until", "2024"], "after --until"),
        (["--limit", "0"], "limit"),
        (["--limit", "x"], "limit"),
        (["--base-url", "nowhere"], "base URL"),
        (["--email", "nobody"], "e-mail"),
        (["--api-key", "a b"], "API key"),
        (["--rate", "0"], "rate"),
    ],
)
def test_wrong_use_is_one_clear_line_and_status_2(database: Path, arguments: list[str], words: str) -> None:
    content = database.read_bytes()
    result = kb("harvest", "pubmed", *arguments, "--db", database)
    assert result.exit_code == 2 and words in result.stderr and "Traceback" not in result.output
    assert database.read_bytes() == content


def test_a_server_that_is_none_or_not_there(server: EutilsServer, database: Path) -> None:
    wrong = kb(
        "harvest", "pubmed", "--term", TERM, "--base-url", server.url.replace("entrez", "wiki"), "--db", database
    )
    assert wrong.exit_code == 1 and "--base-url" in wrong.output and wrong.output.count("\n") <= 6
    assert rows(database, "SELECT count(*) FROM harvests WHERE source = 'pubmed'") == [(0,)]


def test_a_dropped_phrase_and_the_leave_for_it(server: EutilsServer, database: Path) -> None:
    server.unknown_phrases = {"qwxyz"}
    term = ("--term", "ketamine[tiab] AND qwxyz[tiab]")
    result = pubmed(server, database, *term)
    assert result.exit_code == 1 and "qwxyz" in result.output and "--allow-dropped" in result.output
    assert rows(database, "SELECT count(*) FROM articles WHERE source = 'pubmed'") == [(0,)]
    assert pubmed(server, database, *term, "--allow-dropped").exit_code == 0
    assert "qwxyz" in rows(database, "SELECT warnings FROM harvests WHERE source = 'pubmed'")[0][0]


def test_what_is_missing_is_named_and_ends_with_status_1(server: EutilsServer, database: Path) -> None:
    server.withheld["900009"] = 99
    result = pubmed(server, database)
    assert result.exit_code == 1 and "900009" in result.stdout and "1 missing" in result.stdout
    assert rows(database, "SELECT status, missing FROM harvests WHERE source = 'pubmed'") == [("incomplete", 1)]
    server.withheld.clear()
    assert "1 new" in pubmed(server, database).stdout


def test_a_block_says_what_to_do(server: EutilsServer, database: Path) -> None:
    server.fail("esearch", "19")
    result = pubmed(server, database)
    assert result.exit_code == 1 and "blocked this address" in result.stderr
    assert "eutilities@ncbi.nlm.nih.gov" in result.stderr


def test_a_cut_connection_keeps_what_came_and_the_next_run_goes_on(
    server: EutilsServer, tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harvest import eutils

    server.add(*studies(*range(901_001, 901_600)))
    quick = eutils.Patience(tries=2, first=2, base=0.001, cap=0.01)
    monkeypatch.setattr(eutils, "Patience", lambda: quick)
    served: list[int] = []
    server.fail("efetch", "21-cut", times=9999, when=lambda p: bool(served.append(1)) or len(served) > 1)
    broken = pubmed(server, database)
    assert broken.exit_code == 1 and "the same command goes on" in broken.stderr
    kept = rows(database, "SELECT count(*) FROM articles WHERE source = 'pubmed'")[0][0]
    assert 0 < kept < 629
    assert rows(database, "SELECT status FROM harvests WHERE source = 'pubmed'") == [("failed",)]
    whole(database)
    server._faults.clear()
    result = pubmed(server, database)
    assert result.exit_code == 0 and f"{629 - kept} new" in result.stdout
    assert rows(database, "SELECT status, found, new FROM harvests WHERE source = 'pubmed'") == [("done", 629, 629)]


def test_kill_9_at_any_moment_loses_nothing(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    citations = studies(*range(910_001, 912_001))
    with EutilsServer(citations, latency=0.05, wall=500) as server:
        command = [
            sys.executable,
            "-c",
            LOW_WALL,
            "harvest",
            "pubmed",
            "--term",
            TERM,
            "--base-url",
            server.url,
            "--rate",
            "30",
            "--db",
            str(database),
        ]
        for after in (250, 900):
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            deadline = time.monotonic() + 40
            while time.monotonic() < deadline and process.poll() is None:
                if rows(database, "SELECT count(*) FROM articles WHERE source = 'pubmed'")[0][0] >= after:
                    break
                time.sleep(0.02)
            assert process.poll() is None, "it was to be killed in the middle of its work"
            process.send_signal(signal.SIGKILL)
            process.wait()
            kept = rows(database, "SELECT count(*) FROM articles WHERE source = 'pubmed'")[0][0]
            assert after <= kept < 2000 and rows(database, "PRAGMA integrity_check") == [("ok",)]
        finished = rows(database, "SELECT part FROM harvest_slices WHERE finished IS NOT NULL")
        before = len(server.log)
        server.latency = 0
        monkeypatch.setitem(Harvest.__init__.__kwdefaults__, "wall", 500)
        result = pubmed(server, database)
        assert result.exit_code == 0, result.output
        assert f"{2000 - kept:,} new" in result.stdout
        again = [p["term"] for u, p in server.log[before:] if u == "esearch" and p.get("usehistory")]
        assert finished and not any(f"{part}[UID]" in term for (part,) in finished for term in again)
    assert rows(database, "SELECT count(*) FROM articles WHERE source = 'pubmed'") == [(2000,)]
    assert rows(database, "SELECT status, found FROM harvests WHERE source = 'pubmed'") == [("done", 2000)]
    whole(database)


def test_two_harvests_at_once(server: EutilsServer, database: Path) -> None:
    with harvest_lock(database):
        result = pubmed(server, database)
        assert result.exit_code == 1 and "another harvest" in result.stderr and str(os.getpid()) in result.stderr
        with pytest.raises(AnotherHarvest):
            with harvest_lock(database):
                pass
    assert server.log == []
    assert pubmed(server, database).exit_code == 0  # the lock went with its holder


def test_a_full_disk(server: EutilsServer, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add(
        *(
            Citation(str(n), title=f"Ketamine {n}.", abstract=f"Words of many kinds {n}. " * 60)
            for n in range(902_001, 902_900)
        )
    )
    real = Store.__init__

    def small(self: Store, *args: Any, **options: Any) -> None:
        real(self, *args, **options)
        pages = self.connection.execute("PRAGMA page_count").fetchone()[0]
        self.connection.execute(f"PRAGMA max_page_count = {pages + 300}")

    monkeypatch.setattr(Store, "__init__", small)
    result = pubmed(server, database)
    assert result.exit_code == 1 and "disk is full" in result.stderr and "Traceback" not in result.output
    monkeypatch.setattr(Store, "__init__", real)
    kept = rows(database, "SELECT count(*) FROM articles WHERE source = 'pubmed'")[0][0]
    assert 0 < kept < 929
    whole(database)
    result = pubmed(server, database)
    assert result.exit_code == 0 and f"{929 - kept} new" in result.stdout


def test_a_database_that_cannot_be_used(server: EutilsServer, tmp_path: Path) -> None:
    junk = tmp_path / "junk.db"
    junk.write_bytes(b"this is no database, but long enough to look at" * 100)
    result = pubmed(server, junk)
    assert result.exit_code == 1 and "not a SQLite database" in result.stderr
    assert pubmed(server, tmp_path).exit_code == 1


# ---------------------------------------------------------------- files


def write(path: Path, citations: list[Any]) -> Path:
    path.write_bytes(gzip.compress(article_set(citations).encode()))
    return path


def files(db: Path, *paths: object) -> Result:
    return kb("harvest", "files", *paths, "--db", db)


def test_files_with_and_without_the_filter(database: Path, tmp_path: Path) -> None:
    write(tmp_path / "pubmed26n0001.xml.gz", [*studies(900_001), Citation("900100", title="Penguins on ice.")])
    result = files(database, tmp_path / "pubmed26n0001.xml.gz")
    assert result.exit_code == 0 and "2 citations seen, 1 found, 1 new" in result.stdout
    assert "1 known already" in files(database, tmp_path / "pubmed26n0001.xml.gz").stdout
    everything = kb("harvest", "files", tmp_path, "--all", "--json", "--db", database)
    answer = json.loads(everything.stdout)
    assert (answer["read"], answer["new"], answer["unchanged"]) == (2, 1, 1)
    assert rows(database, "SELECT count(*) FROM articles_fts WHERE articles_fts MATCH 'penguins'") == [(1,)]
    assert "1 known already" in files(database, tmp_path).stdout  # --all includes what the filter keeps
    assert rows(database, "SELECT source, status, found FROM harvests WHERE source = 'pubmed-files'") == [
        ("pubmed-files", "done", 1),
        ("pubmed-files", "done", 2),
    ]
    whole(database)


def test_update_files_in_their_order_with_deletions(database: Path, tmp_path: Path) -> None:
    old, new = studies(900_001, revised="2024-01-01")[0], studies(900_001, revised="2025-06-01")[0]
    new.title = "Ketamine study with a corrected title."
    write(tmp_path / "pubmed26n0002.xml.gz", [new, "<DeleteCitation><PMID>900002</PMID></DeleteCitation>"])
    write(tmp_path / "pubmed26n0001.xml.gz", [old, *studies(900_002, 900_003)])
    result = files(database, tmp_path)
    assert result.exit_code == 0 and "1 changed" in result.stdout and "1 withdrawn" in result.stdout
    assert rows(database, "SELECT title FROM articles WHERE id = '900001'") == [(new.title,)]
    assert rows(database, "SELECT id FROM articles WHERE deleted IS NOT NULL") == [("900002",)]
    write(tmp_path / "pubmed26n0003.xml.gz", studies(900_002, revised="2025-09-01"))
    files(database, tmp_path)
    assert rows(database, "SELECT id FROM articles WHERE deleted IS NOT NULL") == []  # a later file brought it back
    whole(database)


def test_an_older_file_read_late_changes_nothing_that_is_newer(database: Path, tmp_path: Path) -> None:
    new = studies(900_001, revised="2025-06-01")[0]
    new.title = "Ketamine study with a corrected title."
    write(tmp_path / "pubmed26n0005.xml.gz", [new, *studies(900_002)])
    write(tmp_path / "pubmed26n0006.xml.gz", ["<DeleteCitation><PMID>900002</PMID></DeleteCitation>"])
    files(database, tmp_path)
    late = write(tmp_path / "pubmed26n0001.xml.gz", studies(900_001, 900_002, 900_003, revised="2024-01-01"))
    result = files(database, late)
    assert "older than a file read before" in result.stdout and "1 new" in result.stdout
    assert rows(database, "SELECT title FROM articles WHERE id = '900001'") == [(new.title,)]
    assert rows(database, "SELECT id FROM articles WHERE deleted IS NOT NULL") == [("900002",)]


def test_a_damaged_file_leaves_nothing_and_the_others_go_in(database: Path, tmp_path: Path) -> None:
    whole_file = write(tmp_path / "pubmed26n0001.xml.gz", studies(900_001))
    cut = tmp_path / "pubmed26n0002.xml"
    cut.write_text(article_set(studies(900_002, 900_003))[:-200])
    wrong = write(tmp_path / "pubmed26n0003.xml.gz", studies(900_004))
    (tmp_path / "pubmed26n0003.xml.gz.md5").write_text("MD5(pubmed26n0003.xml.gz)= " + "0" * 32)
    (tmp_path / "page.xml").write_text("<!DOCTYPE html><html></html>")
    result = files(database, tmp_path)
    assert result.exit_code == 1 and "Traceback" not in result.output
    for name in (cut.name, wrong.name, "page.xml"):
        assert name in result.stderr
    assert rows(database, "SELECT id FROM articles WHERE source = 'pubmed-files'") == [("900001",)]
    assert rows(database, "SELECT status FROM harvests WHERE source = 'pubmed-files'") == [("incomplete",)]
    (tmp_path / "pubmed26n0003.xml.gz.md5").write_text(hashlib.md5(wrong.read_bytes()).hexdigest())
    cut.write_text(article_set(studies(900_002, 900_003)))
    (tmp_path / "page.xml").unlink()
    result = files(database, tmp_path)
    assert result.exit_code == 0 and "1 known already" in result.stdout and "3 new" in result.stdout
    assert whole_file.exists()
    whole(database)


def test_a_bad_record_in_a_good_file_is_set_aside(database: Path, tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.xml.gz",
        [*studies(900_001), "<PubmedArticle>ketamine <PMID>900002</PMID></PubmedArticle>", *studies(900_003)],
    )
    result = files(database, path)
    assert result.exit_code == 0 and "1 unreadable, set aside" in result.stdout
    assert rows(database, "SELECT record_id, reason FROM quarantine") == [("900002", "it has no MedlineCitation")]


def test_no_such_file_is_wrong_use(database: Path, tmp_path: Path) -> None:
    result = files(database, tmp_path / "missing.xml.gz")
    assert result.exit_code == 2 and "no such file" in result.stderr


def test_a_file_of_several_batches_goes_in_whole(database: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml.gz", studies(*range(900_001, 902_301)))
    result = kb("harvest", "files", path, "--all", "--db", database)
    assert result.exit_code == 0 and "2,300 new" in result.stdout
    assert rows(
        database, "SELECT count(*) FROM articles_fts WHERE articles_fts MATCH '\"ketamine study number\"'"
    ) == [(2300,)]
    assert rows(database, "SELECT name FROM sqlite_master WHERE name = 'articles_ai'") == [("articles_ai",)]
    whole(database)


def test_a_file_that_breaks_off_in_the_middle_of_storing_leaves_nothing(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.xml.gz", studies(*range(900_001, 901_501)))
    real, calls = Store.save, []

    def save(self: Store, *args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            raise sqlite3.OperationalError("database or disk is full")
        return real(self, *args, **options)

    monkeypatch.setattr(Store, "save", save)
    result = kb("harvest", "files", path, "--all", "--db", database)
    assert result.exit_code == 1 and "disk is full" in result.stderr
    monkeypatch.setattr(Store, "save", real)
    assert rows(database, "SELECT count(*) FROM articles WHERE source = 'pubmed-files'") == [(0,)]
    whole(database)
    assert "1,500 new" in kb("harvest", "files", path, "--all", "--db", database).stdout
