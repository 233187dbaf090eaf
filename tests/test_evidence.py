"""Weighing: the verdict of a claim on hand-made cases, and the words that go with it."""

import pytest

from kb.evidence import HUMAN_TIERS, RULE_TEXT, TIERS, VERDICTS, Count, level_of, tier_of, weigh


def counts(**tiers):
    """counts(trial="3+1-") is three randomized trials for and one against; ~ is mixed, b background."""
    sign = {"+": "supports", "-": "contradicts", "~": "mixed", "b": "background"}
    result = []
    for tier, text in tiers.items():
        number = ""
        for letter in text:
            if letter.isdigit():
                number += letter
            else:
                result.append(Count(sign[letter], tier, n=int(number)))
                number = ""
    return result


def test_nothing():
    weighed = weigh([])
    assert (weighed.verdict, weighed.label, weighed.total) == ("too-little", "Too little evidence", 0)
    assert weighed.words == "No abstract here addresses this claim."


def test_background_never_counts():
    weighed = weigh(counts(trial="9b", review="4b"))
    assert (weighed.verdict, weighed.total, weighed.background) == ("too-little", 0, 13)
    assert "13 abstracts mention this as background" in weighed.words


def test_only_animals_says_so():
    weighed = weigh(counts(preclinical="12+1-"))
    assert weighed.verdict == "mostly-support"
    assert weighed.label == "Mostly support, in animals or cells only"
    assert weighed.rests_on == ("preclinical",)
    assert "1 finds against it" in weighed.words


def test_animals_do_not_fill_up_for_people():
    weighed = weigh(counts(trial="2+", preclinical="30+"))
    assert weighed.verdict == "too-little" and weighed.rests_on == ()
    assert weighed.label == "Too little evidence in people"
    assert "30 animal and in-vitro studies support it" in weighed.words


def test_one_trial_against_three_cohorts_is_mixed():
    weighed = weigh(counts(trial="1-", human="3+"))
    assert weighed.verdict == "mixed"
    assert weighed.rests_on == ("trial", "human")
    assert weighed.words == "The only randomized trial finds against it. All 3 other human studies support it."


def test_the_strongest_kind_decides_when_it_is_enough():
    weighed = weigh(counts(trial="1+3-", human="40+"))
    assert weighed.verdict == "mostly-against" and weighed.rests_on == ("trial",)
    assert "Among other kinds of study 40 support it and 0 find against it." in weighed.words


def test_consistent_is_not_said_beside_a_finding_of_people_against():
    assert weigh(counts(trial="3+", human="5+1-")).verdict == "mostly-support"
    assert weigh(counts(trial="3-", case="1~")).verdict == "mostly-against"
    assert weigh(counts(trial="3+", human="5+")).verdict == "consistent-support"
    assert weigh(counts(trial="3+", preclinical="1-")).verdict == "consistent-support", "animals are told apart"


def test_consistent_is_not_said_of_tags_that_no_reviewer_has_seen():
    weighed = weigh([*counts(trial="3+"), Count("supports", "human", n=2, automatic=True)])
    assert (weighed.verdict, weighed.agree, weighed.automatic) == ("mostly-support", True, 2)
    assert weighed.label == "Mostly support"
    assert weighed.words.endswith("No finding against it was recognised; automatic reading may miss some.")
    weighed = weigh([Count("contradicts", "trial", n=4, automatic=True, unsure=True)])
    assert (weighed.verdict, weighed.agree, weighed.unsure) == ("mostly-against", True, 4)
    assert "No finding for it was recognised" in weighed.words
    weighed = weigh([*counts(trial="3+"), Count("supports", "preclinical", n=9, automatic=True)])
    assert weighed.verdict == "consistent-support", "the verdict speaks of people only"
    weighed = weigh([Count("supports", "trial", n=9, automatic=True), *counts(trial="1-")])
    assert (weighed.verdict, weighed.agree) == ("mostly-support", False)
    assert "recognised" not in weighed.words


def test_retracted_is_shown_not_counted():
    with_it = weigh([*counts(trial="3+"), Count("contradicts", "trial", retracted=True)])
    assert (with_it.verdict, with_it.contradicts, with_it.retracted) == ("consistent-support", 0, 1)


def test_a_tie_is_mixed():
    assert weigh(counts(trial="2+2-")).verdict == "mixed"
    assert weigh(counts(trial="4~")).verdict == "mixed"


def test_reviews_and_protocols_stand_apart():
    weighed = weigh(counts(review="20+", unclassified="5+"))
    assert (weighed.verdict, weighed.total) == ("too-little", 0)
    assert weighed.reviews.supports == 20 and weighed.unclassified.supports == 5


@pytest.mark.parametrize(
    "trials, verdict",
    [("3+", "consistent-support"), ("3-", "consistently-against"), ("3+1-", "mostly-support"),
     ("1+3-", "mostly-against"), ("2+1-", "mixed"), ("2+1~", "mostly-support"), ("1+1-1~", "mixed")],
)
def test_thresholds(trials, verdict):
    assert weigh(counts(trial=trials)).verdict == verdict


def test_unknown_words_are_errors():
    with pytest.raises(ValueError, match="stance"):
        weigh([Count("maybe", "trial")])
    with pytest.raises(KeyError):
        weigh([Count("supports", "anecdote")])


def test_every_design_has_one_tier_and_the_rule_names_the_verdicts():
    designs = [design for tier in TIERS for design in tier.designs]
    assert len(designs) == len(set(designs)) == 14
    assert tier_of("rct") == "trial" and tier_of(None) == tier_of("nonsense") == "unclassified"
    assert (level_of("meta-analysis"), level_of("rct"), level_of("animal"), level_of("review")) == (1, 2, 5, None)
    assert set(HUMAN_TIERS) < {tier.id for tier in TIERS}
    rule = " ".join(RULE_TEXT).casefold()
    for label in VERDICTS.values():
        assert label.casefold() in rule, f"the rule does not say when a claim is '{label}'"
