"""Labelled abstracts for scripts/train and scripts/score.

Texts live outside the project (../shared beside the checkout); the project keeps ids, labels and sentence
numbers only.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
LABELS = ROOT / "tests" / "labels"
DEV = SHARED / "gold" / "dev.jsonl"
CORPUS = SHARED / "corpus" / "abstracts.jsonl.gz"
LANDMARKS = ("clinical.jsonl", "mechanism.jsonl")
SHINGLE, OVERLAP = 8, 0.3  # words a shingle; share of common shingles from which two abstracts count as one

sys.path.insert(0, str(ROOT))


def normal(text: str) -> str:
    """Lower-case words, as the shared scorer compares sentences."""
    return re.sub(r"\W+", " ", text.lower()).strip()


@dataclass
class Labelled:
    """One labelled abstract. `gold` maps a claim to (stance, normalised evidence sentences)."""

    id: str
    title: str
    abstract: str
    gold: dict[str, tuple[str, list[str]]]
    source: str
    group: int = 0
    only: str = ""  # set when no other claim was judged
    design: str = ""  # study design as people labelled it, where they did


def missing() -> str:
    """Why the labelled texts cannot be used here, or ""."""
    for path in (DEV, CORPUS):
        if not path.exists():
            return f"{path.relative_to(ROOT.parent)} is not beside the checkout"
    return ""


def _lines(path: Path) -> list[dict]:
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def read_dev() -> list[Labelled]:
    """The shared development labels."""
    out = []
    for row in _lines(DEV):
        title, _, abstract = row["text"].partition("\n")
        gold = {
            r["claim"]: (r["stance"], [normal(row["sentences"][i]) for i in r["sentences"]])
            for r in row["rows"]
        }
        out.append(Labelled(row["id"], title, abstract, gold, "dev", design=row["design"]))
    return out


def read_own(name: str) -> list[Labelled]:
    """Labels of the project: `name` is "tuning" or "heldback"; texts are looked up in the shared corpus by
    id.
    """
    from kb.tagging.sentences import split

    rows = {row["id"]: row for row in _lines(LABELS / f"{name}.jsonl")}
    out = []
    with gzip.open(CORPUS, "rt", encoding="utf-8") as lines:
        for line in lines:
            item = json.loads(line)
            row = rows.get(item["id"])
            if row is None:
                continue
            title, _, abstract = item["text"].partition("\n")
            text_of = {s.position: normal(s.text) for s in split(title, abstract)}
            gold = {
                r["claim"]: (r["stance"], [text_of[i] for i in r["sentences"] if i in text_of])
                for r in row["rows"]
            }
            out.append(Labelled(item["id"], title, abstract, gold, row["set"]))
    return sorted(out, key=lambda item: item.id)


def read_landmarks() -> list[Labelled]:
    """The landmark studies: reviewers' claims on summaries in our own words; no evidence sentences are
    marked.
    """
    out = []
    for name in LANDMARKS:
        path = SHARED / "landmarks" / name
        for number, row in enumerate(_lines(path) if path.exists() else []):
            summary = row.get("summary") or {}
            abstract = "\n".join(
                f"{part.upper()}: {summary[part]}"
                for part in ("background", "methods", "results", "conclusions")
                if summary.get(part)
            )
            gold = {r["claim"]: (r["stance"], []) for r in row["claims"]}
            out.append(Labelled(f"{path.stem}-{number}", row["title"], abstract, gold, "landmark"))
    return out


def read_examples() -> list[Labelled]:
    """The worked examples of the claim files: one claim each is judged, the others are left open (`only`)."""
    from kb.tagging.claims import load_claims
    from kb.tagging.sentences import split

    out = []
    for claim in load_claims():
        for number, example in enumerate(claim.examples):
            text_of = {s.position: normal(s.text) for s in split(example["title"], example["abstract"])}
            evidence = [text_of[example["sentence"]]] if "sentence" in example else []
            gold = {} if example["stance"] == "none" else {claim.id: (example["stance"], evidence)}
            name = f"{claim.id}-{number}"
            out.append(Labelled(name, example["title"], example["abstract"], gold, "example", only=claim.id))
    return out


def read_invented(name: str) -> list[Labelled]:
    """Invented abstracts in our own words with their labels: tests/labels/written.jsonl (the claims for which few
    real labels exist), varied.jsonl (findings for and against told in many ways, comparisons, prevention, other
    drugs, by several authors) or varied-heldback.jsonl (the same by another author, never fitted on).
    """
    out = []
    for row in _lines(LABELS / f"{name}.jsonl"):
        title, *rest = row["sentences"]
        gold = {
            r["claim"]: (r["stance"], [normal(row["sentences"][i]) for i in r["sentences"]])
            for r in row["rows"]
        }
        out.append(Labelled(row["id"], title, " ".join(rest), gold, name))
    return out


def read_sentences() -> dict[str, dict]:
    """What single sentences say, by id of the abstract: {"parts": a letter a sentence, the title first (T title,
    B background, O aim, M methods, R own result, C conclusion, F future work, X other), "claims": {claim:
    {position: stance}}}. No text: positions are those of kb.tagging.sentences.
    """
    return {row["id"]: row for row in _lines(LABELS / "sentences.jsonl")}


def set_groups(items: list[Labelled]) -> None:
    """Give near-duplicates (and the same abstract under two ids) one group number, so that no fold splits
    them.
    """
    shingles = []
    holders: dict[int, list[int]] = {}
    for number, item in enumerate(items):
        tokens = normal(item.abstract or item.title).split()
        own = {hash(" ".join(tokens[i : i + SHINGLE])) for i in range(len(tokens) - SHINGLE + 1)}
        shingles.append(own)
        for value in own:
            holders.setdefault(value, []).append(number)
    common: dict[tuple[int, int], int] = {}
    for numbers in holders.values():
        if 1 < len(numbers) < 10:
            for i, a in enumerate(numbers):
                for b in numbers[:i]:
                    common[b, a] = common.get((b, a), 0) + 1
    parent = list(range(len(items)))

    def root(a: int) -> int:
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        return a

    for (a, b), n in common.items():
        if n > OVERLAP * min(len(shingles[a]), len(shingles[b])):
            parent[root(a)] = root(b)
    for number, item in enumerate(items):
        item.group = root(number)


def is_evidence(sentence: str, evidence: list[str]) -> bool:
    """Whether a normalised sentence is one of the evidence sentences (either may hold the other)."""
    return any(sentence in other or other in sentence for other in evidence if other)
