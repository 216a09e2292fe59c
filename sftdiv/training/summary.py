"""What of a training's record goes into the result row. Nothing heavy is imported, so that a finished model is looked up quickly.

In: what ``train.json`` in the model's folder says (`record.TrainingRecord`). Out: columns, in which
what differs between two equal trainings, the speed and the memory, stands apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FILE = "train.json"  # in the model's folder: its presence means that the model is whole
SPEED = ("tokens_per_second", "mfu")
LEFT_OUT = {*SPEED, "seconds", "peak_memory_gib", "losses", "validation", "how", "resumed_at"}


def row(record: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the result row, from what `TrainingRecord.as_json` gave: how fast it was goes under ``speed`` and ``memory``."""
    columns = {f"train.{name}": value for name, value in record.items() if name not in LEFT_OUT and value is not None}
    speed = {f"speed.{name}": record[name] for name in SPEED if name in record}
    return (
        columns | speed | ({"memory.train_peak_gib": record["peak_memory_gib"]} if "peak_memory_gib" in record else {})
    )
