"""The `kb` command: thin; every command is a few lines over the modules beside it."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import click

from kb import __version__, check_cli, harvest_cli, schema

DEFAULT_DB = "db/kb.db"


class Group(click.Group):
    """Commands in the order a newcomer needs them; problems that a person can mend become one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except schema.DatabaseProblem as problem:
            raise click.ClickException(str(problem)) from None
        except sqlite3.Error as error:
            path = ctx.params.get("db") or os.environ.get("KB_DB") or DEFAULT_DB
            raise click.ClickException(schema.explain(error, path)) from None
        except BrokenPipeError:
            # The reader (head, a pager) has gone; there is nobody left to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(0)


def db_option(function: Any) -> Any:
    return click.option(
        "--db", envvar="KB_DB", default=DEFAULT_DB, show_default=True, type=click.Path(path_type=Path),
        help="The database file (or set KB_DB).",
    )(function)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kb")
def main() -> None:
    """Evidence on ketamine and PTSD: which claims the literature supports, and which it does not.

    \b
    kb build                          make the database from the landmark studies
    kb serve                          browse it
    kb search "ketamine veterans"     search it at the terminal
    kb check article.txt              check what a draft claims against it

    It informs; it gives no medical advice.
    """


@main.command()
@db_option
def build(db: Path) -> None:
    """Create or upgrade the database: claims, facts, landmark studies, tags. Safe to repeat.

    \b
    Example: kb build --db db/kb.db
    """
    from kb.build import build as run

    saved, tagged = run(db)
    click.echo(
        f"{db}: {saved.total} landmark studies ({saved.new} new, {saved.changed} changed, "
        f"{saved.unchanged} unchanged); {tagged} articles tagged"
    )


@main.command()
@db_option
@click.option("--input", "input_", type=click.File(encoding="utf-8"),
              help='Tag these abstracts instead of the database: lines {"id", "text"} or {"id", "title", "abstract"}.')
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False),
              help="Where the tags of --input go (default: standard output).")
@click.option("--all", "everything", is_flag=True, help="Tag every article again, not only what needs it.")
def tag(db: Path, input_: TextIO | None, output: Path | None, everything: bool) -> None:
    """Tag what is new, changed, or was tagged by an older version of the tagger.

    With --input, a line that cannot be used stops the run: it is named, and --output is left as it was. A title
    alone is enough. Out comes a line for each line, in the same order: {"id", "language", "rows": [{"claim",
    "stance", "sentence", "confidence"}], "study_design", ...}. A confidence below 0.55 means unsure; abstracts whose
    language is "other" than English are not tagged.

    \b
    Examples:
      kb tag
      kb tag --input abstracts.jsonl --output tags.jsonl
    """
    if input_ is not None:
        _tag_lines(input_, output)
        return
    if output is not None:
        raise click.UsageError("--output goes with --input")
    from kb.store import Store
    from kb.tagging import LOW_CONFIDENCE, TAGGER_VERSION, tag_many

    with Store(db, create=False) as store:
        total = store.connection.execute("SELECT count(*) FROM articles").fetchone()[0] if everything \
            else store.untagged(TAGGER_VERSION)
        with click.progressbar(length=total, label="Tagging", file=sys.stderr, hidden=total == 0) as bar:
            done = store.retag(tag_many, TAGGER_VERSION, everything=everything, progress=bar.update)
        waiting = store.connection.execute(
            "SELECT count(*) FROM tags WHERE origin = 'tagger' AND confidence < ?", (LOW_CONFIDENCE,)).fetchone()[0]
        click.echo(f"{db}: {done} articles tagged by version {TAGGER_VERSION}")
        if waiting:
            click.echo(f"The tagger is unsure of {waiting} tag{'s' if waiting > 1 else ''}: look with kb review list")


