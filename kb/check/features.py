"""What the learned reading of a draft looks at: named features of each sentence, its place and its context.

A feature is a string; what it weighs is in model.npz. Word families come from senses.toml, phrases and rules
from lexicon.toml and rules.toml. The number of features of a sentence is bounded by its length, which
statements.LONGEST_SENTENCE bounds, so that the work is proportional to the length of the draft.
"""

from __future__ import annotations

import functools
import importlib.resources
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kb.check.lexicon import Hit, Lexicon

if TYPE_CHECKING:
    from kb.check.statements import Statement

__all__ = ["CLAIMS", "Seen", "load_senses", "look"]

CLAIMS = (
    "nmda-antagonism", "bdnf", "synaptic-plasticity", "anti-inflammatory", "fear-memory", "rapid-onset",
    "durability", "ptsd-symptom-reduction", "antidepressant-effect", "suicidality-reduction",
    "psychotherapy-combination", "anesthesia-at-injury", "safety-tolerability", "abuse-liability",
)  # fmt: skip
_TOPICS = ("trauma", "lowmood", "suicidal", "wounded", "talking", "hooked", "receptor")
# First words of sentences that tell the reader to do something
_ORDERS = frozenset(
    (
        "please tell ask use call phone ring bring wear avoid do don let make talk speak read book "
        "consider check stop keep take remember contact see click visit send write arrange drink eat "
        "sign note expect report look try imagine picture think listen come join start learn give"
    ).split()
)
_STEM = 5  # letters that stand for the family of a longer word
_SCOPE = 6  # words
_SHORT = (5, 10, 18, 28)  # words: the bounds of the classes of length


@dataclass(slots=True)
class Seen:
    """A sentence as features. `own`: of its own words; `around`: of its place and of the sentences near it.

    `senses`: the word families and where they stand; `scoped`: those that stand behind a "not" or a doubt;
    `heading`, `before`, `after`: places of other sentences
    in the draft, -1 where there is none; `section`: the first sentence under the same heading.
    """

    own: list[str]
    around: list[str] = field(default_factory=list)
    senses: dict[str, list[Hit]] = field(default_factory=dict)
    scoped: list[str] = field(default_factory=list)
    heading: int = -1
    before: int = -1
    after: int = -1
    section: int = 0


@functools.lru_cache(maxsize=1)
def load_senses() -> Lexicon:
    """The word families of senses.toml, compiled once."""
    text = importlib.resources.files("kb.check").joinpath("senses.toml").read_text(encoding="utf-8")
    return Lexicon(tomllib.loads(text)["senses"])


def look(statements: list[Statement]) -> list[Seen]:
    """The features of every sentence of a draft, in order."""
    seen = [_own(s) for s in statements]
    if not seen:
        return seen
    document = _document(statements, seen)
    heading, section = -1, 0
    for n, (s, here) in enumerate(zip(statements, seen, strict=True)):
        here.heading, here.section = heading, section
        here.before = n - 1
        here.after = n + 1 if n + 1 < len(seen) else -1
        here.around = document + _around(statements, seen, n)
        if s.kind == "heading":
            heading, section = n, n + 1
    return seen


def plain(word: str) -> str:
    """A word as a feature has it: figures are all alike."""
    return "#" if word[0].isdigit() else word


def _own(s: Statement) -> Seen:
    words = [plain(w) for w in s.words]
    senses = load_senses().find(s.words)
    names = sorted(senses)
    own = {f"w:{w}" for w in words}
    own |= {f"p:{w[:_STEM]}" for w in words if len(w) > _STEM}
    own |= {f"b:{a}_{b}" for a, b in zip(words, words[1:], strict=False)}
    own |= {f"c:{name}" for name in s.hits if not name.startswith("mask:")}
    own |= {f"s:{name}" for name in names}
    own |= {f"x:{a}+{b}" for n, a in enumerate(names) for b in names[n + 1 :]}
    for claim in s.claims:
        own |= {f"r:{claim.claim}", f"r:{claim.claim}:{claim.asserts}"}
    if not s.claims:
        own.add("r:none")
    own |= {f"k:{s.kind}", f"f:{words[0]}", f"f2:{'_'.join(words[:2])}", f"k:{s.strength}"}
    own.add(f"n:{sum(len(words) >= bound for bound in _SHORT)}")
    for name in ("question", "personal", "about_drug", "names_topic", "reports_a_study"):
        if getattr(s, name):
            own.add(f"k:{name}")
    if s.condition_in_context:
        own.add(f"k:in:{s.condition_in_context}")
    if s.focus:
        own.add(f"k:focus:{s.focus}")
    if s.text[:1] in "\"“'‘":
        own.add("k:quote")
    if words[0] in _ORDERS:
        own.add("k:order")
    if s.overstating:
        own.add("k:overstating")
    return Seen(sorted(own), senses=senses, scoped=_scoped(s, senses))


def _scoped(s: Statement, senses: dict[str, list[Hit]]) -> list[str]:
    """The families within a few words behind a negation or a doubt, with no mark between."""
    found = set()
    for tag, marks in (("ng", s.hits.get("negation", ())), ("db", s.hits.get("doubt", ()))):
        if not marks:
            continue
        starts = {mark.start for mark in marks}
        for name, hits in senses.items():
            for hit in hits:
                for at in range(hit.start, max(-1, hit.start - _SCOPE - 1), -1):
                    if at < hit.start and at in starts:
                        found.add(f"{tag}:{name}")
                        break
                    if s.stops[at]:
                        break
    return sorted(found)


def _document(statements: list[Statement], seen: list[Seen]) -> list[str]:
    """What the draft as a whole is about."""
    counts = Counter(name for here in seen for name in here.senses)
    found = [f"D:{name}" for name in _TOPICS if counts[name] > 0.15 * len(seen)]
    share = sum("drug" in s.hits for s in statements) / len(seen)
    found.append(f"D:drug{(share > 0) + (share > 0.08) + (share > 0.2)}")
    if statements[0].kind == "heading":
        found += [f"Ts:{name}" for name in sorted(seen[0].senses)]
        if "drug" in statements[0].hits:
            found.append("T:drug")
    return found


def _around(statements: list[Statement], seen: list[Seen], n: int) -> list[str]:
    s, here, found = statements[n], seen[n], []
    if here.heading >= 0 and s.kind != "heading":
        head = statements[here.heading]
        found += [f"Hs:{name}" for name in seen[here.heading].senses]
        found += [f"Hw:{word}" for word in dict.fromkeys(head.words[:40])]
        if n == here.section:
            found.append("H:first")
        if head.question:
            found.append("H:question")
    if n:
        last = statements[n - 1]
        found += [f"Ps:{name}" for name in seen[n - 1].senses]
        found.append(f"P:{last.kind}")
        if last.question:
            found.append("P:question")
        for claim in last.claims:
            found += [f"Pr:{claim.claim}", f"f:{s.words[0]}&Pr:{claim.claim}"]
    if n > 1:
        found += [f"PPs:{name}" for name in seen[n - 2].senses]
    if here.after >= 0:
        found += [f"Ns:{name}" for name in seen[here.after].senses]
    return found
