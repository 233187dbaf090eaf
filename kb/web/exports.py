"""Downloads: references of a claim, an article, a search, any table or query; complete CSV.

`register_export_routes()` gives the addresses that the plugin in kb/web/__init__.py adds.
`register_output_renderer` puts .ris, .bib, .nbib and .csl on every table and query page
whose rows name articles. Datasette's own CSV stops at a number of rows or, for a view,
reads all rows again for each page of them; the routes here answer the same addresses in
one pass, to the last row. What breaks off is broken off for the reader too: the connection
ends early, so that half a file cannot be taken for a whole one.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from datasette import hookimpl
from datasette.utils import InvalidSql, tilde_decode, validate_sql_select
from datasette.utils.asgi import Forbidden, Request, Response

from kb import export, serving
from kb.schema import STANCES
from kb.web.page import evidence_database

_EXTENSIONS = r"(?P<format>ris|bib|nbib|csl\.json|csv)"
_CHUNK = 64_000  # characters sent at a time
_AT_ONCE = 3  # downloads of a process that may run at the same time; more wait
_LIMIT = re.compile(r" limit \d+(?: offset \d+)?\s*$")

Pieces = Callable[[sqlite3.Connection], Iterator[str]]


def register_export_routes() -> list[tuple[str, Callable[..., Any]]]:
    """(regular expression, view) for Datasette's register_routes."""
    return [
        (rf"/claims/(?P<claim>[^/]+?)\.{_EXTENSIONS}$", claim_export),
        (rf"/articles/(?P<article>.+?)\.{_EXTENSIONS}$", article_export),
        (rf"/search\.{_EXTENSIONS}$", search_export),
        (r"/(?P<database>kb)/(?P<table>[^/.]+)\.(?P<format>csv)$", table_csv),
        (r"/(?P<database>kb)\.(?P<format>csv)$", query_csv),
    ]


# -- claims, articles, searches ----------------------------------------------------------------


async def claim_export(datasette: Any, request: Request) -> Response:
    claim = unquote(request.url_vars["claim"])
    stance = request.args.get("stance") or None
    name = "-".join(x for x in ("claim", claim, stance if stance in STANCES else None) if x)
    return await _export(datasette, request, name, claim=claim, stance=stance)


async def article_export(datasette: Any, request: Request) -> Response:
    article = _article_id(request.url_vars["article"])
    name = "article-" + re.sub(r"[^A-Za-z0-9]+", "-", article).strip("-")[:60]
    return await _export(
        datasette, request, name, ids=[article], missing=f"There is no article {article} here."
    )


def _article_id(part: str) -> str:
    return tilde_decode(part) if "~" in part else unquote(part, errors="replace")


async def search_export(datasette: Any, request: Request) -> Response:
    """Everything that /search finds for the same words and filters, strongest study first unless sorted."""
    from kb.web.page import read
    from kb.web.views import read_filters

    filters, _ = read_filters(request.args)
    ids = await read(datasette, _search, request.args.get("q") or "", filters, request.args.get("sort"))
    # The note of a reference holds the claim that was asked for, if it is one.
    claims, stances = filters.get("claim"), filters.get("stance")
    selection = {"claim": claims[0]} if len(claims) == 1 else {}
    if selection and len(stances) == 1 and stances[0] in STANCES:
        selection["stance"] = stances[0]
    missing = "The search finds nothing, so there is nothing to export."
    return await _export(datasette, request, "search", ids=ids, missing=missing, **selection)


def _search(connection: sqlite3.Connection, text: str, filters: Any, sort: str | None) -> list[str]:
    from kb import search
    from kb.index import SORTS, index_of

    article, _ = search.direct(connection, text.strip())
    if article:
        return [article]
    found = search.run(connection, text.strip(), filters, limit=1)
    order = sort if sort in SORTS else "strength"
    return index_of(connection).page([found.mask], order, 0, found.total)


def _problem(message: str, title: str, status: int = 400) -> Exception:
    # Imported late: Datasette loads plugins while it is being imported itself.
    from datasette.views.base import DatasetteError

    return DatasetteError(message, title=title, status=status)


async def _export(
    datasette: Any, request: Request, name: str, *, missing: str = "", **selection: Any
) -> Response:
    if not await datasette.permission_allowed(request.actor, "view-instance", default=True):
        raise Forbidden("view-instance")
    chosen = export.BY_EXTENSION[request.url_vars["format"]]

    def pieces(connection: sqlite3.Connection) -> Iterator[str]:
        return export.export(connection, chosen.id, **selection)

    return await _download(datasette, request, chosen, name, pieces, missing=missing)


# -- tables and queries ------------------------------------------------------------------------


@hookimpl
def register_output_renderer(datasette: Any) -> list[dict[str, Any]]:
    return [
        {
            "extension": extension,
            "render": _renderer(export.BY_EXTENSION[extension]),
            "can_render": _has_articles,
        }
        for extension in ("ris", "bib", "nbib", "csl")
    ]


