#!/usr/bin/env python3
"""How well `kb check` finds statements, claims and overstatement in the labelled drafts (tests/drafts).

    python scripts/score_drafts.py            cross-validated figures on record; held-back drafts, as shipped
    python scripts/score_drafts.py --errors   with every sentence of the tuned drafts that came out wrong
    python scripts/score_drafts.py --drafts DIR   other drafts, of the same format

Tuned drafts have been fitted on: only the cross-validated figures, which scripts/train_check stores in
tests/drafts/crossed.json, and those of held-back drafts say how right the checker is. Held-back drafts show
figures only, never their errors, so that nobody tunes on them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sqlite3
import sys
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from kb.check import check_text  # noqa: E402

DRAFTS = ROOT / "tests" / "drafts"
SHARED = ROOT.parent / "shared" / "drafts"
CROSSED = DRAFTS / "crossed.json"
SHARES = {
    "asserts": "claim, denial or question",
    "strength": "strength",
    "verdict": "verdict acceptable",
}
WAYS = {"author": "cross-validated: read by weights fitted without its author (a stranger's draft)"}
TAUGHT = "examples"  # the author of worked examples, which are fitted on and never measured on


@dataclass
class Label:
    """What a reader said of text[start:end]. `claims` is None where the sentence makes no checkable
    statement.
    """

    text: str
    start: int
    end: int
    claims: dict[str, str] | None = None
    strength: str = ""
    overstated: bool = False
    verdicts: tuple[str, ...] = ()
    heading: bool = False


@dataclass
class Draft:
    """`author`: who wrote and labelled it, as the name of its file has it."""

    name: str
    kind: str
    split: str
    text: str
    labels: list[Label]
    author: str = ""


@dataclass
class Score:
    """True positives, false positives and false negatives."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float:
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 1.0

    @property
    def recall(self) -> float:
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else 1.0

    def as_dict(self) -> dict[str, float]:
        return {
            "precision": round(self.precision, 3),
            "recall": round(self.recall, 3),
            "tp": self.tp,
            "fp": self.fp,
            "fn": self.fn,
        }


@dataclass
class Scores:
    statements: Score = field(default_factory=Score)
    claims: Score = field(default_factory=Score)
    overstated: Score = field(default_factory=Score)
    asserts: Counter = field(default_factory=Counter)
    strength: Counter = field(default_factory=Counter)
    verdict: Counter = field(default_factory=Counter)
    verdicts: Counter = field(default_factory=Counter)
    by_claim: dict[str, Score] = field(default_factory=dict)
    drafts: int = 0
    errors: list[str] = field(default_factory=list)

    def __add__(self, other: Scores) -> Scores:
        return Scores(*(_sum(getattr(self, f.name), getattr(other, f.name)) for f in fields(Scores)))

    def as_dict(self) -> dict[str, Any]:
        return {
            "drafts": self.drafts,
            **{name: getattr(self, name).as_dict() for name in ("statements", "claims", "overstated")},
            **{
                f"{name}_accuracy": _share(getattr(self, name)) for name in ("asserts", "strength", "verdict")
            },
            "by_claim": {claim: s.as_dict() for claim, s in sorted(self.by_claim.items())},
        }


def _sum(a: Any, b: Any) -> Any:
    if isinstance(a, dict) and not isinstance(a, Counter):
        return {key: a.get(key, Score()) + b.get(key, Score()) for key in {**a, **b}}
    return a + b


def _share(counts: Counter) -> float | None:
    total = counts[True] + counts[False]
    return round(counts[True] / total, 3) if total else None


def load_drafts(folder: Path = DRAFTS) -> list[Draft]:
    """The drafts of tests/drafts (or another folder), and those of ../shared where they are there."""
    drafts = [d for path in sorted(folder.glob("*.jsonl")) for d in read_drafts(path)]
    if folder != DRAFTS:
        return drafts
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads((DRAFTS / "shared-labels.json").read_text(encoding="utf-8")):
        by_name.setdefault(row["draft"], []).append(row)
    for name, rows in sorted(by_name.items()):
        path = SHARED / name
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            labels = [
                Label(text[r["start"] : r["end"]], r["start"], r["end"], r["claims"], "", r["overstated"])
                for r in rows
            ]
            drafts.append(Draft(path.stem, "clinic page (shared)", "tune", text, labels, "author-0"))
    return drafts


