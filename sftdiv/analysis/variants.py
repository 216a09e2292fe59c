"""Labels of ladders, and variants: what distinguishes ladders with the same label.

Ladders that agree in strategy, side, size, budget, model, match and universe but not in their other
settings, evaluation or corpus are never averaged. Each of them gets a ``variant`` that names the
settings by which it differs, or its hashes where the settings are unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

FAMILY = ("strategy", "side", "size", "budget", "model", "match", "universe_of")  # columns that make the label
IDENTITY = ("config_hash", "eval_hash", "corpus_hash", "primary")  # further columns that the cells of a ladder share
VARIES = (  # settings that differ within a ladder, that the label already contains, or that change no result
    "diversity_level",
    "seed",
    "replicate",
    "size",
    "study",
    "command",
    "paths",
    "tracking",
    "sweep",
    "export",
    "report",
)
SEPARATOR = " · "
MAX_SETTINGS, MAX_CHARACTERS = 3, 40  # settings named in a variant, and characters of each value


def identifying_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The flat settings of a cell that can distinguish its ladder from another one."""
    return {key: value for key, value in settings.items() if key.split(".")[0] not in VARIES}


def add_variants(cells: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]]) -> pd.Series:
    """The variant of each cell; empty where only one ladder has its label.

    Args:
        cells: Rows with the columns ``cell``, ``kind``, ``selector``, ``FAMILY`` and ``IDENTITY``.
        settings: Flat settings by cell; empty for cells written before rows contained them.
    """
    variants = pd.Series("", index=cells.index, dtype=object)
    for _, family in cells.groupby(["kind", "selector", *FAMILY], dropna=False, sort=True):
        ladders = [ladder for _, ladder in family.groupby(list(IDENTITY), dropna=False, sort=True)]
        if len(ladders) > 1:
            for ladder, name in zip(ladders, _variant_names(ladders, settings), strict=True):
                variants[ladder.index] = name
    return variants


def _variant_names(ladders: Sequence[pd.DataFrame], settings: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A distinct name for each ladder: its differing settings, with its hashes where those are not distinct."""
    of_ladders = [identifying_settings(settings[str(ladder["cell"].iloc[0])]) for ladder in ladders]
    if not all(of_ladders):
        of_ladders = [{} for _ in ladders]
    keys = differing(of_ladders)
    names = []
    for ladder_settings in of_ladders:
        name = ", ".join(_setting(key, ladder_settings.get(key)) for key in keys[:MAX_SETTINGS])
        names.append(f"{name}, {len(keys) - MAX_SETTINGS} more" if len(keys) > MAX_SETTINGS else name)
    if keys and len(set(names)) == len(names):
        return names
    columns = [column for column in IDENTITY if len({str(ladder[column].iloc[0]) for ladder in ladders}) > 1]
    hashes = [[f"{column}={str(ladder[column].iloc[0])[:8]}" for column in columns] for ladder in ladders]
    return [", ".join([*filter(None, [name]), *hashed]) for name, hashed in zip(names, hashes, strict=True)]


def differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys whose values differ. Of a config group whose ``name`` differs, only the name is listed."""
    keys = sorted(set().union(*settings))
    different = [key for key in keys if len({repr(mapping.get(key)) for mapping in settings}) > 1]
    groups = {key.removesuffix("name") for key in different if key.endswith(".name") and key.count(".") == 1}
    return [key for key in different if not any(key.startswith(group) and key != f"{group}name" for group in groups)]


def _setting(key: str, value: Any) -> str:
    text = str(value)
    return f"{key}={text if len(text) <= MAX_CHARACTERS else f'{text[: MAX_CHARACTERS - 3]}...'}"


def ladder_label(row: Mapping[str, Any]) -> str:
    """The label of a ladder, such as ``micro_token · response · 1,000 · tiny · unmatched``.

    Args:
        row: Mapping with the keys ``FAMILY`` and ``variant``.
    """
    match = "unmatched" if row["match"] == "none" else f"{row['match']}-matched"
    parts = [row["strategy"], row["side"], f"{row['size']:,.0f}", row["model"], match]
    if row["budget"] == "tokens":
        parts.append("equal tokens")
    if is_foreign(row["universe_of"], row["strategy"]):
        parts.append(f"universe of {row['universe_of']}")
    return SEPARATOR.join([*map(str, parts), *filter(None, [row["variant"]])])


def is_foreign(universe_of: Any, strategy: str) -> bool:
    """Whether a ladder draws from the universe of another strategy."""
    return isinstance(universe_of, str) and universe_of not in ("", "own", strategy)
