"""Search: what people type, turned into a full-text query that cannot fail.

`parse` reads words, "phrases", AND OR NOT, -word, prefix*, hyphens, field names
(title: author: journal: mesh: keyword: abstract: year:, or PubMed's [ti] [au] ...) and
brackets. It never raises: what cannot be used is left out and named in a note.
`run` ranks with bm25 (title and evidence sentences weigh most), filters and counts with
the bit sets of kb.index, and explains itself when it finds nothing.
"""

from __future__ import annotations

import difflib
import re
import sqlite3
import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from itertools import chain, islice
from typing import Any

from kb.index import EvidenceIndex, Filters, index_of
from kb.reading import cards, find_article, identifiers
from kb.schema import FULL_TEXT, TOKENIZE

LONGEST = 1_000  # characters of a search that are read
MOST_TERMS = 40
NEAREST = 20  # articles shown where none has all the words
# Weights of the columns of articles_fts, in the order of schema.FULL_TEXT
WEIGHTS = (8.0, 5.0, 1.0, 2.0, 1.0, 3.0, 3.0)
MARK, UNMARK = "\x02", "\x03"  # around matched words in snippets; replaced by markup after escaping
FIELDS = {
    "title": "title",
    "ti": "title",
    "author": "author_list",
    "au": "author_list",
    "authors": "author_list",
    "journal": "journal",
    "ta": "journal",
    "so": "journal",
    "mesh": "mesh_list",
    "mh": "mesh_list",
    "keyword": "keyword_list",
    "ot": "keyword_list",
    "abstract": "abstract",
    "ab": "abstract",
    "evidence": "evidence_text",
    "tiab": "title abstract",
    "text": "title abstract",
    "tw": "title abstract",
}
_PUBMED_TAGS = {
    **FIELDS,
    "majr": "mesh_list",
    "mesh terms": "mesh_list",
    "title/abstract": "title abstract",
    "mesh major topic": "mesh_list",
    "all fields": "",
    "all": "",
}


# -- the query language ------------------------------------------------------------------


@dataclass(frozen=True)
class Term:
    """Words to find one after the other; the last may be a prefix."""

    words: tuple[str, ...]
    prefix: bool = False
    exact: bool = False  # in quotes: no synonyms
    column: str = ""  # column names of articles_fts, separated by spaces; "" for any


@dataclass(frozen=True)
class Node:
    """AND, OR, NOT over terms and nodes. NOT has one part."""

    kind: str
    parts: tuple[Any, ...]


@dataclass
class Parsed:
    """A query as it was understood. `match` is "" when nothing can be searched for."""

    text: str
    tree: Any = None
    match: str = ""
    notes: list[str] = field(default_factory=list)
    year_from: int | None = None
    year_to: int | None = None
    terms: list[Term] = field(default_factory=list)
    synonyms: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    negative: str = ""


_TOKEN = re.compile(
    r"""(?P<quote>")|(?P<open>\()|(?P<close>\))|(?P<tag>\[[A-Za-z/ ]{1,20}\])|(?P<space>\s+)"""
    r"""|(?P<word>[^\s"()\[\]]+)|(?P<other>.)""",
    re.DOTALL,
)
_YEAR = re.compile(r"(\d{4})(?:\s*(?:-|\.\.|:|–)\s*(\d{4})?)?")


@lru_cache(maxsize=1)
def vocabulary() -> dict[str, Any]:
    """kb/synonyms.toml, its phrases split to words: groups, of, longest, stop_words, includes, claims, broad_claims."""
    data = tomllib.loads(resources.files("kb").joinpath("synonyms.toml").read_text(encoding="utf-8"))
    groups = [tuple(dict.fromkeys(tuple(words_of(phrase)) for phrase in group)) for group in data["groups"]]
    of: dict[tuple[str, ...], list[int]] = {}
    for number, group in enumerate(groups):
        for phrase in group:
            of.setdefault(phrase, []).append(number)
    return {
        "groups": groups,
        "of": of,
        "longest": max(len(p) for p in of),
        "stop_words": frozenset(data["stop_words"].split()),
        "includes": {
            tuple(words_of(word)): [tuple(words_of(p)) for p in more] for word, more in data["includes"].items()
        },
        "claims": {claim: [_hint(p) for p in phrases] for claim, phrases in data["claims"].items()},
        "broad_claims": {claim: [_hint(p) for p in phrases] for claim, phrases in data["broad_claims"].items()},
    }


