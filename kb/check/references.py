"""References that a draft gives: PMIDs, DOIs, PubMed links, "Smith et al., 2014", "[2]" and a numbered list.
Resolved in the database only.
"""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from urllib.parse import unquote

from kb.check.document import Document
from kb.check.verdicts import Judged

__all__ = ["Reference", "find_references"]

MOST = 200  # references resolved in one draft
_WIDEST = 30  # numbers read in one "[1-30]"

# "PubMed 2021" is a search in a year: without "ID" only seven or eight digits are a number of PubMed's
_PMID = re.compile(
    r"\b(?:(?:PMIDs?|PubMed\s?IDs?)(?:\s(?:no\.|number))?\s?[:#=]?\s{0,3}(\d{4,9})"
    r"|PubMed\s?[:#]?\s{0,3}(\d{7,8}))\b",
    re.IGNORECASE,
)
_NEXT_PMID = re.compile(r"(?:\s?[,;]\s{0,2}(?:and\s|&\s)?|\s(?:and|&)\s)(\d{6,8})\b(?![.,]\d)")
_PUBMED = re.compile(r"(?:pubmed\.ncbi\.nlm\.nih\.gov/|ncbi\.nlm\.nih\.gov/pubmed/)(\d{4,9})", re.IGNORECASE)
_PMCID = re.compile(r"\bPMC(\d{4,9})\b")
_DOI = re.compile(r"\b10\.\d{4,9}/[^\s\"<>“”]{2,120}")

# --- authors and years ----------------------------------------------------------------------------------------
_NAME = r"[A-ZÀ-ÖØ-Þ][A-Za-zÀ-ÖØ-öø-ÿ'’-]{1,30}+"
_INITIALS = r"(?:,?\s(?:[A-Z]\.[\s-]?){1,3}(?![A-Za-z])(?<!\s)|\s[A-Z]{1,3}(?![\w'’-]))"
_YEAR = r"(?P<year>(?:19|20)\d\d)[a-z]?\b"
_WHO = (
    rf"(?P<name>{_NAME})(?P<initials>{_INITIALS})?"
    rf"(?P<more>(?:,\s{_NAME}{_INITIALS}?){{0,8}}+,?\s(?:and|&)\s{_NAME}{_INITIALS}?"
    rf"|(?:,\s{_NAME}{_INITIALS}){{1,8}}+(?=,?\set\sal\b)|(?:,\s{_NAME}){{1,8}}+(?=,\set\sal\b))?"
    r"(?P<many>,?\s(?:et\sal\b\.?|(?:and|&)\s(?:(?:his|her|their)\s)?(?:colleagues|co-?workers|co-?authors)\b))?"
)
_GIVEN = rf"(?P<given>(?:(?:Dr|Prof|Professor)\.?\s)?(?:(?:{_NAME}|[A-Z]\.)\s){{0,2}})"
_AUTHOR_YEAR = (
    re.compile(
        rf"\b{_YEAR}\s(?:[a-z-]{{1,20}}\s){{0,4}}(?:study|trial|paper|article|review|report|analysis|meta-analysis|work)"
        rf"\s(?:led\s)?(?:by|from)\s{_GIVEN}{_WHO}"
    ),
    re.compile(rf"\b[Ii]n\s{_YEAR},?\s(?=\S{{1,40}}[\s,]){_WHO}"),
    re.compile(
        rf"\b{_WHO}\s(?:first\s|also\s)?(?:report|show|publish|describ|demonstrat|conclud|observ|not|suggest|f|wr)"
        rf"(?:ed|n|ound|ote)\s(?:this\s|it\s)?in\s{_YEAR}"
    ),
    re.compile(rf"\b{_WHO}(?:['’]s)?(?:[,\s]{{1,3}}[(\[]?|\(){_YEAR}"),
)
_STRONG = re.compile(r"et\sal|colleagues|co-?workers|co-?authors|&")
_NOT_NAMES = frozenset(
    "January February March April May June July August September October November December In Since By After "
    "Before Until During Spring Summer Autumn Winter Fall Early Late Mid The Boston London York Washington "
    "Accordingly Additionally Also And As Both But Consequently Conversely Finally First Furthermore Hence "
    "Here However Importantly Indeed Interestingly Later Lastly Likewise Meanwhile Moreover Nevertheless "
    "Notably Now Of On Overall Recently Second Similarly Still Subsequently Surprisingly Then Therefore Third "
    "Thus To Today Unlike War While Yesterday Yet A An At From See Per Following For Although Though When "
    "Where Whereas Because If With Dr Prof Professor Via Cf Compare".split()
)
_WORD_BEFORE = re.compile(r"(?<![\w.])([^\W\d_][\w'’.-]{0,30}+)\s$")

