"""Validated settings of a dataset report: size of the random samples, and which repeated runs count."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sftdiv.records import SftdivError
from sftdiv.storage.validate import check_range, shown_value

LAYOUT = 2  # version of a stored measurement: raise it when the same settings would give other numbers
AUTO = "auto"
AUTO_SIZE = 1000  # examples: small enough for most datasets, large enough for every metric
LEAST_OF_RUNS = {"shortest": 3, "seed": 0}  # 1 for the other whole numbers


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Random samples of one size, on which datasets of different sizes compare.

    Attributes:
        size: Examples per sample; ``auto`` is 1,000, or half of the smallest dataset where that is less.
        draws: Number of samples.
        seed: Seed of the draws, the same for every dataset and side.
    """

    size: int | str
    draws: int
    seed: int

    def __post_init__(self) -> None:
        is_count = isinstance(self.size, int) and not isinstance(self.size, bool) and self.size >= 1
        if self.size != AUTO and not is_count:
            raise SftdivError(f"matched.size={shown_value(self.size)} must be a whole number of at least 1, or {AUTO}")
        check_range("matched.draws", self.draws, least=2, whole=True)
        check_range("matched.seed", self.seed, least=0, whole=True)

    def resolved(self, examples: int) -> int:
        """Examples per sample for datasets of which the smallest has ``examples``.

        Raises:
            SftdivError: If a stated size is larger than that.
        """
        if self.size == AUTO:
            return min(AUTO_SIZE, max(examples // 2, 1))
        if int(self.size) > examples:
            raise SftdivError(
                f"matched.size={self.size} is more than the {examples:,} examples of the smallest dataset; "
                "at most that many"
            )
        return int(self.size)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Which runs of tokens count as repeated.

    Attributes:
        shortest: Minimum number of tokens of a run.
        longest: Maximum number of tokens of a run.
        min_share: Minimum share of the distinct texts that a run occurs in (and never fewer than two texts).
        tokens: Number of tokens searched; of a longer side, distinct texts are drawn up to this many tokens.
        top: Maximum number of runs reported.
        seed: Seed of that draw.
    """

    shortest: int
    longest: int
    min_share: float
    tokens: int
    top: int
    seed: int

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.name != "min_share"):
            check_range(f"repeated.{name}", getattr(self, name), least=LEAST_OF_RUNS.get(name, 1), whole=True)
        check_range("repeated.min_share", self.min_share, least=0, most=1)
        if self.longest < self.shortest:
            raise SftdivError(f"repeated.longest={self.longest} must not be below repeated.shortest={self.shortest}")
