"""Tags of whole abstracts (in our own words): stance, evidence, reason, confidence, and the line format."""

import json
import re

import numpy as np
import pytest

from kb.tagging import TAGGER_VERSION, as_line, load_claims, tag, tag_many
from kb.tagging.lexicon import Lexicon, words
from kb.tagging.model import OUTCOMES, load_model

TRIAL = (
    "Ketamine against midazolam in resistant depression: a randomized trial",
    "BACKGROUND: Ketamine is an NMDA receptor antagonist.\n"
    "METHODS: Seventy adults with resistant depression were randomized to one infusion of ketamine 0.5 "
    "mg/kg or midazolam.\n"
    "RESULTS: Depression scores fell significantly more with ketamine than with midazolam at 24 hours. "
    "Side effects were mild and transient, and no serious adverse events occurred.\n"
    "CONCLUSIONS: One ketamine infusion rapidly reduced depressive symptoms and was well tolerated.",
)


def stances(title, abstract):
    return {row.claim: row.stance for row in tag(title, abstract).tags}


def test_a_trial_gives_findings_and_background():
    found = stances(*TRIAL)
    assert found["antidepressant-effect"] == "supports"
    assert found["rapid-onset"] == "supports"
    assert found["safety-tolerability"] == "supports"
    assert found["nmda-antagonism"] == "background"


def test_the_same_abstract_without_labels_is_read_alike():
    run_on = re.sub(r"[A-Z]{5,}: ", "", TRIAL[1]).replace("\n", " ")
    found = stances(TRIAL[0], run_on)
    assert found["antidepressant-effect"] == "supports"
    assert found["nmda-antagonism"] == "background"


def test_evidence_is_verbatim_and_best_first():
    tagged = tag(*TRIAL)
    whole = "\n".join(TRIAL)
    by_position = {s.position: s for s in tagged.sentences}
    for row in tagged.tags:
        for position in row.sentences:
            sentence = by_position[position]
            assert whole[sentence.start : sentence.end] == sentence.text
    nmda = next(row for row in tagged.tags if row.claim == "nmda-antagonism")
    assert by_position[nmda.sentences[0]].text.startswith("BACKGROUND: Ketamine is an NMDA")


def test_reasons_name_the_words_and_the_sentence():
    tagged = tag(*TRIAL)
    for row in tagged.tags:
        assert row.reason.startswith(
            "background: " if row.stance == "background" else f"finding, {row.stance}: "
        )
        assert f"in sentence {row.sentences[0]} (" in row.reason
        quoted = re.findall("“([^”]+)”", row.reason)
        text = " ".join(
            words(next(s.text for s in tagged.sentences if s.position == row.sentences[0]).lower())
        )
        assert quoted
        assert all(word in text for word in quoted)


def test_a_protocol_is_background():
    found = stances(
        "Ketamine for depression in older adults: study protocol for a randomized trial",
        "Ketamine may reduce depressive symptoms. This protocol describes a trial in which older adults "
        "with depression "
        "will be randomized to ketamine or midazolam. The primary outcome will be the depression score at "
        "24 hours.",
    )
    assert found["antidepressant-effect"] == "background"


def test_another_drug_gives_no_rows():
    assert (
        stances("Sertraline for depression", "Sertraline reduced depressive symptoms and was well tolerated.")
        == {}
    )


def test_no_difference_from_placebo_contradicts():
    found = stances(
        "Ketamine for depression after surgery",
        "RESULTS: There was no significant difference in depression scores between ketamine and placebo.\n"
        "CONCLUSIONS: Ketamine did not reduce depressive symptoms after surgery.",
    )
    assert found["antidepressant-effect"] == "contradicts"


def test_tags_come_in_the_order_of_the_claims():
    order = {claim.id: claim.position for claim in load_claims()}
    rows = [order[row.claim] for row in tag(*TRIAL).tags]
    assert rows == sorted(rows)


def test_the_line_is_json_and_complete():
    line = json.loads(json.dumps(as_line("42", tag(*TRIAL))))
    assert line["id"] == "42"
    for row in line["rows"]:
        assert {"claim", "stance", "sentence", "confidence", "reason"} <= row.keys()
        assert row["sentence"] in "\n".join(TRIAL)
    assert {"study_design", "substances", "conditions", "population", "routes", "sample_size"} <= line.keys()
    assert "ketamine" in line["substances"]


def test_the_model_belongs_to_this_version():
    assert load_model().version == TAGGER_VERSION


def test_chances_add_up_and_confidence_rises_with_the_score():
    model = load_model()
    chances = model.final(np.zeros((2, 400)))
    assert chances.shape == (2, len(OUTCOMES))
    assert chances.sum(axis=1) == pytest.approx(1)
    steps = [model.confidence(score / 50) for score in range(51)]
    assert steps == sorted(steps)
    assert 0 < steps[0] < steps[-1] < 1


def test_phrases_with_choices_prefixes_suffixes_and_gaps():
    found = Lexicon(
        {
            "a": ["no (effect|difference*)"],
            "b": ["did not .. reduc*"],
            "c": ["*ketamine"],
            "d": ["(well tolerated|safe)"],
        }
    ).find(words("no differences; it did not in any way reduce. esketamine was well tolerated".lower()))
    assert [(at, size, name) for at, size, name in found] == [
        (0, 2, "a"),
        (3, 6, "b"),
        (9, 1, "c"),
        (11, 2, "d"),
    ]


@pytest.mark.parametrize("phrase", ["", "..", "no ..", ".. effect"])
def test_an_empty_or_open_phrase_is_refused(phrase):
    with pytest.raises(ValueError, match="concept 'x'"):
        Lexicon({"x": [phrase]})


def test_many_abstracts_come_back_in_their_order_and_as_one_by_one():
    texts = [
        (example["title"], f"{example['abstract']} Number {n}.", (), ())
        for n, example in enumerate([e for claim in load_claims() for e in claim.examples] * 3)
    ]
    texts.insert(3, ("", "", (), ()))
    texts += [("", "", (), ())] * 2
    texts.insert(70, ("Ketamin bei Depression", "Die Wirkung wurde bei den Patienten nicht untersucht.", (), ()))
    together = list(tag_many(iter(texts)))
    assert len(together) == len(texts) > 128  # more than one batch
    assert together == [tag(title, abstract) for title, abstract, _, _ in texts]
    assert list(tag_many([])) == []
