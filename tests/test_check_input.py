"""Drafts in: text, Markdown, HTML, Word files, bytes in any encoding, and everything that is no draft."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import docx
import pytest
from docx.oxml import OxmlElement
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.check.document import Document, DraftProblem
from kb.check.input import MAX_BYTES, MAX_CHARACTERS, MAX_DOCX_BYTES, read_bytes, read_file, read_text
from kb.check.statements import LONGEST_SENTENCE, read_statements, tidy

SENTENCE = "Ketamine may reduce the symptoms of PTSD in some people. "


def blocks(document: Document) -> list[tuple[str, str]]:
    return [(b.kind, document.text[b.start : b.end]) for b in document.blocks]


def word_file(fill) -> bytes:
    document = docx.Document()
    fill(document)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


# --- plain text -------------------------------------------------------------------------------------------
def test_text_has_headings_paragraphs_and_bullets_in_place() -> None:
    text = "What is ketamine?\n\nIt is an anaesthetic. It may help.\n\n• works in hours\n2) may lift mood\n"
    document = read_text(text)
    assert document.text == text
    assert blocks(document) == [
        ("heading", "What is ketamine?"),
        ("paragraph", "It is an anaesthetic. It may help."),
        ("bullet", "works in hours"),
        ("bullet", "may lift mood"),
    ]


def test_lines_broken_at_a_fixed_width_are_one_paragraph() -> None:
    text = (
        "Ketamine is used as an anaesthetic in hospitals and has been\nstudied for depression for twenty "
        "years, in\n"
        "trials of one or more infusions, against saline or midazolam\nas the control. Some people with "
        "PTSD took part\n"
        "in those trials, and their symptoms were measured as well at\nthe start and at the end of them.\n"
    )
    assert [s.text.split()[0] for s in read_statements(read_text(text))] == ["Ketamine", "Some"]


def test_sentences_keep_their_place_in_the_original() -> None:
    text = "Dr. Lee et al. had 0.5 mg/kg vs. saline.  It\u00adworked “within hours.” "
    text += "Did it last?\r\nNo, it didn't."
    document = read_text(text)
    found = read_statements(document)
    assert [s.text for s in found] == [
        "Dr. Lee et al. had 0.5 mg/kg vs. saline.", "Itworked “within hours.”", "Did it last?",
        "No, it didn't.",
    ]  # fmt: skip
    for s in found:
        assert tidy(document.text[s.start : s.end]) == s.text


def test_posts_that_a_page_offers_at_its_end_are_not_checked() -> None:
    text = SENTENCE * 6 + "\n\nYou Might Also Enjoy...\n\nKetamine cures everything.\n"
    document = read_text(text)
    assert document.blocks[-1].kind == "left-out"
    assert "You Might Also Enjoy" in document.notes[0]
    assert not any("cures" in s.text for s in read_statements(document))


# --- Markdown ---------------------------------------------------------------------------------------------
def test_markdown_marks_are_read_and_offsets_are_those_of_the_source() -> None:
    text = (
        "---\ntitle: x\n---\n# Ketamine *today*\n\nIt **works** in [some "
        "people](https://example.org/a(b)).\n\n"
        "```\nketamine = cure()\n```\n\n> It may help.\n\n- one\n- two\n\nSetext\n======\n"
    )
    document = read_text(text, "markdown")
    assert [kind for kind, _ in blocks(document)] == [
        "heading",
        "paragraph",
        "quote",
        "bullet",
        "bullet",
        "heading",
    ]
    found = {s.text: s for s in read_statements(document)}
    sentence = found["It works in some people."]
    assert text[sentence.start : sentence.end].startswith("It **works**")
    assert not any("cure" in words for words in found)


# --- HTML -------------------------------------------------------------------------------------------------
PAGE = """<!doctype html><html><head><title>t</title><script>alert("ketamine cures PTSD")</script></head>
<body>
<nav><a href="/">Ketamine cures nav</a></nav><article><h1>Ketamine &amp; PTSD</h1>
<p>It may help <em>some</em> people<!-- ketamine cures comments -->, see
<a href="https://pubmed.ncbi.nlm.nih.gov/24740528/">a trial</a>.</p><ul><li>fast<li>short-lived</ul>
<form><p>Ketamine cures forms</p></form><p style="display: none">Ketamine cures hidden text</p>
<div class="related-posts"><p>Ketamine cures teasers</p></div><p>{more}</p></article>
<footer>Ketamine</footer></body></html>
"""


def test_html_gives_the_article_and_nothing_around_it() -> None:
    document = read_bytes(PAGE.replace("{more}", SENTENCE * 5).encode(), "", "page.html")
    assert document.kind == "html"
    assert blocks(document)[:4] == [
        ("heading", "Ketamine & PTSD"), ("paragraph", "It may help some people, see a trial."),
        ("bullet", "fast"),
        ("bullet", "short-lived"),
    ]  # fmt: skip
    assert "cures" not in document.text
    start, end, address = document.links[0]
    assert document.text[start:end] == "a trial" and "24740528" in address
    assert "left out" in document.notes[0]


def test_a_page_that_a_script_writes_is_told_so() -> None:
    with pytest.raises(DraftProblem, match="no text of its own"):
        read_text(
            "<html><body><div id='root'></div><script>render('Ketamine works')</script></body></html>", "html"
        )


@pytest.mark.parametrize(
    "source",
    [
        "<div>" * 50_000 + SENTENCE,
        "<p>" + "<b>" * 30_000 + SENTENCE,
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]><p>'
        + SENTENCE + "&b;&c;</p>",
        "<p" + " a=1" * 50_000 + ">" + SENTENCE,
        "<table><tr><td>" * 2_000 + SENTENCE,
        "<p>" + SENTENCE + "\x00<![CDATA[<script>x</script>]]></p>".replace("\x00", ""),
        f"<svg><style><p>{SENTENCE}</style></svg><p>{SENTENCE}</p><base href='http://127.0.0.1:9/'><img "
        f"src='x'>",
    ],
)  # fmt: skip
def test_hostile_html_neither_hangs_nor_opens_anything(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("a draft made the checker open a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    try:
        document = read_text(source, "html")
    except DraftProblem as problem:
        assert "\n" not in str(problem)
    else:
        assert "root:" not in document.text and "<script>" not in document.text


# --- Word -------------------------------------------------------------------------------------------------
def test_word_files_give_headings_lists_tables_and_no_deleted_text(tmp_path: Path) -> None:
    def fill(document) -> None:
        document.add_heading("Ketamine for PTSD", 1)
        paragraph = document.add_paragraph("It may help. ")
        deletion, insertion = OxmlElement("w:del"), OxmlElement("w:ins")
        for wrapper, tag, words in (
            (deletion, "w:delText", "It cures PTSD."),
            (insertion, "w:t", "Or it may not."),
        ):
            run, text = OxmlElement("w:r"), OxmlElement(tag)
            text.text = words
            run.append(text)
            wrapper.append(run)
            paragraph._p.append(wrapper)
        document.add_paragraph("works fast", style="List Bullet")
        document.add_table(1, 1).cell(0, 0).text = "In a table it counts too."

    path = tmp_path / "draft.docx"
    path.write_bytes(word_file(fill))
    assert blocks(read_file(path)) == [
        ("heading", "Ketamine for PTSD"), ("paragraph", "It may help. Or it may not."),
        ("bullet", "works fast"),
        ("paragraph", "In a table it counts too."),
    ]  # fmt: skip


def zip_of(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()


def encrypted(data: bytes) -> bytes:
    """The same archive with the bit that says "encrypted" set on every entry."""
    raw = bytearray(data)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = raw.find(mark)
        while at >= 0:
            raw[at + offset] |= 1
            at = raw.find(mark, at + 4)
    return bytes(raw)


GOOD = word_file(lambda document: document.add_paragraph(SENTENCE))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600, "password-protected or old"),
        (encrypted(GOOD), "password-protected"),
        (GOOD[: len(GOOD) // 2], "cannot be read as a Word file"),
        (GOOD.replace(b"word/document.xml", b"word/documemt.xml"), "Word file"),
        (zip_of({"word/document.xml": b"<w:document"}), "cannot be read as a Word file"),
        (zip_of({"a.txt": b"hello"}), "no Word file"),
        (zip_of({"word/document.xml": b"<a>" + b" " * 70_000_000}), "unpacks to more than"),
        (word_file(lambda document: None), "no text"),
    ],
)
def test_broken_word_files_are_one_clear_line(data: bytes, words: str) -> None:
    with pytest.raises(DraftProblem, match=words) as caught:
        read_bytes(data, "", "draft.docx")
    assert "\n" not in str(caught.value)


# --- encodings and what is no draft -----------------------------------------------------------------------
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_encodings_are_recognised(encoding: str) -> None:
    words = "It’s “fast”: ketamine works – in hours, they say."
    assert read_bytes(words.encode(encoding)).text == words


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"), (b" \n\t ", "empty"), (b"...---...", "no words"), (b"%PDF-1.7 x", "PDF"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 50, "picture"), (bytes(range(256)) * 40, "not a text file"),
        (b"ketamine helps PTSD. " * (MAX_CHARACTERS // 20), "in parts"),
        (b"\x01\x02\x03\x04" * 500, "not a text file"), (b"SQLite format 3\x00", "SQLite database"),
        (b"a" * (MAX_BYTES + 1), "MB"), (b"word " * (MAX_CHARACTERS // 4), "in parts"),
        (b"Das Ketamin ist ein Mittel, das in der Klinik seit langem verwendet wird, und es kann den "
         b"Menschen mit einer Depression helfen, wenn andere Mittel nicht gewirkt haben.", "in English"),
        ("氯胺酮可以缓解创伤后应激障碍的症状 ".encode() * 30, "not seem to be in English"),
    ],
)  # fmt: skip
def test_what_is_no_draft_is_one_clear_line(data: bytes, words: str) -> None:
    with pytest.raises(DraftProblem, match=words) as caught:
        read_bytes(data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_one_sentence_over_and_over_is_no_foreign_language() -> None:
    assert len(read_bytes(b"ketamine helps PTSD. " * 12_000).text) > 200_000


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DraftProblem, match="no file"):
        read_file(tmp_path / "missing.txt")
    with pytest.raises(DraftProblem, match="is a folder"):
        read_file(tmp_path)
    with (tmp_path / "big.txt").open("wb") as file:
        file.truncate(MAX_DOCX_BYTES + 1)
    with pytest.raises(DraftProblem, match="MB"):
        read_file(tmp_path / "big.txt")
    with pytest.raises(DraftProblem, match="cannot read|no file"):
        read_file("a\x00b.txt")


def test_one_sentence_of_fifty_thousand_characters_is_read_in_parts() -> None:
    text = "Ketamine may help people with PTSD " * 1500
    found = read_statements(read_text(text))
    assert max(s.end - s.start for s in found) <= LONGEST_SENTENCE
    assert "".join(text[s.start : s.end].replace(" ", "") for s in found) == text.replace(" ", "")
    assert read_statements(read_text("k" * 50_000))


@given(st.text(max_size=400))
@settings(max_examples=120, deadline=None)
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    for kind in ("text", "markdown", "html"):
        try:
            document = read_text(text, kind)
        except DraftProblem as problem:
            assert len(str(problem).splitlines()) == 1
            continue
        at = 0
        for block in document.blocks:
            assert at <= block.start < block.end <= len(document.text)
            at = block.end
        for s in read_statements(document):
            assert 0 <= s.start < s.end <= len(document.text)


@given(st.binary(max_size=300), st.sampled_from(["", "text", "html", "docx"]))
@settings(max_examples=120, deadline=None)
def test_any_bytes_are_read_or_refused_in_one_line(data: bytes, kind: str) -> None:
    try:
        read_bytes(data, kind)
    except DraftProblem as problem:
        assert len(str(problem).splitlines()) == 1