def _hint(phrase: str) -> re.Pattern[str]:
    """A phrase of [claims] as a pattern for words joined by single spaces; * ends a word's beginning."""
    words = ["".join(map(re.escape, words_of(word))) + r"\S*" * word.endswith("*") for word in phrase.split()]
    return re.compile(rf"(?<!\S){' '.join(words)}(?!\S)")


def words_of(text: str) -> list[str]:
    """`text` cut into words as FTS5's unicode61 does: runs of letters, digits and private-use characters."""
    words, current = [], []
    for character in unicodedata.normalize("NFC", text):
        kind = unicodedata.category(character)
        if kind[0] in "LN" or kind == "Co" or (current and kind == "Mn"):
            current.append(character)
        elif current:
            words.append("".join(current))
            current = []
    if current:
        words.append("".join(current))
    return [word.lower() for word in words]


def parse(text: str) -> Parsed:
    """Read a query. Never raises; `notes` say what was left out and why."""
    text = "".join(c if c.isprintable() else " " for c in text or "").strip()
    parsed = Parsed(text=text)
    if len(text) > LONGEST:
        cut = text[:LONGEST]
        parsed.notes.append(f"Only the first {LONGEST:,} characters were searched.")
        text = cut[: cut.rfind(" ")] if " " in cut else cut
    # Curly quotes come from phones and word processors.
    text = text.translate({0x201C: '"', 0x201D: '"', 0x201E: '"', 0x00AB: '"', 0x00BB: '"'})
    tokens = _tokens(text, parsed)
    tree = _Reader(tokens, parsed).read()
    tree = _expand(tree, parsed)
    parsed.tree = tree
    parsed.terms = list(_terms(tree))
    match, negative = _to_match(tree, parsed)
    parsed.match, parsed.negative = match, negative
    if negative and not match:
        parsed.notes.append("A search needs at least one word to look for; words to leave out cannot stand alone.")
    return parsed


def _tokens(text: str, parsed: Parsed) -> list[tuple[str, Any]]:
    """Kinds: and, or, not, open, close, term (Term), tag (columns)."""
    out: list[tuple[str, Any]] = []
    position, column, terms = 0, "", 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        kind, value = match.lastgroup, match.group()
        position = match.end()
        if kind in ("space", "other"):
            continue
        if kind == "quote":
            end = text.find('"', position)
            if end < 0:
                end = len(text)
                parsed.notes.append("A quotation mark was not closed; the words up to the end were taken as a phrase.")
            words = tuple(words_of(text[position:end]))
            position = min(end + 1, len(text))
            prefix = text[position : position + 1] == "*"
            if words:
                out.append(("term", Term(words, prefix=prefix, exact=True, column=column)))
                terms += 1
            column = ""
        elif kind in ("open", "close"):
            out.append((kind, column if kind == "open" else None))
            column = ""
        elif kind == "tag":
            name = value[1:-1].strip().lower()
            if name in _PUBMED_TAGS:
                out.append(("tag", _PUBMED_TAGS[name]))
        else:
            column, more = _word(value, text, position, column, out, parsed)
            terms += more
        if terms >= MOST_TERMS:
            parsed.notes.append(f"Only the first {MOST_TERMS} words were searched.")
            break
    return out


