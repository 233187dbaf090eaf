"""What a sentence claims, what it asserts, how strongly; the labelled drafts as a floor."""

from __future__ import annotations

import importlib.util
import sqlite3
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.check import check_text, learned
from kb.check.features import CLAIMS, look
from kb.check.input import read_text
from kb.check.lexicon import Lexicon, read_words
from kb.check.statements import Statement, load_rules, read_figures, read_statements
from kb.tagging import load_claims

ROOT = Path(__file__).resolve().parent.parent
DRAFTS = ROOT / "tests" / "drafts"
OPENING = "Ketamine for PTSD: what the research says\n\nKetamine is being offered to people with PTSD.\n\n"


def read(sentence: str, opening: str = OPENING) -> Statement:
    text = opening + sentence
    return next(s for s in read_statements(read_text(text)) if s.start >= len(opening))


def claims(sentence: str, opening: str = OPENING) -> dict[str, str]:
    return {c.claim: c.asserts for c in read(sentence, opening).claims}


# --- claims -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sentence", "claim"),
    [
        ("It sits on the NMDA receptor and shuts it.", "nmda-antagonism"),
        ("The medicine acts as fertilizer for the brain.", "bdnf"),
        ("It resets neural circuits worn out by stress.", "synaptic-plasticity"),
        ("Infusions calm inflammation throughout the body.", "anti-inflammatory"),
        ("Painful memories lose their grip.", "fear-memory"),
        ("You may feel better the same day.", "rapid-onset"),
        ("Boosters every month keep the gains.", "durability"),
        ("Veterans report fewer nightmares.", "ptsd-symptom-reduction"),
        ("It lifts depression that nothing else has touched.", "antidepressant-effect"),
        ("Thoughts of suicide recede.", "suicidality-reduction"),
        ("Soldiers given ketamine during surgery developed PTSD less often.", "anesthesia-at-injury"),
        ("Paired with talk therapy it does more.", "psychotherapy-combination"),
        ("An out-of-body feeling passes within the hour.", "safety-tolerability"),
        ("People can get hooked on it.", "abuse-liability"),
    ],
)
def test_lay_words_lead_to_the_claim(sentence: str, claim: str) -> None:
    assert claim in claims(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "PTSD can follow a frightening event.", "The infusion takes about 40 minutes.",
        "Our clinic opens at nine.",
        "SSRIs often need six weeks to work.", "Cognitive behavioural therapy is the first choice for PTSD.",
        "Survivors of childhood abuse are welcome here.", "You will feel safe in our quiet rooms.",
        "We check your blood pressure before you leave.", "The drug was first made in 1962.",
    ],
)  # fmt: skip
def test_sentences_that_claim_nothing_about_ketamine(sentence: str) -> None:
    assert claims(sentence) == {}


@pytest.mark.parametrize(
    "sentence",
    [
        "PTSD can take many forms and be very hard to cope with.",
        "PTSD is a serious condition that affects whole families.",
        "The disorder often leads to problems at work, and people get little relief.",
        "Its effect on memories of trauma will need to be researched for years.",
        "The benefit of ketamine for PTSD must be studied further.",
    ],
)
def test_the_illness_alone_or_a_call_for_research_is_no_claim(sentence: str) -> None:
    opening = OPENING + "Ketamine reduces the symptoms of PTSD.\n\n"
    assert claims(sentence, opening) == {}


@pytest.mark.parametrize(
    "sentence",
    ["PTSD symptoms eased after two infusions.", "Ketamine eases PTSD and needs to be studied further."],
)
def test_an_outcome_in_the_illness_is_still_a_claim(sentence: str) -> None:
    assert "ptsd-symptom-reduction" in claims(sentence)


def test_another_treatment_is_not_taken_for_ketamine_until_the_text_returns_to_it() -> None:
    text = (
        OPENING
        + "MDMA is another drug under study. It reduces PTSD symptoms within hours. Ketamine works faster."
    )
    found = {s.text: [c.claim for c in s.claims] for s in read_statements(read_text(text))}
    assert found["It reduces PTSD symptoms within hours."] == []
    assert "rapid-onset" in found["Ketamine works faster."]


def test_a_text_that_is_not_about_ketamine_makes_no_claims() -> None:
    text = "Sleep and trauma\n\nGood sleep reduces PTSD symptoms within weeks. It lifts depression for years."
    assert not any(s.claims for s in read_statements(read_text(text)))


