"""What a sentence says about a claim, as named features; used alike for training and at run time.

Shapes: `read` turns the sentences of one abstract into a `Reading`; `pairs` lists, for each claim that the
words of the
abstract touch, the sentences that touch it with their features. Feature names are readable on purpose:
they are the
cues that a tag's reason shows.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from kb.tagging.claims import Claim, load_claims
from kb.tagging.lexicon import Lexicon, words
from kb.tagging.sentences import Sentence

__all__ = ["FLAGS", "Pair", "Reading", "cue_names", "lexicon", "pairs", "read"]

# Kinds of concept in the lexicon: language cue, direction of a result, words of a claim (strong, weak,
# part of a set).
_CUE, _DIRECTION, _STRONG, _WEAK, _PART = range(5)

_NEGATORS = ("negation", "no_difference")
_PLAIN_HARM = (
    "safety_against",
)  # families whose phrases name harm itself, so that negating them is good news
_NEGATED = ("improve", "worsen", "raise", "superior", "harm", "lasting", "relation", "benign")
_BEFORE, _AFTER, _NEAR = 4, 5, 10
_STEM = 7
_MAX_WORDS = 400  # of one sentence; what follows in a longer one is not read

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


def cue_names() -> list[str]:
    """The language cues of cues.toml, without the families of directions."""
    return [name for name in _cues() if not _is_direction(name)]


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


@dataclass(slots=True)
class _Line:
    """One sentence as read: its words, cue positions, direction spans, claim words, features of the
    sentence alone.
    """

    tokens: list[str]
    cues: list[tuple[int, int, str]]
    directions: dict[str, list[tuple[int, int]]]
    strong: dict[str, list[tuple[int, int]]]
    weak: dict[str, list[tuple[int, int]]]
    parts: dict[str, dict[str, list[tuple[int, int]]]]
    ketamine: bool
    zone: str = ""
    place: str = ""
    words: list[str] | None = None  # "w:..." features, shared by all claims
    general: list[str] | None = None  # the other features of the sentence alone
    base: int | None = None  # the model's sum over both, filled on first use


@dataclass(slots=True)
class Reading:
    """One abstract as read. `lines` are parallel to `sentences`."""

    sentences: list[Sentence]
    lines: list[_Line]
    ketamine: bool


@dataclass(slots=True)
class Pair:
    """A claim in a sentence: `index` into the sentences, features of the pair, and its distinct claim
    words.
    """

    index: int
    features: list[str]
    hits: list[str]


class _Stems(dict):
    """Marked stems by word, filled on first use: the first letters of a word, "" for numbers and single
    letters.
    """

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark = mark

    def __missing__(self, word: str) -> str:
        found = "" if len(word) < 2 or word.isdigit() else self.mark + word[:_STEM]
        if len(self) < _CACHE_LIMIT and len(word) < 60:
            self[word] = found
        return found


class _Names(dict):
    """Feature names "mark:name" by name, so that each is built once. The names are a closed list."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark = mark

    def __missing__(self, name: str) -> str:
        self[name] = found = self.mark + name
        return found


_CACHE_LIMIT = 100_000
_W, _D, _T, _C = map(_Stems, ("w:", "D:", "T:", "C:"))
_Q, _NEAR_NAME, _BEFORE_NAME, _AFTER_NAME, _TITLE_NAME, _END_NAME = map(
    _Names, ("q:", "nr:", "nb:", "na:", "Tq:", "Cq:")
)


