"""The model of a finished cell for others: its card and, with ``train.push_to_hub``, its upload to the hub.

Uploading changes no result, so it is no part of a cell's name: a finished cell is uploaded by the same
command with ``train.push_to_hub`` added.
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


def check_distinct_targets(target: str | None, cells: int) -> None:
    """Refuse a sweep whose models would replace one another on the hub.

    Args:
        target: ``train.push_to_hub`` of the multirun, interpolations unresolved.
        cells: Number of its cells.

    Raises:
        SftdivError: They would.
    """
    if cells > 1 and target is not None and not (target.endswith("/") or "${" in target):
        raise SftdivError(
            f"train.push_to_hub={target} names one model, and this sweep makes {cells}: {target.partition('/')[0]}/ "
            f"names each after its cell, or a name may hold what differs, as '{target}-d${{diversity_level}}'"
        )


def write_card(request: RunRequest, cell: Cell, row: dict[str, Any]) -> None:
    """Write the card of the cell's model, from what is known of it so far."""
    rerun = shlex.join(["--config-path", str(cell.folder), "--config-name", "config"])
    details = {f"diversity.{side}.{name}" for side in SIDES for name in detail_columns()}
    write_model_card(
        cell.folder / "model",
        {name: value for name, value in row.items() if name not in details},
        command=request.command or f"python -m sftdiv.run {rerun}",
    )


def publish_cell(request: RunRequest, cell: Cell) -> str | None:
    """Upload the model of a finished cell where ``train.push_to_hub`` asks for it.

    A failure is a warning, and the cell stays finished.

    Returns:
        The model's address; None where nothing is asked for, or the upload failed.
    """
    target = request.publish.target
    if target is None or request.spec.stop_after == "select":
        return None
    folder = cell.folder / "model"
    return push(folder, repository(target, cell.name), private=request.publish.private, message=f"sftdiv {cell.name}")
