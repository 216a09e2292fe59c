"""Comments of the YAML files in ``conf/``: what a setting means, and what an option is.

A setting's comment stands behind it or in the lines right above it; an option's description is the comment that its
file opens with. `help_page` shows them, so that a setting is described in one place only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

Comments = dict[str, str]
LOADER = getattr(
    yaml, "CSafeLoader", yaml.SafeLoader
)  # libyaml's, where PyYAML was built with it, is ten times as fast


def read_comments(path: Path) -> Comments:
    """Comments of a YAML file by the dotted key of each commented setting.

    Args:
        path: A YAML file; one whose root is not a mapping has none.
    """
    text = path.read_text(encoding="utf-8")
    root = yaml.compose(text, Loader=LOADER)
    return dict(_comments(root, text.splitlines(), "")) if isinstance(root, yaml.MappingNode) else {}


def read_description(path: Path) -> str:
    """The comment that a YAML file opens with, in one line; empty without one."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(_text(line))
    return " ".join(lines)


def first_sentence(text: str) -> str:
    """The first sentence of a text, which ends with a full stop before a capital letter."""
    return re.split(r"(?<=[\w)][\w)]\.)\s+(?=[A-Z])", text, maxsplit=1)[0]


def _comments(node: yaml.MappingNode, lines: list[str], prefix: str) -> Iterator[tuple[str, str]]:
    """Dotted key and comment of the settings in a mapping and in the mappings in it."""
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if comment := _comment_behind(key, value, lines) or _comment_above(key, lines):
            yield name, comment
        if isinstance(value, yaml.MappingNode):
            yield from _comments(value, lines, f"{name}.")


def _comment_behind(key: yaml.Node, value: yaml.Node, lines: list[str]) -> str:
    """The comment at the end of a setting's line; of a block of settings, at the end of the line of its name."""
    is_block = isinstance(value, yaml.CollectionNode) and not value.flow_style
    mark = key.end_mark if is_block else value.end_mark
    if mark.line >= len(lines):
        return ""
    rest = re.match(r":?\s*#(.*)", lines[mark.line][mark.column :])
    return _text(rest[1]) if rest else ""


def _comment_above(key: yaml.Node, lines: list[str]) -> str:
    """The comment in the lines right above a setting; the comment that opens the file describes its option instead."""
    start = end = key.start_mark.line
    while start > 0 and lines[start - 1].strip().startswith("#"):
        start -= 1
    return "" if start == 0 else " ".join(map(_text, lines[start:end]))


def _text(comment: str) -> str:
    return comment.strip().lstrip("#").strip()
