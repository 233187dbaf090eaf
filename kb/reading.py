"""Reads of the evidence database, shared by pages, command line, export and draft check.

Every function takes an open sqlite3.Connection whose rows are sqlite3.Row (as
`kb.schema.connect_read_only` and Datasette give), writes nothing and returns plain dicts.
"""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import unquote

from kb.evidence import TIERS, Count, TierTally, Weighed, weigh
from kb.index import index_of
from kb.store import REVIEWER_LANDMARK, rejections
from kb.tagging import LOW_CONFIDENCE

FINDINGS = ("supports", "mixed", "contradicts")
# Strongest study first; what is not counted comes last.
STRONGEST_FIRST = (
    "a.retracted OR a.deleted IS NOT NULL, CASE a.evidence_tier "
    + " ".join(f"WHEN '{tier.id}' THEN {n}" for n, tier in enumerate(TIERS))
    + f" ELSE {len(TIERS)} END, coalesce(a.evidence_level, 9), coalesce(a.sample_size, 0) DESC, "
    "coalesce(a.year, 0) DESC, a.id"
)
# The review in force on a tag: a person's latest word, else the label of the starter corpus.
_REVIEW = (
    "(SELECT r.{column} FROM reviews r WHERE r.article_id = t.article_id AND r.claim_id = t.claim_id "
    f"ORDER BY r.reviewer = '{REVIEWER_LANDMARK.replace(chr(39), chr(39) * 2)}', r.at DESC, r.id DESC LIMIT 1)"
)
_REVIEWED = (
    f"CASE t.origin WHEN 'reviewer' THEN {_REVIEW.format(column='note')} END AS review_note, "
    f"CASE t.origin WHEN 'reviewer' THEN {_REVIEW.format(column='reviewer')} END AS reviewer"
)
_CARD = (
    "a.id, a.pmid, a.doi, a.pmcid, a.title, a.author_list, a.journal, a.journal_abbreviation, a.year, a.volume, "
    "a.issue, a.pages, a.study_design, a.evidence_tier, a.evidence_level, a.sample_size, a.population, a.species, "
    "a.retracted, a.retraction_note, a.deleted, a.abstract_origin, a.first_seen, a.language"
)


# -- the database ------------------------------------------------------------------------


def meta(connection: sqlite3.Connection) -> dict[str, str]:
    """The `meta` table: data_version, tagger_version, built, last_harvest."""
    return dict(connection.execute("SELECT key, value FROM meta").fetchall())


