"""Study facets: design, size, species, population, conditions, substances, routes, doses, schedule, control.

The lexicon and the weights of the design cues are data (facets.toml); this module only reads them.
PubMed publication types and MeSH headings count first where a citation has them, the text otherwise.
Pure, and linear in the length of the text: terms are found through the set of words present, and the few
regular expressions have bounded repeats and run only around a unit or a count.
"""

from __future__ import annotations

import json
import re
import struct
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from itertools import repeat
from operator import mul
from typing import Any, Protocol

__all__ = ["DESIGNS", "POPULATIONS", "Dose", "Facets", "read_facets"]

DESIGNS = (
    "meta-analysis",
    "systematic-review",
    "review",
    "rct",
    "nonrandomized-trial",
    "cohort",
    "case-control",
    "cross-sectional",
    "case-report",
    "protocol",
    "qualitative",
    "animal",
    "in-vitro",
    "other",
)
POPULATIONS = (
    "veterans-military",
    "civilians-adults",
    "children-adolescents",
    "older-adults",
    "perinatal",
    "surgical-trauma-patients",
    "healthy-volunteers",
    "recreational-users",
    "animals",
    "unspecified",
)


REVIEWS = frozenset(("meta-analysis", "systematic-review", "review"))


class SentenceLike(Protocol):
    """What the facet reader needs of a sentence (see kb/tagging/sentences.py)."""

    @property
    def section(self) -> str: ...
    @property
    def text(self) -> str: ...


@dataclass(slots=True)
class Dose:
    """A dose as the abstract states it.

    `amount` (and `amount_high` of a range) in `unit` ("mg/kg", "mg", "µg/kg/min", "mg/kg/h", ...);
    `minutes` is the time it is given over, None if not said; `substance` is the drug it belongs to,
    "" if the text does not say; `text` is verbatim.
    """

    substance: str
    amount: float
    amount_high: float | None
    unit: str
    minutes: float | None
    text: str


@dataclass(slots=True)
class Facets:
    """What kind of study an abstract reports. Lists are ordered, most prominent first."""

    study_design: str = "other"
    sample_size: int | None = None
    species: list[str] = field(default_factory=list)
    population: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    substances: list[str] = field(default_factory=list)
    routes: list[str] = field(default_factory=list)
    doses: list[Dose] = field(default_factory=list)
    schedule: str = ""
    control: str = ""


# ------------------------------------------------------------------ text as words
def _table(keep: str) -> bytes:
    """A byte table: letters to lower case, digits and `keep` as they are, all else to a space."""
    return bytes(
        ord(chr(c).lower()) if c < 128 and (chr(c).isalnum() or chr(c) in keep) else 32 for c in range(256)
    )


_WORDS = _table("")
_MARKED = _table(".,;:%=()/|")  # for counting people: hyphens go, marks stay
_MOST_READ = 8000  # characters; PubMed abstracts are shorter, trial registrations go on with boilerplate
_LONG_TITLE = 400  # longer than this, a "title" is an abstract whose title is missing


def words_of(text: str) -> str:
    """The text as lower-case words between single spaces, with a space at both ends; apostrophes vanish."""
    return " " + " ".join(_tokens(text)) + " "


def _tokens(text: str) -> list[str]:
    return _plain(text).translate(_WORDS, b"'").decode("ascii").split()


def _plain(text: str) -> bytes:
    if not text.isascii() and "’" in text:
        text = text.replace("’", "'")
    return text.encode("ascii", "replace")


# ------------------------------------------------------------------ lexicon
_GROUPS = ("substance", "condition", "species", "route", "population", "schedule", "control", "beside")
_FOUND = (*_GROUPS, "design", "except", "restore")
Key = tuple[str, str]  # group, name
# Weights of all designs are packed into one whole number, a lane of 64 bits for each of DESIGNS, so that
# sum() adds all designs at once. _ZERO keeps every lane above nought; _unpack takes it off again.
_LANES = struct.Struct(f"<{len(DESIGNS)}q")
_ZERO_LANE = 1 << 60
_ZERO = sum(_ZERO_LANE << (64 * lane) for lane in range(len(DESIGNS)))
_POINTS, _LOG_ODDS = 1000, 1_000_000  # whole numbers to a point of the cue table, and to one of the model


def _pack(weights: Mapping[str, float], scale: int) -> int:
    return sum(round(scale * weights.get(name, 0.0)) << (64 * lane) for lane, name in enumerate(DESIGNS))


def _unpack(total: int) -> list[int]:
    """The lanes, in the order of DESIGNS."""
    return [lane - _ZERO_LANE for lane in _LANES.unpack((total + _ZERO).to_bytes(_LANES.size, "little"))]


class _Lexicon:
    """All terms of facets.toml, and what else it holds, ready for use."""

    def __init__(self, table: dict[str, Any]) -> None:
        self.data: dict[Key, dict[str, Any]] = {}
        # A term of one word by that word, a longer one by its first two words.
        self.singles: dict[str, list[tuple[str, str, Any]]] = {}
        self.longer: dict[tuple[str, str], list[tuple[str, frozenset[tuple[str, str]], str, Any]]] = {}
        self.computed: dict[str, int] = {}  # packed points
        self.cues: dict[str, tuple[int, bool]] = {}  # packed points, in the title only?
        self.types: list[tuple[frozenset[str], int]] = []
        self.start = _pack(table["design"]["start"], _POINTS)
        self.rules = table["rules"]
        words = table["words"]
        self.subjects = tuple(f" {word} " for word in words["subjects"].split())
        marks = ("", ",", ".", ")", ";", ":", "),", ").", ");")
        self.people = frozenset(word + mark for word in words["people"].split() for mark in marks)
        self.barrier = frozenset(words["barrier"].split())
        self.compared = frozenset(words["compared"].split())
        self.random, self.taken, self.not_taken = words["random"], words["taken"], words["not_taken"]
        self.studied = frozenset(row["name"] for row in table["substance"] if row["kind"] == "study")
        for group in _GROUPS:
            for row in table[group]:
                self.data[group, row["name"]] = row
        for cue in table["design"]["cue"]:
            points = _pack(cue["weights"], _POINTS)
            if cue["where"] == "computed":
                self.computed[cue["name"]] = points
            elif cue["where"] == "type":
                self.types.append((frozenset(cue["terms"]), points))
            else:
                self.data["design", cue["name"]] = cue
                self.cues[cue["name"]] = (points, cue["where"] == "title")
        # The terms of the same entry that a term holds.
        self.inner: dict[Key, dict[str, frozenset[str]]] = {}
        for (group, name), row in self.data.items():
            strong = [f" {phrase} " for phrase in row.get("strong", ())]
            row["strong"] = frozenset(strong)
            terms = dict.fromkeys([*(f" {term} " for term in row["terms"]), *strong])
            for term in terms:
                self._add(term, group, name)
            inner = {term: frozenset(t for t in terms if t != term and t in term) for term in terms}
            self.inner[group, name] = {term: held for term, held in inner.items() if held}
            for kind in ("except", "restore"):
                for phrase in row.get(kind, ()):
                    self._add(f" {phrase} ", kind, (group, name))
        self.single_keys = frozenset(self.singles)
        self.longer_keys = frozenset(self.longer)
        self.mesh: dict[str, list[Key]] = {}
        for key, row in self.data.items():
            for heading in row.get("mesh", ()):
                self.mesh.setdefault(heading.lower(), []).append(key)

    def _add(self, phrase: str, group: str, name: Any) -> None:
        parts = phrase.split()
        if len(parts) == 1:
            self.singles.setdefault(parts[0], []).append((phrase, group, name))
            return
        pairs = list(zip(parts, parts[1:], strict=False))
        self.longer.setdefault(pairs[0], []).append((phrase, frozenset(pairs[1:]), group, name))
        for pair in pairs[1:]:
            self.longer.setdefault(pair, [])


