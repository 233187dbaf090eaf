"""What sentences say about claims, as numbered features of many abstracts at once; alike for training and use.

`read` turns the sentences of a batch of abstracts into a `Batch`: words, phrases of the lexicon, features of
every sentence, and a row for each sentence that touches a claim. Features have numbers that index the weights
of kb.tagging.model, and names (`LINE_NAMES`, `PAIR_NAMES`) that are readable on purpose: model.json and
reasons speak of them. All tables are numpy arrays, because a batch of abstracts then takes a fraction of the
time that one sentence after the other would.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from itertools import product

import numpy as np

from kb.tagging.claims import load_claims
from kb.tagging.lexicon import Lexicon, distinct, expand, words
from kb.tagging.sentences import SECTIONS, Sentence

__all__ = ["FLAGS", "IMPLIED", "LINE_NAMES", "PAIR_NAMES", "Batch", "Hits", "Words", "cue_names", "lexicon", "read"]

Array = np.ndarray

# Kinds of concept in the lexicon: language cue, direction of a result, words of a claim (strong, weak,
# part of a set).
_CUE, _DIRECTION, _STRONG, _WEAK, _PART = range(5)

_NEGATORS = ("negation", "no_difference")
_PLAIN_HARM = "safety_against"  # a family whose phrases name harm itself, so that negating them is good news
_NEGATED = ("improve", "worsen", "raise", "superior", "harm", "lasting", "relation", "benign")
_NEAR = 10  # words between a claim's words and a cue that stands near them
_SPAN = 4  # words between a claim's words and the wording of a direction that belongs to them
_PLACES = 6  # places of a claim's words that are looked at in one sentence
_STEM = 7
_MAX_WORDS = 400  # of one sentence; what follows in a longer one is not read
_CACHE_LIMIT = 100_000

_ZONES = (*SECTIONS, "NL")  # NL: the abstract has no section labels
_SPOTS = ("title", "last", "last2", "first", "early", "mid", "late")
_MARKS = "+-?!"  # wording in favour, against, unsure; a denied wording in favour

# Features that the last stage sees by name, beside the scores of the sentences.
FLAGS = (
    "P+", "P-", "P?", "Pn+", "Pn-", "Pn?", "P!", "Pn!", "neg>improve", "q:own", "q:known", "q:aim",
    "q:future", "q:protocol",
    "q:conclusion", "q:relation", "q:stat", "q:limitation", "q:review", "otheronly", "q:other_problem",
    "q:hedge",
    "q:inconclusive", "q:method",
)  # fmt: skip


@lru_cache(maxsize=1)
def _cues() -> dict[str, list[str]]:
    text = resources.files("kb.tagging").joinpath("cues.toml").read_text(encoding="utf-8")
    return {name: entry["phrases"] for name, entry in tomllib.loads(text).items()}


def _is_direction(name: str) -> bool:
    return name.endswith(("_for", "_against"))


@lru_cache(maxsize=1)
def cue_names() -> tuple[str, ...]:
    """The language cues of cues.toml, without the families of directions."""
    return tuple(name for name in _cues() if not _is_direction(name))


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """All phrases of cues.toml and of the claim files; concepts are tuples (kind, name) or (kind, claim,
    set).
    """
    concepts: dict[tuple, list[str]] = {}
    for name, phrases in _cues().items():
        concepts[(_DIRECTION if _is_direction(name) else _CUE, name)] = phrases
    for claim in load_claims():
        concepts[(_STRONG, claim.id)] = claim.lexicon.get("strong", [])
        concepts[(_WEAK, claim.id)] = claim.lexicon.get("weak", [])
        for name, phrases in claim.lexicon.get("sets", {}).items():
            concepts[(_PART, claim.id, name)] = phrases
    return Lexicon(concepts)


# ------------------------------------------------------------------ names and numbers of features
@lru_cache(maxsize=1)
def _line_names() -> tuple[str, ...]:
    spots = [*_ZONES[:-1], *_SPOTS]  # where a cue stands: by section, or by place where there are no labels
    return (
        *(f"sec:{zone}" for zone in _ZONES),
        *(f"pos:{spot}" for spot in _SPOTS),
        *(f"sp:{zone}:{spot}" for zone, spot in product(_ZONES, _SPOTS)),
        *(f"q:{cue}" for cue in cue_names()),
        *(f"q:{cue}:{spot}" for cue, spot in product(cue_names(), spots)),
        *(f"neg>{name}" for name in _NEGATED),
        "ket", "ketprev", "noket", "otheronly", "digits", "?", "short",
    )  # fmt: skip


@lru_cache(maxsize=1)
def _pair_names() -> tuple[str, ...]:
    sets = ["".join(m for m, there in zip(_MARKS, bits, strict=True) if there) for bits in _BITS]
    return (
        "any", "S0", "S1", "S2", "S3", "W0", "W1", "W2", "prevhit", "nexthit", "firsthit", "lasthit",
        *(f"P{mark}" for mark in _MARKS),
        *(f"PP{mark}" for mark in _MARKS),
        *(f"Pn{mark}" for mark in _MARKS),
        *(f"P{mark}:{zone}" for mark, zone in product(_MARKS, _ZONES)),
        *(f"Pk{marks}" for marks in sets),
        *(f"Pm{marks}" for marks in sets),
        *(f"nr:{cue}" for cue in cue_names()),
    )  # fmt: skip


_BITS = [tuple(n >> place & 1 for place in range(len(_MARKS))) for n in range(2 ** len(_MARKS))]
LINE_NAMES = _line_names()
PAIR_NAMES = _pair_names()
_LINE = {name: number for number, name in enumerate(LINE_NAMES)}
_PAIR = {name: number for number, name in enumerate(PAIR_NAMES)}
# A cue at a place implies the cue, a section with a place implies both: batches hold only the former, and
# IMPLIED says by number of a feature which others come with it.
IMPLIED: list[tuple[int, ...]] = [() for _ in LINE_NAMES]
for _number, (_zone, _spot) in enumerate(product(_ZONES, _SPOTS), _LINE["sp:TITLE:title"]):
    IMPLIED[_number] = (_LINE[f"sec:{_zone}"], _LINE[f"pos:{_spot}"])
for _number, (_cue, _) in enumerate(
    product(cue_names(), [*_ZONES[:-1], *_SPOTS]), _LINE[f"q:{cue_names()[0]}"] + len(cue_names())
):
    IMPLIED[_number] = (_LINE[f"q:{_cue}"],)
_CUE_NUMBER = {name: number for number, name in enumerate(cue_names())}
_CLAIMS = [claim.id for claim in load_claims()]


@dataclass(frozen=True)
class _Plan:
    """What the concepts of the lexicon mean, by their number."""

    cue: Array  # number of the cue, -1 for other kinds
    family: Array  # number of the family of directions, or -1
    strong: Array  # number of the claim, or -1
    weak: Array
    part: Array  # number of the part of a set, or -1
    favour: Array  # by claim: the family that speaks in its favour, or -1
    against: Array
    welcome: Array  # by claim: denying its harm is good news
    together: tuple[tuple[int, tuple[int, ...]], ...]  # (claim, parts that have to come together)


@lru_cache(maxsize=1)
def _plan() -> _Plan:
    concepts = lexicon().concepts
    families = [name for name in _cues() if _is_direction(name)]
    parts = [concept[1:] for concept in concepts if concept[0] == _PART]

    def numbers(kind: int, names: list) -> Array:
        return np.array([names.index(c[1:] if kind == _PART else c[1]) if c[0] == kind else -1 for c in concepts])

    def family(side: str) -> Array:
        named = [claim.lexicon.get(side) for claim in load_claims()]
        return np.array([families.index(name) if name in families else -1 for name in named])

    return _Plan(
        numbers(_CUE, list(cue_names())), numbers(_DIRECTION, families), numbers(_STRONG, _CLAIMS),
        numbers(_WEAK, _CLAIMS), numbers(_PART, parts), family("for"), family("against"),
        np.array([claim.lexicon.get("against") == _PLAIN_HARM for claim in load_claims()]),
        tuple(
            (number, tuple(parts.index((claim.id, name[1:])) for name in group))
            for number, claim in enumerate(load_claims())
            for group in claim.lexicon.get("together", ())
        ),
    )  # fmt: skip


class Words(dict):
    """A whole number for each word, worked out when it is first met: its stem, its kind in the lexicon,
    and whether it is a figure.

    `stems` maps stems to their numbers, from 1 on; 0 stands for any other. With `grow`, new stems get numbers.
    """

    def __init__(self, stems: dict[str, int], grow: bool = False) -> None:
        super().__init__()
        self.stems, self.grow = stems, grow

    def __missing__(self, word: str) -> int:
        stem = "" if len(word) < 2 or word.isdigit() else word[:_STEM]
        if stem and self.grow:
            self.stems.setdefault(stem, len(self.stems) + 1)
        code = (self.stems.get(stem, 0) << 32) | (lexicon().kind(word) << 1) | word.isdigit()
        if len(self) < _CACHE_LIMIT and len(word) < 60:
            self[word] = code
        return code


# ------------------------------------------------------------------ what is read
@dataclass(slots=True)
class Hits:
    """Places of phrases: number of the line, first word and number of words, and what was found there."""

    line: Array
    start: Array
    size: Array
    what: Array

    def where(self, chosen: Array) -> Hits:
        return Hits(self.line[chosen], self.start[chosen], self.size[chosen], self.what[chosen])


@dataclass(slots=True)
class Batch:
    """Several abstracts as read. A line is a sentence, counted through all abstracts; a row is a claim in a
    line, a case a claim in an abstract. Rows are in the order of abstract, claim and line.
    """

    abstracts: int
    tokens: list[str]
    line_abstract: Array
    line_index: Array  # within its abstract
    line_count: Array  # lines of its abstract
    line_first: Array  # its first word
    ketamine: Array  # by line
    zone: Array
    spot: Array
    stems: tuple[Array, Array]  # (line, stem), each once, in order
    features: list[tuple[Array | None, Array]]  # blocks: (lines in order, or None: one each; numbers); see IMPLIED
    cues: Array  # by line and cue: is it there
    line_flags: Array  # by line: FLAGS that are of the line alone
    row_line: Array = field(init=False)
    row_claim: Array = field(init=False)
    row_features: tuple[Array, Array] = field(init=False)  # (row, number), in order
    row_flags: Array = field(init=False)
    row_hits: Hits = field(init=False)  # line holds the row; what: 1 strong, 0 weak
    case_first: Array = field(init=False)  # first row of each case
    case_abstract: Array = field(init=False)
    case_claim: Array = field(init=False)
    title_hit: Array = field(init=False)  # by case: the title holds a strong word of the claim


def _counted(at: Array, size: int) -> Array:
    """Running number of marked places: out[b] - out[a] of them stand in a <= place < b."""
    marks = np.zeros(size + 1, dtype=np.intp)
    np.add.at(marks, at + 1, 1)
    return np.cumsum(marks)


def read(abstracts: Sequence[list[Sentence]], vocabulary: Words) -> Batch:
    """Find every concept in the sentences; linear in their length."""
    plan = _plan()
    tokens: list[str] = []
    sizes, sections, counts, asks = [], [], [], []
    for sentences in abstracts:
        counts.append(len(sentences))
        for sentence in sentences:
            text = sentence.text
            found = words(text.lower())
            if len(found) > _MAX_WORDS:
                del found[_MAX_WORDS:]
            tokens += found
            sizes.append(len(found))
            sections.append(_SECTION[sentence.section])
            asks.append("?" in text)
    size = np.array(sizes, dtype=np.intp)
    first = np.cumsum(size) - size
    section = np.array(sections, dtype=np.intp)
    per = np.array(counts, dtype=np.intp)
    line_abstract, index = expand(np.zeros(len(per), dtype=np.intp), per)
    count = per[line_abstract]
    lines = len(size)
    line_of = np.repeat(np.arange(lines), size)
    codes = np.fromiter(map(vocabulary.__getitem__, tokens), dtype=np.int64, count=len(tokens))
    starts, lengths, concepts = lexicon().find_all((codes & 0xFFFFFFFF) >> 1, line_of)
    hits = Hits(line_of[starts], starts, lengths, concepts)

    labelled = np.zeros(len(per), dtype=bool)
    labelled[line_abstract[(section != _TITLE) & (section != _OTHER)]] = True
    zone = np.where(labelled[line_abstract] | (section == _TITLE), section, len(SECTIONS))
    spot = _spots(index, count, section)
    cue = plan.cue[concepts]
    cue_hits = hits.where(cue >= 0)
    cue_hits.what = plan.cue[cue_hits.what]
    # "not only ... but also" denies nothing
    begins = cue_hits.start[cue_hits.what == _CUE_NUMBER["not_only"]]
    no = np.isin(cue_hits.what, [_CUE_NUMBER[name] for name in _NEGATORS])
    cue_hits = cue_hits.where(~(no & np.isin(cue_hits.start, begins)))
    cues = np.zeros((lines, len(cue_names())), dtype=bool)
    cues[cue_hits.line, cue_hits.what] = True
    ketamine = cues[:, _CUE_NUMBER["ketamine"]]

    negated, negators = _negated(cue_hits, first, size, len(tokens))
    before = np.zeros(lines, dtype=bool)
    before[1:] = ketamine[:-1] & (index[1:] > 0)
    figures = np.bincount(line_of, weights=codes & 1, minlength=lines)
    alone = ~ketamine & cues[:, _CUE_NUMBER["other_drug"]]
    state = np.stack(
        [ketamine, ~ketamine & before, ~ketamine & ~before, alone, figures >= 4, np.array(asks, dtype=bool), size < 12],
        axis=1,
    )
    line, which = np.nonzero(cues)
    placed = np.where(zone < len(SECTIONS), zone, len(SECTIONS) + spot)
    features = [
        (None, _LINE["sp:TITLE:title"] + zone * len(_SPOTS) + spot),
        (line, _FIRST_PLACED + which * (len(SECTIONS) + len(_SPOTS)) + placed[line]),
    ]
    for table, begin in ((negated, _LINE["neg>improve"]), (state, _LINE["ket"])):
        line, which = np.nonzero(table)
        features.append((line, begin + which))

    # each stem of a line once, by a key that sorts them
    stem = codes >> 32
    key = distinct((line_of * _STEMS + stem)[stem > 0])
    stems = np.divmod(key, _STEMS)

    line_flags = np.zeros((lines, len(FLAGS)), dtype=bool)
    for number, name in enumerate(FLAGS):
        if name.startswith("q:"):
            line_flags[:, number] = cues[:, _CUE_NUMBER[name[2:]]]
    line_flags[:, FLAGS.index("otheronly")] = alone
    line_flags[:, FLAGS.index("neg>improve")] = negated[:, _NEGATED.index("improve")]

    batch = Batch(
        len(per), tokens, line_abstract, index, count, first, ketamine, zone, spot, stems, features, cues, line_flags
    )
    _rows(batch, hits, cue_hits, negators, size)
    return batch


_SECTION = {name: number for number, name in enumerate(SECTIONS)}
_TITLE, _OTHER = SECTIONS.index("TITLE"), SECTIONS.index("OTHER")
_FIRST_PLACED = _LINE[f"q:{cue_names()[0]}"] + len(cue_names())
_STEMS = 1 << 24


def _spots(index: Array, count: Array, section: Array) -> Array:
    """Where each line stands in its abstract, as a number into _SPOTS."""
    share = index / np.maximum(count, 1)
    return np.select(
        [
            (index == 0) & (section == _TITLE), index == count - 1, index == count - 2, index <= 1,
            share < 0.35, share < 0.65,
        ],
        range(6), 6,
    )  # fmt: skip


def _negated(cue_hits: Hits, first: Array, size: Array, tokens: int) -> tuple[Array, Array]:
    """(by line and effect of _NEGATED: a negation stands right before it; running number of negations)."""
    table = np.zeros((len(first), len(_NEGATED)), dtype=bool)
    wanted = np.isin(cue_hits.what, [_CUE_NUMBER[name] for name in _NEGATORS])
    negators = cue_hits.where(wanted)
    end = np.minimum(negators.start + negators.size + 4, (first + size)[negators.line])
    for number, name in enumerate(_NEGATED):
        there = _counted(cue_hits.start[cue_hits.what == _CUE_NUMBER[name]], tokens)
        found = there[end] > there[negators.start]
        table[negators.line[found], number] = True
    return table, _counted(negators.start, tokens)


# ------------------------------------------------------------------ claims in sentences
def _claim_hits(batch: Batch, hits: Hits) -> tuple[Array, Array, Array, Array, Array]:
    """(line, start, size, claim, kind) of the words of claims, words that have to come together included.

    Kinds are odd for strong words; above 0 for words that make the abstract count as touched by the claim.
    """
    plan = _plan()
    found = []
    for numbers, strong in ((plan.strong, 1), (plan.weak, 0)):
        chosen = hits.where(numbers[hits.what] >= 0)
        found.append((chosen.line, chosen.start, chosen.size, numbers[chosen.what], np.full(len(chosen.what), strong)))
    parts = hits.where(plan.part[hits.what] >= 0)
    part = plan.part[parts.what]
    lines = len(batch.line_first)
    for claim, group in plan.together if len(part) else ():
        there = np.zeros((lines, len(group)), dtype=bool)
        for column, number in enumerate(group):
            there[parts.line[part == number], column] = True
        whole = np.zeros((batch.abstracts, len(group)), dtype=bool)
        line, column = np.nonzero(there)
        whole[batch.line_abstract[line], column] = True
        open_to = whole.all(axis=1)[batch.line_abstract]
        joined = there.all(axis=1) & open_to
        leading = there[:, 0] & open_to & ~joined  # the other words stand elsewhere in the abstract
        # kind 2 and 3: weak and strong words of a group that the abstract holds in full
        for chosen, kind in (
            (np.isin(part, group) & joined[parts.line], 3),
            ((part == group[0]) & leading[parts.line], 2),
        ):
            some = parts.where(chosen)
            number = len(some.line)
            found.append((some.line, some.start, some.size, np.full(number, claim), np.full(number, kind)))
    return tuple(np.concatenate(column) for column in zip(*found, strict=True))


def _rows(batch: Batch, hits: Hits, cue_hits: Hits, negators: Array, size: Array) -> None:
    """Fill the rows and cases of a batch."""
    claims = len(_CLAIMS)
    line, start, length, claim, kind = _claim_hits(batch, hits)
    named = np.zeros(batch.abstracts, dtype=bool)
    named[batch.line_abstract[batch.ketamine]] = True
    sure = np.zeros((batch.abstracts, claims), dtype=bool)
    sure[batch.line_abstract[line[kind > 0]], claim[kind > 0]] = True
    kept = sure[batch.line_abstract[line], claim] & named[batch.line_abstract[line]]
    line, start, length, claim, strong = (x[kept] for x in (line, start, length, claim, kind % 2))
    # rows in the order of abstract, claim, line; hits in the order of row and place
    lines = len(batch.line_first)
    key = (batch.line_abstract[line] * claims + claim) * lines + line
    order = np.lexsort((start, key))
    line, start, length, claim, strong, key = (x[order] for x in (line, start, length, claim, strong, key))
    key, row = np.unique(key, return_inverse=True)
    rows = len(key)
    row_line, row_claim = key % max(1, lines), key // max(1, lines) % claims
    batch.row_line, batch.row_claim = row_line, row_claim
    batch.row_hits = Hits(row, start, length, strong)
    case_key = key // max(1, lines)
    batch.case_first = first = np.flatnonzero(np.diff(case_key, prepend=-1))
    batch.case_abstract, batch.case_claim = np.divmod(case_key[first], claims)
    strong_title = np.zeros((batch.abstracts, claims), dtype=bool)
    of_title = (batch.line_index[line] == 0) & (strong > 0)
    strong_title[batch.line_abstract[line[of_title]], claim[of_title]] = True
    batch.title_hit = strong_title[batch.case_abstract, batch.case_claim]

    table = np.zeros((rows, len(PAIR_NAMES)), dtype=bool)
    table[:, 0] = True
    everywhere = np.arange(rows)
    strongs = np.bincount(row, weights=strong, minlength=rows).astype(np.intp)
    weaks = np.bincount(row, minlength=rows) - strongs
    table[everywhere, _PAIR["S0"] + np.minimum(strongs, 3)] = True
    table[everywhere, _PAIR["W0"] + np.minimum(weaks, 2)] = True
    number = np.full((lines, claims), -1)
    number[row_line, row_claim] = everywhere
    inside = batch.line_index[row_line] > 0
    table[inside, _PAIR["prevhit"]] = number[row_line[inside] - 1, row_claim[inside]] >= 0
    inside = batch.line_index[row_line] < batch.line_count[row_line] - 1
    table[inside, _PAIR["nexthit"]] = number[row_line[inside] + 1, row_claim[inside]] >= 0
    table[first, _PAIR["firsthit"]] = True
    table[np.append(first[1:], rows)[: len(first)] - 1, _PAIR["lasthit"]] = True

    # the places that count: of strong words, or of weak ones where there are no others
    chosen = np.flatnonzero((strong > 0) | (strongs[row] == 0))
    place_row, place = row[chosen], start[chosen]
    rank = np.arange(len(chosen)) - np.searchsorted(place_row, place_row)
    place_row, place = place_row[rank < _PLACES], place[rank < _PLACES]
    places_first = np.searchsorted(place_row, everywhere)
    places_count = np.bincount(place_row, minlength=rows)

    cues_first = np.searchsorted(cue_hits.line, np.arange(lines))
    cues_count = np.bincount(cue_hits.line, minlength=lines)
    owner, at = expand(cues_first[row_line[place_row]], cues_count[row_line[place_row]])
    close = np.abs(cue_hits.start[at] - place[owner]) <= _NEAR
    table[place_row[owner[close]], _PAIR[f"nr:{cue_names()[0]}"] + cue_hits.what[at[close]]] = True

    _directions(batch, table, hits, cue_hits, negators, (place, places_first, places_count), size)
    batch.row_features = np.nonzero(table)
    batch.row_flags = flags = batch.line_flags[row_line]
    for column, name in enumerate(FLAGS):
        if name in _PAIR:
            flags[:, column] = table[:, _PAIR[name]]


def _directions(
    batch: Batch,
    table: Array,
    hits: Hits,
    cue_hits: Hits,
    negators: Array,
    places: tuple[Array, Array, Array],
    size: Array,
) -> None:
    """Fill the features of wording in favour of a claim, against it, or unsure. `places`: where the words of
    claims stand, with the first one of each row and their number.
    """
    plan = _plan()
    wording = hits.where(plan.family[hits.what] >= 0)
    family, begins = plan.family[wording.what], batch.line_first[wording.line]
    # "did not reduce" holds "reduce": wording that opens just behind a negation counts for the other side
    low = np.maximum(wording.start - 4, begins)
    denied = negators[np.minimum(wording.start + 2, begins + size[wording.line])] > negators[low]
    unsure = cue_hits.where(cue_hits.what == _CUE_NUMBER["unsure"])
    spans = Hits(
        np.concatenate([wording.line, unsure.line]), np.concatenate([wording.start, unsure.start]),
        np.concatenate([wording.size, unsure.size]), np.concatenate([family, np.full(len(unsure.line), -2)]),
    )  # fmt: skip
    denied = np.concatenate([denied, np.zeros(len(unsure.line), dtype=bool)])
    # every span with every row of its line
    order = np.argsort(batch.row_line, kind="stable")
    by_line = batch.row_line[order]
    lines = np.arange(len(batch.line_first))
    rows_first = np.searchsorted(by_line, lines)
    rows_count = np.bincount(by_line, minlength=len(lines))
    span, at = expand(rows_first[spans.line], rows_count[spans.line])
    row = order[at]
    claim, what, no = batch.row_claim[row], spans.what[span], denied[span]
    favour, against = plan.favour[claim] == what, plan.against[claim] == what
    good_news = against & no & plan.welcome[claim]
    by_mark = (favour & ~no | good_news, against & ~good_news | favour & no, what == -2, favour & no)
    place, places_first, places_count = places
    found, near = (np.zeros(len(table), dtype=np.intp) for _ in range(2))
    zone = batch.zone[batch.row_line]
    for number, (mark, chosen) in enumerate(zip(_MARKS, by_mark, strict=True)):
        rows, of = row[chosen], span[chosen]
        times = np.bincount(rows, minlength=len(table))
        there = np.flatnonzero(times)
        table[there, _PAIR[f"P{mark}"]] = True
        table[times > 1, _PAIR[f"PP{mark}"]] = True
        table[there, _PAIR[f"P{mark}:TITLE"] + zone[there]] = True
        found[there] += 1 << number
        owner, at = expand(places_first[rows], places_count[rows])
        begin, end = spans.start[of[owner]], (spans.start + spans.size)[of[owner]]
        beside = (begin - _SPAN <= place[at]) & (place[at] <= end + _SPAN)
        close = distinct(rows[owner[beside]])
        table[close, _PAIR[f"Pn{mark}"]] = True
        near[close] += 1 << number
    everywhere = np.arange(len(table))
    table[everywhere, _PAIR["Pk"] + found] = True
    table[everywhere, _PAIR["Pm"] + near] = True
