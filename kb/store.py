"""The only writer of the database.

`Store.save` takes records from any source and keeps, in one transaction a batch: the
article and all that hangs on it, what changed in which field, which harvest brought it.
`Store.retag` tags what is new, changed, or was tagged by an older version. A reviewer's
word (a landmark label, or a correction made by a person) outranks the tagger and
survives every re-tagging and harvest.
"""

from __future__ import annotations

import hashlib
import json
import marshal
import re
import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any

from harvest.record import (
    Article,
    Author,
    Correction,
    Deleted,
    Grant,
    Landmark,
    MeshHeading,
    OtherAbstract,
    Quarantined,
)
from kb import schema
from kb.evidence import level_of, tier_of

REVIEWER_LANDMARK = "this project's reviewer"
LONGEST_NOTE, LONGEST_NAME = 2_000, 200  # characters of a review's note and of its reviewer
BATCH = 500
RETRACTED_TYPE = "Retracted Publication"
RETRACTION_KINDS = ("RetractionIn",)

# What an article row takes from the record; the rest of its columns are read from its text
# by the tagger or kept by the store.
_SCALARS = (
    "pmid", "doi", "pmcid", "title", "vernacular_title", "abstract", "abstract_origin", "journal",
    "journal_abbreviation", "issn", "volume", "issue", "pages", "published", "year", "language",
    "author_list", "mesh_list", "keyword_list", "retracted", "retraction_note", "status", "version",
    "copyright", "created", "revised",
)
# Fields of a citation whose change a reader wants to see (not PubMed's book-keeping).
_CHANGES = tuple(f for f in _SCALARS if f not in ("status", "revised", "created", "version"))
_CHILDREN = (
    "article_authors", "article_mesh", "publication_types", "keywords", "trials", "grants",
    "other_abstracts", "corrections",
)
_TAGGED_TABLES = ("conditions", "populations", "species", "routes", "doses")


@dataclass
class Saved:
    """What became of a batch; every run ends with these."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    quarantined: int = 0

    def add(self, other: Saved) -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    @property
    def total(self) -> int:
        return self.new + self.changed + self.unchanged


class UnknownArticle(LookupError):
    """No article has this id, PMID, PMCID or DOI."""


def now() -> str:
    """The time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(maxsize=4096)  # asked for three times in a batch
def title_key(title: str) -> str:
    """A title reduced to its letters and digits, to find the same paper under another id."""
    plain = unicodedata.normalize("NFKD", title).casefold()
    return re.sub(r"[^a-z0-9]+", "", plain)


def article_url(pmid: str | None, doi: str | None, pmcid: str | None) -> str:
    """Where the citation can be read: PubMed, else PMC, else the DOI; "" without any."""
    if pmid:
        return f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/"
    if pmcid:
        return f"https://pmc.ncbi.nlm.nih.gov/articles/{pmcid}/"
    return f"https://doi.org/{doi}" if doi else ""


