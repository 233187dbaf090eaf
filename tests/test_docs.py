"""What the guides say works: their commands are run, their SQL too, and their links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from eutils_server import Citation, EutilsServer

from kb import schema, serving

DOCS = sorted((ROOT / "docs").glob("*.md"))
_RUN = re.compile(r"<!-- run(?:: (\w+))? -->\n```console\n(.*?)```", re.DOTALL)
_SQL = re.compile(r"<!-- sql -->\n```sql\n(.*?)```", re.DOTALL)
_FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


def blocks(path: Path, kind: str = "") -> list[str]:
    return [body for found, body in _RUN.findall(path.read_text(encoding="utf-8")) if found == kind]


@pytest.fixture
def place(tmp_path: Path, built: Path) -> Path:
    """A folder as a reader has it: db/kb.db, docs beside it, and `kb` and `python` on the path."""
    (tmp_path / "db").mkdir()
    shutil.copyfile(built, tmp_path / "db" / "kb.db")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    scripts = {
        # The same command, only without waiting between requests.
        "kb": 'if [ "$1 $2" = "harvest pubmed" ]; then set -- "$@" --rate 1000; fi\n'
        f'exec "{sys.executable}" -m kb.cli "$@"',
        "python": f'exec "{sys.executable}" "$@"',
    }
    (tmp_path / "bin").mkdir()
    for name, text in scripts.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def run(commands: str, place: Path, **more: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("KB_", "NCBI_"))}
    environment |= {"PATH": f"{place / 'bin'}:{environment['PATH']}", "PYTHONPATH": str(ROOT), **more}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
    return done.stdout


# -- commands ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["quickstart", "exports", "python", "weighing", "deployment"])
def test_the_commands_of_a_guide_work(name: str, place: Path) -> None:
    commands = blocks(ROOT / "docs" / f"{name}.md")
    assert commands
    run("\n".join(commands), place)
    made = {p.name for p in place.rglob("*") if p.is_file()}
    for written in re.findall(r"--output (\S+)", "".join(commands)):
        assert (place / written).stat().st_size > 0 and written in made


def test_the_commands_on_harvesting_work_against_a_server_that_speaks_eutilities(place: Path) -> None:
    text = "Ketamine was given to veterans with posttraumatic stress disorder."
    day = "2024-02-01"
    records = [
        Citation(str(n), title=f"Ketamine and PTSD, study {n}.", abstract=text, created=day, revised=day)
        for n in range(930_001, 930_006)
    ]
    with EutilsServer(records) as server:
        commands = "\n".join(blocks(ROOT / "docs" / "harvesting.md"))
        run(commands, place, KB_EUTILS_URL=server.url, KB_EMAIL="you@example.org")
    with closing(schema.connect_read_only(place / "db" / "kb.db")) as connection:
        assert connection.execute("SELECT count(*) FROM articles WHERE id LIKE '9300%'").fetchone()[0] == 5
    assert "ketamine-ptsd" in (place / "searches.csv").read_text()


def test_the_public_snapshot_of_the_guide_is_served(place: Path) -> None:
    run("\n".join(blocks(ROOT / "docs" / "deployment.md")), place)
    assert (place / "current").is_symlink()
    before = (place / "current" / "kb.db").read_bytes()
    datasette = serving.make_datasette(place / "current" / "kb.db", public=True)
    assert datasette.get_database("kb").is_mutable is False
    assert (place / "current" / "kb.db").read_bytes() == before
    # Swapping again is one rename over what is there.
    run("kb export --bundle snapshots/b && ln -snf snapshots/b next && mv -T next current", place)
    assert os.readlink(place / "current") == "snapshots/b"


def test_a_claim_is_added_by_following_the_guide(place: Path) -> None:
    """Only what the guide says is done: the file is written, the commands are run."""
    guide = ROOT / "docs" / "claims.md"
    for folder in ("kb", "harvest", "tests"):
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__", "labels"))
    shutil.copyfile(ROOT / "metadata.json", place / "metadata.json")
    ((name, text),) = _FILE.findall(guide.read_text(encoding="utf-8"))
    (place / name).write_text(text, encoding="utf-8")
    claim = tomllib.loads(text)
    assert claim["id"] not in {p.stem for p in (ROOT / "kb" / "claims").iterdir()}
    tests, build = blocks(guide, "claims")
    alone = {"PYTHONPATH": str(place), "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    assert " passed" in run(tests, place, **alone)
    assert claim["statement"] in run(build, place, **alone)
    assert (place / "sleep.csv").read_text().count("sleep") > 1


# -- SQL, Python, links ------------------------------------------------------------------------


@pytest.mark.parametrize("sql", _SQL.findall((ROOT / "docs" / "sql.md").read_text(encoding="utf-8")))
def test_the_recipes_give_rows(built: Path, sql: str) -> None:
    with closing(schema.connect_read_only(built)) as connection:
        assert connection.execute(sql).fetchall()


def test_the_cookbook_names_every_ready_query() -> None:
    text = (ROOT / "docs" / "sql.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z-]+)`", text.split("## Ready queries")[1].split("## Recipes")[0]))
    assert named == set(serving.read_metadata()["databases"]["kb"]["queries"])


def test_the_example_draws_a_figure_of_the_data(place: Path) -> None:
    from xml.etree import ElementTree

    said = run("python docs/example_figure.py bdnf figure.svg", place)
    with closing(schema.connect_read_only(place / "db" / "kb.db")) as connection:
        findings = connection.execute(
            "SELECT count(*) FROM evidence WHERE claim = 'bdnf' AND stance <> 'background' "
            "AND year IS NOT NULL AND retracted = 0 AND deleted IS NULL"
        ).fetchone()[0]
    assert f"{findings} findings" in said
    titles = ElementTree.parse(place / "figure.svg").getroot().iter("{http://www.w3.org/2000/svg}title")
    assert sum(int(t.text.split(": ")[1].split()[0]) for t in titles) == findings


@pytest.mark.parametrize("path", [ROOT / "README.md", *DOCS], ids=lambda p: p.name)
def test_links_between_files_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            if target.endswith((".png", "accuracy.md")) and not (path.parent / target).exists():
                continue  # made from measurements and pages by others; README's own tests look for them
            assert (path.parent / target).exists(), target


def test_the_index_of_guides_lists_them_all() -> None:
    text = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert all(f"({p.name})" in text for p in DOCS if p.name not in ("README.md",))


def test_the_citation_file_is_in_step() -> None:
    from kb import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["version"] == __version__
    assert (
        citation["title"]
        and citation["message"]
        and citation["authors"]
        and citation["license"] == "Apache-2.0"
    )
