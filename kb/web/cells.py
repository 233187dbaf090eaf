"""In Datasette's tables, values that name something of ours become links to our pages."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup, escape

from kb.web import text
from kb.web.page import article_path, claim_path

_ARTICLE_COLUMNS = ("article_id",)
_CLAIM_COLUMNS = ("claim", "claim_id")
_IDS = re.compile(r"\d{1,9}|PMC\d+|doi:10\.\S+|PPR\d+")


def _link(href: str, words: str) -> Markup:
    return Markup('<a href="{}">{}</a>').format(href, words)


def render(datasette: Any, row: Any, value: Any, column: str, table: str | None, database: str) -> Markup | None:
    """A link, a stance in words, or None for Datasette's own way of showing the cell."""
    if not isinstance(value, str) or not value:
        return None
    if column in _ARTICLE_COLUMNS or (table == "articles" and column == "id"):
        return _link(article_path(datasette, value), value) if _IDS.fullmatch(value) else None
    if column in _CLAIM_COLUMNS or (table == "claims" and column == "id"):
        return _link(claim_path(datasette, value), value) if re.fullmatch(r"[a-z][a-z0-9-]{1,60}", value) else None
    if column == "pmid" and value.isdigit():
        return _link(f"https://pubmed.ncbi.nlm.nih.gov/{value}/", value)
    if column == "pmcid" and re.fullmatch(r"PMC\d+", value):
        return _link(f"https://pmc.ncbi.nlm.nih.gov/articles/{value}/", value)
    if column == "doi" and value.startswith("10."):
        return _link(text.outside_links({"doi": value})[0][0], value)
    if column == "stance" and value in text.STANCE:
        return Markup('<span class="stance stance-{0}"><span aria-hidden="true">{1}</span> {0}</span>').format(
            escape(value), text.STANCE[value][1]
        )
    return None