def _word(
    value: str, text: str, position: int, column: str, out: list[tuple[str, Any]], parsed: Parsed
) -> tuple[str, int]:
    """Take in one run without spaces; returns the column that waits for what follows, and the terms added."""
    if value in ("AND", "OR", "NOT", "&", "&&", "|", "||"):
        out.append(({"&": "and", "&&": "and", "|": "or", "||": "or"}.get(value, value.lower()), None))
        return "", 0
    if value.startswith("-") and len(value) > 1 and words_of(value[1:2]):
        out.append(("not", None))
        value = value[1:]
    elif value == "-" and text[position : position + 1] in ('"', "("):
        out.append(("not", None))
        return "", 0
    name, colon, rest = value.partition(":")
    if colon and name.lower() in ("year", "dp"):
        years = _YEAR.fullmatch(rest)
        if years:
            first = int(years[1])
            last = int(years[2]) if years[2] else None
            open_ended = len(rest) > 4 and last is None
            parsed.year_from, parsed.year_to = first, (last if last or open_ended else first)
        else:
            parsed.notes.append("A year filter is written year:2014 or year:2010-2020.")
        return "", 0
    if colon and name.lower() in FIELDS:
        column = FIELDS[name.lower()]
        if not rest:
            return column, 0
        value = rest
    prefix = value.endswith("*")
    words = tuple(words_of(re.sub(r"['’]s\b", "", value)))
    if not words:
        if value.strip("*-–—.,;:!?/'’+&|<>=~#@$%^_\\") != "":
            parsed.notes.append(f"Nothing in “{value[:40]}” can be searched for.")
        return column if colon and not words else "", 0
    # A hyphenated or apostrophed word is a short phrase, so that "anti-inflammatory" is not "anti" and "inflammatory".
    out.append(("term", Term(words, prefix=prefix, column=column)))
    return "", 1


class _Reader:
    """Recursive descent over the tokens. Faults are mended and noted, never raised."""

    def __init__(self, tokens: list[tuple[str, Any]], parsed: Parsed) -> None:
        self.tokens, self.at, self.parsed = tokens, 0, parsed
        self.depth = 0

    def read(self) -> Any:
        parts = []
        while self.at < len(self.tokens):
            part = self._or()
            if part is not None:
                parts.append(part)
            if self._peek() == "close":
                self.at += 1  # a closing bracket too many
        return _join("and", parts)

    def _peek(self) -> str | None:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else None

    def _or(self) -> Any:
        parts = [self._and()]
        while self._peek() == "or":
            self.at += 1
            if parts == [None]:
                self._dangling("OR")
            parts.append(self._and())
            if parts[-1] is None:
                self._dangling("OR")
        return _join("or", parts)

    def _and(self) -> Any:
        parts: list[Any] = []
        while (kind := self._peek()) not in (None, "or", "close"):
            if kind == "and":
                self.at += 1
                if not parts or self._peek() in (None, "or", "and", "close"):
                    self._dangling("AND")
                continue
            part = self._not()
            if part is not None:
                parts.append(part)
        return _join("and", parts)

    def _not(self) -> Any:
        negated = False
        while self._peek() == "not":
            negated = not negated
            self.at += 1
            if self._peek() in (None, "or", "and", "close"):
                self._dangling("NOT")
                return None
        part = self._atom()
        return Node("not", (part,)) if negated and part is not None else part

    def _atom(self) -> Any:
        kind, value = self.tokens[self.at]
        self.at += 1
        if kind == "open":
            self.depth += 1
            # Python's own recursion limit is far above this; no reader nests so deep.
            part = self._or() if self.depth < 50 else None
            self.depth -= 1
            if self._peek() == "close":
                self.at += 1
            part = _in_column(part, value) if value else part
        elif kind == "term":
            part = value
        else:
            return None
        if self._peek() == "tag":
            part = _in_column(part, self.tokens[self.at][1])
            self.at += 1
        return part

    def _dangling(self, word: str) -> None:
        note = f"{word} had nothing to join, so it was left out."
        if note not in self.parsed.notes:
            self.parsed.notes.append(note)


