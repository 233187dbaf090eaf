"""The learned reading of a draft: which claims a sentence makes in its context, what it asserts of them.

Logistic weights (model.json, written by scripts/train_check) over the features of kb.check.features. A first
stage scores each sentence by itself; a second weighs, claim by claim, that score with those of the sentences
around it and of the heading, so that "It usually does so within a day." is read with what stands before it.
At run time this is plain Python over numbers in a file.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kb.check.features import CLAIMS, Seen, look, plain
from kb.check.lexicon import Hit

__all__ = [
    "Head",
    "Model",
    "Reading",
    "load_model",
    "over_values",
    "pair_features",
    "read",
    "second_stage",
    "using",
]

LOW = -6.0  # the score of a sentence that is not there
_WINDOW = 6  # sentences back to which a heading's passage is looked at
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
# Of the cut: a word that the word list knows to overstate is believed sooner, still sooner where the labelled
# drafts hold hardly any of its kind.
_SELDOM = frozenset(("intensity", "promotion", "riskfree"))
_SOON, _SOONER = 0.75, 0.5
_BACK = frozenset("it its this that these those they such the he she".split())


@dataclass(frozen=True, slots=True)
class Head:
    """Logistic weights of several yes-or-no targets: weights[feature] = [target, weight, target, ...]."""

    targets: tuple[str, ...]
    bias: tuple[float, ...]
    weights: dict[str, list[float]]
    scale: float

    def scores(self, features: Iterable[str]) -> list[float]:
        """One score a target, in units of log odds."""
        sums = [0.0] * len(self.targets)
        weights = self.weights
        for name in features:
            row = weights.get(name)
            if row:
                for at in range(0, len(row), 2):
                    sums[row[at]] += row[at + 1]
        return [b + s / self.scale for b, s in zip(self.bias, sums, strict=True)]

    def weight(self, feature: str, target: int) -> float:
        row = self.weights.get(feature, ())
        for at in range(0, len(row), 2):
            if row[at] == target:
                return row[at + 1] / self.scale
        return 0.0


@dataclass(frozen=True, slots=True)
class Model:
    """All weights. `cuts`: the probability from which a claim, an overstatement or a record counts."""

    first: Head
    second: dict[str, float]
    asserts: Head
    strength: Head
    overstated: Head
    over: dict[str, float]
    cuts: dict[str, float]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Model:
        def head(d: dict[str, Any]) -> Head:
            return Head(tuple(d["targets"]), tuple(d["bias"]), d["weights"], d["scale"])

        return cls(
            head(data["first"]), data["second"], head(data["asserts"]), head(data["strength"]),
            head(data["overstated"]), data["over"], data["cuts"],
        )  # fmt: skip


@functools.lru_cache(maxsize=1)
def _shipped() -> Model:
    text = importlib.resources.files("kb.check").joinpath("model.json").read_text(encoding="utf-8")
    return Model.from_dict(json.loads(text))


_instead: list[Model | None] = []


def load_model() -> Model | None:
    """The weights in use: those of model.json, unless `using` says otherwise; None: rules alone read."""
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
    found: list[Reading | None] = []
    for n, (s, here) in enumerate(zip(statements, seen, strict=True)):
        found.append(None if quiet[n] else _one(model, statements, seen, scores, n, s, here))
    return found


def _one(
    model: Model,
    statements: list[Any],
    seen: list[Seen],
    scores: list[list[float]],
    n: int,
    s: Any,
    here: Seen,
) -> Reading:
    claims: dict[str, tuple[str, float]] = {}
    words: dict[str, list[Hit]] = {}
    for place, claim in enumerate(CLAIMS):
        if scores[n][place] < -5.5:
            continue  # nothing in the context lifts a claim from there
        values = second_stage(statements, seen, scores, n, place)
        probability = chance(sum(model.second.get(name, 0.0) * value for name, value in values.items()))
        if probability < model.cuts["claim"]:
            continue
        denial, question = model.asserts.scores(pair_features(statements, seen, n, claim))
        asserts = "claim"
        if max(denial, question) > 0:
            asserts = "denial" if denial >= question else "question"
        if asserts == "denial" and "notnegation" in s.hits and s.hits["notnegation"][0].start == 0:
            asserts = "claim"  # "Not only does it help …"
        claims[claim] = ("question" if s.question else asserts, probability)
        words[claim] = _telling(model.first, place, s.words, here)
    strengths = model.strength.scores(here.own)
    strength = model.strength.targets[max(range(len(strengths)), key=strengths.__getitem__)]
    best = CLAIMS[max(range(len(CLAIMS)), key=scores[n].__getitem__)]
    said = model.asserts.scores(pair_features(statements, seen, n, best))
    first = model.overstated.scores([*here.own, *here.around, *here.scoped])[0]
    values = over_values(s, here, scores[n], first, said)
    over = chance(sum(model.over.get(name, 0.0) * value for name, value in values.items()))
    marked: list[tuple[Hit, str]] = []
    promises = False
    known = {w.kind for w in s.overstating}
    if over >= model.cuts["overstated"] * (_SOONER if known & _SELDOM else _SOON if known else 1.0):
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
    any_claim = own[len(CLAIMS)]
    before = [scores[n - back][place] if n >= back else LOW for back in (1, 2, 3)]
    last = scores[n - 1] if n else [LOW] * len(own)
    after = scores[here.after] if here.after >= 0 else [LOW] * len(own)
    start = max(here.section, n - _WINDOW)
    passage = max((scores[k][place] for k in range(start, n)), default=LOW)
    heading = scores[here.heading][place] if here.heading >= 0 else LOW
    p, carried = chance(z), chance(max(before[0], passage))
    points_back = float(s.words[0] in _BACK or len(s.words) < 7)
    ruled = any(c.claim == CLAIMS[place] for c in s.claims)
    claim = CLAIMS[place]
    return {
        "bias": 1.0, f"is:{claim}": 1.0, "own": z, f"own:{claim}": z, "p": p, "any": any_claim,
        "p any": chance(any_claim), "p*any": p * chance(any_claim), "record": chance(own[len(CLAIMS) + 1]),
        "over": chance(own[len(CLAIMS) + 2]), "over*p": chance(own[len(CLAIMS) + 2]) * p,
        "over*lead": chance(own[len(CLAIMS) + 2]) * (z >= top),
        "carried*over": chance(own[len(CLAIMS) + 2]) * carried,
        "best other": max(top, LOW), "lead": max(-8.0, min(8.0, z - top)),
        "p other": chance(top), "p*other": p * chance(top),
        "before": max(before[0], LOW), "p before": chance(before[0]), "p before 2": chance(before[1]),
        "p before 3": chance(before[2]), "before any": chance(last[len(CLAIMS)]),
        "before leads": float(before[0] > LOW and before[0] >= max(last[: len(CLAIMS)])),
        "p after": chance(after[place]), "after any": chance(after[len(CLAIMS)]),
        "p heading": chance(heading), "p passage": chance(passage),
        "carried*any": carried * chance(any_claim), "carried*back": carried * points_back,
        "carried*question": carried * s.question, "heading*any": chance(heading) * chance(any_claim),
        "back": points_back, "question": float(s.question), "bullet": float(s.kind == "bullet"),
        "ruled": float(ruled), "ruled other": float(bool(s.claims) and not ruled),
        "length": min(len(s.words), 40) / 40, "place": min(n, 40) / 40,
    }  # fmt: skip


def over_values(s: Any, here: Seen, scores: list[float], first: float, said: list[float]) -> dict[str, float]:
    """The values that decide on overstatement: the words' own score, whether a word list or a family of
    praise names them, whether the sentence makes a claim, and whether it asserts it or sends it back.
    """
    families = sum(name in here.senses for name in _KINDS)
    negated = any(f"{tag}:{name}" in here.scoped for tag in ("ng", "db") for name in _KINDS)
    p, denial, question = chance(first), chance(said[0]), chance(said[1])
    known = float(bool(s.overstating))
    risks = float(max(scores[: len(CLAIMS)]) in scores[len(CLAIMS) - 2 : len(CLAIMS)])
    return {
        "bias": 1.0, "own": first, "p": p, "known": known, "known*p": known * p,
        "families": min(families, 3) / 3,
        "families*p": p * (families > 0), "any": chance(scores[len(CLAIMS)]),
        "p*any": p * chance(scores[len(CLAIMS)]),
        "denial": denial, "denial*p": denial * p, "denial*risks": denial * risks, "question": question,
        "asked": float(s.question), "negated": float(negated), "negated*known": negated * known,
        "record": chance(scores[len(CLAIMS) + 1]), "first": chance(scores[len(CLAIMS) + 2]),
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
