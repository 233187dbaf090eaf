"""Weigh features: small learned stages, kept as numbers in model.json and evaluated with numpy.

1. line: for a claim in a sentence five logistic scores: is it evidence, and evidence for which stance.
2. part: for a sentence, which part of an abstract it is (background, aim, own result, ...).
3. document: five logistic scores of the abstract's words for the claim (none and the four stances).
4. final: depth-two boosted trees over these stages and the named flags give the probability of none and of
   each stance. scripts/train fits them all and writes the file.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np

from kb.tagging.claims import load_claims
from kb.tagging.features import IMPLIED, LINE_NAMES, PAIR_NAMES, Batch, Words, cue_names
from kb.tagging.lexicon import distinct

__all__ = ["OUTCOMES", "PARTS", "Model", "document_names", "documents", "load_model", "vectors"]

Array = np.ndarray

OUTCOMES = ("none", "background", "supports", "contradicts", "mixed")
_WIDTH = len(OUTCOMES)
# What a sentence is for in its abstract; "other": key words, funding, registration
PARTS = ("title", "background", "aim", "methods", "result", "conclusion", "future", "other")
_OWN = [PARTS.index("result"), PARTS.index("conclusion")]
_DIRECTIONS = 8  # the first flags are the direction flags
_CUE_PLACES = ("q:", "Tq:", "Cq:")  # a cue anywhere, in the title, in the last two sentences


def document_names() -> list[str]:
    """The features of a whole abstract beside its stems."""
    return [place + cue for place in _CUE_PLACES for cue in cue_names()]


def documents(batch: Batch) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The features of the abstracts as a whole: (abstract, stem) and (abstract, number of document_names),
    each once and in order.
    """
    line, stem = batch.stems
    most = int(stem.max(initial=0)) + 1
    stems = np.divmod(distinct(batch.line_abstract[line] * most + stem), most)
    cues = len(cue_names())
    table = np.zeros((batch.abstracts, len(_CUE_PLACES) * cues), dtype=bool)
    line, cue = np.nonzero(batch.cues)
    index, count = batch.line_index[line], batch.line_count[line]
    for number, there in enumerate((index >= 0, index == 0, index >= count - 2)):
        table[batch.line_abstract[line[there]], number * cues + cue[there]] = True
    return stems, np.nonzero(table)


def _add(out: Array, rows: Array | None, numbers: Array | tuple[Array, ...], table: Array) -> None:
    """Add the weights of features to the rows that have them; `rows` are in order, None: one each."""
    if rows is None:
        out += table[numbers]
    elif len(rows):
        first = np.flatnonzero(np.diff(rows, prepend=-1))
        out[rows[first]] += np.add.reduceat(table[numbers], first, axis=0)


def _squash(values: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-np.clip(values, -60.0, 60.0)))