def _join(kind: str, parts: Iterable[Any]) -> Any:
    kept = [p for p in parts if p is not None]
    return kept[0] if len(kept) == 1 else Node(kind, tuple(kept)) if kept else None


def _in_column(part: Any, column: str) -> Any:
    if isinstance(part, Term):
        return part if part.column else replace(part, column=column)
    if isinstance(part, Node):
        return Node(part.kind, tuple(_in_column(p, column) for p in part.parts))
    return part


def _terms(tree: Any) -> Iterable[Term]:
    if isinstance(tree, Term):
        yield tree
    elif isinstance(tree, Node) and tree.kind != "not":
        for part in tree.parts:
            yield from _terms(part)


def _expand(tree: Any, parsed: Parsed) -> Any:
    """Join words that stand side by side and are a term of the field, add synonyms, drop words of questions."""
    if isinstance(tree, Term):
        return _with_synonyms([tree], parsed)
    if not isinstance(tree, Node):
        return tree
    if tree.kind != "and":
        return _join_node(tree.kind, [_expand(part, parsed) for part in tree.parts])
    parts: list[Any] = []
    run: list[Term] = []
    for part in (*tree.parts, None):
        if isinstance(part, Term) and not part.exact and not part.prefix and (not run or run[-1].column == part.column):
            run.append(part)
            continue
        if run:
            parts += _expand_run(run, parsed)
            run = []
        if isinstance(part, Term) and not part.exact and not part.prefix:
            run = [part]
        elif part is not None:
            parts.append(_expand(part, parsed))
    return _join_node("and", parts)


def _join_node(kind: str, parts: list[Any]) -> Any:
    if kind == "not":
        return Node("not", tuple(parts)) if parts and parts[0] is not None else None
    return _join(kind, parts)


def _expand_run(run: list[Term], parsed: Parsed) -> list[Any]:
    known = vocabulary()
    result: list[Any] = []
    at = 0
    while at < len(run):
        for length in range(min(known["longest"], len(run) - at), 0, -1):
            words = tuple(w for term in run[at : at + length] for w in term.words)
            if words in known["of"] and (length > 1 or len(words) > 1 or not run[at].column):
                result.append(_with_synonyms([Term(words, column=run[at].column)], parsed))
                at += length
                break
        else:
            result.append(run[at])
            at += 1
    meaningful = [
        part
        for part in result
        if not (
            isinstance(part, Term) and len(part.words) == 1 and not part.column and part.words[0] in known["stop_words"]
        )
    ]
    return meaningful or result


def _with_synonyms(terms: list[Term], parsed: Parsed) -> Any:
    term = terms[0]
    if term.exact or term.prefix or term.column == "author_list" or term.column == "journal":
        return term
    known = vocabulary()
    others = [p for n in known["of"].get(term.words, ()) for p in known["groups"][n] if p != term.words]
    others += known["includes"].get(term.words, ())
    if not others:
        return term
    said = " ".join(term.words)
    others = list(dict.fromkeys(others))
    if said not in (word for word, _ in parsed.synonyms):
        parsed.synonyms.append((said, tuple(" ".join(o) for o in others)))
    return Node("or", (term, *(Term(o, exact=True, column=term.column) for o in others)))


