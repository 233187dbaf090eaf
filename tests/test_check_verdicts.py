"""Statements held against evidence made for the test: verdicts, limits, facts, references."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from kb import schema
from kb.check import check_document, check_text
from kb.check.document import Block, Document
from kb.check.verdicts import VERDICTS, load_wording
from kb.tagging import load_claims

FACTS = Path(__file__).resolve().parent.parent / "kb" / "facts.jsonl"
OPENING = "Ketamine for PTSD: what the research says\n\nKetamine is being offered to people with PTSD.\n\n"


class World:
    """A small database: `add` puts in an article with one tag."""

    def __init__(self, path: Path) -> None:
        db = schema.connect(path, create=True)
        self.c: sqlite3.Connection = db.conn
        for claim in load_claims():
            self.c.execute(
                "INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?, ?)",
                (claim.id, claim.group, claim.statement, claim.question, claim.definition, claim.position, 0),
            )
        for line in FACTS.read_text(encoding="utf-8").splitlines():
            f = json.loads(line)
            self.c.execute(
                "INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (f["id"], f["topic"], f["statement"], f["detail"], f["as_of"], f["source_title"],
                 f["source_url"],
                 json.dumps(f["corrects"]), json.dumps([])),
            )  # fmt: skip
        self.c.execute("INSERT OR REPLACE INTO meta VALUES ('data_version', '42')")
        self.n = 0

    def add(
        self, claim: str, stance: str, design: str = "rct", *, n: int | None = 50,
        condition: str = "depression",
        population: str = "civilians-adults", retracted: int = 0, year: int = 2020,
        author: str = "Example A, Other B",
    ) -> str:  # fmt: skip
        from kb.evidence import tier_of

        self.n += 1
        key = str(700000 + self.n)
        self.c.execute(
            "INSERT INTO articles (id, pmid, doi, title, abstract, abstract_origin, journal, year, "
            "author_list, "
            "study_design, evidence_tier, sample_size, population, retracted, source, first_seen, last_seen, "
            "content_hash, title_key) VALUES (?, ?, ?, ?, 'x', 'publisher', 'Journal', ?, ?, ?, ?, ?, ?, ?, "
            "'test', "
            "'2026', '2026', 'h', ?)",
            (key, key, f"10.5555/{key}", f"Study {key}", year, author, design, tier_of(design), n, population,
             retracted, key),
        )  # fmt: skip
        self.c.execute(
            "INSERT INTO sentences (article_id, position, section, text, start, end) VALUES (?, 1, "
            "'RESULTS', ?, 0, 1)",
            (key, f"Finding {stance} of {key}."),
        )
        sentence = self.c.execute("SELECT max(id) FROM sentences").fetchone()[0]
        self.c.execute(
            "INSERT INTO tags (article_id, claim_id, stance, confidence, sentence_id, origin, "
            "tagger_version, tagged) "
            "VALUES (?, ?, ?, 0.9, ?, 'tagger', '1', '2026')",
            (key, claim, stance, sentence),
        )
        self.c.execute("INSERT INTO conditions VALUES (?, ?)", (key, condition))
        self.c.execute("INSERT INTO populations VALUES (?, ?)", (key, population))
        return key

    def check(self, sentence: str, opening: str = OPENING) -> dict:
        """The statement of the report for a sentence put after an opening that makes no claim of its own."""
        found = check_text(self.c, opening + sentence).as_dict()["statements"]
        return next(s for s in found if s["start"] >= len(opening))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "kb.db")


def support(world: World, claim: str, **values: object) -> None:
    for _ in range(4):
        world.add(claim, "supports", **values)


def test_few_findings_in_the_people_named_are_a_limit(world: World) -> None:
    support(world, "antidepressant-effect")
    world.add("antidepressant-effect", "supports", population="children-adolescents")
    found = world.check("Ketamine can relieve depression in children.")
    assert found["verdict"] == "supported-with-limits"
    assert "Only 1 of the findings here is in" in found["claims"][0]["limits"]


def test_well_supported_and_the_case_against_is_shown(world: World) -> None:
    support(world, "antidepressant-effect")
    against = world.add("antidepressant-effect", "contradicts")
    found = world.check("Ketamine can relieve depression.")
    assert found["verdict"] == "well-supported" and not found["overstated"] and found["suggestion"] == ""
    claim = found["claims"][0]
    assert (claim["verdict"], claim["tier"], claim["judgement"]) == (
        "mostly-support",
        "trial",
        "well-supported",
    )
    assert claim["counts"]["tiers"] == [{"tier": "trial", "supports": 4, "mixed": 0, "contradicts": 1}]
    assert len(claim["for"]) == 3 and [q["article_id"] for q in claim["against"]] == [against]
    quote = claim["against"][0]
    assert (
        quote["sentence"] == f"Finding contradicts of {against}."
        and quote["n"] == 50
        and quote["year"] == 2020
    )
    assert quote["url"] == f"https://pubmed.ncbi.nlm.nih.gov/{against}/" and quote["citation"].startswith(
        "Example A et al."
    )


def test_automatic_findings_that_agree_are_never_called_consistent(world: World) -> None:
    support(world, "rapid-onset")
    found = world.check("Ketamine can relieve depression within hours.")
    claim = next(c for c in found["claims"] if c["claim"] == "rapid-onset")
    assert (claim["verdict"], claim["judgement"]) == ("mostly-support", "well-supported")
    assert "automatic reading may miss some" in claim["words"]
    world.c.execute("UPDATE tags SET origin = 'reviewer'")
    found = world.check("Ketamine can relieve depression within hours.")
    claim = next(c for c in found["claims"] if c["claim"] == "rapid-onset")
    assert claim["verdict"] == "consistent-support" and "automatic" not in claim["words"]


def test_stronger_than_the_evidence_with_words_and_wording(world: World) -> None:
    support(world, "antidepressant-effect")
    found = world.check("Ketamine cures depression.")
    assert found["verdict"] == "overstated" and found["overstated"] and found["overstating"] == ["cures"]
    assert "may reduce" in found["suggestion"] or "can reduce" in found["suggestion"]
    assert found["advice"]


@pytest.mark.parametrize(
    ("sentence", "verdict", "words"),
    [
        ("Ketamine is superior to SSRIs for PTSD.", "overstated", "superior to SSRIs"),
        ("Ketamine is more helpful in PTSD than talk therapy.", "overstated",
         "more helpful in PTSD than talk therapy"),
        ("Ketamine relieves PTSD where nothing else does.", "overstated", "where nothing else does"),
        ("Ketamine may be better than antidepressants for PTSD.", "not-enough-evidence",
         "better than antidepressants"),
        ("In one trial ketamine was better than sertraline for PTSD.", "not-enough-evidence",
         "better than sertraline"),
        ("Ketamine is less effective than sertraline for PTSD.", "not-enough-evidence",
         "less effective than sertraline"),
        ("Ketamine is not better than antidepressants for PTSD.", "not-enough-evidence",
         "better than antidepressants"),
    ],
)  # fmt: skip
def test_findings_on_ketamine_carry_no_comparison(
    world: World, sentence: str, verdict: str, words: str
) -> None:
    support(world, "ptsd-symptom-reduction", condition="ptsd")
    found = world.check(sentence)
    assert found["verdict"] == verdict and found["overstated"] is (verdict == "overstated")
    (claim,) = found["claims"]
    assert "head-to-head" in claim["limits"] and words in claim["limits"]
    if verdict == "overstated":
        assert words in found["overstating"] and "head-to-head" in found["suggestion"]
    if claim["asserts"] == "claim":
        assert words in found["suggestion"]


def test_faster_than_another_drug_stays_a_claim_on_speed(world: World) -> None:
    support(world, "rapid-onset", condition="ptsd")
    found = world.check("Ketamine acts on PTSD much faster than SSRIs do.")
    claim = next(c for c in found["claims"] if c["claim"] == "rapid-onset")
    assert claim["judgement"] == "supported-with-limits" and not found["overstated"]
    assert "faster than SSRIs" in claim["limits"] and "faster than SSRIs" in found["suggestion"]
    assert world.check("Ketamine acts within hours.")["verdict"] == "well-supported"


def test_receptors_in_the_illness_are_not_shown_by_trials_of_ketamine(world: World) -> None:
    support(world, "nmda-antagonism")
    found = world.check("The NMDA receptor has a large part in how intrusive memories form.")
    assert found["verdict"] == "not-enough-evidence" and "illness" in found["claims"][0]["limits"]
    assert {f["id"] for f in found["facts"]} >= {"nmda-overactivity-ptsd", "nmda-block-intrusive-memory"}
    assert world.check("Ketamine works by blocking NMDA receptors.")["verdict"] == "well-supported"


def test_a_recommendation_that_the_guideline_speaks_against(world: World) -> None:
    support(world, "ptsd-symptom-reduction", condition="ptsd")
    text = OPENING + "There is a huge potential for ketamine to be a leading recommendation for PTSD."
    report = check_text(world.c, text)
    data = report.as_dict()
    place = next(n for n, s in enumerate(data["statements"]) if s["start"] >= len(OPENING))
    found = data["statements"][place]
    assert found["verdict"] == "overstated" and "huge potential" in found["overstating"]
    assert [(f["id"], f["agrees"]) for f in found["facts"]] == [("vadod-2023-against-ketamine", False)]
    assert place in data["summary"]["fix_first"]
    for form in ("text", "markdown", "html"):
        assert "Stronger than the evidence; disagrees with a fact on record" in report.render(form)
    assert world.check("Ketamine is not recommended for PTSD.")["facts"][0]["agrees"] is True
    assert not world.check("Ketamine can help in PTSD after the recommended treatments have failed.")["facts"]


def test_the_wording_offered_does_not_gainsay_the_verdict(world: World) -> None:
    for stance in ("supports", "contradicts", "contradicts", "contradicts", "contradicts", "contradicts"):
        world.add("anti-inflammatory", stance)
    found = world.check("Ketamine lowers inflammation.")
    assert found["claims"][0]["judgement"] == "contradicted"
    assert "5 of 6" in found["suggestion"] and "against" in found["suggestion"]
    assert "differ" not in found["suggestion"]
    support(world, "bdnf")
    found = world.check("Ketamine always raises BDNF in everyone.")
    assert found["verdict"] == "overstated" and "differ" not in found["suggestion"]


def test_a_finding_without_a_sentence_shows_the_note_and_never_the_title(world: World) -> None:
    support(world, "antidepressant-effect")
    noted, bare = (world.add("antidepressant-effect", stance) for stance in ("contradicts", "mixed"))
    world.c.execute("UPDATE tags SET sentence_id = NULL WHERE article_id IN (?, ?)", (noted, bare))
    world.c.execute(
        "UPDATE tags SET origin = 'reviewer', reason = 'Both groups got better alike.' WHERE article_id = ?",
        (noted,),
    )
    report = check_text(world.c, OPENING + "Ketamine can relieve depression.")
    quotes = {q["article_id"]: q for q in report.as_dict()["statements"][-1]["claims"][0]["against"]}
    assert quotes[noted]["note"] == "Both groups got better alike." and quotes[noted]["sentence"] == ""
    assert quotes[bare]["note"] == "" and quotes[bare]["sentence_from"] == "none"
    for form in ("text", "markdown", "html"):
        shown = report.render(form).replace("\\", "").replace("&#x27;", "'")
        assert "reviewer's note: Both groups got better alike." in shown and "no single sentence" in shown
        for title in (f"Study {noted}", f"Study {bare}"):
            assert f"“{title}”" not in shown and f"<q>{title}</q>" not in shown


def test_mixed_evidence_is_disputed(world: World) -> None:
    for stance in ("supports", "supports", "contradicts", "contradicts"):
        world.add("durability", stance)
    found = world.check("The benefits last for months.")
    assert found["verdict"] == "disputed" and not found["overstated"]
    assert {q["stance"] for q in found["claims"][0]["against"]} == {"contradicts"}


def test_evidence_against(world: World) -> None:
    for _ in range(4):
        world.add("bdnf", "contradicts")
    flat = world.check("It raises BDNF.")
    assert flat["verdict"] == "contradicted" and not flat["overstated"]
    denial = world.check("It does not raise BDNF.")
    assert denial["verdict"] == "well-supported" and denial["claims"][0]["for"][0]["stance"] == "contradicts"


def test_too_little_evidence(world: World) -> None:
    world.add("fear-memory", "supports")
    assert world.check("It weakens fear memories.")["verdict"] == "not-enough-evidence"
    doubt = world.check("There is no evidence that it weakens fear memories.")
    assert doubt["verdict"] == "well-supported" and doubt["claims"][0]["asserts"] == "denial"


def test_a_denial_of_what_is_well_supported(world: World) -> None:
    support(world, "rapid-onset")
    flat = world.check("Ketamine does not act within hours.")
    assert flat["verdict"] == "contradicted" and not flat["overstated"]
    soft = world.check("Whether ketamine acts within hours is not known.")
    assert soft["verdict"] == "question" and not soft["overstated"]


def test_support_that_is_in_animals_only(world: World) -> None:
    support(world, "synaptic-plasticity", design="animal", population="animals")
    found = world.check("It may help patients to grow new synapses.")
    assert found["verdict"] == "supported-with-limits" and "animals" in found["claims"][0]["limits"]
    assert world.check("In mice it helps synapses to grow.")["verdict"] == "well-supported"


def test_support_in_another_condition_or_other_people(world: World) -> None:
    support(world, "rapid-onset", condition="depression")
    found = world.check("It can relieve PTSD within hours.")
    limits = {c["claim"]: c["limits"] for c in found["claims"]}
    assert "None of the findings here is in PTSD" in limits["rapid-onset"]
    support(world, "ptsd-symptom-reduction", condition="ptsd")
    world.add("ptsd-symptom-reduction", "contradicts", condition="ptsd", population="veterans-military")
    found = world.check("It can reduce PTSD symptoms in veterans.")
    assert found["verdict"] == "supported-with-limits" and "0 for, 1 against" in found["claims"][0]["limits"]
    assert found["claims"][0]["against"][0]["population"] == "veterans-military"


def test_retracted_articles_are_neither_counted_nor_quoted(world: World) -> None:
    support(world, "antidepressant-effect", retracted=1)
    found = world.check("Ketamine relieves depression.")["claims"][0]
    assert found["verdict"] == "too-little" and found["for"] == []


def test_a_question_gets_the_evidence_and_no_verdict(world: World) -> None:
    support(world, "antidepressant-effect")
    found = world.check("Does ketamine relieve depression?")
    assert found["verdict"] == "question" and found["claims"][0]["for"] and not found["overstated"]


def test_a_report_of_one_study_is_not_contradicted(world: World) -> None:
    for _ in range(4):
        world.add("anti-inflammatory", "contradicts")
    world.add("anti-inflammatory", "supports", design="cohort")
    found = world.check("One trial of ketamine found lower cytokines.")
    assert found["verdict"] == "disputed" and not found["overstated"]


def test_every_claim_and_verdict_has_its_wording() -> None:
    wording = load_wording()
    assert set(wording["claims"]) == {claim.id for claim in load_claims()}
    assert all(entry["may"] and entry["name"] for entry in wording["claims"].values())
    assert len(VERDICTS) == 8


# --- facts ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sentence", "fact", "agrees"),
    [
        ("Ketamine is FDA approved for PTSD.", "ketamine-approved-anaesthetic-only", False),
        ("The FDA has not approved ketamine for depression.", "ketamine-approved-anaesthetic-only", True),
        ("Ketamine for depression is off label.", "ketamine-approved-anaesthetic-only", True),
        ("Spravato is approved for PTSD.", "esketamine-not-approved-for-ptsd", False),
        (
            "The FDA approved esketamine for resistant depression in 2019.",
            "esketamine-approvals-2019-2020",
            True,
        ),
        (
            "The FDA approved esketamine for resistant depression in 2015.",
            "esketamine-approvals-2019-2020",
            False,
        ),
        ("8.7% of Americans have PTSD.", "ptsd-8-7-percent", False),
        ("By age 75, 8.7% of Americans will have PTSD at some point.", "ptsd-8-7-percent", True),
        ("About 6% of US adults have PTSD at some point in their lives.", "ptsd-nesarc-iii", True),
        ("Some 40% of Americans live with PTSD.", "ptsd-nesarc-iii", False),
        ("The VA/DoD guideline suggests against ketamine for PTSD.", "vadod-2023-against-ketamine", True),
        ("Guidelines recommend ketamine for PTSD.", "vadod-2023-against-ketamine", False),
        ("Soldiers who had ketamine in surgery did not develop PTSD.", "soldiers-story-origin", False),
        ("In people with PTSD the NMDA receptor is overactive.", "nmda-overactivity-ptsd", False),
        ("Ketamine makes neurons regenerate.", "synapses-not-neurons", False),
        ("Ketamine is a Schedule III drug.", "ketamine-schedule-iii", True),
        ("The infusion gives 0.5 mg/kg of ketamine over 40 minutes.", "iv-dose-convention", True),
        ("Ketamine has no side effects.", "ketamine-known-risks", False),
    ],
)
def test_matters_of_record(world: World, sentence: str, fact: str, agrees: bool) -> None:
    facts = {f["id"]: f for f in world.check(sentence)["facts"]}
    assert facts[fact]["agrees"] is agrees
    assert facts[fact]["as_of"] and facts[fact]["source_url"].startswith("https://")


def test_a_wrong_approval_is_an_overstatement_and_a_wrong_prevalence_is_not(world: World) -> None:
    approval = world.check("Ketamine is FDA approved for PTSD.")
    assert approval["overstated"] and approval["verdict"] == "matter-of-record" and approval["suggestion"]
    prevalence = world.check("8.7% of Americans have PTSD.")
    assert not prevalence["overstated"] and prevalence["verdict"] == "matter-of-record"
    assert world.check("By age 75, 8.7% of Americans will have PTSD at some point.")["suggestion"] == ""


def test_a_fact_without_a_rule_is_found_by_what_it_corrects(world: World) -> None:
    world.c.execute(
        "INSERT INTO facts VALUES ('lemon', 'history', 'Lemons are yellow.', '', '2026-01', 'Almanac', "
        "'https://example.org/', ?, '[]')",
        (json.dumps(["ketamine lozenges taste of bananas"]),),
    )
    assert world.check("Our ketamine lozenges always taste of bananas.")["facts"][0]["id"] == "lemon"


# --- references -------------------------------------------------------------------------------------------
def test_references_are_resolved_in_the_database_only(world: World) -> None:
    good = world.add("ptsd-symptom-reduction", "contradicts", author="Müller-Lang C, Other B", year=2021)
    gone = world.add("ptsd-symptom-reduction", "supports", retracted=1)
    world.c.execute(
        "INSERT INTO corrections (article_id, kind, citation) VALUES (?, 'erratum', 'J. 2022')", (good,)
    )
    text = OPENING + (
        f"Ketamine reduces PTSD symptoms (PMID: {good}). It eased them before "
        f"(https://doi.org/10.5555/{gone}). "
        "Others agree (Müller-Lang et al., 2021; Nobody et al., 1999; PMID 99999999). In March 2014 it "
        "rained. "
        "See https://pubmed.ncbi.nlm.nih.gov/12345/ too."
    )
    found = check_text(world.c, text).as_dict()["references"]
    by_text = {r["text"]: r for r in found}
    assert all(text[r["start"] : r["end"]] == r["text"] for r in found)
    first = by_text[f"PMID: {good}"]
    assert first["status"] == "found" and first["corrections"] == ["erratum: J. 2022"]
    assert first["disagrees"] and "does not say" in first["note"]
    assert by_text[f"10.5555/{gone}"]["retracted"] and "retracted" in by_text[f"10.5555/{gone}"]["note"]
    assert by_text["Müller-Lang et al., 2021"]["article_id"] == good
    assert by_text["Nobody et al., 1999"]["status"] == "not-found"
    assert by_text["PMID 99999999"]["status"] == "not-found"
    assert [r["value"] for r in found if r["kind"] == "pmid" and "ncbi" in r["text"]] == ["12345"]
    assert not any("2014" in r["text"] for r in found)


def test_a_wrong_reference_is_among_what_to_fix_first(world: World) -> None:
    support(world, "ptsd-symptom-reduction", condition="ptsd")
    against = world.add("ptsd-symptom-reduction", "contradicts", condition="ptsd")
    report = check_text(world.c, OPENING + f"Ketamine can reduce PTSD symptoms (PMID {against}). It may help PTSD.")
    assert [(n, report.miscited(j)) for n, j in report.worst()] == [(0, "cites a study that found otherwise")]
    assert "1 reference is retracted or found otherwise" in report.headline()
    for text in (report.to_text(), report.to_markdown(), report.to_html()):
        assert "Fix first" in text and "cites a study that found otherwise" in text
    draft = OPENING + "Ketamine can reduce PTSD symptoms.[1]\n\nReferences\n\n"
    draft += f"1. Example A. A study. PMID {against}\n\nEnd"
    for text in (draft, draft.replace("\n", "\r\n")):  # forms of browsers end lines with both characters
        listed = check_text(world.c, text)
        assert [listed.miscited(j) for _, j in listed.worst()] == ["cites a study that found otherwise"]


def test_links_of_a_page_are_references_too(world: World) -> None:
    key = world.add("ptsd-symptom-reduction", "supports")
    document = Document("Ketamine helps PTSD, see here.", [Block(0, 30, "paragraph")], "html",
                        links=[(25, 29, f"https://pubmed.ncbi.nlm.nih.gov/{key}/")])  # fmt: skip
    reference = check_document(world.c, document).references[0]
    assert (reference.text, reference.article_id, reference.disagrees) == ("here", key, False)


def test_two_articles_of_one_name_and_year_are_ambiguous(world: World) -> None:
    for _ in range(2):
        world.add("bdnf", "supports", author="Example A, Other B", year=2020)
    reference = check_text(world.c, OPENING + "Ketamine raised BDNF (Example et al., 2020).").references[0]
    assert reference.status == "ambiguous" and "PMID" in reference.note


def test_rows_by_name_do_as_well(world: World) -> None:
    support(world, "antidepressant-effect")
    world.c.row_factory = sqlite3.Row
    assert world.check("Ketamine relieves depression.")["verdict"] == "well-supported"
