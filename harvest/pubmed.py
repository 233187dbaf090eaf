"""PubMed over the E-utilities: every citation that a search finds, and what became of it since.

A search is counted first. Over 9,999 hits (no PubMed result can be read further) it is cut in
two by PMID, again and again, until every part can be read: the parts are disjoint and cover the
whole by construction, which dates of publication do not. Each part is listed, then fetched in
pages, and what was listed is compared with what came. A part that is finished is never fetched
again; what is kept for resuming are the term and the PMID bounds, since history sessions die.

A later run of the same search fetches only what was created or revised since (with a week's
overlap: entry dates can lie in the past and counts move while one reads), lists the whole
result again, fetches what is new in it for any other reason, and looks into what has left it.
"""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from harvest.eutils import WALL, Eutils, EutilsError, Search, SessionLost, Unavailable
from harvest.pubmed_xml import NotPubmedXML, PubmedXML, Record, Truncated
from harvest.record import Article, Deleted, Quarantined

PAGE = 200  # citations a request: about 2 MB, a second or two of NCBI's time
OVERLAP = timedelta(days=7)
TOP_PMID = 99_999_999
LONGEST_TERM = 20_000
SESSIONS = 5  # history sessions that one part may lose before it is given up
SOURCE = "pubmed"


# ---------------------------------------------------------------- searches


@dataclass(frozen=True)
class Query:
    """A search in PubMed syntax, with the reason why it is run."""

    id: str
    term: str
    purpose: str = ""
    accept_dropped: tuple[str, ...] = ()


class QueryProblem(ValueError):
    """A search that cannot be run as it stands. The text says what is wrong with it."""


def load_queries(path: Path | None = None) -> dict[str, Query]:
    """The named searches of queries.toml in their order. Raises QueryProblem."""
    data = _queries_file(path)
    blocks = {name: f"({' '.join(text.split())})" for name, text in data.get("blocks", {}).items()}
    result = {}
    for name, entry in data.get("queries", {}).items():

        def fill(found: re.Match[str], name: str = name) -> str:
            if found[1] not in blocks:
                raise QueryProblem(f"search {name}: there is no block {{{found[1]}}}")
            return blocks[found[1]]

        term = re.sub(r"\{([\w-]+)\}", fill, " ".join(entry["term"].split()))
        result[name] = Query(
            name, check_term(term), " ".join(entry.get("purpose", "").split()), tuple(entry.get("accept_dropped", ()))
        )
    return result


def topic_terms(path: Path | None = None) -> list[str]:
    """The words that mark a citation as on the topic when files are filtered."""
    return list(_queries_file(path)["files"]["terms"])


def _queries_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        text = resources.files("harvest").joinpath("queries.toml").read_text(encoding="utf-8")
    else:
        text = path.read_text(encoding="utf-8")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise QueryProblem(f"queries.toml cannot be read: {error}") from None


def check_term(term: str) -> str:
    """The term on one line. Raises QueryProblem for one that PubMed could only misread."""
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", term):
        raise QueryProblem("the query holds control characters")
    term = " ".join(term.split())
    if not re.search(r"\w", term):
        raise QueryProblem("the query is empty")
    if len(term) > LONGEST_TERM:
        raise QueryProblem(f"the query has {len(term):,} characters; PubMed takes no more than a few thousand")
    if term.count('"') % 2:
        raise QueryProblem('the query has an odd number of quotation marks (")')
    depth = 0
    for mark in re.sub(r'"[^"]*"', "", term):
        depth += (mark == "(") - (mark == ")")
        if depth < 0:
            break
    if depth:
        raise QueryProblem("the parentheses of the query do not match")
    bare = re.sub(r'"[^"]*"', "x", term)
    if re.search(r"\(\s*\)", bare):
        raise QueryProblem("the query has empty parentheses")
    if re.search(r"(?:^|\()\s*(?:AND|OR)\b|\b(?:AND|OR|NOT)\s*(?:\)|$)", bare):
        raise QueryProblem("the query begins or ends (or a part of it does) with AND, OR or NOT")
    return term