def _to_match(tree: Any, parsed: Parsed) -> tuple[str, str]:
    """(what to find, what to leave out) in FTS5's language. Every word is quoted, so nothing can be misread."""
    if tree is None:
        return "", ""
    if isinstance(tree, Term):
        phrase = '"' + " ".join(tree.words) + '"' + (" *" if tree.prefix else "")
        return (f"{{{tree.column}}} : {phrase}" if tree.column else phrase), ""
    if tree.kind == "not":
        inner, _ = _to_match(tree.parts[0], parsed)
        return "", inner
    positive, negative = [], []
    for part in tree.parts:
        yes, no = _to_match(part, parsed)
        if tree.kind == "or" and no and not yes:
            parsed.notes.append("NOT after OR would ask for nearly everything, so it was left out.")
            continue
        if yes:
            positive.append(f"({yes} NOT ({no}))" if no else yes)
        elif no:
            negative.append(no)
    joined = f" {tree.kind.upper()} ".join(f"({p})" for p in positive)
    excluded = " OR ".join(f"({n})" for n in negative)
    if joined and excluded:
        return f"({joined}) NOT ({excluded})", ""
    return joined, excluded


def as_any(parsed: Parsed) -> str:
    """The same terms joined by OR, for a question whose words are nowhere all together."""
    matches = [_to_match(term, parsed)[0] for term in parsed.terms]
    return " OR ".join(f"({m})" for m in dict.fromkeys(matches) if m)


# -- running it --------------------------------------------------------------------------


@dataclass
class Found:
    """The answer to a search. `rows` are cards (kb.reading.cards) with title_marked and snippet."""

    parsed: Parsed
    total: int = 0
    unfiltered: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    mask: int = 0
    base: int = 0  # what matches the words, filters aside
    filters: Filters = field(default_factory=Filters)  # those asked for, and years named in the text
    any_word: bool = False  # no article has all the words: these, NEAREST at most, have some of them
    suggestions: list[str] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)


def direct(connection: sqlite3.Connection, text: str) -> tuple[str | None, str | None]:
    """(id of the one article that `text` names, or None; the identifier it holds if that is not here, or None).

    `text` may be a PMID, PMCID, DOI, an address, a title, or a pasted citation.
    """
    text = (text or "").strip()[:2_000]
    if not text:
        return None, None
    if identifiers(text):
        found = find_article(connection, text)
        # A bare number may be a year or a count rather than a PMID.
        return found, None if found or re.fullmatch(r"\d{1,4}", text) else text
    missing = None
    for pattern in (r"\bPMID\s*:?\s*(\d{1,9})\b", r"\b(PMC\d{3,9})\b", r"\b(10\.\d{4,9}/[^\s\"<>]+)"):
        match = re.search(pattern, text, re.IGNORECASE)
        if match:
            found = find_article(connection, match[1].rstrip(".,;)"))
            if found:
                return found, None
            missing = missing or match[1].rstrip(".,;)")
    found = _by_title(connection, text)
    return found, None if found else missing


