"""Split a title and abstract into sentences, with section and character offsets.

The splitter is one pass of one regular expression over the text plus a short list of abbreviations; its
time is
proportional to the length of the text.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["SECTIONS", "Sentence", "split"]

SECTIONS = ("TITLE", "BACKGROUND", "OBJECTIVE", "METHODS", "RESULTS", "CONCLUSIONS", "OTHER")


class Sentence(NamedTuple):
    """One sentence. `start` and `end` are offsets into f"{title}\\n{abstract}"; text == that[start:end]."""

    position: int
    section: str
    text: str
    start: int
    end: int


# A sentence may end here: a mark and closing quotes or brackets before space, a line break, or a point right
# before a label ("...ended.Results: We ..."). Quantifiers are bounded or over disjoint sets, so there is no
# backtracking.
_CANDIDATE = re.compile(
    r"""[.?!\n](?:(?<=\n)|["'”’)\]]{0,3}(?=\s)|(?<=[a-z)\]][.])(?=[A-Z])(?:"""
    r"""(?=[A-Z][A-Za-z]{2,20}(?:/[A-Z][a-z]{2,20})?:)"""
    r"""|(?=(?:Backgrounds?|Aims?|Objectives?|Methods?|Results?|Conclusions?|Discussion)[A-Z][a-z])))"""
)
# Labels in capitals that may be run into the text without a mark before them
_RUN_IN = re.compile(r"(?:RESULTS?|CONCLUSIONS?|METHODS?|OBJECTIVES?|DISCUSSION|FINDINGS):\s")
_SPACE = re.compile(r"\s*")
_OPENER = re.compile(r"""["'“‘(\[<≥≤~±µμβα•·\-–—]{0,3}(?:[A-Z0-9À-ÖØ-ÞΑ-Ω])""")
_LAST_WORD = re.compile(r"(\S{1,24})$")

# Abbreviations after which a mark does not end a sentence, lower case, without the last point.
_ABBREVIATIONS = frozenset(
    "vs v.s e.g i.e eg ie cf al fig figs eq dr drs mr mrs ms prof st approx ca resp i.v i.p s.c viz spp "
    "incl".split()
)
# These abbreviate only before a number ("No. 12"); otherwise they are words ("in the ED. Two patients").
_BEFORE_NUMBER = frozenset("no nos vol pp ref refs p.o i.m i.n i.g b.i.d t.i.d".split())

_LABELS = {
    "TITLE": "title",
    "BACKGROUND": "background introduction context rationale importance significance intro backgrounds "
    "introductions premise setting-the-scene purpose/background state-of-the-art",
    "OBJECTIVE": "objective objectives aim aims purpose purposes goal goals question hypothesis hypotheses "
    "study-objective study-objectives aims/objectives objective/background objectives/aims aim/objective "
    "scope "
    "research-question study-aim study-aims primary-objective",
    "METHODS": "method methods methodology design setting settings participants participant patients "
    "subjects "
    "intervention interventions procedure procedures material materials measurements measures measurement "
    "main-outcome-measures main-outcomes outcome-measures outcomes outcome main-outcomes-and-measures "
    "design-setting-and-participants study-design data-sources data-source search-methods selection-criteria "
    "data-collection-and-analysis materials-and-methods methods-and-materials patients-and-methods "
    "subjects-and-methods experimental-approach approach data-extraction study-selection trial-design "
    "sampling "
    "trial-registration registration clinical-trial-registration methods-and-analysis data-synthesis-methods "
    "animals case case-presentation case-description evidence-acquisition areas-covered materials/methods "
    "method/design methods/design experimental-design study-population data-collection case-report "
    "design/methods subjects/methods statistical-analysis search-strategy exposures exposure randomization",
    "RESULTS": "result results finding findings main-results key-results observations observation "
    "results-and-conclusions results-and-discussion evidence-synthesis data-synthesis results/conclusions "
    "principal-findings key-findings main-findings findings-and-conclusions result/conclusion case-series "
    "results/outcomes results/discussion results-and-limitations",
    "CONCLUSIONS": "conclusion conclusions discussion interpretation implications summary limitations "
    "limitation "
    "conclusions-and-relevance conclusion-and-relevance conclusions-and-implications "
    "discussion-and-conclusions "
    "conclusions-and-clinical-implications clinical-implications expert-opinion authors-conclusions "
    "significance-statement conclusion/implications discussion/conclusion conclusions/significance relevance "
    "conclusions/interpretation clinical-significance scientific-significance clinical-relevance "
    "discussion-and-conclusion authors-conclusion practice-implications strengths-and-limitations comment "
    "conclusions-and-scientific-significance conclusion-and-implications take-home-message "
    "summary-and-conclusions",
}
_SECTION_OF = {label: section for section, labels in _LABELS.items() for label in labels.split()}
_LABEL = re.compile(
    r"\s{0,3}[\[(*]{0,2}([A-Za-z][A-Za-z'’]{1,20}(?:(?: ?[/&,-] ?| )[A-Za-z'’]{1,20}){0,6})"
    r"[\])*]{0,2}\s?([:.–—-])(?=\s|$|[A-Z])"
)
# "ResultsWe found": a label whose mark was lost.
_GLUED = re.compile(r"(Backgrounds?|Aims?|Objectives?|Methods?|Results?|Conclusions?|Discussion)[A-Z][a-z]")
_JOIN = re.compile(r"\W+")


# A "title" without abstract that is longer than this is an abstract whose title is missing.
_LONG_TITLE = 400


def _section(text: str) -> str:
    """The section that a label at the start of `text` opens, or ""."""
    glued = _GLUED.match(text)
    if glued:
        return _SECTION_OF[glued.group(1).lower()]
    match = _LABEL.match(text, 0, 140)
    if not match:
        return ""
    words, mark = match.groups()
    key = words.lower().replace("’", "").replace("'", "").replace("&", "and")
    slash = "/" in key
    name = "-".join(part for part in _JOIN.split(key) if part)
    found = _SECTION_OF.get(name) or (_SECTION_OF.get(key.replace(" ", "")) if slash else None)
    if not found and mark == ":":
        parts = name.split("-")
        if parts[0] in ("abstract",) and len(parts) > 1:
            found = _SECTION_OF.get("-".join(parts[1:]))
        if not found and (words.isupper() or slash or len(parts) <= 3):
            found = _SECTION_OF.get(parts[0]) or (_SECTION_OF.get(parts[-1]) if words.isupper() else None)
    if found and mark != ":" and not (words[:1].isupper() and (words.isupper() or len(words) < 24)):
        return ""
    if found == "TITLE":
        return ""
    if found and mark in ".–—-" and not words.isupper() and name not in _PLAIN_LABELS:
        return ""
    return found or ""


# Labels may close with a point or dash only if they are one of these words.
_PLAIN_LABELS = frozenset(
    "background introduction objective objectives aim aims method methods results result conclusion "
    "conclusions "
    "discussion findings purpose rationale".split()
)
_LABEL_STARTS = tuple(_PLAIN_LABELS)


def _ends_sentence(text: str, at: int, floor: int, following: int) -> bool:
    """Whether the mark at `at` (index of . ? !) really ends a sentence, judged by the words on both sides."""
    if text[at] != ".":
        return True
    match = _LAST_WORD.search(text, max(floor, at - 24), at)
    if not match:
        return True
    word = match.group(1).lstrip("([\"'“").lower()
    if word in _BEFORE_NUMBER:
        return not text[following : following + 1].isdigit()
    return word not in _ABBREVIATIONS


def _candidates(text: str, floor: int) -> list[tuple[int, int]]:
    """(place of a mark or space, end of the sentence that may close there), in order."""
    found = [match.span() for match in _CANDIDATE.finditer(text, floor)]
    run_in = False
    for match in _RUN_IN.finditer(text, floor + 1):
        at = match.start() - 1
        if text[at].isspace() and text[at] != "\n" and text[at - 1] not in ",&/" and text[at - 3 : at] != "AND":
            found.append((at, at + 1))
            run_in = True
    return sorted(found) if run_in else found


def split(title: str, abstract: str) -> list[Sentence]:
    """Sentences of f"{title}\\n{abstract}" in order; position 0 is the title, the abstract starts at 1.

    The section is read from labels ("RESULTS: ..."), at the start of a line or run into the text; it holds
    until the
    next label. Sentences before any label have the section OTHER. Empty parts give no sentence. A very
    long title
    without abstract is taken as an abstract without title.
    """
    text = f"{title}\n{abstract}"
    sentences: list[Sentence] = []
    stripped = title.strip()
    if stripped and not abstract.strip() and (len(stripped) > _LONG_TITLE or "\n" in stripped):
        floor = 0  # no title at all: the text came as one line
    else:
        if stripped:
            start = len(title) - len(title.lstrip())
            sentences.append(Sentence(0, "TITLE", stripped, start, start + len(stripped)))
        floor = len(title) + 1
    size = len(text)
    spans: list[tuple[int, int]] = []
    start = floor
    for at, end in _candidates(text, floor):
        if end <= start:
            continue
        following = _SPACE.match(text, end).end()  # type: ignore[union-attr]
        mark = text[at]
        if mark == "\n":
            before = text[start:at].rstrip()
            blank = "\n" in text[end:following]
            if not (blank or before[-1:] in ".?!:" or _section(text[following : following + 150])):
                continue
        elif mark in ".?!" and following > end:
            if following < size and not _OPENER.match(text, following):
                continue
            if not _ends_sentence(text, at, start, following):
                continue
        spans.append((start, end))
        start = following
    spans.append((start, size))
    section = "OTHER"
    position = 0
    for begin, end in spans:
        piece = text[begin:end]
        body = piece.strip()
        if not body:
            continue
        position += 1
        begin += len(piece) - len(piece.lstrip())
        if ":" in body[:100] or body[:13].lower().startswith(_LABEL_STARTS):
            section = _section(body[:150]) or section
        sentences.append(Sentence(position, section, body, begin, begin + len(body)))
    return sentences
