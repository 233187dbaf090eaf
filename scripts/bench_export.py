#!/usr/bin/env python3
"""Measure exports, canned queries and the data pages on a large generated database.

    scripts/bench_export.py                 60,000 articles in a temporary folder
    scripts/bench_export.py --db big.db     keep the database there and use it again

The articles are made up from sentence patterns (no abstract of anybody's), stored by
kb.store and tagged by kb.tagging, so that rows, indexes and text are of the real kind.
Figures to reach: every canned query under 200 ms, RIS of 10,000 references under 3 s in
constant memory, CSV of the whole evidence view complete and at 20 MB a second or better.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harvest.record import Article, Author, Correction, MeshHeading, Section
from kb import export, serving
from kb.schema import connect_read_only
from kb.store import Store
from kb.tagging import TAGGER_VERSION, load_claims, tag_many

DESIGNS = (
    ("randomized, double-blind, placebo-controlled trial", "Randomized Controlled Trial"),
    ("open-label pilot trial", "Clinical Trial"),
    ("retrospective cohort study of medical records", "Journal Article"),
    ("systematic review and meta-analysis", "Meta-Analysis"),
    ("case report", "Case Reports"),
    ("narrative review", "Review"),
    ("study in mice exposed to inescapable shock", "Journal Article"),
    ("study in rats after single prolonged stress", "Journal Article"),
)
PEOPLE = (
    "veterans with PTSD",
    "civilians with chronic PTSD",
    "adults with treatment-resistant depression",
    "adolescents with depression",
    "burned service members",
    "healthy volunteers",
    "male mice",
    "adult rats",
)
DOSES = (
    "ketamine 0.5 mg/kg over 40 minutes",
    "ketamine 0.2 mg/kg",
    "1 mg/kg ketamine intramuscularly",
    "10 mg/kg ketamine intraperitoneally",
    "56 mg of intranasal esketamine",
    "ketamine 30 mg/kg",
    "0.25 mg/kg of esketamine",
    "a subanaesthetic dose",
)
RESULTS = (
    "Ketamine reduced PTSD symptoms compared with midazolam at 24 hours (P = 0.0{d}).",
    "Scores did not differ between ketamine and placebo at day {d}.",
    "BDNF levels in plasma rose within {d} hours of the infusion and went along with response.",
    "Hippocampal BDNF protein was unchanged after ketamine.",
    "Depressive symptoms fell rapidly, within {d} hours, and relapse followed after two weeks.",
    "Suicidal ideation declined within one day of the infusion in {d} patients.",
    "Dissociation was transient, resolved within {d} minutes, and the drug was well tolerated.",
    "Adverse events led {d} participants to stop treatment.",
    "Freezing to the conditioned tone was lower after ketamine, and extinction was better.",
    "Spine density in the prefrontal cortex increased {d} hours after ketamine.",
    "Interleukin-6 fell after ketamine, whereas tumour necrosis factor was unchanged.",
    "Blocking the NMDA receptor was necessary for the behavioural effect.",
    "Soldiers who received ketamine during surgery developed PTSD less often ({d} percent).",
    "Rates of PTSD did not differ between those given perioperative ketamine and those not given it.",
    "The benefit was held for {d} weeks by repeated infusions.",
    "Frequent recreational use was associated with dependence and bladder symptoms.",
)
CONCLUSIONS = (
    "Ketamine may rapidly relieve symptoms of PTSD in this group.",
    "These data do not support an effect of ketamine on PTSD symptoms.",
    "Repeated ketamine appears safe, but larger trials are needed.",
    "Ketamine combined with exposure therapy deserves further study.",
    "The findings suggest that BDNF is involved in the antidepressant action of ketamine.",
)
BACKGROUNDS = (
    "Ketamine is an NMDA receptor antagonist.",
    "Few treatments help when first choices have failed.",
    "Patients ask for treatments that act on other receptors.",
    "Post-traumatic stress disorder often lasts for years.",
    "How anaesthetics affect the brain in the long run is not settled.",
)
FILLERS = (
    "The protocol was approved by the local ethics committee, and all participants gave written consent.",
    "Groups were compared with linear mixed models that took account of baseline values and of the site.",
    "Assessors did not know the allocation, and each visit was rated twice by trained staff.",
    "Missing values were imputed twenty times, which did not change the picture.",
    "Sex, age and body weight were entered as covariates and had no material influence.",
    "Sensitivity analyses without outliers led to the same reading of the data.",
    "Blood was drawn before and after each visit and stored at low temperature until it was analysed.",
    "Sample size was settled beforehand for a power of eighty percent at the five percent level.",
    "Recruitment took place in four centres between spring and autumn of two consecutive years.",
    "Questionnaires were filled in on paper and entered twice by different people.",
)
MESH = (
    "Ketamine",
    "Stress Disorders, Post-Traumatic",
    "Humans",
    "Animals",
    "Mice",
    "Rats",
    "Male",
    "Female",
    "Veterans",
    "Brain-Derived Neurotrophic Factor",
    "Receptors, N-Methyl-D-Aspartate",
    "Infusions, Intravenous",
)
JOURNALS = tuple(f"Journal of Trauma Research {n}" for n in range(400))


def articles(count: int, seed: int = 1) -> Iterator[Article]:
    """Made-up citations of the shape that PubMed gives."""
    pick = random.Random(seed)
    names = [
        (
            f"{pick.choice('BCDFGKLMNPRST')}{pick.choice(('arlow', 'enning', 'ostova', 'uzuki'))}{n % 997}",
            pick.choice("ABCDEFGHIJKLM"),
        )
        for n in range(8000)
    ]
    for n in range(count):
        pmid = str(20_000_000 + n * 7)
        design, kind = pick.choice(DESIGNS)
        people, dose, size = pick.choice(PEOPLE), pick.choice(DOSES), pick.randint(8, 400)
        year = pick.randint(1995, 2026)
        results = [
            r.format(d=pick.randint(1, 90)) for r in pick.sample(RESULTS, pick.choice((0, 1, 1, 1, 2)))
        ]
        filler = pick.sample(FILLERS, 8)
        journal = pick.choice(JOURNALS)
        yield Article(
            id=pmid,
            pmid=pmid,
            source="pubmed",
            doi=f"10.5555/made.up.{n}",
            pmcid=f"PMC{n + 1_000_000}" if n % 3 == 0 else None,
            title=f"{pick.choice(('Ketamine', 'An infusion', 'Treatment'))} in {people}: a {design} ({n})",
            sections=[
                Section(f"{pick.choice(BACKGROUNDS)} {filler[0]}", "BACKGROUND", "BACKGROUND"),
                Section(
                    f"In this {design}, {size} {people} were given {dose}. " + " ".join(filler[1:4]),
                    "METHODS",
                    "METHODS",
                ),
                Section(f"{filler[4]} {' '.join(results)} {filler[5]} {filler[6]}", "RESULTS", "RESULTS"),
                Section(f"{pick.choice((*CONCLUSIONS, *FILLERS))} {filler[7]}", "CONCLUSIONS", "CONCLUSIONS"),
            ],
            journal=journal,
            journal_abbreviation=journal[:20],
            issn=f"{n % 9999:04}-{n % 9973:04}",
            volume=str(pick.randint(1, 90)),
            issue=str(pick.randint(1, 12)),
            pages=f"{n % 900}-{n % 900 + 9}",
            published=f"{year}-{pick.randint(1, 12):02}-{pick.randint(1, 28):02}",
            year=year,
            language="eng",
            authors=[Author(last=last, fore=fore, initials=fore) for last, fore in pick.sample(names, 6)],
            mesh=[MeshHeading(m) for m in pick.sample(MESH, 6)],
            keywords=["ketamine", "PTSD", f"topic {n % 500}"],
            publication_types=["Journal Article", *([kind] if kind != "Journal Article" else [])]
            + (["Retracted Publication"] if n % 700 == 0 else []),
            trials=[f"NCT{n:08}"] if n % 25 == 0 else [],
            corrections=[Correction("ErratumIn", citation="J Trauma Res. 2020")] if n % 300 == 0 else [],
        )


def make(path: Path, count: int) -> None:
    started = time.perf_counter()
    with Store(path) as store:
        store.sync_claims(load_claims())
        store.sync_query("bench", term="ketamine AND ptsd", source="pubmed", purpose="made-up articles")
        harvest = store.begin_harvest("pubmed", query_id="bench", term="ketamine AND ptsd", found=count)
        batch = []
        for article in articles(count):
            batch.append(article)
            if len(batch) == 2000:
                store.save(batch, harvest)
                batch = []
        store.save(batch, harvest)
        store.finish_harvest(harvest, "done")
        store.retag(tag_many, TAGGER_VERSION)
        store.set_meta("tagger_version", TAGGER_VERSION)
        store.connection.execute("ANALYZE")
        tags = store.connection.execute("SELECT count(*) FROM tags").fetchone()[0]
    print(
        f"database of {count:,} articles with {tags / count:.1f} tags each (labelled abstracts have 2.3) "
        f"made in {time.perf_counter() - started:.0f} s, {path.stat().st_size / 1e6:,.0f} MB"
    )


def bench_exports(path: Path) -> None:
    with closing(connect_read_only(path)) as connection:
        for format in ("ris", "bibtex", "nbib", "csl"):
            started, busy, size = time.perf_counter(), time.process_time(), 0
            query = "SELECT id AS article_id FROM articles LIMIT 10000"
            for piece in export.export(connection, format, query=query):
                size += len(piece)
            print(
                f"{format}: 10,000 references, {size / 1e6:.1f} MB in {time.perf_counter() - started:.2f} s "
                f"({time.process_time() - busy:.2f} s of processor)"
            )
        peaks = []
        for count in (1_000, 10_000, 60_000):
            tracemalloc.start()
            for _ in export.export(
                connection, "ris", query=f"SELECT id AS article_id FROM articles LIMIT {count}"
            ):
                pass
            peaks.append(f"{count:,}: {tracemalloc.get_traced_memory()[1] / 1e6:.1f} MB")
            tracemalloc.stop()
        print("ris, most Python memory at once, by number of references: " + "; ".join(peaks))
        for name, pieces in (
            ("csv of everything (kb export --format csv)", export.export(connection, "csv")),
            ("csv of the evidence view", export.export(connection, "csv", query="SELECT * FROM evidence")),
        ):
            started, busy, size = time.perf_counter(), time.process_time(), 0
            for piece in pieces:
                size += len(piece.encode())
            seconds = time.perf_counter() - started
            busy = time.process_time() - busy
            print(
                f"{name}: {size / 1e6:.0f} MB in {seconds:.2f} s, {size / 1e6 / seconds:.0f} MB/s "
                f"({size / 1e6 / busy:.0f} MB per second of processor)"
            )


async def bench_server(path: Path) -> None:
    datasette = serving.make_datasette(path)
    await datasette.invoke_startup()

    async def timed(address: str, times: int = 5) -> tuple[float, float, object]:
        """The best of some runs: seconds, seconds of processor, answer."""
        best = busy = 1e9
        for _ in range(times):
            started, working = time.perf_counter(), time.process_time()
            response = await datasette.client.get(address)
            best = min(best, time.perf_counter() - started)
            busy = min(busy, time.process_time() - working)
        if response.status_code != 200:
            raise SystemExit(f"{address}: {response.status_code} {response.text[:300]}")
        return best, busy, response

    print("canned queries, best of five, through the server (JSON), and what the processor worked on it:")
    worst = 0.0
    for name in serving.read_metadata()["databases"]["kb"]["queries"]:
        seconds, busy, response = await timed(f"/kb/{name}.json")
        worst = max(worst, seconds)
        note = "" if seconds < 0.2 else "   <- over 200 ms"
        rows = len(response.json()["rows"])
        print(f"  {seconds * 1000:6.0f} ms {busy * 1000:6.0f} ms  {rows:5} rows  {name}{note}")
    print(f"slowest canned query: {worst * 1000:.0f} ms")
    for address in ("/kb", "/kb/articles", "/kb/tags", "/kb/evidence", "/kb/sentences"):
        seconds, busy, _ = await timed(address, 3)
        print(f"  {seconds * 1000:6.0f} ms {busy * 1000:6.0f} ms  page {address}")
    seconds, busy, response = await timed("/kb/evidence.csv", 1)
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT count(*) FROM evidence").fetchone()[0]
    import csv
    import io

    got = sum(1 for _ in csv.reader(io.StringIO(response.text, newline=""))) - 1
    size = len(response.content) / 1e6
    print(
        f"/kb/evidence.csv through the server: {got:,} of {rows:,} rows, {size:.0f} MB in {seconds:.2f} s, "
        f"{size / seconds:.0f} MB/s ({size / busy:.0f} MB per second of processor)"
    )
    if got != rows:
        raise SystemExit("the CSV is not complete")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--articles", type=int, default=60_000)
    parser.add_argument("--db", type=Path, help="make the database here, or use it if it is there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.db or Path(folder) / "bench.db"
        if not path.exists():
            make(path, arguments.articles)
        bench_exports(path)
        asyncio.run(bench_server(path))


if __name__ == "__main__":
    main()
