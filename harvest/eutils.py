"""A client for NCBI's E-utilities that keeps to their pace and understands their errors.

Everything is sent by POST: the API key travels in the body only and is taken out of every
message. Redirects are refused (a block arrives as one, and a followed POST would lose or
leak its body). An answer is judged by status, then content type, then what it says, since
status 200 carries failures and 400 carries timeouts; `RULES` is that judgement as a table.
Retries go through the same limiter as first tries, which is why urllib3's own are off.
"""

from __future__ import annotations

import email.utils
import errno
import hashlib
import json
import os
import random
import re
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from lxml import etree
from requests.adapters import HTTPAdapter

NCBI = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils/"
TOOL = "ketamine-ptsd-kb"
WALL = 9999  # records that one PubMed result can be read to, whatever the handbook says (10,000)
RATE, RATE_WITH_KEY = 3.0, 10.0  # requests a second, per address (without a key) or per key
MARGIN = 0.93  # NCBI counts arrivals, and the network bunches them: leave it some room
MAX_BODY = 256 * 1024 * 1024
_PMID = re.compile(r"[1-9]\d{0,11}")


# ---------------------------------------------------------------- what can go wrong


class Verdict(StrEnum):
    OK = "ok"
    DATA = "data"  # an honest answer that something is not there
    TRANSIENT = "transient"  # the same request may succeed later
    SESSION = "session"  # the history session is gone: search again
    PERMANENT = "permanent"  # the same request can only fail again
    FATAL = "fatal"  # nothing may be sent any more


class EutilsError(Exception):
    """The work could not be done. The text is one line for a person, free of secrets."""

    heavy = False  # a smaller request might have gone through


class Unavailable(EutilsError):
    """The server did not give an answer, however often it was asked."""


class SessionLost(EutilsError):
    """The history session (WebEnv) is gone; the search must be sent again."""


class BadRequest(EutilsError):
    """The server refuses this request and would do so again."""


class Blocked(EutilsError):
    """NCBI blocks this address or refuses the API key; no more requests are sent."""


@dataclass(frozen=True)
class Rule:
    """One line of the error table: when all given conditions hold, this is the verdict.

    `row` is the line of the reference it stands for. `status` is a span of HTTP statuses,
    `kind` the sort of body, `says` is searched in the telling part of the answer.
    """

    row: str
    verdict: Verdict
    meaning: str
    status: tuple[int, int] | None = None
    kind: str | None = None
    says: str | None = None
    heavy: bool = False  # worth asking again for half as much
    tries: int | None = None  # give up sooner than usual


_T, _S, _P, _F = Verdict.TRANSIENT, Verdict.SESSION, Verdict.PERMANENT, Verdict.FATAL
_BLOCKED = (
    "NCBI has blocked this address for sending too much. Stop every program that uses the E-utilities here, "
    "wait a day, and if the block stays write to eutilities@ncbi.nlm.nih.gov with your --email; "
    "an API key does not lift it"
)
_NO_EUTILS = "there is no E-utilities service at this address: check --base-url"

