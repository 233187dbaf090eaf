"""What a reader sees when an address leads nowhere or something breaks."""

from __future__ import annotations

import difflib
import sys
import traceback
from typing import Any
from urllib.parse import unquote, urlencode

from datasette.database import QueryInterrupted
from datasette.utils.asgi import Base400, NotFound, Response
from datasette.views.base import DatasetteError

from kb.web.page import evidence_database, problem

_PAGES = {
    "claims": "",
    "search": "search",
    "check": "check",
    "sources": "sources",
    "about": "about",
    "facts": "facts",
    "articles": "search",
    "method": "about",
    "harvests": "sources",
    "data": "kb",
}


def handle(datasette: Any, request: Any, exception: Exception) -> Any:
    """Datasette's hook: an awaitable that answers, or None where Datasette's own page says it well enough."""
    if isinstance(exception, DatasetteError) and exception.message_is_html:
        return None

    async def answer() -> Response:
        if isinstance(exception, NotFound):
            return await not_found(datasette, request, str(exception))
        if isinstance(exception, DatasetteError):
            # Datasette says 500 for an argument it does not know (?_sort=nope): that is the request's fault.
            status = 400 if exception.status == 500 else exception.status
            return await problem(
                datasette, request, status, exception.title or "This did not work", str(exception.message)
            )
        if isinstance(exception, Base400):
            return await problem(
                datasette, request, exception.status, "This request cannot be answered", str(exception)
            )
        if isinstance(exception, QueryInterrupted):
            return await problem(datasette, request, 503, "This took too long", "The query was stopped. Ask for less.")
        traceback.print_exception(exception, file=sys.stderr)
        return await problem(
            datasette,
            request,
            500,
            "Something went wrong on this server",
            "The fault has been written to the server's log. Going back and trying again may help; if it does not, "
            "please report what you did.",
        )

    return answer


async def not_found(datasette: Any, request: Any, said: str) -> Response:
    """A 404 with the pages that may have been meant."""
    path = unquote(request.path, errors="replace")
    last = path.rstrip("/").rpartition("/")[2].rpartition(".")[0] or path.rstrip("/").rpartition("/")[2]
    words = last.replace("-", " ").replace("_", " ")[:100]
    hints = []
    database = evidence_database(datasette)
    if path.startswith(f"/{database.name}/"):
        names = [*await database.table_names(), *await database.view_names()]
        names += list(await datasette.get_canned_queries(database.name, request.actor))
        for name in difflib.get_close_matches(last, names, n=3, cutoff=0.5):
            hints.append({"href": datasette.urls.table(database.name, name), "text": f"The table or query {name}"})
        hints.append({"href": datasette.urls.database(database.name), "text": "All tables and queries"})
        title, message = "This table, query or row is not here", said if said != "404" else ""
    else:
        first = path.strip("/").partition("/")[0].partition(".")[0].lower()
        for name in difflib.get_close_matches(first, _PAGES, n=1, cutoff=0.6):
            hints.append({"href": datasette.urls.path(_PAGES[name]), "text": f"The page {name}"})
        title, message = "There is no page at this address", f"Nothing is at {path[:120]}."
    if words.strip():
        hints.append(
            {
                "href": datasette.urls.path("search") + "?" + urlencode({"q": words}, errors="replace"),
                "text": f"Search for “{words[:60]}”",
            }
        )
    return await problem(datasette, request, 404, title, message or f"Nothing is at {path[:120]}.", hints=hints)