def _tag_lines(source: TextIO, output: Path | None) -> None:
    from kb.tagging import as_line, tag_many

    ids: deque[str] = deque()
    seen: set[str] = set()
    twice: dict[str, None] = {}

    def texts() -> Iterator[tuple[str, str, tuple, tuple]]:
        for item_id, title, abstract in _abstracts(source):
            if item_id in seen:
                twice[item_id] = None
            seen.add(item_id)
            ids.append(item_id)
            yield title, abstract, (), ()

    lines = (json.dumps(as_line(ids.popleft(), t), ensure_ascii=False) + "\n" for t in tag_many(texts()))
    if output is not None:
        from kb.export import ExportProblem, write_whole

        try:
            write_whole(output, lines)
        except ExportProblem as problem:
            raise click.ClickException(str(problem)) from None
    else:
        for line in lines:
            click.echo(line, nl=False)
    if twice:
        named = ", ".join(islice(twice, 5)) + (", ..." if len(twice) > 5 else "")
        click.echo(f"Note: an id stands on several lines, and so do its tags: {named}", err=True)


def _abstracts(source: TextIO) -> Iterator[tuple[str, str, str]]:
    """(id, title, abstract) of each line; a line that cannot be used stops the run and is named."""
    number = 0
    try:
        for number, line in enumerate(source, 1):
            if not line.strip():
                continue
            try:
                item = json.loads(line.strip().removeprefix("\ufeff"))
            except (ValueError, RecursionError) as error:
                where = str(error)
                if isinstance(error, json.JSONDecodeError):  # its own words count lines within this line
                    where = f"{error.msg.removesuffix(' at')} at character {error.pos + 1}"
                raise click.ClickException(f"line {number} is not JSON ({where}): give one object a line") from None
            if not isinstance(item, dict):
                raise click.ClickException(f'line {number} is not an object: give {{"id": ..., "text": ...}}')
            if type(item.get("id")) not in (str, int):
                raise click.ClickException(f'line {number} has no "id" that is a text or a whole number')
            if isinstance(item.get("text"), str):
                title, _, abstract = item["text"].partition("\n")
            elif isinstance(item.get("title"), str) or isinstance(item.get("abstract"), str):
                title, abstract = item.get("title") or "", item.get("abstract") or ""
            else:
                raise click.ClickException(f'line {number} has no "text", "title" or "abstract" that is a text')
            # Half of a pair that stands for one character ("\\ud800") can be written in JSON, but not in UTF-8.
            yield tuple(part.encode("utf-8", "replace").decode("utf-8") for part in (str(item["id"]), title, abstract))
    except UnicodeDecodeError as error:
        place = f"after line {number}" if number else "in its beginning"
        raise click.ClickException(f"the input is not UTF-8 text ({place}): {error.reason}") from None


@main.command()
@db_option
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
def claims(db: Path, as_json: bool) -> None:
    """List the claims with their verdicts.

    \b
    Example: kb claims
    """
    from kb import reading

    with closing(schema.connect_read_only(db)) as connection:
        rows = reading.claims(connection)
    if as_json:
        click.echo(json.dumps([reading.claim_json(row) for row in rows], ensure_ascii=False, indent=1))
        return
    group = None
    for row in rows:
        if row["group"] != group:
            group = row["group"]
            click.secho(f"\n{group}", bold=True)
        w = row["weighed"]
        click.echo(f"  {row['id']:26} {w.label}: {w.supports} for, {w.mixed} mixed, {w.contradicts} against")
        click.echo(f"  {'':26} {row['statement']}")
        if w.automatic:
            unsure = f", {w.unsure} of them unsure" if w.unsure else ""
            click.echo(f"  {'':26} {w.automatic} of {w.total} findings read automatically{unsure}")