# The first rule that fits decides.
RULES: tuple[Rule, ...] = (
    Rule("19", _F, _BLOCKED, status=(300, 399), says=r"misuse|abuse"),
    Rule("19", _F, _BLOCKED, kind="html", says=r"WWW Error Blocked|misuse\.ncbi|error/abuse"),
    Rule("redirect", _P, "the server redirects elsewhere, which is refused: check --base-url", status=(300, 399)),
    Rule(
        "2",
        _F,
        "NCBI does not know this API key: check --api-key, or run without one",
        says=r"API key (?:invalid|not)",
    ),
    Rule("1", _T, "too many requests a second from this address or key", status=(429, 429)),
    Rule("1", _T, "too many requests a second from this address or key", says=r"API rate limit exceeded"),
    Rule("24", _P, "the request is too long for a URL; it should have been sent by POST", status=(414, 414)),
    Rule("404", _P, _NO_EUTILS, status=(404, 410)),
    Rule("auth", _P, "the server refuses access", status=(401, 403)),
    Rule("method", _P, _NO_EUTILS, status=(405, 405)),
    Rule(
        "18",
        _T,
        "a web page instead of data: the service is down, or --base-url is no E-utilities server",
        kind="html",
        status=(500, 599),
        heavy=True,
    ),
    Rule("23", _T, "the server failed or was overloaded", status=(500, 599), heavy=True),
    Rule(
        "18",
        _T,
        "a web page instead of data: the service is down, or --base-url is no E-utilities server",
        kind="html",
    ),
    Rule("20", _T, "NCBI's gateway could not route the request", says=r"Unable to route request"),
    Rule(
        "3", _P, "more than the first 9,999 records of one search were asked for", says=r"cannot be larger than 9998"
    ),
    Rule("10", _P, "a page beyond the end of the stored result was asked for", says=r"OUT OF RANGE"),
    Rule("8", _S, "the history session is gone", says=r"Unable to obtain query"),
    Rule("9", _S, "the history session is gone", says=r"Cannot retrieve history data|Can't fetch uids from history"),
    Rule("11", _T, "a timeout inside NCBI", says=r"External viewer error|Status: Timeout", heavy=True),
    Rule("12", _T, "NCBI could not get at its records", says=r"^\s*Error occurred: cannot get document summary"),
    Rule("13", _P, "none of the ids was usable", says=r"ID[ +]list[ +]is[ +]empty"),
    Rule(
        "16",
        _P,
        "the ids were not accepted",
        says=r"Invalid uid|Too many UIDs|Empty id list|Empty ID list|Some IDs have invalid|Neither query_key nor id",
    ),
    Rule("4", _T, "NCBI's search backend is down", says=r"Couldn't resolve #|address table is empty"),
    Rule("5", _T, "NCBI's search backend is down", says=r"Database is not supported: pubmed"),
    Rule(
        "6",
        _T,
        "NCBI's search backend is down",
        says=r"Unable to open connection to #|Invalid db name specified: pubmed",
    ),
    Rule("db", _P, "the database name was not accepted", says=r"Invalid db name specified"),
    Rule("term", _P, "the query is empty", says=r"Empty term"),
    # An outage and a broken query share these words, so it is tried a few times and then said to be either.
    Rule(
        "7",
        _T,
        "the search backend failed: either the query is not valid PubMed syntax or NCBI has a problem",
        says=r"Search Backend failed",
        tries=3,
    ),
    Rule("15a", _T, "NCBI's summary backend failed", says=r"DocSum Backend failed"),
    Rule("c++", _T, "an error inside NCBI", says=r"NCBI C\+\+ Exception"),
    Rule("17", _T, "an empty answer", kind="empty"),
    Rule("21", _T, "the answer was cut off", kind="cut", heavy=True),
    Rule("400", _P, "the server refuses the request", status=(400, 499)),
    Rule("other", _P, "the answer is not one of E-utilities: check --base-url", kind="other"),
)

_ROOTS = {
    "esearch": "eSearchResult",
    "efetch": ("PubmedArticleSet", "PubmedBookArticleSet"),
    "epost": "ePostResult",
    "esummary": "eSummaryResult",
    "einfo": "eInfoResult",
}
_ROOT = re.compile(rb"<([A-Za-z_][\w.:-]*)")
_PROLOG = re.compile(rb"(?:\s+|\xef\xbb\xbf|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>]*>)*", re.S)
_ERROR = re.compile(rb"<ERROR[^>]*>(.*?)</ERROR>", re.S)
_COMMENT_ERROR = re.compile(rb"<!--[^>]*?(DocSum Backend failed)", re.S)
_ADDRESS = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")


@dataclass(frozen=True)
class Judgement:
    """What an answer amounts to. `said` is the server's own words (not yet redacted)."""

    verdict: Verdict
    row: str = ""
    meaning: str = ""
    said: str = ""
    heavy: bool = False
    tries: int | None = None
    wait: float | None = None  # seconds the server asks to wait


def judge(status: int, headers: Mapping[str, str], body: bytes, utility: str) -> Judgement:
    """Say what an answer to `utility` (esearch, efetch, ...) amounts to."""
    kind, said = _telling(status, headers, body, utility)
    wait = _retry_after(headers)
    for rule in RULES:
        if rule.status and not rule.status[0] <= status <= rule.status[1]:
            continue
        if rule.kind and rule.kind != kind:
            continue
        if rule.says and not re.search(rule.says, said):
            continue
        if not rule.status and not rule.says and not rule.kind:
            continue
        return Judgement(rule.verdict, rule.row, rule.meaning, said, rule.heavy, rule.tries, wait)
    if kind == "error":
        return Judgement(_P, "error", "the server reports an error", said)
    return Judgement(Verdict.OK)


