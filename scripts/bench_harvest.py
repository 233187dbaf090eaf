#!/usr/bin/env python3
"""Measure the file reader beside its peers, and the pace of the HTTP client.

Writes a PubMed-like file of made-up citations to a temporary directory, then times in
one run: bare lxml.iterparse, pubmed_parser.parse_medline_xml, `kb harvest files --filter`
and `kb harvest files --all` (parsed, stored, indexed for search, without tagging).
Each contender runs alone in a process of its own, so that the peak memory is its own.

    scripts/bench_harvest.py                       30,000 citations, about 250 MB of XML
    scripts/bench_harvest.py --citations 3000      a quick look
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests"))

SYLLABLES = (
    "ba ce di fo gu ha je ki lo mu na pe qui ro su ta ve wi xo ya zen bra cli dro fla gri "
    "plo stra tri vel mor tin sal der com per sion tal gen cor met ris pol van dex"
).split()
HEAD = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2026//EN" '
    '"https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_260101.dtd">\n<PubmedArticleSet>\n'
)
LABELS = (
    ("BACKGROUND", "BACKGROUND"),
    ("METHODS", "METHODS"),
    ("RESULTS", "RESULTS"),
    ("CONCLUSIONS", "CONCLUSIONS"),
)


class Writer:
    """Made-up citations with the make-up of a recent baseline file: about 8 kB each."""

    def __init__(self, seed: int, topic_share: float) -> None:
        self.random = random.Random(seed)
        self.share = topic_share
        self.lexicon = [self._word() for _ in range(6000)]
        # MeSH is a closed vocabulary and authors write more than one paper: both come back.
        self.headings = [(f"D{n:06}", self.words(2).title()) for n in range(5000)]
        self.people = [
            (self.words(1).title(), self.words(1).title(), self.random.choice("ABCDEFGHJKLM")) for _ in range(60_000)
        ]

    def _word(self) -> str:
        return "".join(self.random.choices(SYLLABLES, k=self.random.randint(1, 4)))

    def words(self, count: int) -> str:
        return " ".join(self.random.choices(self.lexicon, k=count))

    def sentence(self, low: int = 12, high: int = 28) -> str:
        return self.words(self.random.randint(low, high)).capitalize() + "."

    def date(self, tag: str, year: int) -> str:
        month, day = self.random.randint(1, 12), self.random.randint(1, 28)
        return f"<{tag}><Year>{year}</Year><Month>{month:02}</Month><Day>{day:02}</Day></{tag}>"

    def citation(self, pmid: int) -> str:
        draw = self.random
        topic = draw.random() < self.share
        year = draw.randint(1998, 2025)
        title = self.sentence(8, 18)
        sections = [[self.sentence() for _ in range(draw.randint(2, 4))] for _ in LABELS]
        if topic:
            title = "Ketamine and " + title[0].lower() + title[1:]
            sections[2].append("Ketamine " + self.words(14) + ".")
        abstract = "".join(
            f'<AbstractText Label="{label}" NlmCategory="{category}">{" ".join(text)}</AbstractText>\n'
            for (label, category), text in zip(LABELS, sections, strict=True)
        )
        authors = "".join(
            f'<Author ValidYN="Y"><LastName>{last}</LastName><ForeName>{fore}</ForeName><Initials>{initial}'
            f"</Initials><AffiliationInfo><Affiliation>Department of {self.words(5)}, {self.words(3).title()}."
            "</Affiliation></AffiliationInfo></Author>\n"
            for last, fore, initial in draw.sample(self.people, draw.randint(2, 9))
        )
        mesh = "".join(
            f'<MeshHeading><DescriptorName UI="{ui}" MajorTopicYN="N">{name}</DescriptorName>'
            f'<QualifierName UI="Q{draw.randint(1, 999):06}" MajorTopicYN="Y">{self.words(1)}</QualifierName>'
            "</MeshHeading>\n"
            for ui, name in draw.sample(self.headings, draw.randint(6, 14))
        )
        references = "".join(
            f"<Reference><Citation>{self.words(2).title()}. {self.words(4)}. {draw.randint(1980, 2024)};"
            f"{draw.randint(1, 99)}:{draw.randint(1, 999)}.</Citation><ArticleIdList>"
            f'<ArticleId IdType="pubmed">{draw.randint(1_000_000, 39_000_000)}</ArticleId></ArticleIdList>'
            "</Reference>\n"
            for _ in range(draw.randint(0, 24))
        )
        return (
            '<PubmedArticle><MedlineCitation Status="MEDLINE" IndexingMethod="Automated" Owner="NLM">'
            f'<PMID Version="1">{pmid}</PMID>{self.date("DateCompleted", year)}'
            f'{self.date("DateRevised", year + 1)}<Article PubModel="Print-Electronic"><Journal>'
            f'<ISSN IssnType="Electronic">{draw.randint(1000, 9999)}-{draw.randint(1000, 9999)}</ISSN>'
            f'<JournalIssue CitedMedium="Internet"><Volume>{draw.randint(1, 90)}</Volume>'
            f"<Issue>{draw.randint(1, 12)}</Issue><PubDate><Year>{year}</Year><Month>Jun</Month></PubDate>"
            f"</JournalIssue><Title>{self.words(4).title()}</Title><ISOAbbreviation>{self.words(2).title()}"
            f"</ISOAbbreviation></Journal><ArticleTitle>{title}</ArticleTitle><Pagination><StartPage>1"
            "</StartPage><EndPage>9</EndPage><MedlinePgn>1-9</MedlinePgn></Pagination>"
            f'<ELocationID EIdType="doi" ValidYN="Y">10.5555/bench.{pmid}</ELocationID>'
            f"<Abstract>{abstract}<CopyrightInformation>Made up.</CopyrightInformation></Abstract>"
            f'<AuthorList CompleteYN="Y">{authors}</AuthorList><Language>eng</Language>'
            '<PublicationTypeList><PublicationType UI="D016428">Journal Article</PublicationType>'
            "</PublicationTypeList></Article><MedlineJournalInfo><Country>Nowhere</Country>"
            f"<MedlineTA>{self.words(2).title()}</MedlineTA><NlmUniqueID>{draw.randint(10**6, 10**7)}"
            "</NlmUniqueID></MedlineJournalInfo><ChemicalList><Chemical><RegistryNumber>0</RegistryNumber>"
            f'<NameOfSubstance UI="D{draw.randint(1, 99999):06}">{self.words(2).title()}</NameOfSubstance>'
            f"</Chemical></ChemicalList><MeshHeadingList>{mesh}</MeshHeadingList>"
            f'<KeywordList Owner="NOTNLM"><Keyword MajorTopicYN="N">{self.words(2)}</Keyword>'
            f'<Keyword MajorTopicYN="N">{self.words(1)}</Keyword></KeywordList></MedlineCitation>'
            f'<PubmedData><History><PubMedPubDate PubStatus="entrez"><Year>{year}</Year><Month>6</Month>'
            f'<Day>2</Day><Hour>6</Hour><Minute>0</Minute></PubMedPubDate><PubMedPubDate PubStatus="pubmed">'
            f"<Year>{year}</Year><Month>6</Month><Day>2</Day></PubMedPubDate></History>"
            '<PublicationStatus>ppublish</PublicationStatus><ArticleIdList><ArticleId IdType="pubmed">'
            f'{pmid}</ArticleId><ArticleId IdType="doi">10.5555/bench.{pmid}</ArticleId></ArticleIdList>'
            f"<ReferenceList>{references}</ReferenceList></PubmedData></PubmedArticle>\n"
        )


def write_file(path: Path, citations: int, seed: int, share: float) -> int:
    """Write `citations` made-up records as gzip; gives the size of the XML in bytes."""
    writer, size = Writer(seed, share), 0
    with gzip.open(path, "wb", compresslevel=6) as out:
        size += out.write(HEAD.encode())
        for number in range(citations):
            size += out.write(writer.citation(40_000_000 + number).encode())
        size += out.write(b"</PubmedArticleSet>\n")
    return size


# ---------------------------------------------------------------- contenders, each in a process of its own


def iterparse(path: Path) -> int:
    """lxml's own event loop over every citation, freeing each, doing nothing with it."""
    from lxml import etree

    count = 0
    with gzip.open(path, "rb") as handle:
        for _, element in etree.iterparse(handle, tag="PubmedArticle"):
            count += 1
            element.clear()
            while element.getprevious() is not None:
                del element.getparent()[0]
    return count


