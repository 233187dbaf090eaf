"""A draft, sentence by sentence: which claims each sentence makes, whether it asserts or denies them, how
strongly.

Rules and words are data (rules.toml, lexicon.toml); this module only reads them. Everything runs in time
proportional to the length of the draft.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from kb.check import learned
from kb.check.document import Block, Document
from kb.check.lexicon import Hit, Lexicon, Words, read_words

__all__ = [
    "COMPARABLE",
    "ClaimMade",
    "Comparison",
    "Figure",
    "Statement",
    "Word",
    "read_statements",
    "sentence_spans",
    "tidy",
]

LONGEST_SENTENCE = 1_200  # characters; a longer one is read in parts, cut at a space
_SMALL_HEADING = 4  # words; a shorter heading names a topic and asserts nothing

# --- sentences ----------------------------------------------------------------------------------------------
_END = re.compile(r"[.?!…]['\"”’»)\]]{0,3}(?=\s)")
_OPENS = re.compile(r"\s{1,40}[\"'“‘«(\[•*_–—-]{0,3}[A-Z0-9À-ÖØ-Þ]")
_BEFORE = re.compile(r"(\S{1,24})$")
_ABBREVIATIONS = frozenset(
    "vs e.g i.e eg ie cf al fig figs eq no nos dr drs mr mrs ms prof st approx ca resp ref refs vol pp ed "
    "eds i.v i.m p.o inc ltd co dept u.s u.k u.s.a".split()
)
_SOFT = re.compile("[\u00ad\u200b\u200c\u200d\u2060\ufeff]")
_LINK = re.compile(
    r"!?\[([^\[\]\n]{0,300})\]\((?:[^()\s]|\([^()\s]{0,200}\)){0,600}(?:\s\"[^\"\n]{0,200}\")?\)"
)
_EMPHASIS = re.compile(r"(?<![\w*_])(?:\*\*\*|\*\*|\*|__|_)(?=\S)|(?<=\S)(?:\*\*\*|\*\*|\*|__|_)(?![\w*_])|`")
_SPACES = re.compile(r"\s+")


def tidy(raw: str, markdown: bool = False) -> str:
    """A sentence as people should see it: no soft hyphens, one space between words, no Markdown marks."""
    text = _SOFT.sub("", raw)
    if markdown:
        text = _EMPHASIS.sub("", _LINK.sub(r"\1", text))
    return _SPACES.sub(" ", text).strip()


def sentence_spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each sentence of text[start:end], without the space around it."""
    at = start
    for match in _END.finditer(text, start, end):
        stop = match.end()
        if not _OPENS.match(text, stop, min(end, stop + 60)):
            continue
        mark = text[match.start()]
        if mark == ".":
            before = _BEFORE.search(text, max(at, match.start() - 24), match.start())
            word = before.group(1).lower().lstrip("([\"'“‘") if before else ""
            if word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word != "i"):
                continue
            if word.isdigit() and len(word) < 3 and before and before.start() <= at:
                continue  # "1. First point"
        yield from _cut(text, at, stop)
        at = stop
    yield from _cut(text, at, end)


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The span without the space around it, in parts if it is too long to be one sentence."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while end - start > LONGEST_SENTENCE:
        stop = -1
        for mark in ("; ", ", ", " "):
            stop = text.rfind(mark, start + LONGEST_SENTENCE // 2, start + LONGEST_SENTENCE)
            if stop > start:
                break
        stop = stop + 1 if stop > start else start + LONGEST_SENTENCE
        yield start, stop
        start = stop
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield start, end


# --- what is said of a sentence -----------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Word:
    """Words of the draft that carry something: their place in the document's text, and what kind they are."""

    text: str
    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure in a sentence. `kind`: percent, dose, duration, count, year; `value`: the number."""

    kind: str
    text: str
    value: float
    unit: str = ""


@dataclass(slots=True)
class ClaimMade:
    """A claim that a sentence makes. `asserts`: claim, denial or question; `doubt`: it says that proof is
    lacking;
    `general`: it speaks of the illness or the brain, and of the drug only by what stands around it."""

    claim: str
    asserts: str
    reason: str
    doubt: bool = False
    general: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """The drug set against another treatment: the words that say so, those for the other, and in what.

    `kind`: "effect" (works better, as well, less well), "speed" "reverse" (in favour of the other) or
    "denied"; `tested`: the sentence reports one study.
    """

    word: Word
    other: str
    kind: str
    tested: bool = False


@dataclass(slots=True)
class Statement:
    """One sentence, heading or bullet. `text` is tidied; document.text[start:end] is the original.

    `strength`: certain, likely or possible; `quantity`: all, most, many, some or "". `quiet`: it names a
    topic and asserts nothing; `aside`: it speaks of the illness, of another treatment or of research to come;
    `focus`: what the passage is about, "drug", "rival" or ""; `record`: it states what a record settles (an
    approval, a prevalence); `rejects`: it sends an exaggeration back ("no cure");
    `promises`: it promises more than studies can carry, by the words `overstating` where they can be named.
    """

    text: str
    start: int
    end: int
    kind: str
    claims: list[ClaimMade] = field(default_factory=list)
    strength: str = "certain"
    quantity: str = ""
    overstating: list[Word] = field(default_factory=list)
    populations: list[str] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    condition_in_context: str = ""
    figures: list[Figure] = field(default_factory=list)
    question: bool = False
    reports_a_study: bool = False
    personal: bool = False
    names_topic: bool = False
    about_drug: bool = False
    about_receptor: bool = False
    quiet: bool = False
    aside: bool = False
    focus: str = ""
    record: bool = False
    rejects: bool = False
    promises: bool = False
    comparisons: list[Comparison] = field(default_factory=list)
    hits: dict[str, list[Hit]] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)

    def verbatim(self, hit: Hit) -> str:
        """The words of a hit as the writer has them."""
        return self.text[self.spans[hit.start][0] : self.spans[hit.end - 1][1]]


@dataclass(frozen=True, slots=True)
class Rule:
    claim: str
    all: tuple[str, ...]
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    near: int = 12
    apart_near: int = 5
    asserts: str = "claim"
    negate: bool = True
    about: str = "drug"
    context: bool = False
    overrides: tuple[str, ...] = ()
    polarity: str = ""
    only_after: tuple[str, ...] = ()
    unless_after: tuple[str, ...] = ()
    risk: bool = True
    setting: str = ""
    unless_all: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    lexicon: Lexicon
    populations: tuple[str, ...]
    conditions: tuple[str, ...]
    overstate: dict[str, bool | str]  # kind -> soft
    masks: tuple[tuple[str, ...], ...]  # concepts that do not count inside the phrases of mask i
    rules: tuple[Rule, ...]


def _read_toml(name: str) -> dict[str, Any]:
    return tomllib.loads(importlib.resources.files("kb.check").joinpath(name).read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=1)
def load_rules() -> Rules:
    """The lexicon and the rules, compiled once. Raises ValueError where a rule names an unknown concept."""
    data = _read_toml("lexicon.toml")
    phrases: dict[str, list[str]] = dict(data["concepts"])
    for group in ("populations", "conditions"):
        phrases |= {f"{group}:{name}": words for name, words in data[group].items()}
    phrases |= {f"overstate:{kind}": entry["words"] for kind, entry in data["overstate"].items()}
    masks = tuple(tuple(mask["of"]) for mask in data["mask"])
    phrases |= {f"mask:{number}": mask["phrases"] for number, mask in enumerate(data["mask"])}
    rules = []
    for entry in _read_toml("rules.toml")["rule"]:
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
        rule = Rule(**values)
        for name in (*rule.all, *rule.any, *rule.none, *rule.apart, rule.polarity):
            if name and name not in phrases and name not in _COMPUTED:
                raise ValueError(
                    f"a rule for {rule.claim} names the concept {name!r}, which lexicon.toml does not have"
                )
        rules.append(rule)
    return Rules(
        Lexicon(phrases),
        tuple(data["populations"]),
        tuple(data["conditions"]),
        {kind: entry["soft"] for kind, entry in data["overstate"].items()},
        masks,
        tuple(rules),
    )


# Claims on what ketamine achieves: to set it above another treatment here needs a study that compared both
COMPARABLE = frozenset(
    ("ptsd-symptom-reduction", "antidepressant-effect", "suicidality-reduction", "durability",
     "safety-tolerability")
)  # fmt: skip
_COMPUTED = frozenset(("superiority",))  # concepts that this module finds out by itself

# --- reading ------------------------------------------------------------------------------------------------
_POINTS_BACK = frozenset(
    "it its they these those this such that effects feelings sensations symptoms most".split()
)
_BENEFIT = frozenset(("ptsd", "depression", "suicide", "strongbenefit", "antidep"))
_FIGURATIVE = frozenset(
    "help helps helped helping advertise advertises describe describes like called call so".split()
)
_MODALS = frozenset(("may", "might", "could", "possibly", "perhaps", "whether", "potentially"))
_ANOTHER = frozenset(("it", "its", "they", "their"))
_DRUGLIKE = frozenset(("drug", "alias"))
_ALIASES = 2  # "the infusion": from so many a draft that does not name ketamine may still mean it
_SUBJECT = 3  # words: a treatment named before that is the subject of its sentence
_CITED = re.compile(r"\bPMID\b|\bet\sal\b|\b10\.\d{4}|\((?:19|20)\d\d\)")
_REPORTED_IDEA = re.compile(
    r"[\"“'‘]?(?:The|This) (?:idea|notion|belief|claim|story|theory|hypothesis|suggestion|hope) (?:that|of|behind)\b"
)
_HARD_STOPS = frozenset(";:()–—")
_TURNS = frozenset(("but", "however", "although", "though", "yet", "while", "whereas"))


@dataclass(slots=True)
class _Context:
    topic: bool
    focus: str = ""
    condition: str = ""
    previous: frozenset[str] = frozenset()
    majority: str = ""
    title: frozenset[str] = frozenset()
    settings: frozenset[str] = frozenset()
    rival_before: bool = False


def read_statements(document: Document) -> list[Statement]:
    """Every sentence of the document in order, with or without claims."""
    rules = load_rules()
    sentences: list[tuple[Statement, Words, bool]] = []
    for block in document.blocks:
        if block.kind == "left-out":
            continue
        sentences += _sentences(document, block, rules)
    drugs = sum(len(s.hits.get("drug", ())) for s, _, _ in sentences)
    conditions = Counter(
        name for s, _, _ in sentences for name in ("ptsd", "depression") for _ in s.hits.get(name, ())
    )
    majority = conditions.most_common(1)[0][0] if conditions else ""
    context = _Context(topic=drugs > 0 or _meant(s.hits for s, _, _ in sentences), majority=majority)
    if sentences and sentences[0][0].kind == "heading":
        context.title = context.settings = frozenset(sentences[0][0].hits)
    for statement, words, opens in sentences:
        if statement.kind == "heading":
            context.settings = context.title | statement.hits.keys()
        if opens and (context.focus or "drug" in sentences[0][0].hits) and drugs > 1:
            context.focus = "drug"
        _read(statement, words, context, rules)
    found = [s for s, _, _ in sentences]
    if context.topic:
        _learned(found)
    return found


def _meant(hits: Iterable[dict[str, list[Hit]]]) -> bool:
    """Whether a draft that never names ketamine can still be read as one on it: it speaks again and again of
    the infusion or the lozenge, and of nothing else that is given for the mind nearly as often.
    """
    seen: Counter[str] = Counter()
    for found in hits:
        for name in ("alias", "rival", "ptsd", "depression"):
            seen[name] += len(found.get(name, ()))
    return (
        seen["alias"] >= _ALIASES
        and seen["ptsd"] + seen["depression"] > 0
        and seen["alias"] > 2 * seen["rival"]
    )


def _learned(statements: list[Statement]) -> None:
    """Let the model decide: the rules' claims have become features, their reasons stay where it agrees."""
    # A heading has been read by the rules alone: no reader labelled headings for the model.
    readings = learned.read(statements, [s.quiet or s.aside or s.kind == "heading" for s in statements])
    for s, reading in zip(statements, readings, strict=True):
        s.promises = bool(s.overstating)
        if reading is None:
            continue
        ruled = {c.claim: c for c in s.claims}
        s.claims = []
        if s.focus == "rival" and "drug" not in s.hits and _THE_OTHERS.match(s.text):
            s.promises, s.overstating = False, []
            continue
        for claim, (asserts, _) in reading.claims.items():
            known = ruled.get(claim)
            if known is None or known.asserts != asserts:
                reason = known.reason if known else _reason(s, reading.words[claim])
                known = ClaimMade(claim, asserts, reason, False, bool(known and known.general))
            s.claims.append(known)
        s.strength = reading.strength
        s.record = reading.record
        _promises(s, reading)
        _corrected(s)
        if _REPORTED_IDEA.match(s.text):  # whose idea it is and what it rests on is reported, not promised
            s.strength, s.promises, s.overstating = "possible", False, []


# "These treatments take time to work." behind a sentence about others
_THE_OTHERS = re.compile(
    r"(?:these|those|such|both|all of these)\s(?:\w+\s)?(?:treatment|therap|drug|medic|pill|tablet|option|approach)",
    re.IGNORECASE,
)
# What plain words settle, whatever the weights say: "Ketamine does not relieve depression."
_FLAT_DENIAL = re.compile(
    r"\b(?:(?:ketamine|esketamine|spravato|it|they|infusions?|the (?:drug|treatment|spray|medicine))\s"
    r"(?:(?:does|do|did|will|can|could)(?:\s+not|n['’]t)|cannot|never|(?:has |have )?failed to|fails? to)\s"
    r"(?:help|relieve|ease|alleviate|improve|reduce|lessen|lift|treat|work|lower|diminish|calm|soothe)s?\b"
    r"|(?:is|was|are|were)(?:\s+not|n['’]t)\s(?:an?\s)?(?:effective|helpful|useful)\b"
    r"|(?:provide|offer|give|bring)(?:s|d|ed)?\sno\s(?:relief|benefit|improvement|help)\b)",
    re.IGNORECASE,
)
_NOT_TOLERATED = re.compile(
    r"\b(?:poorly|badly|not(?:\s\w+)?\swell)\stolerated\b|\b(?:is|are|was)\snot\ssafe\b", re.IGNORECASE
)
_NOT_FAST = re.compile(
    r"\b(?:(?:does|do|did|will|can|could)(?:\snot|n['’]t)|cannot|never|fails? to)\s(?:\w+\s)?"
    r"(?:act|work|start|begin|help|kick in|take effect|bring relief)s?\b(?:\s\w+){0,4}?\s"
    r"(?:(?:with)?in (?:\w+ ){0,2}(?:minutes|hours|days?)|fast|quickly|rapidly|right away|at once|the same day)\b",
    re.IGNORECASE,
)
# What nobody has shown is denied; with a turn ("but") behind it, not all of the sentence is.
_UNPROVEN = re.compile(
    r"\b(?:(?:never|not|n['’]t|nor (?:has|have|is|was) (?:\w+ ){1,2}?)(?: yet)?(?: ?been)? "
    r"(?:proven|proved|shown|demonstrated|established)(?: \w+){0,3}?(?: that| to)\b"
    r"|(?:there is |there's )?no (?:\w+ ){0,2}(?:proof|evidence) (?:that|for the claim that)\b"
    r"|no (?:\w+ ){0,3}(?:study|trial|research|researcher)s? (?:has|have) (?:ever |yet )?"
    r"(?:proven|proved|shown|demonstrated)\b)",
    re.IGNORECASE,
)
_TURN = re.compile(r"\b(?:but|although|though|yet it|while|whereas|until|unless|only)\b", re.IGNORECASE)
# A claim of others that is sent back: "Clinics say that it cures PTSD, but it does not."
_SENT_BACK = re.compile(
    r"[\"”’'],? (?:which |that )?(?:is|are|was|were) (?:\w+ )?(?:false|untrue|not true|wrong)\b"
    r"|\b(?:untrue|not true|false) (?:to say )?that\b"
    r"|\b(?:say|claim|promise|advertise)s? .{3,120},? but (?:it|this|that|they) "
    r"(?:does|do|is|are|has|have|can)(?: not|n['’]t|not)\b",
    re.IGNORECASE,
)
# Words that turn such a denial, or narrow it: "does not help everyone", "did not work at once"
_NARROWED = re.compile(
    r"\b(?:but|although|though|yet|while|whereas|however|unless|until|only|just|alone|everyone|everybody|all|always"
    r"|forever|permanently|more|better|faster|immediately|instantly|overnight|once|every|much|by|any more|if|when"
    r"|says?|said|claims?|believes?|told|whether|myth|never had|nobody|no one)\b|[?\"“]",
    re.IGNORECASE,
)
_NOT_NMDA = re.compile(
    r"\b(?:not|rather than|independent(?:ly)? of) (?:(?:the|its|through|via|by) )?(?:NMDA|glutamate)\b", re.IGNORECASE
)
_NMDA = re.compile(r"NMDA|glutamat|methyl-d-aspartate|antagonist", re.IGNORECASE)
_OTHER_RECEPTOR = re.compile(r"\b(?:opioid|serotonin|dopamine|GABA)\b", re.IGNORECASE)
_RELIEF = frozenset(("ptsd-symptom-reduction", "antidepressant-effect", "suicidality-reduction"))


def _corrected(s: Statement) -> None:
    """Claims that plain words turn into denials, or that belong to another receptor."""
    denied: set[str] = set()
    if not _NARROWED.search(s.text):
        if _FLAT_DENIAL.search(s.text):
            denied |= _RELIEF
            s.promises = s.promises and bool(s.overstating)
        if _NOT_TOLERATED.search(s.text):
            denied.add("safety-tolerability")
        if _NOT_FAST.search(s.text):
            denied.add("rapid-onset")
    if _NOT_NMDA.search(s.text):
        denied.add("nmda-antagonism")
    elif _OTHER_RECEPTOR.search(s.text) and not _NMDA.search(s.text):
        s.claims = [c for c in s.claims if c.claim != "nmda-antagonism" or c.asserts != "claim"]
    if _UNPROVEN.search(s.text) and not _TURN.search(s.text) and not s.question:
        s.promises, s.overstating = False, []
        denied |= {c.claim for c in s.claims}
    if s.promises and _SENT_BACK.search(s.text):
        s.rejects, s.promises, s.overstating = True, False, []
        denied |= {c.claim for c in s.claims}
    s.claims = [replace(c, asserts="denial") if c.claim in denied and c.asserts == "claim" else c for c in s.claims]


def _reason(s: Statement, hits: list[Hit]) -> str:
    """The words that speak most for a claim, in the order of the sentence."""
    return " + ".join(s.verbatim(h) for h in sorted(hits, key=lambda h: h.start)) or "what stands before it"


# Kinds of words that promise too much even where the model finds nothing; the last two not in reported speech
_ALWAYS, _ALWAYS_OWN = frozenset(("comparative",)), frozenset(("alarm", "suicide"))
# A "could" takes the edge off praise: "It could become a game changer."
_SOFTENED = re.compile(r"\b(?:could|may|might)\s(?:\w+\s)?(?:become|be|prove|turn out)\b", re.IGNORECASE)
_REPORTED = re.compile(r"[\"“]|\b(?:says?|said|saying|wrote|told|verdict|claims?|warns?)\b", re.IGNORECASE)


def _promises(s: Statement, reading: learned.Reading) -> None:
    """Whether the words promise too much is the model's to say; which ones, first the word list's."""
    own = not _REPORTED.search(s.text)
    sent_back = bool(s.overstating and _SENT_BACK.search(s.text))  # then a caution: see _corrected
    kept = [w for w in s.overstating if w.kind in _ALWAYS or (own and w.kind in _ALWAYS_OWN)]
    told = reading.promises and not s.question and (bool(s.overstating) or not _SOFTENED.search(s.text))
    s.promises = bool(kept) or sent_back or told
    if told:
        kept = s.overstating
        if not kept:
            for hit, kind in reading.overstating:
                start, end = s.spans[hit.start][0], s.spans[hit.end - 1][1]
                kept.append(Word(s.text[start:end], start, end, kind))
    s.overstating = kept


def _sentences(document: Document, block: Block, rules: Rules) -> Iterator[tuple[Statement, Words, bool]]:
    opens = True
    for start, end in sentence_spans(document.text, block.start, block.end):
        text = tidy(document.text[start:end], document.kind == "markdown")
        words = read_words(text)
        if not words.items:
            continue
        hits = _masked(rules.lexicon.find(words.items), rules.masks)
        better = [span for span, _, kind in _set_against(words, hits) if kind == "effect"]
        if better:
            hits["superiority"] = better
        statement = Statement(text, start, end, block.kind, words=words.items, spans=words.spans, hits=hits,
                              stops=words.stops)  # fmt: skip
        yield statement, words, opens
        opens = False


def _masked(hits: dict[str, list[Hit]], masks: tuple[tuple[str, ...], ...]) -> dict[str, list[Hit]]:
    """The hits without those inside a phrase that says something else."""
    for number, concepts in enumerate(masks):
        covers = hits.get(f"mask:{number}")
        if not covers:
            continue
        for name in concepts:
            if name in hits:
                hits[name] = [h for h in hits[name] if not _covered(h, covers)]
                if not hits[name]:
                    del hits[name]
    return hits


def _covered(hit: Hit, hits: list[Hit]) -> bool:
    return any(other.start <= hit.start < other.end for other in hits)


def _read(s: Statement, words: Words, context: _Context, rules: Rules) -> None:
    hits = s.hits
    count = len(words.items)
    s.question = s.text.rstrip("\"'”’)* ").endswith("?")
    s.populations = [n for n in rules.populations if f"populations:{n}" in hits]
    s.conditions = [n for n in rules.conditions if f"conditions:{n}" in hits]
    s.figures = read_figures(s.text)
    s.names_topic = "drug" in hits or "ptsd" in hits
    s.reports_a_study = "reported" in hits
    s.personal = any(w in ("i", "my", "me") for w in words.items)
    named, about = _about(s, context)
    s.aside = _illness_alone(words, hits) or _only_research_need(words, hits) or _of_another(s, context)
    if s.aside:
        named = about = False
    s.focus = context.focus
    context.rival_before = "rival" in hits and "drug" not in hits and hits["rival"][0].start < _SUBJECT
    close = about and (named or "alias" in hits or words.items[0] in ("it", "its", "this"))
    s.about_drug = about
    s.about_receptor = (
        "nmda" in hits
        and not {"drug", "alias"} & hits.keys()
        and words.items[0] not in _POINTS_BACK
        and (bool(s.conditions) or any(w.startswith(("memor", "intrusi")) for w in words.items))
    )
    here = _condition(s, context)
    s.condition_in_context = here
    negations = [n for n in hits.get("negation", ()) if not _covered(n, hits.get("notnegation", []))]
    after = context.previous if any(w in _POINTS_BACK for w in words.items[:4]) else frozenset()
    quiet = (
        s.kind == "heading"
        and not s.question
        and (count < _SMALL_HEADING or not {"verbish", "benefit"} & hits.keys())
    )
    s.quiet = quiet
    general = not {"drug", "alias", "people", "reported"} & hits.keys() and words.items[0] not in _POINTS_BACK
    risky = bool({"harmword", "sideeffect"} & hits.keys()) and not _BENEFIT & hits.keys()
    made: dict[str, ClaimMade] = {}
    dropped: set[str] = set()
    if about and not quiet:
        for rule in rules.rules:
            if rule.context and (made and not _names_symptoms(words.items, made)):
                continue
            if rule.only_after and not after & set(rule.only_after):
                continue
            if rule.unless_after and after & set(rule.unless_after):
                continue
            if (rule.about == "named" and not named) or (rule.about == "close" and not close):
                continue
            if rule.unless_all and all(name in hits for name in rule.unless_all):
                continue
            if rule.setting and rule.setting not in context.settings:
                continue
            if not rule.risk and risky:
                continue
            trigger = _fires(rule, hits, negations, words)
            if trigger is None:
                continue
            if rule.claim == "@previous":
                if len(context.previous) == 1:
                    made.update(
                        {c: ClaimMade(c, "denial", "what the sentence before says") for c in context.previous}
                    )
                continue
            claim = here if rule.claim == "@condition" else rule.claim
            claim = {"ptsd": "ptsd-symptom-reduction", "depression": "antidepressant-effect"}.get(
                claim, claim
            )
            if not claim:
                continue
            dropped |= set(rule.overrides)
            asserts, doubt = rule.asserts, False
            if rule.negate:
                if _negated(trigger, negations, words):
                    asserts = "denial" if asserts == "claim" else "claim"
                    doubt = asserts == "denial" and _doubted(trigger, hits, words)
                elif asserts == "claim" and _doubted(trigger, hits, words):
                    asserts, doubt = "denial", True
            elif asserts == "denial":
                doubt = "doubt" in rule.all or any(
                    d.start < trigger.end and trigger.start < d.end for d in hits.get("doubt", ())
                )
            known = made.get(claim)
            if known is None or (
                asserts == "denial" and known.asserts == "claim" and not rule.context and not rule.negate
            ):
                reason = " + ".join(_quote(s, name, trigger) for name in rule.all)
                made[claim] = ClaimMade(claim, asserts, reason, doubt, general)
    for name in dropped:
        made.pop(name, None)
    if s.question:
        for made_claim in made.values():
            made_claim.asserts = "question"
    s.claims = list(made.values())
    _strength(s, words)
    _overstating(s, words, negations, rules)
    if not s.question:
        _comparing(s, words, negations)
    context.previous = frozenset(made) if made else (context.previous if "anaphor" in hits else frozenset())
    if s.kind == "heading":
        risky = {"sideeffect", "safeword", "harmword"} & hits.keys() or {"risks", "risk", "safe"} & set(
            words.items
        )
        context.previous = frozenset(("safety-tolerability",)) if risky else context.previous


def _illness_alone(words: Words, hits: dict[str, list[Hit]]) -> bool:
    """The sentence describes the illness ("PTSD can take many forms"): nothing in it speaks of a
    treatment."""
    if {"drug", "alias", "nmda", "fast", "firstdose"} & hits.keys() or _TURNS & set(words.items):
        return False
    named = [h for n in ("ptsd", "depression", "illness") for h in hits.get(n, ())]
    subject = [h for h in named if h.start <= 2]
    verbs = hits.get("illnessverb", ())
    if any(0 <= v.start - h.end <= 4 for h in subject for v in verbs):
        return True
    return any(0 <= h.start - v.end <= 3 and v.start <= 2 for h in named for v in hits.get("alsosuffer", ()))


def _of_another(s: Statement, context: _Context) -> bool:
    """The sentence goes on about another treatment, its own subject or that of the one before."""
    hits = s.hits
    if _DRUGLIKE & hits.keys():
        return False
    if context.rival_before and s.words[0] in _ANOTHER:
        return True
    rivals = hits.get("rival", ())
    return bool(rivals) and rivals[0].start < _SUBJECT and not any(_compared(r, hits, s.words) for r in rivals)


def _only_research_need(words: Words, hits: dict[str, list[Hit]]) -> bool:
    """One clause that says no more than that something is, or has to be, studied."""
    need = hits.get("researchneed")
    if not need or any(words.stops[1:]) or need[0].start > 14:
        return False
    return not (_TURNS | {"and", "which", "because", "since", "so"}) & set(words.items)


def _set_against(words: Words, hits: dict[str, list[Hit]]) -> Iterator[tuple[Hit, Hit, str]]:
    """(words of the comparison up to the other treatment, the other treatment, "effect" or "speed")."""
    tested = hits.get("tested_against", [])
    rivals = hits.get("rival", ())
    others = [r for r in rivals if not any(t.start < r.end and r.start < t.end for t in tested)]
    for name, kind in (("better", "effect"), ("faster", "speed")):
        for hit in hits.get(name, ()):
            for other in others:
                if not (0 <= other.start - hit.end <= 7 and other.end > hit.end):
                    continue
                between = range(hit.end, other.start)
                if any(words.stops[i] for i in between) or any(t.start in between for t in tested):
                    break
                if "alone" not in words.items[other.end : other.end + 2]:
                    worse = words.items[hit.start] in ("less", "fewer", "inferior")
                    yield Hit(hit.start, other.end), other, "reverse" if worse else kind
                break
            else:
                drug = [d for d in hits.get("drug", ()) if 0 <= d.start - hit.end <= 4]
                before = [r for r in others if r.end <= hit.start]
                if drug and before:
                    yield Hit(hit.start, drug[0].end), before[-1], "reverse"
    for hit in hits.get("nothingelse", ()):
        yield hit, hit, "effect"


def _comparing(s: Statement, words: Words, negations: list[Hit]) -> None:
    tested = bool({"trial", "study"} & set(words.items)) or bool(_CITED.search(s.text))
    for hit, other, kind in _set_against(words, s.hits):
        therapy = s.hits.get("therapy")
        if therapy and all(hit.start <= h.start < hit.end for h in therapy):
            s.claims = [c for c in s.claims if c.claim != "psychotherapy-combination"]  # a rival, no partner
        if "nothingelse" not in s.hits or hit != other:
            inside = [n for n in negations if n.start < hit.start]
            if _negated(hit, inside, words) or _doubted(hit, s.hits, words):
                kind = "denied"
        start, end = words.spans[hit.start][0], words.spans[hit.end - 1][1]
        if any(c.word.start < end and start < c.word.end for c in s.comparisons):
            continue
        word = Word(s.text[start:end], start, end, "comparative")
        s.comparisons.append(Comparison(word, s.verbatim(other) if other != hit else "", kind, tested))
        plain = kind == "effect" and not tested and not s.personal and s.strength != "possible"
        if plain and any(c.claim in COMPARABLE for c in s.claims):
            inner = [w for w in s.overstating if start <= w.start and w.end <= end]
            s.overstating = sorted(
                [w for w in s.overstating if w not in inner] + [word], key=lambda w: w.start
            )


def _names_symptoms(items: list[str], made: dict[str, ClaimMade]) -> bool:
    """Mechanism and then "to reduce these symptoms": the benefit is asserted beside the mechanism."""
    mechanism = {"nmda-antagonism", "bdnf", "synaptic-plasticity", "anti-inflammatory", "fear-memory"}
    return set(made) <= mechanism and any(w.startswith("symptom") for w in items)


def _about(s: Statement, context: _Context) -> tuple[bool, bool]:
    """(the sentence names the drug, the sentence is about it); moves the focus of the passage."""
    hits = s.hits
    if not context.topic:
        return False, False
    if "drug" in hits:
        context.focus = "drug"
        return True, True
    rivals = [r for r in hits.get("rival", ()) if not _compared(r, hits, s.words)]
    if s.words[0] in ("it", "its", "this", "that", "which") and context.focus == "drug":
        return False, True
    alias = hits.get("alias")
    if alias and context.focus == "rival" and all(_vague(s.words[a.start : a.end]) for a in alias):
        return False, False  # "these treatments", after a sentence about others
    if alias and not (rivals and rivals[0].start < alias[0].start):
        context.focus = "drug"
        return True, True
    if rivals:
        context.focus = "rival"
        return False, False
    return False, context.focus == "drug"


def _vague(words: list[str]) -> bool:
    return words[0] in ("these", "those", "this", "the", "such") and words[-1].startswith(
        ("treatment", "drug", "medic", "therap", "pill", "tablet", "option")
    )


def _compared(rival: Hit, hits: dict[str, list[Hit]], words: list[str]) -> bool:
    """The other treatment is only what the drug is compared or combined with, or what had failed before."""
    if any(0 <= rival.start - c.end <= 4 for c in hits.get("compare", ())):
        return True
    return any(w in ("fail", "fails", "failed") for w in words[rival.end : rival.end + 4])


def _condition(s: Statement, context: _Context) -> str:
    """The condition a benefit without a named one would concern."""
    both = [name for name in ("ptsd", "depression") if name in s.hits]
    if s.kind == "heading":
        context.condition = both[0] if len(both) == 1 else ""
    elif len(both) == 1:
        context.condition = both[0]
    elif len(both) == 2:
        context.condition = context.majority
    elif any(word.startswith("antidepressant") for word in s.words):
        return (
            "depression"  # who "had not responded to antidepressants" is depressed, unless the text says else
        )
    ssri = any(word.startswith("ssri") for word in s.words)
    return context.condition or context.majority or ("depression" if ssri else "")


def _fires(rule: Rule, hits: dict[str, list[Hit]], negations: list[Hit], words: Words) -> Hit | None:
    """The hit on which the rule's polarity hangs, if the rule fires; one that nothing negates, if there is
    one.
    """
    for name in rule.all:
        if name not in hits:
            return None
    if rule.any and not any(name in hits for name in rule.any):
        return None
    if any(name in hits for name in rule.none):
        return None
    for anchor in hits[rule.all[0]]:
        if rule.apart and any(
            _distance(anchor, other) <= rule.apart_near for name in rule.apart for other in hits.get(name, ())
        ):
            continue
        trigger = anchor
        for name in rule.all[1:]:
            near = [h for h in hits[name] if _distance(anchor, h) <= rule.near and h != anchor]
            if not near:
                break
            positive = [h for h in near if not _negated(h, negations, words)] if rule.negate else near
            trigger = min(positive or near, key=lambda h: _distance(anchor, h))
        else:
            if rule.polarity in hits:
                trigger = min(hits[rule.polarity], key=lambda h: _distance(anchor, h))
            return trigger
    return None


def _distance(one: Hit, other: Hit) -> int:
    """Words between two hits; 0 if they touch or overlap."""
    return max(0, max(one.start, other.start) - min(one.end, other.end))


def _negated(trigger: Hit, negations: list[Hit], words: Words) -> bool:
    for negation in negations:
        if 0 <= trigger.start - negation.start <= 7:
            between = range(negation.start + 1, trigger.start + 1)
            if not any(
                set(words.stops[i]) & _HARD_STOPS or words.items[i] in _TURNS for i in between
            ) and not (trigger.start - negation.start > 3 and any("," in words.stops[i] for i in between)):
                return True
    return False


def _doubted(trigger: Hit, hits: dict[str, list[Hit]], words: Words) -> bool:
    """Whether the sentence says that proof of what the trigger says is lacking."""
    doubts, after = hits.get("doubt", ()), hits.get("doubtafter", ())
    for doubt in doubts:
        if doubt.start > trigger.start:
            continue
        if {"how", "why"} & set(words.items[doubt.end : doubt.end + 3]):
            continue
        between = range(doubt.end, trigger.start + 1)
        if not any(";" in words.stops[i] or words.items[i] in _TURNS for i in between):
            return True
    for doubt in after:  # "the effects beyond one month are unknown"
        between = range(trigger.end, doubt.start + 1)
        if (
            doubt.start >= trigger.end
            and len(between) <= 10
            and not any(
                words.stops[i] or words.items[i] in _TURNS or words.items[i] in ("and", "which", "that")
                for i in between
            )
        ):
            return True
    return False


def _quote(s: Statement, name: str, near: Hit) -> str:
    return s.verbatim(min(s.hits[name], key=lambda h: _distance(near, h)))


def _strength(s: Statement, words: Words) -> None:
    hits = s.hits
    quantities = (("all", "all_of"), ("most", "most_of"), ("many", "many_of"), ("some", "some_of"))
    s.quantity = next((label for label, name in quantities if name in hits), "")
    if s.question or "possible" in hits or any(c.doubt for c in s.claims):
        s.strength = "possible"
    elif "likely" in hits:
        s.strength = "likely"
    else:
        s.strength = "certain"


def _overstating(s: Statement, words: Words, negations: list[Hit], rules: Rules) -> None:
    if s.question:
        return
    found: list[Word] = []
    for kind, soft in rules.overstate.items():
        for hit in s.hits.get(f"overstate:{kind}", ()):
            if soft == "near":
                if _MODALS & set(words.items[max(0, hit.start - 5) : hit.start]):
                    continue
            elif soft and s.strength == "possible":
                continue
            if kind == "metaphor" and (s.strength != "certain" or _FIGURATIVE & set(words.items)):
                continue
            inside = [n for n in negations if n.start < hit.start]
            if _negated(hit, inside, words) or _doubted(hit, s.hits, words):
                s.rejects = True
                continue
            if kind in ("magnitude", "universal") and _only_risks(s):
                continue  # "nearly everyone feels dizzy" makes no more of the treatment than is so
            if kind == "magnitude" and set(words.items[hit.end : hit.end + 2]) & {"ci", "confidence"}:
                continue
            start, end = words.spans[hit.start][0], words.spans[hit.end - 1][1]
            found.append(Word(s.text[start:end], start, end, kind))
    s.overstating = []
    for word in sorted(found, key=lambda w: (w.start, -w.end)):  # of words within words the longer
        if not any(w.start <= word.start and word.end <= w.end for w in s.overstating):
            s.overstating.append(word)


def _only_risks(s: Statement) -> bool:
    """The sentence does no more than name effects that patients do not want."""
    return (
        bool(s.claims)
        and all(c.claim == "safety-tolerability" and c.asserts == "claim" for c in s.claims)
        and not {"noside", "safeword"} & s.hits.keys()
    )


# --- figures ------------------------------------------------------------------------------------------------
_FIGURE = re.compile(
    r"(?<![\w.])(?P<n>\d{1,3}(?:,\d{3}){1,3}|\d{1,6}(?:\.\d{1,3})?)"
    r"(?:\s{0,2}(?:-|–|to)\s{0,2}(?P<m>\d{1,6}(?:\.\d{1,3})?))?"
    r"\s{0,2}-?(?P<u>%|per\s?cent\b|percent\b|mg/kg(?:/h)?\b|mg\b|mcg\b|minutes?\b|mins?\b|hours?\b"
    r"|hrs?\b|days?\b|weeks?\b|months?\b|years?\b|million\b|patients\b|people\b|participants\b|veterans\b"
    r"|adults\b|infusions?\b|sessions?\b)?"
)
_NUMBER_WORDS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
    "nine": 9,
    "ten": 10,
    "twelve": 12,
}
_SPELLED = re.compile(
    r"\b(?P<n>one|two|three|four|five|six|seven|eight|nine|ten|twelve)\s(?P<u>percent|per\scent|minutes?|hours?"
    r"|days?|weeks?|months?|years?|infusions?|sessions?)\b",
    re.IGNORECASE,
)
_UNITS = (
    ("percent", ("%", "per")), ("dose", ("mg", "mcg")),
    ("duration", ("min", "hour", "hr", "day", "week", "month", "year")),
    ("count", ("million", "patients", "people", "participants", "veterans", "adults", "infusion", "session")),
)  # fmt: skip


def read_figures(text: str) -> list[Figure]:
    """Percentages, doses, durations, counts and years in a sentence, in order."""
    found: list[tuple[int, Figure]] = []
    for match in _FIGURE.finditer(text):
        unit = (match["u"] or "").lower()
        value = float(match["n"].replace(",", ""))
        kind = next((k for k, starts in _UNITS if unit and unit.startswith(starts)), "")
        if not unit:
            if not (1900 <= value <= 2100 and "." not in match["n"] and "," not in match["n"]):
                continue
            kind = "year"
        found.append((match.start(), Figure(kind, match.group().strip(), value, unit)))
        if match["m"] and unit:
            found.append((match.start() + 1, Figure(kind, match.group().strip(), float(match["m"]), unit)))
    for match in _SPELLED.finditer(text):
        unit = match["u"].lower()
        kind = next(k for k, starts in _UNITS if unit.startswith(starts))
        found.append(
            (match.start(), Figure(kind, match.group(), float(_NUMBER_WORDS[match["n"].lower()]), unit))
        )
    return [figure for _, figure in sorted(found, key=lambda pair: pair[0])]
