"""A small E-utilities server on loopback, for tests.

It speaks esearch, efetch, epost and esummary over GET and POST as the reference describes them:
a history server, the wall of 9,999, field tags, PMID and date ranges, NCBI's rate limit, gzip and
chunks, and its errors. Faults are put in line with `fail`; `withhold`, `forget_history`, `rate`
and `records` change it while it runs. It serves the citations that a test writes itself.
"""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape, quoteattr

DTD = (
    '<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2025//EN" '
    '"https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd">'
)
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


@dataclass
class Citation:
    """A citation that a test made up. Dates are ISO days; `xml` takes the place of all the rest."""

    pmid: str
    title: str = "A made-up title."
    abstract: str | list[tuple[str, str]] = ""
    mesh: list[str] = field(default_factory=list)
    types: list[tuple[str, str]] = field(default_factory=lambda: [("D016428", "Journal Article")])
    corrections: list[tuple[str, str, str]] = field(default_factory=list)  # RefType, citation, PMID
    published: str = "2020-05-04"
    created: str = "2020-05-04"
    revised: str = "2020-05-04"
    doi: str = ""
    pmcid: str = ""
    journal: str = "Journal of Made-up Results"
    authors: list[tuple[str, str]] = field(default_factory=lambda: [("Doe", "J")])
    xml: str = ""

    def render(self) -> str:
        if self.xml:
            return self.xml
        sections = [("", self.abstract)] if isinstance(self.abstract, str) else self.abstract
        texts = "".join(
            f"<AbstractText{f' Label={quoteattr(label)} NlmCategory={quoteattr(label)}' if label else ''}>{text}"
            "</AbstractText>"
            for label, text in sections
            if text
        )
        ids = f'<ArticleId IdType="pubmed">{self.pmid}</ArticleId>'
        if self.doi:
            ids += f'<ArticleId IdType="doi">{escape(self.doi)}</ArticleId>'
        if self.pmcid:
            ids += f'<ArticleId IdType="pmc">{self.pmcid}</ArticleId>'
        year, month, day = self.published.split("-")
        links = "".join(
            f'<CommentsCorrections RefType="{kind}"><RefSource>{escape(source)}</RefSource>'
            f"{f'<PMID Version={chr(34)}1{chr(34)}>{other}</PMID>' if other else ''}</CommentsCorrections>"
            for kind, source, other in self.corrections
        )
        headings = "".join(
            f'<MeshHeading><DescriptorName UI="D000001" MajorTopicYN="N">{escape(name)}</DescriptorName></MeshHeading>'
            for name in self.mesh
        )
        return (
            f'<PubmedArticle><MedlineCitation Status="MEDLINE" Owner="NLM"><PMID Version="1">{self.pmid}</PMID>'
            f'{_date("DateRevised", self.revised)}<Article PubModel="Print"><Journal><JournalIssue '
            f'CitedMedium="Internet"><Volume>1</Volume><PubDate><Year>{year}</Year>'
            f"<Month>{MONTHS[int(month) - 1]}</Month><Day>{day}</Day></PubDate></JournalIssue>"
            f"<Title>{escape(self.journal)}</Title></Journal><ArticleTitle>{self.title}</ArticleTitle>"
            f'{f"<Abstract>{texts}</Abstract>" if texts else ""}<AuthorList CompleteYN="Y">'
            + "".join(
                f'<Author ValidYN="Y"><LastName>{escape(last)}</LastName><ForeName>{initials}</ForeName>'
                f"<Initials>{initials}</Initials></Author>"
                for last, initials in self.authors
            )
            + "</AuthorList><Language>eng</Language><PublicationTypeList>"
            + "".join(f'<PublicationType UI="{ui}">{name}</PublicationType>' for ui, name in self.types)
            + "</PublicationTypeList></Article>"
            + (f"<CommentsCorrectionsList>{links}</CommentsCorrectionsList>" if links else "")
            + (f"<MeshHeadingList>{headings}</MeshHeadingList>" if headings else "")
            + f"</MedlineCitation><PubmedData><History>{_date('PubMedPubDate', self.created, 'entrez')}</History>"
            f"<PublicationStatus>ppublish</PublicationStatus><ArticleIdList>{ids}</ArticleIdList></PubmedData>"
            "</PubmedArticle>"
        )

    @property
    def text(self) -> str:
        sections = self.abstract if isinstance(self.abstract, str) else " ".join(t for _, t in self.abstract)
        return f"{self.title} {sections}".lower()


