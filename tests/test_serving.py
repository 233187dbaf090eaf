"""`kb serve`: starting it, what it refuses, and the headers that every answer carries."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from conftest import ROOT

from kb import schema, serving
from kb.serving import Guard, ServeProblem, same_origin
from kb.store import Store


def get(datasette, path: str, method: str = "GET", **more: object) -> httpx.Response:
    async def request() -> httpx.Response:
        await datasette.invoke_startup()
        return await datasette.client.request(method, path, **more)

    return asyncio.run(request())


@pytest.fixture(scope="module")
def local(built: Path):
    return serving.make_datasette(built)


# -- starting ----------------------------------------------------------------------------------


@contextmanager
def running(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str], Path]]:
    """`kb serve` as people run it: the address that it prints, the process, the file with its error output.

    A file, because Datasette writes every wrong SQL there and a pipe that nobody reads fills up.
    """
    with tempfile.TemporaryDirectory() as folder:
        errors = Path(folder) / "errors"
        with errors.open("w") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "kb.cli", "serve", "--port", "0", *arguments],
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                cwd=ROOT,
            )
        try:
            line = process.stdout.readline()
            found = re.search(r"http://\S+/", line)
            assert found, line + errors.read_text()
            yield found[0], process, errors
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(timeout=20)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.stdout.close()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_serves_and_stops_without_a_word(built: Path, stop: signal.Signals) -> None:
    with running("--db", str(built)) as (address, process, errors):
        assert httpx.get(address).status_code == 200
        assert httpx.get(address + "kb/evidence.json?_size=1").json()["rows"]
        process.send_signal(stop)
        assert process.wait(timeout=20) in (0, -signal.SIGTERM)
        assert errors.read_text() == ""


def test_a_taken_port_is_one_line(built: Path) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ServeProblem, match=r"port \d+ is taken: choose another with --port"):
            serving.serve(built, port=other.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("no.such.host.invalid", 0, "is no address of this machine"),
        ("127.0.0.1", 70_000, "70000 is no port"),
        ("192.0.2.1", 0, "cannot listen on 192.0.2.1"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_line(built: Path, host: str, port: int, words: str) -> None:
    with pytest.raises(ServeProblem) as caught:
        serving.serve(built, host=host, port=port)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_database_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("not a database, but long enough to look at" * 50)
    sqlite3.connect(tmp_path / "other.db").executescript("CREATE TABLE x (y); INSERT INTO x VALUES (1)")
    for name, words in (
        ("missing.db", "run `kb build"),
        ("text.db", "not a SQLite database"),
        ("other.db", "no evidence database"),
    ):
        with pytest.raises(schema.DatabaseProblem) as caught:
            serving.serve(tmp_path / name, port=0)
        assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["my base.db", "50%20?x#1.db", "données.db"])
@pytest.mark.parametrize("public", [False, True])
def test_any_file_name_will_do(built: Path, tmp_path: Path, name: str, public: bool) -> None:
    shutil.copyfile(built, tmp_path / name)
    datasette = serving.make_datasette(tmp_path / name, public=public)
    assert get(datasette, "/kb/claims.json").json()["rows"]


def test_a_harvest_is_seen_at_once(database: Path, article) -> None:
    datasette = serving.make_datasette(database)
    before = get(datasette, "/kb/articles.json?_size=1").json()["filtered_table_rows_count"]
    with Store(database) as store:
        store.save([article("98765432")])
        after = get(datasette, "/kb/articles.json?_size=1").json()["filtered_table_rows_count"]
    assert after == before + 1


def test_a_public_server_takes_in_what_still_stood_in_the_log(database: Path, article) -> None:
    store = Store(database)
    store.save([article("98765432")])
    shutil.copyfile(database, database.with_name("copy.db"))
    shutil.copyfile(f"{database}-wal", database.with_name("copy.db-wal"))
    store.close()
    datasette = serving.make_datasette(database.with_name("copy.db"), public=True)
    assert get(datasette, "/kb/articles.json?id=98765432").json()["rows"]


def test_a_public_server_refuses_a_file_that_is_being_written(database: Path, article) -> None:
    with Store(database) as store:
        store.save([article("98765432")])
        store.connection.execute("BEGIN IMMEDIATE")
        store.connection.execute("UPDATE meta SET value = value")
        with pytest.raises((ServeProblem, schema.DatabaseProblem), match="being written"):
            serving.make_datasette(database, public=True)
        store.connection.execute("ROLLBACK")


# -- metadata.json -----------------------------------------------------------------------------


def test_metadata_is_found_in_the_checkout_and_where_pip_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert serving.metadata_path() == ROOT / "metadata.json"
    prefix, modules = tmp_path / "prefix", tmp_path / "lib"
    monkeypatch.setattr(serving, "__file__", str(modules / "kb" / "serving.py"))
    monkeypatch.setattr(serving.sysconfig, "get_path", lambda name, scheme: str(prefix))
    with pytest.raises(ServeProblem, match="install it again"):
        serving.metadata_path()
    for place in (prefix / "share" / "kb", modules / "share" / "kb", modules / "kb" / "data"):
        place.mkdir(parents=True)
        shutil.copyfile(ROOT / "metadata.json", place / "metadata.json")
        assert serving.metadata_path() == place / "metadata.json"
        assert serving.read_metadata()["databases"]["kb"]["queries"]


# -- what Datasette shows ----------------------------------------------------------------------


def test_settings_close_the_traps_of_datasette(local) -> None:
    settings = get(local, "/-/settings.json").json()
    assert settings["suggest_facets"] is False and settings["max_csv_mb"] == 0


def test_only_the_evidence_is_served(local) -> None:
    assert [d["name"] for d in get(local, "/-/databases.json").json()] == ["kb"]
    assert get(local, "/_memory").status_code == 404
    assert get(local, "/_internal").status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/kb/articles?_timelimit=x",
        "/kb/evidence?_next=x",
        "/kb/articles?_ttl=x",
        "/kb/articles?_size=x",
        "/kb?sql=select+%00",
        "/kb/articles?_where=1+union",
        "/kb?sql=select+*+from+nope",
        "/kb?sql=insert+into+meta+values(1,2)",
        "/kb/nope",
        "/kb/articles/nope",
    ],
)
def test_bad_addresses_are_explained_and_nothing_breaks(local, path: str) -> None:
    response = get(local, path)
    assert response.status_code in (400, 404) and "Traceback" not in response.text


def test_foreign_keys_link_and_rows_have_labels(local) -> None:
    page = get(local, "/kb/tags?_size=3").text
    assert re.search(r'href="[^"]*(/kb/claims/|/claims/)', page)
    assert re.search(r'href="[^"]*(/kb/articles/|/articles/)', page)


# -- the guard ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/kb", "/kb/articles", "/claims/bdnf", "/kb/claims.json", "/nope", "/-/x"]
)
def test_every_answer_carries_security_headers(local, path: str) -> None:
    headers = get(local, path).headers
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    # Inline script is let in only where pages are Datasette's own.
    assert ("unsafe-inline" in policy) == path.startswith("/-/")


def test_our_pages_keep_their_own_policy() -> None:
    async def page(scope, receive, send) -> None:
        headers = [(b"content-security-policy", b"default-src 'self'")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    response = through(Guard(page, public=False), "GET", "/")
    assert response.headers["content-security-policy"] == "default-src 'self'"


def through(app, method: str, path: str, **more: object) -> httpx.Response:
    async def request() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
            return await client.request(method, f"http://kb.example{path}", **more)

    return asyncio.run(request())


async def echo(scope, receive, send) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


GUARD = Guard(echo, public=False, max_body=1000)
OWN = {"origin": "http://kb.example"}


@pytest.mark.parametrize(
    ("headers", "let_in"),
    [
        ({}, False),
        (OWN, True),
        ({"origin": "https://kb.example"}, True),  # encryption ends at a proxy
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://kb.example.evil.example"}, False),
        ({"referer": "http://kb.example/check"}, True),
        ({"referer": "http://evil.example/?http://kb.example"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site", **OWN}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"cookie": "ds_csrftoken=x"}, True),  # then Datasette asks for the token
        ({"cookie": "a=b", "origin": "http://evil.example"}, False),
        ({"content-type": "application/json; charset=utf-8"}, True),
        ({"content-type": "text/plain"}, False),
        ({"content-type": "application/json", "origin": "http://evil.example"}, False),
    ],
)
def test_a_form_from_another_site_is_refused(headers: dict[str, str], let_in: bool) -> None:
    response = through(GUARD, "POST", "/check", content=b"text", headers=headers)
    assert (response.status_code == 200) is let_in
    if not let_in:
        assert response.status_code == 403 and "not sent from this site" in response.text


def test_without_a_host_nothing_is_the_same_origin() -> None:
    assert not same_origin({b"origin": "http://"})


def test_a_form_of_ours_passes_datasettes_own_check(local) -> None:
    """A POST with a cookie but without its token is Datasette's to refuse."""
    response = get(
        local,
        "/check",
        "POST",
        data={"text": "x"},
        headers={"cookie": "ds_csrftoken=x", "origin": "http://localhost"},
    )
    assert response.status_code == 403


