"""Input that nobody would write on purpose: an answer each time, never an exception, in proportional work."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.tagging import LOW_CONFIDENCE, STANCES, as_line, load_claims, tag
from kb.tagging.features import Words, lexicon, read
from kb.tagging.sentences import Sentence, split

CLAIMS = {claim.id for claim in load_claims()}
SENTENCE = (
    "Ketamine did not reduce depression, BDNF or PTSD symptoms within 24 hours (p = 0.4), but was "
    "well tolerated. "
)


def check(title, abstract):
    tagged = tag(title, abstract)
    whole = f"{title}\n{abstract}"
    positions = {s.position for s in tagged.sentences}
    assert tagged.language in ("en", "other", "unknown")
    for sentence in tagged.sentences:
        assert whole[sentence.start : sentence.end] == sentence.text
    for row in tagged.tags:
        assert row.claim in CLAIMS
        assert row.stance in STANCES
        assert 0 <= row.confidence <= 1
        assert 1 <= len(row.sentences) <= 3
        assert set(row.sentences) <= positions
        assert "\n" not in row.reason
    assert len({row.claim for row in tagged.tags}) == len(tagged.tags)
    as_line("1", tagged)
    return tagged


@pytest.mark.parametrize(
    ("title", "abstract"),
    [
        ("", ""),
        ("Ketamine", ""),
        ("", "Ketamine"),
        ("Ketamine for depression", ""),
        ("\x00\x01\x02", "\x07ketamine\x1b[31m depression\x00 improved."),
        ("<b>Ketamine</b>", "<AbstractText Label='RESULTS'>Depression &lt; 5 &amp; fell.</AbstractText>"),
        ("KETAMINE", SENTENCE.upper() * 5),
        ("no marks", "ketamine reduced depression within hours and was well tolerated " * 20),
        ("thousand", SENTENCE * 1000),
        ("one", SENTENCE.replace(". ", " ").replace(".", " ") * 500),
        ("dots", "." * 5000),
        ("brackets", "(" * 5000 + ")" * 5000),
        ("lines", "\n" * 5000),
        ("labels", "RESULTS: " * 3000),
        ("words", "ketamine" * 10_000),
        ("numbers", "0.5 mg/kg " * 5000),
        ("surrogate", "ketamine \ud800 depression"),
        ("right to left", "\u202eketamine depression\u202c"),
        ("letters", "a. b. c. d. " * 3000),
    ],
)
def test_an_answer_each_time(title, abstract):
    check(title, abstract)


def test_100_000_characters_are_read_to_the_end():
    filler = "The weather was noted each day in the ward diary. "
    abstract = filler * 2000 + "Ketamine was superior to placebo in reducing depressive symptoms."
    tagged = check("A long report", abstract)
    assert any(row.claim == "antidepressant-effect" for row in tagged.tags)


@pytest.mark.parametrize(
    "abstract",
    [
        "La kétamine est un antagoniste des récepteurs NMDA utilisé dans le traitement de la dépression "
        "chez les adultes.",
        "Ketamin ist ein Antagonist des NMDA-Rezeptors und wird bei einer schweren Depression mit Erfolg "
        "eingesetzt.",
        "La ketamina es un antagonista de los receptores NMDA y se usa para tratar la depresión en los "
        "adultos.",
        "氯胺酮是一种麻醉药，可迅速缓解抑郁症状。",
        "Кетамин быстро уменьшает симптомы депрессии у взрослых пациентов.",
    ],
)
def test_other_languages_are_marked_and_not_tagged(abstract):
    tagged = check("", abstract)
    assert tagged.language == "other"
    assert tagged.tags == []


def test_english_is_english():
    assert check("Ketamine", SENTENCE).language == "en"


def _steps(text):
    """Work of reading `text`: phrases found and words read, whatever the clock says."""
    sentences = split("", text)
    batch = read([sentences], Words({}))
    found = len(lexicon().find(batch.tokens)) + len(batch.row_features[0]) + sum(len(rows) for rows in batch.stems)
    return len(sentences) + found + sum(len(s.text) for s in sentences)


@pytest.mark.parametrize("piece", [SENTENCE, "ketamine did not ", "no ", ". ", "RESULTS: ", "(("])
def test_work_grows_no_faster_than_the_text(piece):
    small, large = _steps(piece * 200), _steps(piece * 800)
    assert large <= 4 * small + 4 * len(piece) + 50


WORDS = st.sampled_from(
    "ketamine esketamine nmda bdnf depression ptsd suicidal did not no significant difference reduced "
    "within 24 hours "
    "well tolerated RESULTS: CONCLUSION: . , ; ( ) \n ? -- % p<0.05 relapse fear memory abuse "
    "psychotherapy burn".split(
        " "
    )
)


@settings(max_examples=150, deadline=None)
@given(st.lists(WORDS, max_size=12).map(" ".join), st.lists(WORDS, max_size=120).map(" ".join))
def test_any_order_of_its_own_words(title, abstract):
    check(title, abstract)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200), st.text(max_size=1000))
def test_any_text(title, abstract):
    check(title, abstract)



@given(st.lists(WORDS, max_size=40).map(" ".join))
def test_the_same_text_gives_the_same_answer(abstract):
    assert tag("Ketamine", abstract).tags == tag("Ketamine", abstract).tags


def test_a_sentence_longer_than_the_reader_keeps_its_place():
    long = "ketamine " * 20_000
    found = split("", long)
    assert found == [Sentence(1, "OTHER", long.strip(), 1, len(long))]


def test_low_confidence_is_a_share():
    assert 0 < LOW_CONFIDENCE < 1
