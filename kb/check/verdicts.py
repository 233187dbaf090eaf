"""What the evidence in the database says to each statement. The verdict comes from kb.evidence.weigh, never
from taste.

The rule (RULE_TEXT says it to readers): what a statement asserts, and how strongly, is held against the
verdict on its claim. Findings on the condition and the people that the sentence names are looked at apart.
"""

from __future__ import annotations

import functools
import heapq
import importlib.resources
import sqlite3
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from kb.check.facts import FactMade
from kb.check.statements import COMPARABLE, ClaimMade, Comparison, Statement
from kb.evidence import TIERS, Count, Weighed, weigh
from kb.tagging import LOW_CONFIDENCE

__all__ = ["RULE_TEXT", "VERDICTS", "Evidence", "Judged", "JudgedClaim", "judge", "load_wording"]

RULE_TEXT = (
    "A statement is held against all abstracts of the knowledge base that report a finding on its claim, "
    "weighed by the rule shown on the pages of the claims. If they support it, it is well supported; "
    "supported with limits, if the findings are only in animals, if fewer than three of them are in the condition "
    "or the people that the sentence names, or if more than one finding does not support it for every four that do. "
    "If they point both ways it is disputed, or supported with limits where the sentence is hedged or "
    "reports a study, or where fewer than a third as many findings go against it as for it: the smaller side "
    "is then named. If they point against it, it is contradicted, or disputed where the sentence is hedged "
    "or reports one study.",
    "It is stronger than the evidence if its words promise more than any study can carry (a cure, proof, "
    "everybody, for good, no risk, extremely effective, a top recommendation, figures above nine in ten "
    "without a study), if it sets ketamine above another treatment, which findings on ketamine alone do not "
    "show, or if it contradicts a fact on record in favour of the treatment.",
    "A denial is held against the same evidence from the other side; a hedged one, or one that reports a "
    "study, is supported with limits if some findings say so, and one that only sends an exaggeration back "
    "(no cure, not for everyone) is well supported. A sentence that only says that proof is lacking is not "
    "contradicted by a single study. What NMDA receptors do in the illness, without ketamine, is not "
    "supported by findings on ketamine.",
)

FOR_READERS = 3  # sentences shown on each side
_CANDIDATES = 40  # rows looked at for a side, strongest first
_FEW = 3  # findings against a claim count as few if this many times as many support it
_THIN = 3  # fewer findings than this in the people or the condition that a sentence names are said to be few
_MANY = 4  # findings that do not support a claim are named as a limit from one in this many supporting ones
_RANK = {tier.id: n for n, tier in enumerate(TIERS)}
_SUPPORT = frozenset(("consistent-support", "mostly-support"))
_AGAINST = frozenset(("mostly-against", "consistently-against"))
# Claims whose findings are split by the condition that the sentence names, and the conditions of the database
_BY_CONDITION = frozenset(
    ("rapid-onset", "durability", "suicidality-reduction", "psychotherapy-combination", "safety-tolerability")
)
_CONDITIONS = {
    "ptsd": ("ptsd",),
    "depression": ("depression", "treatment-resistant-depression", "bipolar", "postpartum-depression"),
}
_SPOKEN_CONDITION = {"ptsd": "PTSD", "depression": "depression"}
_SPOKEN_PEOPLE = {
    "veterans-military": "veterans or soldiers", "children-adolescents": "children or adolescents",
    "older-adults": "older adults", "perinatal": "pregnant women or new mothers",
}  # fmt: skip


@functools.lru_cache(maxsize=1)
def load_wording() -> dict[str, Any]:
    return tomllib.loads(
        importlib.resources.files("kb.check").joinpath("wording.toml").read_text(encoding="utf-8")
    )


VERDICTS: dict[str, str] = load_wording()["verdicts"]
# What a statement's verdict is when its claims differ: the first of these that any of them has
_WORST = (
    "contradicted", "overstated", "disputed", "not-enough-evidence", "supported-with-limits",
    "well-supported", "matter-of-record", "question",
)  # fmt: skip