def pubmed_parser(path: Path) -> int:
    """pubmed_parser.parse_medline_xml with its defaults: parsed only, nothing stored."""
    import pubmed_parser as peer

    return sum(1 for _ in peer.parse_medline_xml(str(path)))


def _load(path: Path, *options: str) -> int:
    from click.testing import CliRunner

    from kb.cli import main

    database = path.with_name("bench.db")
    result = CliRunner().invoke(main, ["harvest", "files", str(path), *options, "--json", "--db", str(database)])
    if result.exit_code:
        raise SystemExit(result.output)
    return int(json.loads(result.stdout)["read"])


def kb_filter(path: Path) -> int:
    """kb harvest files --filter: the topic's citations found, parsed, stored, indexed for search."""
    return _load(path, "--filter")


def kb_all(path: Path) -> int:
    """kb harvest files --all: every citation parsed, stored, indexed for search."""
    return _load(path, "--all")


CONTENDERS = {
    "lxml.iterparse": iterparse,
    "pubmed_parser": pubmed_parser,
    "kb --filter": kb_filter,
    "kb --all": kb_all,
}


def measure(name: str, path: Path) -> None:
    """Run one contender and print its seconds, peak memory (with its child process) and citations as JSON."""
    import resource
    import time

    if name.startswith("kb"):  # the database with the starter corpus is there before the clock starts
        from kb.build import build

        for old in path.parent.glob("bench.db*"):
            old.unlink()
        build(path.with_name("bench.db"))
    before = time.perf_counter()
    citations = CONTENDERS[name](path)
    seconds = time.perf_counter() - before
    # Peak resident memory in MB; Linux counts in kB.
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(json.dumps({"seconds": seconds, "peak": peak, "citations": citations}))