def parse_date(text: str, *, end: bool = False) -> date:
    """YYYY, YYYY-MM or YYYY-MM-DD (slashes too) as its first day, or its last with `end`. Raises ValueError."""
    found = re.fullmatch(r"\s*(\d{4})(?:[-/](\d{1,2})(?:[-/](\d{1,2}))?)?\s*", text)
    if not found:
        raise ValueError(f"{text!r} is no date: write YYYY-MM-DD, YYYY-MM or YYYY")
    year, month, day = (int(part) if part else 0 for part in found.groups())
    try:
        first = date(year, month or 1, day or 1)
        if not end or day:
            return first
        following = date(year + 1, 1, 1) if not month or month == 12 else date(year, month + 1, 1)
        return following - timedelta(days=1)
    except ValueError:
        raise ValueError(f"{text!r} is no date in the calendar") from None


# ---------------------------------------------------------------- what a run keeps


@dataclass
class Run:
    """One run of one search. `term` is sent exactly so (parts add a PMID range in PubMed's syntax)."""

    query: Query
    mode: str  # all, update (since the last complete run), window (dates or a limit were asked for)
    term: str
    translation: str = ""
    warnings: list[str] = field(default_factory=list)
    hits: int = 0  # PubMed's count for the whole search
    since: str = ""
    until: str = ""
    limit: int | None = None
    base_url: str = ""


@dataclass
class Resumed:
    """What an unfinished run of the same search has already done; empty for a fresh one."""

    parts: dict[str, int] = field(default_factory=dict)  # finished part -> PMIDs it listed
    fetched: set[str] = field(default_factory=set)  # PMIDs saved by this run


class Counts(Protocol):
    """What the keeper says became of a batch."""

    new: int
    changed: int
    unchanged: int
    deleted: int
    quarantined: int


class Checkpoint(Protocol):
    """Where a run keeps its records and its progress. Each call is durable when it returns."""

    def completed(self, query: Query) -> str | None:
        """The ISO date on which the last complete run of exactly this term began, None without one."""

    def begin(self, run: Run) -> Resumed:
        """Open a run, or take up the unfinished one of the same search, mode and dates."""

    def save(self, records: Sequence[Record], *, hits: bool = True) -> Counts:
        """Keep a batch; with `hits`, the search found these articles."""

    def finish_part(self, part: str, expected: int, found: int) -> None:
        """This part of the run (PMID bounds such as "1:20000000") need not be fetched again."""

    def hits(self, query: Query) -> set[str]:
        """PMIDs of the articles that this search is known to find."""

    def left(self, pmids: Sequence[str]) -> None:
        """The search no longer finds these articles."""

    def end(self, summary: Summary) -> None:
        """Close the run with its result."""


@dataclass
class Summary:
    """How a harvest went. `missing` names the PMIDs that PubMed listed and did not deliver, with the reason."""

    query: str = ""
    mode: str = ""
    term: str = ""
    translation: str = ""
    status: str = "done"  # done, incomplete (something is missing), failed
    message: str = ""
    hits: int = 0
    found: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    left: int = 0
    quarantined: int = 0
    shortfall: int = 0  # records that PubMed counts and listed nowhere
    missing: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    requests: int = 0
    retries: int = 0
    seconds: float = 0.0

    def add(self, counts: Counts) -> None:
        for name in ("new", "changed", "unchanged", "deleted", "quarantined"):
            setattr(self, name, getattr(self, name) + getattr(counts, name))

    def as_dict(self) -> dict[str, Any]:
        """For JSON: `missing` is the number, `missing_pmids` the PMIDs with their reasons."""
        result = asdict(self)
        result["missing_pmids"] = result.pop("missing")
        result["missing"] = len(self.missing) + self.shortfall
        result["seconds"] = round(self.seconds, 1)
        return result


class Progress:
    """What a run tells whoever watches it; this one tells nobody."""

    def total(self, records: int) -> None:
        """So many records are to come."""

    def step(self, records: int) -> None:
        """So many more have come."""

    def say(self, text: str) -> None:
        """A line worth reading."""


class Dropped(EutilsError):
    """PubMed did not understand all of a search, and would have run a wider one."""


# ---------------------------------------------------------------- the run


