"""/check: paste a draft, read what it claims and what the evidence says. The text is not kept, logged or sent
on.

POST takes a form (text, kind, format) or JSON ({"text", "kind"}); GET shows the form. /check.json answers
JSON.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import json
import sys
import threading
import time
import weakref
from collections import OrderedDict
from typing import Any
from urllib.parse import parse_qs, urlsplit

from datasette.database import QueryInterrupted
from datasette.utils.asgi import Response
from markupsafe import Markup

from kb.web.page import page, problem, read, render, wants_json

MAX_BODY = 1_000_000  # bytes of a request; percent-encoding can triple the text
MAX_CHARACTERS = 200_000  # of the text: some 30,000 words
SECONDS = 15.0  # for one check, waiting for its turn included
AT_ONCE = 2  # checks at a time, so that readers of other pages keep their threads
KINDS = {"text": "Plain text", "markdown": "Markdown", "html": "HTML source"}
FORMATS = {"page": "on this page", "html": "as an HTML file", "markdown": "as Markdown", "json": "as JSON"}
_TYPES = {
    "html": ("text/html; charset=utf-8", "check.html"),
    "markdown": ("text/markdown; charset=utf-8", "check.md"),
    "json": ("application/json; charset=utf-8", ""),
}
# Never kept by the browser or a proxy; the address of the page tells nobody what was checked.
_PRIVATE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class RateLimit:
    """So many requests a minute for each client, in memory; `clock` gives seconds."""

    def __init__(self, per_minute: int, *, most_clients: int = 10_000, clock: Any = time.monotonic) -> None:
        self.per_minute, self.most_clients, self.clock = per_minute, most_clients, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> tokens, when
        self._lock = threading.Lock()

    def wait(self, client: str) -> float:
        """0 if the client may go on now (and one request is used up), else the seconds until it may."""
        now = self.clock()
        with self._lock:
            tokens, since = self._buckets.pop(client, (float(self.per_minute), now))
            tokens = min(float(self.per_minute), tokens + (now - since) * self.per_minute / 60)
            waiting = 0.0 if tokens >= 1 else (1 - tokens) * 60 / self.per_minute
            self._buckets[client] = (tokens if waiting else tokens - 1, now)
            while len(self._buckets) > self.most_clients:
                self._buckets.popitem(last=False)
        return waiting


RATE = RateLimit(20)
_turns: weakref.WeakKeyDictionary[Any, asyncio.Semaphore] = weakref.WeakKeyDictionary()
_memories: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def register_check_routes() -> list[tuple[str, Any]]:
    """(pattern, view) pairs for the Datasette plugin in kb.web."""
    return [
        (r"/check(?:\.json)?$", page(_check, methods=("GET", "HEAD", "POST"), cached=False)),
        (r"/check/report\.css$", page(_style, cached=False)),
    ]


async def _style(datasette: Any, request: Any) -> Response:
    css = (
        importlib.resources.files("kb.check").joinpath("templates", "report.css").read_text(encoding="utf-8")
    )
    return Response(
        css, content_type="text/css; charset=utf-8", headers={"Cache-Control": "public, max-age=3600"}
    )


async def _check(datasette: Any, request: Any) -> Response:
    if request.method == "POST":
        return await _post(datasette, request)
    if wants_json(request):
        return _json(
            {
                "about": "POST a draft here to have its statements checked; nothing is kept.",
                "takes": {"text": "the draft", "kind": list(KINDS)},
                "limits": {"bytes": MAX_BODY, "characters": MAX_CHARACTERS, "per_minute": RATE.per_minute},
                "schema": _schema(),
            }
        )
    return await _form(datasette, request)


def _schema() -> dict[str, Any]:
    from kb.check.reports import load_schema

    return load_schema()


def _json(data: Any, status: int = 200) -> Response:
    return Response(
        json.dumps(data, ensure_ascii=False) + "\n",
        status=status,
        headers=dict(_PRIVATE),
        content_type="application/json; charset=utf-8",
    )


async def _form(
    datasette: Any,
    request: Any,
    *,
    text: str = "",
    kind: str = "text",
    message: str = "",
    status: int = 200,
    report: Any = None,
) -> Response:
    body, headline = None, ""
    if report is not None:
        from kb.check.reports import body_html

        urls = datasette.urls
        body = Markup(body_html(report, urls.path("claims/"), urls.path("articles/")))
        headline = report.headline()
    context = {
        "title": "Check a draft",
        "current": "check",
        "canonical": datasette.urls.path("check"),
        "json_path": datasette.urls.path("check.json"),
        "noindex": report is not None,
        "description": "Paste an article on ketamine and PTSD: each statement is held against the evidence.",
        "check_css": datasette.urls.path("check/report.css"),
        "action": datasette.urls.path("check"),
        "draft": text,
        "kind": kind,
        "kinds": KINDS,
        "formats": FORMATS,
        "message": message,
        "most": MAX_CHARACTERS,
        "report": body,
        "headline": headline,
    }
    # The form carries a token bound to a cookie; Datasette refuses a POST whose cookie has no token.
    return await render(datasette, request, "kb_check.html", context, status=status, headers=_PRIVATE)


async def _post(datasette: Any, request: Any) -> Response:
    if not _own_form(request):
        return await _refuse(
            datasette,
            request,
            403,
            "Refused",
            "This form was not sent from this site. Open the page here and send the form from it.",
        )
    waiting = RATE.wait(_client(request))
    if waiting:
        seconds = max(1, round(waiting))
        return await _refuse(
            datasette,
            request,
            429,
            "Too many checks",
            f"At most {RATE.per_minute} drafts a minute can be checked. Try again in {seconds} seconds.",
            {"Retry-After": str(seconds)},
        )
    body = await _body(request)
    if body is None:
        return await _refuse(
            datasette,
            request,
            413,
            "This text is too large",
            f"At most {MAX_BODY // 1000:,} kB can be sent. Paste only the article, or use `kb check FILE` "
            f"for a file.",
        )
    try:
        text, kind, form = _fields(request, body)
    except ValueError as error:
        return await _refuse(datasette, request, 400, "The draft cannot be read", str(error))
    if wants_json(request) or _wants_json_answer(request):
        form = "json"
    return await _answer(datasette, request, text, kind, form)


async def _answer(datasette: Any, request: Any, text: str, kind: str, form: str) -> Response:
    from kb.check import DraftProblem, check_document, read_text

    def run(connection: Any) -> Any:
        document = read_text(text, kind)
        return check_document(connection, document, _memory(datasette, connection))

    try:
        if len(text) > MAX_CHARACTERS:
            raise DraftProblem(
                f"The text has {len(text):,} characters; at most {MAX_CHARACTERS:,} are checked here at "
                f"once. "
                "Check it in parts, or use kb check FILE"
            )
        loop = asyncio.get_running_loop()
        turn = _turns.setdefault(loop, asyncio.Semaphore(AT_ONCE))
        async with asyncio.timeout(SECONDS):
            async with turn:
                report = await read(datasette, run)
    except DraftProblem as error:
        words = str(error)
        words = words[:1].upper() + words[1:] + "."
        if form == "json":
            return _json({"ok": False, "status": 422, "error": words}, 422)
        return await _form(
            datasette, request, text=text[:MAX_CHARACTERS], kind=kind, message=words, status=422
        )
    except (TimeoutError, QueryInterrupted):
        return await _refuse(
            datasette,
            request,
            503,
            "This took too long",
            "The check was stopped so that other readers are not held up. Send a shorter text, or try later.",
        )
    except Exception as error:  # the text must not reach a log by way of an error message
        place = error.__traceback__
        while place and place.tb_next:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_name}:{place.tb_lineno}" if place else "unknown place"
        print(f"/check failed: {type(error).__name__} in {where}", file=sys.stderr)
        return await _refuse(
            datasette,
            request,
            500,
            "The check failed",
            "This is a fault of ours, not of your text. It was not kept.",
        )
    if form == "page":
        return await _form(datasette, request, text=text, kind=kind, report=report)
    kind_of, filename = _TYPES[form]
    headers = dict(_PRIVATE)
    if filename:
        headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    return Response(report.render(form), headers=headers, content_type=kind_of)


def _memory(datasette: Any, connection: Any) -> Any:
    """What earlier checks read of the evidence, while the data are the same. Nothing of a draft is in it."""
    from kb.check import Memory

    rows = connection.execute(
        "SELECT key, value FROM meta WHERE key IN ('data_version', 'built') ORDER BY key"
    )
    version = tuple((r[0], r[1]) for r in rows)
    kept = _memories.get(datasette)
    if kept is None or kept[0] != version:
        kept = _memories[datasette] = (version, Memory())
    return kept[1]


async def _refuse(
    datasette: Any, request: Any, status: int, title: str, message: str, headers: dict[str, str] | None = None
) -> Response:
    return await problem(
        datasette,
        request,
        status,
        title,
        message,
        headers={**_PRIVATE, **(headers or {})},
        hints=[{"href": datasette.urls.path("check"), "text": "Check a draft"}],
    )


# --- the request -------------------------------------------------------------------------------------------
def _client(request: Any) -> str:
    client = request.scope.get("client")
    return str(client[0]) if client else "unknown"


def _own_form(request: Any) -> bool:
    """Whether the POST comes from a page of this site, or from a program (JSON, which no other site may
    send).

    kb.serving refuses the others before they get here; this holds where Datasette runs without it.
    """
    headers = request.headers
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    source = headers.get("origin") or headers.get("referer")
    if source:
        return urlsplit(source).netloc.lower() == request.host.lower() != ""
    if site is not None:
        return True
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or bool(headers.get("cookie"))


def _wants_json_answer(request: Any) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or request.headers.get("accept", "").startswith("application/json")


async def _body(request: Any) -> bytes | None:
    """The body of the request, or None if it is too large; reading stops there."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > MAX_BODY:
        return None
    body = bytearray()
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


def _fields(request: Any, body: bytes) -> tuple[str, str, str]:
    """(text, kind, format) of a form or of JSON. Raises ValueError with a line for the writer."""
    kind_of = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind_of == "application/json":
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            raise ValueError('The body is not JSON. Send {"text": "...", "kind": "text"}.') from None
        if not isinstance(data, dict) or not isinstance(data.get("text"), str):
            raise ValueError('The JSON has no "text". Send {"text": "...", "kind": "text"}.')
        text, kind, form = data["text"], data.get("kind", "text"), "json"
    elif kind_of == "application/x-www-form-urlencoded":
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20)
        text, kind, form = (
            fields.get(n, [d])[0] for n, d in (("text", ""), ("kind", "text"), ("format", "page"))
        )
    else:
        raise ValueError(
            "The form has to be sent as application/x-www-form-urlencoded, or the draft as JSON."
        )
    if kind not in KINDS:
        raise ValueError(f"A draft here is one of: {', '.join(KINDS)}.")
    if form not in FORMATS:
        raise ValueError(f"The result is one of: {', '.join(FORMATS)}.")
    return text, kind, form
