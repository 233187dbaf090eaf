"""Study facets: what a careful reader would note down about a study, and that no text breaks the reader."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.tagging.facets import DESIGNS, POPULATIONS, Facets, _pack, _unpack, read_facets
from kb.tagging.sentences import split

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def facets(title: str, abstract: str = "", **kwargs: list[str]) -> Facets:
    return read_facets(title, split(title, abstract), f"{title}\n{abstract}", **kwargs)


TRIAL = facets(
    "Intravenous ketamine against midazolam in chronic posttraumatic stress disorder: a randomized trial",
    "BACKGROUND: In an older report 300 patients were followed.\n"
    "METHODS: Of 120 people screened, 41 were randomized. Forty-one adults with PTSD received one infusion "
    "of ketamine (0.5 mg/kg over 40 min) or midazolam (0.045 mg/kg) in a double-blind crossover.\n"
    "RESULTS: Symptoms fell more after ketamine (P = 0.02).",
)


def test_trial_as_a_whole() -> None:
    assert TRIAL.study_design == "rct"
    assert TRIAL.sample_size == 41
    assert TRIAL.species == ["humans"]
    assert TRIAL.population == ["civilians-adults"]
    assert "ptsd" in TRIAL.conditions
    assert TRIAL.substances == ["ketamine", "midazolam"]
    assert TRIAL.routes == ["intravenous"]
    assert TRIAL.schedule == "single"
    assert TRIAL.control == "active-placebo"


def test_dose_with_time_and_drug() -> None:
    first, second = TRIAL.doses
    assert (first.substance, first.amount, first.unit, first.minutes) == ("ketamine", 0.5, "mg/kg", 40.0)
    assert first.text == "0.5 mg/kg over 40 min"
    assert (second.substance, second.amount, second.minutes) == ("midazolam", 0.045, None)


@pytest.mark.parametrize(
    ("text", "amount", "high", "unit", "minutes"),
    [
        ("Esketamine 84 mg was sprayed.", 84.0, None, "mg", None),
        ("They got ketamine 0.5-1.0 mg/kg slowly.", 0.5, 1.0, "mg/kg", None),
        ("Ketamine ran at 0.15 mg/kg/h all night.", 0.15, None, "mg/kg/h", None),
        ("Ketamine 6 µg/kg/min was begun.", 6.0, None, "µg/kg/min", None),
        ("Ketamine at 0.5 mg kg-1 was used.", 0.5, None, "mg/kg", None),
        ("Ketamine at 0.5 mg per kilogram of body weight over 40 minutes worked.", 0.5, None, "mg/kg", 40.0),
        ("A 40-min infusion of ketamine 0.5 mg/kg helped.", 0.5, None, "mg/kg", 40.0),
        ("Ketamine .5mg/kg over 1 hour helped.", 0.5, None, "mg/kg", 60.0),
        ("Psilocybin 25 mg/70 kg was swallowed.", 25.0, None, "mg/70 kg", None),
        ("LSD 100 μg was swallowed.", 100.0, None, "µg", None),
    ],
)
def test_dose_forms(text: str, amount: float, high: float | None, unit: str, minutes: float | None) -> None:
    doses = facets("A study", text).doses
    assert len(doses) == 1
    dose = doses[0]
    assert (dose.amount, dose.amount_high, dose.unit, dose.minutes) == (amount, high, unit, minutes)
    assert dose.substance
    assert dose.text in text


@pytest.mark.parametrize(
    "text", ["Plasma reached 3 mg/dl.", "Magnets of 3 T in 2019.", "The drug through 20 weeks."]
)
def test_concentrations_and_plain_numbers_are_no_doses(text: str) -> None:
    assert facets("A study", text).doses == []


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("METHODS: Forty-two adults with depression took part.", 42),
        ("METHODS: One hundred and twenty-seven patients were enrolled.", 127),
        ("METHODS: A total of 1,877 patients were analysed.", 1877),
        ("METHODS: Of 120 patients screened, 41 were randomized.", 41),
        ("METHODS: Patients got ketamine (n = 32) or placebo (n = 31).", 63),
        ("METHODS: By lot, 32 people were allocated to ketamine and 31 to saline.", 63),
        ("METHODS: 30 patients and 25 healthy controls were scanned.", 55),
        ("METHODS: Adults with depression (N = 80) entered, of whom half (N = 43) took pills.", 80),
        ("METHODS: Patients took 20 mg for 6 weeks and 54% improved in 2014.", None),
        ("BACKGROUND: Some 350 million people are depressed.\nMETHODS: We asked about mood.", None),
    ],
)
def test_sample_size(text: str, size: int | None) -> None:
    assert facets("Ketamine infusion in depression: a randomized trial", text).sample_size == size


@pytest.mark.parametrize(
    ("title", "abstract", "design"),
    [
        (
            "Ketamine for low mood: a systematic review and meta-analysis",
            "We searched PubMed.",
            "meta-analysis",
        ),
        (
            "Ketamine for low mood: a systematic review",
            "PubMed and Embase were searched.",
            "systematic-review",
        ),
        ("Ketamine and the brain: a narrative review", "We discuss how it may act.", "review"),
        (
            "Esketamine spray: a post hoc analysis of two randomized trials",
            "Pooled data of 400 adults.",
            "rct",
        ),
        (
            "Ketamine for OCD: an open-label pilot study",
            "Ten adults received an infusion.",
            "nonrandomized-trial",
        ),
        ("Ketamine in a clinic: a retrospective cohort", "Charts of 90 patients were read.", "cohort"),
        (
            "Ketamine use among clubbers: a cross-sectional survey",
            "500 people were surveyed.",
            "cross-sectional",
        ),
        ("Ketamine for grief: a case report", "A 50-year-old woman was treated.", "case-report"),
        ("Ketamine and talk: protocol for a randomised trial", "Sixty adults will be enrolled.", "protocol"),
        (
            "Living through ketamine therapy: a qualitative study",
            "Interviews had thematic analysis.",
            "qualitative",
        ),
        (
            "What ketamine therapy felt like: qualitative interviews with patients",
            "Thirty-nine patients talked for an hour each; the talks were read by thematic analysis.",
            "qualitative",
        ),
        (
            "Bladder trouble and ketamine",
            "In this case-control study 60 ketamine users were set against 60 people of like age.",
            "case-control",
        ),
        ("Ketamine in stressed mice", "METHODS: Mice had the forced swim test after ketamine.", "animal"),
    ],
)
def test_design(title: str, abstract: str, design: str) -> None:
    assert facets(title, abstract).study_design == design


@pytest.mark.parametrize(
    ("kind", "design"),
    [
        ("Meta-Analysis", "meta-analysis"),
        ("Randomized Controlled Trial", "rct"),
        ("Case Reports", "case-report"),
        ("Clinical Trial Protocol", "protocol"),
    ],
)
def test_publication_type_counts_where_the_text_is_silent(kind: str, design: str) -> None:
    assert facets("Ketamine and mood", publication_types=["Journal Article", kind]).study_design == design


def test_mesh_adds_conditions_and_populations() -> None:
    found = facets(
        "Ketamine and memory", mesh=["Humans", "Veterans", "Stress Disorders, Post-Traumatic/drug therapy"]
    )
    assert found.conditions == ["ptsd"]
    assert found.population == ["veterans-military"]
    assert "older-adults" not in facets("Ketamine", mesh=["Humans", "Adult", "Aged"]).population


def test_mesh_species_outweigh_words() -> None:
    found = facets(
        "Ketamine and spines", "Patients may gain; mice and mice were used.", mesh=["Animals", "Mice"]
    )
    assert found.species == ["mice"]
    assert found.population == ["animals"]


@pytest.mark.parametrize(
    ("title", "abstract", "substances"),
    [
        ("Esketamine nasal spray", "Esketamine was sprayed.", ["esketamine"]),
        ("S-ketamine infusion", "S(+)-ketamine was infused; ketamine was liked.", ["esketamine"]),
        ("(R,S)-ketamine infusion", "(R,S)-ketamine was infused.", ["ketamine"]),
        ("R-ketamine in depression", "Arketamine was given.", ["arketamine"]),
        (
            "Intravenous ketamine versus intranasal esketamine",
            "Ketamine or esketamine.",
            ["esketamine", "ketamine"],
        ),
        ("(2R,6R)-hydroxynorketamine in mice", "HNK was given.", ["hydroxynorketamine"]),
        ("The patient's ketamine", "Ketamine's effect was seen; patient’s ketamine.", ["ketamine"]),
        ("Psilocybin and MDMA", "Both helped.", ["mdma", "psilocybin"]),
    ],
)
def test_ketamine_forms_stay_apart(title: str, abstract: str, substances: list[str]) -> None:
    assert sorted(facets(title, abstract).substances) == sorted(substances)


@pytest.mark.parametrize(
    ("title", "abstract", "wanted", "unwanted"),
    [
        ("Ketamine in treatment-resistant depression", "", "depression", "healthy"),
        ("Ketamine in bipolar depression", "", "bipolar", "healthy"),
        ("Ketamine and breathing", "Respiratory depression was seen with opioids.", "", "depression"),
        (
            "Ketamine model of psychosis",
            "METHODS: 20 healthy volunteers received ketamine.",
            "healthy",
            "schizophrenia",
        ),
        ("Ketamine for alcohol use disorder", "Patients drank less.", "alcohol-use", "depression"),
    ],
)
def test_conditions(title: str, abstract: str, wanted: str, unwanted: str) -> None:
    found = facets(title, abstract).conditions
    assert not wanted or wanted in found
    assert unwanted not in found


@pytest.mark.parametrize(
    ("title", "abstract", "population"),
    [
        ("Ketamine in veterans with PTSD", "Veterans were treated.", "veterans-military"),
        ("Ketamine for adolescents with depression", "", "children-adolescents"),
        ("Ketamine in late-life depression", "", "older-adults"),
        ("Esketamine after cesarean delivery", "", "perinatal"),
        ("Ketamine and pain after spine surgery", "", "surgical-trauma-patients"),
        ("Ketamine in healthy volunteers", "", "healthy-volunteers"),
        ("Memory in recreational ketamine users", "", "recreational-users"),
        ("Ketamine in rats", "Rats were given ketamine.", "animals"),
    ],
)
def test_population(title: str, abstract: str, population: str) -> None:
    assert population in facets(title, abstract).population


def test_placebo_control_and_repeated_schedule() -> None:
    found = facets("Repeated ketamine", "Six infusions, placebo-controlled, thrice weekly.")
    assert (found.control, found.schedule) == ("placebo", "repeated")


def test_a_drug_given_to_volunteers_is_no_study_of_the_illness_it_may_help() -> None:
    found = facets(
        "Psilocybin and face reading in healthy volunteers",
        "Psilocybin may relieve depression and anxiety. Twenty volunteers took psilocybin or placebo.",
    )
    assert found.conditions == ["healthy"]


def test_people_with_an_illness_beside_healthy_controls_keep_it() -> None:
    found = facets(
        "Ketamine and reward in patients with depression and healthy controls",
        "Thirty patients with depression and 20 healthy controls received ketamine.",
    )
    assert {"depression", "healthy"} <= set(found.conditions)


def test_low_mood_measured_in_users_is_an_outcome() -> None:
    found = facets(
        "Mood and memory of ketamine users: a cross-sectional survey",
        "We surveyed 90 ketamine users about depressive symptoms, suicidal thoughts and their use.",
    )
    assert found.conditions == ["recreational-use"]


def test_the_illness_of_a_user_treated_is_what_a_case_report_is_about() -> None:
    found = facets(
        "Severe depression in a former ketamine user: a case report",
        "A 30-year-old man with depression, once a regular user at a nightclub, was given electroconvulsion.",
    )
    assert "depression" in found.conditions
    assert "recreational-use" not in found.conditions


@pytest.mark.parametrize("group", ["Eighteen recreational MDMA users", "18 regular ecstasy users"])
def test_a_counted_group_of_users_in_a_trial_is_named(group: str) -> None:
    found = facets(
        "MDMA and driving: a randomized crossover trial", f"{group} took MDMA and placebo. They drove."
    )
    assert "recreational-use" in found.conditions


@pytest.mark.parametrize(
    ("title", "abstract", "schedule"),
    [
        (
            "Ketamine twice: a randomized trial",
            "Patients got a second dose a week later, weekly for a month.",
            "repeated",
        ),
        (
            "Esketamine in induction and maintenance therapy",
            "Maintenance treatment was weekly.",
            "maintenance",
        ),
        ("Esketamine at caesarean section", "Women got a single dose at the end of surgery.", "single"),
        (
            "Acute effects of LSD",
            "Each volunteer was tested for acute effects in a counterbalanced design.",
            "single",
        ),
        ("MDMA and trust: a randomized trial", "Healthy men took MDMA or placebo.", "single"),
        ("Ketamine in daily life", "Sixty adults were asked about daily life.", ""),
        ("Single-dose ketamine: a systematic review", "PubMed was searched for single dose trials.", ""),
    ],
)
def test_schedule(title: str, abstract: str, schedule: str) -> None:
    assert facets(title, abstract).schedule == schedule


def test_the_drug_before_a_dose_has_it_when_two_are_as_near() -> None:
    doses = facets("A study", "Doses were ketamine 0.5 mg/kg propofol 2 mg/kg in turn.").doses
    assert [(dose.substance, dose.amount) for dose in doses] == [("ketamine", 0.5), ("propofol", 2.0)]


def test_same_answer_whatever_the_order_of_hashing() -> None:
    text = (
        "Ketamine, propofol, fentanyl\\nPropofol 1 mg/kg, ketamine 1 mg/kg fentanyl 2 mg/kg in depression, "
        "anxiety, PTSD; placebo, saline or midazolam twice weekly in 40 patients."
    )
    program = (
        "from kb.tagging import read_facets, split\n"
        f"title, _, abstract = '{text}'.partition('\\n')\n"
        "print(read_facets(title, split(title, abstract), title + chr(10) + abstract))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(answers) == 1
    assert "ketamine" in answers.pop()


@given(
    st.lists(
        st.lists(st.integers(-40_000_000, 40_000_000), min_size=14, max_size=14), min_size=1, max_size=40
    )
)
def test_packed_weights_add_up_like_single_ones(rows: list[list[int]]) -> None:
    packed = [_pack(dict(zip(DESIGNS, row, strict=True)), 1) for row in rows]
    assert _unpack(sum(packed)) == [sum(column) for column in zip(*rows, strict=True)]


def check(found: Facets, text: str) -> None:
    assert found.study_design in DESIGNS
    assert found.population and set(found.population) <= set(POPULATIONS)
    assert found.sample_size is None or found.sample_size > 0
    for names in (found.species, found.population, found.conditions, found.substances, found.routes):
        assert len(names) == len(set(names))
    for dose in found.doses:
        assert dose.text in text
        assert dose.amount >= 0


PIECES = st.sampled_from(
    [
        "ketamine",
        "S-ketamine",
        "0.5 mg/kg",
        "over 40 min",
        "n = 12",
        "N=",
        "(",
        "patients",
        "forty-one",
        "hundred",
        "and",
        "to",
        "randomized",
        "%",
        ".",
        "\n",
        "METHODS:",
        "\x00",
        "µg",
        "mg",
        "1,000",
        "of",
        "mice",
        "depression",
        "İ",
        "’",
        "1" * 30,
        "12 to 13 mg",
        " " * 20,
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(max_size=400),
        st.lists(PIECES, max_size=60).map(" ".join),
        st.lists(PIECES, max_size=60).map("".join),
    )
)
def test_any_text_gives_valid_facets(text: str) -> None:
    for variant in (text, text.upper()):
        title, _, abstract = variant.partition("\n")
        check(facets(title, abstract), f"{title}\n{abstract}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1 " * 50_000,
        "n = 1 " * 17_000,
        "hundred and " * 9_000,
        "0.5 mg/kg " * 10_000,
        "a" * 100_000,
        "patients " * 12_000,
        "1 to " * 20_000,
        "mg" * 50_000,
        "= " * 50_000,
        "KETAMINE " * 11_000,
        "\x00\x07" * 50_000,
    ],
    ids=lambda text: repr(text[:9]),
)
def test_hostile_lengths(text: str) -> None:
    check(facets("", text), f"\n{text}")
    check(facets(text, ""), f"{text}\n")


def test_same_answer_every_time() -> None:
    again = facets(
        "Ketamine and esketamine in depression", "Ketamine, esketamine and midazolam in 40 patients."
    )
    assert again == facets(
        "Ketamine and esketamine in depression", "Ketamine, esketamine and midazolam in 40 patients."
    )


@pytest.mark.parametrize(
    ("abstract", "species"),
    [
        ("Mice received ketamine or saline just after the memory was woken. Freezing fell.", "mice"),
        ("Low mood is common in patients. LPS-treated mice were quicker after ketamine.", "mice"),
        ("C57BL/6 mice were treated with ketamine or vehicle.", "mice"),
        ("We measured proteins in the mouse prefrontal cortex after ketamine.", "mice"),
        ("Ketamine raised glutamate in the rat prefrontal cortex.", "rats"),
        ("Rats received ketamine before extinction. Patients with PTSD may gain by it.", "rats"),
        ("In about 30% of patients pills were no help. Mice received ketamine or saline.", "mice"),
        ("Mice were given ketamine. This may help people with PTSD.", "mice"),
        ("In a randomized crossover, monkeys received ketamine or saline; the subjects then rested.", "monkeys"),
    ],
)
def test_animals_named_once_but_tested_are_what_was_studied(abstract: str, species: str) -> None:
    found = facets("Ketamine after stress", abstract)
    assert found.species == [species]
    assert found.study_design == "animal"
    assert found.population == ["animals"]


@pytest.mark.parametrize(
    "abstract",
    [
        "As seen in mice, ketamine may ease fear. Forty adults with PTSD were randomized to ketamine or saline.",
        "Rodent studies suggest a part of BDNF. Thirty patients with PTSD received ketamine or midazolam.",
        "Earlier work in rats was hopeful. Women with PTSD received ketamine or placebo in random order.",
        "Fear was rated by the RATS scale. Forty soldiers with PTSD were randomized to ketamine or placebo.",
    ],
)
def test_animals_of_the_background_leave_a_trial_human(abstract: str) -> None:
    found = facets("Ketamine and fear", abstract)
    assert found.species == ["humans"]
    assert found.study_design == "rct"
    assert "animals" not in found.population


def test_a_study_of_people_and_rats_has_both() -> None:
    found = facets(
        "Ketamine and kindness",
        "Kindness was rated in a sample of participants with low mood after ketamine. Rats helped other rats "
        "more after ketamine.",
    )
    assert set(found.species) == {"humans", "rats"}


def test_publication_type_keeps_a_trial_that_names_mice() -> None:
    found = facets(
        "Ketamine and fear",
        "Mice were given ketamine and fear fell.",
        publication_types=["Randomized Controlled Trial"],
    )
    assert found.study_design == "rct"


@pytest.mark.parametrize("who", ["man", "woman", "soldier", "veteran"])
def test_one_person_is_human(who: str) -> None:
    assert facets("Ketamine for pain", f"A burned {who} got ketamine.").species == ["humans"]


@pytest.mark.parametrize(
    ("title", "abstract", "size"),
    [
        ("Esketamine registry", "METHODS: 1 247 patients with low mood were followed.", 1247),
        ("Esketamine registry", "METHODS: In all, 1\u2009247 patients were followed.", 1247),
        ("Esketamine registry", "METHODS: In group 1 247 patients were followed.", 247),
        ("Esketamine registry", "METHODS: Charts were read (n = 11\u202f714).", 11714),
        ("Ketamine series", "METHODS: After four infusions, depressed patients felt better.", None),
        ("Ketamine and bladder", "METHODS: 40 cases with cystitis were compared with 80 controls.", 120),
        ("Ketamine for grief: a case report", "A widowed woman with long grief was given ketamine.", 1),
        ("Ketamine for grief: two cases", "Two patients, a 40-year-old woman and her aunt, had it.", 2),
        ("Ketamine and bladder: a case-control study", "METHODS: 40 cases and 80 controls were set apart.", 120),
        (
            "Esketamine and delirium after surgery: a randomized trial",
            "RESULTS: Delirium came in 12 of 119 given esketamine versus 29 of 122 given saline.",
            241,
        ),
    ],
)
def test_sizes_told_in_other_ways(title: str, abstract: str, size: int | None) -> None:
    assert facets(title, abstract).sample_size == size


@pytest.mark.parametrize(
    "abstract",
    [
        "Patients received twice-weekly ketamine infusion for 4 weeks, each over 40 min.",
        "Thrice-weekly ketamine infusion was given to patients.",
    ],
)
def test_so_many_times_a_week_is_repeated(abstract: str) -> None:
    assert facets("Ketamine in PTSD", abstract).schedule == "repeated"


@pytest.mark.parametrize(
    "abstract",
    [
        "FORTY VETERANS RECEIVED KETAMINE OR PLACEBO.",
        "Injured soldiers received ketamine on the field.",
        "Ten veterans received ketamine.",
    ],
)
def test_veterans_who_were_treated_are_the_population(abstract: str) -> None:
    assert facets("Ketamine for PTSD", abstract).population == ["veterans-military"]


def test_children_at_an_operation_are_no_healthy_volunteers() -> None:
    found = facets(
        "Ketamine and waking after tonsillectomy",
        "Healthy children having tonsillectomy were randomized to ketamine or saline after the operation.",
    )
    assert "children-adolescents" in found.population
    assert "healthy-volunteers" not in found.population


def test_alcohol_in_the_family_is_not_the_condition() -> None:
    title = "Ketamine and low mood"
    treated = facets(title, "Forty adults with alcohol use disorder were randomized to ketamine or saline.")
    assert "alcohol-use" in treated.conditions
    family = facets(title, "Depressed patients with a family history of alcohol use disorder had ketamine.")
    assert "alcohol-use" not in family.conditions


@pytest.mark.parametrize(
    ("abstract", "routes"),
    [
        ("Infusion of an anti-BDNF antibody undid ketamine in mice.", []),
        ("Local infusion into the habenula of ketamine was done in rats.", ["intracerebral"]),
        ("Patients had an infusion of ketamine.", ["intravenous"]),
    ],
)
def test_an_infusion_into_the_brain_is_not_intravenous(abstract: str, routes: list[str]) -> None:
    assert facets("Ketamine", abstract).routes == routes


@pytest.mark.parametrize(
    ("text", "doses"),
    [
        ("Rats had ketamine 5, 10 or 20 mg/kg.", [(5.0, None), (10.0, 20.0)]),
        ("Rats had ketamine 5, 10, or 20 mg/kg.", [(5.0, None), (10.0, None), (20.0, None)]),
        ("On day 3, 10 mg/kg of ketamine was given.", [(10.0, None)]),
    ],
)
def test_a_list_of_doses(text: str, doses: list[tuple[float, float | None]]) -> None:
    assert [(dose.amount, dose.amount_high) for dose in facets("A study", text).doses] == doses


needs_gold = pytest.mark.skipif(
    not (SHARED / "gold" / "facets_dev.jsonl").exists(),
    reason="no ../shared/gold: the labels are not part of the project",
)


def right(pairs: list[tuple[set[str], set[str], str]]) -> float:
    return sum(gold == found for gold, found, _ in pairs) / len(pairs)


@needs_gold
def test_accuracy_on_abstracts_not_tuned_on() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        from score_facets import score
    finally:
        sys.path.pop(0)
    found = score(SHARED, "unseen")
    assert right(found["design"]) >= 0.83
    assert right(found["ketamine forms"]) >= 0.95
    assert right(found["substances"]) >= 0.92
    assert right(found["population"]) >= 0.76
    assert right(found["sample size"]) >= 0.72
    assert right(found["condition"]) >= 0.69
    assert right(found["schedule"]) >= 0.60
    assert right(found["study type"]) >= 0.76


def test_scoring_says_why_it_skips(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "score_facets.py"), "--shared", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "skipped" in done.stdout
    assert "Traceback" not in done.stderr
