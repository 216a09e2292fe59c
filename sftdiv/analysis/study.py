"""Reads a finished study into tables.

The input is a study folder, of which every ``result.json`` and ``failure.json`` is read. The output
is one row per finished cell, the settings and failures of the cells, and notes on what makes cells
incomparable. Rows are read strictly: a row that lacks an identifying column is an error, not a gap
in a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sftdiv.analysis.checks import check_cells, check_ladders
from sftdiv.analysis.composition import cut_share
from sftdiv.analysis.notes import Notes
from sftdiv.analysis.series import DRAW_SEED, LADDER_SEED, REPLICATE, TRAIN_SEED
from sftdiv.analysis.variants import FAMILY, IDENTITY, add_variants, ladder_label
from sftdiv.records import SftdivError
from sftdiv.storage.cell import FAILURE, RESULT, RUNNING, read_failure, read_row

SEEDS = (REPLICATE, LADDER_SEED, DRAW_SEED, TRAIN_SEED)  # NaN in rows from before ladders could be replicated
REQUIRED = ("kind", "level", "seed", "higher_is_better", *FAMILY, *IDENTITY)
NUMBERS = (  # NaN where absent: not trained, not measured, or not selected by a ladder
    "k_asked",
    "k_max",
    "k_reached",
    "pool",
    "tie_jaccard",
    "n",
    "subset.response_words",
    "diversity.response.length",
    "diversity.units.entropy",
    "train.label_tokens",
    *SEEDS,
)
KINDS = ("level", "random", "full", "base", "selector")
SETTING = "config."  # prefix of the settings in a row
ORDER = (
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
    *SEEDS,
    "seed",
    "cell",
)


@dataclass(frozen=True)
class Study:
    """The cells of one study folder.

    Attributes:
        folder: Study folder.
        name: Name of the study.
        cells: Columns of ``result.json`` without the settings, and ``performance`` (the primary
            score, negated where lower is better), ``k_share`` (k_asked / k_max; matched,
            ``types.share``), ``cut_share``, ``unit_entropy``, ``ladder`` (label; empty for baselines) and ``variant``
            (what distinguishes ladders with the same label).
        settings: Flat settings of each cell, such as ``strategy.units.low``; empty for cells
            written before rows contained them.
        failures: Columns ``cell``, ``stage`` and ``message``.
        notes: Messages about what makes cells incomparable or incomplete.
    """

    folder: Path
    name: str
    cells: pd.DataFrame
    settings: Mapping[str, Mapping[str, Any]]
    failures: pd.DataFrame
    notes: tuple[str, ...]


def load_study(folder: Path) -> Study:
    """Read a study folder; the order in which cells finished does not matter.

    Args:
        folder: ``multirun/STUDY``.

    Raises:
        SftdivError: If the folder does not exist or has no finished cell, if a row cannot be read
            or lacks an identifying column, or if two folders contain the same cell.
    """
    if not folder.is_dir():
        raise SftdivError(f"there is no study folder {folder}; give one that a sweep wrote, such as multirun/NAME")
    results = {path.parent.name: read_row(path) for path in sorted(folder.glob(f"*/{RESULT}"))}
    failed = {
        path.parent.name: read_failure(path.parent)
        for path in sorted(folder.glob(f"*/{FAILURE}"))
        if path.parent.name not in results
    }
    if not results:
        raise SftdivError(
            f"{folder} has no finished cell (no */{RESULT}; {len(failed)} failed); "
            "run the sweep, or name another folder"
        )
    for name, row in results.items():
        _check_row(row, folder / name / RESULT)
    settings = {name: _settings(row) for name, row in results.items()}
    cells = _sorted(_table(results, settings))
    notes = Notes()
    resume = "rerun the sweep's command to complete them"
    unfinished = {path.parent.name for path in folder.glob(f"*/{RUNNING}")} - results.keys() - failed.keys()
    if unfinished:
        notes.add(f"unfinished cells, running or killed: {len(unfinished)}; if killed, {resume}")
    if failed:
        notes.add(f"failed cells: {len(failed)} beside {len(cells)} finished ones; {resume}")
    check_cells(cells, settings, notes)
    check_ladders(cells, settings, notes)
    failures = pd.DataFrame(
        [(name, row.get("stage"), row.get("message")) for name, row in failed.items()],
        columns=["cell", "stage", "message"],
        dtype=object,
    )
    return Study(folder, folder.resolve().name, cells, settings, failures, notes.sentences())


def _check_row(row: Mapping[str, Any], path: Path) -> None:
    """Raise if a row lacks an identifying column or has an invalid value in one."""
    if missing := [name for name in REQUIRED if name not in row]:
        raise SftdivError(
            f"{path} lacks {', '.join(missing)}: another version of sftdiv wrote it; "
            "delete it and run its command again"
        )
    if row["kind"] not in KINDS:
        raise SftdivError(f"{path} has kind={row['kind']!r}; known: {', '.join(KINDS)}")
    if row["kind"] == "level" and row["level"] is None:
        raise SftdivError(f"{path} is a cell of a ladder and has no level")
    if row["primary"] is not None and not isinstance(row["higher_is_better"], bool):
        raise SftdivError(
            f"{path} has higher_is_better={row['higher_is_better']!r} for {row['primary']}; it must be true or false"
        )


def _settings(row: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a row, without their prefix."""
    return {key.removeprefix(SETTING): value for key, value in row.items() if key.startswith(SETTING)}


