"""The learned reading of a draft: which claims a sentence makes in its context, what it asserts of them.

Logistic weights (model.npz, written by scripts/train_check) over the features of kb.check.features. A first
stage scores each sentence by itself; a second, small boosted trees, weighs claim by claim that score with those
of the sentences around it and of the heading, so that "It usually does so within a day." is read with what
stands before it. At run time all of them are tables of numbers in a file that numpy reads.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kb.check.features import CLAIMS, Seen, look, plain
from kb.check.lexicon import Hit

Array = np.ndarray

__all__ = [
    "CUTS",
    "Head",
    "Model",
    "SCALE",
    "STRENGTHS",
    "Reading",
    "Trees",
    "load_model",
    "over_values",
    "pair_features",
    "possible",
    "read",
    "second_stage",
    "using",
]

STRENGTHS = ("certain", "likely", "possible")
CUTS = ("claim", "record", "overstated")
SCALE = 50  # weights are kept as whole numbers of fiftieths
LOW = -6.0  # the score of a sentence that is not there
_HOPELESS = -3.0  # a claim that neither the sentence nor what stands around it scores higher is not made
_WINDOW = 6  # sentences back to which a heading's passage is looked at
_BLOCK = 1000  # rows that the trees take at a time: memory does not grow with the draft
_MARKED = 3  # places in a sentence that are pointed at
# Words that say nothing to a reader when they are given as a reason
_EMPTY = frozenset(
    (
        "the and for with that this was were are has have had been its from but not you your they their "
        "she her his him our all can could may might will would does did than then when what who which "
        "into about out there ketamine esketamine some any one get got just very only also how more most "
        "in of to"
    ).split()
)
# Of the cut: a word that the word list knows to overstate is believed sooner where the labelled drafts hold hardly
# any of its kind.
_SELDOM, _SOONER = frozenset(("intensity", "magnitude", "promotion", "riskfree")), 0.5
_BACK = frozenset("it its this that these those they such the he she".split())


def _names(arrays: Mapping[str, Array], part: str) -> list[str]:
    return arrays[f"{part}.names"].tobytes().decode().split("\n")


class Head:
    """Logistic weights of several yes-or-no targets: a table of features by targets, in log odds."""

    def __init__(self, names: Iterable[str], weights: Array, bias: Array) -> None:
        self._row = {name: n for n, name in enumerate(names)}
        self._weights, self._bias = weights, bias

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], part: str) -> Head:
        """The head that `Model.from_arrays` calls `part`."""
        weights = arrays[f"{part}.weights"].astype(np.float32) / SCALE
        return cls(_names(arrays, part), weights, arrays[f"{part}.bias"])

    def scores(self, features: Iterable[str]) -> list[float]:
        """One score a target, in units of log odds."""
        row = self._row
        rows = [row[name] for name in features if name in row]
        found: list[float] = (self._weights[rows].sum(axis=0) + self._bias).tolist()
        return found

    def weight(self, feature: str, target: int) -> float:
        """The weight of one feature for one target, in units of log odds; 0 for an unknown feature."""
        row = self._row.get(feature)
        return 0.0 if row is None else float(self._weights[row, target])


class Trees:
    """Boosted trees of one depth. A tree asks in each node whether a value is above a threshold; nodes are in
    the order of a heap (below node k stand 2k + 1, for no, and 2k + 2), leaves follow from left to right.
    """

    def __init__(self, names: Iterable[str], base: float, value: Array, bound: Array, leaf: Array) -> None:
        """`value` (place in `names`) and `bound` hold a row of nodes for each tree, `leaf` a row of its leaves."""
        self.names, self.base = tuple(names), base
        self._value, self._bound, self._leaf = value.astype(np.intp), bound, leaf

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], part: str) -> Trees:
        """The trees that `Model.from_arrays` calls `part`."""
        value, bound, leaf = (arrays[f"{part}.{name}"] for name in ("value", "bound", "leaf"))
        return cls(_names(arrays, part), float(arrays[f"{part}.base"]), value, bound, leaf)

    def chances(self, rows: list[dict[str, float]]) -> list[float]:
        """The probability of yes for each row of named values; one that is not named is 0."""
        return [
            chance(score)
            for first in range(0, len(rows), _BLOCK)
            for score in self._scores(rows[first : first + _BLOCK]).tolist()
        ]

    def _scores(self, rows: list[dict[str, float]]) -> Array:
        values = np.array([[row.get(name, 0.0) for name in self.names] for row in rows])
        at = np.zeros((len(rows), len(self._leaf)), dtype=np.intp)
        tree, row = np.arange(len(self._leaf)), np.arange(len(rows))[:, None]
        while at[0, 0] < self._value.shape[1]:
            above = values[row, self._value[tree, at]] > self._bound[tree, at]
            at = 2 * at + 1 + above
        scores: Array = self._leaf[tree, at - self._value.shape[1]].sum(axis=1) + self.base
        return scores


@dataclass(frozen=True, slots=True)
class Model:
    """All weights. `cuts`: the probability from which a claim, an overstatement or a record counts."""

    first: Head
    asserts: Head
    strength: Head
    overstated: Head
    second: Trees
    over: Trees
    cuts: dict[str, float]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Model:
        """From the arrays of model.npz: of a head "names" (text, a name a line, as bytes), "weights" (whole numbers,
        of 1 / SCALE) and "bias"; of trees "names", "value", "bound", "leaf", "base"; "cuts" in the order of CUTS.
        """
        heads = [Head.from_arrays(arrays, part) for part in ("first", "asserts", "strength", "overstated")]
        trees = [Trees.from_arrays(arrays, part) for part in ("second", "over")]
        return cls(*heads, *trees, dict(zip(CUTS, arrays["cuts"].tolist(), strict=True)))


@functools.lru_cache(maxsize=1)
def _shipped() -> Model:
    with importlib.resources.files("kb.check").joinpath("model.npz").open("rb") as file:
        with np.load(file, allow_pickle=False) as arrays:
            return Model.from_arrays(arrays)


_instead: list[Model | None] = []


def load_model() -> Model | None:
    """The weights in use: those of model.npz, unless `using` says otherwise; None: rules alone read."""
    return _instead[-1] if _instead else _shipped()


@contextlib.contextmanager
def using(model: Model | None) -> Iterator[None]:
    """Read drafts with these weights, or None, for a while: for training and cross-validation."""
    _instead.append(model)
    try:
        yield
    finally:
        _instead.pop()


@dataclass(slots=True)
class Reading:
    """What the model makes of one sentence. `claims`: claim -> (claim, denial or question, probability).

    `words`: claim -> places of the words that speak most for it; none where only the context does.
    `promises`: it promises too much; `overstating`: places of the words that do, and the kind of each, none
    where no single word can be blamed.
    """

    claims: dict[str, tuple[str, float]]
    record: bool
    strength: str
    overstated: float
    words: dict[str, list[Hit]]
    promises: bool
    overstating: list[tuple[Hit, str]]


def chance(score: float) -> float:
    """Log odds as a probability."""
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, score))))


def read(statements: list[Any], quiet: list[bool]) -> list[Reading | None]:
    """Every sentence as the model reads it, in order; None where quiet[n] says that it asserts nothing."""
    model = load_model()
    if model is None:
        return [None] * len(statements)
    seen = look(statements)
    scores = [model.first.scores([*here.own, *here.around]) for here in seen]
    rows = [
        (n, place)
        for n in range(len(seen))
        if not quiet[n]
        for place in range(len(CLAIMS))
        if possible(seen, scores, n, place)
    ]
    chances = model.second.chances([second_stage(statements, seen, scores, n, place) for n, place in rows])
    made: dict[int, dict[str, float]] = {}
    for (n, place), probability in zip(rows, chances, strict=True):
        if probability >= model.cuts["claim"]:
            made.setdefault(n, {})[CLAIMS[place]] = probability
    loud = [n for n in range(len(seen)) if not quiet[n]]
    values = []
    for n in loud:
        best = CLAIMS[max(range(len(CLAIMS)), key=scores[n].__getitem__)]
        said = model.asserts.scores(pair_features(statements, seen, n, best))
        first = model.overstated.scores([*seen[n].own, *seen[n].around, *seen[n].scoped])[0]
        values.append(over_values(statements[n], seen[n], scores[n], first, said))
    over = dict(zip(loud, model.over.chances(values), strict=True))
    return [
        None if quiet[n] else _one(model, statements, seen, scores, n, made.get(n, {}), over[n])
        for n in range(len(seen))
    ]


def possible(seen: list[Seen], scores: list[list[float]], n: int, place: int) -> bool:
    """Whether a sentence may make a claim at all: its words score it, or the sentences that it may hang on."""
    here = seen[n]
    near = range(max(0, min(here.section, n - 1), n - _WINDOW), n + 1)
    heading = scores[here.heading][place] if here.heading >= 0 else LOW
    return heading > _HOPELESS or any(scores[k][place] > _HOPELESS for k in near)


def _one(
    model: Model,
    statements: list[Any],
    seen: list[Seen],
    scores: list[list[float]],
    n: int,
    made: dict[str, float],
    over: float,
) -> Reading:
    s, here = statements[n], seen[n]
    claims: dict[str, tuple[str, float]] = {}
    words: dict[str, list[Hit]] = {}
    for claim, probability in made.items():
        denial, question = model.asserts.scores(pair_features(statements, seen, n, claim))
        asserts = "claim"
        if max(denial, question) > 0:
            asserts = "denial" if denial >= question else "question"
        if asserts == "denial" and "notnegation" in s.hits and s.hits["notnegation"][0].start == 0:
            asserts = "claim"  # "Not only does it help …"
        claims[claim] = ("question" if s.question else asserts, probability)
        words[claim] = _telling(model.first, CLAIMS.index(claim), s.words, here)
    strengths = model.strength.scores(here.own)
    strength = STRENGTHS[max(range(len(strengths)), key=strengths.__getitem__)]
    marked: list[tuple[Hit, str]] = []
    promises = False
    known = {w.kind for w in s.overstating}
    if over >= model.cuts["overstated"] * (_SOONER if known & _SELDOM else 1.0):
        promises, marked = True, _overstating(model.overstated, s.words, here)
    record = chance(scores[n][len(CLAIMS) + 1]) >= model.cuts["record"]
    return Reading(claims, record, strength, over, words, promises, marked)


def second_stage(
    statements: list[Any], seen: list[Seen], scores: list[list[float]], n: int, place: int
) -> dict[str, float]:
    """The values that decide on one claim of one sentence: its own score, those around it, the article's."""
    s, here, own = statements[n], seen[n], scores[n]
    others = [z for k, z in enumerate(own[: len(CLAIMS)]) if k != place]
    z, top = own[place], max(others)
    before = [scores[n - back][place] if n >= back else LOW for back in (1, 2, 3)]
    last = scores[n - 1] if n else [LOW] * len(own)
    after = scores[here.after] if here.after >= 0 else [LOW] * len(own)
    start = max(here.section, n - _WINDOW)
    passage = max((scores[k][place] for k in range(start, n)), default=LOW)
    heading = scores[here.heading][place] if here.heading >= 0 else LOW
    ruled = any(c.claim == CLAIMS[place] for c in s.claims)
    return {
        f"is {CLAIMS[place]}": 1.0, "own": z, "any claim": own[len(CLAIMS)],
        "record": own[len(CLAIMS) + 1], "overstated": own[len(CLAIMS) + 2], "best other": top, "lead": z - top,
        "before 1": before[0], "before 2": before[1], "before 3": before[2],
        "any before": last[len(CLAIMS)], "lead before": before[0] - max(last[: len(CLAIMS)]),
        "after": after[place], "any after": after[len(CLAIMS)], "heading": heading, "passage": passage,
        "carried": max(before[0], passage), "points back": float(s.words[0] in _BACK or len(s.words) < 7),
        "question": float(s.question), "bullet": float(s.kind == "bullet"), "ruled": float(ruled),
        "ruled other": float(bool(s.claims) and not ruled), "length": float(min(len(s.words), 40)),
        "place": float(min(n, 40)),
    }  # fmt: skip


