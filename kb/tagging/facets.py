"""Study facets: design, size, species, population, conditions, substances, routes, doses, schedule, control.

The lexicon and the weights of the design cues are data (facets.toml); this module only reads them.
PubMed publication types and MeSH headings count first where a citation has them, the text otherwise.
Pure, and linear in the length of the text: terms are found through the set of words present, and the few
regular expressions have bounded repeats and run only around a unit or a count.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
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
    return " " + " ".join(_plain(text).translate(_WORDS, b"'").decode("ascii").split()) + " "


def _plain(text: str) -> bytes:
    if not text.isascii() and "’" in text:
        text = text.replace("’", "'")
    return text.encode("ascii", "replace")


# ------------------------------------------------------------------ lexicon
_GROUPS = ("substance", "condition", "species", "route", "population", "schedule", "control", "beside")
Key = tuple[str, str]  # group, name


class _Lexicon:
    """All terms of facets.toml, and what else it holds, ready for use."""

    def __init__(self, table: dict[str, Any]) -> None:
        self.data: dict[Key, dict[str, Any]] = {}
        # A term of one word by that word, a longer one by its first two words.
        self.singles: dict[str, list[tuple[str, str, str]]] = {}
        self.longer: dict[tuple[str, str], list[tuple[str, bool, str, str]]] = {}
        self.computed: dict[str, dict[str, float]] = {}
        self.types: list[tuple[str, frozenset[str], dict[str, float]]] = []
        self.start = {name: float(value) for name, value in table["design"]["start"].items()}
        self.rules = table["rules"]
        words = table["words"]
        self.subjects = tuple(f" {word} " for word in words["subjects"].split())
        marks = ("", ",", ".", ")", ";", ":", "),", ").", ");")
        self.people = frozenset(word + mark for word in words["people"].split() for mark in marks)
        self.barrier = frozenset(words["barrier"].split())
        self.compared = frozenset(words["compared"].split())
        self.random, self.taken, self.not_taken = words["random"], words["taken"], words["not_taken"]
        for group in _GROUPS:
            for row in table[group]:
                self.data[group, row["name"]] = row
        for cue in table["design"]["cue"]:
            if cue["where"] == "computed":
                self.computed[cue["name"]] = cue["weights"]
            elif cue["where"] == "type":
                self.types.append((cue["name"], frozenset(cue["terms"]), cue["weights"]))
            else:
                self.data["design", cue["name"]] = cue
        for (group, name), row in self.data.items():
            row["except"] = [f" {phrase} " for phrase in row.get("except", ())]
            row["restore"] = [f" {phrase} " for phrase in row.get("restore", ())]
            row["strong"] = frozenset(f" {phrase} " for phrase in row.get("strong", ()))
            for term in dict.fromkeys([*row["terms"], *(phrase.strip() for phrase in row["strong"])]):
                parts = term.split()
                if len(parts) == 1:
                    self.singles.setdefault(term, []).append((f" {term} ", group, name))
                else:
                    rows = self.longer.setdefault((parts[0], parts[1]), [])
                    rows.append((f" {term} ", len(parts) == 2, group, name))
        self.single_keys = frozenset(self.singles)
        self.longer_keys = frozenset(self.longer)
        self.mesh: dict[str, list[Key]] = {}
        for key, row in self.data.items():
            for heading in row.get("mesh", ()):
                self.mesh.setdefault(heading.lower(), []).append(key)


@lru_cache(maxsize=1)
def _lexicon() -> _Lexicon:
    source = resources.files("kb.tagging").joinpath("facets.toml").read_text(encoding="utf-8")
    return _Lexicon(tomllib.loads(source))


@dataclass(slots=True)
class _Mention:
    """How an abstract speaks of one concept."""

    name: str
    title: int  # times in the title
    count: int  # times in title and abstract
    last: float  # where it is last named, 0..1
    phrases: list[str]

    @property
    def weight(self) -> int:
        return 4 * self.title + self.count


class _View:
    """One abstract, prepared once for every facet. `found` is group -> name -> terms found."""

    __slots__ = ("text", "words", "present", "title_words", "found", "lexicon", "mesh", "types")

    def __init__(self, title: str, text: str, mesh: Iterable[str], types: Iterable[str]) -> None:
        self.lexicon = lexicon = _lexicon()
        self.text = text
        self.words = words = words_of(text)
        self.title_words = words_of(title) if len(title) <= _LONG_TITLE else "  "
        self.mesh = {heading.partition("/")[0].strip().lower() for heading in mesh}
        self.types = {words_of(kind).strip() for kind in types}
        self.found: dict[str, dict[str, list[str]]] = {group: {} for group in _GROUPS}
        self.found["design"] = {}
        tokens = words.split()
        self.present = present = set(tokens)
        hits = [hit for word in present & lexicon.single_keys for hit in lexicon.singles[word]]
        for pair in lexicon.longer_keys.intersection(zip(tokens, tokens[1:], strict=False)):
            for phrase, whole, group, name in lexicon.longer[pair]:
                if whole or phrase in words:
                    hits.append((phrase, group, name))
        found = self.found
        for phrase, group, name in hits:
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
        words, title = self.words, self.title_words
        if len(phrases) > 1:  # a term inside another ("depression" in "resistant depression") is counted once
            phrases = [p for p in phrases if not any(q in p for q in phrases if q is not p)]
        count = in_title = last = 0
        for phrase in phrases:
            count += words.count(phrase)
            in_title += title.count(phrase)
            last = max(last, words.rfind(phrase))
        data = self.lexicon.data[group, name]
        for phrase in data["except"]:
            if phrase in words:
                count -= words.count(phrase)
                in_title -= title.count(phrase)
        for phrase in data["restore"]:
            count += words.count(phrase)
            in_title += title.count(phrase)
        if count <= 0:
            return None
        return _Mention(name, max(in_title, 0), count, last / len(words), phrases)

    def indexed(self, group: str) -> set[str]:
        """The entries of a group that the citation's MeSH headings name."""
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
    if design in {"review", "other"} or (design in {"systematic-review", "meta-analysis"} and points < 4.0):
        size = None
    if design == "case-report" and size is None and " year old " in view.words:
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
        schedule=_schedule(view),
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
    return creatures


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
_TYPE_WEIGHT = 0.6  # one point of a publication type in the model's log-odds: the indexer's word counts most