@main.command()
@click.argument("article_id", metavar="ID")
@db_option
@click.option("--json", "as_json", is_flag=True, help="All that is known of it, as JSON.")
def show(article_id: str, db: Path, as_json: bool) -> None:
    """Show one article: citation, facets, tags with their sentences and reasons.

    ID is a PMID, a PMCID or a DOI.

    \b
    Example: kb show 24740528
    """
    from kb import reading

    with closing(schema.connect_read_only(db)) as connection:
        article = reading.article(connection, article_id)
    if article is None:
        raise click.ClickException(
            f"{article_id} is not in {db}. If it is a PMID, bring it in with: "
            f"kb harvest pubmed --term {article_id}[uid]"
        )
    if as_json:
        click.echo(json.dumps(reading.article_json(article), ensure_ascii=False, indent=1))
        return
    for line in reading.article_lines(article):
        click.echo(line)


@main.command()
@db_option
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def status(db: Path, as_json: bool) -> None:
    """Counts, freshness, last harvests.

    \b
    Example: kb status
    """
    from kb import reading

    with closing(schema.connect_read_only(db)) as connection:
        state = reading.status(connection)
    if as_json:
        click.echo(json.dumps(state, ensure_ascii=False, indent=1))
        return
    for line in reading.status_lines(state, db):
        click.echo(line)


@main.command()
@click.argument("text")
@db_option
@click.option("--claim", help="Only articles tagged with this claim (`kb claims` lists them).")
@click.option("--stance", type=click.Choice(schema.STANCES), help="Only articles with this stance.")
@click.option("--design", help="Only this study design, e.g. rct.")
@click.option("--since", type=click.IntRange(1900, 2100), metavar="YEAR", help="Only from this year on.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def search(text: str, db: Path, claim: str | None, stance: str | None, design: str | None, since: int | None,
           limit: int, as_json: bool) -> None:
    """Search titles, abstracts and evidence sentences.

    \b
    Examples:
      kb search "esketamine suicidal"
      kb search "ketamine veterans" --claim ptsd-symptom-reduction --stance contradicts
    """
    from kb import reading
    from kb import search as searching
    from kb.index import Filters

    values = {"claim": claim, "stance": stance, "design": design}
    filters = Filters({k: (v,) for k, v in values.items() if v}, year_from=since)
    with closing(schema.connect_read_only(db)) as connection:
        _known_claim(connection, claim)
        named, missing = searching.direct(connection, text)
        found = searching.run(connection, text, filters, limit=limit)
        rows = reading.cards(connection, [named]) if named else found.rows
    plain = str.maketrans("", "", searching.MARK + searching.UNMARK)
    if as_json:
        fields = ("id", "pmid", "doi", "title", "author_list", "journal", "year", "study_design", "evidence_tier",
                  "sample_size", "retracted", "tags")
        results = [{**{f: row[f] for f in fields}, "snippet": (row.get("snippet") or "").translate(plain)}
                   for row in rows]
        click.echo(json.dumps({
            "query": text, "total": 1 if named else found.total, "matches_some_words_only": found.any_word,
            "suggestions": found.suggestions, "notes": found.parsed.notes, "results": results,
        }, ensure_ascii=False, indent=1))
        return
    for note in found.parsed.notes:
        click.echo(note)
    for row in rows:
        click.secho(f"{row['id']}  {reading.citation(row, authors=1)}", bold=True)
        flags = ["RETRACTED"] if row["retracted"] else []
        tags = [f"{t['claim']}: {t['stance']}{' (unsure)' if t['unsure'] else ''}"
                for t in row["tags"] if t["stance"] != "background"]
        click.echo(f"    {'; '.join([*flags, row['study_design'] or 'design unknown', *tags])}")
    if not rows:
        click.echo(f"{missing} is not in {db}." if missing else "Nothing found.")
        for suggestion in found.suggestions:
            click.echo(f"  Did you mean: {suggestion}")
    elif not named:
        some = " with some of the words" if found.any_word else ""
        click.echo(f"{len(rows)} of {found.total} articles{some}")


def _known_claim(connection: sqlite3.Connection, claim: str | None) -> None:
    ids = [row[0] for row in connection.execute("SELECT id FROM claims ORDER BY position")]
    if claim is not None and claim not in ids:
        raise click.BadParameter(f"no claim {claim!r}; the claims are: {', '.join(ids)}", param_hint="--claim")


