"""PubMed XML -> records: a stream of `Article`, `Deleted` and `Quarantined`.

The stream is cut into citations on its bytes, and each citation is parsed by itself.
Memory stays constant, a malformed citation costs only itself, and no DOCTYPE or entity
of the file ever reaches the parser. Paths are exact children throughout: a citation's
reference list holds other papers' PMIDs and DOIs, which a descendant search would take
for its own. Nothing is validated against a DTD (each year brings a new one): elements
that this reader does not know are counted in `PubmedXML.unknown`.
"""

from __future__ import annotations

import codecs
import queue
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from functools import lru_cache
from typing import Any, TypeVar

from lxml import etree

from harvest.record import (
    Article,
    Author,
    Correction,
    Deleted,
    Grant,
    MeshHeading,
    OtherAbstract,
    Quarantined,
    Section,
)

Record = Article | Deleted | Quarantined
T = TypeVar("T")

ROOTS = {b"PubmedArticleSet", b"PubmedBookArticleSet"}
HEAD_LIMIT = 64 * 1024  # bytes in which the root element must have begun
CITATION_LIMIT = 32 * 1024 * 1024  # bytes of one citation; the longest in PubMed are under 5 MB
_GROUP = 40  # citations handed to the parser at once


class NotPubmedXML(ValueError):
    """The stream is no PubMed XML, or holds what must not be read. The text says what."""


class Truncated(ValueError):
    """The stream ends before its root element does: some of it is missing."""


# ---------------------------------------------------------------- the stream

_PROLOG = re.compile(
    rb"\s+|<\?.*?\?>|<!--.*?-->|(?P<doctype><!DOCTYPE[^>\[]*(?P<subset>\[)?[^>]*>)"
    rb"|(?P<root><([A-Za-z_][\w.:-]*)((?:\s[^<>]*)?)(/?)>)",
    re.S,
)
_ENCODING = re.compile(rb"""^<\?xml[^>]*?encoding\s*=\s*["']([\w.-]+)["']""")
_MARK = re.compile(
    rb"<!--|<(?P<name>PubmedArticle|PubmedBookArticle|DeleteCitation|DeleteDocument)(?P<empty>\s*/)?[\s>]"
    rb"|(?P<close></Pubmed(?:Book)?ArticleSet\s*>)"
)
_WRAP = b'<set xmlns:mml="http://www.w3.org/1998/Math/MathML" xmlns:xlink="http://www.w3.org/1999/xlink">'
_PMID_IN_RAW = re.compile(rb"<PMID[^>]*>\s*(\d+)\s*</PMID>")
_END_ARTICLE, _END_BOOK = b"</PubmedArticle>", b"</PubmedBookArticle>"