class Store:
    """Writes to one database. Use as a context manager, or call `close`.

    Raises schema.DatabaseProblem if the database cannot be opened for writing.
    """

    def __init__(self, path: str | Path, *, create: bool = True):
        self.path = Path(path)
        self.db = schema.connect(path, create=create)
        self.connection: sqlite3.Connection = self.db.conn
        self.connection.isolation_level = None  # transactions are ours alone
        self._authors: dict[tuple[str, str], int] = {}
        self._mesh: dict[str, int] = {}

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; taken at once, so that two writers queue rather than deadlock."""
        if self.connection.in_transaction:
            yield self.connection
            return
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute(
                "INSERT INTO meta VALUES ('data_version', '1') "
                "ON CONFLICT (key) DO UPDATE SET value = cast(cast(value AS INTEGER) + 1 AS TEXT)"
            )
            self.connection.execute("COMMIT")
        except BaseException:
            self._authors.clear()  # ids handed out inside are void
            self._mesh.clear()
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    def set_meta(self, key: str, value: str) -> None:
        with self.transaction() as c:
            c.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                      (key, value))

    def meta(self, key: str) -> str | None:
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    # -- claims and facts ------------------------------------------------------------------

    def sync_claims(self, claims: Iterable[Any]) -> None:
        """Make the table `claims` say what the claim files say. Tags of a claim that is gone go with it."""
        claims = list(claims)
        with self.transaction() as c:
            marks = ", ".join("?" * len(claims))
            ids = [claim.id for claim in claims]
            for table in ("tags", "reviews"):
                c.execute(f"DELETE FROM {table} WHERE claim_id NOT IN ({marks})", ids)
            c.execute(f"DELETE FROM claims WHERE id NOT IN ({marks})", ids)
            c.executemany(
                'INSERT INTO claims (id, "group", statement, question, definition, position, first_asked) '
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                '"group" = excluded."group", statement = excluded.statement, question = excluded.question, '
                "definition = excluded.definition, position = excluded.position, first_asked = excluded.first_asked",
                [(x.id, x.group, x.statement, x.question, x.definition, x.position, int(x.first_asked))
                 for x in claims],
            )

    def sync_facts(self, facts: Iterable[dict[str, Any]]) -> None:
        """Make the table `facts` say what facts.jsonl says."""
        rows = [
            (f["id"], f["topic"], f["statement"], f["detail"], f["as_of"], f["source_title"], f["source_url"],
             json.dumps(f["corrects"], ensure_ascii=False), json.dumps(f["patterns"], ensure_ascii=False))
            for f in facts
        ]
        with self.transaction() as c:
            c.execute("DELETE FROM facts")
            c.executemany("INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    # -- harvests --------------------------------------------------------------------------

    def sync_query(self, query_id: str, *, term: str, source: str, purpose: str = "") -> None:
        with self.transaction() as c:
            c.execute(
                "INSERT INTO queries (id, purpose, term, source) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "purpose = excluded.purpose, term = excluded.term, source = excluded.source",
                (query_id, purpose, term, source),
            )

    def begin_harvest(self, source: str, *, query_id: str | None = None, **values: Any) -> int:
        """Open a harvest (one run of one query, or of one set of files) and return its id."""
        row = {"source": source, "query_id": query_id, "started": now(), "status": "running",
               "software_version": _software_version(), **values}
        with self.transaction() as c:
            return _insert(c, "harvests", row)

    def update_harvest(self, harvest_id: int, **values: Any) -> None:
        with self.transaction() as c:
            pairs = ", ".join(f'"{name}" = ?' for name in values)
            c.execute(f"UPDATE harvests SET {pairs} WHERE id = ?", (*values.values(), harvest_id))

    def finish_harvest(self, harvest_id: int, status: str = "done", **values: Any) -> None:
        """Close a harvest. `status` is done, incomplete (something is missing) or failed."""
        with self.transaction():
            self.update_harvest(harvest_id, status=status, finished=now(), **values)
            self.set_meta("last_harvest", now())

    # -- articles --------------------------------------------------------------------------

    def save(
        self, records: Iterable[Article | Deleted | Quarantined], harvest_id: int | None = None,
        then: Callable[[sqlite3.Connection], None] | None = None,
    ) -> Saved:
        """Take in a batch in one transaction: all of it, or, on an error, none of it.

        `then` runs inside the same transaction (a checkpoint that must not come apart from
        what it stands for). Counts are also added to the harvest's row.
        """
        saved = Saved()
        with self.transaction() as c:
            articles: dict[str, Article] = {}
            others: list[Deleted | Quarantined] = []
            for record in records:
                if isinstance(record, Article):
                    previous = articles.get(record.id)
                    if previous is None or record.version >= previous.version:
                        articles[record.id] = record
                else:
                    others.append(record)
            outcomes = self._save_articles(c, list(articles.values()), harvest_id)
            for outcome in outcomes.values():
                setattr(saved, outcome, getattr(saved, outcome) + 1)
            for record in others:
                if isinstance(record, Deleted):
                    saved.deleted += self._delete(c, record, harvest_id)
                else:
                    saved.quarantined += 1
                    _insert(c, "quarantine", {"harvest_id": harvest_id, "record_id": record.id,
                                              "reason": record.reason, "raw": record.raw})
            if harvest_id is not None:
                c.executemany(
                    "INSERT INTO harvest_hits VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    [(harvest_id, article_id, outcome) for article_id, outcome in outcomes.items()],
                )
                c.execute(
                    "UPDATE harvests SET new = new + ?, changed = changed + ?, unchanged = unchanged + ?, "
                    "deleted = deleted + ?, quarantined = quarantined + ? WHERE id = ?",
                    (saved.new, saved.changed, saved.unchanged, saved.deleted, saved.quarantined, harvest_id),
                )
            if then:
                then(c)
        return saved

    def _save_articles(
        self, c: sqlite3.Connection, articles: Sequence[Article], harvest_id: int | None
    ) -> dict[str, str]:
        """Article id to outcome (new, changed, unchanged)."""
        outcomes: dict[str, str] = {}
        known = self._find_known(c, articles)
        fresh: list[tuple[Article, dict[str, Any]]] = []
        stamp = now()
        for article in articles:
            row = _row(article)
            old = known.get(article.id)
            if old is None:
                row.update(first_seen=stamp, last_seen=stamp)
                fresh.append((article, row))
                outcomes[article.id] = "new"
                continue
            article_id = self._adopt(c, old, article)
            outcomes[article_id] = self._update(c, article_id, article, row, stamp, harvest_id)
        if fresh:
            columns = list(fresh[0][1])
            names = ", ".join(f'"{n}"' for n in columns)
            c.executemany(
                f"INSERT INTO articles ({names}) VALUES ({', '.join('?' * len(columns))})",
                [tuple(row.values()) for _, row in fresh],
            )
            self._write_children(c, [article for article, _ in fresh])
            for article, _ in fresh:
                if article.landmark:
                    self._write_landmark(c, article.id, article.landmark)
        return outcomes

    def _find_known(self, c: sqlite3.Connection, articles: Sequence[Article]) -> dict[str, sqlite3.Row]:
        """For each article id of the batch the row it already has, under whatever identifier."""
        columns = ("id", "pmid", "doi", "pmcid", "title_key", "year", "abstract_origin", "content_hash", "version",
                   "deleted")
        found: dict[str, dict[str, dict[str, Any]]] = {k: {} for k in ("id", "pmid", "doi", "pmcid", "title_key")}
        wanted = {
            "id": [a.id for a in articles],
            "pmid": [a.pmid for a in articles if a.pmid and a.pmid != a.id],
            "pmcid": [a.pmcid for a in articles if a.pmcid],
            "doi": [a.doi.lower() for a in articles if a.doi],
            "title_key": [title_key(a.title) for a in articles if not a.pmid],
        }
        queries = [
            (column, f"{column} IN ({', '.join('?' * len(part))})", part)
            for column, values in wanted.items()
            for part in (values[start:start + 500] for start in range(0, len(values), 500))
        ]
        # What has a PMID can only be the same paper as one without: there are few of those.
        queries.append(("title_key", "pmid IS NULL", []))
        for column, condition, values in queries:
            for values_ in c.execute(f"SELECT {', '.join(columns)} FROM articles WHERE {condition}", values):
                row = dict(zip(columns, values_, strict=True))
                found[column].setdefault(row[column], row)
        result = {}
        for article in articles:
            key = title_key(article.title)
            row = found["id"].get(article.id)
            for column in ("pmid", "doi", "pmcid"):
                value = getattr(article, column)
                row = row or (found[column].get(value.lower() if column == "doi" else value) if value else None)
            if row is None and len(key) > 30:
                # Same title and year, and one of the two has no PMID to say otherwise.
                same = found["title_key"].get(key)
                if same and same["year"] == article.year and not (same["pmid"] and article.pmid):
                    row = same
            if row and row["pmid"] and article.pmid and row["pmid"] != article.pmid:
                row = None  # a notice or a part that shares the DOI is another citation
            if row:
                result[article.id] = row
        return result

    def _adopt(self, c: sqlite3.Connection, old: dict[str, Any], article: Article) -> str:
        """The id the article goes by from now on: a PMID takes the place of any other."""
        if old["id"] == article.id or not article.pmid or old["pmid"]:
            return old["id"]
        c.execute("UPDATE articles SET id = ? WHERE id = ?", (article.pmid, old["id"]))
        return article.pmid

    def _update(
        self, c: sqlite3.Connection, article_id: str, article: Article, row: dict[str, Any], stamp: str,
        harvest_id: int | None,
    ) -> str:
        columns = (*_SCALARS, "source", "content_hash", "deleted", "last_seen")
        old = dict(zip(columns, c.execute(
            f"SELECT {', '.join(columns)} FROM articles WHERE id = ?", (article_id,)).fetchone(), strict=True))
        if article.landmark:
            labels_changed = self._write_landmark(c, article_id, article.landmark)
            if old["abstract_origin"] == "publisher" or old["source"] != article.source:
                # The citation itself is PubMed's by now; only our reviewers' word is news.
                return "changed" if labels_changed else "unchanged"
        else:
            labels_changed = False
        if article.version < (old["version"] or 0):
            return "unchanged"
        if old["source"] != "landmarks" and article.revised and article.revised < (old["revised"] or ""):
            return "unchanged"  # an answer older than what is here, e.g. from a file of last year
        if old["content_hash"] == row["content_hash"] and not old["deleted"] and not labels_changed:
            if (old["last_seen"] or "")[:10] != stamp[:10]:
                c.execute("UPDATE articles SET last_seen = ? WHERE id = ?", (stamp, article_id))
            return "unchanged"
        if not article.sections and old["abstract_origin"] == "summary":
            row["abstract"], row["abstract_origin"] = old["abstract"], "summary"
        for name in ("pmid", "doi", "pmcid"):
            row[name] = row[name] or old[name]
        row["url"] = article_url(row["pmid"], row["doi"], row["pmcid"])
        differences = [
            (article_id, harvest_id, stamp, name, _text(old[name]), _text(row[name]))
            for name in _CHANGES if _text(old[name]) != _text(row[name])
        ]
        if old["deleted"]:
            differences.append((article_id, harvest_id, stamp, "deleted", old["deleted"], None))
        c.executemany(
            "INSERT INTO changes (article_id, harvest_id, at, field, old, new) VALUES (?, ?, ?, ?, ?, ?)",
            differences,
        )
        row = {**row, "id": article_id, "last_seen": stamp, "deleted": None}
        touched = {d[3] for d in differences}
        if touched & {"title", "abstract", "mesh_list"} or labels_changed or touched == set():
            row["tagger_version"] = None
        pairs = ", ".join(f'"{name}" = ?' for name in row)
        c.execute(f"UPDATE articles SET {pairs} WHERE id = ?", (*row.values(), article_id))
        for table in _CHILDREN:
            c.execute(f"DELETE FROM {table} WHERE article_id = ?", (article_id,))
        c.execute("DELETE FROM substances WHERE article_id = ? AND origin = 'pubmed'", (article_id,))
        self._write_children(c, [article], article_id)
        return "changed"

    def _delete(self, c: sqlite3.Connection, record: Deleted, harvest_id: int | None) -> int:
        """Mark a citation that PubMed withdrew: shown, not counted, never silently gone."""
        row = c.execute("SELECT id, deleted FROM articles WHERE id = ? OR pmid = ?", (record.id, record.id)).fetchone()
        if not row or row[1]:
            return 0
        stamp = now()
        c.execute("UPDATE articles SET deleted = ? WHERE id = ?", (stamp, row[0]))
        _insert(c, "changes", {"article_id": row[0], "harvest_id": harvest_id, "at": stamp, "field": "deleted",
                               "old": None, "new": f"{stamp} ({record.reason})"})
        return 1

    def _write_children(self, c: sqlite3.Connection, articles: Sequence[Article], as_id: str | None = None) -> None:
        rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in (*_CHILDREN, "substances")}
        for a in articles:
            i = as_id or a.id
            rows["article_authors"] += [
                (i, n, self._author_id(c, x), x.role, "; ".join(x.affiliations) or None)
                for n, x in enumerate(a.authors)
            ]
            rows["article_mesh"] += [
                (i, n, self._mesh_id(c, m.descriptor, m.ui), int(m.major),
                 "; ".join(f"{q}*" if major else q for q, _, major in m.qualifiers) or None)
                for n, m in enumerate(a.mesh)
            ]
            rows["article_mesh"] += [
                (i, n, self._mesh_id(c, name, ui), 0, None)
                for n, (name, ui, _) in enumerate(a.supplementary_concepts, len(a.mesh))
            ]
            rows["publication_types"] += [(i, x) for x in dict.fromkeys(a.publication_types)]
            rows["keywords"] += [(i, x) for x in dict.fromkeys(a.keywords)]
            rows["trials"] += [(i, x) for x in dict.fromkeys(a.trials)]
            rows["grants"] += [(None, i, g.number or None, g.agency or None, g.country or None) for g in a.grants]
            rows["other_abstracts"] += [(None, i, o.language, o.kind, o.text) for o in a.other_abstracts]
            rows["corrections"] += [
                (None, i, x.kind, x.other_id or None, x.citation or None, x.note or None) for x in a.corrections
            ]
            rows["substances"] += [(i, name, "pubmed", number or None)
                                   for name, number in dict(reversed(a.substances)).items()]
        for table, values in rows.items():
            if values:
                c.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values[0]))})", values)

    def _author_id(self, c: sqlite3.Connection, author: Any) -> int:
        key = (author.name, author.orcid)
        if key not in self._authors:
            row = c.execute("SELECT id FROM authors WHERE name = ? AND orcid = ?", key).fetchone()
            self._authors[key] = row[0] if row else _insert(
                c, "authors", {"name": author.name, "last": author.last or None, "fore": author.fore or None,
                               "collective": author.collective or None, "orcid": author.orcid})
            if len(self._authors) > 200_000:
                self._authors = {key: self._authors[key]}
        return self._authors[key]

    def _mesh_id(self, c: sqlite3.Connection, name: str, ui: str) -> int:
        if name not in self._mesh:
            row = c.execute("SELECT id FROM mesh_headings WHERE name = ?", (name,)).fetchone()
            self._mesh[name] = row[0] if row else _insert(c, "mesh_headings", {"name": name, "ui": ui or None})
        return self._mesh[name]

    def _write_landmark(self, c: sqlite3.Connection, article_id: str, landmark: Landmark) -> bool:
        """Keep the reviewer's note and labels of a landmark study. True if they differ from before."""
        values = asdict(landmark)
        labels = values.pop("labels")
        values["summary"] = "\n".join(f"{s.label}: {s.text}" for s in landmark.summary)
        row = {"article_id": article_id, **{k: (v if v != "" else None) for k, v in values.items()}}
        columns = list(row)
        old = c.execute(f"SELECT {', '.join(columns)} FROM landmarks WHERE article_id = ?", (article_id,)).fetchone()
        old_labels = c.execute(
            "SELECT claim_id, stance, note FROM reviews WHERE article_id = ? AND reviewer = ? ORDER BY claim_id",
            (article_id, REVIEWER_LANDMARK)).fetchall()
        new_labels = sorted((x["claim"], x["stance"], x["rationale"]) for x in labels)
        if old == tuple(row.values()) and old_labels == new_labels:
            return False
        c.execute(
            f"INSERT OR REPLACE INTO landmarks ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
            tuple(row.values()))
        c.execute("DELETE FROM reviews WHERE article_id = ? AND reviewer = ?", (article_id, REVIEWER_LANDMARK))
        c.executemany(
            "INSERT INTO reviews (article_id, claim_id, stance, reviewer, note, at) VALUES (?, ?, ?, ?, ?, ?)",
            [(article_id, claim, stance, REVIEWER_LANDMARK, note, now()) for claim, stance, note in new_labels])
        return True

    # -- tagging ---------------------------------------------------------------------------

    def untagged(self, version: str) -> int:
        """How many articles are new, changed, or were tagged by another version."""
        return self.connection.execute(
            "SELECT count(*) FROM articles WHERE tagger_version IS NOT ?", (version,)).fetchone()[0]

    def retag(
        self, tag_many: Callable[..., Any], version: str, *, everything: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Tag what needs it, a batch a transaction; a run that was cut off goes on where it stopped.

        `tag_many` is `kb.tagging.tag_many`; `version` its TAGGER_VERSION. Returns the number of articles tagged.
        """
        if everything:
            with self.transaction() as c:
                c.execute("UPDATE articles SET tagger_version = NULL")
        done = 0
        while True:
            batch = self.connection.execute(
                "SELECT id, title, abstract, mesh_list FROM articles WHERE tagger_version IS NOT ? LIMIT ?",
                (version, BATCH)).fetchall()
            if not batch:
                if done:
                    self.set_meta("tagger_version", version)
                return done
            with self.transaction() as c:
                texts = [
                    (title, abstract, mesh.split("; ") if mesh else [], [r[0] for r in c.execute(
                        "SELECT name FROM publication_types WHERE article_id = ?", (article_id,))])
                    for article_id, title, abstract, mesh in batch]
                for (article_id, *_), tagged in zip(batch, tag_many(texts), strict=True):
                    self._write_tags(c, article_id, tagged, version)
            done += len(batch)
            if progress:
                progress(len(batch))

    def _write_tags(self, c: sqlite3.Connection, article_id: str, tagged: Any, version: str) -> None:
        stamp = now()
        before = dict(c.execute("SELECT claim_id, stance FROM tags WHERE article_id = ?", (article_id,)).fetchall())
        c.execute("DELETE FROM tags WHERE article_id = ?", (article_id,))
        c.execute("DELETE FROM sentences WHERE article_id = ?", (article_id,))
        c.executemany(
            'INSERT INTO sentences (article_id, position, section, text, start, "end") VALUES (?, ?, ?, ?, ?, ?)',
            [(article_id, s.position, s.section, s.text, s.start, s.end) for s in tagged.sentences])
        ids = dict(c.execute("SELECT position, id FROM sentences WHERE article_id = ?", (article_id,)).fetchall())
        text = {s.position: s.text for s in tagged.sentences}
        section = {s.position: s.section for s in tagged.sentences}
        reviews = _reviews(c, article_id)
        # A reviewer read the study behind our own summary for these claims: the tagger finds the sentences for the
        # labels, but adds no finding of its own from our paraphrase. A claim added later it tags here as well.
        read_for: set[str] = set()
        if c.execute("SELECT abstract_origin = 'summary' FROM articles WHERE id = ?", (article_id,)).fetchone()[0]:
            read_for = {r[0] for r in c.execute(
                "SELECT DISTINCT claim_id FROM reviews WHERE reviewer = ?", (REVIEWER_LANDMARK,))}
        found = {t.claim: t for t in tagged.tags if t.claim in reviews or t.claim not in read_for}
        evidence: list[str] = []
        now_tagged: dict[str, str] = {}
        for claim in dict.fromkeys([*found, *reviews]):
            machine, review = found.get(claim), reviews.get(claim)
            if review and review["stance"] == "rejected":
                continue
            positions = list(machine.sentences) if machine else []
            if review and (machine is None or machine.stance != review["stance"]):
                # The tagger's sentence shows another stance: the reviewer's rationale leads to the right one.
                finding = review["stance"] != "background"
                closest = _closest(review["note"], tagged.sentences, own_result=finding)
                positions = (closest + [p for p in positions if p not in closest])[:3]
            if review and review["stance"] != "background":
                # A background sentence shows no finding; without a better one the rationale stands alone.
                positions = [p for p in positions if section[p] not in _NO_RESULT[1:]]
            row = {
                "article_id": article_id, "claim_id": claim, "tagged": stamp, "tagger_version": version,
                "sentence_id": ids[positions[0]] if positions else None,
                "stance": review["stance"] if review else machine.stance,
                "confidence": 1.0 if review else machine.confidence,
                "origin": "reviewer" if review else "tagger",
                "reason": _reason(c, article_id, review, machine and machine.stance) if review else machine.reason,
            }
            tag_id = _insert(c, "tags", row)
            now_tagged[claim] = row["stance"]
            c.executemany("INSERT INTO evidence_sentences VALUES (?, ?, ?)",
                          [(tag_id, ids[p], rank) for rank, p in enumerate(positions[1:], 2)])
            if positions and row["stance"] != "background":
                evidence.append(text[positions[0]])
        if before:
            c.executemany(
                "INSERT INTO changes (article_id, at, field, old, new) VALUES (?, ?, ?, ?, ?)",
                [(article_id, stamp, f"tag:{claim}", before.get(claim), now_tagged.get(claim))
                 for claim in sorted({*before, *now_tagged}) if before.get(claim) != now_tagged.get(claim)])
        self._write_facets(c, article_id, tagged, version, " ".join(dict.fromkeys(evidence)))

    def _write_facets(self, c: sqlite3.Connection, article_id: str, tagged: Any, version: str, evidence: str) -> None:
        facets = tagged.facets
        landmark = c.execute(
            "SELECT study_design, sample_size FROM landmarks WHERE article_id = ?", (article_id,)).fetchone()
        design = (landmark and landmark[0]) or facets.study_design
        size = landmark[1] if landmark and landmark[1] is not None else facets.sample_size
        c.execute(
            "UPDATE articles SET study_design = ?, evidence_tier = ?, evidence_level = ?, sample_size = ?, "
            "species = ?, population = ?, schedule = ?, control = ?, text_language = ?, evidence_text = ?, "
            "tagger_version = ? WHERE id = ?",
            (design, tier_of(design), level_of(design), size, ", ".join(facets.species),
             ", ".join(facets.population), facets.schedule or None, facets.control or None, tagged.language,
             evidence, version, article_id))
        for table in _TAGGED_TABLES:
            c.execute(f"DELETE FROM {table} WHERE article_id = ?", (article_id,))
        c.execute("DELETE FROM substances WHERE article_id = ? AND origin = 'text'", (article_id,))
        for table, names in (("conditions", facets.conditions), ("populations", facets.population),
                             ("species", facets.species), ("routes", facets.routes)):
            c.executemany(f"INSERT INTO {table} VALUES (?, ?)", [(article_id, x) for x in dict.fromkeys(names)])
        c.executemany("INSERT INTO substances VALUES (?, ?, 'text', NULL)",
                      [(article_id, x) for x in dict.fromkeys(facets.substances)])
        c.executemany(
            "INSERT INTO doses (article_id, substance, amount, amount_high, unit, minutes, text) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(article_id, d.substance, d.amount, d.amount_high, d.unit, d.minutes, d.text) for d in facets.doses])

    # -- a person's word -------------------------------------------------------------------

    def review(self, article_id: str, claim_id: str, stance: str, *, reviewer: str, note: str = "") -> None:
        """Keep a person's word on one tag: a stance, or "rejected". The next `retag` puts it in force.

        Line breaks and control characters in the reviewer and the note become spaces. Raises UnknownArticle,
        ValueError for an unknown claim or stance, an empty reviewer, or text that is too long or no Unicode.
        """
        if stance not in (*schema.STANCES, "rejected"):
            raise ValueError(f"unknown stance {stance!r}: use one of {', '.join(schema.STANCES)} or rejected")
        reviewer = _said_by_a_person(reviewer, "the reviewer's name", LONGEST_NAME)
        note = _said_by_a_person(note, "the note", LONGEST_NOTE)
        if not reviewer:
            raise ValueError("a review needs the reviewer's name")
        if reviewer == REVIEWER_LANDMARK:
            raise ValueError(f"the name {reviewer!r} stands for the labels that came with the studies: give your own")
        with self.transaction() as c:
            if not c.execute("SELECT 1 FROM articles WHERE id = ?", (article_id,)).fetchone():
                raise UnknownArticle(article_id)
            if not c.execute("SELECT 1 FROM claims WHERE id = ?", (claim_id,)).fetchone():
                raise ValueError(f"unknown claim {claim_id!r}: `kb claims` lists them")
            c.execute(
                "INSERT INTO reviews (article_id, claim_id, stance, reviewer, note, at) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (article_id, claim_id, reviewer) DO UPDATE SET "
                "stance = excluded.stance, note = excluded.note, at = excluded.at",
                (article_id, claim_id, stance, reviewer, note, now()))
            c.execute("UPDATE articles SET tagger_version = NULL WHERE id = ?", (article_id,))


def _insert(c: sqlite3.Connection, table: str, row: dict[str, Any]) -> int:
    names = ", ".join(f'"{name}"' for name in row)
    cursor = c.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
    return int(cursor.lastrowid or 0)


def _row(article: Article) -> dict[str, Any]:
    """The columns of `articles` that a record settles, and the hash over all it says."""
    retraction = next((x for x in article.corrections if x.kind in RETRACTION_KINDS), None)
    retracted = article.retracted or retraction is not None or RETRACTED_TYPE in article.publication_types
    note = None
    if retracted:
        note = (retraction and (retraction.citation or retraction.note)) or "Marked as a retracted publication"
    doi = article.doi.lower() if article.doi else None
    abstract = article.abstract
    row = {
        "id": article.id, "pmid": article.pmid, "doi": doi, "pmcid": article.pmcid, "title": article.title,
        "vernacular_title": article.vernacular_title or None, "abstract": abstract,
        "abstract_origin": article.abstract_origin if abstract else "none",
        "journal": article.journal or None, "journal_abbreviation": article.journal_abbreviation or None,
        "issn": article.issn or None, "volume": article.volume or None, "issue": article.issue or None,
        "pages": article.pages or None, "published": article.published or None, "year": article.year,
        "language": article.language or None,
        "author_list": ", ".join(a.name for a in article.authors if a.role == "author"),
        "mesh_list": "; ".join(
            [*(m.descriptor for m in article.mesh), *(name for name, _, _ in article.supplementary_concepts)]),
        "keyword_list": "; ".join(article.keywords),
        "retracted": int(retracted), "retraction_note": note, "url": article_url(article.pmid, doi, article.pmcid),
        "source": article.source, "status": article.status or None, "version": article.version,
        "copyright": article.copyright or None, "created": article.created or None,
        "revised": article.revised or None, "title_key": title_key(article.title),
    }
    # The source is left out: files and HTTP bring the same citation.
    said = (
        [v for k, v in row.items() if k != "source"],
        [_said(record) for record in (*article.authors, *article.mesh, *article.grants, *article.corrections,
                                      *article.other_abstracts)],
        article.substances, article.publication_types, article.trials, article.supplementary_concepts,
    )
    row["content_hash"] = hashlib.blake2b(marshal.dumps(said, 2), digest_size=16).hexdigest()
    return row


_FIELDS = {
    kind: attrgetter(*(f.name for f in fields(kind)))
    for kind in (Author, MeshHeading, Grant, Correction, OtherAbstract)
}


def _said(record: Author | MeshHeading | Grant | Correction | OtherAbstract) -> tuple[Any, ...]:
    return _FIELDS[type(record)](record)


def _reviews(c: sqlite3.Connection, article_id: str) -> dict[str, dict[str, Any]]:
    """The word that counts on each claim: a person's latest correction, else the landmark label.

    `before` is the stance of the word that it took the place of, None without one.
    """
    result: dict[str, dict[str, Any]] = {}
    for claim, stance, reviewer, note, at in c.execute(
        "SELECT claim_id, stance, reviewer, note, at FROM reviews WHERE article_id = ? "
        "ORDER BY reviewer = ? DESC, at, id", (article_id, REVIEWER_LANDMARK)
    ):
        before = result[claim]["stance"] if claim in result else None
        result[claim] = {"stance": stance, "reviewer": reviewer, "note": note, "at": at, "before": before}
    return result


def _reason(c: sqlite3.Connection, article_id: str, review: dict[str, Any], machine: str | None) -> str:
    """What a reviewed tag says of itself; for a person's word `review_said` reads it back.

    "corrected from supports to mixed by A. Reader on 2026-05-01 (the text changed on 2026-06-02): gone by day 7"
    """
    if review["reviewer"] == REVIEWER_LANDMARK:
        who = f"labelled by {REVIEWER_LANDMARK}"
    else:
        before = review["before"] or machine
        changed_to = f"corrected from {before} to {review['stance']}" if before else "added"
        did = "accepted" if before == review["stance"] else changed_to
        who = f"{did} by {review['reviewer']} on {review['at'][:10]}"
        changed = c.execute(
            "SELECT max(at) FROM changes WHERE article_id = ? AND field IN ('title', 'abstract') AND at > ?",
            (article_id, review["at"])).fetchone()[0]
        if changed:
            who += f" (the text changed on {changed[:10]})"
    return f"{who}: {review['note']}" if review["note"] else who


def review_said(reason: str, reviewer: str | None) -> dict[str, str]:
    """What the reason of a tag tells of a person's review: did, before, at and changed ("" where not told)."""
    found = re.match(
        r"(?P<did>accepted|corrected|added|labelled)(?: from (?P<before>\w+))?(?: to \w+)? "
        rf"by {re.escape(reviewer or '')}"
        r" on (?P<at>[\d-]{10})(?: \(the text changed on (?P<changed>[\d-]{10})\))?", reason)
    return found.groupdict("") if found else dict.fromkeys(("did", "before", "at", "changed"), "")


def rejections(article: dict[str, Any]) -> list[dict[str, Any]]:
    """The reviews of an article (as `kb.reading.article` gives it) that keep a claim from being tagged.

    Each: claim_id, reviewer, note, at, and changed: when the title or abstract last changed since then, or "".
    """
    standing: dict[str, dict[str, Any]] = {}
    for review in sorted(article["reviews"], key=lambda r: r["reviewer"] != REVIEWER_LANDMARK):
        standing[review["claim_id"]] = review
    texts = [c["at"] for c in article["changes"] if c["field"] in ("title", "abstract")]
    return [
        {**r, "changed": max((at for at in texts if at > r["at"]), default="")}
        for r in standing.values() if r["stance"] == "rejected"]


def one_line(text: str) -> str:
    """Text for one line of a terminal or page: control characters and line breaks are spaces, half characters "?"."""
    text = text.encode("utf-8", "replace").decode()
    return " ".join(
        "".join(" " if unicodedata.category(x) in ("Cc", "Zl", "Zp") or x in _TURNS else x for x in text).split())


_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # would turn the words around it


def _said_by_a_person(text: str, what: str, longest: int) -> str:
    if any("\ud800" <= x <= "\udfff" for x in text):
        raise ValueError(f"{what} is not readable text: it must be UTF-8")
    text = one_line(text)
    if len(text) > longest:
        raise ValueError(f"{what} has {len(text):,} characters: at most {longest:,} are kept")
    return text


_WORD = re.compile(r"[a-z0-9]{4,}")
_NO_RESULT = ("TITLE", "BACKGROUND", "OBJECTIVE", "METHODS")
_COMMON = frozenset("after also been both compared drug ketamine more from given group only over patients reported "
                    "show shown studies study than that their them they this treatment were when which with".split())


def _closest(note: str, sentences: Sequence[Any], *, own_result: bool) -> list[int]:
    """The sentence that shares most with a reviewer's rationale (longer words weigh more); none if hardly any.

    For a finding only sentences that may report one are looked at: no title, background, aim or method.
    """
    want = set(_WORD.findall(note.casefold())) - _COMMON
    among = [s for s in sentences if s.position and not (own_result and s.section in _NO_RESULT)]
    scored = [(sum(map(len, want & set(_WORD.findall(s.text.casefold())))), s.position) for s in among]
    best, position = max(scored, default=(0, 0))
    return [position] if best >= 8 else []


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _software_version() -> str:
    from kb import __version__

    return __version__