@lru_cache(maxsize=1)
def _lexicon() -> _Lexicon:
    source = resources.files("kb.tagging").joinpath("facets.toml").read_text(encoding="utf-8")
    return _Lexicon(tomllib.loads(source))


# Words that the rules below ask for.
_ASKED = frozenset(
    "users will were was p 95 results inclusion vitro cultured cell model patients participants "
    "volunteers".split()
)


@lru_cache(maxsize=1)
def _vocabulary() -> frozenset[str]:
    """All single words that any rule or weight asks for."""
    lexicon, model = _lexicon(), _model()
    return lexicon.single_keys | _ASKED | (model.known if model else set())


@dataclass(slots=True)
class _Mention:
    """How an abstract speaks of one concept."""

    name: str
    title: int  # times in the title
    count: int  # times in title and abstract
    phrases: list[str]

    @property
    def weight(self) -> int:
        return 4 * self.title + self.count


class _View:
    """One abstract, prepared once for every facet.

    `found` is group -> name -> terms found; under "except" and "restore" the name is a Key. `counts` is
    word -> times, of the words that any rule or weight knows.
    """

    __slots__ = ("text", "words", "counts", "title_words", "found", "lexicon", "mesh", "types")

    def __init__(self, title: str, text: str, mesh: Iterable[str], types: Iterable[str]) -> None:
        self.lexicon = lexicon = _lexicon()
        self.text = text
        tokens = _tokens(text)
        self.words = words = f" {' '.join(tokens)} "
        self.title_words = words_of(title) if len(title) <= _LONG_TITLE else "  "
        self.mesh = {heading.partition("/")[0].strip().lower() for heading in mesh}
        self.types = {words_of(kind).strip() for kind in types}
        self.counts = counts = Counter(filter(_vocabulary().__contains__, tokens))
        found: dict[str, dict[Any, list[str]]] = {group: {} for group in _FOUND}
        self.found = found
        singles, longer = lexicon.singles, lexicon.longer
        for word in lexicon.single_keys.intersection(counts):
            for phrase, group, name in singles[word]:
                names = found[group]
                if name in names:
                    names[name].append(phrase)
                else:
                    names[name] = [phrase]
        pairs = lexicon.longer_keys.intersection(zip(tokens, tokens[1:], strict=False))
        for pair in pairs:
            for phrase, rest, group, name in longer[pair]:
                # A phrase of three words or more needs its other pairs, and then a look at the text.
                if not rest or (pairs.issuperset(rest) and phrase in words):
                    names = found[group]
                    if name in names:
                        names[name].append(phrase)
                    else:
                        names[name] = [phrase]

    def mention(self, group: str, name: str) -> _Mention | None:
        """Counts of an entry's terms less those of its `except` phrases; None if nothing is left."""
        phrases = self.found[group].get(name)
        if not phrases:
            return None
        words, title, counts, key = self.words, self.title_words, self.counts, (group, name)
        if len(phrases) > 1:  # a term inside another ("depression" in "resistant depression") is counted once
            inner = self.lexicon.inner[key]
            if inner:
                phrases = [p for p in phrases if p not in inner or inner[p].isdisjoint(phrases)]
        count = in_title = 0
        for phrase in phrases:
            count += counts[phrase[1:-1]] or words.count(phrase)
            if phrase in title:
                in_title += title.count(phrase)
        for phrase in self.found["except"].get(key, ()):
            count -= words.count(phrase)
            in_title -= title.count(phrase)
        for phrase in self.found["restore"].get(key, ()):
            count += words.count(phrase)
            in_title += title.count(phrase)
        if count <= 0:
            return None
        return _Mention(name, max(in_title, 0), count, phrases)

    def named_after(self, mention: _Mention, share: float) -> bool:
        """Is the concept named in what follows this share of the text?"""
        start = int(share * len(self.words)) + 1
        return any(self.words.find(phrase, start) >= 0 for phrase in mention.phrases)

    def indexed(self, group: str) -> set[str]:
        """The entries of a group that the citation's MeSH headings name."""
        if not self.mesh:
            return set()
        return {
            name
            for heading in self.mesh
            for kind, name in self.lexicon.mesh.get(heading, ())
            if kind == group
        }

    def mentions(self, group: str) -> dict[str, _Mention]:
        """All entries of a group that the abstract names."""
        out = {}
        for name in self.found[group]:
            mention = self.mention(group, name)
            if mention is not None:
                out[name] = mention
        return out


def _ranked(weights: dict[str, float]) -> list[str]:
    return sorted(weights, key=lambda name: (-weights[name], name))


# ------------------------------------------------------------------ all facets
_OF_PEOPLE = frozenset(
    ("rct", "nonrandomized-trial", "cohort", "case-control", "cross-sectional", "qualitative")
)
_ONE_CASE = re.compile(r" an? (?:[a-z]{1,14} ){0,2}(?:woman|man|patient|veteran|soldier|girl|boy) ")
_TWO_CASES = re.compile(
    r" (?:two|2) (?:[a-z]{1,14} ){0,2}(?:cases|patients|women|men|adults|people|brothers|sisters|individuals"
    r"|veterans|soldiers|children|adolescents|girls|boys) "
)


def read_facets(
    title: str,
    sentences: Sequence[SentenceLike],
    text: str,
    mesh: Sequence[str] = (),
    publication_types: Sequence[str] = (),
) -> Facets:
    """Read the facets of one citation. Never raises, whatever the text.

    `text` is f"{title}\\n{abstract}", of which the first 8,000 characters are read; `sentences` are its
    sentences with section names (people are not counted in background sentences). `sample_size` is the
    number randomized or analysed; in systematic reviews and meta-analyses it is the total number of
    participants where the abstract states one, never the number of studies; narrative reviews have none.
    MeSH headings settle the species and add conditions and populations; publication types weigh most in
    the design.
    """
    text = text[:_MOST_READ]
    view = _View(title, text, mesh, publication_types)
    creatures = _creatures(view, sentences)
    species = _species(view, creatures)
    size, points = _sample_size(view, sentences)
    design = _design(view, species, creatures, size)
    if species and "humans" not in species and design in _OF_PEOPLE and "humans" not in view.mesh:
        design = "animal"
    if design in {"review", "other"} or (design in {"systematic-review", "meta-analysis"} and points < 4.0):
        size = None
    if design == "case-report" and size is None:
        if _TWO_CASES.search(view.words):
            size = 2
        elif " year old " in view.words or _ONE_CASE.search(view.words):
            size = 1
    substances = _substances(view)
    conditions = _conditions(view, design)
    return Facets(
        study_design=design,
        sample_size=size,
        species=species,
        population=_population(view, design, species, conditions),
        conditions=conditions,
        substances=substances,
        routes=_routes(view),
        doses=_doses(view),
        schedule=_schedule(view, design, conditions),
        control=_control(view, design),
    )