class PubmedXML:
    """Iterate once over the records of a PubMed XML document.

    `chunks` are its bytes in order. `keep`, if given, sees a citation's raw bytes before any
    parsing and says whether to read it; `scan` does the same for many citations at once
    (see `harvest.files.TopicFilter`). Raises NotPubmedXML or Truncated.
    """

    def __init__(
        self,
        chunks: Iterable[bytes],
        *,
        source: str = "pubmed",
        scan: Callable[[bytes], list[tuple[int, int]]] | None = None,
        ahead: bool = False,
    ) -> None:
        self.source = source
        self.scan = scan
        self.ahead = ahead
        self.unknown: Counter[str] = Counter()  # elements this reader has no place for
        self.seen = 0  # citations in the stream, kept or not
        self.doctype = ""
        self._chunks = iter(chunks)
        self._wrap = b""
        self._single = False
        self._closed = False

    def __iter__(self) -> Iterator[Record]:
        groups = self._groups()
        for kind, raws, root in in_thread(groups, 6) if self.ahead else groups:
            if kind == "citation":
                yield from self._read_group(raws, root)
            elif kind == "deleted":
                yield from self._deletions(raws[0])
            else:
                yield quarantine(raws[0], "the citation is cut off or stands outside its element")

    def _groups(self) -> Iterator[tuple[str, list[bytes], etree._Element | None]]:
        """Pieces of the stream, citations several at a time and parsed, if they can be parsed together."""
        group: list[bytes] = []
        for kind, raw in self._pieces():
            if kind == "citation":
                group.append(raw)
                if len(group) < _GROUP:
                    continue
            if group:
                yield "citation", group, self._parse(group)
                group = []
            if kind != "citation":
                yield kind, [raw], None
        if group:
            yield "citation", group, self._parse(group)

    # -- cutting

    def _head(self) -> bytes:
        """Read up to the end of the root's start tag; gives what follows it."""
        buffer = b""
        for chunk in self._chunks:
            buffer += chunk
            if len(buffer) >= 4096:
                break
        bom, encoding = _encoding(buffer)
        if encoding != "utf-8":
            self._chunks = _recode(self._chunks, buffer[bom:], encoding)
            buffer = next(self._chunks, b"")
        else:
            buffer = buffer[bom:]
        start = buffer.lstrip()[:256].lower()
        if not start:
            raise NotPubmedXML("it is empty")
        if start.startswith((b"<!doctype html", b"<html")):
            raise NotPubmedXML("it is an HTML page, not PubMed XML")
        if not start.startswith(b"<"):
            raise NotPubmedXML("it is not XML")
        position = 0
        while True:
            found = _PROLOG.match(buffer, position)
            if found is None or found.end() == len(buffer):
                more = next(self._chunks, b"")
                if more and len(buffer) < HEAD_LIMIT:
                    buffer += more
                    continue
                if found is None:
                    raise NotPubmedXML("it is not well-formed XML before its first citation")
            if found["subset"]:
                raise NotPubmedXML("its DOCTYPE declares entities of its own, which PubMed's never does; refused")
            if found["doctype"]:
                self.doctype = found["doctype"].decode("utf-8", "replace")
                if b"html" in found["doctype"][:20].lower():
                    raise NotPubmedXML("it is an HTML page, not PubMed XML")
            position = found.end()
            if found["root"]:
                break
            if position >= len(buffer):
                raise NotPubmedXML("it has no root element")
        name, attributes, empty = found[4], found[5], found[6]
        if name in (b"PubmedArticle", b"PubmedBookArticle"):  # one citation saved by itself
            self._single, self._wrap = True, _WRAP
            return buffer[found.start() :]
        if name not in ROOTS:
            shown = name.decode("ascii", "replace")
            hint = " (an HTML page)" if shown.lower() == "html" else ""
            raise NotPubmedXML(f"its root element is <{shown}>{hint}, not <PubmedArticleSet>")
        # Real files declare MathML where they use it; some that were re-written declare it on the root.
        declared = b"".join(re.findall(rb"\s+xmlns:(?!mml|xlink)\w+\s*=\s*(?:\"[^\"]*\"|'[^']*')", attributes))
        self._wrap = _WRAP[:-1] + declared + b">"
        self._closed = bool(empty)
        return buffer[position:]

    def _pieces(self) -> Iterator[tuple[str, bytes]]:
        tail = self._head()
        for chunk in self._chunks:
            if self._closed:
                break
            tail += chunk
            if self.scan is None:
                tail = yield from self._cut(tail)
            else:
                tail = yield from self._sift(tail)
            if len(tail) > CITATION_LIMIT:
                raise NotPubmedXML(f"no citation ends within {CITATION_LIMIT >> 20} MB: it is no PubMed file")
        if not self._closed:
            if self.scan is not None:
                tail = yield from self._sift(tail)
            tail = yield from self._cut(tail)
        if not self._closed:
            raise Truncated(f"it ends in mid-document, after {self.seen:,} whole citations")

    def _cut(self, buffer: bytes) -> Iterator[tuple[str, bytes]]:
        """Yield every whole piece of `buffer`; returns the rest, to be continued."""
        position = 0
        while not self._closed:
            mark = _MARK.search(buffer, position)
            if mark is None:
                # A mark may be cut by the end of the buffer; the longest is 22 bytes.
                return buffer[max(position, len(buffer) - 32) :]
            if buffer[position : mark.start()].strip():
                yield from self._stray(buffer[position : mark.start()])
            if mark["close"]:
                self._closed = True
                return b""
            start, name = mark.start(), mark["name"]
            ending = b"-->" if name is None else b"</" + name + b">"
            if mark["empty"]:
                end = buffer.find(b">", start) + 1
            else:
                end = buffer.find(ending, mark.end() - 1)
                end = end + len(ending) if end >= 0 else 0
            if name in (b"PubmedArticle", b"PubmedBookArticle"):
                # An element that is never closed must not swallow its neighbour.
                close = _neighbour(buffer, mark.end() - 1, end or len(buffer))
                if close is not None:
                    self.seen += 1
                    yield "bad", buffer[start:close]
                    position = close
                    continue
                if not end:
                    return buffer[start:]
                self.seen += 1
                yield "citation", buffer[start:end]
                if self._single:
                    self._closed = True
                    return b""
            elif not end:
                return buffer[start:]
            elif name is not None:
                yield "deleted", buffer[start:end]
            position = end
        return b""

    def _sift(self, buffer: bytes) -> Iterator[tuple[str, bytes]]:
        """As `_cut`, but only the citations that `scan` picks out are cut at all."""
        # Each look through the bytes costs as much as a tenth of the unzipping: books, which NLM's files do not
        # hold, are looked for once.
        books = b"<PubmedBookArticle" in buffer
        last = buffer.rfind(_END_ARTICLE)
        last = last + len(_END_ARTICLE) if last >= 0 else 0
        if books:
            last = max(last, buffer.rfind(_END_BOOK) + len(_END_BOOK)) if _END_BOOK in buffer else last
        if not last:
            return buffer
        whole = buffer[:last]
        self.seen += whole.count(_END_ARTICLE) + (whole.count(_END_BOOK) if books else 0)
        for start, end in self.scan(whole):
            yield "citation", whole[start:end]
        return buffer[last:]

    def _stray(self, raw: bytes) -> Iterator[tuple[str, bytes]]:
        """What stands between citations: other elements are counted, loose text is set aside."""
        names = re.findall(rb"<([A-Za-z][\w:.-]*)", raw)
        if b"PMID" in names or b"MedlineCitation" in names or not names:
            yield "bad", raw.strip()
        elif names:
            self.unknown[names[0].decode("ascii", "replace")] += 1

    # -- parsing

    def _parse(self, group: list[bytes]) -> etree._Element | None:
        try:
            return etree.fromstring(self._wrap + b"".join(map(_without_references, group)) + b"</set>", _parser())
        except etree.XMLSyntaxError:
            return None

    def _read_group(self, group: list[bytes], root: etree._Element | None) -> Iterator[Record]:
        if root is not None and len(root) == len(group):
            for element, raw in zip(root, group, strict=True):
                yield self._read(element, raw)
            return
        for raw in group:  # one of them is broken: each by itself, then
            try:
                root = etree.fromstring(self._wrap + _without_references(raw) + b"</set>", _parser())
            except etree.XMLSyntaxError as error:
                yield quarantine(raw, f"not well-formed XML: {error.msg}")
                continue
            yield self._read(root[0], raw)

    def _read(self, element: etree._Element, raw: bytes) -> Record:
        try:
            if element.tag == "PubmedBookArticle":
                return read_book(element, self.source, self.unknown)
            return read_article(element, self.source, self.unknown)
        except Unreadable as error:
            return quarantine(raw, str(error))

    def _deletions(self, raw: bytes) -> Iterator[Record]:
        try:
            root = etree.fromstring(self._wrap + raw + b"</set>", _parser())[0]
        except etree.XMLSyntaxError as error:
            yield quarantine(raw, f"DeleteCitation is not well-formed XML: {error.msg}")
            return
        for element in root.iter("PMID"):
            pmid = (element.text or "").strip()
            if PMID.fullmatch(pmid):
                yield Deleted(pmid.lstrip("0"))
            else:
                yield Quarantined("", f"DeleteCitation names {pmid[:40]!r}, which is no PMID", raw)


