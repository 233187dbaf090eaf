"""Harvests into the database: the checkpoint over the store, and the loading of files.

One harvest at a time writes to a database: `harvest_lock` is held for the whole run and is
given up by the operating system when the process ends, however it ends.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from harvest.files import SOURCE as FILES
from harvest.files import BadFile, TopicFilter, digest, read_file
from harvest.pubmed import SOURCE as PUBMED
from harvest.pubmed import Query, Resumed, Run, Summary
from harvest.pubmed_xml import NotPubmedXML, Record, Truncated
from harvest.record import Article, Deleted
from kb.store import Saved, Store, now

BATCH = 1000  # citations of a file that are stored at once
LEFT = "left"  # harvest_hits.outcome: the search no longer finds the article


class AnotherHarvest(Exception):
    """Another process is harvesting into the same database. The text says so."""


@contextmanager
def harvest_lock(database: Path) -> Iterator[None]:
    """Hold the lock file beside `database`. Raises AnotherHarvest at once if somebody else holds it."""
    import fcntl

    path = database.with_name(database.name + ".harvest-lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            who = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            raise AnotherHarvest(
                f"another harvest{f' (process {who})' if who.isdigit() else ''} is writing to {database}: "
                "wait until it has finished, then run this again"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


# ---------------------------------------------------------------- PubMed over HTTP


class StoreCheckpoint:
    """Keeps the run of one search in the tables queries, harvests, harvest_slices and harvest_hits."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.harvest_id: int | None = None

    def completed(self, query: Query) -> str | None:
        row = self.store.connection.execute(
            "SELECT max(started) FROM harvests WHERE query_id = ? AND term_hash = ? "
            "AND status IN ('done', 'incomplete')",
            (query.id, _hash(query.term)),
        ).fetchone()
        return row[0]

    def begin(self, run: Run) -> Resumed:
        c, query = self.store.connection, run.query
        window = run.mode == "window"
        key = _hash(query.term, run.since, run.until, str(run.limit)) if window else _hash(query.term)
        row = c.execute(
            "SELECT id FROM harvests WHERE query_id = ? AND term_hash = ? AND coalesce(since, '') = ? "
            "AND status IN ('running', 'failed') ORDER BY id DESC LIMIT 1",
            (query.id, key, run.since),
        ).fetchone()
        values = {
            "term": run.term,
            "translation": run.translation,
            "hits": run.hits,
            "warnings": json.dumps(run.warnings, ensure_ascii=False) if run.warnings else None,
        }
        with self.store.transaction():
            self.store.sync_query(query.id, term=query.term, source=PUBMED, purpose=query.purpose)
            if row:
                self.harvest_id = row[0]
                self.store.update_harvest(self.harvest_id, status="running", message=None, finished=None, **values)
            else:
                self.harvest_id = self.store.begin_harvest(
                    PUBMED,
                    query_id=query.id,
                    term_hash=key,
                    since=run.since or None,
                    until=run.until or None,
                    **values,
                )
        parts = c.execute(
            "SELECT part, found FROM harvest_slices WHERE harvest_id = ? AND finished IS NOT NULL", (self.harvest_id,)
        )
        fetched = c.execute(
            "SELECT a.pmid FROM harvest_hits h JOIN articles a ON a.id = h.article_id "
            "WHERE h.harvest_id = ? AND a.pmid IS NOT NULL",
            (self.harvest_id,),
        )
        return Resumed(dict(parts.fetchall()), {pmid for (pmid,) in fetched})

    def save(self, records: Sequence[Record], *, hits: bool = True) -> Saved:
        # Articles that are not hits get the outcome "left" right after (see `left`).
        return self.store.save(records, self.harvest_id)

    def finish_part(self, part: str, expected: int, found: int) -> None:
        with self.store.transaction() as c:
            c.execute(
                "INSERT INTO harvest_slices (harvest_id, part, expected, found, finished) VALUES (?, ?, ?, ?, ?)",
                (self.harvest_id, part, expected, found, now()),
            )

    def hits(self, query: Query) -> set[str]:
        # With max(), SQLite takes the other columns from the row that holds it: the latest word on each article.
        rows = self.store.connection.execute(
            "SELECT pmid FROM (SELECT a.pmid, h.outcome, max(h.harvest_id) FROM harvest_hits h "
            "JOIN harvests v ON v.id = h.harvest_id JOIN articles a ON a.id = h.article_id "
            "WHERE v.query_id = ? AND a.pmid IS NOT NULL AND a.deleted IS NULL GROUP BY h.article_id) "
            "WHERE outcome <> ?",
            (query.id, LEFT),
        )
        return {pmid for (pmid,) in rows}

    def left(self, pmids: Sequence[str]) -> None:
        with self.store.transaction() as c:
            c.executemany(
                "INSERT INTO harvest_hits SELECT ?, id, ? FROM articles WHERE pmid = ? "
                "ON CONFLICT (harvest_id, article_id) DO UPDATE SET outcome = excluded.outcome",
                [(self.harvest_id, LEFT, pmid) for pmid in pmids],
            )

    def end(self, summary: Summary) -> None:
        _finish(
            self.store,
            self.harvest_id,
            summary.status,
            summary.message,
            found=summary.found,
            missing=len(summary.missing) + summary.shortfall,
            requests=summary.requests,
            retries=summary.retries,
            seconds=summary.seconds,
            warnings=summary.warnings,
        )


