"""The pages: home, claim, article, search, sources, about, facts, feeds, robots. Thin over kb.reading."""

from __future__ import annotations

import datetime as dt
import functools
import importlib.resources
import json
import re
import sqlite3
from typing import Any
from urllib.parse import quote, urlencode

from datasette.utils.asgi import Response

from kb import __version__, reading, search
from kb.evidence import RULE_TEXT, TIERS, weigh
from kb.index import DOSE_BANDS, SORTS, EvidenceIndex, Filters, index_of
from kb.store import rejections
from kb.web import charts, feeds, text
from kb.web.page import (
    absolute,
    article_path,
    claim_path,
    json_response,
    page,
    path_argument,
    problem,
    read,
    render,
    wants_json,
)

PAGE_SIZE = 20
FACETS = ("stance", "design", "population", "condition", "substance", "route", "dose", "schedule", "species")
MOST_VALUES = 40  # of one filter; more come by name in the address
FEW_LABELS = 10  # a claim with fewer labels has no accuracy figures worth showing
EXPORTS = (("ris", "RIS"), ("bib", "BibTeX"), ("nbib", "NBIB"), ("csl.json", "CSL-JSON"), ("csv", "CSV"))
# Three groups on the first page, where room is short; claim pages show every kind apart.
HOME_TIERS = (
    ("Trials and their reviews", ("systematic", "trial")),
    ("Other human studies", ("human", "case")),
    ("Animal and in-vitro", ("preclinical",)),
)
SORT_WORDS = {
    "relevance": "Best match",
    "strength": "Strongest study",
    "year": "Newest",
    "oldest": "Oldest",
    "size": "Largest",
}
_ORDER = {
    "design": [d for tier in TIERS for d in tier.designs],
    "dose": list(DOSE_BANDS),
    "schedule": ["single", "repeated", "maintenance"],
    "stance": list(text.STANCE),
}


def routes() -> list[tuple[str, Any]]:
    """(regular expression, view) for Datasette's register_routes."""
    return [
        (r"/(?:(?:index)?\.(?P<format>json))?$", page(home)),
        (r"/claims/?$", page(claims_redirect)),
        (r"/claims/(?P<id>[^/]+?)\.atom$", page(claim_feed)),
        (r"/claims/(?P<id>[^/]+?)(?:\.(?P<format>json))?/?$", page(claim)),
        (r"/articles/?$", page(articles_redirect)),
        (r"/articles/(?P<id>.+?)(?:\.(?P<format>json))?/?$", page(article)),
        (r"/search(?:\.(?P<format>json))?/?$", page(search_page)),
        (r"/sources(?:\.(?P<format>json))?/?$", page(sources)),
        (r"/about(?:\.(?P<format>json))?/?$", page(about)),
        (r"/facts(?:\.(?P<format>json))?/?$", page(facts)),
        (r"/feed\.atom$", page(feed)),
        (r"/robots\.txt$", page(robots, cached=False)),
    ]


# -- home --------------------------------------------------------------------------------


async def home(datasette: Any, request: Any) -> Response:
    def load(connection: sqlite3.Connection) -> dict[str, Any]:
        index = index_of(connection)
        return index.memo(
            "home",
            lambda: {
                "claims": _claims(connection, index),
                "freshness": reading.freshness(connection),
                "new": reading.whats_new(connection),
            },
        )

    data = await read(datasette, load)
    if wants_json(request):
        new = {
            **data["new"],
            "new": [_card_json(c) for c in data["new"]["new"]],
            "retracted": [_card_json(c) for c in data["new"]["retracted"]],
        }
        return json_response(
            {"claims": [reading.claim_json(c) for c in data["claims"]], "freshness": data["freshness"], "new": new}
        )
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in data["claims"]:
        groups.setdefault(row["group"], []).append(row)
    return await render(
        datasette,
        request,
        "kb_home.html",
        {
            **data,
            "title": "Ketamine and PTSD evidence",
            "current": "claims",
            "groups": groups,
            "first": [c for c in data["claims"] if c["first_asked"]],
            "today": dt.date.today(),
            "description": "What published abstracts say for and against fourteen claims about ketamine and PTSD, with "
            "the sentence, the study design and the source behind every vote.",
            "canonical": datasette.urls.path(""),
            "json_path": datasette.urls.path("index.json"),
            "home_rows": _home_rows,
        },
    )


def _claims(connection: sqlite3.Connection, index: EvidenceIndex) -> list[dict[str, Any]]:
    return [{**row, "weighed": weigh(index.counts(row["id"]))} for row in reading.claim_rows(connection)]


def _home_rows(weighed: Any) -> list[dict[str, Any]]:
    """The counted tiers as three rows: label, counts by stance, and `most`, the longest row."""
    rows = []
    for label, tiers in HOME_TIERS:
        chosen = [t for t in weighed.tiers if t.tier.id in tiers]
        rows.append({"label": label, **{s: sum(getattr(t, s) for t in chosen) for s in charts.ORDER}})
    most = max(sum(row[s] for s in charts.ORDER) for row in rows)
    return [{**row, "most": most} for row in rows]