# ------------------------------------------------------------------ species
def _creatures(view: _View, sentences: Sequence[SentenceLike]) -> dict[str, _Mention]:
    """Species named; where the methods say which were tested, people named elsewhere do not count."""
    creatures = view.mentions("species")
    if len(creatures) == ("humans" in creatures):
        return creatures
    methods = words_of(
        " ".join(s.text for s in sentences if s.section in {"METHODS", "RESULTS"})[:_MOST_READ]
    )
    if len(methods) > 2:
        for name, mention in creatures.items():
            tested = any(phrase in methods for phrase in mention.phrases)
            if name != "humans" and tested:
                mention.count += 2
            elif name == "humans" and not tested:
                mention.count = 0
    if not (view.mesh or view.types & _HUMAN_TYPES or _REVIEWING & view.found["design"].keys()):
        _only_animals(view, creatures, sentences)
    return creatures


_REVIEWING = frozenset(("text-review", "text-systematic-review", "text-meta-analysis", "title-meta-analysis"))
_HUMAN_TYPES = frozenset(
    ("randomized controlled trial", "clinical trial", "controlled clinical trial", "pragmatic clinical trial")
    + ("case reports", "review", "systematic review", "meta analysis", "editorial", "letter", "comment")
)
# What a sentence about the work of others says.
_OTHERS_WORK = re.compile(
    r" (?:studies|study|research|work|experiments|evidence|findings|data|models?|literature|results) "
    r"(?:in|with|on|of|from) (?:[a-z0-9]{1,14} ){0,3}$"
    r"| (?:as|like|unlike|seen|shown|reported|observed|found|known|demonstrated|described|established) (?:also )?"
    r"(?:earlier |before )?(?:in|for|from|with) (?:[a-z0-9]{1,14} ){0,2}$"
    r"| (?:previous|previously|earlier|prior) (?:[a-z0-9]{1,14} ){0,9}$"
)
_THEIR_WORK = re.compile(
    r"(?:studies|study|research|work|experiments|evidence|findings|data|models?|literature|results) "
    r"(?:(?:also|have|has|had|often|strongly) ){0,2}"
    r"(?:suggest|show|indicat|point|impl|support|demonstrat|report|propos|hint|found)"
)
_ARE_TESTED = re.compile(
    r" (?:patients|participants|volunteers|inpatients|outpatients|veterans|soldiers|women|woman|men|man|people"
    r"|persons|adolescents|children|users|respondents|students|victims)"
    r" (?:[a-z0-9]{1,14} ){0,6}?(?:received|underwent|completed|took|rated|got|gave|entered|participated|(?:was|were)"
    r" (?:[a-z]{1,14}ly |then )?(?:randomi[sz]ed|given|treated|assigned|allocated|recruited|enrolled|included"
    r"|studied|tested|scanned|asked|followed|interviewed|surveyed|compared|assessed|evaluated|examined|infused"
    r"|administered|injected|investigated|recorded|measured)) "
    r"| (?:[0-9]{1,5}|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|[a-z]{3,5}teen"
    r"|(?:twen|thir|for|fif|six|seven|eigh|nine)ty)"
    r" (?:(?!of |in |to )[a-z0-9]{1,14} ){0,3}(?:patients|participants|volunteers|inpatients|outpatients"
    r"|veterans|soldiers|women|men|people|persons|adolescents|children|users|respondents|students|victims) "
    r"| (?:samples?|groups?|trials?|cohorts?|total|blood|serum|plasma|cells|brains?|tissues?|cortex) (?:of|from|in)"
    r" (?:[a-z0-9]{1,14} ){0,3}(?:patients|participants|volunteers|veterans|soldiers|women|men|people|persons"
    r"|adolescents|children|users) "
    r"| healthy (?:[a-z]{1,14} )?(?:volunteers|participants|men|women|humans|controls) "
)


# After the name of an animal, and anywhere in the sentence: something was done.
_DONE_TO = re.compile(
    r"(?:[a-z0-9]{1,14} ){0,4}?(?:received|underwent|got|(?:was|were) (?:[a-z]{1,14}ly |then )?(?:given|treated"
    r"|injected|exposed|trained|tested|subjected|administered|housed|ana?esthetized|randomi[sz]ed|divided|assigned"
    r"|allocated|implanted|infused|conditioned|fed|sacrificed|killed|stressed|reared|pretreated)) "
)
_DONE = re.compile(r" (?:[a-z]{2,14}ed|was|were|given|got|had|fell|rose|shown|found|led|made|quicker|slower) ")


def _only_animals(
    view: _View, creatures: dict[str, _Mention], sentences: Sequence[SentenceLike]
) -> None:
    """Animals that were tested count though named but once, and people then do not, unless tested too."""
    animals = [creatures[name] for name in creatures if name != "humans"]
    if not animals:
        return
    human = creatures.get("humans")
    cells = "vitro" in view.counts or "cultured" in view.counts
    if human is not None and human.title and not any(m.title for m in animals):
        return
    if human is not None and _ARE_TESTED.search(view.words):  # then once more, sentence by sentence
        for sentence in sentences:
            if _ARE_TESTED.search(words_of(sentence.text[:_MOST_READ])):
                return
    plainly = "text-animal-words" in view.found["design"] or "intracerebral" in view.found["route"]
    tested = [m for m in animals if m.title]
    room = _MOST_READ
    for sentence in sentences:
        room -= len(sentence.text)
        if room < 0 or len(tested) == len(animals):
            break
        words = words_of(sentence.text[:_MOST_READ])
        for mention in animals:
            if mention not in tested and mention.count > 0:
                for phrase in mention.phrases:
                    at = words.find(phrase)
                    if at < 0:
                        continue
                    after = at + len(phrase)
                    if _OTHERS_WORK.search(words, max(0, at - 90), at + 1) or _THEIR_WORK.match(words, after):
                        continue
                    if not _DONE_TO.match(words, after) and (
                        mention.name == "rodents"
                        or not (plainly or _DONE.search(words))
                        or (human is not None and _any_in(human.phrases, words))
                        or (phrase[1:-1].upper() in sentence.text and not sentence.text.isupper())
                        or " as guinea pigs " in words
                    ):
                        continue
                    tested.append(mention)
                    break
    for mention in tested:
        if not cells or mention.count > 1:
            mention.count = max(mention.count, 2)
    if human is not None and not human.title and any(m.count >= 2 for m in tested):
        human.count = 0


def _species(view: _View, creatures: dict[str, _Mention]) -> list[str]:
    weights: dict[str, float] = {
        name: m.weight
        for name, m in creatures.items()
        if (m.count if name == "humans" else m.title or m.count >= 2)
    }
    if view.mesh:
        indexed = view.indexed("species")
        if indexed:  # the indexer has read the paper
            weights = {name: weights.get(name, 0.0) for name in indexed}
    return _ranked(weights)


