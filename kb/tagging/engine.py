"""From sentences to claims with stance, evidence sentences, confidence and a readable reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kb.tagging.claims import load_claims
from kb.tagging.features import PAIR_NAMES, Batch, read
from kb.tagging.model import OUTCOMES, load_model, vectors
from kb.tagging.sentences import Sentence

__all__ = ["Tag", "decide", "tag_each", "tag_sentences"]

_THRESHOLD = 0.5  # a claim is tagged when "not addressed" is no likelier than this
_EVIDENCE = 3
_EVIDENT = 2.0  # how much more it counts that a sentence is evidence at all than evidence for this stance
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


_WORDING = {"Pn+": "in favour", "Pn-": "against", "Pn?": "doubt"}
_SAID = {
    number: ("wording", _WORDING[name]) if name in _WORDING else ("cue", _SAY[name[3:]])
    for number, name in enumerate(PAIR_NAMES)
    if name in _WORDING or (name.startswith("nr:") and name[3:] in _SAY)
}


class Tag(NamedTuple):
    """One claim that an abstract addresses. `sentences` are 1 to 3 sentence positions, best first."""

    claim: str
    stance: str
    confidence: float
    sentences: tuple[int, ...]
    reason: str


def decide(
    chances: Sequence[float], scores: Sequence[Sequence[float]], positions: Sequence[int]
) -> tuple[int, float, tuple[int, ...]] | None:
    """(index into OUTCOMES, its probability, evidence positions best first), or None for "not addressed"."""
    if chances[0] > _THRESHOLD:
        return None
    stance = max(range(1, len(OUTCOMES)), key=chances.__getitem__)
    worth = sorted([(_EVIDENT * s[0] + s[stance], at) for s, at in zip(scores, positions, strict=True)], reverse=True)
    least = _SECOND_BEST * worth[0][0]
    return stance, chances[stance], tuple(at for value, at in worth[:_EVIDENCE] if value >= least)


class _Reasons:
    """Says of a row of a batch, in one line, what decided it."""

    def __init__(self, batch: Batch) -> None:
        rows, hits = np.arange(len(batch.row_line) + 1), batch.row_hits
        self.batch = batch
        self.places = np.column_stack([-hits.what, hits.start, hits.size]).tolist()
        self.places_from = np.searchsorted(hits.line, rows).tolist()
        row, number = batch.row_features
        self.named, self.named_from = number.tolist(), np.searchsorted(row, rows).tolist()
        self.late = (batch.line_index >= 0.65 * batch.line_count)[batch.row_line].tolist()

    def of(self, row: int, stance: str, sentence: Sentence) -> str:
        """The claim's words, the cues that stand near them, and where the sentence stands."""
        hits: list[str] = []
        for _, start, size in sorted(self.places[self.places_from[row] : self.places_from[row + 1]]):
            text = " ".join(self.batch.tokens[start : start + size])[:30]
            if text not in hits:
                hits.append(text)
        said = [_SAID.get(n) for n in self.named[self.named_from[row] : self.named_from[row + 1]]]
        place = "title" if sentence.section == "TITLE" else sentence.section.lower()
        if place == "other":
            place = "near the end" if self.late[row] else "no section label"
        words = ", ".join(f"“{hit}”" for hit in hits[:3])
        parts = [f"{words} in sentence {sentence.position} ({place})"]
        if direction := [words for kind, words in filter(None, said) if kind == "wording"]:
            parts.append("wording " + " and ".join(direction))
        if near := sorted(words for kind, words in filter(None, said) if kind == "cue"):
            parts.append("cues: " + ", ".join(near[:5]))
        return f"{'background' if stance == 'background' else 'finding, ' + stance}: " + "; ".join(parts)


def tag_sentences(sentences: list[Sentence]) -> list[Tag]:
    """The claims that the sentences of one abstract address, in the order of the claims."""
    return tag_each([sentences])[0]


def tag_each(abstracts: Sequence[list[Sentence]]) -> list[list[Tag]]:
    """`tag_sentences` of several abstracts at once."""
    model = load_model()
    batch = read(abstracts, model.words)
    tags: list[list[Tag]] = [[] for _ in abstracts]
    if not len(batch.case_first):
        return tags
    scores, parts = model.lines(batch)
    chances = model.final(vectors(batch, scores, parts, model.document(batch))).tolist()
    claims = load_claims()
    rows, index = scores.tolist(), batch.line_index[batch.row_line].tolist()
    firsts, reasons = batch.case_first.tolist(), _Reasons(batch)
    for case, (abstract, claim, first, last) in enumerate(
        zip(batch.case_abstract.tolist(), batch.case_claim.tolist(), firsts, [*firsts[1:], len(rows)], strict=True)
    ):
        if chances[case][0] > _THRESHOLD:
            continue
        sentences = abstracts[abstract]
        positions = [sentences[at].position for at in index[first:last]]
        chosen = decide(chances[case], rows[first:last], positions)
        if chosen is None:
            continue
        stance, score, evidence = chosen
        row = first + positions.index(evidence[0])
        tags[abstract].append(
            Tag(
                claims[claim].id,
                OUTCOMES[stance],
                round(model.confidence(score), 4),  # the rest differs with the batch
                evidence,
                reasons.of(row, OUTCOMES[stance], sentences[index[row]]),
            )
        )
    return tags