def vectors(batch: Batch, scores: Array, parts: Array, document: Array) -> Array:
    """What the final stage sees: a line of numbers for each case of the batch.

    `scores` are the five scores of each row, `parts` the chances of PARTS of each line, `document` the five
    scores of each abstract for each claim.
    """
    first, case = batch.case_first, batch.case_abstract
    cases, rows = len(first), len(scores)
    if not cases:
        return np.zeros((0, 0))
    count = np.diff(np.append(first, rows))
    case_of = np.repeat(np.arange(cases), count)
    evidence, stances = scores[:, 0], scores[:, 1:]
    order = np.lexsort((np.arange(rows), -evidence, case_of))
    top = order[first]
    several = count > 1
    second = np.where(several, order[np.minimum(first + 1, rows - 1)], top)
    total = np.maximum(np.add.reduceat(evidence, first), 1e-9)
    weight = evidence / total[case_of]
    lines = batch.line_count[batch.row_line[top]]
    head = np.column_stack(
        [
            evidence[top], np.where(several, evidence[second], 0.0), total,
            1.0 - np.multiply.reduceat(1.0 - evidence, first), count, lines,
        ]
    )  # fmt: skip
    flags = batch.row_flags.astype(float)
    likely = evidence[:, None] * stances
    zones = []
    section, spot = batch.zone[batch.row_line], batch.spot[batch.row_line]
    for sections, spots in _ZONES:
        inside = (np.isin(section, sections) | np.isin(spot, spots))[:, None].astype(float)
        here = inside * evidence[:, None]
        zones += [
            np.maximum.reduceat(here, first), np.add.reduceat(here, first),
            np.add.reduceat(here * flags[:, :_DIRECTIONS], first), np.maximum.reduceat(inside * likely, first),
        ]  # fmt: skip
    named = np.bincount(batch.line_abstract, weights=batch.ketamine, minlength=batch.abstracts)
    opening = np.searchsorted(batch.line_abstract, np.arange(batch.abstracts))
    context = np.column_stack(
        [
            batch.line_index[batch.row_line[top]] / lines, batch.ketamine[batch.row_line[top]],
            named[case] / lines, batch.ketamine[opening[case]], batch.title_hit,
        ]
    )  # fmt: skip
    claims = len(load_claims())
    others = np.zeros((batch.abstracts, claims, 3))
    others[case, batch.case_claim] = np.maximum.reduceat(scores[:, :3], first)
    part = parts[batch.row_line]
    own = part[:, _OWN].sum(axis=1)[:, None]
    finding = np.lexsort((np.arange(rows), -stances[:, 1:].max(axis=1), case_of))[first]
    shares = np.zeros((batch.abstracts, len(PARTS)))
    filled = np.unique(batch.line_abstract)  # an abstract may be empty
    shares[filled] = np.add.reduceat(parts, opening[filled]) / batch.line_count[opening[filled], None]
    roles = [
        np.add.reduceat(weight[:, None] * part, first), part[top], part[finding],
        np.maximum.reduceat(stances * own, first), np.maximum.reduceat(stances * (1.0 - own), first),
        np.maximum.reduceat(evidence[:, None] * np.hstack([own, 1.0 - own]), first), shares[case],
    ]  # fmt: skip
    return np.hstack(
        [
            *roles, head, stances[top], stances[second], np.add.reduceat(weight[:, None] * stances, first),
            np.maximum.reduceat(likely, first), np.add.reduceat(weight[:, None] * flags, first), flags[top],
            *zones, context, others[case].reshape(cases, -1), document[case, batch.case_claim],
            np.eye(claims)[batch.case_claim],
        ]
    )  # fmt: skip


def _numbers(names: tuple[str, ...], mark: str) -> dict[str, int]:
    return {name[len(mark) :]: n for n, name in enumerate(names) if name.startswith(mark)}


_SECTIONS = _numbers(LINE_NAMES, "sec:")
_SPOTS = {name: n - len(_SECTIONS) for name, n in _numbers(LINE_NAMES, "pos:").items()}
# Where a finding, a result and mere background are looked for
_ZONES = tuple(
    ([_SECTIONS[name] for name in sections.split()], [_SPOTS[name] for name in spots.split()])
    for sections, spots in (
        ("CONCLUSIONS", "last last2"), ("RESULTS", ""), ("BACKGROUND OBJECTIVE METHODS", "first title")
    )
)  # fmt: skip