# ------------------------------------------------------------------ design
_ANIMAL_LANE = DESIGNS.index("animal")
_LABORATORY = (_ANIMAL_LANE, DESIGNS.index("in-vitro"))
_TYPE_WEIGHT = 600  # thousandths that one point of a publication type adds to the log-odds


@dataclass(slots=True)
class _Model:
    """Packed weights of the design classifier (scripts/train_design.py) by feature."""

    start: int
    cues: dict[str, int]
    words: dict[str, int]
    title_words: dict[str, int]
    scores: list[int]  # by design, for a thousandth of a point each
    known: frozenset[str]
    known_title: frozenset[str]


@lru_cache(maxsize=1)
def _model() -> _Model | None:
    """The classifier, or None where its file is absent (then the points of the cue table decide alone)."""
    file = resources.files("kb.tagging").joinpath("design_model.json")
    if not file.is_file():
        return None
    raw = json.loads(file.read_text(encoding="utf-8"))
    classes = raw["classes"]

    def packed(row: list[float], scale: int = _LOG_ODDS) -> int:
        return _pack(dict(zip(classes, row, strict=True)), scale)

    start = dict.fromkeys(DESIGNS, -1e6) | dict(zip(classes, raw["start"], strict=True))  # no others
    none = [0.0] * len(classes)
    return _Model(
        _pack(start, _LOG_ODDS),
        *(
            {name: packed(row) for name, row in raw[part].items()}
            for part in ("cues", "words", "title_words")
        ),
        [packed(raw["scores"].get(name, none), _LOG_ODDS // _POINTS) for name in DESIGNS],
        frozenset(raw["words"]),
        frozenset(raw["title_words"]),
    )


def _design(view: _View, species: list[str], creatures: dict[str, _Mention], size: int | None) -> str:
    total, cues = _design_points(view, species, creatures, size)
    rules = view.lexicon.rules
    typed = 0
    if view.types:
        typed = sum(points for terms, points in view.lexicon.types if not view.types.isdisjoint(terms))
    table = _unpack(total + typed)
    second, first = sorted(table)[-2:]
    model = _model()
    if model is None or first - second >= rules["design_plain"] * _POINTS:
        return DESIGNS[table.index(first)]  # plain enough: the cue table decides
    odds = model.start + _TYPE_WEIGHT * typed
    odds += sum(map(model.words.__getitem__, model.known.intersection(view.counts)))
    title_words = model.known_title.intersection(view.title_words.split())
    odds += sum(map(model.title_words.__getitem__, title_words))
    odds += sum(map(model.cues.get, cues, repeat(0)))
    odds += sum(map(mul, model.scores, _unpack(total)))
    least = first - rules["design_reach"] * _POINTS
    reached = [lane for lane, points in enumerate(table) if points >= least]
    chosen = max(reached, key=_unpack(odds).__getitem__)
    if species == ["humans"] and chosen == _ANIMAL_LANE:  # no animal is named
        reached = [lane for lane in reached if lane not in _LABORATORY] or reached
        chosen = max(reached, key=_unpack(odds).__getitem__)
    return DESIGNS[chosen]


def _design_points(
    view: _View, species: list[str], creatures: dict[str, _Mention], size: int | None
) -> tuple[int, list[str]]:
    """Packed points by the cue table (publication types apart), and the cues that gave them."""
    lexicon, title = view.lexicon, view.title_words
    total, known, computed = lexicon.start, lexicon.cues, lexicon.computed
    cues: list[str] = []
    for name, phrases in view.found["design"].items():
        points, titled = known[name]
        if titled:
            for phrase in phrases:
                if phrase in title:
                    break
            else:
                continue
        cues.append(name)
        total += points
    for name in _computed_cues(view, species, creatures, size):
        cues.append(name)
        total += computed[name]
    return total, cues


def design_features(
    title: str, sentences: Sequence[SentenceLike], text: str
) -> tuple[dict[str, float], list[str], set[str], set[str]]:
    """What the design classifier sees: points by design, cues, words of the text, words of the title."""
    view = _View(title, text[:_MOST_READ], (), ())
    creatures = _creatures(view, sentences)
    size, _ = _sample_size(view, sentences)
    total, cues = _design_points(view, _species(view, creatures), creatures, size)
    scores = {name: points / _POINTS for name, points in zip(DESIGNS, _unpack(total), strict=True)}
    return scores, cues, set(view.words.split()), set(view.title_words.split())


def _computed_cues(
    view: _View, species: list[str], creatures: dict[str, _Mention], size: int | None
) -> list[str]:
    words = view.words
    cues = []
    counts = view.counts
    will, done = counts["will"], counts["were"] + counts["was"]
    if will >= 3 and will >= 0.6 * done:
        cues.append("planned")
    elif will >= 2 and will >= 0.3 * done:
        cues.append("planned-a-little")
    if (
        "inclusion" in counts
        and " inclusion criteria " in words
        and (" primary outcome " in words or " condition " in words)
    ):
        cues.append("registry-form")
    human = creatures["humans"].count if "humans" in creatures else 0
    animals = [name for name in species if name != "humans"]
    if animals:
        named = sum(creatures[name].count for name in animals if name in creatures)
        if named > human or (view.mesh and "humans" not in view.mesh):
            cues.append("animals-only")
        else:
            cues.append("animals-too")
    elif human <= 1 and (
        ("vitro" in counts and " in vitro " in words)
        or "cultured" in counts
        or ("cell" in counts and " cell line " in words)
    ):
        cues.append("cells-only")
    if size is not None:
        cues.append("participants-counted")
    elif human <= 1:
        cues.append("no-participants")
    if (
        "results" in counts
        or ("p" in counts and (" p 0 " in words or " p 001 " in words))
        or ("95" in counts and " 95 ci " in words)
    ):
        cues.append("results-given")
    return cues


# ------------------------------------------------------------------ substances
def _substances(view: _View) -> list[str]:
    kinds: dict[str, dict[str, _Mention]] = {"study": {}, "comparator": {}, "class": {}}
    for name, mention in view.mentions("substance").items():
        kinds[view.lexicon.data["substance", name]["kind"]][name] = mention
    rules = view.lexicon.rules
    study = kinds["study"]
    top = max((m.weight for m in study.values()), default=0)
    weights: dict[str, float] = {}
    for name, m in study.items():
        if m.title or m.weight >= max(2, top * rules["substance_share"]) or (top <= 2 and m.weight == top):
            weights[name] = m.weight
    if (
        "ketamine" in weights
        and "esketamine" in study
        and "esketamine" not in weights
        and _given(view, study["esketamine"])
    ):
        weights["esketamine"] = study["esketamine"].weight
    enantiomers = [study[n] for n in ("esketamine", "arketamine") if n in weights]
    if "ketamine" in weights and enantiomers and not _ketamine_besides(view, study["ketamine"], enantiomers):
        del weights["ketamine"]
    out = _ranked(weights)
    given = {
        n: m.weight
        for n, m in kinds["comparator"].items()
        if m.title or (m.count >= 2 and view.named_after(m, 0.3))
    }
    out += _ranked(given)
    if not out:
        out += [name for name, m in kinds["class"].items() if m.title or m.count >= 2]
    return out


_GIVING = re.compile(r"infus|inject|administ|receiv|given|placebo|saline|m?g |dose|bolus")


def _given(view: _View, mention: _Mention) -> bool:
    """Does the abstract say, near its name, that the drug was given ("S-ketamine or placebo")?"""
    if view.found["beside"]:
        return False
    words = view.words
    for phrase in mention.phrases:
        at = words.find(phrase)
        if at >= 0 and _GIVING.search(words, max(0, at - 45), at + len(phrase) + 45):
            return True
    return False


def _ketamine_besides(view: _View, plain: _Mention, enantiomers: list[_Mention]) -> bool:
    """Is plain ketamine a substance of its own beside an enantiomer, or only the short name of it?"""
    if view.found["beside"]:
        return True
    forms = sum(m.count for m in enantiomers)
    titled = any(m.title for m in enantiomers)
    if not titled and plain.title:
        return not any(_given(view, m) for m in enantiomers)
    return not titled and plain.count > 2 * forms


# ------------------------------------------------------------------ conditions
_SUBJECT_NOUNS = frozenset(
    "patients individuals adults subjects participants people adolescents veterans persons outpatients "
    "inpatients women men diagnosed diagnosis suffering criteria treatment treating".split()
)


def _names_subjects(view: _View, mention: _Mention) -> bool:
    """Does the concept say who was studied ("patients with X", "X patients")?"""
    words = view.words
    return _stands_by_people(
        view, mention, lambda at: not _SUBJECT_NOUNS.isdisjoint(words[max(0, at - 44) : at].split()[-5:])
    )


def _stands_by_people(view: _View, mention: _Mention, named_before: Callable[[int], object]) -> bool:
    """Is one of the first places of the concept followed by people, or preceded by them as `named_before` says?"""
    words = view.words
    for phrase in mention.phrases:
        at = words.find(phrase)
        for _ in range(6):
            if at < 0:
                break
            if words.startswith(view.lexicon.subjects, at + len(phrase) - 1) or named_before(at):
                return True
            at = words.find(phrase, at + len(phrase) - 1)
    return False


_GIVEN = frozenset(("rct", "nonrandomized-trial", "protocol"))
_NO_PARTICIPANTS = REVIEWS | {"animal", "in-vitro", "case-report"}
_COUNTED_USERS = re.compile(
    r" (?:[0-9]{1,4}|[a-z]{0,8}teen|eight|nine|ten|eleven|twelve|(?:twen|thir|for|fif|six|seven|eigh|nine)ty)"
    r"(?: (?!who|of|and)[a-z0-9]{1,14}){1,4} users "
)
_AND_HEALTHY = re.compile(
    r" (?:and|versus|vs|or) healthy | healthy (?:[a-z]{1,14} ){0,2}(?:and|versus|vs|or) "
)
_WELL = frozenset(("healthy", "recreational-use"))
_ADDICTIONS = frozenset(("substance-use", "tobacco-use", "alcohol-use"))
_OBSERVED = frozenset(("cross-sectional", "cohort", "case-control", "qualitative"))


_STUDIED = re.compile(
    r"(?:(?:patients|individuals|adults|subjects|participants|people|adolescents|veterans|persons|outpatients"
    r"|inpatients|women|men|those|diagnosed|suffering)(?: [a-z0-9]{1,14})? (?:with|from|had|met|experiencing)"
    r"|condition)(?: [a-z0-9]{1,14}){0,4} $"
)


def _have_it(view: _View, mention: _Mention) -> bool:
    """Were people who have the condition studied ("adults with X", "X patients")?"""
    return _stands_by_people(view, mention, lambda at: _STUDIED.search(view.words, max(0, at - 60), at + 1))


def _only_the_studied(view: _View, design: str, kept: dict[str, float]) -> None:
    """Take out illnesses that volunteers or users do not have, and volunteers whom the text only mentions.

    A drug given to healthy people "because it may help in X" is no study of X; low mood measured in
    recreational users is an outcome.
    """
    title = view.title_words
    ill = [name for name in kept if name not in _WELL]
    if "healthy" in kept and ill:
        titled = (" healthy " in title or " volunteers " in title) and " controls " not in title
        if (
            titled
            and " patients " not in title
            and not _AND_HEALTHY.search(title)
            and design not in _OBSERVED
        ):
            for name in ill:
                del kept[name]
        elif design in _GIVEN and "patients" not in view.counts:
            for name in ill:
                mention = view.mention("condition", name)
                if not mention.title and not _have_it(view, mention):
                    del kept[name]
        elif "model" in view.counts and " patients with schizophrenia " not in title:
            kept.pop("schizophrenia", None)  # a drug model of the illness, not the ill
        if design in {"protocol", "case-report"} and not titled and any(name in kept for name in ill):
            del kept["healthy"]  # a criterion of a trial registration
    if "recreational-use" in kept and ill:
        if design == "case-report":
            del kept["recreational-use"]
        elif design in _OBSERVED and "patients" not in view.counts:
            for name in ill:
                if name in kept and name not in _ADDICTIONS:
                    mention = view.mention("condition", name)
                    disorder = mention.title and (" disorder " in title or " disorders " in title)
                    if not disorder and not _have_it(view, mention):
                        del kept[name]


def _conditions(view: _View, design: str) -> list[str]:
    lexicon = view.lexicon
    rules = lexicon.rules
    weights: dict[str, float] = {}
    plain: set[str] = set()  # kept whatever the others weigh
    for name, m in view.mentions("condition").items():
        data = lexicon.data["condition", name]
        score = 3.0 * min(m.title, 1) + 0.5 * min(m.count, 6) + (0.5 if view.named_after(m, 0.6) else 0.0)
        if (m.title and not data.get("needs_subjects")) or _names_subjects(view, m):
            score += 2.5
        elif data.get("needs_subjects"):
            continue
        if name == "recreational-use":
            if design not in _OBSERVED and not m.title:  # volunteers with past use are not yet a study of use
                score -= 2.5
            elif m.count >= 2:
                plain.add(name)
        weights[name] = score
        if m.title or (score >= 0.5 and not data["strong"].isdisjoint(view.found["condition"][name])):
            plain.add(name)
    top = max(weights.values(), default=0.0)
    least = max(rules["condition_least"], rules["condition_share"] * top)
    kept = {name: score for name, score in weights.items() if score >= least or name in plain}
    _only_the_studied(view, design, kept)
    words = view.words
    if (
        not kept
        and design not in _NO_PARTICIPANTS
        and ("patients" not in view.counts or " patients with " not in words)
    ):
        if design in _OBSERVED and "recreational-use" in weights and "patients" not in view.counts:
            kept["recreational-use"] = 0.0
        elif design in _GIVEN and "patients" not in view.counts:
            kept["healthy"] = 0.0  # people were given a drug and no illness is named
        elif design in {*_GIVEN, "other"} and not lexicon.studied.isdisjoint(view.found["substance"]):
            if "participants" in view.counts or "volunteers" in view.counts:
                kept["healthy"] = 0.0
    if design in _GIVEN and "recreational-use" in weights and "healthy" in kept and "users" in view.counts:
        if _COUNTED_USERS.search(words):
            kept["recreational-use"] = weights["recreational-use"]
    for name in view.indexed("condition"):
        kept.setdefault(name, weights.get(name, 0.0))
    for name in list(kept):
        for wider in lexicon.data["condition", name].get("implies", ()):
            kept.setdefault(wider, weights.get(wider, 0.0))
    return _ranked(kept)


# ------------------------------------------------------------------ population
_LEAST_MENTIONS = {"veterans-military": 2, "older-adults": 2}  # others three, or one in the title


_THE_VETERANS = re.compile(
    r" (?:[0-9]{1,5}|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|[a-z]{3,5}teen|[a-z]{3,5}ty"
    r"|injured|wounded|burned|evacuated|treated|enrolled|recruited)"
    r" (?:[a-z]{1,14} ){0,3}(?:veterans|soldiers|service members|servicemembers) "
    r"| (?:veterans|soldiers|service members|servicemembers) (?:[a-z]{1,14} ){0,3}"
    r"(?:received|underwent|were given|were treated|were randomi[sz]ed|took|completed) "
)


_THE_CHILDREN = re.compile(
    r" (?:children|adolescents|infants) (?:[a-z0-9]{1,14} ){0,5}?"
    r"(?:having|received|underwent|undergoing|(?:were|was) (?:randomi[sz]ed|given|assigned|allocated|treated)) "
)


def _population(view: _View, design: str, species: list[str], conditions: list[str]) -> list[str]:
    if species and "humans" not in species:
        return ["animals"]
    if design == "animal" and "healthy" not in conditions:
        return ["animals"]
    found = view.mentions("population")
    out = [
        n
        for n in POPULATIONS
        if n in found and (found[n].title or found[n].count >= _LEAST_MENTIONS.get(n, 3))
    ]
    if "veterans-military" in found and "veterans-military" not in out and _THE_VETERANS.search(view.words):
        out.insert(0, "veterans-military")
    if "children-adolescents" in found and "children-adolescents" not in out and design in _GIVEN:
        if _THE_CHILDREN.search(view.words):
            out.insert(0, "children-adolescents")
    indexed = view.indexed("population")
    if not view.mesh.isdisjoint(("adult", "young adult", "middle aged")):
        indexed -= {"children-adolescents", "older-adults"}  # check tags for anyone of that age among adults
    out += [name for name in POPULATIONS if name in indexed and name not in out]
    if "recreational-use" in conditions and design in _OBSERVED and "recreational-users" not in out:
        out.append("recreational-users")
    healthy_title = " healthy " in view.title_words or " normal volunteers " in view.title_words
    ill = [
        c
        for c in conditions
        if c not in {"healthy", "recreational-use"} and not (c == "schizophrenia" and healthy_title)
    ]
    adults = bool(ill) and design not in {"review", "other"} and not out
    said = design in _GIVEN or "healthy" in view.found["condition"]
    patients = "surgical-trauma-patients" in out and " volunteers " not in view.words
    if patients and ("healthy" not in view.found["condition"] or "children-adolescents" in out):
        said = False  # people at an operation, whom no illness is named of
    if "healthy" in conditions and said and ("recreational-users" not in out or design not in _OBSERVED):
        adults = adults and (not healthy_title or " patients " in view.title_words)
        out.append("healthy-volunteers")
    if adults:
        out.insert(0, "civilians-adults")
    if any(name != "humans" for name in species):
        out.append("animals")
    return out or ["unspecified"]


# ------------------------------------------------------------------ routes, schedule, control
def _routes(view: _View) -> list[str]:
    return _ranked({name: m.weight for name, m in view.mentions("route").items()})


def _strongly(view: _View, name: str) -> bool:
    """Does the text use a phrase that leaves no doubt of the schedule?"""
    return not view.lexicon.data["schedule", name]["strong"].isdisjoint(view.found["schedule"].get(name, ()))


def _schedule(view: _View, design: str, conditions: list[str]) -> str:
    if design in REVIEWS:
        return ""  # of many studies
    found = {name: m.weight for name, m in view.mentions("schedule").items()}
    if found.get("maintenance", 0) >= 3:
        return "maintenance"
    single, repeated = found.get("single", 0), found.get("repeated", 0)
    if repeated and single and _strongly(view, "repeated") and not _strongly(view, "single"):
        return "repeated"
    if single and single >= repeated:
        return "single"
    if repeated:
        return "repeated"
    if "healthy" in conditions and design in {"rct", "nonrandomized-trial", "other"}:
        return "single"  # experiments with volunteers give one dose a session
    return ""


def _control(view: _View, design: str) -> str:
    if design in REVIEWS or design in {"case-report", "qualitative"}:
        return ""
    found = view.found["control"]
    for name in ("active-placebo", "placebo", "waitlist", "active", "dose-comparison"):
        if name in found:
            return name
    return ""


# ------------------------------------------------------------------ doses
# A unit as written -> ours. They are looked for as plain strings, and only a number before one starts a dose.
_DOSE_UNITS = {
    "mg": "mg",
    "MG": "mg",
    "Mg": "mg",
    "milligram": "mg",
    "µg": "µg",
    "μg": "µg",
    "ug": "µg",
    "mcg": "µg",
    "microgram": "µg",
}
_NUM = r"[0-9]{1,5}(?:[.,·][0-9]{1,4})?|[.·][0-9]{1,4}"
_SMALL = r"[0-9]{1,3}(?:[.·][0-9]{1,4})?"
_AMOUNT = re.compile(rf"(?<![0-9A-Za-z.,])((?:{_NUM}))(?: ?(?:[-–‐‑—±]|to|and|or) ?({_NUM}))?[ \xa0-]?$")
_LISTED = re.compile(rf"(?<![0-9A-Za-z.,])((?:(?<![0-9.,])(?:{_SMALL}), ){{1,4}})((?:and|or) )?$")
_REST = re.compile(
    r"(?:s(?![a-z]))?"
    r"((?: ?/ ?| ?per | ?[·.x×∙] ?| )(?:70 ?)?k(?:ilo)?g(?:ram)?(?: ?\(?[-−‐–]1\)?)?"
    r"(?: of body weight| body weight| bw)?)?"
    r"((?: ?/ ?| ?per | ?[·.x×∙] ?| )(?:hours?|hrs?|h|min|minute|day|d)(?![a-z])(?: ?\(?[-−‐–]1\)?)?)?"
    r"( ?/ ?(?:ml|dl|l|g|m2|m²)(?![a-z]))?",
    re.IGNORECASE,
)
_OVER = re.compile(
    r"(?:over|during|in|for|within|lasting)(?: a| the)?(?: period of| course of)?"
    r"[ \xa0]([0-9]{1,3}|forty|sixty)[ \xa0‐-]?"
    r"(min|minutes?|h|hours?|hrs?)(?![a-z])",
    re.IGNORECASE,
)
_LONG = re.compile(
    r"([0-9]{1,3}|forty|sixty)[ \xa0‐-]?(min|minutes?|h|hours?)[ -](?:[a-z]{1,14}[ -]){0,3}infusion",
    re.IGNORECASE,
)
_SPELLED_MINUTES = {"forty": 40.0, "sixty": 60.0}
_MOST_DOSES = 30


def _number(raw: str) -> float:
    return float("0" + raw.replace(",", ".").replace("·", "."))


def _doses(view: _View) -> list[Dose]:
    text = view.text
    places: list[tuple[int, str]] = []
    sought = ["ug", "mcg"]  # each look at the whole text counts, so only for what can be there
    if "mg" in view.words:
        sought += ["mg", "MG", "Mg"]
    if "gram" in text:
        sought += ["milligram", "microgram"]
    if not text.isascii():
        sought += ["µg", "μg"]
    for written in sought:
        at = text.find(written)
        while at >= 0:
            if at and text[at - 1] in "0123456789 -\xa0":
                places.append((at, written))
            at = text.find(written, at + len(written))
    out: list[Dose] = []
    seen: set[tuple[Any, ...]] = set()
    for at, written in sorted(places):
        amount_match = _AMOUNT.search(text, max(0, at - 24), at)
        if amount_match is None:
            continue
        rest = _REST.match(text, at + len(written))
        assert rest is not None  # every part of it is optional
        end = rest.end()
        per_kg, per_time, per_volume = rest.groups()
        if per_volume or text[end : end + 1].isalnum():
            continue
        unit = _DOSE_UNITS[written]
        if per_kg:
            unit += "/70 kg" if "70" in per_kg else "/kg"
        if per_time:
            short = per_time.lower().replace("per", "").strip(" /·.x×∙")
            unit += "/h" if short[0] == "h" else "/min" if short[0] == "m" else "/day"
        low, high = amount_match.groups()
        start = amount_match.start(1)
        minutes, end = _minutes(text, start, end)
        dose = Dose(
            _dose_substance(view, start, end),
            _number(low),
            _number(high) if high else None,
            unit,
            minutes,
            text[start:end],
        )
        doses = [dose]
        listed = _LISTED.search(text, max(0, start - 40), start)
        if listed is not None:
            firsts = [_number(raw) for raw in listed.group(1).split(", ") if raw]
            lasts = (" or ", " and ")
            if len(firsts) > 1 or listed.group(2) or any(word in text[start:at] for word in lasts):
                whole = text[listed.start(1) : end]
                doses[:0] = [Dose(dose.substance, first, None, unit, minutes, whole) for first in firsts]
        for dose in doses:
            key = (dose.substance, dose.amount, dose.amount_high, dose.unit, dose.minutes)
            if key not in seen:
                seen.add(key)
                out.append(dose)
        if len(out) >= _MOST_DOSES:
            break
    return out


def _minutes(text: str, start: int, end: int) -> tuple[float | None, int]:
    """How long the dose at start..end is given, and where the dose with that time ends."""
    near = text[max(0, start - 70) : end + 60].lower()
    if (
        "min" not in near
        and "hour" not in near
        and "hr" not in near
        and " h" not in near
        and "-h" not in near
    ):
        return None, end
    match = _OVER.search(text, end, end + 60)
    if match is not None and ". " not in text[end : match.start()]:
        return _length(match), match.end()
    match = _LONG.search(text, max(0, start - 70), end + 50) if "infusion" in near else None
    if match is not None:
        between = text[match.end() : start] if match.end() <= start else text[end : match.start()]
        if ". " not in between:
            return _length(match), end
    return None, end


def _length(match: re.Match[str]) -> float:
    raw, unit = match.groups()
    value = _SPELLED_MINUTES.get(raw.lower()) or float(raw)
    return value * 60 if unit.lower().startswith("h") else value


_NOT_DOSED = frozenset(("placebo", "ect", "tms", "psychotherapy", "psychedelics"))
_DOSE_REACH = 40  # characters between a dose and its drug


def _dose_substance(view: _View, start: int, end: int) -> str:
    """The drug named nearest to the dose, the one before it if two are as near; "" if none is near."""
    after = words_of(view.text[end : end + _DOSE_REACH + 20])
    before = words_of(view.text[max(0, start - _DOSE_REACH - 20) : start])
    best: tuple[int, int, int, str] = (_DOSE_REACH, 2, 0, "")  # distance, side, minus length, name
    for name, phrases in view.found["substance"].items():
        if name in _NOT_DOSED:
            continue
        for phrase in phrases:
            at = after.find(phrase)
            if at >= 0:
                best = min(best, (at, 1, -len(phrase), name))
            at = before.rfind(phrase)
            if at >= 0:
                best = min(best, (len(before) - at - len(phrase), 0, -len(phrase), name))
    return best[3]


# ------------------------------------------------------------------ sample size
_UNITS = {
    w: n
    for n, w in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
        "sixteen seventeen eighteen nineteen".split()
    )
}
_TENS = {
    w: 10 * n for n, w in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)
}
_NUMBER_WORDS = frozenset(_UNITS) | frozenset(_TENS) | {"hundred", "thousand"}