def read(sentences: list[Sentence]) -> Reading:
    """Find every concept in the sentences; linear in their length."""
    find = lexicon().find
    lines = []
    any_ketamine = False
    for sentence in sentences:
        tokens = words(sentence.text.lower())[:_MAX_WORDS]
        cues: list[tuple[int, int, str]] = []
        strong: dict[str, list[tuple[int, int]]] = {}
        weak: dict[str, list[tuple[int, int]]] = {}
        directions: dict[str, list[tuple[int, int]]] = {}
        line = _Line(tokens, cues, directions, strong, weak, {}, False)
        table: dict[str, list[tuple[int, int]]]
        for at, size, concept in find(tokens):
            kind = concept[0]
            name = concept[1]
            if kind == _CUE:
                cues.append((at, at + size, name))
                if name == "ketamine":
                    line.ketamine = any_ketamine = True
                continue
            if kind == _DIRECTION:
                table = directions
            elif kind == _STRONG:
                table = strong
            elif kind == _WEAK:
                table = weak
            else:
                table = line.parts.setdefault(name, {})
                name = concept[2]
            if name in table:
                table[name].append((at, at + size))
            else:
                table[name] = [(at, at + size)]
        lines.append(line)
    return Reading(sentences, lines, any_ketamine)


def _place(index: int, count: int, section: str) -> str:
    if index == 0 and section == "TITLE":
        return "title"
    if index == count - 1:
        return "last"
    if index == count - 2:
        return "last2"
    if index <= 1:
        return "first"
    share = index / count
    return "early" if share < 0.35 else "mid" if share < 0.65 else "late"


def _general(reading: Reading, index: int, labelled: bool, since_ketamine: int) -> None:
    """Fill the features of one sentence alone."""
    line, sentence = reading.lines[index], reading.sentences[index]
    section = sentence.section
    line.zone = zone = section if labelled or section == "TITLE" else "NL"
    line.place = place = _place(index, len(reading.lines), section)
    names = {name for _, _, name in line.cues}
    features = [f"sec:{zone}", f"pos:{place}", f"sp:{zone}:{place}"]
    for name in names:
        features.append(_Q[name])
        features.append(f"q:{name}:{zone if zone != 'NL' else place}")
    if "negation" in names or "no_difference" in names:
        effects = [(at, name) for at, _, name in line.cues if name in _NEGATED]
        found = {
            f"neg>{name}"
            for start, end, negator in line.cues
            if negator in _NEGATORS
            for at, name in effects
            if start <= at <= end + 3
        }
        features.extend(found)
    if line.ketamine:
        features.append("ket")
    else:
        features.append("ketprev" if since_ketamine <= 1 else "noket")
        if "other_drug" in names:
            features.append("otheronly")
    if sum(map(str.isdigit, line.tokens)) >= 4:
        features.append("digits")
    if "?" in sentence.text:
        features.append("?")
    if len(line.tokens) < 12:
        features.append("short")
    line.general = features
    line.words = list({_W[token] for token in line.tokens})