async def claims_redirect(datasette: Any, request: Any) -> Response:
    return Response.redirect(datasette.urls.path("") + "#claims")


async def articles_redirect(datasette: Any, request: Any) -> Response:
    return Response.redirect(datasette.urls.path("search"))


# -- filters -----------------------------------------------------------------------------


def read_filters(args: Any) -> tuple[Filters, list[str]]:
    """Filters from the address, and a note for each part that cannot be used (it then matches nothing)."""
    values, notes = {}, []
    for dimension in (*FACETS, "claim", "tier"):
        chosen = tuple(dict.fromkeys(v for v in args.getlist(dimension) if v))[:100]
        if chosen:
            values[dimension] = chosen
    years: dict[str, int | None] = {}
    for name in ("from", "to"):
        raw = (args.get(name) or "").strip()
        years[name] = int(raw) if re.fullmatch(r"[0-9]{4}", raw) else None
        if raw and years[name] is None:
            notes.append(f"“{raw[:40]}” is not a year, so nothing matches; write four digits.")
            years[name] = 9999 if name == "from" else 0
    return Filters(values, years["from"], years["to"]), notes


def unknown_values(index: EvidenceIndex, filters: Filters) -> list[str]:
    """A note for each value that no article has."""
    notes = []
    for dimension, values in filters.values.items():
        known = (
            set(text.STANCE)
            if dimension == "stance"
            else set(index.claims)
            if dimension == "claim"
            else set(index.bits.get(dimension, {}))
        )
        for value in values:
            if value not in known:
                name = text.DIMENSION[dimension].lower()
                notes.append(f"No study here has the {name} “{value[:60]}”.")
    return notes


def facets(
    index: EvidenceIndex, filters: Filters, base: int | None, claim: str | None, dimensions: tuple[str, ...]
) -> list[dict[str, Any]]:
    """For each dimension its values with counts, as the filter form shows them."""
    result = []
    for dimension in dimensions:
        counted = index.facet(dimension, filters, base, claim)
        chosen = filters.get(dimension)
        order = _ORDER.get(dimension)
        names = [v for v in counted if counted[v] or v in chosen]
        names.sort(
            key=lambda v: order.index(v) if order and v in order else (-counted[v], v) if not order else len(order)
        )
        extra = [v for v in chosen if v not in names]
        shown = names[:MOST_VALUES] + [v for v in names[MOST_VALUES:] if v in chosen]
        result.append(
            {
                "id": dimension,
                "label": text.DIMENSION[dimension],
                "selected": len(chosen),
                "values": [
                    {"value": v, "label": text.label(dimension, v), "count": counted.get(v, 0), "selected": v in chosen}
                    for v in [*shown, *extra]
                ],
            }
        )
    return result


class Address:
    """Builds links that keep the search, filters and order of the page. `parts` are (name, value) pairs."""

    def __init__(self, path: str, filters: Filters, args: Any, *, sort: str, default_sort: str, q: str = "") -> None:
        self.path = path
        self.parts = [("q", q)] if q else []
        if sort != default_sort:
            self.parts.append(("sort", sort))
        self.parts += [(d, v) for d, values in filters.values.items() for v in values]
        for name in ("from", "to"):
            if (args.get(name) or "").strip():
                self.parts.append((name, args.get(name).strip()))

    def _url(self, parts: list[tuple[str, str]], path: str | None = None, anchor: str = "") -> str:
        query = urlencode(parts, errors="replace")
        return (path or self.path) + (f"?{query}" if query else "") + anchor

    def without(self, name: str, value: str | None = None) -> str:
        return self._url([p for p in self.parts if p[0] != name or (value is not None and p[1] != value)])

    def only(self, name: str, *values: str, anchor: str = "#evidence") -> str:
        """This address with `name` set to just these values."""
        return self._url([p for p in self.parts if p[0] != name] + [(name, v) for v in values], anchor=anchor)

    def page(self, number: int) -> str:
        return self._url(self.parts + ([("page", str(number))] if number > 1 else []), anchor="#evidence")

    def elsewhere(self, path: str, *more: tuple[str, str]) -> str:
        return self._url([*more, *self.parts], path)

    def clear(self) -> str:
        return self._url([p for p in self.parts if p[0] in ("q", "sort")])

    @property
    def hidden(self) -> list[tuple[str, str]]:
        """What the filter form must carry along: parts it has no controls for."""
        return [p for p in self.parts if p[0] in ("sort", "tier", "q")]


def chips(filters: Filters, address: Address, args: Any) -> list[dict[str, str]]:
    """The filters in force, each with the address without it."""
    result = [
        {"label": f"{text.DIMENSION[d]}: {text.label(d, v)}", "remove": address.without(d, v)}
        for d, values in filters.values.items()
        for v in values
    ]
    for name, words in (("from", "From"), ("to", "Until")):
        if (args.get(name) or "").strip():
            result.append({"label": f"{words} {args.get(name).strip()[:20]}", "remove": address.without(name)})
    return result