def _telling(status: int, headers: Mapping[str, str], body: bytes, utility: str) -> tuple[str, str]:
    """The kind of a body (xml, json, html, text, empty, cut, error, other) and the words that judge it."""
    declared = headers.get("Content-Type", "").lower()
    start = body[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    words = body[:4096].decode("utf-8", "replace")
    if 300 <= status < 400:
        return "redirect", headers.get("Location", "") + " " + words
    if not start:
        return "empty", ""
    low = start[:200].lower()
    if low.startswith((b"<!doctype html", b"<html")) or ("html" in declared and b"<html" in body[:4096].lower()):
        return "html", words
    if start[:1] in b"{[" and (b"json" in declared.encode() or not low.startswith(b"<")):
        said = _json_error(body)
        return ("error" if said is not None else "other"), said or ""
    if low.startswith(b"<"):
        return _telling_xml(body, utility)
    return ("text" if status >= 400 else "other"), words


def _telling_xml(body: bytes, utility: str) -> tuple[str, str]:
    errors = _ERROR.findall(body[:65536])
    if errors:
        return "error", " ".join(b"; ".join(errors).decode("utf-8", "replace").split())
    if utility == "esummary" and (found := _COMMENT_ERROR.search(body[:65536])):
        return "error", found[1].decode()
    prolog = _PROLOG.match(body)
    root = _ROOT.match(body, prolog.end() if prolog else 0)
    if root is None:
        return ("empty" if not body[prolog.end() if prolog else 0 :].strip() else "cut"), ""
    name = root[1]
    wanted = _ROOTS.get(utility, ())
    if name.decode("ascii", "replace") not in (wanted if isinstance(wanted, tuple) else (wanted,)):
        return "other", name.decode("ascii", "replace")
    tail = body[-512:].rstrip()
    whole = tail.endswith(b"</" + name + b">") or re.fullmatch(
        rb"<" + name + rb"[^>]*/>", body[root.start() :].strip()
    )
    return ("xml" if whole else "cut"), ""


def _json_error(body: bytes) -> str | None:
    """The error in a JSON answer, None without one. NCBI puts raw newlines into its strings."""
    try:
        answer = json.loads(body.decode("utf-8", "replace"), strict=False)
    except ValueError:
        return None
    if not isinstance(answer, dict):
        return None
    for key in ("error", "ERROR"):
        if isinstance(answer.get(key), str):
            return str(answer[key])
    for key in ("esearchresult", "esummaryresult"):
        part = answer.get(key)
        if isinstance(part, dict) and "ERROR" in part:
            return str(part["ERROR"])
        if isinstance(part, list) and part:
            return str(part[0])
    return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds in Retry-After, clamped to two minutes: nobody is helped by an hour's sleep."""
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    if value.isdigit():
        seconds = float(value)
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), 120.0)


# ---------------------------------------------------------------- pace


class Pace:
    """A token bucket of one token for this process, and for every process on the machine with the same `name`.

    `wait()` returns when the next request may go out; `hold(seconds)` makes everybody wait. The bucket holds
    one token, so requests are spread evenly and no second ever sees more than `rate`. Without a lock file
    (no `name`, or a folder that cannot be written) it paces this process alone.
    """

    def __init__(self, rate: float, *, name: str = "", margin: float = MARGIN, folder: str | None = None) -> None:
        if not rate > 0:
            raise ValueError("a rate must be above 0 requests a second")
        self.interval = 1.0 / (rate * margin)
        self._next = 0.0
        self._lock = threading.Lock()
        self._path: Path | None = None
        if name:
            digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
            self._path = Path(folder or tempfile.gettempdir()) / f"eutils-pace-{digest}"

    def wait(self, sleep: Callable[[float], Any] = time.sleep) -> None:
        """Take the next free slot and sleep until it comes."""
        with self._slot() as now_and_next:
            now, following = now_and_next
            mine = max(now, following[0])
            following[0] = mine + self.interval
        if mine > now:
            sleep(mine - now)

    def hold(self, seconds: float) -> None:
        """No request, of anybody, before `seconds` have passed."""
        with self._slot() as (now, following):
            following[0] = max(following[0], now + seconds)

    @contextmanager
    def _slot(self) -> Any:
        with self._lock:
            handle = self._open()
            try:
                now = time.time()
                following = [self._next]
                if handle is not None:
                    try:
                        following = [float(os.pread(handle, 64, 0) or b"0")]
                    except ValueError:
                        following = [0.0]
                    if following[0] > now + 300:  # a clock that was put back must not stop the work
                        following = [now]
                yield now, following
                self._next = following[0]
                if handle is not None:
                    os.pwrite(handle, f"{following[0]:<32.6f}".encode(), 0)
            finally:
                if handle is not None:
                    os.close(handle)  # gives up the lock too

    def _open(self) -> int | None:
        if self._path is None:
            return None
        try:
            import fcntl

            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
            handle = os.open(self._path, flags, 0o666)
            fcntl.flock(handle, fcntl.LOCK_EX)
            return handle
        except (ImportError, OSError):
            self._path = None
            return None


