"""Exports, read back by what other programs use: rispy, bibtexparser, Biopython, a CSL schema."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import sqlite3
import subprocess
import tracemalloc
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import bibtexparser
import jsonschema
import pytest
import rispy
from bibtexparser.middlewares import LatexDecodingMiddleware
from Bio import Medline
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harvest.record import Author, MeshHeading, Section
from kb import export, schema
from kb.export import ExportProblem, NothingSelected, Selection, UnknownClaim, clean
from kb.store import Store
from kb.tagging import TAGGER_VERSION, tag_many

# What citation processors need of csl-data.json (CSL 1.0.2), in short.
_NAME = {
    "type": "object",
    "properties": {k: {"type": "string"} for k in ("family", "given", "suffix", "literal")},
    "additionalProperties": False,
    "anyOf": [{"required": ["family"]}, {"required": ["literal"]}],
}
_STRINGS = (
    "container-title container-title-short volume issue page ISSN DOI PMID PMCID URL language abstract "
    "keyword source status note title"
).split()
CSL = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["id", "type", "title"],
        "properties": {
            "id": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
            "type": {"enum": ["article-journal", "article"]},
            **{name: {"type": "string", "minLength": 1} for name in _STRINGS},
            "author": {"type": "array", "minItems": 1, "items": _NAME},
            "editor": {"type": "array", "minItems": 1, "items": _NAME},
            "issued": {
                "type": "object",
                "properties": {
                    "date-parts": {
                        "type": "array",
                        "maxItems": 1,
                        "items": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": 3,
                            "items": {"type": "integer"},
                        },
                    }
                },
                "required": ["date-parts"],
                "additionalProperties": False,
            },
            "custom": {"type": "object"},
        },
        "additionalProperties": False,
    },
}


def text_of(path: Path, format: str, **selection: object) -> str:
    with closing(schema.connect_read_only(path)) as connection:
        return "".join(export.export(connection, format, **selection))  # type: ignore[arg-type]


def read_bibtex(text: str) -> list[dict[str, str]]:
    library = bibtexparser.parse_string(text, append_middleware=[LatexDecodingMiddleware()])
    assert not library.failed_blocks
    return [
        {"ID": e.key, "type": e.entry_type, **{f.key: f.value for f in e.fields}} for e in library.entries
    ]


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def count(path: Path, sql: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchone()[0]


@pytest.fixture
def awkward(database: Path, article) -> Path:
    """The starter corpus and a few citations that break naive writers."""
    records = [
        article(
            "900001",
            title='100% of "AMPA & NMDA" trials: {a_b}\\c $5 #1 ~x^2 <i>PTSD</i>,\nmTOR',
            sections=[
                Section("First line.\r\nSecond  line with\ttab. ER  - not the end.", "RESULTS", "RESULTS")
            ],
            authors=[
                Author(last="Müller-Łęcki", fore="Zoë Ann", initials="ZA", suffix="Jr"),
                Author(collective="Group for Trauma, Vienna"),
                Author(last="van der Berg", initials="B"),
                Author(last="Eddie", fore="Ed", initials="E", role="editor"),
            ],
            pages="681-8",
            published="2021-03-09",
            pmcid="PMC777",
            keywords=["shock; burn", "PTSD"],
            mesh=[MeshHeading("Stress Disorders, Post-Traumatic")],
            doi="10.1002/(SICI)1097-0258(19980815)17:15<1661::AID>3.0.CO;2-2_x",
            language="eng",
        ),
        article("900002", publication_types=["Journal Article", "Retracted Publication"]),
    ]
    bare = article("1", authors=[], year=None, published="", journal="", title="A preprint without a PMID")
    records += [
        replace(bare, id=f"doi:{doi}", pmid=None, doi=doi, title=f"{bare.title}: {doi}")
        for doi in ("10.5555/x.y", "10.5555/x_y")
    ]
    with Store(database) as store:
        store.save(records)
        store.retag(tag_many, TAGGER_VERSION)
    return database


# -- the whole corpus, every format ------------------------------------------------------------


def test_ris_of_everything_is_read_by_rispy(awkward: Path) -> None:
    text = text_of(awkward, "ris")
    entries = rispy.loads(text)
    assert len(entries) == count(awkward, "SELECT count(*) FROM articles")
    assert all(e["type_of_reference"] in ("JOUR", "GEN") and e["title"] for e in entries)
    assert "unknown_tag" not in {key for entry in entries for key in entry}
    assert all(re.fullmatch(r"[A-Z][A-Z0-9]  - .*", line) for line in text.split("\r\n") if line)
    assert not re.search(r"(?m)^L[0-4]  - ", text), "addresses in L1 to L4 are taken for files"


def test_bibtex_of_everything_is_read_by_bibtexparser(awkward: Path) -> None:
    entries = read_bibtex(text_of(awkward, "bibtex"))
    assert len(entries) == count(awkward, "SELECT count(*) FROM articles")
    assert len({e["ID"] for e in entries}) == len(entries)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", e["ID"]) for e in entries)


def test_nbib_of_everything_is_read_by_biopython(awkward: Path) -> None:
    text = text_of(awkward, "nbib")
    records = list(Medline.parse(io.StringIO(text)))
    assert len(records) == count(awkward, "SELECT count(*) FROM articles")
    assert text.startswith("PMID- "), "readers know the format by its first line"
    with_pmid = [r.get("PMID") for r in records]
    assert with_pmid == sorted(with_pmid, key=lambda p: p is None), "records with a PMID come first"
    assert sum(p is not None for p in with_pmid) == count(awkward, "SELECT count(pmid) FROM articles")


def test_csl_of_everything_fits_the_schema(awkward: Path) -> None:
    items = json.loads(text_of(awkward, "csl"))
    jsonschema.validate(items, CSL)
    assert len(items) == count(awkward, "SELECT count(*) FROM articles")
    assert len({i["id"] for i in items}) == len(items)


def test_csv_of_everything_has_a_row_for_each_tag(awkward: Path) -> None:
    rows = read_csv(text_of(awkward, "csv"))
    assert tuple(rows[0]) == export.CSV_COLUMNS
    assert sum(1 for r in rows if r["claim"]) == count(awkward, "SELECT count(*) FROM tags")
    assert len({r["article_id"] for r in rows}) == count(awkward, "SELECT count(*) FROM articles")


# -- one citation, field by field --------------------------------------------------------------


def test_ris_fields(awkward: Path) -> None:
    text = text_of(awkward, "ris", ids=["900001"])
    (entry,) = rispy.loads(text)
    assert entry["title"] == '100% of "AMPA & NMDA" trials: {a_b}\\c $5 #1 ~x^2 <i>PTSD</i>, mTOR'
    assert entry["authors"] == ["Müller-Łęcki, Zoë Ann, Jr", "Group for Trauma Vienna", "van der Berg, B"]
    assert entry["accession_number"] == "900001"
    assert entry["urls"] == ["https://pubmed.ncbi.nlm.nih.gov/900001/"]
    assert entry["doi"].startswith("10.1002/(sici)")
    assert "C2  - PMC777\r\n" in text and "DB  - PubMed\r\n" in text
    assert (entry["start_page"], entry["end_page"]) == ("681", "688")
    assert (entry["year"], entry["date"]) == ("2021", "2021-03-09")
    assert entry["abstract"] == "RESULTS: First line. Second line with tab. ER - not the end."
    assert entry["keywords"] == ["Stress Disorders, Post-Traumatic", "PTSD", "shock, burn"]


def test_bibtex_fields(awkward: Path) -> None:
    text = text_of(awkward, "bibtex", ids=["900001"])
    (entry,) = read_bibtex(text)
    assert entry["ID"] == "Mullerecki2021_900001"
    # The reader knows no textbraceleft and writes another circumflex; LaTeX prints what was meant.
    assert entry["title"] == '100% of "AMPA & NMDA" trials: a_b\\c $5 #1 ~xˆ2 <i>PTSD</i>, mTOR'
    assert r"\textbraceleft{}a\_b\textbraceright{}\textbackslash{}c" in text
    assert "{mTOR}" in text, "styles must not lower the case of mTOR"
    assert entry["author"] == "Müller-Łęcki, Jr, Zoë Ann and Group for Trauma, Vienna and van der Berg, B"
    assert "and {Group for Trauma, Vienna} and" in text
    assert (entry["year"], entry["date"], entry["pages"]) == ("2021", "2021-03-09", "681–688")
    assert "doi = {10.1002/(sici)1097-0258(19980815)17:15<1661::aid>3.0.co;2-2_x}" in text
    assert text.count("{") == text.count("}")


def test_nbib_fields(awkward: Path) -> None:
    (record,) = Medline.parse(io.StringIO(text_of(awkward, "nbib", ids=["900001"])))
    assert record["PMID"] == "900001" and record["PMC"] == "PMC777"
    assert record["FAU"] == ["Müller-Łęcki, Zoë Ann, Jr", "van der Berg, B"]
    assert record["AU"] == ["Müller-Łęcki ZA Jr", "van der Berg B"]
    assert record["CN"] == ["Group for Trauma, Vienna"]
    assert record["DP"] == "2021 Mar 9" and record["PG"] == "681-8"
    assert record["AID"][0].endswith("[doi]")
    assert "\n" not in record["AB"]


def test_csl_fields(awkward: Path) -> None:
    (item,) = json.loads(text_of(awkward, "csl", ids=["900001"]))
    assert item["issued"] == {"date-parts": [[2021, 3, 9]]} and item["page"] == "681-688"
    assert item["author"][0] == {"family": "Müller-Łęcki", "given": "Zoë Ann", "suffix": "Jr"}
    assert item["author"][1] == {"literal": "Group for Trauma, Vienna"}
    assert item["editor"] == [{"family": "Eddie", "given": "Ed"}] and item["language"] == "en"


def test_a_retracted_article_says_so_everywhere(awkward: Path) -> None:
    (entry,) = rispy.loads(text_of(awkward, "ris", ids=["900002"]))
    assert entry["notes"][0].startswith("RETRACTED") and "Retracted Publication" in entry["keywords"]
    (entry,) = read_bibtex(text_of(awkward, "bibtex", ids=["900002"]))
    assert entry["note"].startswith("RETRACTED")
    (record,) = Medline.parse(io.StringIO(text_of(awkward, "nbib", ids=["900002"])))
    assert "Retracted Publication" in record["PT"] and record["GN"][0].startswith("RETRACTED")
    (item,) = json.loads(text_of(awkward, "csl", ids=["900002"]))
    assert item["status"] == "retracted" and item["note"].startswith("RETRACTED")
    assert {r["retracted"] for r in read_csv(text_of(awkward, "csv", ids=["900002"]))} == {"1"}


def test_a_withdrawn_citation_says_so(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE articles SET deleted = '2026-02-03T00:00:00Z' WHERE id = '24740528'")
    (entry,) = rispy.loads(text_of(database, "ris", ids=["24740528"]))
    assert entry["notes"][0] == "No longer in PubMed since 2026-02-03."


@pytest.mark.parametrize("format", ["ris", "bibtex", "nbib", "csl"])
def test_our_summary_is_never_passed_off_as_the_publishers_abstract(built: Path, format: str) -> None:
    text = text_of(built, format, ids=["24740528"])
    assert "Summary written by this project, not the publisher's abstract" in text
    assert "of our summary" in text


@pytest.mark.parametrize("format", ["ris", "bibtex", "nbib", "csl"])
def test_the_note_holds_the_claim_asked_for_its_stance_and_its_sentence(built: Path, format: str) -> None:
    with closing(schema.connect_read_only(built)) as connection:
        rows = connection.execute(
            "SELECT article_id, sentence FROM evidence WHERE claim = 'bdnf' AND stance = 'contradicts' "
            "AND sentence IS NOT NULL"
        ).fetchall()
    assert rows
    text = text_of(built, format, claim="bdnf", stance="contradicts")
    notes = {
        "ris": lambda: " ".join(" ".join(e.get("notes", [])) for e in rispy.loads(text)),
        "bibtex": lambda: " ".join(e["annote"] for e in read_bibtex(text)),
        "nbib": lambda: " ".join(" ".join(r["GN"]) for r in Medline.parse(io.StringIO(text))),
        "csl": lambda: " ".join(i["note"] for i in json.loads(text)),
    }[format]()
    assert notes.count("Claim bdnf: contradicts.") == count(
        built, "SELECT count(*) FROM tags WHERE claim_id = 'bdnf' AND stance = 'contradicts'"
    )
    assert not re.search(r"Claim (?!bdnf)", notes), "other claims stay out of the note"
    for row in rows:
        assert clean(row["sentence"]) in notes


def test_names_as_pubmed_prints_them_are_taken_apart() -> None:
    def parts(*name: str | None) -> tuple[str, str, str, str]:
        p = export.person(*name)
        return p.family, p.given, p.suffix, p.literal

    assert parts("Zarate CA Jr", "Zarate", None, None) == ("Zarate", "CA", "Jr", "")
    assert parts("De Jesus G", "De Jesus", None, None) == ("De Jesus", "G", "", "")
    assert parts("Feder A", None, None, None) == ("Feder", "A", "", "")
    assert parts("Plato", None, None, None) == ("Plato", "", "", "")
    assert parts("Feder A", "Feder", "Adriana", None) == ("Feder", "Adriana", "", "")
    assert parts("Trauma Group", None, None, "Trauma Group") == ("", "", "", "Trauma Group")


# -- any text at all ---------------------------------------------------------------------------

ANY = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=60)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(title=ANY, abstract=ANY, name=ANY, word=ANY)
@example(title="TY  - JOUR", abstract="x\nER  - \n\nTY  - JOUR", name="A\r\nER  - ", word=";;")
@example(title="}}@article{x,", abstract="\\", name="and and", word="{")
@example(title='"', abstract="PMID- 5\n\nPMID- 6", name=",", word="%")
def test_no_text_can_break_out_of_its_field(title: str, abstract: str, name: str, word: str) -> None:
    fields = dict.fromkeys(
        "pmid doi pmcid journal journal_abbreviation issn volume issue pages published year language "
        "retracted retraction_note deleted url".split()
    )
    fields |= {
        "title": title,
        "abstract": abstract,
        "abstract_origin": "publisher",
        "pmid": "1",
        "journal": "J",
    }
    reference = export.Reference("1", fields, [export.Person(name)], [], [word], [], [])
    (entry,) = rispy.loads("".join(export.ris([reference])))
    assert entry.get("title", "") == clean(title) and entry.get("abstract", "") == clean(abstract)
    assert entry["accession_number"] == "1"
    text = "".join(export.bibtex([reference]))
    library = bibtexparser.parse_string(text)
    assert len(library.entries) == 1 and not library.failed_blocks and text.count("{") == text.count("}")
    (record,) = Medline.parse(io.StringIO("".join(export.nbib([reference]))))
    assert record["PMID"] == "1" and record.get("TI", "") == clean(title)
    (item,) = json.loads("".join(export.csl([reference])))
    assert item.get("title", "") == clean(title)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.text(st.characters(blacklist_categories=("Cs",))), st.integers()), max_size=5))
@example([("=HYPERLINK(1)", 1), ("-2.3 points", 2), ('a "b", c\nd', 3)])
def test_csv_is_verbatim(rows: list[tuple[str, int]]) -> None:
    text = "".join(export.csv_rows(["text", "number"], rows, needs_rows=False))
    assert list(csv.reader(io.StringIO(text, newline="")))[1:] == [[a, str(b)] for a, b in rows]


def test_csv_writes_bytes_as_base64() -> None:
    assert "".join(export.csv_rows(["raw"], [(b"\x00\xff",)])) == "raw\r\nAP8=\r\n"


# -- selections --------------------------------------------------------------------------------


def test_a_query_gives_its_articles_once_and_in_its_order(built: Path) -> None:
    sql = "SELECT article_id, n FROM evidence WHERE claim = 'durability' ORDER BY n DESC, article_id --x\n;"
    with closing(schema.connect_read_only(built)) as connection:
        want = list(dict.fromkeys(r[0] for r in connection.execute(sql.rstrip(";\n"))))
        got = [r.id for r in export.references(connection, Selection(query=sql))]
    assert got == want and len(got) > 3


def test_a_query_may_name_articles_by_pmid_and_take_parameters(built: Path) -> None:
    text = text_of(
        built, "ris", query="SELECT pmid FROM articles WHERE pmid = :one", parameters={"one": "24740528"}
    )
    assert len(rispy.loads(text)) == 1


def test_csv_of_a_query_is_its_result(built: Path) -> None:
    text = text_of(built, "csv", query="SELECT claim, supports FROM claim_summary ORDER BY claim")
    assert len(read_csv(text)) == 14 and text.startswith("claim,supports\r\n")


PROBLEMS = [
    ({"claim": "no-such"}, "unknown claim 'no-such': the claims are nmda-antagonism"),
    ({"stance": "maybe"}, "unknown stance 'maybe'"),
    ({"format": "docx"}, "unknown format 'docx': use one of ris"),
    ({"query": "SELEC"}, "must be one SELECT"),
    ({"query": "SELECT nope FROM articles"}, "no such column: nope"),
    ({"query": "SELECT article_id FROM tags; DROP TABLE tags"}, "the SQL cannot be run"),
    ({"query": "DELETE FROM tags"}, "must be one SELECT"),
    ({"query": "WITH x AS (SELECT 1) DELETE FROM tags"}, "the SQL cannot be run"),
    ({"query": "SELECT article_id FROM tags", "claim": "bdnf"}, "not both"),
    ({"ids": ["1"]}, "nothing to export"),
]
# CSV is the result of a query whatever its columns, and however few its rows.
PROBLEMS = [(format, *p) for format in ("ris", "csv") for p in PROBLEMS] + [
    ("ris", {"query": "SELECT 1 AS x"}, "no column article_id"),
    ("ris", {"query": "SELECT article_id FROM tags WHERE 0"}, "nothing to export"),
]


@pytest.mark.parametrize(("format", "selection", "words"), PROBLEMS)
def test_what_cannot_be_exported_is_said_in_one_line(
    database: Path, format: str, selection: dict[str, object], words: str
) -> None:
    before = hashlib.sha256(database.read_bytes()).hexdigest()
    with closing(sqlite3.connect(database)) as connection, pytest.raises(ExportProblem) as caught:
        # A connection that may write: exports must not, whatever they are given.
        list(export.export(connection, **{"format": format, **selection}))  # type: ignore[arg-type]
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before


def test_the_kind_of_problem_can_be_told(built: Path) -> None:
    with closing(schema.connect_read_only(built)) as connection:
        with pytest.raises(UnknownClaim):
            export.export(connection, claim="x")
        with pytest.raises(NothingSelected):
            export.export(connection, ids=[])


# -- size and state ----------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_number_of_references(database: Path, article) -> None:
    with Store(database) as store:
        store.save(article(str(10_000_000 + n), keywords=[f"word {n}"] * 3) for n in range(1_200))

    def peak(limit: int) -> int:
        query = f"SELECT id AS article_id FROM articles WHERE id LIKE '100%' LIMIT {limit}"
        with closing(schema.connect_read_only(database)) as connection:
            tracemalloc.start()
            number = sum(piece.count("ER  - ") for piece in export.export(connection, "ris", query=query))
            size = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert number == limit
        return size

    peak(10)  # what is loaded once
    # 800 references kept would take 2.5 MB and more; what SQLite and Python cache is a fifth of that.
    assert peak(1_200) - peak(400) < 1_000_000


def test_an_export_shows_one_state_of_the_database(database: Path, article) -> None:
    before = count(database, "SELECT count(*) FROM articles")
    with closing(schema.connect_read_only(database)) as connection:
        pieces = export.export(connection, "ris")
        text = next(pieces)
        with Store(database) as store:
            store.save([article("99999999", year=1900)])
        text += "".join(pieces)
        assert len(rispy.loads(text)) == before
        assert not connection.in_transaction
    assert len(rispy.loads(text_of(database, "ris"))) == before + 1


# -- everything --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("out") / "snapshot"
    export.bundle(built, target)
    return target


def test_the_bundle_checks_out(bundle: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=bundle, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    listed = {line.split("  ")[1] for line in (bundle / "SHA256SUMS").read_text().splitlines()}
    assert listed == {p.name for p in bundle.iterdir()} - {"SHA256SUMS"}


def test_the_data_package_describes_what_is_there(bundle: Path, built: Path) -> None:
    package = json.loads((bundle / "datapackage.json").read_text())
    names = {r["name"] for r in package["resources"]}
    assert names == set(schema.TABLES)
    assert package["version"].count("+data.") == 1 and package["meta"]["tagger_version"] == TAGGER_VERSION
    with closing(schema.connect_read_only(built)) as connection:
        for resource in package["resources"]:
            text = (bundle / resource["path"]).read_bytes().decode()
            rows = read_csv(text)
            number = connection.execute(f'SELECT count(*) FROM "{resource["name"]}"').fetchone()[0]
            assert len(rows) == number, resource["name"]
            fields = [f["name"] for f in resource["schema"]["fields"]]
            assert text.split("\r\n")[0].split(",") == fields
            assert all(f["description"] for f in resource["schema"]["fields"]), resource["name"]
            assert set(resource["schema"]["primaryKey"]) <= set(fields) and resource["schema"]["primaryKey"]
            data = (bundle / resource["path"]).read_bytes()
            assert resource["bytes"] == len(data)
            assert resource["hash"] == "sha256:" + hashlib.sha256(data).hexdigest()
            for key in resource["schema"].get("foreignKeys", ()):
                assert key["reference"]["resource"] in names
            for entry in resource["schema"]["fields"]:
                if entry.get("constraints", {}).get("required"):
                    assert all(row[entry["name"]] for row in rows), (resource["name"], entry["name"])


def test_the_database_of_the_bundle_stands_alone(bundle: Path, built: Path) -> None:
    with closing(schema.connect_read_only(bundle / "kb.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        tags = connection.execute("SELECT count(*) FROM evidence").fetchone()[0]
    assert tags == count(built, "SELECT count(*) FROM evidence")
    assert not list(bundle.glob("kb.db-*"))


def test_a_bundle_never_overwrites_and_leaves_nothing_half_done(built: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(ExportProblem, match="exists already"):
        export.bundle(built, tmp_path / "there")
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportProblem, match="cannot write"):
        export.bundle(built, tmp_path / "file" / "snapshot")
    with pytest.raises(RuntimeError):
        export.bundle(built, tmp_path / "cut", progress=_stop_at("sentences.csv"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "there"]


def _stop_at(name: str):
    def progress(step: str) -> None:
        if step == name:
            raise RuntimeError("stopped")

    return progress


def test_the_key_of_another_table_is_never_taken_for_a_pmid(database: Path) -> None:
    """A tag may have the number of somebody's PMID: numbers in a column id name no article."""
    with closing(sqlite3.connect(database)) as connection, connection:
        tag_id, article = connection.execute(
            "SELECT id, article_id FROM tags WHERE article_id IN (SELECT id FROM articles WHERE pmid IS NULL)"
        ).fetchone()
        other = connection.execute("SELECT id FROM articles WHERE pmid IS NOT NULL").fetchone()[0]
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute(
            "UPDATE articles SET id = ?, pmid = ? WHERE id = ?", (str(tag_id), str(tag_id), other)
        )
    sql = f"SELECT t.id, a.pmid FROM tags t JOIN articles a ON a.id = t.article_id WHERE t.id = {tag_id}"
    with closing(schema.connect_read_only(database)) as connection:
        with pytest.raises(NothingSelected):
            export.export(connection, query=sql)
        with pytest.raises(NothingSelected):
            export.export(connection, query=f"SELECT id FROM tags WHERE id = {tag_id}")
        text = "".join(export.export(connection, "csv", ids=[article]))
    assert text