def in_thread(items: Iterator[T], depth: int) -> Iterator[T]:
    """`items`, made by a thread that is at most `depth` of them ahead. Its errors are raised here."""
    results: queue.Queue[tuple[bool, Any]] = queue.Queue(depth)
    stop = threading.Event()

    def put(result: tuple[bool, Any]) -> bool:
        while not stop.is_set():
            try:
                results.put(result, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:
            put((False, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            more, item = results.get()
            if not more:
                if item is not None:
                    raise item
                return
            yield item
    finally:
        stop.set()
        thread.join()


def _encoding(buffer: bytes) -> tuple[int, str]:
    """The length of the byte-order mark and the name of the encoding."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if buffer.startswith(mark):
            return len(mark), name
    declared = _ENCODING.match(buffer.lstrip())
    name = declared[1].decode("ascii").lower() if declared else "utf-8"
    if name in {"utf-8", "utf8", "us-ascii", "ascii"}:
        return 0, "utf-8"
    try:
        codecs.lookup(name)
    except LookupError:
        raise NotPubmedXML(f"its encoding {name!r} is not known") from None
    return 0, name


def _recode(chunks: Iterator[bytes], first: bytes, encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        yield decoder.decode(first).encode()
        for chunk in chunks:
            yield decoder.decode(chunk).encode()
        yield decoder.decode(b"", True).encode()
    except UnicodeError as error:
        raise NotPubmedXML(f"it is not the {encoding} that it says it is ({error})") from None


def _neighbour(buffer: bytes, start: int, end: int) -> int | None:
    """Where, between `start` and `end`, another citation or the end of the set begins."""
    where = [
        at
        for opening in (b"<PubmedArticle>", b"<PubmedBookArticle>", b"</PubmedArticleSet", b"</PubmedBookArticleSet")
        if (at := buffer.find(opening, start, end)) >= 0
    ]
    return min(where) if where else None


def _without_references(raw: bytes) -> bytes:
    """A citation without its reference list: other papers, a third of the bytes, none of our business."""
    start = raw.find(b"<ReferenceList>")
    end = raw.rfind(b"</ReferenceList>")
    return raw[:start] + raw[end + 16 :] if 0 <= start < end else raw


def _parser() -> etree.XMLParser:
    # libxml2's own limits on depth and text length stay on (huge_tree=False).
    return etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
        remove_blank_text=False,
        collect_ids=False,
    )


def quarantine(raw: bytes, reason: str) -> Quarantined:
    """Set a citation aside with its reason, under its PMID if one can be made out."""
    found = _PMID_IN_RAW.search(raw)
    return Quarantined(found[1].decode() if found else "", reason, raw)


# ---------------------------------------------------------------- text

_SUPERSCRIPT = str.maketrans("0123456789+-−–=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻⁼⁽⁾ⁿⁱ")
_RAISED = re.compile(r"[0-9+\-−–=()ni]+")
_PLAIN_SUPERSCRIPT = re.compile(r"\d?[+\-−–]|[+\-−–]/[+\-−–]|st|nd|rd|th|[®™©°*†‡]+", re.I)  # Ca2+, knockout -/-, 5th
_SPACE = re.compile(r"\s+")
_MATHML = "{http://www.w3.org/1998/Math/MathML}"


def text_of(element: etree._Element | None) -> str:
    """The text of mixed content on one line, with sub- and superscripts kept readable.

    m<sup>2</sup> gives m², 10<sup>-3</sup> 10⁻³; charges and genotypes stay plain (Ca2+, -/-); other raised
    text gets a caret. H<sub>2</sub>O gives H2O and C<sub>max</sub> Cmax, as people type and search them;
    a capital below a letter gets an underscore (GABA<sub>A</sub> gives GABA_A).
    """
    if element is None:
        return ""
    text = _flat(element) if len(element) else element.text or ""
    if not text.isascii() or "  " in text or "\n" in text or "\t" in text:
        return _SPACE.sub(" ", text).strip()  # thin and no-break spaces too: words must be found
    return text.strip()


def _flat(element: etree._Element) -> str:
    parts = [element.text or ""]
    for child in element:
        tag = child.tag
        if not isinstance(tag, str):  # an unresolved entity: keep its name readable
            parts.append(child.text or "")
        elif tag == "sup":
            parts.append(_raised(_flat(child), parts))
        elif tag == "sub":
            parts.append(_lowered(_flat(child), parts))
        elif tag.startswith(_MATHML) or tag == "math":
            parts.append(_math(child))
        elif tag == "DispFormula":
            parts.append(" " + _flat(child) + " ")
        else:  # b, i, u and whatever comes: its text counts
            parts.append(_flat(child))
        parts.append(child.tail or "")
    return "".join(parts)


def _raised(text: str, before: list[str]) -> str:
    bare = text.strip()
    if (
        not bare
        or _PLAIN_SUPERSCRIPT.fullmatch(bare)
        and not (_ends_in_digit(before) and bare[0] in "+-−–0123456789")
    ):
        return text
    if _RAISED.fullmatch(bare):
        return text.replace(bare, bare.translate(_SUPERSCRIPT))
    return "^" + text if "".join(before).strip() else text


def _lowered(text: str, before: list[str]) -> str:
    previous = "".join(before)[-1:]
    return "_" + text if previous.isalpha() and text[:1].isupper() else text


def _ends_in_digit(before: list[str]) -> bool:
    return "".join(before)[-1:].isdigit()


def _math(element: etree._Element) -> str:
    """MathML on one line: x², a/b, √(x); whatever has no such form gives its plain text."""
    tag = element.tag.rpartition("}")[2]
    children = [child for child in element if isinstance(child.tag, str)]
    inner = [_math(child) for child in children]
    if tag in ("annotation", "annotation-xml"):
        return ""  # the same formula again, in another notation
    if not children:
        return (element.text or "").strip()
    if tag == "msup" and len(inner) == 2:
        return inner[0] + (_raised(inner[1], [inner[0]]) if _RAISED.fullmatch(inner[1]) else "^" + _group(inner[1]))
    if tag == "msub" and len(inner) == 2:
        return inner[0] + _under(inner[1])
    if tag in ("msubsup", "munderover") and len(inner) == 3:
        raised = _raised(inner[2], [inner[0]]) if _RAISED.fullmatch(inner[2]) else "^" + _group(inner[2])
        return inner[0] + _under(inner[1]) + raised
    if tag == "mfrac" and len(inner) == 2:
        return f"{_group(inner[0])}/{_group(inner[1])}"
    if tag == "msqrt":
        return "√" + _group("".join(inner))
    if tag == "mfenced":
        return element.get("open", "(") + ", ".join(inner) + element.get("close", ")")
    separator = " " if tag in ("mtr", "mtable", "matrix", "matrixrow") else ""
    return separator.join(part for part in inner if part)


def _under(text: str) -> str:
    return text if text.isdigit() else "_" + _group(text) if text else ""


def _group(text: str) -> str:
    return text if len(text) <= 1 or text.isalnum() else f"({text})"


# ---------------------------------------------------------------- single values

PMID = re.compile(r"0*[1-9]\d{0,11}")
_DOI = re.compile(r"10\.\d{4,9}/\S+")
_DOI_PREFIX = re.compile(r"^(?:https?://(?:dx\.)?doi\.org/|doi:\s*)", re.I)
_PMCID = re.compile(r"PMC\d+")
_ORCID = re.compile(r"(\d{4})-?(\d{4})-?(\d{4})-?(\d{3}[\dXx])$")
_NCT = re.compile(r"\bNCT\s?0?(\d{8})\b")
_REGISTERED = re.compile(
    r"\b(?:NCT\d{8}|ISRCTN\d{8}|ACTRN\d{14}|DRKS\d{8}|ChiCTR[-\w]*\d+|UMIN\d{9}|NTR\d+|NL\d{4,6}|IRCT\w+"
    r"|CTRI/\d{4}/\d+/\d+|PACTR\d+|RBR-\w+|KCT\d+|SLCTR/\d{4}/\d+|TCTR\d+|JPRN-\w+|jRCT\w+|JapicCTI-\d+|RPCEC\d+"
    r"|PER-\d+-\d+|\d{4}-\d{6}-\d{2})\b"
)
_MONTHS = {
    name: number for number, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), start=1)
}
_MEDLINE_DATE = re.compile(r"^\s*(\d{4})(?:\s+([A-Za-z]{3})[a-z]*\.?(?:\s+(\d{1,2}))?)?\s*(.*)$")
# Grammatical case and wording change between years, the identifiers do not (eutils: "match UIs, not words").
RETRACTED_UI = "D016441"
NOTICE_TYPES = frozenset(("Retraction of Publication", "Retraction Notice"))  # D016440 before and after 2025
# Publishers say it in the title before PubMed says it in the publication type; so do reprints of the abstract.
_RETRACTED_TITLE = re.compile(
    r"\s*(?:\[\s*retract(?:ed|ion)(?: article| notice)?\s*\]"
    r"|\[?\s*(?:retracted(?: article| paper)?|(?:notice of )?retraction|retraction (?:notice|note|statement))"
    r"(?: (?:to|of|for))?\s*:|\[?retraction (?:notice|note) (?:to|of|for)\b)",
    re.I,
)


@lru_cache(maxsize=50_000)  # the same few thousand days come again and again
def iso_date(year: str, month: str = "", day: str = "") -> str:
    """ISO 8601 as precise as the parts allow: "2014", "2014-06", "2014-06-03", or ""."""
    year = (year or "").strip()
    if not (len(year) == 4 and year.isdigit() and year >= "1500"):
        return ""
    month = (month or "").strip().lower()
    number = int(month) if month.isdigit() else _MONTHS.get(month[:3], 0)
    if not 1 <= number <= 12:
        return year
    day = (day or "").strip()
    if day.isdigit():
        try:
            return date(int(year), number, int(day)).isoformat()
        except ValueError:
            pass
    return f"{year}-{number:02}"


def medline_date(text: str) -> str:
    """The start of a MedlineDate as far as it is certain.

    "2008 Mar 15" gives 2008-03-15, "2007 Jan 1-15" 2007-01, "1978 Jul-Aug" 1978, "1998 Dec-1999 Jan" 1998:
    a range gives what its two ends have in common, across years the leading year as NCBI sorts it.
    """
    found = _MEDLINE_DATE.match(text or "")
    if not found:
        anywhere = re.search(r"\b(1[5-9]\d\d|20\d\d)\b", text or "")
        return anywhere[1] if anywhere else ""
    year, month, day, rest = found.groups()
    if not rest:
        return iso_date(year, month or "", day or "")
    if month and day and re.match(r"^[-–/]\s*\d{1,2}$", rest):
        return iso_date(year, month)
    return iso_date(year)


def _date(element: etree._Element | None) -> str:
    """An element with Year, Month and Day, or PubDate's MedlineDate or Season."""
    if element is None:
        return ""
    year = month = day = ""
    for child in element:
        tag = child.tag
        if tag == "Year":
            year = child.text or ""
        elif tag == "Month":
            month = child.text or ""
        elif tag == "Day":
            day = child.text or ""
        elif tag == "MedlineDate":
            return medline_date(child.text or "")
    return iso_date(year, month, day)


def _verbatim(element: etree._Element | None) -> str:
    return " ".join((child.text or "").strip() for child in element) if element is not None else ""


def clean_doi(text: str | None) -> str | None:
    """A DOI without prefix, or None if it is none."""
    doi = _DOI_PREFIX.sub("", (text or "").strip())
    return doi if _DOI.fullmatch(doi) else None


def clean_orcid(text: str | None) -> str:
    """An ORCID iD as 0000-0002-1825-0097, or "" if its check digit (ISO 7064, MOD 11-2) is wrong."""
    found = _ORCID.search((text or "").strip().rstrip("/"))
    if not found:
        return ""
    digits = "".join(found.groups()).upper()
    total = 0
    for digit in digits[:15]:
        total = (total + int(digit)) * 2
    check = (12 - total % 11) % 11
    return "-".join(found.groups()).upper() if digits[15] == "0123456789X"[check] else ""


# ---------------------------------------------------------------- a citation


class Unreadable(ValueError):
    """A well-formed element that is not a citation. The text says what it lacks."""


# Elements without a place in the record: known, and left out on purpose.
_LEFT_OUT = frozenset(
    "DateCompleted CitationSubset CommentsCorrections GeneralNote NumberOfReferences SpaceFlightMission "
    "PersonalNameSubjectList GeneSymbolList OtherID PublicationStatus ObjectList Owner "
    "CopyrightInformation NlmUniqueID ISSNLinking ReferenceList".split()
)


def read_article(element: etree._Element, source: str, unknown: Counter[str]) -> Article:
    """A PubmedArticle element as an Article. Raises Unreadable."""
    citation = data = None
    for child in element:
        if child.tag == "MedlineCitation":
            citation = child
        elif child.tag == "PubmedData":
            data = child
        else:
            unknown[str(child.tag)] += 1
    if citation is None:
        raise Unreadable("it has no MedlineCitation")
    record = Article(id="", title="", source=source)
    record.status = citation.get("Status", "")
    supplement = None
    for child in citation:
        tag = child.tag
        reader = _CITATION.get(tag)
        if reader is not None:
            reader(record, child, unknown)
        elif tag == "KeywordList":
            _keywords(record, child)
        elif tag == "MedlineJournalInfo":
            supplement = child
        elif tag == "OtherID":
            if child.get("Source") == "NLM" and record.pmcid is None:
                found = _PMCID.match((child.text or "").strip())
                record.pmcid = found[0] if found else None
        elif tag not in _LEFT_OUT:
            unknown[str(tag)] += 1
    if supplement is not None and not record.journal:
        record.journal = (supplement.findtext("MedlineTA") or "").strip()
    if data is not None:
        _pubmed_data(record, data, unknown)
    _complete(record)
    return record


def _complete(record: Article) -> None:
    """Settle what depends on several elements."""
    if record.pmid:
        record.id = record.pmid
    elif record.pmcid:
        record.id = record.pmcid
    elif record.doi:
        record.id = "doi:" + record.doi
    else:
        raise Unreadable("it has no PMID, PMCID or DOI")
    if not record.title or record.title.strip("[]. ").lower() == "not available":
        record.title = record.vernacular_title or record.title
    if not record.sections:
        record.abstract_origin = "none"
    if not record.published:
        record.published = record.published_online
    if record.published:
        record.year = int(record.published[:4])
    kinds = {c.kind for c in record.corrections}
    # A notice is not the retracted paper; its type ("other") keeps it from being counted.
    notice = "RetractionOf" in kinds or not NOTICE_TYPES.isdisjoint(record.publication_types)
    if "RetractionIn" in kinds or (not notice and _RETRACTED_TITLE.match(record.title)):
        record.retracted = True
    for section in record.sections:
        if "NCT" in section.text:
            for digits in _NCT.findall(section.text):
                if "NCT" + digits not in record.trials:
                    record.trials.append("NCT" + digits)


def _pmid(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    if record.pmid is not None:
        return
    text = (element.text or "").strip()
    if not PMID.fullmatch(text):
        raise Unreadable(f"its PMID {text[:40]!r} is no PMID")
    record.pmid = text.lstrip("0")
    version = element.get("Version") or "1"
    record.version = int(version) if version.isdigit() else 1


def _revised(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    record.revised = _date(element)


def _created(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    record.created = _date(element)


def _article(record: Article, article: etree._Element, unknown: Counter[str]) -> None:
    for child in article:
        tag = child.tag
        reader = _ARTICLE.get(tag)
        if reader is not None:
            reader(record, child, unknown)
        elif tag == "ELocationID":
            if child.get("EIdType") == "doi" and child.get("ValidYN") != "N" and record.doi is None:
                record.doi = clean_doi(child.text)
        elif tag not in _LEFT_OUT:
            unknown[str(tag)] += 1


def _journal(record: Article, journal: etree._Element, unknown: Counter[str]) -> None:
    for child in journal:
        tag = child.tag
        if tag == "JournalIssue":
            for part in child:
                if part.tag == "PubDate":
                    record.published = _date(part)
                    record.published_verbatim = _verbatim(part)
                elif part.tag == "Volume":
                    record.volume = (part.text or "").strip()
                elif part.tag == "Issue":
                    record.issue = (part.text or "").strip()
                else:
                    unknown[str(part.tag)] += 1
        elif tag == "Title":
            record.journal = text_of(child)
        elif tag == "ISOAbbreviation":
            record.journal_abbreviation = (child.text or "").strip()
        elif tag == "ISSN":
            record.issn = (child.text or "").strip()
        else:
            unknown[str(tag)] += 1


def _title(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    record.title = text_of(element)


def _vernacular(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    record.vernacular_title = text_of(element)


def _pages(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    start = end = ""
    for child in element:
        if child.tag == "MedlinePgn":
            record.pages = (child.text or "").strip()
        elif child.tag == "StartPage":
            start = (child.text or "").strip()
        elif child.tag == "EndPage":
            end = (child.text or "").strip()
    if not record.pages:
        record.pages = f"{start}-{end}" if start and end and start != end else start


def _sections(element: etree._Element, unknown: Counter[str]) -> tuple[list[Section], str]:
    sections, notice = [], ""
    for child in element:
        if child.tag == "AbstractText":
            text = text_of(child)
            if text:
                label = (child.get("Label") or "").strip()
                category = child.get("NlmCategory") or ""
                sections.append(Section(text, "" if label.upper() == "UNLABELLED" else label, category))
        elif child.tag == "CopyrightInformation":
            notice = text_of(child)
        else:
            unknown[str(child.tag)] += 1
    return sections, notice


def _abstract(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    record.sections, record.copyright = _sections(element, unknown)
    if not record.sections and not len(element):  # text straight inside Abstract, in hand-made files
        text = text_of(element)
        record.sections = [Section(text)] if text else []


def _other_abstract(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    sections, _ = _sections(element, unknown)
    if sections:
        text = "\n".join(f"{s.label}: {s.text}" if s.label else s.text for s in sections)
        record.other_abstracts.append(OtherAbstract(text, element.get("Language", ""), element.get("Type", "")))


def _authors(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    role = "editor" if element.get("Type") == "editors" else "author"
    _people(record.authors, element, role, "Author", unknown)


def _investigators(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    _people(record.authors, element, "investigator", "Investigator", unknown)


def _people(into: list[Author], group: etree._Element, role: str, name: str, unknown: Counter[str]) -> None:
    for person in group:
        if person.tag != name:
            unknown[str(person.tag)] += 1
            continue
        if person.get("ValidYN") == "N":
            continue  # a misspelling that NLM keeps for searching, beside the right one
        author = Author(role=role)
        for child in person:
            tag = child.tag
            if tag == "LastName":  # these three are plain text in every DTD
                author.last = (child.text or "").strip()
            elif tag == "ForeName":
                author.fore = (child.text or "").strip()
            elif tag == "Initials":
                author.initials = (child.text or "").strip()
            elif tag == "AffiliationInfo":
                for part in child:
                    if part.tag == "Affiliation":
                        author.affiliations.append(text_of(part))
            elif tag == "Suffix":
                author.suffix = text_of(child)
            elif tag == "CollectiveName":
                author.collective = text_of(child)
            elif tag == "Identifier":
                if child.get("Source") == "ORCID" and not author.orcid:
                    author.orcid = clean_orcid(child.text)
            elif tag == "Affiliation":  # before 2015
                author.affiliations.append(text_of(child))
            else:
                unknown[str(tag)] += 1
        if author.last or author.fore or author.collective:
            into.append(author)


def _language(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    # Several languages: the first is the one the paper is mainly in.
    record.language = record.language or (element.text or "").strip()


def _publication_types(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    for child in element:
        _publication_type(record, child, unknown)


def _publication_type(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    text = (element.text or "").strip()
    if text:
        record.publication_types.append(text)
    # Files older than 2014 carry no identifier; there only the exact words mark the retracted paper.
    if element.get("UI") == RETRACTED_UI or (not element.get("UI") and text == "Retracted Publication"):
        record.retracted = True


def _article_date(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    record.published_online = record.published_online or _date(element)


def _grants(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    for child in element:
        grant = Grant()
        for part in child:
            text = (part.text or "").strip()
            if part.tag == "GrantID":
                grant.number = text
            elif part.tag == "Agency":
                grant.agency = text
            elif part.tag == "Country":
                grant.country = text
            elif part.tag == "Acronym":
                grant.acronym = text
            else:
                unknown[str(part.tag)] += 1
        if grant not in record.grants:
            record.grants.append(grant)


def _databanks(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    for bank in element:
        numbers = bank.find("AccessionNumberList")
        for number in numbers if numbers is not None else ():
            text = (number.text or "").strip()
            found = _REGISTERED.search(text)
            if found and found[0] not in record.trials:
                record.trials.append(found[0])


def _chemicals(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    for child in element:
        name = ui = registry = ""
        for part in child:
            if part.tag == "NameOfSubstance":
                name, ui = (part.text or "").strip(), part.get("UI", "")
            elif part.tag == "RegistryNumber":
                registry = (part.text or "").strip()
        if name:
            record.substances.append((name, registry if registry not in ("", "0") else ui))


def _mesh(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    for child in element:
        heading = None
        for part in child:
            tag = part.tag
            if tag == "DescriptorName":
                get = part.get
                heading = MeshHeading((part.text or "").strip(), get("UI", ""), get("MajorTopicYN") == "Y")
            elif tag == "QualifierName" and heading is not None:
                get = part.get
                major = get("MajorTopicYN") == "Y"
                heading.qualifiers.append(((part.text or "").strip(), get("UI", ""), major))
                if major:
                    heading.major = True
            else:
                unknown[str(tag)] += 1
        if heading is not None and heading.descriptor:
            record.mesh.append(heading)


def _supplementary(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    for child in element:
        text = (child.text or "").strip()
        if text:
            record.supplementary_concepts.append((text, child.get("UI", ""), child.get("Type", "")))


def _keywords(record: Article, element: etree._Element) -> None:
    for child in element:
        text = text_of(child)
        if text and text not in record.keywords:
            record.keywords.append(text)


def _coi(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    record.conflict_of_interest = text_of(element)


def _corrections(record: Article, element: etree._Element, unknown: Counter[str]) -> None:
    for child in element:
        kind = child.get("RefType", "")
        if kind == "Cites":  # an old form of the reference list
            continue
        correction = Correction(kind)
        for part in child:
            text = text_of(part)
            if part.tag == "RefSource":
                correction.citation = text
            elif part.tag == "PMID":
                correction.other_id = text
            elif part.tag == "Note":
                correction.note = text
            else:
                unknown[str(part.tag)] += 1
        record.corrections.append(correction)


def _pubmed_data(record: Article, data: etree._Element, unknown: Counter[str]) -> None:
    for child in data:
        tag = child.tag
        if tag == "ArticleIdList":
            _identifiers(record, child)
        elif tag == "History":
            for point in child:
                if point.get("PubStatus") == "entrez":
                    record.created = _date(point)
                elif point.get("PubStatus") == "pubmed" and not record.created:
                    record.created = _date(point)
        elif tag not in _LEFT_OUT:
            unknown[str(tag)] += 1


def _identifiers(record: Article, element: etree._Element) -> None:
    for child in element:
        kind = child.get("IdType")
        if kind == "doi":
            record.doi = clean_doi(child.text) or record.doi
        elif kind == "pmc":
            found = _PMCID.match((child.text or "").strip())
            if found:
                record.pmcid = found[0]


_CITATION = {
    "PMID": _pmid,
    "Article": _article,
    "MeshHeadingList": _mesh,
    "ChemicalList": _chemicals,
    "DateRevised": _revised,
    "DateCreated": _created,
    "OtherAbstract": _other_abstract,
    "CommentsCorrectionsList": _corrections,
    "SupplMeshList": _supplementary,
    "InvestigatorList": _investigators,
    "CoiStatement": _coi,
}
_ARTICLE = {
    "Journal": _journal,
    "ArticleTitle": _title,
    "Pagination": _pages,
    "Abstract": _abstract,
    "AuthorList": _authors,
    "InvestigatorList": _investigators,
    "Language": _language,
    "PublicationTypeList": _publication_types,
    "VernacularTitle": _vernacular,
    "ArticleDate": _article_date,
    "GrantList": _grants,
    "DataBankList": _databanks,
}


# ---------------------------------------------------------------- a book or a chapter


def read_book(element: etree._Element, source: str, unknown: Counter[str]) -> Article:
    """A PubmedBookArticle as an Article: the chapter where there is one, else the book. Raises Unreadable."""
    document = element.find("BookDocument")
    if document is None:
        raise Unreadable("it has no BookDocument")
    record = Article(id="", title="", source=source)
    book_date = ""
    for child in document:
        tag = child.tag
        reader = _BOOK.get(tag)
        if reader is not None:
            reader(record, child, unknown)
        elif tag == "Book":
            book_date = _book(record, child, unknown)
        elif tag == "ArticleIdList":
            _identifiers(record, child)
        elif tag == "KeywordList":
            _keywords(record, child)
        elif tag == "ContributionDate":
            record.published_online = _date(child)
        elif tag not in _LEFT_OUT and tag not in ("Sections", "LocationLabel", "ItemList"):
            unknown[str(tag)] += 1
    data = element.find("PubmedBookData")
    if data is not None:
        _pubmed_data(record, data, unknown)
    # A chapter has a date of its own; that of a living book is the year in which the book began.
    record.published = (record.title and record.published_online) or book_date or record.published_online
    record.title = record.title or record.journal
    _complete(record)
    return record


def _book(record: Article, book: etree._Element, unknown: Counter[str]) -> str:
    published = ""
    for child in book:
        tag = child.tag
        if tag == "BookTitle":
            record.journal = text_of(child)
        elif tag == "PubDate":
            published = _date(child)
            record.published_verbatim = _verbatim(child)
        elif tag == "AuthorList":
            _authors(record, child, unknown)
        elif tag == "Publisher":
            record.publisher = ", ".join(
                text for part in ("PublisherName", "PublisherLocation") if (text := text_of(child.find(part)))
            )
        elif tag == "Isbn":
            record.isbn = record.isbn or (child.text or "").strip()
        elif tag == "Volume":
            record.volume = (child.text or "").strip()
        elif tag == "ELocationID":
            if child.get("EIdType") == "doi" and child.get("ValidYN") != "N" and record.doi is None:
                record.doi = clean_doi(child.text)
        elif tag not in (
            "BeginningDate",
            "EndingDate",
            "CollectionTitle",
            "Edition",
            "Medium",
            "ReportNumber",
            "VolumeTitle",
        ):
            unknown[str(tag)] += 1
    return published


_BOOK = {
    "PMID": _pmid,
    "ArticleTitle": _title,
    "VernacularTitle": _vernacular,
    "Pagination": _pages,
    "Language": _language,
    "AuthorList": _authors,
    "InvestigatorList": _investigators,
    "PublicationType": _publication_type,
    "Abstract": _abstract,
    "OtherAbstract": _other_abstract,
    "DateRevised": _revised,
    "GrantList": _grants,
}
