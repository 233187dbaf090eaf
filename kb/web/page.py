"""What every page of ours shares: methods, caching, errors, JSON twins, static files.

A view of ours is `async def view(datasette, request) -> Response`. `page(view)` wraps it:
GET and HEAD only (or the methods named), over-long addresses refused, ETag answered, and an
error told in words. Nothing here reads a table beyond `meta`; that is kb.reading's work.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import importlib.resources
import json
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from typing import Any
from urllib.parse import quote, unquote

from datasette.database import QueryInterrupted
from datasette.utils import sqlite_timelimit
from datasette.utils.asgi import Response

from kb.index import index_of
from kb.reading import data_version

SITE = "Ketamine and PTSD evidence"
LONGEST_ADDRESS = 32_000  # bytes of path and query; a 10,000 character search fits unless it is all emoji
TIME_LIMIT_MS = 8_000
WARM_BYTES = 50_000_000  # smaller databases are indexed in a fraction of a second
STATIC = {
    "kb.css": "text/css; charset=utf-8",
    "kb.js": "text/javascript; charset=utf-8",
    "favicon.svg": "image/svg+xml",
}

View = Callable[..., Awaitable[Response]]


class NoEvidence(Exception):
    """No database of this server holds the evidence tables."""


@functools.cache
def static_file(name: str) -> tuple[bytes, str, str]:
    """(content, content type, short hash) of a static file. KeyError if there is none of that name."""
    kind = STATIC[name]
    body = importlib.resources.files("kb.web").joinpath("static", name).read_bytes()
    return body, kind, hashlib.sha256(body).hexdigest()[:12]


def static_url(datasette: Any, name: str) -> str:
    """Address of a static file; it changes with the content, so browsers may keep it for good."""
    return datasette.urls.path(f"-/kb/{name}?v={static_file(name)[2]}")


async def serve_static(datasette: Any, request: Any) -> Response:
    name = request.url_vars["name"]
    if name not in STATIC:
        return Response.text(f"There is no file {name} here.", status=404)
    body, kind, digest = static_file(name)
    headers = {"ETag": f'"{digest}"', "Cache-Control": "public, max-age=31536000, immutable"}
    if f'"{digest}"' in request.headers.get("if-none-match", ""):
        return Response("", status=304, headers=headers, content_type=kind)
    return Response(body, headers=headers, content_type=kind)


async def serve_icon(datasette: Any, request: Any) -> Response:
    body, kind, _ = static_file("favicon.svg")
    return Response(body, headers={"Cache-Control": "public, max-age=86400"}, content_type=kind)


def evidence_database(datasette: Any) -> Any:
    """The datasette.database.Database with the evidence: the one named "kb", else the first file.

    Raises NoEvidence if the server has no database file.
    """
    files = [db for name, db in datasette.databases.items() if name not in ("_internal", "_memory")]
    for db in files:
        if db.name == "kb":
            return db
    if not files:
        raise NoEvidence("this server was started without an evidence database")
    return files[0]


async def read(datasette: Any, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`function(connection, *args, **kwargs)` on a read-only connection, off the event loop, time-limited.

    Raises QueryInterrupted when the time is up.
    """

    def run(connection: sqlite3.Connection) -> Any:
        with sqlite_timelimit(connection, TIME_LIMIT_MS):
            try:
                return function(connection, *args, **kwargs)
            except sqlite3.OperationalError as error:
                if error.args == ("interrupted",):
                    raise QueryInterrupted(error, function.__name__, ()) from error
                raise

    return await evidence_database(datasette).execute_fn(run)


def warm(datasette: Any) -> threading.Thread | None:
    """Build the index of a large database in a thread of its own; None where the first reader can do it."""
    try:
        database = evidence_database(datasette)
    except NoEvidence:
        return None
    if not database.path or database.size < WARM_BYTES:
        return None

    def build() -> None:
        try:
            with closing(database.connect()) as connection:
                index_of(connection)
        except sqlite3.Error:
            pass  # the first page will say what is wrong, in words

    thread = threading.Thread(target=build, name="kb-index", daemon=True)
    thread.start()
    return thread


def absolute(datasette: Any, request: Any, path: str) -> str:
    return datasette.absolute_url(request, path)


def article_path(datasette: Any, article_id: str) -> str:
    """Our page of an article. DOIs keep their slashes, everything else unusual is escaped."""
    return datasette.urls.path("articles/" + quote(article_id, safe="/:()"))


def claim_path(datasette: Any, claim_id: str) -> str:
    return datasette.urls.path("claims/" + quote(claim_id, safe=""))


def wants_json(request: Any) -> bool:
    return request.path.endswith(".json")


