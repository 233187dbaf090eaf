"""Drafts in: plain text, Markdown, HTML, Word files, standard input. Nothing in a draft is run, opened or
fetched.

Each reader gives a Document whose blocks point into its text, so that a report can mark the words of the
writer.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path

from kb.check.document import Block, Document, DraftProblem

__all__ = ["KINDS", "MAX_BYTES", "MAX_CHARACTERS", "read_bytes", "read_file", "read_text"]

KINDS = ("text", "markdown", "html", "docx")
MAX_BYTES = 5_000_000  # of a text, Markdown or HTML file; Word files may carry pictures
MAX_DOCX_BYTES = 30_000_000
MAX_UNPACKED = 60_000_000  # of all parts of a Word file: a small file that unpacks to more is a bomb
MAX_CHARACTERS = 500_000  # of the text itself: some 80,000 words
_SUFFIXES = {
    ".txt": "text", ".text": "text", "": "", ".md": "markdown", ".markdown": "markdown", ".html": "html",
    ".htm": "html", ".xhtml": "html", ".docx": "docx",
}  # fmt: skip
_MAGIC = (
    (b"%PDF", "a PDF", "copy its text into a .txt file, or save it as .docx"),
    (b"\xd0\xcf\x11\xe0", "a password-protected or old (.doc) Word file",
     "remove the password or save it as .docx without one"),
    (b"{\\rtf", "an RTF file", "save it as .docx or .txt"),
    (b"\x89PNG", "a picture", "give the text itself"), (b"\xff\xd8\xff", "a picture", "give the text itself"),
    (b"GIF8", "a picture", "give the text itself"), (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"SQLite format 3", "a SQLite database", "name the draft, and the database with --db"),
    (b"\x7fELF", "a program", "give the text itself"), (b"MZ\x90", "a program", "give the text itself"),
)  # fmt: skip


# --- what comes in ------------------------------------------------------------------------------------------
def read_file(path: str | Path, kind: str = "") -> Document:
    """The draft in a file; `kind` overrules what the name says. Raises DraftProblem."""
    path = Path(path)
    try:
        if path.is_dir():
            raise DraftProblem(f"{path} is a folder: name a draft in it (.txt, .md, .html or .docx)")
        size = path.stat().st_size
        if size > MAX_DOCX_BYTES:
            raise DraftProblem(_too_large(str(path), size, MAX_DOCX_BYTES))
        with path.open("rb") as file:
            data = file.read(MAX_DOCX_BYTES + 1)
    except FileNotFoundError:
        raise DraftProblem(
            f"there is no file {path}: check the name, or use - to read standard input"
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DraftProblem(f"cannot read {path}: {reason}") from None
    suffix = path.suffix.lower()
    if not kind and suffix not in _SUFFIXES and not _SUFFIXES.get(suffix):
        kind = ""
    return read_bytes(data, kind or _SUFFIXES.get(suffix, ""), str(path))


def read_bytes(data: bytes, kind: str = "", name: str = "") -> Document:
    """The draft in `data`. Without `kind` it is told from the content. Raises DraftProblem."""
    label = name or "the draft"
    if not data.strip():
        raise DraftProblem(f"{label} is empty: there is nothing to check")
    for magic, what, advice in _MAGIC:
        if data.startswith(magic):
            raise DraftProblem(f"{label} is {what}, not a text: {advice}")
    if data.startswith(b"PK\x03\x04") or kind == "docx":
        return _docx(data, name)
    if len(data) > MAX_BYTES:
        raise DraftProblem(_too_large(label, len(data), MAX_BYTES))
    return read_text(_decode(data, label), kind or _guess(data), name)


def read_text(text: str, kind: str = "text", name: str = "") -> Document:
    """The draft in a string of the given kind ("text", "markdown" or "html"). Raises DraftProblem."""
    if kind not in KINDS or kind == "docx":
        raise DraftProblem(f"a draft of the kind {kind!r} is not known: use one of text, markdown, html")
    label = name or "the draft"
    if len(text) > MAX_BYTES:
        raise DraftProblem(_too_large(label, len(text), MAX_BYTES))
    if not text.strip():
        raise DraftProblem(f"{label} is empty: there is nothing to check")
    if text.count("\x00") or sum(text.count(chr(n)) for n in range(1, 9)) > len(text) // 200:
        raise DraftProblem(f"{label} is not a text file: give a .txt, .md, .html or .docx file")
    text = text.encode("utf-8", "replace").decode("utf-8").removeprefix("\ufeff")
    if kind == "html":
        document = _html(text, name)
    else:
        document = Document(text, list(_blocks(text, kind == "markdown")), kind, name)
    return _finish(document, label)


def _finish(document: Document, label: str) -> Document:
    if len(document.text) > MAX_CHARACTERS:
        raise DraftProblem(
            f"{label} has {len(document.text):,} characters of text: at most {MAX_CHARACTERS:,} are checked "
            f"at once. "
            "Check it in parts"
        )
    if not any(character.isalnum() for character in document.text):
        raise DraftProblem(f"{label} holds no words to check")
    _leave_out_teasers(document)
    if _foreign(document.text):
        raise DraftProblem(f"{label} does not seem to be in English: only English drafts can be checked")
    return document


def _too_large(label: str, size: int, limit: int) -> str:
    return (
        f"{label} is {size / 1e6:.1f} MB: at most {limit / 1e6:.0f} MB are read "
        "(an article of 1,500 words is about 0.01 MB). Give only the text to check"
    )


def _guess(data: bytes) -> str:
    head = data[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return (
        "html"
        if head.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head", b"<body", b"<article"))
        else "text"
    )


def _decode(data: bytes, label: str) -> str:
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\x00\x00\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    if b"\x00" in data[:4000]:
        for encoding, zeros in (("utf-16-le", data[1:2000:2]), ("utf-16-be", data[:2000:2])):
            if zeros.count(0) > len(zeros) * 0.7:
                return data.decode(encoding, "replace")
        raise DraftProblem(f"{label} is not a text file: give a .txt, .md, .html or .docx file")
    control = sum(data[:20_000].count(bytes([n])) for n in (*range(1, 9), *range(14, 32)))
    if control > len(data[:20_000]) // 50:
        raise DraftProblem(f"{label} is not a text file: give a .txt, .md, .html or .docx file")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        declared = re.search(rb"charset=[\"']?([A-Za-z0-9_-]{3,20})", data[:3000])
        for encoding in ([declared.group(1).decode("ascii")] if declared else []) + ["cp1252"]:
            try:
                return data.decode(encoding)
            except (LookupError, UnicodeDecodeError):
                continue
        return data.decode("latin-1")


# --- plain text and Markdown --------------------------------------------------------------------------------
_BULLET = re.compile(r"[ \t]{0,12}(?:[-*•‣◦▪·–—+]|\(?\d{1,2}[.)]|[a-z]\))[ \t]+(?=\S)")
_ATX = re.compile(r"[ \t]{0,3}#{1,6}[ \t]+(?=\S)")
_UNDERLINE = re.compile(r"[ \t]{0,3}(?:={3,}|-{3,})[ \t]*$")
_FENCE = re.compile(r"[ \t]{0,3}(?:```|~~~)")
_QUOTE = re.compile(r"[ \t]{0,3}>[ \t]?")
_TABLE = re.compile(r"[ \t]*\|?[ \t:|-]*-{3,}[ \t:|-]*$")
_TERMINAL = (".", "!", "?", "…", ":", ";", ".”", "!”", "?”", '."', '!"', '?"', ".)", ".’", ".'")


def _lines(text: str) -> Iterable[tuple[int, int]]:
    """(start, end) of each line, without its line break. Any of the usual line breaks will do."""
    at = 0
    for match in re.finditer(r"\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]", text):
        yield at, match.start()
        at = match.end()
    yield at, len(text)


def _blocks(text: str, markdown: bool) -> Iterable[Block]:
    lines = [(s, e, text[s:e]) for s, e in _lines(text)]
    lengths = sorted(len(line.rstrip()) for _, _, line in lines if line.strip())
    # A text broken into lines of about equal length: a line break in it is no end of a paragraph.
    width = lengths[int(len(lengths) * 0.9)] if len(lengths) > 5 else 0
    width = width if 40 <= width <= 110 else 0
    start = end = -1
    kind, last = "paragraph", ""
    fenced = False
    skip_matter = markdown and bool(lines) and lines[0][2].strip() == "---"

    def done() -> Iterable[Block]:
        nonlocal start, kind
        if start >= 0 and end > start:
            yield Block(start, end, _heading_or(kind, text[start:end], markdown))
        start, kind = -1, "paragraph"

    for number, (s, _, line) in enumerate(lines):
        stripped = line.strip()
        if skip_matter:
            if number and stripped in ("---", "..."):
                skip_matter = False
            continue
        if markdown and _FENCE.match(line):
            yield from done()
            fenced = not fenced
            continue
        if fenced:
            continue
        if not stripped:
            yield from done()
            continue
        if markdown and _UNDERLINE.match(line):
            if start >= 0:
                yield Block(start, end, "heading")
                start, kind = -1, "paragraph"
            continue
        if markdown and _TABLE.match(line):
            yield from done()
            continue
        indent = len(line) - len(line.lstrip())
        atx = _ATX.match(line) if markdown else None
        if atx:
            yield from done()
            yield Block(s + atx.end(), s + len(line.rstrip().rstrip("#").rstrip()), "heading")
            continue
        quote = _QUOTE.match(line) if markdown else None
        bullet = _BULLET.match(line)
        if quote:
            if kind != "quote":
                yield from done()
                kind = "quote"
            begin = s + quote.end()
        elif bullet:
            yield from done()
            kind, begin = "bullet", s + bullet.end()
        elif markdown and "|" in line and stripped.startswith("|"):
            yield from done()
            for cell in re.finditer(r"[^|]+", line):
                if cell.group().strip():
                    yield Block(s + cell.start(), s + cell.end(), "bullet")
            continue
        else:
            begin = s + indent
            if start >= 0 and not _continues(last, stripped, width, markdown):
                yield from done()
        if start < 0:
            start = begin
        end, last = s + len(line.rstrip()), stripped
    yield from done()


def _continues(last: str, line: str, width: int, markdown: bool) -> bool:
    """Whether `line` goes on with the paragraph of the line before it, `last`."""
    if markdown:
        return True
    if line[:1].islower() or line[:1] in ",;)":
        return True
    if width and len(last) >= width * 0.7:
        return True
    return False


def _heading_or(kind: str, text: str, markdown: bool) -> str:
    """A short line without a full stop is a heading in plain text."""
    words = text.split()
    if kind == "paragraph" and not markdown and len(words) <= 14 and "\n" not in text.strip():
        if not text.rstrip().endswith(_TERMINAL) or (text.rstrip().endswith("?") and len(words) <= 12):
            return "heading"
    return kind


# --- what is not part of the article ------------------------------------------------------------------------
_TEASER = re.compile(
    r"(?:you (?:might|may) (?:also )?(?:enjoy|like|be interested)|related "
    r"(?:posts|articles|stories|reading|content)|"
    r"recommended for you|read next|more from|more (?:articles|stories|posts)|recent posts|keep reading|"
    r"further reading|popular posts|leave a (?:reply|comment)|share this|about the "
    r"author|references|bibliography|"
    r"sources)\b",
    re.IGNORECASE,
)  # fmt: skip


def _leave_out_teasers(document: Document) -> None:
    """Blocks after a heading such as "You might also enjoy" near the end are not the writer's article."""
    total = len(document.text)
    for number, block in enumerate(document.blocks):
        short = block.end - block.start <= 60
        if short and block.start > total * 0.4 and block.kind in ("heading", "paragraph"):
            words = document.text[block.start : block.end].strip(" .…:*#")
            if _TEASER.match(words) and len(words.split()) <= 6:
                rest = document.blocks[number:]
                document.blocks[number:] = [Block(b.start, b.end, "left-out") for b in rest]
                document.notes.append(f"Not checked: what follows the heading “{words}”.")
                return


