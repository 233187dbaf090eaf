"""Downloads from the pages: addresses, links, whole tables, and what is said when there is nothing."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import bibtexparser
import httpx
import pytest
import rispy
from Bio import Medline

from kb import serving
from kb.export import FORMATS, ExportProblem
from kb.web.exports import Budget, Source


@pytest.fixture(scope="module")
def datasette(built: Path):
    return serving.make_datasette(built)


def get(datasette, path: str) -> httpx.Response:
    async def request() -> httpx.Response:
        await datasette.invoke_startup()
        return await datasette.client.get(path)

    return asyncio.run(request())


def count(built: Path, sql: str) -> int:
    with closing(sqlite3.connect(built)) as connection:
        return connection.execute(sql).fetchone()[0]


def number_in(extension: str, text: str) -> int:
    if extension == "csv":
        return len({row["article_id"] for row in csv.DictReader(io.StringIO(text, newline=""))})
    return {
        "ris": lambda: len(rispy.loads(text)),
        "bib": lambda: len(bibtexparser.parse_string(text).entries),
        "nbib": lambda: len(list(Medline.parse(io.StringIO(text)))),
        "csl.json": lambda: len(json.loads(text)),
    }[extension]()


@pytest.mark.parametrize("extension", [f.extension for f in FORMATS.values()])
@pytest.mark.parametrize(
    ("path", "sql"),
    [
        ("/claims/bdnf.{}", "SELECT count(*) FROM tags WHERE claim_id = 'bdnf'"),
        (
            "/claims/bdnf.{}?stance=contradicts",
            "SELECT count(*) FROM tags WHERE claim_id = 'bdnf' AND stance = 'contradicts'",
        ),
        ("/articles/24740528.{}", "SELECT 1"),
        ("/search.{}?q=24740528", "SELECT 1"),
        (
            "/search.{}?claim=bdnf&stance=supports",
            "SELECT count(*) FROM tags WHERE claim_id = 'bdnf' AND stance = 'supports'",
        ),
    ],
)
def test_a_download_holds_what_the_page_counts(datasette, built, path: str, sql: str, extension: str) -> None:
    response = get(datasette, path.format(extension))
    assert response.status_code == 200
    assert number_in(extension, response.text) == count(built, sql)
    assert re.fullmatch(
        rf'attachment; filename="[a-z0-9-]+\.{re.escape(extension)}"', response.headers["content-disposition"]
    )


def test_a_search_download_has_all_pages_of_the_search(datasette) -> None:
    total = get(datasette, "/search.json?q=ketamine+depression").json()["total"]
    assert total > 20  # more than a page shows
    assert number_in("ris", get(datasette, "/search.ris?q=ketamine+depression").text) == total


def test_the_note_of_a_filtered_search_holds_the_claim_that_was_asked_for(datasette) -> None:
    notes = [n for e in rispy.loads(get(datasette, "/search.ris?claim=bdnf").text) for n in e["notes"]]
    assert notes and not any(re.search(r"Claim (?!bdnf)", note) for note in notes)


def test_an_article_known_by_its_doi_has_its_address_too(datasette, built) -> None:
    with closing(sqlite3.connect(built)) as connection:
        row = connection.execute("SELECT id FROM articles WHERE id LIKE 'doi:%' LIMIT 1").fetchone()
    if row is None:
        pytest.skip("the starter corpus has no article that is known by its DOI alone")
    page = get(datasette, f"/articles/{row[0]}").text
    (link,) = re.findall(r'href="(/articles/[^"]+\.ris)"', page)
    assert number_in("ris", get(datasette, link).text) == 1


@pytest.mark.parametrize("page", ["/claims/bdnf", "/articles/24740528", "/search?q=ketamine"])
def test_the_pages_link_to_their_downloads(datasette, page: str) -> None:
    links = re.findall(r'href="([^"]+\.(?:ris|bib|nbib|csl\.json)(?:\?[^"]*)?)"', get(datasette, page).text)
    assert {re.search(r"\.(ris|bib|nbib|csl\.json)", link)[1] for link in links} == {
        "ris",
        "bib",
        "nbib",
        "csl.json",
    }
    for link in links:
        assert get(datasette, link.replace("&amp;", "&")).status_code == 200


# -- tables and queries ------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ["ris", "bib", "nbib", "csl"])
@pytest.mark.parametrize(
    ("path", "sql"),
    [
        ("/kb/articles.{}", "SELECT count(*) FROM articles"),
        ("/kb/articles.{}?study_design=rct", "SELECT count(*) FROM articles WHERE study_design = 'rct'"),
        ("/kb/articles.{}?_size=1&_sort=year", "SELECT count(*) FROM articles"),
        ("/kb/articles/24740528.{}", "SELECT 1"),
        ("/kb/evidence.{}?claim=bdnf", "SELECT count(*) FROM tags WHERE claim_id = 'bdnf'"),
        ("/kb/tags.{}?claim_id=bdnf&_labels=on", "SELECT count(*) FROM tags WHERE claim_id = 'bdnf'"),
        (
            "/kb/evidence-for.{}?claim=bdnf",
            "SELECT count(*) FROM tags WHERE claim_id = 'bdnf' AND stance = 'supports'",
        ),
        ("/kb.{}?sql=select+id,pmid+from+articles", "SELECT count(*) FROM articles"),
        ("/kb.{}?sql=select+id+from+articles", "SELECT count(*) FROM articles"),
        (
            "/kb.{}?sql=select+pmid+from+articles+where+year+%3E+:y+limit+7&y=2015",
            "SELECT count(pmid) FROM (SELECT pmid FROM articles WHERE year > 2015 LIMIT 7)",
        ),
    ],
)
def test_rows_that_name_articles_can_be_had_as_references(
    datasette, built, path: str, sql: str, extension: str
) -> None:
    response = get(datasette, path.format(extension))
    assert response.status_code == 200, response.text
    assert number_in({"csl": "csl.json"}.get(extension, extension), response.text) == count(built, sql)


def test_datasettes_pages_offer_references_only_where_rows_name_articles(datasette) -> None:
    assert ".ris" in get(datasette, "/kb/evidence").text
    assert ".ris" in get(datasette, "/kb/evidence-against").text
    assert ".ris" not in get(datasette, "/kb/claims").text
    assert ".ris" not in get(datasette, "/kb/animals-only").text


def test_an_export_from_a_later_page_starts_at_the_beginning(datasette) -> None:
    response = get(datasette, "/kb/evidence.ris?claim=bdnf&_next=50&_size=10")
    assert response.status_code == 302
    assert response.headers["location"] == "/kb/evidence.ris?claim=bdnf&_size=10"


@pytest.mark.parametrize(
    ("path", "sql"),
    [
        ("/kb/sentences.csv", "SELECT count(*) FROM sentences"),
        ("/kb/sentences.csv?_size=max&_labels=on", "SELECT count(*) FROM sentences"),
        ("/kb/evidence.csv", "SELECT count(*) FROM tags"),
        ("/kb/evidence.csv?_stream=1&stance=supports", "SELECT count(*) FROM tags WHERE stance = 'supports'"),
        (
            "/kb/articles.csv?_search=esketamine",
            "SELECT count(*) FROM articles_fts WHERE articles_fts MATCH 'esketamine'",
        ),
        ("/kb.csv?sql=select+id+from+sentences", "SELECT count(*) FROM sentences"),
        (
            "/kb/evidence-by-year.csv?claim=durability",
            "SELECT count(DISTINCT year) FROM evidence WHERE claim = 'durability'",
        ),
    ],
)
def test_csv_is_complete_to_the_last_row(datasette, built, path: str, sql: str) -> None:
    response = get(datasette, path)
    rows = list(csv.reader(io.StringIO(response.text, newline="")))
    assert len(rows) - 1 == count(built, sql)
    assert len({len(row) for row in rows}) == 1


def test_csv_is_sorted_as_the_page_is(datasette) -> None:
    rows = csv.DictReader(io.StringIO(get(datasette, "/kb/articles.csv?_sort=year").text, newline=""))
    years = [int(row["year"]) for row in rows if row["year"]]
    assert years == sorted(years)


# -- what cannot be had ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/claims/no-such.ris", 404, "Unknown claim"),
        ("/claims/bdnf.ris?stance=maybe", 400, "Unknown stance"),
        ("/claims/no-such.csl.json", 404, "Unknown claim"),
        ("/articles/1.bib", 404, "There is no article 1 here"),
        ("/articles/%00%ff.ris", 400, ""),
        ("/search.ris?q=qqqqzzzz", 404, "nothing to export"),
        ("/search.csv", 404, "nothing to export"),
        ("/kb/claims.ris", 404, "no article matches"),
        ("/kb/claim_summary.ris", 400, "no column article_id"),
        ("/kb.ris", 400, "Which articles?"),
        ("/kb.csv", 400, "Which rows?"),
        ("/kb.ris?sql=select+1", 400, "no column article_id"),
        ("/kb.csv?sql=delete+from+tags", 400, "must be a SELECT"),
        ("/kb.csv?sql=select+nope", 400, "no such column"),
        ("/kb/nope.csv", 404, ""),
        ("/kb/evidence.ris?_where=nope", 400, "no such column"),
    ],
)
def test_what_cannot_be_exported_is_said_on_a_page(datasette, path: str, status: int, words: str) -> None:
    response = get(datasette, path)
    assert response.status_code == status and words in response.text
    assert "Traceback" not in response.text and "attachment" not in str(response.headers)


# -- the machinery -----------------------------------------------------------------------------


def source(pieces, budget: Budget | None = None) -> Source:
    return Source(lambda: sqlite3.connect(":memory:", check_same_thread=False), pieces, budget)


def test_a_source_ends_once_and_closes_its_connection() -> None:
    taken = []

    def pieces(connection):
        taken.append(connection)
        yield "a"
        yield "b"

    s = source(pieces)
    assert s.next() == b"ab" and s.next() == b"" and s.next() == b""
    with pytest.raises(sqlite3.ProgrammingError):
        taken[0].execute("SELECT 1")


def test_a_source_that_fails_is_closed_and_lets_the_next_one_run() -> None:
    def pieces(connection):
        raise ExportProblem("no")
        yield ""

    for _ in range(10):  # more than may run at once
        with pytest.raises(ExportProblem):
            source(pieces).next()


def test_a_budget_stops_endless_rows_and_endless_work() -> None:
    def endless(connection):
        while True:
            yield "x" * 100_000

    s = source(endless, Budget(60, 1_000_000))
    with pytest.raises(ExportProblem, match="larger than 1 MB"):
        while s.next():
            pass

    def bomb(connection):
        sql = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
        yield str(connection.execute(sql).fetchone())

    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        source(bomb, Budget(0.05, None)).next()


def test_a_slow_reader_does_not_use_up_the_budget() -> None:
    """Only work of the database counts, not the time that a reader takes to fetch what was made."""

    def pieces(connection):
        for _ in range(5):
            yield "x" * 100_000

    s = source(pieces, Budget(0.5, None))
    waiting = threading.Event()
    while s.next():
        waiting.wait(0.2)
    assert s._budget.used < 0.5
