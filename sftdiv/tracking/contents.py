"""A cell's files as W&B takes them: numbers that JSON knows, the generations as a table, tags to filter by."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    import wandb

TAGGED = (
    "strategy",
    "side",
    "size",
    "model",
    "match",
    "corpus",
    "budget",
    "universe_of",
)  # columns of a row that become tags


def cell_tags(row: Mapping[str, Any]) -> list[str]:
    """The tags of a cell from its row, or from the part of it that is known before the run; ``match=none`` and the like are named whole."""
    named = {"size": "size {}", "match": "match {}", "budget": "budget {}", "universe_of": "universe {}"}
    return [named.get(key, "{}").format(row[key]) for key in TAGGED if row.get(key) is not None]


def finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with NaN and infinity as None, as ``result.json`` holds it."""
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}


def samples_table(path: Path) -> wandb.Table:
    """The generations of ``samples.jsonl``, one row each."""
    return table([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])


def table(rows: pd.DataFrame | Sequence[Mapping[str, Any]]) -> wandb.Table:
    """Rows as a W&B table: columns in the order first seen, a frame's index as a column unless it only counts, NaN as an empty cell."""
    import pandas as pd
    import wandb

    if isinstance(rows, pd.DataFrame):
        frame = rows if isinstance(rows.index, pd.RangeIndex) else rows.reset_index()
        rows = [{str(key): value for key, value in row.items()} for row in frame.to_dict(orient="records")]
    columns: list[str | int] = list(dict.fromkeys(key for row in rows for key in row))
    data: list[Any] = [[_cell(row.get(str(column))) for column in columns] for row in rows]
    return wandb.Table(columns=columns, data=data, allow_mixed_types=True)


def _cell(value: Any) -> Any:
    """A value that a table's cell may hold; numpy's numbers become Python's."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
