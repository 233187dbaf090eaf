"""The only writer: what a batch does, what changed, who has the last word, what survives a crash."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from harvest.record import Correction, Deleted, Label, Landmark, Quarantined, Section
from kb import schema
from kb.store import Store, UnknownArticle, review_said, title_key
from kb.tagging import TAGGER_VERSION, load_claims, tag_many


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "kb.db") as store:
        store.sync_claims(load_claims())
        yield store


def one(store, sql, *values):
    return store.connection.execute(sql, values).fetchone()


def rows(store, sql, *values):
    return store.connection.execute(sql, values).fetchall()


def test_new_changed_unchanged(store, article):
    harvest = store.begin_harvest("pubmed")
    saved = store.save([article("1"), article("2")], harvest)
    assert (saved.new, saved.changed, saved.unchanged) == (2, 0, 0)
    saved = store.save([article("1"), article("2", title="Another title"), article("3")], harvest)
    assert (saved.new, saved.changed, saved.unchanged) == (1, 1, 1)
    store.finish_harvest(harvest)
    assert rows(store, "SELECT new, changed, unchanged, status FROM harvests") == [(3, 1, 1, "done")]
    assert rows(store, "SELECT article_id, field, new FROM changes") == [("2", "title", "Another title")]
    assert one(store, "SELECT count(*) FROM harvest_hits")[0] == 3


def test_children_are_replaced_not_doubled(store, article):
    store.save([article("1")])
    store.save([article("1", keywords=["ketamine"], volume="7")])
    for table in ("article_authors", "article_mesh", "keywords"):
        assert one(store, f"SELECT count(*) FROM {table}")[0] == 1, table
    assert one(store, "SELECT qualifiers FROM article_mesh")[0] == "therapeutic use*"


def test_a_supplementary_concept_stands_among_the_mesh_headings(store, article):
    store.save([article("1", supplementary_concepts=[("A Rare Disease", "C000657245", "Disease")])])
    assert rows(store, "SELECT m.name, m.ui, x.major FROM article_mesh x JOIN mesh_headings m ON m.id = x.mesh_id "
                       "ORDER BY x.position") == [("Ketamine", "D007649", 1), ("A Rare Disease", "C000657245", 0)]
    assert one(store, "SELECT mesh_list FROM articles")[0] == "Ketamine; A Rare Disease"


def test_every_change_moves_the_data_version(store, article):
    before = store.meta("data_version")
    store.save([article("1")])
    assert store.meta("data_version") != before


def test_a_retraction_flips_the_flag_and_leaves_every_count(store, article):
    store.save([article("1")])
    store.retag(tag_many, TAGGER_VERSION)
    claim, supports = one(store, "SELECT claim, supports FROM claim_summary WHERE supports > 0")
    assert supports == 1
    notice = Correction("RetractionIn", other_id="55", citation="J Test. 2022;1:1")
    store.save([article("1", corrections=[notice])])
    assert one(store, "SELECT retracted, retraction_note FROM articles") == (1, "J Test. 2022;1:1")
    assert one(store, "SELECT supports FROM claim_summary WHERE claim = ?", claim)[0] == 0
    assert one(store, "SELECT count(*) FROM retracted_evidence WHERE claim = ?", claim)[0] == 1, "shown all the same"
    assert ("retracted", "0", "1") in rows(store, "SELECT field, old, new FROM changes")
    # these links alone retract nothing here; the reader of PubMed's XML flags the notice itself
    store.save([article("2", corrections=[Correction("RetractionOf", "1")]),
                article("3", corrections=[Correction("ExpressionOfConcernIn", "9")])])
    assert rows(store, "SELECT id FROM articles WHERE retracted = 1") == [("1",)]


def test_deleted_is_marked_and_comes_back(store, article):
    store.save([article("1")])
    store.retag(tag_many, TAGGER_VERSION)
    assert store.save([Deleted("1"), Deleted("404")]).deleted == 1
    assert one(store, "SELECT sum(articles) FROM claim_summary")[0] == 0
    assert store.save([article("1")]).changed == 1
    assert one(store, "SELECT deleted FROM articles")[0] is None


def test_quarantine_keeps_the_reason(store, article):
    saved = store.save([Quarantined("9", "no title", b"<x/>"), article("1")])
    assert (saved.quarantined, saved.new) == (1, 1)
    assert rows(store, "SELECT record_id, reason FROM quarantine") == [("9", "no title")]


def test_an_older_version_does_not_overwrite_a_newer_one(store, article):
    store.save([article("1", version=2, title="Second")])
    store.save([article("1", version=1, title="First")])
    assert one(store, "SELECT title FROM articles")[0] == "Second"


def landmark(article, **values):
    summary = [Section("We summarise: PTSD symptoms fell at one day.", "RESULTS", "RESULTS")]
    label = Label("ptsd-symptom-reduction", "supports", "PTSD symptoms fell at one day")
    note = Landmark(study_design="rct", sample_size=41, summary=summary, labels=[label], verified="full")
    fields = {"source": "landmarks", "abstract_origin": "summary", "sections": summary, "landmark": note, "mesh": [],
              "publication_types": ["Journal Article"], **values}
    return article(**fields)


@pytest.mark.parametrize(
    "known_by",
    [{"id": "1", "pmid": "1"}, {"id": "doi:10.5555/test.1", "pmid": None},
     {"id": "PMC77", "pmid": None, "doi": None, "pmcid": "PMC77"},
     {"id": "doi:10.1/other", "pmid": None, "doi": "10.1/other"}],
    ids=["pmid", "doi", "pmcid", "title and year"],
)
def test_a_harvest_takes_a_landmark_over(store, article, known_by):
    title = "A landmark trial of ketamine infusion for people with chronic stress"
    store.save([landmark(article, title=title, **known_by)])
    store.retag(tag_many, TAGGER_VERSION)
    store.save([article("1", title=title.upper() + ".", pmcid="PMC77")])
    store.retag(tag_many, TAGGER_VERSION)
    assert rows(store, "SELECT id, pmid, abstract_origin, source FROM articles") == [("1", "1", "publisher", "pubmed")]
    assert "randomized 40" in one(store, "SELECT abstract FROM articles")[0]
    tag_of = "SELECT origin, stance FROM tags WHERE claim_id = 'ptsd-symptom-reduction'"
    assert one(store, tag_of) == ("reviewer", "supports")
    assert one(store, "SELECT article_id, summary, verified FROM landmarks") == (
        "1", "RESULTS: We summarise: PTSD symptoms fell at one day.", "full")
    assert one(store, "SELECT sample_size FROM articles")[0] == 41
    # building again, with the landmark known under its old id, changes nothing
    saved = store.save([landmark(article, title=title, **known_by)])
    assert (saved.new, saved.unchanged) == (0, 1)
    assert one(store, "SELECT abstract_origin FROM articles")[0] == "publisher"


def test_our_summary_carries_the_reviewers_labels_only_until_the_real_abstract_comes(store, article):
    everything = [Label(claim.id, "background", "read for this claim") for claim in load_claims()]
    other = Landmark(summary=[Section("Read from end to end.")], labels=everything, verified="full")
    store.save([landmark(article, id="1", pmid="1", title="Ketamine rapidly reduced depression in adults"),
                landmark(article, id="2", pmid="2", title="The reviewers read for every claim", landmark=other)])
    store.retag(tag_many, TAGGER_VERSION)
    of_first = "SELECT claim_id, origin FROM tags WHERE article_id = '1'"
    assert rows(store, of_first) == [("ptsd-symptom-reduction", "reviewer")]
    store.save([article("1")])
    store.retag(tag_many, TAGGER_VERSION)
    tags = dict(rows(store, of_first))
    assert tags["ptsd-symptom-reduction"] == "reviewer" and tags["antidepressant-effect"] == "tagger"


def test_a_finding_is_not_shown_by_a_background_sentence(store, article):
    summary = [Section("Ketamine may act on fear memories in veterans.", "BACKGROUND", "BACKGROUND"),
               Section("Scores did not change.", "RESULTS", "RESULTS")]
    note = Landmark(study_design="rct", summary=summary, verified="full",
                    labels=[Label("fear-memory", "contradicts", "fear memories in veterans stayed as they were")])
    store.save([landmark(article, id="1", pmid="1", sections=summary, landmark=note)])
    store.retag(tag_many, TAGGER_VERSION)
    assert one(store, "SELECT sentence_id, reason FROM tags") == (
        None, "labelled by this project's reviewer: fear memories in veterans stayed as they were")


def test_an_answer_older_than_what_is_here_changes_nothing(store, article):
    store.save([article("1", title="Revised in 2024", revised="2024-05-01")])
    assert store.save([article("1", title="As of 2020", revised="2020-01-01")]).unchanged == 1
    assert one(store, "SELECT title FROM articles")[0] == "Revised in 2024"


def test_a_shared_doi_does_not_merge_two_citations(store, article):
    store.save([article("1"), article("2", doi="10.5555/test.1")])
    assert one(store, "SELECT count(*) FROM articles")[0] == 2


def test_a_summary_stays_when_pubmed_has_no_abstract(store, article):
    store.save([landmark(article, id="1", pmid="1")])
    store.save([article("1", sections=[], abstract_origin="none")])
    assert one(store, "SELECT abstract_origin FROM articles")[0] == "summary"


def test_a_persons_word_survives_retagging_and_harvest(store, article):
    store.save([article("1")])
    store.retag(tag_many, TAGGER_VERSION)
    claim = "antidepressant-effect"
    assert one(store, "SELECT stance, origin FROM tags WHERE claim_id = ?", claim) == ("supports", "tagger")
    store.review("1", claim, "contradicts", reviewer="Dr. B", note="the primary outcome was null")
    store.review("1", "bdnf", "background", reviewer="Dr. B")
    store.review("1", "rapid-onset", "rejected", reviewer="Dr. B")
    for _ in range(2):
        store.retag(tag_many, TAGGER_VERSION, everything=True)
        stance, origin, reason = one(store, "SELECT stance, origin, reason FROM tags WHERE claim_id = ?", claim)
        assert (stance, origin) == ("contradicts", "reviewer")
        assert "Dr. B" in reason and "primary outcome was null" in reason
        assert one(store, "SELECT stance FROM tags WHERE claim_id = 'bdnf'")[0] == "background"
        assert one(store, "SELECT 1 FROM tags WHERE claim_id = 'rapid-onset'") is None
        store.save([article("1", title="A title that PubMed revised")])
    changes = rows(store, "SELECT field, old, new FROM changes")
    assert ("tag:antidepressant-effect", "supports", "contradicts") in changes


def test_review_refuses_nonsense(store, article):
    store.save([article("1")])
    with pytest.raises(UnknownArticle):
        store.review("2", "bdnf", "supports", reviewer="x")
    for claim, stance, reviewer in (("no-claim", "supports", "x"), ("bdnf", "yes", "x"), ("bdnf", "supports", " ")):
        with pytest.raises(ValueError):
            store.review("1", claim, stance, reviewer=reviewer)


def test_a_review_tells_what_was_done_and_that_the_text_changed_since(store, article):
    def reason():
        store.retag(tag_many, TAGGER_VERSION)
        said, name = one(store, "SELECT t.reason, r.reviewer FROM tags t JOIN reviews r USING (article_id, claim_id) "
                         "WHERE t.claim_id = ? ORDER BY r.id DESC", claim)
        return said, review_said(said, name)

    store.save([article("1")])
    store.retag(tag_many, TAGGER_VERSION)
    claim = "antidepressant-effect"
    store.review("1", claim, "supports", reviewer="Dr. (B", note="read it")
    assert reason()[1]["did"] == "accepted"
    store.review("1", claim, "mixed", reviewer="Dr. C")
    said, told = reason()
    assert said.startswith("corrected from supports to mixed by Dr. C on 20") and told["before"] == "supports"
    store.review("1", claim, "mixed", reviewer="Dr. D")
    assert reason()[1]["did"] == "accepted" and not reason()[1]["changed"]
    store.review("1", "bdnf", "background", reviewer="Dr. B")
    store.retag(tag_many, TAGGER_VERSION)
    assert one(store, "SELECT reason FROM tags WHERE claim_id = 'bdnf'")[0].startswith("added by Dr. B on ")
    store.connection.execute("UPDATE reviews SET at = '2020-01-02T00:00:00Z', note = 'why' WHERE reviewer = 'Dr. D'")
    store.connection.execute("DELETE FROM reviews WHERE reviewer IN ('Dr. (B', 'Dr. C')")
    store.save([article("1", title="A title that PubMed revised")])
    said, told = reason()
    assert told["at"] == "2020-01-02" and told["changed"] and said.endswith("): why")


def test_tags_point_at_verbatim_sentences(store, article):
    store.save([article("1")])
    store.retag(tag_many, TAGGER_VERSION)
    found = rows(store, "SELECT s.text, a.title || char(10) || a.abstract, s.start, s.\"end\" FROM tags t "
                        "JOIN sentences s ON s.id = t.sentence_id JOIN articles a ON a.id = t.article_id")
    assert found
    for sentence, text, start, end in found:
        assert text[start:end] == sentence


def test_retag_only_touches_what_needs_it(store, article):
    store.save([article("1"), article("2")])
    assert store.retag(tag_many, TAGGER_VERSION) == 2
    assert store.retag(tag_many, TAGGER_VERSION) == 0
    store.save([article("2", title="A new title")])
    assert store.retag(tag_many, TAGGER_VERSION) == 1
    assert store.retag(tag_many, "a later version") == 2


def test_an_error_in_a_batch_leaves_nothing_of_it(store, article):
    def break_off(connection):
        raise RuntimeError("the checkpoint failed")

    with pytest.raises(RuntimeError):
        store.save([article("1")], then=break_off)
    assert one(store, "SELECT count(*) FROM articles")[0] == 0
    assert store.save([article("1")]).new == 1, "the store works on after it"


def test_a_full_disk_loses_nothing(store, article):
    store.save([article(str(n)) for n in range(1, 20)])
    pages = one(store, "PRAGMA page_count")[0]
    store.connection.execute(f"PRAGMA max_page_count = {pages}")
    import sqlite3

    with pytest.raises(sqlite3.OperationalError, match="full") as error:
        store.save([article(str(n)) for n in range(100, 900)])
    assert "disk is full" in schema.explain(error.value, store.path)
    assert one(store, "SELECT count(*) FROM articles")[0] == 19
    store.connection.execute("PRAGMA max_page_count = 1000000")
    assert store.save([article(str(n)) for n in range(100, 900)]).new == 800
    assert schema.full_text_problems(store.db) == []


def test_kill_9_while_writing_leaves_whole_batches(tmp_path):
    path = tmp_path / "kb.db"
    script = textwrap.dedent(f"""
        import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
        from conftest import make_article
        from kb.store import Store
        store = Store({str(path)!r})
        for batch in range(10_000):
            store.save([make_article(str(batch * 50 + n + 1)) for n in range(50)])
            print(batch, flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if int(line) >= 5:
            break
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    process.stdout.close()
    with Store(path) as store:
        count = one(store, "SELECT count(*) FROM articles")[0]
        assert count >= 300 and count % 50 == 0
        assert one(store, "PRAGMA integrity_check")[0] == "ok"
        assert schema.full_text_problems(store.db) == []


def test_title_key_ignores_case_marks_and_accents():
    assert title_key("Esk\u00e9tamine: a (pilot) Trial.") == title_key("esketamine a PILOT trial")