@main.command()
@db_option
@click.option("--format", "format_", default="ris", show_default=True,
              type=click.Choice(["ris", "bibtex", "nbib", "csl", "csv"]))
@click.option("--claim", help="Only articles tagged with this claim.")
@click.option("--stance", type=click.Choice(schema.STANCES), help="Only articles with this stance.")
@click.option("--query", metavar="SQL", help="The articles of this SELECT (it needs a column article_id or pmid).")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="A file (default: standard output).")
@click.option("--bundle", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Everything instead: database file, a CSV a table, datapackage.json, checksums.")
def export(db: Path, format_: str, claim: str | None, stance: str | None, query: str | None, output: Path | None,
           bundle: Path | None) -> None:
    """References out, with claim, stance and evidence sentence in a note.

    \b
    Examples:
      kb export --claim ptsd-symptom-reduction --output ptsd.ris
      kb export --format bibtex --claim bdnf --stance contradicts
      kb export --bundle snapshot/
    """
    from kb import export as exporting

    if bundle is not None:
        if claim or stance or query or output:
            raise click.UsageError("--bundle exports everything; it goes with no selection")
        try:
            files = exporting.bundle(db, bundle)
        except exporting.ExportProblem as problem:
            raise click.ClickException(str(problem)) from None
        click.echo(f"{bundle}: {len(files)} files")
        return
    with closing(schema.connect_read_only(db)) as connection:
        try:
            pieces = exporting.export(connection, format_, claim=claim, stance=stance, query=query)
            if output is None:
                for piece in pieces:
                    click.echo(piece, nl=False)
                return
            exporting.write_whole(output, pieces)
        except exporting.ExportProblem as problem:
            raise click.ClickException(str(problem)) from None
    click.echo(f"{output}: written")


@main.command()
@db_option
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8001, show_default=True, type=click.IntRange(0, 65535), help="0 takes any free one.")
@click.option("--public", is_flag=True, help="Settings for a public site: immutable data, limits, cache headers.")
def serve(db: Path, host: str, port: int, public: bool) -> None:
    """Browse the evidence: our pages, with Datasette's tables, SQL and JSON beneath.

    \b
    Example: kb serve --port 8080
    """
    from kb import serving

    try:
        serving.serve(db, host=host, port=port, public=public)
    except serving.ServeProblem as problem:
        raise click.ClickException(str(problem)) from None


@main.group()
def review() -> None:
    """Correct tags by hand: a person's word survives every re-tagging and harvest.

    \b
    kb review list
    kb review accept 24740528 durability --reviewer "A. Reader"
    kb review correct 24740528 durability contradicts --reviewer "A. Reader" --note "gone by day 7"
    kb review reject 24740528 bdnf --reviewer "A. Reader"
    """