@dataclass(slots=True)
class _Model:
    """Weights of the design classifier (scripts/train_design.py): design -> start, feature -> weight."""

    start: dict[str, float]
    cues: dict[str, dict[str, float]]
    words: dict[str, dict[str, float]]
    title_words: dict[str, dict[str, float]]
    scores: dict[str, dict[str, float]]
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

    def by_design(table: dict[str, list[float]]) -> dict[str, dict[str, float]]:
        return {design: {name: row[i] for name, row in table.items()} for i, design in enumerate(classes)}

    return _Model(
        dict(zip(classes, raw["start"], strict=True)),
        by_design(raw["cues"]),
        by_design(raw["words"]),
        by_design(raw["title_words"]),
        by_design(raw["scores"]),
        frozenset(raw["words"]),
        frozenset(raw["title_words"]),
    )


def _design(view: _View, species: list[str], creatures: dict[str, _Mention], size: int | None) -> str:
    scores, cues = design_scores(view, species, creatures, size)
    rules = view.lexicon.rules
    typed: dict[str, float] = {}
    if view.types:
        for _, terms, weights in view.lexicon.types:
            if not view.types.isdisjoint(terms):
                for design, weight in weights.items():
                    typed[design] = typed.get(design, 0.0) + weight
    table = [scores.get(name, 0.0) + typed.get(name, 0.0) for name in DESIGNS]
    ranked = sorted(table, reverse=True)
    model = _model()
    if model is None or ranked[0] - ranked[1] >= rules["design_plain"]:
        return DESIGNS[table.index(ranked[0])]  # plain enough: the cue table decides
    words = view.present & model.known
    title_words = model.known_title.intersection(view.title_words.split())
    best, most = "other", float("-inf")
    for design, points in zip(DESIGNS, table, strict=True):
        if design not in model.start or points < ranked[0] - rules["design_reach"]:
            continue
        by_cue, by_score = model.cues[design], model.scores[design]
        total = model.start[design] + _TYPE_WEIGHT * typed.get(design, 0.0)
        total += sum(map(model.words[design].__getitem__, words))
        total += sum(map(model.title_words[design].__getitem__, title_words))
        total += sum(by_cue[name] for name in cues if name in by_cue)
        total += sum(by_score[name] * value for name, value in scores.items() if name in by_score)
        if total > most:
            best, most = design, total
    return best


