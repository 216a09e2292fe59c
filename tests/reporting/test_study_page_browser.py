"""The page in a real browser: it loads from disk with no request and no error, draws, sorts, answers
hovering, fits a phone and paper."""

import pytest
from browser import PATIENCE, in_browser, serious_faults, started_browser
from playwright.sync_api import expect
from plotly.offline import get_plotlyjs
from synthetic_study import write_synthetic_study

from sftdiv.pipeline.analyze_study import analyze_study

pytestmark = in_browser
SLOPES = {("macro_topic", "instruction"): 0.02, ("micro_token", "response"): 0.08}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = write_synthetic_study(
        tmp_path_factory.mktemp("studies") / "<img src=x onerror=window.hacked=1>",
        slopes=SLOPES,
        levels=(0.0, 0.5, 1.0),
        seeds=(0, 1),
    )
    analyze_study(folder, draw=False)
    return folder


@pytest.fixture(scope="module")
def browser():
    with started_browser() as started:
        yield started


@pytest.fixture
def opened(browser, study):
    """A function that opens the page at a width; at the end nothing may have been asked of the network or
    told to the console."""
    seen, contexts = [], []

    def open_page(width=1360, height=900):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: seen.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on(
            "request",
            lambda request: seen.append(f"request: {request.url}") if request.url.startswith("http") else None,
        )
        page.goto((study / "report.html").as_uri())
        page.wait_for_selector("#overlap .main-svg")  # the last chart that is drawn
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not seen


def column(page, table, position):
    """The values of one column that are shown, from top to bottom."""
    return page.eval_on_selector_all(
        f"#{table} tbody tr", f"rows => rows.map(row => row.cells[{position}].dataset.value)"
    )


def test_every_chart_draws_its_points(opened, study):
    page = opened()
    cells = len(list(study.glob("m*/result.json")))
    assert page.locator("[id^=performance-] .points path").count() == cells
    assert (
        page.locator("#correlation .points path").count() == 16
    )  # the paper's seven metrics and the mean n-gram ratio, two sides
    assert page.locator("#controlled-slopes .points path").count() == 4
    assert page.locator("#overlap .heatmaplayer image").count() == 1
    assert page.evaluate("window.hacked") is None
    assert page.locator(".modebar-btn").count() == 0  # one of them would upload the chart


def test_another_predictor_and_scope_can_be_chosen(opened):
    page = opened()
    title = page.locator("#performance-0 .xtitle")
    expect(title).to_have_text("diversity level")
    page.get_by_label("measured unit entropy (bit)").check()
    expect(title).to_have_text("measured unit entropy (bit)")
    before = page.locator("#correlation .points path").first.get_attribute("transform")
    page.get_by_label("scope").select_option(index=3)
    expect(page.locator("#correlation .points path").first).not_to_have_attribute("transform", before)


def test_tables_sort_by_click_and_by_keyboard(opened):
    page = opened()
    head = page.locator("#cells th", has_text="performance")
    position = page.locator("#cells th").count() - 1
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    values = [float(value) for value in column(page, "cells", position)]
    assert values == sorted(values) and len(set(values)) > 5
    head.get_by_role("button").press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    assert [float(value) for value in column(page, "cells", position)] == sorted(values, reverse=True)
    page.locator("#cells th", has_text="strategy").get_by_role("button").press("Space")
    assert page.locator("#cells th[aria-sort]").count() == 1
    names = column(page, "cells", 2)
    assert names == sorted(names)


def test_what_is_missing_sorts_last_either_way(opened):
    page = opened()
    level = page.locator("#cells th", has_text="level").get_by_role("button")
    for _ in range(2):
        level.click()
        values = column(page, "cells", 7)
        known = [value for value in values if value is not None]
        assert len(known) < len(values) and values[: len(known)] == known


def test_cells_can_be_filtered(opened):
    page = opened()
    page.get_by_label("filter").fill("micro response s1 level")
    shown = page.locator("#cells tbody tr:visible")
    assert 0 < shown.count() < page.locator("#cells tbody tr").count()
    assert all(
        "micro_token-response" in text and "-s1-" in text
        for text in shown.locator("td:first-child").all_text_contents()
    )


def test_hovering_names_the_cell_and_a_click_opens_its_folder(opened, study):
    page = opened()
    point = page.locator("#performance-0 .points path").last
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2 - 1, box["y"] + box["height"] / 2)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = page.locator("#performance-0 .hovertext")
    expect(told).to_be_visible()
    text = told.first.text_content()
    (cell,) = [path.name for path in study.iterdir() if path.is_dir() and text.startswith(path.name)]
    assert "performance: " in text and "level: " in text and "label tokens" in text
    with page.context.expect_page() as popup:
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert popup.value.url.rstrip("/") == (study / cell).as_uri()


def test_a_phone_scrolls_no_page_sideways(opened):
    page = opened(width=400, height=800)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    wide = "[...document.querySelectorAll('main .chart .main-svg')].map(one => one.getBoundingClientRect().right)"
    assert max(page.evaluate(wide)) <= 400
    boxes = "[...document.querySelectorAll('.scroll')]"
    box = f"{boxes}.map(one => [one.scrollWidth > one.clientWidth, getComputedStyle(one).overflowX])"
    scrolls = page.evaluate(box)
    assert any(wider for wider, _ in scrolls) and all(style == "auto" for _, style in scrolls)


def test_paper_keeps_what_the_screen_shows(opened):
    page = opened(width=688, height=1000)  # A4 less its margins
    page.emulate_media(media="print")
    for place in ("#slopes-paper table", "#performance-0 .main-svg", "#correlation .main-svg", "#cells"):
        assert page.locator(place).first.is_visible(), place
    assert not page.locator("nav").is_visible()
    # Plots fit themselves once the print style holds; the page's policy forbids playwright's own waiting, which evals.
    for _ in range(100):
        if page.evaluate("document.documentElement.scrollWidth") <= 688:
            break
        page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= 688
    cut = "[...document.querySelectorAll('.scroll')].filter(one => one.scrollHeight > one.clientHeight + 1).length"
    assert page.evaluate(cut) == 0  # nothing is hidden in a box that paper cannot scroll
    assert len(page.pdf(prefer_css_page_size=True)) > 10_000


def test_three_hundred_cells_are_a_page_that_loads_at_once(browser, tmp_path):
    folder = write_synthetic_study(tmp_path / "large", seeds=(0, 1, 2))
    analyze_study(folder, draw=False)
    size = (folder / "report.html").stat().st_size
    assert size < 1.5 * len(get_plotlyjs())  # what the page says of the study is small beside what draws it
    page = browser.new_page()
    page.goto((folder / "report.html").as_uri(), timeout=PATIENCE)
    page.wait_for_selector("#overlap .main-svg", timeout=PATIENCE)
    assert page.locator("#cells tbody tr").count() > 300
    page.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 400)])
def test_axe_finds_no_serious_fault(browser, study, scheme, width):
    assert serious_faults(browser, study / "report.html", scheme=scheme, width=width) == []


def test_the_dark_mode_keeps_charts_on_white(browser, study):
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto((study / "report.html").as_uri(), timeout=PATIENCE)
    grounds = "[document.body, document.querySelector('.chart')].map(box => getComputedStyle(box).backgroundColor)"
    assert page.evaluate(grounds) == ["rgb(20, 24, 31)", "rgb(255, 255, 255)"]
    context.close()
