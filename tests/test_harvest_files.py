"""PubMed XML files: order, checksums, the filter on raw bytes, damage, and bombs."""

from __future__ import annotations

import gzip
import hashlib
import random
import threading
import zlib
from pathlib import Path

import pytest
from eutils_server import Citation, article_set
from hypothesis import given, settings
from hypothesis import strategies as st

from harvest.files import BadFile, TopicFilter, Truncated, chunks, digest, find_files, read_file
from harvest.pubmed import topic_terms
from harvest.pubmed_xml import NotPubmedXML, PubmedXML
from harvest.record import Article, Deleted

KETAMINE = TopicFilter(["ketamin", "spravato"])


def write(path: Path, citations: list[Citation | str], packed: bool = True) -> Path:
    data = article_set(citations).encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


def ids(path: Path, keep: TopicFilter | None = None) -> list[str]:
    return [record.id for record in read_file(path, keep=keep)]


# ---------------------------------------------------------------- finding and checking files


def test_numbered_files_come_in_their_order_and_others_after_them(tmp_path: Path) -> None:
    names = [
        "pubmed26n0010.xml.gz",
        "pubmed26n0002.xml.gz",
        "pubmed25n9999.xml.gz",
        "my-search.xml",
        "pubmed26n1335.xml",
    ]
    for name in names:
        write(tmp_path / name, [])
    (tmp_path / "pubmed26n0002.xml.gz.md5").write_text("x")
    (tmp_path / "readme.txt").write_text("x")
    assert [p.name for p in find_files([tmp_path])] == [
        "pubmed25n9999.xml.gz",
        "pubmed26n0002.xml.gz",
        "pubmed26n0010.xml.gz",
        "pubmed26n1335.xml",
        "my-search.xml",
    ]
    assert len(find_files([tmp_path, tmp_path / names[0]])) == 5


def test_paths_that_hold_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="no such file"):
        find_files([tmp_path / "missing.xml"])
    with pytest.raises(BadFile, match=r"no \.xml"):
        find_files([tmp_path])


def test_the_checksum_beside_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "pubmed26n0001.xml.gz", [Citation("1")])
    total = hashlib.md5(path.read_bytes()).hexdigest()
    assert digest(path).expected is None and digest(path).good and digest(path).md5 == total
    beside = tmp_path / "pubmed26n0001.xml.gz.md5"
    beside.write_text(f"MD5(pubmed26n0001.xml.gz)= {total.upper()}\n")
    assert digest(path).good and digest(path).expected == total
    beside.write_text("MD5(pubmed26n0001.xml.gz)= " + "0" * 32)
    assert not digest(path).good
    beside.write_text("something else")
    assert digest(path).expected is None  # unusable: nothing to check against


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("name", ["a.xml", "a.xml.gz"])
def test_plain_or_gzip_is_told_by_the_content_not_the_name(tmp_path: Path, packed: bool, name: str) -> None:
    assert ids(write(tmp_path / name, [Citation("1"), Citation("2")], packed)) == ["1", "2"]


def test_a_gzip_file_of_several_members(tmp_path: Path) -> None:
    data = article_set([Citation(str(n), abstract="word " * 50) for n in range(1, 40)]).encode()
    path = tmp_path / "a.xml.gz"
    path.write_bytes(b"".join(gzip.compress(data[at : at + 999]) for at in range(0, len(data), 999)))
    assert ids(path) == [str(n) for n in range(1, 40)]


def test_progress_counts_the_bytes_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml.gz", [Citation(str(n)) for n in range(1, 500)])
    heard: list[int] = []
    list(read_file(path, keep=None, watch=heard.append))
    assert sum(heard) == path.stat().st_size


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("packed", [True, False])
def test_a_truncated_file_is_noticed(tmp_path: Path, share: float, packed: bool) -> None:
    whole = write(
        tmp_path / "a.xml",
        [Citation(str(n), title=f"Ketamine {random.Random(n).random()}") for n in range(1, 200)],
        packed,
    )
    data = whole.read_bytes()
    whole.write_bytes(data[: int(len(data) * share)])
    for keep in (None, KETAMINE):
        with pytest.raises((BadFile, Truncated, NotPubmedXML)):
            ids(whole, keep)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\x1f\x8b\x08 damaged", "gzip"),
        (b"PK\x03\x04", "zip archive"),
        (b"plain words", "not XML"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (gzip.compress(b"<html></html>"), "HTML"),
        (gzip.compress(b""), "empty"),
        (gzip.compress(article_set([]).encode()) + b"trailing rubbish", "follows"),
    ],
)
def test_files_that_are_no_pubmed_xml(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.xml.gz"
    path.write_bytes(content)
    for keep in (None, KETAMINE):
        with pytest.raises((BadFile, NotPubmedXML), match=reason):
            ids(path, keep)


def test_a_bomb_is_refused_before_it_fills_anything(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = packer.compress(b"<PubmedArticleSet><PubmedArticle>")
    data += b"".join(packer.compress(b"a" * (1 << 20)) for _ in range(120)) + packer.flush()
    path = tmp_path / "bomb.xml.gz"
    path.write_bytes(data)
    assert len(data) < 200_000
    with pytest.raises((BadFile, NotPubmedXML), match="times its size|no citation ends"):
        ids(path)
    most = 0
    with pytest.raises(BadFile, match="200 times"):
        for chunk in chunks(path):
            most = max(most, len(chunk))
    assert most <= 1 << 20


def test_deletions_come_through_the_filter(tmp_path: Path) -> None:
    path = write(
        tmp_path / "pubmed26n1400.xml.gz",
        [
            Citation("1", title="Ketamine."),
            Citation("2", title="Other."),
            '<DeleteCitation><PMID Version="1">7</PMID><PMID Version="1">8</PMID></DeleteCitation>',
        ],
    )
    records = list(read_file(path, keep=KETAMINE))
    assert [(type(r), r.id) for r in records] == [(Article, "1"), (Deleted, "7"), (Deleted, "8")]


# ---------------------------------------------------------------- the filter


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        (Citation("1", title="KETAMINE in cats"), True),
        (Citation("1", abstract="(R)-Ketamine"), True),
        (Citation("1", mesh=["Ketamine"]), True),
        (Citation("1", abstract="(2R,6R)-hydroxynorketamine"), True),
        (Citation("1", title="Spravato for all"), True),
        (Citation("1", title="Ketanserin and ketosis"), False),
        (Citation("1", title="Propofol"), False),
    ],
)
def test_what_the_filter_keeps(tmp_path: Path, record: Citation, kept: bool) -> None:
    path = write(tmp_path / "a.xml", [Citation("8", title="Other"), record, Citation("9", title="Other")])
    reader = read_file(path, keep=KETAMINE)
    assert [r.id for r in reader] == (["1"] if kept else []) and reader.seen == 3