# ---------------------------------------------------------------- answers


@dataclass
class Search:
    """An esearch answer. `count` is PubMed's, `ids` the part of the result that was asked for."""

    count: int
    ids: list[str] = field(default_factory=list)
    webenv: str = ""
    query_key: str = ""
    translation: str = ""
    phrases_not_found: list[str] = field(default_factory=list)
    fields_not_found: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_search(body: bytes) -> Search:
    """Read an eSearchResult. Raises ValueError if its count is absent or no number: that is no zero."""
    root = _parse(body)

    def texts(path: str) -> list[str]:
        return [text for element in root.findall(path) if (text := " ".join((element.text or "").split()))]

    count = (root.findtext("Count") or "").strip()
    if not count.isdigit():
        raise ValueError("the answer holds no count")
    return Search(
        count=int(count),
        ids=[i for i in texts("IdList/Id") if _PMID.fullmatch(i)],
        webenv=(root.findtext("WebEnv") or "").strip(),
        query_key=(root.findtext("QueryKey") or "").strip(),
        translation=" ".join((root.findtext("QueryTranslation") or "").split()),
        phrases_not_found=texts("ErrorList/PhraseNotFound"),
        fields_not_found=texts("ErrorList/FieldNotFound"),
        warnings=[
            f"{name}: {text}"
            for name in ("PhraseIgnored", "QuotedPhraseNotFound", "OutputMessage")
            for text in texts(f"WarningList/{name}")
        ],
    )


def _parse(body: bytes) -> etree._Element:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        return etree.fromstring(body, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"the answer is not well-formed XML ({error.msg})") from None


# ---------------------------------------------------------------- the client


@dataclass(frozen=True)
class Patience:
    """How long to keep trying. `first`: as long as the server has never given a usable answer."""

    tries: int = 7
    first: int = 3
    base: float = 1.0  # seconds before the second try; doubled each time, with 25 % jitter
    cap: float = 60.0
    connect: float = 15.0
    read: float = 90.0  # seconds of silence
    whole: float = 300.0  # seconds one answer may take in all, however it drips
    max_requests: int | None = None  # budget of a run
    max_seconds: float | None = None  # deadline of a run


