"""Notes on incomparable or incomplete cells: mixed evaluations or corpora, missing levels, missing scores.

The input is the table of cells, the output is notes. No cell is dropped or averaged here. The
analysis keeps such cells separate, or leaves them out, as the note says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sftdiv.analysis.composition import check_composition
from sftdiv.analysis.leakage import check_leaks
from sftdiv.analysis.notes import Notes
from sftdiv.analysis.series import ladder_seeds, ladders_of

CONSTANT = 1e-12  # a range below this share of the scores is rounding error


def is_constant(scores: pd.Series) -> bool:
    """Whether all scores are equal up to rounding; False for a single score."""
    return len(scores) > 1 and float(scores.max() - scores.min()) <= CONSTANT * float(scores.abs().max())


def check_cells(cells: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]], notes: Notes) -> None:
    """Add notes on whatever makes cells incomparable or incomplete.

    Args:
        cells: Sorted cells of a study.
        settings: Flat settings by cell.
        notes: Receives the notes.
    """
    _check_mixture(cells, notes)
    _check_scores(cells, settings, notes)
    check_leaks(cells, notes)
    check_composition(cells, notes)
    ladders = cells[cells["kind"] == "level"]
    if ladders.empty:
        notes.add("no cell of a diversity ladder in this folder, only baselines: there is no slope to fit")
    all_levels = sorted(set(ladders["level"].astype(float)))
    for label, ladder in ladders.groupby("ladder", sort=False):
        _check_ladder(ladder, str(label), all_levels, notes)


def check_ladders(cells: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]], notes: Notes) -> None:
    """Note replicated ladders that cannot differ much: one universe, and types pruned in the order of their support.

    Args:
        cells: Sorted cells of a study.
        settings: Flat settings by cell.
        notes: Receives the notes.
    """
    for label, ladder in ladders_of(cells):
        of_ladder = settings[str(ladder["cell"].iloc[0])]
        is_random = of_ladder.get("selection.selector.prune", of_ladder.get("selection.prune")) == "random"
        is_whole = of_ladder.get("selection.universe_share", 1) == 1
        if len(np.unique(ladder_seeds(ladder))) > 1 and is_whole and not is_random and of_ladder:
            notes.add(
                "the ladders of these replicates differ in the order of equal types only, since all have the whole "
                "universe and prune by support: they are hardly independent draws, and intervals are too narrow; "
                "selection.universe_share=0.7 or selection.prune=random draws the types of each ladder anew",
                label,
            )


def _check_mixture(cells: pd.DataFrame, notes: Notes) -> None:
    """Note several corpora, evaluations, primary scores, library versions or variants."""
    for name, column in (("corpora", "corpus_hash"), ("evaluations", "eval_hash")):
        sizes = cells.groupby(column, dropna=False, sort=True).size()
        if len(sizes) > 1:
            counts = ", ".join(f"{str(key)[:8]}: {count} cells" for key, count in sizes.items())
            notes.add(
                f"{len(sizes)} {name} in one folder ({column} {counts}); their cells are kept separate, never averaged"
            )
    primaries = sorted(cells["primary"].dropna().unique())
    if len(primaries) > 1:
        notes.add(
            f"cells have different primary scores ({', '.join(primaries)}); they are kept separate, never averaged"
        )
    for column in sorted(name for name in map(str, cells.columns) if name.startswith("versions.")):
        versions = sorted(cells[column].dropna().unique())
        if len(versions) > 1:
            library = column.removeprefix("versions.")
            notes.add(f"cells were run with different versions of {library}: {', '.join(map(str, versions))}")
    if "train.precision" in cells and len(precisions := sorted(cells["train.precision"].dropna().unique())) > 1:
        notes.add(
            f"cells were trained in different precisions ({', '.join(map(str, precisions))}), those of the machines "
            "that ran them; trainer.precision=... fixes one"
        )
    variants = cells[(cells["variant"] != "") & (cells["kind"] == "level")].groupby("variant", sort=True)
    for variant, ladder in variants:
        notes.add(f"runs that differ in {variant} are analysed as separate series", str(ladder["ladder"].iloc[0]))


def _check_scores(cells: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]], notes: Notes) -> None:
    """Note cells without a performance, with the reason."""
    names = cells.loc[cells["primary"].isna(), "cell"]
    unnamed = len(names)
    if unnamed:
        is_selection = all(settings[str(name)].get("stop_after") == "select" for name in names)
        reason = "stop_after=select: nothing was trained" if is_selection else "eval=none, or eval.primary=null"
        notes.add(f"{unnamed} of {len(cells)} cells have no primary score ({reason}), so no performance")
    for primary, judged in cells[cells["primary"].notna()].groupby("primary", sort=True):
        absent = judged[judged["performance"].isna()]
        columns = [name for name in map(str, judged.columns) if name.startswith("score.")]
        known = sorted(name.removeprefix("score.") for name in columns if not name.endswith(".stderr"))
        if f"score.{primary}" not in cells:
            notes.add(f"no cell has the primary score {primary!r}; scores in this folder: {', '.join(known) or 'none'}")
        elif len(absent):
            reason = f"have no value of {primary} (NaN, or not evaluated) and are left out"
            notes.add(f"{len(absent)} of {len(judged)} cells {reason}, such as {absent['cell'].iloc[0]}")
        if not judged["higher_is_better"].astype(bool).any():
            notes.add(f"{primary} is better when lower: performance is its negative")


def _check_ladder(ladder: pd.DataFrame, label: str, all_levels: list[float], notes: Notes) -> None:
    """Note missing levels and seeds, levels with equal subsets, and constant scores."""
    levels, seeds = set(ladder["level"]), set(ladder["seed"])
    if missing := [level for level in all_levels if level not in levels]:
        notes.add(f"missing levels that other ladders have: {_join(missing)}", label)
    incomplete = [level for level in sorted(levels) if set(ladder.loc[ladder["level"] == level, "seed"]) != seeds]
    if incomplete:
        notes.add(f"some of the {len(seeds)} seeds are missing at level {_join(incomplete)}", label)
    k_by_level = ladder.groupby("level")["k_asked"].mean().dropna()  # selectors without a ladder have no k
    if k_by_level.nunique() < len(k_by_level):
        notes.add("some levels ask for the same number of unit types k, so their subsets are equal", label)
    if is_constant(ladder["performance"].dropna()):
        notes.add("the performance is the same in every cell: no slope and no correlation can be computed", label)


def _join(levels: list[float]) -> str:
    return ", ".join(f"{level:.3g}" for level in levels)