def _date(tag: str, day: str, status: str = "") -> str:
    year, month, number = day.split("-")
    kind = f' PubStatus="{status}"' if status else ""
    return f"<{tag}{kind}><Year>{year}</Year><Month>{month}</Month><Day>{number}</Day></{tag}>"


def article_set(citations: Iterable[Citation | str]) -> str:
    """A PubmedArticleSet document, as efetch sends it."""
    inside = "\n".join(c if isinstance(c, str) else c.render() for c in citations)
    return f'<?xml version="1.0" ?>\n{DTD}\n<PubmedArticleSet>{inside}</PubmedArticleSet>'


# ---------------------------------------------------------------- queries

_TOKEN = re.compile(r'\s*(?:(\()|(\))|(:)|"([^"]*)"|([^\s():"\[\]]+))\s*(?:\[([^\]]*)\])?')
_FIELDS = {
    "title/abstract": "tiab",
    "tiab": "tiab",
    "title": "tiab",
    "all fields": "tiab",
    "all": "tiab",
    "mesh terms": "mesh",
    "mesh": "mesh",
    "mh": "mesh",
    "supplementary concept": "mesh",
    "nm": "mesh",
    "publication type": "pt",
    "pt": "pt",
    "uid": "uid",
    "pmid": "uid",
    "crdt": "crdt",
    "date - create": "crdt",
    "edat": "edat",
    "mdat": "mdat",
    "date - modification": "mdat",
    "lr": "mdat",
    "dp": "pdat",
    "pdat": "pdat",
}


class QuerySyntax(ValueError):
    pass


class QueryReader:
    """Evaluates a term in PubMed's syntax over citations: AND, OR, NOT (left to right), tags, phrases, *, ranges."""

    def __init__(self, term: str, records: dict[str, Citation], unknown: set[str]) -> None:
        self.records = records
        self.unknown = {text.lower() for text in unknown}
        self.phrases: list[str] = []
        self.fields: list[str] = []
        self.tokens = self._tokens(term)
        self.at = 0
        result = self._expression()
        if self.at != len(self.tokens):
            raise QuerySyntax(term)
        self.result = set(records) if result is None else result
        self.empty = result is None

    @staticmethod
    def _tokens(term: str) -> list[tuple[str, str, str]]:
        tokens, at = [], 0
        term = term.strip()
        while at < len(term):
            found = _TOKEN.match(term, at)
            if not found or found.end() == at:
                raise QuerySyntax(term)
            opening, closing, colon, phrase, word, tag = found.groups()
            if opening or closing or colon:
                tokens.append((opening or closing or colon, "", ""))
            elif phrase is None and tag is None and word in ("AND", "OR", "NOT"):
                tokens.append((word, "", ""))
            else:
                tokens.append(("word", phrase if phrase is not None else word, tag or ""))
            at = found.end()
        return tokens

    def _peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def _expression(self) -> set[str] | None:
        """None stands for a term that was dropped: it limits nothing."""
        left = self._item()
        while self._peek() in ("AND", "OR", "NOT", "word", "("):
            operator = "AND"
            if self._peek() in ("AND", "OR", "NOT"):
                operator = self.tokens[self.at][0]
                self.at += 1
            right = self._item()
            if left is None or right is None:
                left = right if left is None else left
            elif operator == "AND":
                left = left & right
            elif operator == "OR":
                left = left | right
            else:
                left = left - right
        return left

    def _item(self) -> set[str] | None:
        kind = self._peek()
        if kind == "(":
            self.at += 1
            inner = self._expression()
            if self._peek() != ")":
                raise QuerySyntax("unclosed")
            self.at += 1
            return inner
        if kind != "word":
            raise QuerySyntax("a word was expected")
        _, text, tag = self.tokens[self.at]
        self.at += 1
        if self._peek() == ":":
            self.at += 1
            if self._peek() != "word":
                raise QuerySyntax("a range has two ends")
            _, high, tag = self.tokens[self.at]
            self.at += 1
            return self._range(text, high, tag)
        return self._match(text, tag)

    def _range(self, low: str, high: str, tag: str) -> set[str] | None:
        name = _FIELDS.get(tag.lower())
        if name == "uid":
            first, last = int(low), int(high)
            return {pmid for pmid in self.records if first <= int(pmid) <= last}
        if name not in ("crdt", "edat", "mdat", "pdat"):
            self.fields.append(tag)
            return None
        first, last = low.replace("/", "-"), high.replace("/", "-") + "~"
        return {pmid for pmid, c in self.records.items() if first <= self._day(c, name) <= last}

    @staticmethod
    def _day(citation: Citation, name: str) -> str:
        return {
            "crdt": citation.created,
            "edat": citation.created,
            "mdat": citation.revised,
            "pdat": citation.published,
        }[name]

    def _match(self, text: str, tag: str) -> set[str] | None:
        low = text.lower()
        if low in self.unknown:
            self.phrases.append(text)
            return None
        name = _FIELDS.get(tag.lower(), "") if tag else ("uid" if text.isdigit() else "tiab")
        if not name:
            self.fields.append(tag)
            return None
        if name == "uid":
            return {text} & set(self.records)
        if name in ("crdt", "edat", "mdat", "pdat"):
            return self._range(text, text, tag)
        if name == "mesh":
            return {p for p, c in self.records.items() if low in (m.lower() for m in c.mesh)}
        if name == "pt":
            return {p for p, c in self.records.items() if low in (n.lower() for _, n in c.types)}
        if low == "all" or low == "*":
            return set(self.records)
        end = r"\w*" if low.endswith("*") else r"\b"
        pattern = re.compile(r"\b" + re.escape(low.rstrip("*")) + end)
        return {p for p, c in self.records.items() if pattern.search(c.text)}


