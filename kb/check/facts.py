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
from kb.check.statements import Statement

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
    mark: str = ""  # the concept whose words a report points at; the last of `all` unless given


_MEANS = {"agrees": True, "disagrees": False, "related": None}
_WORD = re.compile(r"[a-z]{3,}")
_COMMON = frozenset("the and for that with was were are has have been its from this not can only all".split())


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
    if rule.percent_is:
        match = next((f for f in percents if any(abs(f.value - p) < 0.051 for p in rule.percent_is)), None)
        if match is None:
            return None
        if rule.needs:
            agrees = True if rule.needs in hits else False
            return FactMade(fact, agrees, False, words, match.text)
        return FactMade(fact, _MEANS[rule.says], False, words, match.text)
    if rule.prevalence:
        if not percents or not ({"lifetime", "currently"} & hits.keys()) or s.reports_a_study:
            return None
        value = percents[0].value
        return FactMade(
            fact, None if 3 <= value <= 10 else False, value > 10, percents[0].text, percents[0].text
        )
    years = [int(f.value) for f in s.figures if f.kind == "year"]
    if rule.year and years:
        agrees = any(y in rule.year for y in years)
        said = _MEANS[rule.says] if rule.says != "related" else True
        return FactMade(fact, said if agrees else False, False, words, str(years[0]))
    if rule.only_with_year:
        return None
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
