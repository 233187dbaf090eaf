"""`kb serve`: Datasette with our pages, set up for one reader on this machine or for the public.

This module is also a Datasette plugin (entry point `kb_serving`): it limits what SQL may do
and cost (`prepare_connection`) and guards every request (`asgi_wrapper`): bodies have a
limit, a form sent from another site is refused, answers carry security headers, and on a
public server Datasette's pages about the machine are closed. The guard wakes up where
metadata.json is in use (it holds `plugins: {kb: ...}`), so `datasette db/kb.db -m
metadata.json` is guarded too.
"""

from __future__ import annotations

import html
import json
import os
import re
import socket
import sqlite3
import sysconfig
import weakref
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from datasette import hookimpl

from kb import schema

if TYPE_CHECKING:  # Datasette imports this module as a plugin while it is being imported itself
    from datasette.app import Datasette

DATABASE = "kb"  # the name in addresses: /kb/articles
PLUGINS = ("kb.web", "kb.serving")
MAX_BODY = 2_000_000  # bytes of a request: a book-length draft fits

SETTINGS = {
    "default_page_size": 50,
    "max_returned_rows": 2000,
    "sql_time_limit_ms": 5000,
    "facet_time_limit_ms": 500,
    "suggest_facets": False,  # 300 ms a page on 60,000 articles
    "max_csv_mb": 0,  # a limit would cut files without a word
    "allow_download": True,
    "default_cache_ttl": 0,
    "truncate_cells_html": 600,
}
PUBLIC_SETTINGS = SETTINGS | {"max_returned_rows": 1000, "sql_time_limit_ms": 1000, "default_cache_ttl": 300}
PUBLIC_EXPORT_SECONDS = 60  # of database work for one download of our own tables
PUBLIC_RESULT_BYTES = 50_000_000  # of one result of somebody's SQL
_CACHED = "public, max-age=300"

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class ServeProblem(Exception):
    """The server cannot start; the message says why and what to do."""


# -- metadata.json -----------------------------------------------------------------------------


def metadata_path() -> Path:
    """Where metadata.json is: at the top of the checkout, or where the installation put it.

    Raises ServeProblem if it is nowhere.
    """
    package = Path(__file__).resolve().parent
    places = [
        package.parent / "metadata.json",
        package / "data" / "metadata.json",
        package.parent / "share/kb/metadata.json",  # pip install --target
        *(
            Path(sysconfig.get_path("data", s)) / "share/kb/metadata.json"
            for s in sysconfig.get_scheme_names()
        ),
        # beside the package, wherever it was put: --prefix, --target, --user
        *(parent / "share/kb/metadata.json" for parent in package.parents),
    ]
    for place in places:
        if place.is_file():
            return place
    raise ServeProblem(
        "metadata.json is missing from this installation: install it again with `pip install .`"
    )


def read_metadata() -> dict[str, Any]:
    """metadata.json as a dict of its own for each caller."""
    return json.loads(metadata_path().read_text(encoding="utf-8"))


# -- Datasette ---------------------------------------------------------------------------------


