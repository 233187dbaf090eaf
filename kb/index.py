"""Every article's facets as bit sets, so that filters combine and count in microseconds.

Article number `i` (in order of strength of evidence) is bit `i` of each set. One index is
built for each data version and shared by all readers of the process; it is rebuilt when
the data change, at most a tenth of the time, so a running harvest does not stop readers.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from array import array
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from kb.evidence import TIERS, Count
from kb.tagging import LOW_CONFIDENCE

# Dimensions that hold several values an article, each in a table of its own.
_TABLES = {
    "population": "SELECT article_id, name FROM populations",
    "species": "SELECT article_id, name FROM species",
    "substance": "SELECT article_id, name FROM substances WHERE origin = 'text'",
    "route": "SELECT article_id, name FROM routes",
    "condition": "SELECT article_id, name FROM conditions",
}
DIMENSIONS = ("stance", "claim", "tier", "design", *_TABLES, "dose", "schedule")
STANCES = ("supports", "mixed", "contradicts", "background")
SORTS = ("strength", "year", "oldest", "size")
_AS_DIGITS = bytes(48 + (n == 1) for n in range(256))  # flags 0 and 1 to "0" and "1"
_SEARCHES = 64  # ranked searches kept: paging and filtering ask for the same words again
_KETAMINES = ("ketamine", "esketamine", "arketamine", "")
# Upper ends of dose bands in mg/kg. 0.5 is the customary psychiatric infusion, hence a band of its own.
_BANDS = (
    (0.499, "under 0.5 mg/kg"),
    (0.501, "0.5 mg/kg"),
    (1.0, "over 0.5 to 1 mg/kg"),
    (5.0, "over 1 to 5 mg/kg"),
    (15.0, "over 5 to 15 mg/kg"),
)
DOSE_BANDS = (*(label for _, label in _BANDS), "over 15 mg/kg", "fixed dose (mg)")


def dose_band(substance: str | None, amount: float | None, unit: str | None) -> str | None:
    """The band a dose of a ketamine falls in; None for other drugs, units or no amount."""
    if amount is None or (substance or "").lower() not in _KETAMINES:
        return None
    if unit == "mg":
        return "fixed dose (mg)"
    if unit != "mg/kg":
        return None
    return next((label for top, label in _BANDS if amount <= top), "over 15 mg/kg")


@dataclass(frozen=True)
class Filters:
    """What a reader asked for: values of one dimension are alternatives, dimensions narrow each other."""

    values: dict[str, tuple[str, ...]] = field(default_factory=dict)  # dimension -> values
    year_from: int | None = None
    year_to: int | None = None

    def without(self, dimension: str) -> Filters:
        return Filters({k: v for k, v in self.values.items() if k != dimension}, self.year_from, self.year_to)

    def get(self, dimension: str) -> tuple[str, ...]:
        return self.values.get(dimension, ())

    @property
    def any(self) -> bool:
        return bool(any(self.values.values()) or self.year_from is not None or self.year_to is not None)


class EvidenceIndex:
    """The bit sets of one data version. Build with `EvidenceIndex(connection)`; never written to after."""

    version = ""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._memo: dict[Hashable, Any] = {}
        self._searches: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()
        rank = {tier.id: n for n, tier in enumerate(TIERS)}
        rows = connection.execute(
            "SELECT rowid, id, evidence_tier, evidence_level, sample_size, year, retracted, deleted, study_design, "
            "schedule FROM articles"
        ).fetchall()
        rows.sort(
            key=lambda r: (bool(r[6] or r[7]), rank.get(r[2], len(rank)), r[3] or 9, -(r[4] or 0), -(r[5] or 0), r[1])
        )
        self.ids: list[str] = [r[1] for r in rows]
        self.size = len(rows)
        self.everything = (1 << self.size) - 1
        self._number_of_row: dict[int, int] = {r[0]: n for n, r in enumerate(rows)}
        number = {r[1]: n for n, r in enumerate(rows)}
        self._width = self.size // 8 + 1
        bits: dict[str, dict[str, bytearray]] = defaultdict(dict)
        years: dict[int, bytearray] = {}
        gone, retracted = bytearray(self._width), bytearray(self._width)

        def mark(dimension: str, value: str, n: int) -> None:
            per_value = bits[dimension]
            if value not in per_value:
                per_value[value] = bytearray(self._width)
            per_value[value][n >> 3] |= 1 << (n & 7)

        for n, row in enumerate(rows):
            mark("tier", row[2] if row[2] in rank else "unclassified", n)
            mark("design", row[8] or "other", n)
            if row[9]:
                mark("schedule", row[9], n)
            if row[5] is not None:
                years.setdefault(row[5], bytearray(self._width))[n >> 3] |= 1 << (n & 7)
            if row[6]:
                retracted[n >> 3] |= 1 << (n & 7)
            if row[6] or row[7]:
                gone[n >> 3] |= 1 << (n & 7)
        for dimension, sql in _TABLES.items():
            for article, value in connection.execute(sql):
                n = number.get(article)
                if n is not None:
                    mark(dimension, value, n)
        for article, substance, amount, unit in connection.execute(
            "SELECT article_id, substance, amount, unit FROM doses"
        ):
            n, band = number.get(article), dose_band(substance, amount, unit)
            if n is not None and band:
                mark("dose", band, n)
        pairs: dict[tuple[str, str], bytearray] = {}
        for article, claim, stance, origin, confidence in connection.execute(
            "SELECT article_id, claim_id, stance, origin, confidence FROM tags"
        ):
            n = number.get(article)
            if n is not None:
                kinds = [stance]
                if origin == "tagger":
                    kinds.append("unsure" if confidence < LOW_CONFIDENCE else "automatic")
                for kind in kinds:
                    pairs.setdefault((claim, kind), bytearray(self._width))[n >> 3] |= 1 << (n & 7)

        def whole(raw: bytearray) -> int:
            return int.from_bytes(raw, "little")

        self.bits = {d: {v: whole(raw) for v, raw in values.items()} for d, values in bits.items()}
        self.years = {year: whole(raw) for year, raw in sorted(years.items())}
        self.uncounted = whole(gone)  # retracted, or withdrawn by PubMed
        self.retracted = whole(retracted)
        self._pairs = {pair: whole(raw) for pair, raw in pairs.items()}
        self.claims = sorted({claim for claim, _ in pairs})
        self._orders: dict[str, list[int] | None] = {"strength": None}
        by_year = sorted(range(self.size), key=lambda n: (-(rows[n][5] or 0), n))
        self._orders["year"] = by_year
        self._orders["oldest"] = sorted(range(self.size), key=lambda n: (rows[n][5] or 9999, n))
        self._orders["size"] = sorted(range(self.size), key=lambda n: (-(rows[n][4] or 0), n))

    def memo(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make()` gave the first time; for reads that cost something and change only with the data."""
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]

    def search(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """As `memo`, but only the last few are kept: what people type has no end."""
        with self._lock:
            if key in self._searches:
                self._searches.move_to_end(key)
                return self._searches[key]
        made = make()
        with self._lock:
            self._searches[key] = made
            while len(self._searches) > _SEARCHES:
                self._searches.popitem(last=False)
        return made

    # -- sets ------------------------------------------------------------------------------

    def tagged(self, claims: Iterable[str] = (), stances: Iterable[str] = ()) -> int:
        """Articles with a tag on any of the claims (all claims if none are named) in any of the stances."""
        result = 0
        for claim in tuple(claims) or self.claims:
            for stance in tuple(stances) or STANCES:
                result |= self._pairs.get((claim, stance), 0)
        return result

    def select(self, filters: Filters, base: int | None = None, claim: str | None = None) -> int:
        """The articles of `base` that pass. With `claim`, stances are those on that claim."""
        result = self.everything if base is None else base
        claims = (claim,) if claim else filters.get("claim")
        if claims or filters.get("stance"):
            result &= self.tagged(claims, filters.get("stance"))
        for dimension, values in filters.values.items():
            if dimension in ("stance", "claim") or not values:
                continue
            known, some = self.bits.get(dimension, {}), 0
            for value in values:
                some |= known.get(value, 0)
            result &= some
        if filters.year_from is not None or filters.year_to is not None:
            some = 0
            for year, mask in self.years.items():
                if (filters.year_from is None or year >= filters.year_from) and (
                    filters.year_to is None or year <= filters.year_to
                ):
                    some |= mask
            result &= some
        return result

    def facet(
        self, dimension: str, filters: Filters, base: int | None = None, claim: str | None = None
    ) -> dict[str, int]:
        """Value -> articles it would give, the other filters kept. Values absent from `base` are left out."""
        start = self.everything if base is None else base
        if claim:
            start &= self.tagged((claim,))
        inside = self.select(filters.without(dimension), base, claim)
        result = {}
        for value, mask in self._values(dimension, filters, claim):
            if mask & start:
                result[value] = (mask & inside).bit_count()
        return result

    def _values(self, dimension: str, filters: Filters, claim: str | None) -> Iterator[tuple[str, int]]:
        if dimension == "stance":
            for stance in STANCES:
                yield stance, self.tagged((claim,) if claim else filters.get("claim"), (stance,))
        elif dimension == "claim":
            for name in self.claims:
                yield name, self.tagged((name,), filters.get("stance"))
        else:
            yield from self.bits.get(dimension, {}).items()

    def numbers(self, rowids: Iterable[int]) -> array[int]:
        """The article numbers of rowids (those of the full-text table), in that order; unknown ones left out."""
        of = self._number_of_row
        return array("l", [of[r] for r in rowids if r in of])

    def mask(self, numbers: Iterable[int]) -> int:
        """The set of these article numbers."""
        flags = bytearray(self.size)
        for n in numbers:
            flags[n] = 1
        flags.reverse()
        return int(flags.translate(_AS_DIGITS), 2) if flags else 0

    # -- lists -----------------------------------------------------------------------------

    def in_order(self, mask: int, sort: str = "strength") -> Iterator[int]:
        """The numbers of the articles of a set, strongest (or newest, oldest, largest) first."""
        raw = mask.to_bytes(self._width, "little")
        order = self._orders.get(sort)
        if order is None:
            for n, byte in enumerate(raw):
                if byte:
                    for bit in range(8):
                        if byte >> bit & 1:
                            yield n * 8 + bit
            return
        for n in order:
            if raw[n >> 3] >> (n & 7) & 1:
                yield n

    def members(self, mask: int) -> set[str]:
        """The ids of the articles of a set."""
        return {self.ids[n] for n in self.in_order(mask)}

    def pick(self, numbers: Iterable[int], mask: int, offset: int, limit: int) -> list[str]:
        """Ids `offset` to `offset + limit` of those `numbers` that are in the set, their order kept."""
        raw = mask.to_bytes(self._width, "little")
        inside = (n for n in numbers if raw[n >> 3] >> (n & 7) & 1)
        return [self.ids[n] for n in islice(inside, offset, offset + limit)]

    def page(self, masks: Iterable[int], sort: str, offset: int, limit: int) -> list[str]:
        """Ids `offset` to `offset + limit` of the sets one after the other (sets must not overlap)."""
        result: list[str] = []
        for mask in masks:
            size = mask.bit_count()
            if offset >= size:
                offset -= size
                continue
            part = islice(self.in_order(mask, sort), offset, offset + limit - len(result))
            result += [self.ids[n] for n in part]
            offset = 0
            if len(result) == limit:
                break
        return result

    # -- counts ----------------------------------------------------------------------------

    def counts(self, claim: str, within: int | None = None) -> list[Count]:
        """What kb.evidence.weigh takes, for one claim."""
        result = []
        for stance in STANCES:
            mask = self._pairs.get((claim, stance), 0)
            if within is not None:
                mask &= within
            for tier, members in self.bits.get("tier", {}).items():
                here = mask & members
                for out, part in ((False, here & ~self.uncounted), (True, here & self.uncounted)):
                    if not part:
                        continue
                    unsure = part & self._pairs.get((claim, "unsure"), 0)
                    sure = part & self._pairs.get((claim, "automatic"), 0)
                    for some, automatic, doubted in (
                        (part & ~(sure | unsure), False, False), (sure, True, False), (unsure, True, True)
                    ):  # fmt: skip
                        if some:
                            result.append(Count(stance, tier, out, some.bit_count(), automatic, doubted))
        return result

    @property
    def counting(self) -> int:
        """The articles whose findings count: of a counted kind of study, neither retracted nor withdrawn."""
        tiers = self.bits.get("tier", {})
        some = 0
        for tier in TIERS:
            if tier.counted:
                some |= tiers.get(tier.id, 0)
        return some & ~self.uncounted

    def by_year(self, claim: str, within: int | None = None) -> list[dict[str, int]]:
        """Counted findings and background mentions of a claim by year, years without any left out."""
        counting = self.counting
        masks = {
            s: self._pairs.get((claim, s), 0) & (counting if s != "background" else ~self.uncounted) for s in STANCES
        }
        if within is not None:
            masks = {s: m & within for s, m in masks.items()}
        result = []
        for year, members in self.years.items():
            row = {stance: (mask & members).bit_count() for stance, mask in masks.items()}
            if any(row.values()):
                result.append({"year": year, **row})
        return result

    def cross(self, claim: str, dimension: str, within: int | None = None) -> list[dict]:
        """Counted findings of a claim by the values of a dimension: rows of value and stance counts."""
        keep = self.counting if within is None else within & self.counting
        masks = {s: self._pairs.get((claim, s), 0) & keep for s in STANCES[:3]}
        rows = []
        for value, members in self.bits.get(dimension, {}).items():
            row = {stance: (mask & members).bit_count() for stance, mask in masks.items()}
            if any(row.values()):
                rows.append({"value": value, **row, "total": sum(row.values())})
        return sorted(rows, key=lambda r: (-r["total"], r["value"]))


_cache: dict[str, tuple[str, EvidenceIndex, float, float]] = {}
_locks: dict[str, threading.Lock] = defaultdict(threading.Lock)
_KEPT = 4


def name_database(connection: sqlite3.Connection) -> str:
    """A name for the connection's database file that tells nothing of its path.

    `prepare` stores it on connections that may later not be asked for their file.
    """
    try:
        return connection.execute("SELECT kb_database_key()").fetchone()[0]
    except sqlite3.OperationalError:
        path = next((r[2] for r in connection.execute("PRAGMA database_list") if r[1] == "main"), "")
        return hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def prepare(connection: sqlite3.Connection) -> None:
    """Give a new connection the name of its database, as an SQL function without arguments."""
    key = name_database(connection)
    connection.create_function("kb_database_key", 0, lambda: key, deterministic=True)


def index_of(connection: sqlite3.Connection) -> EvidenceIndex:
    """The index of the connection's database, from the cache where the data have not changed."""
    key = name_database(connection)
    version = _version(connection)
    kept = _cache.get(key)
    if kept and _fresh(kept, version):
        return kept[1]
    lock = _locks[key]
    # While one reader builds the next index, the others are served from the last.
    if not lock.acquire(blocking=kept is None):
        return kept[1]
    try:
        kept = _cache.get(key)
        if kept and _fresh(kept, version):
            return kept[1]
        started = time.monotonic()
        # The connection may not open a transaction (see kb.serving), so a build during which
        # a batch was stored is thrown away; after a few tries the parts may be a batch apart.
        for _ in range(3):
            version = _version(connection)
            index = EvidenceIndex(connection)
            if _version(connection) == version:
                break
        index.version = version
        ended = time.monotonic()
        _cache.pop(key, None)
        while len(_cache) >= _KEPT:
            _cache.pop(next(iter(_cache)))
        _cache[key] = (version, index, ended, ended - started)
        return index
    finally:
        lock.release()


def _fresh(kept: tuple[str, EvidenceIndex, float, float], version: str) -> bool:
    """Same data, or so lately built that building again would take over a tenth of the time."""
    return kept[0] == version or time.monotonic() - kept[2] < 9 * kept[3] and kept[3] > 0.25


def _version(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT value FROM meta WHERE key = 'data_version'").fetchone()
    # A database replaced by another file at the same path may carry the same number.
    built = connection.execute("SELECT value FROM meta WHERE key = 'built'").fetchone()
    return f"{row[0] if row else 0}/{built[0] if built else ''}"
