"""`kb harvest`: bring citations in from PubMed or from its files, and keep them current."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import click

from kb import schema


def _db_option(function: Any) -> Any:
    return click.option(
        "--db",
        envvar="KB_DB",
        default="db/kb.db",
        show_default=True,
        type=click.Path(path_type=Path),
        help="The database file (or set KB_DB); made if it is not there.",
    )(function)


class _Day(click.ParamType):
    name = "date"

    def __init__(self, end: bool) -> None:
        self.end = end

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        from harvest.pubmed import parse_date

        try:
            return value if isinstance(value, date) else parse_date(str(value), end=self.end)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group()
def harvest() -> None:
    """Bring in citations from PubMed, over the network or from its files.

    \b
    Examples:
      kb harvest pubmed --email you@example.org
      kb harvest files ~/baseline
    """


@harvest.command()
@click.argument("queries", metavar="[QUERY]...", nargs=-1)
@click.option("--term", help="A search of your own, in PubMed's syntax, instead of the named ones.")
@click.option(
    "--since",
    type=_Day(end=False),
    metavar="DATE",
    help="Only citations that entered PubMed on or after this day (YYYY, YYYY-MM or YYYY-MM-DD).",
)
@click.option(
    "--until", type=_Day(end=True), metavar="DATE", help="Only those that entered it by the end of this day."
)
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="At most so many of each search, the newest first."
)
@click.option(
    "--email",
    envvar=["KB_EMAIL", "NCBI_EMAIL"],
    default="",
    help="Your address, which NCBI asks for to reach you before it blocks you (or set KB_EMAIL).",
)
@click.option(
    "--api-key",
    envvar="NCBI_API_KEY",
    default="",
    help="An NCBI key allows 10 requests a second instead of 3 "
    "(better set NCBI_API_KEY: other users of the machine can read a command line).",
)
@click.option(
    "--base-url",
    envvar="KB_EUTILS_URL",
    default="",
    metavar="URL",
    help="Any server that speaks E-utilities, instead of NCBI's (or set KB_EUTILS_URL).",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0.1, max=1000),
    metavar="N",
    help="Requests a second, if the server has granted you more or you want to send less.",
)
@click.option("--allow-dropped", is_flag=True, help="Run a search although PubMed does not know some of its phrases.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
@_db_option
def pubmed(
    queries: tuple[str, ...],
    term: str | None,
    since: date | None,
    until: date | None,
    limit: int | None,
    email: str,
    api_key: str,
    base_url: str,
    rate: float | None,
    allow_dropped: bool,
    as_json: bool,
    db: Path,
) -> None:
    """Run the named searches (all of them, or those named), or one of your own.

    A run that was cut off goes on where it stopped; a later run fetches only what is new or revised, and finds what
    was retracted or withdrawn. The searches are in harvest/queries.toml.

    \b
    Examples:
      kb harvest pubmed --email you@example.org
      kb harvest pubmed ketamine-ptsd bdnf
      kb harvest pubmed --term 'ketamine[tiab] AND veterans[tiab]' --since 2023
    """
    from harvest import eutils
    from harvest.pubmed import Harvest, Query, QueryProblem, Summary, check_term, load_queries

    try:
        named = load_queries()
        if term is not None:
            if queries:
                raise click.UsageError("give either named searches or --term, not both")
            text = check_term(term)
            chosen = [Query(_own_name(text), text, "Asked for with --term")]
        else:
            unknown = [name for name in queries if name not in named]
            if unknown:
                raise click.UsageError(
                    f"there is no search named {', '.join(unknown)}; there are: {', '.join(named)}"
                )
            chosen = [named[name] for name in dict.fromkeys(queries or named)]
        if since and until and since > until:
            raise click.UsageError(f"--since {since} lies after --until {until}")
        client = eutils.Eutils(base_url or eutils.NCBI, email=email, api_key=api_key, rate=rate)
    except (QueryProblem, ValueError) as error:
        raise click.UsageError(str(error)) from None
    if not email and client.base_url == eutils.NCBI:
        click.echo("NCBI asks for your e-mail address (--email), to reach you before it has to block you.", err=True)

    from kb.harvesting import StoreCheckpoint, totals

    summaries: list[Summary] = []
    problem = ""
    from kb.store import Store

    with _open(db, Store) as store, client:
        for query in chosen:
            with _progress(query.id, unit="citations") as progress:
                run = Harvest(
                    query,
                    client,
                    StoreCheckpoint(store),
                    since=since,
                    until=until,
                    limit=limit,
                    allow_dropped=allow_dropped,
                    progress=progress,
                )
                summaries.append(run.summary)
                try:
                    run.run()
                except (eutils.Blocked, eutils.Unavailable) as error:
                    problem = str(error)
                except eutils.EutilsError as error:  # this search is at fault; the others may be run
                    run.summary.status, run.summary.message = "failed", str(error)
                except KeyboardInterrupt:
                    problem = "stopped"
            if not as_json:
                _say_summary(run.summary)
            if problem:
                break
        untagged = _untagged(store)
    whole = totals(summaries)
    good = all(s.status == "done" for s in summaries)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "status": "done" if good else "incomplete" if not problem else "failed",
                    **whole,
                    "to_tag": untagged,
                    "queries": [s.as_dict() for s in summaries],
                },
                ensure_ascii=False,
            )
        )
    else:
        if len(summaries) > 1:
            click.echo("In all: " + _numbers(whole))
        _hint(untagged)
    if problem:
        raise click.ClickException(f"{problem}. What was stored stays; the same command goes on from there")
    if not good:
        raise click.exceptions.Exit(1)


@harvest.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--filter/--all",
    "filtered",
    default=True,
    show_default=True,
    help="Only citations in which a word of the topic stands, or every citation.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON object.")
@_db_option
def files(paths: tuple[Path, ...], filtered: bool, as_json: bool, db: Path) -> None:
    """Read PubMed XML files, plain or gzip: NLM's baseline and update files, or what you saved from PubMed.

    PATH is a file or a folder. Numbered files are read in their order; an .md5 file beside one is checked. A file that
    was read before is left out until its content changes.

    \b
    Examples:
      kb harvest files pubmed26n1335.xml.gz
      kb harvest files --all my-search.xml
    """
    from dataclasses import asdict

    from harvest.files import BadFile, find_files
    from harvest.pubmed import topic_terms
    from kb.harvesting import FileStore, load_files

    try:
        found = find_files(paths)
    except BadFile as error:
        raise click.UsageError(str(error)) from None
    with _open(db, FileStore) as store, _progress("files", unit="bytes") as progress:
        progress.total(sum(path.stat().st_size for path in found))

        def start(path: Path, size: int) -> Callable[[int], object]:
            progress.say(f"{path.name}: {size / 1e6:,.1f} MB")
            return progress.step

        summary = load_files(store, found, terms=topic_terms() if filtered else None, start=start)
        untagged = _untagged(store)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "status": summary.status,
                    **asdict(summary),
                    "seconds": round(summary.seconds, 1),
                    "to_tag": untagged,
                },
                ensure_ascii=False,
            )
        )
    else:
        click.echo(
            f"{summary.files} files read, {summary.skipped} known already; {summary.read:,} citations seen, "
            + _numbers(asdict(summary))
        )
        for note in summary.notes:
            click.echo(f"  {note}")
        if summary.unknown:
            names = ", ".join(f"{name} ({count:,})" for name, count in sorted(summary.unknown.items()))
            click.echo(f"  elements that have no place in the database: {names}")
        _hint(untagged)
    for reason in summary.failed.values():
        click.echo(f"Error: {reason}", err=True)
    if summary.failed:
        raise click.exceptions.Exit(1)


def _own_name(term: str) -> str:
    from hashlib import sha256

    return "term-" + sha256(term.encode()).hexdigest()[:10]


@contextmanager
def _open(db: Path, kind: Callable[[Path], Any]) -> Iterator[Any]:
    """The store, locked for this harvest; a database that is not there yet is built first."""
    from kb.harvesting import AnotherHarvest, harvest_lock

    if db.is_dir():
        raise schema.DatabaseProblem(f"{db} is a folder, not a database file: name a file with --db")
    try:
        with harvest_lock(db):
            if not db.exists():
                from kb.build import build

                build(db)
            with kind(db) as store:
                yield store
    except AnotherHarvest as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(f"{db}: {error.strerror or error}") from None


def _untagged(store: Any) -> int:
    from kb.tagging import TAGGER_VERSION

    return int(store.untagged(TAGGER_VERSION))


def _hint(untagged: int) -> None:
    if untagged:
        click.echo(f"{untagged:,} articles wait to be tagged: run `kb tag`")


def _numbers(values: dict[str, Any]) -> str:
    parts = [
        f"{values['found']:,} found",
        f"{values['new']:,} new",
        f"{values['changed']:,} changed",
        f"{values['unchanged']:,} unchanged",
    ]
    for name, words in (
        ("deleted", "withdrawn"),
        ("left", "no longer found"),
        ("quarantined", "unreadable, set aside"),
        ("missing", "missing"),
    ):
        if values.get(name):
            parts.append(f"{values[name]:,} {words}")
    if values.get("requests"):
        parts.append(f"{values['requests']:,} requests ({values['retries']:,} repeated)")
    return ", ".join(parts) + f", {values['seconds']:,.1f} s"


def _say_summary(summary: Any) -> None:
    mark = "" if summary.status == "done" else f" [{summary.status}]"
    click.echo(f"{summary.query}{mark}: PubMed counts {summary.hits:,}; {_numbers(summary.as_dict())}")
    if summary.message:
        click.echo(f"  {summary.message}")
    for warning in summary.warnings:
        click.echo(f"  PubMed: {warning}")


# ---------------------------------------------------------------- progress


class _Lines:
    """Progress as plain lines on standard error, one every so many seconds: for logs."""

    every = 15.0

    def __init__(self, label: str, unit: str) -> None:
        self.label, self.unit = label, unit
        self.length = self.done = 0
        self.began = self.last = time.monotonic()

    def total(self, number: int) -> None:
        self.length = number
        if self.unit == "citations":
            click.echo(f"{self.label}: {number:,} {self.unit} to fetch", err=True)

    def step(self, number: int) -> None:
        self.done += number
        now = time.monotonic()
        if now - self.last >= self.every:
            self.last = now
            rate = self.done / (now - self.began)
            left = max(0, self.length - self.done) / rate if rate else 0
            click.echo(
                f"{self.label}: {self.done:,} of {self.length:,} {self.unit}, {rate:,.0f} a second, "
                f"about {left:,.0f} s left",
                err=True,
            )

    def say(self, text: str) -> None:
        click.echo(text, err=True)


class _Bar(_Lines):
    """Progress as a bar with rate and time left, on a terminal."""

    def __init__(self, label: str, unit: str) -> None:
        super().__init__(label, unit)
        self.bar: Any = None

    def total(self, number: int) -> None:
        self.length = number
        self.bar = click.progressbar(
            length=number,
            label=self.label,
            file=sys.stderr,
            show_eta=True,
            show_percent=True,
            item_show_func=lambda _: self._rate(),
        )
        self.bar.__enter__()

    def _rate(self) -> str:
        rate = self.done / max(time.monotonic() - self.began, 1e-3)
        return f"{rate / 1e6:,.1f} MB/s" if self.unit == "bytes" else f"{rate:,.0f}/s"

    def step(self, number: int) -> None:
        self.done += number
        if self.bar is not None:
            self.bar.update(number)

    def say(self, text: str) -> None:
        if self.bar is None:
            click.echo(text, err=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.__exit__(None, None, None)


@contextmanager
def _progress(label: str, *, unit: str) -> Iterator[Any]:
    if not sys.stderr.isatty():
        yield _Lines(label, unit)
        return
    bar = _Bar(label, unit)
    try:
        yield bar
    finally:
        bar.close()


__all__: Sequence[str] = ["harvest"]
