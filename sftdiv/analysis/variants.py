"""Names of ladders, and what tells two of the same name apart.

In: rows and the ``config.yaml`` of one cell each. Out: labels. Ladders that agree in strategy,
side, size, budget, model, match and universe but not in their other settings, evaluation or corpus
are never averaged: each gets a ``variant`` that says how it differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from sftdiv.storage.cell import flatten

FAMILY = ("strategy", "side", "size", "budget", "model", "match", "universe_of")  # what a ladder is named by
IDENTITY = ("config_hash", "eval_hash", "corpus_hash", "primary")  # what else its cells must share
VARIES = (
    "diversity_level",
    "seed",
    "study",
    "paths",
    "tracking",
    "sweep",
    "size",
)  # settings that no ladder differs by, or is named by
SEPARATOR = " · "
MOST_SETTINGS, LONGEST = 3, 40  # how many settings a variant names, and how many characters of each value


def settings_of(cell: Path) -> dict[str, Any] | None:
    """The flat settings of a cell that could tell its ladder from another; None where it has no ``config.yaml``."""
    path = cell / "config.yaml"
    if not path.exists():
        return None
    flat = flatten(
        yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    )
    return {key: value for key, value in flat.items() if key.split(".")[0] not in VARIES}


def add_variants(cells: pd.DataFrame, folder: Path) -> pd.Series:
    """The variant of each cell: empty where only one line has its name, else what it differs by from the other lines.

    Args:
        cells: Rows with the columns ``cell, kind``, ``FAMILY`` and ``IDENTITY``.
        folder: The study's folder, which holds the cells' configs.
    """
    variants = pd.Series("", index=cells.index, dtype=object)
    for _, family in cells.groupby(["kind", *FAMILY], dropna=False, sort=True):
        lines = [line for _, line in family.groupby(list(IDENTITY), dropna=False, sort=True)]
        if len(lines) > 1:
            for line, name in zip(lines, _name_apart(lines, folder), strict=True):
                variants[line.index] = name
    return variants


def _name_apart(lines: Sequence[pd.DataFrame], folder: Path) -> list[str]:
    """A distinct name for each line: its differing settings, or its hashes where those do not say it."""
    found = [settings_of(folder / line["cell"].iloc[0]) for line in lines]
    settings = [one if None not in found and one else {} for one in found]
    keys = differing(settings)
    names = [", ".join(_told(key, one.get(key)) for key in keys[:MOST_SETTINGS]) for one in settings]
    names = [f"{name}, {len(keys) - MOST_SETTINGS} more" if len(keys) > MOST_SETTINGS else name for name in names]
    if keys and len(set(names)) == len(names):
        return names
    hashes = [column for column in IDENTITY if len({str(line[column].iloc[0]) for line in lines}) > 1]
    return [
        ", ".join([*filter(None, [name]), *(f"{column}={str(line[column].iloc[0])[:8]}" for column in hashes)])
        for name, line in zip(names, lines, strict=True)
    ]


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys whose values are not the same in all; of a group whose ``name`` differs, the name alone."""
    keys = sorted(set().union(*settings))
    found = [key for key in keys if len({repr(one.get(key)) for one in settings}) > 1]
    named = {key.removesuffix("name") for key in found if key.endswith(".name") and key.count(".") == 1}
    return [key for key in found if not any(key.startswith(group) and key != f"{group}name" for group in named)]


def _told(key: str, value: Any) -> str:
    text = str(value)
    return f"{key}={text if len(text) <= LONGEST else f'{text[: LONGEST - 3]}...'}"


def ladder_label(row: Mapping[str, Any]) -> str:
    """The name of a ladder, such as ``micro_token · response · 1,000 · tiny · unmatched``.

    Args:
        row: Has ``FAMILY`` and ``variant``.
    """
    match = "unmatched" if row["match"] == "none" else f"{row['match']}-matched"
    parts = [row["strategy"], row["side"], f"{row['size']:,.0f}", row["model"], match]
    if row["budget"] == "tokens":
        parts.append("equal tokens")
    if is_foreign(row["universe_of"], row["strategy"]):
        parts.append(f"universe of {row['universe_of']}")
    return SEPARATOR.join([*map(str, parts), *filter(None, [row["variant"]])])


def is_foreign(universe_of: Any, strategy: str) -> bool:
    """Whether a ladder draws from another strategy's universe."""
    return isinstance(universe_of, str) and universe_of not in ("", "own", strategy)