class Harvest:
    """One run of one search against one server, into one checkpoint.

    `since` and `until` limit it to citations that entered PubMed in these days, `limit` to so many (the highest
    PMIDs first); either makes it a window, which leaves the whole search to be run another time. Raises
    EutilsError; what was saved until then stays, and the next run goes on from there.
    """

    def __init__(
        self,
        query: Query,
        client: Eutils,
        checkpoint: Checkpoint,
        *,
        since: date | None = None,
        until: date | None = None,
        limit: int | None = None,
        allow_dropped: bool = False,
        progress: Progress | None = None,
        page: int = PAGE,
        wall: int = WALL,
        top: int = TOP_PMID,
    ) -> None:
        if since and until and since > until:
            raise QueryProblem(f"--since {since} lies after --until {until}")
        if limit is not None and limit < 1:
            raise QueryProblem("--limit must be at least 1")
        self.query = query
        self.client = client
        self.checkpoint = checkpoint
        self.since, self.until, self.limit = since, until, limit
        self.allow_dropped = allow_dropped
        self.progress = progress or Progress()
        self.page, self.wall, self.top = page, wall, top
        self.summary = Summary(query=query.id)
        self._received: set[str] = set()  # saved by this run, in this or an earlier sitting
        self._listed: set[str] = set()
        self._listed_before = 0

    def run(self) -> Summary:
        began, requests, retries = time.monotonic(), self.client.requests, self.client.retries
        opened = False
        summary = self.summary
        try:
            run = self._prepare()
            resumed = self.checkpoint.begin(run)
            opened = True
            self._received |= resumed.fetched
            if resumed.parts:
                self.progress.say(f"{self.query.id}: goes on after {len(resumed.parts)} finished parts")
            self._fetch_search(run, resumed)
            if run.mode != "window":
                self._settle(run, resumed)
            summary.status = "incomplete" if summary.missing or summary.shortfall else "done"
            summary.message = _shortfall(summary)
        except BaseException as error:
            summary.status = "failed"
            summary.message = str(error) if isinstance(error, EutilsError) else type(error).__name__
            self.client_numbers(requests, retries, began)
            if opened and isinstance(error, (EutilsError, KeyboardInterrupt)):
                self.checkpoint.end(summary)
            raise
        self.client_numbers(requests, retries, began)
        self.checkpoint.end(summary)
        return summary

    def client_numbers(self, requests: int, retries: int, began: float) -> None:
        self.summary.found = len(self._received)
        self.summary.requests = self.client.requests - requests
        self.summary.retries = self.client.retries - retries
        self.summary.seconds = time.monotonic() - began

    def _prepare(self) -> Run:
        """Count the search, see whether PubMed understood it, settle what is to be fetched."""
        query = self.query
        whole = self.client.search(query.term)
        self._refuse_dropped(whole)
        run = Run(
            query, "all", query.term, whole.translation, whole.warnings, whole.count, base_url=self.client.base_url
        )
        last = self.checkpoint.completed(query)
        if self.since or self.until or self.limit:
            run.mode = "window"
            run.limit = self.limit
            run.since, run.until = str(self.since or ""), str(self.until or "")
            if self.since or self.until:
                first = f"{self.since:%Y/%m/%d}" if self.since else "1800/01/01"
                final = f"{self.until:%Y/%m/%d}" if self.until else "3000"
                run.term = f'({query.term}) AND ("{first}"[CRDT] : "{final}"[CRDT])'
        elif last is not None:
            day = date.fromisoformat(last[:10]) - OVERLAP
            run.mode, run.since = "update", str(day)
            run.term = (
                f'({query.term}) AND (("{day:%Y/%m/%d}"[CRDT] : "3000"[CRDT]) '
                f'OR ("{day:%Y/%m/%d}"[MDAT] : "3000"[MDAT]))'
            )
        summary = self.summary
        summary.mode, summary.term, summary.hits = run.mode, run.term, run.hits
        summary.translation, summary.warnings = run.translation, list(run.warnings)
        return run

    def _refuse_dropped(self, answer: Search) -> None:
        accepted = {text.casefold() for text in self.query.accept_dropped}
        dropped = [
            f'"{text}"'
            for text in answer.phrases_not_found + answer.fields_not_found
            if text.casefold() not in accepted
        ]
        if not dropped:
            return
        text = (
            f"PubMed does not know {', '.join(dropped)} and would search without it "
            f"({answer.count:,} hits for: {answer.translation or 'nothing'})"
        )
        if not self.allow_dropped:
            raise Dropped(f"{text}. Correct the search, or accept this with --allow-dropped")
        answer.warnings.append(text)

    # -- fetching a search, part by part

    def _fetch_search(self, run: Run, resumed: Resumed) -> None:
        count = run.hits if run.term == self.query.term else self.client.search(run.term).count
        wanted = min(count, run.limit or count)
        self.progress.total(wanted)
        already = len(self._received)
        if already:
            self.progress.step(min(already, wanted))
        done = dict(resumed.parts)
        self._listed_before = sum(done.values())
        if run.limit is not None and run.limit <= self.wall:
            stack = [(1, self.top)]
        else:  # highest PMIDs first: with a limit, the newest are what is wanted
            stack = list(reversed(self._open_ranges(run.term, count, done)))
        while stack:
            low, high = stack.pop()
            left = None if run.limit is None else run.limit - len(self._received)
            if left is not None and left <= 0:
                break
            too_many = self._fetch_part(run, low, high, left)
            if too_many:  # it has grown past the wall since it was planned
                middle = (low + high) // 2
                stack += [(low, middle), (middle + 1, high)]
        if run.limit is None:
            self._reconcile(run, count)

    def _open_ranges(self, term: str, count: int, done: dict[str, int]) -> list[tuple[int, int]]:
        """The PMID ranges that remain to be fetched, highest first, each below the wall when it was counted."""
        finished = sorted(tuple(map(int, part.split(":"))) for part in done)
        gaps, low = [], 1
        for first, last in finished:
            if first > low:
                gaps.append((low, first - 1))
            low = max(low, last + 1)
        if low <= self.top:
            gaps.append((low, self.top))
        if gaps == [(1, self.top)] and count <= self.wall:
            return gaps
        ranges: list[tuple[int, int]] = []
        for low, high in reversed(gaps):
            ranges += self._cut(term, low, high, self._count(term, low, high))
        return ranges

    def _cut(self, term: str, low: int, high: int, count: int) -> list[tuple[int, int]]:
        """PMID ranges, highest first, that together are `low` to `high` and each stay below the wall."""
        merged: list[tuple[int, int, int]] = []
        for first, last, number in self._bisect(term, low, high, count):
            # Halving leaves crumbs and empty ranges: they go to their neighbour, so that nothing is left
            # out where a citation may appear meanwhile, with a tenth of the wall as room for those.
            if merged and merged[-1][2] + number <= self.wall * 0.9:
                merged[-1] = (first, merged[-1][1], merged[-1][2] + number)
            else:
                merged.append((first, last, number))
        return [(first, last) for first, last, _ in merged]

    def _bisect(self, term: str, low: int, high: int, count: int) -> list[tuple[int, int, int]]:
        if count <= self.wall or low == high:
            return [(low, high, count)]
        middle = (low + high) // 2
        below = self._count(term, low, middle)
        # The right half is the difference: it is counted for itself when it is fetched.
        return self._bisect(term, middle + 1, high, count - below) + self._bisect(term, low, middle, below)

    def _count(self, term: str, low: int, high: int) -> int:
        return self.client.search(self._ranged(term, low, high)).count

    def _ranged(self, term: str, low: int, high: int) -> str:
        return term if (low, high) == (1, self.top) else f"({term}) AND {low}:{high}[UID]"

    def _fetch_part(self, run: Run, low: int, high: int, limit: int | None) -> bool:
        """Fetch one part. True if it holds more than can be read and must be cut first."""
        term = self._ranged(run.term, low, high)
        part = f"{low}:{high}"
        sessions = 0
        while True:
            found = self._search(term, limit)
            if found.count > self.wall and low < high and (limit is None or limit > self.wall):
                return True
            ids = found.ids[:limit] if limit is not None else found.ids
            promised = min(found.count, self.wall) if limit is None else len(ids)
            try:
                self._fetch_pages(found, ids)
                break
            except SessionLost:
                sessions += 1
                if sessions >= SESSIONS:
                    raise Unavailable(f"the server lost the history session of {part} {sessions} times") from None
                self.progress.say(f"{self.query.id}: the history session is gone, searching {part} again")
        self._listed |= set(ids)
        self._ask_again([pmid for pmid in ids if pmid not in self._received])
        if len(set(ids)) < promised:
            self.summary.shortfall += promised - len(set(ids))
        complete = all(pmid in self._received for pmid in ids)
        if limit is None and complete:
            self.checkpoint.finish_part(part, found.count, len(set(ids)))
        return False

    def _search(self, term: str, limit: int | None = None, *, history: bool = True) -> Search:
        """List a result; a list that is shorter than its own count is asked for again, three times in all."""
        size = min(self.wall, limit or self.wall)
        for _ in range(3):
            found = self.client.search(term, size=size, history=history, sort="pub_date" if limit else "")
            if len(found.ids) >= min(found.count, size):
                break
        return found

    def _fetch_pages(self, found: Search, ids: Sequence[str]) -> None:
        """Fetch the pages of a stored result that hold anything not received yet, several at once."""
        starts = [
            start
            for start in range(0, len(ids), self.page)
            if any(pmid not in self._received for pmid in ids[start : start + self.page])
        ]

        def page(start: int) -> list[Record]:
            size = min(self.page, len(ids) - start)

            def get(offset: int, number: int, tries: int | None) -> list[Record]:
                return self._get(
                    webenv=found.webenv, query_key=found.query_key, start=start + offset, size=number, tries=tries
                )

            return _halving(get, ids[start : start + size])

        self._together(page, starts, set(ids))

    def _fetch_ids(self, pmids: Sequence[str], *, hits: bool = True) -> None:
        wanted = list(pmids)

        def page(start: int) -> list[Record]:
            part = wanted[start : start + self.page]

            def get(offset: int, number: int, tries: int | None) -> list[Record]:
                return self._get(ids=part[offset : offset + number], tries=tries)

            return _halving(get, part)

        self._together(page, range(0, len(wanted), self.page), set(wanted), hits=hits)

    def _together(
        self, page: Callable[[int], list[Record]], starts: Iterable[int], asked: set[str], *, hits: bool = True
    ) -> None:
        """Run `page` for every start, a few at once, and save what each brings as soon as it is there."""
        remaining = iter(starts)
        failure: BaseException | None = None
        with ThreadPoolExecutor(self.client.workers, thread_name_prefix="efetch") as pool:
            running: set[Future[list[Record]]] = set()

            def refill() -> None:
                while failure is None and len(running) < self.client.workers:
                    start = next(remaining, None)
                    if start is None:
                        return
                    running.add(pool.submit(page, start))

            try:
                refill()
                while running:
                    ready, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in ready:
                        error = future.exception()
                        if error is not None:
                            failure = failure or error
                        else:
                            self._save(future.result(), asked, hits=hits)
                    refill()
            except BaseException:
                self.client.stop()
                raise
        if failure is not None:
            raise failure

    def _save(self, records: Iterable[Record], asked: set[str], *, hits: bool) -> None:
        wanted: list[Record] = []
        arrived: set[str] = set()
        for record in records:
            pmid = record.pmid if isinstance(record, Article) else record.id
            if pmid in asked and not isinstance(record, Deleted):
                wanted.append(record)
                arrived.add(pmid or "")
            elif isinstance(record, Quarantined):
                wanted.append(record)
        if not wanted:
            return
        fresh = arrived - self._received
        self.summary.add(self.checkpoint.save(wanted, hits=hits))
        self._received |= arrived
        self.progress.step(len(fresh))

    def _get(self, *, tries: int | None = None, **where: Any) -> list[Record]:
        kept: list[list[Record]] = []

        def read(body: bytes) -> None:
            try:
                kept.append(list(PubmedXML([body], source=SOURCE)))
            except Truncated:
                raise ValueError("the answer was cut off") from None
            except NotPubmedXML as error:
                raise ValueError(f"the answer is no PubMed XML: {error}") from None

        self.client.fetch(check=read, tries=tries, **where)
        return kept[-1]

    # -- accounting

    def _ask_again(self, pmids: Sequence[str]) -> None:
        """Ask once more for what was listed and did not come, and name what still does not."""
        if not pmids:
            return
        reason = "listed by PubMed and twice not delivered"
        try:
            self._fetch_ids(pmids)
        except Unavailable as error:
            if not error.heavy:
                raise
            reason = str(error)  # the server is up, and fails on these
        for pmid in pmids:
            if pmid not in self._received:
                self.summary.missing[pmid] = reason

    def _reconcile(self, run: Run, count: int) -> None:
        """Compare the PMIDs listed with PubMed's count; a count that moved meanwhile is asked for again."""
        listed = len(self._listed) + self._listed_before
        if listed >= count:
            return
        now = self.client.search(run.term).count
        short = min(count, now) - listed
        if short > self.summary.shortfall:
            self.summary.shortfall = short
        elif now != count:
            self.summary.warnings.append(f"PubMed's count moved from {count:,} to {now:,} during the run")

    def _settle(self, run: Run, resumed: Resumed) -> None:
        """Bring the known hits of this search in line with its result of today."""
        known = self.checkpoint.hits(self.query)
        if run.mode == "update":
            current = self._list(self.query.term, run.hits)
            unseen = sorted(current - known - self._received, key=int)
            if unseen:
                self.progress.say(
                    f"{self.query.id}: {len(unseen):,} citations came in by another way than a new date"
                )
                self._fetch_ids(unseen)
                self._ask_again([pmid for pmid in unseen if pmid not in self._received])
        else:
            current = self._listed | self._received
        gone = sorted((known - current) - set(self.summary.missing), key=int)
        if not gone or self.summary.shortfall:
            return  # with an incomplete list nobody can say what has left it
        before = set(self._received)
        self._received -= set(gone)
        self._fetch_ids(gone, hits=False)
        absent = [pmid for pmid in gone if pmid not in self._received]
        if absent:
            self._fetch_ids(absent, hits=False)
            absent = [pmid for pmid in absent if pmid not in self._received]
        self._received = before
        for start in range(0, len(absent), 500):
            batch = [Deleted(pmid, "gone from PubMed") for pmid in absent[start : start + 500]]
            self.summary.add(self.checkpoint.save(batch, hits=False))
        self.checkpoint.left(gone)
        self.summary.left = len(gone) - len(absent)

    def _list(self, term: str, count: int) -> set[str]:
        """The PMIDs of the whole result, however many."""
        result: set[str] = set()
        stack = [(1, self.top)] if count <= self.wall else self._cut(term, 1, self.top, count)
        while stack:
            low, high = stack.pop()
            found = self._search(self._ranged(term, low, high), history=False)
            if found.count > self.wall and low < high:
                middle = (low + high) // 2
                stack += [(low, middle), (middle + 1, high)]
                continue
            self.summary.shortfall += max(0, min(found.count, self.wall) - len(found.ids))
            result |= set(found.ids)
        return result