def paging(args: Any, total: int) -> tuple[int, int]:
    """(page number, number of pages); a page that does not exist becomes the nearest that does."""
    pages = max(1, -(-total // PAGE_SIZE))
    raw = args.get("page") or "1"
    number = int(raw) if re.fullmatch(r"[0-9]{1,6}", raw) else 1
    return min(max(number, 1), pages), pages


# -- claim -------------------------------------------------------------------------------


async def claim(datasette: Any, request: Any) -> Response:
    claim_id = path_argument(request, "id")
    if request.path.endswith("/"):
        return Response.redirect(claim_path(datasette, claim_id))
    filters, notes = read_filters(request.args)
    filters = filters.without("claim")
    sort = request.args.get("sort") if request.args.get("sort") in SORTS else "strength"

    def load(connection: sqlite3.Connection) -> dict[str, Any]:
        index = index_of(connection)
        known = index.memo("claims", lambda: _claims(connection, index))
        row = next((c for c in known if c["id"] == claim_id), None)
        if row is None:
            return {"known": known, "claim": None}
        everything = index.tagged((claim_id,))
        chosen = index.select(filters, everything, claim_id)
        findings = chosen & index.tagged((claim_id,), reading.FINDINGS)
        total = chosen.bit_count()
        number, pages = paging(request.args, total)
        ids = index.page([findings, chosen & ~findings], sort, (number - 1) * PAGE_SIZE, PAGE_SIZE)
        counted = everything & index.counting

        def side(*stances: str) -> list[dict[str, Any]]:
            mask = index.tagged((claim_id,), stances) & counted
            return reading.evidence_rows(connection, claim_id, index.page([mask], "strength", 0, 3))

        data = index.memo(
            ("claim", claim_id),
            lambda: {
                "this_for": side("supports"),
                "against": side("contradicts"),
                "mixed": side("mixed"),
                "years": index.by_year(claim_id),
                "differ": _differ(connection, index, claim_id),
                "withdrawn": (everything & index.uncounted).bit_count(),
                "all": everything.bit_count(),
            },
        )
        within = weigh(index.counts(claim_id, chosen)) if filters.any else row["weighed"]
        return {
            "known": known,
            "claim": row,
            **data,
            "total": total,
            "number": number,
            "pages": pages,
            "rows": reading.evidence_rows(connection, claim_id, ids),
            "within": within,
            "facets": facets(index, filters, everything, claim_id, FACETS),
            "notes": [*notes, *unknown_values(index, filters)],
        }

    data = await read(datasette, load)
    if data["claim"] is None:
        known, dot, ending = claim_id.rpartition(".")
        if dot and any(c["id"] == known for c in data["known"]):
            return await _no_format(datasette, request, known, ending)
        hints = [{"href": claim_path(datasette, c["id"]), "text": c["question"]} for c in data["known"]]
        return await problem(
            datasette,
            request,
            404,
            "There is no such claim",
            f"“{claim_id[:80]}” is not one of the claims here. These are:",
            hints=hints,
        )
    path = claim_path(datasette, claim_id)
    address = Address(path, filters, request.args, sort=sort, default_sort="strength")
    row = data["claim"]
    if wants_json(request):
        following = address.page(data["number"] + 1).replace("#evidence", "") if data["number"] < data["pages"] else ""
        return json_response(
            {
                "claim": reading.claim_json(row),
                "filters": filters.values,
                "notes": data["notes"],
                "matching": data["total"],
                "page": data["number"],
                "pages": data["pages"],
                "sort": sort,
                "facets": {f["id"]: {v["value"]: v["count"] for v in f["values"]} for f in data["facets"]},
                "by_year": data["years"],
                "why_studies_differ": data["differ"],
                "evidence": [_evidence_json(r) for r in data["rows"]],
                "next": absolute(datasette, request, following.replace(path, path + ".json", 1)) if following else None,
            }
        )
    other = [c for c in data["known"] if c["group"] == row["group"] and c["id"] != claim_id]
    name = text.claim_name(claim_id)
    report = _report_text(f"Claim: {claim_id}", absolute(datasette, request, path))
    return await render(
        datasette,
        request,
        "kb_claim.html",
        {
            **data,
            "row": row,
            "title": f"{name}: for and against",
            "name": name,
            "current": "claims",
            "description": f"{row['statement']} {text.verdict(claim_id, row['weighed'])}: "
            f"{charts.side_words(_sides(row['weighed']))}.",
            "canonical": path,
            "json_path": path + ".json",
            "feed_path": path + ".atom",
            "address": address,
            "chips": chips(filters, address, request.args),
            "filters": filters,
            "sort": sort,
            "sorts": [(s, SORT_WORDS[s]) for s in SORTS],
            "sides": _sides,
            "other": other,
            "rule": RULE_TEXT,
            "year_chart": charts.years(data["years"], name),
            "args": request.args,
            "exports": _claim_exports(datasette, claim_id, filters, address),
            "report": _report(datasette, report),
            "noindex": bool(filters.any or data["number"] > 1),
            "most": max([t.total for t in row["weighed"].tiers] or [1]),
            "tier_names": {t.id: t for t in TIERS},
            "accuracy": _claim_accuracy(claim_id),
            "few_labels": FEW_LABELS,
            "differ_note": _differ_note(data["differ"], row["weighed"]),
        },
    )


async def _no_format(datasette: Any, request: Any, claim_id: str, ending: str) -> Response:
    path = claim_path(datasette, claim_id)
    formats = [("", "The page"), (".json", "JSON"), (".atom", "Atom feed"), *((f".{e}", name) for e, name in EXPORTS)]
    return await problem(
        datasette,
        request,
        404,
        "There is no such format",
        f"The claim {claim_id} is here, but not in the format “{ending[:40]}”. It can be had as:",
        hints=[{"href": path + end, "text": f"{name} ({end})" if end else name} for end, name in formats],
    )


def _claim_accuracy(claim_id: str) -> dict[str, Any] | None:
    figures = ((accuracy_figures() or {}).get("claims") or {}).get(claim_id)
    return figures if figures and figures["labels"] else None


def _sides(weighed: Any) -> dict[str, int]:
    return {s: getattr(weighed, s) for s in charts.ORDER}


def _claim_exports(datasette: Any, claim_id: str, filters: Filters, address: Address) -> list[tuple[str, str]]:
    if filters.any:
        more = ("claim", claim_id)
        return [(label, address.elsewhere(datasette.urls.path(f"search.{ext}"), more)) for ext, label in EXPORTS]
    return [(label, datasette.urls.path(f"claims/{claim_id}.{ext}")) for ext, label in EXPORTS]


# The rows of the table of substances.
KETAMINES = ("ketamine", "esketamine", "arketamine", "norketamine", "hydroxynorketamine")
# A table of how studies differ is worth showing from two rows with this many findings on.
_ENOUGH_ROW, _ENOUGH = 2, 6


def _differ(connection: sqlite3.Connection, index: EvidenceIndex, claim_id: str) -> list[dict[str, Any]]:
    """Findings by population, species, dose, route, dosing and time, where there is enough to compare."""
    tables = []
    for dimension, title in (
        ("population", "Population"),
        ("species", "Species"),
        ("condition", "Condition"),
        ("substance", "Form of ketamine"),
        ("dose", "Dose of ketamine"),
        ("route", "Route"),
        ("schedule", "Dosing"),
        ("time", "Time named in the evidence sentence"),
    ):
        if dimension == "time":
            rows = reading.by_time(connection, claim_id)
        else:
            rows = index.cross(claim_id, dimension)
            order = _ORDER.get(dimension)
            if order:
                rows.sort(key=lambda r: order.index(r["value"]) if r["value"] in order else len(order))
        if dimension == "substance":  # what was compared with it would read as if it were tested here
            rows = [r for r in rows if r["value"] in KETAMINES]
        rows = [r for r in rows if r["value"] not in ("unspecified",)]
        if sum(r["total"] >= _ENOUGH_ROW for r in rows) < 2 or sum(r["total"] for r in rows) < _ENOUGH:
            continue
        rows = rows[:8]
        for row in rows:
            row["label"] = row["value"] if dimension == "time" else text.label(dimension, row["value"])
            if row["value"] in ("healthy-volunteers", "healthy"):
                row["label"] += " (may be controls)"
        tables.append({"dimension": dimension, "title": title, "rows": rows, "most": max(r["total"] for r in rows)})
    return tables


def _differ_note(tables: list[dict[str, Any]], weighed: Any) -> str:
    """Why the animals of these tables are not as many as the animal studies above them; "" if they are."""
    by_kind = sum(t.total for t in weighed.tiers if t.tier.id == "preclinical")
    rows = [r for t in tables if t["dimension"] == "population" for r in t["rows"] if r["value"] == "animals"]
    if not rows or rows[0]["total"] == by_kind:
        return ""
    return (
        f"“Animals” has {rows[0]['total']:,} where “By kind of study” has {by_kind:,} under animal and in-vitro "
        "studies: the row has every counted study that names animals, systematic reviews and studies that also have "
        "people included, and leaves out work on cells alone."
    )


def _report_text(subject: str, address: str) -> dict[str, str]:
    body = (
        f"A tag seems wrong.\n\n{subject}\nPage: {address}\n\nWhat it says now: \nWhat it should say "
        "(supports, contradicts, mixed, background, or no tag): \nThe sentence that shows it: \n"
    )
    return {"subject": f"Wrong tag? {subject}", "body": body}


def _report(datasette: Any, report: dict[str, str]) -> dict[str, str]:
    """The text, and where to send it if the server's metadata names a tracker or an address."""
    config = datasette.plugin_config("kb") or {}
    mail, tracker = config.get("report_email") or "", config.get("report_url") or ""
    report["mail"] = f"mailto:{quote(mail)}?subject={quote(report['subject'])}&body={quote(report['body'])}"
    if tracker.startswith(("https://", "http://")):
        joint = "&" if "?" in tracker else "?"
        report["tracker"] = f"{tracker}{joint}{urlencode({'title': report['subject'], 'body': report['body']})}"
    return report


# -- article -----------------------------------------------------------------------------


async def article(datasette: Any, request: Any) -> Response:
    asked = path_argument(request, "id")
    suffix = ".json" if wants_json(request) else ""

    def load(connection: sqlite3.Connection) -> dict[str, Any] | None:
        found = reading.article(connection, asked)
        if found is not None:
            found["related"] = reading.related(connection, found["id"])
            found["known_ids"] = _known(connection, found["corrections"])
        return found

    found = await read(datasette, load)
    if found is None:
        return await _no_article(datasette, request, asked)
    if found["id"] != asked or request.path.endswith("/"):
        return Response.redirect(article_path(datasette, found["id"]) + suffix)
    path = article_path(datasette, found["id"])
    if suffix:
        data = reading.article_json(found)
        data["related"] = [_card_json(c) for c in found["related"]]
        data["citation"] = reading.citation(found)
        return json_response(data)
    tags = {}
    for tag in found["tags"]:
        report = _report_text(
            f"Article: {found['id']}\nClaim: {tag['claim_id']} ({tag['stance']})", absolute(datasette, request, path)
        )
        report["subject"] = f"Wrong tag? {found['id']}, {tag['claim_id']}"
        tags[tag["id"]] = _report(datasette, report)
    loud = [c for c in found["corrections"] if c["kind"] in text.LOUD_CORRECTIONS]
    title = found["title"].rstrip(".")
    return await render(
        datasette,
        request,
        "kb_article.html",
        {
            "a": found,
            "title": ("Retracted: " if found["retracted"] else "") + title,
            "current": "",
            "description": _description(found),
            "canonical": path,
            "json_path": path + ".json",
            "og_type": "article",
            "citation": reading.citation(found),
            "abstract": abstract_blocks(found),
            "title_tags": title_tags(found),
            "links": text.outside_links(found),
            "reports": tags,
            "rejected": rejections(found),
            "untagged": reading.untagged(found),
            "loud": loud,
            "quiet": [c for c in found["corrections"] if c not in loud],
            "facet_rows": _facet_rows(found),
            "landmark_rows": _landmark_rows(found),
            "json_ld": _json_ld(found, absolute(datasette, request, path)),
            "exports": [(label, f"{path}.{ext}") for ext, label in EXPORTS if ext != "csv"],
            "harvests": found["harvests"],
        },
    )


def _known(connection: sqlite3.Connection, corrections: list[dict[str, Any]]) -> set[str]:
    ids = [c["other_id"] for c in corrections if c["other_id"]]
    return {i for i in ids if connection.execute("SELECT 1 FROM articles WHERE id = ?", (i,)).fetchone()}


async def _no_article(datasette: Any, request: Any, asked: str) -> Response:
    ids = reading.identifiers(asked)
    hints = []
    if ids:
        column, value = ids[0]
        row = {column: value}
        link = text.outside_link(row)
        if link:
            hints.append({"href": link[0], "text": f"Look for {link[1]} at its source"})
        what = {"pmid": "PMID", "pmcid": "PMCID", "doi": "DOI"}[column]
        message = (
            f"{what} {value} is not in this database. It may be outside the searches, or newer than the last "
            f'harvest. Bring it in with: kb harvest pubmed --term "{value}[{"uid" if column == "pmid" else "aid"}]"'
        )
    else:
        message = (
            f"“{asked[:80]}” is no PMID, PMCID or DOI of an article here. Addresses look like "
            "/articles/24740528 or /articles/doi:10.1000/182."
        )
    hints.append(
        {
            "href": datasette.urls.path("search") + "?" + urlencode({"q": asked[:200]}, errors="replace"),
            "text": "Search for it",
        }
    )
    return await problem(datasette, request, 404, "This article is not here", message, hints=hints)


def _description(found: dict[str, Any]) -> str:
    votes = [
        f"{text.claim_name(t['claim_id'])}: {text.STANCE[t['stance']][0].lower()}"
        for t in found["tags"]
        if t["stance"] != "background"
    ][:4]
    said = "; ".join(votes) or "No finding on the claims here"
    return f"{reading.short_citation(found)}. {said}."


def abstract_blocks(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The abstract as paragraphs: {"label", "parts"}; a part is {"text", "tags"}.

    `tags` are the (claim, stance, tag id) whose evidence the part is. Text between sentences is kept.
    """
    whole = f"{found['title']}\n{found['abstract']}"
    evidence: dict[int, list[dict[str, Any]]] = {}
    for tag in found["tags"]:
        for sentence in tag["sentences"]:
            evidence.setdefault(sentence, []).append(tag)
    at = len(found["title"]) + 1
    pieces: list[tuple[str, list[dict[str, Any]]]] = []
    for sentence in found["sentences"]:
        if sentence["position"] == 0 or sentence["start"] < at:
            continue
        pieces.append((whole[at : sentence["start"]], []))
        pieces.append((whole[sentence["start"] : sentence["end"]], evidence.get(sentence["id"], [])))
        at = sentence["end"]
    pieces.append((whole[at:], []))
    blocks: list[dict[str, Any]] = []
    for piece, tags in pieces:
        for n, line in enumerate(piece.split("\n")):
            if n or not blocks:
                blocks.append({"label": "", "parts": []})
            if not line:
                continue
            block = blocks[-1]
            if not block["parts"]:
                label = re.match(r"([A-Z][A-Za-z &/,'-]{2,80}): +", line)
                # Labels stand in capitals, as PubMed gives them.
                if label and label[1].upper() == label[1]:
                    block["label"] = label[1].capitalize()
                    line = line[label.end() :]
            block["parts"].append({"text": line, "tags": tags})
    return [b for b in blocks if any(p["text"].strip() for p in b["parts"])]


def title_tags(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The tags whose evidence the title is."""
    title = {s["id"] for s in found["sentences"] if s["position"] == 0}
    return [t for t in found["tags"] if title & set(t["sentences"])]


def _facet_rows(found: dict[str, Any]) -> list[tuple[str, list[str]]]:
    def words(dimension: str, values: list[str]) -> list[str]:
        return [text.label(dimension, v) for v in values]

    level = found["evidence_level"]
    rows = [
        ("Study design", words("design", [found["study_design"]] if found["study_design"] else [])),
        ("Evidence level", [f"{level} of 5 (OCEBM 2011; 1 is strongest)"] if level else []),
        ("Participants or animals", [text.number(found["sample_size"])] if found["sample_size"] is not None else []),
        ("Population", words("population", [p for p in found["populations"] if p != "unspecified"])),
        ("Species", words("species", found["species_list"])),
        ("Condition", words("condition", found["conditions"])),
        ("Substances", words("substance", [s["name"] for s in found["substances"] if s["origin"] == "text"])),
        ("Doses named", list(dict.fromkeys(d["text"] for d in found["doses"]))),
        ("Route", words("route", found["routes"])),
        ("Dosing", words("schedule", [found["schedule"]] if found["schedule"] else [])),
        ("Control", [text.label("control", found["control"])] if found["control"] else []),
        (
            "Language",
            [text.LANGUAGE.get(found["language"], found["language"])]
            if found["language"] and found["language"] != "eng"
            else [],
        ),
    ]
    return [(name, values) for name, values in rows if values]


def _landmark_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    landmark = found["landmark"]
    if not landmark:
        return []
    names = (
        ("population", "Who was studied"),
        ("intervention", "Intervention"),
        ("comparator", "Comparator"),
        ("primary_outcome", "Main outcome"),
        ("follow_up", "Follow-up"),
        ("main_result", "Main result"),
        ("note", "Note"),
    )
    return [(label, landmark[name]) for name, label in names if landmark[name]]


def _json_ld(found: dict[str, Any], address: str) -> dict[str, Any]:
    """schema.org/ScholarlyArticle. The abstract is given only where it is the publisher's."""
    links = text.outside_links(found)
    data: dict[str, Any] = {
        "@context": "https://schema.org",
        "@type": "ScholarlyArticle",
        "headline": found["title"],
        "name": found["title"],
        "mainEntityOfPage": address,
        "author": [
            {
                "@type": "Organization" if a["collective"] else "Person",
                "name": a["name"],
                **({"identifier": f"https://orcid.org/{a['orcid']}"} if a["orcid"] else {}),
            }
            for a in found["authors"]
            if a["role"] == "author"
        ],
        "datePublished": found["published"] or (str(found["year"]) if found["year"] else None),
        "isPartOf": {"@type": "Periodical", "name": found["journal"], "issn": found["issn"]}
        if found["journal"]
        else None,
        "volumeNumber": found["volume"],
        "issueNumber": found["issue"],
        "pagination": found["pages"],
        "inLanguage": found["language"],
        "sameAs": [href for href, _ in links],
        "identifier": [
            {"@type": "PropertyValue", "propertyID": name.upper(), "value": found[name]}
            for name in ("pmid", "pmcid", "doi")
            if found[name]
        ],
        "keywords": [k for k in [*found["keywords"], *(m["name"] for m in found["mesh"])]] or None,
        "creativeWorkStatus": "Retracted" if found["retracted"] else None,
        "abstract": found["abstract"] if found["abstract_origin"] == "publisher" else None,
    }
    return {k: ({x: y for x, y in v.items() if y} if isinstance(v, dict) else v) for k, v in data.items() if v}


# -- search ------------------------------------------------------------------------------


async def search_page(datasette: Any, request: Any) -> Response:
    if request.path.endswith("/"):
        return Response.redirect(datasette.urls.path("search") + _query(request))
    q = (request.args.get("q") or "").strip()
    filters, notes = read_filters(request.args)
    sort = request.args.get("sort")
    sort = sort if sort in SORT_WORDS else "relevance"

    def load(connection: sqlite3.Connection) -> dict[str, Any]:
        index = index_of(connection)
        article_id, missing = search.direct(connection, q)
        if article_id:
            return {"go": article_id}
        known = index.memo("claims", lambda: _claims(connection, index))
        raw = request.args.get("page") or "1"
        number = int(raw) if re.fullmatch(r"[0-9]{1,5}", raw) else 1
        found = search.run(
            connection, q, filters, sort=sort, offset=(max(number, 1) - 1) * PAGE_SIZE, limit=PAGE_SIZE, index=index
        )
        base = found.base
        return {
            "go": None,
            "missing": missing,
            "known": {c["id"]: c for c in known},
            "found": found,
            "facets": facets(index, found.filters, base, None, ("claim", *FACETS)) if base else [],
            "notes": [*notes, *found.parsed.notes, *unknown_values(index, filters)],
            "number": min(max(number, 1), max(1, -(-found.total // PAGE_SIZE))),
            "pages": max(1, -(-found.total // PAGE_SIZE)),
            "size": index.size,
        }

    data = await read(datasette, load)
    if data["go"]:
        target = article_path(datasette, data["go"])
        if wants_json(request):
            return json_response(
                {"query": q, "article": data["go"], "address": absolute(datasette, request, target + ".json")}
            )
        return Response.redirect(target)
    found, known = data["found"], data["known"]
    path = datasette.urls.path("search")
    address = Address(path, filters, request.args, sort=sort, default_sort="relevance", q=q)
    if wants_json(request):
        more = data["number"] < data["pages"]
        following = address.page(data["number"] + 1).replace("#evidence", "").replace(path, path + ".json", 1)
        return json_response(
            {
                "query": q,
                "searched_for": found.parsed.match,
                "notes": data["notes"],
                "not_here": data["missing"],
                "matches_some_words_only": found.any_word,
                "suggestions": found.suggestions,
                "claims": found.claims,
                "total": found.total,
                "without_filters": found.unfiltered,
                "page": data["number"],
                "pages": data["pages"],
                "sort": sort,
                "facets": {f["id"]: {v["value"]: v["count"] for v in f["values"]} for f in data["facets"]},
                "results": [_card_json(r) for r in found.rows],
                "next": absolute(datasette, request, following) if more else None,
            }
        )
    return await render(
        datasette,
        request,
        "kb_search.html",
        {
            **data,
            "q": q,
            "title": f"Search: {q[:80]}" if q else "Search the evidence",
            "current": "search",
            "description": "Search abstracts on ketamine and PTSD by words, phrases, authors, MeSH, PMID or DOI.",
            "canonical": path,
            "json_path": address.elsewhere(path + ".json"),
            "noindex": bool(q or filters.any),
            "address": address,
            "chips": chips(filters, address, request.args),
            "filters": filters,
            "sort": sort,
            "sorts": [(s, SORT_WORDS[s]) for s in SORT_WORDS],
            "args": request.args,
            "sides": _sides,
            "matched_claims": [known[c] for c in found.claims if c in known],
            "exports": [(label, address.elsewhere(datasette.urls.path(f"search.{ext}"))) for ext, label in EXPORTS],
            "source_link": text.outside_link(dict([reading.identifiers(data["missing"])[0]]))
            if data["missing"] and reading.identifiers(data["missing"])
            else None,
        },
    )


def _query(request: Any) -> str:
    return f"?{request.query_string}" if request.query_string else ""


# -- sources, about, facts ---------------------------------------------------------------


async def sources(datasette: Any, request: Any) -> Response:
    def load(connection: sqlite3.Connection) -> dict[str, Any]:
        index = index_of(connection)
        return index.memo(
            "sources",
            lambda: {
                "queries": reading.queries(connection),
                "harvests": reading.harvest_log(connection, 100),
                "freshness": reading.freshness(connection),
            },
        )

    data = await read(datasette, load)
    if wants_json(request):
        return json_response(data)
    path = datasette.urls.path("sources")
    return await render(
        datasette,
        request,
        "kb_sources.html",
        {
            **data,
            "title": "Sources and searches",
            "current": "sources",
            "canonical": path,
            "json_path": path + ".json",
            "today": dt.date.today(),
            "version": __version__,
            "description": "The PubMed searches behind this evidence base as run, with dates, counts and changes.",
        },
    )


async def about(datasette: Any, request: Any) -> Response:
    fresh = await read(datasette, lambda c: index_of(c).memo("freshness", lambda: reading.freshness(c)))
    accuracy = accuracy_figures()
    if wants_json(request):
        return json_response(
            {"rule": list(RULE_TEXT), "accuracy": accuracy, "freshness": fresh, "version": __version__}
        )
    path = datasette.urls.path("about")
    return await render(
        datasette,
        request,
        "kb_about.html",
        {
            "title": "Method, accuracy and limits",
            "current": "about",
            "canonical": path,
            "json_path": path + ".json",
            "rule": RULE_TEXT,
            "accuracy": accuracy,
            "few_labels": FEW_LABELS,
            "missed": missed_stances(accuracy),
            "freshness": fresh,
            "tiers": TIERS,
            "version": __version__,
            "report": _report(datasette, _report_text("Article: \nClaim: ", absolute(datasette, request, path))),
            "description": "How abstracts are read, how findings are weighed, how accurate the tags are, what these "
            "pages cannot tell.",
        },
    )


@functools.lru_cache(maxsize=1)
def accuracy_figures() -> dict[str, Any] | None:
    """kb/accuracy.json, the measured accuracy of the tags (written by scripts/score); None if there is none."""
    source = importlib.resources.files("kb").joinpath("accuracy.json")
    try:
        return json.loads(source.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def missed_stances(accuracy: dict[str, Any] | None) -> list[dict[str, Any]]:
    """How often findings against and both ways are recognised, where the accuracy file has figures by stance.

    Rows: stance, labels, recall and precision (shares, or None), measured on ("held_back", "cross_validated").
    """
    rows = []
    for block in ("held_back", "cross_validated"):
        by_stance = ((accuracy or {}).get(block) or {}).get("per_stance") or {}
        for stance in ("contradicts", "mixed"):
            figures = by_stance.get(stance)
            if figures:
                labels = figures.get("labels", figures.get("gold"))
                recall = figures.get("recall", figures.get("r"))
                precision = figures.get("precision", figures.get("p"))
                rows.append(
                    {"stance": stance, "labels": labels, "recall": recall, "precision": precision, "on": block}
                )
    return rows


async def facts(datasette: Any, request: Any) -> Response:
    rows = await read(datasette, reading.facts)
    if wants_json(request):
        return json_response({"facts": rows})
    topics: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        topics.setdefault(row["topic"], []).append(row)
    path = datasette.urls.path("facts")
    return await render(
        datasette,
        request,
        "kb_facts.html",
        {
            "title": "Facts with their sources",
            "topics": topics,
            "canonical": path,
            "json_path": path + ".json",
            "current": "about",
            "description": "Approvals, prevalence, guidelines and doses in use: what single abstracts cannot settle.",
        },
    )


# -- feeds and robots --------------------------------------------------------------------


async def feed(datasette: Any, request: Any) -> Response:
    rows = await read(datasette, reading.feed)
    return feeds.atom(
        datasette,
        request,
        rows,
        title="New evidence on ketamine and PTSD",
        path=datasette.urls.path("feed.atom"),
        page=datasette.urls.path(""),
    )


async def claim_feed(datasette: Any, request: Any) -> Response:
    claim_id = path_argument(request, "id")

    def load(connection: sqlite3.Connection) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
        row = next((c for c in reading.claim_rows(connection) if c["id"] == claim_id), None)
        return row, reading.feed(connection, claim_id) if row else []

    row, rows = await read(datasette, load)
    if row is None:
        return await problem(
            datasette, request, 404, "There is no such claim", f"“{claim_id[:80]}” is not one of the claims here."
        )
    path = claim_path(datasette, claim_id)
    return feeds.atom(
        datasette,
        request,
        rows,
        title=f"New evidence: {text.claim_name(claim_id)}",
        path=path + ".atom",
        page=path,
        subtitle=row["statement"],
    )


async def robots(datasette: Any, request: Any) -> Response:
    base = datasette.urls.path("")
    return Response.text(
        f"User-agent: *\nDisallow: {base}kb\nDisallow: {base}check\nDisallow: {base}search\nDisallow: {base}*?\n"
        f"Allow: {base}\n"
    )


# -- JSON --------------------------------------------------------------------------------

_CARD = (
    "id",
    "pmid",
    "doi",
    "pmcid",
    "title",
    "author_list",
    "journal",
    "year",
    "study_design",
    "evidence_tier",
    "evidence_level",
    "sample_size",
    "populations",
    "species_list",
    "conditions",
    "doses",
    "routes",
    "abstract_origin",
    "verified",
    "retracted",
    "retraction_note",
    "deleted",
)


def _card_json(row: dict[str, Any]) -> dict[str, Any]:
    data = {name: row.get(name) for name in _CARD}
    data["tags"] = row.get("tags", [])
    if row.get("snippet"):
        data["snippet"] = row["snippet"].replace(search.MARK, "").replace(search.UNMARK, "")
    return data


def _evidence_json(row: dict[str, Any]) -> dict[str, Any]:
    names = (*_CARD, "stance", "confidence", "origin", "reason", "sentence", "section", "review_note")
    return {name: row.get(name) for name in names}