def _has_articles(columns: list[str], database: str, table: str | None) -> bool:
    """Whether rows name articles: a column article_id or pmid, or the table articles."""
    names = {c.lower() for c in columns}
    return database == serving.DATABASE and (table == "articles" or bool(names & {"article_id", "pmid"}))


def _renderer(chosen: export.Format) -> Callable[..., Any]:
    async def render(
        datasette: Any,
        request: Request,
        sql: str,
        query_name: str | None,
        table: str | None,
        data: dict[str, Any],
    ) -> Response:
        if data.get("error"):
            raise _problem(data["error"], "Invalid SQL")
        if request.args.get("_next"):
            # The page's own list goes on from the middle; an export has everything.
            return Response.redirect(_without(request, "_next"))
        if "query" in data:
            statement, parameters = _whole(data)
            selection = {"query": statement, "parameters": parameters}
        elif data.get("rows"):  # the page of one row
            selection = {"ids": _named(data["columns"], data["rows"])}
        else:
            raise _problem(
                "Add ?sql=SELECT article_id ... to the address, or name a table.", "Which articles?"
            )

        def pieces(connection: sqlite3.Connection) -> Iterator[str]:
            return export.export(connection, chosen.id, **selection)

        own = table is not None or query_name is not None
        return await _download(datasette, request, chosen, table or query_name or "query", pieces, own=own)

    return render


def _named(columns: list[str], rows: list[Any]) -> list[str]:
    """The articles that rows name, as kb.export reads them from a query."""
    try:
        names = export.id_columns(columns)
    except export.ExportProblem as error:
        raise _problem(str(error), "This cannot be exported") from error
    found = []
    for row in rows:
        values = [row[columns.index(name)] for name in names]
        found += [str(v) for v in values if v is not None][:1]
    return found


def _without(request: Request, name: str) -> str:
    from datasette.utils import path_with_removed_args

    return path_with_removed_args(request, {name})


def _whole(data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The SQL of a Datasette page, without the LIMIT of the page, and its parameters."""
    query = data["query"]
    sql = _LIMIT.sub("", query["sql"]) if data.get("table") else query["sql"]
    return sql, _bound(sql, query.get("params") or {})


_PARAMETER = re.compile(r":(\w+)")


def _bound(sql: str, given: dict[str, Any]) -> dict[str, Any]:
    """A value for each `:name` that stands in the SQL; "" where the address gives none, as Datasette does."""
    return {name: given.get(name, "") for name in _PARAMETER.findall(sql)}


async def table_csv(datasette: Any, request: Request) -> Response:
    """/kb/<table, view or query>.csv: what the page shows, filtered and sorted alike, to the last row."""
    from datasette.views.table import TableView

    name = tilde_decode(request.url_vars["table"])
    view = TableView(datasette)
    return await _csv_of(datasette, request, view, name, own=True)


async def query_csv(datasette: Any, request: Request) -> Response:
    """/kb.csv?sql=...: the whole result of the query."""
    from datasette.views.database import DatabaseView

    sql = request.args.get("sql") or ""
    if not sql.strip():
        raise _problem("Add ?sql=SELECT ... to the address, or name a table: /kb/articles.csv", "Which rows?")
    try:
        validate_sql_select(sql)
    except InvalidSql as error:
        raise _problem(str(error), "Invalid SQL") from error
    return await _csv_of(datasette, request, DatabaseView(datasette), "query", own=False)


async def _csv_of(datasette: Any, request: Request, view: Any, name: str, *, own: bool) -> Response:
    await datasette.refresh_schemas()
    chosen = export.FORMATS["csv"]
    # Datasette works out the SQL (filters, search, sort order, permissions) from one row of the page.
    scope = dict(request.scope, query_string=_probe(request).encode("latin-1"))
    try:
        result = await view.data(Request(scope, request.receive))
    except (sqlite3.OperationalError, InvalidSql) as error:
        raise _problem(str(error), "Invalid SQL") from error
    if isinstance(result, Response):
        return result
    data = result[0]
    if data.get("error"):
        raise _problem(data["error"], "Invalid SQL")
    sql, parameters = _whole(data)

    def pieces(connection: sqlite3.Connection) -> Iterator[str]:
        return export.export(connection, "csv", query=sql, parameters=parameters)

    return await _download(datasette, request, chosen, name, pieces, own=own)


def _probe(request: Request) -> str:
    """The query string for working out the SQL: no facets, counts or labels, and from the first row on."""
    from urllib.parse import parse_qsl, urlencode

    dropped = ("_next", "_size", "_stream", "_dl", "_labels", "_label", "_trace", "_facet", "_header")
    kept = [(k, v) for k, v in parse_qsl(request.query_string, keep_blank_values=True) if k not in dropped]
    return urlencode([*kept, ("_nofacet", "1"), ("_nosuggest", "1"), ("_nocount", "1"), ("_size", "1")])


# -- sending -----------------------------------------------------------------------------------


def _connect(datasette: Any) -> sqlite3.Connection:
    """A connection of our own, limited like Datasette's: a long download holds up no page."""
    database = evidence_database(datasette)
    connection = database.connect()
    datasette._prepare_connection(connection, database.name)
    return connection


async def _download(
    datasette: Any,
    request: Request,
    chosen: export.Format,
    name: str,
    pieces: Pieces,
    *,
    missing: str = "",
    own: bool = True,
) -> Response:
    """The pieces as an attachment. What is wrong with the selection is told before anything is sent."""
    public = bool((datasette.plugin_config("kb") or {}).get("public"))
    budget = None
    if public:
        seconds = serving.PUBLIC_EXPORT_SECONDS if own else datasette.setting("sql_time_limit_ms") / 1000
        budget = Budget(seconds, None if own else serving.PUBLIC_RESULT_BYTES)
    source = Source(lambda: _connect(datasette), pieces, budget)
    loop = asyncio.get_running_loop()
    try:
        first = await loop.run_in_executor(None, source.next)
    except (export.UnknownClaim, export.NothingSelected) as error:
        said = missing if missing and isinstance(error, export.NothingSelected) else sentence(str(error))
        raise _problem(said, "There is nothing to export", 404) from error
    except export.ExportProblem as error:
        raise _problem(sentence(str(error)), "This cannot be exported") from error
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{chosen.extension}"',
        "Cache-Control": "no-cache",
    }
    return Download(source, first, request, headers=headers, content_type=chosen.media_type)


