"""Figures on claim tags, defined as the shared scorer defines them; used by scripts/score and
scripts/train.
"""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from typing import Any

import labelled

FINDING = ("supports", "contradicts", "mixed")


def prf(tp: int, fp: int, fn: int) -> dict[str, float | int]:
    """Precision, recall, F1 and the number of gold rows."""
    p = tp / (tp + fp) if tp + fp else 0.0
    r = tp / (tp + fn) if tp + fn else 0.0
    return {"p": p, "r": r, "f1": 2 * p * r / (p + r) if p + r else 0.0, "gold": tp + fn}


def _counts(gold: set, found: set) -> tuple[int, int, int]:
    return len(gold & found), len(found - gold), len(gold - found)


def wilson(right: int, n: int) -> tuple[float, float] | None:
    """95 % Wilson interval of a share; None for n = 0."""
    if not n:
        return None
    z = 1.96
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def sentence_texts(item: labelled.Labelled) -> dict[int, str]:
    from kb.tagging.sentences import split

    return {s.position: labelled.normal(s.text) for s in split(item.title, item.abstract)}


def score(items: list[labelled.Labelled], predictions: dict[str, list[dict]]) -> dict[str, Any]:
    """`predictions` maps an id to rows {"claim", "stance", "sentences": [numbers], "confidence"}."""
    gold: dict[tuple, tuple] = {}
    found: dict[tuple, tuple] = {}
    hits = {}
    for item in items:
        for claim, (stance, evidence) in item.gold.items():
            gold[item.id, claim] = (stance, evidence)
        rows = predictions.get(item.id, [])
        texts = sentence_texts(item) if rows else {}
        for row in rows:
            key = item.id, row["claim"]
            found[key] = (row["stance"], row.get("confidence", 0.0))
            if key in gold:
                hits[key] = labelled.is_evidence(texts.get(row["sentences"][0], ""), gold[key][1])
    g, f = set(gold), set(found)
    gf, ff = {k for k in g if gold[k][0] in FINDING}, {k for k in f if found[k][0] in FINDING}
    per_claim = {}
    for claim in sorted({c for _, c in g | f}):
        gc, fc = {k for k in g if k[1] == claim}, {k for k in f if k[1] == claim}
        gfc, ffc = gf & gc, ff & fc
        shared = gfc & ffc
        same = sum(gold[k][0] == found[k][0] for k in shared)
        per_claim[claim] = {
            "tag": prf(*_counts(gc, fc)),
            "finding": prf(*_counts(gfc, ffc)),
            "stance": same / len(shared) if shared else None,
            "stance_right": same,
            "stance_of": len(shared),
        }
    both, shared = g & f, gf & ff
    confusion = Counter(f"{gold[k][0]} -> {found[k][0]}" for k in both)
    confusion.update(f"{gold[k][0]} -> (no tag)" for k in g - f)
    confusion.update(f"(no label) -> {found[k][0]}" for k in f - g)
    per_stance = {
        stance: prf(*_counts({k for k in g if gold[k][0] == stance}, {k for k in f if found[k][0] == stance}))
        for stance in (*FINDING, "background")
    }
    bins: dict[float, list[int]] = defaultdict(lambda: [0, 0])
    for k in f:
        low = min(0.9, math.floor(found[k][1] * 10) / 10)
        bins[low][0] += 1
        bins[low][1] += k in gold and gold[k][0] == found[k][0]
    judged = [k for k in both if gold[k][1]]
    return {
        "abstracts": len(items),
        "tag": prf(*_counts(g, f)),
        "finding": prf(*_counts(gf, ff)),
        "strict": prf(*_counts({(k, gold[k][0]) for k in g}, {(k, found[k][0]) for k in f})),
        "stance": sum(gold[k][0] == found[k][0] for k in shared) / len(shared) if shared else None,
        "evidence": sum(hits[k] for k in judged) / len(judged) if judged else None,
        "per_claim": per_claim,
        "per_stance": per_stance,
        "confusion": dict(confusion.most_common()),
        "calibration": {f"{low:.1f}": {"tags": n, "right": r} for low, (n, r) in sorted(bins.items())},
    }


# How far a verdict leans, for the claim or against it
_LEAN = {"consistently-against": -2, "mostly-against": -1, "mixed": 0, "too-little": 0, "mostly-support": 1,
         "consistent-support": 2}  # fmt: skip


def verdicts(
    items: list[labelled.Labelled], predictions: dict[str, list[dict]], draws: int = 300, size: int = 120
) -> dict[str, float | int]:
    """What wrong tags do to verdicts: `draws` random sets of `size` of the items that have a labelled design are
    weighed (kb.evidence) once by their labels and once by their tags, claim by claim, where the labels hold three
    findings that count. Shares of verdicts: "same"; "weaker": the tags lean less to the side of the labels, to
    neither, or to "too little"; "stronger": the tags lean further to one side than the labels; "opposite".
    """
    from kb.evidence import ENOUGH, Count, tier_of, weigh

    known = [item for item in items if item.design]
    by_label = {i.id: {claim: stance for claim, (stance, _) in i.gold.items()} for i in known}
    by_tag = {i.id: {row["claim"]: row["stance"] for row in predictions.get(i.id, [])} for i in known}
    claims = sorted({claim for stances in by_label.values() for claim in stances})
    pick, found = random.Random(1), Counter()
    for _ in range(draws):
        drawn = pick.sample(known, min(size, len(known)))
        for claim in claims:
            labels, tags = (
                weigh(
                    Count(stances[item.id][claim], tier_of(item.design), automatic=automatic)
                    for item in drawn
                    if claim in stances[item.id]
                )
                for stances, automatic in ((by_label, False), (by_tag, True))
            )
            if labels.total < ENOUGH:
                continue
            ours, theirs = _LEAN[tags.verdict], _LEAN[labels.verdict]
            if tags.verdict == labels.verdict:
                found["same"] += 1
            elif ours * theirs < 0:
                found["opposite"] += 1
            else:
                found["stronger" if abs(ours) > abs(theirs) else "weaker"] += 1
    total = sum(found.values())
    shares = {name: found[name] / total if total else 0.0 for name in ("same", "weaker", "stronger", "opposite")}
    return {"verdicts": total, "draws": draws, "size": size, **shares}


def headline(result: dict[str, Any]) -> str:
    """The five main figures in one line."""
    share = lambda v: "-" if v is None else f"{v:.3f}"  # noqa: E731
    return (
        f"tag F1 {result['tag']['f1']:.3f} (p {result['tag']['p']:.3f}, r {result['tag']['r']:.3f})  "
        f"findings F1 {result['finding']['f1']:.3f}  strict F1 {result['strict']['f1']:.3f}  "
        f"stance {share(result['stance'])}  evidence {share(result['evidence'])}"
    )
