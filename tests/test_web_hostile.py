"""Markup in a title, abstract, name or identifier stays text, in every page, feed and download."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup
from web_site import HOSTILE, HOSTILE_ID, Site, shared_site

from kb.web import text as words

PAGES = [
    "/",
    "/articles/900004",
    "/articles/" + quote(HOSTILE_ID, safe="/:()"),
    "/search?" + urlencode({"q": HOSTILE}),
    "/search?q=hostile&" + urlencode({"design": HOSTILE, "from": HOSTILE, "claim": HOSTILE}),
    "/search?" + urlencode({"q": "ketamine alert onerror"}),
    "/search?" + urlencode({"q": f"PMID: 1 {HOSTILE}"}),
    "/claims/antidepressant-effect?sort=year",
    "/claims/rapid-onset?sort=year",
    "/claims/bdnf?"
    + urlencode({"stance": HOSTILE, "population": HOSTILE, "to": HOSTILE, "sort": HOSTILE, "page": HOSTILE}),
    "/sources",
    "/about",
    "/facts",
    "/kb/articles/900004",
    "/kb/articles?id=900004",
    "/kb/evidence?article_id=900004",
    "/kb/articles?_search=alert",
    "/kb/authors",
    "/kb/mesh_headings",
    "/kb/keywords",
    "/kb/corrections",
    "/kb/other_abstracts",
    "/kb/articles?" + urlencode({"title__contains": HOSTILE}),
    "/kb/sentences?article_id=900004",
]
NOT_FOUND = [
    "/claims/" + quote(HOSTILE, safe=""),
    "/articles/" + quote(HOSTILE, safe=""),
    "/kb/" + quote("<script>alert(1)</script>", safe=""),
    "/<script>alert(1)</script>",
]


@pytest.fixture(scope="module")
def site() -> Site:
    return shared_site()


def harmless(page: str) -> BeautifulSoup:
    """The parsed page, having checked that nothing in it came alive."""
    tree = BeautifulSoup(page, "html.parser")
    for script in tree.find_all("script"):
        assert script.get("type") == "application/ld+json" or str(script.get("src", "")).startswith("/-/kb/kb.js")
    assert not tree.select("img, iframe, object, embed, base, i, [srcdoc]")
    for node in tree.find_all(True):
        for name, value in node.attrs.items():
            assert not name.startswith("on"), (node.name, name)
            if name in ("href", "src", "action"):
                assert value.startswith(("/", "#", "https://", "http://", "mailto:", "?")), value
    assert "49" not in [n.get_text().strip() for n in tree.find_all("h1")]  # templates inside data are not run
    return tree


@pytest.mark.parametrize("path", PAGES)
def test_pages_show_hostile_text_as_text(site, path):
    response = site.get(path, follow_redirects=True)
    assert response.status_code == 200
    harmless(response.text)


@pytest.mark.parametrize("path", NOT_FOUND)
def test_error_pages_too(site, path):
    response = site.get(path, follow_redirects=True)
    assert response.status_code == 404
    harmless(response.text)


def test_the_hostile_title_is_there_to_be_read(site):
    tree = harmless(site.get("/articles/900004").text)
    assert HOSTILE in tree.h1.get_text()
    assert HOSTILE in tree.select_one(".abstract").get_text()
    assert HOSTILE in tree.select_one(".authors").get_text()
    data = json.loads(tree.select_one('script[type="application/ld+json"]').string)
    assert HOSTILE in data["headline"]


def test_search_marks_words_inside_hostile_text(site):
    tree = harmless(site.get("/search?" + urlencode({"q": "alert onerror"})).text)
    row = tree.find("a", href="/articles/900004")
    assert row.find("mark") and HOSTILE in row.get_text()


@pytest.mark.parametrize("path", ["/feed.atom", "/claims/antidepressant-effect.atom"])
def test_feeds_hold_it_as_text(site, path):
    root = ElementTree.fromstring(site.get(path).content)
    titles = [e.text for e in root.iter("{http://www.w3.org/2005/Atom}title")]
    assert any(HOSTILE in title for title in titles)
    assert {child.tag.partition("}")[2] for child in root.iter()} <= {
        "feed",
        "entry",
        "title",
        "id",
        "updated",
        "published",
        "link",
        "content",
        "author",
        "name",
        "subtitle",
    }


@pytest.mark.parametrize(
    "path",
    [
        "/articles/900004.json",
        "/search.json?q=hostile+OR+alert",
        "/index.json",
        "/claims/antidepressant-effect.json",
        "/search.json?" + urlencode({"q": HOSTILE}),
    ],
)
def test_json_is_json_and_never_taken_for_a_page(site, path):
    response = site.get(path)
    assert response.headers["content-type"].startswith("application/json")
    response.json()


@pytest.mark.parametrize("ending", ["ris", "bib", "nbib", "csl.json", "csv"])
@pytest.mark.parametrize("path", ["/articles/900004", "/search", "/claims/antidepressant-effect"])
def test_downloads_are_attachments(site, path, ending):
    query = "?q=alert" if path == "/search" else ""
    response = site.get(f"{path}.{ending}{query}")
    assert response.status_code == 200
    assert response.headers["content-disposition"].startswith("attachment")
    assert "html" not in response.headers["content-type"]
    assert "900004" in response.text or "Ketamine" in response.text


def test_our_pages_carry_a_strict_policy(site):
    for path in ("/", "/claims/bdnf", "/articles/900004", "/search?q=x", "/nowhere"):
        policy = site.get(path).headers["content-security-policy"]
        assert "unsafe" not in policy and "script-src 'self'" in policy


def test_control_characters_cannot_forge_marks():
    assert words.mark_matches("a \x02<b>\x03 c") == "a <mark>&lt;b&gt;</mark> c"
    assert words.mark_matches("a \x02 b <i>") == "a  b &lt;i&gt;"
    assert words.mark_claim('BDNF <b> rose "x"', "bdnf") == "<mark>BDNF</mark> &lt;b&gt; rose &#34;x&#34;"


def test_a_query_string_cannot_leave_its_attribute(site):
    tree = harmless(site.get("/search?" + urlencode({"q": '"><script>alert(1)</script>'})).text)
    assert tree.select_one("#q")["value"] == '"><script>alert(1)</script>'