def data_version(connection: sqlite3.Connection) -> str:
    """Changes with every write; "0" for a database that was never written to."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'data_version'").fetchone()
    return row[0] if row else "0"


def freshness(connection: sqlite3.Connection) -> dict[str, Any]:
    """How much there is and how current it is.

    articles, findings, retracted, summaries (abstracts written by this project), years (first, last),
    last_harvest (the last completed harvest from PubMed, or None), last_started, built, data_version.
    """
    one = connection.execute(
        "SELECT count(*), sum(retracted), sum(abstract_origin = 'summary'), sum(abstract_origin = 'publisher'), "
        "min(year), max(year), sum(deleted IS NOT NULL) FROM articles"
    ).fetchone()
    findings = connection.execute("SELECT count(*) FROM tags WHERE stance <> 'background'").fetchone()[0]
    last = connection.execute(
        "SELECT id, source, query_id, started, finished, status, new, changed FROM harvests "
        "WHERE source <> 'landmarks' AND status = 'done' ORDER BY id DESC LIMIT 1"
    ).fetchone()
    known = meta(connection)
    return {
        "articles": one[0],
        "retracted": one[1] or 0,
        "summaries": one[2] or 0,
        "publisher_abstracts": one[3] or 0,
        "years": [one[4], one[5]],
        "withdrawn": one[6] or 0,
        "findings": findings,
        "last_harvest": dict(last) if last else None,
        "built": known.get("built"),
        "tagger_version": known.get("tagger_version"),
        "data_version": known.get("data_version", "0"),
    }


def status(connection: sqlite3.Connection) -> dict[str, Any]:
    """`freshness` with counts by stance, kind of study and abstract, and the last ten harvests."""

    def by(sql: str) -> dict[str, int]:
        return {str(k): n for k, n in connection.execute(sql)}

    return {
        **freshness(connection),
        "tags": by("SELECT stance, count(*) FROM tags GROUP BY stance ORDER BY 2 DESC"),
        "tag_origin": by("SELECT origin, count(*) FROM tags GROUP BY origin"),
        "designs": by(
            "SELECT coalesce(study_design, 'not tagged yet'), count(*) FROM articles GROUP BY 1 ORDER BY 2 DESC"
        ),
        "abstracts": by("SELECT abstract_origin, count(*) FROM articles GROUP BY 1"),
        "untagged": connection.execute("SELECT count(*) FROM articles WHERE tagger_version IS NULL").fetchone()[0],
        "quarantined": connection.execute("SELECT count(*) FROM quarantine").fetchone()[0],
        "facts": connection.execute("SELECT count(*) FROM facts").fetchone()[0],
        "harvests": harvest_log(connection, 10),
    }


def status_lines(state: dict[str, Any], path: object) -> Iterator[str]:
    """`status` as lines for a terminal."""
    years = state["years"]
    yield f"{path}"
    span = f", {years[0]} to {years[1]}" if years[0] else ""
    yield f"  articles    {state['articles']:,}{span}; {state['retracted']} retracted, {state['withdrawn']} withdrawn"
    shown = {"publisher": "publisher's", "summary": "project summaries", "none": "without one"}
    abstracts = ", ".join(f"{n:,} {shown.get(k, k)}" for k, n in state["abstracts"].items())
    yield f"  abstracts   {abstracts or 'none'}"
    tags = ", ".join(f"{n:,} {k}" for k, n in state["tags"].items())
    yield f"  tags        {tags or 'none'}; tagger {state['tagger_version'] or 'not run yet'}"
    if state["untagged"]:
        yield f"  not tagged  {state['untagged']:,}: run `kb tag`"
    if state["quarantined"]:
        yield f"  unreadable  {state['quarantined']:,} records kept in the table quarantine"
    yield f"  facts       {state['facts']}"
    last = state["last_harvest"]
    yield f"  harvested   {last['finished'] if last else 'never from PubMed: run `kb harvest pubmed`'}"
    for row in state["harvests"]:
        found = f"{row['found'] or 0:,} found, {row['new']:,} new, {row['changed']:,} changed"
        yield f"    {row['started']}  {row['query'] or row['source']}: {row['status']}, {found}"


def harvest_log(connection: sqlite3.Connection, limit: int | None = None) -> list[dict[str, Any]]:
    """The view `harvest_log`, newest first."""
    sql = "SELECT * FROM harvest_log" + (" LIMIT ?" if limit is not None else "")
    return _dicts(connection.execute(sql, (limit,) if limit is not None else ()))


def queries(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """The named searches, each with its last harvest (`last`, None if it was never run)."""
    result = _dicts(connection.execute("SELECT id, purpose, term, source FROM queries ORDER BY id"))
    for query in result:
        rows = _dicts(
            connection.execute("SELECT * FROM harvests WHERE query_id = ? ORDER BY id DESC LIMIT 1", (query["id"],))
        )
        query["last"] = rows[0] if rows else None
        query["articles"] = connection.execute(
            "SELECT count(DISTINCT h.article_id) FROM harvest_hits h JOIN harvests r ON r.id = h.harvest_id "
            "WHERE r.query_id = ? AND h.outcome <> 'left'",
            (query["id"],),
        ).fetchone()[0]
    return result


# -- claims ------------------------------------------------------------------------------


def counts(connection: sqlite3.Connection, claim_id: str | None = None) -> dict[str, list[Count]]:
    """Claim id to what `kb.evidence.weigh` takes; retracted and withdrawn articles are marked as such."""
    where = "WHERE t.claim_id = ? " if claim_id else ""
    result: dict[str, list[Count]] = defaultdict(list)
    tiers = {tier.id for tier in TIERS}
    for claim, stance, tier, out, automatic, unsure, n in connection.execute(
        "SELECT t.claim_id, t.stance, a.evidence_tier, a.retracted OR a.deleted IS NOT NULL, t.origin = 'tagger', "
        "t.origin = 'tagger' AND t.confidence < ?, count(*) "
        f"FROM tags t JOIN articles a ON a.id = t.article_id {where}GROUP BY 1, 2, 3, 4, 5, 6",
        (LOW_CONFIDENCE, claim_id) if claim_id else (LOW_CONFIDENCE,),
    ):
        tier = tier if tier in tiers else "unclassified"
        result[claim].append(Count(stance, tier, bool(out), n, bool(automatic), bool(unsure)))
    return result


def claim_rows(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """The claims in order: id, group, statement, question, definition, position, first_asked (bool)."""
    rows = _dicts(
        connection.execute(
            'SELECT id, "group", statement, question, definition, position, first_asked FROM claims ORDER BY position'
        )
    )
    for row in rows:
        row["first_asked"] = bool(row["first_asked"])
    return rows


def claims(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """`claim_rows`, each with `weighed` (kb.evidence.Weighed)."""
    tallies = counts(connection)
    return [{**row, "weighed": weigh(tallies.get(row["id"], ()))} for row in claim_rows(connection)]


def claim(connection: sqlite3.Connection, claim_id: str) -> dict[str, Any] | None:
    """One claim with `weighed`, or None."""
    row = next((r for r in claim_rows(connection) if r["id"] == claim_id), None)
    return {**row, "weighed": weigh(counts(connection, claim_id).get(claim_id, ()))} if row else None


def claim_json(row: dict[str, Any]) -> dict[str, Any]:
    """A claim with `weighed` as plain JSON values."""
    return {**{k: v for k, v in row.items() if k != "weighed"}, **weighed_json(row["weighed"])}


def weighed_json(weighed: Weighed) -> dict[str, Any]:
    """Verdict, counts and tiers as plain JSON values."""

    def tally(t: TierTally) -> dict[str, Any]:
        return {
            "tier": t.tier.id,
            "label": t.tier.label,
            "supports": t.supports,
            "mixed": t.mixed,
            "contradicts": t.contradicts,
            "total": t.total,
            "words": t.words,
        }

    return {
        "verdict": weighed.verdict,
        "verdict_label": weighed.label,
        "rests_on": list(weighed.rests_on),
        "supports": weighed.supports,
        "mixed": weighed.mixed,
        "contradicts": weighed.contradicts,
        "total": weighed.total,
        "automatic": weighed.automatic,
        "unsure": weighed.unsure,
        "background": weighed.background,
        "retracted_not_counted": weighed.retracted,
        "words": weighed.words,
        "tiers": [tally(t) for t in weighed.tiers],
        "reviews_not_counted": tally(weighed.reviews) if weighed.reviews else None,
        "unclassified_not_counted": tally(weighed.unclassified) if weighed.unclassified else None,
    }


# -- evidence on a claim -----------------------------------------------------------------


def evidence_rows(connection: sqlite3.Connection, claim_id: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    """The articles `ids`, in that order, as evidence on a claim.

    Each row has the citation's fields, stance, confidence, origin (tagger, reviewer), reason, sentence,
    section, doses (verbatim texts), routes, conditions, populations, verified (full, partial, or None
    outside the starter corpus), review_note and reviewer (None where no reviewer labelled it).
    """
    rows: dict[str, dict[str, Any]] = {}
    for part in _parts(ids):
        for row in _dicts(
            connection.execute(
                f"SELECT {_CARD}, t.id AS tag_id, t.stance, t.confidence, t.origin, t.reason, s.text AS sentence, "
                f"s.section, l.verified, {_REVIEWED} FROM tags t JOIN articles a ON a.id = t.article_id "
                "LEFT JOIN sentences s ON s.id = t.sentence_id LEFT JOIN landmarks l ON l.article_id = a.id "
                f"WHERE t.claim_id = ? AND t.article_id IN ({_marks(part)})",
                (claim_id, *part),
            )
        ):
            rows[row["id"]] = row
    add_facets(connection, rows)
    return [rows[i] for i in ids if i in rows]


def unsure(tag: Mapping[str, Any]) -> bool:
    """Whether the tagger made this tag (origin, confidence) without being sure of it, so that a reviewer should
    look. A tag whose confidence is not known is not unsure.
    """
    confidence = tag.get("confidence")
    return tag.get("origin") != "reviewer" and confidence is not None and confidence < LOW_CONFIDENCE


def cards(connection: sqlite3.Connection, ids: Sequence[str]) -> list[dict[str, Any]]:
    """The articles `ids`, in that order, with their facets and `tags` (claim, stance, origin, unsure)."""
    rows: dict[str, dict[str, Any]] = {}
    for part in _parts(ids):
        for row in _dicts(
            connection.execute(
                f"SELECT {_CARD}, a.abstract, a.mesh_list, a.keyword_list, l.verified FROM articles a "
                "LEFT JOIN landmarks l ON l.article_id = a.id "
                f"WHERE a.id IN ({_marks(part)})",
                part,
            )
        ):
            rows[row["id"]] = {**row, "tags": []}
        for row in connection.execute(
            "SELECT t.article_id, t.claim_id, t.stance, t.origin, t.confidence, c.position FROM tags t "
            f"JOIN claims c ON c.id = t.claim_id WHERE t.article_id IN ({_marks(part)}) "
            "ORDER BY t.stance = 'background', c.position",
            part,
        ):
            tag = {"claim": row[1], "stance": row[2], "origin": row[3]}
            rows[row[0]]["tags"].append({**tag, "unsure": unsure({**tag, "confidence": row[4]})})
    add_facets(connection, rows)
    return [rows[i] for i in ids if i in rows]


def add_facets(connection: sqlite3.Connection, rows: dict[str, dict[str, Any]]) -> None:
    """Give each row its lists: doses, routes, conditions, populations, species_list."""
    lists = {"doses": "text", "routes": "name", "conditions": "name", "populations": "name", "species": "name"}
    for row in rows.values():
        row.update({name if name != "species" else "species_list": [] for name in lists})
    for part in _parts(list(rows)):
        for table, column in lists.items():
            for article_id, value in connection.execute(
                f"SELECT article_id, {column} FROM {table} WHERE article_id IN ({_marks(part)}) ORDER BY rowid", part
            ):
                target = rows[article_id][table if table != "species" else "species_list"]
                if value not in target:
                    target.append(value)


def strongest(
    connection: sqlite3.Connection, claim_id: str, stances: Iterable[str], limit: int = 3
) -> list[dict[str, Any]]:
    """The strongest counted articles of a claim with any of the stances, as `evidence_rows`."""
    stances = tuple(stances)
    ids = [
        r[0]
        for r in connection.execute(
            "SELECT a.id FROM tags t JOIN articles a ON a.id = t.article_id WHERE t.claim_id = ? "
            f"AND t.stance IN ({_marks(stances)}) AND a.retracted = 0 AND a.deleted IS NULL "
            f"ORDER BY {STRONGEST_FIRST} LIMIT ?",
            (claim_id, *stances, limit),
        )
    ]
    return evidence_rows(connection, claim_id, ids)


# Time after dosing as evidence sentences name it; "24-hour", "day 7", "4 weeks", "six months".
_NUMBER = {w: n for n, w in enumerate("one two three four five six seven eight nine ten eleven twelve".split(), 1)}
_TIME = re.compile(
    r"\b(?:(\d{1,3}(?:\.\d)?)|("
    + "|".join(_NUMBER)
    + r"))[\s\u2011-]*(min(?:ute)?s?|h|hrs?|hours?|days?|d|weeks?|wks?|"
    r"months?|years?)\b|\b(day|week|month)s?[\s\u2011-]*(\d{1,3})\b",
    re.IGNORECASE,
)
_HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0, "w": 168.0, "mo": 730.0, "y": 8760.0}
TIME_BANDS = ("within 4 hours", "over 4 to 24 hours", "2 to 7 days", "over 1 to 4 weeks", "over 4 weeks")


def time_bands(sentence: str) -> set[str]:
    """The bands of the times named in a sentence (see TIME_BANDS); empty if it names none."""
    found = set()
    for match in _TIME.finditer(sentence):
        number, word, unit, before, after = match.groups()
        amount = float(number or after or _NUMBER[word.lower()])
        unit = (unit or before).lower()
        hours = amount * _HOURS["mo" if unit.startswith("mo") else unit[0]]
        edge = next((n for n, top in enumerate((4, 24, 168, 672)) if hours <= top), 4)
        found.add(TIME_BANDS[edge])
    return found


def by_time(connection: sqlite3.Connection, claim_id: str) -> list[dict[str, Any]]:
    """Counted findings by the time after dosing that the evidence sentence names."""
    tallies = {band: dict.fromkeys(FINDINGS, 0) for band in TIME_BANDS}
    index = index_of(connection)
    counting = index.members(index.tagged((claim_id,), FINDINGS) & index.counting)
    for article_id, stance, text in connection.execute(
        "SELECT t.article_id, t.stance, s.text FROM tags t JOIN sentences s ON s.id = t.sentence_id "
        "WHERE t.claim_id = ? AND t.stance <> 'background'",
        (claim_id,),
    ):
        if article_id in counting:
            for band in time_bands(text):
                tallies[band][stance] += 1
    return [{"value": band, **row, "total": sum(row.values())} for band, row in tallies.items() if any(row.values())]


# -- one article -------------------------------------------------------------------------

_DOI = re.compile(r"10\.\d{4,9}/\S+")
_PMCID = re.compile(r"PMC\d+", re.IGNORECASE)


def find_article(connection: sqlite3.Connection, text: str) -> str | None:
    """The id of the article that a PMID, PMCID, DOI or address names, however it is written; None if absent.

    An id that an article had before (doi:..., PMC..., a PMID) leads to the id it has now.
    """
    text = unquote(text).strip()
    if len(text) > 500 or "\x00" in text:
        return None
    row = connection.execute("SELECT id FROM articles WHERE id = ?", (text,)).fetchone()
    if row:
        return row[0]
    for column, value in identifiers(text):
        row = connection.execute(
            f"SELECT id FROM articles WHERE {column} = ? ORDER BY deleted IS NOT NULL LIMIT 1", (value,)
        ).fetchone()
        if row:
            return row[0]
    return None


def identifiers(text: str) -> list[tuple[str, str]]:
    """(column, value) for each identifier that `text` consists of or, in an address, ends with."""
    text = re.sub(r"^(?:https?://)?(?:www\.)?", "", text.strip(), flags=re.IGNORECASE)
    match = re.fullmatch(
        r"(?:pubmed\.ncbi\.nlm\.nih\.gov/|ncbi\.nlm\.nih\.gov/pubmed/|pmid\s*:?\s*|pubmed\s*:?\s*)?(\d{1,9})/?"
        r"(?:\[(?:uid|pmid)\])?",
        text,
        re.IGNORECASE,
    )
    if match:
        return [("pmid", match[1].lstrip("0") or "0")]
    match = _PMCID.search(text)
    if match and re.fullmatch(r"(?:[\w.]*ncbi\.nlm\.nih\.gov/(?:pmc/)?articles/|pmcid\s*:?\s*)?PMC\d+/?", text, re.I):
        return [("pmcid", match[0].upper())]
    match = _DOI.search(text)
    if match and re.fullmatch(r"(?:(?:dx\.)?doi\.org/|doi\s*:?\s*)?10\.\d{4,9}/\S+", text, re.IGNORECASE):
        doi = match[0].lower()
        return [("doi", doi), ("doi", doi.rstrip(".,;)"))]
    return []


def article(connection: sqlite3.Connection, article_id: str) -> dict[str, Any] | None:
    """All that is known of one article (by any of its identifiers), or None.

    The columns of `articles`, and: authors, mesh, publication_types, keywords, substances, conditions,
    populations, species_list, routes, doses, trials, grants, corrections, other_abstracts, landmark (or None),
    sentences, tags (each with claim statement and `sentences`: ids, best first), reviews, harvests, changes.
    """
    found = find_article(connection, article_id)
    if found is None:
        return None

    def rows(sql: str) -> list[dict[str, Any]]:
        return _dicts(connection.execute(sql, (found,)))

    def names(table: str) -> list[str]:
        return [r["name"] for r in rows(f"SELECT name FROM {table} WHERE article_id = ? ORDER BY rowid")]

    result = rows("SELECT * FROM articles WHERE id = ?")[0]
    landmark = rows("SELECT * FROM landmarks WHERE article_id = ?")
    result.update(
        authors=rows(
            "SELECT u.name, u.last, u.fore, u.collective, u.orcid, x.role, x.affiliation FROM article_authors x "
            "JOIN authors u ON u.id = x.author_id WHERE x.article_id = ? ORDER BY x.position"
        ),
        mesh=rows(
            "SELECT m.name, m.ui, x.major, x.qualifiers FROM article_mesh x JOIN mesh_headings m ON m.id = x.mesh_id "
            "WHERE x.article_id = ? ORDER BY x.position"
        ),
        publication_types=names("publication_types"),
        keywords=names("keywords"),
        substances=rows("SELECT name, origin, registry_number FROM substances WHERE article_id = ? ORDER BY rowid"),
        conditions=names("conditions"),
        populations=names("populations"),
        species_list=names("species"),
        routes=names("routes"),
        doses=rows(
            "SELECT substance, amount, amount_high, unit, minutes, text FROM doses WHERE article_id = ? ORDER BY id"
        ),
        trials=[r["number"] for r in rows("SELECT number FROM trials WHERE article_id = ? ORDER BY number")],
        grants=rows("SELECT number, agency, country FROM grants WHERE article_id = ? ORDER BY id"),
        corrections=rows("SELECT kind, other_id, citation, note FROM corrections WHERE article_id = ? ORDER BY id"),
        other_abstracts=rows("SELECT language, kind, text FROM other_abstracts WHERE article_id = ? ORDER BY id"),
        landmark=landmark[0] if landmark else None,
        sentences=rows(
            'SELECT id, position, section, text, start, "end" FROM sentences WHERE article_id = ? ORDER BY position'
        ),
        reviews=rows("SELECT claim_id, stance, reviewer, note, at FROM reviews WHERE article_id = ? ORDER BY at, id"),
        harvests=rows(
            "SELECT h.id, h.query_id, h.source, h.started, h.finished, x.outcome FROM harvest_hits x "
            "JOIN harvests h ON h.id = x.harvest_id WHERE x.article_id = ? ORDER BY h.id DESC"
        ),
        changes=rows(
            "SELECT at, field, old, new, harvest_id FROM changes WHERE article_id = ? ORDER BY id DESC LIMIT 200"
        ),
    )
    tags = rows(
        "SELECT t.id, t.claim_id, c.statement, t.stance, t.confidence, t.origin, t.reason, t.tagger_version, "
        f"t.sentence_id, {_REVIEWED} FROM tags t JOIN claims c ON c.id = t.claim_id WHERE t.article_id = ? "
        "ORDER BY t.stance = 'background', c.position"
    )
    more: dict[int, list[int]] = defaultdict(list)
    for row in rows(
        "SELECT e.tag_id, e.sentence_id FROM evidence_sentences e JOIN tags t ON t.id = e.tag_id "
        "WHERE t.article_id = ? ORDER BY e.tag_id, e.rank"
    ):
        more[row["tag_id"]].append(row["sentence_id"])
    for tag in tags:
        first = [tag["sentence_id"]] if tag["sentence_id"] is not None else []
        tag["sentences"] = first + [s for s in more[tag["id"]] if s not in first]
    result["tags"] = tags
    return result


def article_json(article: dict[str, Any]) -> dict[str, Any]:
    """The article without the columns that only the store needs."""
    hidden = {"content_hash", "title_key", "evidence_text", "author_list", "mesh_list", "keyword_list"}
    return {k: v for k, v in article.items() if k not in hidden}


_LABEL = re.compile(r"^[A-Z][A-Z &/,-]{2,60}:\s+")


def without_label(sentence: str) -> str:
    """A sentence without the section label that opens it ("RESULTS: ...")."""
    return _LABEL.sub("", sentence or "")


def untagged(article: dict[str, Any]) -> str:
    """Why an article without tags has none, as one sentence."""
    if article["text_language"] == "other":
        return "Not read for claims: only English abstracts are, and this one seems to be in another language."
    return "No claim is tagged on this abstract."


def article_lines(article: dict[str, Any]) -> Iterator[str]:
    """An article as lines for a terminal: warnings first, then citation, facets, tags with sentences."""
    if article["retracted"]:
        yield f"RETRACTED: {article['retraction_note'] or 'marked as retracted by PubMed'}"
    if article["deleted"]:
        yield f"WITHDRAWN from PubMed, noticed {article['deleted'][:10]}"
    yield citation(article)
    yield f"  {article['url'] or article['id']}"
    if article["abstract_origin"] == "summary":
        yield "  Abstract: a summary written by this project; the publisher's abstract comes with the first harvest."
    if article["landmark"] and article["landmark"]["verified"] == "partial":
        yield "  Partly verified: not every figure of this study could be seen by the reviewer."
    facets = [
        ("design", article["study_design"]),
        ("evidence level", article["evidence_level"]),
        ("participants", article["sample_size"]),
        ("population", ", ".join(article["populations"])),
        ("species", ", ".join(article["species_list"])),
        ("doses", "; ".join(d["text"] for d in article["doses"])),
        ("routes", ", ".join(article["routes"])),
        ("conditions", ", ".join(article["conditions"])),
    ]
    yield from (f"  {name}: {value}" for name, value in facets if value)
    texts = {s["id"]: s for s in article["sentences"]}
    if not article["tags"]:
        yield f"  {untagged(article)}"
    for tag in article["tags"]:
        doubt = "unsure, waits for a reviewer; " if unsure(tag) else ""
        by = "labelled by a reviewer" if tag["origin"] == "reviewer" else f"{doubt}confidence {tag['confidence']:.2f}"
        yield f"  {tag['claim_id']}: {tag['stance']} ({by})"
        for sentence in tag["sentences"]:
            yield f"      [{texts[sentence]['section'].lower()}] {without_label(texts[sentence]['text'])}"
        if tag["reason"]:
            yield f"      why: {tag['reason']}"
    for said in rejections(article):
        changed = f" (the text changed on {said['changed'][:10]})" if said["changed"] else ""
        note = f": {said['note']}" if said["note"] else ""
        yield f"  {said['claim_id']}: rejected by {said['reviewer']} on {said['at'][:10]}{changed}{note}"


def citation(row: Any, authors: int = 6) -> str:
    """The citation as one line, in the style of PubMed's "Cite" (National Library of Medicine)."""
    row = dict(row)
    names = [n for n in (row.get("author_list") or "").split(", ") if n]
    if len(names) > authors:
        names = [*names[: authors - 3 if authors > 3 else 1], "et al"]
    who = ", ".join(names)
    title = (row.get("title") or "").rstrip()
    parts = [f"{who}." if who else "", title if title.endswith((".", "?", "!")) else f"{title}."]
    journal = row.get("journal_abbreviation") or row.get("journal") or ""
    if journal:
        parts.append(f"{journal}.")
    place = str(row.get("year") or "")
    if row.get("volume"):
        place += f";{row['volume']}" + (f"({row['issue']})" if row.get("issue") else "")
        if row.get("pages"):
            place += f":{row['pages']}"
    if place:
        parts.append(f"{place}.")
    if row.get("doi"):
        parts.append(f"doi: {row['doi']}.")
    if row.get("pmid"):
        parts.append(f"PMID: {row['pmid']}.")
    elif row.get("pmcid"):
        parts.append(f"PMCID: {row['pmcid']}.")
    return " ".join(part for part in parts if part)


