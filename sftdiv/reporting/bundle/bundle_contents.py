"""What the bundle shows of a cell, as plain values, and how its texts and numbers are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sftdiv.reporting.format import format_number, is_missing

CELLS = "cells"  # folder of the cells' pages, beside index.html
ANSWERS = "answers.html"  # the answers of all cells, beside index.html
LONGEST_TEXT = 1500  # characters of a text that a page shows


@dataclass(frozen=True, kw_only=True)
class CellContents:
    """A finished cell, as read from its folder.

    Attributes:
        name: Name of the cell's folder.
        row: Its row of ``Study.cells``.
        examples: Examples of its subset that are shown: ``id``, ``source``, ``instruction``, ``response``.
        answers: Lines of ``samples.jsonl``: ``id``, ``source``, ``instruction``, ``reference``, ``response``.
        verdicts: Entries of ``annotations.json``, in AlpacaEval's format: ``instruction``, ``dataset``, ``output_1``
            (the baseline's answer), ``output_2`` (the cell's), ``generator_1``, ``annotator``, ``preference`` (1 to 2).
    """

    name: str
    row: Mapping[str, Any]
    examples: Sequence[Mapping[str, Any]] = ()
    answers: Sequence[Mapping[str, Any]] = ()
    verdicts: Sequence[Mapping[str, Any]] = ()

    @property
    def label(self) -> str:
        """What distinguishes the cell for a reader, such as ``micro_token · response · level 0.5 · seed 1``."""
        row = self.row
        if row["kind"] == "base":
            return "untrained model"
        name = {"level": row["strategy"], "selector": row.get("selector")}.get(row["kind"], row["kind"])
        parts = [name, row["side"]]
        if row["kind"] == "level":
            parts.append(f"level {format_number(row['level'], 3)}")
        if row["match"] != "none":
            parts.append(f"{row['match']}-matched")
        parts += [row.get("variant"), f"seed {row['seed']:.0f}"]
        return " · ".join(str(part) for part in parts if part)


def page_of(cell: str) -> str:
    """Address of a cell's page, relative to the bundle's folder."""
    return f"{CELLS}/{quote(cell, safe='')}.html"


def shortened(text: object) -> str:
    """A text of at most ``LONGEST_TEXT`` characters, with the number of those left out."""
    whole = "" if text is None else str(text)
    left_out = len(whole) - LONGEST_TEXT
    return whole if left_out <= 0 else f"{whole[:LONGEST_TEXT]} […{left_out:,} more characters]"


def scores(row: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value and standard error of each score of a cell, the primary one first."""
    names = [name for name in row if name.startswith("score.") and not name.endswith(".stderr")]
    primary = f"score.{row['primary']}"
    names.sort(key=lambda name: (name != primary, name))
    return [
        (name.removeprefix("score."), _number(row[name]), _number(row.get(f"{name}.stderr")))
        for name in names
        if not is_missing(row[name])
    ]


def metrics(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each diversity metric of the subset, as ``SIDE.METRIC``."""
    names = sorted(name for name in row if name.startswith("diversity.") and not is_missing(row[name]))
    return [(name.removeprefix("diversity."), _number(row[name])) for name in names]


def facts(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was selected and trained, as terms and values; unknown ones are left out."""
    terms = {
        "strategy": "strategy", "side": "side", "level": "level", "types covered (k)": "k_asked",
        "examples": "n", "matching": "match", "model": "model", "seed": "seed", "label tokens": "train.label_tokens",
        "training loss": "train.loss", "seconds of training": "time.train",
    }  # fmt: skip
    return [(term, _number(row[name])) for term, name in terms.items() if name in row and not is_missing(row[name])]


def sources(entries: Sequence[Mapping[str, Any]], column: str = "source") -> list[str]:
    """The sources of some entries, sorted."""
    return sorted({str(entry[column]) for entry in entries})


def _number(value: Any) -> str:
    """A value of a row as text; counts, which a table may hold as floats, have no decimals."""
    if is_missing(value):
        return ""
    if isinstance(value, bool | str):
        return str(value)
    return format_number(value, 4)
