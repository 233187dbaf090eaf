"""The starter corpus: every row is well-formed, sourced, and says what it does not know."""

import re
from collections import Counter

import pytest

from harvest import landmarks
from kb.build import facts
from kb.evidence import TIERS
from kb.schema import STANCES
from kb.tagging import load_claims

ROWS = landmarks.rows()
DESIGNS = {design for tier in TIERS for design in tier.designs}
KEYS = {
    "id", "pmid", "pmcid", "doi", "title", "authors", "journal", "year", "publication_types", "study_design",
    "population", "sample_size", "intervention", "comparator", "primary_outcome", "follow_up", "main_result",
    "summary", "labels", "trials", "verified", "not_verified", "note", "source_url",
}


def test_sorted_and_unique():
    ids = [row["id"] for row in ROWS]
    assert ids == sorted(ids, key=lambda i: (0, int(i), "") if i.isdigit() else (1, 0, i))
    for key in ("id", "pmid", "pmcid", "doi"):
        values = [row[key] for row in ROWS if row[key]]
        assert [v for v, n in Counter(values).items() if n > 1] == [], key
    assert len(ROWS) >= 200


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_row(row):
    assert set(row) == KEYS
    assert row["id"] == (row["pmid"] or row["pmcid"] or f"doi:{row['doi']}"), "an id is never invented"
    assert row["pmid"] is None or re.fullmatch(r"[1-9]\d{3,7}", row["pmid"])
    assert row["pmcid"] is None or re.fullmatch(r"PMC\d{5,9}", row["pmcid"])
    assert row["doi"] is None or re.fullmatch(r"10\.\d{4,9}/\S+", row["doi"]) and row["doi"] == row["doi"].lower()
    assert row["year"] is None or 1960 <= row["year"] <= 2026
    assert row["title"].strip() and re.match(r"https?://\S+$", row["source_url"])
    assert row["study_design"] in DESIGNS
    assert row["sample_size"] is None or 0 < row["sample_size"] < 1_000_000
    assert row["verified"] in ("full", "partial")
    assert list(row["summary"]) == ["background", "methods", "results", "conclusions"]
    known = {claim.id for claim in load_claims()}
    labelled = [label["claim"] for label in row["labels"]]
    assert set(labelled) <= known and len(labelled) == len(set(labelled))
    for label in row["labels"]:
        assert label["stance"] in STANCES and label["rationale"].strip()
    for trial in row["trials"]:
        assert re.fullmatch(r"NCT\d{8}", trial)
    for field in row["not_verified"]:
        column = "authors" if field == "author order" else field
        assert not row[column] or (field == "title" and row["title"].startswith("[Title not verified]"))


def test_articles_keep_the_landmark_apart_from_the_citation():
    first = next(landmarks.articles())
    assert first.abstract_origin == "summary" and first.landmark.summary == first.sections
    suffix = landmarks._author("Zarate CA Jr")
    assert (suffix.last, suffix.initials, suffix.suffix, suffix.name) == ("Zarate", "CA", "Jr", "Zarate CA Jr")
    assert landmarks._author("STRIVE Study Group").collective == "STRIVE Study Group"


def test_facts_are_dated_and_sourced():
    rows = facts()
    assert len({row["id"] for row in rows}) == len(rows) >= 40
    for row in rows:
        assert re.fullmatch(r"\d{4}(-\d\d){0,2}", row["as_of"]) and re.match(r"https?://\S+$", row["source_url"])
        assert row["statement"] and row["source_title"] and row["topic"]
