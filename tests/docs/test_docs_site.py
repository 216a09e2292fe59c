"""The documentation site builds strictly, its links lead somewhere, nothing comes from the network, and its
reference has every setting and every column of real rows."""

import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatch
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
from documentation import PAGES, ROOT
from omegaconf import OmegaConf
from small_runs import finished_run, only_cell

from sftdiv.config.app import conf_dir
from sftdiv.storage.cell import flatten

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
PATIENCE = 120_000  # milliseconds
LOADED = {"script": "src", "img": "src", "link": "href", "source": "src", "iframe": "src"}


class Page(HTMLParser):
    """The links, the ids and the loaded files of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.loaded = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.update(values[name] for name in ("id", "name") if values.get(name))
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if values.get(LOADED.get(tag, "")) and values.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.append(values[LOADED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    return folder


@pytest.fixture(scope="module")
def pages(site):
    """Every page by its path."""
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


def test_links_lead_to_pages_and_places_that_exist(site, pages):
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the root of a server
            continue
        for link in page.links:
            if re.match(r"\w+:", link):
                continue
            target, anchor = urldefrag(link)
            file = (path.parent / unquote(target)).resolve() if target else path
            file = file / "index.html" if file.is_dir() else file
            if not file.exists() or (anchor and file in pages and unquote(anchor) not in pages[file].ids | {"__top"}):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert not broken, "\n".join(broken)


def test_nothing_is_loaded_from_the_network(site, pages):
    for path, page in pages.items():
        assert not [file for file in page.loaded if file.startswith(("http:", "https:", "//"))], path
    for path in [*site.rglob("*.css")]:
        assert not re.search(r"url\([\"']?https?:", path.read_text(encoding="utf-8")), path


def test_external_links_are_well_formed_and_each_target_is_written_one_way():
    spellings = {}
    for path in [*PAGES, ROOT / "CITATION.cff", ROOT / "LOG.md", *sorted((ROOT / "benchmarks").rglob("*.md"))]:
        for link in re.findall(r"https?://[^\s)>\]\"'`|,\\]+", path.read_text(encoding="utf-8")):
            parts = urlsplit(link.rstrip("."))
            is_local = parts.hostname in ("localhost", "127.0.0.1")
            assert is_local or (parts.scheme == "https" and "." in (parts.hostname or "")), f"{path}: {link}"
            target = f"{parts.netloc.removeprefix('www.')}{parts.path.rstrip('/')}?{parts.query}#{parts.fragment}"
            spellings.setdefault(target.lower(), {}).setdefault(parts.geturl(), path.name)
    assert not [written for written in spellings.values() if len(written) > 1]


def test_search_works_from_disk(site):
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert "SemDeDup" in index and "selection.max_per_group" in index


def test_the_reference_has_every_setting_with_its_meaning(site, composed):
    reference = " ".join(path.read_text(encoding="utf-8") for path in (site / "reference" / "settings").glob("*.html"))
    contexts = (
        [],
        ["corpus=files", "corpus.path=a"],
        ["strategy=macro_topic", "train=lora", "trainer=fsdp"],
        ["eval=judge", "judge.model=a", "judge.endpoint.base_url=b"],
    )
    missing = set()
    for overrides in contexts:
        config = composed(*overrides)
        for name, value in flatten(OmegaConf.to_container(config, resolve=False)).items():
            is_wiring = "._" in name or re.fullmatch(r"\$\{[\w./]+\}", str(value)) or name.endswith(".name")
            if not is_wiring and not re.search(r"verdicts\.|prices\.|^sweep\.baselines", name):
                missing |= set() if f"<code>{name}</code>" in reference else {name}
    assert not missing, sorted(missing)


def test_every_setting_has_a_meaning():
    code = "import json, settings_pages; print(json.dumps(settings_pages.settings_pages()))"
    path = os.pathsep.join([str(ROOT / "docs" / "hooks"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    rows = [line.split(" | ") for text in json.loads(done.stdout).values() for line in text.splitlines()]
    without = [row[0] for row in rows if len(row) == 4 and row[0].startswith("| `") and not row[2].strip()]
    ours = [name for name in without if "units.m" not in name and "contamination.files" not in name]
    assert len(rows) > 300 and not ours, ours


def test_the_reference_names_the_columns_of_real_rows():
    text = (ROOT / "docs" / "reference" / "result-row.md").read_text(encoding="utf-8")
    table = text.split("## Files of a cell")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    names = re.findall(r"`([^`]+)`", " ".join(cells))
    rows = [*(ROOT / "benchmarks").rglob("result.json"), only_cell(finished_run()) / "result.json"]
    assert len(rows) >= 2
    for path in rows:
        unknown = [name for name in json.loads(path.read_text()) if not any(fnmatch(name, known) for known in names)]
        assert not unknown, unknown


def test_every_file_of_conf_is_in_the_reference(site):
    for path in conf_dir().rglob("*/*.yaml"):
        group, option = path.parent.relative_to(conf_dir()).as_posix(), path.stem
        page = (site / "reference" / "settings" / f"{group.partition('/')[0]}.html").read_text(encoding="utf-8")
        assert f"{group}={option}" in page, path


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}; make browser installs Debian's chromium")
@pytest.mark.parametrize("width", [1280, 400])
def test_pages_fit_a_screen_and_a_phone_from_disk(site, width):
    from playwright.sync_api import sync_playwright

    seen = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"], timeout=PATIENCE)
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on("request", lambda request: seen.append(request.url) if request.url.startswith("http") else None)
        for address in ("index", "guides/choose-a-subset", "reference/settings/corpus", "reference/metrics"):
            page.goto(f"file://{site}/{address}.html")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, address
        page.goto(f"file://{site}/index.html")
        if width > 1000:
            page.fill("input[name=query]", "max_per_group")
            page.wait_for_selector(".md-search-result__item")
        browser.close()
    assert not seen, seen


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}; make browser installs Debian's chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(site, scheme):
    from browser import serious_faults, started_browser

    pages = ("index", "guides/sweep", "reference/metrics", "reference/python-api")
    with started_browser() as browser:
        faults = {page: serious_faults(browser, site / f"{page}.html", scheme=scheme) for page in pages}
    assert not any(faults.values()), faults
