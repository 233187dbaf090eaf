"""The starter corpus: landmark studies as facts in our own words (landmarks.jsonl).

Each row was verified against a page that showed the study. `not_verified` names the
fields that page did not show; those are empty. `verified` is "full" (design, size and
result seen) or "partial". The summary is ours and never stands for the publisher's
abstract: `Article.abstract_origin` is "summary" until a harvest brings the real one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

from harvest.record import Article, Author, Label, Landmark, Section

SOURCE = "landmarks"
_SECTIONS = ("background", "methods", "results", "conclusions")


def rows() -> list[dict[str, Any]]:
    """The rows of landmarks.jsonl as they stand."""
    text = resources.files("harvest").joinpath("landmarks.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def articles() -> Iterator[Article]:
    """One Article for each landmark study, with its reviewer's labels."""
    for row in rows():
        yield to_article(row)


def to_article(row: dict[str, Any]) -> Article:
    """The Article for one row. Raises KeyError when the row lacks a field of the schema."""
    sections = [
        Section(text=row["summary"][name].strip(), label=name.upper(), category=name.upper())
        for name in _SECTIONS
        if row["summary"].get(name, "").strip()
    ]
    note = row["note"]
    if row["not_verified"]:
        missing = f"not shown on the page it was verified from: {', '.join(row['not_verified'])}"
        note = f"{note}; {missing}" if note else missing
    return Article(
        id=row["id"],
        pmid=row["pmid"],
        doi=row["doi"],
        pmcid=row["pmcid"],
        title=row["title"],
        source=SOURCE,
        abstract_origin="summary",
        sections=sections,
        journal=row["journal"] or "",
        year=row["year"],
        published=str(row["year"] or ""),
        authors=[_author(name) for name in row["authors"]],
        publication_types=list(row["publication_types"]),
        trials=list(row["trials"]),
        landmark=Landmark(
            study_design=row["study_design"],
            sample_size=row["sample_size"],
            population=row["population"] or "",
            intervention=row["intervention"] or "",
            comparator=row["comparator"] or "",
            primary_outcome=row["primary_outcome"] or "",
            follow_up=row["follow_up"] or "",
            main_result=row["main_result"] or "",
            summary=sections,
            labels=[Label(label["claim"], label["stance"], label["rationale"]) for label in row["labels"]],
            verified=row["verified"],
            note=note,
            source_url=row["source_url"],
        ),
    )


_NAME = re.compile(r"(?P<last>.+?) (?P<initials>[A-Z]{1,6})(?: (?P<suffix>Jr|Sr|2nd|3rd|4th))?$")


def _author(name: str) -> Author:
    """ "Zarate CA Jr" as last name, initials and suffix; a name of another form is kept whole."""
    match = _NAME.match(name.strip())
    if match:
        return Author(last=match["last"], initials=match["initials"], suffix=match["suffix"] or "")
    return Author(collective=name.strip())
