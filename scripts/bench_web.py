#!/usr/bin/env python3
"""Server time of the pages, beside Datasette's own table page over the same data in the same run.

    python scripts/bench_web.py                    60,000 generated articles, and the starter corpus
    python scripts/bench_web.py --articles 5000    a quicker look
    python scripts/bench_web.py --keep bench.db    keep (and use again) the generated database

The generated text is nonsense made of words of the field; only its amount and spread matter.
Nothing is asserted: the figures depend on the machine, and are printed with it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kb import schema, serving  # noqa: E402
from kb.build import build, facts  # noqa: E402
from kb.evidence import TIERS, level_of, tier_of  # noqa: E402
from kb.tagging import load_claims  # noqa: E402

DESIGNS = [(d, w) for tier, w in zip(TIERS, (4, 12, 25, 8, 30, 14, 7), strict=True) for d in tier.designs]
POPULATIONS = (
    "civilians-adults",
    "veterans-military",
    "animals",
    "surgical-trauma-patients",
    "healthy-volunteers",
    "children-adolescents",
    "older-adults",
    "perinatal",
    "recreational-users",
    "unspecified",
)
SPECIES = ("humans", "mice", "rats", "monkeys", "rodents")
ROUTES = ("intravenous", "intranasal", "intraperitoneal", "intramuscular", "oral", "subcutaneous")
CONDITIONS = (
    "depression",
    "ptsd",
    "treatment-resistant-depression",
    "suicidality",
    "pain",
    "anxiety",
    "bipolar",
    "alcohol-use",
    "schizophrenia",
    "healthy",
)
SUBSTANCES = ("ketamine", "esketamine", "arketamine", "midazolam", "placebo", "ect", "psilocybin", "mdma")
WORDS = """ketamine esketamine depression ptsd trauma stress symptoms patients veterans infusion dose trial placebo
midazolam response remission relapse hours days weeks bdnf nmda receptor glutamate synaptic plasticity spine cortex
hippocampus prefrontal mice rats fear extinction memory anesthesia burn surgery pain opioid safety dissociation blood
pressure nausea tolerability suicidal ideation anxiety inflammation cytokine interleukin therapy exposure outcome
baseline change significant reduction increase difference group control study analysis review evidence effect rapid
sustained treatment resistant major disorder scale score randomized double blind crossover cohort retrospective
military combat soldiers children adolescents adults older women men sex sleep alcohol use cognition
attention""".split()
SEARCHES = (
    "ketamine",
    "ptsd veterans",
    '"fear extinction"',
    "bdnf AND (mice OR rats) NOT humans",
    "keta*",
    "how fast does ketamine work",
    "title:ketamine author:smith1",
    "post-traumatic stress",
    "burn surgery pain",
    "suicidal ideation infusion hours",
    "nmda receptor glutamate cortex",
    "ketmaine",
)


def searches(number: int, seed: int) -> list[str]:
    """Searches of which no two are alike, so that none is answered from memory: a quarter of SEARCHES' kinds."""
    rng = random.Random(seed)
    made = [" ".join(rng.sample(WORDS, rng.choice((1, 2, 2, 3)))) for _ in range(number - number // 4)]
    return list(dict.fromkeys([*made, *(f"{rng.choice(SEARCHES)} {rng.choice(WORDS)}" for _ in range(number // 4))]))


def generate(path: Path, articles: int) -> None:
    """Write a database of the declared shape with `articles` made-up articles, about 2.5 tags each."""
    rng = random.Random(20261122)
    rare = [f"{rng.choice(WORDS)[:4]}{rng.choice('aeiou')}{rng.choice(WORDS)[-4:]}" for _ in range(20_000)]
    designs, weights = [d for d, _ in DESIGNS], [w for _, w in DESIGNS]
    claims = load_claims()
    db = schema.connect(path, create=True)
    c = db.conn
    c.isolation_level = None
    c.execute("BEGIN")
    c.executemany(
        "INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(x.id, x.group, x.statement, x.question, x.definition, x.position, int(x.first_asked)) for x in claims],
    )
    c.executemany(
        "INSERT INTO facts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                f["id"],
                f["topic"],
                f["statement"],
                f["detail"],
                f["as_of"],
                f["source_title"],
                f["source_url"],
                "[]",
                "[]",
            )
            for f in facts()
        ],
    )
    c.execute("INSERT INTO queries VALUES ('core', 'bench', 'ketamine', 'pubmed')")
    c.execute(
        "INSERT INTO harvests (query_id, source, term, started, finished, status, hits, found, new) VALUES "
        "('core', 'pubmed', 'ketamine', '2026-01-02T00:00:00Z', '2026-01-02T01:00:00Z', 'done', ?, ?, ?)",
        (articles,) * 3,
    )
    c.executemany(
        "INSERT INTO mesh_headings (id, name, ui) VALUES (?, ?, ?)",
        [(n, f"{word.capitalize()} heading", f"D{n:06}") for n, word in enumerate(WORDS, 1)],
    )
    c.executemany(
        "INSERT INTO authors (id, name, last, orcid) VALUES (?, ?, ?, '')",
        [(n, f"Smith{n} A", f"Smith{n}") for n in range(1, 30_001)],
    )

    def sentence() -> str:
        words = [rng.choice(WORDS) if rng.random() < 0.85 else rng.choice(rare) for _ in range(rng.randint(12, 26))]
        return f"{' '.join(words).capitalize()}."

    sections = ("BACKGROUND", "BACKGROUND", "METHODS", "METHODS", "RESULTS", "RESULTS", "RESULTS", "CONCLUSIONS")
    tag_number = sentence_number = 0
    for n in range(articles):
        pmid = str(10_000_000 + n)
        design = rng.choices(designs, weights)[0]
        year = min(2026, int(rng.triangular(1985, 2027, 2021)))
        title = sentence().rstrip(".")
        texts = [sentence() for _ in sections]
        abstract, at, rows = "", len(title) + 1, []
        for position, (section, text) in enumerate(zip(sections, texts, strict=True), 1):
            rows.append((sentence_number + position + 1, pmid, position, section, text, at, at + len(text)))
            abstract += text + " "
            at += len(text) + 1
        rows.insert(0, (sentence_number + 1, pmid, 0, "TITLE", title, 0, len(title)))
        tagged = rng.sample(claims, rng.choice((1, 1, 2, 2, 3, 4, 5)))
        stances = [rng.choices(("supports", "mixed", "contradicts", "background"), (50, 8, 14, 28))[0] for _ in tagged]
        evidence = [rng.randint(5, 8) for _ in tagged]
        names = ", ".join(f"Smith{rng.randint(1, 30_000)} A" for _ in range(5))
        mesh = rng.sample(range(1, len(WORDS) + 1), 8)
        people = rng.sample(range(1, 30_001), 5)
        c.execute(
            "INSERT INTO articles (id, pmid, doi, title, abstract, abstract_origin, journal, published, year, "
            "language, author_list, mesh_list, evidence_text, study_design, evidence_tier, evidence_level, "
            "sample_size, population, species, schedule, retracted, url, source, first_seen, last_seen, "
            "content_hash, title_key, tagger_version) VALUES (?, ?, ?, ?, ?, 'publisher', ?, ?, ?, 'eng', "
            "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pubmed', ?, ?, ?, ?, "
            "'bench')",
            (
                pmid,
                pmid,
                f"10.5555/bench.{n}",
                title,
                abstract.strip(),
                f"Journal {n % 800}",
                str(year),
                year,
                names,
                "; ".join(f"{WORDS[m - 1].capitalize()} heading" for m in mesh),
                " ".join(texts[e - 1] for e in evidence),
                design,
                tier_of(design),
                level_of(design),
                rng.choice((None, rng.randint(8, 400))),
                rng.choice(POPULATIONS),
                "humans",
                rng.choice((None, "single", "repeated", "maintenance")),
                int(rng.random() < 0.002),
                f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/",
                f"2026-01-0{1 + n % 2}T00:00:00Z",
                "2026-01-02T00:00:00Z",
                str(n),
                "".join(title.lower().split()),
            ),
        )
        c.executemany("INSERT INTO sentences VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        for claim, stance, where in zip(tagged, stances, evidence, strict=True):
            tag_number += 1
            c.execute(
                "INSERT INTO tags VALUES (?, ?, ?, ?, ?, ?, 'finding: words', 'tagger', 'bench', '2026-01-02')",
                (tag_number, pmid, claim.id, stance, round(rng.uniform(0.5, 1), 2), sentence_number + where + 1),
            )
        sentence_number += len(rows)
        for table, values, most in (
            ("populations", POPULATIONS, 2),
            ("species", SPECIES, 1),
            ("routes", ROUTES, 1),
            ("conditions", CONDITIONS, 2),
        ):
            c.executemany(
                f"INSERT INTO {table} VALUES (?, ?)", [(pmid, v) for v in rng.sample(values, rng.randint(1, most))]
            )
        c.executemany(
            "INSERT INTO substances VALUES (?, ?, 'text', NULL)",
            [(pmid, v) for v in rng.sample(SUBSTANCES, rng.randint(1, 3))],
        )
        if rng.random() < 0.6:
            amount = rng.choice((0.2, 0.5, 0.5, 1.0, 10.0, 30.0))
            c.execute(
                "INSERT INTO doses (article_id, substance, amount, unit, text) VALUES (?, 'ketamine', ?, 'mg/kg', ?)",
                (pmid, amount, f"{amount} mg/kg"),
            )
        c.executemany("INSERT INTO article_mesh VALUES (?, ?, ?, 0, NULL)", [(pmid, i, m) for i, m in enumerate(mesh)])
        c.executemany(
            "INSERT INTO article_authors VALUES (?, ?, ?, 'author', NULL)", [(pmid, i, a) for i, a in enumerate(people)]
        )
        c.execute("INSERT INTO publication_types VALUES (?, 'Journal Article')", (pmid,))
        c.execute("INSERT INTO harvest_hits VALUES (1, ?, 'new')", (pmid,))
    c.executemany(
        "INSERT INTO meta VALUES (?, ?)",
        [("data_version", "1"), ("built", "2026-01-02T00:00:00Z"), ("last_harvest", "2026-01-02T01:00:00Z")],
    )
    c.execute("COMMIT")
    for table in ("articles_fts", "sentences_fts"):
        c.execute(f"INSERT INTO {table}({table}) VALUES ('optimize')")
    c.execute("ANALYZE")
    c.close()


def pages(ids: list[str]) -> dict[str, list[str]]:
    """What is asked for, by kind of page."""
    claims = [claim.id for claim in load_claims()]
    filters = (
        "design=rct&stance=contradicts",
        "population=veterans-military&from=2015",
        "route=intravenous&species=humans",
        "stance=supports&sort=year&page=3",
    )
    return {
        "Datasette table": ["/kb/articles", "/kb/articles?_sort=year", "/kb/articles?study_design=rct"],
        "home": ["/"],
        "claim, first reader": [f"/claims/{c}" for c in claims],
        "claim": [f"/claims/{c}" for c in claims],
        "claim, filtered": [f"/claims/{c}?{f}" for c in claims[:6] for f in filters],
        "article": [f"/articles/{quote(i, safe='/:()')}" for i in ids],
        "search": [f"/search?q={quote(q)}" for q in searches(60, 1)],
        "search, filtered": [f"/search?q={quote(q)}&{filters[n % 3]}" for n, q in enumerate(searches(60, 2))],
        "search, next page": [f"/search?q={quote(q)}&page=2" for q in SEARCHES],
        "sources": ["/sources"],
    }


def measure(path: Path, repeat: int) -> dict[str, dict[str, float]]:
    """Milliseconds of server time, in-process: median and 95th percentile by kind of page; and size in kB."""
    with schema.connect_read_only(path) as connection:
        ids = [r[0] for r in connection.execute("SELECT id FROM articles ORDER BY random() LIMIT 20")]
    datasette = serving.make_datasette(path)

    async def run() -> dict[str, dict[str, float]]:
        await datasette.invoke_startup()
        started = time.perf_counter()
        await datasette.client.get("/")
        figures: dict[str, dict[str, float]] = {
            "first page (index built)": _row([(time.perf_counter() - started) * 1000], 0)
        }
        for kind, addresses in pages(ids).items():
            times, size = [], 0
            once = kind in ("search", "search, filtered", "claim, first reader")  # asked for the first time
            if not once:
                await datasette.client.get(addresses[0])
            for n in range(len(addresses) if once else max(repeat, len(addresses))):
                started = time.perf_counter()
                response = await datasette.client.get(addresses[n % len(addresses)])
                times.append((time.perf_counter() - started) * 1000)
                assert response.status_code == 200, addresses[n % len(addresses)]
                size = max(size, len(response.content))
            figures[kind] = _row(times, size)
        return figures

    return asyncio.run(run())


def _row(times: list[float], size: int) -> dict[str, float]:
    p95 = statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
    return {
        "median_ms": round(statistics.median(times), 1),
        "p95_ms": round(p95, 1),
        "n": len(times),
        "kb": round(size / 1000, 1),
    }


def crowd(path: Path, readers: int, each: int) -> dict[str, Any]:
    """`readers` at once against a real server, each reading `each` pages one after the other."""
    with schema.connect_read_only(path) as connection:
        ids = [r[0] for r in connection.execute("SELECT id FROM articles ORDER BY random() LIMIT 20")]
    code = f"from kb import serving; serving.serve({str(path)!r}, port=0, announce=lambda a: print(a, flush=True))"
    server = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    address = server.stdout.readline().strip().rstrip("/") if server.stdout else ""
    addresses = [a for kind, group in pages(ids).items() if kind != "Datasette table" for a in group]
    times: list[float] = []
    errors: list[str] = []

    def read(number: int) -> None:
        for n in range(each):
            target = addresses[(number * 7 + n * 13) % len(addresses)]
            started = time.perf_counter()
            try:
                with urlopen(address + target, timeout=60) as response:
                    response.read()
            except OSError as error:
                errors.append(f"{target}: {error}")
            times.append((time.perf_counter() - started) * 1000)

    try:
        urlopen(address + "/", timeout=60).read()
        threads = [threading.Thread(target=read, args=(n,)) for n in range(readers)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
    finally:
        server.terminate()
        server.wait(10)
    return {
        "readers": readers,
        "pages": len(times),
        "errors": len(errors),
        "first_errors": errors[:3],
        "pages_per_second": round(len(times) / seconds, 1),
        **_row(times, 0),
    }


def show(title: str, figures: dict[str, dict[str, float]]) -> None:
    print(f"\n{title}\n{'':28}{'median ms':>11}{'95 % ms':>10}{'kB':>8}{'n':>6}")
    for kind, row in figures.items():
        print(f"{kind:28}{row['median_ms']:>11}{row['p95_ms']:>10}{row['kb']:>8}{row['n']:>6}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=int, default=60_000)
    parser.add_argument("--repeat", type=int, default=60, help="requests of each kind of page")
    parser.add_argument("--keep", type=Path, help="where the generated database is kept and looked for")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "articles": options.articles,
    }
    with tempfile.TemporaryDirectory() as folder:
        starter = Path(folder) / "starter.db"
        build(starter)
        result["starter"] = measure(starter, options.repeat)
        large = options.keep or Path(folder) / "large.db"
        if not large.exists():
            print(f"generating {options.articles:,} articles ...", file=sys.stderr)
            generate(large, options.articles)
        result["large"] = measure(large, options.repeat)
        result["crowd"] = crowd(large, 50, 6)
    if options.json:
        print(json.dumps(result, indent=1))
        return
    print(result["machine"])
    show("Starter corpus", result["starter"])
    show(f"{options.articles:,} generated articles", result["large"])
    c = result["crowd"]
    print(
        f"\n{c['readers']} readers at once: {c['pages']} pages, {c['errors']} errors, {c['pages_per_second']} pages/s, "
        f"median {c['median_ms']} ms, 95 % {c['p95_ms']} ms"
    )


if __name__ == "__main__":
    main()
