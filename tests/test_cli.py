"""The command line as a person meets it: what works, and one clear line for what does not."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from click.testing import CliRunner

from kb.cli import main


def run(*args, input=None, status=0):
    result = CliRunner().invoke(main, [str(a) for a in args], input=input, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.output


def fails(*args, status=1, input=None):
    """The one line that a failing command says."""
    output = run(*args, status=status, input=input)
    assert "Traceback" not in output
    lines = output.strip().splitlines()
    assert lines[-1].startswith("Error: "), output
    return lines[-1]


def commands(group, prefix=()):
    for name, command in group.commands.items():
        yield (*prefix, name)
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))


@pytest.mark.parametrize("name", list(commands(main)), ids=" ".join)
def test_help_shows_an_example(name):
    output = run(*name, "--help")
    leaf = name[0] if name[0] == "review" else " ".join(name)
    parent = run(name[0], "--help")
    assert f"kb {leaf}" in output or f"kb {leaf}" in parent


def test_build_is_safe_to_repeat(tmp_path):
    db = tmp_path / "new" / "kb.db"
    assert "200 landmark studies (200 new" in run("build", "--db", db)
    assert "(0 new, 0 changed, 200 unchanged); 0 articles tagged" in run("build", "--db", db)


def test_claims_and_status(built):
    output = run("claims", "--db", built)
    assert output.count(" against\n") == 14 and "nmda-antagonism" in output
    claims = json.loads(run("claims", "--json", "--db", built))
    assert len(claims) == 14 and {"id", "statement"} <= set(claims[0])
    state = json.loads(run("status", "--json", "--db", built))
    assert "200" in run("status", "--db", built) and json.dumps(state).count("200")


@pytest.mark.parametrize("name", ["24740528", "10.1001/jamapsychiatry.2014.62", "doi:10.1001/JAMAPSYCHIATRY.2014.62"])
def test_show_by_any_identifier(built, name):
    output = run("show", name, "--db", built)
    assert "chronic posttraumatic stress disorder" in output and "ptsd-symptom-reduction" in output
    assert json.loads(run("show", name, "--db", built, "--json"))["id"] == "24740528"


def test_show_unknown_says_what_to_do(built):
    line = fails("show", "99999999", "--db", built)
    assert "99999999 is not in" in line and "kb harvest pubmed" in line


def test_search(built):
    assert "24740528" in run("search", "ketamine chronic posttraumatic stress", "--db", built)
    found = json.loads(run("search", "ketamine", "--claim", "bdnf", "--stance", "contradicts", "--json", "--db", built))
    assert found
    line = fails("search", "ketamine", "--claim", "telepathy", "--db", built, status=2)
    assert "telepathy" in line and "nmda-antagonism" in line


@pytest.mark.parametrize(
    "text", ['"unclosed', "NMDA AND", "it's", "keta*", "bdnf(", "x" * 10_000, "🙂", "", "AND OR NOT"]
)
def test_no_search_text_breaks_it(built, text):
    assert "Traceback" not in run("search", text, "--db", built)


def test_tag_lines(tmp_path):
    source = tmp_path / "in.jsonl"
    text = "Ketamine in depression\nKetamine rapidly reduced depressive symptoms within 24 hours of one infusion."
    title, _, abstract = text.partition("\n")
    source.write_text("".join(json.dumps(x) + "\n" for x in (
        {"id": "a", "text": text}, {"id": "b", "title": title, "abstract": abstract}, {"id": "c", "text": ""})))
    run("tag", "--input", source, "--output", tmp_path / "out.jsonl")
    a, b, c = [json.loads(x) for x in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert a["rows"] == b["rows"] and c["rows"] == []
    row = next(r for r in a["rows"] if r["claim"] == "antidepressant-effect")
    assert row["stance"] == "supports" and row["sentence"] in text and 0 < row["confidence"] <= 1
    assert {"study_design", "substances", "conditions", "population", "routes", "sample_size"} <= set(a)
    assert run("tag", "--input", "-", input=source.read_text()).count("\n") == 3


@pytest.mark.parametrize(
    "line, says", [
        ("{", "line 2 is not JSON"), ("[" * 100_000, "line 2 is not JSON"), ("[1]", "not an object"),
        ('{"text": "x"}', 'has no "id"'), ('{"id": true, "text": "x"}', 'has no "id"'),
        ('{"id": 1}', 'no "text", "title" or "abstract"'), ('{"id": "x', "starting at character 8"),
        ("\udcff", "UTF-8"),
    ],
)
def test_tag_names_the_line_it_cannot_use(tmp_path, line, says):
    source = tmp_path / "in.jsonl"
    source.write_bytes(b'{"id": 1, "text": "x"}\n' + line.encode("utf-8", "surrogateescape") + b"\n")
    assert says in fails("tag", "--input", source, "--output", tmp_path / "out.jsonl")
    assert not list(tmp_path.glob("out*")), "nothing half-written is left"


def test_an_id_on_several_lines_is_pointed_out(tmp_path):
    lines = "".join(f'{{"id": "{name}", "text": "Ketamine"}}\n' for name in ("a", "b", "a", 1, "1"))
    (tmp_path / "in.jsonl").write_text(lines)
    result = CliRunner().invoke(main, ["tag", "--input", str(tmp_path / "in.jsonl")])
    assert result.exit_code == 0 and result.stdout.count("\n") == 5
    assert result.stderr == "Note: an id stands on several lines, and so do its tags: a, 1\n"


def test_tag_takes_marks_and_halves_of_characters(tmp_path):
    source = tmp_path / "in.jsonl"
    text = "Ketamine\\nKetamine \\ud800 reduced depressive symptoms."
    source.write_bytes(b"\xef\xbb\xbf" + f'{{"id": 1, "text": "{text}"}}\n'.encode())
    assert json.loads(run("tag", "--input", source))["id"] == "1"


def test_output_goes_through_links_and_into_pipes(tmp_path):
    source, real, link = tmp_path / "in.jsonl", tmp_path / "real.jsonl", tmp_path / "link.jsonl"
    source.write_text('{"id": 1, "text": "Ketamine"}\n')
    real.write_text("old")
    link.symlink_to(real)
    run("tag", "--input", source, "--output", link)
    assert link.is_symlink() and json.loads(real.read_text())["id"] == "1"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR)  # so that the writer need not wait for a reader
    run("tag", "--input", source, "--output", pipe)
    assert pipe.is_fifo() and json.loads(os.read(held, 100_000))["id"] == "1"
    os.close(held)
    assert "cannot write" in fails("tag", "--input", source, "--output", tmp_path / "none" / "x.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "link.jsonl", "pipe", "real.jsonl"]


def test_review_from_the_list_to_the_article(database):
    rows = json.loads(run("review", "list", "--json", "--db", database))
    assert rows == sorted(rows, key=lambda r: r["confidence"])
    run("review", "correct", "24740528", "durability", "mixed", "--reviewer", "A. Reader", "--note", "faded by day 7",
        "--db", database)
    run("review", "reject", "24740528", "rapid-onset", "--reviewer", "A. Reader", "--db", database)
    run("tag", "--all", "--db", database)
    shown = json.loads(run("show", "24740528", "--json", "--db", database))
    tags = {t["claim_id"]: t for t in shown["tags"]}
    assert tags["durability"]["stance"] == "mixed" and "A. Reader" in tags["durability"]["reason"]
    assert "rapid-onset" not in tags
    run("review", "accept", "24740528", "durability", "--reviewer", "B", "--db", database)
    assert "no tag" in fails("review", "accept", "24740528", "bdnf", "--reviewer", "B", "--db", database)
    run("review", "reject", "24740528", "rapid-onset", "--reviewer", "A. Reader", "--note", "why", "--db", database)
    assert "A. Reader rejected it on 20" in fails(
        "review", "accept", "24740528", "rapid-onset", "--reviewer", "B", "--db", database)


@pytest.mark.parametrize("command", [["accept"], ["correct", "mixed"], ["reject"]])
def test_review_names_what_is_not_there(database, command):
    def said(article_id, claim):
        return fails("review", command[0], article_id, claim, *command[1:], "--reviewer", "B", "--db", database)

    assert said("99999999", "durability").startswith("Error: no article '99999999' in ")
    assert said("24740528", "nosuch").startswith("Error: no claim 'nosuch' (claims: nmda-antagonism, ")
    assert said("bad\udcff", "bdnf").startswith("Error: no article 'bad?' in ")
    if command != ["correct", "mixed"]:
        assert "has no tag for bdnf (its tags: " in said("24740528", "bdnf")
        assert "ptsd-symptom-reduction supports" in said("24740528", "bdnf")


def test_what_the_tagger_is_unsure_of_is_said_to_be_unsure(database):
    said = run("review", "list", "--claim", "durability", "--db", database)
    assert said == "Nothing to review: no automatic tag on durability has a confidence below 0.55.\n"
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute(
            "UPDATE tags SET origin = 'tagger', confidence = 0.41 WHERE article_id = '24740528' "
            "AND claim_id = 'durability'"
        )
    assert "(unsure, waits for a reviewer; confidence 0.41)" in run("show", "24740528", "--db", database)
    assert "findings read automatically, 1 of them unsure" in run("claims", "--db", database)
    said = run("search", "rapid treatment for chronic PTSD", "--db", database)
    assert said.count("(unsure)") == 1 and "durability: contradicts (unsure)" in said
    assert "unsure of 1 tag: look with kb review list" in run("tag", "--db", database)


def test_an_abstract_in_another_language_is_said_not_to_be_read(database):
    assert "No claim is tagged on this abstract." not in run("show", "24740528", "--db", database)
    with closing(sqlite3.connect(database)) as opened, opened:
        for table, column in (("evidence_sentences", "tag_id"), ("tags", "id")):
            opened.execute(
                f"DELETE FROM {table} WHERE {column} IN (SELECT id FROM tags WHERE article_id = '24740528')"
            )
    assert "No claim is tagged on this abstract." in run("show", "24740528", "--db", database)
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("UPDATE articles SET text_language = 'other' WHERE id = '24740528'")
    assert "only English abstracts are" in run("show", "24740528", "--db", database)


def test_review_takes_only_readable_text(database):
    def say(do, reviewer, note):
        return do("review", "accept", "24740528", "durability", "--reviewer", reviewer, "--note", note,
                  "--db", database)

    assert "the reviewer's name is not readable text" in say(fails, "bad\udcff", "")
    assert "the note is not readable text" in say(fails, "B", "\udcff")
    assert "60,000 characters: at most 2,000" in say(fails, "B", "x" * 60_000)
    assert "the reviewer's name has 201" in say(fails, "x" * 201, "")
    assert "needs the reviewer's name" in say(fails, "\n\x1b", "")
    assert "give your own" in say(fails, "this project's reviewer", "")
    assert say(run, "A\x1b[31m\nB", "one\r\ntwo\x00\x1bthree").endswith(", by A [31m B\n")
    reviews = json.loads(run("show", "24740528", "--json", "--db", database))["reviews"]
    assert ("A [31m B", "one two three") in {(r["reviewer"], r["note"]) for r in reviews}


@pytest.mark.parametrize("command", [["tag"], ["claims"], ["status"], ["show", "1"], ["search", "x"], ["export"],
                                     ["review", "list"]])
def test_a_database_that_is_no_good(tmp_path, command):
    assert "kb build" in fails(*command, "--db", tmp_path / "none.db")
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is a letter to my aunt " * 100)
    assert "is not a SQLite database" in fails(*command, "--db", broken)
    assert broken.read_bytes().startswith(b"this is a letter")
    assert fails(*command, "--db", tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody who may not write")
def test_a_read_only_database(database, tmp_path):
    os.chmod(database, 0o444)
    for folder in (database.parent, *database.parent.parents):
        if folder.name:
            os.chmod(folder, folder.stat().st_mode | 0o555)
    # The first build loads every module while that is still allowed.
    script = (f"import os, sys; import kb.cli; "
              f"kb.cli.main(['build', '--db', {str(tmp_path / 'first.db')!r}], standalone_mode=False); "
              f"os.setuid(65534); kb.cli.main(['build', '--db', {str(database)!r}])")
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert "read-only" in result.stderr and result.stderr.count("\n") == 1


def test_two_writers_queue_and_a_locked_database_says_so(database, monkeypatch):
    import sqlite3

    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, **{**k, "timeout": 0.1}))
    with real(database) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        assert "being written by another process" in fails("tag", "--all", "--db", database)
        blocker.rollback()
    run("tag", "--all", "--db", database)


def test_wrong_use_is_status_2(built):
    assert "No such command" in fails("bild", status=2)
    assert "--output" in fails("tag", "--output", "x.jsonl", "--db", built, status=2)


def test_a_closed_pipe_is_no_error(built):
    kb = [sys.executable, "-m", "kb.cli", "claims", "--db", str(built)]
    reader = subprocess.run(f"{' '.join(kb)} | head -n 1", shell=True, capture_output=True, text=True, timeout=60)
    assert reader.returncode == 0 and "Traceback" not in reader.stderr
