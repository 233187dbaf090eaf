"""The E-utilities client against a real server on loopback, error by error.

The row numbers are those of the reference's error table; where the shared fixtures are there, the
real error bodies are judged too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from eutils_server import Citation, EutilsServer
from hypothesis import given, settings
from hypothesis import strategies as st

from harvest import eutils
from harvest.eutils import BadRequest, Blocked, Eutils, Pace, Patience, SessionLost, Unavailable, Verdict

FIXTURES = Path(__file__).resolve().parents[2] / "shared" / "eutils-fixtures"
QUICK = Patience(tries=4, first=4, base=0.001, cap=0.01, connect=2, read=2, whole=5)
KEY = "0123456789abcdefsecret"


def client(server: EutilsServer, **options: object) -> Eutils:
    options.setdefault("patience", QUICK)
    return Eutils(server.url, pace=Pace(10_000), email="someone@example.org", **options)  # type: ignore[arg-type]


@pytest.fixture
def server() -> Iterator[EutilsServer]:
    with EutilsServer(Citation(str(n), title=f"Ketamine study {n}.") for n in range(1, 31)) as running:
        yield running


# ---------------------------------------------------------------- plain use


def test_search_post_fetch_and_summary(server: EutilsServer) -> None:
    with client(server) as ncbi:
        found = ncbi.search("ketamine[tiab]", size=5, history=True)
        assert (found.count, found.ids) == (30, ["30", "29", "28", "27", "26"])
        body = ncbi.fetch(webenv=found.webenv, query_key=found.query_key, start=0, size=3)
        assert body.count(b"<PubmedArticle>") == 3 and b"Ketamine study 30." in body
        webenv, key = ncbi.post(["3", "4"])
        assert b"Ketamine study 4." in ncbi.fetch(webenv=webenv, query_key=key, start=1, size=1)
        assert ncbi.summarised(["3", "999"]) == {"3"}
        assert ncbi.requests == 5 and ncbi.retries == 0


def test_every_request_is_a_post_that_names_its_sender_and_keeps_the_key_out_of_the_url(server: EutilsServer) -> None:
    with client(server, api_key=KEY) as ncbi:
        ncbi.search("ketamine")
        ncbi.fetch(["1"])
    assert all(KEY not in url and "?" not in url for url in server.urls)
    for _, params in server.log:
        assert params["api_key"] == KEY and params["email"] == "someone@example.org"
        assert params["db"] == "pubmed" and params["tool"] and " " not in params["tool"]


def test_root_addresses_are_left_out_and_ids_that_are_none_are_never_sent(server: EutilsServer) -> None:
    ncbi = Eutils(server.url, pace=Pace(10_000), email="root@localhost", patience=QUICK)
    ncbi.search("ketamine")
    assert "email" not in server.log[0][1]
    for wrong in ("1,2", "abc", "", "-1", "012"):
        with pytest.raises(ValueError):
            ncbi.fetch([wrong])
    assert len(server.log) == 1


@pytest.mark.parametrize(
    "url",
    [
        "eutils.ncbi.nlm.nih.gov",
        "ftp://example.org/",
        "",
        "http://",
        "http://user:secret@example.org/",
        "https://example.org/esearch.fcgi",
        "https://example.org/?db=pubmed",
        "http://example.org:port/",
    ],
)
def test_a_base_url_that_cannot_be_one(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        Eutils(url)
    assert "secret" not in str(caught.value)


# ---------------------------------------------------------------- the error table


@pytest.mark.parametrize(
    "row",
    [
        "1",
        "4",
        "4-json",
        "5",
        "6",
        "6-db",
        "7",
        "11",
        "12",
        "17",
        "17-empty",
        "18",
        "18-502",
        "20",
        "21-cut",
        "21-short",
        "21-reset",
        "21-silent",
        "23",
    ],
)
def test_what_may_pass_is_tried_again(server: EutilsServer, row: str) -> None:
    server.fail("efetch", row, times=2)
    with client(server) as ncbi:
        assert b"Ketamine study 7." in ncbi.fetch(["7"])
        assert ncbi.retries == 2


@pytest.mark.parametrize("row", ["4", "5", "11", "17", "18", "23"])
def test_and_given_up_in_the_end_with_one_clear_line(server: EutilsServer, row: str) -> None:
    server.fail("efetch", row, times=99)
    with client(server) as ncbi, pytest.raises(Unavailable) as caught:
        ncbi.fetch(["7"])
    assert ncbi.requests == QUICK.tries
    assert "\n" not in str(caught.value) and "127.0.0.1" in str(caught.value)


def test_a_query_that_may_be_at_fault_is_not_tried_for_long(server: EutilsServer) -> None:
    with client(server) as ncbi, pytest.raises(Unavailable, match="not valid PubMed syntax or NCBI"):
        ncbi.search("((")
    assert ncbi.requests == 3


@pytest.mark.parametrize("row", ["8", "9"])
def test_a_lost_session_is_told_apart(server: EutilsServer, row: str) -> None:
    server.fail("efetch", row)
    with client(server) as ncbi, pytest.raises(SessionLost):
        ncbi.fetch(webenv="MCID_x", query_key="1", size=5)
    assert ncbi.requests == 1


def test_a_session_that_the_server_forgot(server: EutilsServer) -> None:
    with client(server) as ncbi:
        found = ncbi.search("ketamine", size=5, history=True)
        server.forget_history()
        with pytest.raises(SessionLost):
            ncbi.fetch(webenv=found.webenv, query_key=found.query_key, size=5)


@pytest.mark.parametrize("row", ["24", "400", "redirect"])
def test_what_can_only_fail_again_is_not_repeated(server: EutilsServer, row: str) -> None:
    server.fail("efetch", row, times=9)
    with client(server) as ncbi, pytest.raises(BadRequest):
        ncbi.fetch(["7"])
    assert ncbi.requests == 1


def test_pages_beyond_the_wall_and_beyond_the_end(server: EutilsServer) -> None:  # rows 3 and 10
    with client(server) as ncbi:
        found = ncbi.search("ketamine", size=5, history=True)
        with pytest.raises(BadRequest, match="beyond the end"):
            ncbi.fetch(webenv=found.webenv, query_key=found.query_key, start=30, size=5)
        with pytest.raises(BadRequest, match="9,999"):
            ncbi.fetch(webenv=found.webenv, query_key=found.query_key, start=9999, size=5)
        with pytest.raises(BadRequest, match="9,999"):
            ncbi.search("ketamine", start=9999, size=5)


def test_ids_that_are_gone_are_no_error(server: EutilsServer) -> None:  # rows 14, 15 and 22
    with client(server) as ncbi:
        assert b"<PubmedArticle>" not in ncbi.fetch(["999"])
        assert ncbi.fetch(["999", "3"]).count(b"<PubmedArticle>") == 1
        assert ncbi.summarised(["999"]) == set()
        assert ncbi.retries == 0


def test_a_summary_that_failed_inside_a_comment(server: EutilsServer) -> None:  # row 15a
    server.fail("esummary", "15a")
    with client(server) as ncbi:
        assert ncbi.summarised(["3"]) == {"3"}
        assert ncbi.retries == 1


def test_an_empty_term_and_an_empty_list(server: EutilsServer) -> None:  # rows 13 and 16
    with client(server) as ncbi:
        with pytest.raises(BadRequest, match="empty"):
            ncbi.search("")
        with pytest.raises(BadRequest, match="ids"):
            ncbi.call("efetch", {"id": "abc", "retmode": "xml"})
        with pytest.raises(BadRequest, match="ids"):
            ncbi.call("epost", {"id": ""})


@pytest.mark.parametrize("row", ["19", "19-page"])
def test_a_block_stops_everything(server: EutilsServer, row: str) -> None:
    server.fail("esearch", row)
    with client(server) as ncbi:
        with pytest.raises(Blocked, match="blocked this address") as caught:
            ncbi.search("ketamine")
        assert "eutilities@ncbi.nlm.nih.gov" in str(caught.value)
        with pytest.raises(Blocked):
            ncbi.fetch(["1"])
    assert len(server.log) == 1


def test_a_refused_key_stops_everything_and_is_not_repeated_to_anybody(server: EutilsServer) -> None:  # row 2
    server.keys = {"another"}
    with client(server, api_key=KEY) as ncbi:
        with pytest.raises(Blocked, match="--api-key") as caught:
            ncbi.search("ketamine")
        assert KEY not in str(caught.value) and KEY not in repr(ncbi)
    assert len(server.log) == 1


def test_a_redirect_is_never_followed(server: EutilsServer) -> None:
    with EutilsServer([Citation("1")]) as elsewhere:
        server.fail("esearch", "redirect")
        with client(server) as ncbi, pytest.raises(BadRequest, match="redirect"):
            ncbi.search("ketamine")
        assert elsewhere.log == []


def test_an_answer_that_drips_is_given_up(server: EutilsServer) -> None:
    server.fail("efetch", "drip", times=9)
    patience = Patience(tries=2, first=2, base=0.001, whole=0.3, read=2)
    with client(server, patience=patience) as ncbi, pytest.raises(Unavailable, match="too slowly"):
        ncbi.fetch(["1"])


def test_an_answer_without_end_is_cut_short(server: EutilsServer) -> None:
    with client(server, max_body=500) as ncbi, pytest.raises(BadRequest, match="more than"):
        ncbi.fetch([str(n) for n in range(1, 31)])


def test_nobody_at_home() -> None:
    with EutilsServer() as server:
        url = server.url
    ncbi = Eutils(url, pace=Pace(10_000), patience=QUICK)
    with pytest.raises(Unavailable, match="refused"):
        ncbi.search("ketamine")


def test_a_server_that_speaks_something_else(server: EutilsServer) -> None:
    ncbi = Eutils(server.url.replace("/entrez/eutils/", "/wiki/"), pace=Pace(10_000), patience=QUICK)
    with pytest.raises(BadRequest, match="--base-url"):
        ncbi.search("ketamine")


def test_budgets_of_requests_and_time(server: EutilsServer) -> None:
    with client(server, patience=Patience(max_requests=2)) as ncbi:
        ncbi.search("ketamine")
        ncbi.search("ketamine")
        with pytest.raises(Unavailable, match="budget of 2"):
            ncbi.search("ketamine")
    with client(server, patience=Patience(max_seconds=1e-9)) as ncbi, pytest.raises(Unavailable, match="time limit"):
        ncbi.search("ketamine")


def test_an_answer_without_a_count_is_not_a_zero() -> None:
    for body in (
        b"<eSearchResult/>",
        b"<eSearchResult><Count></Count></eSearchResult>",
        b"<eSearchResult><Count>many</Count></eSearchResult>",
    ):
        with pytest.raises(ValueError, match="no count"):
            eutils.read_search(body)
    assert eutils.read_search(b"<eSearchResult><Count>0</Count></eSearchResult>").count == 0


def test_dropped_phrases_and_warnings_are_heard(server: EutilsServer) -> None:
    server.unknown_phrases = {"qwxyz"}
    with client(server) as ncbi:
        found = ncbi.search("ketamine AND qwxyz[tiab] AND 7[nonsense]")
        assert found.phrases_not_found == ["qwxyz"] and found.fields_not_found == ["nonsense"]
        assert found.count == 30
        nothing = ncbi.search("penguins")
        assert nothing.count == 0 and nothing.warnings == ["OutputMessage: No items found."]


# ---------------------------------------------------------------- real error bodies


def _real_errors() -> list[dict[str, object]]:
    manifest = FIXTURES / "errors" / "manifest.json"
    return json.loads(manifest.read_text()) if manifest.is_file() else []


OTHER_SERVICES = {"ctgov_parse_error_400.txt", "europepmc_unknown_cursor_200.json"}


@pytest.mark.skipif(not _real_errors(), reason="the shared fixtures (../shared/eutils-fixtures) are not there")
def test_real_error_bodies_get_the_verdict_that_was_recorded_for_them() -> None:
    differences = []
    for entry in _real_errors():
        name = str(entry["file"])
        if name in OTHER_SERVICES:
            continue  # not an answer of E-utilities
        body = (FIXTURES / "errors" / name).read_bytes()
        utility = name.split("_")[0] if name.split("_")[0] in eutils._ROOTS else str(entry["endpoint"])
        utility = utility if utility in eutils._ROOTS else "esearch"
        for status in [entry["http_status"]] if entry["http_status"] else [200, 400]:
            headers = {"Content-Type": entry["content_type"], **entry["headers"]}  # type: ignore[dict-item]
            said = eutils.judge(int(status), headers, body, utility)  # type: ignore[arg-type]
            # "data" means: a valid answer that says that something is not there. To the transport it is one.
            verdict = Verdict.OK if entry["verdict"] == "data" else entry["verdict"]
            if said.verdict != verdict:
                differences.append((name, status, str(verdict), str(said.verdict), said.row))
    assert differences == []


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the shared fixtures (../shared/eutils-fixtures) are not there")
def test_real_answers_are_read() -> None:
    for path in sorted((FIXTURES / "esearch").glob("*.xml")):
        body = path.read_bytes()
        assert eutils.judge(200, {"Content-Type": "text/xml"}, body, "esearch").verdict is Verdict.OK, path.name
        assert eutils.read_search(body).count >= 0
    widened = eutils.read_search((FIXTURES / "esearch" / "biopython_esearch8.xml").read_bytes())
    assert widened.phrases_not_found == ["abcXYZ"] and widened.count == 0
    stored = eutils.read_search((FIXTURES / "esearch" / "biopython_esearch2.xml").read_bytes())
    assert (stored.count, stored.webenv, len(stored.ids)) == (42249, "MCID_6927d6e7fee3e90f880ec190", 100)


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([200, 302, 400, 404, 429, 500]),
    st.sampled_from(["text/xml", "application/json", "text/html", "text/plain", ""]),
)
def test_whatever_arrives_is_judged_and_rubbish_is_never_an_answer(body: bytes, status: int, kind: str) -> None:
    said = eutils.judge(status, {"Content-Type": kind}, body, "efetch")
    assert said.verdict is not Verdict.OK or b"PubmedArticleSet" in body or b"PubmedBookArticleSet" in body


# ---------------------------------------------------------------- pace


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000.0
        monkeypatch.setattr(eutils.time, "time", lambda: self.now)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("rate", [3.0, 10.0])
def test_the_permitted_rate_is_used_and_never_passed(
    rate: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = Clock(monkeypatch)
    pace = Pace(rate, name="test", folder=str(tmp_path))
    sent = []
    for number in range(100):
        pace.wait(clock.sleep)
        sent.append(clock.now)
        clock.now += 0.001 * (number % 7)  # the answer takes its time
    for first in range(100):
        assert sum(sent[first] <= t < sent[first] + 1.0 for t in sent) <= rate
    assert 99 / (sent[-1] - sent[0]) > 0.9 * rate


def test_two_clients_on_one_machine_share_one_bucket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = Clock(monkeypatch)
    one = Pace(3, name="ncbi", folder=str(tmp_path))
    two = Pace(3, name="ncbi", folder=str(tmp_path))
    other = Pace(3, name="elsewhere", folder=str(tmp_path))
    sent = []
    for pace in (one, two) * 10:
        pace.wait(clock.sleep)
        sent.append(clock.now)
    gaps = [b - a for a, b in zip(sent, sent[1:], strict=False)]
    assert min(gaps) >= 1 / 3
    before = clock.now
    other.wait(clock.sleep)
    assert clock.now == before
    one.hold(5)
    two.wait(clock.sleep)
    assert clock.now >= before + 5


def test_another_process_waits_too(tmp_path: Path) -> None:
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from harvest.eutils import Pace; "
        "p = Pace(1, name='x', folder=sys.argv[2], margin=1.0); p.wait(); "
        "print(float(next(__import__('pathlib').Path(sys.argv[2]).iterdir()).read_text()))"
    )
    root = str(Path(__file__).resolve().parents[1])
    slots = [
        float(
            subprocess.run(
                [sys.executable, "-c", code, root, str(tmp_path)], capture_output=True, text=True, check=True
            ).stdout
        )
        for _ in range(2)
    ]
    assert slots[1] - slots[0] >= 1.0  # the second process took the next free second, not its own first one


def test_a_broken_lock_file_and_a_wrong_clock_do_not_stop_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = Clock(monkeypatch)
    pace = Pace(3, name="x", folder=str(tmp_path))
    pace.wait(clock.sleep)
    file = next(tmp_path.iterdir())
    for content in ("rubbish", "", str(clock.now + 1e9)):
        file.write_text(content)
        before = clock.now
        pace.wait(clock.sleep)
        assert clock.now - before < 1
    Pace(3, name="x", folder=str(tmp_path / "missing")).wait(clock.sleep)


def test_a_server_with_ncbis_limit_never_refuses(server: EutilsServer, tmp_path: Path) -> None:
    server.rate, server.rate_with_key = 3, 20
    with Eutils(
        server.url, api_key=KEY, patience=QUICK, rate=20, pace=Pace(20, name="t", folder=str(tmp_path))
    ) as ncbi:
        threads = [threading.Thread(target=lambda: [ncbi.search("ketamine") for _ in range(5)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert ncbi.requests == 20
    assert server.refused == 0


def test_a_client_that_is_too_fast_obeys_retry_after(server: EutilsServer) -> None:
    server.rate = 2
    with client(server) as ncbi:
        for _ in range(4):
            ncbi.search("ketamine")
        assert ncbi.retries >= 1 and server.refused == ncbi.retries


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("2", 2, 2),
        ("100000", 120, 120),
        ("soon", None, None),
        ("", None, None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0),
    ],
)
def test_retry_after_in_all_its_forms(header: str, low: float | None, high: float | None) -> None:
    seconds = eutils._retry_after({"Retry-After": header})
    assert seconds is None if low is None else low <= (seconds or 0) <= high


# ---------------------------------------------------------------- the server is what it says it is


def test_a_client_that_nobody_here_wrote_works_with_the_server(
    server: EutilsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Biopython's Entrez searches, pages, posts, fetches and parses against the test server."""
    Entrez = pytest.importorskip("Bio.Entrez")
    real = Entrez.urlopen

    def here(request: object) -> object:
        request.full_url = request.full_url.replace(  # type: ignore[attr-defined]
            "https://eutils.ncbi.nlm.nih.gov/entrez/eutils/", server.url
        )
        return real(request)

    monkeypatch.setattr(Entrez, "urlopen", here)
    monkeypatch.setattr(Entrez, "email", "someone@example.org")
    monkeypatch.setattr(Entrez, "sleep_between_tries", 0)
    found = Entrez.read(Entrez.esearch(db="pubmed", term="ketamine[tiab]", usehistory="y", retmax=4))
    assert (found["Count"], list(found["IdList"])) == ("30", ["30", "29", "28", "27"])
    with Entrez.efetch(
        db="pubmed", retmode="xml", webenv=found["WebEnv"], query_key=found["QueryKey"], retstart=2, retmax=2
    ) as handle:
        articles = Entrez.read(handle)["PubmedArticle"]
    assert [str(a["MedlineCitation"]["PMID"]) for a in articles] == ["28", "27"]
    assert articles[0]["MedlineCitation"]["Article"]["ArticleTitle"] == "Ketamine study 28."
    posted = Entrez.read(Entrez.epost(db="pubmed", id="5,6"))
    with Entrez.efetch(db="pubmed", retmode="xml", webenv=posted["WebEnv"], query_key=posted["QueryKey"]) as handle:
        assert len(Entrez.read(handle)["PubmedArticle"]) == 2
    summaries = Entrez.read(Entrez.esummary(db="pubmed", id="5,6"))
    assert [str(s["Title"]) for s in summaries] == ["Ketamine study 5.", "Ketamine study 6."]
    empty = Entrez.read(Entrez.esearch(db="pubmed", term="penguins"))
    assert empty["Count"] == "0" and empty["WarningList"]["OutputMessage"] == ["No items found."]


def test_the_server_keeps_pubmeds_walls(server: EutilsServer) -> None:
    server.wall = 20
    with client(server) as ncbi:
        assert len(ncbi.search("ketamine", size=30).ids) == 20
        found = ncbi.search("ketamine", size=20, history=True)
        body = ncbi.fetch(webenv=found.webenv, query_key=found.query_key, start=15, size=10)
        assert body.count(b"<PubmedArticle>") == 5  # trimmed without a word
    raw = server._esearch({"term": "ketamine", "retstart": "99", "retmode": "json"})
    with pytest.raises(json.JSONDecodeError):
        json.loads(raw.body)
    assert eutils.judge(200, {"Content-Type": raw.content_type}, raw.body, "esearch").row == "3"
