"""PubMed XML files: NLM's baseline and update files, or anything saved from efetch, plain or gzip.

With a filter (the usual case) a file is not parsed at all but searched, as bytes, for the words of
the topic; only the citations that hold one are cut out and read. Files are taken in the order of
their numbers, since a later one replaces or deletes what an earlier one brought.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harvest.pubmed_xml import NotPubmedXML, PubmedXML, Truncated

SOURCE = "pubmed-files"
_READ = 1 << 18  # compressed bytes at a time
_OUT = 1 << 20  # decompressed bytes at a time
# PubMed's own files expand about tenfold, the most repetitive XML perhaps fiftyfold.
MAX_RATIO, RATIO_FROM = 200, 64 << 20
MAX_XML = 16 << 30
_NUMBERED = re.compile(r"^pubmed(\d\d)n(\d{4,})\.xml(?:\.gz)?$", re.I)
_MD5 = re.compile(rb"\b[0-9a-fA-F]{32}\b")


class BadFile(ValueError):
    """A file that cannot be taken in. The text names it and says what is wrong."""


def find_files(paths: Iterable[Path]) -> list[Path]:
    """The PubMed XML files among `paths` (folders give what they hold), each once, in the order to read them.

    Numbered files come by year and number, others after them by name. Raises BadFile for a path that is not there.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = [p for p in path.iterdir() if p.is_file() and p.name.lower().endswith((".xml", ".xml.gz"))]
            if not inside:
                raise BadFile(f"{path}: the folder holds no .xml or .xml.gz file")
            found.update(dict.fromkeys(inside))
        elif path.is_file():
            found[path] = None
        elif path.exists():
            raise BadFile(f"{path}: not a file")
        else:
            raise BadFile(f"{path}: no such file")
    return sorted(found, key=_order)


def _order(path: Path) -> tuple[int, str, int, str]:
    numbered = _NUMBERED.match(path.name)
    return (0, numbered[1], int(numbered[2]), path.name) if numbered else (1, "", 0, path.name)


@dataclass(frozen=True)
class Digest:
    """A file's MD5 as NLM publishes it; `expected` is what the file beside it says, None without one."""

    md5: str
    expected: str | None

    @property
    def good(self) -> bool:
        return self.expected is None or self.expected == self.md5


def digest(path: Path) -> Digest:
    """Read the whole file once for its MD5 and look for the .md5 beside it. Raises BadFile."""
    total = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as handle:
            while chunk := handle.read(1 << 20):
                total.update(chunk)
        beside = path.with_name(path.name + ".md5")
        stated = _MD5.search(beside.read_bytes()[:4096]) if beside.is_file() else None
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error.strerror})") from None
    return Digest(total.hexdigest(), stated[0].decode().lower() if stated else None)


def chunks(path: Path, watch: Callable[[int], object] | None = None) -> Iterator[bytes]:
    """The XML bytes of a plain or gzip file (told by its first bytes, not its name). Raises BadFile.

    `watch` hears how many bytes of the file have been read. Memory stays constant whatever the file expands to.
    """
    try:
        with path.open("rb") as handle:
            first = handle.read(_READ)
            if first.startswith(b"\x1f\x8b"):
                yield from _gunzip(path, first, handle.read, watch)
                return
            if first.startswith(b"PK"):
                raise BadFile(f"{path}: a zip archive; unpack it first")
            while first:
                if watch:
                    watch(len(first))
                yield first
                first = handle.read(_OUT)
    except OSError as error:
        raise BadFile(f"{path}: cannot be read ({error.strerror})") from None