_ENGLISH = frozenset(
    "the of and to in is that it for with as are was on be by this have from at or an not which can their "
    "has you "
    "will may may but who when more they we your its our if i a after had no these been were".split()
)


def _foreign(text: str) -> bool:
    """Whether the first 2,000 words, if they are enough to tell, are not English."""
    words = re.findall(r"[^\W\d_]+", text[:40_000].lower())[:2000]
    if len(words) < 20:
        return False
    if sum(1 for w in words if w.isascii()) < len(words) * 0.5:
        return True
    if len(set(words)) < 8:
        return False  # one short sentence over and over: too few words to tell a language by
    return sum(1 for w in words if w in _ENGLISH) < len(words) * 0.12


# --- HTML ---------------------------------------------------------------------------------------------------
_DROP = (
    "script style noscript template svg canvas iframe object embed form button input select textarea nav "
    "footer aside dialog audio video head menu map math"
).split()
_NOT_ARTICLE = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|menu|sidebar|footer|related|recommended|recommendations|comments?|"
    r"comment-list|share|social|cookie|banner|breadcrumbs?|newsletter|subscribe|promo|advert|ads?|"
    r"popup|modal|widget|pagination|skip-link|author-box|tags|read-next|you-may-like|teaser|teasers)(?:$|[\s_-])",
    re.IGNORECASE,
)
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_BLOCKS = _HEADINGS | frozenset(
    "p li div section article main blockquote pre td th dt dd figcaption header table tr ul ol dl body html "
    "br hr summary details address caption center".split()
)
_DEEPEST = 300  # elements inside each other; parsing takes the square of it, and an article needs some 30
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]{0,20})")
_CLOSED_BY_ITSELF = frozenset(
    "p li dd dt tr td th thead tbody tfoot option optgroup colgroup area base br col embed hr img input link "
    "meta param source track wbr".split()
)