async def render(
    datasette: Any,
    request: Any,
    template: str,
    context: dict[str, Any] | None = None,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """The template, with what kb_base.html needs (navigation, canonical address, static files).

    `context` may set: title, description, canonical (path), current (navigation entry: "claims",
    "search", "check", "sources", "about", "data"), json_path, feed_path, noindex.
    """
    context = {"title": SITE, **(context or {})}
    if context.get("canonical"):
        context["canonical_url"] = absolute(datasette, request, context["canonical"])
    html = await datasette.render_template(template, context, request=request, view_name="kb")
    return Response.html(html, status=status, headers=dict(headers or {}))


def template_globals(datasette: Any) -> dict[str, Any]:
    """Names that every template may use, Datasette's own included (its error page gets no other context)."""
    from kb.reading import short_citation
    from kb.web import charts, text

    def data_path(*parts: str) -> str:
        """Datasette's page of the database, of a table or query in it, or of a row."""
        try:
            name = evidence_database(datasette).name
        except NoEvidence:
            return datasette.urls.instance()
        if len(parts) == 2:
            return datasette.urls.row(name, parts[0], parts[1])
        return datasette.urls.table(name, parts[0]) if parts else datasette.urls.database(name)

    async def version_stamp() -> str:
        """Which state of the data a page shows: data version, tagger version, last harvest of PubMed."""

        def load(connection: sqlite3.Connection) -> tuple[dict[str, str], str | None]:
            known = dict(connection.execute(
                "SELECT key, value FROM meta WHERE key IN ('data_version', 'tagger_version')").fetchall())
            last = connection.execute(
                "SELECT max(finished) FROM harvests WHERE source <> 'landmarks'").fetchone()[0]
            return known, last

        try:
            known, last = await evidence_database(datasette).execute_fn(load)
        except (NoEvidence, sqlite3.Error):
            return ""  # an error page has to come out whatever the database is like
        harvested = f"PubMed harvested {text.day(last)}" if last else "PubMed not harvested yet"
        return (f"Data version {known.get('data_version', 'unknown')} · tagger "
                f"{known.get('tagger_version', 'unknown')} · {harvested}")

    return {
        "site": SITE,
        "version_stamp": version_stamp,
        "css_url": functools.partial(static_url, datasette, "kb.css"),
        "js_url": functools.partial(static_url, datasette, "kb.js"),
        "icon_url": functools.partial(static_url, datasette, "favicon.svg"),
        "data_path": data_path,
        "table_metadata": lambda database, table: datasette.table_metadata(database, table) or {},
        "claim_path": functools.partial(claim_path, datasette),
        "article_path": functools.partial(article_path, datasette),
        "site_path": datasette.urls.path,
        "path": datasette.urls.path,
        "t": text,
        "short": short_citation,
        "charts": charts,
    }


def json_response(data: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = json.dumps(data, ensure_ascii=False, indent=2, default=str) + "\n"
    return Response(body, status=status, headers=dict(headers or {}), content_type="application/json; charset=utf-8")


async def problem(
    datasette: Any,
    request: Any,
    status: int,
    title: str,
    message: str,
    *,
    hints: Iterable[dict[str, str]] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """An error page (or its JSON twin) that says what is wrong and what to do.

    `hints` are links: dicts with "href" and "text".
    """
    hints = list(hints)
    if wants_json(request):
        data = {"ok": False, "status": status, "title": title, "error": message, "see": hints}
        return json_response(data, status=status, headers=headers)
    context = {"title": title, "message": message, "hints": hints, "noindex": True, "status": status}
    return await render(datasette, request, "kb_error.html", context, status=status, headers=headers)


def page(view: View, *, methods: tuple[str, ...] = ("GET", "HEAD"), cached: bool = True) -> View:
    """Wrap a view: methods, length of address, time limit, ETag from the data version."""

    @functools.wraps(view)
    async def wrapped(datasette: Any, request: Any) -> Response:
        if request.method not in methods:
            return await problem(
                datasette,
                request,
                405,
                "This page can only be read",
                f"The address does not take {request.method} requests; it takes {', '.join(methods)}.",
                headers={"Allow": ", ".join(methods)},
            )
        if len(request.path) + len(request.query_string) > LONGEST_ADDRESS:
            return await problem(
                datasette,
                request,
                414,
                "This address is too long",
                f"Addresses may have {LONGEST_ADDRESS:,} characters. Use a shorter search or fewer filters.",
            )
        headers = {}
        try:
            if cached and request.method in ("GET", "HEAD"):
                headers = {"ETag": await etag(datasette, request), "Cache-Control": "no-cache"}
                if headers["ETag"] in request.headers.get("if-none-match", ""):
                    return Response("", status=304, headers=headers)
            response = await view(datasette, request)
        except NoEvidence as error:
            return await problem(datasette, request, 503, "No evidence database", f"{error}: start it with `kb serve`.")
        except QueryInterrupted:
            return await problem(
                datasette,
                request,
                503,
                "This took too long",
                "The request was stopped so that other readers are not held up. Try fewer words or another filter.",
            )
        if response.status == 200:
            for name, value in headers.items():
                response.headers.setdefault(name, value)
        if request.method == "HEAD":
            response.headers.setdefault("Content-Length", str(len(_bytes(response.body))))
            response.body = b""
        return response

    return wrapped


def _bytes(body: str | bytes | None) -> bytes:
    return body if isinstance(body, bytes) else (body or "").encode("utf-8")


async def etag(datasette: Any, request: Any) -> str:
    """Changes with the data, the look, the day (pages say how old the data are), the address and the host."""
    version = await read(datasette, _versions)
    parts = (
        version,
        code_version(),
        dt.date.today().isoformat(),
        request.host,
        request.scheme,
        request.path,
        request.query_string,
    )
    return '"' + hashlib.sha256("\x00".join(map(str, parts)).encode("utf-8", "replace")).hexdigest()[:20] + '"'


def _versions(connection: sqlite3.Connection) -> str:
    # The index may lag behind the data for a moment during a harvest; pages show both.
    return f"{data_version(connection)} {index_of(connection).version}"


@functools.lru_cache(maxsize=1)
def code_version() -> str:
    """Hash over templates, static files and view code: a new release must not be answered with old pages."""
    digest = hashlib.sha256()
    root = importlib.resources.files("kb.web")
    for folder in (root, root / "templates", root / "static", root.joinpath("..")):
        for entry in sorted(folder.iterdir(), key=lambda e: e.name):
            if entry.is_file() and not entry.name.endswith(".pyc"):
                digest.update(entry.name.encode() + entry.read_bytes())
    return digest.hexdigest()[:16]


def path_argument(request: Any, name: str) -> str:
    """A part of the path, percent-decoded (Datasette matches the raw path)."""
    return unquote(request.url_vars.get(name) or "", errors="replace")
