"""Seeds of a run's random steps."""

from __future__ import annotations

from dataclasses import dataclass

from sftdiv.storage.validate import check_range


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Seeds of the three random steps of a run; a replicate of a design changes all of them.

    Attributes:
        ladder: Seed of the universe sample and of the order among equal types: it decides which types a level keeps.
        draw: Seed of the draw from a level's pool.
        train: Seed of the fine-tuning.
    """

    ladder: int
    draw: int
    train: int

    def __post_init__(self) -> None:
        check_range("seed.ladder", self.ladder, least=0, whole=True)
        check_range("seed.draw", self.draw, least=0, whole=True)
        check_range("seed.train", self.train, least=0, whole=True)

    @property
    def label(self) -> str:
        """The seeds in a cell's name: ``s1``, with ``r`` for another ladder and ``t`` for another training seed."""
        ladder = f"r{self.ladder}" if self.ladder else ""
        train = f"t{self.train}" if self.train != self.draw else ""
        return f"{ladder}s{self.draw}{train}"

    @property
    def columns(self) -> dict[str, int]:
        """Columns of a result row; ``seed`` is the seed of the draw."""
        return {
            "seed": self.draw,
            "seed.ladder": self.ladder,
            "seed.draw": self.draw,
            "seed.train": self.train,
        }