def short_citation(row: Any) -> str:
    """As people say it: "Feder et al., JAMA Psychiatry 2014"."""
    row = dict(row)
    names = [n for n in (row.get("author_list") or "").split(", ") if n]
    lasts = [re.sub(r" [A-Z]{1,6}(?: (?:Jr|Sr|2nd|3rd|4th))?$", "", name) for name in names]
    if not lasts:
        who = ""
    elif len(lasts) == 1:
        who = lasts[0]
    elif len(lasts) == 2:
        who = f"{lasts[0]} and {lasts[1]}"
    else:
        who = f"{lasts[0]} et al."
    where = " ".join(str(x) for x in (row.get("journal_abbreviation") or row.get("journal"), row.get("year")) if x)
    return ", ".join(x for x in (who, where) if x) or row["id"]


def related(connection: sqlite3.Connection, article_id: str, limit: int = 6) -> list[dict[str, Any]]:
    """Articles that report findings on most of the claims of this one, strongest study first among equals.

    Each row: a card, and `shared`: the claims both report a finding on.
    """
    mine = [
        r[0]
        for r in connection.execute(
            "SELECT claim_id FROM tags WHERE article_id = ? AND stance <> 'background'", (article_id,)
        )
    ]
    index = index_of(connection)
    shared: dict[int, list[str]] = defaultdict(list)
    for claim_id in mine:
        found = index.tagged((claim_id,), FINDINGS) & index.counting
        # The strongest few of each claim are enough to choose from.
        for number in islice(index.in_order(found), 200):
            if index.ids[number] != article_id:
                shared[number].append(claim_id)
    best = sorted(shared, key=lambda n: (-len(shared[n]), n))[:limit]
    rows = {row["id"]: row for row in cards(connection, [index.ids[n] for n in best])}
    return [{**rows[index.ids[n]], "shared": shared[n]} for n in best if index.ids[n] in rows]


