#!/usr/bin/env python3
"""Speed of the tagger on one core: abstracts a second, everything included (sentences, claims, facets).

usage: python scripts/bench_tagging.py [FILE.jsonl]

FILE holds lines {"id", "text"} (title, newline, abstract); without it ../shared/gold/dev.jsonl, else
generated
abstracts. Beside it, on the same texts, spaCy's blank English with its sentencizer, if spaCy is installed.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DEV = ROOT.parent / "shared" / "gold" / "dev.jsonl"
ROUNDS = 3

sys.path.insert(0, str(ROOT))


def texts(path: Path | None = None) -> tuple[str, list[str]]:
    """(where they come from, texts)."""
    path = path or (DEV if DEV.exists() else None)
    if path:
        with open(path, encoding="utf-8") as lines:
            return path.name, [json.loads(line)["text"] for line in lines if line.strip()]
    from kb.tagging import load_claims

    examples = [f"{e['title']}\n{e['abstract']} " * 6 for claim in load_claims() for e in claim.examples]
    return "worked examples of the claim files, repeated", examples * 8


def best_rate(work: Any, count: int) -> float:
    """Items a second of processor time, best of a few rounds after one to warm up."""
    work()
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return count / best


def measure(path: Path | None = None) -> dict[str, Any]:
    """{"source", "abstracts", "characters", "tagger", "parts": {...}, "spacy" (None if not installed)};
    rates per second.
    """
    from kb.tagging import language, read_facets, split, tag_many
    from kb.tagging.engine import tag_each

    source, rows = texts(path)
    pairs = [row.partition("\n")[::2] for row in rows]
    sentences = [split(title, abstract) for title, abstract in pairs]
    out: dict[str, Any] = {
        "source": source,
        "abstracts": len(rows),
        "characters": sum(map(len, rows)),
        "tagger": round(best_rate(lambda: list(tag_many((t, a, (), ()) for t, a in pairs)), len(rows))),
        "parts": {
            "sentences": round(best_rate(lambda: [split(t, a) for t, a in pairs], len(rows))),
            "claims": round(best_rate(lambda: tag_each(sentences), len(rows))),
            "facets": round(best_rate(lambda: [
                read_facets(t, s, f"{t}\n{a}", (), ()) for (t, a), s in zip(pairs, sentences, strict=True)
            ], len(rows))),
            "language": round(best_rate(lambda: [language(*pair) for pair in pairs], len(rows))),
        },
        "spacy": None,
    }
    try:
        import spacy
    except ImportError:
        return out
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.max_length = 10_000_000
    out["spacy"] = round(best_rate(lambda: list(nlp.pipe(rows)), len(rows)))
    return out


def main() -> int:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if path and not path.is_file():
        print(f"no such file: {path}", file=sys.stderr)
        return 2
    result = measure(path)
    print(
        f"{result['abstracts']} abstracts ({result['source']}), {result['characters']} characters, one core"
    )
    print(f"  tagger, everything   {result['tagger']:7d} abstracts/s")
    for name, rate in result["parts"].items():
        print(f"    {name + ' alone':18s} {rate:7d}")
    if result["spacy"] is None:
        print("  spaCy is not installed (extra 'bench'): no yardstick")
    else:
        print(f"  spaCy blank English + sentencizer {result['spacy']:7d} abstracts/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
