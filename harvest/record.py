"""The records that every source yields and that the store takes in.

A source (landmark studies, PubMed over HTTP, PubMed XML files) knows nothing of
SQLite: it yields `Article` records, and `Deleted` where NLM withdrew one.
All text is Unicode with inline markup already flattened; dates are ISO 8601 as
precise as the source knows them ("2014", "2014-06", "2014-06-03").
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Author:
    """One name in the author list, in the order of the citation."""

    last: str = ""
    fore: str = ""
    initials: str = ""
    suffix: str = ""
    collective: str = ""  # a group that signs as author; then the name parts are empty
    orcid: str = ""  # bare, e.g. 0000-0002-1825-0097
    affiliations: list[str] = field(default_factory=list)
    role: str = "author"  # author, editor, investigator

    @property
    def name(self) -> str:
        """The name as PubMed prints it: "Feder A", "Smith J Jr", or the group."""
        if self.collective:
            return self.collective
        return " ".join(part for part in (self.last, self.initials or self.fore, self.suffix) if part)


@dataclass(slots=True)
class Section:
    """A part of an abstract. `label` is the publisher's, `category` NLM's."""

    text: str
    label: str = ""
    category: str = ""  # BACKGROUND, OBJECTIVE, METHODS, RESULTS, CONCLUSIONS, UNASSIGNED


@dataclass(slots=True)
class OtherAbstract:
    """An abstract in another language or of another kind (plain-language summary)."""

    text: str
    language: str = ""
    kind: str = ""


@dataclass(slots=True)
class MeshHeading:
    """A MeSH heading with its qualifiers as (name, UI, major topic)."""

    descriptor: str
    ui: str = ""
    major: bool = False
    qualifiers: list[tuple[str, str, bool]] = field(default_factory=list)


@dataclass(slots=True)
class Correction:
    """A link to another notice. `kind` is PubMed's RefType, e.g. RetractionIn."""

    kind: str
    other_id: str = ""  # PMID where given
    citation: str = ""
    note: str = ""


@dataclass(slots=True)
class Grant:
    number: str = ""
    agency: str = ""
    country: str = ""
    acronym: str = ""


@dataclass(slots=True)
class Label:
    """A reviewer's word on one claim: it outranks the tagger and survives it."""

    claim: str
    stance: str
    rationale: str = ""


@dataclass(slots=True)
class Landmark:
    """What our own reviewers wrote down about a study (see harvest/landmarks.py)."""

    study_design: str = ""
    sample_size: int | None = None
    population: str = ""
    intervention: str = ""
    comparator: str = ""
    primary_outcome: str = ""
    follow_up: str = ""
    main_result: str = ""
    summary: list[Section] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    verified: str = ""  # full, partial
    note: str = ""
    source_url: str = ""


@dataclass(slots=True)
class Article:
    """A citation. `id` is the PMID; without one, PMC..., then doi:... (never invented)."""

    id: str
    title: str
    source: str  # pubmed, pubmed-files, landmarks
    pmid: str | None = None
    doi: str | None = None
    pmcid: str | None = None
    vernacular_title: str = ""
    sections: list[Section] = field(default_factory=list)
    abstract_origin: str = "publisher"  # publisher, summary (ours), none
    other_abstracts: list[OtherAbstract] = field(default_factory=list)
    copyright: str = ""
    journal: str = ""
    journal_abbreviation: str = ""
    issn: str = ""
    volume: str = ""
    issue: str = ""
    pages: str = ""
    published: str = ""  # ISO date, as precise as known
    year: int | None = None
    language: str = ""  # ISO 639-2, e.g. eng
    authors: list[Author] = field(default_factory=list)
    mesh: list[MeshHeading] = field(default_factory=list)
    substances: list[tuple[str, str]] = field(default_factory=list)  # (name, registry number or UI)
    keywords: list[str] = field(default_factory=list)
    publication_types: list[str] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    trials: list[str] = field(default_factory=list)  # registry numbers, e.g. NCT00749203
    corrections: list[Correction] = field(default_factory=list)
    status: str = ""  # MedlineCitation Status, e.g. MEDLINE, Publisher
    version: int = 1
    created: str = ""  # ISO date the record entered PubMed
    revised: str = ""  # ISO date of the last revision
    landmark: Landmark | None = None
    retracted: bool = False  # publication type D016441, RetractionIn, or its title; never the notice
    supplementary_concepts: list[tuple[str, str, str]] = field(default_factory=list)  # (name, UI, type)
    conflict_of_interest: str = ""
    published_online: str = ""  # ISO date of electronic publication
    published_verbatim: str = ""  # as the source prints it, e.g. "1998 Dec-1999 Jan"
    publisher: str = ""  # of a book
    isbn: str = ""

    @property
    def abstract(self) -> str:
        """The abstract as one text: a line a section, "LABEL: text" where it has a label."""
        return "\n".join(f"{s.label}: {s.text}" if s.label else s.text for s in self.sections)


@dataclass(slots=True)
class Deleted:
    """NLM withdrew this citation (DeleteCitation, or gone from the server)."""

    id: str
    reason: str = "DeleteCitation"


@dataclass(slots=True)
class Quarantined:
    """A record in a readable file that could not be read; the rest goes in."""

    id: str
    reason: str
    raw: bytes = b""
