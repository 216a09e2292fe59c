"""The parts of a result row in the forms that trackers take.

A row is one flat mapping with dotted keys, ``config.*`` among them. Its settings become a nested config, its
results a summary or plain numbers, its identifying columns tags. Tables become W&B tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.text.lines import read_json_lines

if TYPE_CHECKING:
    import pandas as pd
    import wandb

CONFIG = "config."  # prefix of the columns that hold settings
TAG_FORMATS = {  # columns of a row that become tags; a bare "none" or number would say nothing
    "selector": "{}",
    "strategy": "{}",
    "side": "{}",
    "size": "size {}",
    "model": "{}",
    "match": "match {}",
    "corpus": "{}",
    "budget": "budget {}",
    "universe_of": "universe {}",
}


def cell_tags(row: Mapping[str, Any]) -> list[str]:
    """Tags of a cell, from its row or from the part of it that is known before the run."""
    return [template.format(row[key]) for key, template in TAG_FORMATS.items() if row.get(key) is not None]


def config_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a row (its ``config.*`` columns), nested as in the composed config.

    A name that is both a value and the beginning of another name keeps its dots.
    """
    config: dict[str, Any] = {}
    for key, value in row.items():
        if not key.startswith(CONFIG):
            continue
        *parents, name = key.removeprefix(CONFIG).split(".")
        node = config
        for depth, parent in enumerate(parents):
            child = node.setdefault(parent, {})
            if not isinstance(child, dict):
                name = ".".join([*parents[depth:], name])
                break
            node = child
        node[name] = value
    return config


def results_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without its settings."""
    return {key: value for key, value in row.items() if not key.startswith(CONFIG)}


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a row, without its settings, truth values and text."""
    return {
        key: float(value)
        for key, value in results_of(row).items()
        if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    }


def read_samples(path: Path) -> list[dict[str, Any]]:
    """The generations of ``samples.jsonl``."""
    return read_json_lines(path)


def wandb_table(rows: pd.DataFrame | Sequence[Mapping[str, Any]]) -> wandb.Table:
    """Rows as a W&B table.

    Columns stand in the order in which they first occur. A frame's index becomes a column unless it only
    counts. NaN and infinity become empty cells.
    """
    import pandas as pd
    import wandb

    if isinstance(rows, pd.DataFrame):
        frame = rows if isinstance(rows.index, pd.RangeIndex) else rows.reset_index()
        rows = [{str(key): value for key, value in row.items()} for row in frame.to_dict(orient="records")]
    columns: list[str | int] = list(dict.fromkeys(key for row in rows for key in row))
    data: list[Any] = [[_cell(row.get(str(column))) for column in columns] for row in rows]
    return wandb.Table(columns=columns, data=data, allow_mixed_types=True)


def _cell(value: Any) -> Any:
    """A value as a W&B table holds it: numpy's numbers as Python's, anything unknown as text."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
