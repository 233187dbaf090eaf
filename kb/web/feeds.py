"""Atom feeds (RFC 4287) of new evidence."""

from __future__ import annotations

import re
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from datasette.utils.asgi import Response

from kb import reading
from kb.web import text
from kb.web.page import SITE, absolute, article_path

# Characters that XML 1.0 does not allow, escaped or not.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _x(value: object) -> str:
    return escape(_FORBIDDEN.sub("", str(value)))


def atom(
    datasette: Any, request: Any, rows: list[dict[str, Any]], *, title: str, path: str, page: str, subtitle: str = ""
) -> Response:
    """A feed of `rows` (as kb.reading.feed gives them), newest first."""
    own, html = absolute(datasette, request, path), absolute(datasette, request, page)
    newest = max((r["first_seen"] for r in rows), default="1970-01-01T00:00:00Z")
    out = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<title>{_x(title)}</title>",
        f"<id>{_x(own)}</id>",
        f"<updated>{_x(newest)}</updated>",
        f'<link rel="self" href={quoteattr(own)}/>',
        f'<link rel="alternate" href={quoteattr(html)}/>',
        f"<author><name>{_x(SITE)}</name></author>",
    ]
    if subtitle:
        out.append(f"<subtitle>{_x(subtitle)}</subtitle>")
    for row in rows:
        address = absolute(datasette, request, article_path(datasette, row["id"]))
        lines = []
        if row["retracted"]:
            lines.append("RETRACTED.")
        lines.append(reading.citation(row))
        if row["abstract_origin"] == "summary":
            lines.append("The sentences are from a summary written by this project, not from the publisher's abstract.")
        for finding in row["findings"]:
            stance = text.STANCE[finding["stance"]][0]
            said = reading.without_label(finding["sentence"])
            if not said and finding["review_note"]:
                said = f"Reviewer's note, no sentence quoted: {finding['review_note']}"
            lines.append(f"{text.claim_name(finding['claim'])}: {stance}. {said}".rstrip())
        mark = "Retracted: " if row["retracted"] else ""
        out += [
            "<entry>",
            f"<title>{_x(mark + row['title'])}</title>",
            f"<id>{_x(address)}</id>",
            f"<updated>{_x(row['first_seen'])}</updated>",
            f"<published>{_x(row['first_seen'])}</published>",
            f'<link rel="alternate" href={quoteattr(_FORBIDDEN.sub("", address))}/>',
            f'<content type="text">{_x(chr(10).join(lines))}</content>',
            "</entry>",
        ]
    out.append("</feed>\n")
    return Response("\n".join(out), content_type="application/atom+xml; charset=utf-8")
