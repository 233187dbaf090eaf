"""The evidence base from Python: plain rows, ready for pandas.

    import pandas
    from kb import open_kb

    with open_kb("db/kb.db") as kb:
        table = pandas.DataFrame(kb.evidence(claim="rapid-onset"))

Every method gives a list of dicts whose keys are the columns of the database (db/README.md
describes them), except `query`, whose keys are those of your SELECT. The database is opened
for reading only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kb import schema
from kb.export import export

DEFAULT_PATH = "db/kb.db"
Row = dict[str, Any]


def open_kb(path: str | Path | None = None) -> KB:
    """Open the database at `path`, else at KB_DB, else at db/kb.db.

    Raises schema.DatabaseProblem, whose message says what is wrong and what to do.
    """
    return KB(path or os.environ.get("KB_DB") or DEFAULT_PATH)


class KB:
    """An open evidence base. Close it, or use it in a `with` statement."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._connection = schema.connect_read_only(self.path)

    def __enter__(self) -> KB:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"KB({str(self.path)!r})"

    def close(self) -> None:
        self._connection.close()

    @property
    def meta(self) -> dict[str, str]:
        """data_version, tagger_version, built and last_harvest: what to cite beside your results."""
        return {row["key"]: row["value"] for row in self.query("SELECT key, value FROM meta")}

    def query(self, sql: str, parameters: dict[str, Any] | Iterable[Any] = ()) -> list[Row]:
        """The rows of a SELECT of your own. Raises sqlite3.Error."""
        return list(self.iterate(sql, parameters))

    def iterate(self, sql: str, parameters: dict[str, Any] | Iterable[Any] = ()) -> Iterator[Row]:
        """As `query`, a row at a time, for results that do not fit in memory."""
        cursor = self._connection.execute(
            sql, parameters if isinstance(parameters, dict) else tuple(parameters)
        )
        names = [d[0] for d in cursor.description or ()]
        for row in cursor:
            yield dict(zip(names, row, strict=True))

    def claims(self) -> list[Row]:
        """The claims in page order, with the counts of `claim_summary` (retracted and withdrawn left out)."""
        return self.query(
            'SELECT c.id, c."group", c.statement, c.question, c.definition, c.first_asked, '
            "s.supports, s.mixed, s.contradicts, s.background "
            "FROM claims c JOIN claim_summary s ON s.claim = c.id ORDER BY c.position"
        )

    def evidence(
        self,
        claim: str | None = None,
        stance: str | None = None,
        design: str | None = None,
        since: int | None = None,
        *,
        retracted: bool = False,
    ) -> list[Row]:
        """Rows of the view `evidence`, newest first; all of them if nothing is given.

        `since` is the first year wanted. Retracted and withdrawn articles are left out, as the
        counts leave them out, unless `retracted` asks for them. Raises ValueError for a claim
        or stance that does not exist.
        """
        self._check("claim", claim, [c["id"] for c in self.query("SELECT id FROM claims ORDER BY position")])
        self._check("stance", stance, schema.STANCES)
        where, values = _where(
            {"claim = ?": claim, "stance = ?": stance, "design = ?": design, "year >= ?": since}
        )
        if not retracted:
            where += " AND retracted = 0 AND deleted IS NULL"
        return self.query(
            f"SELECT * FROM evidence WHERE {where} ORDER BY year DESC, article_id, claim", values
        )

    def articles(
        self,
        ids: Iterable[str] | None = None,
        design: str | None = None,
        since: int | None = None,
        *,
        retracted: bool = False,
    ) -> list[Row]:
        """Rows of the table `articles`, newest first; those with the given ids, if any are given.

        Articles that are named by id are given whether retracted or not.
        """
        where, values = _where({"study_design = ?": design, "year >= ?": since})
        if ids is None:
            if not retracted:
                where += " AND retracted = 0 AND deleted IS NULL"
            return self.query(f"SELECT * FROM articles WHERE {where} ORDER BY year DESC, id", values)
        rows: list[Row] = []
        wanted = list(dict.fromkeys(ids))
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            marks = ", ".join("?" * len(part))
            rows += self.query(f"SELECT * FROM articles WHERE id IN ({marks}) AND {where}", [*part, *values])
        return sorted(rows, key=lambda row: (-(row["year"] or 0), row["id"]))

    def export(self, format: str = "ris", **selection: Any) -> str:
        """References as text; formats and selections as in kb.export.export. Raises ExportProblem."""
        return "".join(export(self._connection, format, **selection))

    @staticmethod
    def _check(name: str, value: str | None, known: Iterable[str]) -> None:
        if value is not None and value not in known:
            raise ValueError(f"unknown {name} {value!r}: use one of {', '.join(known)}")


def _where(conditions: dict[str, Any]) -> tuple[str, list[Any]]:
    given = {sql: value for sql, value in conditions.items() if value is not None}
    return " AND ".join(("1", *given)), list(given.values())
