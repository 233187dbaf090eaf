"""The tags of one claim, weighed: for, against, by kind of study. Pure; no database.

What is counted, and why: see RULE_TEXT, which pages show to readers. Evidence levels
are those of the Oxford Centre for Evidence-Based Medicine (OCEBM) 2011 for the
question "does this treatment help?".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

ENOUGH = 3  # findings that a verdict must rest on
CLEAR = 0.75  # share of one side from which a verdict says "mostly"

RULE_TEXT = (
    "Only findings count: abstracts whose own result or conclusion supports the claim, contradicts it, or "
    "points both ways. Background mentions never count. Retracted articles, and articles that PubMed has "
    "withdrawn, are shown but not counted. Narrative reviews are shown apart, because they repeat the studies "
    "that are already counted. So are protocols and reports whose design is not known.",
    "Findings are grouped by kind of study, strongest first: systematic reviews and meta-analyses; randomized "
    "trials; other human studies; case reports; animal and in-vitro studies. Every finding in a group counts the "
    "same, whatever its size: the sizes stand beside each study for you to judge.",
    f"The verdict rests on the strongest kind of human study that has findings. If that gives fewer than {ENOUGH} "
    f"findings, the next kind is added until there are {ENOUGH}. If fewer than {ENOUGH} human findings exist in "
    "all, the verdict is 'too little evidence in people', whatever the animal studies say. Only a claim that no "
    "human study has looked at rests on animal and in-vitro studies, and its verdict says so.",
    "All findings for, and no finding of any other human study against or both ways: consistent support. At least "
    "three quarters for: mostly support. At least three quarters against: mostly against. All against, and no other "
    "human study for or both ways: consistently against. Anything else, a tie included: mixed. A finding "
    "that points both ways counts half for and half against. Where weaker studies were added, the verdict is "
    "'mixed' if the strongest kind points the other way than the sum.",
    "Most tags are made automatically, and automatic reading misses many findings that go against a claim or point "
    "both ways. So 'consistent' is said only where reviewers have labelled every finding that it speaks of; "
    "otherwise the verdict is 'mostly', even if no finding on the other side was recognised.",
    "A systematic review counts as one finding even though it pools trials that may be counted too. Counting is "
    "not a meta-analysis: it says which way studies point, not how large an effect is. No GRADE rating is "
    "computed; that takes people's judgement of bias, precision and directness.",
)


@dataclass(frozen=True)
class Tier:
    """A kind of study, as the evidence is grouped."""

    id: str
    label: str
    one: str
    many: str
    designs: tuple[str, ...]
    counted: bool = True


TIERS = (
    Tier("systematic", "Systematic reviews and meta-analyses", "systematic review or meta-analysis",
         "systematic reviews and meta-analyses", ("meta-analysis", "systematic-review")),
    Tier("trial", "Randomized trials", "randomized trial", "randomized trials", ("rct",)),
    Tier("human", "Other human studies", "other human study", "other human studies",
         ("nonrandomized-trial", "cohort", "case-control", "cross-sectional", "qualitative")),
    Tier("case", "Case reports", "case report", "case reports", ("case-report",)),
    Tier("preclinical", "Animal and in-vitro studies", "animal or in-vitro study",
         "animal and in-vitro studies", ("animal", "in-vitro")),
    Tier("review", "Narrative reviews (not counted)", "narrative review", "narrative reviews",
         ("review",), counted=False),
    Tier("unclassified", "Protocols and unclassified reports (not counted)", "unclassified report",
         "unclassified reports", ("protocol", "other"), counted=False),
)
TIER = {tier.id: tier for tier in TIERS}
_TIER_OF = {design: tier.id for tier in TIERS for design in tier.designs}
HUMAN_TIERS = ("systematic", "trial", "human", "case")

# OCEBM 2011, "Treatment benefits". Narrative reviews, protocols and unclassified reports have no level there.
_LEVEL = {
    "meta-analysis": 1, "systematic-review": 1, "rct": 2, "nonrandomized-trial": 3, "cohort": 3,
    "case-control": 4, "cross-sectional": 4, "case-report": 4, "qualitative": 4, "animal": 5, "in-vitro": 5,
}

VERDICTS = {
    "consistent-support": "Consistent support",
    "mostly-support": "Mostly support",
    "mixed": "Mixed",
    "mostly-against": "Mostly against",
    "consistently-against": "Consistently against",
    "too-little": "Too little evidence",
}
# What a verdict that needs reviewers' labels becomes without them
_MOSTLY = {"consistent-support": "mostly-support", "consistently-against": "mostly-against"}


def tier_of(study_design: str | None) -> str:
    """The id of the tier that a study design of the taxonomy belongs to."""
    return _TIER_OF.get(study_design or "", "unclassified")


def level_of(study_design: str | None) -> int | None:
    """OCEBM 2011 level 1 (strongest) to 5 of a study design; None where it gives none."""
    return _LEVEL.get(study_design or "")


@dataclass(frozen=True)
class Count:
    """`n` articles with one stance in one tier. `automatic`: tagged by the tagger, not labelled by a reviewer;
    `unsure`: and the tagger was not sure.
    """

    stance: str
    tier: str
    retracted: bool = False
    n: int = 1
    automatic: bool = False
    unsure: bool = False


@dataclass
class TierTally:
    """How the findings of one tier fall."""

    tier: Tier
    supports: int = 0
    mixed: int = 0
    contradicts: int = 0
    automatic: int = 0
    unsure: int = 0

    @property
    def total(self) -> int:
        return self.supports + self.mixed + self.contradicts

    @property
    def words(self) -> str:
        """What this tier says, e.g. "3 of 4 randomized trials support it; 1 found against it"."""
        if not self.total:
            return f"No {self.tier.one} has a finding."
        if self.total == 1:
            side = {"supports": "supports it", "mixed": "points both ways", "contradicts": "finds against it"}
            return f"The only {self.tier.one} {side[self._largest()]}."
        if self.total in (self.supports, self.mixed, self.contradicts):
            everyone = "Both" if self.total == 2 else f"All {self.total}"
            side = {"supports": "support it", "mixed": "point both ways", "contradicts": "find against it"}
            return f"{everyone} {self.tier.many} {side[self._largest()]}."
        parts = [
            (self.supports, "supports it", "support it"),
            (self.contradicts, "finds against it", "find against it"),
            (self.mixed, "points both ways", "point both ways"),
        ]
        parts = [(n, one if n == 1 else many) for n, one, many in parts if n]
        first, *rest = parts
        return "; ".join(
            [f"{first[0]} of {self.total} {self.tier.many} {first[1]}", *(f"{n} {verb}" for n, verb in rest)]
        ) + "."

    def _largest(self) -> str:
        return max(("supports", "mixed", "contradicts"), key=lambda stance: getattr(self, stance))


@dataclass
class Weighed:
    """The evidence on one claim. `tiers` holds the counted tiers that have findings, strongest first; `agree`:
    every finding that the verdict speaks of was read as pointing the same way.
    """

    verdict: str = "too-little"
    label: str = VERDICTS["too-little"]
    rests_on: tuple[str, ...] = ()
    tiers: list[TierTally] = field(default_factory=list)
    reviews: TierTally | None = None
    unclassified: TierTally | None = None
    background: int = 0
    retracted: int = 0
    words: str = ""
    agree: bool = False

    @property
    def supports(self) -> int:
        return sum(t.supports for t in self.tiers)

    @property
    def mixed(self) -> int:
        return sum(t.mixed for t in self.tiers)

    @property
    def contradicts(self) -> int:
        return sum(t.contradicts for t in self.tiers)

    @property
    def total(self) -> int:
        """Counted findings."""
        return self.supports + self.mixed + self.contradicts

    @property
    def automatic(self) -> int:
        """Counted findings that no reviewer has labelled."""
        return sum(t.automatic for t in self.tiers)

    @property
    def unsure(self) -> int:
        """Counted findings that no reviewer has labelled and that the tagger was not sure of."""
        return sum(t.unsure for t in self.tiers)


def weigh(counts: Iterable[Count]) -> Weighed:
    """Weigh the counts of one claim by the rule in RULE_TEXT.

    Raises KeyError for an unknown tier, ValueError for an unknown stance.
    """
    tallies = {tier.id: TierTally(tier) for tier in TIERS}
    result = Weighed()
    for count in counts:
        tally = tallies[count.tier]
        if count.stance == "background":
            result.background += 0 if count.retracted else count.n
        elif count.stance not in ("supports", "mixed", "contradicts"):
            raise ValueError(f"unknown stance {count.stance!r}")
        elif count.retracted:
            result.retracted += count.n
        else:
            setattr(tally, count.stance, getattr(tally, count.stance) + count.n)
            tally.automatic += count.n if count.automatic else 0
            tally.unsure += count.n if count.unsure else 0
    result.tiers = [t for t in tallies.values() if t.tier.counted and t.total]
    result.reviews = tallies["review"] if tallies["review"].total else None
    result.unclassified = tallies["unclassified"] if tallies["unclassified"].total else None
    human = [t for t in result.tiers if t.tier.id in HUMAN_TIERS]
    base = human or result.tiers
    chosen: list[TierTally] = []
    for tally in base:
        chosen.append(tally)
        if sum(t.total for t in chosen) >= ENOUGH:
            result.verdict = _verdict(chosen, [t for t in base if t not in chosen])
            result.agree = result.verdict in _MOSTLY
            if any(t.automatic for t in base):
                result.verdict = _MOSTLY.get(result.verdict, result.verdict)
            result.rests_on = tuple(t.tier.id for t in chosen)
            break
    result.label = VERDICTS[result.verdict]
    if result.rests_on == ("preclinical",):
        result.label += ", in animals or cells only"
    elif result.verdict == "too-little" and any(t.tier.id == "preclinical" for t in result.tiers):
        result.label += " in people" if human else ""
    result.words = _words(result)
    return result


def _share_for(tallies: list[TierTally]) -> float:
    total = sum(t.total for t in tallies)
    return sum(t.supports + t.mixed / 2 for t in tallies) / total


def _verdict(chosen: list[TierTally], rest: list[TierTally]) -> str:
    total = sum(t.total for t in chosen)
    # "Consistent" is said only if no weaker study (of people, where people were studied) says otherwise.
    if sum(t.supports for t in chosen) == total:
        return "mostly-support" if any(t.contradicts or t.mixed for t in rest) else "consistent-support"
    if sum(t.contradicts for t in chosen) == total:
        return "mostly-against" if any(t.supports or t.mixed for t in rest) else "consistently-against"
    share, strongest = _share_for(chosen), _share_for(chosen[:1])
    if share >= CLEAR and strongest > 0.5:
        return "mostly-support"
    if share <= 1 - CLEAR and strongest < 0.5:
        return "mostly-against"
    return "mixed"


def _words(result: Weighed) -> str:
    """One or two sentences for a person; the smaller side is always named."""
    if not result.total:
        if result.background:
            count = "1 abstract mentions" if result.background == 1 else f"{result.background} abstracts mention"
            return f"{count} this as background; none here reports a finding of its own."
        return "No abstract here addresses this claim."
    if not result.rests_on:
        found = " ".join(t.words for t in result.tiers)
        return f"Too few findings to weigh. {found}"
    resting = [t for t in result.tiers if t.tier.id in result.rests_on]
    rest = [t for t in result.tiers if t.tier.id not in result.rests_on]
    words = " ".join(t.words for t in resting)
    # Trials that the reviews stand above are named when some of them dissent: a pooled count would hide a tie.
    split = [t for t in rest if t.tier.id == "trial" and (t.contradicts or t.mixed)]
    words = " ".join([words, *(t.words for t in split)])
    rest = [t for t in rest if t not in split]
    against = sum(t.contradicts for t in rest)
    for_it = sum(t.supports for t in rest)
    if (result.verdict.endswith("support") and against) or (result.verdict.endswith("against") and for_it):
        words += f" Among other kinds of study {for_it} support{'s' if for_it == 1 else ''} it and "
        words += f"{against} find{'s' if against == 1 else ''} against it."
    if result.agree and result.automatic:
        side = "against" if result.supports else "for"
        words += f" No finding {side} it was recognised; automatic reading may miss some."
    return words
