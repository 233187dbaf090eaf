"""In Chromium: the tasks of a clinician, by mouse, by keyboard, on a phone, without script; axe on every page.

Every test also fails on a request that leaves 127.0.0.1 and on any error in the console
(a breach of the content security policy is one).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

import pytest
from web_site import make_database, start_server

pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("KB_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = [
    "/",
    "/claims/rapid-onset",
    "/claims/bdnf?design=rct&stance=contradicts",
    "/claims/bdnf?design=zebra",
    "/articles/24740528",
    "/articles/900001",
    "/articles/900002",
    "/articles/900004",
    "/search",
    "/search?q=ketamine+ptsd",
    "/search?q=ketmaine",
    "/sources",
    "/about",
    "/facts",
    "/check",
    "/kb",
    "/kb/evidence?_size=10",
    "/kb/articles?_search=burn&_facet=study_design&_size=5",
    "/kb/claims/bdnf",
    "/kb/evidence-against?claim=bdnf",
    "/kb?sql=select+1",
]
# One page of each kind, for looking again at colours alone.
KINDS = [
    "/",
    "/claims/rapid-onset",
    "/claims/bdnf?design=zebra",
    "/articles/24740528",
    "/articles/900002",
    "/search?q=ketamine+ptsd",
    "/search?q=ketmaine",
    "/sources",
    "/about",
    "/facts",
    "/check",
    "/kb",
    "/kb/evidence?_size=5",
    "/kb?sql=select+1",
    "/claims/nope",
    "/kb?sql=selec",
]
ERROR_PAGES = ["/claims/nope", "/nowhere", "/kb?sql=selec"]


def need(what: str) -> None:
    if os.environ.get("KB_REQUIRE_BROWSER") == "1":
        pytest.fail(f"KB_REQUIRE_BROWSER is 1, but {what}")
    pytest.skip(f"{what}: browser tests are left out")


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    process, address = start_server(make_database(tmp_path_factory.mktemp("browser") / "kb.db"))
    yield address
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        need("Chromium is not installed (apt-get install chromium, or name it with KB_CHROMIUM)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        need("the Python package playwright is not installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def new_page(browser, address):
    """A function that opens a page; afterwards nothing may have gone abroad or gone wrong."""
    contexts, faults = [], []

    def make(**options):
        errors_expected = options.pop("errors_expected", False)
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "base_url": address, **options})
        contexts.append(context)
        page = context.new_page()
        page.on(
            "request",
            lambda r: (
                faults.append(f"left 127.0.0.1: {r.url}") if not r.url.startswith((address, "data:", "blob:")) else None
            ),
        )
        page.on("pageerror", lambda e: faults.append(f"script error: {e}"))
        page.on(
            "console",
            lambda m: (
                faults.append(f"console: {m.text}")
                if m.type == "error" and not (errors_expected and "Failed to load resource" in m.text)
                else None
            ),
        )
        return page

    yield make
    for context in contexts:
        context.close()
    assert not faults


def violations(page, only: list[str] | None = None) -> list[str]:
    try:
        from axe_playwright_python import sync_playwright as axe
    except ImportError:
        need("the Python package axe-playwright-python is not installed")
    options = {"runOnly": only} if only else {"resultTypes": ["violations"]}
    found = axe.Axe().run(page, options=options).response["violations"]
    return [f"{page.url}: {v['id']}: {v['help']}: {n['html'][:200]}" for v in found for n in v["nodes"]]


# -- tasks -------------------------------------------------------------------------------


def test_from_a_question_to_weighed_evidence_on_both_sides(new_page):
    page = new_page()
    page.goto("/")
    page.get_by_label("Ask a question").fill("does ketamine work within hours?")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Does ketamine act within hours or a day?").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Does ketamine act within hours or a day?"
    verdict = page.locator("#verdict").inner_text()
    assert verdict
    page.get_by_role("link", name="The case against", exact=True).click()
    against = page.locator(".side-against")
    assert against.is_visible() and "Finds against" in against.inner_text()
    against.locator(".study-title a").first.click()
    assert page.locator("mark.ev").first.is_visible()
    assert "Finds against" in page.locator("#tag-rapid-onset").inner_text()
    assert page.locator(".out-links a").first.get_attribute("href").startswith("https://")


def test_narrowing_to_trials_in_people_like_mine(new_page):
    page = new_page()
    page.goto("/claims/ptsd-symptom-reduction")
    page.locator("summary", has_text="Study design").click()
    page.get_by_role("checkbox", name=re.compile("^Randomized trial")).check()
    page.locator("details.filter[open]").get_by_role("button", name="Apply").click()
    page.wait_for_url("**design=rct**")
    assert page.url.endswith("?design=rct#evidence")  # what was asked, and nothing else
    assert "Study design: Randomized trial" in page.locator(".chips").inner_text()
    shown = page.locator("#evidence ~ .study-list .study")
    assert shown.count() > 0
    assert all("Randomized trial" in text for text in shown.locator(".facts").all_inner_texts())
    count = shown.count()
    page.get_by_role("link", name="Finds against").first.click()
    assert "stance=contradicts" in page.url and "design=rct" in page.url
    assert page.locator("#evidence ~ .study-list .study").count() <= count
    page.get_by_role("link", name="Clear all").click()
    assert page.url.endswith("/claims/ptsd-symptom-reduction")


def test_taking_references_along(new_page):
    page = new_page()
    page.goto("/search?q=ketamine+veterans&design=rct")
    with page.expect_download() as caught:
        page.get_by_role("link", name="RIS", exact=True).click()
    text = open(caught.value.path(), encoding="utf-8").read()
    found = int(page.locator("#evidence").inner_text().split()[0])
    assert text.count("\nER  -") == found > 0


def test_a_pasted_pmid_and_the_citation_to_copy(new_page):
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.goto("/")
    page.get_by_label("Ask a question").fill(" PMID: 24740528 ")
    page.keyboard.press("Enter")
    page.wait_for_url("**/articles/24740528")
    page.get_by_role("button", name="Copy citation").click()
    page.get_by_text("Copied").wait_for()
    assert "PMID: 24740528." in page.evaluate("navigator.clipboard.readText()")


def test_reporting_a_wrong_tag(new_page):
    page = new_page()
    page.goto("/articles/24740528")
    box = page.locator("#tag-durability")
    box.get_by_text("Report this tag").click()
    text = box.locator(".report-text").inner_text()
    assert "24740528" in text and "durability" in text and "contradicts" in text
    assert box.get_by_role("link", name="write a mail").get_attribute("href").startswith("mailto:")


def test_the_evidence_tables_and_back(new_page):
    page = new_page()
    page.goto("/")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Data").click()
    page.get_by_role("link", name="Evidence against a claim").click()
    page.get_by_label("Claim").fill("rapid-onset")
    page.get_by_role("button", name="Run").click()
    page.locator("tbody a[href^='/articles/']").first.click()
    assert page.locator("article.article-page").is_visible()


# -- manners -----------------------------------------------------------------------------


def focused(page) -> str:
    return page.evaluate("(document.activeElement.innerText || document.activeElement.value || '').trim()")


def tab_to(page, words: str, most: int = 80) -> None:
    for _ in range(most):
        page.keyboard.press("Tab")
        if focused(page).startswith(words):
            return
    raise AssertionError(f"no way by Tab to {words!r}")


def test_the_whole_task_by_keyboard(new_page):
    page = new_page()
    page.goto("/")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    box = page.locator(":focus").bounding_box()
    assert box["x"] >= 0 and box["y"] >= 0  # the skip link comes into view
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("does ketamine raise BDNF")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=**")
    tab_to(page, "Does ketamine raise BDNF")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    page.keyboard.press("Enter")
    page.wait_for_url("**/claims/bdnf")
    tab_to(page, "Study design")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    tab_to(page, "Apply")
    page.keyboard.press("Enter")
    page.wait_for_url("**design=**")
    assert page.locator(".chips").is_visible()
    page.locator("summary", has_text="Population").focus()
    page.keyboard.press("Enter")
    assert page.locator("details.filter[open]").count() == 1
    page.keyboard.press("Escape")
    assert page.locator("details.filter[open]").count() == 0
    assert focused(page).startswith("Population")


@pytest.mark.parametrize("width", [360, 320])
def test_on_a_phone_nothing_is_wider_than_the_screen(new_page, width):
    page = new_page(viewport={"width": width, "height": 700}, has_touch=True, is_mobile=True, errors_expected=True)
    wide = []
    for path in PAGES + ERROR_PAGES:
        page.goto(path)
        if page.evaluate("document.documentElement.scrollWidth") > width:
            wide.append(path)
        outside = page.evaluate(
            """width => [...document.querySelectorAll('main :is(a, p, h1, h2, h3, input, button, summary)')]
            .filter(e => e.checkVisibility() && !e.closest('.scroll, .visually-hidden, .patterns, pre'))
            .filter(e => e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML.slice(0, 80))""",
            width,
        )
        wide += [f"{path}: {html}" for html in outside]
    assert not wide


def test_a_filter_on_a_phone(new_page):
    page = new_page(viewport={"width": 360, "height": 700}, has_touch=True, is_mobile=True)
    page.goto("/claims/bdnf")
    assert not page.locator("summary", has_text="Species").is_visible()
    page.locator("summary", has_text="Filters and order").tap()
    page.locator("summary", has_text="Species").tap()
    panel = page.locator("details.filter[open] .filter-panel")
    box = panel.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 360
    panel.locator("label").first.tap()
    panel.get_by_role("button", name="Apply").tap()
    page.wait_for_url("**species=**")


@pytest.mark.parametrize("scripted", [True, False])
def test_on_a_phone_results_come_before_filters(new_page, scripted):
    page = new_page(viewport={"width": 375, "height": 700}, has_touch=True, java_script_enabled=scripted)
    page.goto("/search?q=ketamine+ptsd")
    heading = page.locator("h2#evidence").bounding_box()
    first = page.locator(".study-list .study").first.bounding_box()
    assert first["y"] - (heading["y"] + heading["height"]) < 250
    assert page.locator("details.filter:visible").count() == 0
    page.locator(".all-filters > summary").tap()
    page.locator("summary", has_text="Study design").tap()
    page.locator("details.filter[open] input[type=checkbox]").first.check()
    page.locator("details.filter[open] button").tap()
    page.wait_for_url("**design=**")
    assert page.locator(".chips li").first.is_visible()  # what is in force is seen without opening anything
    page.set_viewport_size({"width": 1280, "height": 900})
    assert page.locator("details.filter > summary").first.is_visible()
    assert not page.locator(".all-filters > summary").is_visible()


@pytest.mark.parametrize("path", ["/kb/articles", "/kb/evidence", "/kb/evidence-against?claim=bdnf"])
def test_tables_can_be_read_on_a_phone(new_page, path):
    page = new_page(viewport={"width": 375, "height": 700}, has_touch=True, is_mobile=True)
    page.goto(path)
    assert page.locator(".scroll-hint").is_visible()
    row = page.locator("table.rows-and-columns tbody tr").first
    seen = row.locator("td").evaluate_all(
        """cells => cells.filter(c => c.checkVisibility() && c.getBoundingClientRect().right <= 375)
        .map(c => c.dataset.label)"""
    )
    wanted = {
        "/kb/articles": {"id", "title", "year", "study_design"},
        "/kb/evidence": {"claim", "sentence", "citation"},
    }
    assert wanted.get(path, {"stance", "sentence", "title"}) <= set(seen)
    assert row.get_attribute("role") == "row" and row.locator("td").first.get_attribute("role") == "cell"
    heights = page.locator("td:not(.col-sentence) > .cell").evaluate_all("cells => cells.map(c => c.clientHeight)")
    assert max(heights) <= 110
    # An evidence sentence is never cut.
    cut = page.locator(".col-sentence .cell").evaluate_all(
        "cells => cells.filter(c => c.checkVisibility() && c.scrollHeight > c.clientHeight + 1).length"
    )
    assert cut == 0
    assert not violations(page)


def test_a_wide_table_is_a_region_to_scroll_by_keyboard(new_page):
    page = new_page()
    page.goto("/kb/articles?_size=5")
    assert page.locator(".scroll-hint").is_visible()
    region = page.get_by_role("region", name="Articles")
    region.evaluate("e => e.addEventListener('scroll', () => { e.dataset.scrolled = e.scrollLeft; })")
    region.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".table-wrapper[data-scrolled]")


def test_everything_works_without_script(new_page):
    page = new_page(java_script_enabled=False)
    page.goto("/claims/bdnf")
    page.locator("summary", has_text="Study design").click()
    page.locator("details.filter[open] input[type=checkbox]").first.check()
    page.locator("details.filter[open] button").click()
    page.wait_for_url("**design=**")
    assert page.locator(".chips li").count() >= 1
    assert not page.locator("button.copy").first.is_visible() if page.locator("button.copy").count() else True
    page.goto("/articles/24740528")
    assert not page.locator("button.copy").is_visible()  # a button that can do nothing is not shown


def test_pages_do_not_jump_while_they_load(new_page):
    page = new_page()
    for path in ("/", "/claims/rapid-onset", "/articles/24740528", "/search?q=ketamine"):
        page.goto(path, wait_until="networkidle")
        shift = page.evaluate("""() => new Promise(done => {
            let sum = 0;
            new PerformanceObserver(list => { for (const e of list.getEntries()) sum += e.value; })
                .observe({type: 'layout-shift', buffered: true});
            requestAnimationFrame(() => requestAnimationFrame(() => done(sum)));
        })""")
        assert shift == 0, path


def test_print_leaves_out_what_paper_cannot_use(new_page):
    page = new_page()
    page.goto("/claims/rapid-onset")
    page.emulate_media(media="print")
    for selector in (".site-nav", ".filters", ".segments", ".exports"):
        assert not page.locator(selector).first.is_visible(), selector
    assert page.locator("#verdict").is_visible() and page.locator(".side-against").is_visible()


# -- axe ---------------------------------------------------------------------------------


def test_axe_finds_nothing_in_the_light(new_page):
    page = new_page(color_scheme="light", errors_expected=True)
    found = []
    for path in PAGES + ERROR_PAGES:
        page.goto(path)
        found += violations(page)
    page.goto("/claims/bdnf")  # with everything unfolded
    page.evaluate("for (const d of document.querySelectorAll('details:not(.filter)')) d.open = true")
    page.evaluate("document.querySelector('details.filter').open = true")
    found += violations(page)
    assert not found


def test_axe_finds_nothing_in_the_dark(new_page):
    """Only colours differ from the light, so only they are looked at again."""
    page = new_page(color_scheme="dark", errors_expected=True)
    found = []
    for path in KINDS:
        page.goto(path)
        found += violations(page, ["color-contrast", "link-in-text-block"])
    page.goto("/claims/bdnf")
    page.evaluate("for (const d of document.querySelectorAll('details:not(.filter)')) d.open = true")
    page.evaluate("document.querySelector('details.filter').open = true")
    found += violations(page, ["color-contrast", "link-in-text-block"])
    assert not found


def test_stance_is_never_told_by_colour_alone(new_page):
    page = new_page()
    page.goto("/articles/24740528")
    signs = {"supports": "+", "contradicts": "−", "mixed": "±", "background": "·"}
    for badge in page.locator(".stance, .tag").all():
        kind = badge.get_attribute("class").split("stance-")[1].split()[0]
        assert signs[kind] in badge.inner_text()
