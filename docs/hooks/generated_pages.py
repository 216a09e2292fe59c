"""MkDocs hook: adds the pages that are written at build time, and their places in the navigation.

A comment ``<!-- generated: NAME -->`` in a page becomes a block that is written at build time (``BLOCKS``).
``mkdocs.yml`` names the sections ``settings``, ``benchmarks`` and ``log`` by a placeholder, which becomes the list of
their pages. Nothing is written below ``docs/``: the pages exist in memory and in the built site only.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from command_sections import command_sections, extras_table
from component_tables import metrics_table, selectors_in_full, selectors_table
from gallery import gallery_files
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from paper_page import paper_figure, paper_summary, paper_table
from repository_pages import (
    BENCHMARKS,
    ROOT,
    benchmark_pages,
    benchmark_sources,
    benchmarks_table,
    log_pages,
    log_table,
    notebook_page,
    relinked,
)
from settings_pages import groups_table, settings_pages

SECTIONS = {"SETTINGS": "reference/settings/", "BENCHMARKS": "benchmarks/", "LOG": "log/"}
NOTEBOOKS = {"guides/quickstart-notebook.md": "quickstart.ipynb", "guides/study-notebook.md": "explore_study.ipynb"}
FIGURE = "assets/paper-slopes.svg"
BOOSTS = {"reference/": 2, "benchmarks/": 0.5, "log/": 0.5}  # of a page among the results of a search
BLOCK = re.compile(r"<!-- generated: ([\w-]+) -->")
BLOCKS: Mapping[str, Callable[[], str]] = {
    "benchmarks": benchmarks_table,
    "commands": command_sections,
    "log": log_table,
    "metrics": metrics_table,
    "paper-summary": paper_summary,
    "paper-table": paper_table,
    "extras": extras_table,
    "groups": groups_table,
    "selectors": selectors_in_full,
    "selectors-table": selectors_table,
}

_pages: dict[str, str] = {}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Write the pages, and fill in the navigation."""
    _pages.clear()
    _pages.update(settings_pages())
    _pages.update(benchmark_pages())
    _pages.update(log_pages())
    _pages.update({address: notebook_page(ROOT / "notebooks" / name) for address, name in NOTEBOOKS.items()})
    _pages["changelog.md"] = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    _pages["contributing.md"] = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    config.nav = [_filled(entry) for entry in config.nav or []]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and the pictures of benchmarks to the site."""
    for address, text in _pages.items():
        boost = next((factor for prefix, factor in BOOSTS.items() if address.startswith(prefix)), 1)
        files.append(File.generated(config, address, content=f"---\nsearch: {{boost: {boost}}}\n---\n\n{text}"))
    for path in sorted(BENCHMARKS.glob("*/*.png")):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    files.append(File.generated(config, FIGURE, content=paper_figure()))
    for address, content in gallery_files():
        files.append(File.generated(config, address, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in the generated blocks, and turn links to files of the repository into links between pages."""
    markdown = BLOCK.sub(lambda match: BLOCKS[match[1]](), markdown)
    address = page.file.src_uri
    return relinked(markdown, _source(address), address, _addresses())


def _source(address: str) -> Path:
    """The file of the repository that a page comes from."""
    if address.startswith("log/"):
        return ROOT / "LOG.md"
    if address in ("changelog.md", "contributing.md"):
        return ROOT / f"{address.removesuffix('.md').upper()}.md"
    if address in NOTEBOOKS:
        return ROOT / "notebooks" / NOTEBOOKS[address]
    sources = {page: path for path, page in benchmark_sources().items()}
    source = sources.get(address, ROOT / "docs" / address)
    return source / "README.md" if source.is_dir() else source


def _addresses() -> dict[Path, str]:
    """The page of each file of the repository that is one, and the address of each picture."""
    pages = {path.resolve(): address for path, address in benchmark_sources().items()}
    pages |= {path.resolve(): path.relative_to(ROOT).as_posix() for path in BENCHMARKS.glob("*/*.png")}
    pages |= {
        ROOT / "LOG.md": "log/index.md",
        ROOT / "CHANGELOG.md": "changelog.md",
        ROOT / "CONTRIBUTING.md": "contributing.md",
    }
    pages |= {ROOT / "notebooks" / name: address for address, name in NOTEBOOKS.items()}
    docs = ROOT / "docs"
    return pages | {path: path.relative_to(docs).as_posix() for path in docs.glob("*.md")}


def _filled(entry: Any) -> Any:
    """A navigation entry with its placeholder replaced by the pages of the section."""
    if not isinstance(entry, dict):
        return entry
    filled = {}
    for title, value in entry.items():
        if isinstance(value, str) and value in SECTIONS:
            filled[title] = list(_section(SECTIONS[value]))
        else:
            filled[title] = [_filled(part) for part in value] if isinstance(value, list) else value
    return filled


def _section(prefix: str) -> Iterator[dict[str, str] | str]:
    yield f"{prefix}index.md"
    for address, text in _pages.items():
        if address != f"{prefix}index.md" and address.startswith(prefix):
            yield {_nav_title(text): address}


def _nav_title(text: str) -> str:
    """The title of a page, cut at its first clause; the date of an entry of the log is kept."""
    title = re.sub(r"[`#]", "", text.partition("\n")[0]).strip()
    date, title = (title[:12], title[12:]) if re.match(r"\d{4}-", title) else ("", title)
    return date + textwrap.shorten(re.split(r"[,;:] ", title)[0], 48, placeholder=" ...")