class Model:
    """The three stages, read from the parsed model.json."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.version: str = data["version"]
        self._claims = [claim.id for claim in load_claims()]
        line, whole, part = data["line"], data["document"], data["part"]
        stems = {
            name[2:]
            for names in (line["shared"], part["weights"], whole["shared"])
            for name in names
            if name[:2] in ("w:", "D:")
        }
        stems.update(name[2:] for table in whole["claims"].values() for name in table if name[:2] == "D:")
        self.words = Words({stem: number for number, stem in enumerate(sorted(stems), 1)})
        names = ["", *sorted(stems)]
        # Of each feature of a line: five weights a claim, and one for each of PARTS; of a stem, which all
        # claims share, five and one for each of PARTS.
        self._line_bias = np.append(np.tile(line["bias"], len(self._claims)), part["bias"])
        nothing = (0.0,) * len(PARTS)
        parts = np.array([part["weights"].get(name, nothing) for name in LINE_NAMES])
        table = np.hstack([self._table(line, LINE_NAMES), parts])
        for number, others in enumerate(IMPLIED):
            table[number] += table[list(others)].sum(axis=0)
        self._line = table.astype(np.float32)
        self._pair = self._table(line, PAIR_NAMES).reshape(len(PAIR_NAMES), len(self._claims), _WIDTH)
        self._word = np.array(
            [
                [*line["shared"].get(f"w:{stem}", (0.0,) * _WIDTH), *part["weights"].get(f"w:{stem}", nothing)]
                for stem in names
            ]
        )
        # A claim has a weight of its own under its own name: how common it is.
        self._document_bias = np.tile(whole["bias"], len(self._claims)) + np.concatenate(
            [whole["claims"].get(claim, {}).get(claim, (0.0,) * _WIDTH) for claim in self._claims]
        )
        self._stem = self._table(whole, [f"D:{stem}" for stem in names]).astype(np.float32)
        self._cue = self._table(whole, document_names())
        final = data["final"]
        trees = [tree for outcome in final["trees"] for tree in outcome]
        self._trees = tuple(np.array(column) for column in zip(*trees, strict=True))
        self._base = np.array(final["base"])
        calibration = data["calibration"]
        self._knots, self._values = calibration["score"], calibration["confidence"]

    def _table(self, part: dict[str, Any], names: Any) -> Array:
        """Weights by feature, five for each claim side by side: those that all claims share and its own."""
        number = {name: n for n, name in enumerate(names)}
        out = np.zeros((len(number), len(self._claims), _WIDTH))
        for name, weights in part["shared"].items():
            if name in number:
                out[number[name]] += weights
        for place, claim in enumerate(self._claims):
            for name, weights in part["claims"].get(claim, {}).items():
                if name in number:
                    out[number[name], place] += weights
        return out.reshape(len(number), -1)

    def lines(self, batch: Batch) -> tuple[Array, Array]:
        """(the five scores of each row, the chances of PARTS of each line), all 0 to 1."""
        general = np.tile(self._line_bias, (len(batch.line_first), 1))
        for rows, numbers in batch.features:
            _add(general, rows, numbers, self._line)
        own = np.zeros((len(general), self._word.shape[1]))
        _add(own, *batch.stems, self._word)
        width = len(self._claims) * _WIDTH
        parts = _squash(general[:, width:] + own[:, _WIDTH:])
        general = general[:, :width].reshape(len(own), len(self._claims), _WIDTH)
        out = general[batch.row_line, batch.row_claim] + own[batch.row_line, :_WIDTH]
        row, number = batch.row_features
        _add(out, row, (number, batch.row_claim[row]), self._pair)
        return _squash(out), parts / parts.sum(axis=1, keepdims=True)

    def document(self, batch: Batch) -> Array:
        """By abstract and claim: five scores of its words, not squashed."""
        stems, cues = documents(batch)
        out = np.tile(self._document_bias, (batch.abstracts, 1))
        _add(out, *stems, self._stem)
        _add(out, *cues, self._cue)
        return out.reshape(batch.abstracts, len(self._claims), _WIDTH)

    def final(self, values: Array) -> Array:
        """By case: probabilities of the OUTCOMES; they sum to 1."""
        if not len(values):
            return np.zeros((0, _WIDTH))
        f, t, fl, tl, a, b, fr, tr, c, d = self._trees
        left = values[:, f.astype(np.intp)] <= t
        at = np.where(left, fl, fr).astype(np.intp)
        low = np.take_along_axis(values, at, axis=1) <= np.where(left, tl, tr)
        raw = np.where(left, np.where(low, a, b), np.where(low, c, d))
        raw = raw.reshape(len(values), _WIDTH, -1).sum(axis=2) + self._base
        weights = np.exp(raw - raw.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)

    def confidence(self, score: float) -> float:
        """The share of tags with this score whose claim and stance were right in cross-validation."""
        at = bisect_right(self._knots, score)
        if at == 0:
            return self._values[0]
        if at == len(self._knots):
            return self._values[-1]
        left, right = self._knots[at - 1], self._knots[at]
        share = (score - left) / (right - left) if right > left else 0.0
        return self._values[at - 1] + share * (self._values[at] - self._values[at - 1])


@lru_cache(maxsize=1)
def load_model() -> Model:
    """The model that ships with the package."""
    return Model(json.loads(resources.files("kb.tagging").joinpath("model.json").read_text(encoding="utf-8")))