def test_a_paper_that_only_cites_ketamine_is_not_about_it(tmp_path: Path) -> None:
    citing = (
        Citation("1", title="Propofol")
        .render()
        .replace(
            "</PubmedData>",
            "<ReferenceList><Reference><Citation>Doe J. Ketamine.</Citation></Reference></ReferenceList>"
            "</PubmedData>",
        )
    )
    both = citing.replace("Propofol", "Ketamine and propofol").replace(">1<", ">2<")
    path = write(tmp_path / "a.xml", [citing, both])
    assert ids(path, KETAMINE) == ["2"] and ids(path) == ["1", "2"]


def test_accents_and_other_scripts() -> None:
    words = TopicFilter(["kétamin", "氯胺酮"])
    for title, found in (("La Kétamine", 1), ("LA KÉTAMINE", 1), ("氯胺酮", 1), ("ketamine", 0)):
        raw = Citation("1", title=title).render().encode()
        assert len(words(raw)) == found, title


def test_words_too_short_to_filter_by() -> None:
    with pytest.raises(ValueError, match="too short"):
        TopicFilter(["k"])
    assert TopicFilter(topic_terms()).terms


WORDS = st.sampled_from(
    ["ketamine", "Ketalar", "ketan", "keta", "spravato", "propofol", "other", "ESKETAMINE", "&lt;"]
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.lists(WORDS, max_size=4), st.lists(WORDS, max_size=3), st.booleans()), max_size=12),
    st.integers(40, 3000),
)
def test_the_filter_agrees_with_reading_everything(
    records: list[tuple[list[str], list[str], bool]], size: int
) -> None:
    """Whatever the citations and wherever the stream is cut: kept is what holds a word outside its references."""
    words = TopicFilter(["ketamin", "ketalar", "spravato"])
    rendered, wanted = [], []
    for number, (title, references, book) in enumerate(records, start=1):
        text = (
            Citation(str(number), title=" ".join(title) or "x")
            .render()
            .replace(
                "</PubmedData>",
                f"<ReferenceList><Citation>{' '.join(references)}</Citation></ReferenceList></PubmedData>",
            )
        )
        if book:
            text = (
                f"<PubmedBookArticle><BookDocument><PMID>{number}</PMID><ArticleTitle>{' '.join(title)}"
                "</ArticleTitle></BookDocument></PubmedBookArticle>"
            )
        rendered.append(text)
        if any(word.lower().startswith(("ketamin", "ketalar", "spravato", "esketamin")) for word in title):
            wanted.append(str(number))
    data = article_set(rendered).encode()
    reader = PubmedXML([data[at : at + size] for at in range(0, len(data), size)], scan=words)
    assert [r.id for r in reader] == wanted
    assert reader.seen == len(records)


# ---------------------------------------------------------------- reading ahead


def test_reading_ahead_gives_the_same_records(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.xml.gz",
        [
            *(
                Citation(
                    str(n),
                    title=f"Title {n} <i>x</i>",
                    abstract=[("RESULTS", "Text.")],
                    mesh=["Ketamine"],
                    corrections=[("ErratumIn", "x", "5")],
                )
                for n in range(1, 700)
            ),
            "<PubmedArticle></PubmedArticle>",
            "<DeleteCitation><PMID>5</PMID></DeleteCitation>",
        ],
    )
    heard: list[int] = []
    ahead = read_file(path, keep=None, watch=heard.append, ahead=True)
    assert list(ahead) == list(read_file(path, keep=None))
    assert ahead.seen == 700 and sum(heard) == path.stat().st_size


def test_reading_ahead_tells_what_is_wrong_and_can_be_left_early(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", [Citation(str(n)) for n in range(1, 2000)], packed=False)
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    with pytest.raises(Truncated):
        list(read_file(path, keep=None, ahead=True))
    path.write_bytes(data)
    before = threading.active_count()
    records = iter(read_file(path, keep=None, ahead=True))
    assert next(records).id == "1" and threading.active_count() == before + 1
    records.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    path.write_bytes(b"<html></html>")
    with pytest.raises(NotPubmedXML, match="HTML"):
        list(read_file(path, keep=None, ahead=True))
