"""References that a draft gives: PMIDs, DOIs, PubMed links, "Smith et al., 2014". Resolved in the database
only.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass, field
from urllib.parse import unquote

from kb.check.document import Document
from kb.check.verdicts import Judged

__all__ = ["Reference", "find_references"]

MOST = 200  # references resolved in one draft

_PMID = re.compile(r"\bPMID:?\s{0,3}(\d{4,9})\b", re.IGNORECASE)
_PUBMED = re.compile(r"(?:pubmed\.ncbi\.nlm\.nih\.gov/|ncbi\.nlm\.nih\.gov/pubmed/)(\d{4,9})", re.IGNORECASE)
_PMCID = re.compile(r"\bPMC(\d{4,9})\b")
_DOI = re.compile(r"\b10\.\d{4,9}/[^\s\"<>“”]{2,120}")
_NAME = r"[A-ZÀ-ÖØ-Þ][A-Za-zÀ-ÖØ-öø-ÿ'’-]{1,30}"
_AUTHOR_YEAR = re.compile(
    rf"\b({_NAME})(?:\s(?:et\sal\.?|and\scolleagues|and\sco-workers|(?:&|and)\s{_NAME})"
    rf"(?:['’]s)?[,\s]{{1,3}}\(?|,\s|\s\()((?:19|20)\d\d)[a-z]?\b"
)
_MONTHS = frozenset(
    "January February March April May June July August September October November December In Since By After "
    "Before "
    "Until During Spring Summer Autumn Winter Fall Early Late Mid The Boston London York Washington".split()
)


@dataclass(slots=True)
class Reference:
    """A reference in the draft: document.text[start:end]. `status`: found, not-found or ambiguous.

    `stances`: (claim, stance) of the article where the sentence makes that claim; `disagrees`: one of them is
    not what the sentence says. `corrections`: kinds and citations of errata and the like.
    """

    text: str
    start: int
    end: int
    kind: str
    value: str
    status: str = "not-found"
    article_id: str = ""
    citation: str = ""
    url: str = ""
    retracted: bool = False
    corrections: list[str] = field(default_factory=list)
    stances: list[tuple[str, str]] = field(default_factory=list)
    disagrees: bool = False
    note: str = ""


def find_references(
    document: Document, judged: list[Judged], connection: sqlite3.Connection
) -> list[Reference]:
    """Every reference of the draft in order, resolved against the database. Nothing is looked up
    elsewhere."""
    found: dict[int, Reference] = {}

    def add(start: int, end: int, kind: str, value: str) -> None:
        if not any(r.start < end and start < r.end for r in found.values()):
            found[start] = Reference(document.text[start:end], start, end, kind, value)

    text = document.text
    for match in _PUBMED.finditer(text):
        add(*match.span(), "pmid", match.group(1))
    for match in _PMID.finditer(text):
        add(*match.span(), "pmid", match.group(1))
    for match in _DOI.finditer(text):
        doi = match.group().rstrip(".,;:)]}'’*_")
        if doi.count("(") > doi.count(")"):
            doi += ")"
        add(match.start(), match.start() + len(doi), "doi", doi.lower())
    for match in _PMCID.finditer(text):
        add(*match.span(), "pmcid", f"PMC{match.group(1)}")
    for start, end, address in document.links:
        address = unquote(address)
        pmid, doi, pmc = _PUBMED.search(address), _DOI.search(address), _PMCID.search(address)
        if pmid:
            add(start, end, "pmid", pmid.group(1))
        elif doi:
            add(start, end, "doi", doi.group().rstrip("/.").lower())
        elif pmc:
            add(start, end, "pmcid", pmc.group())
    for match in _AUTHOR_YEAR.finditer(text):
        if match.group(1) not in _MONTHS:
            add(*match.span(), "author-year", f"{match.group(1)} {match.group(2)}")
    references = [found[start] for start in sorted(found)][:MOST]
    for reference in references:
        _resolve(reference, connection)
        if reference.status == "found":
            _compare(reference, judged, connection)
    # "Boston (2014)" is no reference: a name and a year that no article has count only with "et al."
    return [
        r
        for r in references
        if r.kind != "author-year" or r.status != "not-found" or re.search(r"et\sal|colleagues|&", r.text)
    ]


def _resolve(r: Reference, connection: sqlite3.Connection) -> None:
    columns = (
        "SELECT id, author_list, title, coalesce(journal, ''), year, retracted, coalesce(retraction_note, "
        "''), pmid, doi FROM articles "
    )
    if r.kind == "pmid":
        rows = connection.execute(columns + "WHERE pmid = ? OR id = ?", (r.value, r.value)).fetchall()
    elif r.kind == "doi":
        rows = connection.execute(columns + "WHERE doi = ? OR doi = ?", (r.value, r.value.upper())).fetchall()
    elif r.kind == "pmcid":
        rows = connection.execute(columns + "WHERE pmcid = ? OR pmcid = ?", (r.value, r.value[3:])).fetchall()
    else:
        name, year = r.value.rsplit(" ", 1)
        like = name.replace("’", "'").replace("%", "").replace("_", "")
        rows = connection.execute(
            columns + "WHERE year = ? AND (author_list LIKE ? OR author_list LIKE ?) LIMIT 6",
            (int(year), f"{like} %", f"{like},%"),
        ).fetchall()
    if not rows:
        r.note = "not in this database: check it at its source"
        return
    if len(rows) > 1:
        r.status = "ambiguous"
        r.note = f"{len(rows)} articles of this name and year are in this database: give the PMID"
        return
    row = rows[0]
    r.status, r.article_id, r.retracted = "found", row[0], bool(row[5])
    first = row[1].split(",")[0].strip()
    names = f"{first} et al" if "," in row[1] else first
    r.citation = (
        ". ".join(p.strip(" .") for p in (names, row[2], row[3], str(row[4] or "")) if p and p.strip(" ."))
        + "."
    )
    r.url = (
        f"https://pubmed.ncbi.nlm.nih.gov/{row[7]}/"
        if row[7]
        else f"https://doi.org/{row[8]}"
        if row[8]
        else ""
    )
    if r.retracted:
        r.note = "this article has been retracted" + (f": {row[6]}" if row[6] else "")
    for kind, citation in connection.execute(
        "SELECT kind, coalesce(citation, note, '') FROM corrections WHERE article_id = ? ORDER BY id",
        (r.article_id,),
    ):
        r.corrections.append(f"{kind}: {citation}".strip(": "))


def _compare(r: Reference, judged: list[Judged], connection: sqlite3.Connection) -> None:
    """Whether the article says what the sentence that cites it says."""
    near = [j for j in judged if j.statement.start <= r.start < j.statement.end + 3]
    if not near:
        return
    tags = dict(connection.execute("SELECT claim_id, stance FROM tags WHERE article_id = ?", (r.article_id,)))
    for claim in (c for j in near for c in j.claims):
        stance = tags.get(claim.made.claim)
        if stance is None:
            continue
        r.stances.append((claim.made.claim, stance))
        wrong = {"claim": "contradicts", "denial": "supports"}.get(claim.made.asserts)
        if stance == wrong:
            r.disagrees = True
            r.note = (r.note + "; " if r.note else "") + (
                f"it does not say what the sentence says: on {claim.made.claim} its own result {stance}"
            )