def _halving(get: Callable[[int, int, int | None], list[Record]], ids: Sequence[str]) -> list[Record]:
    """All records of a page; where the whole is too much for the server, in halves, down to single ones.

    `get(offset, number, tries)` fetches a span of the page. One citation that the server always fails on costs
    only itself (it is then missing); if nothing at all comes, the last error is raised: the server is down.
    """
    try:
        return get(0, len(ids), 2 if len(ids) > 1 else None)
    except Unavailable as error:
        if not error.heavy or len(ids) == 1:
            if len(ids) == 1:
                raise
            return get(0, len(ids), None)
    records: list[Record] = []
    succeeded = False
    spans = [(0, len(ids))]
    while spans:
        offset, number = spans.pop()
        halves = [(offset, number // 2), (offset + number // 2, number - number // 2)]
        outcomes: list[bool] = []
        for start, size in halves:
            try:
                # After a first success the server is known to be up, and a failure lies in what was asked for.
                records += get(start, size, 2 if succeeded or size > 50 else None)
                succeeded = True
                outcomes.append(True)
            except Unavailable as error:
                if not error.heavy:
                    raise
                if not succeeded and size <= 50 and outcomes == [False]:
                    raise
                outcomes.append(False)
                if size > 1:
                    spans.append((start, size))
    return records


def _shortfall(summary: Summary) -> str:
    parts = []
    if summary.missing:
        shown = ", ".join(list(summary.missing)[:20]) + (" ..." if len(summary.missing) > 20 else "")
        parts.append(f"{len(summary.missing):,} citations were listed and not delivered: {shown}")
    if summary.shortfall:
        parts.append(f"PubMed counts {summary.shortfall:,} more than it listed")
    return "; ".join(parts)


def harvest_today() -> str:
    """Today in UTC, as ISO date."""
    return datetime.now(UTC).date().isoformat()