def test_a_benefit_without_a_condition_takes_the_one_of_the_passage() -> None:
    assert "ptsd-symptom-reduction" in claims("Nine in ten of our patients get better.")
    depression = "Ketamine for depression\n\nKetamine is given for depression.\n\n"
    assert "antidepressant-effect" in claims("Nine in ten of our patients get better.", depression)


# --- what is asserted -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sentence", "claim", "asserts"),
    [
        ("Ketamine reduces PTSD symptoms.", "ptsd-symptom-reduction", "claim"),
        ("Ketamine does not reduce PTSD symptoms.", "ptsd-symptom-reduction", "denial"),
        ("There is no proof that ketamine helps people with PTSD.", "ptsd-symptom-reduction", "denial"),
        ("Does ketamine help people with PTSD?", "ptsd-symptom-reduction", "question"),
        ("Not only does ketamine help people with PTSD, it is cheap.", "ptsd-symptom-reduction", "claim"),
        ("It helps depression that has not responded to other drugs.", "antidepressant-effect", "claim"),
        ("The effect wears off within days.", "durability", "denial"),
        ("The effect does not wear off.", "durability", "claim"),
        ("Ketamine is not addictive.", "abuse-liability", "denial"),
        ("Ketamine can damage the bladder when it is used for years.", "safety-tolerability", "denial"),
        ("Nausea is common but passes within an hour.", "safety-tolerability", "claim"),
        ("Plasma BDNF did not change.", "bdnf", "denial"),
        ("Whether it lowers inflammation is unknown.", "anti-inflammatory", "question"),
    ],
)
def test_claim_denial_and_question(sentence: str, claim: str, asserts: str) -> None:
    assert claims(sentence).get(claim) == asserts


@pytest.mark.parametrize(
    ("sentence", "strength", "quantity"),
    [
        ("Ketamine reduces PTSD symptoms.", "certain", ""),
        ("Ketamine often reduces PTSD symptoms in many patients.", "likely", "many"),
        ("Ketamine may reduce PTSD symptoms in some patients.", "possible", "some"),
        ("Ketamine reduces PTSD symptoms in all patients.", "certain", "all"),
        ("Most patients with PTSD get better on ketamine.", "likely", "most"),
    ],
)
def test_strength_and_quantity(sentence: str, strength: str, quantity: str) -> None:
    found = read(sentence)
    assert (found.strength, found.quantity) == (strength, quantity)


# --- overstatement ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("Ketamine cures PTSD.", "cures"),
        ("It is proven to end depression in everyone.", "proven"),
        ("Treatment is risk-free and has no side effects.", "risk-free"),
        ("Your PTSD will be gone for good.", "gone for good"),
        ("It is a miracle for people with PTSD.", "miracle"),
        ("Ketamine works for every patient with PTSD.", "every patient"),
        ("95% of people with PTSD get better on ketamine.", "95%"),
        ("It literally erases traumatic memories.", "literally"),
        ("It is not addictive.", "not addictive"),
        ("Ketamine is extremely effective against PTSD.", "extremely effective"),
        ("Research suggests that infusions are highly successful in PTSD.", "highly successful"),
        ("Infusions have brought profound relief from PTSD.", "profound relief"),
        ("It is a game-changing treatment of PTSD.", "game-changing"),
        ("Ketamine is a first-line treatment for PTSD.", "a first-line treatment"),
        ("Ketamine has enormous potential against PTSD.", "enormous potential"),
        ("Ketamine is superior to SSRIs for PTSD.", "superior to SSRIs"),
        ("It helps PTSD more than any other drug.", "more than any other drug"),
        ("Infusions work better against PTSD than talk therapy.", "better against PTSD than talk therapy"),
    ],
)
def test_words_that_overstate_are_pointed_at(sentence: str, words: str) -> None:
    found = read(sentence)
    assert words in [w.text for w in found.overstating]
    assert all(found.text[w.start : w.end] == w.text for w in found.overstating)