def _split_denied(
    spans: list[tuple[int, int]], negators: list[int]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The spans without a negation right before or at their beginning, and those with one."""
    kept, denied = [], []
    for span in spans:
        (denied if any(span[0] - 4 <= at <= span[0] + 1 for at in negators) else kept).append(span)
    return kept, denied


def _pair(
    line: _Line, claim: Claim, strong: list[tuple[int, int]], weak: list[tuple[int, int]]
) -> tuple[list, list]:
    """Features of a claim in a sentence, and the claim's words found there."""
    tokens = line.tokens
    features = {"any", f"S{min(len(strong), 3)}", f"W{min(len(weak), 2)}"}
    hits = []
    for mark, spans in (("hs:", strong), ("hw:", weak)):
        for start, end in spans:
            text = " ".join(tokens[start:end])[:30]
            features.add(mark + text)
            if text not in hits:
                hits.append(text)
    places = [start for start, _ in (strong or weak)][:6]
    add = features.add
    for place in places:
        for at, _, name in line.cues:
            distance = at - place
            if -_NEAR <= distance <= _NEAR:
                add(_NEAR_NAME[name])
                if distance < 0:
                    if distance >= -_BEFORE:
                        add(_BEFORE_NAME[name])
                elif distance <= _AFTER:
                    add(_AFTER_NAME[name])
    favour = line.directions.get(claim.lexicon.get("for"), [])
    against = line.directions.get(claim.lexicon.get("against"), [])
    denied: list[tuple[int, int]] = []
    negators = [at for at, _, name in line.cues if name in _NEGATORS]
    if negators:
        # "did not reduce" holds "reduce": a direction that opens just behind a negation counts for the
        # other side.
        favour, denied = _split_denied(favour, negators)
        if claim.lexicon.get("against") in _PLAIN_HARM:
            against, welcome = _split_denied(against, negators)
            favour = favour + welcome
        against = against + denied
    unsure = [(start, end) for start, end, name in line.cues if name == "unsure"]
    found = near = ""
    for mark, spans in (("+", favour), ("-", against), ("?", unsure), ("!", denied)):
        if not spans:
            continue
        found += mark
        features.add("P" + mark)
        features.add(f"P{mark}:{line.zone}")
        if len(spans) > 1:
            features.add("PP" + mark)
        if any(start - 4 <= place <= end + 4 for place in places for start, end in spans):
            near += mark
            features.add("Pn" + mark)
    features.add("Pk" + found)
    features.add("Pm" + near)
    return list(features), hits


def pairs(reading: Reading) -> dict[str, list[Pair]]:
    """For each claim with at least one strong hit: the sentences that touch it. Empty without ketamine."""
    if not reading.ketamine:
        return {}
    labelled = any(sentence.section not in ("TITLE", "OTHER") for sentence in reading.sentences)
    found: dict[str, list[Pair]] = {}
    last = -9
    since = []
    for index, line in enumerate(reading.lines):
        if line.ketamine:
            last = index
        since.append(index - last)
    touched_claims = {claim for line in reading.lines for claim in (*line.strong, *line.parts)}
    for claim in load_claims():
        if claim.id not in touched_claims:
            continue
        rows: list[Pair] = []
        sure = False
        together = [[name[1:] for name in group] for group in claim.lexicon.get("together", ())]
        if together:
            present = {name for line in reading.lines for name in line.parts.get(claim.id, ())}
            together = [group for group in together if present.issuperset(group)]
            sure = bool(together)
        for index, line in enumerate(reading.lines):
            strong = line.strong.get(claim.id, [])
            weak = line.weak.get(claim.id, [])
            if together and claim.id in line.parts:
                parts = line.parts[claim.id]
                for group in together:
                    if all(name in parts for name in group):
                        strong = strong + [span for name in group for span in parts[name]]
                    elif group[0] in parts:  # the other words of the group stand elsewhere in the abstract
                        weak = weak + parts[group[0]]
            if not strong and not weak:
                continue
            sure = sure or bool(strong)
            if line.general is None:
                _general(reading, index, labelled, since[index])
            rows.append(Pair(index, *_pair(line, claim, strong, weak)))
        if not sure:
            continue
        touched = {row.index for row in rows}
        for row in rows:
            if row.index - 1 in touched:
                row.features.append("prevhit")
            if row.index + 1 in touched:
                row.features.append("nexthit")
        rows[0].features.append("firsthit")
        rows[-1].features.append("lasthit")
        found[claim.id] = rows
    return found


def document(reading: Reading) -> list[str]:
    """Features of the abstract as a whole: its words, those of the title and the end, and where cues
    stand.
    """
    features: set[str] = set()
    count = len(reading.lines)
    for index, line in enumerate(reading.lines):
        tokens = line.tokens
        features.update([_D[token] for token in tokens])
        features.update([_Q[name] for _, _, name in line.cues])
        if index == 0:
            features.update([_T[token] for token in tokens])
            features.update([_TITLE_NAME[name] for _, _, name in line.cues])
        if index >= count - 2:
            features.update([_C[token] for token in tokens])
            features.update([_END_NAME[name] for _, _, name in line.cues])
    features.discard("")
    return list(features)
