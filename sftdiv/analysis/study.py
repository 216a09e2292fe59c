"""A finished study as tables.

In: a study's folder, of which every cell's ``result.json`` or ``failure.json`` is read, and one
``config.yaml`` a ladder where two ladders must be told apart. Out: one row a finished cell, what
failed, and clear messages about whatever keeps cells from being compared. The trade: rows are read
strictly, so that a row of another version is an error and not a gap in a table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sftdiv.analysis.checks import check_cells
from sftdiv.analysis.notes import Notes
from sftdiv.analysis.variants import FAMILY, IDENTITY, add_variants, ladder_label
from sftdiv.records import SftdivError
from sftdiv.storage.cell import FAILURE, RESULT

REQUIRED = ("kind", "level", "seed", "higher_is_better", *FAMILY, *IDENTITY)
NUMBERS = ("k_asked", "k_max", "k_reached", "pool", "n", "subset.response_words", "diversity.response.length", "diversity.units.entropy",
           "train.label_tokens")  # fmt: skip
KINDS = ("level", "random", "full", "base")


@dataclass(frozen=True)
class Study:
    """The cells of one study folder.

    ``cells`` has the columns of ``result.json`` and ``performance`` (the primary score, negated
    where lower is better), ``k_share`` (k_asked / k_max), ``unit_entropy``, ``ladder`` (a label;
    empty for baselines) and ``variant`` (what else tells this ladder from one of the same name).
    ``failures`` has ``cell, stage, message``. ``notes`` are messages for people.
    """

    folder: Path
    name: str
    cells: pd.DataFrame
    failures: pd.DataFrame
    notes: tuple[str, ...]


def load_study(folder: Path) -> Study:
    """Read a study folder; equal cells give equal tables, in whatever order they finished.

    Args:
        folder: ``multirun/STUDY``.

    Raises:
        SftdivError: If the folder is not there or holds no finished cell, if a row cannot be read
            or lacks what tables are grouped by, or if two folders hold the same cell.
    """
    if not folder.is_dir():
        raise SftdivError(f"there is no study folder {folder}; give one that a sweep wrote, such as multirun/NAME")
    results = {path.parent.name: _read(path) for path in sorted(folder.glob(f"*/{RESULT}"))}
    failed = {
        path.parent.name: _read(path) for path in sorted(folder.glob(f"*/{FAILURE}")) if path.parent.name not in results
    }
    if not results:
        raise SftdivError(
            f"{folder} holds no finished cell (no */{RESULT}; {len(failed)} failed); run the sweep, or name another folder"
        )
    for name, row in results.items():
        _check_row(row, folder / name / RESULT)
    cells = _sorted(_table(results, folder))
    notes = Notes()
    unfinished = {path.parent.name for path in folder.glob("*/config.yaml")} - results.keys() - failed.keys()
    if unfinished:
        notes.add(
            f"unfinished cells, running or killed: {len(unfinished)}; the sweep's command given again runs those that were killed"
        )
    if failed:
        notes.add(
            f"failed cells: {len(failed)} beside {len(cells)} finished ones; the sweep's command given again runs them"
        )
    check_cells(cells, notes)
    failures = pd.DataFrame(
        [(name, row.get("stage"), row.get("message")) for name, row in failed.items()],
        columns=["cell", "stage", "message"],
        dtype=object,
    )
    return Study(folder, folder.resolve().name, cells, failures, notes.told())


def _read(path: Path) -> dict[str, Any]:
    """A JSON file's mapping."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SftdivError(f"{path} is no JSON ({error}); delete it and run the sweep again") from error
    if not isinstance(row, dict):
        raise SftdivError(
            f"{path} holds a {type(row).__name__} and not a row of names and values; delete it and run the sweep again"
        )
    return row


def _check_row(row: Mapping[str, Any], path: Path) -> None:
    """Refuse a row that lacks what cells are told apart by."""
    if missing := [name for name in REQUIRED if name not in row]:
        raise SftdivError(
            f"{path} lacks {', '.join(missing)}: another version of sftdiv wrote it; delete it and run its command again"
        )
    if row["kind"] not in KINDS:
        raise SftdivError(f"{path} has kind={row['kind']!r}; known: {', '.join(KINDS)}")
    if row["kind"] == "level" and row["level"] is None:
        raise SftdivError(f"{path} is a cell of a ladder and has no level")
    if row["primary"] is not None and not isinstance(row["higher_is_better"], bool):
        raise SftdivError(
            f"{path} has higher_is_better={row['higher_is_better']!r} for {row['primary']}; it must be true or false"
        )


def _table(results: Mapping[str, Mapping[str, Any]], folder: Path) -> pd.DataFrame:
    """One row a cell, with the columns that the analysis adds."""
    cells = pd.DataFrame([{**row, "cell": name} for name, row in results.items()])
    for name in NUMBERS:  # a study that stopped after selecting has no training; one of base models alone has no ladder
        cells[name] = pd.to_numeric(cells[name]) if name in cells else np.nan
    cells = cells.assign(
        level=pd.to_numeric(cells["level"]).astype(float),
        performance=np.array([_performance(row) for row in results.values()]),
        k_share=cells["k_asked"] / cells["k_max"],
        unit_entropy=cells["diversity.units.entropy"],
        variant=add_variants(cells, folder),
    )
    rows = [dict(row) | {"variant": variant} for row, variant in zip(results.values(), cells["variant"], strict=True)]
    labels = [ladder_label(row) if row["kind"] == "level" else "" for row in rows]
    return cells.assign(ladder=pd.Series(labels, index=cells.index, dtype=object))


def _performance(row: Mapping[str, Any]) -> float:
    """The primary score, higher being better; NaN where there is none."""
    score = row.get(f"score.{row['primary']}")
    if score is None:
        return float("nan")
    return float(score) if row["higher_is_better"] else -float(score)


def _sorted(cells: pd.DataFrame) -> pd.DataFrame:
    """Ladders first, by name, level and seed; then the baselines. Raises if two folders hold the same cell."""
    keys = {"_kind": cells["kind"].map(KINDS.index), "_match": cells["match"] != "none"}
    order = [
        "_kind",
        "strategy",
        "side",
        "size",
        "budget",
        "model",
        "_match",
        "match",
        "universe_of",
        "variant",
        "level",
        "seed",
        "cell",
    ]
    cells = cells.assign(**keys).sort_values(order, kind="stable").drop(columns=list(keys)).reset_index(drop=True)
    same = ["kind", *FAMILY, *IDENTITY, "level", "seed"]
    again = cells[cells.duplicated(same, keep=False) & (cells["kind"] == "level")]
    if len(again):
        raise SftdivError(
            f"two folders hold the same cell: {' and '.join(again['cell'].iloc[:2])}; keep one, so that it does not count twice"
        )
    return cells
