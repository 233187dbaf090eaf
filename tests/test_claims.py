"""The claim files: their fields, and the worked examples that each of them carries."""

import pytest

from kb.tagging import STANCES, ClaimFileError, load_claims, tag
from kb.tagging.claims import read_claim

GROUPS = {
    "How it may work": ["nmda-antagonism", "bdnf", "synaptic-plasticity", "anti-inflammatory", "fear-memory"],
    "How fast and how long": ["rapid-onset", "durability"],
    "What it helps": [
        "ptsd-symptom-reduction",
        "antidepressant-effect",
        "suicidality-reduction",
        "psychotherapy-combination",
    ],
    "Given at the time of injury": ["anesthesia-at-injury"],
    "Risks": ["safety-tolerability", "abuse-liability"],
}
EXAMPLES = [
    pytest.param(claim.id, example, id=f"{claim.id}-{number}-{example['stance']}")
    for claim in load_claims()
    for number, example in enumerate(claim.examples)
]
MINIMAL = 'id = "x"\ngroup = "g"\nposition = 1\nstatement = "s"\nquestion = "q"\ndefinition = "d"\n'


def test_the_claims_of_the_taxonomy_in_the_order_of_the_groups():
    claims = load_claims()
    ours = [claim for group in GROUPS.values() for claim in group]
    assert [c.id for c in claims if c.id in ours] == ours  # a claim added later may stand among them
    assert {c.id: c.group for c in claims if c.id in ours} == {
        claim: group for group, ids in GROUPS.items() for claim in ids
    }


def test_the_four_first_asked():
    first = {c.id for c in load_claims() if c.first_asked}
    assert first == {"nmda-antagonism", "bdnf", "rapid-onset", "anesthesia-at-injury"}


def test_every_claim_can_be_read_by_a_person():
    for claim in load_claims():
        assert claim.question.endswith("?")
        assert claim.statement.endswith(".")
        assert "etamine" in claim.definition


def test_every_claim_file_has_positive_and_negative_examples():
    for claim in load_claims():
        stances = {example["stance"] for example in claim.examples}
        assert stances <= {*STANCES, "none"}
        assert "none" in stances or "background" in stances, claim.id
        assert stances & {"supports", "contradicts", "mixed"}, claim.id
        assert len(claim.examples) >= 4, claim.id


@pytest.mark.parametrize(("claim", "example"), EXAMPLES)
def test_worked_example(claim, example):
    tagged = tag(example["title"], example["abstract"])
    found = {row.claim: row for row in tagged.tags}
    stance = found[claim].stance if claim in found else "none"
    assert stance == example["stance"], tagged.tags
    if "sentence" in example:
        assert example["sentence"] in found[claim].sentences


def test_a_missing_field_is_named():
    with pytest.raises(ClaimFileError, match="x.toml: field 'question'"):
        read_claim("x.toml", MINIMAL.replace("question", "answer"))


def test_a_broken_file_is_named():
    with pytest.raises(ClaimFileError, match="x.toml: not valid TOML"):
        read_claim("x.toml", "id = ")


def test_a_position_that_is_no_number_is_refused():
    with pytest.raises(ClaimFileError, match="position"):
        read_claim("x.toml", MINIMAL.replace("position = 1", 'position = "first"'))
