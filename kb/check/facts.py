"""Matters of record: approvals, prevalence, guidelines, doses and history, which single abstracts cannot
settle.

Facts come from the `facts` table (id, statement, as_of, source). facts.toml says which words touch which fact
and when a sentence agrees with it; a fact without a rule there is matched on the misstatements that it
corrects.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
import sqlite3
import tomllib
from dataclasses import dataclass
from typing import Any

from kb.check.lexicon import Hit, Lexicon
from kb.check.statements import Figure, Statement

__all__ = ["Fact", "FactMade", "as_dict", "load_facts", "touches"]


@dataclass(frozen=True, slots=True)
class Fact:
    id: str
    topic: str
    statement: str
    detail: str
    as_of: str
    source_title: str
    source_url: str
    corrects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FactMade:
    """A fact that a sentence touches. `agrees`: True, False, or None where it only concerns the same matter.

    `overstates`: the disagreement makes more of the treatment than is so; `words` are those it was told by.
    """

    fact: Fact
    agrees: bool | None
    overstates: bool = False
    words: str = ""
    figure: str = ""


@dataclass(frozen=True, slots=True)
class _Rule:
    id: str
    all: tuple[str, ...]
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    says: str = "related"
    negated: str = "related"
    keep_negation: bool = False  # the "not" is part of what is said
    overstates: bool = False
    percent_is: tuple[float, ...] = ()
    prevalence: bool = False
    needs: str = ""
    year: tuple[int, ...] = ()
    only_with_year: bool = False
    mg_kg: tuple[float, ...] = ()
    minutes: tuple[float, ...] = ()
    event: str = ""  # `year` is compared only with a year that stands with the words of this concept
    weeks: tuple[float, ...] = ()
    million_is: tuple[float, ...] = ()
    listed: bool = False  # the drugs that a sentence lists as approved, or how many it says there are
    show: bool = False  # worth showing to readers even without a verdict
    mark: str = ""  # the concept whose words a report points at; the last of `all` unless given


_MEANS = {"agrees": True, "disagrees": False, "related": None}
_WORD = re.compile(r"[a-z]{3,}")
_COMMON = frozenset("the and for that with was were are has have been its from this not can only all".split())

_NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "hundred": 100, "a hundred": 100,
}  # fmt: skip
_N = r"(?:\d{1,3}(?:\.\d)?|a hundred|" + "|".join(n for n in _NUMBERS if n != "a hundred") + ")"
_GROUP = r"(?:people|adults|americans|us|american|men|women|citizens|persons|veterans|soldiers|individuals)"
_SHARE = re.compile(
    rf"\b(?P<n>{_N})(?: (?:or|to) (?P<m>{_N}))? (?:{_GROUP} )?(?:in|out of|of) (?:every )?(?P<of>{_N})"
    r"\b(?! %| percent)"
    r"|\b(?P<half>half)(?= (?:of|the|all|a)\b)|\b(?:a|one) (?P<part>third|quarter|fifth|tenth)(?= of\b)"
)
_PARTS = {"third": 100 / 3, "quarter": 25.0, "fifth": 20.0, "tenth": 10.0}
# "half of those with PTSD": the share is of people who are ill, and is no prevalence
_OF_THE_ILL = re.compile(
    r"\b(?:of|in|percent|%|half|\d{1,3}) "
    r"(?:(?!is\b|are\b|was\b|were\b|has\b|have\b|will\b|live\b)"
    r"[a-z]{1,20} ){0,5}"
    r"(?:with|from|who (?:have|has|had|get|got|develop)|having) (?:[a-z]{1,12} ){0,2}"
    r"(?:ptsd|post traumatic|posttraumatic)|\bptsd (?:patients|sufferers|cases|symptoms|diagnoses)\b"
)
_MILLION = re.compile(rf"\b(?:(?P<low>{_N}) (?:to|or) )?(?P<n>{_N}) million (?:[a-z]{{1,12}} ){{0,2}}?{_GROUP}\b")
# Lists of drugs: "D" is a drug that the fact names, "X" another one, "P" the illness (_listed puts them in)
_LIST = r"(?P<list>[DX]\b(?:(?: (?:and|or|as|well|the|plus|both|ssris?|snri|also|brand|name|sold)){0,4} [DX]\b){0,9})"
_KIND = r"(?:drugs?|medications?|medicines?|treatments?|pills?|ssris?|antidepressants?|options?|therap(?:y|ies))"
_FOR = r"(?:for|to treat|in) (?:(?!depress|anxi)[a-z]{1,15} ){0,5}?P\b"
_BE = (
    r"(?: (?:is|are|was|were|has|have|had|not|been|now|both|all|also|the|only|an?|fda|currently|already|that|two|three"
    rf"|{_KIND})){{0,8}}"
)
_BY = rf"(?: (?:by|the|us|u|s|fda|food|and|drug|administration|{_KIND}|united|states|use)){{0,7}}"
_APPROVED = r"(?:approved|approves|licensed|cleared)"
_LISTED = (
    re.compile(rf"{_LIST}{_BE} {_APPROVED}{_BY} {_FOR}"),
    re.compile(rf"\b{_APPROVED}(?: (?:the|use|of|only|both|{_KIND})){{0,4}} {_LIST} (?:as an? )?(?:{_KIND} )?{_FOR}"),
    re.compile(
        rf"\b{_APPROVED}{_BY}(?: (?:for|to treat|in)(?: [a-z]{{1,15}}){{0,4}}?)? P\b"
        rf"(?: (?:in|the|us|united|states|adults|by|fda)){{0,5}}(?: {_KIND})?"
        rf"(?: (?:is|are|include|includes|including|such|as|namely|like|the|both|being|{_KIND})){{0,4}} {_LIST}"
    ),
)
_COUNT = r"(?P<count>one|two|three|four|five|six|seven|eight|nine|ten|1|2|3|4|5|6|7|8|9|10)"
_COUNTED = (
    re.compile(
        rf"\b{_APPROVED}(?: (?:only|just|exactly|a|total|of)){{0,3}} {_COUNT} (?:[a-z]{{1,15}} ){{0,2}}?{_KIND} {_FOR}"
    ),
    re.compile(
        rf"\b{_COUNT}(?: (?:fda|different))?(?: {_APPROVED} {_KIND}|(?: {_KIND})(?: are| is| have| has| been){{1,2}}"
        rf"(?: currently| now| fda){{0,2}} {_APPROVED}){_BY} {_FOR}"
    ),
)


def load_facts(connection: sqlite3.Connection) -> dict[str, Fact]:
    """Every fact in the database by id. An unreadable list of corrections counts as none."""
    facts = {}
    for row in connection.execute(
        "SELECT id, topic, statement, coalesce(detail, ''), as_of, source_title, source_url, corrects FROM "
        "facts"
    ):
        try:
            corrects = tuple(str(c) for c in json.loads(row[7]))
        except (ValueError, TypeError):
            corrects = ()
        facts[row[0]] = Fact(*row[:7], corrects)
    return facts


@functools.lru_cache(maxsize=1)
def _load() -> tuple[Lexicon, tuple[_Rule, ...]]:
    data = tomllib.loads(
        importlib.resources.files("kb.check").joinpath("facts.toml").read_text(encoding="utf-8")
    )
    rules = tuple(
        _Rule(**{k: tuple(v) if isinstance(v, list) else v for k, v in r.items()}) for r in data["rule"]
    )
    known = data["concepts"].keys() | {"@drugcontext", "@esketaminecontext"}
    for rule in rules:
        for name in (*rule.all, *rule.any, *rule.none, *((rule.needs,) if rule.needs else ())):
            if name not in known:
                raise ValueError(
                    f"a rule for the fact {rule.id} names the concept {name!r}, which facts.toml lacks"
                )
    return Lexicon(data["concepts"]), rules


def touches(statement: Statement, facts: dict[str, Fact], *, esketamine: bool = False) -> list[FactMade]:
    """The facts that a sentence touches, each once; a disagreement before an agreement before a mere
    relation.

    `esketamine`: the draft is about esketamine, so that a sentence need not name it.
    """
    lexicon, rules = _load()
    hits = lexicon.find(statement.words)
    if statement.about_drug:
        hits["@drugcontext"] = [Hit(0, 1)]
        if esketamine:
            hits["@esketaminecontext"] = [Hit(0, 1)]
    found: dict[str, FactMade] = {}
    for rule in rules:
        fact = facts.get(rule.id)
        if fact is None or not all(n in hits for n in rule.all) or any(n in hits for n in rule.none):
            continue
        if rule.any and not any(n in hits for n in rule.any):
            continue
        made = _apply(rule, fact, statement, hits)
        if made and (rule.id not in found or _rank(made) < _rank(found[rule.id])):
            found[rule.id] = made
    ruled = {rule.id for rule in rules}
    for fact in facts.values():
        if fact.id not in ruled and fact.id not in found:
            made = _corrected(fact, statement)
            if made:
                found[fact.id] = made
    prevalence = [f for f in found.values() if f.fact.topic == "epidemiology" and f.figure]
    for extra in prevalence[1:]:  # one figure, one fact: the rule for that figure came first
        del found[extra.fact.id]
    return sorted(found.values(), key=_rank)


def _rank(made: FactMade) -> int:
    return {False: 0, True: 1, None: 2}[made.agrees]


def _apply(rule: _Rule, fact: Fact, s: Statement, hits: dict[str, list[Hit]]) -> FactMade | None:
    trigger = hits[rule.all[-1]][0] if not rule.all[-1].startswith("@") else hits[rule.all[0]][0]
    words = s.verbatim(hits[rule.mark][0] if rule.mark in hits else trigger)
    percents = [f for f in s.figures if f.kind == "percent"]
    joined = " ".join(s.words)
    if rule.percent_is or rule.prevalence:
        if _OF_THE_ILL.search(joined):
            return None
        percents += _shares(joined)
    if rule.listed:
        return _listed(fact, s, hits, joined, words)
    if rule.million_is and not s.question:
        return _millions(rule, fact, hits, joined)
    if rule.percent_is:
        match = next((f for f in percents if any(_near(f, p) for p in rule.percent_is)), None)
        if match is None:
            return None
        if rule.needs:
            return FactMade(fact, _in_its_time(rule.needs, hits), False, words, match.text)
        return FactMade(fact, _MEANS[rule.says], False, words, match.text)
    if rule.prevalence:
        if not percents or not ({"lifetime", "currently"} & hits.keys()) or s.reports_a_study:
            return None
        value, text = percents[0].value, percents[0].text
        if rule.says == "related":
            return FactMade(fact, None if 3 <= value <= 10 else False, value > 10, text, text)
        return FactMade(fact, None, False, text, text)
    years = [int(f.value) for f in s.figures if f.kind == "year"]
    if rule.event and rule.event in hits:
        years = _years_with(s, hits[rule.event])
        if years and s.question:
            return FactMade(fact, None, False, words, str(years[0]))
        if years and not any(y in rule.year for y in years) and _denied(s, hits[rule.event][0]):
            return None  # "was not approved in 1985"
    if rule.year and years:
        agrees = any(y in rule.year for y in years)
        said = _MEANS[rule.says] if rule.says != "related" else True
        return FactMade(fact, said if agrees else False, False, words, str(years[0]))
    if rule.only_with_year:
        return None
    if rule.weeks and (percents or any(f.kind == "duration" for f in s.figures)):
        said = [f for f in s.figures if f.kind == "duration"]
        right = said and all(f.unit.startswith("w") and rule.weeks[0] <= f.value <= rule.weeks[1] for f in said)
        return FactMade(fact, True if right and not percents else None, False, words, (said or percents)[0].text)
    if rule.mg_kg or rule.minutes:
        doses = [f for f in s.figures if f.kind == "dose" and f.unit.startswith("mg/kg")]
        times = [f for f in s.figures if f.kind == "duration" and f.unit.startswith("min")]
        if not doses and not times:
            return None
        inside = all(rule.mg_kg[0] <= f.value <= rule.mg_kg[1] for f in doses) and all(
            rule.minutes[0] <= f.value <= rule.minutes[1] for f in times
        )
        return FactMade(fact, True if inside else None, False, words, (doses or times)[0].text)
    if s.question:
        return FactMade(fact, None, False, words)
    if rule.show:
        return FactMade(fact, _MEANS[rule.says], False, words, words)
    denied = not rule.keep_negation and _denied(s, trigger)
    agrees = _MEANS[rule.negated if denied else rule.says]
    if agrees is False and s.strength == "possible" and not denied and not s.promises:
        agrees = None  # "may", "could": no assertion that a fact could contradict
    too_much = (
        rule.overstates
        and agrees is False
        and not denied
        and (s.strength == "certain" or s.promises)
    )
    return FactMade(fact, agrees, too_much, words)


def _in_its_time(needs: str, hits: dict[str, list[Hit]]) -> bool | None:
    """Whether a figure is said of the time that it holds for, a lifetime or now; None where no time is named."""
    if needs in hits:
        return True
    return False if {"lifetime", "currently"} & hits.keys() else None


def _number(word: str) -> float:
    return float(_NUMBERS[word]) if word in _NUMBERS else float(word)


def _shares(joined: str) -> list[Figure]:
    """Shares in words, "half" or "one in eleven", as percentages; `unit` is "N in M" with what M stands for."""
    found = []
    for match in _SHARE.finditer(joined):
        if match["half"] or match["part"]:
            found.append(Figure("percent", match.group(), _PARTS.get(match["part"], 50.0), "share"))
            continue
        whole = _number(match["of"])
        for part in (match["n"], match["m"]):
            if part and 0 < _number(part) < whole and whole > 1:
                found.append(Figure("percent", match.group(), 100 * _number(part) / whole, f"of {whole:g}"))
    return found


def _near(figure: Figure, percent: float) -> bool:
    """As good as the same: "one in eleven" stands for all that rounds to it."""
    slack = 0.051
    if figure.unit.startswith("of "):
        whole = float(figure.unit[3:])
        slack += figure.value * 0.5 / whole if whole < 100 else 0.0
    return abs(figure.value - percent) < slack


def _millions(rule: _Rule, fact: Fact, hits: dict[str, list[Hit]], joined: str) -> FactMade | None:
    """Millions of people who have the illness, within a tenth of a figure of the fact. A figure that none
    has disagrees only where it is out of the range of them all: the first and the last of `million_is`."""
    match = _MILLION.search(joined)
    if match is None:
        return None
    value = _number(match["n"])
    if rule.needs:
        if rule.needs not in hits or not any(abs(value - m) <= m / 10 for m in rule.million_is):
            return None
        return FactMade(fact, True, False, match.group(), match.group())
    inside = rule.million_is[0] <= value <= rule.million_is[1]
    return FactMade(fact, None if inside else False, False, match.group(), match.group())


def _listed(fact: Fact, s: Statement, hits: dict[str, list[Hit]], joined: str, words: str) -> FactMade | None:
    """The drugs that a sentence lists as approved for the illness, against those that the fact names."""
    if s.question:
        return None
    tokens = list(s.words)
    for name, letter in (("ssriapproved", "D"), ("otherdrug", "X"), ("ptsdonly", "P")):
        for hit in hits.get(name, ()):
            tokens[hit.start : hit.end] = [letter] + [""] * (hit.end - hit.start - 1)
    text = " ".join(t for t in tokens if t)
    denied = "negation" in s.hits or "doubt" in s.hits or s.strength == "possible"
    for pattern in _LISTED:
        for match in pattern.finditer(text):
            if "X" in match["list"] and " not " in match.group():
                return FactMade(fact, None if "D" in match["list"] else True, False, words)
            if "X" in match["list"]:
                return FactMade(fact, None if denied else False, False, words)
            if len({w for w in re.findall("sertraline|paroxetine|zoloft|paxil", joined)}) == 1 and re.search(
                r"\bonly (?:[a-z]{1,15} ){0,3}(?:drug|medication|medicine|ssri|antidepressant|treatment) ", joined
            ):
                return FactMade(fact, None if denied else False, False, words)  # there are two
    for pattern in _COUNTED:
        match = pattern.search(text)
        if match:
            right = _number(match["count"]) == 2
            return FactMade(fact, None if denied else right, False, words, match["count"])
    return None


def _years_with(s: Statement, events: list[Hit]) -> list[int]:
    """The years that stand with one of the events: no comma and no turn of the sentence between them."""
    years = []
    for at, word in enumerate(s.words):
        if not re.fullmatch(r"(?:19|20)\d\d", word):
            continue
        for event in events:
            low, high = min(at, event.start), max(at, event.start)
            opens = low == at and at <= 3  # "In January 2023, it was approved"
            turns = [n for n in range(low + 1, high + 1) if s.stops[n] and not (opens and n == at + 1)]
            if not turns and not {"and", "but", "while", "now", "then", "after"} & set(s.words[low + 1 : high]):
                years.append(int(word))
                break
    return years


def _denied(s: Statement, trigger: Hit) -> bool:
    """A "not" or a doubt within eight words before the trigger."""
    for name in ("negation", "doubt"):
        for hit in s.hits.get(name, ()):
            if s.words[hit.end : hit.end + 1] == ["until"]:
                continue  # "it was not until recently that"
            if 0 <= trigger.start - hit.start <= 8 and not (
                name == "negation"
                and any(n.start <= hit.start < n.end for n in s.hits.get("notnegation", ()))
            ):
                return True
    return False


def _corrected(fact: Fact, s: Statement) -> FactMade | None:
    """A fact without a rule: the sentence repeats all the content words of a misstatement that it
    corrects."""
    have = {w[:6] for w in s.words}
    for misstatement in fact.corrects:
        wanted = {w[:6] for w in _WORD.findall(misstatement.lower()) if w not in _COMMON}
        if len(wanted) >= 3 and wanted <= have and "negation" not in s.hits and not s.question:
            return FactMade(fact, None if s.strength == "possible" else False, False, misstatement)
    return None


def as_dict(made: FactMade) -> dict[str, Any]:
    """The fact as the JSON report has it."""
    fact = made.fact
    return {
        "id": fact.id,
        "agrees": made.agrees,
        "topic": fact.topic,
        "statement": fact.statement,
        "detail": fact.detail,
        "as_of": fact.as_of,
        "source_title": fact.source_title,
        "source_url": fact.source_url,
        "figure": made.figure,
    }
