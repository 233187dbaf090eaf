"""References and rows out of the database: RIS, BibTeX, NBIB, CSL-JSON, CSV, and the whole of it.

`export(connection, format, ...)` yields text in pieces, so that ten thousand references
take no more memory than ten. What is selected (a claim, a stance, articles, the result of
a query) is checked before the first piece, and what cannot be exported is said in one line
(`ExportProblem`). `bundle` writes the database file, a CSV of each table, a Frictionless
data package that describes them, and checksums.

Sources of the rules: RIS, the Reference Manager format as EndNote and Zotero read it (one
line a value, `AN` the accession number in the database named by `DB`, `C2` the PMCID);
NBIB, NLM's MEDLINE/PubMed data element list; CSL-JSON, schema csl-data.json 1.0.2.
CSV is verbatim: no value is changed to please a spreadsheet (see docs/exports.md).
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import shutil
import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from kb.schema import STANCES, TABLES

PUBMED = "https://pubmed.ncbi.nlm.nih.gov/"
SUMMARY_MARK = "[Summary written by this project, not the publisher's abstract] "
BATCH = 200  # references fetched at a time
ROWS = 500  # CSV rows formatted at a time


class ExportProblem(Exception):
    """Nothing can be exported; the message says why in one line."""


def write_whole(path: Path, pieces: Iterable[str]) -> None:
    """Write the file, or, if anything goes wrong, leave what was there before. A link stays one: what it leads to
    is written. Devices and pipes are written as they are. Raises ExportProblem.
    """
    part = None
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8", newline="") as out:
                out.writelines(pieces)
            return
        path = path.resolve()
        part = path.with_name(path.name + ".part")
        with part.open("w", encoding="utf-8", newline="") as out:
            out.writelines(pieces)
        part.replace(path)
    except OSError as error:
        raise ExportProblem(f"cannot write {path}: {error.strerror}") from None
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


class UnknownClaim(ExportProblem):
    """There is no such claim."""


class NothingSelected(ExportProblem):
    """The selection holds no article."""


@dataclass(frozen=True)
class Format:
    """A way out. `id` is what the command line says, `extension` how addresses and files end."""

    id: str
    extension: str
    media_type: str
    label: str


FORMATS = {
    f.id: f
    for f in (
        Format("ris", "ris", "application/x-research-info-systems; charset=utf-8", "RIS (Zotero, EndNote)"),
        Format("bibtex", "bib", "application/x-bibtex; charset=utf-8", "BibTeX"),
        Format("nbib", "nbib", "application/nbib; charset=utf-8", "NBIB (PubMed)"),
        Format("csl", "csl.json", "application/vnd.citationstyles.csl+json; charset=utf-8", "CSL-JSON"),
        Format("csv", "csv", "text/csv; charset=utf-8", "CSV"),
    )
}
BY_EXTENSION = {f.extension: f for f in FORMATS.values()} | {
    "csl": FORMATS["csl"],
    "bibtex": FORMATS["bibtex"],
}

CSV_COLUMNS = (
    "article_id",
    "pmid",
    "doi",
    "pmcid",
    "title",
    "authors",
    "journal",
    "published",
    "year",
    "design",
    "level",
    "tier",
    "n",
    "population",
    "claim",
    "stance",
    "sentence",
    "section",
    "confidence",
    "origin",
    "reason",
    "retracted",
    "deleted",
    "abstract_origin",
    "url",
)


# -- what to export --------------------------------------------------------------------------


@dataclass(frozen=True)
class Selection:
    """Which articles, and which of their tags go into the note.

    Nothing given selects everything. `claim` and `stance` narrow the tags and with them the
    articles; `ids` names articles in the order wanted; `query` is a SELECT whose result has a
    column `article_id` (or `pmid`, or `id` of the table articles; see `id_columns`).
    """

    claim: str | None = None
    stance: str | None = None
    ids: Sequence[str] | None = None
    query: str | None = None
    parameters: dict[str, Any] | None = None


@dataclass
class Tag:
    claim: str
    statement: str
    stance: str
    sentence: str
    section: str
    confidence: float
    origin: str


@dataclass
class Person:
    family: str
    given: str = ""
    suffix: str = ""
    literal: str = ""  # a group that signs as author
    role: str = "author"


@dataclass
class Reference:
    """An article as reference managers want it. Empty text where nothing is known."""

    id: str
    fields: dict[str, Any]
    people: list[Person] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)
    keywords: list[str] = field(default_factory=list)
    mesh: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def abstract_line(self) -> str:
        """The abstract in one line; a summary of ours says that it is one."""
        text = clean(self.abstract)
        return SUMMARY_MARK + text if text and self.abstract_origin == "summary" else text

    @property
    def warning(self) -> str:
        """ "RETRACTED: ...", "Withdrawn from PubMed ...", or ""."""
        parts = []
        if self.retracted:
            parts.append(f"RETRACTED. {clean(self.retraction_note)}".strip())
        if self.deleted:
            parts.append(f"No longer in PubMed since {self.deleted[:10]}.")
        return " ".join(parts)

    @property
    def findings(self) -> list[str]:
        """One line a tag: claim, stance, evidence sentence, who says so."""
        lines = []
        for tag in self.tags:
            who = f"tagger, confidence {tag.confidence:.2f}"
            if tag.origin == "reviewer":
                who = "labelled by a reviewer"
            where = f"{tag.section}, of our summary" if self.abstract_origin == "summary" else tag.section
            sentence = f' Evidence sentence ({where}): "{clean(tag.sentence)}"' if tag.sentence else ""
            lines.append(f"Claim {tag.claim}: {tag.stance}.{sentence} [{who}]")
        return lines

    @property
    def date_parts(self) -> list[int]:
        found = _DATE.fullmatch(self.published or "")
        parts = [int(p) for p in found.groups() if p] if found else []
        return parts or ([int(self.year)] if self.year else [])

    @property
    def iso_date(self) -> str:
        parts = self.date_parts
        return "-".join([f"{parts[0]:04}", *(f"{p:02}" for p in parts[1:])]) if parts else ""

    @property
    def page_range(self) -> tuple[str, str]:
        """First and last page, PubMed's short form (681-8) written out."""
        first, _, last = clean(self.pages).partition("-")
        first, last = first.strip(), last.split(",")[0].split(";")[0].strip()
        if last.isdigit() and first.isdigit() and len(last) < len(first):
            last = first[: len(first) - len(last)] + last
        return first, last

    @property
    def key(self) -> str:
        """A citation key that no other article of the database has: Feder2014_24740528."""
        first = next((p for p in self.people if p.role == "author"), None)
        name = (first.literal or first.family) if first else "Anon"
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        plain = re.sub(r"[^A-Za-z]", "", plain)[:30] or "Anon"
        tail = re.sub(r"[^A-Za-z0-9]", "-", self.id)
        if tail != self.id:
            tail += "-" + hashlib.blake2b(self.id.encode(), digest_size=3).hexdigest()
        return f"{plain}{self.year or 'nd'}_{tail}"


