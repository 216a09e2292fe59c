"""Reads the verdicts of a study's cells and checks that they are comparable.

``*/evaluation/judge/verdicts.parquet`` comes in; one matrix of preferences goes out. Only cells that one
judge compared with one baseline on the same prompts are combined. Different prompts or templates are
an error, because a table of scores would not show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.evaluation.judge.scores import NEEDED, PromptVerdicts, verdicts_by_prompt
from sftdiv.records import SftdivError
from sftdiv.storage.cell import cell_file

Floats = NDArray[np.float64]
VERDICTS = Path("evaluation", "judge", "verdicts.parquet")  # in a cell's folder
SHARED = ("judge", "template", "baseline")  # columns that all cells must have in common


@dataclass(frozen=True)
class StudyVerdicts:
    """Verdicts of all judged cells of a study.

    Attributes:
        cells: Names of the cells, sorted.
        judge: Name of the judge model.
        template: Name of the template.
        baseline: Name of the baseline.
        preferences: Probability that the cell beats the baseline, shape (cells, prompts); NaN where
            unknown. Prompts are sorted by key.
        length_delta: Characters of the cell's answer minus those of the baseline's, shape (cells, prompts).
        unreadable: Share of unreadable verdicts, shape (cells,).
    """

    cells: tuple[str, ...]
    judge: str
    template: str
    baseline: str
    preferences: Floats
    length_delta: Floats
    unreadable: Floats


def judged_cells(study: Path) -> list[str]:
    """Names of the cells that have verdicts, sorted."""
    return sorted(path.parents[2].name for path in study.glob(f"*/{VERDICTS.as_posix()}"))


def read_study_verdicts(study: Path) -> StudyVerdicts:
    """Read the verdicts of all judged cells of a study.

    Raises:
        SftdivError: If no cell was judged, or two cells differ in the judge, the template, the
            baseline or the prompts.
    """
    names = judged_cells(study)
    if not names:
        raise SftdivError(
            f"{study} holds no verdicts (no */{VERDICTS.as_posix()}); run its cells with eval=judge, or "
            "eval=[...,judge]"
        )
    tables = {name: _read_table(cell_file(study / name, VERDICTS.as_posix())) for name in names}
    shared = {key: _shared_value(key, {name: str(table[key][0]) for name, table in tables.items()}) for key in SHARED}
    cells = {name: verdicts_by_prompt(table) for name, table in tables.items()}
    _check_same_prompts(cells)
    preferences, length_delta = [], []
    for cell in cells.values():
        order = np.argsort(cell.names)
        preferences.append(cell.mean_preference()[order])
        length_delta.append(cell.length_delta[order])
    unreadable = [np.isnan(table["preference"][table["repeat"] == 0]).mean() for table in tables.values()]
    return StudyVerdicts(
        cells=tuple(names),
        **shared,
        preferences=np.stack(preferences),
        length_delta=np.stack(length_delta),
        unreadable=np.array(unreadable, dtype=np.float64),
    )


def _read_table(path: Path) -> dict[str, NDArray[Any]]:
    """The columns of one cell's verdicts that scores depend on."""
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, ValueError) as error:
        raise SftdivError(
            f"{path} cannot be read ({error}); run its cell again, which reuses all verdicts of its journal"
        ) from error
    columns = (*NEEDED, *SHARED)
    if missing := [name for name in columns if name not in table.column_names]:
        raise SftdivError(f"{path} lacks {', '.join(missing)}; it has {', '.join(table.column_names)}")
    if not table.num_rows:
        raise SftdivError(f"{path} holds no verdict")
    return {name: table.column(name).to_numpy() for name in columns}


def _shared_value(column: str, by_cell: Mapping[str, str]) -> str:
    """The value that all cells have in common."""
    cells_of: dict[str, list[str]] = {}
    for cell, value in by_cell.items():
        cells_of.setdefault(value, []).append(cell)
    if len(cells_of) > 1:
        listing = "; ".join(
            f"{value!r} in {len(cells)} ({cells[0]}{', ...' if len(cells) > 1 else ''})"
            for value, cells in cells_of.items()
        )
        raise SftdivError(
            f"cells with different values of {column} do not compare: {listing}. Put them into separate folders"
        )
    return next(iter(cells_of))


def _check_same_prompts(cells: Mapping[str, PromptVerdicts]) -> None:
    """Refuse cells whose prompts differ."""
    (first_name, first), *others = cells.items()
    first_prompts = set(first.names)
    for name, cell in others:
        if different := first_prompts.symmetric_difference(cell.names):
            raise SftdivError(
                f"cells with different prompts do not compare: {first_name} has {len(first_prompts)}, "
                f"{name} {len(cell.names)}, and {len(different)} are not in both. Use one prompts= for all cells and "
                "judge again"
            )