def test_a_body_has_a_limit_whether_announced_or_not() -> None:
    assert through(GUARD, "POST", "/check", content=b"x" * 1000, headers=OWN).text == "x" * 1000
    announced = through(GUARD, "POST", "/check", content=b"x" * 1001, headers=OWN)
    assert announced.status_code == 413 and "parts" in announced.text

    async def pieces():
        for _ in range(30):
            yield b"x" * 100

    assert through(GUARD, "POST", "/check", content=pieces(), headers=OWN).status_code == 413
    lying = {**OWN, "content-length": "-5"}
    assert through(GUARD, "POST", "/check", content=b"", headers=lying).status_code == 413


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"])
def test_other_methods_are_refused(method: str) -> None:
    response = through(GUARD, method, "/kb/articles")
    assert response.status_code == 405 and "GET" in response.headers["allow"]


@pytest.mark.parametrize("path", ["/kb", "/kb/articles", "/kb/evidence-against", "/-/logout", "/-/messages"])
def test_the_tables_take_no_forms(path: str) -> None:
    assert through(GUARD, "POST", path, content=b"a=b", headers=OWN).status_code == 405


def test_a_site_below_another_address_is_guarded_alike(built: Path) -> None:
    datasette = serving.make_datasette(built, public=True, base_url="/evidence/")

    async def request(path: str) -> httpx.Response:
        transport = httpx.ASGITransport(app=datasette.app())
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.get(f"http://kb.example{path}")

    assert asyncio.run(request("/evidence/kb/claims.json")).status_code == 200
    assert asyncio.run(request("/evidence/-/settings.json")).status_code == 404
    assert asyncio.run(request("/evidence/kb")).headers["x-robots-tag"] == "noindex"


@pytest.mark.parametrize(
    "path",
    [
        "/kb",
        "/kb/evidence",
        "/kb/articles",
        "/kb/articles/24740528",
        "/kb/evidence-against",
        "/kb?sql=select+1",
        "/nope",
    ],
)
def test_the_pages_keep_the_policy_that_they_are_served_with(local, path: str) -> None:
    """The policy lets no inline script or style run, so a page that has one would be broken."""
    page = get(local, path).text
    assert not re.search(
        r"<style|\sstyle=|\son[a-z]+=\"|<script(?![^>]*\b(?:src=|application/ld\+json))", page
    )