@pytest.mark.parametrize(
    "sentence",
    [
        "Ketamine is not a cure for PTSD.", "There is no proof that it cures PTSD.",
        "Is it a miracle for PTSD?",
        "It could become a game changer for PTSD.", "Ketamine may reduce PTSD symptoms.",
        "It does not work for everyone.",
        "No treatment is risk free.", "No serious side effects were seen.",
        "Side effects almost always pass.",
        "It has never been proven that ketamine helps PTSD.",
        "The effect was 1.2 (95% CI 0.4 to 2.0) for PTSD symptoms.",
        "Ketamine might be highly effective in PTSD.", "It is not an extremely effective treatment of PTSD.",
        "It can help people with PTSD who did not respond to a first-line treatment.",
        "Ketamine was better than placebo for PTSD.", "Ketamine is not superior to SSRIs for PTSD.",
        "Ketamine reduces PTSD symptoms faster than SSRIs.",
        "Ketamine with therapy works better for PTSD than therapy alone.",
    ],
)  # fmt: skip
def test_hedged_and_negated_wording_is_not_overstated(sentence: str) -> None:
    assert read(sentence).overstating == []


# --- figures, people, conditions --------------------------------------------------------------------------
def test_figures_are_read_with_their_units() -> None:
    found = read_figures(
        "8.7% of 1,158 patients had 0.5 mg/kg over 40-60 minutes in 2019, six sessions, at 9.30."
    )
    assert [(f.kind, f.value) for f in found] == [
        ("percent", 8.7), ("count", 1158.0), ("dose", 0.5), ("duration", 40.0), ("duration", 60.0),
        ("year", 2019.0),
        ("count", 6.0),
    ]  # fmt: skip


def test_people_and_conditions_are_read() -> None:
    found = read("In veterans ketamine eased depression and PTSD.")
    assert found.populations == ["veterans-military"] and found.conditions == ["ptsd", "depression"]


# --- the lexicon itself -----------------------------------------------------------------------------------
def test_rules_name_claims_that_exist() -> None:
    known = {claim.id for claim in load_claims()} | {"@condition", "@previous"}
    rules = load_rules().rules
    assert {rule.claim for rule in rules} <= known
    assert {claim.id for claim in load_claims()} <= {rule.claim for rule in rules}


def test_every_phrase_can_match_itself() -> None:
    data = tomllib.loads((ROOT / "kb" / "check" / "lexicon.toml").read_text(encoding="utf-8"))
    for name, phrases in data["concepts"].items():
        lexicon = Lexicon({name: phrases})
        for phrase in phrases:
            words = [
                part.split("|")[0].rstrip("?").replace("*", "")
                for part in phrase.split()
                if not (part.startswith("+") and part[1:].isdigit())
            ]
            assert name in lexicon.find(words), (name, phrase)


def test_optional_words_gaps_and_choices() -> None:
    lexicon = Lexicon({"x": ["within a? few|two hour*", "lose* +2 sting"]})
    assert lexicon.find("within a few hours".split()).keys() == {"x"}
    assert lexicon.find("within two hours".split()).keys() == {"x"}
    assert not lexicon.find("within three hours".split())
    assert lexicon.find("memories lose all their sting".split()).keys() == {"x"}
    assert not lexicon.find("lose all of their old sting".split())
    with pytest.raises(ValueError, match="begin with a word"):
        Lexicon({"x": ["+2 nothing"]})


def test_words_write_out_contractions_and_keep_places() -> None:
    text = "It doesn’t work; PTSD’s symptoms can't be well-tolerated."
    words = read_words(text)
    assert words.items == "it does not work ptsd symptoms can not be well tolerated".split()
    assert [text[a:b] for a, b in words.spans][1:3] == ["doesn’t", "doesn’t"]
    assert words.stops[4] == ";"


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300))
@settings(max_examples=100, deadline=None)
def test_words_point_into_the_text(text: str) -> None:
    words = read_words(text)
    assert all(0 <= a < b <= len(text) for a, b in words.spans)
    assert len(words.items) == len(words.spans) == len(words.stops)