# --- numbered lists ---------------------------------------------------------------------------------------------
_LIST = re.compile(
    r"^[ \t#*_>\d.)]{0,12}(?:references(?: cited| list)?|reference list|bibliography|sources|literature(?: cited)?"
    r"|works cited|citations|end ?notes|notes)[ \t\r:.*_#]{0,8}$",
    re.IGNORECASE | re.MULTILINE,
)
_ITEM = re.compile(r"^[ \t>*-]{0,6}(?:\[\^?(\d{1,3})\][:.]?|(\d{1,3})[.)])[ \t]{1,8}(?=\S)", re.MULTILINE)
_CITED = re.compile(r"\[\^?\d{1,3}(?:\s?[,;–-]\s?\^?\d{1,3}){0,30}\]")
_NO_CITATION = re.compile(r"(?:\bCI|\bIQR|\b[Rr]ange|\binterval|[=:])[\s,:]{0,2}$")
_FIRST_AUTHOR = re.compile(
    rf"(?P<given>(?:[A-Z]\.[\s-]?){{0,3}}+)(?P<name>(?:(?:van|von|der?|den|del|la|le|di|da|dos)\s){{0,3}}{_NAME})"
    rf"(?P<initials>{_INITIALS})?",
)
_YEARS = re.compile(r"(?<![\d/.-])(?:19|20)\d\d(?![\d/-])")


@dataclass(slots=True)
class Reference:
    """A reference in the draft: document.text[start:end]. `status`: found, not-found or ambiguous.

    `stances`: (claim, stance) of the article where the sentence makes that claim; `disagrees`: one of them is
    not what the sentence says. `corrections`: kinds and citations of errata and the like. `initial`, `others`
    and `item`: what else the draft says of an author-year: the first author's initial, further authors, the
    words of the numbered list.
    """

    text: str
    start: int
    end: int
    kind: str
    value: str
    status: str = "not-found"
    article_id: str = ""
    citation: str = ""
    url: str = ""
    retracted: bool = False
    corrections: list[str] = field(default_factory=list)
    stances: list[tuple[str, str]] = field(default_factory=list)
    disagrees: bool = False
    note: str = ""
    initial: str = ""
    others: list[str] = field(default_factory=list)
    item: str = ""


def find_references(
    document: Document, judged: list[Judged], connection: sqlite3.Connection
) -> list[Reference]:
    """Every reference of the draft in order, resolved against the database. Nothing is looked up
    elsewhere."""
    found: list[Reference] = []
    spans: list[tuple[int, int]] = []  # in order, none over another

    def add(start: int, end: int, kind: str, value: str, initial: str = "", others: tuple[str, ...] = ()) -> None:
        if document.text[start:end].count("(") > document.text[start:end].count(")"):
            end += document.text[end : end + 1] == ")"  # "Feder and Charney (2021)"
        if _covered(spans, start, end):
            return
        insort(spans, (start, end))
        found.append(
            Reference(document.text[start:end], start, end, kind, value, initial=initial, others=list(others))
        )

    text = document.text
    for match in _PUBMED.finditer(text):
        add(*match.span(), "pmid", match.group(1))
    for match in _PMID.finditer(text):
        add(*match.span(), "pmid", match.group(1) or match.group(2))
        following = _NEXT_PMID.match(text, match.end())
        while following:
            add(*following.span(1), "pmid", following.group(1))
            following = _NEXT_PMID.match(text, following.end())
    for match in _DOI.finditer(text):
        doi = _trimmed(match.group())
        add(match.start(), match.start() + len(doi), "doi", doi.lower())
    for match in _PMCID.finditer(text):
        add(*match.span(), "pmcid", f"PMC{match.group(1)}")
    for start, end, address in document.links:
        address = unquote(address)
        pmid, doi, pmc = _PUBMED.search(address), _DOI.search(address), _PMCID.search(address)
        if pmid:
            add(start, end, "pmid", pmid.group(1))
        elif doi:
            add(start, end, "doi", doi.group().rstrip("/.").lower())
        elif pmc:
            add(start, end, "pmcid", pmc.group())
    for pattern in _AUTHOR_YEAR:
        for match in pattern.finditer(text):
            if named := _named(match, text):
                start, name, initial, others = named
                add(start, match.end(), "author-year", f"{name} {match['year']}", initial, others)
    found += islice((r for r in _numbered(document) if not _covered(spans, r.start, r.end)), MOST)
    references = sorted(found, key=lambda r: r.start)[:MOST]
    for reference in references:
        _resolve(reference, connection)
        if reference.status == "found":
            _compare(reference, judged, connection)
    # "Boston (2014)" is no reference: a name and a year that no article has count only with "et al."
    return [
        r
        for r in references
        if r.kind != "author-year" or r.status != "not-found" or r.item or _STRONG.search(r.text)
    ]