def over_values(s: Any, here: Seen, scores: list[float], first: float, said: list[float]) -> dict[str, float]:
    """The values that decide on overstatement: the words' own score, whether a word list or a family of
    praise names them, whether the sentence makes a claim, and whether it asserts it or sends it back.
    """
    negated = any(f"{tag}:{name}" in here.scoped for tag in ("ng", "db") for name in _KINDS)
    return {
        "own": first, "known": float(len(s.overstating)), "any claim": scores[len(CLAIMS)],
        "families": float(sum(name in here.senses for name in _KINDS)), "best": max(scores[: len(CLAIMS)]),
        "risks": max(scores[len(CLAIMS) - 2 : len(CLAIMS)]), "denial": said[0], "question": said[1],
        "asked": float(s.question), "negated": float(negated), "record": scores[len(CLAIMS) + 1],
        "first": scores[len(CLAIMS) + 2], "length": float(min(len(s.words), 40)),
    }  # fmt: skip


def pair_features(statements: list[Any], seen: list[Seen], n: int, claim: str) -> list[str]:
    """What tells a claim from its denial and from an open question."""
    s, here = statements[n], seen[n]
    found = here.own + here.scoped
    found += [f"{claim}|{name}" for name in here.own if name[:2] in ("s:", "w:", "c:")]
    found += [f"{claim}|{name}" for name in here.scoped]
    found += [name for name in here.around if name in ("H:question", "P:question")]
    ruled = next((c.asserts for c in s.claims if c.claim == claim), "none")
    return [*found, f"{claim}|", f"ruled:{ruled}", f"{claim}|ruled:{ruled}"]


