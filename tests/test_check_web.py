"""/check in the browser's own words: form, JSON, limits, and what is never kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import jsonschema
import pytest
from bs4 import BeautifulSoup
from datasette.plugins import pm

from kb.check.reports import load_schema
from kb.serving import make_datasette
from kb.web import check_page
from kb.web.check_page import MAX_BODY, MAX_CHARACTERS, RateLimit

SECRET = "Zanzibarian ketamine cures PTSD forever and has no side effects."
FORM = {"content-type": "application/x-www-form-urlencoded"}
OURS = {"origin": "http://localhost", "host": "localhost"}


@pytest.fixture(scope="module")
def datasette(built: Path) -> Any:
    return make_datasette(built)


@pytest.fixture(autouse=True)
def fresh_limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(check_page, "RATE", RateLimit(1000))
    yield


def get(datasette: Any, path: str = "/check", **headers: str) -> Any:
    return asyncio.run(datasette.client.get(path, headers=headers))


def post(datasette: Any, fields: Any, headers: dict[str, str] | None = None, path: str = "/check") -> Any:
    body = fields if isinstance(fields, (bytes, str)) else urlencode(fields)
    given = {**FORM, **OURS, **(headers or {})}
    return asyncio.run(
        datasette.client.post(path, content=body, headers={k: v for k, v in given.items() if v})
    )


def as_json(datasette: Any, data: Any, **headers: str) -> Any:
    body = data if isinstance(data, bytes) else json.dumps(data)
    return asyncio.run(
        datasette.client.post(
            "/check.json", content=body, headers={"content-type": "application/json", **headers}
        )
    )


def test_the_form_works_without_script(datasette: Any) -> None:
    page = get(datasette)
    assert page.status_code == 200 and "no-store" in page.headers["cache-control"]
    soup = BeautifulSoup(page.text, "html.parser")
    form = soup.select_one("main form")
    assert form["method"] == "post" and form["action"].endswith("/check")
    for field in form.select("textarea, select"):
        assert soup.select_one(f'label[for="{field["id"]}"]')
    assert form.select_one('input[name="csrftoken"]')["value"]
    assert "not stored, not logged and not sent" in form.get_text()
    assert soup.select_one('nav a[aria-current="page"]').get_text() == "Check a draft"


def test_a_pasted_draft_comes_back_checked(datasette: Any) -> None:
    page = post(datasette, {"text": SECRET, "kind": "text", "format": "page"})
    assert page.status_code == 200 and "no-store" in page.headers["cache-control"]
    soup = BeautifulSoup(page.text, "html.parser")
    assert "more than the evidence carries" in soup.select_one(".kc-summary").get_text()
    assert soup.select_one("textarea").get_text().strip() == SECRET
    assert soup.select_one('.kc-claim a[href*="/claims/"]') and soup.select_one(
        '.kc-quotes a[href*="/articles/"]'
    )
    assert not any(tag.has_attr("style") for tag in soup.find_all(True)), (
        "the site's policy forbids inline styles"
    )
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))
    css = get(datasette, soup.select_one('link[href*="report.css"]')["href"])
    assert css.status_code == 200 and css.headers["content-type"].startswith("text/css")


def test_with_the_cookie_the_token_is_asked_for(datasette: Any) -> None:
    page = get(datasette)
    token = BeautifulSoup(page.text, "html.parser").select_one('input[name="csrftoken"]')["value"]
    cookie = {"cookie": page.headers["set-cookie"].split(";")[0]}
    assert post(datasette, {"text": SECRET, "csrftoken": token}, cookie).status_code == 200
    assert post(datasette, {"text": SECRET, "csrftoken": "wrong"}, cookie).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
        {"origin": "", "referer": "https://evil.example/x"}, 
        {"origin": "", "sec-fetch-site": "same-site"}, {"origin": ""},
    ],
)  # fmt: skip
def test_a_form_of_another_site_is_refused(datasette: Any, headers: dict[str, str]) -> None:
    page = post(datasette, {"text": SECRET}, headers)
    assert page.status_code == 403 and "Zanzibarian" not in page.text


def test_it_is_refused_without_the_guard_of_kb_serve_too() -> None:
    class Request:
        scope: dict[str, Any] = {}
        host = "kb.example"

        def __init__(self, **headers: str) -> None:
            self.headers = {k.replace("_", "-"): v for k, v in headers.items()}

    own = check_page._own_form
    assert own(Request(origin="https://kb.example")) and own(Request(sec_fetch_site="same-origin"))
    assert own(Request(content_type="application/json")) and own(Request(cookie="ds_csrftoken=x"))
    assert not own(Request(origin="https://evil.example")) and not own(Request(content_type="text/plain"))
    assert not own(Request(sec_fetch_site="cross-site", content_type="application/json"))


def test_json_in_json_out(datasette: Any) -> None:
    answer = as_json(datasette, {"text": SECRET})
    assert answer.status_code == 200
    jsonschema.validate(answer.json(), load_schema())
    about = get(datasette, "/check.json").json()
    assert about["schema"] == load_schema() and about["limits"]["bytes"] == MAX_BODY


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400), (b"[]", 400), (b'{"text": 5}', 400), (b'{"text": "x", "kind": "exe"}', 400),
        (b'{"text": ""}', 422), (b'{"text": "...."}', 422), (b"[" * 100_000, 400),
        (b'{"text": "\\u0000\\u0001"}', 422),
    ],
)  # fmt: skip
def test_bad_json_is_one_clear_answer(datasette: Any, body: bytes, status: int) -> None:
    answer = as_json(datasette, body)
    assert answer.status_code == status and answer.json()["error"]


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"text": ""}, 422, "empty"), ({}, 422, "empty"), ({"text": SECRET, "kind": "exe"}, 400, "one of"),
        ({"text": SECRET, "format": "exe"}, 400, "one of"),
        ({"text": "<script>x()</script>", "kind": "html"}, 422, "no text"),
        ({"text": "k" * (MAX_CHARACTERS + 1)}, 422, "in parts"),
        ({"text": "ketamine helps PTSD. " * 12_000}, 422, "in parts"),
        ({"text": "Das ist ein Text und er ist nicht auf Englisch. " * 5}, 422, "English"),
        ("&" * 50, 400, "read"),
    ],
)  # fmt: skip
def test_bad_forms_are_one_clear_page(datasette: Any, fields: Any, status: int, words: str) -> None:
    page = post(datasette, fields)
    assert page.status_code == status and words in BeautifulSoup(page.text, "html.parser").get_text()
    assert "Traceback" not in page.text


def test_other_kinds_of_body_are_refused(datasette: Any) -> None:
    page = post(datasette, b"--x", {"content-type": "multipart/form-data; boundary=x"})
    assert page.status_code == 400


def test_a_large_body_is_a_413_page_even_without_a_length(datasette: Any) -> None:
    assert post(datasette, {"text": "k" * (MAX_BODY + 10)}).status_code == 413
    assert post(datasette, {"text": "k" * 20_000_000}).status_code == 413

    class Request:
        headers: dict[str, str] = {}
        sent = 0

        async def receive(self) -> dict[str, Any]:
            self.sent += 1
            return {"type": "http.request", "body": b"x" * 100_000, "more_body": True}

    request = Request()
    assert asyncio.run(check_page._body(request)) is None
    assert request.sent <= MAX_BODY // 100_000 + 1, "reading stops at the limit"


def test_downloads(datasette: Any) -> None:
    for form, kind in (("html", "text/html"), ("markdown", "text/markdown"), ("json", "application/json")):
        answer = post(datasette, {"text": SECRET, "format": form})
        assert (
            answer.headers["content-type"].startswith(kind) and "no-store" in answer.headers["cache-control"]
        )
        assert ("attachment" in answer.headers.get("content-disposition", "")) == (form != "json")


def test_hostile_text_is_shown_and_not_run(datasette: Any) -> None:
    text = 'Ketamine cures PTSD "><script>alert(1)</script></textarea><img src=x onerror=alert(1)>.'
    page = post(datasette, {"text": text})
    soup = BeautifulSoup(page.text, "html.parser")
    assert not [s for s in soup.find_all("script") if not s.has_attr("src")] and not soup.find("img")
    assert soup.select_one("textarea").get_text().strip() == text
    assert "script-src 'self'" in page.headers["content-security-policy"]


def test_so_many_checks_a_minute(datasette: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_page, "RATE", RateLimit(2, clock=lambda: 100.0))
    answers = [post(datasette, {"text": SECRET}).status_code for _ in range(3)]
    assert answers == [200, 200, 429]
    refused = post(datasette, {"text": SECRET})
    assert int(refused.headers["retry-after"]) >= 1
    assert get(datasette).status_code == 200, "reading the form is free"


def test_the_limit_fills_up_again_and_forgets_old_clients() -> None:
    now = [0.0]
    limit = RateLimit(60, most_clients=3, clock=lambda: now[0])
    assert [limit.wait("a") for _ in range(60)] == [0.0] * 60
    assert limit.wait("a") == pytest.approx(1.0)
    assert limit.wait("b") == 0.0
    now[0] = 1.0
    assert limit.wait("a") == 0.0
    for client in "cdefg":
        limit.wait(client)
    assert len(limit._buckets) == 3


def test_a_check_that_takes_too_long_is_stopped(datasette: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_page, "SECONDS", 0.0)
    page = post(datasette, {"text": SECRET})
    assert page.status_code == 503 and "too long" in page.text.lower()


def test_nothing_is_kept_or_logged(
    datasette: Any,
    built: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: Any,
) -> None:
    assert post(datasette, {"text": SECRET}).status_code == 200

    def fail(*_: object) -> None:
        raise RuntimeError(f"cannot check {SECRET}")

    monkeypatch.setattr("kb.check.check_document", fail)
    page = post(datasette, {"text": SECRET})
    assert page.status_code == 500 and "Zanzibarian" not in page.text
    out, err = capfd.readouterr()
    assert "RuntimeError" in err and "Zanzibarian" not in out + err + caplog.text
    assert not any(b"Zanzibarian" in p.read_bytes() for p in built.parent.iterdir() if p.is_file())


def test_other_methods_and_head(datasette: Any) -> None:
    assert asyncio.run(datasette.client.request("PUT", "/check", content=b"x")).status_code == 405
    head = asyncio.run(datasette.client.request("HEAD", "/check"))
    assert head.status_code == 200 and head.content == b""


def test_no_error_prints_a_draft_to_the_console(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Datasette prints the values of all variables of an error where the library rich is installed."""
    printed: list[bool] = []
    rich = SimpleNamespace(
        get_console=lambda: SimpleNamespace(print_exception=lambda **options: printed.append(True))
    )
    monkeypatch.setattr(pm.get_plugin("datasette.handle_exception"), "rich", rich)
    datasette = make_datasette(built)
    for path in ("/kb?sql=selec", "/kb/nothing"):
        assert get(datasette, path).status_code in (400, 404)
    assert not printed