def _depth(source: str) -> int:
    """About how deep the elements are nested, in one pass."""
    depth = deepest = 0
    for match in _TAG.finditer(source):
        if match.group(2).lower() not in _CLOSED_BY_ITSELF:
            depth = max(0, depth - 1) if match.group(1) else depth + 1
            deepest = max(deepest, depth)
    return deepest


def _html(source: str, name: str) -> Document:
    from bs4 import BeautifulSoup
    from bs4.element import NavigableString, PreformattedString, Tag

    if _depth(source) > _DEEPEST:
        raise DraftProblem(
            f"{name or 'the page'} nests its elements more than {_DEEPEST} deep: it is not read. "
            "Copy the article from the browser and paste it"
        )
    try:
        # The parser reads nothing but `source`: no entity, no address.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # XHTML, or text that looks like an address: both are fine here
            soup = BeautifulSoup(source, "lxml")
    except Exception as error:  # a parser may fail in its own ways on hostile input; the user needs one line
        raise DraftProblem(f"{name or 'the page'} cannot be read as HTML: {type(error).__name__}") from None
    for tag in soup.find_all(_DROP):
        if not tag.decomposed:
            tag.decompose()
    root = soup.find("article") or soup.find("main") or soup.find(attrs={"role": "main"}) or soup.body or soup
    if isinstance(root, Tag) and len(root.get_text(strip=True)) < 0.4 * len(soup.get_text(strip=True)):
        root = soup.body or soup
    left_out = 0
    for tag in root.find_all(True):
        if tag.decomposed or tag is root:
            continue
        marks = " ".join([*(tag.get("class") or []), str(tag.get("id") or ""), str(tag.get("role") or "")])
        style = str(tag.get("style") or "").replace(" ", "").lower()
        hidden = tag.has_attr("hidden") or "display:none" in style or tag.get("aria-hidden") == "true"
        if hidden or (
            marks.strip()
            and _NOT_ARTICLE.search(marks)
            and tag.name not in ("body", "html", "main", "article")
        ):
            left_out += 1
            tag.decompose()

    pieces: list[str] = []
    length = 0
    blocks: list[Block] = []
    links: list[tuple[int, int, str]] = []
    start, kind = -1, "paragraph"

    def close() -> None:
        nonlocal start, length, kind
        if start >= 0:
            blocks.append(Block(start, length, kind))
            pieces.append("\n\n")
            length += 2
        start = -1

    def add(words: str) -> None:
        nonlocal start, length
        words = re.sub(r"\s+", " ", words)
        if start < 0:
            words = words.lstrip()
            if not words:
                return
            start = length
        elif pieces and pieces[-1].endswith(" ") and words.startswith(" "):
            words = words[1:]
        if words:
            pieces.append(words)
            length += len(words)

    # An explicit stack, so that deep pages do not meet Python's limit of recursion
    stack: list[tuple[object, str]] = [(root, "paragraph")]
    marks: list[tuple[int, int, str]] = []
    while stack:
        node, inherited = stack.pop()
        if isinstance(node, tuple):
            action, value = node
            if action == "close":
                close()
                kind = inherited
            elif action == "link":
                begin, address = value
                if length > begin:
                    marks.append((begin, length, address))
            continue
        if isinstance(node, NavigableString):
            if not isinstance(node, PreformattedString):
                add(str(node))
            continue
        if not isinstance(node, Tag):
            continue
        own = node.name in _BLOCKS
        here = inherited
        if node.name in _HEADINGS:
            here = "heading"
        elif node.name in ("li", "dd", "dt", "td", "th"):
            here = "bullet"
        elif node.name == "blockquote":
            here = "quote"
        if own:
            close()
            kind = here
            stack.append((("close", None), inherited))
        if node.name == "a" and node.get("href"):
            stack.append((("link", (length, str(node["href"])[:500])), inherited))
        stack.extend((child, here) for child in reversed(list(node.children)))
    close()
    text = "".join(pieces)
    links = [m for m in marks if "pubmed" in m[2] or "doi.org" in m[2] or "/pmc/" in m[2].lower()]
    document = Document(text, [b for b in blocks if text[b.start : b.end].strip()], "html", name, links)
    if left_out:
        document.notes.append(
            f"{left_out} parts of the page (menus, forms, related posts, hidden parts) were left out."
        )
    if not any(c.isalnum() for c in text):
        raise DraftProblem(
            f"{name or 'the page'} holds no text of its own (perhaps a script writes it): "
            "copy the article from the browser and paste it"
        )
    return document


