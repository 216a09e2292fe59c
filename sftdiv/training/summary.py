"""Result-row columns derived from a `TrainingRecord`.

Nothing heavy is imported, so that a finished model is read quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FILE = "train.json"  # in the model's folder: its presence means that the model is complete
SPEED = ("tokens_per_second", "mfu")
EXCLUDED = {*SPEED, "seconds", "peak_memory_gib", "losses", "validation", "how", "resumed_at"}


def row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of the result row.

    Args:
        record: Content of ``train.json``, from `TrainingRecord.as_json`.

    Returns:
        The columns ``train.*``, and ``speed.*`` and ``memory.*``, which differ between equal trainings.
    """
    columns = {f"train.{name}": value for name, value in record.items() if name not in EXCLUDED and value is not None}
    columns |= {f"speed.{name}": record[name] for name in SPEED if record.get(name) is not None}
    if precision := (record.get("how") or {}).get("precision"):
        columns["train.precision"] = precision
    if "peak_memory_gib" in record:
        columns["memory.train_peak_gib"] = record["peak_memory_gib"]
    return columns
