"""Sentence splitting, sections and offsets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.tagging import SECTIONS, split


def texts(title, abstract):
    return [s.text for s in split(title, abstract)]


def test_title_is_position_0_and_the_abstract_starts_at_1():
    found = split("Ketamine for grief.", "We asked nine people. Six felt better.")
    assert [(s.position, s.section, s.text) for s in found] == [
        (0, "TITLE", "Ketamine for grief."),
        (1, "OTHER", "We asked nine people."),
        (2, "OTHER", "Six felt better."),
    ]


def test_without_a_title_the_abstract_still_starts_at_1():
    assert [s.position for s in split("", "One. Two.")] == [1, 2]


def test_offsets_point_into_title_newline_abstract():
    title, abstract = "  Odd title ", "\n RESULTS: It fell (p < 0.05).  It rose again.\nCONCLUSION: Unclear. "
    whole = f"{title}\n{abstract}"
    for sentence in split(title, abstract):
        assert whole[sentence.start : sentence.end] == sentence.text


@pytest.mark.parametrize(
    "abstract",
    [
        "Scores fell more with ketamine vs. Placebo at day 1.",
        "Some drugs, e.g. Ketamine, act fast.",
        "As shown by Berg et al. (2014) the effect fades.",
        "A dose of 0.5 mg/kg i.v. Ketamine was given.",
        "Values are given in Fig. 2 of the paper.",
        "Ketamine (No. 7 in the list) was best.",
        "The mean was 3.5 (p = .04) at week 2.",
    ],
)
def test_these_are_one_sentence(abstract):
    assert texts("", abstract) == [abstract]


@pytest.mark.parametrize(
    ("abstract", "count"),
    [
        ("Pain fell (p < 0.05). Sleep did not change.", 2),
        ("Is it safe? We do not know.", 2),
        ("It was given over 40 min. Two patients felt sick.", 2),
        ("Patients came to the ED. None stayed.", 2),
        ('They called it "a relief." Others did not.', 2),
        ("Scores fell by 12.5 points. 40% responded.", 2),
    ],
)
def test_these_are_more(abstract, count):
    assert len(texts("", abstract)) == count


def test_labels_on_lines_and_run_into_the_text_give_sections():
    lines = "BACKGROUND: Old news.\nMETHODS: We looked.\nRESULTS: It fell. It rose.\nCONCLUSIONS: Unclear."
    run_on = lines.replace("\n", " ")
    expected = ["BACKGROUND", "METHODS", "RESULTS", "RESULTS", "CONCLUSIONS"]
    assert [s.section for s in split("", lines)] == expected
    assert [s.section for s in split("", run_on)] == expected
    mixed_case = "Background: Old news. Methods: We looked. Results: It fell. It rose. Conclusions: Unclear."
    assert [s.section for s in split("", mixed_case)] == expected


def test_a_label_glued_to_the_sentence_before_opens_a_section():
    assert [s.section for s in split("", "It was old news.Methods: We looked at mice.")] == [
        "OTHER",
        "METHODS",
    ]


def test_a_label_in_the_middle_of_a_broken_sentence_opens_a_section():
    found = split("", "RESULTS: The model explained much (R CONCLUSIONS: It may help.")
    assert [s.section for s in found] == ["RESULTS", "CONCLUSIONS"]


def test_a_colon_alone_is_no_label():
    assert {s.section for s in split("", "We used three drugs: ketamine, lithium and zinc. All failed.")} == {
        "OTHER"
    }


def test_hard_wrapped_lines_are_joined():
    assert texts("", "The dose was raised\nafter two weeks. It helped.") == [
        "The dose was raised\nafter two weeks.",
        "It helped.",
    ]


def test_an_abstract_given_as_title_is_split():
    long = "Ketamine was given to twenty people with depression in one hospital. " * 8
    found = split(long, "")
    assert len(found) == 8
    assert found[0].position == 1


@pytest.mark.parametrize("title", ["", " ", "\n", "Title"])
@pytest.mark.parametrize("abstract", ["", " \n ", "...", "\n\n\n"])
def test_next_to_nothing(title, abstract):
    assert all(s.text.strip() for s in split(title, abstract))


PIECES = st.lists(
    st.sampled_from(
        ["Ketamine ", "RESULTS: ", "vs. ", ". ", "\n", "? ", "0.5 mg", "(", ")", "ü", "İ", '"', "p<.05", "  "]
    ),
    max_size=60,
).map("".join)


@given(PIECES, PIECES)
def test_nothing_but_space_is_lost_and_offsets_hold(title, abstract):
    whole = f"{title}\n{abstract}"
    found = split(title, abstract)
    end = 0
    for sentence in found:
        assert whole[sentence.start : sentence.end] == sentence.text
        assert not whole[end : sentence.start].strip()
        assert sentence.section in SECTIONS
        end = sentence.end
    assert not whole[end:].strip()
    positions = [s.position for s in found]
    assert positions == sorted(set(positions))