# --- the labelled drafts ----------------------------------------------------------------------------------
def scorer():
    spec = importlib.util.spec_from_file_location("score_drafts", ROOT / "scripts" / "score_drafts.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["score_drafts"] = module
    spec.loader.exec_module(module)
    return module


def test_labelled_drafts_are_of_many_kinds_and_well_formed() -> None:
    known = {claim.id for claim in load_claims()}
    drafts = [d for d in scorer().load_drafts() if "shared" not in d.kind]
    assert {"clinic page", "magazine", "press release", "patient leaflet", "forum answer",
            "sceptical article",
            "abstract-like text", "text without any claim"} <= {d.kind for d in drafts}  # fmt: skip
    assert {d.split for d in drafts} <= {"tune", "held-back"}
    assert len({d.author for d in drafts}) >= 6 and len(drafts) >= 150
    for draft in drafts:
        for label in draft.labels:
            assert set(label.claims or {}) <= known, label
            assert set((label.claims or {}).values()) <= {"claim", "denial", "question"}, label
            assert label.strength in ("", "certain", "likely", "possible"), label


def test_the_reader_as_shipped_reads_a_slice_of_the_labelled_drafts(built: Path) -> None:
    """It was fitted on them: this shows that the weights work, not how right they are on new drafts."""
    module = scorer()
    drafts = [d for d in module.load_drafts() if d.author in ("author-0", "author-1")][::2]
    with closing(sqlite3.connect(built)) as connection:
        figures = module.score(drafts, connection)["tune"].as_dict()
    assert figures["claims"]["precision"] >= 0.88 and figures["claims"]["recall"] >= 0.88
    assert figures["statements"]["precision"] >= 0.88 and figures["statements"]["recall"] >= 0.88
    assert figures["overstated"]["precision"] >= 0.70 and figures["overstated"]["recall"] >= 0.75
    assert figures["asserts_accuracy"] >= 0.88 and figures["strength_accuracy"] >= 0.80


def test_the_figures_on_record_belong_to_the_drafts_and_words_that_are_here() -> None:
    """scripts/train_check stores them; whoever changes a label or a word list has to run it again."""
    module = scorer()
    record = module.crossed()
    assert record["fingerprint"] == module.fingerprint(), "run scripts/train_check"
    claims = record["author"]["all"]["claims"]
    assert claims["tp"] + claims["fn"] > 10_000 and 0.5 < claims["precision"] < 1
    strangers = record["author"]["author-1"]["claims"]
    assert strangers["precision"] >= 0.75 and strangers["recall"] >= 0.75


# --- the learned reading ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("before", "sentence", "claim"),
    [
        ("Ketamine lifts depression.", "It usually does so within a day.", "rapid-onset"),
        ("Does ketamine help people with PTSD?", "Yes, it does.", "ptsd-symptom-reduction"),
        ("Can ketamine be addictive?", "It can.", "abuse-liability"),
    ],
)
def test_a_claim_that_hangs_on_the_sentence_before(before: str, sentence: str, claim: str) -> None:
    found = {s.text: s for s in read_statements(read_text(f"{OPENING}{before} {sentence}"))}
    assert claim in {c.claim for c in found[sentence].claims}
    alone = {s.text: s for s in read_statements(read_text(f"{OPENING}Our clinic opens at nine. {sentence}"))}
    assert claim not in {c.claim for c in alone[sentence].claims} or claim == "rapid-onset"


@pytest.mark.parametrize(
    ("claims_it", "does_not", "claim"),
    [
        (
            "The infusion lifts depression within hours.",
            "The infusion lasts for forty minutes.",
            "rapid-onset",
        ),
        ("Ketamine is addictive.", "We do not treat people with an addiction.", "abuse-liability"),
        ("It makes the brain more plastic.", "The cannula is made of plastic.", "synaptic-plasticity"),
        (
            "Ketamine reduces PTSD symptoms.",
            "Exposure therapy reduces PTSD symptoms.",
            "ptsd-symptom-reduction",
        ),
        ("Ketamine lifts depression.", "Ketamine is offered for depression.", "antidepressant-effect"),
    ],
)
def test_look_alikes_are_told_apart(claims_it: str, does_not: str, claim: str) -> None:
    assert claim in claims(claims_it) and claim not in claims(does_not)


def test_the_reason_of_a_claim_is_words_of_the_sentence_or_says_that_it_is_the_context() -> None:
    module = scorer()
    checked = 0
    for draft in module.load_drafts()[:60]:
        for s in read_statements(read_text(draft.text)):
            for c in s.claims:
                assert c.reason
                if c.reason != "what stands before it":
                    checked += 1
                    assert all(
                        part in s.text or part.startswith("what ") for part in c.reason.split(" + ")
                    ), c
            for word in s.overstating:
                assert s.text[word.start : word.end] == word.text and word.kind
    assert checked > 300


