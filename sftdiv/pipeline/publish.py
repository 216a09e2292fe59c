"""A finished cell's model for others: its card, and with ``train.push_to_hub`` its way to the hub.

In: a config, a cell and its row. Out: ``model/README.md``; an upload. Uploading changes no result,
so it is no part of a cell's name: a cell that is done is uploaded by the same command with
``train.push_to_hub``.
"""

from __future__ import annotations

import shlex
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sftdiv.records import SftdivError
from sftdiv.release.hub.card import write_model_card
from sftdiv.release.hub.push import check_push, push, repository
from sftdiv.storage.cell import Cell, flatten


def check_publishing(config: DictConfig) -> None:
    """Refuse an upload that could not succeed, before anything is trained.

    Raises:
        SftdivError: As `check_push` does.
    """
    if config.train.push_to_hub is not None and config.stop_after != "select":
        check_push(repository(config.train.push_to_hub, "model"), private=config.train.private)


def check_names(config: DictConfig, cells: int) -> None:
    """Refuse a sweep whose models would replace one another on the hub.

    Args:
        config: Of the multirun, not resolved.
        cells: How many it has.

    Raises:
        SftdivError: They would.
    """
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
    target = settings["train"]["push_to_hub"]
    if cells > 1 and target is not None and not (target.endswith("/") or "${" in target):
        raise SftdivError(
            f"train.push_to_hub={target} names one model, and this sweep makes {cells}: {target.partition('/')[0]}/ calls each like its "
            f"cell, or a name may hold what differs, as '{target}-d${{diversity_level}}'"
        )


def write_card(config: DictConfig, cell: Cell, row: dict[str, Any]) -> None:
    """Write the card of the cell's model, from what is known of it so far."""
    settings: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    here = shlex.join(["--config-path", str(cell.folder), "--config-name", "config"])
    described = row | flatten({"config": settings})
    write_model_card(
        cell.folder / "model", described, command=settings.get("command") or f"python -m sftdiv.run {here}"
    )


def publish_cell(config: DictConfig, cell: Cell) -> str | None:
    """Upload the model of a finished cell where ``train.push_to_hub`` asks for it; a failure is a warning, and the cell stays done.

    Returns:
        The model's address; None where nothing is asked for, or the upload failed.
    """
    target = config.train.push_to_hub
    if target is None or config.stop_after == "select":
        return None
    return push(
        cell.folder / "model",
        repository(target, cell.name),
        private=config.train.private,
        message=f"sftdiv {cell.name}",
    )