def _finish(
    store: Store,
    harvest_id: int | None,
    status: str,
    message: str,
    *,
    found: int,
    missing: int = 0,
    requests: int = 0,
    retries: int = 0,
    seconds: float = 0.0,
    warnings: Sequence[str] = (),
) -> None:
    """Close the harvest's row; what adds up over the sittings of an interrupted run is added."""
    if harvest_id is None:
        return
    with store.transaction() as c:
        c.execute(
            "UPDATE harvests SET requests = requests + ?, retries = retries + ?, seconds = seconds + ? WHERE id = ?",
            (requests, retries, round(seconds, 1), harvest_id),
        )
        store.finish_harvest(
            harvest_id,
            status,
            message=message or None,
            found=found,
            missing=missing,
            warnings=json.dumps(list(warnings), ensure_ascii=False) if warnings else None,
        )


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


# ---------------------------------------------------------------- PubMed XML files


@dataclass
class FileSummary:
    """What one run over files did. `failed` names the files that could not be taken in, with the reason."""

    files: int = 0
    skipped: int = 0  # read before, unchanged
    read: int = 0  # citations seen
    found: int = 0  # citations kept
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    quarantined: int = 0
    missing: int = 0
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)  # elements without a place in the database
    notes: list[str] = field(default_factory=list)

    def add(self, saved: Saved) -> None:
        for name in ("new", "changed", "unchanged", "deleted", "quarantined"):
            setattr(self, name, getattr(self, name) + getattr(saved, name))

    @property
    def status(self) -> str:
        return "incomplete" if self.failed else "done"


@dataclass
class _Part:
    """One file as it is written into harvest_slices.part: name, MD5 and what was kept of it."""

    name: str
    md5: str
    kept: str

    def __str__(self) -> str:
        return f"{self.name} {self.md5} {self.kept}"


