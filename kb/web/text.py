"""Words, numbers, dates and marks as people write them; nothing here reads the database.

Everything that reaches a template from an article goes through Jinja's escaping or through
`mark_*`, which escape first and then add their own tags.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from kb.evidence import VERDICTS, Weighed
from kb.reading import unsure as unsure  # for the templates
from kb.reading import without_label
from kb.search import MARK, UNMARK
from kb.store import REVIEWER_LANDMARK, review_said
from kb.tagging import load_claims
from kb.tagging.lexicon import Lexicon

STANCE = {
    "supports": ("Supports", "+"),
    "mixed": ("Points both ways", "±"),
    "contradicts": ("Finds against", "−"),
    "background": ("Background", "·"),
}
DESIGN = {
    "meta-analysis": "Meta-analysis",
    "systematic-review": "Systematic review",
    "review": "Narrative review",
    "rct": "Randomized trial",
    "nonrandomized-trial": "Non-randomized trial",
    "cohort": "Cohort study",
    "case-control": "Case-control study",
    "cross-sectional": "Cross-sectional study",
    "case-report": "Case report",
    "protocol": "Protocol",
    "qualitative": "Qualitative study",
    "animal": "Animal study",
    "in-vitro": "In-vitro study",
    "other": "Other or not stated",
}
_WORDS = {
    "veterans-military": "Veterans and military",
    "civilians-adults": "Civilian adults",
    "children-adolescents": "Children and adolescents",
    "older-adults": "Older adults",
    "perinatal": "Perinatal",
    "surgical-trauma-patients": "Surgical and trauma patients",
    "healthy-volunteers": "Healthy volunteers",
    "recreational-users": "Recreational users",
    "animals": "Animals",
    "unspecified": "Not stated",
    "ptsd": "PTSD",
    "ocd": "OCD",
    "adhd": "ADHD",
    "ect": "ECT",
    "tms": "TMS",
    "lsd": "LSD",
    "mdma": "MDMA",
    "dmt": "DMT",
    "5-meo-dmt": "5-MeO-DMT",
    "mk-801": "MK-801",
    "salvinorin-a": "Salvinorin A",
    "d-cycloserine": "D-cycloserine",
    "alcohol-use": "Alcohol use disorder",
    "tobacco-use": "Tobacco use",
    "substance-use": "Substance use disorder",
    "recreational-use": "Recreational use",
    "healthy": "Healthy",
    "single": "Single dose",
    "repeated": "Repeated doses",
    "maintenance": "Maintenance",
    "bipolar": "Bipolar disorder",
    "borderline-personality": "Borderline personality disorder",
}
DIMENSION = {
    "stance": "Stance",
    "claim": "Claim",
    "tier": "Kind of study",
    "design": "Study design",
    "population": "Population",
    "condition": "Condition",
    "substance": "Substance",
    "route": "Route",
    "dose": "Dose",
    "schedule": "Dosing",
    "species": "Species",
}
SECTION = {
    "TITLE": "Title",
    "BACKGROUND": "Background",
    "OBJECTIVE": "Objective",
    "METHODS": "Methods",
    "RESULTS": "Results",
    "CONCLUSIONS": "Conclusions",
    "OTHER": "Abstract",
}
LANGUAGE = {
    "chi": "Chinese",
    "fre": "French",
    "ger": "German",
    "spa": "Spanish",
    "rus": "Russian",
    "jpn": "Japanese",
    "por": "Portuguese",
    "ita": "Italian",
    "pol": "Polish",
    "dut": "Dutch",
    "kor": "Korean",
    "tur": "Turkish",
    "hun": "Hungarian",
    "cze": "Czech",
    "dan": "Danish",
    "swe": "Swedish",
    "nor": "Norwegian",
    "ukr": "Ukrainian",
    "heb": "Hebrew",
    "per": "Persian",
    "ara": "Arabic",
    "hrv": "Croatian",
    "srp": "Serbian",
}
CORRECTION = {
    "RetractionIn": "Retracted",
    "RetractionOf": "Retraction notice for",
    "PartialRetractionIn": "Partly retracted",
    "ErratumIn": "Correction published",
    "ErratumFor": "Correction of",
    "ExpressionOfConcernIn": "Expression of concern",
    "ExpressionOfConcernFor": "Expression of concern about",
    "CorrectedandRepublishedIn": "Corrected and republished",
    "RepublishedIn": "Republished",
    "UpdateIn": "Updated in",
    "UpdateOf": "Update of",
    "CommentIn": "Comment on this article",
    "CommentOn": "Comment on",
    "RetractedandRepublishedIn": "Retracted and republished",
}
LOUD_CORRECTIONS = (
    "RetractionIn",
    "PartialRetractionIn",
    "ExpressionOfConcernIn",
    "ErratumIn",
    "CorrectedandRepublishedIn",
    "RetractedandRepublishedIn",
    "RetractionOf",
)
# Of tables with very many columns: those that a phone shows.
MAIN_COLUMNS = {
    "articles": (
        "Link",
        "id",
        "title",
        "abstract",
        "journal",
        "year",
        "study_design",
        "sample_size",
        "population",
        "retracted",
        "deleted",
    )
}
_MONTHS = ("January February March April May June July August September October November December").split()


def label(dimension: str, value: str) -> str:
    """A facet value in words; the value itself where it is not one of ours."""
    from kb.evidence import TIER

    if dimension == "stance":
        return STANCE[value][0] if value in STANCE else value
    if dimension == "design" and value in DESIGN:
        return DESIGN[value]
    if dimension == "tier" and value in TIER:
        return TIER[value].label
    if dimension == "claim":
        return claim_name(value)
    if dimension == "dose":
        return value
    return _WORDS.get(value) or (value[:1].upper() + value[1:]).replace("-", " ")


def number(value: int | float | None) -> str:
    """12345 as "12,345"; "" for None."""
    return "" if value is None else f"{value:,}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """ "1 study", "12,345 studies"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def day(value: str | None) -> str:
    """An ISO date or time, as precise as it is: "3 June 2014", "June 2014", "2014"; "" for None."""
    match = re.match(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?", value or "")
    if not match:
        return value or ""
    year, month, of_month = match.groups()
    if not month or not 1 <= int(month) <= 12:
        return year
    return f"{int(of_month)} {_MONTHS[int(month) - 1]} {year}" if of_month else f"{_MONTHS[int(month) - 1]} {year}"


def days_since(value: str | None, today: dt.date) -> int | None:
    """Whole days from an ISO date or time to today; None if it cannot be read."""
    try:
        return (today - dt.date.fromisoformat((value or "")[:10])).days
    except ValueError:
        return None


def ago(value: str | None, today: dt.date) -> str:
    """How long ago an ISO date was, in words; "" if it cannot be read."""
    days = days_since(value, today)
    if days is None:
        return ""
    if days <= 0:
        return "today"
    if days == 1:
        return "yesterday"
    if days < 60:
        return f"{days} days ago"
    if days < 730:
        return f"{days // 30} months ago"
    return f"{days // 365} years ago"


def mark_matches(text: str | None) -> Markup:
    """Escaped text in which the words between MARK and UNMARK are in <mark>."""
    if not text:
        return Markup("")
    safe = str(escape(text))
    opened = safe.count(MARK) - safe.count(UNMARK)
    marked = safe.replace(MARK, "<mark>").replace(UNMARK, "</mark>")
    if opened:  # the text itself holds such a character: better no marks than crossed tags
        return Markup(safe.replace(MARK, "").replace(UNMARK, ""))
    return Markup(marked)


@lru_cache(maxsize=64)
def _claim_words(claim_id: str) -> Lexicon | None:
    claim = next((c for c in load_claims() if c.id == claim_id), None)
    strong = list(claim.lexicon.get("strong", ())) if claim else []
    if not strong:
        return None
    names = ["ketamine", "esketamine", "arketamine", "*norketamine", "spravato"]
    return Lexicon({"claim": strong + names})


_WORD = re.compile(r"\w+")
def mark_claim(sentence: str | None, claim_id: str) -> Markup:
    """The sentence, escaped, with the words that speak of the claim in <mark>."""
    text = without_label(sentence or "")
    lexicon = _claim_words(claim_id)
    if not text or lexicon is None:
        return Markup(escape(text))
    spans = [m.span() for m in _WORD.finditer(text)]
    words = [text[a:b].lower() for a, b in spans]
    hits = sorted((spans[p][0], spans[p + n - 1][1]) for p, n, *_ in lexicon.find(words) if p + n <= len(spans))
    out, at = [], 0
    for start, end in hits:
        if start < at:
            continue
        out += [escape(text[at:start]), Markup("<mark>"), escape(text[start:end]), Markup("</mark>")]
        at = end
    return Markup("").join([*out, escape(text[at:])])


def reviewer_name(row: dict[str, Any]) -> str:
    """The name of a person who corrected a tag; "" for the labels that the starter corpus comes with."""
    who = row.get("reviewer") or ""
    return "" if who == REVIEWER_LANDMARK else who


def reviewed(row: dict[str, Any]) -> dict[str, str]:
    """What a person did to a tag and when: did ("Accepted", ...), before, at, changed ("" where not known)."""
    said = review_said(row.get("reason") or "", reviewer_name(row))
    return {**said, "did": said["did"].capitalize() or "Labelled"}


def outside_link(row: dict[str, Any]) -> tuple[str, str] | None:
    """(address, words) of the best place to read the article, PubMed before PMC before DOI."""
    links = outside_links(row)
    return links[0] if links else None


def outside_links(row: dict[str, Any]) -> list[tuple[str, str]]:
    """(address, words) for each identifier an article has."""
    links = []
    if row.get("pmid"):
        links.append((f"https://pubmed.ncbi.nlm.nih.gov/{quote(str(row['pmid']))}/", f"PMID {row['pmid']}"))
    if row.get("pmcid"):
        links.append((f"https://pmc.ncbi.nlm.nih.gov/articles/{quote(row['pmcid'])}/", row["pmcid"]))
    if row.get("doi"):
        links.append((f"https://doi.org/{quote(row['doi'], safe='/:;().-_')}", f"doi:{row['doi']}"))
    return links


def trial_link(number: str) -> str | None:
    """The registry page of a trial number, where its registry is known."""
    if re.fullmatch(r"NCT\d{8}", number):
        return f"https://clinicaltrials.gov/study/{number}"
    if re.fullmatch(r"ISRCTN\d+", number):
        return f"https://www.isrctn.com/{number}"
    return None


def listing(values: Iterable[str]) -> str:
    """ "a, b and c"."""
    items = [v for v in values if v]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


# What the verdict on a claim is about, where "support" alone could be read as good news or bad.
_SUBJECT = {"safety-tolerability": "safety", "abuse-liability": "this risk"}


def verdict(claim_id: str, weighed: Weighed) -> str:
    """The verdict in words; for risks with its subject: "Consistent support for this risk"."""
    subject, base = _SUBJECT.get(claim_id), VERDICTS[weighed.verdict]
    if not subject:
        return weighed.label
    joint = " for " if base.endswith("support") else " " if base.endswith("against") else " on "
    return base + joint + subject + weighed.label.removeprefix(base)


def provenance(weighed: Weighed) -> str:
    """Who read the counted findings: "12 of 46 counted findings were labelled by a reviewer, ..."; or ""."""
    total, automatic, doubted = weighed.total, weighed.automatic, weighed.unsure
    if not total:
        return ""
    if automatic in (0, total):
        whole = {1: "The one counted finding was", 2: "Both counted findings were"}
        said = whole.get(total, f"All {total:,} counted findings were")
        said += " read automatically" if automatic else " labelled by a reviewer"
    else:
        said = f"{total - automatic:,} of {total:,} counted findings {'was' if total - automatic == 1 else 'were'} "
        said += f"labelled by a reviewer, {automatic:,} read automatically"
    return said + (f"; the tagger is unsure of {doubted:,}." if doubted else ".")


def claim_ids() -> tuple[str, ...]:
    """The ids of the claims, in their order."""
    return tuple(c.id for c in load_claims())


_ACRONYMS = {"nmda": "NMDA", "bdnf": "BDNF", "ptsd": "PTSD"}


def claim_name(claim_id: str) -> str:
    """A claim's id as a short name: "nmda-antagonism" is "NMDA antagonism"."""
    words = [_ACRONYMS.get(w, w) for w in claim_id.split("-")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def field_name(name: str) -> str:
    """A column of a change in words."""
    if name.startswith("tag:"):
        return f"Tag on {name[4:]}"
    return {
        "author_list": "Authors",
        "mesh_list": "MeSH headings",
        "keyword_list": "Keywords",
        "doi": "DOI",
        "pmid": "PMID",
        "pmcid": "PMCID",
        "abstract_origin": "Origin of the abstract",
        "deleted": "Withdrawn from PubMed",
        "retraction_note": "Retraction notice",
        "issn": "ISSN",
    }.get(name, name.replace("_", " ").capitalize())
