"""Tables of the metrics and selectors, from their declarations and the docstrings of their files."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from markdown_cells import cell

from sftdiv.config.groups import conf_dir
from sftdiv.config.setting_comments import first_sentence, read_description
from sftdiv.diversity.registry import METRICS

ROLES = ("Formula", "Source", "Complexity", "Needs")


def metrics_table() -> str:
    """All columns of all metric families, in the order of the registry."""
    rows = [
        f"| `{metric.name}` | `{metric.family}` | {cell(metric.title)} | {metric.direction} | {metric.needs} "
        f"| {metric.growth} | {'yes' if metric.moves_with_length else ''} | {'yes' if metric.paper else ''} |"
        for metric in METRICS.values()
    ]
    head = "| column | family | title | diverse is | needs | with more texts | moves with length | paper |"
    return "\n".join([head, f"|{' --- |' * 8}", *rows])


def selectors_table() -> str:
    """One row per selector: what it selects first, and what it reads."""
    rows = []
    for name, path, docstring in _selectors():
        parts = _parts(docstring)
        what = first_sentence(re.split(r":? (?:selector=|selection\.)", read_description(path))[0])
        rows.append(f"| [`{name}`](../reference/selectors.md#{name}) | {cell(what)} | {cell(parts.get('Needs', ''))} |")
    return "\n".join(["| selector | selects | needs |", "| --- | --- | --- |", *rows])


def selectors_in_full() -> str:
    """One section per selector: formula, source, complexity and needs, from the docstring of its file."""
    lines = []
    for name, path, docstring in _selectors():
        parts = _parts(docstring)
        lines += [f"## {name}", "", parts["summary"], ""]
        lines += [f"- **{role}:** {parts[role]}" for role in ROLES if role in parts]
        lines += ["", f"File: `{path.relative_to(conf_dir().parent)}`. [Settings](settings/selector.md).", ""]
    return "\n".join(lines)


def _selectors() -> Iterator[tuple[str, Path, str]]:
    for path in sorted((conf_dir() / "selector").glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        target = content.get("selection", content)["selector"]["_target_"]
        spec = importlib.util.find_spec(target.rpartition(".")[0])
        assert spec is not None and spec.origin is not None
        yield path.stem, path, ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""


def _parts(docstring: str) -> dict[str, str]:
    """The summary of a docstring and its parts that begin with ``Formula:``, ``Source:`` ..., as Markdown."""
    text = re.sub(r"``(.+?)``", r"`\1`", " ".join(docstring.split()))
    pieces = re.split(rf"\b({'|'.join(ROLES)}): ", text)
    parts = {"summary": pieces[0].strip()}
    return parts | {role: body.strip() for role, body in zip(pieces[1::2], pieces[2::2], strict=True)}
