"""`kb serve --public` as a hostile client meets it: a real server, real sockets."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest
from test_serving import running

BOMB = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "


class Site:
    def __init__(self, address: str, database: Path):
        self.address, self.database = address, database
        self.client = httpx.Client(base_url=address, timeout=60)

    def sql(self, sql: str, path: str = "/kb.json") -> httpx.Response:
        return self.client.get(path, params={"sql": sql})

    def alive(self) -> bool:
        return self.client.get("/claims/bdnf").status_code == 200


@pytest.fixture(scope="module")
def site(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    database = tmp_path_factory.mktemp("a-folder-to-keep-secret") / "public.db"
    shutil.copyfile(built, database)
    with running("--public", "--db", str(database)) as (address, _, errors):
        site = Site(address, database)
        before = hashlib.sha256(database.read_bytes()).hexdigest()
        yield site
        # After all that was done to it, the site answers and the file is what it was.
        assert site.alive()
        site.client.close()
        assert hashlib.sha256(database.read_bytes()).hexdigest() == before
        assert [p.name for p in database.parent.iterdir()] == ["public.db"], "nothing is written beside it"
        assert "Traceback" not in errors.read_text(), errors.read_text().partition("Traceback")[2][:3000]


@pytest.fixture(autouse=True)
def unharmed(site: Site) -> Iterator[None]:
    yield
    assert site.client.get("/robots.txt").status_code == 200


# -- slow and huge -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        BOMB + "SELECT count(*) FROM c",
        "SELECT count(*) FROM sentences a, sentences b, sentences c, sentences d",
        "SELECT max(a.text || b.text) FROM sentences a, sentences b, sentences c",
    ],
)
def test_a_query_without_end_is_stopped_and_says_so(site: Site, sql: str) -> None:
    response = site.sql(sql)
    assert response.status_code == 400 and "too long" in response.text


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT zeroblob(1000000000)", "too big"),
        (
            "WITH RECURSIVE c(x) AS (SELECT 'a' UNION ALL SELECT x || x FROM c) SELECT max(length(x)) FROM c",
            "too big",
        ),
        ("SELECT group_concat(a.text) FROM sentences a, sentences b", "too big"),
        (BOMB + "SELECT printf('%900000d', x) FROM c", "larger than 50 MB"),
        ("SELECT " + "+".join("1" * 3000), "too large"),
        ("SELECT " + " UNION SELECT ".join(map(str, range(100))), "too many terms"),
        ("SELECT 1 -- " + "x" * 60_000, ""),
    ],
)
def test_a_huge_query_or_value_is_refused(site: Site, sql: str, words: str) -> None:
    response = site.sql(sql)
    assert response.status_code in (400, 414, 431) and words in response.text


def test_many_rows_are_cut_and_the_cut_is_told(site: Site) -> None:
    answer = site.sql("SELECT a.id, b.id FROM sentences a, sentences b").json()
    assert answer["truncated"] is True and len(answer["rows"]) == 1000
    assert site.client.get("/kb/articles.json", params={"_size": "1001"}).status_code == 400


@pytest.mark.parametrize("path", ["/kb.csv", "/kb.ris"])
def test_a_download_without_end_breaks_off_visibly(site: Site, path: str) -> None:
    """Half a file must not pass for a whole one: the connection ends before the body does."""
    sql = BOMB + "SELECT x, 'a line to fill the file' AS article_id FROM c"
    with pytest.raises(httpx.RemoteProtocolError):
        response = site.sql(sql, path)
        # References are looked up in the database, so there the query is stopped before the first of them.
        assert response.status_code == 400 and "too long" in response.text
        raise httpx.RemoteProtocolError("refused before it began")


def test_whole_tables_can_be_had(site: Site) -> None:
    text = site.client.get("/kb/sentences.csv").text
    total = site.client.get("/kb/sentences.json", params={"_size": "1"}).json()["filtered_table_rows_count"]
    assert total > 1000 and text.count("\r\n") >= total + 1
    assert site.client.get("/kb.db").content == site.database.read_bytes()


def test_readers_who_leave_in_the_middle_hold_nothing_up(site: Site) -> None:
    host, port = urlsplit(site.address).netloc.split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /kb/sentences.csv HTTP/1.1\r\nHost: x\r\n\r\n")
            connection.recv(100)
    assert site.client.get("/kb/evidence.csv").status_code == 200


def test_many_slow_queries_at_once_do_not_stop_the_pages(site: Site) -> None:
    bombs = [
        threading.Thread(
            target=httpx.get,
            args=(site.address + "kb.json?sql=" + quote(BOMB + "SELECT max(x) FROM c"),),
            kwargs={"timeout": 60},
        )
        for _ in range(9)
    ]
    for bomb in bombs:
        bomb.start()
    assert site.alive()
    for bomb in bombs:
        bomb.join()


# -- writing, attaching, asking for what is not theirs -----------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM tags",
        "UPDATE tags SET stance = 'supports'",
        "INSERT INTO meta VALUES ('a', 'b')",
        "DROP TABLE tags",
        "CREATE TABLE x (y)",
        "CREATE TEMP TABLE x (y)",
        "ALTER TABLE tags ADD z",
        "VACUUM",
        "VACUUM INTO '/dev/shm/x.db'",
        "REINDEX",
        "ANALYZE",
        "BEGIN EXCLUSIVE",
        "ATTACH DATABASE '/etc/passwd' AS p",
        "DETACH DATABASE main",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA writable_schema = 1",
        "PRAGMA database_list",
        "SELECT 1; DELETE FROM tags",
        "WITH x AS (SELECT 1) DELETE FROM tags",
        "EXPLAIN DELETE FROM tags",
        "SELECT load_extension('x')",
        "SELECT readfile('/etc/passwd')",
        "SELECT writefile('/dev/shm/x', 'y')",
        "SELECT * FROM pragma_database_list",
        "SELECT * FROM pragma_database_list()",
        "SELECT * FROM pragma_journal_mode",
        "SELECT * FROM pragma_temp_store_directory",
        "SELECT * FROM sqlite_dbpage",
        "/**/ SELECT * FROM pragma_database_list",
        "SELECT fts3_tokenizer('simple')",
        "SELECT edit('x')",
        "INSERT INTO articles_fts(articles_fts) VALUES ('rebuild')",
    ],
)
@pytest.mark.parametrize("path", ["/kb.json", "/kb.ris"])
def test_nothing_but_reading_the_evidence_is_done(site: Site, sql: str, path: str) -> None:
    response = site.sql(sql, path)
    assert response.status_code == 400, response.text[:300]
    assert str(site.database.parent) not in response.text and "root:" not in response.text


@pytest.mark.parametrize(
    "query",
    [
        "_where=1);DELETE FROM tags;--",
        "_where=1 UNION SELECT 1",
        "_where=id IN (SELECT file FROM pragma_database_list)",
        "_sort=id; DROP TABLE tags",
        "_col=nope",
        "_facet=nope",
        '_search="unclosed',
        "_search_title=NMDA AND",
        "_searchmode=raw&_search=title:",
        "id__exact=' OR 1=1 --",
        "_json=x&_shape=nope",
        "_next=%27",
        "_size=-1",
    ],
)
def test_table_arguments_cannot_do_more(site: Site, query: str) -> None:
    response = site.client.get("/kb/articles.json?" + quote(query, safe="=&%"))
    assert response.status_code in (200, 302, 400, 404, 500), response.text[:200]
    assert str(site.database.parent) not in response.text


@pytest.mark.parametrize("value", ["' OR 1=1 --", '"; DROP TABLE tags; --', "x" * 5000, "\u0000", "☃"])
def test_parameters_of_ready_queries_are_values(site: Site, value: str) -> None:
    response = site.client.get("/kb/evidence-against.json", params={"claim": value})
    assert response.status_code in (200, 400)
    if response.status_code == 200:
        assert response.json()["rows"] == []


@pytest.mark.parametrize("path", ["/kb", "/kb.csv", "/kb.nbib", "/kb.jsono"])
def test_no_form_of_answer_is_an_exception(site: Site, path: str) -> None:
    for sql in ("DELETE FROM tags", "SELECT * FROM pragma_database_list", "SELECT load_extension('x')"):
        assert site.sql(sql, path).status_code in (302, 400)


# -- what it tells of the machine --------------------------------------------------------------


@pytest.mark.parametrize(
    "page",
    [
        "databases",
        "metadata",
        "versions",
        "plugins",
        "settings",
        "config",
        "threads",
        "permissions",
        "allow-debug",
        "messages",
        "patterns",
        "auth-token",
        "logout",
        "actor",
        "",
    ],
)
@pytest.mark.parametrize("end", ["", ".json", "/", "?all=1"])
def test_datasettes_pages_about_the_machine_are_closed(site: Site, page: str, end: str) -> None:
    assert site.client.get(f"/-/{page}{end}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/%2D/settings.json",
        "//-/settings.json",
        "/-%2Fsettings.json",
        "/~2D/settings.json",
        "/./-/settings.json",
        "/kb/../-/settings.json",
        "/-/static/../settings.json",
    ],
)
def test_no_spelling_opens_them(site: Site, path: str) -> None:
    parts = urlsplit(site.address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request("GET", path)  # as it stands: clients tidy addresses up
    answer = connection.getresponse()
    body = answer.read().decode("utf-8", "replace")
    connection.close()
    assert "num_sql_threads" not in body and answer.status in (301, 302, 400, 403, 404)


@pytest.mark.parametrize(
    "path",
    [
        "/-/static/../../../../../../etc/passwd",
        "/-/static/%2e%2e/%2e%2e/app.py",
        "/-/static-plugins/kb/../../../etc/passwd",
    ],
)
def test_no_file_beside_the_static_ones_is_served(site: Site, path: str) -> None:
    parts = urlsplit(site.address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status in (302, 403, 404) and b"root:" not in body and b"import asyncio" not in body


def test_no_page_tells_a_directory_of_the_machine(site: Site) -> None:
    secrets = {
        str(site.database.parent),
        str(Path.home()),
        str(Path(__file__).parent.parent),
        "site-packages",
        os.getcwd(),
    }
    paths = [
        "/",
        "/.json",
        "/kb",
        "/kb.json",
        "/kb/articles",
        "/kb/meta",
        "/kb/harvests",
        "/kb/harvest_log",
        "/kb/_sqlite_migrations",
        "/claims/bdnf",
        "/articles/24740528",
        "/search?q=ketamine",
        "/sources",
        "/about",
        "/nope",
        "/kb/nope",
        "/claims/nope",
        "/kb?sql=selec",
        "/kb.json?sql=select+*+from+nope",
        "/_memory",
        "/_internal",
        "/:memory:",
        "/robots.txt",
        "/kb?sql=select+*+from+sqlite_master",
        "/kb/evidence.ris?_where=nope",
        "/kb/articles?_facet_array=title",
        "/kb.csv",
        "/kb.ris",
    ]
    for path in paths:
        response = site.client.get(path)
        told = [s for s in secrets if s in response.text or s in str(response.headers)]
        assert not told, (path, told)
        assert "server" not in response.headers


# -- forms, methods, headers -------------------------------------------------------------------


def test_forms_of_other_sites_and_too_large_ones_are_refused(site: Site) -> None:
    own = {"Origin": site.address.rstrip("/")}
    assert (
        site.client.post("/check", data={"text": "x"}, headers={"Origin": "https://evil.example"}).status_code
        == 403
    )
    assert site.client.post("/check", data={"text": "x"}).status_code == 403
    assert site.client.post("/kb", data={"sql": "DELETE FROM tags"}, headers=own).status_code == 405
    assert site.client.post("/kb/evidence-against", data={"claim": "x"}, headers=own).status_code == 405
    large = site.client.post("/check", content=b"x" * 3_000_000, headers=own)
    assert large.status_code == 413 and "At most 2 MB" in large.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"])
def test_other_methods_are_refused(site: Site, method: str) -> None:
    assert site.client.request(method, "/kb/articles").status_code == 405


def test_robots_and_caches_are_told_what_to_do(site: Site) -> None:
    robots = site.client.get("/robots.txt").text
    assert "Disallow: /kb" in robots
    assert "noindex" in site.client.get("/kb/articles").headers["x-robots-tag"]
    assert "x-robots-tag" not in site.client.get("/claims/bdnf").headers
    for path in ("/", "/claims/bdnf", "/kb/evidence", "/claims/bdnf.ris"):
        assert "max-age=300" in site.client.get(path).headers["cache-control"], path


def test_head_has_the_headers_and_no_body(site: Site) -> None:
    for path in ("/claims/bdnf.ris", "/kb/evidence.csv", "/kb/articles.json"):
        response = site.client.head(path)
        assert response.status_code == 200 and response.content == b""


def test_requests_that_are_no_http_are_survived(site: Site) -> None:
    host, port = urlsplit(site.address).netloc.split(":")
    for raw in (
        b"\x16\x03\x01\x02\x00",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000,
        b"POST /check HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            try:
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
                connection.recv(1000)
            except OSError:
                pass  # the server hung up on us: as good an answer as any