_EQUAL_TO = re.compile(r" ?([0-9]{1,3}(?:,[0-9]{3}){1,2}|[0-9]{1,7})(?![0-9.])")
_TO_AND_TO = re.compile(r"([0-9]{1,6})(?: [a-z]{1,20}){0,6} to [^.;0-9]{3,80}? and ([0-9]{1,6}) to ")
_THEN_VERB = re.compile(
    r"([0-9]{1,3}(?:,[0-9]{3}){1,2}|[0-9]{2,7}) (?:were|was|completed|underwent) "
    r"(randomi[sz]ed|randomly|enrolled|included|analy[sz]ed|assigned|allocated|randomi)"
)


_THOUSANDS = re.compile(
    # the look behind stands second, so that the search goes from digit to digit
    r"([1-9](?<![0-9.,].)[0-9]{0,2})([ \xa0\u2009\u202f])([0-9]{3})(?=[ ,;.)](?![0-9]))"
)
_NUMBERED = frozenset(
    "group groups day days week weeks phase phases grade type stage arm study studies cohort level and or "
    "to scale step site table figure part visit session month year version mg dose doses".split()
)
# "12 of 119 ... versus 29 of 122" when no total is told
_SHARES = re.compile(
    r"([0-9](?<![0-9.,].)[0-9]{0,3}) of ([0-9]{1,5})(?![0-9.,])[^.;]{1,100}?"
    r"(?:versus|vs\.?|compared with|compared to|against|and) [^.;0-9]{0,60}?([0-9]{1,4}) of ([0-9]{1,5})(?![0-9])"
)


