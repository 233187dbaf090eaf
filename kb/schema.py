"""The shape of the database, declared as data and made true by `ensure()`.

Table, column and view names are the interface: researchers write SQL against them.
Every table that belongs to an article follows it when its id changes (a landmark
study known by its DOI takes the PMID that a harvest brings) or when it is deleted.

`TABLES` is frozen as migration `create_tables`; a later change of a table is a new
migration below it. Indexes, full-text triggers and views hold no data of their own,
so `ensure()` compares them with what is declared here and puts right what differs.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from sqlite_utils import Database, Migrations

STANCES = ("supports", "contradicts", "mixed", "background")
_STANCE = ", ".join(f"'{s}'" for s in STANCES)
_ARTICLE = "TEXT NOT NULL REFERENCES articles(id) ON UPDATE CASCADE ON DELETE CASCADE"

TABLES = {
    "articles": """
        id TEXT PRIMARY KEY, pmid TEXT, doi TEXT, pmcid TEXT,
        title TEXT NOT NULL, vernacular_title TEXT, abstract TEXT NOT NULL DEFAULT '',
        abstract_origin TEXT NOT NULL CHECK (abstract_origin IN ('publisher', 'summary', 'none')),
        journal TEXT, journal_abbreviation TEXT, issn TEXT, volume TEXT, issue TEXT, pages TEXT,
        published TEXT, year INTEGER, language TEXT,
        author_list TEXT NOT NULL DEFAULT '', mesh_list TEXT NOT NULL DEFAULT '',
        keyword_list TEXT NOT NULL DEFAULT '', evidence_text TEXT NOT NULL DEFAULT '',
        study_design TEXT, evidence_tier TEXT, evidence_level INTEGER, sample_size INTEGER,
        species TEXT, population TEXT, schedule TEXT, control TEXT, text_language TEXT,
        retracted INTEGER NOT NULL DEFAULT 0, retraction_note TEXT, deleted TEXT,
        url TEXT, source TEXT NOT NULL, status TEXT, version INTEGER, copyright TEXT,
        created TEXT, revised TEXT, first_seen TEXT NOT NULL, last_seen TEXT NOT NULL,
        content_hash TEXT NOT NULL, title_key TEXT NOT NULL, tagger_version TEXT""",
    "sentences": f"""
        id INTEGER PRIMARY KEY, article_id {_ARTICLE}, position INTEGER NOT NULL,
        section TEXT NOT NULL, text TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL""",
    "claims": """
        id TEXT PRIMARY KEY, "group" TEXT NOT NULL, statement TEXT NOT NULL, question TEXT NOT NULL,
        definition TEXT NOT NULL, position INTEGER NOT NULL, first_asked INTEGER NOT NULL DEFAULT 0""",
    "tags": f"""
        id INTEGER PRIMARY KEY, article_id {_ARTICLE}, claim_id TEXT NOT NULL REFERENCES claims(id),
        stance TEXT NOT NULL CHECK (stance IN ({_STANCE})), confidence REAL NOT NULL,
        sentence_id INTEGER REFERENCES sentences(id) ON DELETE SET NULL, reason TEXT NOT NULL DEFAULT '',
        origin TEXT NOT NULL CHECK (origin IN ('tagger', 'reviewer')), tagger_version TEXT NOT NULL,
        tagged TEXT NOT NULL""",
    "evidence_sentences": """
        tag_id INTEGER NOT NULL REFERENCES tags(id) ON DELETE CASCADE,
        sentence_id INTEGER NOT NULL REFERENCES sentences(id) ON DELETE CASCADE,
        rank INTEGER NOT NULL, PRIMARY KEY (tag_id, sentence_id)""",
    "reviews": f"""
        id INTEGER PRIMARY KEY, article_id {_ARTICLE}, claim_id TEXT NOT NULL REFERENCES claims(id),
        stance TEXT NOT NULL CHECK (stance IN ({_STANCE}, 'rejected')), reviewer TEXT NOT NULL,
        note TEXT NOT NULL DEFAULT '', at TEXT NOT NULL""",
    "landmarks": f"""
        article_id {_ARTICLE} PRIMARY KEY, study_design TEXT, sample_size INTEGER, population TEXT,
        intervention TEXT, comparator TEXT, primary_outcome TEXT, follow_up TEXT, main_result TEXT,
        summary TEXT NOT NULL, verified TEXT NOT NULL, note TEXT, source_url TEXT""",
    "authors": """
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, last TEXT, fore TEXT, collective TEXT, orcid TEXT""",
    "article_authors": f"""
        article_id {_ARTICLE}, position INTEGER NOT NULL,
        author_id INTEGER NOT NULL REFERENCES authors(id), role TEXT NOT NULL, affiliation TEXT,
        PRIMARY KEY (article_id, position)""",
    "mesh_headings": """id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, ui TEXT""",
    "article_mesh": f"""
        article_id {_ARTICLE}, position INTEGER NOT NULL,
        mesh_id INTEGER NOT NULL REFERENCES mesh_headings(id), major INTEGER NOT NULL, qualifiers TEXT,
        PRIMARY KEY (article_id, position)""",
    "publication_types": f"article_id {_ARTICLE}, name TEXT NOT NULL, PRIMARY KEY (article_id, name)",
    "keywords": f"article_id {_ARTICLE}, name TEXT NOT NULL, PRIMARY KEY (article_id, name)",
    "substances": f"""
        article_id {_ARTICLE}, name TEXT NOT NULL, origin TEXT NOT NULL CHECK (origin IN ('pubmed', 'text')),
        registry_number TEXT, PRIMARY KEY (article_id, origin, name)""",
    "conditions": f"article_id {_ARTICLE}, name TEXT NOT NULL, PRIMARY KEY (article_id, name)",
    "populations": f"article_id {_ARTICLE}, name TEXT NOT NULL, PRIMARY KEY (article_id, name)",
    "species": f"article_id {_ARTICLE}, name TEXT NOT NULL, PRIMARY KEY (article_id, name)",
    "routes": f"article_id {_ARTICLE}, name TEXT NOT NULL, PRIMARY KEY (article_id, name)",
    "doses": f"""
        id INTEGER PRIMARY KEY, article_id {_ARTICLE}, substance TEXT, amount REAL, amount_high REAL,
        unit TEXT, minutes REAL, text TEXT NOT NULL""",
    "trials": f"article_id {_ARTICLE}, number TEXT NOT NULL, PRIMARY KEY (article_id, number)",
    "grants": f"""
        id INTEGER PRIMARY KEY, article_id {_ARTICLE}, number TEXT, agency TEXT, country TEXT""",
    "other_abstracts": f"""
        id INTEGER PRIMARY KEY, article_id {_ARTICLE}, language TEXT, kind TEXT, text TEXT NOT NULL""",
    "corrections": f"""
        id INTEGER PRIMARY KEY, article_id {_ARTICLE}, kind TEXT NOT NULL, other_id TEXT,
        citation TEXT, note TEXT""",
    "queries": """
        id TEXT PRIMARY KEY, purpose TEXT NOT NULL DEFAULT '', term TEXT NOT NULL, source TEXT NOT NULL""",
    "harvests": """
        id INTEGER PRIMARY KEY, query_id TEXT REFERENCES queries(id), source TEXT NOT NULL,
        term TEXT, term_hash TEXT, translation TEXT, warnings TEXT, since TEXT, until TEXT,
        started TEXT NOT NULL, finished TEXT,
        status TEXT NOT NULL CHECK (status IN ('running', 'done', 'incomplete', 'failed')),
        message TEXT, hits INTEGER, found INTEGER NOT NULL DEFAULT 0, new INTEGER NOT NULL DEFAULT 0,
        changed INTEGER NOT NULL DEFAULT 0, unchanged INTEGER NOT NULL DEFAULT 0,
        deleted INTEGER NOT NULL DEFAULT 0, quarantined INTEGER NOT NULL DEFAULT 0,
        missing INTEGER NOT NULL DEFAULT 0, requests INTEGER NOT NULL DEFAULT 0,
        retries INTEGER NOT NULL DEFAULT 0, seconds REAL NOT NULL DEFAULT 0, software_version TEXT""",
    "harvest_slices": """
        id INTEGER PRIMARY KEY, harvest_id INTEGER NOT NULL REFERENCES harvests(id) ON DELETE CASCADE,
        part TEXT NOT NULL, expected INTEGER, found INTEGER, finished TEXT""",
    "harvest_hits": f"""
        harvest_id INTEGER NOT NULL REFERENCES harvests(id) ON DELETE CASCADE, article_id {_ARTICLE},
        outcome TEXT NOT NULL, PRIMARY KEY (harvest_id, article_id)""",
    "quarantine": """
        id INTEGER PRIMARY KEY, harvest_id INTEGER REFERENCES harvests(id) ON DELETE SET NULL,
        record_id TEXT, reason TEXT NOT NULL, raw BLOB""",
    "changes": f"""
        id INTEGER PRIMARY KEY, article_id {_ARTICLE},
        harvest_id INTEGER REFERENCES harvests(id) ON DELETE SET NULL,
        at TEXT NOT NULL, field TEXT NOT NULL, old TEXT, new TEXT""",
    "facts": """
        id TEXT PRIMARY KEY, topic TEXT NOT NULL, statement TEXT NOT NULL, detail TEXT, as_of TEXT NOT NULL,
        source_title TEXT NOT NULL, source_url TEXT NOT NULL, corrects TEXT NOT NULL, patterns TEXT NOT NULL""",
    "meta": "key TEXT PRIMARY KEY, value TEXT NOT NULL",
}

# Tables that are all key: stored once, not once as rows and once more as an index.
WITHOUT_ROWID = ("article_authors", "article_mesh", "harvest_hits")

# (table, columns, unique)
INDEXES = (
    ("articles", "pmid", False), ("articles", "doi", False), ("articles", "pmcid", False),
    ("articles", "title_key", False), ("articles", "year", False), ("articles", "study_design", False),
    ("articles", "evidence_tier", False), ("articles", "evidence_level", False), ("articles", "journal", False),
    ("articles", "abstract_origin", False), ("articles", "retracted", False), ("articles", "first_seen", False),
    ("articles", "tagger_version", False), ("articles", "deleted", False),
    # what the summaries read of an article: they need not touch the abstracts
    ("articles", "id, evidence_tier, study_design, year, retracted, deleted, evidence_level, sample_size", False),
    ("sentences", "article_id, position", True),
    ("tags", "article_id, claim_id", True), ("tags", "claim_id, stance, article_id", False), ("tags", "stance", False),
    ("tags", "origin", False), ("tags", "confidence", False), ("tags", "sentence_id", False),
    ("evidence_sentences", "sentence_id", False),
    ("reviews", "article_id, claim_id, reviewer", True), ("reviews", "claim_id", False),
    ("authors", "name, orcid", True), ("article_authors", "author_id", False),
    ("article_mesh", "mesh_id", False), ("publication_types", "name", False), ("keywords", "name", False),
    ("substances", "name", False), ("conditions", "name", False), ("populations", "name", False),
    ("species", "name", False), ("routes", "name", False), ("trials", "number", False),
    ("doses", "article_id", False), ("grants", "article_id", False), ("other_abstracts", "article_id", False),
    ("corrections", "article_id", False), ("corrections", "kind", False), ("corrections", "other_id", False),
    ("harvests", "query_id", False), ("harvest_slices", "harvest_id", False),
    ("harvest_hits", "article_id", False), ("quarantine", "harvest_id", False),
    ("changes", "article_id", False), ("changes", "at", False), ("changes", "harvest_id", False),
    ("facts", "topic", False),
)

TOKENIZE = "porter unicode61 remove_diacritics 2"
FULL_TEXT = {
    "articles": ("title", "evidence_text", "abstract", "author_list", "journal", "mesh_list", "keyword_list"),
    "sentences": ("text",),
}

VIEWS = {
    "evidence": """
        SELECT t.claim_id AS claim, t.stance, a.study_design AS design, a.evidence_level AS level,
               a.evidence_tier AS tier, a.sample_size AS n, a.population, a.year, s.text AS sentence,
               CASE a.author_list WHEN '' THEN '' ELSE a.author_list || '. ' END || a.title || ' '
                   || coalesce(a.journal, '') || coalesce('. ' || a.year, '') AS citation,
               t.article_id, a.pmid, a.doi, t.confidence, t.origin, t.reason, s.section, a.retracted,
               a.deleted, t.id AS tag_id
        FROM tags t JOIN articles a ON a.id = t.article_id LEFT JOIN sentences s ON s.id = t.sentence_id""",
    "claim_by_design": """
        SELECT t.claim_id AS claim, a.evidence_tier AS tier, a.study_design AS design,
               sum(t.stance = 'supports') AS supports, sum(t.stance = 'mixed') AS mixed,
               sum(t.stance = 'contradicts') AS contradicts, sum(t.stance = 'background') AS background,
               count(*) AS articles
        FROM tags t JOIN articles a ON a.id = t.article_id
        WHERE a.retracted = 0 AND a.deleted IS NULL
        GROUP BY t.claim_id, a.evidence_tier, a.study_design""",
    "claim_by_year": """
        SELECT t.claim_id AS claim, a.year,
               sum(t.stance = 'supports') AS supports, sum(t.stance = 'mixed') AS mixed,
               sum(t.stance = 'contradicts') AS contradicts, sum(t.stance = 'background') AS background,
               count(*) AS articles
        FROM tags t JOIN articles a ON a.id = t.article_id
        WHERE a.retracted = 0 AND a.deleted IS NULL
        GROUP BY t.claim_id, a.year""",
    "claim_summary": """
        SELECT c.id AS claim, c."group", c.statement,
               coalesce(sum(d.supports) FILTER (WHERE d.tier NOT IN ('review', 'unclassified')), 0) AS supports,
               coalesce(sum(d.mixed) FILTER (WHERE d.tier NOT IN ('review', 'unclassified')), 0) AS mixed,
               coalesce(sum(d.contradicts) FILTER (WHERE d.tier NOT IN ('review', 'unclassified')), 0) AS contradicts,
               coalesce(sum(d.supports + d.mixed + d.contradicts)
                        FILTER (WHERE d.tier IN ('review', 'unclassified')), 0) AS shown_apart,
               coalesce(sum(d.background), 0) AS background,
               coalesce(sum(d.articles), 0) AS articles, c.position
        FROM claims c LEFT JOIN claim_by_design d ON d.claim = c.id
        GROUP BY c.id""",
    "trials_table": """
        SELECT a.id AS article_id, a.title, a.year, a.sample_size AS n, a.population, a.control,
               (SELECT group_concat(text, '; ') FROM doses d WHERE d.article_id = a.id) AS doses,
               (SELECT group_concat(name, ', ') FROM routes r WHERE r.article_id = a.id) AS routes,
               (SELECT group_concat(name, ', ') FROM conditions k WHERE k.article_id = a.id) AS conditions,
               (SELECT group_concat(number, ', ') FROM trials x WHERE x.article_id = a.id) AS registrations,
               (SELECT group_concat(claim_id || ': ' || stance, '; ') FROM tags t
                 WHERE t.article_id = a.id AND t.stance <> 'background') AS findings,
               a.journal, a.retracted
        FROM articles a WHERE a.study_design = 'rct' AND a.deleted IS NULL""",
    "retracted_evidence": """
        SELECT e.*, a.retraction_note FROM evidence e JOIN articles a ON a.id = e.article_id
        WHERE a.retracted = 1""",
    "harvest_log": """
        SELECT h.id AS harvest, h.query_id AS query, h.source, h.started, h.finished, h.status, h.hits, h.found,
               h.new, h.changed, h.unchanged, h.deleted, h.quarantined, h.missing, h.term, h.translation,
               h.since, h.until, h.message, h.software_version
        FROM harvests h ORDER BY h.id DESC""",
}

migrations = Migrations("kb")


@migrations()
def create_tables(db: Database) -> None:
    for name, columns in TABLES.items():
        db.execute(f'CREATE TABLE "{name}" ({columns}){" WITHOUT ROWID" if name in WITHOUT_ROWID else ""}')


class DatabaseProblem(Exception):
    """The database cannot be used; the message says why and what to do."""


def _refuse_foreign(db: Database) -> None:
    """Raise DatabaseProblem for a file that is not ours, or of a newer version. Writes nothing."""
    unknown = {m.name for m in migrations.applied(db)} - {m.name for m in migrations._migrations}
    if unknown:
        raise DatabaseProblem(
            f"this database was written by a newer version (it has the steps {', '.join(sorted(unknown))}): "
            "install that version, or build a new database with --db"
        )
    tables = set(db.table_names()) - {Migrations.migrations_table}
    if tables and not migrations.applied(db):
        raise DatabaseProblem(
            "this SQLite file holds other tables and is no evidence database: choose another path with --db"
        )


def ensure(db: Database) -> None:
    """Bring `db` to the shape declared here. Safe to repeat; loses nothing.

    Raises DatabaseProblem if the file is not ours or was written by a newer version.
    """
    _refuse_foreign(db)
    if migrations.pending(db):
        # A table that is rebuilt must not take the rows that refer to it along.
        db.execute("PRAGMA foreign_keys = OFF")
        for view in VIEWS:
            db.execute(f'DROP VIEW IF EXISTS "{view}"')
        migrations.apply(db)
        db.execute("PRAGMA foreign_keys = ON")
    with db.atomic():
        _ensure_indexes(db)
        _ensure_full_text(db)
        _ensure_views(db)


def _ensure_indexes(db: Database) -> None:
    have = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    for table, columns, unique in INDEXES:
        name = f"{table}_by_{columns.replace(', ', '_')}"
        if name not in have:
            db.execute(f'CREATE {"UNIQUE " if unique else ""}INDEX "{name}" ON "{table}" ({columns})')


def _ensure_full_text(db: Database) -> None:
    for table, columns in FULL_TEXT.items():
        existing = db[table].detect_fts()
        triggers = {t.name for t in db[table].triggers}
        if existing and {f"{table}_ai", f"{table}_ad", f"{table}_au"} <= triggers:
            if tuple(db[existing].columns_dict) == columns:
                continue
        db[table].enable_fts(list(columns), tokenize=TOKENIZE, create_triggers=True, replace=True)
        # The update trigger would index an article again whenever any column changes: narrow it to the text.
        trigger = next(t for t in db[table].triggers if t.name == f"{table}_au")
        db.execute(f'DROP TRIGGER "{trigger.name}"')
        db.execute(re.sub("AFTER UPDATE ON", f"AFTER UPDATE OF {', '.join(columns)} ON", trigger.sql, count=1))


def _ensure_views(db: Database) -> None:
    squeeze = " ".join
    have = {v.name: squeeze(v.schema.split()) for v in db.views}
    want = {name: f'CREATE VIEW "{name}" AS {squeeze(sql.split())}' for name, sql in VIEWS.items()}
    if {k: v for k, v in have.items() if k in want} != want:
        for name in reversed(list(VIEWS)):
            db.execute(f'DROP VIEW IF EXISTS "{name}"')
        for sql in want.values():
            db.execute(sql)


def full_text_problems(db: Database) -> list[str]:
    """The full-text tables that differ from what they index (none, if all is well)."""
    problems = []
    for table in FULL_TEXT:
        try:
            # rank 1 compares the index with the content table, not only with itself
            db.execute(f"INSERT INTO {table}_fts({table}_fts, rank) VALUES ('integrity-check', 1)")
        except sqlite3.DatabaseError as error:
            problems.append(f"{table}_fts: {error}")
    return problems


def connect(path: str | Path, *, create: bool = False) -> Database:
    """Open the database for writing: WAL, foreign keys on, shape ensured.

    Raises DatabaseProblem (one clear line) if it is missing, no SQLite file, read-only,
    locked, or from a newer version.
    """
    path = Path(path)
    if not create and not path.exists():
        raise DatabaseProblem(f"no database at {path}: run `kb build --db {path}` first, or name another with --db")
    if path.is_dir():
        raise DatabaseProblem(f"{path} is a folder, not a database file: name a file with --db")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=30)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseProblem(f"cannot open {path}: {error}") from error
    db = Database(connection)
    try:
        _refuse_foreign(db)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        ensure(db)
    except DatabaseProblem as error:
        connection.close()
        raise DatabaseProblem(f"{path}: {error}") from None
    except sqlite3.Error as error:
        connection.close()
        raise DatabaseProblem(explain(error, path)) from error
    return db


def connect_read_only(path: str | Path) -> sqlite3.Connection:
    """Open an existing evidence database for reading. Rows are sqlite3.Row.

    Raises DatabaseProblem if it is missing, no SQLite file, or no evidence database.
    """
    path = Path(path)
    if not path.is_file():
        raise DatabaseProblem(f"no database at {path}: run `kb build --db {path}` first, or name another with --db")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)
        connection.row_factory = sqlite3.Row
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as error:
        raise DatabaseProblem(explain(error, path)) from error
    if not {"articles", "tags", "claims", "evidence"} <= names:
        connection.close()
        raise DatabaseProblem(f"{path} is a SQLite file but no evidence database: name another with --db")
    applied = {r[0] for r in connection.execute("SELECT name FROM _sqlite_migrations WHERE migration_set = 'kb'")}
    unknown = applied - {m.name for m in migrations._migrations}
    if unknown:
        connection.close()
        raise DatabaseProblem(
            f"{path} was written by a newer version (it has the steps {', '.join(sorted(unknown))}): "
            "install that version, or build a new database with --db"
        )
    return connection


def explain(error: sqlite3.Error, path: str | Path) -> str:
    """One line for a person: what SQLite met at `path`, and what to do."""
    text = str(error)
    if "not a database" in text or "malformed" in text:
        return f"{path} is not a SQLite database ({text}): move it away and run `kb build`"
    if "readonly" in text:
        return f"{path} is read-only: make the file and its folder writable, or name another with --db"
    if "locked" in text or "busy" in text:
        return f"{path} is being written by another process: wait until it has finished, then try again"
    if "full" in text:
        return f"{path}: the disk is full; what was stored before is safe. Free some space and run the command again"
    if "unable to open" in text:
        return f"cannot open {path}: check that the folder exists and may be written"
    return f"{path}: {text}"
