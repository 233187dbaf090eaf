"""Search: the query language, ranking, synonyms, spelling help, identifiers; nothing typed can break it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from web_site import shared_site

from kb import reading, schema, search
from kb.index import Filters, index_of


@pytest.fixture(scope="module")
def connection():
    with closing(schema.connect_read_only(shared_site().path)) as opened:
        yield opened


def ids(connection, text: str, **options) -> list[str]:
    return search.run(connection, text, limit=500, **options).ids


def matches(connection, text: str) -> bool:
    """Whether SQLite takes the query that `text` becomes."""
    match = search.parse(text).match
    if match:
        connection.execute("SELECT count(*) FROM articles_fts WHERE articles_fts MATCH ?", (match,)).fetchone()
    return bool(match)


# -- the query language ------------------------------------------------------------------


def test_all_words_are_needed(connection):
    both, one = set(ids(connection, "ketamine veterans")), set(ids(connection, "veterans"))
    assert both and both <= one


def test_or_joins_and_not_leaves_out(connection):
    fear, burn = set(ids(connection, '"fear"')), set(ids(connection, '"burn"'))
    assert fear and burn
    assert set(ids(connection, '"fear" OR "burn"')) == fear | burn
    assert set(ids(connection, '"fear" NOT "burn"')) == fear - burn
    assert set(ids(connection, '"fear" -"burn"')) == fear - burn


def test_brackets_group(connection):
    fear, burn, mice = (set(ids(connection, f'"{w}"')) for w in ("fear", "burn", "mice"))
    assert set(ids(connection, '("fear" OR "burn") NOT "mice"')) == (fear | burn) - mice
    assert set(ids(connection, '"fear" OR ("burn" NOT "mice")')) == fear | (burn - mice)


def test_a_phrase_is_narrower_than_its_words(connection):
    phrase, words = set(ids(connection, '"rapid antidepressant"')), set(ids(connection, "rapid antidepressant"))
    assert phrase and phrase <= words


def test_prefix(connection):
    assert set(ids(connection, '"neurotrophic"')) < set(ids(connection, "neuro*"))


def test_hyphens_and_apostrophes(connection):
    assert search.parse("anti-inflammatory").terms[0].words == ("anti", "inflammatory")
    assert search.parse("Alzheimer's").terms[0].words == ("alzheimer",)
    assert ids(connection, "post-traumatic")


@pytest.mark.parametrize("text", ["title:extinction", "extinction[ti]", "TITLE:extinction"])
def test_title_field(connection, text):
    found = reading.cards(connection, ids(connection, text))
    assert found and all("extinction" in row["title"].lower() for row in found)


@pytest.mark.parametrize("text", ["author:feder", "feder[au]", "au:feder"])
def test_author_field(connection, text):
    found = reading.cards(connection, ids(connection, text))
    assert found and all("Feder" in row["author_list"] for row in found)


def test_field_holds_for_a_bracket(connection):
    inside = set(ids(connection, "title:(extinction OR midazolam)"))
    assert inside == set(ids(connection, "title:extinction")) | set(ids(connection, "title:midazolam"))


def test_mesh_field(connection):
    assert "900001" in ids(connection, 'mesh:"Ketamine"')
    assert "24740528" not in ids(connection, 'mesh:"Ketamine"')  # the starter corpus has no MeSH


def test_year_narrows(connection):
    found = reading.cards(connection, ids(connection, "ketamine year:2014"))
    assert found and {row["year"] for row in found} == {2014}
    found = reading.cards(connection, ids(connection, "ketamine year:2010-2012"))
    assert found and {row["year"] for row in found} <= {2010, 2011, 2012}


def test_a_word_with_a_colon_is_no_field():
    assert [t.words for t in search.parse("ketamine:review").terms] == [("ketamine", "review")]


def test_lower_case_and_or_not_are_words():
    assert search.parse("fear or burn").match.count(" OR ") == search.parse("fear burn").match.count(" OR ")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ('"unclosed', "not closed"),
        ("NMDA AND", "AND had nothing to join"),
        ("OR bdnf", "OR had nothing to join"),
        ("bdnf NOT", "NOT had nothing to join"),
        ("NOT rats", "at least one word"),
        ("😀", "Nothing in"),
        ("bdnf OR NOT rats", "nearly everything"),
        ("year:soon ptsd", "year:2014"),
        ("x" * 2000, "first 1,000"),
    ],
)
def test_faults_are_mended_and_named(connection, text, note):
    found = search.run(connection, text)
    assert any(note in said for said in found.parsed.notes), found.parsed.notes


@pytest.mark.parametrize(
    "text",
    [
        '"unclosed',
        "NMDA AND",
        "it's",
        "keta*",
        "bdnf(",
        "x" * 10_000,
        "😀",
        "ketamine " * 2_000,
        "(" * 5_000,
        'a" OR "b',
        "NEAR(a b)",
        "a NEAR b",
        "^ketamine",
        "-",
        "--",
        "*",
        "**",
        "AND OR NOT",
        "title:",
        "title:*",
        "{title}: x",
        "a + b",
        "; DROP TABLE articles",
        "\x00",
        "\ud800",
        "ｋｅｔａｍｉｎｅ",
        "кетамин",
        "氯胺酮",
        "ketamine[zz]",
        "[ti]",
        "a:b:c:d",
        '""',
        '"" AND ""',
        "NOT NOT NOT a",
        "a\nb\tc",
        "%",
        "'",
        "''''",
        "\\",
    ],
)
def test_nothing_typed_breaks_it(connection, text):
    search.run(connection, text)
    search.direct(connection, text)
    matches(connection, text)


@settings(max_examples=250, deadline=None)
@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                "ketamine",
                "ptsd",
                "AND",
                "OR",
                "NOT",
                "(",
                ")",
                '"',
                "-",
                "*",
                "title:",
                "author:(",
                "[ti]",
                "year:2010-",
                "a*",
                "😀",
                "^",
                "NEAR",
                "bdnf",
                "post-traumatic",
                ":",
                "{",
                "}",
                "\x00",
            ]
        ),
        max_size=14,
    ).map(" ".join)
)
def test_any_text_becomes_a_query_that_sqlite_takes(text):
    with closing(schema.connect_read_only(shared_site().path)) as opened:
        matches(opened, text)
        found = search.run(opened, text, limit=5)
    assert found.total <= found.unfiltered
    assert len(found.rows) <= 5


# -- synonyms, ranking, spelling ---------------------------------------------------------


@pytest.mark.parametrize(
    "others",
    [
        ("PTSD", "posttraumatic stress disorder", "post-traumatic stress disorder"),
        ("S-ketamine", "esketamine", "Spravato"),
        ("BDNF", "brain-derived neurotrophic factor"),
        ("NMDA receptor", "NMDAR"),
        ("anaesthesia", "anesthesia"),
    ],
)
def test_synonyms_find_the_same(connection, others):
    found = [set(ids(connection, text)) for text in others]
    assert found[0]
    assert all(f == found[0] for f in found)


def test_quotes_switch_synonyms_off(connection):
    assert set(ids(connection, '"posttraumatic stress disorder"')) < set(
        ids(connection, "posttraumatic stress disorder")
    )


def test_ketamine_covers_esketamine_but_not_the_other_way_round(connection):
    ketamine, esketamine = set(ids(connection, "ketamine")), set(ids(connection, "esketamine"))
    assert esketamine < ketamine


def test_what_was_added_is_said():
    assert search.parse("ptsd").synonyms[0][0] == "ptsd"


def test_words_of_questions_do_not_count(connection):
    assert search.parse("does ketamine work fast for PTSD?").match == search.parse("ketamine fast PTSD").match


def test_a_title_outranks_a_passing_mention(connection):
    first = reading.cards(connection, search.run(connection, "extinction", limit=1).ids)[0]
    assert "extinction" in first["title"].lower()


def test_a_question_whose_words_are_nowhere_together_gets_partial_answers(connection):
    text = "extinction midazolam zebrafish burn esketamine"
    found = search.run(connection, text, limit=500)
    assert found.any_word
    # Nearly everything holds some word, so only the nearest are given, best first.
    assert len(found.ids) == found.total == found.unfiltered == search.NEAREST
    whole = search.Ranking(connection, search.as_any(found.parsed), index_of(connection))
    assert whole.mask.bit_count() > search.NEAREST
    assert found.ids == whole.pick(index_of(connection), whole.mask, 0, search.NEAREST)
    fewer = search.run(connection, text, Filters({"tier": ("preclinical",)}), limit=500)
    assert 0 < fewer.total < search.NEAREST and set(fewer.ids) < set(found.ids)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("ketmaine", "ketamine"),
        ("psychoterapy", "psychotherapy"),
        ("suicidle idaetion", "suicidal ideation"),
    ],
)
def test_spelling_help_when_nothing_is_found(connection, wrong, right):
    found = search.run(connection, wrong)
    assert found.total == 0
    assert found.suggestions == [right]
    assert search.run(connection, found.suggestions[0]).total


def test_no_spelling_help_for_what_was_found(connection):
    assert search.run(connection, "ketamine").suggestions == []


def test_snippets_mark_the_words(connection):
    row = search.run(connection, "extinction", limit=1).rows[0]
    assert search.MARK in row["title_marked"] + row["snippet"]


@pytest.mark.parametrize(
    ("question", "claim"),
    [
        ("how fast does ketamine work", "rapid-onset"),
        ("is ketamine addictive", "abuse-liability"),
        ("side effects of ketamine", "safety-tolerability"),
        ("burn soldiers", "anesthesia-at-injury"),
        ("does ketamine raise BDNF", "bdnf"),
        ("NMDA antagonist", "nmda-antagonism"),
        ("how long does it last", "durability"),
        ("How long does it last?", "durability"),
        ("is it safe?", "safety-tolerability"),
        ("is ketamine safe for veterans with PTSD", "safety-tolerability"),
        ("how fast", "rapid-onset"),
        ("how long does ketamine take to work in PTSD", "rapid-onset"),
        ("is it addictive?", "abuse-liability"),
        ("does it help veterans", "ptsd-symptom-reduction"),
        ("combat veterans with PTSD", "ptsd-symptom-reduction"),
        ("does it help PTSD", "ptsd-symptom-reduction"),
        ("does it stop suicidal thoughts", "suicidality-reduction"),
        ("suicide in depression", "suicidality-reduction"),
        ("does it help depression", "antidepressant-effect"),
        ("does it work with therapy for PTSD", "psychotherapy-combination"),
        ("did soldiers anaesthetised with ketamine develop less PTSD?", "anesthesia-at-injury"),
        ("did soldiers anesthetized with ketamine develop less PTSD?", "anesthesia-at-injury"),
        ("ketamine anaesthesia and PTSD", "anesthesia-at-injury"),
        ("PTSD in people given ketamine when injured", "anesthesia-at-injury"),
        ("PTSD in burned soldiers", "anesthesia-at-injury"),
        ("wounded in combat, later PTSD", "anesthesia-at-injury"),
        ("ketamine for surgery and PTSD", "anesthesia-at-injury"),
    ],
)
def test_questions_lead_to_claims(question, claim):
    assert search.matching_claims(question)[0] == claim


def test_a_broad_word_never_hides_the_particular_claim():
    assert search.matching_claims("PTSD after surgery") == ["anesthesia-at-injury", "ptsd-symptom-reduction"]
    assert search.matching_claims("lasting fear") == ["durability", "fear-memory"]
    assert search.matching_claims("zebrafish") == []


def test_every_claim_has_its_question_words():
    from kb.tagging import load_claims

    assert set(search.vocabulary()["claims"]) == {claim.id for claim in load_claims()}
    for claim in load_claims():
        assert claim.id in search.matching_claims(claim.question), claim.question


# -- straight to the article -------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "24740528",
        "PMID: 24740528",
        "pmid 24740528",
        "https://pubmed.ncbi.nlm.nih.gov/24740528/",
        "24740528[uid]",
        "10.1001/jamapsychiatry.2014.62",
        "doi:10.1001/JAMAPSYCHIATRY.2014.62",
        "https://doi.org/10.1001/jamapsychiatry.2014.62",
        "{title}",
        "Feder A, Parides MK, et al. {title}. JAMA Psychiatry. 2014 Jun;71(6):681-8.",
        "Feder A, et al. JAMA Psychiatry. 2014. doi: 10.1001/jamapsychiatry.2014.62.",
    ],
)
def test_identifiers_titles_and_citations_go_straight_there(connection, text):
    title = connection.execute("SELECT title FROM articles WHERE id = '24740528'").fetchone()[0]
    assert search.direct(connection, text.replace("{title}", title)) == ("24740528", None)


@pytest.mark.parametrize("text", ["99999999", "PMC99999999", "10.9999/not.here", "See PMID: 99999999 for this."])
def test_an_identifier_that_is_not_here_is_named(connection, text):
    found, missing = search.direct(connection, text)
    assert found is None and missing


@pytest.mark.parametrize("text", ["ketamine", "2014", "ketamine in adults with depression", "", "a b c d e f g h i"])
def test_ordinary_searches_stay_searches(connection, text):
    assert search.direct(connection, text) == (None, None)


# -- filters -----------------------------------------------------------------------------


def test_filters_agree_with_sql(connection):
    found = set(
        ids(
            connection,
            "",
            filters=Filters({"design": ("rct", "cohort"), "claim": ("bdnf",), "stance": ("supports",)}, 2012, 2024),
        )
    )
    rows = connection.execute(
        "SELECT a.id FROM articles a JOIN tags t ON t.article_id = a.id WHERE t.claim_id = 'bdnf' AND t.stance = "
        "'supports' AND a.study_design IN ('rct', 'cohort') AND a.year BETWEEN 2012 AND 2024"
    )
    assert found and found == {row[0] for row in rows}


def test_facet_counts_are_what_a_click_gives(connection):
    index = index_of(connection)
    filters = Filters({"population": ("civilians-adults",)})
    base = search.run(connection, "ketamine").base
    for design, count in index.facet("design", filters, base).items():
        more = Filters({**filters.values, "design": (design,)})
        assert search.run(connection, "ketamine", more).total == count


def test_counts_for_weighing_agree_with_sql(connection):
    index = index_of(connection)
    for claim, expected in reading.counts(connection).items():
        assert sorted(map(repr, index.counts(claim))) == sorted(map(repr, expected))


def test_strongest_first(connection):
    index = index_of(connection)
    tiers = [
        row["evidence_tier"]
        for row in reading.cards(connection, index.page([index.tagged(("bdnf",))], "strength", 0, 500))
        if not row["retracted"] and not row["deleted"]
    ]
    rank = {tier.id: n for n, tier in enumerate(reading.TIERS)}
    assert [rank[t] for t in tiers] == sorted(rank[t] for t in tiers)


def test_pages_join_up(connection):
    whole = ids(connection, "ketamine")
    parts = [
        i for start in range(0, len(whole), 7) for i in search.run(connection, "ketamine", offset=start, limit=7).ids
    ]
    assert parts == whole


def test_the_rank_is_bm25s_from_the_first_to_the_last(connection):
    match = search.parse("ketamine").match
    weights = ", ".join(map(str, search.WEIGHTS))
    plain = [
        row[0]
        for row in connection.execute(
            "SELECT a.id FROM articles_fts f JOIN articles a ON a.rowid = f.rowid WHERE articles_fts MATCH ? "
            f"ORDER BY bm25(articles_fts, {weights}), f.rowid",
            (match,),
        )
    ]
    assert len(plain) > 100
    ranking = search.Ranking(connection, match, index_of(connection))
    assert ranking.pick(index_of(connection), ranking.mask, 0, 1000) == plain
    assert ranking.pick(index_of(connection), ranking.mask, 3, 4) == plain[3:7]


@pytest.mark.parametrize(
    "text",
    ["ketamine", "ketamine NOT mice", "author:feder ketamine", "title:(ketamine OR bdnf)", "keta* -burn", '"fear"'],
)
def test_where_very_many_match_titles_come_first_and_nothing_is_lost(connection, monkeypatch, text):
    match, index = search.parse(text).match, index_of(connection)
    whole = search.Ranking(connection, match, index)
    monkeypatch.setattr(search.Ranking, "RANKED", 3)
    large = search.Ranking(connection, match, index)
    ids = large.pick(index, large.mask, 0, 1000)
    assert sorted(ids) == sorted(whole.pick(index, whole.mask, 0, 1000)) and len(ids) == len(set(ids)) > 3
    parts = [i for start in range(0, len(ids), 7) for i in large.pick(index, large.mask, start, 7)]
    assert parts == ids
    titles = {row["id"]: row["title"].lower() for row in reading.cards(connection, ids)}
    if text == "ketamine":
        names = {"ketamine", "kétamine", "esketamine", "arketamine", "spravato"}
        named = [bool(names & set(search.words_of(titles[i]))) for i in ids]
        assert named == sorted(named, reverse=True) and not all(named)


def test_results_longer_than_a_server_allows_a_value_to_be(connection):
    match = search.parse("ketamine").match
    expected = list(search._rowids(connection, match))
    with closing(schema.connect_read_only(shared_site().path)) as limited:
        limited.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 300)
        assert list(search._rowids(limited, match)) == expected


def test_the_index_follows_the_data(database):
    from kb.store import Store

    with closing(schema.connect_read_only(database)) as opened:
        before = index_of(opened)
        assert index_of(opened) is before
        with Store(database) as store:
            store.review("24740528", "bdnf", "contradicts", reviewer="A tester")
            from kb.tagging import TAGGER_VERSION, tag_many

            store.retag(tag_many, TAGGER_VERSION)
        after = index_of(opened)
        assert after is not before
        assert (
            after.tagged(("bdnf",), ("contradicts",)).bit_count()
            == 1 + before.tagged(("bdnf",), ("contradicts",)).bit_count()
        )


def test_a_database_without_vocabulary_table_is_not_written_to(connection):
    search.run(connection, "ketmaine")
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    assert "kb_vocabulary" not in names
    with pytest.raises(sqlite3.OperationalError):
        connection.execute("CREATE TABLE x (y)")
