"""The database's shape: made once, repaired, guarded, and searchable whatever happens to the rows."""

import sqlite3

import pytest

from kb import schema
from kb.store import Store
from kb.tagging import TAGGER_VERSION, load_claims, tag_many


def searched(db, word):
    return [r[0] for r in db.execute(
        "SELECT a.id FROM articles_fts f JOIN articles a ON a.rowid = f.rowid WHERE articles_fts MATCH ?", [word])]


def test_ensure_is_idempotent_and_complete(tmp_path):
    db = schema.connect(tmp_path / "kb.db", create=True)
    before = db.schema
    schema.ensure(db)
    assert db.schema == before
    assert set(schema.TABLES) <= set(db.table_names())
    assert set(schema.VIEWS) == set(db.view_names())
    for view in schema.VIEWS:
        list(db[view].rows)
    assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_full_text_follows_every_change(tmp_path, article):
    with Store(tmp_path / "kb.db") as store:
        store.sync_claims(load_claims())
        store.save([article("1001"), article("1002", title="Esketamin\u00e9 in Zebrafish")])
        assert schema.full_text_problems(store.db) == []
        store.retag(tag_many, TAGGER_VERSION)
        assert schema.full_text_problems(store.db) == []
        assert searched(store.db, "zebrafish") == ["1002"]
        assert searched(store.db, "esketamine") == ["1002"], "accents do not hide a word"
        assert searched(store.db, "depressed OR depression") == ["1001", "1002"]
        store.save([article("1002", title="Ketamine in axolotls")])
        store.retag(tag_many, TAGGER_VERSION)
        assert schema.full_text_problems(store.db) == []
        assert searched(store.db, "zebrafish") == [] and searched(store.db, "axolotl") == ["1002"]
        store.connection.execute("DELETE FROM articles WHERE id = '1001'")
        assert schema.full_text_problems(store.db) == []
        assert store.connection.execute("PRAGMA foreign_key_check").fetchall() == []
        store.connection.execute("VACUUM")
        assert schema.full_text_problems(store.db) == [] and searched(store.db, "axolotl") == ["1002"]


def test_full_text_problems_are_found_and_a_lost_trigger_is_put_back(database):
    db = schema.connect(database)
    db.execute("DROP TRIGGER articles_au")
    db.execute("UPDATE articles SET title = 'Quagga' WHERE rowid = 1")
    db.conn.commit()
    assert schema.full_text_problems(db) != []
    schema.ensure(db)
    assert schema.full_text_problems(db) == [] and len(searched(db, "quagga")) == 1


def test_a_later_migration_keeps_search_right(database, monkeypatch):
    db = schema.connect(database)
    count = db["articles"].count
    migrations = schema.Migrations("kb")
    migrations._migrations = list(schema.migrations._migrations)

    @migrations()
    def add_column(db):
        db["articles"].transform(types={"year": int}, defaults={"retraction_note": ""})

    monkeypatch.setattr(schema, "migrations", migrations)
    schema.ensure(db)  # transform drops the triggers; ensure puts them back
    assert db["articles"].count == count
    db.execute("UPDATE articles SET title = 'Quagga' WHERE rowid = 1")
    assert schema.full_text_problems(db) == [] and len(searched(db, "quagga")) == 1


def test_ids_carry_their_rows_along(database):
    db = schema.connect(database)
    (old,) = db.execute(
        "SELECT article_id FROM tags JOIN articles a ON a.id = article_id WHERE a.pmid IS NULL").fetchone()
    tags = db.execute("SELECT count(*) FROM tags WHERE article_id = ?", [old]).fetchone()[0]
    db.execute("UPDATE articles SET id = '77', pmid = '77' WHERE id = ?", [old])
    assert db.execute("SELECT count(*) FROM tags WHERE article_id = '77'").fetchone()[0] == tags > 0
    assert db.execute("PRAGMA foreign_key_check").fetchall() == []


def newer(path):
    db = schema.connect(path, create=True)
    with db.atomic():
        db["_sqlite_migrations"].insert({"migration_set": "kb", "name": "from_the_future", "applied_at": "2030"})
    db.conn.close()


def not_sqlite(path):
    path.write_bytes(b"PK\x03\x04 no database at all" * 50)


def other_tables(path):
    with sqlite3.connect(path) as c:
        c.execute("CREATE TABLE recipes (id)")
    c.close()


@pytest.mark.parametrize(
    "make, says", [(newer, "newer version"), (not_sqlite, "not a SQLite database"), (other_tables, "evidence database")]
)
@pytest.mark.parametrize("opener", [schema.connect, schema.connect_read_only])
def test_a_file_that_cannot_be_used_says_why_and_is_left_alone(tmp_path, make, says, opener):
    path = tmp_path / "x.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(schema.DatabaseProblem, match=says) as problem:
        opener(path)
    assert "\n" not in str(problem.value) and str(path) in str(problem.value)
    assert path.read_bytes() == before


def test_missing_database(tmp_path):
    for opener in (schema.connect, schema.connect_read_only):
        with pytest.raises(schema.DatabaseProblem, match="kb build"):
            opener(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
