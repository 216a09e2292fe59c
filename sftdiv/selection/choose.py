"""From ladders to a selection: an even draw from the level's pool in every stratum, up to the stratum's quota.

Without matching there is one stratum. Numbers of types (k) are summed over strata, so that a type that several
strata hold counts in each; ``types.pool`` counts it once. Pools are disjoint, so their sizes are summed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import Ladder, Selection, SftdivError, Units, Universe
from sftdiv.selection.draw import draw_evenly
from sftdiv.selection.incidence import supports
from sftdiv.selection.ladder import build_ladder, tie_ranks
from sftdiv.selection.level import check_pool, k_of_level, lowest_k
from sftdiv.selection.quotas import check_fits, divide_size, universe_text


@dataclass(frozen=True)
class Rung:
    """One stratum at one level.

    Attributes:
        rows: Rows of the corpus in the stratum.
        pool: Rows that remain at the level.
        quota: Share of the size drawn from the stratum.
        k_min: Number of types at level 0.
        k_max: Number of types at level 1.
        k_asked: Number of types at the level.
    """

    rows: NDArray[np.int64]
    pool: NDArray[np.int64]
    quota: float
    k_min: int
    k_max: int
    k_asked: int


def build_ladders(units: Units, universe: Universe, *, prune: str, seed: int, batch: float = 0.0) -> list[Ladder]:
    """One ladder for each stratum of the universe; see `ladder.build_ladder`.

    Raises:
        SftdivError: The universe has fewer than two types.
    """
    if (types := distinct_types(units, universe.indices)) < 2:
        raise SftdivError(
            f"the universe of {len(universe.indices):,} examples holds {types} unit types; at least two are needed "
            f"({dict(units.made_by)})"
        )
    ties = tie_ranks(units.names, seed=seed)
    return [
        build_ladder(units.matrix, ties, prune=prune, batch=batch, rows=universe.indices[universe.strata == stratum])
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
    scores: NDArray[np.float64] | None = None,
    rarest_first: bool = True,
    other_ladders: Callable[[], Sequence[Ladder]] | None = None,
) -> Selection:
    """A selection from the universe at a diversity level.

    Args:
        units: Units of the whole corpus.
        universe: Selectable examples and their strata.
        ladders: Ladder of each stratum, from `build_ladders`.
        level: Diversity level in [0, 1].
        size: Number of examples, or of label tokens: the sum of weights at which drawing stops.
        weights: Contribution of each example of the corpus to ``size``, shape (examples,).
        k_min: ``selection.k_min``; see `level.lowest_k`.
        slack: Minimum ratio of the pool of level 0 to the size.
        seed: Seed of the draw.
        floor: Larger size for which level 0 is resolved: with the largest size of a grid, a level means the same k
            at every size.
        scores: Score of each example of the corpus, to which the probability of its draw among the members of a type
            is proportional, shape (examples,); None for a uniform draw.
        rarest_first: Order of types with equally many drawn examples; see `draw_evenly`.
        other_ladders: Ladders with another order among equals, called below level 1; None for no ``tie_jaccard``.

    Returns:
        Selected rows with the columns ``k_min, k_max, k_asked, k_reached`` (summed over strata), ``pool``,
        ``types.pool`` (distinct types of the pools of all strata) and ``tie_jaccard`` (see `tie_jaccard`).

    Raises:
        SftdivError: The size exceeds the universe or, below level 1, slack x size does; or level, slack or k_min
            are out of range.
    """
    floor = max(size, floor or 0)
    rungs = _rungs(universe, ladders, level, size, weights=weights, k_min=k_min, slack=slack, floor=floor)
    indices, reached = _draw_rungs(units, rungs, weights, scores, seed=seed, rarest_first=rarest_first)
    columns: dict[str, Any] = {
        "k_min": sum(rung.k_min for rung in rungs),
        "k_max": sum(rung.k_max for rung in rungs),
        "k_asked": sum(rung.k_asked for rung in rungs),
        "k_reached": reached,
        "pool": sum(len(rung.pool) for rung in rungs),
        "types.pool": distinct_types(units, np.concatenate([rung.pool for rung in rungs])),
    }
    if other_ladders is not None:
        columns["tie_jaccard"] = tie_jaccard(rungs, other_ladders)
    return Selection(indices, columns)


def tie_jaccard(rungs: Sequence[Rung], other_ladders: Callable[[], Sequence[Ladder]]) -> float:
    """Jaccard similarity of the pool with the one of as many types under another order among equals.

    What differs is due to the arbitrary order of types of equal support alone: the noise of the ladder itself.

    Args:
        rungs: One per stratum.
        other_ladders: Ladder of each stratum; not called where all pools are whole strata, which every order shares.
    """
    if all(rung.k_asked == rung.k_max for rung in rungs):
        return 1.0
    shared = union = 0
    for rung, ladder in zip(rungs, other_ladders(), strict=True):
        tied_pool = rung.rows[ladder.pool(rung.k_asked)]
        in_both = len(np.intersect1d(rung.pool, tied_pool, assume_unique=True))
        shared += in_both
        union += len(rung.pool) + len(tied_pool) - in_both
    return shared / union


def distinct_types(units: Units, rows: NDArray[np.int64]) -> int:
    """Number of types that at least one of the examples has, each counted once; rows of the corpus, shape (rows,)."""
    return int(np.count_nonzero(supports(units.matrix, rows)))


def _draw_rungs(
    units: Units,
    rungs: Sequence[Rung],
    weights: NDArray[np.float64],
    scores: NDArray[np.float64] | None,
    *,
    seed: int,
    rarest_first: bool,
) -> tuple[NDArray[np.int64], int]:
    """Drawn rows of all strata, and the number of types they have, summed over strata."""
    selected, reached, budget = [], 0, 0.0
    for stratum, rung in enumerate(rungs):
        budget += rung.quota  # minus the excess of earlier strata, since examples are drawn whole
        pool_scores = None if scores is None else scores[rung.pool]
        rng = np.random.default_rng([seed, stratum])
        drawn = draw_evenly(
            units.matrix,
            weights[rung.pool],
            budget,
            rng=rng,
            scores=pool_scores,
            rows=rung.pool,
            rarest_first=rarest_first,
        )
        rows = rung.pool[drawn]
        budget -= float(weights[rows].sum())
        selected.append(rows)
        reached += distinct_types(units, rows)
    return np.concatenate(selected), reached


def _rungs(
    universe: Universe,
    ladders: Sequence[Ladder],
    level: float,
    size: float,
    *,
    weights: NDArray[np.float64],
    k_min: str | int | float,
    slack: float,
    floor: float,
) -> list[Rung]:
    universe_weights = weights[universe.indices]
    _check_size(slack, size, floor, level, universe_weights, universe.counts)
    counts_examples = bool(np.all(universe_weights == 1))
    quotas = divide_size(np.bincount(universe.strata, weights=universe_weights), size, whole=counts_examples)
    types, is_only_stratum = sum(ladder.k_max for ladder in ladders), len(ladders) == 1
    rungs = []
    for stratum, (ladder, quota) in enumerate(zip(ladders, quotas, strict=True)):
        rows = universe.indices[universe.strata == stratum]
        needed = min(slack * quota * (floor / size), weights[rows].sum())
        bounds = lowest_k(k_min, ladder, weights[rows], needed, types=types)
        lowest = bounds.asked if is_only_stratum else max(bounds)
        requested = k_of_level(level, lowest, ladder.k_max)
        check_pool(k_min, ladder, requested, bounds)
        rungs.append(Rung(rows, rows[ladder.pool(requested)], quota, lowest, ladder.k_max, requested))
    return rungs


def _check_size(
    slack: float, size: float, floor: float, level: float, weights: NDArray[np.float64], excluded: Mapping[str, int]
) -> None:
    """Reject a slack below 1 and a size that the universe cannot serve at the level.

    Slack decides the types of level 0 and thereby those of the levels between; level 1 uses all types and needs the
    size alone.
    """
    if slack < 1:
        raise SftdivError(f"selection.slack={slack} is below 1: the pool could not fill the subset")
    check_fits(size, weights, excluded)
    if level < 1 and slack * floor > weights.sum():
        resolved_for = "size" if floor == size else "selection.k_min_size"
        raise SftdivError(
            f"slack x {resolved_for} = {slack} x {floor:,.0f} = {slack * floor:,.0f} is more than "
            f"{universe_text(weights, excluded)}. "
            f"The largest feasible size is {int(weights.sum() / slack):,} below level 1 and {int(weights.sum()):,} at "
            "diversity_level=1; or lower selection.slack"
        )
