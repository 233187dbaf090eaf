"""Matters of record as they are told from a sentence alone and from the same sentence inside an article."""

import json
from pathlib import Path

import pytest

from kb.check.facts import Fact, touches
from kb.check.input import read_text
from kb.check.statements import read_statements

RECORD = Path(__file__).resolve().parent.parent / "kb" / "facts.jsonl"
HEADED = "Ketamine for PTSD: what the research says\n\nKetamine is being offered to people with PTSD.\n\n"


@pytest.fixture(scope="module")
def facts() -> dict[str, Fact]:
    rows = [json.loads(line) for line in RECORD.read_text(encoding="utf-8").splitlines()]
    names = ("id", "topic", "statement", "detail", "as_of", "source_title", "source_url")
    return {r["id"]: Fact(*(r[n] for n in names), tuple(r["corrects"])) for r in rows}


@pytest.mark.parametrize("opening", ["", HEADED], ids=["alone", "headed"])
@pytest.mark.parametrize(
    ("sentence", "fact", "agrees"),
    [
        ("The only FDA-approved drugs for PTSD are sertraline and fluoxetine.", "ptsd-approved-drugs", False),
        ("Prozac is FDA approved for PTSD.", "ptsd-approved-drugs", False),
        ("Venlafaxine is approved by the FDA for PTSD.", "ptsd-approved-drugs", False),
        ("Zoloft, Paxil and Effexor are approved by the FDA to treat PTSD.", "ptsd-approved-drugs", False),
        ("The FDA has approved three drugs for PTSD.", "ptsd-approved-drugs", False),
        ("Only two medications are FDA approved for PTSD: Zoloft and Paxil.", "ptsd-approved-drugs", True),
        ("Fluoxetine is not approved by the FDA for PTSD.", "ptsd-approved-drugs", True),
        (
            "Only sertraline and paroxetine are FDA-approved for PTSD, but fluoxetine is also recommended.",
            "ptsd-approved-drugs",
            True,
        ),
        ("Ketamine is a Schedule II controlled substance.", "ketamine-schedule-iii", False),
        ("Ketamine is a Schedule III controlled substance.", "ketamine-schedule-iii", True),
        ("Ketamine is not a Schedule II drug.", "ketamine-schedule-iii", True),
        ("Spravato was approved as a stand-alone treatment in 2023.", "esketamine-alone-2025", False),
        ("In 2025, Spravato was approved as a stand-alone treatment.", "esketamine-alone-2025", True),
        ("Spravato, approved in 2019, can now be used on its own.", "esketamine-alone-2025", True),
        ("Ketamine was approved by the FDA in 1985 as an anesthetic.", "ketamine-first-approved-1970", False),
        ("Ketamine was approved by the FDA in 1970 as an anesthetic.", "ketamine-first-approved-1970", True),
        ("Ketamine was not approved as an anaesthetic until 1970.", "ketamine-first-approved-1970", True),
        ("Ketamine is FDA-approved.", "ketamine-approved-anaesthetic-only", None),
        ("SSRIs take four to six weeks to work, and up to 40 % get no relief.", "ssri-time-course", None),
        ("SSRIs take 8 to 12 weeks to work in PTSD.", "ssri-time-course", True),
        ("The American Psychiatric Association endorses ketamine for PTSD.", "apa-2017-ketamine-consensus", None),
        ("PTSD affects 8 million American adults in a given year.", "ptsd-va-figure", True),
        ("About 12 million adults in the US have PTSD in a year.", "ptsd-nesarc-iii", True),
        ("50 million Americans have PTSD.", "ptsd-nesarc-iii", False),
        ("7 or 8 out of every 100 people will have PTSD.", "ptsd-8-percent-surveys", True),
        ("One in eleven people will be diagnosed with PTSD in their lifetime.", "ptsd-8-7-percent", True),
        ("About 6 of every 100 people have PTSD at some time.", "ptsd-nesarc-iii", True),
        ("About 6 of every 100 people have PTSD.", "ptsd-nesarc-iii", False),
        ("About 6 of every 100 people develop PTSD.", "ptsd-nesarc-iii", None),
        ("One in four American adults has PTSD.", "ptsd-nesarc-iii", False),
        ("Half of all veterans have PTSD.", "ptsd-high-risk-work", None),
        ("Women are twice as likely as men to develop PTSD.", "ptsd-ncs-r", None),
        ("Men and women are equally likely to develop PTSD.", "ptsd-ncs-r", False),
    ],
)
def test_matters_of_record(facts, opening: str, sentence: str, fact: str, agrees: bool | None) -> None:
    found = {made.fact.id: made for made in touches(_last(opening + sentence), facts)}
    assert found[fact].agrees is agrees
    assert agrees is False or not any(made.agrees is False for made in found.values())
    assert agrees is not None or found[fact].figure  # shown to readers though it gives no verdict


@pytest.mark.parametrize(
    "sentence",
    [
        "Half of people with PTSD do not respond to SSRIs.",
        "One in three people with PTSD also have depression.",
        "One in five adults exposed to trauma will develop PTSD.",
        "One in twelve people exposed to trauma have PTSD.",
        "MDMA is a Schedule I controlled substance.",
        "The FDA granted MDMA breakthrough therapy designation for PTSD.",
        "Spravato was approved in Europe in 2018.",
    ],
)
def test_what_no_fact_settles_is_not_held_against_one(facts, sentence: str) -> None:
    assert all(made.agrees is None for made in touches(_last(HEADED + sentence), facts))


def _last(text: str):
    return read_statements(read_text(text))[-1]
