"""Result-row columns derived from a `TrainingRecord`.

Nothing heavy is imported, so that a finished model is read quickly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftdiv.storage.file_digests import DamagedFileError, folder_damage

FILE = "train.json"  # in the model's folder: its presence means that the model is complete
SPEED = ("tokens_per_second", "mfu")
EXCLUDED = {*SPEED, "seconds", "peak_memory_gib", "losses", "validation", "how", "resumed_at"}


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a finished training, from a model's folder whose files are compared with their digests.

    Raises:
        DamagedFileError: A file of the folder changed since the training, or ``train.json`` is no record.
    """
    if names := folder_damage(folder):
        raise DamagedFileError(f"{', '.join(str(folder / name) for name in names)} changed since the training")
    try:
        return dict(json.loads((folder / FILE).read_bytes()))
    except (ValueError, TypeError) as error:  # of a version that wrote no digests
        raise DamagedFileError(f"{folder / FILE} cannot be read: {error}") from error


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