_DATE = re.compile(r"(\d{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12]\d|3[01]))?)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SUFFIXES = frozenset(("Jr", "Jr.", "Sr", "Sr.", "2nd", "3rd", "4th", "II", "III", "IV"))


def clean(value: Any) -> str:
    """The value as one line: every run of white space and control characters becomes one blank."""
    if value is None:
        return ""
    text = str(value)
    if not text.isprintable():  # much the quicker test, and true of nearly every value
        text = _CONTROL.sub(" ", text)
    return " ".join(text.split())


def person(
    name: str, last: str | None, fore: str | None, collective: str | None, role: str = "author"
) -> Person:
    """The parts of a name. `name` is as PubMed prints it ("Feder A", "Zarate CA Jr")."""
    name, last, fore = clean(name), clean(last), clean(fore)
    if collective:
        return Person("", literal=clean(collective), role=role)
    if not last:
        words = name.split()
        initials = words[-1] if len(words) > 1 and re.fullmatch(r"[A-Z]{1,4}", words[-1]) else ""
        return Person(" ".join(words[:-1]) if initials else name, initials, role=role)
    rest = name[len(last) :].split() if name.startswith(last) else []
    suffix = rest[-1] if len(rest) > 1 and rest[-1] in _SUFFIXES else ""
    given = fore or " ".join(rest[:-1] if suffix else rest)
    return Person(last, given, suffix, role=role)


# -- reading -----------------------------------------------------------------------------------

_ARTICLE = """
    SELECT id, pmid, doi, pmcid, title, abstract, abstract_origin, journal, journal_abbreviation, issn,
           volume, issue, pages, published, year, language, retracted, retraction_note, deleted, url
    FROM articles WHERE id IN (SELECT value FROM json_each(?))"""
_PEOPLE = """
    SELECT x.article_id, p.name, p.last, p.fore, p.collective, x.role FROM article_authors x
    JOIN authors p ON p.id = x.author_id
    WHERE x.article_id IN (SELECT value FROM json_each(?)) ORDER BY x.article_id, x.position"""
_TAGS = """
    SELECT t.article_id, t.claim_id, c.statement, t.stance, s.text, s.section, t.confidence, t.origin
    FROM tags t JOIN claims c ON c.id = t.claim_id LEFT JOIN sentences s ON s.id = t.sentence_id
    WHERE t.article_id IN (SELECT value FROM json_each(:ids)) AND (:claim IS NULL OR t.claim_id = :claim)
      AND (:stance IS NULL OR t.stance = :stance)
    ORDER BY t.article_id, c.position"""
_NAMES = """
    SELECT article_id, name FROM {} WHERE article_id IN (SELECT value FROM json_each(?))
    ORDER BY article_id, name"""
_MESH = """
    SELECT x.article_id, m.name FROM article_mesh x JOIN mesh_headings m ON m.id = x.mesh_id
    WHERE x.article_id IN (SELECT value FROM json_each(?)) ORDER BY x.article_id, x.position"""
_EVIDENCE_ROWS = """
    SELECT a.id, a.pmid, a.doi, a.pmcid, a.title, a.author_list, a.journal, a.published, a.year,
           a.study_design, a.evidence_level, a.evidence_tier, a.sample_size, a.population, t.claim_id,
           t.stance, s.text, s.section, t.confidence, t.origin, t.reason, a.retracted, a.deleted,
           a.abstract_origin, a.url
    FROM {tables} LEFT JOIN sentences s ON s.id = t.sentence_id {rest}"""


def check(connection: sqlite3.Connection, selection: Selection) -> None:
    """Raise ExportProblem (one line) if the selection names what is not there."""
    if selection.stance is not None and selection.stance not in STANCES:
        raise ExportProblem(f"unknown stance {selection.stance!r}: use one of {', '.join(STANCES)}")
    if (
        selection.claim is not None
        and not connection.execute("SELECT 1 FROM claims WHERE id = ?", (selection.claim,)).fetchone()
    ):
        known = ", ".join(row[0] for row in connection.execute("SELECT id FROM claims ORDER BY position"))
        raise UnknownClaim(f"unknown claim {selection.claim!r}: the claims are {known}")
    if selection.query is not None and (selection.claim or selection.ids is not None):
        raise ExportProblem("give either a query or a claim, not both: put the claim into the query's WHERE")


def id_columns(columns: Sequence[str]) -> list[str]:
    """The columns that name articles, the best first. Raises ExportProblem if there is none.

    article_id alone; else pmid, and id for those without a PMID (articles are known by their
    PMID where they have one). An id counts only where it is text: numbers are other tables' keys.
    """
    lower = {c.lower(): c for c in columns}
    if "article_id" in lower:
        return [lower["article_id"]]
    found = [lower[name] for name in ("pmid", "id") if name in lower]
    if found:
        return found
    raise ExportProblem(
        "the query's result has no column article_id (or pmid): add it to the SELECT, "
        f"e.g. SELECT article_id, ... (it has {', '.join(columns) or 'no columns'})"
    )


def _wanted(columns: Sequence[str]) -> str:
    """SQL for the article that a row of the columns names."""
    parts = []
    for name in id_columns(columns):
        quoted = '"' + name.replace('"', '""') + '"'
        parts.append(f"iif(typeof({quoted}) = 'text', {quoted}, NULL)" if name.lower() == "id" else quoted)
    return f"cast(coalesce({', '.join(parts)}, NULL) AS TEXT)"


def _bare(sql: str) -> str:
    """The statement without the semicolon at its end, ready to stand in parentheses."""
    sql = sql.strip()
    while sql.endswith(";"):
        sql = sql[:-1].rstrip()
    if not re.match(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(select|with)\b", sql, re.IGNORECASE | re.DOTALL):
        raise ExportProblem("the query must be one SELECT statement: exports only read")
    return sql


def _run(connection: sqlite3.Connection, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
    """A cursor of plain tuples. SQL that SQLite refuses becomes an ExportProblem."""
    cursor = connection.cursor()
    cursor.row_factory = None
    try:
        return cursor.execute(sql, parameters)
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise ExportProblem(_sql_problem(error)) from error


def _sql_problem(error: Exception) -> str:
    if "interrupted" in str(error):
        return "the query took too long and was stopped: narrow it with WHERE or LIMIT"
    return f"the SQL cannot be run: {error}"


def _ids(connection: sqlite3.Connection, selection: Selection, order: str) -> Iterator[str]:
    """The ids of the articles selected, each once. `order` is SQL over the alias a."""
    if selection.ids is not None:
        seen = dict.fromkeys(selection.ids)
        yield from seen
        return
    if selection.query is not None:
        sql, parameters = _bare(selection.query), selection.parameters or {}
        columns = [
            d[0] for d in _run(connection, f"SELECT * FROM (\n{sql}\n) LIMIT 0", parameters).description
        ]
        # In the order of the result, each article where it first stands.
        cursor = _run(
            connection,
            f"SELECT a.id FROM (SELECT {_wanted(columns)} AS wanted, row_number() OVER () AS place "
            f"FROM (\n{sql}\n)) q JOIN articles a ON a.id = q.wanted "
            f"GROUP BY a.id ORDER BY {order.format(place='min(q.place)')}",
            parameters,
        )
    elif selection.claim or selection.stance:
        where, values = _tag_filter(selection)
        cursor = _run(
            connection,
            f"SELECT a.id FROM articles a WHERE a.id IN (SELECT t.article_id FROM tags t WHERE {where}) "
            f"ORDER BY {order.format(place='a.year DESC')}, a.id",
            values,
        )
    else:
        order = order.format(place="a.year DESC")
        cursor = _run(connection, f"SELECT a.id FROM articles a ORDER BY {order}, a.id")
    for row in cursor:
        yield row[0]


def _tag_filter(selection: Selection) -> tuple[str, list[str]]:
    pairs = [(c, v) for c, v in (("t.claim_id", selection.claim), ("t.stance", selection.stance)) if v]
    return " AND ".join(f"{column} = ?" for column, _ in pairs), [value for _, value in pairs]


def references(
    connection: sqlite3.Connection, selection: Selection, *, pmid_first: bool = False
) -> Iterator[Reference]:
    """The articles selected, with names, tags and keywords. Only `BATCH` of them are in memory at a time."""
    order = "a.pmid IS NULL, {place}" if pmid_first else "{place}"
    batch: list[str] = []
    for article_id in _ids(connection, selection, order):
        batch.append(article_id)
        if len(batch) == BATCH:
            yield from _fetch(connection, batch, selection)
            batch = []
    if batch:
        yield from _fetch(connection, batch, selection)


def _fetch(connection: sqlite3.Connection, ids: list[str], selection: Selection) -> list[Reference]:
    wanted = (json.dumps(ids),)
    cursor = _run(connection, _ARTICLE, wanted)
    names = [d[0] for d in cursor.description]
    found = {row[0]: Reference(row[0], dict(zip(names[1:], row[1:], strict=True))) for row in cursor}
    for article_id, *name in _run(connection, _PEOPLE, wanted):
        found[article_id].people.append(person(*name))
    values = {"ids": wanted[0], "claim": selection.claim, "stance": selection.stance}
    for article_id, *tag in _run(connection, _TAGS, values):
        found[article_id].tags.append(Tag(*tag))
    for attribute, sql in (
        ("keywords", _NAMES.format("keywords")),
        ("mesh", _MESH),
        ("types", _NAMES.format("publication_types")),
    ):
        for article_id, name in _run(connection, sql, wanted):
            getattr(found[article_id], attribute).append(clean(name))
    return [found[i] for i in ids if i in found]


# -- writing -----------------------------------------------------------------------------------


def export(
    connection: sqlite3.Connection,
    format: str = "ris",
    *,
    claim: str | None = None,
    stance: str | None = None,
    ids: Iterable[str] | None = None,
    query: str | None = None,
    parameters: dict[str, Any] | None = None,
) -> Iterator[str]:
    """The selection as text in `format` (a key of FORMATS, or an extension), in pieces.

    With `query`, CSV is the result of the query itself; the other formats, and CSV of
    anything else, are made of the articles and their tags (CSV_COLUMNS, a row a tag).
    Raises ExportProblem before the first piece: unknown format, claim or stance, SQL that
    cannot be run or has no article id, nothing selected.
    """
    chosen = FORMATS.get(format) or BY_EXTENSION.get(format)
    if chosen is None:
        raise ExportProblem(f"unknown format {format!r}: use one of {', '.join(FORMATS)}")
    selection = Selection(claim, stance, None if ids is None else list(ids), query, parameters)
    check(connection, selection)
    pieces = _in_one_state(connection, chosen, selection)
    first = next(pieces, None)
    if first is None:
        raise NothingSelected("nothing to export: no article matches the selection")
    return _resumed(first, pieces)


def _resumed(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest  # closing this generator closes that one


def _in_one_state(connection: sqlite3.Connection, chosen: Format, selection: Selection) -> Iterator[str]:
    """The pieces, all read from one state of the database, whatever a harvest writes meanwhile."""
    ours = not connection.in_transaction
    try:
        if ours:
            connection.execute("BEGIN")
        if chosen.id == "csv":
            yield from _csv(connection, selection)
        else:
            yield from _WRITERS[chosen.id](references(connection, selection, pmid_first=chosen.id == "nbib"))
    except sqlite3.Error as error:
        raise ExportProblem(_sql_problem(error)) from error
    finally:
        with suppress(sqlite3.ProgrammingError):  # the connection is closed already
            if ours and connection.in_transaction:
                connection.execute("ROLLBACK")


def _csv(connection: sqlite3.Connection, selection: Selection) -> Iterator[str]:
    if selection.query is not None:
        # In parentheses, so that a WITH ... DELETE is a syntax error rather than a DELETE.
        cursor = _run(connection, f"SELECT * FROM (\n{_bare(selection.query)}\n)", selection.parameters or {})
        return csv_rows([d[0] for d in cursor.description or ()], cursor, needs_rows=False)
    if selection.ids is not None:
        return csv_rows(CSV_COLUMNS, _evidence_of(connection, selection))
    where, values = _tag_filter(selection)
    if where:
        tables, rest = (
            "tags t JOIN articles a ON a.id = t.article_id",
            f"WHERE {where} ORDER BY a.year DESC, a.id",
        )
    else:
        tables, rest = "articles a LEFT JOIN tags t ON t.article_id = a.id", ""
    sql = _EVIDENCE_ROWS.format(tables=tables, rest=rest)
    return csv_rows(CSV_COLUMNS, _run(connection, sql, values))


def _evidence_of(connection: sqlite3.Connection, selection: Selection) -> Iterator[tuple[Any, ...]]:
    """The evidence rows of the articles named, in their order, a few hundred articles at a time."""
    ids = list(dict.fromkeys(selection.ids or ()))
    sql = _EVIDENCE_ROWS.format(
        tables="json_each(:ids) j JOIN articles a ON a.id = j.value LEFT JOIN tags t ON t.article_id = a.id "
        "AND (:claim IS NULL OR t.claim_id = :claim) AND (:stance IS NULL OR t.stance = :stance)",
        rest="ORDER BY j.key, t.claim_id",
    )
    for start in range(0, len(ids), BATCH):
        values = {"claim": selection.claim, "stance": selection.stance}
        yield from _run(connection, sql, values | {"ids": json.dumps(ids[start : start + BATCH])})


def csv_rows(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, needs_rows: bool = True
) -> Iterator[str]:
    """CSV by RFC 4180: CRLF, quotes doubled, NULL empty, bytes as base64.

    Without any row it yields nothing, or only the header if no rows are needed.
    """
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    rows = iter(rows)
    started = False
    while True:
        batch = list(islice(rows, ROWS))
        if not started and (batch or not needs_rows):
            writer.writerow(columns)
            started = True
        if not batch:
            if buffer.tell():
                yield buffer.getvalue()
            return
        if any(type(value) is bytes for row in batch for value in row):
            batch = [
                [base64.b64encode(v).decode() if isinstance(v, bytes) else v for v in row] for row in batch
            ]
        writer.writerows(batch)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _pieces(references: Iterable[Reference], one: Callable[[Reference], str]) -> Iterator[str]:
    parts: list[str] = []
    for reference in references:
        parts.append(one(reference))
        if len(parts) >= 50:
            yield "".join(parts)
            parts = []
    if parts:
        yield "".join(parts)


def ris(references: Iterable[Reference]) -> Iterator[str]:
    """RIS, a value a line, lines end in CRLF."""
    return _pieces(references, _ris)


def _ris(r: Reference) -> str:
    first, last = r.page_range
    kind = "JOUR" if r.journal else "GEN"
    lines = [("TY", kind), ("TI", r.title)]
    for p in r.people:
        if p.role in ("author", "editor"):
            name = p.literal or ", ".join(x for x in (p.family, p.given, p.suffix) if x)
            # A comma splits a name for the reader of the file; a group's name has to stay whole.
            lines.append(("AU" if p.role == "author" else "A2", name.replace(",", "") if p.literal else name))
    lines += [
        ("T2", r.journal),
        ("J2", r.journal_abbreviation),
        ("PY", r.date_parts[0] if r.date_parts else ""),
        ("DA", r.iso_date),
        ("VL", r.volume),
        ("IS", r.issue),
        ("SP", first),
        ("EP", last),
        ("SN", r.issn),
        ("DO", r.doi),
        ("C2", r.pmcid),
    ]
    if r.pmid:
        lines += [("AN", r.pmid), ("DB", "PubMed"), ("UR", f"{PUBMED}{r.pmid}/")]
    else:
        lines += [("UR", r.url)]
    lines += [("LA", r.language), ("AB", r.abstract_line)]
    # A semicolon would split one keyword into two for Zotero.
    lines += [("KW", k.replace(";", ",")) for k in dict.fromkeys([*r.mesh, *r.keywords])]
    if r.retracted:
        lines.append(("KW", "Retracted Publication"))
    lines += [("N1", r.warning), ("N1", " || ".join(r.findings))]
    text = "".join(f"{tag}  - {value}\r\n" for tag, v in lines if (value := clean(v)))
    return text + "ER  - \r\n\r\n"


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\textbraceleft{}",  # BibTeX counts \{ as a brace
        "}": r"\textbraceright{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{c: "\\" + c for c in "&%$#_"},
    }
)


def latex(value: Any) -> str:
    """The text with LaTeX's special characters written as commands; braces stay balanced. Unicode is kept."""
    return clean(value).translate(_LATEX)


def _protected(title: str) -> str:
    """The title with words such as PTSD, NMDA, mTOR in braces, so that styles do not lower their case."""
    words = clean(title).split(" ")
    shouting = sum(w.isupper() for w in words) > len(words) / 2
    return " ".join(
        "{" + latex(w) + "}" if not shouting and any(c.isupper() for c in w[1:]) else latex(w) for w in words
    )


def _verbatim(value: Any) -> str:
    """A DOI or address: kept as it is but for what would unbalance the entry."""
    return clean(value).replace("\\", "%5C").replace("{", "%7B").replace("}", "%7D").replace(" ", "%20")


def bibtex(references: Iterable[Reference]) -> Iterator[str]:
    """BibTeX (and biblatex: ISO `date`), UTF-8. `note` holds only a retraction, since styles print it."""
    return _pieces(references, _bibtex)


def _bibtex(r: Reference) -> str:
    first, last = r.page_range

    def names(role: str) -> str:
        return " and ".join(
            "{" + latex(p.literal) + "}"
            if p.literal
            else ", ".join(latex(x) for x in (p.family, p.suffix, p.given) if x)
            for p in r.people
            if p.role == role
        )

    values = [
        ("author", names("author")),
        ("editor", names("editor")),
        ("title", _protected(r.title)),
        ("journal", latex(r.journal)),
        ("shortjournal", latex(r.journal_abbreviation)),
        ("year", r.date_parts[0] if r.date_parts else ""),
        ("date", r.iso_date),
        ("volume", latex(r.volume)),
        ("number", latex(r.issue)),
        ("pages", latex(f"{first}--{last}" if last else first)),
        ("issn", latex(r.issn)),
        ("doi", _verbatim(r.doi)),
        ("pmid", _verbatim(r.pmid)),
        ("pmcid", _verbatim(r.pmcid)),
        ("url", _verbatim(f"{PUBMED}{r.pmid}/" if r.pmid else r.url)),
        ("language", latex(r.language)),
        ("abstract", latex(r.abstract_line)),
        (
            "keywords",
            latex(
                ", ".join(
                    dict.fromkeys(
                        k.replace(",", " ")
                        for k in (*r.mesh, *r.keywords, "Retracted Publication" * bool(r.retracted))
                        if k
                    )
                )
            ),
        ),
        ("note", latex(r.warning)),
        ("annote", latex(" || ".join(r.findings))),
    ]
    body = ",\n".join(f"  {name} = {{{value}}}" for name, value in values if value != "")
    return f"@{'article' if r.journal else 'misc'}{{{r.key},\n{body}\n}}\n\n"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def nbib(references: Iterable[Reference]) -> Iterator[str]:
    """PubMed's MEDLINE format. Records with a PMID first: readers know the format by it."""
    return _pieces(references, _nbib)


def _nbib(r: Reference) -> str:
    parts = r.date_parts
    date = (
        " ".join([str(parts[0]), *(_MONTHS[p - 1] for p in parts[1:2]), *map(str, parts[2:])])
        if parts
        else ""
    )
    lines: list[tuple[str, Any]] = [
        ("PMID", r.pmid),
        ("OWN", "NLM" if r.pmid and r.abstract_origin != "summary" else "KB"),
        ("IS", r.issn),
        ("VI", r.volume),
        ("IP", r.issue),
        ("DP", date),
        ("TI", r.title),
        ("PG", r.pages),
        ("LID", f"{r.doi} [doi]" if r.doi else ""),
        ("AB", r.abstract_line),
    ]
    for p in r.people:
        if p.literal:
            lines.append(("CN", p.literal))
        elif p.role in ("author", "editor"):
            full, short = ("FAU", "AU") if p.role == "author" else ("FED", "ED")
            lines.append((full, ", ".join(x for x in (p.family, p.given, p.suffix) if x)))
            given = p.given.split()
            initials = p.given if len(given) == 1 and p.given.isupper() else "".join(g[0] for g in given)
            lines.append((short, " ".join(x for x in (p.family, initials, p.suffix) if x)))
    types = r.types or ["Journal Article"]
    if r.retracted and "Retracted Publication" not in types:
        types = [*types, "Retracted Publication"]
    lines += [
        ("LA", r.language),
        *(("PT", t) for t in types),
        ("TA", r.journal_abbreviation or r.journal),
        ("JT", r.journal),
        *(("MH", m) for m in r.mesh),
        *(("OT", k) for k in r.keywords),
        ("PMC", r.pmcid),
        ("AID", f"{r.doi} [doi]" if r.doi else ""),
        ("GN", r.warning),
        *(("GN", line) for line in r.findings),
    ]
    return "".join(f"{tag:4}- {value}\n" for tag, v in lines if (value := clean(v))) + "\n"


_LANGUAGES = {
    "eng": "en",
    "ger": "de",
    "fre": "fr",
    "spa": "es",
    "chi": "zh",
    "jpn": "ja",
    "por": "pt",
    "ita": "it",
    "rus": "ru",
    "kor": "ko",
    "pol": "pl",
    "dut": "nl",
    "tur": "tr",
    "dan": "da",
    "nor": "no",
    "swe": "sv",
    "fin": "fi",
    "hun": "hu",
    "cze": "cs",
    "per": "fa",
    "heb": "he",
    "ara": "ar",
    "ukr": "uk",
    "hrv": "hr",
    "gre": "el",
    "rum": "ro",
    "slo": "sk",
    "srp": "sr",
    "slv": "sl",
}


def csl(references: Iterable[Reference]) -> Iterator[str]:
    """CSL-JSON: one array. The claims stand in `note` for people and in `custom.evidence` for programs."""
    start = "[\n"
    for reference in references:
        yield start + json.dumps(csl_item(reference), ensure_ascii=False)
        start = ",\n"
    if start != "[\n":
        yield "\n]\n"


def csl_item(r: Reference) -> dict[str, Any]:
    """The reference as an item of CSL-JSON."""

    def names(role: str) -> list[dict[str, str]]:
        return [
            {"literal": p.literal}
            if p.literal
            else {k: v for k, v in (("family", p.family), ("given", p.given), ("suffix", p.suffix)) if v}
            for p in r.people
            if p.role == role
        ]

    first, last = r.page_range
    item = {
        "id": r.key,
        "type": "article-journal" if r.journal else "article",
        "title": clean(r.title),
        "author": names("author"),
        "editor": names("editor"),
        "container-title": clean(r.journal),
        "container-title-short": clean(r.journal_abbreviation),
        "volume": clean(r.volume),
        "issue": clean(r.issue),
        "page": f"{first}-{last}" if last else first,
        "ISSN": clean(r.issn),
        "DOI": clean(r.doi),
        "PMID": clean(r.pmid),
        "PMCID": clean(r.pmcid),
        "URL": f"{PUBMED}{r.pmid}/" if r.pmid else clean(r.url),
        "language": _LANGUAGES.get(r.language or "", ""),
        "abstract": r.abstract_line,
        "keyword": ", ".join(dict.fromkeys([*r.mesh, *r.keywords])),
        "source": "PubMed" if r.pmid else "",
        "status": "retracted" if r.retracted else "",
        "note": " || ".join(x for x in (r.warning, *r.findings) if x),
    }
    if r.date_parts:
        item["issued"] = {"date-parts": [r.date_parts]}
    if r.tags:
        item["custom"] = {
            "evidence": [
                {
                    "claim": t.claim,
                    "stance": t.stance,
                    "sentence": t.sentence or "",
                    "section": t.section or "",
                    "origin": t.origin,
                    "confidence": t.confidence,
                }
                for t in r.tags
            ]
        }
    return {k: v for k, v in item.items() if v not in ("", [])}


_WRITERS: dict[str, Callable[[Iterable[Reference]], Iterator[str]]] = {
    "ris": ris,
    "bibtex": bibtex,
    "nbib": nbib,
    "csl": csl,
}


# -- the whole of it ---------------------------------------------------------------------------

_TYPES = {"INTEGER": "integer", "REAL": "number", "TEXT": "string", "BLOB": "string"}


def bundle(
    source: str | Path, target: str | Path, progress: Callable[[str], None] | None = None
) -> list[Path]:
    """Write everything into the new folder `target`: kb.db, a CSV a table, datapackage.json, SHA256SUMS.

    kb.db is a compact copy that no other process writes to, fit to be served or archived.
    The folder appears only when it is complete. Returns its files. Raises ExportProblem
    (the folder exists, the disk is full, ...) and schema.DatabaseProblem.
    """
    from kb.schema import connect_read_only

    target = Path(target)
    if target.exists():
        raise ExportProblem(f"{target} exists already: name a new folder, or remove it first")
    connection = connect_read_only(source)
    part = target.with_name(target.name + ".part")
    say = progress or (lambda _: None)
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        say("kb.db")
        snapshot(connection, part / "kb.db")
        connection.close()
        # From here on the copy is read: it is one consistent state, whatever is written meanwhile.
        connection = connect_read_only(part / "kb.db")
        resources = []
        for table in TABLES:
            say(f"{table}.csv")
            resources.append(_table_csv(connection, table, part))
        package = _datapackage(connection, resources)
        text = json.dumps(package, ensure_ascii=False, indent=1) + "\n"
        (part / "datapackage.json").write_text(text, encoding="utf-8")
        connection.close()
        names = sorted(p.name for p in part.iterdir())
        sums = "".join(f"{_sha256(part / name)}  {name}\n" for name in names)
        (part / "SHA256SUMS").write_text(sums, encoding="utf-8")
        part.rename(target)
    except (OSError, sqlite3.Error) as error:
        shutil.rmtree(part, ignore_errors=True)
        reason = getattr(error, "strerror", None) or str(error)
        raise ExportProblem(f"cannot write {target}: {reason}. Nothing was left behind") from error
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    finally:
        connection.close()
    return sorted(target.iterdir())


def snapshot(connection: sqlite3.Connection, target: str | Path) -> None:
    """A compact copy of the database in one file without a write-ahead log. `target` must not exist."""
    connection.execute("VACUUM INTO ?", (str(target),))


def _table_csv(connection: sqlite3.Connection, table: str, folder: Path) -> dict[str, Any]:
    columns = connection.execute(f'PRAGMA table_info("{table}")').fetchall()
    names = [c["name"] for c in columns]
    keys = [c["name"] for c in sorted(columns, key=lambda c: c["pk"]) if c["pk"]]
    order = ", ".join(f'"{k}"' for k in keys) or "rowid"
    cursor = _run(connection, f'SELECT * FROM "{table}" ORDER BY {order}')
    digest, size = hashlib.sha256(), 0
    with (folder / f"{table}.csv").open("wb") as out:
        for piece in csv_rows(names, cursor, needs_rows=False):
            data = piece.encode("utf-8", "replace")
            digest.update(data)
            size += len(data)
            out.write(data)
    fields = []
    for column in columns:
        entry: dict[str, Any] = {"name": column["name"], "type": _TYPES.get(column["type"].upper(), "any")}
        if column["type"].upper() == "BLOB":
            entry["format"] = "binary"
        # An empty text and NULL look the same in CSV, so only numbers can be declared as required.
        if column["notnull"] and column["type"].upper() in ("INTEGER", "REAL"):
            entry["constraints"] = {"required": True}
        fields.append(entry)
    schema: dict[str, Any] = {"fields": fields, "primaryKey": keys, "missingValues": [""]}
    foreign = [
        {"fields": [f["from"]], "reference": {"resource": f["table"], "fields": [f["to"] or "id"]}}
        for f in connection.execute(f'PRAGMA foreign_key_list("{table}")')
    ]
    if foreign:
        schema["foreignKeys"] = foreign
    return {
        "name": table,
        "path": f"{table}.csv",
        "profile": "tabular-data-resource",
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "bytes": size,
        "hash": f"sha256:{digest.hexdigest()}",
        "schema": schema,
    }


def _datapackage(connection: sqlite3.Connection, resources: list[dict[str, Any]]) -> dict[str, Any]:
    """The Frictionless description (Data Package 1.0), with the words of metadata.json."""
    from kb import __version__
    from kb.serving import read_metadata

    metadata = read_metadata()
    tables = metadata["databases"]["kb"]["tables"]
    meta = {row["key"]: row["value"] for row in connection.execute("SELECT key, value FROM meta")}
    for resource in resources:
        words = tables.get(resource["name"], {})
        resource["title"] = words.get("title", "")
        resource["description"] = words.get("description", "")
        for entry in resource["schema"]["fields"]:
            entry["description"] = words.get("columns", {}).get(entry["name"], "")
    return {
        "profile": "tabular-data-package",
        "name": "ketamine-ptsd-evidence",
        "title": metadata["title"],
        "description": metadata["description"],
        "version": f"{__version__}+data.{meta.get('data_version', '0')}",
        "created": meta.get("last_harvest") or meta.get("built", ""),
        "keywords": ["ketamine", "PTSD", "evidence synthesis", "PubMed"],
        "sources": [{"title": metadata["source"], "path": metadata["source_url"]}],
        "licenses": [{"title": metadata["license"], "path": metadata["license_url"]}],
        "meta": meta,
        "resources": resources,
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
