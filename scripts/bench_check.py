#!/usr/bin/env python3
"""How long `kb check` takes for an article of 1,500 words: on the starter corpus and on a large database.

    python scripts/bench_check.py                     starter corpus, and 60,000 made-up articles
    python scripts/bench_check.py --articles 0        starter corpus only
    python scripts/bench_check.py --db db/kb.db       a database of yours

Goals: under 300 ms on the starter corpus, under 1 s on 60,000 articles, from the text to the finished report,
in a
process that has just started (nothing is cached).
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

WORDS = 1500
GOALS = {"starter": 0.3, "large": 1.0}
DESIGNS = ("rct", "cohort", "animal", "review", "meta-analysis", "case-report", "other")


def article() -> str:
    """Some 1,500 words that make claims of every kind, from the labelled drafts."""
    paragraphs = []
    for path in sorted((ROOT / "tests" / "drafts").glob("author-*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if "draft" in row:
                continue
            paragraphs.append(("\n\n" if row.get("heading") or row.get("paragraph") else " ") + row["text"])
    text = "".join(paragraphs)
    return " ".join(text.split(" ")[:WORDS])


def grow(path: Path, articles: int) -> None:
    """Add made-up articles with sentences, tags, conditions and populations to a database."""
    from kb import schema
    from kb.evidence import tier_of

    chance = random.Random(7)
    connection = schema.connect(path).conn
    claims = [row[0] for row in connection.execute("SELECT id FROM claims")]
    with connection:
        for n in range(articles):
            key, design = f"9{n:07d}", chance.choice(DESIGNS)
            connection.execute(
                "INSERT INTO articles (id, pmid, title, abstract, abstract_origin, journal, year, "
                "author_list, "
                "study_design, evidence_tier, sample_size, source, first_seen, last_seen, content_hash, "
                "title_key) "
                "VALUES (?, ?, ?, ?, 'publisher', 'J', ?, 'Example A, Other B', ?, ?, ?, 'bench', '', '', "
                "'', ?)",
                (
                    key,
                    key,
                    f"Article {n} on a drug",
                    "Some words on ketamine. " * 30,
                    1990 + n % 36,
                    design,
                    tier_of(design),
                    chance.randrange(5, 900),
                    key,
                ),
            )
            first = None
            for place in range(8):
                cursor = connection.execute(
                    'INSERT INTO sentences (article_id, position, section, text, start, "end") '
                    "VALUES (?, ?, 'RESULTS', ?, 0, 1)",
                    (key, place, f"Sentence {place} of article {n} on ketamine."),
                )
                first = first or cursor.lastrowid
            for claim in chance.sample(claims, 2):
                stance = chance.choice(("supports", "supports", "contradicts", "mixed", "background"))
                connection.execute(
                    "INSERT INTO tags (article_id, claim_id, stance, confidence, sentence_id, origin, "
                    "tagger_version, "
                    "tagged) VALUES (?, ?, ?, ?, ?, 'tagger', '1', '')",
                    (key, claim, stance, chance.random(), first),
                )
            connection.execute(
                "INSERT INTO conditions VALUES (?, ?)", (key, chance.choice(("ptsd", "depression")))
            )
            connection.execute("INSERT INTO populations VALUES (?, ?)", (key, "civilians-adults"))
    connection.execute("ANALYZE")
    connection.close()


PROBE = """
import sqlite3, sys, time
from kb.check import check_text
text = sys.stdin.read()
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
times = []
for _ in range(3):
    started = time.perf_counter()
    report = check_text(connection, text)
    report.to_html(), report.to_json()
    times.append(time.perf_counter() - started)
print(times[0], min(times), len(report.judged))
"""


def measure(path: Path, text: str) -> tuple[float, float, int]:
    """(first, best of three, statements): seconds from the text to the HTML and JSON reports in a new
    process.
    """
    out = subprocess.run([sys.executable, "-c", PROBE, str(path)], input=text, text=True, capture_output=True,
                         check=True, cwd=ROOT)  # fmt: skip
    first, best, statements = out.stdout.split()
    return float(first), float(best), int(statements)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--db", type=Path, help="measure on this database only")
    parser.add_argument("--articles", type=int, default=60_000, help="made-up articles of the large database")
    args = parser.parse_args()
    text = article()
    if args.db:
        show("this database", args.db, text, None)
        return
    from kb.build import build

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kb.db"
        build(path)
        show("starter", path, text, GOALS["starter"])
        if args.articles:
            started = time.perf_counter()
            grow(path, args.articles)
            print(f"  ({args.articles:,} articles made in {time.perf_counter() - started:.0f} s)")
            show("large", path, text, GOALS["large"])


def show(name: str, path: Path, text: str, goal: float | None) -> None:
    with closing(sqlite3.connect(path)) as connection:
        articles = connection.execute("SELECT count(*) FROM articles").fetchone()[0]
    first, best, statements = measure(path, text)
    aim = f", goal {goal * 1000:.0f} ms" if goal else ""
    print(
        f"{name}: {len(text.split()):,} words, {statements} statements, {articles:,} articles: "
        f"first {first * 1000:.0f} ms, best {best * 1000:.0f} ms{aim}"
    )


if __name__ == "__main__":
    main()
