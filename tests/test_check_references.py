"""References of a draft: author and year in their many forms, numbers of PubMed's, numbered lists."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb import schema
from kb.check import check_text
from kb.check.document import Block, Document
from kb.check.references import MOST, Reference, find_references

ARTICLES = (
    ("24740528", "Feder A, Parides MK, Murrough JW, Charney DS", "Efficacy of intravenous ketamine for treatment of "
     "chronic posttraumatic stress disorder", 2014, "supports"),
    ("33397139", "Feder A", "Repeated ketamine administration for chronic posttraumatic stress disorder", 2021,
     "supports"),
    ("35046508", "Abdallah CG, Roache JD, Krystal JH", "Dose-related effects of ketamine for symptoms of "
     "posttraumatic stress disorder in veterans", 2022, "contradicts"),
    ("90000001", "Kong X, Other B", "Ketamine in mice", 2019, "supports"),
)  # fmt: skip
LISTED = """Ketamine for PTSD

Ketamine is offered to people with PTSD. Ketamine reduces PTSD symptoms in veterans [2]. One infusion of \
ketamine eased PTSD [1, 3]. Ketamine acts fast [1-3]. The interval was wide (95% CI [1, 2]). Ketamine is safe [9].

"""
ITEMS = """1. Feder A, Parides MK, et al. Efficacy of intravenous ketamine for treatment of chronic posttraumatic \
stress disorder. JAMA Psychiatry. 2014;71(6):681-688.
2. Abdallah CG et al. Dose-related effects. PMID 35046508
3. Nobody A. A paper about lemons. J Lemon 1999.
"""


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("references") / "kb.db"
    db = schema.connect(path, create=True).conn
    db.execute(
        "INSERT INTO claims VALUES ('ptsd-symptom-reduction', 'g', 'It eases PTSD', 'q', 'd', 1, 0)"
    )
    for pmid, authors, title, year, stance in ARTICLES:
        db.execute(
            "INSERT INTO articles (id, pmid, title, abstract, abstract_origin, journal, year, author_list, source, "
            "first_seen, last_seen, content_hash, title_key) VALUES (?, ?, ?, 'x', 'publisher', 'Journal', ?, ?, "
            "'test', '2026', '2026', 'h', ?)",
            (pmid, pmid, title, year, authors, pmid),
        )
        db.execute(
            "INSERT INTO tags (article_id, claim_id, stance, confidence, origin, tagger_version, tagged) "
            "VALUES (?, 'ptsd-symptom-reduction', ?, 0.9, 'tagger', '1', '2026')",
            (pmid, stance),
        )
    yield db
    db.close()


def references(connection: sqlite3.Connection, text: str) -> list[Reference]:
    document = Document(text, [Block(0, len(text), "paragraph")])
    found = find_references(document, [], connection)
    assert all(text[r.start : r.end] == r.text for r in found)
    return found


@pytest.mark.parametrize(
    ("text", "article"),
    [
        ("It helps (Feder 2021).", "33397139"),
        ("According to Feder 2021, it helps.", "33397139"),
        ("Feder, Costi, and Charney (2021) tested it.", "33397139"),
        ("It helps (Feder, Costi & Charney, 2021).", "33397139"),
        ("However, Feder, Parides and Charney (2014) agree.", "24740528"),
        ("In Boston, Feder and Charney (2014) agree.", "24740528"),
        ("Feder A, Parides MK, et al. 2014.", "24740528"),
        ("Feder’s (2014) trial.", "24740528"),
        ("Adriana Feder (2014) agrees.", "24740528"),
        ("In 2022 Abdallah and colleagues tested it.", "35046508"),
        ("In 2022, Abdallah et al. tested it.", "35046508"),
        ("It helps (Abdallah CG, 2022).", "35046508"),
        ("A 2022 study by Abdallah tested it.", "35046508"),
        ("A 2022 randomized trial led by Dr. Chadi Abdallah tested it.", "35046508"),
        ("Abdallah CG et al. reported in 2022 that it helps.", "35046508"),
        ("PubMed ID 24740528", "24740528"),
        ("PubMed 24740528", "24740528"),
        ("pmid:24740528", "24740528"),
    ],
)
def test_forms_of_a_reference(connection: sqlite3.Connection, text: str, article: str) -> None:
    assert [(r.article_id, r.status) for r in references(connection, text)] == [(article, "found")]


def test_each_number_after_pmids(connection: sqlite3.Connection) -> None:
    found = references(connection, "PMIDs 24740528, 35046508 and 33397139, of 2014.")
    assert [r.article_id for r in found] == ["24740528", "35046508", "33397139"]


def test_named_and_absent(connection: sqlite3.Connection) -> None:
    (reference,) = references(connection, "Krystal JH et al. reported in 1994 that it does.")
    assert reference.status == "not-found"


@pytest.mark.parametrize(
    "text",
    [
        "(May 2021)", "In March 2021 it rained.", "the FDA (2019)", "World War (1945)", "PubMed 2021",
        "In 2020 Australia and Canada used it.", "He moved from Hong Kong (2019).", "In 2022 Abdallah moved.",
        "A 2021 report by Congress.", "Johnson & Johnson, 2019", "Brian Abdallah (2022)", "Feder 2013",
        "London, Paris, and Rome (2019)", "It is so [2].", "(Abdallah BX, 2022)",
    ],
)  # fmt: skip
def test_no_references(connection: sqlite3.Connection, text: str) -> None:
    assert references(connection, text) == []


def test_another_author_makes_it_uncertain(connection: sqlite3.Connection) -> None:
    sure, unsure, untold = references(
        connection, "(Feder & Charney, 2014) (Feder & Costi, 2014) (Feder & Costi, 2021)"
    )
    assert (sure.status, untold.status) == ("found", "found")
    assert unsure.status == "ambiguous" and "not certain" in unsure.note and "Costi" in unsure.note
    assert unsure.citation.startswith("Feder A et al") and not unsure.article_id


@pytest.mark.parametrize(
    ("heading", "items"),
    [
        ("References", ITEMS),
        ("## Sources", ITEMS.replace("\n", "\n\n")),
        ("Literature:", "".join(f"[{line[0]}]{line[2:]}\n" for line in ITEMS.splitlines())),
    ],
)
def test_numbers_of_a_list(connection: sqlite3.Connection, heading: str, items: str) -> None:
    report = check_text(connection, f"{LISTED}{heading}\n\n{items}", "markdown")
    found = [r for r in report.references if r.text.startswith("[")]
    first, second, third = "24740528", "35046508", ""
    assert [(r.text, r.article_id) for r in found] == [
        ("[2]", second), ("[1, 3]", first), ("[1, 3]", third), ("[1-3]", first), ("[1-3]", second), ("[1-3]", third),
    ]  # fmt: skip
    assert found[0].disagrees and "does not say" in found[0].note
    assert found[2].status == "not-found" and "lemons" in found[2].citation


def test_numbers_of_a_list_on_a_page(connection: sqlite3.Connection) -> None:
    page = (
        "<h1>Ketamine for PTSD</h1><p>Ketamine is offered to many people with PTSD.</p><p>Ketamine reduces PTSD "
        "symptoms in veterans [2].</p><h2>References</h2><ol><li>Feder A et al. 2014.</li><li>Abdallah CG, PMID "
        "35046508</li></ol>"
    )
    found = [r for r in check_text(connection, page, "html").references if r.text == "[2]"]
    assert [(r.article_id, r.disagrees) for r in found] == [("35046508", True)]


def test_an_item_with_another_title_is_uncertain(connection: sqlite3.Connection) -> None:
    text = "So it is [1].\n\nReferences\n1. Feder A. A different article concerning lemons and their juice. 2014."
    (reference,) = references(connection, text)
    assert reference.status == "ambiguous" and "title" in reference.note


PIECES = (
    "Aa, ", "Feder, A., ", "Feder and ", "Feder JH ", "Feder JH, ", "[1, ", "[1-3]", "PMID 24740528, ", "24740528, ",
    "in 2022 ", "2022 a b c d e ", "A. ", "Aa-", "References\n", "References\n1. x\n", "1. Feder 2014\n", "\t \n", "#",
    "10.1234/(((", "Feder 2014 ", "van der ", "2022 study by Aa ", "et al. ", "Dr. ", "1 2",
)  # fmt: skip


@pytest.mark.parametrize("piece", [*PIECES, "[1] " * 2000 + "\nReferences\n1. Feder 2014\n"])
def test_long_drafts_take_no_time(connection: sqlite3.Connection, piece: str) -> None:
    began = time.process_time()
    assert len(references(connection, piece * (100_000 // len(piece)))) <= MOST
    assert time.process_time() - began < 4


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=60).map("".join))
@settings(max_examples=60, deadline=None)
def test_any_draft_is_read(connection: sqlite3.Connection, text: str) -> None:
    assert all(0 <= r.start < r.end for r in references(connection, text))