def _close_up(match: re.Match[str]) -> str:
    """ "1 247" as 1247, unless the first number belongs to the word before it ("group 1 247")."""
    first, space, last = match.groups()
    if space == " ":
        before = match.string[max(0, match.start() - 15) : match.start()].lower().split()
        if before and before[-1] in _NUMBERED:
            return match.group()
    return first + last


_SET_AGAINST = frozenset(("with", "versus", "vs", "vs.", "against", "to"))


def _count(token: str) -> int | None:
    """A whole number as a token ("41", "1,877", "(41"), else None."""
    bare = token.strip("(),;:").replace(",", "")
    return int(bare) if bare.isdigit() and len(bare) <= 7 else None


def _spelled_back(tokens: list[str], at: int) -> tuple[int, int]:
    """The spelled number that ends at `at` and the index it starts at ("one hundred and twenty seven")."""
    first = at
    while first > 0 and (
        tokens[first - 1] in _NUMBER_WORDS
        or (tokens[first - 1] == "and" and first > 1 and tokens[first - 2] in {"hundred", "thousand"})
    ):
        first -= 1
    total = part = 0
    for token in tokens[first : at + 1]:
        if token == "thousand":
            total, part = total + max(part, 1) * 1000, 0
        elif token == "hundred":
            part = max(part, 1) * 100
        elif token != "and":
            part += _UNITS.get(token, _TENS.get(token, 0))
    return total + part, first