def test_weights_are_tables_of_numbers_on_known_targets_and_small() -> None:
    path = ROOT / "kb" / "check" / "model.npz"
    assert path.stat().st_size < 1_500_000
    assert set(CLAIMS) == {claim.id for claim in load_claims()}
    with np.load(path, allow_pickle=False) as arrays:
        for name, targets in (("first", len(CLAIMS) + 3), ("asserts", 2), ("strength", 3), ("overstated", 1)):
            features = arrays[f"{name}.names"].tobytes().decode().split("\n")
            assert len(set(features)) == len(features)
            assert arrays[f"{name}.weights"].shape == (len(features), targets)
            assert arrays[f"{name}.bias"].shape == (targets,)
        for name in ("second", "over"):
            values = arrays[f"{name}.names"].tobytes().decode().split("\n")
            assert arrays[f"{name}.value"].max() < len(values)
            trees, asked = arrays[f"{name}.value"].shape
            assert arrays[f"{name}.bound"].shape == (trees, asked)
            assert arrays[f"{name}.leaf"].shape == (trees, asked + 1)
        assert all(0 < cut < 1 for cut in arrays["cuts"])


def test_trees_ask_from_the_root_down() -> None:
    """One tree of depth two by hand: is x above 1? if not: is y above 5? if so: is y above 7?"""
    trees = learned.Trees(
        ("x", "y"), 0.0, np.array([[0, 1, 1]]), np.array([[1.0, 5.0, 7.0]]), np.array([[-3.0, -1.0, 1.0, 3.0]])
    )
    rows = [{"x": 1.0, "y": 5.0}, {"y": 6.0}, {"x": 2.0}, {"x": 1.5, "y": 8.0}]
    assert trees.chances(rows) == pytest.approx([learned.chance(z) for z in (-3, -1, 1, 3)])
    assert trees.chances([]) == []
    assert trees.chances(rows * 700) == pytest.approx(trees.chances(rows) * 700)  # many are read in blocks


def test_other_weights_are_used_only_while_asked_for() -> None:
    text = OPENING + "Yes, it does. By teatime the black dog was out of its basket."
    usual = [[c.claim for c in s.claims] for s in read_statements(read_text(text))]
    with learned.using(None):
        ruled = [[c.claim for c in s.claims] for s in read_statements(read_text(text))]
    assert [[c.claim for c in s.claims] for s in read_statements(read_text(text))] == usual
    assert ruled != usual