class Eutils:
    """Speak to one E-utilities server; safe to share between threads.

    `base_url` is the folder of the `.fcgi` programs. Raises ValueError for a base URL, e-mail or key that
    cannot be one; the calls raise Unavailable, SessionLost, BadRequest or Blocked (all EutilsError).
    """

    def __init__(
        self,
        base_url: str = NCBI,
        *,
        tool: str = TOOL,
        email: str = "",
        api_key: str = "",
        rate: float | None = None,
        pace: Pace | None = None,
        patience: Patience | None = None,
        max_body: int = MAX_BODY,
    ) -> None:
        self.base_url = check_base_url(base_url)
        self.tool = tool.replace(" ", "-")
        self.email = check_email(email)
        if api_key and not re.fullmatch(r"[\x21-\x7e]{1,200}", api_key):
            raise ValueError("the API key holds blanks or characters that no key has")
        self._key = api_key
        self.rate = rate or (RATE_WITH_KEY if api_key else RATE)
        self.patience = patience or Patience()
        # NCBI counts per key where there is one, else per address.
        name = urlsplit(self.base_url).netloc + (" " + api_key if api_key else "")
        self.pace = pace or Pace(self.rate, name=name)
        self.max_body = max_body
        self.requests = 0
        self.retries = 0
        self._count = threading.Lock()
        self._stop = threading.Event()
        self._why: EutilsError | None = None
        self._spoken = False
        self._begun = time.monotonic()
        self._session = requests.Session()
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=16, max_retries=0)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        self._session.headers.update({"User-Agent": self.tool, "Accept-Encoding": "gzip, deflate"})

    def __repr__(self) -> str:
        return f"Eutils({self.base_url!r}, rate={self.rate})"

    def __enter__(self) -> Eutils:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stop.set()
        self._session.close()

    def stop(self) -> None:
        """Let no further request out; those waiting their turn raise Unavailable."""
        self._stop.set()

    @property
    def workers(self) -> int:
        """Requests that must be under way at once to use the rate, at NCBI's usual half a second and more."""
        return max(2, min(10, round(self.rate)))

    # -- the utilities

    def search(self, term: str, *, start: int = 0, size: int = 0, history: bool = False, sort: str = "") -> Search:
        """esearch: `size` ids from `start` on (0 only counts); `history` stores the result on the server."""
        params = {"term": term, "retstart": str(start), "retmax": str(size), "retmode": "xml"}
        if history:
            params["usehistory"] = "y"
        if sort:
            params["sort"] = sort
        found: list[Search] = []
        self.call("esearch", params, check=lambda body: found.append(read_search(body)))
        return found[-1]

    def post(self, ids: Sequence[str]) -> tuple[str, str]:
        """epost: keep ids (at most 10,000) on the server; gives its WebEnv and query key."""
        root = _parse(self.call("epost", {"id": ",".join(_checked(ids))}, check=_has_session))
        return root.findtext("WebEnv") or "", root.findtext("QueryKey") or ""

    def fetch(
        self,
        ids: Sequence[str] = (),
        *,
        webenv: str = "",
        query_key: str = "",
        start: int = 0,
        size: int = 0,
        check: Callable[[bytes], Any] | None = None,
        tries: int | None = None,
    ) -> bytes:
        """efetch: citations as XML, by ids or as a page of a stored result. `check` may refuse it (ValueError)."""
        params = {"retmode": "xml"}
        if ids:
            params["id"] = ",".join(_checked(ids))
        else:
            params |= {"WebEnv": webenv, "query_key": query_key, "retstart": str(start), "retmax": str(size)}
        return self.call("efetch", params, check=check, tries=tries)

    def summarised(self, ids: Sequence[str]) -> set[str]:
        """esummary: which of these PMIDs exist."""
        root = _parse(
            self.call("esummary", {"id": ",".join(_checked(ids)), "version": "2.0", "retmode": "xml"}, check=_parse)
        )
        return {
            uid
            for element in root.iter("DocumentSummary", "DocSum")
            if (uid := element.get("uid") or element.findtext("Id") or "") and element.find("error") is None
        }

    # -- the transport

    def call(
        self,
        utility: str,
        params: Mapping[str, str],
        *,
        check: Callable[[bytes], Any] | None = None,
        tries: int | None = None,
    ) -> bytes:
        """POST to one utility until it gives a usable answer, and return that.

        `check` looks into the whole answer and raises ValueError if it is no good (which is retried).
        """
        attempt = 0
        while True:
            judgement, body = self._once(utility, params)
            if judgement.verdict is Verdict.OK and check is not None:
                try:
                    check(body)
                except ValueError as error:
                    judgement = Judgement(_T, "21", str(error), heavy=True)
            if judgement.verdict is Verdict.OK:
                self._spoken = True
                return body
            attempt += 1
            error = self._error(utility, judgement)
            if judgement.verdict is Verdict.FATAL:
                self._why = error
                self._stop.set()
                raise error
            if judgement.verdict is not Verdict.TRANSIENT:
                raise error
            limit = min(tries or self.patience.tries, judgement.tries or 99)
            if not self._spoken:
                limit = min(limit, self.patience.first)
            if attempt >= limit:
                raise error
            with self._count:
                self.retries += 1
            pause = min(self.patience.base * 2 ** (attempt - 1), self.patience.cap) * random.uniform(0.75, 1.25)
            if judgement.wait is not None:
                pause = max(judgement.wait, pause if judgement.row != "1" else 0.0)
            if judgement.row == "1":
                self.pace.hold(pause)  # the whole machine was too fast, not this request alone
            self._sleep(pause)

    def _once(self, utility: str, params: Mapping[str, str]) -> tuple[Judgement, bytes]:
        self.pace.wait(self._sleep)
        if self._stop.is_set():
            raise self._why or Unavailable("stopped")
        with self._count:
            if self.patience.max_requests is not None and self.requests >= self.patience.max_requests:
                raise Unavailable(f"the budget of {self.patience.max_requests:,} requests is used up")
            self.requests += 1
        if self.patience.max_seconds and time.monotonic() - self._begun > self.patience.max_seconds:
            raise Unavailable(f"the time limit of {self.patience.max_seconds:,.0f} seconds is used up")
        data = {"db": "pubmed", "tool": self.tool, **params}
        if self.email:
            data["email"] = self.email
        if self._key:
            data["api_key"] = self._key
        deadline = time.monotonic() + self.patience.whole
        try:
            with self._session.post(
                f"{self.base_url}{utility}.fcgi",
                data=data,
                allow_redirects=False,
                stream=True,
                timeout=(self.patience.connect, self.patience.read),
            ) as response:
                body = bytearray()
                for chunk in response.iter_content(65536):
                    body += chunk
                    if len(body) > self.max_body:
                        return Judgement(_P, "size", f"an answer of more than {self.max_body >> 20} MB"), b""
                    if time.monotonic() > deadline:
                        return Judgement(_T, "21", "the answer came too slowly", heavy=True), b""
                whole = bytes(body)
                return judge(response.status_code, response.headers, whole, utility), whole
        except requests.exceptions.ConnectTimeout:
            return Judgement(_T, "21", "no connection within the time limit"), b""
        except requests.exceptions.Timeout:
            return Judgement(_T, "21", "no answer within the time limit", heavy=True), b""
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
            return Judgement(_T, "21", "the connection broke in the middle of the answer", heavy=True), b""
        except requests.exceptions.SSLError:
            return Judgement(_T, "tls", "no secure connection (a certificate or proxy problem)", tries=3), b""
        except requests.exceptions.ConnectionError as error:
            why, cut = _connection(error)
            return Judgement(_T, "21", why, heavy=cut), b""
        except requests.exceptions.RequestException as error:
            return Judgement(_P, "request", f"the request could not be sent ({type(error).__name__})"), b""

    def _error(self, utility: str, judgement: Judgement) -> EutilsError:
        kinds = {_T: Unavailable, _S: SessionLost, _P: BadRequest, _F: Blocked}
        text = f"{urlsplit(self.base_url).netloc} ({utility}): {judgement.meaning}"
        # The body of a refused key repeats it, that of a rate limit names the caller: neither is quoted.
        if judgement.said and judgement.row not in ("1", "2", "18", "19", "23", "redirect", "404", "auth"):
            said = self.redact(" ".join(judgement.said.split()))
            text += f" [it said: {said[:160]}]"
        error = kinds[judgement.verdict](text)
        error.heavy = judgement.heavy
        return error

    def redact(self, text: str) -> str:
        """`text` without the API key, the e-mail address and IP addresses."""
        for secret in (self._key, self.email):
            if secret:
                text = text.replace(secret, "***")
        return _ADDRESS.sub("***", text)

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise self._why or Unavailable("stopped")