def load_files(
    store: FileStore,
    paths: Sequence[Path],
    *,
    terms: Sequence[str] | None,
    start: Callable[[Path, int], Callable[[int], object] | None] | None = None,
) -> FileSummary:
    """Take in PubMed XML files in the order given; `terms` None takes every citation.

    A file goes in whole or not at all, and is not read again until its content changes. `start(path, bytes)` is
    called before each and may return what hears the bytes read. Damaged files are named in the summary.
    """
    began, summary = time.monotonic(), FileSummary()
    keep = TopicFilter(terms) if terms is not None else None
    kept = "filter " + _hash(*terms)[:12] if terms is not None else "all"
    query = "files-filtered" if terms is not None else "files-all"
    store.sync_query(
        query,
        term=" OR ".join(terms or ()),
        source=FILES,
        purpose="Citations in NLM's PubMed files "
        + ("in which a word of the topic stands" if terms else "(all of them)"),
    )
    harvest_id = store.begin_harvest(
        FILES, query_id=query, term=" OR ".join(terms or ()) or None, term_hash=_hash(kept)
    )
    try:
        for path in paths:
            try:
                checked = digest(path)
                if not checked.good:
                    raise BadFile(
                        f"{path}: its MD5 sum differs from the one in {path.name}.md5; fetch the file again"
                    )
                part = _Part(path.name, checked.md5, kept)
                if _read_before(store, part):
                    summary.skipped += 1
                    continue
                watch = start(path, path.stat().st_size) if start else None
                _load_file(store, path, part, keep, harvest_id, summary, watch)
                summary.files += 1
            except BadFile as error:
                summary.failed[path.name] = str(error)
            except (NotPubmedXML, Truncated) as error:
                summary.failed[path.name] = f"{path}: {error}; nothing of it was stored"
        status = summary.status
        message = "; ".join(summary.failed.values())
    except BaseException as error:
        status, message = "failed", str(error) or type(error).__name__
        raise
    finally:
        summary.seconds = time.monotonic() - began
        try:
            if summary.skipped and not summary.files and not summary.failed:
                store.connection.execute("DELETE FROM harvests WHERE id = ?", (harvest_id,))  # nothing happened
            else:
                _finish(store, harvest_id, status, message, found=summary.found, seconds=summary.seconds)
        except sqlite3.Error:
            if status != "failed":
                raise
    return summary


def _read_before(store: Store, part: _Part) -> bool:
    return (
        store.connection.execute(
            "SELECT 1 FROM harvest_slices WHERE part IN (?, ?) AND finished IS NOT NULL",
            (str(part), str(_Part(part.name, part.md5, "all"))),
        ).fetchone()
        is not None
    )


def _load_file(
    store: FileStore,
    path: Path,
    part: _Part,
    keep: TopicFilter | None,
    harvest_id: int,
    summary: FileSummary,
    watch: Callable[[int], object] | None,
) -> None:
    reader = read_file(path, keep=keep, watch=watch, ahead=keep is None)
    late = _comes_late(store, part)
    whole, found = Saved(), 0
    with _no_collector(), store.transaction() as c, _Index(c) as index:
        for batch in _batches(reader, BATCH):
            index.wait()
            number = sum(isinstance(record, Article) for record in batch)
            fresh = _without_older(c, batch, late)
            saved = store.save(fresh, harvest_id)
            index.start()
            saved.unchanged += len(batch) - len(fresh)
            whole.add(saved)
            found += number
        index.wait()
        c.execute(
            "INSERT INTO harvest_slices (harvest_id, part, expected, found, finished) VALUES (?, ?, ?, ?, ?)",
            (harvest_id, str(part), reader.seen, found, now()),
        )
    summary.add(whole)
    summary.read += reader.seen
    summary.found += found
    for name, count in reader.unknown.items():
        summary.unknown[name] = summary.unknown.get(name, 0) + count
    if late:
        summary.notes.append(f"{path.name} is older than a file read before: what is known already was left as it is")


def _batches(records: Iterable[Record], size: int) -> Iterator[list[Record]]:
    iterator = iter(records)
    while batch := list(islice(iterator, size)):
        yield batch


_NUMBER = re.compile(r"^pubmed(\d\d)n(\d{4,})\.")


def _comes_late(store: Store, part: _Part) -> bool:
    """Whether a file with a higher number of the same year went in before: NLM wants them in their order."""
    mine = _NUMBER.match(part.name)
    if not mine:
        return False
    for (other,) in store.connection.execute(
        "SELECT part FROM harvest_slices WHERE part LIKE ?", (f"pubmed{mine[1]}n%",)
    ):
        theirs = _NUMBER.match(other)
        if theirs and theirs[1] == mine[1] and int(theirs[2]) > int(mine[2]):
            return True
    return False