# --- the words that tell ------------------------------------------------------------------------------------
def _telling(head: Head, target: int, words: list[str], here: Seen) -> list[Hit]:
    """The places of a sentence that speak most for a target: single words, pairs and phrases of families."""
    return [hit for hit, _ in _places(head, target, words, here)[:_MARKED]]


def _places(head: Head, target: int, words: list[str], here: Seen) -> list[tuple[Hit, float]]:
    weights = [0.0] * len(words)
    plains = [plain(w) for w in words]
    for at, word in enumerate(plains):
        weights[at] = head.weight(f"w:{word}", target) + head.weight(f"p:{word[:5]}", target) * (
            len(word) > 5
        )
    for at, (a, b) in enumerate(zip(plains, plains[1:], strict=False)):
        both = head.weight(f"b:{a}_{b}", target) / 2
        weights[at] += both
        weights[at + 1] += both
    spans: dict[tuple[int, int], float] = {
        (at, at + 1): w for at, w in enumerate(weights) if len(words[at]) > 2 and words[at] not in _EMPTY
    }
    for name, hits in here.senses.items():
        extra = head.weight(f"s:{name}", target)
        for hit in hits if extra > 0 else ():
            key = (hit.start, min(hit.end, len(words)))
            spans[key] = spans.get(key, sum(weights[hit.start : hit.end])) + extra
    chosen: list[tuple[Hit, float]] = []
    for (start, end), weight in sorted(spans.items(), key=lambda pair: (-pair[1], pair[0])):
        if weight < 0.1 or len(chosen) == 2 * _MARKED:
            break
        if not any(h.start < end and start < h.end for h, _ in chosen):
            chosen.append((Hit(start, end), weight))
    return chosen


# Families that overstate, and the kind of overstatement that wording.toml has advice on
_KINDS = {
    "cure": "cure", "forever": "permanent", "absolute": "universal", "proof": "proof", "norisk": "riskfree",
    "hype": "superlative",
}  # fmt: skip


def _overstating(head: Head, words: list[str], here: Seen) -> list[tuple[Hit, str]]:
    """The words that promise too much: only of families that do, as the heaviest words of such a sentence are
    often innocent ("depression"). None where no word of such a family stands there.
    """
    found = []
    for hit, _ in _places(head, 0, words, here)[:_MARKED]:
        for name, kind in _KINDS.items():
            if any(h.start < hit.end and hit.start < h.end for h in here.senses.get(name, ())):
                found.append((hit, kind))
                break
    return sorted(found, key=lambda pair: pair[0].start)
