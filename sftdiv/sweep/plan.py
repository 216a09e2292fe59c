"""The cells of a sweep before any of them runs: where each one is kept, and what is wrong with the settings of those that cannot run.

In: one list of overrides a cell. Out: planned cells, each folder once, and ``sweep.json`` in the
study's folder, by which the end of the sweep (and anybody else) knows what belongs to it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, open_dict

from sftdiv.config.app import conf_dir
from sftdiv.config.compose import identified, prepare
from sftdiv.pipeline.publish import check_names
from sftdiv.records import SftdivError
from sftdiv.storage.cell import FAILURE, RESULT, RUNNING, plan_cell, write_failure
from sftdiv.storage.files import write_json
from sftdiv.storage.hashing import content_hash

PLAN = "sweep.json"


@dataclass(frozen=True)
class PlannedCell:
    """One cell of a sweep: the overrides that make it, and the folder that says how far it is."""

    overrides: tuple[str, ...]
    folder: Path

    @property
    def done(self) -> bool:
        """Whether its row is written."""
        return (self.folder / RESULT).exists()

    @property
    def failed(self) -> bool:
        """Whether its last run ended in a failure."""
        return (self.folder / FAILURE).exists() and not self.done

    @property
    def running(self) -> bool:
        """Whether it says that it is running (a killed one says so too)."""
        return (self.folder / RUNNING).exists() and not self.done and not self.failed


def plan_sweep(
    master: DictConfig, loader: ConfigLoader, combinations: Sequence[Sequence[str]], root: Path
) -> list[PlannedCell]:
    """Compose and check the settings of every cell.

    A cell whose settings are refused gets a folder with ``failure.json`` at once and is not run.

    Args:
        master: The config of the multirun.
        loader: Hydra's.
        combinations: One list of overrides a cell.
        root: The folder that studies are put in.

    Returns:
        The cells in their order; combinations that make the same cell make it once.
    """
    planned: dict[Path, PlannedCell] = {}
    for overrides in combinations:
        config = loader.load_sweep_config(master, list(overrides))
        with open_dict(config):
            del config["hydra"]
        try:
            prepare(config, overrides, conf_dir() / "strategy")
            folder = plan_cell(identified(config), root).folder
        except SftdivError as error:
            folder = root / master.study / f"refused-h{content_hash(sorted(overrides), length=6)}"
            write_failure(folder, "settings", f"{error} ({' '.join(overrides)})")
        planned.setdefault(folder, PlannedCell(tuple(overrides), folder))
    check_names(master, len(planned))
    return list(planned.values())


def save_plan(cells: Sequence[PlannedCell], study: Path, command: str) -> None:
    """Write the plan into the study's folder."""
    named = {cell.folder.name: list(cell.overrides) for cell in cells}
    write_json(study / PLAN, {"command": command, "cells": named})


def load_plan(study: Path) -> tuple[str, list[PlannedCell]]:
    """The command and the cells of the study's last sweep."""
    plan = json.loads((study / PLAN).read_text(encoding="utf-8"))
    return plan["command"], [PlannedCell(tuple(overrides), study / name) for name, overrides in plan["cells"].items()]