def _gunzip(
    path: Path, data: bytes, read: Callable[[int], bytes], watch: Callable[[int], object] | None
) -> Iterator[bytes]:
    unzip = zlib.decompressobj(31)
    taken = given = 0
    while data:
        taken += len(data)
        if watch:
            watch(len(data))
        while data:
            try:
                out = unzip.decompress(data, _OUT)
            except zlib.error:
                raise BadFile(f"{path}: the gzip data is damaged; fetch the file again") from None
            given += len(out)
            if given > MAX_XML or (given > RATIO_FROM and given > taken * MAX_RATIO):
                raise BadFile(
                    f"{path}: expands to more than {MAX_RATIO} times its size; no PubMed file does. Refused"
                )
            if out:
                yield out
            data = unzip.unconsumed_tail
            if unzip.eof:  # a gzip file may hold several members one after the other
                data = unzip.unused_data.lstrip(b"\0") + data
                if not data:
                    data = read(_READ)
                    taken += len(data)
                    if watch:
                        watch(len(data))
                    if not data:
                        return
                if not data.startswith(b"\x1f\x8b"):
                    raise BadFile(f"{path}: something follows the gzip data; fetch the file again")
                unzip = zlib.decompressobj(31)
        data = read(_READ)
    if not unzip.eof:
        raise BadFile(f"{path}: the gzip data ends too early; fetch the file again")


class TopicFilter:
    """Finds, in raw bytes, the citations in which one of `terms` stands outside the reference list.

    Case is ignored for ASCII letters (other letters are compared as they are and in upper case). A citation that
    is only cited beside the topic is none on the topic, so what its reference list says does not count.
    """

    def __init__(self, terms: Sequence[str]) -> None:
        wanted: set[bytes] = set()
        for term in terms:
            if len(term.strip()) < 3:
                raise ValueError(f"the topic word {term!r} is too short to filter by")
            for form in (term, term.lower(), term.upper(), term.capitalize()):
                wanted.add(form.encode().lower())
        # A word that holds another one adds nothing.
        self.terms = sorted(t for t in wanted if not any(o != t and o in t for o in wanted))
        # Words that begin alike are looked for together, by what they share.
        stems: dict[bytes, list[bytes]] = {}
        for word in self.terms:
            stems.setdefault(word[:4], []).append(word)
        self._stems = [(os.path.commonprefix(words), tuple(words)) for words in stems.values()]

    def __call__(self, raw: bytes) -> list[tuple[int, int]]:
        """Start and end of each matching citation in `raw`, which ends with the end of a citation."""
        low = raw.lower()
        places: list[int] = []
        for stem, words in self._stems:
            at = low.find(stem)
            while at >= 0:
                if low.startswith(words, at):
                    places.append(at)
                at = low.find(stem, at + len(stem))
        if not places:
            return []
        places.sort()
        books = b"<PubmedBookArticle>" in raw
        spans: list[tuple[int, int]] = []
        done = 0  # end of the citation that was last looked at and taken
        for at in places:
            if at < done:
                continue
            start = raw.rfind(b"<PubmedArticle>", done, at)
            if books:
                start = max(start, raw.rfind(b"<PubmedBookArticle>", done, at))
            if start < 0:
                continue
            name = b"</PubmedBookArticle>" if raw.startswith(b"<PubmedBook", start) else b"</PubmedArticle>"
            end = raw.find(name, start) + len(name)
            if end <= at:  # between two citations
                continue
            references = raw.find(b"<ReferenceList", start, end)
            after = raw.rfind(b"</ReferenceList>", start, end)
            if 0 <= references < at < after:
                continue
            spans.append((start, end))
            done = end
        return spans


def read_file(
    path: Path, *, keep: TopicFilter | None, watch: Callable[[int], object] | None = None, ahead: bool = False
) -> PubmedXML:
    """The records of one file; `keep` None takes all. Iterating raises BadFile, NotPubmedXML or Truncated.

    With `ahead` a thread unzips and parses the next citations meanwhile; `watch` is then called from it.
    """
    return PubmedXML(chunks(path, watch), source=SOURCE, scan=keep, ahead=ahead)


__all__ = [
    "BadFile",
    "Digest",
    "NotPubmedXML",
    "TopicFilter",
    "Truncated",
    "chunks",
    "digest",
    "find_files",
    "read_file",
]