def _without_older(c: sqlite3.Connection, batch: list[Record], late: bool) -> list[Record]:
    """The batch without citations of which a newer revision is known; of a late file, without deletions and all
    citations that a later file has deleted."""
    ids = [record.id for record in batch if isinstance(record, Article)]
    known: dict[str, tuple[str, bool]] = {}
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        for article_id, revised, deleted in c.execute(
            f"SELECT id, revised, deleted FROM articles WHERE id IN ({', '.join('?' * len(some))})", some
        ):
            known[article_id] = (revised or "", deleted is not None)
    if not known and not late:
        return batch
    result: list[Record] = []
    for record in batch:
        if isinstance(record, Article) and record.id in known:
            revised, deleted = known[record.id]
            if (record.revised and record.revised < revised) or (late and deleted):
                continue
        if late and isinstance(record, Deleted):
            continue
        result.append(record)
    return result


@contextmanager
def _no_collector() -> Iterator[None]:
    """Records hold no cycles, and looking for some among a thousand of them costs a tenth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class _Index:
    """The full-text index during the load of a file: a batch at a time, while the next batch is being read.

    Inside a trigger FTS5 writes its buffer to disk for every single row, which makes a load three times as slow. So
    the trigger is taken away inside the transaction and put back before its end (a rollback puts it back as well),
    and each batch is indexed by one statement, in a thread: it leaves Python alone for as long as it takes.
    """

    def __init__(self, c: sqlite3.Connection) -> None:
        self.c = c
        self.trigger = c.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = 'articles_ai'"
        ).fetchone()
        names = ", ".join(f'"{row[1]}"' for row in c.execute("SELECT * FROM pragma_table_info('articles_fts')"))
        self.sql = (
            f"INSERT INTO articles_fts (rowid, {names}) SELECT rowid, {names} FROM articles "
            "WHERE rowid > ? AND rowid <= ?"
        )
        self.top = _highest(c)
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="index")
        self.running: Future[Any] | None = None
        if self.trigger:
            c.execute("DROP TRIGGER articles_ai")

    def __enter__(self) -> _Index:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is None:
                self.wait()
                if self.trigger:
                    self.c.execute(self.trigger[0])
        finally:
            self.pool.shutdown()

    def start(self) -> None:
        """Index the articles that are new since the last call. The connection is not to be used until `wait`."""
        top = _highest(self.c)
        if self.trigger and top > self.top:
            self.running = self.pool.submit(self.c.execute, self.sql, (self.top, top))
            self.top = top

    def wait(self) -> None:
        if self.running is not None:
            running, self.running = self.running, None
            running.result()


class FileStore(Store):
    """A store whose connection may be handed from thread to thread (never used by two at once)."""

    def __init__(self, path: str | Path, *, create: bool = True) -> None:
        super().__init__(path, create=create)
        self.connection.close()
        self.connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        # SQLite's own 2 MB of cache makes it write and read the same pages over and over in a load of 30,000.
        for pragma in ("foreign_keys = ON", "synchronous = NORMAL", "cache_size = -65536", "temp_store = MEMORY"):
            self.connection.execute(f"PRAGMA {pragma}")
        self.db = Database(self.connection)


def _highest(c: sqlite3.Connection) -> int:
    return int(c.execute("SELECT coalesce(max(rowid), 0) FROM articles").fetchone()[0])


def totals(summaries: Iterable[Summary]) -> dict[str, Any]:
    """The numbers of several searches added up, as `--json` prints them."""
    result: dict[str, Any] = dict.fromkeys(
        ("found", "new", "changed", "unchanged", "deleted", "left", "quarantined", "missing", "requests", "retries"),
        0,
    )
    seconds = 0.0
    for summary in summaries:
        values = summary.as_dict()
        for name in result:
            result[name] += values[name]
        seconds += summary.seconds
    return {**result, "seconds": round(seconds, 1)}