def design_scores(
    view: _View, species: list[str], creatures: dict[str, _Mention], size: int | None
) -> tuple[dict[str, float], list[str]]:
    """Points of each design by the cue table (publication types apart), and the cues that gave them."""
    lexicon, title = view.lexicon, view.title_words
    scores = dict(lexicon.start)
    cues: list[str] = []
    weighed: list[dict[str, float]] = []
    for name, phrases in view.found["design"].items():
        data = lexicon.data["design", name]
        if data["where"] == "title":
            for phrase in phrases:
                if phrase in title:
                    break
            else:
                continue
        cues.append(name)
        weighed.append(data["weights"])
    for name in _computed_cues(view, species, creatures, size):
        cues.append(name)
        weighed.append(lexicon.computed[name])
    for weights in weighed:
        for design, weight in weights.items():
            scores[design] = scores.get(design, 0.0) + weight
    return scores, cues


def design_features(
    title: str, sentences: Sequence[SentenceLike], text: str
) -> tuple[dict[str, float], list[str], set[str], set[str]]:
    """What the design classifier sees: points by design, cues, words of the text, words of the title."""
    view = _View(title, text[:_MOST_READ], (), ())
    creatures = _creatures(view, sentences)
    size, _ = _sample_size(view, sentences)
    scores, cues = design_scores(view, _species(view, creatures), creatures, size)
    return scores, cues, view.present, set(view.title_words.split())


def _computed_cues(
    view: _View, species: list[str], creatures: dict[str, _Mention], size: int | None
) -> list[str]:
    words = view.words
    cues = []
    will = words.count(" will ")
    done = words.count(" were ") + words.count(" was ")
    if will >= 3 and will >= 0.6 * done:
        cues.append("planned")
    elif will >= 2 and will >= 0.3 * done:
        cues.append("planned-a-little")
    if " inclusion criteria " in words and (" primary outcome " in words or " condition " in words):
        cues.append("registry-form")
    human = creatures["humans"].count if "humans" in creatures else 0
    animals = [name for name in species if name != "humans"]
    if animals:
        named = sum(creatures[name].count for name in animals if name in creatures)
        if named > human or (view.mesh and "humans" not in view.mesh):
            cues.append("animals-only")
        else:
            cues.append("animals-too")
    elif human <= 1 and (" in vitro " in words or " cultured " in words or " cell line " in words):
        cues.append("cells-only")
    if size is not None:
        cues.append("participants-counted")
    elif human <= 1:
        cues.append("no-participants")
    if " p 0 " in words or " 95 ci " in words or " p 001 " in words or " results " in words:
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
        n: m.weight for n, m in kinds["comparator"].items() if m.title or (m.count >= 2 and m.last > 0.3)
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
_SUBJECT_NOUN = re.compile(
    r"(?:patients|individuals|adults|subjects|participants|people|adolescents|veterans|persons|outpatients|inpatients"
    r"|women|men|diagnosed|diagnosis|suffering|criteria|treatment|treating)(?: [a-z0-9]{1,14}){0,4} $"
)


def _names_subjects(view: _View, mention: _Mention) -> bool:
    """Does the concept say who was studied ("patients with X", "X patients")?"""
    words = view.words
    for phrase in mention.phrases:
        at = words.find(phrase)
        for _ in range(6):
            if at < 0:
                break
            if words.startswith(view.lexicon.subjects, at + len(phrase) - 1):
                return True
            if _SUBJECT_NOUN.search(words, max(0, at - 44), at + 1):
                return True
            at = words.find(phrase, at + len(phrase) - 1)
    return False


_GIVEN = frozenset(("rct", "nonrandomized-trial", "protocol"))
_OBSERVED = frozenset(("cross-sectional", "cohort", "case-control", "qualitative"))


def _conditions(view: _View, design: str) -> list[str]:
    lexicon = view.lexicon
    rules = lexicon.rules
    weights: dict[str, float] = {}
    plain: set[str] = set()  # kept whatever the others weigh
    for name, m in view.mentions("condition").items():
        data = lexicon.data["condition", name]
        score = 3.0 * min(m.title, 1) + 0.5 * min(m.count, 6) + (0.5 if m.last > 0.6 else 0.0)
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
    if (
        "healthy" in kept
        and " model " in view.words
        and " patients with schizophrenia " not in view.title_words
    ):
        kept.pop("schizophrenia", None)  # a drug model of the illness, not the ill
    if not kept and " patients " not in view.words:
        if design in _GIVEN:
            kept["healthy"] = 0.0  # people were given a drug and no illness is named
        elif "recreational-use" in weights and design in _OBSERVED:
            kept["recreational-use"] = 0.0
    for name in view.indexed("condition"):
        kept.setdefault(name, weights.get(name, 0.0))
    for name in list(kept):
        for wider in lexicon.data["condition", name].get("implies", ()):
            kept.setdefault(wider, weights.get(wider, 0.0))
    return _ranked(kept)


