"""What changes with the level beside diversity: shares of sources, and conversations cut to the model's length.

A slope over levels whose subsets come from other sources, or lose more of their responses to truncation, is not
a slope of diversity alone.
"""

from __future__ import annotations

import pandas as pd

from sftdiv.analysis.notes import Notes
from sftdiv.analysis.series import ladders_of

SOURCE = "subset.share."
MAX_MOVE = 0.10  # of a source's share between any two levels
MAX_CUT = 0.05  # of the share of truncated or dropped conversations between any two levels


def cut_share(cells: pd.DataFrame) -> pd.Series:
    """Share of each cell's conversations that were truncated, or dropped, for their length; NaN where unknown."""
    counts = [cells[name].astype(float) for name in ("train.truncated", "train.too_long") if name in cells]
    if not counts:
        return pd.Series(float("nan"), index=cells.index)
    return pd.concat(counts, axis=1).sum(axis=1, min_count=1) / cells["n"].astype(float)


def check_composition(cells: pd.DataFrame, notes: Notes) -> None:
    """Note sources whose share moves with the level by more than 10 points, and truncation by more than 5.

    Args:
        cells: Sorted cells of a study.
        notes: Receives the notes, each with its ladders.
    """
    sources = [name for name in map(str, cells.columns) if name.startswith(SOURCE)]
    for label, ladder in ladders_of(cells):
        shares = ladder[sources].astype(float).fillna(0.0).groupby(ladder["level"]).mean()
        moves = (shares.max() - shares.min()).sort_values(ascending=False)
        if len(moves) and moves.iloc[0] > MAX_MOVE:
            by_level = shares[moves.index[0]]
            notes.add(
                f"the share of the source {str(moves.index[0]).removeprefix(SOURCE)} moves with the level "
                f"({by_level.iloc[0]:.0%} at level {by_level.index[0]:.3g}, {by_level.iloc[-1]:.0%} at level "
                f"{by_level.index[-1]:.3g}); selection.match=source holds it fixed",
                label,
            )
        cut = ladder["cut_share"].groupby(ladder["level"]).mean().dropna()
        if len(cut) > 1 and cut.max() - cut.min() > MAX_CUT:
            notes.add(
                f"the share of conversations cut or dropped at model.max_length moves with the level "
                f"({cut.iloc[0]:.0%} at level {cut.index[0]:.3g}, {cut.iloc[-1]:.0%} at level {cut.index[-1]:.3g})",
                label,
            )