def _covered(spans: list[tuple[int, int]], start: int, end: int) -> bool:
    at = bisect_left(spans, (start, start))
    return (at < len(spans) and spans[at][0] < end) or bool(at and spans[at - 1][1] > start)


def _trimmed(doi: str) -> str:
    doi = doi.rstrip(".,;:)]}'’*_")
    return doi + ")" if doi.count("(") > doi.count(")") else doi


def _named(match: re.Match[str], text: str) -> tuple[int, str, str, tuple[str, ...]] | None:
    """(start, first author, initial, further authors) of an author-year; None where it names nobody."""
    start, groups = match.start(), match.groupdict()
    names = [groups["name"], *re.findall(_NAME, groups["more"] or "")]
    initial = (groups["initials"] or " ").strip(" ,")[:1]
    if "given" in groups:  # "a 2022 study by Dr. Chadi Abdallah"
        given = [w for w in (groups["given"] or "").split() if w.rstrip(".") not in _NOT_NAMES]
        initial = given[0][0] if given else initial
    elif text[start : start + 3].lower() == "in ":  # "In 2020 Australia did": more than a name is needed
        if not (groups["more"] or groups["many"]):
            return None
    else:
        before = _WORD_BEFORE.search(text, max(0, start - 40), start)
        word = before[1] if before else ""
        while len(names) > 1 and (names[0] in _NOT_NAMES or (len(names) > 2 and word.lower() in ("in", "at"))):
            start, word, initial = text.index(names[1], start + len(names[0])), "", ""
            names.pop(0)
        if word[:1].isupper() and word.rstrip(".") not in _NOT_NAMES and word != "According":
            initial = initial or word[0]  # "Adriana Feder (2021)", and not "Hong Kong (2021)"
    name = re.sub(r"['’]s$", "", names[0])
    weak = not (groups["more"] or groups["many"])
    if name in _NOT_NAMES or (weak and name.isupper()) or name in names[1:]:
        return None  # "May 2021", "FDA (2019)", "Johnson & Johnson, 2019"
    return start, name, initial, tuple(names[1:])


def _numbered(document: Document) -> Iterator[Reference]:
    """A reference for each number of "[2]" or "[1-3]" that the list at the end of the draft explains."""
    begin, items = _items(document)
    identities = {n: _identity(item) for n, item in items.items()}
    for match in _CITED.finditer(document.text, 0, begin):
        if _NO_CITATION.search(document.text, max(0, match.start() - 12), match.start()):
            continue  # "95% CI [2, 7]"
        numbers: list[int] = []
        for first, last in re.findall(r"(\d+)(?:\s?[–-]\s?\^?(\d+))?", match.group()):
            numbers += range(int(first), min(int(last or first) + 1, int(first) + _WIDEST))
        for n in dict.fromkeys(numbers):
            kind, value, initial = identities.get(n, ("", "", ""))
            if kind:
                yield Reference(match.group(), *match.span(), kind, value, initial=initial, item=items[n])


def _items(document: Document) -> tuple[int, dict[int, str]]:
    """Where the last list of references begins, and its items by number."""
    text = document.text
    for heading in list(_LIST.finditer(text))[:-4:-1]:
        items: dict[int, str] = {}
        starts = list(islice(_ITEM.finditer(text, heading.end()), 1000))
        for match, after in zip(starts, [*(m.start() for m in starts[1:]), len(text)], strict=False):
            words = text[match.end() : min(after, match.end() + 1500)]
            items.setdefault(int(match[1] or match[2]), " ".join(re.split(r"\r?\n\r?\n", words)[0].split()))
        if not items and document.kind in ("html", "docx"):  # their lists have no numbers in the text
            for number, block in enumerate((b for b in document.blocks if b.start > heading.start()), 1):
                words = " ".join(text[block.start : min(block.end, block.start + 1500)].split())
                if not _identity(words)[0]:
                    break
                items[number] = words
        if items:
            return heading.start(), items
    return 0, {}


def _identity(item: str) -> tuple[str, str, str]:
    """(kind, value, initial) of an item of a list; ("", "", "") where it names no article."""
    if pmid := _PUBMED.search(item) or _PMID.search(item):
        return "pmid", next(g for g in pmid.groups() if g), ""
    if doi := _DOI.search(item):
        return "doi", _trimmed(doi.group()).lower(), ""
    if pmcid := _PMCID.search(item):
        return "pmcid", pmcid.group(), ""
    author, years = _FIRST_AUTHOR.match(item), _YEARS.findall(item)
    if not author or not years or author["name"] in _NOT_NAMES:
        return "", "", ""
    given = author["given"] or (author["initials"] or "").strip(" ,")
    bracketed = re.search(r"\(((?:19|20)\d\d)[a-z]?[,)]", item)
    return "author-year", f"{author['name']} {bracketed[1] if bracketed else years[0]}", given[:1]