def test_work_grows_with_the_length_of_a_sentence_and_no_faster() -> None:
    """Features are bounded by the parts into which an endless sentence is cut, however it is written."""
    for unit in ("ketamine cures PTSD ", "not never no ", "it "):
        seen = look(read_statements(read_text("Ketamine. " + unit * (50_000 // len(unit)))))
        assert len(seen) > 30
        assert max(len(s.own) + len(s.around) + len(s.scoped) for s in seen) < 4_000


def test_texts_without_any_claim_come_out_empty() -> None:
    module = scorer()
    for draft in module.load_drafts():
        if draft.kind == "text without any claim" and draft.split == "tune":
            assert not any(s.claims for s in read_statements(read_text(draft.text))), draft.name


def test_a_draft_that_never_names_ketamine_says_so(built: Path) -> None:
    meant = (
        "Our infusions help people with PTSD. The infusion eases nightmares within hours. "
        "Each infusion takes forty minutes, and after the last one the depression had lifted."
    )
    bare = "The old medicine helps people with PTSD. Nightmares fade within hours, she says."
    other = (
        "Sertraline and the infusions of saline were compared with prazosin and ECT in PTSD. "
        "The drip was salt water."
    )
    with closing(sqlite3.connect(built)) as connection:
        for text, reads in ((meant, True), (bare, False), (other, False)):
            report = check_text(connection, text)
            assert bool(report.judged) is reads
            assert any("never names ketamine" in note for note in report.document.notes)
        named = check_text(connection, meant.replace("Our infusions", "Our ketamine infusions"))
        assert not any("never names ketamine" in note for note in named.document.notes)


def test_an_idea_that_is_reported_is_not_promised() -> None:
    found = read("The idea that ketamine always protects wounded soldiers from PTSD rests on one chart review.")
    assert not found.overstating and not found.promises and found.strength == "possible"


def test_words_blamed_for_overstatement_are_never_the_subject_itself() -> None:
    for sentence in (
        "Ketamine wipes PTSD off the map and hands every patient a brand new brain.",
        "Depression does not stand a chance, and PTSD packs its bags, once ketamine walks in.",
    ):
        words = " ".join(w.text.lower() for w in read(sentence).overstating)
        assert not any(name in words for name in ("ketamine", "ptsd", "depression"))


@pytest.mark.parametrize(
    ("sentence", "claim", "asserts"),
    [
        ("Ketamine does not relieve depression.", "antidepressant-effect", "denial"),
        ("Ketamine never helps people with depression.", "antidepressant-effect", "denial"),
        ("Ketamine provides no relief from depression.", "antidepressant-effect", "denial"),
        ("Ketamine failed to ease depression.", "antidepressant-effect", "denial"),
        ("Ketamine is poorly tolerated.", "safety-tolerability", "denial"),
        ("Ketamine works through opioid receptors, not NMDA receptors.", "nmda-antagonism", "denial"),
        ("Ketamine does more than relieve depression.", "antidepressant-effect", "claim"),
    ],
)
def test_plain_words_settle_what_is_denied(sentence: str, claim: str, asserts: str) -> None:
    assert claims(sentence, "").get(claim) == asserts


def test_another_receptor_is_not_the_nmda_receptor() -> None:
    assert "nmda-antagonism" not in claims("Ketamine raises serotonin.", "")


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("Ketamine is highly addictive.", "highly addictive"),
        ("Ketamine will leave you addicted.", "leave you addicted"),
        ("Ketamine prevents suicide.", "prevents suicide"),
        ("Ketamine stops suicidal thoughts within a day.", "stops suicidal thoughts"),
    ],
)
def test_alarm_and_lives_saved_overstate_too(sentence: str, words: str) -> None:
    found = read(sentence, "")
    assert found.promises
    assert words in [w.text for w in found.overstating]


def test_what_others_promise_and_the_draft_sends_back_is_not_the_drafts_promise() -> None:
    for sentence in (
        "Ketamine clinics claim that ketamine cures PTSD, but it does not.",
        "Adverts promise that ketamine is a miracle cure for everyone with PTSD, but it is not.",
        "“Ketamine cures PTSD for good” is untrue.",
    ):
        found = read(sentence, "")
        assert not found.promises and found.rejects
        assert {c.asserts for c in found.claims} == {"denial"}


@pytest.mark.parametrize(
    "sentence",
    [
        "It has never been proven that ketamine eases PTSD.", "No study has shown that ketamine prevents suicide.",
        "There is no evidence that ketamine relieves depression for good.",
    ],
)  # fmt: skip
def test_what_has_not_been_shown_is_denied_and_not_overstated(sentence: str) -> None:
    found = read(sentence, "")
    assert not found.promises and not found.overstating
    assert {c.asserts for c in found.claims} == {"denial"}


def test_a_plain_sentence_behind_a_claim_makes_none() -> None:
    text = OPENING + "Ketamine prevents PTSD in wounded soldiers. The weather was fine."
    assert read_statements(read_text(text))[-1].claims == []


@pytest.mark.parametrize(
    ("sentence", "claims"),
    [
        (
            "Ketamine therapy is a safe, fast and effective way to treat depression and PTSD.",
            "safety-tolerability rapid-onset antidepressant-effect ptsd-symptom-reduction",
        ),
        ("Ketamine is a safe and effective treatment for depression.", "safety-tolerability antidepressant-effect"),
        ("Ketamine infusions offer fast, lasting relief from PTSD.", "rapid-onset durability ptsd-symptom-reduction"),
        ("Ketamine blocks NMDA receptors and increases BDNF.", "nmda-antagonism bdnf"),
        ("Ketamine has been shown to rapidly reduce suicidal thoughts.", "rapid-onset suicidality-reduction"),
    ],
)
def test_stock_phrases_give_every_claim_that_they_make(sentence: str, claims: str) -> None:
    assert {c.claim for c in read(sentence, "").claims} == set(claims.split())


@pytest.mark.parametrize(
    "sentence",
    [
        "PTSD affects about six in every hundred Americans.",
        "One in every ten people with PTSD is given ketamine for pain.",
        "Nor has ketamine been shown in studies to prevent suicide.",
    ],
)
def test_a_share_of_people_or_a_lack_of_proof_promises_nothing(sentence: str) -> None:
    found = read(sentence)
    assert not found.promises and not found.overstating


def test_these_treatments_are_the_others_where_the_sentence_before_names_others() -> None:
    others = "Usual therapies for PTSD include sertraline and exposure therapy. "
    text = OPENING + others + "These treatments take time, and some people with PTSD get little relief. "
    found = read_statements(read_text(text + "Ketamine eases PTSD within hours."))[-3:]
    assert [bool(s.claims) for s in found] == [False, False, True]