def http(requests: int) -> list[dict[str, Any]]:
    """How busy the client keeps the permitted rate against a server that takes 0.45 s for each answer."""
    import threading
    import time

    from eutils_server import Citation, EutilsServer

    from harvest.eutils import Eutils, Pace

    results = []
    for rate, key in ((3, ""), (10, "bench-key")):
        with EutilsServer([Citation("1")], rate=3, rate_with_key=10, latency=0.45) as server:
            client = Eutils(server.url, api_key=key, pace=Pace(rate))
            number = requests if rate == 3 else requests * 3
            todo = iter(range(number))
            lock = threading.Lock()

            def work(client: Eutils = client, todo: Any = todo, lock: Any = lock) -> None:
                while True:
                    with lock:
                        if next(todo, None) is None:
                            return
                    client.fetch(["1"])

            threads = [threading.Thread(target=work) for _ in range(client.workers)]
            before = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            seconds = time.perf_counter() - before
            arrivals = server.arrivals
            # The last answer's 0.45 s are waiting, not sending: the rate is that of the requests as they arrive.
            pace = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])
            most = max(sum(first <= other < first + 1.0 for other in arrivals) for first in arrivals)
            results.append(
                {
                    "permitted": rate,
                    "used": pace,
                    "share": pace / rate,
                    "most_in_a_second": most,
                    "refused": server.refused,
                    "requests": len(arrivals),
                    "seconds": seconds,
                }
            )
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--citations", type=int, default=30_000)
    parser.add_argument("--topic", type=float, default=0.01, help="share of citations on the topic")
    parser.add_argument(
        "--requests", type=int, default=30, help="requests of the HTTP part at 3 a second; 0 leaves it out"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=2, metavar=("NAME", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]))
        return
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pubmed26n0001.xml.gz"
        size = write_file(path, options.citations, seed=1, share=options.topic)
        results["file"] = {"citations": options.citations, "xml_mb": size / 1e6, "gzip_mb": path.stat().st_size / 1e6}
        if not options.json:
            print(
                f"{options.citations:,} made-up citations, {size / 1e6:,.0f} MB of XML, "
                f"{path.stat().st_size / 1e6:,.0f} MB as gzip"
            )
        for name in CONTENDERS:
            done = subprocess.run(
                [sys.executable, __file__, "--measure", name, str(path)], capture_output=True, text=True
            )
            if done.returncode:
                results[name] = {"error": (done.stderr.strip().splitlines() or ["failed"])[-1]}
            else:
                results[name] = json.loads(done.stdout)
    if options.requests:
        results["http"] = http(options.requests)
    if options.json:
        print(json.dumps(results, indent=1))
        return
    peers = [results[name].get("seconds") for name in ("lxml.iterparse", "pubmed_parser")]
    print(f"{'':18}{'seconds':>9}{'peak MB':>9}{'/ iterparse':>13}{'/ pubmed_parser':>17}")
    for name in CONTENDERS:
        row = results[name]
        if "error" in row:
            print(f"{name:18}  {row['error']}")
            continue
        ratios = [f"{row['seconds'] / peer:.2f}" if peer else "-" for peer in peers]
        print(f"{name:18}{row['seconds']:9.1f}{row['peak']:9.0f}{ratios[0]:>13}{ratios[1]:>17}")
    for row in results.get("http", []):
        print(
            f"HTTP at {row['permitted']} a second: {row['used']:.2f} used ({row['share']:.0%}), at most "
            f"{row['most_in_a_second']} in any second, {row['refused']} refused"
        )


if __name__ == "__main__":
    main()
