"""What a report may be told: how large the random samples are, and which repeated runs count. Flat values, checked where they are made."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sftdiv.records import SftdivError

LAYOUT = 1  # of what a survey keeps: raised when other numbers would be made of the same settings
AUTO = "auto"
AUTO_SIZE = 1000  # examples: small enough for most datasets, large enough for every metric


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Random samples of one size, on which datasets of different sizes compare.

    Attributes:
        size: Examples of a sample; ``auto`` is 1,000, or half of the smallest dataset where that is less.
        draws: Samples.
        seed: Of the draws; the same for every dataset and side.
    """

    size: int | str
    draws: int
    seed: int

    def __post_init__(self) -> None:
        if self.size != AUTO:
            whole("matched.size", self.size, least=1, also=f", or {AUTO}")
        whole("matched.draws", self.draws, least=2)
        whole("matched.seed", self.seed, least=0)

    def resolved(self, examples: int) -> int:
        """The size for datasets of which the smallest holds ``examples``.

        Raises:
            SftdivError: If a stated size is larger than that.
        """
        if self.size == AUTO:
            return min(AUTO_SIZE, max(examples // 2, 1))
        if int(self.size) > examples:
            raise SftdivError(
                f"matched.size={self.size} is more than the {examples:,} examples of the smallest dataset; at most that many"
            )
        return int(self.size)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Which runs of tokens count as repeated.

    Attributes:
        shortest: Tokens at least.
        longest: Tokens at most.
        min_share: Share of the distinct texts that hold a run, at least (and never fewer than two texts).
        tokens: Tokens that are looked at; of a longer side distinct texts are drawn until they hold as many.
        top: Runs that are listed.
        seed: Of that draw.
    """

    shortest: int
    longest: int
    min_share: float
    tokens: int
    top: int
    seed: int

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self) if field.name != "min_share"):
            whole(f"repeated.{name}", getattr(self, name), least={"shortest": 3, "seed": 0}.get(name, 1))
        if (
            isinstance(self.min_share, bool)
            or not isinstance(self.min_share, int | float)
            or not 0 <= self.min_share <= 1
        ):
            raise SftdivError(f"repeated.min_share={self.min_share!r} must be a number in [0, 1]")
        if self.longest < self.shortest:
            raise SftdivError(f"repeated.longest={self.longest} must not be below repeated.shortest={self.shortest}")


def whole(name: str, value: object, *, least: int, also: str = "") -> None:
    """Refuse a setting that is no whole number of at least ``least``.

    Raises:
        SftdivError: With the setting and its value.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SftdivError(f"{name}={value!r} must be a whole number of at least {least}{also}")
