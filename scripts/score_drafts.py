#!/usr/bin/env python3
"""How well `kb check` finds statements, claims and overstatement in the labelled drafts (tests/drafts).

    python scripts/score_drafts.py            tuned and held-back drafts, as counts, precision and recall
    python scripts/score_drafts.py --errors   with every sentence of the tuned drafts that came out wrong

The held-back drafts show figures only, never their errors, so that nobody tunes on them.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from kb.check import check_text  # noqa: E402

DRAFTS = ROOT / "tests" / "drafts"
SHARED = ROOT.parent / "shared" / "drafts"
GOALS = {"claims": 0.85, "overstated": 0.80}


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


@dataclass
class Draft:
    name: str
    kind: str
    split: str
    text: str
    labels: list[Label]


@dataclass
class Score:
    """True positives, false positives and false negatives."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

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
    by_claim: dict[str, Score] = field(default_factory=dict)
    drafts: int = 0
    errors: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "drafts": self.drafts,
            **{name: getattr(self, name).as_dict() for name in ("statements", "claims", "overstated")},
            **{
                f"{name}_accuracy": _share(getattr(self, name)) for name in ("asserts", "strength", "verdict")
            },
            "by_claim": {claim: s.as_dict() for claim, s in sorted(self.by_claim.items())},
        }


def _share(counts: Counter) -> float | None:
    total = counts[True] + counts[False]
    return round(counts[True] / total, 3) if total else None


def load_drafts() -> list[Draft]:
    """The drafts of tests/drafts, and those of ../shared where they are there."""
    drafts = [_read(path) for path in sorted(DRAFTS.glob("*.jsonl"))]
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
            drafts.append(Draft(path.stem, "clinic page (shared)", "tune", text, labels))
    return drafts


def _read(path: Path) -> Draft:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
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
                row.get("strength", ""),
                row.get("overstated", False),
                tuple(row.get("verdict", ())),
            )
        )
    return Draft(head["draft"], head["kind"], head["split"], text, labels)


def score(drafts: list[Draft], connection: sqlite3.Connection) -> dict[str, Scores]:
    """Scores by split ("tune", "held-back")."""
    result: dict[str, Scores] = {}
    for draft in drafts:
        scores = result.setdefault(draft.split, Scores())
        scores.drafts += 1
        found = check_text(connection, draft.text).as_dict()["statements"]
        taken: set[int] = set()
        for label in draft.labels:
            here = [n for n, s in enumerate(found) if _overlap(label, s) > 0.5]
            taken.update(here)
            _compare(label, [found[n] for n in here], scores, draft.name)
        rest = [s for n, s in enumerate(found) if n not in taken]
        scores.statements.fp += len(rest)
        scores.claims.fp += sum(len(s["claims"]) for s in rest)
        scores.overstated.fp += sum(s["overstated"] for s in rest)
        for s in rest:
            for c in s["claims"]:
                scores.by_claim.setdefault(c["claim"], Score()).fp += 1
            if s["claims"] or s["overstated"]:
                scores.errors.append(
                    f"{draft.name}: {s['text']}\n    extra {[c['claim'] for c in s['claims']]}"
                )
    return result


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
        scores.verdict[found[0]["verdict"] in label.verdicts] += 1
    wrong = wanted.keys() ^ asserts.keys()
    if wrong or over != label.overstated:
        extra, missing = sorted(asserts.keys() - wanted.keys()), sorted(wanted.keys() - asserts.keys())
        scores.errors.append(
            f"{name}: {label.text}\n    missing {missing} extra {extra} overstated {over}, labelled "
            f"{label.overstated}"
        )


def measure(db: Path | None = None) -> dict[str, Scores]:
    """Score all drafts against `db`, or against a database built for it from the starter corpus."""
    drafts = load_drafts()
    if db is not None:
        with closing(sqlite3.connect(f"{db.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return score(drafts, connection)
    from kb.build import build

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kb.db"
        build(path)
        with closing(sqlite3.connect(path)) as connection:
            return score(drafts, connection)


def report(db: Path | None = None, *, errors: bool = False) -> dict[str, Any]:
    """Print the figures; return them by split."""
    results = measure(db)
    print("Checking drafts (tests/drafts; micro-averaged over sentences)")
    print(f"  {'':26}{'precision':>10}{'recall':>8}{'tp':>6}{'fp':>5}{'fn':>5}")
    for split, scores in sorted(results.items()):
        print(f"  {split}: {scores.drafts} drafts")
        for name in ("statements", "claims", "overstated"):
            s = getattr(scores, name)
            print(f"    {name:24}{s.precision:>10.3f}{s.recall:>8.3f}{s.tp:>6}{s.fp:>5}{s.fn:>5}")
        for name, words in (
            ("asserts", "claim, denial or question"),
            ("strength", "strength"),
            ("verdict", "verdict acceptable"),
        ):
            share = _share(getattr(scores, name))
            print(f"    {words + ' right':40}{'-' if share is None else f'{share:.3f}'}")
    if errors:
        for line in results.get("tune", Scores()).errors:
            print(line)
    return {split: scores.as_dict() for split, scores in results.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--db", type=Path, help="score against this database (default: one built for it)")
    parser.add_argument("--errors", action="store_true", help="show what came out wrong in the tuned drafts")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON too")
    args = parser.parse_args()
    figures = report(args.db, errors=args.errors)
    if args.json:
        print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
