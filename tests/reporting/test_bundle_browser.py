"""The bundle in a real browser: a point opens its cell, lists are filtered, and axe-core finds no serious fault."""

import pytest
from browser import PATIENCE, in_browser, serious_faults, started_browser
from playwright.sync_api import expect
from synthetic_study import write_synthetic_study
from test_bundle import add_texts

from sftdiv.pipeline.analyze_study import analyze_study
from sftdiv.pipeline.write_bundle import BUNDLE

pytestmark = in_browser


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = write_synthetic_study(
        tmp_path_factory.mktemp("studies") / "bundled",
        slopes={("micro_token", "response"): 0.08},
        levels=(0.0, 0.5, 1.0),
        seeds=(0, 1),
        matches=("none",),
    )
    for result in folder.glob("*/result.json"):
        add_texts(result.parent)
    analyze_study(folder, draw=False, bundle=True)
    return folder / BUNDLE.parent


@pytest.fixture(scope="module")
def browser():
    with started_browser() as started:
        yield started


@pytest.fixture
def page(browser, bundle):
    """A page at the bundle's index; nothing may be asked of the network, or written to the console."""
    seen, context = [], browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    context.on("console", lambda message: seen.append(message.text))
    context.on("request", lambda request: request.url.startswith("http") and seen.append(request.url))
    opened.goto((bundle / "index.html").as_uri())
    opened.wait_for_selector("#overlap .main-svg")
    yield opened
    context.close()
    assert not seen


def test_a_point_of_the_figure_opens_the_page_of_its_cell(page):
    point = page.locator("#performance-0 .points path").last
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 1, y)
    page.mouse.move(x, y)
    expect(page.locator("#performance-0 .hovertext")).to_be_visible()
    with page.context.expect_page() as popup:
        page.mouse.click(x, y)
    cell = popup.value
    expect(cell.locator("h1")).to_contain_text("micro_token · response · level")
    assert "/cells/micro_token" in cell.url
    cell.get_by_role("link", name="bundled").click()
    expect(cell.locator("h1")).to_have_text("bundled")


def test_lists_are_filtered_by_source_and_words(page, bundle):
    page.goto(next((bundle / "cells").glob("m*.html")).as_uri())
    examples = page.locator("article[data-list=example]:visible")
    assert examples.count() == 100
    page.locator("[data-source-of=example]").select_option("small")
    small = examples.count()
    assert 0 < small < 20
    page.locator("[data-words-of=example]").fill("question 10 ")
    assert 0 < examples.count() <= small
    expect(page.locator("[data-count-of=example]")).to_have_text(f"{examples.count()} of 100")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
@pytest.mark.parametrize("name", ["answers.html", "cells/micro*.html"])
def test_axe_finds_no_serious_fault(browser, bundle, name, scheme, width):
    (path, *_) = bundle.glob(name)
    assert serious_faults(browser, path, scheme=scheme, width=width) == []