_FEWEST, _MOST = 3, 5_000_000  # one or two people are an event, or a case report (see read_facets)


def _sample_size(view: _View, sentences: Sequence[SentenceLike]) -> tuple[int | None, float]:
    """The most telling count of people, and its points (about 2 weak, 4 or more plainly stated)."""
    best, best_points = None, 0.0
    told: list[str] = []
    ended: list[str] = []
    room = _MOST_READ
    for sentence in sentences:
        room -= len(sentence.text)
        if room < 0 and told:
            break
        if sentence.section == "CONCLUSIONS":
            ended.append(sentence.text[:_MOST_READ])
        elif sentence.section != "BACKGROUND":
            told.append(sentence.text[:_MOST_READ])
    for texts, less in ((told, 0.0), (ended, 1.5)):
        if not texts or best is not None:
            continue
        for number, points in _counts(texts):
            if points - less > best_points and _FEWEST <= number <= _MOST:
                best, best_points = number, points - less
    return best, best_points


_NUMBER_THEN_VERB = re.compile(r"[0-9] (?:were|was|completed|underwent) ")


def _places(wanted: Iterable[str], tokens: list[str]) -> list[int]:
    """Where the words stand, in order; each of them does somewhere."""
    found = []
    for word in wanted:
        at = -1
        for _ in range(tokens.count(word)):
            at = tokens.index(word, at + 1)
            found.append(at)
    return sorted(found)


