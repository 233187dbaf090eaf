"""The Datasette plugin: pages for reading, laid over Datasette's tables.

Everything that touches Datasette's plugin interface is in this file and in page.py,
so that a new major version of Datasette is a small step.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from datasette import hookimpl

from kb.web.exports import register_export_routes, register_output_renderer

__all__ = ["register_output_renderer"]  # a hook too: Datasette finds it in this module


@hookimpl
def register_routes(datasette: Any) -> list[tuple[str, Any]]:
    from kb.web import page, views
    from kb.web.check_page import register_check_routes

    return [
        (r"/-/kb/(?P<name>[\w.-]+)$", page.serve_static),
        (r"/favicon\.ico$", page.serve_icon),
        *register_export_routes(),
        *register_check_routes(),
        *views.routes(),
    ]


@hookimpl
def startup(datasette: Any) -> None:
    """A large database is indexed while the server starts, not when its first reader waits."""
    from datasette import handle_exception as datasettes_own

    from kb.web import page

    # Where the library rich happens to be installed, Datasette prints every error with the values of all
    # variables to the server's console, a pasted draft among them.
    datasettes_own.rich = None
    page.warm(datasette)


@hookimpl
def prepare_jinja2_environment(env: Any, datasette: Any) -> None:
    from kb.web.page import template_globals

    env.globals.update(template_globals(datasette))


@hookimpl(tryfirst=True)
def prepare_connection(conn: sqlite3.Connection, database: str, datasette: Any) -> None:
    """Before the connection is limited to reading (kb.serving): its name, and the words of its index."""
    if database == "_internal":
        return
    from kb import index, search

    index.prepare(conn)
    if conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'articles_fts'").fetchone():
        search.make_vocabulary(conn)


@hookimpl
def render_cell(row: Any, value: Any, column: str, table: str | None, database: str, datasette: Any) -> Any:
    """In Datasette's tables, ids of articles and claims lead to our pages."""
    from kb.web import cells

    return cells.render(datasette, row, value, column, table, database)


@hookimpl(tryfirst=True)
def handle_exception(datasette: Any, request: Any, exception: Exception) -> Any:
    from kb.web import errors

    return errors.handle(datasette, request, exception)


@hookimpl
def forbidden(datasette: Any, request: Any, message: str) -> Any:
    from kb.web.page import problem

    async def answer() -> Any:
        return await problem(datasette, request, 403, "Not allowed here", message or "This page is closed.")

    return answer
