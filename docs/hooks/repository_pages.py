"""Pages that are files of the repository: the log by entry, the benchmarks, the changelog, the notebooks.

They are read at every build, so that nothing is copied by hand. Links between them, and paths of Markdown files in
backticks, become links between pages; a link to a file that is no page becomes its path as code.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
PARTS = ("head.md",)  # Markdown files that a script puts into another one
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")
NAMED_FILE = re.compile(r"(?<![\[`])`((?:benchmarks|docs)/[\w/.-]+\.(?:md|csv|txt))`(?!\])")


def log_pages() -> dict[str, str]:
    """One page per dated entry of ``LOG.md``, newest first."""
    pages = {}
    for address, title, body in _entries():
        body = re.sub(r"^###", "##", body, flags=re.MULTILINE)
        pages[address] = f"# {title[:10]}: {title[12:]}\n{_spaced(body)}"
    return pages


def log_table() -> str:
    """The entries of the log with their dates."""
    rows = [f"| [{title[:10]}]({Path(address).name}) | {title[12:]} |" for address, title, _ in _entries()]
    return "\n".join(["| date | entry |", "| --- | --- |", *rows])


def _entries() -> list[tuple[str, str, str]]:
    """Address, title and text of each entry of the log."""
    _, *entries = re.split(r"^## ", (ROOT / "LOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    parted = [entry.partition("\n") for entry in entries]
    numbers = range(len(entries), 0, -1)
    return [
        (f"log/{title[:10]}-{number:02d}.md", title, body)
        for number, (title, _, body) in zip(numbers, parted, strict=True)
    ]


def benchmark_sources() -> dict[Path, str]:
    """The Markdown files, tables and logs below ``benchmarks/`` with the addresses of their pages, by name."""
    found = {}
    for path in sorted(BENCHMARKS.rglob("*.md")):
        if path.name not in PARTS and len(path.relative_to(BENCHMARKS).parts) <= 2:
            found[path] = _address(path)
    for path in sorted([*BENCHMARKS.glob("*.txt"), *BENCHMARKS.glob("*/*.txt")]):
        found[path] = f"benchmarks/{'-'.join(path.relative_to(BENCHMARKS).with_suffix('').parts)}.md"
    for folder in sorted({path.parent for path in BENCHMARKS.glob("*/*.csv")}):
        if folder / "README.md" not in found:
            found[folder] = f"benchmarks/{folder.name}.md"
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _address(path: Path) -> str:
    parts = path.relative_to(BENCHMARKS).with_suffix("").parts
    return f"benchmarks/{'-'.join(part for part in parts if part not in ('README', 'results'))}.md"


def benchmark_pages() -> dict[str, str]:
    """A page per benchmark."""
    return {address: _benchmark_page(path) for path, address in benchmark_sources().items()}


def benchmarks_table() -> str:
    """The benchmarks with the programs that made them."""
    rows = [
        f"| [{_title(text)}]({Path(address).name}) | {_made_by(text, Path(address).stem)} |"
        for address, text in benchmark_pages().items()
    ]
    return "\n".join(["| benchmark | made by |", "| --- | --- |", *rows])


def _benchmark_page(path: Path) -> str:
    if path.is_dir():
        return _folder_page(path)
    text = path.read_text(encoding="utf-8")
    parts = [part for part in path.relative_to(BENCHMARKS).with_suffix("").parts if part not in ("README", "results")]
    name = parts[-1] if len(parts) == 1 else f"{parts[-1]} ({parts[0]})"
    title = f"# {name.replace('_', ' ').capitalize()}\n\n"
    if path.suffix == ".txt":
        return f"{title}`{path.relative_to(ROOT)}`:\n\n```text\n{text.rstrip()}\n```\n"
    return _spaced(text if text.startswith("# ") else title + text)


def _folder_page(folder: Path) -> str:
    """Figures and tables of a study that has no text of its own."""
    lines = [f"# {folder.name.replace('_', ' ').capitalize()}", "", f"Files of `benchmarks/{folder.name}/`.", ""]
    for path in sorted(folder.glob("*.png")):
        lines += [f"![{path.stem.replace('_', ' ')}]({path.name})", ""]
    for path in sorted(folder.glob("*.csv")):
        lines += [f"## {path.name}", "", *_csv_table(path), ""]
    return "\n".join(lines)


def _csv_table(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as stream:
        head, *rows = list(csv.reader(stream))
    shown = [[_short(value) for value in row] for row in rows]
    return [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(row)} |" for row in shown)]


def _short(value: str) -> str:
    """A number with four digits."""
    try:
        return value if value.isdecimal() else f"{float(value):.4g}"
    except ValueError:
        return value.replace("|", "\\|")


def _made_by(text: str, name: str) -> str:
    """The program that a page names, else the one that is called like it."""
    command = re.search(r"python (?:-m )?(benchmarks/[\w./]+\.py|sftdiv\.\w+)", text)
    own = BENCHMARKS / f"{name}.py"
    return f"`{command[1]}`" if command else f"`benchmarks/{own.name}`" if own.exists() else ""


def _title(text: str) -> str:
    return re.sub(r"[\[\]]", "", text.partition("\n")[0].removeprefix("# "))


def notebook_page(path: Path) -> str:
    """The cells of a notebook as Markdown; notebooks are kept without outputs."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = []
    for cell in cells:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    note = f"Written from `notebooks/{path.name}`, which a test runs from its first cell to its last."
    title, _, rest = parts[0].partition("\n")
    return _spaced("\n\n".join([title, note, rest.strip(), *parts[1:], ""]))


def relinked(text: str, source: Path, address: str, pages: Mapping[Path, str]) -> str:
    """A page's text with its links to files of the repository turned into links between pages.

    Args:
        text: Markdown of the page.
        source: File that the text comes from, which relative links start at.
        address: Address of the page below ``docs/``.
        pages: Address of each file that is a page or a picture of the site.
    """

    def to(path: Path) -> str | None:
        target = pages.get(path) or pages.get(path / "README.md")
        return None if target is None else os.path.relpath(target, Path(address).parent)

    def link(match: re.Match[str]) -> str:
        mark, label, path, anchor = match.groups()
        target = to((source.parent / path).resolve())
        if target is not None:
            return f"{mark}[{label}]({target}{anchor or ''})"
        return match[0] if (ROOT / "docs") in source.parents else f"{label} (`{path}`)"

    def named(match: re.Match[str]) -> str:
        target = to(ROOT / match[1])
        return f"[`{match[1]}`]({target})" if target is not None and target != Path(address).name else match[0]

    pieces = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        piece if piece.startswith("```") else NAMED_FILE.sub(named, LINK.sub(link, piece)) for piece in pieces
    )


def _spaced(text: str) -> str:
    """Text of GitHub's Markdown for Python-Markdown: a blank line before lists and tables that follow a paragraph."""
    lines = text.splitlines()
    spaced: list[str] = []
    in_code = False
    for before, line in zip(["", *lines], lines, strict=False):
        starts = re.match(r"(- |\d+\. |\| )", line) and not re.match(r"(\s*- |\s*\d+\. |\| |\s+|$)", before)
        if starts and not in_code:
            spaced.append("")
        in_code ^= line.startswith("```")
        spaced.append(line)
    return "\n".join([*spaced, ""])