def _counts(texts: list[str]) -> list[tuple[int, float]]:
    """Counts of people in some sentences, each with points."""
    lexicon = _lexicon()
    joined = " | ".join(texts)
    if _THOUSANDS.search(joined):
        texts = [_THOUSANDS.sub(_close_up, text) for text in texts]
        joined = " | ".join(texts)
    tokens = _plain(joined).translate(_MARKED, b"'").decode("ascii").split()
    out: list[tuple[int, float]] = []
    last_end, run, run_points = -9, 0, 0.0
    people, barrier = lexicon.people, lexicon.barrier
    for i in _places(people.intersection(tokens), tokens):
        for j in range(i - 1, max(-1, i - 8), -1):
            token = tokens[j]
            if token in barrier or token.rstrip(",") in barrier or token[-1] in ".;:%|)" or "=" in token:
                break
            number, first = None, j
            if token[-1] in "0123456789,":
                number = _count(token)
            elif token in _NUMBER_WORDS:
                number, first = _spelled_back(tokens, j)
            if number is not None:
                points = _points(tokens, first, j, i)
                joins = tokens[first - 1] == "and" or (
                    tokens[first - 1] in _SET_AGAINST and tokens[i].startswith("control")
                )
                if run and joins and _other_group(tokens, last_end, first, i):
                    run += number  # "30 patients and 25 controls"
                    points = max(points, run_points) + 0.5
                    out.append((run, points))
                else:
                    run = number
                    out.append((number, points))
                run_points = points
                last_end = i
                break
    then_verb, to_and_to = _NUMBER_THEN_VERB.search(joined), " to " in joined
    shares = _SHARES.search(joined)
    for text in texts:
        if "=" in text:
            out += _equal_counts(text)
        if shares and " of " in text:
            out += [
                (int(match.group(2)) + int(match.group(4)), 2.9)
                for match in _SHARES.finditer(text)
                if int(match.group(1)) <= int(match.group(2)) != int(match.group(4)) >= int(match.group(3))
            ]
        shared = to_and_to and " to " in text and " and " in text
        if not (then_verb or shared):
            continue
        by_lot = "andom" in text or "assigned" in text or "allocated" in text
        if then_verb and (by_lot or "enrolled" in text or "included" in text or "analy" in text):
            for match in _THEN_VERB.finditer(text):
                at = match.start()
                if at and text[at - 1] in "0123456789.,":
                    continue
                verb = match.group(2)
                out.append((int(match.group(1).replace(",", "")), 5.0 if verb.startswith("random") else 3.0))
        if by_lot and shared:
            for match in _TO_AND_TO.finditer(text):
                out.append((int(match.group(1)) + int(match.group(2)), 5.5))
    return out


def _other_group(tokens: list[str], last: int, first: int, noun: int) -> bool:
    """Is the count at first..noun of a further group, named right after the one that ended at `last`?"""
    if first - 3 <= last:
        return True
    if first - 10 > last or any(token[-1] in ".;|" for token in tokens[last:first]):
        return False
    return tokens[noun].startswith("control") or not _lexicon().compared.isdisjoint(tokens[first:noun])


def _equal_counts(text: str) -> list[tuple[int, float]]:
    """Counts given as "N = 41" in one sentence; several of them are groups and are added up."""
    numbers: list[int] = []
    capital = False
    at = text.find("=")
    while at >= 0:
        before = text[max(0, at - 3) : at].rstrip()
        if before[-1:] in {"n", "N"} and not before[-2:-1].isalpha():
            match = _EQUAL_TO.match(text, at + 1)
            if match:
                numbers.append(int(match.group(1).replace(",", "")))
                capital = capital or before[-1] == "N"
        at = text.find("=", at + 1)
    if not numbers:
        return []
    if len(numbers) == 1:
        return [(numbers[0], 4.0 if capital else 2.5)]
    largest, total = max(numbers), sum(numbers)
    if 2 * largest == total or " of whom" in text or " of which" in text or " of these" in text:
        return [(largest, 3.0)]  # the whole, then its parts
    return [(total, 2.9)]


def _any_in(words: Iterable[str], text: str) -> bool:
    for word in words:  # quicker than any() over a generator
        if word in text:
            return True
    return False


def _points(tokens: list[str], first: int, last: int, noun: int) -> float:
    lexicon = _lexicon()
    before = " ".join(tokens[max(0, first - 6) : first])
    after = " ".join(tokens[noun + 1 : noun + 9])
    points = 3.0
    if before.endswith(
        ("total of", "sample of", "study of", "trial of", "cohort of", "in total", "in a total of")
    ):
        points += 2.0
    near = before[-30:] + " " + after[:40]
    if _any_in(lexicon.random, near):
        points += 2.0
    elif _any_in(lexicon.taken, near):
        points += 1.0
    if _any_in(lexicon.not_taken, near):
        points -= 3.0
    if after.startswith(("per ", "each", "in each")):
        points -= 3.0
    if tokens[noun].startswith("controls") or "healthy" in tokens[last:noun]:
        points -= 0.5
    if before.endswith(" of") and not before.endswith(
        ("total of", "sample of", "study of", "trial of", "cohort of")
    ):
        points -= 1.0
    return points
