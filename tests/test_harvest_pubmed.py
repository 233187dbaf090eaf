"""A whole harvest over HTTP into a small checkpoint of our own: completeness, resuming, currency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pytest
from eutils_server import Citation, EutilsServer
from hypothesis import given
from hypothesis import strategies as st

from harvest import pubmed
from harvest.eutils import Blocked, Eutils, EutilsError, Pace, Patience, Unavailable
from harvest.pubmed import Harvest, Query, QueryProblem, Resumed, Run, Summary
from harvest.record import Article, Deleted, Quarantined

QUICK = Patience(tries=4, first=3, base=0.001, cap=0.01, connect=2, read=2, whole=5)
KETAMINE = Query("ketamine", "ketamine[tiab]", "a test")


@dataclass
class Counted:
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    deleted: int = 0
    quarantined: int = 0


@dataclass
class Memory:
    """A checkpoint in memory that survives a run as a database would."""

    articles: dict[str, Article] = field(default_factory=dict)
    found: dict[str, set[str]] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    open: dict[tuple[Any, ...], Resumed] = field(default_factory=dict)
    run: Run | None = None
    ended: list[Summary] = field(default_factory=list)
    quarantine: list[Quarantined] = field(default_factory=list)
    fail_after: int | None = None
    today: str = "2026-01-10"

    def completed(self, query: Query) -> str | None:
        return self.done.get(query.term)

    def begin(self, run: Run) -> Resumed:
        self.run = run
        self.key = (run.query.term, run.mode, run.since, run.until, run.limit)
        self.hits(run.query)
        kept = self.open.setdefault(self.key, Resumed())
        return Resumed(dict(kept.parts), set(kept.fetched))

    def save(self, records: Sequence[Any], *, hits: bool = True) -> Counted:
        counted = Counted()
        if self.fail_after is not None:
            self.fail_after -= 1
            if self.fail_after < 0:
                raise OSError("disk full")
        for record in records:
            if isinstance(record, Article):
                old = self.articles.get(record.id)
                name = "new" if old is None else "unchanged" if old == record else "changed"
                setattr(counted, name, getattr(counted, name) + 1)
                self.articles[record.id] = record
                self.gone.pop(record.id, None)
                if hits:
                    self.hits(self.run.query).add(record.id)
                    self.found[self.run.query.term].add(record.id)
                    self.open[self.key].fetched.add(record.id)
            elif isinstance(record, Deleted):
                self.gone[record.id] = record.reason
                counted.deleted += 1
            else:
                self.quarantine.append(record)
                counted.quarantined += 1
        return counted

    def finish_part(self, part: str, expected: int, found: int) -> None:
        self.open[self.key].parts[part] = found

    def hits(self, query: Query) -> set[str]:
        return set(self.found.setdefault(query.term, set()))

    def left(self, pmids: Sequence[str]) -> None:
        self.found[self.run.query.term] -= set(pmids)

    def end(self, summary: Summary) -> None:
        self.ended.append(summary)
        if summary.status != "failed":
            self.open.pop(self.key, None)
            if self.run.mode != "window":
                self.done[self.run.query.term] = self.today


def studies(*numbers: int, **values: Any) -> list[Citation]:
    return [Citation(str(n), title=f"Ketamine study {n}.", **values) for n in numbers]


def run(server: EutilsServer, memory: Memory, query: Query = KETAMINE, **options: Any) -> Summary:
    options.setdefault("page", 10)
    options.setdefault("wall", server.wall)
    options.setdefault("top", 99_999)
    client = Eutils(server.url, pace=Pace(10_000), patience=QUICK)
    return Harvest(query, client, memory, **options).run()


# ---------------------------------------------------------------- completeness


def test_a_small_search_comes_in_whole() -> None:
    with EutilsServer([*studies(*range(1, 26)), Citation("77", title="Something else.")]) as server:
        memory = Memory()
        summary = run(server, memory)
        assert (summary.status, summary.hits, summary.found, summary.new) == ("done", 25, 25, 25)
        assert memory.articles.keys() == {str(n) for n in range(1, 26)} == memory.hits(KETAMINE)
        assert memory.run.term == KETAMINE.term and memory.run.translation
        assert summary.requests == len(server.log) and summary.retries == 0


def test_beyond_pubmeds_real_wall() -> None:
    """12,000 hits against the wall of 9,999: cut by PMID, every one of them arrives once."""
    with EutilsServer(Citation(str(n), title=f"Ketamine {n}.") for n in range(1, 12_001)) as server:
        memory = Memory()
        summary = run(server, memory, page=500, top=pubmed.TOP_PMID)
        assert (summary.status, summary.hits, summary.found) == ("done", 12_000, 12_000)
        assert len(memory.articles) == 12_000
        assert server.count("efetch") <= 30
        assert all("UID" in p["term"] for u, p in server.log if u == "esearch" and p.get("usehistory"))


@pytest.mark.parametrize(
    "numbers",
    [
        range(1, 200),
        [*range(1, 150), 99_000],
        [*range(5_000, 5_200), *range(90_000, 90_030)],
        range(49_950, 50_051),
    ],
)
def test_parts_cover_everything_wherever_the_pmids_lie(numbers: Sequence[int]) -> None:
    with EutilsServer(studies(*numbers), wall=20) as server:
        memory = Memory()
        summary = run(server, memory)
        assert summary.status == "done" and len(memory.articles) == len(list(numbers)) == summary.found


def test_a_part_that_grew_past_the_wall_is_cut_again() -> None:
    with EutilsServer(studies(*range(1, 30)), wall=20) as server:
        memory = Memory()
        client = Eutils(server.url, pace=Pace(10_000), patience=QUICK)
        real, grown = client.search, []

        def search(term: str, **options: Any) -> Any:
            if options.get("history") and not grown:
                grown.append(1)
                server.add(*studies(*range(100, 180)))
            return real(term, **options)

        client.search = search  # type: ignore[method-assign]
        summary = Harvest(KETAMINE, client, memory, page=10, wall=20, top=99_999).run()
        assert summary.status == "done" and len(memory.articles) == 29 + 80


def test_pages_advance_by_what_was_asked_and_gaps_are_asked_for_once_more() -> None:
    with EutilsServer(studies(*range(1, 31))) as server:
        server.withheld.update({"7": 1, "19": 1})
        memory = Memory()
        summary = run(server, memory)
        assert summary.status == "done" and len(memory.articles) == 30
        assert sorted(server.fetched(), key=int) == ["7", "19"]


def test_what_does_not_come_twice_is_named_and_makes_the_run_incomplete() -> None:
    with EutilsServer(studies(*range(1, 31))) as server:
        server.withheld.update({"7": 99})
        memory = Memory()
        summary = run(server, memory)
        assert summary.status == "incomplete" and list(summary.missing) == ["7"]
        assert "7" in summary.message and len(memory.articles) == 29
        assert summary.as_dict()["missing"] == 1
        server.withheld.clear()
        again = run(server, memory)
        assert again.status == "done" and "7" in memory.articles and again.found == 30 or again.new == 1


def test_a_list_shorter_than_its_count_is_reported_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    with EutilsServer(studies(*range(1, 31))) as server:
        client = Eutils(server.url, pace=Pace(10_000), patience=QUICK)
        real = client.search

        def search(term: str, **options: Any) -> Any:
            found = real(term, **options)
            found.ids = found.ids[:27]
            return found

        monkeypatch.setattr(client, "search", search)
        summary = Harvest(KETAMINE, client, Memory(), page=10, top=99_999).run()
        assert summary.status == "incomplete" and summary.shortfall == 3 and "3 more" in summary.message


def test_a_citation_that_the_server_always_fails_on_costs_only_itself() -> None:
    with EutilsServer(studies(*range(1, 61))) as server:
        server.poison = {"33"}
        memory = Memory()
        summary = run(server, memory, page=60)
        assert summary.status == "incomplete" and list(summary.missing) == ["33"]
        assert "timeout" in summary.missing["33"] and len(memory.articles) == 59


def test_a_batch_that_is_too_big_is_halved() -> None:
    with EutilsServer(studies(*range(1, 201))) as server:
        server.fail("efetch", "11", times=999, when=lambda p: int(p["retmax"]) > 60)
        memory = Memory()
        assert run(server, memory, page=200).status == "done" and len(memory.articles) == 200


def test_a_record_that_cannot_be_read_is_set_aside_and_the_rest_goes_in() -> None:
    broken = "<PubmedArticle><MedlineCitation><PMID>5</PMID><Article></MedlineCitation></PubmedArticle>"
    records = studies(*range(1, 11))
    records[4] = Citation("5", title="Ketamine study 5.", xml=broken)
    with EutilsServer(records) as server:
        memory = Memory()
        summary = run(server, memory)
        assert (summary.new, summary.quarantined) == (9, 1)
        assert memory.quarantine[0].id == "5" and "not well-formed" in memory.quarantine[0].reason
        assert summary.status == "done" and summary.found == 10


def test_a_history_that_is_lost_is_searched_again_without_fetching_twice() -> None:
    with EutilsServer(studies(*range(1, 101))) as server:
        memory = Memory()
        server.fail("efetch", "8", times=1, when=lambda p: p.get("retstart") == "50")
        summary = run(server, memory)
        assert summary.status == "done" and len(memory.articles) == 100
        searches = [p for u, p in server.log if u == "esearch" and p.get("usehistory")]
        assert len(searches) == 2
        assert server.count("efetch") == 11


def test_a_history_that_is_always_lost_ends_with_a_word() -> None:
    with EutilsServer(studies(*range(1, 11))) as server:
        server.fail("efetch", "9", times=99)
        with pytest.raises(Unavailable, match="history session"):
            run(server, Memory())


def test_dates_limits_and_the_newest_first() -> None:
    old = studies(*range(1, 11), created="2019-03-01")
    new = studies(*range(11, 31), created="2024-06-01")
    for n, citation in enumerate(new):
        citation.published = f"2024-01-{n + 1:02}"
    with EutilsServer([*old, *new]) as server:
        memory = Memory()
        summary = run(server, memory, since=date(2024, 1, 1), until=date(2024, 12, 31))
        assert memory.articles.keys() == {str(n) for n in range(11, 31)} and summary.mode == "window"
        assert memory.run.term == '(ketamine[tiab]) AND ("2024/01/01"[CRDT] : "2024/12/31"[CRDT])'
        assert memory.done == {}  # a window leaves the whole search to be run
        few = Memory()
        summary = run(server, few, limit=5)
        assert few.articles.keys() == {"30", "29", "28", "27", "26"} and summary.hits == 30
        assert summary.status == "done"
        beyond = Memory()
        server.wall = 10
        run(server, beyond, limit=15)
        assert len(beyond.articles) == 15 and "30" in beyond.articles


def test_nothing_found_is_an_honest_zero() -> None:
    with EutilsServer(studies(1)) as server:
        summary = run(server, Memory(), Query("q", "penguins[tiab]"))
        assert (summary.status, summary.hits, summary.found) == ("done", 0, 0)


# ---------------------------------------------------------------- what PubMed did not understand


def test_a_search_that_pubmed_would_widen_is_refused_unless_that_is_accepted() -> None:
    with EutilsServer(studies(1, 2)) as server:
        server.unknown_phrases = {"qwxyz"}
        query = Query("q", "ketamine[tiab] AND qwxyz[tiab]")
        memory = Memory()
        with pytest.raises(EutilsError, match='"qwxyz".*--allow-dropped'):
            run(server, memory, query)
        assert memory.articles == {} and server.count("efetch") == 0
        summary = run(server, memory, query, allow_dropped=True)
        assert summary.found == 2 and any("qwxyz" in text for text in summary.warnings)
        by_name = Query("q", query.term, accept_dropped=("QWXYZ",))
        assert run(server, Memory(), by_name).status == "done"
        with pytest.raises(EutilsError, match="nonsense"):
            run(server, Memory(), Query("q", "ketamine[nonsense]"))


# ---------------------------------------------------------------- nothing is lost


def test_a_run_that_breaks_off_goes_on_where_it_stopped() -> None:
    with EutilsServer(studies(*range(1, 101)), wall=30) as server:
        memory = Memory(fail_after=6)
        with pytest.raises(OSError):
            run(server, memory)
        kept = set(memory.articles)
        assert 0 < len(kept) < 100
        memory.fail_after = None
        before = len(server.log)
        summary = run(server, memory)
        assert summary.status == "done" and len(memory.articles) == 100 and summary.new == 100 - len(kept)
        asked = sum(int(p["retmax"]) for u, p in server.log[before:] if u == "efetch")
        assert asked < 100 - len(kept) + 30  # what was missing, with the rest of the pages it shared


def test_an_outage_keeps_what_came_and_the_next_run_fetches_the_rest() -> None:
    with EutilsServer(studies(*range(1, 101)), wall=30) as server:
        memory = Memory()
        served = []
        server.fail("efetch", "23", times=999, when=lambda p: served.append(1) or len(served) > 5)
        with pytest.raises(Unavailable):
            run(server, memory)
        assert memory.ended[-1].status == "failed" and memory.ended[-1].message
        kept = len(memory.articles)
        assert 0 < kept < 100
        server._faults.clear()
        summary = run(server, memory)
        assert summary.status == "done" and len(memory.articles) == 100 and summary.new == 100 - kept


def test_a_block_ends_the_run_at_once() -> None:
    with EutilsServer(studies(*range(1, 101))) as server:
        server.fail("efetch", "19", times=99)
        with pytest.raises(Blocked):
            run(server, Memory())
        assert server.count("efetch") <= 4  # those that were under way


# ---------------------------------------------------------------- currency


def test_the_second_run_fetches_only_what_is_new_or_revised() -> None:
    with EutilsServer(studies(*range(1, 51), created="2020-01-01", revised="2020-01-01")) as server:
        memory = Memory()
        run(server, memory)
        before = len(server.log)
        assert run(server, memory).found == 0
        assert not [1 for u, _ in server.log[before:] if u == "efetch"]
        server.add(*studies(60, 61, created="2026-01-12", revised="2026-01-12"))
        server.records["3"].revised = "2026-01-15"
        server.records["3"].title = "Retracted: ketamine study 3."
        server.records["3"].corrections = [("RetractionIn", "J Made Up. 2026;1:1", "99")]
        before = len(server.log)
        summary = run(server, memory)
        assert (summary.mode, summary.new, summary.changed, summary.found) == ("update", 2, 1, 3)
        assert memory.articles["3"].retracted and not memory.articles["4"].retracted
        assert '"2026/01/03"[CRDT]' in memory.run.term and '"2026/01/03"[MDAT]' in memory.run.term
        assert sum(int(p["retmax"]) for u, p in server.log[before:] if u == "efetch") == 3


def test_an_old_paper_that_arrives_late_is_found_though_its_dates_lie_in_the_past() -> None:
    with EutilsServer(studies(*range(1, 51), created="2020-01-01", revised="2020-01-01"), wall=20) as server:
        memory = Memory()
        run(server, memory)
        server.add(*studies(70, created="1999-01-01", revised="1999-01-01"))
        summary = run(server, memory)
        assert summary.new == 1 and "70" in memory.hits(KETAMINE)


def test_what_left_the_result_and_what_is_gone() -> None:
    with EutilsServer(studies(*range(1, 21), created="2020-01-01", revised="2020-01-01")) as server:
        memory = Memory()
        run(server, memory)
        server.remove("4", "5")
        server.records["6"].title = "About something else."
        summary = run(server, memory)
        assert (summary.deleted, summary.left) == (2, 1)
        assert memory.gone == {"4": "gone from PubMed", "5": "gone from PubMed"}
        assert memory.hits(KETAMINE) == {str(n) for n in range(1, 21)} - {"4", "5", "6"}
        assert memory.articles["6"].title == "About something else."
        assert run(server, memory).deleted == 0


def test_a_gap_in_one_answer_deletes_nothing() -> None:
    """A citation that the list lacks and one answer leaves out is asked for again before it counts as gone."""
    with EutilsServer(studies(*range(1, 21), created="2020-01-01", revised="2020-01-01")) as server:
        memory = Memory()
        run(server, memory)
        server.records["6"].title = "About something else."
        server.withheld["6"] = 1
        summary = run(server, memory)
        assert summary.deleted == 0 and summary.left == 1 and memory.gone == {}


def test_a_changed_term_is_a_new_search() -> None:
    with EutilsServer([*studies(1, 2), Citation("3", title="Esketamine trial.")]) as server:
        memory = Memory()
        run(server, memory)
        wider = Query("ketamine", "ketamine[tiab] OR esketamine[tiab]")
        summary = run(server, memory, wider)
        assert summary.mode == "all" and summary.found == 3


# ---------------------------------------------------------------- searches and dates as people write them


def test_the_named_searches_can_be_run_as_they_stand() -> None:
    queries = pubmed.load_queries()
    assert {"ketamine-ptsd", "nmda", "bdnf", "anaesthesia-and-later-ptsd"} <= queries.keys() and len(queries) >= 11
    relevant = Citation(
        "1",
        title="Ketamine for posttraumatic stress: BDNF, NMDA and safety after burn surgery in "
        "depression; rapid onset; neuroinflammation; fear extinction; psychotherapy; abuse.",
        abstract="Synaptic plasticity.",
    )
    with EutilsServer([relevant, Citation("2", title="Penguins.")]) as server:
        for query in queries.values():
            assert query.purpose and "{" not in query.term
            memory = Memory()
            assert run(server, memory, query).status == "done"
            assert memory.articles.keys() == {"1"}, query.id
    assert "ketamin" in pubmed.topic_terms()


@pytest.mark.parametrize(
    "term",
    [
        "",
        "   ",
        "()",
        "(ketamine",
        "ketamine)",
        ")ketamine(",
        '"ketamine',
        "AND ketamine",
        "ketamine OR",
        "...",
        "ketamine AND (OR ptsd)",
        "ketamine\x00",
        "a" * 30_000,
        "ketamine AND ( )",
    ],
)
def test_searches_that_cannot_be_meant(term: str) -> None:
    with pytest.raises(QueryProblem) as caught:
        pubmed.check_term(term)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "term",
    [
        "ketamine",
        "24740528",
        '"a (b" AND c',
        'ketamine AND (ptsd OR "post-traumatic stress"[tiab])',
        "orphan AND andes",
        "ketamine\n  AND ptsd",
        "(ketamine OR esketamine) NOT review[pt]",
    ],
)
def test_searches_that_can(term: str) -> None:
    assert pubmed.check_term(term) == " ".join(term.split())


@given(st.text(max_size=60))
def test_any_text_is_taken_or_refused_with_a_reason(term: str) -> None:
    try:
        assert pubmed.check_term(term).strip()
    except QueryProblem as problem:
        assert str(problem)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2024", "2024-01-01", "2024-12-31"),
        ("2024-02", "2024-02-01", "2024-02-29"),
        ("2024/2/3", "2024-02-03", "2024-02-03"),
        ("2024-12", "2024-12-01", "2024-12-31"),
    ],
)
def test_dates(text: str, first: str, last: str) -> None:
    assert str(pubmed.parse_date(text)) == first and str(pubmed.parse_date(text, end=True)) == last


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13", "2024-02-30", "0000", "24-01-01", "2024-01-01-01"])
def test_dates_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="date"):
        pubmed.parse_date(text)


def test_since_after_until_and_a_limit_of_nothing() -> None:
    client = Eutils("http://127.0.0.1:1/", pace=Pace(10))
    with pytest.raises(QueryProblem, match="after"):
        Harvest(KETAMINE, client, Memory(), since=date(2025, 1, 1), until=date(2024, 1, 1))
    with pytest.raises(QueryProblem, match="limit"):
        Harvest(KETAMINE, client, Memory(), limit=0)
