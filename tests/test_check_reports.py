"""The report as JSON (against its schema), terminal text, Markdown and HTML; and the command."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import jsonschema
import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.check import DraftProblem, Report, check_file, check_text
from kb.check.reports import FAILURES, FORMATS, load_schema
from kb.check_cli import _FAILURES, _FORMATS, check

DRAFT = """Ketamine: the end of PTSD?

Ketamine cures PTSD in everyone <script>alert(1)</script>. It may lift depression within hours (PMID:
24740528).

• Boosters can hold the benefit for months
• Ketamine is FDA approved for PTSD

It has never been proven that ketamine prevents PTSD in wounded soldiers. The weather was fine.
"""


@pytest.fixture(scope="module")
def connection(built: Path):
    connection = sqlite3.connect(f"{built.as_uri()}?mode=ro", uri=True)
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def report(connection: sqlite3.Connection) -> Report:
    return check_text(connection, DRAFT, name="draft.txt")


# --- JSON -------------------------------------------------------------------------------------------------
def test_json_follows_its_schema(report: Report) -> None:
    schema = load_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(report.to_json()), schema)


@given(st.text(max_size=200))
@settings(max_examples=20, deadline=None)
def test_json_of_any_draft_follows_its_schema(text: str) -> None:
    with sqlite3.connect(":memory:") as empty:
        for sql in (
            "CREATE TABLE facts (id, topic, statement, detail, as_of, source_title, source_url, corrects)",
            "CREATE TABLE meta (key, value)", "CREATE TABLE claims (id, statement)",
            "CREATE TABLE tags (article_id, claim_id, stance, confidence, sentence_id, origin)",
            "CREATE TABLE articles (id, evidence_tier, retracted, deleted, sample_size, year, author_list, "
            "title, "
            "journal, pmid, doi, pmcid, retraction_note)",
        ):  # fmt: skip
            empty.execute(sql)
        try:
            found = check_text(empty, "Ketamine may help people with PTSD to sleep. " + text)
        except DraftProblem:
            return
        jsonschema.validate(found.as_dict(), load_schema())
        for form in FORMATS:
            assert found.render(form)


def test_json_says_what_the_contract_promises(report: Report) -> None:
    data = report.as_dict()
    for s in data["statements"]:
        assert DRAFT[s["start"] : s["end"]].split() == s["text"].split()
        for c in s["claims"]:
            assert {"claim", "asserts", "verdict", "tier", "counts", "for", "against"} <= c.keys()
            found = c["counts"]["contradicts"] + c["counts"]["mixed"]
            if c["asserts"] == "claim" and found:
                assert c["against"], "the case against has to be there whenever it exists"
    by_text = {s["text"]: s for s in data["statements"]}
    assert by_text["Ketamine is FDA approved for PTSD"]["facts"][0]["agrees"] is False
    assert by_text["Boosters can hold the benefit for months"]["kind"] == "bullet"
    assert data["summary"]["statements"] == len(data["statements"])
    worst = [data["statements"][n] for n in data["summary"]["fix_first"]]
    assert {"cures", "everyone"} <= {w for s in worst for w in s["overstating"]}
    assert not any("prevents" in s["text"] for s in worst), "a denial of proof needs no mending"
    assert data["references"][0]["status"] == "found" and data["data_version"]


def test_failures_for_a_pipeline(report: Report, connection: sqlite3.Connection) -> None:
    assert set(FAILURES) == set(_FAILURES) and FORMATS == _FORMATS
    assert report.failures(["overstated", "references"]) == ["overstated"]
    assert "record" in report.failures(list(FAILURES))
    calm = check_text(connection, "Ketamine may lift depression within hours in some people.")
    assert calm.failures(["overstated", "contradicted", "record"]) == []


# --- for people -------------------------------------------------------------------------------------------
def test_terminal_text_has_colour_only_if_asked_and_no_control_characters(
    connection: sqlite3.Connection,
) -> None:
    found = check_text(connection, "Ketamine cures\x1b[2J PTSD \u202eand depression.")
    plain = found.to_text()
    assert "\x1b" not in plain and "\u202e" not in plain
    assert "\x1b[31;1m" in found.to_text(color=True)
    assert "Fix first" in plain and "Against:" in plain and "“cures”" in plain


def test_markdown_cannot_be_broken_out_of(connection: sqlite3.Connection) -> None:
    found = check_text(connection, "Ketamine cures PTSD [x](javascript:alert(1)) <img src=x> `code` # not.")
    text = found.to_markdown()
    assert not re.search(r"(?<!\\)<img", text) and not re.search(r"(?<!\\)\]\(javascript", text)
    assert "### Statements" in text and "pubmed.ncbi.nlm.nih.gov" in text


def test_html_is_one_safe_accessible_page(report: Report) -> None:
    page = report.to_html()
    soup = BeautifulSoup(page, "html.parser")
    assert not soup.find_all(["script", "iframe", "img", "link", "object", "form"])
    assert "<script>alert" not in page and "&lt;script&gt;" in page
    assert not re.search(r"\son\w+=", page.split("<style>")[0] + page.split("</style>")[1])
    assert all(a["href"].startswith(("#", "https://")) for a in soup.find_all("a", href=True))
    assert soup.html["lang"] == "en" and soup.title and len(soup.find_all("h1")) == 1
    ids = [tag["id"] for tag in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))
    for link in soup.select('a[href^="#"]'):
        assert link["href"][1:] in ids
    assert "url(" not in page and "@import" not in page
    draft = soup.select_one(".kc-draft")
    assert "The weather was fine." in draft.get_text()
    assert len(draft.select("a.kc-mark")) == len(report.judged) == len(soup.select(".kc-card"))
    assert soup.select_one(".kc-summary").get_text().count("more than the evidence carries") >= 1
    for card in soup.select(".kc-card"):
        assert card.select_one(".kc-badge").get_text().strip()  # words, not colour alone


def test_sentences_shown_once_are_folded_afterwards(connection: sqlite3.Connection) -> None:
    found = check_text(connection, "Ketamine may lift depression. Ketamine can ease depression.")
    assert "as under statement 1" in found.to_text() and "as under statement 1" in found.to_markdown()
    assert len(BeautifulSoup(found.to_html(), "html.parser").select(".kc-card details")) == 1
    first, second = (s["claims"][0] for s in found.as_dict()["statements"])
    assert first["against"] == second["against"] != []


def test_a_draft_without_statements(connection: sqlite3.Connection) -> None:
    found = check_text(connection, "The choir meets on Tuesdays.")
    assert found.as_dict()["statements"] == [] and "No statement" in found.to_text()
    jsonschema.validate(found.as_dict(), load_schema())
    assert "No statement" in found.to_html()


# --- the command ------------------------------------------------------------------------------------------
def run(*args: str, **kwargs: object):
    return CliRunner().invoke(check, list(args), **kwargs)


def test_command_prints_and_writes(built: Path, tmp_path: Path) -> None:
    draft = tmp_path / "draft.md"
    draft.write_text(DRAFT, encoding="utf-8")
    for form, mark in (("text", "Fix first"), ("json", '"statements"'), ("html", "<!doctype html>"),
                       ("markdown", "### Statements")):  # fmt: skip
        result = run(str(draft), "--format", form, "--db", str(built))
        assert result.exit_code == 0 and mark in result.output, result.output
    target = tmp_path / "report.html"
    result = run(str(draft), "--format", "html", "--output", str(target), "--db", str(built))
    assert result.exit_code == 0 and target.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [p.name for p in tmp_path.iterdir()] == ["draft.md", "report.html"] or len(
        list(tmp_path.iterdir())
    ) == 2
    assert run("-", "--db", str(built), input=DRAFT).exit_code == 0


def test_command_fails_on_what_a_newsroom_asked_for(built: Path) -> None:
    bad = run("-", "--fail-on", "overstated,contradicted", "--db", str(built), input="Ketamine cures PTSD.")
    assert bad.exit_code == 1 and "Failed: a statement is stronger than the evidence." in bad.output
    good = run("-", "--fail-on", "overstated", "--db", str(built), input="Ketamine may ease PTSD symptoms.")
    assert good.exit_code == 0
    assert run("-", "--fail-on", "nonsense", "--db", str(built), input="x").exit_code == 2


@pytest.mark.parametrize(
    "data", [b"", b"\x00\x01\x02" * 400, b"%PDF-1.4", b"PK\x03\x04broken", b"x" * 6_000_000]
)
def test_command_meets_bad_input_with_one_line(built: Path, data: bytes) -> None:
    result = run("-", "--db", str(built), input=data)
    assert (
        result.exit_code == 1 and result.output.startswith("Error: ") and len(result.output.splitlines()) == 1
    )


def test_command_without_a_file_or_a_database(tmp_path: Path) -> None:
    missing = run(str(tmp_path / "none.txt"), "--db", str(tmp_path / "kb.db"))
    assert missing.exit_code == 1 and "there is no file" in missing.output
    draft = tmp_path / "draft.txt"
    draft.write_text("Ketamine helps.")
    assert "kb build" in run(str(draft), "--db", str(tmp_path / "kb.db")).output
    assert run(str(draft), "--db", str(tmp_path / "kb.db"), "--format", "pdf").exit_code == 2
    blocked = run(str(draft), "--db", str(tmp_path / "kb.db"), "--output", str(tmp_path / "no" / "where"))
    assert blocked.exit_code == 1


def test_a_report_that_cannot_be_written_says_so(built: Path, tmp_path: Path) -> None:
    result = run(
        "-", "--output", str(tmp_path / "no" / "where.txt"), "--db", str(built), input="Ketamine helps."
    )
    assert result.exit_code == 1 and "cannot write" in result.output


def test_shared_drafts_are_checked(shared: Path, connection: sqlite3.Connection) -> None:
    for path in sorted((shared / "drafts").glob("*.txt")):
        found = check_file(connection, path).as_dict()
        assert len(found["statements"]) >= 10, path.name
        assert not any("NAD" in s["text"] for s in found["statements"]), (
            "related posts are no part of the article"
        )


def test_sentences_that_were_not_checked_are_named(connection: sqlite3.Connection) -> None:
    text = "Ketamine eases depression. Ketamine comes in glass vials. PTSD was named in 1980 by a committee of doctors."
    report = check_text(connection, text)
    left = report.as_dict()["summary"]["unmatched"]
    assert left == len(report.unmatched) >= 1
    for out in (report.to_text(), report.to_markdown(), BeautifulSoup(report.to_html(), "html.parser").get_text()):
        assert "not checked" in out and report.unmatched[0][:40] in out
