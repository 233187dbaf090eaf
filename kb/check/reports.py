"""The result of a check, as JSON (schema.json), terminal text, Markdown and one self-contained HTML page."""

from __future__ import annotations

import html
import importlib.resources
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote as quoted

from kb.check.document import Document
from kb.check.facts import as_dict as fact_dict
from kb.check.references import Reference
from kb.check.verdicts import RULE_TEXT, VERDICTS, Judged, JudgedClaim, Quote, load_wording
from kb.evidence import TIER

__all__ = ["FAILURES", "FORMATS", "Report", "load_schema"]

FORMATS = ("text", "json", "html", "markdown")
FAILURES = {
    "overstated": "a statement is stronger than the evidence",
    "contradicted": "the evidence is against a statement",
    "disputed": "the evidence on a statement points both ways",
    "record": "a statement disagrees with a fact on record",
    "references": "a reference is retracted or does not say what the sentence says",
}
SCHEMA_VERSION = 1
NOTICE = (
    "This informs; it is no medical advice. It reads abstracts, not whole papers. What writers claim it has "
    "learned from articles labelled by hand: of an ordinary one it misses about one claim in nine and takes about "
    "one in nine amiss, more in literary wording. Open the studies before you rely on a verdict."
)


def load_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `Report.as_dict()`."""
    return json.loads(
        importlib.resources.files("kb.check").joinpath("schema.json").read_text(encoding="utf-8")
    )


@dataclass(slots=True)
class Report:
    """A checked draft. `sentences`: how many it has; `unmatched`: the texts of those that name ketamine or
    PTSD and match no claim and no fact. `titles`: the statement of each claim by id."""

    document: Document
    judged: list[Judged]
    references: list[Reference]
    sentences: int
    unmatched: list[str]
    data_version: str
    titles: dict[str, str] = field(default_factory=dict)

    # -- what a program reads -----------------------------------------------------------------
    def as_dict(self) -> dict[str, Any]:
        """The report as load_schema() describes it. Offsets count characters of `draft.text`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "draft": {
                "name": self.document.name,
                "kind": self.document.kind,
                "text": self.document.text,
                "characters": len(self.document.text),
                "notes": list(self.document.notes),
            },
            "statements": [_statement_dict(j) for j in self.judged],
            "references": [_reference_dict(r) for r in self.references],
            "summary": self.summary(),
            "notice": NOTICE,
            "data_version": self.data_version,
        }

    def summary(self) -> dict[str, Any]:
        """Counts, and what to fix first: positions in `statements`, worst first."""
        verdicts = Counter(j.verdict for j in self.judged)
        return {
            "sentences": self.sentences,
            "statements": len(self.judged),
            "unmatched": len(self.unmatched),
            "overstated": sum(j.overstated for j in self.judged),
            "verdicts": {v: verdicts.get(v, 0) for v in VERDICTS},
            "facts_wrong": sum(any(f.agrees is False for f in j.facts) for j in self.judged),
            "references": len(self.references),
            "references_problem": sum(r.retracted or r.disagrees for r in self.references),
            "claims": dict(Counter(c.made.claim for j in self.judged for c in j.claims)),
            "fix_first": [n for n, _ in self.worst()[:5]],
        }

    def worst(self) -> list[tuple[int, Judged]]:
        """The statements to change, worst first, with their positions."""

        def weight(j: Judged) -> int:
            return (
                4 * j.overstated
                + 3 * any(f.agrees is False for f in j.facts)
                + 3 * (j.verdict == "contradicted")
                + 3 * bool(self.miscited(j))
                + len(j.overstating)
            )

        return sorted(
            ((n, j) for n, j in enumerate(self.judged) if weight(j)), key=lambda p: (-weight(p[1]), p[0])
        )

    def miscited(self, j: Judged) -> str:
        """What is wrong with a reference that the statement gives; "" if nothing is."""
        start, end = j.statement.start, j.statement.end
        given = [r for r in self.references if start <= r.start < end + 3 * r.text.startswith("[")]  # "... .[2]"
        if any(r.retracted for r in given):
            return "cites a retracted article"
        return "cites a study that found otherwise" if any(r.disagrees for r in given) else ""

    def failures(self, kinds: list[str] | tuple[str, ...]) -> list[str]:
        """Those of `kinds` (keys of FAILURES) that the draft has, for a newsroom's pipeline."""
        has = {
            "overstated": any(j.overstated for j in self.judged),
            "contradicted": any(c.judgement == "contradicted" for j in self.judged for c in j.claims),
            "disputed": any(c.judgement == "disputed" for j in self.judged for c in j.claims),
            "record": any(f.agrees is False for j in self.judged for f in j.facts),
            "references": any(r.retracted or r.disagrees for r in self.references),
        }
        return [kind for kind in kinds if has[kind]]

    def headline(self) -> str:
        s = self.summary()
        if not s["statements"]:
            return "No statement on ketamine or PTSD that could be checked was found."
        parts = [_n(s["statements"], "statement") + " checked"]
        over = s["overstated"]
        parts.append(
            "none says more than the evidence carries"
            if not over
            else f"{over} {'says' if over == 1 else 'say'} more than the evidence carries"
        )
        for key, one in (("contradicted", "contradicted"), ("disputed", "disputed")):
            if s["verdicts"][key]:
                parts.append(f"{s['verdicts'][key]} {one}")
        if s["facts_wrong"]:
            parts.append(
                f"{s['facts_wrong']} disagree{'s' if s['facts_wrong'] == 1 else ''} with a fact on record"
            )
        if bad := s["references_problem"]:
            parts.append(f"{bad} reference{' is' if bad == 1 else 's are'} retracted or found otherwise")
        return "; ".join(parts) + "."

    # -- what people read -------------------------------------------------------------------------
    def to_json(self) -> str:
        return json.dumps(self.as_dict(), ensure_ascii=False)

    def to_text(self, color: bool = False) -> str:
        return "\n".join(_text(self, color)) + "\n"

    def to_markdown(self) -> str:
        return "\n".join(_markdown(self)) + "\n"

    def to_html(self, claim_url: str = "", article_url: str = "") -> str:
        """One page without scripts or outside parts. `claim_url`, `article_url`: prefixes of our own pages,
        if any.
        """
        return _page(self, claim_url, article_url)

    def render(self, form: str, color: bool = False) -> str:
        """The report in one of FORMATS."""
        return {
            "json": lambda: self.to_json() + "\n",
            "markdown": self.to_markdown,
            "html": self.to_html,
            "text": lambda: self.to_text(color),
        }[form]()