# ---------------------------------------------------------------- answers and faults


@dataclass
class Answer:
    body: bytes
    status: int = 200
    content_type: str = "text/xml; charset=UTF-8"
    headers: dict[str, str] = field(default_factory=dict)
    manner: str = ""  # cut: close in mid-chunk; short: fewer bytes than promised; reset; drip


def error_xml(root: str, *messages: str, status: int = 200) -> Answer:
    names = {
        "eSearchResult": "esearch",
        "eFetchResult": "efetch",
        "ePostResult": "epost",
        "eSummaryResult": "esummary",
    }
    inside = "".join(f"\t<ERROR>{escape(text)}</ERROR>\n" for text in messages)
    return Answer(
        (
            f'<?xml version="1.0" encoding="UTF-8" ?>\n<!DOCTYPE {root} PUBLIC "-//NLM//DTD {names[root]} '
            f'20131226//EN" "https://eutils.ncbi.nlm.nih.gov/eutils/dtd/20131226/{names[root]}.dtd">\n'
            f"<{root}>\n{inside}</{root}>\n"
        ).encode(),
        status,
    )


ROOTS = {"esearch": "eSearchResult", "efetch": "eFetchResult", "epost": "ePostResult", "esummary": "eSummaryResult"}
HTML = "text/html; charset=UTF-8"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Outage</title></head><body><h1>We are down.</h1></body></html>"
# The number is the line of the reference's error table.
FAULTS: dict[str, Callable[[str, dict[str, str]], Answer]] = {
    "1": lambda u, p: Answer(
        json.dumps(
            {"error": "API rate limit exceeded", "api-key": p.get("api_key", "127.0.0.1"), "count": "4", "limit": "3"}
        ).encode(),
        429,
        "application/json",
        {"Retry-After": "0", "X-RateLimit-Limit": "3", "X-RateLimit-Remaining": "0"},
    ),
    "2": lambda u, p: Answer(
        json.dumps(
            {"error": "API key invalid", "api-key": p.get("api_key", ""), "type": "invalid", "status": "unknown"}
        ).encode(),
        400,
        "application/json",
    ),
    "4": lambda u, p: error_xml(
        ROOTS[u], "Search Backend failed: Couldn't resolve #pmquerysrv-mz?dbaf=pubmed, the address table is empty."
    ),
    "4-json": lambda u, p: Answer(
        b'{"header":{"type":"esearch","version":"0.3"},"esearchresult":{"ERROR":"Search Backend failed: Couldn\'t '
        b'resolve #pmquerysrv-mz?dbaf=pubmed, the address table is empty."}}',
        200,
        "application/json; charset=UTF-8",
    ),
    "5": lambda u, p: error_xml(ROOTS[u], "Database is not supported: pubmed"),
    "6": lambda u, p: error_xml(
        ROOTS[u], "Search Backend failed: Unable to open connection to #PMQuerySrv?dbaf=pubmed"
    ),
    "6-db": lambda u, p: error_xml(ROOTS[u], "Invalid db name specified: pubmed"),
    "7": lambda u, p: error_xml(ROOTS[u], "Search Backend failed: syntax"),
    "8": lambda u, p: error_xml(ROOTS[u], "Unable to obtain query #1"),
    "9": lambda u, p: error_xml(
        ROOTS[u],
        "Cannot retrieve history data. query_key: 1, WebEnv: MCID_0, retstart: 0, retmax: 200",
        "Can't fetch uids from history because of: NCBI C++ Exception: Error: UNK_MODULE",
    ),
    "11": lambda u, p: error_xml(
        ROOTS[u], " Error: External viewer error: Empty Response. Bytes read: 0 Status: Timeout", status=400
    ),
    "12": lambda u, p: Answer(
        b"<eFetchResult><ERROR> Error occurred: cannot get document summary</ERROR></eFetchResult>", 400
    ),
    "15a": lambda u, p: Answer(
        b'<?xml version="1.0"?>\n<eSummaryResult><DocumentSummarySet status="OK">'
        b"<!-- DocSum Backend failed --></DocumentSummarySet></eSummaryResult>"
    ),
    "17": lambda u, p: Answer(
        f'<?xml version="1.0" encoding="UTF-8" ?>\n<!DOCTYPE {ROOTS[u]} PUBLIC "x" "y">\n'.encode()
    ),
    "17-empty": lambda u, p: Answer(b""),
    "18": lambda u, p: Answer(PAGE, 200, HTML),
    "18-502": lambda u, p: Answer(PAGE, 502, HTML),
    "19": lambda u, p: Answer(
        b"<html><head><title>302 Found</title></head></html>",
        302,
        "text/html",
        {"Location": "https://misuse.ncbi.nlm.nih.gov/error/abuse.shtml?orig_args=/entrez/eutils/esearch.fcgi"},
    ),
    "19-page": lambda u, p: Answer(
        b"<html><title>NCBI - WWW Error Blocked Diagnostic</title></html>", 200, "text/html"
    ),
    "redirect": lambda u, p: Answer(b"", 307, "text/html", {"Location": "http://127.0.0.1:9/elsewhere"}),
    "20": lambda u, p: Answer(
        b"Unable to route request!\n\nservice name: /http/service/ratecontrol\n", 200, "text/plain"
    ),
    "21-cut": lambda u, p: Answer(b"", manner="cut"),
    "21-short": lambda u, p: Answer(b"", manner="short"),
    "21-reset": lambda u, p: Answer(b"", manner="reset"),
    "21-silent": lambda u, p: Answer(b"", manner="silent"),
    "drip": lambda u, p: Answer(b"", manner="drip"),
    "23": lambda u, p: Answer(b"Service Unavailable", 503, "text/plain"),
    "24": lambda u, p: Answer(b"Request-URI Too Large", 414, "text/plain"),
    "400": lambda u, p: Answer(b"Mandatory parameter: db - is omitted", 400, "text/plain"),
}