# -- what is new -------------------------------------------------------------------------


def whats_new(connection: sqlite3.Connection, limit: int = 8) -> dict[str, Any]:
    """What the last finished harvest from PubMed brought: {"harvest", "since", "new", "total", "retracted"}.

    Without such a harvest `harvest` is None and `new` holds the most recently published studies.
    """
    last = connection.execute(
        "SELECT id, started, finished FROM harvests WHERE source <> 'landmarks' AND status = 'done' "
        "ORDER BY id DESC LIMIT 1"
    ).fetchone()
    if last is None:
        ids = [
            r[0]
            for r in connection.execute(
                "SELECT id FROM articles WHERE deleted IS NULL "
                "ORDER BY year DESC, coalesce(published, '') DESC, id DESC LIMIT ?",
                (limit,),
            )
        ]
        return {"harvest": None, "since": None, "new": cards(connection, ids), "total": 0, "retracted": []}
    # Runs of several named searches in a row are one update to a reader: take all of that day.
    since = last["started"][:10]
    came = {
        r[0]
        for r in connection.execute(
            "SELECT h.article_id FROM harvests r JOIN harvest_hits h ON h.harvest_id = r.id "
            "WHERE r.started >= ? AND r.source <> 'landmarks' AND h.outcome = 'new'",
            (since,),
        )
    }
    index = index_of(connection)
    findings = index.tagged((), FINDINGS) & ~index.uncounted
    strongest_new = (index.ids[n] for n in index.in_order(findings) if index.ids[n] in came)
    ids = list(islice(strongest_new, limit))
    total = len(came)
    gone = [
        r[0]
        for r in connection.execute(
            "SELECT DISTINCT article_id FROM changes WHERE at >= ? AND field IN ('retracted', 'deleted') "
            "AND new IS NOT NULL AND new <> '0' ORDER BY id DESC LIMIT ?",
            (since, limit),
        )
    ]
    return {
        "harvest": dict(last),
        "since": since,
        "new": cards(connection, ids),
        "total": total,
        "retracted": cards(connection, gone),
    }