@dataclass(slots=True)
class Quote:
    """A sentence of an abstract, and where it is from. `ours`: it is from our summary, not from the
    publisher. `sentence` is "" where no single sentence carries the finding: then `note` is what the reviewer
    wrote of it, if anybody reviewed it.
    """

    article_id: str
    stance: str
    sentence: str
    citation: str
    url: str
    year: int | None
    design: str
    tier: str
    n: int | None
    population: str
    ours: bool
    note: str = ""


@dataclass(slots=True)
class Memory:
    """What was read from one version of a database; a server may keep it from check to check.

    `found`: by claim and stance, the strongest findings as (article id, sentence id), strongest first.
    """

    counts: dict[str, list[Count]] = field(default_factory=dict)
    found: dict[tuple[str, str], list[tuple[str, int | None]]] = field(default_factory=dict)
    candidates: dict[tuple[str, str], list[_Candidate]] = field(default_factory=dict)
    quotes: dict[tuple[str, str, str], Quote] = field(default_factory=dict)
    within: dict[tuple[str, str, tuple[str, ...]], dict[str, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Candidate:
    article_id: str
    sentence_id: int | None
    stance: str
    conditions: frozenset[str]
    populations: frozenset[str]


class Evidence:
    """What the database says to claims. All rows of the claims are read in one pass; sentences when shown."""

    def __init__(self, connection: sqlite3.Connection, memory: Memory | None = None) -> None:
        self.connection = connection
        self.memory = memory or Memory()
        self._weighed: dict[str, Weighed] = {}

    def load(self, claims: Iterable[str]) -> None:
        """Read the findings on these claims."""
        wanted = sorted(set(claims) - self.memory.counts.keys())
        if not wanted:
            return
        marks = ",".join("?" * len(wanted))
        # Many claims: one pass over the tags in the order of the articles is quicker than by the index of
        # claims, which jumps to and fro among them; "+" keeps SQLite from that index.
        column = "+t.claim_id" if len(wanted) > 3 else "t.claim_id"
        rows = self.connection.execute(
            "SELECT t.claim_id, t.stance, a.evidence_tier, a.retracted = 1 OR a.deleted IS NOT NULL, "
            "t.confidence < ?, -coalesce(a.sample_size, 0), -coalesce(a.year, 0), t.article_id, "
            "t.sentence_id, t.origin FROM tags t JOIN articles a ON a.id = t.article_id "
            f"WHERE {column} IN ({marks}) AND t.stance <> 'background'",
            (LOW_CONFIDENCE, *wanted),
        ).fetchall()
        counts = Counter(
            [(r[0], r[1], r[2] if r[2] in _RANK else "unclassified", bool(r[3]), r[9] == "tagger", bool(r[4]))
             for r in rows]
        )  # fmt: skip
        sides: dict[tuple[str, str], list[tuple]] = {}
        for claim, stance, tier, gone, *rest in rows:
            if not gone:
                side = sides.get((claim, stance))
                if side is None:
                    side = sides[claim, stance] = []
                side.append((_RANK.get(tier, 99), *rest))
        grouped: dict[str, list[Count]] = {claim: [] for claim in wanted}
        for (claim, stance, tier, gone, automatic, unsure), n in counts.items():
            grouped[claim].append(Count(stance, tier, gone, n, automatic, automatic and unsure))
        for claim in wanted:
            n = self.connection.execute(
                "SELECT count(*) FROM tags WHERE claim_id = ? AND stance = 'background'", (claim,)
            ).fetchone()[0]
            if n:
                grouped[claim].append(Count("background", "unclassified", False, n))
        for key, side in sides.items():  # by kind of study, confidence, size, year, then id: no ties
            self.memory.found[key] = [(s[4], s[5]) for s in heapq.nsmallest(_CANDIDATES, side)]
        self.memory.counts.update(grouped)

    def weighed(self, claim: str) -> Weighed:
        if claim not in self._weighed:
            self.load([claim])
            self._weighed[claim] = weigh(self.memory.counts[claim])
        return self._weighed[claim]

    def within(self, claim: str, table: str, names: tuple[str, ...]) -> dict[str, int]:
        """Counted findings in people on `claim` by stance, among articles with one of `names` in `table`."""
        key = (claim, table, names)
        if key not in self.memory.within:
            counts = dict.fromkeys(("supports", "mixed", "contradicts"), 0)
            marks = ",".join("?" * len(names))
            for stance, n in self.connection.execute(
                "SELECT t.stance, count(DISTINCT t.article_id) FROM tags t JOIN articles a ON a.id = "
                "t.article_id "
                f'JOIN "{table}" x ON x.article_id = a.id AND x.name IN ({marks}) '
                "WHERE t.claim_id = ? AND t.stance <> 'background' AND a.retracted = 0 AND a.deleted IS NULL "
                "AND a.evidence_tier IN ('systematic', 'trial', 'human', 'case') GROUP BY 1",
                (*names, claim),
            ):
                counts[stance] = n
            self.memory.within[key] = counts
        return self.memory.within[key]

    def _candidates(self, claim: str, stance: str) -> list[_Candidate]:
        """The strongest findings of a stance, with what they are about."""
        key = (claim, stance)
        if key not in self.memory.candidates:
            self.load([claim])
            found = self.memory.found.get(key, [])
            ids = [article for article, _ in found]
            about = [self._names(table, ids) for table in ("conditions", "populations")]
            self.memory.candidates[key] = [
                _Candidate(a, s, stance, *(frozenset(names.get(a, ())) for names in about)) for a, s in found
            ]
        return self.memory.candidates[key]

    def _names(self, table: str, ids: list[str]) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        if not ids:
            return names
        marks = ",".join("?" * len(ids))
        for article, name in self.connection.execute(
            f"SELECT article_id, name FROM {table} WHERE article_id IN ({marks})", ids
        ):
            names.setdefault(article, []).append(name)
        return names

    def best(self, claim: str, stances: tuple[str, ...], statement: Statement) -> list[Quote]:
        """Up to three quotes: those on the statement's people and condition first, then the strongest."""
        pool = [c for stance in stances for c in self._candidates(claim, stance)]
        wanted = _condition_names(statement)
        people = set(statement.populations)

        def fit(pair: tuple[int, _Candidate]) -> tuple[int, int, int]:
            place, candidate = pair
            matches = bool(people & candidate.populations) + bool(wanted & candidate.conditions)
            return (stances.index(candidate.stance), -matches, place)

        chosen = sorted(enumerate(pool), key=fit)[:FOR_READERS]
        return [self._quote(claim, candidate) for _, candidate in chosen]

    def _quote(self, claim: str, candidate: _Candidate) -> Quote:
        key = (claim, candidate.stance, candidate.article_id)
        if key not in self.memory.quotes:
            row = self.connection.execute(
                "SELECT a.id, s.text, a.author_list, a.title, coalesce(a.journal_abbreviation, a.journal, "
                "''), a.year, coalesce(a.study_design, ''), coalesce(a.evidence_tier, ''), a.sample_size, "
                "coalesce(a.population, ''), a.pmid, a.doi, a.pmcid, a.url, a.abstract_origin FROM articles "
                "a LEFT JOIN sentences s ON s.id = ? WHERE a.id = ?",
                (candidate.sentence_id, candidate.article_id),
            ).fetchone()
            note = None
            if not row[1]:
                note = self.connection.execute(
                    "SELECT reason FROM tags WHERE article_id = ? AND claim_id = ? AND stance = ? "
                    "AND origin = 'reviewer'",
                    (candidate.article_id, claim, candidate.stance),
                ).fetchone()
            self.memory.quotes[key] = Quote(
                row[0], candidate.stance, row[1] or "", _citation(*row[2:6]), _url(row), row[5],
                row[6], row[7], row[8], row[9], row[14] == "summary", note[0].strip() if note else "",
            )  # fmt: skip
        return self.memory.quotes[key]


def _citation(authors: str, title: str, journal: str, year: int | None) -> str:
    first = authors.split(",")[0].strip()
    names = f"{first} et al." if "," in authors else first
    return (
        ". ".join(p.strip(" .") for p in (names, title, journal, str(year or "")) if p and p.strip(" ."))
        + "."
    )


def _url(row: tuple) -> str:
    pmid, doi, pmcid, url = row[10:14]
    if pmid:
        return f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/"
    if doi:
        return f"https://doi.org/{doi}"
    if pmcid:
        return f"https://pmc.ncbi.nlm.nih.gov/articles/{pmcid}/"
    return url if url and url.startswith(("https://", "http://")) else ""


def _condition_names(s: Statement) -> set[str]:
    names: set[str] = set()
    for condition in s.conditions:
        names |= set(_CONDITIONS.get(condition, (condition,)))
    return names


@dataclass(slots=True)
class JudgedClaim:
    """One claim of a statement, weighed. `judgement` is a key of VERDICTS; `because` says why in a
    sentence."""

    made: ClaimMade
    weighed: Weighed
    judgement: str
    because: str
    favour: list[Quote] = field(default_factory=list)
    against: list[Quote] = field(default_factory=list)
    limits: str = ""


@dataclass(slots=True)
class Judged:
    """A statement with its claims weighed, the facts that it touches, and what to do about it."""

    statement: Statement
    claims: list[JudgedClaim]
    facts: list[FactMade]
    verdict: str
    overstated: bool
    overstating: list[str]
    advice: list[str]
    suggestion: str


def judge(statement: Statement, facts: list[FactMade], evidence: Evidence) -> Judged:
    """The verdict on one statement: the worst of its claims' verdicts; facts decide where there is no
    claim."""
    claims = [_judge_claim(made, statement, evidence) for made in statement.claims]
    wrong = [f for f in facts if f.agrees is False]
    words = [w.text for w in statement.overstating] if claims or facts else []
    kinds = {w.kind for w in statement.overstating} if words else set()
    over_record = [f for f in facts if f.overstates]
    against = [c for c in claims if _flat_against(c, statement)]
    overstated = ((statement.promises and bool(claims or facts)) or bool(over_record)) and not statement.question
    if overstated and not words:
        words = list(dict.fromkeys(f.words for f in over_record if f.words))
    verdicts = [c.judgement for c in claims]
    if not verdicts:
        verdicts = ["matter-of-record" if facts or statement.record else "question"]
    verdict = min(verdicts, key=_WORST.index)
    if overstated and verdict != "contradicted":
        verdict = "overstated" if claims else "matter-of-record"
    if wrong and verdict in ("well-supported", "supported-with-limits"):
        verdict = "matter-of-record"  # the claim may stand, the record does not agree with the rest
    wording = load_wording()
    advice = [wording["instead"][kind] for kind in wording["instead"] if kind in kinds]
    if overstated and not words:
        advice.append(wording["instead"]["unnamed"])
    if wrong:
        advice.append(wording["instead"]["record"])
    if not claims and not facts and statement.record:
        advice.append(wording["instead"]["unrecorded"])
    if against and not kinds:
        advice.append(wording["instead"]["evidence"])
    return Judged(
        statement, claims, facts, verdict, overstated, words, advice, _suggest(claims, wrong, verdict)
    )


def _flat_against(claim: JudgedClaim, s: Statement) -> bool:
    """Said as plain fact while the evidence as a whole, weaker studies included, says the opposite."""
    if s.strength != "certain" or s.reports_a_study or s.personal or claim.made.doubt or claim.made.general:
        return False
    verdict = claim.weighed.verdict
    if claim.made.asserts == "claim":
        return verdict in _AGAINST and claim.weighed.supports < claim.weighed.total / 3
    return (
        claim.made.asserts == "denial"
        and verdict in _SUPPORT
        and claim.weighed.agree
        and claim.judgement == "contradicted"
    )


def _judge_claim(made: ClaimMade, s: Statement, evidence: Evidence) -> JudgedClaim:
    weighed = evidence.weighed(made.claim)
    sides = (("supports",), ("contradicts", "mixed"))
    if made.asserts == "denial":
        sides = (("contradicts",), ("supports", "mixed"))
    result = JudgedClaim(
        made, weighed, "", "", evidence.best(made.claim, sides[0], s), evidence.best(made.claim, sides[1], s)
    )
    result.judgement, result.because = _weigh_against(made, s, weighed, evidence, result)
    return result


def _weigh_against(
    made: ClaimMade, s: Statement, weighed: Weighed, evidence: Evidence, result: JudgedClaim
) -> tuple[str, str]:
    words = weighed.words
    if made.asserts == "question":
        return "question", words
    verdict = weighed.verdict
    if s.about_receptor and made.claim == "nmda-antagonism":
        result.limits = _limit_words("receptor")
        return ("overstated" if s.promises else "not-enough-evidence"), words
    compared = _compared(made, s)
    if compared:
        result.limits = _limit_words(compared.kind, compared)
    hedged = s.strength == "possible" or s.reports_a_study or s.personal or made.doubt
    soft = hedged or made.general
    if made.asserts == "denial":
        if compared:
            return "not-enough-evidence", words
        if s.rejects and not s.promises:
            return "well-supported", load_wording()["limits"]["rejects"] + "."
        return _denied(
            made, weighed, soft, hedged or s.strength == "likely" or bool(s.quantity), result
        ), words
    if s.promises:
        return ("contradicted" if verdict in _AGAINST else "overstated"), words
    if verdict == "too-little" or (compared and made.claim in COMPARABLE and verdict in _SUPPORT):
        return "not-enough-evidence", words
    if verdict in _AGAINST:
        return ("disputed" if soft and weighed.supports else "contradicted"), words
    if verdict == "mixed":
        if not hedged and weighed.contradicts * _FEW >= weighed.supports:
            return "disputed", words
        result.limits = result.limits or _tally("both", weighed)
        return "supported-with-limits", words
    result.limits = result.limits or _limits(made, s, weighed, evidence)
    own_study = s.reports_a_study and s.strength == "certain" and not (s.personal or made.doubt)
    dissent = weighed.contradicts + weighed.mixed
    if not result.limits and (own_study or not hedged) and dissent * _MANY > weighed.supports:
        result.limits = _tally("both", weighed)
    return ("supported-with-limits" if result.limits else "well-supported"), words


def _denied(made: ClaimMade, weighed: Weighed, soft: bool, limited: bool, result: JudgedClaim) -> str:
    """The judgement on a denial; `limited`: it says itself that it is not so always, or who found it."""
    verdict = weighed.verdict
    if verdict == "too-little":
        return "well-supported" if made.doubt else "not-enough-evidence"
    if verdict in _AGAINST:
        return "well-supported"
    some = weighed.contradicts + weighed.mixed
    if verdict in _SUPPORT:
        if limited and some:
            result.limits = result.limits or _tally("some", weighed)
            return "supported-with-limits"
        return "disputed" if soft or not weighed.agree else "contradicted"
    strongest = [t for t in weighed.tiers if t.tier.id in weighed.rests_on]
    if limited or sum(t.contradicts + t.mixed for t in strongest) >= sum(t.supports for t in strongest):
        result.limits = result.limits or _tally("both", weighed)
        return "supported-with-limits"
    return "disputed"


def _tally(kind: str, weighed: Weighed) -> str:
    counts = {"supports": weighed.supports, "mixed": weighed.mixed, "contradicts": weighed.contradicts}
    return load_wording()["limits"][kind].format(**counts) + "."


def _compared(made: ClaimMade, s: Statement) -> Comparison | None:
    """The comparison with another treatment that the findings on this claim cannot carry."""
    if made.asserts == "denial":
        return next((c for c in s.comparisons if c.kind == "denied" and made.claim in COMPARABLE), None)
    if made.claim in COMPARABLE:
        return next((c for c in s.comparisons if c.kind in ("effect", "reverse")), None)
    if made.claim == "rapid-onset":
        return next((c for c in s.comparisons if c.kind == "speed"), None)
    return None


def _limit_words(kind: str, compared: Comparison | None = None) -> str:
    limits = load_wording()["limits"]
    return limits.get(kind, limits["effect"]).replace("{words}", compared.word.text if compared else "") + "."


def _limits(made: ClaimMade, s: Statement, weighed: Weighed, evidence: Evidence) -> str:
    """For whom the support is not shown, though the sentence speaks of them; "" if there is nothing to
    say."""
    if weighed.rests_on == ("preclinical",) and "animals" not in s.populations:
        return "The findings are in animals or cells only."
    conditions = [c for c in ("ptsd", "depression") if c in s.conditions]
    if made.claim in _BY_CONDITION and len(conditions) == 1:
        limit = _limit(
            evidence.within(made.claim, "conditions", _CONDITIONS[conditions[0]]),
            _SPOKEN_CONDITION[conditions[0]],
        )
        if limit:
            return limit
    for people, spoken in _SPOKEN_PEOPLE.items():
        if people in s.populations:
            limit = _limit(evidence.within(made.claim, "populations", (people,)), spoken)
            if limit:
                return limit
    return ""


def _limit(counts: dict[str, int], whom: str) -> str:
    favour, against, mixed = counts["supports"], counts["contradicts"], counts["mixed"]
    if not favour and not against and not mixed:
        return f"None of the findings here is in {whom}."
    if favour <= against:
        return f"In {whom} the findings are {favour} for, {against} against and {mixed} both ways."
    total = favour + against + mixed
    if total < _THIN:
        return f"Only {total} of the findings here {'is' if total == 1 else 'are'} in {whom}."
    return ""


def _suggest(claims: list[JudgedClaim], wrong: list[FactMade], verdict: str) -> str:
    """A wording that the evidence would carry; "" where the statement can stand as it is."""
    if verdict in ("well-supported", "question") and not wrong:
        return ""
    parts = []
    wording = load_wording()["claims"]
    needy = [
        c for c in claims if c.judgement not in ("well-supported", "question") and c.made.asserts == "claim"
    ]
    needy += [c for c in claims if c.judgement == "contradicted" and c.made.asserts == "denial"]
    for claim in sorted(needy, key=lambda c: _WORST.index(c.judgement))[:2]:
        entry = wording.get(claim.made.claim, {})
        may = entry.get("may", "")
        tally = claim.limits or claim.weighed.words
        if claim.judgement == "contradicted" and entry:
            parts.append(_other_side(claim, entry["name"]))
        elif may:
            if claim.weighed.verdict not in _SUPPORT or not claim.weighed.agree:
                may += entry.get("differ", "")
            parts.append(f"{may}. ({tally})")
    parts += [f.fact.statement for f in wrong[:2]]
    return " ".join(parts)


def _other_side(claim: JudgedClaim, name: str) -> str:
    """What the evidence says against a statement that it contradicts, with the figures."""
    w = claim.weighed
    side, go = ("contradicts", "against") if claim.made.asserts == "claim" else ("supports", "for")
    n = getattr(w, side)
    if 2 * n > w.total:
        return f"Most findings here go {go} the claim {name}: {n} of {w.total}. ({w.words})"
    strongest = [t for t in w.tiers if t.tier.id in w.rests_on]
    n, total = sum(getattr(t, side) for t in strongest), sum(t.total for t in strongest)
    if 2 * n > total:
        kinds = " and ".join(t.tier.many for t in strongest)
        return f"The strongest studies here go {go} the claim {name}: {n} of {total} {kinds}. ({w.words})"
    return f"The findings here weigh {go} the claim {name}. ({w.words})"
