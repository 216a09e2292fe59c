"""The page of a measurement in a real browser: no request, no error, fits a phone, takes the reader's light or dark."""

import json

import pytest
from browser import PATIENCE, in_browser, serious_faults, started_browser
from hydra import compose, initialize_config_dir

from sftdiv.config.app import conf_dir, register_resolvers
from sftdiv.measure import measure

pytestmark = in_browser


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    rows = [
        {
            "instruction": f"Name thing {n}.",
            "output": f"It is the {n % 7}th of {n} things. <script>window.hacked=1</script>",
        }
        for n in range(60)
    ]
    for name in ("one", "other"):
        (folder / f"{name}.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows[: 40 if name == "other" else 60])
        )
    register_resolvers()
    paths = [f"paths.outputs={folder}/outputs", f"paths.cache={folder}/cache"]
    given = [
        "corpus=files",
        f"corpus.path={folder}/one.jsonl",
        f"baseline={folder}/other.jsonl",
        "matched.draws=3",
        *paths,
    ]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        measure(compose("measure", overrides=given), given)
    (page,) = (folder / "outputs" / "measure").glob("*/measure.html")
    return page


@pytest.fixture(scope="module")
def browser():
    with started_browser() as started:
        yield started


@pytest.mark.parametrize(
    ("width", "scheme", "paper"), [(1200, "light", "rgb(255, 255, 255)"), (400, "dark", "rgb(20, 24, 31)")]
)
def test_it_opens_without_scripts_and_fits(browser, page_file, width, scheme, paper):
    seen = []
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=True
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda message: seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("request", lambda request: seen.append(request.url) if not request.url.startswith("file:") else None)
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
    assert page.evaluate("window.hacked") is None
    for figure in ("#bands svg", "#lengths svg"):
        box = page.locator(figure).bounding_box()
        assert 250 < box["width"] <= width and box["height"] > 80
    paths = "[...document.querySelectorAll('#bands svg path')]"
    lines = f"{paths}.filter(path => getComputedStyle(path).stroke !== 'none').length"
    assert page.evaluate(lines) >= 4  # two datasets, two sides
    context.close()
    assert not seen


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser, page_file, scheme):
    assert serious_faults(browser, page_file, scheme=scheme) == []