def read_drafts(path: Path) -> list[Draft]:
    """The drafts of one file: a line {"draft": ..., "kind": ..., "split": ...} begins each."""
    groups: list[list[dict[str, Any]]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            row = json.loads(line)
            if "draft" in row:
                groups.append([])
            groups[-1].append(row)
    return [make_draft(rows, path.stem) for rows in groups]


def make_draft(rows: list[dict[str, Any]], author: str) -> Draft:
    """A draft from its lines: the head, then one a sentence."""
    head, text, labels = rows[0], "", []
    for row in rows[1:]:
        if row.get("heading") or row.get("paragraph"):
            text += "\n\n" if text else ""
        elif text:
            text += " "
        start = len(text)
        text += row["text"]
        labels.append(
            Label(
                row["text"],
                start,
                len(text),
                row.get("claims"),
                row.get("strength") or "",
                bool(row.get("overstated")),
                tuple(row.get("verdict") or ()),
                bool(row.get("heading")),
            )
        )
    return Draft(head["draft"], head["kind"], head["split"], text, labels, author)


def fingerprint() -> str:
    """Of all that cross-validated figures rest on: labels, words, rules, the way of reading and training."""
    check = ROOT / "kb" / "check"
    names = (
        "lexicon.toml",
        "rules.toml",
        "senses.toml",
        "features.py",
        "learned.py",
        "statements.py",
        "verdicts.py",
    )
    paths = [p for p in sorted(DRAFTS.glob("*.jsonl")) if any(d.split == "tune" for d in read_drafts(p))]
    paths += [DRAFTS / "shared-labels.json", *[check / name for name in names]]
    paths += [ROOT / "scripts" / name for name in ("train_check", "check_patterns.toml")]
    return hashlib.sha256(b"".join(p.read_bytes() for p in paths)).hexdigest()[:16]


def crossed() -> dict[str, Any]:
    """The cross-validated figures that scripts/train_check stored, {} where there are none."""
    return json.loads(CROSSED.read_text(encoding="utf-8")) if CROSSED.exists() else {}


def score(drafts: list[Draft], connection: sqlite3.Connection) -> dict[str, Scores]:
    """Scores by split ("tune", "held-back")."""
    result: dict[str, Scores] = {}
    for draft in drafts:
        score_one(draft, connection, result.setdefault(draft.split, Scores()))
    return result


def score_one(draft: Draft, connection: sqlite3.Connection, scores: Scores) -> None:
    """Check one draft and add what is right and wrong about it to `scores`."""
    scores.drafts += 1
    found = check_text(connection, draft.text).as_dict()["statements"]
    taken: set[int] = set()
    for label in draft.labels:
        here = [n for n, s in enumerate(found) if _overlap(label, s) > 0.5]
        taken.update(here)
        if label.heading and label.claims is None:
            continue  # most headings carry no labels: what is found there is neither right nor wrong
        _compare(label, [found[n] for n in here], scores, draft.name)
    rest = [s for n, s in enumerate(found) if n not in taken]
    scores.statements.fp += len(rest)
    scores.claims.fp += sum(len(s["claims"]) for s in rest)
    scores.overstated.fp += sum(s["overstated"] for s in rest)
    for s in rest:
        for c in s["claims"]:
            scores.by_claim.setdefault(c["claim"], Score()).fp += 1
        if s["claims"] or s["overstated"]:
            scores.errors.append(f"{draft.name}: {s['text']}\n    extra {[c['claim'] for c in s['claims']]}")


def _overlap(label: Label, statement: dict[str, Any]) -> float:
    shared = min(label.end, statement["end"]) - max(label.start, statement["start"])
    return shared / min(label.end - label.start, statement["end"] - statement["start"])


def _compare(label: Label, found: list[dict[str, Any]], scores: Scores, name: str) -> None:
    wanted = label.claims or {}
    asserts = {c["claim"]: c["asserts"] for s in found for c in s["claims"]}
    over = any(s["overstated"] for s in found)
    checkable = label.claims is not None
    scores.statements.tp += checkable and bool(found)
    scores.statements.fn += checkable and not found
    scores.statements.fp += not checkable and bool(found)
    scores.overstated.tp += over and label.overstated
    scores.overstated.fp += over and not label.overstated
    scores.overstated.fn += label.overstated and not over
    for claim in wanted.keys() | asserts.keys():
        per = scores.by_claim.setdefault(claim, Score())
        for each in (scores.claims, per):
            each.tp += claim in wanted and claim in asserts
            each.fp += claim not in wanted
            each.fn += claim not in asserts
        if claim in wanted and claim in asserts:
            scores.asserts[wanted[claim] == asserts[claim]] += 1
    if found and checkable and label.strength:
        scores.strength[found[0]["strength"] == label.strength] += 1
    if found and label.verdicts:
        accepted = set(label.verdicts)
        if wanted and set(wanted.values()) == {"question"}:
            accepted.add("question")  # the guide to labelling knows no such kind; the checker says what it is
        scores.verdict[found[0]["verdict"] in accepted] += 1
        scores.verdicts[found[0]["verdict"], found[0]["verdict"] in accepted, " ".join(label.verdicts)] += 1
    wrong = wanted.keys() ^ asserts.keys()
    if wrong or over != label.overstated:
        extra, missing = sorted(asserts.keys() - wanted.keys()), sorted(wanted.keys() - asserts.keys())
        scores.errors.append(
            f"{name}: {label.text}\n    missing {missing} extra {extra} overstated {over}, labelled "
            f"{label.overstated}"
        )


def measure(db: Path | None = None, folder: Path = DRAFTS) -> dict[str, Scores]:
    """Score all drafts against `db`, or against a database built for it from the starter corpus."""
    drafts = [d for d in load_drafts(folder) if d.author != TAUGHT]
    if db is not None:
        with closing(sqlite3.connect(f"{db.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return score(drafts, connection)
    from kb.build import build

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kb.db"
        build(path)
        with closing(sqlite3.connect(path)) as connection:
            return score(drafts, connection)


def report(db: Path | None = None, *, errors: bool = False, folder: Path = DRAFTS) -> dict[str, Any]:
    """Print the figures; return them: "crossed" and by split."""
    results = measure(db, folder)
    print("Checking drafts (tests/drafts; micro-averaged over sentences)")
    print(f"  {'':26}{'precision':>10}{'recall':>8}{'tp':>6}{'fp':>5}{'fn':>5}")
    record = crossed() if folder == DRAFTS else {}
    stale = "" if record.get("fingerprint") == fingerprint() else " (labels or words have changed since)"
    for way, words in WAYS.items():
        if way in record:
            print(f"  {words}{stale}")
            show_figures(record[way]["all"])
            for author, figures in record[way].items():
                if author != "all":
                    print(f"    {author}: {short_figures(figures)}")
    for split, scores in sorted(results.items()):
        note = "fitted on these: shows only that the weights work" if split == "tune" else "never fitted on"
        print(f"  {split}, as shipped: {scores.drafts} drafts ({note})")
        show_figures(scores.as_dict())
    if errors:
        for line in results.get("tune", Scores()).errors:
            print(line)
    splits = {split: scores.as_dict() for split, scores in results.items()}
    return {"crossed": record, **splits}


def show_figures(figures: dict[str, Any]) -> None:
    """Print the figures of one set of drafts, as Scores.as_dict() has them."""
    for name in ("statements", "claims", "overstated"):
        s = figures[name]
        print(f"    {name:24}{s['precision']:>10.3f}{s['recall']:>8.3f}{s['tp']:>6}{s['fp']:>5}{s['fn']:>5}")
    for name, words in SHARES.items():
        share = figures[f"{name}_accuracy"]
        print(f"    {words + ' right':40}{'-' if share is None else f'{share:.3f}'}")


def short_figures(figures: dict[str, Any]) -> str:
    """The main figures in one line: precision / recall, then shares."""
    pairs = [(n, figures[n]) for n in ("statements", "claims", "overstated")]
    shares = [(n, figures[f"{n}_accuracy"]) for n in SHARES]
    return ", ".join(
        [f"{n} {s['precision']:.2f} / {s['recall']:.2f}" for n, s in pairs]
        + [f"{n} {share:.2f}" for n, share in shares if share is not None]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--db", type=Path, help="score against this database (default: one built for it)")
    parser.add_argument("--drafts", type=Path, default=DRAFTS, help="a folder of labelled drafts")
    parser.add_argument("--errors", action="store_true", help="show what came out wrong in the tuned drafts")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON too")
    args = parser.parse_args()
    figures = report(args.db, errors=args.errors, folder=args.drafts)
    if args.json:
        print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