def _n(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


# --- JSON ---------------------------------------------------------------------------------------------------
def _quote_dict(q: Quote) -> dict[str, Any]:
    return {
        "article_id": q.article_id,
        "stance": q.stance,
        "sentence": q.sentence,
        "design": q.design,
        "tier": q.tier,
        "n": q.n,
        "year": q.year,
        "population": q.population,
        "citation": q.citation,
        "url": q.url,
        "sentence_from": "none" if not q.sentence else "summary" if q.ours else "abstract",
        "note": q.note,
    }


def _claim_dict(c: JudgedClaim) -> dict[str, Any]:
    w = c.weighed
    return {
        "claim": c.made.claim,
        "asserts": c.made.asserts,
        "verdict": w.verdict,
        "tier": w.rests_on[0] if w.rests_on else "",
        "judgement": c.judgement,
        "limits": c.limits,
        "words": w.words,
        "reason": c.made.reason,
        "counts": {
            "supports": w.supports,
            "mixed": w.mixed,
            "contradicts": w.contradicts,
            "tiers": [
                {"tier": t.tier.id, "supports": t.supports, "mixed": t.mixed, "contradicts": t.contradicts}
                for t in w.tiers
            ],
        },
        "for": [_quote_dict(q) for q in c.favour],
        "against": [_quote_dict(q) for q in c.against],
    }


def _statement_dict(j: Judged) -> dict[str, Any]:
    s = j.statement
    return {
        "text": s.text,
        "start": s.start,
        "end": s.end,
        "kind": s.kind,
        "claims": [_claim_dict(c) for c in j.claims],
        "facts": [fact_dict(f) for f in j.facts],
        "strength": s.strength,
        "quantity": s.quantity,
        "overstated": j.overstated,
        "overstating": list(j.overstating),
        "advice": list(j.advice),
        "populations": list(s.populations),
        "conditions": list(s.conditions),
        "figures": [{"kind": f.kind, "text": f.text, "value": f.value, "unit": f.unit} for f in s.figures],
        "suggestion": j.suggestion,
        "verdict": j.verdict,
    }


def _reference_dict(r: Reference) -> dict[str, Any]:
    return {
        "text": r.text,
        "start": r.start,
        "end": r.end,
        "kind": r.kind,
        "value": r.value,
        "status": r.status,
        "article_id": r.article_id,
        "citation": r.citation,
        "url": r.url,
        "retracted": r.retracted,
        "corrections": list(r.corrections),
        "stances": [{"claim": c, "stance": s} for c, s in r.stances],
        "disagrees": r.disagrees,
        "note": r.note,
    }


# --- words shared by the readable forms ---------------------------------------------------------------------
_STANCE_WORDS = {
    "supports": "supports",
    "contradicts": "against",
    "mixed": "both ways",
    "background": "mentions only",
}
_DESIGNS = {
    "rct": "randomized trial", "nonrandomized-trial": "non-randomized trial", "case-report": "case report",
    "systematic-review": "systematic review", "meta-analysis": "meta-analysis", "in-vitro": "in-vitro study",
    "animal": "animal study", "cohort": "cohort study", "case-control": "case-control study",
    "cross-sectional": "cross-sectional study", "review": "narrative review",
    "qualitative": "qualitative study",
}  # fmt: skip
_FIX = 5  # statements in the list of what to fix first
_PROMISED = ("ptsd-symptom-reduction", "antidepressant-effect", "suicidality-reduction", "safety-tolerability")
_ASSERTS = {"claim": "says", "denial": "denies", "question": "asks about the claim"}


_LABEL = re.compile(r"(?:BACKGROUND|OBJECTIVE|METHODS|RESULTS|CONCLUSIONS): ")


def _words_of(q: Quote) -> str:
    """The sentence as people read it: without the section label that our own summaries put before it."""
    return _LABEL.sub("", q.sentence, count=1) if q.ours and _LABEL.match(q.sentence) else q.sentence


def _unmatched(report: Report) -> str:
    """Which sentences were not checked, by their beginnings: an unmarked sentence is unread, not approved."""
    shown = ", ".join(f"“{_short(text, 60)}”" for text in report.unmatched[:_FIX])
    more = len(report.unmatched) - _FIX
    return (
        f"{_n(len(report.unmatched), 'sentence')} on ketamine or PTSD matched no claim and no fact, so not checked: "
        f"{shown}{f' and {more} more' if more > 0 else ''}."
    )


def _note_of(q: Quote) -> str:
    """What stands in the place of a sentence where no single one carries the finding."""
    note = q.note.removeprefix("labelled by this project's reviewer: ")
    return f"reviewer's note: {note}" if note else "no single sentence: read the article"


def verdict_words(j: Judged) -> str:
    """The verdict in words, with what else is amiss: a reader must not miss a disagreement with the
    record."""
    words = VERDICTS[j.verdict]
    wrong = _wrong(j)
    if wrong and j.verdict == "matter-of-record":
        words = "Disagrees with the record"
    elif j.verdict == "matter-of-record" and not j.facts and not j.claims:
        words += "; no fact here settles it"
    if j.overstated and j.verdict != "overstated":
        words += ", and " + VERDICTS["overstated"].lower()
    if wrong and j.verdict != "matter-of-record":
        words += "; disagrees with a fact on record"
    return words


def _wrong(j: Judged) -> bool:
    return any(f.agrees is False for f in j.facts)


def _class(j: Judged) -> str:
    """The class that gives a statement its colour: what is wrong on the record looks wrong."""
    return f"kc-{'contradicted' if _wrong(j) and j.verdict == 'matter-of-record' else j.verdict}"


def _says(j: Judged, c: JudgedClaim) -> str:
    cautions = j.statement.rejects and c.made.asserts == "denial" and c.made.claim in _PROMISED
    if cautions and c.judgement == "well-supported":
        return "turns down an exaggeration of the claim"
    return _ASSERTS[c.made.asserts]


def _shown_before(report: Report) -> dict[tuple[int, int], int]:
    """(statement, claim) positions whose sentences on both sides have been shown already -> number of the
    statement.
    """
    first: dict[tuple, int] = {}
    repeated = {}
    for number, j in enumerate(report.judged, 1):
        for place, c in enumerate(j.claims):
            key = (c.made.claim, tuple((q.article_id, q.sentence) for q in (*c.favour, *c.against)))
            if not key[1]:
                continue
            if key in first:
                repeated[number, place] = first[key]
            else:
                first[key] = number
    return repeated


def _about(q: Quote) -> str:
    parts = [_DESIGNS.get(q.design, q.design or "design not known")]
    if q.n:
        parts.append(f"n = {q.n:,}")
    if q.year:
        parts.append(str(q.year))
    return ", ".join(parts)


def _sides(c: JudgedClaim) -> list[tuple[str, list[Quote], str]]:
    """(heading, quotes, what to say if there is none) of the two sides, as the statement has them."""
    found = (c.weighed.supports + c.weighed.mixed + c.weighed.contradicts) > 0
    none = "no finding here on this side" if found else "no finding here"
    if c.made.asserts == "denial":
        return [
            ("Findings that agree with the sentence (against the claim)", c.favour, none),
            ("Findings that disagree with it (for the claim, or both ways)", c.against, none),
        ]
    return [("For", c.favour, none), ("Against", c.against, none)]


def _both_sides(c: JudgedClaim) -> str:
    return f"{len(c.favour)} for, {len(c.against)} against"


def _name(c: JudgedClaim) -> str:
    """What the claim says, after "asserts" or "denies"."""
    return load_wording()["claims"].get(c.made.claim, {}).get("name") or c.made.claim.replace("-", " ")


def _fact_words(f: Any) -> str:
    return {True: "agrees with the record", False: "disagrees with the record", None: "see the record"}[
        f.agrees
    ]


def _reference_words(r: Reference) -> str:
    status = {
        "found": "found",
        "not-found": "not in this database",
        "ambiguous": "not certain which article",
    }[r.status]
    words = f"{status}: {r.citation}" if r.citation else status
    extra = [r.note] if r.note and r.status != "not-found" else []
    return "; ".join([words, *extra, *r.corrections])


# --- terminal -----------------------------------------------------------------------------------------------
_COLORS = {
    "well-supported": "32", "supported-with-limits": "33", "overstated": "31;1", "disputed": "33",
    "contradicted": "31;1", "not-enough-evidence": "36", "matter-of-record": "34", "question": "2",
}  # fmt: skip


def printable(text: str) -> str:
    """Without control characters: a draft must not steer the terminal that shows it."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


def _text(report: Report, color: bool) -> list[str]:
    def paint(words: str, code: str) -> str:
        return f"\x1b[{code}m{words}\x1b[0m" if color else words

    lines = [paint(report.headline(), "1")]
    lines += [printable(note) for note in report.document.notes]
    if report.unmatched:
        lines.append(printable(_unmatched(report)))
    worst, more = report.worst()[:_FIX], len(report.worst()) - _FIX
    if worst:
        lines += ["", paint("Fix first", "1")]
        lines += [f"  {n + 1}. {printable(_short(j.statement.text))} ({printable(_why(report, j))})" for n, j in worst]
        lines += [f"  and {more} more, below"] if more > 0 else []
    before = _shown_before(report)
    for number, j in enumerate(report.judged, 1):
        label = verdict_words(j)
        color_of = _COLORS[_class(j).removeprefix("kc-")]
        lines += ["", f"{number}. {printable(j.statement.text)}", "   " + paint(label, color_of)]
        if j.overstating:
            lines.append("   words: " + ", ".join(f"“{printable(w)}”" for w in j.overstating))
        lines += [f"   advice: {a}" for a in j.advice]
        for place, c in enumerate(j.claims):
            lines.append(f"   {_says(j, c)} {_name(c)}: {c.weighed.label}. {c.weighed.words}")
            if c.limits:
                lines.append(f"     but: {c.limits}")
            if (number, place) in before:
                lines.append(f"     {_both_sides(c)}: as under statement {before[number, place]}")
                continue
            for heading, quotes, none in _sides(c):
                lines.append(f"     {heading}:" + ("" if quotes else f" {none}"))
                for q in quotes:
                    said = printable(_words_of(q))
                    lines.append(
                        (f"       our summary: {said}" if q.ours else f"       “{said}”")
                        if q.sentence
                        else f"       [{printable(_note_of(q))}]"
                    )
                    lines.append(
                        f"         {_STANCE_WORDS[q.stance]}; {_about(q)}. {printable(q.citation)} {q.url}"
                    )
        for f in j.facts:
            lines.append(f"   record ({_fact_words(f)}): {f.fact.statement}")
            lines.append(f"     as of {f.fact.as_of}: {f.fact.source_title} {f.fact.source_url}")
        if j.suggestion:
            lines.append(f"   could be written: {j.suggestion}")
    if report.references:
        lines += ["", paint("References", "1")]
        lines += [f"  {printable(r.text)}: {printable(_reference_words(r))}" for r in report.references]
    lines += ["", NOTICE, f"data version {report.data_version}"]
    return lines


def _short(text: str, longest: int = 110) -> str:
    return text if len(text) <= longest else text[: longest - 1].rsplit(" ", 1)[0] + " …"


# --- Markdown -----------------------------------------------------------------------------------------------
def _escape(text: str) -> str:
    text = printable(text)
    for mark in "\\`*_[]<>#|":
        text = text.replace(mark, "\\" + mark)
    return text.replace("\n", " ")


def _markdown(report: Report) -> list[str]:
    lines = ["## Check of " + (_escape(report.document.name) or "the draft"), "", report.headline(), ""]
    lines += [f"_{_escape(note)}_" for note in report.document.notes]
    if report.unmatched:
        lines += [f"_{_escape(_unmatched(report))}_", ""]
    worst, more = report.worst()[:_FIX], len(report.worst()) - _FIX
    if worst:
        lines += ["### Fix first", ""]
        lines += [
            f"{place}. {_escape(_short(j.statement.text))} ({_escape(_why(report, j))})"
            for place, (_, j) in enumerate(worst, 1)
        ]
        lines += ["", f"and {more} more, below"] if more > 0 else []
        lines.append("")
    lines += ["### Statements", ""]
    before = _shown_before(report)
    for number, j in enumerate(report.judged, 1):
        lines += [
            f"{number}.",
            "",
            f"> {_escape(j.statement.text)}",
            "",
            f"**{verdict_words(j)}**"
            + (
                f": words that overstate: {', '.join('“' + _escape(w) + '”' for w in j.overstating)}"
                if j.overstating
                else ""
            ),
        ]
        lines += [f"- Advice: {_escape(a)}" for a in j.advice]
        for place, c in enumerate(j.claims):
            lines.append(
                f"- {_says(j, c)} {_name(c)} ({c.made.claim}): {c.weighed.label}. "
                f"{_escape(c.weighed.words)}" + (f" {_escape(c.limits)}" if c.limits else "")
            )
            if (number, place) in before:
                lines.append(f"  - {_both_sides(c)}: as under statement {before[number, place]}")
                continue
            for heading, quotes, none in _sides(c):
                lines.append(f"  - {heading}:" + ("" if quotes else f" {none}"))
                for q in quotes:
                    link = f"[{_escape(q.citation)}]({q.url})" if q.url else _escape(q.citation)
                    said = _escape(_words_of(q)) if q.sentence else f"({_escape(_note_of(q))})"
                    if q.sentence:
                        said = f"our summary: {said}" if q.ours else f"“{said}”"
                    lines.append(f"    - {said} {link} ({_STANCE_WORDS[q.stance]}; {_about(q)})")
        for f in j.facts:
            lines.append(
                f"- On record ({_fact_words(f)}): {_escape(f.fact.statement)} As of {f.fact.as_of}: "
                f"[{_escape(f.fact.source_title)}]({f.fact.source_url})"
            )
        if j.suggestion:
            lines.append(f"- Could be written: {_escape(j.suggestion)}")
        lines.append("")
    if report.references:
        lines += ["### References", ""]
        lines += [f"- {_escape(r.text)}: {_escape(_reference_words(r))}" for r in report.references]
        lines.append("")
    lines.append(f"{NOTICE} Data version {report.data_version}.")
    return lines


# --- HTML ---------------------------------------------------------------------------------------------------
# One mark and one colour a verdict; the mark and the words carry the meaning without the colour.
_MARKS = {
    "well-supported": "✓", "supported-with-limits": "◐", "overstated": "!", "disputed": "≷",
    "contradicted": "✕",
    "not-enough-evidence": "?", "matter-of-record": "§", "question": "…",
}  # fmt: skip


def _e(text: object) -> str:
    return html.escape(str(text), quote=True)


def safe_url(url: str) -> str:
    return url if url.startswith(("https://", "http://")) else ""


def marked_draft(report: Report) -> str:
    """The draft in full as HTML: each statement a link to its verdict, with its mark and its number."""
    text = report.document.text
    by_start = {j.statement.start: (n, j) for n, j in enumerate(report.judged, 1)}
    out: list[str] = []
    listing = False
    for block in report.document.blocks:
        if block.kind == "bullet" and not listing:
            out.append("<ul>")
        if block.kind != "bullet" and listing:
            out.append("</ul>")
        listing = block.kind == "bullet"
        tag = {"heading": "h3", "bullet": "li", "quote": "blockquote"}.get(block.kind, "p")
        inner: list[str] = []
        at = block.start
        for start in sorted(s for s in by_start if block.start <= s < block.end):
            number, j = by_start[start]
            inner.append(_e(text[at:start]))
            at = j.statement.end
            inner.append(
                f'<a class="kc-mark {_class(j)}{" kc-over" if j.overstated else ""}" id="m{number}" '
                f'href="#s{number}">'
                f"{_e(text[start:at])}<sup>{_MARKS[j.verdict]}&nbsp;{number}</sup>"
                f'<span class="kc-hidden"> ({_e(VERDICTS[j.verdict])})</span></a>'
            )
        inner.append(_e(text[at : block.end]))
        left = ' class="kc-left"' if block.kind == "left-out" else ""
        out.append(f"<{tag}{left}>{''.join(inner)}</{tag}>")
    if listing:
        out.append("</ul>")
    return "\n".join(out)


def verdict_card(
    number: int, j: Judged, claim_url: str, article_url: str, before: dict[tuple[int, int], int]
) -> str:
    """What is to be said of one statement. Sentences shown above (`before`) are folded here."""
    s = j.statement
    out = [
        f'<section class="kc-card {_class(j)}" id="s{number}" aria-labelledby="h{number}">',
        f'<h3 id="h{number}"><a href="#m{number}" class="kc-number">{number}</a> '
        f'<span class="kc-badge"><span aria-hidden="true">{_MARKS[j.verdict]}</span> '
        f"{_e(verdict_words(j))}</span></h3>",
        f'<p class="kc-said">{_highlight(s.text, j)}</p>',
    ]
    if j.overstating or j.advice:
        words = ", ".join(f"“{_e(w)}”" for w in j.overstating)
        advice = "; ".join(_e(a) for a in j.advice)
        out.append(
            f'<p class="kc-advice">{"Words that overstate: " + words + ". " if words else ""}'
            f"{advice[:1].upper() + advice[1:]}{'.' if advice else ''}</p>"
        )
    if j.suggestion:
        out.append(f'<p class="kc-suggest"><strong>Could be written:</strong> {_e(j.suggestion)}</p>')
    for place, c in enumerate(j.claims):
        name = _e(_name(c))
        if claim_url:
            name = f'<a href="{_e(claim_url + c.made.claim)}">{name}</a>'
        out.append(
            f'<div class="kc-claim"><p>{_says(j, c).capitalize()} <strong>{name}</strong>: '
            f"{_e(c.weighed.label)}. {_e(c.weighed.words)}"
            + (f" <strong>{_e(c.limits)}</strong>" if c.limits else "")
            + "</p>"
        )
        folded = before.get((number, place))
        if folded:
            out.append(
                f"<details><summary>{_e(_both_sides(c))}: the sentences of statement {folded}</summary>"
            )
        if c.weighed.tiers:
            out.append(_table(c))
        for heading, quotes, none in _sides(c):
            if not quotes:
                out.append(f'<p class="kc-none">{_e(heading)}: {_e(none)}.</p>')
                continue
            out.append(f'<p class="kc-side">{_e(heading)}</p><ul class="kc-quotes">')
            out += [_quote_item(q, article_url) for q in quotes]
            out.append("</ul>")
        out.append("</details></div>" if folded else "</div>")
    for f in j.facts:
        out.append(
            f'<div class="kc-fact"><p><strong>On record</strong> ({_e(_fact_words(f))}): '
            f"{_e(f.fact.statement)} <small>{_e(f.fact.detail)}</small></p>"
            f'<p class="kc-source">As of {_e(f.fact.as_of)}. Source: '
            f"{_link(f.fact.source_url, f.fact.source_title)}</p></div>"
        )
    out.append(f'<p class="kc-back"><a href="#m{number}">Back to the sentence</a></p></section>')
    return "\n".join(out)


def _highlight(text: str, j: Judged) -> str:
    spans = [(w.start, w.end) for w in j.statement.overstating] if j.overstating else []
    spans += [
        (at, at + len(w))
        for w in j.overstating
        if not j.statement.overstating
        for at in [text.find(w)]
        if at >= 0
    ]
    out, at = [], 0
    for start, end in sorted(spans):
        if start < at:
            continue
        out.append(f"{_e(text[at:start])}<mark>{_e(text[start:end])}</mark>")
        at = end
    return "".join(out) + _e(text[at:])


def _table(c: JudgedClaim) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_e(TIER[t.tier.id].label)}</th><td>{t.supports}</td><td>{t.mixed}</td>'
        f"<td>{t.contradicts}</td></tr>"
        for t in c.weighed.tiers
    )
    return (
        '<table class="kc-counts"><caption class="kc-hidden">Findings by kind of study</caption><thead><tr>'
        '<th scope="col">Kind of study</th><th scope="col">For</th><th scope="col">Both ways</th>'
        f'<th scope="col">Against</th></tr></thead><tbody>{rows}</tbody></table>'
    )


def _quote_item(q: Quote, article_url: str) -> str:
    own = ""
    if article_url:
        own = f' <a href="{_e(article_url + quoted(q.article_id, safe="/:()"))}">details</a>'
    said = f"<em>{_e(_note_of(q))}</em>"
    if q.sentence:
        words = _e(_words_of(q))
        said = f"{words} <em>(our summary, not the abstract)</em>" if q.ours else f"<q>{words}</q>"
    return (
        f'<li class="kc-{_e(q.stance)}">{said} <span class="kc-about">'
        f"{_e(_STANCE_WORDS[q.stance])}; {_e(_about(q))}. {_link(q.url, q.citation)}{own}</span></li>"
    )


def _link(url: str, words: str) -> str:
    url = safe_url(url)
    return f'<a href="{_e(url)}" rel="noopener noreferrer">{_e(words)}</a>' if url else _e(words)


def summary_html(report: Report) -> str:
    """The headline, the counts, and what to fix first."""
    s = report.summary()
    chips = "".join(
        f'<li class="kc-{v}"><span class="kc-badge"><span aria-hidden="true">{_MARKS[v]}</span> '
        f"{_e(label)}</span> <strong>{s['verdicts'][v]}</strong></li>"
        for v, label in VERDICTS.items()
        if s["verdicts"][v]
    )
    out = [
        f'<p class="kc-headline">{_e(report.headline())}</p>',
        f'<ul class="kc-chips">{chips}</ul>' if chips else "",
    ]
    worst, more = report.worst()[:_FIX], len(report.worst()) - _FIX
    if worst:
        items = "".join(
            f'<li><a href="#s{n + 1}">{_e(_short(j.statement.text))}</a> '
            f'<span class="kc-why">{_e(_why(report, j))}</span></li>'
            for n, j in worst
        )
        out.append(f'<h2>Fix first</h2><ol class="kc-fix">{items}</ol>')
        if more > 0:
            out.append(f'<p class="kc-note">and {more} more, marked below.</p>')
    notes = list(report.document.notes)
    if report.unmatched:
        notes.append(_unmatched(report))
    out += [f'<p class="kc-note">{_e(note)}</p>' for note in notes]
    return "\n".join(part for part in out if part)


def _why(report: Report, j: Judged) -> str:
    if j.overstating:
        words = "overstates: " + ", ".join(f"“{w}”" for w in j.overstating[:3])
    elif _wrong(j):
        words = "disagrees with the record"
    else:
        words = "says more than the evidence carries" if j.overstated else VERDICTS[j.verdict].lower()
    return "; ".join(filter(None, (words, report.miscited(j))))


def references_html(report: Report) -> str:
    if not report.references:
        return ""
    items = "".join(
        f"<li{' class=kc-bad' if r.retracted or r.disagrees else ''}>{_e(r.text)}: "
        f"{_link(r.url, _reference_words(r))}</li>"
        for r in report.references
    )
    return f'<section class="kc-refs"><h2>References in the draft</h2><ul>{items}</ul></section>'


def body_html(report: Report, claim_url: str = "", article_url: str = "") -> str:
    """The report without the page around it: summary, marked draft beside its verdicts, references, the
    rule."""
    before = _shown_before(report)
    cards = "\n".join(
        verdict_card(n, j, claim_url, article_url, before) for n, j in enumerate(report.judged, 1)
    )
    rule = "".join(f"<p>{_e(part)}</p>" for part in RULE_TEXT)
    return f"""<div class="kc-report">
<section class="kc-summary" aria-label="Summary">{summary_html(report)}</section>
<div class="kc-columns">
<section class="kc-draft" aria-label="The draft with its statements marked"><h2>The draft</h2>
{marked_draft(report)}</section>
<section class="kc-margin" aria-label="Verdicts"><h2>Verdicts</h2>
{cards or "<p>Nothing to show.</p>"}</section>
</div>
{references_html(report)}
<details class="kc-rule"><summary>How a verdict comes about</summary>{rule}</details>
<p class="kc-note">{_e(NOTICE)} Data version {_e(report.data_version)}.</p>
</div>"""


def style() -> str:
    """The style sheet of the report. All its classes begin with kc-."""
    folder = importlib.resources.files("kb.check").joinpath("templates")
    return folder.joinpath("report.css").read_text(encoding="utf-8")


def _page(report: Report, claim_url: str, article_url: str) -> str:
    title = f"Check of {report.document.name}" if report.document.name else "Check of a draft"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<title>{_e(title)}</title>
<style>
{style()}
</style>
</head>
<body class="kc-page">
<main>
<h1>{_e(title)}</h1>
{body_html(report, claim_url, article_url)}
</main>
</body>
</html>
"""