def _by_title(connection: sqlite3.Connection, text: str) -> str | None:
    """The article whose whole title stands in a pasted citation (or is the text itself)."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    words = words_of(text)
    if not 4 <= len(words) <= 150:
        return None
    key = re.sub(r"[^a-z0-9]+", "", plain)
    row = connection.execute("SELECT id FROM articles WHERE title_key = ? LIMIT 2", (key,)).fetchall()
    if len(row) == 1:
        return row[0][0]
    if len(words) < 8:
        return None
    rare = sorted({w for w in words if len(w) > 5}, key=lambda w: (-len(w), w))[:12]
    if not rare:
        return None
    match = "{title} : (" + " OR ".join(f'"{w}"' for w in rare) + ")"
    try:
        candidates = connection.execute(
            "SELECT a.id, a.title_key FROM articles_fts f JOIN articles a ON a.rowid = f.rowid "
            "WHERE articles_fts MATCH ? ORDER BY bm25(articles_fts) LIMIT 20",
            (match,),
        ).fetchall()
    except sqlite3.OperationalError as error:
        if error.args == ("interrupted",):
            raise
        return None
    inside = [row[0] for row in candidates if len(row[1]) > 25 and row[1] in key]
    return inside[0] if len(inside) == 1 else None


def run(
    connection: sqlite3.Connection,
    text: str,
    filters: Filters | None = None,
    *,
    sort: str = "relevance",
    offset: int = 0,
    limit: int = 20,
    index: EvidenceIndex | None = None,
    bare: bool = False,
) -> Found:
    """Search. `bare` fills `ids` but not `rows`.

    No text with filters lists what passes the filters, strongest study first.
    """
    index = index or index_of(connection)
    filters = filters or Filters()
    parsed = parse(text)
    if parsed.year_from is not None or parsed.year_to is not None:
        filters = replace(
            filters,
            year_from=filters.year_from if filters.year_from is not None else parsed.year_from,
            year_to=filters.year_to if filters.year_to is not None else parsed.year_to,
        )
    found = Found(parsed, filters=filters)
    if not parsed.match:
        found.claims = matching_claims(text)
        if filters.any and not parsed.negative and not _unusable(parsed):
            found.base = index.everything
            found.mask = index.select(filters)
            found.total, found.unfiltered = found.mask.bit_count(), index.size
            found.ids = index.page([found.mask], "strength" if sort == "relevance" else sort, offset, limit)
            found.rows = [] if bare else cards(connection, found.ids)
        return found
    match = parsed.match
    ranking = index.search(match, lambda: Ranking(connection, match, index))
    if not ranking.mask and len(parsed.terms) > 1:
        # People ask whole questions; the best partial answers beat an empty page.
        match = as_any(parsed)
        ranking = index.search(match, lambda: Ranking(connection, match, index))
        found.any_word = bool(ranking.mask)
    # With any word enough nearly everything matches, so only the nearest are an answer; filters narrow these.
    found.base = index.mask(ranking.best(index, NEAREST)) if found.any_word else ranking.mask
    found.unfiltered = found.base.bit_count()
    found.mask = index.select(filters, found.base)
    found.total = found.mask.bit_count()
    found.claims = matching_claims(text)
    if not found.unfiltered:
        found.suggestions = suggestions(connection, parsed, index)
        return found
    if sort == "relevance":
        found.ids = ranking.pick(index, found.mask, offset, limit)
    else:
        found.ids = index.page([found.mask], sort, offset, limit)
    if bare:
        return found
    found.rows = cards(connection, found.ids)
    _mark(match, found.rows)
    return found


def _unusable(parsed: Parsed) -> bool:
    """Whether words were given but none can be searched for (a year filter alone is not words)."""
    return bool(parsed.text) and parsed.year_from is None and parsed.year_to is None


def all_ids(connection: sqlite3.Connection, args: Any) -> list[str]:
    """The ids of everything that /search finds for these arguments, in its order (see kb.web.exports)."""
    from kb.web.views import SORT_WORDS, read_filters

    index = index_of(connection)
    sort = args.get("sort") if args.get("sort") in SORT_WORDS else "relevance"
    article_id, _ = direct(connection, args.get("q") or "")
    if article_id:
        return [article_id]
    filters, _ = read_filters(args)
    found = run(connection, args.get("q") or "", filters, sort=sort, limit=index.size or 1, index=index, bare=True)
    return found.ids


class Ranking:
    """What matches a query: `mask`, the set of article numbers, and the order in which to show them.

    Best bm25 score first. Where more than RANKED match, only those that match in the title are scored;
    the rest follow, strongest study first: nobody reads ten thousand results by score, and scoring
    them all takes a server's time.
    """

    RANKED = 5_000

    def __init__(self, connection: sqlite3.Connection, match: str, index: EvidenceIndex) -> None:
        self.mask = index.mask(index.numbers(_rowids(connection, match))) if match else 0
        self.order: Sequence[int] = ()
        self.scored = 0
        if not self.mask:
            return
        scored = match if self.mask.bit_count() <= self.RANKED else f"{{title}} : ({match})"
        self.order = index.numbers(_rowids(connection, scored, _BEST_FIRST))
        self.scored = index.mask(self.order) & self.mask

    def best(self, index: EvidenceIndex, limit: int) -> list[int]:
        """The numbers of the first `limit` articles in order."""
        return list(islice(chain(self.order, index.in_order(self.mask & ~self.scored)), limit))

    def pick(self, index: EvidenceIndex, mask: int, offset: int, limit: int) -> list[str]:
        """Ids `offset` to `offset + limit` of those that are in `mask` too."""
        mask &= self.mask
        first = mask & self.scored
        ids = index.pick(self.order, first, offset, limit)
        offset = max(0, offset - first.bit_count())
        return ids + index.page([mask & ~first], "strength", offset, limit - len(ids))


_BEST_FIRST = f"ORDER BY bm25(articles_fts, {', '.join(map(str, WEIGHTS))}), rowid"


def _rowids(connection: sqlite3.Connection, match: str, order: str = "") -> Iterable[int]:
    """The rowids of the full-text table that match."""
    rows = f"SELECT rowid AS r FROM articles_fts WHERE articles_fts MATCH ? {order} LIMIT -1"
    try:
        # One long value is read ten times as fast as tens of thousands of rows, and other readers
        # run meanwhile. The LIMIT keeps SQLite from dropping the order of the inner query.
        joined = connection.execute(f"SELECT group_concat(r) FROM ({rows})", (match,)).fetchone()[0]
        return map(int, joined.split(",")) if joined else ()
    except sqlite3.DataError:  # longer than this server allows a value to be
        return [r[0] for r in connection.execute(rows, (match,))]


def _mark(match: str, rows: list[dict[str, Any]]) -> None:
    """Give each row title_marked and snippet, with MARK and UNMARK around the words that matched.

    The rows of a page are indexed anew in memory: asking the large index row by row would
    read the lists of all matching articles once for each of them.
    """
    with closing(sqlite3.connect(":memory:")) as small:
        small.execute(
            f"CREATE VIRTUAL TABLE page USING fts5({', '.join(FULL_TEXT['articles'])}, tokenize='{TOKENIZE}')"
        )
        small.executemany(
            "INSERT INTO page (rowid, title, abstract, mesh_list, evidence_text, author_list, journal, keyword_list) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    n,
                    *(
                        row.get(name) or ""
                        for name in (
                            "title",
                            "abstract",
                            "mesh_list",
                            "evidence_text",
                            "author_list",
                            "journal",
                            "keyword_list",
                        )
                    ),
                )
                for n, row in enumerate(rows)
            ],
        )
        for n, title, text, mesh in small.execute(
            f"SELECT rowid, highlight(page, 0, '{MARK}', '{UNMARK}'), "
            f"snippet(page, 2, '{MARK}', '{UNMARK}', ' … ', 40), snippet(page, 5, '{MARK}', '{UNMARK}', ' … ', 12) "
            "FROM page WHERE page MATCH ?",
            (match,),
        ):
            row = rows[n]
            row["title_marked"], row["snippet"] = title, text
            if mesh and MARK in mesh and MARK not in title + text:
                row["snippet"] = f"MeSH: {mesh}"


def matching_claims(text: str, limit: int = 3) -> list[str]:
    """Ids of the claims that a question seems to be about, best first.

    A claim of which only broad words (such as "PTSD") are in the question comes after all others.
    """
    known = vocabulary()
    asked = " ".join(words_of(text[:LONGEST]))
    scored = []
    for position, (claim, hints) in enumerate(known["claims"].items()):
        score = sum(2 + hint.pattern.count(" ") for hint in hints if hint.search(asked))
        broad = any(hint.search(asked) for hint in known["broad_claims"].get(claim, ()))
        if score or broad:
            scored.append((-score, not broad, position, claim))
    return [claim for *_, claim in sorted(scored)[:limit]]


def suggestions(connection: sqlite3.Connection, parsed: Parsed, index: EvidenceIndex) -> list[str]:
    """The query with words that are nowhere replaced by the most used words that look like them."""
    replacements: dict[str, str] = {}
    for term in parsed.terms:
        for word in term.words:
            if len(word) >= 4 and not word.isdigit() and word not in replacements and not _known(connection, word):
                near = _nearest(connection, word, index)
                if near:
                    replacements[word] = near
    if not replacements:
        return []
    text = parsed.text[:200]
    for wrong, right in replacements.items():
        text = re.sub(rf"(?<!\w){re.escape(wrong)}(?!\w)", right, text, flags=re.IGNORECASE)
    return [text] if text.lower() != parsed.text.lower() else []


def _known(connection: sqlite3.Connection, word: str) -> bool:
    return (
        connection.execute("SELECT 1 FROM articles_fts WHERE articles_fts MATCH ? LIMIT 1", (f'"{word}"',)).fetchone()
        is not None
    )


def make_vocabulary(connection: sqlite3.Connection) -> None:
    """Make the words of the full-text index readable as temp.kb_vocabulary.

    A temporary table belongs to this connection alone; the database file is not touched. Pages
    call this when a connection is opened, before it is limited to reading.
    """
    try:
        connection.execute("SELECT 1 FROM temp.kb_vocabulary LIMIT 0")
    except sqlite3.OperationalError:
        connection.execute("CREATE VIRTUAL TABLE temp.kb_vocabulary USING fts5vocab('main', 'articles_fts', 'row')")


def _nearest(connection: sqlite3.Connection, word: str, index: EvidenceIndex) -> str | None:
    """The commonest word of the index within two slips of the pen of `word`, as it is written in an article."""

    def words_by_letter() -> dict[str, list[tuple[str, int]]]:
        make_vocabulary(connection)
        groups: dict[str, list[tuple[str, int]]] = {}
        for term, documents in connection.execute("SELECT term, doc FROM temp.kb_vocabulary WHERE doc > 1"):
            if len(term) > 2 and term.isalpha():
                groups.setdefault(term[0], []).append((term, documents))
        return groups

    groups = index.memo("vocabulary", words_by_letter)
    stem = re.sub(r"(ing|ed|es|s|e|ion|ational|ive)$", "", word) or word
    slips = 1 if len(word) < 6 else 2
    best: tuple[int, int, str] | None = None
    # A wrong first letter is rare, but it may have changed places with the second.
    for letter in dict.fromkeys(word[:2]):
        for candidate, documents in groups.get(letter, ()):
            if not len(stem) - slips <= len(candidate) <= len(word) + slips:
                continue
            distance = min(_distance(stem, candidate, slips), _distance(word, candidate, slips))
            if distance <= slips:
                key = (distance, -documents, candidate)
                best = min(best, key) if best else key
    return _written(connection, best[2]) if best else None


def _distance(a: str, b: str, most: int) -> int:
    """Insertions, deletions, replacements and swaps of neighbours between two words; `most` + 1 if more."""
    if abs(len(a) - len(b)) > most:
        return most + 1
    before, previous = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
        before, previous = previous, row
    return previous[-1]


def _written(connection: sqlite3.Connection, stem: str) -> str:
    """A stem of the index as articles write it: the word that stands most often for it in a few of them."""
    counts: dict[str, int] = {}
    for row in connection.execute(
        f"SELECT highlight(articles_fts, 0, '{MARK}', '{UNMARK}'), highlight(articles_fts, 2, '{MARK}', '{UNMARK}') "
        "FROM articles_fts WHERE articles_fts MATCH ? LIMIT 20",
        (f'"{stem}"',),
    ):
        for text in row:
            for word in re.findall(f"{MARK}([^{UNMARK}]*){UNMARK}", text or ""):
                counts[word.lower()] = counts.get(word.lower(), 0) + 1
    close = difflib.get_close_matches(stem, counts, n=20, cutoff=0.6)
    return max(close or counts or [stem], key=lambda w: (counts.get(w, 0), w))
