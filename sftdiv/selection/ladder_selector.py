"""Ladder selector: prune unit types down to the level's number of types, then draw evenly from the remaining pool.

It turns a selection problem into the selected examples, with the requested and the reached number of
types. The ladders of a universe are cached, since they are the same for every level, size and draw seed.

Below level 1 a second ladder is built, with another order among types of equal support: what its pool shares with the
selection's is the column ``tie_jaccard``, the ladder's own noise. It is always reported, since it costs one more
cached ladder, 0.3 s for 117,000 examples and linear in the units, which is little beside the extraction of the units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sftdiv.protocols import SelectionProblem
from sftdiv.records import Ladder, Selection, SftdivError
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_one_of, check_range

PRUNINGS = ("support", "sample", "random")
DRAW_ORDERS = ("rarest", "random")
FILE = "ladders.npz"
DRAW_BY = "selection.draw_by"


@dataclass(frozen=True, kw_only=True)
class LadderSelector:
    """Selects at a diversity level by pruning unit types; see `selection.ladder` and `selection.choose`.

    Attributes:
        prune: Order in which types are removed: by ``support``, by ``sample``, or ``random``.
        k_min: Number of types at level 0: ``auto``, a number, or a share of all types in (0, 1).
        k_min_size: Number of examples for which ``auto`` is resolved; None for the requested size.
        slack: Minimum ratio of the pool of level 0 to the size.
        draw_by: Column of scores, not negative, to which the probability of drawing a member of a type is
            proportional; None for a uniform draw.
        draw_order: Which of the types with the fewest drawn examples is next, the ``rarest`` or a ``random`` one.
        batch: Share of the remaining types removed in a round with ``prune=support``; None or 0 for the exact order,
            one type after another. See `selection.ladder`.
    """

    prune: str
    k_min: str | int | float
    k_min_size: int | None
    slack: float
    draw_by: str | None = None
    draw_order: str = "rarest"
    batch: float | None = None

    def __post_init__(self) -> None:
        check_one_of("selection.prune", self.prune, PRUNINGS)
        check_one_of("selection.draw_order", self.draw_order, DRAW_ORDERS)
        if self.k_min != "auto":
            check_range("selection.k_min", self.k_min, least=0)
        check_range("selection.k_min_size", self.k_min_size, least=1, whole=True, optional=True)
        check_range("selection.slack", self.slack, least=1)
        check_range("selection.batch", self.batch, least=0, most=1, optional=True)
        if self.batch and self.prune != "support":
            raise SftdivError(
                f"selection.batch={self.batch} removes types by support, which selection.prune={self.prune} does not: "
                "set selection.batch=null or selection.prune=support"
            )

    def identity(self) -> dict[str, Any]:
        """Kind and all settings; the column of scores, the order of the draw and the batch only where they are set."""
        identity = {"kind": "ladder", **settings_identity(self)}
        if self.draw_by is None:
            del identity["draw_by"]
        if self.draw_order == "rarest":
            del identity["draw_order"]
        if not self.batch:
            del identity["batch"]
        return identity

    def select(self, problem: SelectionProblem) -> Selection:
        """A subset of the universe at the problem's level, with the columns of `selection.choose.choose`.

        Raises:
            SftdivError: The universe has fewer than two types, or is too small for the size and the slack; the column
                of scores does not exist, or holds anything but numbers of at least 0.
        """
        from sftdiv.selection.by_value import positive_scores
        from sftdiv.selection.choose import choose

        everything = problem.examples is None
        floor = None
        if self.k_min_size is not None and problem.examples:
            floor = problem.size * self.k_min_size / problem.examples
        return choose(
            problem.units,
            problem.universe,
            self.ladders(problem, seed=problem.ladder_seed),
            level=problem.level,
            size=problem.size,
            weights=problem.weights,
            k_min=self.k_min,
            slack=1.0 if everything else self.slack,
            seed=problem.seed,
            floor=floor,
            scores=None if self.draw_by is None else positive_scores(problem, self.draw_by, setting=DRAW_BY),
            rarest_first=self.draw_order == "rarest",
            other_ladders=lambda: self.ladders(problem, seed=problem.ladder_seed + 1),
        )

    def ladders(self, problem: SelectionProblem, *, seed: int) -> list[Ladder]:
        """The ladder of each stratum of the universe, cached.

        Args:
            problem: The selection problem.
            seed: Seed of the order among equals.
        """
        key = {"prune": self.prune, "seed": seed} | ({"batch": self.batch} if self.batch else {})

        def build(folder: Path, _: Path) -> None:
            from sftdiv.selection.choose import build_ladders

            settings: dict[str, Any] = {"prune": self.prune, "seed": seed, "batch": self.batch or 0.0}
            save_ladders(build_ladders(problem.units, problem.universe, **settings), folder)

        return load_ladders(problem.keep("ladders", key, build))


def save_ladders(ladders: Sequence[Ladder], folder: Path) -> None:
    """Write the ladders of all strata into one file."""
    arrays: dict[str, Any] = {f"order{i}": ladder.type_order for i, ladder in enumerate(ladders)}
    arrays |= {f"step{i}": ladder.example_step for i, ladder in enumerate(ladders)}
    np.savez(folder / FILE, **arrays)


def load_ladders(folder: Path) -> list[Ladder]:
    """Read the file of `save_ladders`."""
    with np.load(folder / FILE, allow_pickle=False) as arrays:
        return [Ladder(arrays[f"order{i}"], arrays[f"step{i}"]) for i in range(len(arrays.files) // 2)]
