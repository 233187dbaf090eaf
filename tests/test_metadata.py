"""metadata.json: it describes the whole database, and its queries work on a click."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from conftest import ROOT

from kb import export, schema, serving

METADATA = json.loads((ROOT / "metadata.json").read_text(encoding="utf-8"))
DATABASE = METADATA["databases"]["kb"]
QUERIES = DATABASE["queries"]


@pytest.fixture(scope="module")
def connection(built: Path, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("metadata") / "kb.db"
    shutil.copyfile(built, path)
    with closing(sqlite3.connect(path)) as writer, writer:
        # The starter corpus has reviewers' tags only; a harvest brings some that the tagger is unsure of.
        writer.execute("UPDATE tags SET origin = 'tagger', confidence = 0.3 WHERE id % 20 = 0")
    with closing(schema.connect_read_only(path)) as connection:
        yield connection


def columns(connection, name: str) -> list[str]:
    return [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")')]


def test_every_table_and_view_and_each_of_its_columns_is_described(connection) -> None:
    assert set(DATABASE["tables"]) == {*schema.TABLES, *schema.VIEWS}
    for name, words in DATABASE["tables"].items():
        assert words["title"] and len(words["description"]) > 20, name
        assert list(words["columns"]) and set(words["columns"]) == set(columns(connection, name)), name
        assert all(len(text) > 3 and text[-1] in ".)" for text in words["columns"].values()), name


def test_sources_and_licence_are_named() -> None:
    assert "PubMed" in METADATA["source"] and METADATA["source_url"].startswith("https://")
    assert "NLM" in METADATA["license"] and METADATA["license_url"].startswith("https://")
    assert "NLM does not endorse" in DATABASE["description"]
    assert "no medical advice" in METADATA["description"]


def test_facets_and_sort_orders_stand_on_indexes(connection) -> None:
    for name, words in DATABASE["tables"].items():
        first = set()
        for index in connection.execute(f'PRAGMA index_list("{name}")'):
            first.add(connection.execute(f'PRAGMA index_info("{index[1]}")').fetchone()[2])
        first |= {r[1] for r in connection.execute(f'PRAGMA table_info("{name}")') if r[5] == 1}
        for facet in words.get("facets", ()):
            # A second column of a composite key is small enough to be counted without an index.
            assert (
                facet in first
                or connection.execute(f'SELECT count(*) FROM pragma_table_info("{name}")').fetchone()[0] < 7
            ), f"{name}.{facet} has no index"
        for column in (words.get("sort"), words.get("sort_desc"), *words.get("sortable_columns", ())):
            assert column is None or column in columns(connection, name), f"{name}.{column}"
        if name in ("articles", "sentences", "tags"):
            assert set(words["sortable_columns"]) <= first, f"{name}: sorting without an index is slow"


def test_there_is_a_query_for_each_of_the_researchers_questions() -> None:
    assert len(QUERIES) >= 12
    assert {
        "trials-in-ptsd", "evidence-against", "veterans-and-civilians", "evidence-by-year", "dose-and-stance",
        "onset-times", "retracted-or-corrected", "animals-only", "changed-since", "claims-together",
        "registered-trials", "low-confidence",
    } <= set(QUERIES)  # fmt: skip


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_runs_without_parameters_and_says_what_it_is(connection, name: str) -> None:
    query = QUERIES[name]
    assert query["title"] and len(query["description"]) > 40
    cursor = connection.execute(query["sql"], {p: "" for p in query.get("params", ())})
    names = [d[0] for d in cursor.description]
    assert len(names) == len(set(names)), "columns of one name overwrite each other in JSON"
    rows = cursor.fetchall()
    if name not in ("retracted-or-corrected", "registered-trials"):  # the starter corpus has none
        assert rows
    if "title" in names:
        assert "article_id" in names, "a list of articles must be exportable"


@pytest.mark.parametrize(
    ("name", "parameters", "holds"),
    [
        (
            "trials-in-ptsd",
            {"population": "veterans-military"},
            lambda r: "veterans-military" in r["population"],
        ),
        ("trials-in-ptsd", {"since": "2020"}, lambda r: r["year"] >= 2020),
        ("evidence-against", {"claim": "bdnf"}, lambda r: r["stance"] in ("contradicts", "mixed")),
        ("evidence-against", {"claim": "durability", "design": "rct"}, lambda r: r["design"] == "rct"),
        (
            "evidence-for",
            {"claim": "rapid-onset", "design": "meta-analysis"},
            lambda r: r["design"] == "meta-analysis",
        ),
        ("evidence-by-year", {"claim": "rapid-onset"}, lambda r: r["claim"] == "rapid-onset"),
        ("veterans-and-civilians", {"claim": "durability"}, lambda r: r["claim"] == "durability"),
        ("onset-times", {"stance": "supports"}, lambda r: r["stance"] == "supports"),
        ("animals-only", {"percent": "20"}, lambda r: r["preclinical_percent"] >= 20),
        ("low-confidence", {"confidence": "0.9"}, lambda r: r["confidence"] < 0.9),
        (
            "claims-together",
            {"claim": "rapid-onset"},
            lambda r: r["claim"] == "rapid-onset" != r["other_claim"],
        ),
        ("changed-since", {"date": "2020-01-01"}, lambda r: r["at"] >= "2020-01-01"),
        ("sentences-with", {"phrase": 'mystical "experience'}, lambda r: "mystic" in r["sentence"].lower()),
        ("largest-studies", {"claim": "safety-tolerability"}, lambda r: r["n"] is not None),
    ],
)
def test_a_parameter_narrows_the_result(connection, name: str, parameters: dict[str, str], holds) -> None:
    query = QUERIES[name]
    values = {p: parameters.get(p, "") for p in query["params"]}
    assert set(parameters) <= set(query["params"])
    rows = connection.execute(query["sql"], values).fetchall()
    assert rows or name == "sentences-with"
    assert all(holds(row) for row in rows)


def test_retracted_and_withdrawn_articles_with_findings_are_listed(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        ids = [r[0] for r in connection.execute("SELECT DISTINCT article_id FROM tags ORDER BY 1 LIMIT 3")]
        connection.execute(
            "UPDATE articles SET retracted = 1, retraction_note = 'Retr.' WHERE id = ?", ids[:1]
        )
        connection.execute("UPDATE articles SET deleted = '2026-01-01' WHERE id = ?", ids[1:2])
        connection.execute(
            "INSERT INTO corrections (article_id, kind, citation) VALUES (?, 'ErratumIn', 'Err.')", ids[2:]
        )
        rows = connection.execute(QUERIES["retracted-or-corrected"]["sql"], {"claim": ""}).fetchall()
    assert {r[5]: (r[0], r[2]) for r in rows} == {
        ids[0]: ("retracted", "Retr."),
        ids[1]: ("withdrawn from PubMed", None),
        ids[2]: ("ErratumIn", "Err."),
    }


def test_a_registered_trial_counts_as_found_once_an_article_with_results_carries_it(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        rct = connection.execute("SELECT id FROM articles WHERE study_design = 'rct'").fetchone()[0]
        review = connection.execute("SELECT id FROM articles WHERE study_design = 'review'").fetchone()[0]
        connection.executemany(
            "INSERT INTO trials VALUES (?, ?)",
            [(review, "NCT90000001"), (review, "NCT90000002"), (rct, "NCT90000002")],
        )
        rows = connection.execute(QUERIES["registered-trials"]["sql"], {"year": ""}).fetchall()
    assert "NCT90000001" in {r[0] for r in rows} and "NCT90000002" not in {r[0] for r in rows}


def test_articles_of_a_query_can_be_exported(connection) -> None:
    query = QUERIES["evidence-against"]
    text = "".join(
        export.export(connection, "ris", query=query["sql"], parameters={"claim": "bdnf", "design": ""})
    )
    assert text.startswith("TY  - ")


def test_the_data_dictionary_is_in_step() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "dictionary"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_plain_datasette_serves_the_file_with_this_metadata(built: Path) -> None:
    """`datasette kb.db -m metadata.json`: pages, queries and exports are there."""
    from datasette.app import Datasette

    serving._register_plugins()
    datasette = Datasette([str(built)], metadata=json.loads(json.dumps(METADATA)))

    async def get() -> dict[str, int]:
        await datasette.invoke_startup()
        result = {}
        for path in (
            "/kb",
            "/kb/evidence",
            "/kb/evidence-against",
            "/kb/evidence-against.ris",
            "/claims/bdnf.bib",
        ):
            result[path] = (await datasette.client.get(path)).status_code
        return result

    assert set(asyncio.run(get()).values()) == {200}


def test_every_ready_query_is_named_beside_a_table_that_it_reads() -> None:
    beside = {name: words["see"] for name, words in DATABASE["tables"].items() if "see" in words}
    assert {query for queries in beside.values() for query in queries} == set(QUERIES)