def _evidence_database(datasette: Datasette, path: Path, *, public: bool) -> Any:
    """Datasette's Database over a file whose path is never told, and may hold any character."""
    from datasette.database import AttachedDatabase, Database

    class EvidenceDatabase(Database):
        def connect(self, write: bool = False) -> sqlite3.Connection:
            mode = "mode=ro" if self.is_mutable else "immutable=1"
            uri = f"file:{quote(str(self.path))}?{mode}"
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._all_file_connections.append(connection)
            return connection

        async def execute(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return await super().execute(*args, **kwargs)
            except sqlite3.DatabaseError as error:
                if type(error) is not sqlite3.DatabaseError:
                    raise
                # What the authorizer refuses; Datasette's table pages only know OperationalError.
                raise sqlite3.OperationalError(str(error)) from error

        async def attached_databases(self) -> list[AttachedDatabase]:
            return []  # nothing can be attached, and asking would tell the path

    return EvidenceDatabase(datasette, str(path), is_mutable=not public)


def make_datasette(
    path: str | Path, *, public: bool = False, base_url: str = "/", settings: dict[str, Any] | None = None
) -> Datasette:
    """Datasette over the database at `path`, named "kb" whatever the file is called.

    `public` opens it as immutable: nothing may write to the file while it is served.
    Raises schema.DatabaseProblem if the file cannot be used, ServeProblem if metadata.json is missing.
    """
    from datasette.app import Datasette

    path = Path(path).resolve()
    schema.connect_read_only(path).close()
    if public:
        _settle(path)
    metadata = read_metadata()
    metadata["plugins"] = {**metadata.get("plugins", {}), "kb": {"public": public}}
    _register_plugins()
    datasette = Datasette(
        files=[],
        metadata=metadata,
        settings={**(PUBLIC_SETTINGS if public else SETTINGS), "base_url": base_url, **(settings or {})},
    )
    datasette.remove_database("_memory")
    datasette.add_database(_evidence_database(datasette, path, public=public), name=DATABASE)
    return datasette


def _register_plugins() -> None:
    """Our plugins, if this is a checkout that was not installed (then its entry points do it)."""
    import importlib

    from datasette.plugins import pm

    for name in PLUGINS:
        module = importlib.import_module(name)
        if not pm.is_registered(module):
            pm.register(module, name)


def _settle(path: Path) -> None:
    """Bring the write-ahead log into the file: an immutable database is read without its log."""
    log = path.with_name(path.name + "-wal")
    if not log.exists():
        return
    try:
        # The last connection to close takes the log away.
        with closing(sqlite3.connect(path, timeout=2)) as connection:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.Error as error:
        if log.exists() and not log.stat().st_size:
            return  # a folder that may not be written, and nothing in the log
        raise schema.DatabaseProblem(schema.explain(error, path)) from error
    if busy:
        raise ServeProblem(
            f"{path} is being written: a public server needs a file that stands still. Wait, or serve the "
            "kb.db of `kb export --bundle FOLDER`"
        )


# -- what SQL may do ---------------------------------------------------------------------------

# Pragmas that Datasette and the full-text index need. All others, and everything that writes
# or attaches, are refused whatever the statement looks like.
_PRAGMAS = frozenset(
    "table_info table_xinfo table_list index_list index_info index_xinfo foreign_key_list schema_version "
    "data_version database_list function_list page_count page_size max_page_count query_only".split()
)
_PUBLIC_PRAGMAS = _PRAGMAS - {"database_list"}  # it tells the path
# BEGIN is for downloads, which read one state of the database on a connection of their own.
_READING = frozenset(
    (
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
        sqlite3.SQLITE_TRANSACTION,
    )
)
_NO_FUNCTIONS = frozenset(("load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"))


def _authorizer(pragmas: frozenset[str]) -> Callable[..., int]:
    def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        if action == sqlite3.SQLITE_PRAGMA:
            return sqlite3.SQLITE_OK if (first or "").lower() in pragmas else sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _NO_FUNCTIONS:
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_UPDATE and first == "sqlite_master":
            # How SQLite asks when it sets up a virtual table (full text, json_each); the schema of a
            # connection that only reads cannot be updated in any case.
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY

    return authorize


_LIMITS = (
    (sqlite3.SQLITE_LIMIT_LENGTH, 1_000_000),  # of one value: the longest author list fits ten times
    (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 50_000),
    (sqlite3.SQLITE_LIMIT_COLUMN, 100),
    (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200),
    (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 50),
    (sqlite3.SQLITE_LIMIT_VDBE_OP, 250_000),
    (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200),
    (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
)


@hookimpl(trylast=True)
def prepare_connection(conn: sqlite3.Connection, database: str, datasette: Datasette) -> None:
    """Reading only, by SQLite's own word; on a public server with limits on size.

    It comes last, after plugins that register functions or temporary tables.
    """
    config = datasette.plugin_config("kb")
    if config is None or database in ("_internal", "_memory"):
        return
    public = bool(config.get("public"))
    if public:
        for limit, value in _LIMITS:
            conn.setlimit(limit, value)
        conn.row_factory = _bounded_rows(PUBLIC_RESULT_BYTES)
    conn.set_authorizer(_authorizer(_PUBLIC_PRAGMAS if public else _PRAGMAS))


def _bounded_rows(limit: int) -> Callable[[sqlite3.Cursor, tuple[Any, ...]], sqlite3.Row]:
    """A row factory that stops a result of more than `limit` bytes, before memory does."""
    current: list[Any] = [lambda: None, 0]  # the cursor being read (not kept alive), bytes so far

    def factory(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> sqlite3.Row:
        if current[0]() is not cursor:
            current[:] = [weakref.ref(cursor), 0]
        current[1] += sum(len(v) for v in row if type(v) is str or type(v) is bytes)
        if current[1] > limit:
            current[1] = 0
            raise sqlite3.OperationalError(
                f"the result is larger than {limit // 1_000_000} MB: ask for fewer columns or rows"
            )
        return sqlite3.Row(cursor, row)

    return factory


# -- the guard ---------------------------------------------------------------------------------

# Pages that are still Datasette's own (about itself, under /-/) have inline scripts and styles; ours,
# and the tables in our dress, have none.
_CSP = (
    "default-src 'none'; script-src 'self'{inline}; style-src 'self'{inline}; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    # Not no-referrer: browsers would then send "Origin: null" with our own forms.
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
_METHODS = frozenset(("GET", "HEAD", "POST", "OPTIONS"))
# On a public server everything under /-/ is closed but what pages are made of.
_OPEN = re.compile(r"/-/(static/|static-plugins/|kb/)")


@hookimpl
def asgi_wrapper(datasette: Datasette) -> Callable[[App], App]:
    config = datasette.plugin_config("kb")
    if config is None:
        return lambda app: app
    return lambda app: Guard(app, public=bool(config.get("public")), base_url=datasette.setting("base_url"))


class Guard:
    """ASGI middleware in front of Datasette: what it refuses never reaches a page."""

    def __init__(self, app: App, *, public: bool, base_url: str = "/", max_body: int = MAX_BODY):
        self.app, self.public, self.max_body = app, public, max_body
        self.base = base_url if base_url.endswith("/") else base_url + "/"

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {k.lower(): v.decode("latin-1") for k, v in scope.get("headers") or []}
        path = "/" + scope["path"].removeprefix(self.base).lstrip("/")
        send = self._with_headers(send, path)
        method = scope["method"]
        if method not in _METHODS:
            await refuse(
                send,
                405,
                "Not allowed",
                f"{method} requests are not taken here.",
                {"allow": "GET, HEAD, POST"},
            )
        elif self.public and path.startswith("/-/") and not _OPEN.match(path):
            await refuse(send, 404, "Not found", "This page is not part of the public site.")
        elif problem := _bad_query(scope):
            await refuse(send, 400, "Cannot read the address", problem)
        elif method == "POST":
            await self._post(scope, receive, send, headers, path)
        else:
            await self.app(scope, receive, send)

    async def _post(
        self,
        scope: MutableMapping[str, Any],
        receive: Receive,
        send: Send,
        headers: dict[bytes, str],
        path: str,
    ) -> None:
        if path == "/" + DATABASE or path.startswith((f"/{DATABASE}/", "/-/")):
            await refuse(send, 405, "Not allowed", "The tables can only be read.", {"allow": "GET, HEAD"})
            return
        if not same_origin(headers):
            await refuse(
                send,
                403,
                "Refused",
                "This form was not sent from this site. Open the page here and send the form from it; "
                "a program sends an Origin header that names this server, or JSON.",
            )
            return
        length = headers.get(b"content-length", "")
        if length and (not length.isdigit() or int(length) > self.max_body):
            await self._too_large(send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.max_body:
                await self._too_large(send)
                return
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self.app(scope, replay, send)

    async def _too_large(self, send: Send) -> None:
        await refuse(
            send,
            413,
            "Too large",
            f"At most {self.max_body // 1_000_000} MB can be sent. Split the text and send the parts.",
            {"connection": "close"},
        )

    def _with_headers(self, send: Send, path: str) -> Send:
        tables = path == "/" + DATABASE or path.startswith((f"/{DATABASE}/", f"/{DATABASE}."))
        policy = _CSP.format(inline=" 'unsafe-inline'" if path.startswith("/-/") else "").encode()

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                fixed = dict(_HEADERS)
                headers = [(k, v) for k, v in message.get("headers", []) if k.lower() not in fixed]
                present = {k.lower() for k, _ in headers}
                headers += _HEADERS
                if b"content-security-policy" not in present:
                    headers.append((b"content-security-policy", policy))
                if self.public:
                    if message["status"] == 200 and b"set-cookie" not in present:
                        headers = _cacheable(headers)
                    if tables:
                        headers.append((b"x-robots-tag", b"noindex"))
                message = {**message, "headers": headers}
            await send(message)

        return with_headers


def _cacheable(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers, with leave to keep the page a while: an immutable database does not change."""
    said = {v.strip().lower() for k, v in headers if k.lower() == b"cache-control"}
    if said <= {b"no-cache"}:
        headers = [(k, v) for k, v in headers if k.lower() != b"cache-control"]
        headers.append((b"cache-control", _CACHED.encode()))
    return headers


def same_origin(headers: dict[bytes, str]) -> bool:
    """Whether a POST comes from a page of this server (or from a program, which no other site can forge).

    Browsers say where a form comes from: Sec-Fetch-Site, Origin, Referer. Where none of them
    is there, a cookie (Datasette then asks for its token) or JSON (which another site may not
    send) will do. The host is compared, not the scheme: a proxy may have ended the encryption.
    """
    site = headers.get(b"sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    source = headers.get(b"origin") or headers.get(b"referer")
    if source:
        return urlsplit(source).netloc.lower() == headers.get(b"host", "").lower() != ""
    if site is not None or headers.get(b"cookie"):
        return True
    return headers.get(b"content-type", "").partition(";")[0].strip().lower() == "application/json"


def _bad_query(scope: MutableMapping[str, Any]) -> str:
    """What Datasette would answer with an error of its own kind, said in a line; "" if all is well."""
    query = scope.get("query_string", b"").decode("latin-1")
    if "%00" in query or "\x00" in scope["path"]:
        return "The address holds a NUL character, which no text here has."
    if "_timelimit=" in query or "_next=" in query or "_ttl=" in query:
        arguments = parse_qs(query)
        for name in ("_timelimit", "_ttl"):
            if any(not v.isdigit() for v in arguments.get(name, ())):
                return f"{name} must be a whole number."
        view = scope["path"].rpartition("/")[2].partition(".")[0]
        if view in schema.VIEWS and any(not v.isdigit() for v in arguments.get("_next", ())):
            return "_next must be a whole number: follow the link to the next page instead of writing it."
    return ""


async def refuse(
    send: Send, status: int, title: str, message: str, headers: dict[str, str] | None = None
) -> None:
    """A plain page that says what was refused and what to do."""
    title, message = html.escape(title), html.escape(message)
    body = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"></head>'
        f"<body><main><h1>{title}</h1><p>{message}</p></main></body></html>\n"
    )
    await answer(send, status, "text/html; charset=utf-8", body.encode(), headers)


async def answer(
    send: Send, status: int, media_type: str, body: bytes, headers: dict[str, str] | None = None
) -> None:
    pairs = {"content-type": media_type, "content-length": str(len(body)), **(headers or {})}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(k.encode(), v.encode()) for k, v in pairs.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})


# -- serving -----------------------------------------------------------------------------------


def serve(
    path: str | Path,
    host: str = "127.0.0.1",
    port: int = 8001,
    *,
    public: bool = False,
    base_url: str = "/",
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve the database until Ctrl-C or SIGTERM.

    `announce` is told the address once pages can be read; without it a line is printed.

    Port 0 takes any free port. Raises ServeProblem (port taken, unknown host, ...) and
    schema.DatabaseProblem (no database, no SQLite file, ...).
    """
    import uvicorn

    announce = announce or _say
    datasette = make_datasette(path, public=public, base_url=base_url)
    listener = _listen(host, port)
    port = listener.getsockname()[1]

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                shown = f"[{host}]" if ":" in host else host
                announce(f"http://{shown}:{port}{datasette.setting('base_url')}")

    config = uvicorn.Config(
        datasette.app(),
        host=host,
        port=port,
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=3,
        limit_concurrency=200 if public else None,
    )
    try:
        Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # uvicorn has closed everything by now and hands the signal on
    finally:
        listener.close()


def _say(address: str) -> None:
    print(f"Serving at {address} (Ctrl-C stops it)", flush=True)


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises ServeProblem in words."""
    if not 0 <= port <= 65535:
        raise ServeProblem(f"{port} is no port: give a number from 1 to 65535 with --port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise ServeProblem(
            f"{host} is no address of this machine: use --host 127.0.0.1 or --host 0.0.0.0"
        ) from None
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno in (98, 48, 10048):
            raise ServeProblem(
                f"port {port} is taken: choose another with --port (--port 0 takes any free one), "
                "or stop what is running there"
            ) from None
        if error.errno in (13, 10013):
            raise ServeProblem(
                f"port {port} may not be used by this account: choose one above 1023 with --port"
            ) from None
        raise ServeProblem(f"cannot listen on {host}:{port}: {error.strerror}") from None
    listener.set_inheritable(True)
    return listener
