"""Weigh features: three small learned stages, kept as numbers in model.json and evaluated in plain Python.

1. line: for a claim in a sentence five logistic scores: is it evidence, and evidence for which stance.
2. document: five logistic scores of the abstract's words for the claim (none and the four stances).
3. final: depth-two boosted trees over the first two stages and the named flags give the probability of none
   and of each stance. scripts/train fits all three and writes the file.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib import resources
from itertools import repeat
from typing import Any

from kb.tagging.claims import load_claims
from kb.tagging.features import FLAGS, Pair, Reading

__all__ = ["OUTCOMES", "Model", "load_model", "vector"]

OUTCOMES = ("none", "background", "supports", "contradicts", "mixed")
_WIDTH = len(OUTCOMES)
_ZERO = (0.0,) * _WIDTH
_FLAG_INDEX = {name: index for index, name in enumerate(FLAGS)}
_DIRECTIONS = 8  # the first flags are the direction flags
_ZONES = (
    frozenset(("sec:CONCLUSIONS", "pos:last", "pos:last2")),
    frozenset(("sec:RESULTS",)),
    frozenset(("sec:BACKGROUND", "sec:OBJECTIVE", "sec:METHODS", "pos:first", "pos:title")),
)

Scores = tuple[float, ...]  # evidence, then background, supports, contradicts, mixed; each 0..1


def _sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value > -60 else 0.0


# The weights of one feature are packed into one whole number, a lane of _LANE bits for each output, in ten
# thousandths: adding two such numbers adds all outputs at once, so that sum() does the work. A lane holds
# +-53,000, far more than the few hundred weights of an abstract add up to.
_LANE = 30  # one digit of a whole number in CPython
_MASK, _HALF, _FULL = (1 << _LANE) - 1, 1 << (_LANE - 1), 1 << _LANE
_SCALE = 10_000.0


def _pack(weights: Sequence[float]) -> int:
    return sum(round(value * _SCALE) << (_LANE * lane) for lane, value in enumerate(weights))


def _unpack(total: int, lanes: int) -> list[float]:
    out = []
    for _ in range(lanes):
        low = total & _MASK
        if low >= _HALF:
            low -= _FULL
        out.append(low / _SCALE)
        total = (total - low) >> _LANE
    return out


@lru_cache(maxsize=64)
def _marks(claim: str) -> tuple[float, ...]:
    return tuple(float(claim == other.id) for other in load_claims())


def vector(
    reading: Reading,
    claim: str,
    rows: list[Pair],
    scores: list[Scores],
    others: list[float],
    document: Scores,
) -> list[float]:
    """What the final stage sees of one claim in one abstract; all numbers, always the same length.

    `scores` are parallel to `rows`; `others` are three numbers a claim (best evidence, background,
    supports), for all
    claims in order; `document` the five document scores.
    """
    count = len(reading.lines)
    evidence = [s[0] for s in scores]
    order = sorted(range(len(rows)), key=lambda i: -evidence[i])
    top = order[0]
    second = order[1] if len(order) > 1 else top
    total = sum(evidence) or 1e-9
    missed = 1.0
    for value in evidence:
        missed *= 1.0 - value
    head = [
        evidence[top],
        evidence[second] if second != top else 0.0,
        total,
        1.0 - missed,
        float(len(rows)),
        float(count),
    ]
    head += scores[top][1:]
    head += scores[second][1:]
    mean = [0.0] * (_WIDTH - 1)
    most = [0.0] * (_WIDTH - 1)
    flags = [0.0] * len(FLAGS)
    top_flags = [0.0] * len(FLAGS)
    zones = [[0.0] * (2 + _DIRECTIONS + _WIDTH - 1) for _ in _ZONES]
    for number, row in enumerate(rows):
        e = evidence[number]
        weight = e / total
        stances = scores[number][1:]
        for k, value in enumerate(stances):
            mean[k] += weight * value
            if e * value > most[k]:
                most[k] = e * value
        line = reading.lines[row.index]
        named = set(row.features)
        named.update(line.general or ())
        here = [index for name, index in _FLAG_INDEX.items() if name in named]
        for index in here:
            flags[index] += weight
        if number == top:
            for index in here:
                top_flags[index] = 1.0
        for zone, marks in zip(zones, _ZONES, strict=True):
            if not marks.isdisjoint(named):
                zone[0] = max(zone[0], e)
                zone[1] += e
                for index in here:
                    if index < _DIRECTIONS:
                        zone[2 + index] += e
                for k, value in enumerate(stances):
                    if e * value > zone[2 + _DIRECTIONS + k]:
                        zone[2 + _DIRECTIONS + k] = e * value
    lines = reading.lines
    context = [
        rows[top].index / count,
        float(lines[rows[top].index].ketamine),
        sum(line.ketamine for line in lines) / count,
        float(lines[0].ketamine),
        float(claim in lines[0].strong),
    ]
    return (
        head
        + mean
        + most
        + flags
        + top_flags
        + zones[0]
        + zones[1]
        + zones[2]
        + context
        + others
        + list(document)
        + list(_marks(claim))
    )


class _Columns(dict):
    """Packed document weights by feature, for all claims side by side; each is packed on first use."""

    def __init__(self, data: dict[str, Any], claims: list[str]) -> None:
        super().__init__()
        self._shared, self._tables = data["shared"], [data["claims"].get(claim, {}) for claim in claims]
        # A claim has a weight of its own under its own name: how common it is.
        self.bias = _pack(
            [
                bias + own
                for claim, table in zip(claims, self._tables, strict=True)
                for bias, own in zip(data["bias"], table.get(claim, _ZERO), strict=True)
            ]
        )
        self._known = set(self._shared).union(*self._tables)

    def __missing__(self, feature: str) -> int:
        if feature not in self._known:
            return 0
        shared = self._shared.get(feature, _ZERO)
        weights = [
            a + b
            for table in self._tables
            for a, b in zip(shared, table.get(feature, _ZERO), strict=True)
        ]
        self[feature] = packed = _pack(weights)
        return packed


class Model:
    """The three stages, read from the parsed model.json."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.version: str = data["version"]
        line = data["line"]
        shared = {name: _pack(w) for name, w in line["shared"].items()}
        self._line_bias = _pack(line["bias"])
        self._line_shared = shared
        self._line_claim = {c: {n: _pack(w) for n, w in t.items()} for c, t in line["claims"].items()}
        self._line_pair = {
            claim: shared | {name: shared.get(name, 0) + weights for name, weights in table.items()}
            for claim, table in self._line_claim.items()
        }
        self._claims = [claim.id for claim in load_claims()]
        self._document = _Columns(data["document"], self._claims)
        self._trees = [[tuple(tree) for tree in trees] for trees in data["final"]["trees"]]
        self._base = tuple(data["final"]["base"])
        self._columns = data["final"].get("columns")
        calibration = data["calibration"]
        self._knots, self._values = calibration["score"], calibration["confidence"]

    def lines(self, reading: Reading, claim: str, rows: list[Pair]) -> list[Scores]:
        """Scores of the sentences of one claim, parallel to `rows`."""
        shared, extra = self._line_shared, self._line_claim.get(claim, {})
        merged = self._line_pair.get(claim, shared)
        none = repeat(0)
        out = []
        for row in rows:
            line = reading.lines[row.index]
            base = line.base
            if base is None:
                base = self._line_bias + sum(map(shared.get, line.words or (), none))
                line.base = base = base + sum(map(shared.get, line.general or (), none))
            total = base + sum(map(merged.get, row.features, none))
            total += sum(map(extra.get, line.general or (), none))
            out.append(tuple(map(_sigmoid, _unpack(total, _WIDTH))))
        return out

    def document(self, features: Iterable[str], claims: list[str]) -> dict[str, Scores]:
        """Document scores (not yet squashed) for each of `claims`."""
        if not claims:
            return {}
        columns = self._document
        scores = _unpack(columns.bias + sum(map(columns.__getitem__, features)), _WIDTH * len(self._claims))
        at = {claim: number * _WIDTH for number, claim in enumerate(self._claims)}
        return {claim: tuple(scores[at[claim] : at[claim] + _WIDTH]) for claim in claims}

    def final(self, values: list[float]) -> list[float]:
        """Probabilities of the OUTCOMES; they sum to 1."""
        raw = []
        for trees, base in zip(self._trees, self._base, strict=True):
            total = base
            for f, t, fl, tl, a, b, fr, tr, c, d in trees:
                if values[f] <= t:
                    total += a if values[fl] <= tl else b
                else:
                    total += c if values[fr] <= tr else d
            raw.append(total)
        high = max(raw)
        weights = [math.exp(value - high) for value in raw]
        scale = sum(weights)
        return [value / scale for value in weights]

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


def others_of(best: dict[str, Scores]) -> list[float]:
    """Three numbers for each claim in order: best evidence, background and supports score (0 where not
    touched).
    """
    out: list[float] = []
    for claim in load_claims():
        out.extend(best.get(claim.id, (0.0, 0.0, 0.0)))
    return out


def best_of(scores: list[Scores]) -> tuple[float, float, float]:
    """The highest evidence, background and supports scores among the sentences of a claim."""
    return max(s[0] for s in scores), max(s[1] for s in scores), max(s[2] for s in scores)


@lru_cache(maxsize=1)
def load_model() -> Model:
    """The model that ships with the package."""
    return Model(json.loads(resources.files("kb.tagging").joinpath("model.json").read_text(encoding="utf-8")))