def _words(text: str) -> set[str]:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return set(re.findall(r"[^\W_]+", "".join(c for c in plain if not unicodedata.combining(c)).replace("'", "")))


def _fits(r: Reference, row: sqlite3.Row | tuple) -> str:
    """Why it is not certain that an article of this author and year is meant; "" where nothing speaks against
    it. A record that names one author alone may name the first of many: it tells nothing of the others.
    """
    authors = _words(row[1])
    missing = [o for o in r.others if not _words(o) <= authors] if "," in row[1] else []
    if missing:
        return f"{missing[0]} is not among its authors"
    if r.item:
        title = {w for w in _words(row[2]) if len(w) > 3}
        given = {w for w in _words(r.item) - authors - _words(row[3]) if len(w) > 3 and w.isalpha()}
        if title and len(given) >= 4 and len(title & given) * 2 < min(len(title), len(given)):
            return "its title is another"
    return ""


def _resolve(r: Reference, connection: sqlite3.Connection) -> None:
    columns = (
        "SELECT id, author_list, title, coalesce(journal, ''), year, retracted, coalesce(retraction_note, "
        "''), pmid, doi FROM articles "
    )
    if r.kind == "pmid":
        rows = connection.execute(columns + "WHERE pmid = ? OR id = ?", (r.value, r.value)).fetchall()
    elif r.kind == "doi":
        rows = connection.execute(columns + "WHERE doi = ? OR doi = ?", (r.value, r.value.upper())).fetchall()
    elif r.kind == "pmcid":
        rows = connection.execute(columns + "WHERE pmcid = ? OR pmcid = ?", (r.value, r.value[3:])).fetchall()
    else:
        name, year = r.value.rsplit(" ", 1)
        like = name.replace("’", "'").replace("%", "").replace("_", "")
        rows = connection.execute(
            columns + "WHERE year = ? AND (author_list LIKE ? OR author_list LIKE ?) LIMIT 50",
            (int(year), f"{like} {r.initial}%", f"{like},%"),
        ).fetchall()
    if not rows:
        r.note = "not in this database: check it at its source"
        r.citation = r.item[:157] + " …" if len(r.item) > 160 else r.item
        return
    doubt = ""
    if r.kind == "author-year":
        reasons = [_fits(r, row) for row in rows]
        fitting = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
        doubt = "" if fitting else reasons[0]
        rows = fitting or rows
    if len(rows) > 1:
        r.status = "ambiguous"
        r.note = f"{len(rows)} articles of this name and year are in this database: give the PMID"
        return
    row = rows[0]
    first = row[1].split(",")[0].strip()
    names = f"{first} et al" if "," in row[1] else first
    r.citation = (
        ". ".join(p.strip(" .") for p in (names, row[2], row[3], str(row[4] or "")) if p and p.strip(" ."))
        + "."
    )
    if doubt:
        r.status = "ambiguous"
        r.note = f"it is not certain that this article is meant: {doubt}; give the PMID"
        return
    r.status, r.article_id, r.retracted = "found", row[0], bool(row[5])
    r.url = (
        f"https://pubmed.ncbi.nlm.nih.gov/{row[7]}/"
        if row[7]
        else f"https://doi.org/{row[8]}"
        if row[8]
        else ""
    )
    if r.retracted:
        r.note = "this article has been retracted" + (f": {row[6]}" if row[6] else "")
    for kind, citation in connection.execute(
        "SELECT kind, coalesce(citation, note, '') FROM corrections WHERE article_id = ? ORDER BY id",
        (r.article_id,),
    ):
        r.corrections.append(f"{kind}: {citation}".strip(": "))


def _compare(r: Reference, judged: list[Judged], connection: sqlite3.Connection) -> None:
    """Whether the article says what the sentence that cites it says."""
    near = [j for j in judged if j.statement.start <= r.start < j.statement.end + 3]
    if not near:
        return
    tags = dict(connection.execute("SELECT claim_id, stance FROM tags WHERE article_id = ?", (r.article_id,)))
    for claim in (c for j in near for c in j.claims):
        stance = tags.get(claim.made.claim)
        if stance is None:
            continue
        r.stances.append((claim.made.claim, stance))
        wrong = {"claim": "contradicts", "denial": "supports"}.get(claim.made.asserts)
        if stance == wrong:
            r.disagrees = True
            r.note = (r.note + "; " if r.note else "") + (
                f"it does not say what the sentence says: on {claim.made.claim} its own result {stance}"
            )
