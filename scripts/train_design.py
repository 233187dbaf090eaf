#!/usr/bin/env python3
"""Train the study-design classifier and write kb/tagging/design_model.json (numbers only).

usage: python scripts/train_design.py [--shared DIR] [--write]

Labels: ../shared/gold/dev.jsonl and our own in scripts/design_labels.json. Multinomial logistic regression
over the cues and points of kb/tagging/facets.toml and single words. Prints the accuracy on the unseen half
(odd sha1 of the id) of the cue table alone, of the model trained on the other half and our labels (the one
that --write writes), and, for comparison, of models trained on four fifths of the unseen half as well, each
judging the last fifth. Needs scikit-learn, at training only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "scripts"))

from score_facets import read_lines, tuned  # noqa: E402

from kb.tagging.facets import DESIGNS, design_features  # noqa: E402
from kb.tagging.sentences import split  # noqa: E402

LEAST_ABSTRACTS = 30  # a word must occur in this many labelled abstracts
STRENGTH = 1.0  # inverse of the L2 penalty
WORD, TITLE_WORD, CUE, POINTS = 0.3, 0.5, 1.0, 0.2  # feature values: rarer kinds weigh less, as a prior
SMALLEST = 0.02  # features whose weights are all nearer to zero than this are dropped from the file


def features(text: str) -> dict[str, float]:
    title, _, abstract = text.partition("\n")
    scores, cues, words, title_words = design_features(title, split(title, abstract), f"{title}\n{abstract}")
    out = {f"cues:{name}": CUE for name in cues}
    out |= {f"scores:{name}": POINTS * scores.get(name, 0.0) for name in DESIGNS}
    out |= {f"words:{word}": WORD for word in words if not word.isdigit()}
    out |= {f"title_words:{word}": TITLE_WORD for word in title_words if not word.isdigit()}
    return out


def by_table(row: dict[str, float]) -> str:
    return max(DESIGNS, key=lambda name: row.get(f"scores:{name}", 0.0))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train the study-design classifier.")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--write", action="store_true", help="write kb/tagging/design_model.json")
    options = parser.parse_args(arguments)
    dev_path = options.shared / "gold" / "dev.jsonl"
    if not dev_path.exists():
        print(
            f"train_design: skipped, no gold/dev.jsonl in {options.shared}: give its directory with --shared"
        )
        return 0
    try:
        import numpy as np
        from sklearn.feature_extraction import DictVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold
    except ImportError as error:
        print(f"train_design: {error.name} is missing: pip install scikit-learn", file=sys.stderr)
        return 1
    dev = read_lines(dev_path)
    texts = {row["id"]: row["text"] for row in read_lines(options.shared / "corpus" / "abstracts.jsonl.gz")}
    own = json.loads((ROOT / "scripts" / "design_labels.json").read_text(encoding="utf-8"))["labels"]
    seen_texts = {row["text"][:300].lower() for row in dev}
    own = {k: v for k, v in own.items() if k in texts and texts[k][:300].lower() not in seen_texts}
    rows = [features(row["text"]) for row in dev] + [features(texts[k]) for k in own]
    labels = np.array([row["design"] for row in dev] + list(own.values()))
    unseen = np.array([not tuned(row["id"]) for row in dev] + [False] * len(own))
    use = Counter(name for row in rows for name in row)
    rows = [
        {k: v for k, v in row.items() if ":" in k and (k[0] in "cs" or use[k] >= LEAST_ABSTRACTS)}
        for row in rows
    ]
    vectorizer = DictVectorizer()
    matrix = vectorizer.fit_transform(rows)

    def fit(mask: Any) -> Any:
        return LogisticRegression(C=STRENGTH, max_iter=400, class_weight="balanced").fit(
            matrix[mask], labels[mask]
        )

    table = np.array([by_table(row) for row in rows])
    print(f"unseen half, {unseen.sum()} abstracts: cue table alone {(table == labels)[unseen].mean():.3f}")
    model = fit(~unseen)
    print(
        "  model that saw the other half and our labels:"
        f" {(model.predict(matrix[unseen]) == labels[unseen]).mean():.3f}"
    )
    index = np.where(unseen)[0]
    found = np.empty(len(labels), dtype=object)
    for _, test in StratifiedKFold(5, shuffle=True, random_state=0).split(index, labels[index]):
        mask = np.ones(len(labels), dtype=bool)
        mask[index[test]] = False
        found[index[test]] = fit(mask).predict(matrix[index[test]])
    print(
        "  with four fifths of the unseen half added, judging the last fifth:"
        f" {(found == labels)[unseen].mean():.3f}"
    )
    for design in DESIGNS:
        gold, ours = (labels == design) & unseen, (found == design) & unseen
        hit = (gold & ours).sum()
        if gold.sum():
            print(
                f"    {design:20s} P {hit / max(ours.sum(), 1):.3f}  R {hit / gold.sum():.3f}"
                f"  labelled {gold.sum()}"
            )
    if not options.write:
        return 0
    model = fit(~unseen)  # the unseen half stays unseen, so that score_facets.py measures what is shipped
    values = {"cues": CUE, "words": WORD, "title_words": TITLE_WORD, "scores": POINTS}
    out: dict[str, Any] = {
        "classes": list(model.classes_),
        "start": [round(float(x), 4) for x in model.intercept_],
        "cues": {},
        "words": {},
        "title_words": {},
        "scores": {},
    }
    for column, name in enumerate(vectorizer.get_feature_names_out()):
        kind, _, feature = name.partition(":")
        weights = model.coef_[:, column] * values[kind]
        if max(abs(weights)) >= SMALLEST:
            out[kind][feature] = [round(float(w), 3) for w in weights]
    path = ROOT / "kb" / "tagging" / "design_model.json"
    path.write_text(json.dumps(out, separators=(",", ":"), sort_keys=True) + "\n", encoding="utf-8")
    print(
        f"wrote {path.relative_to(ROOT)}: {sum(len(out[k]) for k in values)} features,"
        f" {path.stat().st_size} bytes"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
