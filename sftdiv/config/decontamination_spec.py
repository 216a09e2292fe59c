"""The part of a corpus's specification that decides how it is decontaminated, and against what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sftdiv.protocols import Benchmark, BenchmarkSource, HasBenchmarks
from sftdiv.storage.hashing import identity_of
from sftdiv.storage.validate import check_one_of

if TYPE_CHECKING:
    from sftdiv.data.decontamination import ContaminationFinder

ACTIONS = ("auto", "report", "drop", "none")


@dataclass(frozen=True, kw_only=True)
class DecontaminationSpec:
    """Decontamination of a corpus.

    Attributes:
        requested: The setting ``corpus.decontaminate``, one of `ACTIONS`.
        finder: Definition of contamination.
        is_default: Whether the finder has its default settings and there are no further sources.
        sources: Benchmarks beside those of the evaluators.
        evaluators: Evaluators with items that are searched for, by name.
    """

    requested: str
    finder: ContaminationFinder
    is_default: bool
    sources: Sequence[BenchmarkSource]
    evaluators: Mapping[str, HasBenchmarks]

    def __post_init__(self) -> None:
        check_one_of("corpus.decontaminate", self.requested, ACTIONS)

    @property
    def is_searched(self) -> bool:
        """Whether examples are searched for items at all."""
        return self.requested != "none" and bool(self.sources or self.evaluators)

    @property
    def drops(self) -> bool:
        """Whether the examples found are left out of the corpus."""
        return self.requested == "drop" and self.is_searched

    def load(self) -> list[Benchmark]:
        """The benchmarks of the sources."""
        return [benchmark for source in self.sources for benchmark in source.load()]

    def identity(self) -> dict[str, Any]:
        """Nothing for the default, which changes no example, score or other column of the row; else all settings.

        Without any benchmark the settings have no effect and are absent.
        """
        if self.requested == "auto" and (self.is_default or not self.is_searched):
            return {}
        if not self.is_searched:
            return {"action": "none"}
        return {
            "action": "drop" if self.drops else "report",
            "finder": identity_of(self.finder),
            "sources": [identity_of(source.identity()) for source in self.sources],
            "evaluators": {name: identity_of(part.benchmarks_identity()) for name, part in self.evaluators.items()},
        }
