"""Values and comments of settings as cells of Markdown tables."""

from __future__ import annotations

import re
from typing import Any

import yaml

LONG = 60  # characters of a default that are shown
INTERPOLATIONS = (  # of OmegaConf, in words
    (r"\$\{by_corpus:[^,]+,(\w+),(\w+)\}", r"\1 with `corpus=embedded`, else \2"),
    (r"\$\{given:\$\{([\w.]+)\},(.+)\}", r"`\1` if given, else \2"),
    (r"\$\{unless_selecting:(\w+)\}", r"\1; 0 with `stop_after=select`"),
    (r"\$\{oc\.env:SFTDIV_CACHE,.*\}", r"`$SFTDIV_CACHE`, else `~/.cache/sftdiv`"),
    (r"\$\{oc\.select:([\w.]+),.*\}", r"that of `\1`"),
    (r"\$\{study_of_command:\}", "named by the command"),
    (r"\$\{([\w./]+)\}", r"that of `\1`"),
)


def default_cell(value: Any) -> str:
    """The default of a setting as it is written in a command; interpolations in words."""
    if value == "???":
        return "required"
    if value == "" or value is None:
        return "" if value == "" else "`null`"
    if isinstance(value, dict):
        return _shown(yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False).strip())
    if isinstance(value, list):
        return _shown(f"[{', '.join(map(str, value))}]")
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return in_words(value) if "${" in str(value) else _shown(str(value))


def _shown(text: str) -> str:
    text = text.replace("\n", " ").replace("|", "\\|")
    return f"`{text}`" if len(text) <= LONG else f"`{text[:LONG]}` ..."


def in_words(value: Any) -> str:
    """An interpolation in words."""
    text = str(value)
    for pattern, words in INTERPOLATIONS:
        text = re.sub(pattern, words, text)
    return text.replace("|", "\\|")


def cell(text: str) -> str:
    """A comment in a cell."""
    return escaped(text).replace("|", "\\|")


def escaped(text: str) -> str:
    """Text of a comment as Markdown: brackets and placeholders stay as they are written."""
    return re.sub(r"[<*_\[\]]", lambda match: f"\\{match[0]}", text)
