"""A real browser for the tests of pages, and axe-core, which finds faults of accessibility in them."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
PATIENCE = 120_000  # milliseconds; a page takes one to three seconds on a free core
in_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}; make browser installs Debian's chromium"
    ),
]


@contextmanager
def started_browser():
    """Chromium, closed at the end."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"], timeout=PATIENCE)
        yield started
        started.close()


def serious_faults(browser, path, *, scheme="light", width=1280):
    """The rules of axe-core that a page breaks seriously, with the first elements that do."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(path.as_uri())
    page.wait_for_load_state()
    violations = Axe().run(page).response["violations"]
    context.close()
    return [
        (violation["id"], [node["target"] for node in violation["nodes"]][:3])
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]
