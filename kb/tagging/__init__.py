"""Title and abstract in; sentences, claims with stance and evidence, and study facets out.

Pure: knows nothing of the database, the web or where an abstract came from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from kb.tagging.claims import STANCES, Claim, ClaimFileError, load_claims
from kb.tagging.engine import Tag, tag_each
from kb.tagging.facets import Dose, Facets, read_facets
from kb.tagging.language import language
from kb.tagging.sentences import SECTIONS, Sentence, split

TAGGER_VERSION = "2026.11.4"
_BATCH = 128
LOW_CONFIDENCE = 0.55  # tags below this go to the review list: about every second of them is wrong

__all__ = [
    "LOW_CONFIDENCE",
    "SECTIONS",
    "STANCES",
    "TAGGER_VERSION",
    "Claim",
    "ClaimFileError",
    "Dose",
    "Facets",
    "Sentence",
    "Tag",
    "Tagged",
    "as_line",
    "language",
    "load_claims",
    "read_facets",
    "split",
    "tag",
    "tag_many",
]


@dataclass(frozen=True, slots=True)
class Tagged:
    """All that was read from one title and abstract. `language` is "en", "other" or "unknown"."""

    language: str
    sentences: list[Sentence]
    tags: list[Tag]
    facets: Facets


def tag(
    title: str, abstract: str, *, mesh: Sequence[str] = (), publication_types: Sequence[str] = ()
) -> Tagged:
    """Read one abstract: sentences, claims with stance and evidence, study facets.

    `abstract` may hold lines "LABEL: text", run-on text, or be empty; `mesh` and `publication_types` are
    names as PubMed
    gives them. Any text is accepted: time is proportional to its length and nothing is raised. A text in a
    language
    other than English gets no tags.
    """
    return next(tag_many([(title, abstract, mesh, publication_types)]))


def tag_many(abstracts: Iterable[tuple[str, str, Sequence[str], Sequence[str]]]) -> Iterator[Tagged]:
    """`tag` of many abstracts, (title, abstract, MeSH headings, publication types) each, in their order; a
    batch at a time, which is faster than one by one.
    """
    source = iter(abstracts)
    while batch := list(islice(source, _BATCH)):
        texts = [(title or "", abstract or "") for title, abstract, _, _ in batch]
        sentences = [split(*text) for text in texts]
        tongues = [language(*text) for text in texts]
        tags = tag_each([s if t != "other" else [] for s, t in zip(sentences, tongues, strict=True)])
        facets = [
            read_facets(title, s, f"{title}\n{abstract}", mesh, types)
            for (title, abstract), s, (_, _, mesh, types) in zip(texts, sentences, batch, strict=True)
        ]
        yield from map(Tagged, tongues, sentences, tags, facets)


def as_line(identifier: str, tagged: Tagged) -> dict[str, Any]:
    """The answer of `kb tag --input` for one abstract, ready for json.dumps; rows in the order of the
    claims.
    """
    order = {claim.id: claim.position for claim in load_claims()}
    text_of = {sentence.position: sentence.text for sentence in tagged.sentences}
    facets = tagged.facets
    return {
        "id": identifier,
        "rows": [
            {
                "claim": row.claim,
                "stance": row.stance,
                "sentence": text_of[row.sentences[0]],
                "confidence": round(row.confidence, 3),
                "sentences": list(row.sentences),
                "reason": row.reason,
            }
            for row in sorted(tagged.tags, key=lambda row: order[row.claim])
        ],
        "study_design": facets.study_design,
        "substances": facets.substances,
        "conditions": facets.conditions,
        "population": facets.population,
        "routes": facets.routes,
        "sample_size": facets.sample_size,
        "species": facets.species,
        "schedule": facets.schedule,
        "control": facets.control,
        "doses": [
            {
                "substance": d.substance,
                "amount": d.amount,
                "amount_high": d.amount_high,
                "unit": d.unit,
                "minutes": d.minutes,
                "text": d.text,
            }
            for d in facets.doses
        ],
        "language": tagged.language,
    }