def check_base_url(url: str) -> str:
    """The URL with a slash at its end. Raises ValueError saying what is wrong."""
    try:
        parts = urlsplit(url.strip())
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError(f"{url!r} is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_ok:
        raise ValueError(f"{url!r} is no base URL: it looks like {NCBI}")
    if parts.username or parts.password:
        raise ValueError("a base URL must not hold a user name or password")
    if parts.query or parts.fragment or parts.path.endswith(".fcgi"):
        raise ValueError(f"{url!r} is no base URL: give the folder of the .fcgi programs, like {NCBI}")
    return url.strip().rstrip("/") + "/"


def check_email(address: str) -> str:
    """The address, or "" for one that starts with root@ (NCBI's servers choke on it). Raises ValueError."""
    address = address.strip()
    if address and not re.fullmatch(r"[^@\s]+@[^@\s]+", address):
        raise ValueError(f"{address!r} is not an e-mail address")
    return "" if address.startswith("root@") else address


def _checked(ids: Sequence[str]) -> Sequence[str]:
    # The server reads an id with a comma in it as two.
    for pmid in ids:
        if not _PMID.fullmatch(pmid):
            raise ValueError(f"{pmid!r} is not a PMID")
    return ids


def _has_session(body: bytes) -> None:
    root = _parse(body)
    if not (root.findtext("WebEnv") and root.findtext("QueryKey")):
        raise ValueError("the answer holds no history session")


def _connection(error: requests.exceptions.ConnectionError) -> tuple[str, bool]:
    """Why there is no connection (without the URL and what else requests says), and whether there had been one."""
    text = str(error)
    if "Name or service not known" in text or "getaddrinfo" in text or "NameResolution" in text:
        return "no such host, or no network", False
    if os.strerror(errno.ECONNREFUSED) in text:
        return "nobody answers at this address (connection refused)", False
    return "the connection was cut", True
