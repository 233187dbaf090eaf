"""`kb check`: a draft in, what it claims and what the evidence says out."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click

DEFAULT_DB = "db/kb.db"
_KINDS = ("text", "markdown", "html", "docx")
_FORMATS = ("text", "json", "html", "markdown")
_FAILURES = ("overstated", "contradicted", "disputed", "record", "references")


def _fail_on(_ctx: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (value or "").split(",") if name.strip())
    for name in names:
        if name not in _FAILURES:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(_FAILURES)}")
    return names


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--format", "form", type=click.Choice(_FORMATS), default="text", show_default=True, help="What to print."
)
@click.option("--kind", type=click.Choice(_KINDS), help="What FILE is, where its name does not say.")
@click.option(
    "--fail-on",
    callback=_fail_on,
    metavar="KINDS",
    help=f"Exit with status 1 if the draft has any of these, by comma: {', '.join(_FAILURES)}.",
)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the report to this file."
)
@click.option(
    "--db",
    envvar="KB_DB",
    default=DEFAULT_DB,
    show_default=True,
    type=click.Path(path_type=Path),
    help="The database file (or set KB_DB).",
)
def check(
    file: str, form: str, kind: str | None, fail_on: tuple[str, ...], output: Path | None, db: Path
) -> None:
    """Check a draft: what it claims about ketamine and PTSD, and what the evidence says.

    FILE is a .txt, .md, .html or .docx file; - reads standard input. The draft is read here and sent nowhere.

    \b
    Examples:
      kb check article.docx
      kb check article.md --format html --output report.html
      kb check - --format json --fail-on overstated,contradicted < article.txt
    """
    from kb import schema
    from kb.check import DraftProblem, check_document, read_bytes, read_file
    from kb.check.input import MAX_DOCX_BYTES

    try:
        if file == "-":
            document = read_bytes(sys.stdin.buffer.read(MAX_DOCX_BYTES + 1), kind or "", "standard input")
        else:
            document = read_file(file, kind or "")
    except DraftProblem as problem:
        raise click.ClickException(str(problem)) from None
    try:
        with closing(schema.connect_read_only(db)) as connection:
            report = check_document(connection, document)
    except schema.DatabaseProblem as problem:
        raise click.ClickException(str(problem)) from None
    _write(report, form, output)
    failures = report.failures(fail_on)
    if failures:
        from kb.check.reports import FAILURES

        click.echo("Failed: " + "; ".join(FAILURES[name] for name in failures) + ".", err=True)
        sys.exit(1)


def _write(report: Any, form: str, output: Path | None) -> None:
    if output is None:
        click.echo(report.render(form, color=sys.stdout.isatty()), nl=False)
        return
    from kb.export import ExportProblem, write_whole

    try:
        write_whole(output, [report.render(form)])
    except ExportProblem as problem:
        raise click.ClickException(str(problem)) from None
    click.echo(f"{output}: {report.headline()}", err=True)
