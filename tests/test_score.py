"""The scoring script: its figures on hand-made labels, and what it says without the labelled texts."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LABELS = ROOT / "tests" / "labels"
sys.path.insert(0, str(ROOT / "scripts"))

import labelled  # noqa: E402
import scoring  # noqa: E402

from kb.tagging import STANCES, load_claims, split  # noqa: E402


def item(number, gold):
    abstract = "Ketamine reduced depression. It was safe. Nobody relapsed."
    return labelled.Labelled(str(number), "A trial", abstract, gold, "dev")


def test_figures_on_a_hand_made_case():
    items = [
        item(1, {"antidepressant-effect": ("supports", ["ketamine reduced depression"])}),
        item(2, {"antidepressant-effect": ("background", ["ketamine reduced depression"])}),
        item(3, {"durability": ("supports", ["nobody relapsed"])}),
        item(4, {}),
    ]
    row = {"claim": "antidepressant-effect", "stance": "supports", "sentences": [1], "confidence": 0.95}
    result = scoring.score(
        items,
        {"1": [row], "2": [row | {"sentences": [2], "confidence": 0.35}], "4": [row | {"confidence": 0.35}]},
    )
    assert (result["tag"]["p"], result["tag"]["r"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert result["finding"]["p"] == pytest.approx(1 / 3)
    assert result["finding"]["r"] == pytest.approx(1 / 2)
    assert result["strict"]["f1"] == pytest.approx(1 / 3)
    assert result["stance"] == 1
    assert result["evidence"] == 0.5
    assert result["confusion"] == {
        "supports -> supports": 1,
        "background -> supports": 1,
        "supports -> (no tag)": 1,
        "(no label) -> supports": 1,
    }
    assert result["calibration"] == {"0.3": {"tags": 2, "right": 0}, "0.9": {"tags": 1, "right": 1}}


def test_what_wrong_tags_do_to_verdicts():
    def labels(stance):
        return {"durability": (stance, [])}

    items = [item(n, labels("contradicts" if n < 3 else "supports")) for n in range(6)]
    for one in items:
        one.design = "rct"

    def told(*stances):
        rows = {str(n): [{"claim": "durability", "stance": s}] for n, s in enumerate(stances) if s}
        return scoring.verdicts(items, rows, draws=2, size=6)

    s, c = "supports", "contradicts"
    assert told(c, c, c, s, s, s) == {
        "verdicts": 2, "draws": 2, "size": 6, "same": 1.0, "weaker": 0.0, "stronger": 0.0, "opposite": 0.0
    }  # fmt: skip
    assert told(c, s, s, s, s, s)["stronger"] == 1.0, "labels: mixed; tags: mostly support"
    for one in items[:2]:
        one.gold = labels(s)
    assert told(c, c, c, s, s, s)["weaker"] == 1.0, "labels: mostly support"
    assert told(c, c, c, c, c, s)["opposite"] == 1.0
    items[2].gold = labels(s)
    assert told(s, s, s, s, s, s)["weaker"] == 1.0, "what no reviewer has labelled is never called consistent"
    assert told("background", "background", s, s)["weaker"] == 1.0, "too little"
    items[0].design = items[1].design = items[2].design = items[3].design = ""
    assert told(s, s, s, s, s, s)["verdicts"] == 0, "two findings are no verdict"


def test_wilson_interval():
    assert scoring.wilson(0, 0) is None
    low, high = scoring.wilson(9, 10)
    assert (round(low, 3), round(high, 3)) == (0.596, 0.982)


def test_near_duplicates_share_a_group():
    long = "one two three four five six seven eight nine ten eleven twelve"
    items = [
        labelled.Labelled(str(i), "t", text, {}, "dev")
        for i, text in enumerate((long, long + " more", "other words"))
    ]
    labelled.set_groups(items)
    assert items[0].group == items[1].group != items[2].group


@pytest.mark.parametrize("name", ["tuning.jsonl", "heldback.jsonl", "cv.jsonl"])
def test_label_files_hold_numbers_not_text(name):
    for line in (LABELS / name).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert set(row) == {"id", "set", "rows"}
        for tag in row["rows"]:
            assert set(tag) <= {"claim", "stance", "sentences", "confidence"}
            assert all(isinstance(number, int) for number in tag["sentences"])


def test_sentence_labels_hold_numbers_not_text():
    rows = [json.loads(line) for line in (LABELS / "sentences.jsonl").read_text(encoding="utf-8").splitlines()]
    claims = {claim.id for claim in load_claims()}
    for row in rows:
        assert set(row) == {"id", "parts", "claims"}
        assert set(row["parts"]) <= set("TBOMRCFX")
        for claim, said in row["claims"].items():
            assert claim in claims
            assert all(int(at) < len(row["parts"]) and stance in STANCES for at, stance in said.items())
    held = {json.loads(line)["id"] for line in (LABELS / "heldback.jsonl").read_text().splitlines()}
    assert not held & {row["id"] for row in rows}


@pytest.mark.skipif(bool(labelled.missing()), reason=labelled.missing() or "-")
def test_sentence_labels_fit_the_sentences():
    known = labelled.read_sentences()
    for item in labelled.read_dev() + labelled.read_own("tuning"):
        last = split(item.title, item.abstract)[-1].position
        assert len(known[item.id]["parts"]) == last + 1, item.id


def test_held_back_labels_are_not_among_the_others():
    ids = {
        name: {json.loads(line)["id"] for line in (LABELS / f"{name}.jsonl").read_text().splitlines()}
        for name in ("tuning", "heldback", "cv")
    }
    assert not ids["heldback"] & (ids["tuning"] | ids["cv"])


@pytest.mark.parametrize("name", ["written", "varied", "varied-heldback"])
def test_invented_abstracts_mark_sentences_that_are_there(name):
    claims = {claim.id for claim in load_claims()}
    rows = [json.loads(line) for line in (LABELS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        assert set(row) == {"id", "sentences", "rows"} and len(row["sentences"]) > 4
        assert len({tag["claim"] for tag in row["rows"]}) == len(row["rows"])
        for tag in row["rows"]:
            assert tag["claim"] in claims and tag["stance"] in STANCES
            assert 1 <= len(tag["sentences"]) <= 3 and max(tag["sentences"]) < len(row["sentences"])
    assert len(labelled.read_invented(name)) == len({row["id"] for row in rows}) == len(rows)


def test_invented_abstracts_held_back_are_not_fitted_on():
    held = {item.abstract for item in labelled.read_invented("varied-heldback")}
    assert not held & {item.abstract for name in ("written", "varied") for item in labelled.read_invented(name)}


def test_without_the_labelled_texts_it_says_so(tmp_path):
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / "scripts", copy / "scripts")
    done = subprocess.run(
        [sys.executable, str(copy / "scripts" / "score")], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0
    assert "skipped" in done.stdout
    assert "not beside the checkout" in done.stdout
    assert done.stderr == ""


def test_it_scores_from_any_directory(tmp_path):
    if reason := labelled.missing():
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "score"), "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    tags = json.loads(done.stdout)["tags"]
    assert tags["cross_validated_dev"]["abstracts"] == 574
    assert 0 < tags["cross_validated_dev"]["tag"]["f1"] <= 1