# --- Word ---------------------------------------------------------------------------------------------------
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_SKIP = {f"{_W}del", f"{_W}moveFrom", f"{_W}txbxContent", f"{_W}instrText", f"{_W}delText"}


def _docx(data: bytes, name: str) -> Document:
    label = name or "the draft"
    broken = f"{label} cannot be read as a Word file (.docx): it is damaged or no Word file. Save it again"
    if len(data) > MAX_DOCX_BYTES:
        raise DraftProblem(_too_large(label, len(data), MAX_DOCX_BYTES))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if any(e.flag_bits & 1 for e in entries):
                raise DraftProblem(f"{label} is password-protected: remove the password and save it again")
            if len(entries) > 5_000 or sum(e.file_size for e in entries) > MAX_UNPACKED:
                raise DraftProblem(
                    f"{label} unpacks to more than {MAX_UNPACKED // 1_000_000} MB: it is not read"
                )
            if "word/document.xml" not in {e.filename for e in entries}:
                raise DraftProblem(
                    f"{label} is a zip archive but no Word file: give a .txt, .md, .html or .docx file"
                )
            for entry in entries:
                # The sizes in the directory may lie; what comes out may not.
                with archive.open(entry) as part:
                    if len(part.read(entry.file_size + 1)) > entry.file_size:
                        raise DraftProblem(broken)
    except DraftProblem:
        raise
    except Exception:  # what zipfile and zlib raise on a broken archive is not one family
        raise DraftProblem(broken) from None
    import docx

    try:
        word = docx.Document(io.BytesIO(data))
        paragraphs = list(_paragraphs(word.element.body))
    except DraftProblem:
        raise
    except Exception:  # python-docx and lxml fail in many ways on damaged parts
        raise DraftProblem(broken) from None
    styles = {s.style_id: (s.name or "").lower() for s in word.styles if getattr(s, "style_id", None)}
    pieces: list[str] = []
    blocks: list[Block] = []
    length = 0
    for style_id, listed, text in paragraphs:
        if not text.strip():
            continue
        style = styles.get(style_id, "")
        kind = "heading" if style.startswith(("heading", "title", "subtitle")) else "paragraph"
        if kind == "paragraph" and (listed or style.startswith("list")):
            kind = "bullet"
        blocks.append(Block(length, length + len(text), kind))
        pieces += [text, "\n\n"]
        length += len(text) + 2
        if length > MAX_CHARACTERS:
            break
    document = Document("".join(pieces), blocks, "docx", name)
    if not blocks:
        raise DraftProblem(f"{label} holds no text to check")
    return _finish(document, label)


def _paragraphs(body: object) -> Iterable[tuple[str, bool, str]]:
    """(style id, whether it is numbered or bulleted, text) of each paragraph, tables included, deletions left
    out.
    """
    for paragraph in body.iter(f"{_W}p"):  # type: ignore[attr-defined]
        if any(parent.tag in _SKIP for parent in paragraph.iterancestors()):
            continue
        style, listed, words = "", False, []
        stack = [paragraph]
        while stack:
            node = stack.pop()
            tag = node.tag
            if tag in _SKIP or not isinstance(tag, str) or (tag == f"{_W}p" and node is not paragraph):
                continue
            if tag == f"{_W}t":
                words.append(node.text or "")
            elif tag in (f"{_W}tab", f"{_W}br", f"{_W}cr"):
                words.append(" ")
            elif tag == f"{_W}noBreakHyphen":
                words.append("-")
            elif tag == f"{_W}pStyle":
                style = node.get(f"{_W}val") or ""
            elif tag == f"{_W}numPr":
                listed = True
            stack.extend(reversed(list(node)))
        yield style, listed, "".join(words)
