"""Simulated sweeps with a known slope in situations that occur, for tests and for ``benchmarks/interval_coverage.py``.

A cell's performance is ``f(level) + ladder's intercept + effect of the ladder's level + seed's intercept + noise``. The
cells of one ladder share the effects of its levels; that is what a study with one ladder cannot see.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NOISE = 0.01  # standard deviation between seeds at one level


@dataclass(frozen=True)
class Situation:
    """What moves a cell beside its level, in units of ``NOISE``.

    Attributes:
        level_effects: Standard deviation of an independent effect of each (ladder, level).
        accumulating: Standard deviation of the steps of a random walk from the widest pool to the narrowest.
        seed_intercepts: Standard deviation between seeds, at all levels alike.
        slopes: Standard deviation between the ladders' own slopes.
        saturating: Whether performance rises as ``1 - exp(-3 level)``.
        heteroscedastic: Whether the noise falls from 2.5 at level 0 to 0.5 at level 1.
    """

    level_effects: float = 0.0
    accumulating: float = 0.0
    seed_intercepts: float = 0.0
    slopes: float = 0.0
    saturating: bool = False
    heteroscedastic: bool = False


SITUATIONS = {
    "iid": Situation(),
    "seed intercepts": Situation(seed_intercepts=2.0),
    "level effects, half the seed noise": Situation(level_effects=0.5),
    "level effects, equal": Situation(level_effects=1.0),
    "level effects, twice": Situation(level_effects=2.0),
    "accumulating along nested pools": Situation(accumulating=1.0),
    "saturation, level effects equal": Situation(level_effects=1.0, saturating=True),
    "heteroscedastic": Situation(heteroscedastic=True),
}


@dataclass(frozen=True)
class SimulatedDesign:
    """Cells of a sweep: level, ladder and seed of each, shape (n,)."""

    levels: np.ndarray
    ladders: np.ndarray
    seeds: np.ndarray


def sweep_design(*, ladders: int, seeds: int, levels: int = 7) -> SimulatedDesign:
    """Every level on every ladder with every seed; seeds of different ladders are different."""
    ladder, seed, level = (
        axis.ravel() for axis in np.meshgrid(range(ladders), range(seeds), range(levels), indexing="ij")
    )
    return SimulatedDesign(level / (levels - 1), ladder, ladder * seeds + seed)


def curve(situation: Situation, levels: np.ndarray, slope: float) -> np.ndarray:
    """Expected performance at each level, less that at level 0."""
    return slope * (1 - np.exp(-3 * levels)) / (1 - np.exp(-3)) if situation.saturating else slope * levels


def true_slope(situation: Situation, design: SimulatedDesign, slope: float) -> float:
    """Slope of the straight line nearest to the true curve over the design's levels."""
    return float(np.polyfit(design.levels, curve(situation, design.levels, slope), 1)[0])


def simulate(situation: Situation, design: SimulatedDesign, *, slope: float, sweeps: int, rng) -> np.ndarray:
    """Performance of each cell in each sweep, shape (sweeps, n)."""
    grid, level = np.unique(design.levels, return_inverse=True)
    ladders, seeds = design.ladders.max() + 1, design.seeds.max() + 1
    effects = situation.level_effects * rng.normal(size=(sweeps, ladders, len(grid)))
    walk = situation.accumulating * rng.normal(size=(sweeps, ladders, len(grid)))
    walk[..., -1] = 0  # at level 1 nothing is pruned
    effects += np.cumsum(walk[..., ::-1], axis=-1)[..., ::-1]
    effects += situation.slopes * rng.normal(size=(sweeps, ladders, 1)) * grid
    noise = 2.5 - 2 * design.levels if situation.heteroscedastic else 1.0
    cells = rng.normal(size=(sweeps, len(design.levels))) * noise
    intercepts = situation.seed_intercepts * rng.normal(size=(sweeps, seeds))
    moved = effects[:, design.ladders, level] + cells + intercepts[:, design.seeds]
    return 0.3 + curve(situation, design.levels, slope) + NOISE * moved
