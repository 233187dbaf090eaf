"""From sentences to claims with stance, evidence sentences, confidence and a readable reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kb.tagging.claims import load_claims
from kb.tagging.features import Pair, Reading, document, pairs, read
from kb.tagging.model import OUTCOMES, Scores, best_of, load_model, others_of, vector
from kb.tagging.sentences import Sentence

__all__ = ["Tag", "decide", "find_claims", "tag_each", "tag_sentences"]

_THRESHOLD = 0.5  # a claim is tagged when "not addressed" is no likelier than this
_HOPELESS = 0.05  # no sentence reaches this: not worth the later stages
_EVIDENCE = 3
_SECOND_BEST = 0.35  # a further evidence sentence needs this share of the best one's score

# Cues in the words of a reader, for reasons. Only these are shown.
_SAY = {
    "no_difference": "no difference or effect",
    "negation": "negation",
    "own": "own finding",
    "known": "known before",
    "aim": "aim",
    "future": "future work",
    "protocol": "protocol",
    "conclusion": "conclusion",
    "stat": "statistics",
    "hedge": "hedged",
    "inconclusive": "inconclusive",
    "contrast": "contrast",
    "superior": "better than control",
    "inferior": "worse than comparator",
    "similar": "similar to comparator",
    "relation": "association",
    "benign": "mild or passing",
    "harm": "harm",
    "lasting": "lasting",
    "brief": "short-lived",
    "review": "review",
    "limitation": "limitation",
    "other_drug": "other drug",
    "method": "method",
}


@dataclass(frozen=True, slots=True)
class Tag:
    """One claim that an abstract addresses. `sentences` are 1 to 3 sentence positions, best first."""

    claim: str
    stance: str
    confidence: float
    sentences: tuple[int, ...]
    reason: str


def decide(
    chances: Sequence[float], scores: Sequence[Scores], positions: Sequence[int]
) -> tuple[int, float, tuple[int, ...]] | None:
    """(index into OUTCOMES, its probability, evidence positions best first), or None for "not addressed"."""
    if chances[0] > _THRESHOLD:
        return None
    stance = max(range(1, len(OUTCOMES)), key=lambda k: chances[k])
    worth = [s[0] + s[stance] for s in scores]
    order = sorted(range(len(worth)), key=lambda i: (-worth[i], -positions[i]))
    kept = [i for i in order[:_EVIDENCE] if worth[i] >= _SECOND_BEST * worth[order[0]]]
    return stance, chances[stance], tuple(positions[i] for i in kept)


def _reason(stance: str, reading: Reading, row: Pair) -> str:
    """One line: the claim's words, the cues that stand near them, and where the sentence stands."""
    sentence = reading.sentences[row.index]
    named = row.features
    near = [_SAY[f[3:]] for f in named if f.startswith("nr:") and f[3:] in _SAY]
    direction = [
        word for mark, word in (("Pn+", "in favour"), ("Pn-", "against"), ("Pn?", "doubt")) if mark in named
    ]
    place = "title" if sentence.section == "TITLE" else sentence.section.lower()
    if place == "other":
        place = (
            "near the end"
            if reading.lines[row.index].place in ("late", "last2", "last")
            else "no section label"
        )
    words = ", ".join(f"“{hit}”" for hit in row.hits[:3])
    parts = [f"{words} in sentence {sentence.position} ({place})"]
    if direction:
        parts.append("wording " + " and ".join(direction))
    if near:
        parts.append("cues: " + ", ".join(sorted(set(near))[:5]))
    return f"{'background' if stance == 'background' else 'finding, ' + stance}: " + "; ".join(parts)


def tag_sentences(sentences: list[Sentence]) -> list[Tag]:
    """The claims that the sentences of one abstract address, in the order of the claims."""
    return tag_each([sentences])[0]


def tag_each(abstracts: Sequence[list[Sentence]]) -> list[list[Tag]]:
    """`tag_sentences` of several abstracts, step by step: each step's tables stay in the processor's cache."""
    readings = [read(sentences) for sentences in abstracts]
    found = [pairs(reading) for reading in readings]
    model = load_model()
    scores = [
        {claim: model.lines(reading, claim, rows) for claim, rows in touched.items()}
        for reading, touched in zip(readings, found, strict=True)
    ]
    return [_decide_all(*one) for one in zip(abstracts, readings, found, scores, strict=True)]


def _decide_all(
    sentences: list[Sentence],
    reading: Reading,
    found: dict[str, list[Pair]],
    scores: dict[str, list[Scores]],
) -> list[Tag]:
    if not found:
        return []
    model = load_model()
    best = {claim: best_of(rows) for claim, rows in scores.items()}
    others = others_of(best)
    likely = [claim for claim in found if best[claim][0] >= _HOPELESS]
    whole = model.document(document(reading), likely)
    tags = []
    for claim in likely:
        rows = found[claim]
        chances = model.final(vector(reading, claim, rows, scores[claim], others, whole[claim]))
        positions = [sentences[row.index].position for row in rows]
        chosen = decide(chances, scores[claim], positions)
        if chosen is None:
            continue
        stance, score, evidence = chosen
        first = next(row for row in rows if sentences[row.index].position == evidence[0])
        tags.append(
            Tag(
                claim,
                OUTCOMES[stance],
                model.confidence(score),
                evidence,
                _reason(OUTCOMES[stance], reading, first),
            )
        )
    return tags


def find_claims(text: str) -> list[tuple[str, str, list[str]]]:
    """The claims whose words one sentence holds, without weighing: for sentences of a draft, not of an
    abstract.

    Gives (claim id, direction, words found) in the order of the claims. Direction is "against" when the
    wording near
    those words denies the claim, "for" when it asserts it, "" when neither can be told. The sentence need
    not name
    ketamine; weak words alone do not count.
    """
    reading = read([Sentence(1, "OTHER", text, 0, len(text))])
    reading.ketamine = True
    out = []
    found = pairs(reading)
    for claim in load_claims():
        for row in found.get(claim.id, ()):
            features = set(row.features)
            negated = bool(features & {"nb:no_difference", "nb:negation"})
            against = "Pn-" in features or negated
            direction = (
                "against"
                if against and ("Pn+" not in features or negated)
                else "for"
                if "Pn+" in features
                else ""
            )
            out.append((claim.id, direction, row.hits))
    return out