@dataclass
class _Fault:
    utility: str
    name: str
    times: int
    when: Callable[[dict[str, str]], bool]


# ---------------------------------------------------------------- the server


class EutilsServer:
    """`with EutilsServer(citations) as server:` serves at `server.url` until the block ends.

    `rate` is the limit a second (None: no limit; with an API key `rate_with_key`), `latency` the seconds an
    answer takes, `wall` what PubMed calls 9,999.
    """

    def __init__(
        self,
        citations: Iterable[Citation] = (),
        *,
        rate: int | None = None,
        rate_with_key: int | None = None,
        latency: float = 0.0,
        wall: int = 9999,
        keys: Iterable[str] = (),
    ) -> None:
        self.records: dict[str, Citation] = {c.pmid: c for c in citations}
        self.rate, self.rate_with_key, self.latency, self.wall = rate, rate_with_key, latency, wall
        self.keys = set(keys)
        self.unknown_phrases: set[str] = set()
        self.withheld: Counter[str] = Counter()  # PMID -> how many more times it is left out of an answer
        self.poison: set[str] = set()  # PMIDs that make efetch time out
        self.log: list[tuple[str, dict[str, str]]] = []
        self.arrivals: list[float] = []
        self.refused = 0
        self.urls: list[str] = []
        self._faults: deque[_Fault] = deque()
        self._history: dict[str, dict[str, list[str]]] = {}
        self._sessions = 0
        self._window: dict[str, deque[float]] = {}
        self._lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1  # one packet for headers and a short body

            def do_GET(self) -> None:
                if len(self.path) > 8000:
                    server._send(self, FAULTS["24"]("", {}))
                    return
                server._handle(self, urlsplit(self.path).query)

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                query = urlsplit(self.path).query
                server._handle(self, "&".join(part for part in (query, body) if part))

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that went away (or was killed) is no news here."""

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/entrez/eutils/"

    def __enter__(self) -> EutilsServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    # -- what tests change

    def add(self, *citations: Citation) -> None:
        for citation in citations:
            self.records[citation.pmid] = citation

    def remove(self, *pmids: str) -> None:
        for pmid in pmids:
            del self.records[pmid]

    def fail(
        self, utility: str, name: str, times: int = 1, when: Callable[[dict[str, str]], bool] = lambda params: True
    ) -> None:
        """The next `times` matching requests to `utility` get this fault (a key of FAULTS)."""
        assert name in FAULTS
        self._faults.append(_Fault(utility, name, times, when))

    def forget_history(self) -> None:
        self._history.clear()

    def count(self, utility: str) -> int:
        return sum(1 for name, _ in self.log if name == utility)

    def fetched(self) -> list[str]:
        """Every PMID that efetch was asked for by id, in order."""
        return [i for name, p in self.log if name == "efetch" for i in p.get("id", "").split(",") if i]

    # -- serving

    def _handle(self, handler: BaseHTTPRequestHandler, query: str) -> None:
        values = parse_qs(query, keep_blank_values=True)
        # NCBI takes "webenv" for "WebEnv" (Biopython's own documentation writes it so).
        params = {
            "WebEnv" if name.lower() == "webenv" else name: ",".join(parts) if name == "id" else parts[-1]
            for name, parts in values.items()
        }
        utility = urlsplit(handler.path).path.rsplit("/", 1)[-1].removesuffix(".fcgi")
        arrived = time.monotonic()
        with self._lock:
            self.log.append((utility, params))
            self.urls.append(handler.path)
            self.arrivals.append(arrived)
            fault = self._next_fault(utility, params)
            limited = None if fault else self._limit(params, arrived)
        if self.latency:
            time.sleep(self.latency)
        if fault:
            answer = FAULTS[fault](utility, params)
        elif limited:
            answer = limited
        elif params.get("api_key") and self.keys and params["api_key"] not in self.keys:
            answer = FAULTS["2"](utility, params)
        elif not urlsplit(handler.path).path.startswith("/entrez/eutils/") or utility not in ROOTS:
            answer = Answer(b"<html><body>404 Not Found</body></html>", 404, HTML)
        elif params.get("db") != "pubmed":
            answer = (
                FAULTS["400"](utility, params)
                if "db" not in params
                else error_xml(ROOTS[utility], f"Invalid db name specified: {params['db']}")
            )
        else:
            answer = getattr(self, "_" + utility)(params)
        self._send(handler, answer)

    def _next_fault(self, utility: str, params: dict[str, str]) -> str:
        for fault in self._faults:
            if fault.utility in (utility, "any") and fault.times > 0 and fault.when(params):
                fault.times -= 1
                return fault.name
        return ""

    def _limit(self, params: dict[str, str], arrived: float) -> Answer | None:
        limit = self.rate_with_key if params.get("api_key") and self.rate_with_key else self.rate
        if not limit:
            return None
        seen = self._window.setdefault(params.get("api_key", ""), deque())
        while seen and arrived - seen[0] >= 1.0:
            seen.popleft()
        if len(seen) >= limit:
            self.refused += 1
            return Answer(
                json.dumps(
                    {
                        "error": "API rate limit exceeded",
                        "api-key": "127.0.0.1",
                        "count": str(len(seen) + 1),
                        "limit": str(limit),
                    }
                ).encode(),
                429,
                "application/json",
                {"Retry-After": "1", "X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": "0"},
            )
        seen.append(arrived)
        return None

    def _send(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.manner:
            self._misbehave(handler, answer.manner)
            return
        body = answer.body
        handler.send_response(answer.status)
        handler.send_header("Content-Type", answer.content_type)
        handler.send_header("NCBI-PHID", "322C43FE71CC15450000211D324ABE18.1.1.m_1")
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        if "gzip" in handler.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, 1)
            handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            for start in range(0, len(body), 65536):
                part = body[start : start + 65536]
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            handler.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass

    def _misbehave(self, handler: BaseHTTPRequestHandler, manner: str) -> None:
        handler.close_connection = True
        start = article_set([Citation("1")]).encode()[:600]
        if manner == "reset":
            handler.connection.close()
            return
        handler.send_response(200)
        handler.send_header("Content-Type", "text/xml; charset=UTF-8")
        if manner == "short":  # fewer bytes than it said
            handler.send_header("Content-Length", str(len(start) * 2))
        elif manner == "silent":  # a cut that the transport does not show
            handler.send_header("Content-Length", str(len(start)))
        else:
            handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            if manner == "cut":
                handler.wfile.write(b"%x\r\n%s" % (len(start) * 2, start))
            elif manner == "drip":
                for number in range(200):
                    handler.wfile.write(b"1\r\n%s\r\n" % start[number : number + 1])
                    handler.wfile.flush()
                    time.sleep(0.05)
            else:
                handler.wfile.write(start)
            handler.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            pass

    # -- the utilities

    def _esearch(self, params: dict[str, str]) -> Answer:
        as_json = params.get("retmode") == "json"
        term = params.get("term", "").strip()
        if not term and "query_key" not in params:
            return self._search_error("Empty term and query_key - nothing todo", as_json)
        start, size = _number(params.get("retstart"), 0), _number(params.get("retmax"), 20)
        if params.get("rettype") == "count":
            size = 0
        if start > self.wall - 1:
            message = (
                "Search Backend failed: Exception:\n'retstart' cannot be larger than 9998. For PubMed, ESearch "
                "can only retrieve the first 9,999 records matching the query."
            )
            return self._search_error(message, as_json, status=200 if as_json else 400)
        phrases: list[str] = []
        unknown_fields: list[str] = []
        if term:
            try:
                reader = QueryReader(term, dict(self.records), self.unknown_phrases)
            except (QuerySyntax, ValueError):
                return self._search_error("Search Backend failed: query", as_json)
            phrases, unknown_fields = reader.phrases, reader.fields
            found = [] if reader.empty else self._sorted(reader.result, params.get("sort", ""))
        else:
            stored = self._history.get(params.get("WebEnv", ""), {}).get(params["query_key"])
            if stored is None:
                return self._search_error(f"Unable to obtain query #{params['query_key']}", as_json)
            found = stored
        warnings = [] if found else ["No items found."]
        if size > self.wall:
            warnings.append("Restrictions achieved, only the first 9,999 records are available")
        ids = found[start : min(start + size, self.wall)]
        webenv = key = ""
        if params.get("usehistory") == "y":
            webenv, key = self._store(found, params.get("WebEnv", ""))
        dropped = {text.lower() for text in phrases}
        translation = " ".join(word for word in term.split() if word.strip('"()').lower() not in dropped)
        if as_json:
            result: dict[str, Any] = {"count": str(len(found)), "retmax": str(len(ids)), "retstart": str(start)}
            if webenv:
                result |= {"querykey": key, "webenv": webenv}
            result |= {"idlist": ids, "translationset": [], "querytranslation": translation}
            if phrases or unknown_fields:
                result["errorlist"] = {"phrasesnotfound": phrases, "fieldsnotfound": unknown_fields}
            if warnings:
                result["warninglist"] = {
                    "phrasesignored": [],
                    "quotedphrasesnotfound": [],
                    "outputmessages": warnings,
                }
            return Answer(
                json.dumps({"header": {"type": "esearch", "version": "0.3"}, "esearchresult": result}).encode(),
                content_type="application/json; charset=UTF-8",
            )
        history = f"<QueryKey>{key}</QueryKey><WebEnv>{webenv}</WebEnv>" if webenv else ""
        errors = "".join(f"<PhraseNotFound>{escape(x)}</PhraseNotFound>" for x in phrases)
        errors += "".join(f"<FieldNotFound>{escape(x)}</FieldNotFound>" for x in unknown_fields)
        outputs = "".join(f"<OutputMessage>{x}</OutputMessage>" for x in warnings)
        return Answer(
            (
                '<?xml version="1.0" encoding="UTF-8" ?>\n'
                '<!DOCTYPE eSearchResult PUBLIC "-//NLM//DTD esearch 20060628//EN" '
                '"https://eutils.ncbi.nlm.nih.gov/eutils/dtd/20060628/esearch.dtd">\n'
                f"<eSearchResult><Count>{len(found)}</Count><RetMax>{len(ids)}</RetMax><RetStart>{start}</RetStart>{history}"
                f"<IdList>{''.join(f'<Id>{i}</Id>' for i in ids)}</IdList><TranslationSet/>"
                f"<QueryTranslation>{escape(translation)}</QueryTranslation>"
                + (f"<ErrorList>{errors}</ErrorList>" if errors else "")
                + (f"<WarningList>{outputs}</WarningList>" if outputs else "")
                + "</eSearchResult>"
            ).encode()
        )

    def _search_error(self, message: str, as_json: bool, status: int = 200) -> Answer:
        if not as_json:
            return error_xml("eSearchResult", message, status=status)
        # NCBI writes the newline into the string as it is, which is not JSON.
        body = ('{"header":{"type":"esearch","version":"0.3"},"esearchresult":{"ERROR":"' + message + '"}}').encode()
        return Answer(body, status, "application/json; charset=UTF-8")

    def _sorted(self, pmids: set[str], order: str) -> list[str]:
        day = (lambda p: self.records[p].published) if order == "pub_date" else (lambda p: self.records[p].created)
        return sorted(pmids, key=lambda p: (day(p), int(p)), reverse=True)

    def _store(self, ids: list[str], webenv: str) -> tuple[str, str]:
        with self._lock:
            if webenv not in self._history:
                self._sessions += 1
                webenv = f"MCID_{self._sessions:024x}"
                self._history[webenv] = {}
            key = str(len(self._history[webenv]) + 1)
            self._history[webenv][key] = ids
        return webenv, key

    def _epost(self, params: dict[str, str]) -> Answer:
        ids = [i for i in params.get("id", "").split(",") if i.strip().isdigit()]
        if not ids:
            return error_xml("ePostResult", "Empty ID list; Nothing to store")
        if len(ids) > 10_000:
            return error_xml("ePostResult", "Too many IDs")
        webenv, key = self._store(ids, params.get("WebEnv", ""))
        return Answer(
            (
                '<?xml version="1.0" encoding="UTF-8" ?>\n'
                '<!DOCTYPE ePostResult PUBLIC "-//NLM//DTD epost 20090526//EN" '
                '"https://eutils.ncbi.nlm.nih.gov/eutils/dtd/20090526/epost.dtd">'
                f"<ePostResult>\n\t<QueryKey>{key}</QueryKey>\n\t<WebEnv>{webenv}</WebEnv>\n</ePostResult>\n"
            ).encode()
        )

    def _wanted(self, params: dict[str, str], root: str) -> list[str] | Answer:
        """The ids that efetch or esummary are to answer, in order, or the error."""
        if "id" in params:
            ids = [i.strip().lstrip("0") for i in params["id"].split(",")]
            usable = list(dict.fromkeys(i for i in ids if i.isdigit()))
            return usable or error_xml(root, "ID list is empty! Possibly it has no correct IDs.", status=400)
        if "WebEnv" not in params or "query_key" not in params:
            return error_xml(root, "Neither query_key nor id specified", status=400)
        stored = self._history.get(params["WebEnv"], {}).get(params["query_key"])
        if stored is None:
            return error_xml(root, f"Unable to obtain query #{params['query_key']}")
        start, size = _number(params.get("retstart"), 0), _number(params.get("retmax"), 20)
        if start >= self.wall:
            return error_xml(
                root,
                "Search backend cannot retrieve history data. Reason: Exception:\n'retstart' cannot "
                "be larger than 9998.",
                status=400,
            )
        if start >= len(stored):
            return error_xml(
                root,
                f"Cannot retrieve history data: OUT OF RANGE. Parameter retstart={start} + 1 is "
                f"greater than number of records available in history. History includes "
                f"{len(stored)} IDs.",
                status=400,
            )
        return stored[start : min(start + size, self.wall)]  # a page that crosses the wall is trimmed without a word

    def _efetch(self, params: dict[str, str]) -> Answer:
        wanted = self._wanted(params, "eFetchResult")
        if isinstance(wanted, Answer):
            return wanted
        if self.poison & set(wanted):
            return FAULTS["11"]("efetch", params)
        if params.get("rettype") == "uilist":
            return Answer("\n".join(wanted).encode(), content_type="text/plain; charset=UTF-8")
        found = []
        with self._lock:
            for pmid in wanted:
                if self.withheld[pmid] > 0:
                    self.withheld[pmid] -= 1
                elif pmid in self.records:
                    found.append(self.records[pmid].render())
        return Answer(article_set(found).encode())

    def _esummary(self, params: dict[str, str]) -> Answer:
        as_json = params.get("retmode") == "json"
        wanted = self._wanted(params, "eSummaryResult")
        if isinstance(wanted, Answer):
            return wanted
        if as_json:
            if len(wanted) > 500:
                return Answer(
                    b'{"header":{"type":"esummary","version":"0.3"},"error":"Too many UIDs in request. Maximum '
                    b'number of UIDs is 500 for JSON format output."}',
                    content_type="application/json; charset=UTF-8",
                )
            result: dict[str, Any] = {"uids": wanted}
            for pmid in wanted:
                result[pmid] = (
                    {"uid": pmid, "title": self.records[pmid].title}
                    if pmid in self.records
                    else {"uid": pmid, "error": "cannot get document summary"}
                )
            return Answer(
                json.dumps({"header": {"type": "esummary", "version": "0.3"}, "result": result}).encode(),
                content_type="application/json; charset=UTF-8",
            )
        if params.get("version") == "2.0":
            documents = "".join(
                f'<DocumentSummary uid="{p}"><Title>{self.records[p].title}</Title></DocumentSummary>'
                if p in self.records
                else f'<DocumentSummary uid="{p}"><error>cannot get document summary</error></DocumentSummary>'
                for p in wanted
            )
            return Answer(
                (
                    '<?xml version="1.0" encoding="UTF-8" ?>\n<eSummaryResult><DocumentSummarySet status="OK">'
                    f"{documents}</DocumentSummarySet></eSummaryResult>"
                ).encode()
            )
        documents = "".join(
            f'<DocSum><Id>{p}</Id><Item Name="Title" Type="String">{self.records[p].title}</Item></DocSum>'
            for p in wanted
            if p in self.records
        )
        return Answer(
            (
                '<?xml version="1.0" encoding="UTF-8" ?>\n<!DOCTYPE eSummaryResult PUBLIC "-//NLM//DTD esummary v1 '
                '20041029//EN" "https://eutils.ncbi.nlm.nih.gov/eutils/dtd/20041029/esummary-v1.dtd">\n'
                f"<eSummaryResult>{documents}</eSummaryResult>"
            ).encode()
        )


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() else default
