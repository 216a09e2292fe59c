"""From ladders to a selection: the level's pool in every stratum, drawn evenly to the stratum's quota.

Without matching there is one stratum. Numbers of types (k) are summed over strata; pools are disjoint and
add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import Ladder, Selection, SftdivError, Units, Universe
from sftdiv.selection.draw import draw_evenly
from sftdiv.selection.ladder import build_ladder, tie_ranks
from sftdiv.selection.level import k_of_level, lowest_k


@dataclass(frozen=True)
class Rung:
    """One stratum at one level.

    Attributes:
        rows: Rows of the corpus in the stratum.
        pool: Those of them that remain at the level.
        quota: The stratum's part of the size.
        k_min: Types at level 0.
        k_max: Types at level 1.
        k_asked: Types at the level.
    """

    rows: NDArray[np.int64]
    pool: NDArray[np.int64]
    quota: float
    k_min: int
    k_max: int
    k_asked: int


def build_ladders(units: Units, universe: Universe, *, prune: str, seed: int) -> list[Ladder]:
    """One ladder for each stratum of the universe.

    Raises:
        SftdivError: If the universe holds fewer than two types.
    """
    matrix = units.matrix[universe.indices]
    types = len(np.unique(matrix.indices))
    if types < 2:
        raise SftdivError(
            f"the universe of {len(universe.indices):,} examples holds {types} unit types; at least two are needed ({dict(units.made_by)})"
        )
    ties = tie_ranks(units.names, seed=seed)
    return [
        build_ladder(matrix[universe.strata == stratum], ties, prune=prune)
        for stratum in range(universe.strata.max() + 1)
    ]


def choose(
    units: Units,
    universe: Universe,
    ladders: Sequence[Ladder],
    *,
    level: float,
    size: float,
    weights: NDArray[np.float64],
    k_min: str | int | float,
    slack: float,
    seed: int,
    floor: float | None = None,
) -> Selection:
    """A selection from the universe at a diversity level.

    Args:
        units: Units of the whole corpus.
        universe: The examples that may be chosen.
        ladders: Ladder of each stratum, from `build_ladders`.
        level: Diversity level in [0, 1].
        size: Number of examples, or of label tokens: the sum of weights at which drawing stops.
        weights: What each example of the corpus counts towards ``size``, shape (examples,).
        k_min: ``selection.k_min``; see `level.lowest_k`.
        slack: The pool of level 0 holds at least ``slack`` times the size.
        seed: Seed of the draw.
        floor: A larger size that the lowest level must serve: with the largest size of a grid, a level means
            the same k at every size.

    Returns:
        The chosen rows with the columns ``k_min, k_max, k_asked, k_reached, pool``.

    Raises:
        SftdivError: If slack x size exceeds the universe, or level, slack or k_min are out of range.
    """
    rungs = _rungs(
        universe,
        ladders,
        level=level,
        size=size,
        weights=weights,
        k_min=k_min,
        slack=slack,
        floor=max(size, floor or 0),
    )
    chosen, reached, owed = [], 0, 0.0
    for stratum, rung in enumerate(rungs):
        owed += rung.quota  # what earlier strata drew too much (a response is drawn whole) is not drawn here
        matrix = units.matrix[rung.pool]
        drawn = draw_evenly(matrix, weights[rung.pool], owed, rng=np.random.default_rng([seed, stratum]))
        owed -= float(weights[rung.pool[drawn]].sum())
        chosen.append(rung.pool[drawn])
        reached += len(np.unique(matrix[drawn].indices))
    columns = {
        "k_min": sum(rung.k_min for rung in rungs),
        "k_max": sum(rung.k_max for rung in rungs),
        "k_asked": sum(rung.k_asked for rung in rungs),
        "k_reached": reached,
        "pool": sum(len(rung.pool) for rung in rungs),
    }
    return Selection(np.concatenate(chosen), columns)


def _rungs(
    universe: Universe,
    ladders: Sequence[Ladder],
    *,
    level: float,
    size: float,
    weights: NDArray[np.float64],
    k_min: str | int | float,
    slack: float,
    floor: float,
) -> list[Rung]:
    universe_weights = weights[universe.indices]
    if slack < 1:
        raise SftdivError(f"selection.slack={slack} is below 1: the pool could not fill the subset")
    if slack * floor > universe_weights.sum():
        raise SftdivError(
            f"slack x size = {slack} x {floor:,.0f} = {slack * floor:,.0f} is more than the universe holds ({universe_weights.sum():,.0f} in "
            f"{len(universe_weights):,} examples; {_listed(universe.counts)}). The largest feasible size is {int(universe_weights.sum() / slack):,}; "
            "or lower selection.slack"
        )
    quotas = _quotas(
        np.bincount(universe.strata, weights=universe_weights), size, whole=bool(np.all(universe_weights == 1))
    )
    types, is_only_stratum = sum(ladder.k_max for ladder in ladders), len(ladders) == 1
    rungs = []
    for stratum, (ladder, quota) in enumerate(zip(ladders, quotas, strict=True)):
        rows = universe.indices[universe.strata == stratum]
        needed = min(slack * quota * (floor / size), weights[rows].sum())
        lowest = lowest_k(k_min, ladder, weights[rows], needed, types=types, strict=is_only_stratum)
        asked = k_of_level(level, lowest, ladder.k_max)
        rungs.append(Rung(rows, rows[ladder.pool(asked)], quota, lowest, ladder.k_max, asked))
    return rungs


def _quotas(stratum_weights: NDArray[Any], size: float, *, whole: bool) -> NDArray[np.float64]:
    """The size divided in proportion to the strata; whole numbers by largest remainder when examples are counted."""
    exact = stratum_weights / stratum_weights.sum() * size
    if not whole:
        return exact
    quotas = np.floor(exact)
    quotas[np.argsort(quotas - exact, kind="stable")[: round(size - quotas.sum())]] += 1
    return quotas


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count:,}" for reason, count in counts.items())