def sentence(message: str) -> str:
    """A message of kb.export as pages show it."""
    return message[:1].upper() + message[1:] + ("" if message.endswith(".") else ".")


class Budget:
    """What a stranger's download may cost: seconds of database work, bytes."""

    def __init__(self, seconds: float, size: int | None):
        self.seconds, self.size = seconds, size
        self.used, self.sent, self.started = 0.0, 0, 0.0

    def over(self) -> int:
        return int(self.used + time.perf_counter() - self.started > self.seconds)


class Source:
    """The pieces of a download, made on whatever thread asks, never by two at a time."""

    running = threading.BoundedSemaphore(_AT_ONCE)

    def __init__(self, connect: Callable[[], sqlite3.Connection], pieces: Pieces, budget: Budget | None):
        self._connect, self._pieces, self._budget = connect, pieces, budget
        self._connection: sqlite3.Connection | None = None
        self._iterator: Iterator[str] | None = None
        self._lock = threading.Lock()
        self._ended = False

    def next(self) -> bytes:
        """The next `_CHUNK` characters or so; empty at the end. Raises ExportProblem."""
        with self._lock:
            if self._ended:
                return b""
            try:
                with self.running:
                    chunk = self._read()
            except BaseException:
                self._end()
                raise
            if not chunk:
                self._end()
            return chunk

    def _read(self) -> bytes:
        budget = self._budget
        if budget:
            budget.started = time.perf_counter()
        if self._iterator is None:
            self._connection = self._connect()
            if budget:
                self._connection.set_progress_handler(budget.over, 10_000)
            self._iterator = self._pieces(self._connection)
        parts, size = [], 0
        for piece in self._iterator:
            parts.append(piece)
            size += len(piece)
            if size >= _CHUNK:
                break
        chunk = "".join(parts).encode("utf-8", "replace")
        if budget:
            budget.used += time.perf_counter() - budget.started
            budget.sent += len(chunk)
            if budget.size is not None and budget.sent > budget.size:
                raise export.ExportProblem(
                    f"the result is larger than {budget.size // 1_000_000} MB: ask for fewer columns or rows"
                )
        return chunk

    def _end(self) -> None:
        self._ended = True
        if self._iterator is not None and hasattr(self._iterator, "close"):
            self._iterator.close()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        with self._lock:
            self._end()


class Download(Response):
    """A streamed answer. It stops reading when the reader has gone."""

    def __init__(self, source: Source, first: bytes, request: Request, **kwargs: Any):
        super().__init__(b"", **kwargs)
        self.source, self.first, self.request = source, first, request

    async def asgi_send(self, send: Callable[[dict[str, Any]], Any]) -> None:
        loop = asyncio.get_running_loop()
        gone = asyncio.ensure_future(_gone(self.request))
        headers = {**self.headers, "content-type": self.content_type}
        start = {"type": "http.response.start", "status": self.status}
        try:
            await send({**start, "headers": [[k.encode(), v.encode()] for k, v in headers.items()]})
            chunk = b"" if self.request.method == "HEAD" else self.first
            while chunk and not gone.done():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                chunk = await loop.run_in_executor(None, self.source.next)
        except export.ExportProblem as error:
            # Without the last message the server closes the connection: the reader sees a broken download.
            print(f"a download was broken off: {error}", file=sys.stderr)
        else:
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()
            self.source.close()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