@review.command("list")
@db_option
@click.option("--claim", help="Only this claim.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="As one JSON array.")
def review_list(db: Path, claim: str | None, limit: int, as_json: bool) -> None:
    """Tags the tagger is least sure of, least sure first."""
    from kb.tagging import LOW_CONFIDENCE

    with closing(schema.connect_read_only(db)) as connection:
        _known_claim(connection, claim)
        rows = [dict(row) for row in connection.execute(
            "SELECT article_id, claim, stance, confidence, sentence, reason FROM evidence "
            "WHERE origin = 'tagger' AND confidence < ? AND (? IS NULL OR claim = ?) "
            "ORDER BY confidence, article_id LIMIT ?", (LOW_CONFIDENCE, claim, claim, limit))]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for row in rows:
        click.secho(f"{row['article_id']}  {row['claim']}: {row['stance']} ({row['confidence']:.2f})", bold=True)
        click.echo(f"    {row['sentence']}\n    why: {row['reason']}")
    if not rows:
        click.echo(f"Nothing to review: no automatic tag{f' on {claim}' if claim else ''} has a confidence below "
                   f"{LOW_CONFIDENCE}.")


def _reviewing(function: Any) -> Any:
    for option in (
        click.option("--note", default="", help="Why; shown on the article's page."),
        click.option("--reviewer", required=True, help="Who says so; shown on the article's page."),
        db_option,
        click.argument("claim"),
        click.argument("article_id", metavar="ID"),
    ):
        function = option(function)
    return function


@review.command()
@_reviewing
def accept(article_id: str, claim: str, db: Path, reviewer: str, note: str) -> None:
    """Confirm a tag as it stands."""
    _review(db, article_id, claim, None, reviewer, note)


@review.command()
@click.argument("article_id", metavar="ID")
@click.argument("claim")
@click.argument("stance", type=click.Choice(schema.STANCES))
@db_option
@click.option("--reviewer", required=True, help="Who says so; shown on the article's page.")
@click.option("--note", default="", help="Why; shown on the article's page.")
def correct(article_id: str, claim: str, stance: str, db: Path, reviewer: str, note: str) -> None:
    """Give a tag its right stance, or add one that is missing."""
    _review(db, article_id, claim, stance, reviewer, note)


@review.command()
@_reviewing
def reject(article_id: str, claim: str, db: Path, reviewer: str, note: str) -> None:
    """Remove a tag: the abstract does not address the claim."""
    _review(db, article_id, claim, "rejected", reviewer, note)


def _review(db: Path, article_id: str, claim: str, stance: str | None, reviewer: str, note: str) -> None:
    from kb.store import Store, one_line
    from kb.tagging import TAGGER_VERSION, tag_many

    article_id, claim = one_line(article_id), one_line(claim)
    with Store(db, create=False) as store:
        now = _may_review(store.connection, article_id, claim, db)
        if now is None and stance in (None, "rejected"):
            rejected = store.connection.execute(
                "SELECT reviewer, substr(at, 1, 10) FROM reviews WHERE article_id = ? AND claim_id = ? "
                "AND stance = 'rejected' ORDER BY at DESC, id DESC", (article_id, claim)).fetchone()
            if stance is None or not rejected:  # who rejects once more may mend the note
                raise click.ClickException(_no_tag(store.connection, article_id, claim, rejected))
        stance = stance or now
        try:
            store.review(article_id, claim, stance, reviewer=reviewer, note=note)
        except ValueError as error:
            raise click.ClickException(str(error)) from None
        store.retag(tag_many, TAGGER_VERSION)
    click.echo(f"{article_id} {claim}: {stance}, by {one_line(reviewer)}")


def _may_review(connection: sqlite3.Connection, article_id: str, claim: str, db: Path) -> str | None:
    """The stance of the tag, None if there is no such tag. Stops at an article or claim that is not here."""
    if not connection.execute("SELECT 1 FROM articles WHERE id = ?", (article_id,)).fetchone():
        raise click.ClickException(f"no article {article_id!r} in {db}: `kb search` finds ids")
    claims = [row[0] for row in connection.execute("SELECT id FROM claims ORDER BY position")]
    if claim not in claims:
        raise click.ClickException(f"no claim {claim!r} (claims: {', '.join(claims)})")
    row = connection.execute(
        "SELECT stance FROM tags WHERE article_id = ? AND claim_id = ?", (article_id, claim)).fetchone()
    return row[0] if row else None


def _no_tag(connection: sqlite3.Connection, article_id: str, claim: str, rejected: Any) -> str:
    tags = connection.execute(
        "SELECT t.claim_id, t.stance FROM tags t JOIN claims c ON c.id = t.claim_id WHERE t.article_id = ? "
        "ORDER BY c.position", (article_id,)).fetchall()
    there = ", ".join(f"{name} {stance}" for name, stance in tags) or "none"
    why = f"; {rejected[0]} rejected it on {rejected[1]}" if rejected else ""
    return f"{article_id} has no tag for {claim}{why} (its tags: {there})"


main.add_command(harvest_cli.harvest)
main.add_command(check_cli.check)

if __name__ == "__main__":
    main()
