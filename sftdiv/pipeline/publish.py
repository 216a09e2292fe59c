"""Publishes the model of a finished cell: its model card and, with ``train.push_to_hub``, its upload to the Hub.

Uploading changes no result and is not part of a cell's name: a finished cell is uploaded by the same command
with ``train.push_to_hub`` added.
"""

from __future__ import annotations

import shlex
from typing import Any

from sftdiv.config.run_request import RunRequest
from sftdiv.diversity.registry import detail_columns
from sftdiv.records import SIDES, SftdivError
from sftdiv.release.hub.card import write_model_card
from sftdiv.release.hub.push import push, repository
from sftdiv.storage.cell import Cell
from sftdiv.storage.file_digests import check_folder_files


def check_distinct_targets(target: str | None, cells: int) -> None:
    """Reject a sweep whose models would overwrite one another on the Hub.

    Args:
        target: ``train.push_to_hub`` of the multirun, interpolations unresolved.
        cells: Number of its cells.

    Raises:
        SftdivError: Several cells would upload to the same repository.
    """
    if cells > 1 and target is not None and not (target.endswith("/") or "${" in target):
        raise SftdivError(
            f"train.push_to_hub={target} names one model, but this sweep trains {cells}: use "
            f"{target.partition('/')[0]}/ to name each after its cell, or add a setting that differs, as in "
            f"'{target}-d${{diversity_level}}'"
        )


def write_card(request: RunRequest, cell: Cell, row: dict[str, Any]) -> None:
    """Write the card of the cell's model from the columns of its row so far."""
    rerun = shlex.join(["--config-path", str(cell.folder), "--config-name", "config"])
    details = {f"diversity.{side}.{name}" for side in SIDES for name in detail_columns()}
    write_model_card(
        cell.folder / "model",
        {name: value for name, value in row.items() if name not in details},
        command=request.command or f"python -m sftdiv.run {rerun}",
    )


def publish_cell(request: RunRequest, cell: Cell) -> str | None:
    """Upload the model of a finished cell if ``train.push_to_hub`` is set.

    A failed upload is a warning; the cell stays finished.

    Returns:
        URL of the model; None if nothing was uploaded.

    Raises:
        SftdivError: A file of the model changed since it was written.
    """
    target = request.publish.target
    if target is None or request.spec.stop_after == "select":
        return None
    folder = cell.folder / "model"
    check_folder_files(folder)
    return push(folder, repository(target, cell.name), private=request.publish.private, message=f"sftdiv {cell.name}")