def _table(results: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row per cell, with the columns added by the analysis and without the settings."""
    rows = []
    for name, row in results.items():
        columns = {key: value for key, value in row.items() if not key.startswith(SETTING)}
        rows.append({**columns, "cell": name})
    cells = pd.DataFrame(rows)
    cells["selector"] = cells["selector"].fillna("") if "selector" in cells else ""
    for name in NUMBERS:
        cells[name] = pd.to_numeric(cells[name]) if name in cells else np.nan
    cells = cells.assign(
        level=pd.to_numeric(cells["level"]).astype(float),
        performance=np.array([_performance(row) for row in rows]),
        k_share=_type_share(cells),
        cut_share=cut_share(cells),
        unit_entropy=cells["diversity.units.entropy"],
        variant=add_variants(cells, settings),
    )
    labels = [
        ladder_label(row | {"variant": variant}) if row["kind"] == "level" else ""
        for row, variant in zip(rows, cells["variant"], strict=True)
    ]
    return cells.assign(ladder=pd.Series(labels, index=cells.index, dtype=object))


def _type_share(cells: pd.DataFrame) -> pd.Series:
    """Share of the unit types that a cell uses: k_asked / k_max, and ``types.share`` of the row where matched.

    Matched, k is summed over strata, so that a type counts in each stratum that holds it.
    """
    share = cells["k_asked"] / cells["k_max"]
    if "types.share" not in cells:  # all cells were written before rows contained it
        return share
    distinct = pd.to_numeric(cells["types.share"])
    return share.mask((cells["match"] != "none") & share.notna() & distinct.notna(), distinct)


def _performance(row: Mapping[str, Any]) -> float:
    """The primary score, negated where lower is better; NaN without one."""
    score = row.get(f"score.{row['primary']}")
    if score is None:
        return float("nan")
    return float(score) if row["higher_is_better"] else -float(score)


def _sorted(cells: pd.DataFrame) -> pd.DataFrame:
    """Ladders first, by label, level and seed; then the baselines. Raises if two folders contain the same cell."""
    keys = {"_kind": cells["kind"].map(KINDS.index), "_match": cells["match"] != "none"}
    cells = cells.assign(**keys).sort_values(list(ORDER), kind="stable")
    cells = cells.drop(columns=list(keys)).reset_index(drop=True)
    identifying = ["kind", *FAMILY, *IDENTITY, "level", "seed", *SEEDS]
    duplicates = cells[cells.duplicated(identifying, keep=False) & (cells["kind"] == "level")]
    if len(duplicates):
        raise SftdivError(
            f"two folders contain the same cell: {' and '.join(duplicates['cell'].iloc[:2])}; "
            "delete one, so that it does not count twice"
        )
    return cells