def feed(connection: sqlite3.Connection, claim_id: str | None = None, limit: int = 40) -> list[dict[str, Any]]:
    """The newest findings (on one claim, or on any), by the day they came in.

    Each row: a card with `tags`, `first_seen`, and `findings` (claim, stance, sentence, review_note; on the
    claim alone if one is named). A reviewer's finding may have a note and no sentence.
    """
    if claim_id:
        sql = (
            "SELECT a.id FROM tags t JOIN articles a ON a.id = t.article_id WHERE t.claim_id = ? "
            "AND t.stance <> 'background' ORDER BY a.first_seen DESC, a.year DESC, a.id DESC LIMIT ?"
        )
        ids = [r[0] for r in connection.execute(sql, (claim_id, limit))]
    else:
        sql = (
            "SELECT a.id FROM articles a WHERE EXISTS (SELECT 1 FROM tags t WHERE t.article_id = a.id "
            "AND t.stance <> 'background') ORDER BY a.first_seen DESC, a.year DESC, a.id DESC LIMIT ?"
        )
        ids = [r[0] for r in connection.execute(sql, (limit,))]
    rows = cards(connection, ids)
    sentences: dict[str, list[dict[str, str]]] = defaultdict(list)
    for part in _parts(ids):
        for row in connection.execute(
            f"SELECT t.article_id, t.claim_id, t.stance, s.text, {_REVIEWED} FROM tags t "
            "JOIN claims c ON c.id = t.claim_id LEFT JOIN sentences s ON s.id = t.sentence_id "
            f"WHERE t.article_id IN ({_marks(part)}) AND t.stance <> 'background' ORDER BY c.position",
            part,
        ):
            if claim_id is None or row[1] == claim_id:
                sentences[row[0]].append(
                    {"claim": row[1], "stance": row[2], "sentence": row[3] or "", "review_note": row[4] or ""}
                )
    for row in rows:
        row["findings"] = sentences[row["id"]]
    return rows


def facts(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """Regulatory, epidemiological and guideline facts, each with its date and source."""
    return _dicts(
        connection.execute(
            "SELECT id, topic, statement, detail, as_of, source_title, source_url FROM facts ORDER BY topic, id"
        )
    )


# -- helpers -----------------------------------------------------------------------------


def _dicts(cursor: Iterable[Any]) -> list[dict[str, Any]]:
    return [dict(zip(row.keys(), tuple(row), strict=True)) for row in cursor]


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _parts(values: Sequence[str], size: int = 500) -> Iterator[tuple[str, ...]]:
    for start in range(0, len(values), size):
        yield tuple(values[start : start + size])