# ------------------------------------------------------------------ population
_LEAST_MENTIONS = {"veterans-military": 2, "older-adults": 2}  # others three, or one in the title


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
    if "healthy" in conditions and ("recreational-users" not in out or design not in _OBSERVED):
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


def _schedule(view: _View) -> str:
    found = {name: m.weight for name, m in view.mentions("schedule").items()}
    if found.get("maintenance", 0) >= 3:
        return "maintenance"
    single, repeated = found.get("single", 0), found.get("repeated", 0)
    if single and single >= repeated:
        return "single"
    return "repeated" if repeated else ""


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
_AMOUNT = re.compile(rf"(?<![0-9A-Za-z.,])((?:{_NUM}))(?: ?(?:[-–‐‑—±]|to|and|or) ?({_NUM}))?[ \xa0-]?$")
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
    for written in _DOSE_UNITS:
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
        key = (dose.substance, dose.amount, dose.amount_high, dose.unit, dose.minutes)
        if key not in seen:
            seen.add(key)
            out.append(dose)
        if len(out) >= _MOST_DOSES:
            break
    return out


def _minutes(text: str, start: int, end: int) -> tuple[float | None, int]:
    """How long the dose at start..end is given, and where the dose with that time ends."""
    match = _OVER.search(text, end, end + 60)
    if match is not None and ". " not in text[end : match.start()]:
        return _length(match), match.end()
    match = _LONG.search(text, max(0, start - 70), end + 50)
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
    """The drug named nearest to the dose, "" if none is near."""
    after = words_of(view.text[end : end + _DOSE_REACH + 20])
    before = words_of(view.text[max(0, start - _DOSE_REACH - 20) : start])
    best, nearest = "", (_DOSE_REACH, 0)
    for name, phrases in view.found["substance"].items():
        if name in _NOT_DOSED:
            continue
        for phrase in phrases:
            at = after.find(phrase)
            if 0 <= at and (at, -len(phrase)) < nearest:
                best, nearest = name, (at, -len(phrase))
            at = before.rfind(phrase)
            if at >= 0:
                away = len(before) - at - len(phrase)
                if (away, -len(phrase)) < nearest:
                    best, nearest = name, (away, -len(phrase))
    return best


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


def _counts(texts: list[str]) -> list[tuple[int, float]]:
    """Counts of people in some sentences, each with points."""
    tokens = _plain(" | ".join(texts)).translate(_MARKED, b"'").decode("ascii").split()
    out: list[tuple[int, float]] = []
    last_end, run, run_points = -9, 0, 0.0
    people, barrier = _lexicon().people, _lexicon().barrier
    for i in [i for i, token in enumerate(tokens) if token in people]:
        for j in range(i - 1, max(-1, i - 8), -1):
            token = tokens[j]
            if token in barrier or token[-1] in ".;:%|)" or "=" in token:
                break
            number, first = None, j
            if token[-1] in "0123456789,":
                number = _count(token)
            elif token in _NUMBER_WORDS:
                number, first = _spelled_back(tokens, j)
            if number is not None:
                points = _points(tokens, first, j, i)
                if run and tokens[first - 1] == "and" and _other_group(tokens, last_end, first, i):
                    run += number  # "30 patients and 25 controls"
                    points = max(points, run_points) + 0.5
                    out.append((run, points))
                else:
                    run = number
                    out.append((number, points))
                run_points = points
                last_end = i
                break
    for text in texts:
        if "=" in text:
            out += _equal_counts(text)
        by_lot = "andom" in text or "assigned" in text or "allocated" in text
        if by_lot or "enrolled" in text or "included" in text or "analy" in text:
            for match in _THEN_VERB.finditer(text):
                at = match.start()
                if at and text[at - 1] in "0123456789.,":
                    continue
                verb = match.group(2)
                out.append((int(match.group(1).replace(",", "")), 5.0 if verb.startswith("random") else 3.0))
        if by_lot and " and " in text and " to " in text:
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
    if any(word in near for word in lexicon.random):
        points += 2.0
    elif any(word in near for word in lexicon.taken):
        points += 1.0
    if any(word in near for word in lexicon.not_taken):
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
