"""Benchmarks whose items training data may share text with, and the parts that have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from sftdiv.records import Score


@dataclass(frozen=True)
class Benchmark:
    """The scored items of one task, group of tasks, prompt source or file.

    Attributes:
        name: Name in columns, such as ``leak.NAME``.
        texts: Text of each item that training data is searched for, without the answer.
        parts: Tasks of a group with their numbers of items, in the order of ``texts``; empty for one task.
    """

    name: str
    texts: Sequence[str]
    parts: Sequence[tuple[str, int]] = ()


class BenchmarkSource(Protocol):
    """Benchmarks beside those of the evaluators (``corpus.contamination``)."""

    def identity(self) -> Mapping[str, object]:
        """Settings that decide the items; files by content."""
        ...

    def load(self) -> Sequence[Benchmark]:
        """The benchmarks."""
        ...


@runtime_checkable
class HasBenchmarks(Protocol):
    """An evaluator that scores items which training data may contain (implemented beside `Evaluator`)."""

    @property
    def is_public(self) -> bool:
        """Whether the items exist outside this run, so that training data may contain them."""
        ...

    def benchmarks_identity(self) -> Mapping[str, object]:
        """Settings that decide the items; files by content."""
        ...

    def benchmarks(self, world_tasks: Callable[[], Path]) -> Sequence[Benchmark]:
        """The scored items.

        Args:
            world_tasks: Folder of the synthetic corpus's benchmark as lm-eval tasks.
        """
        ...

    def clean_scores(
        self, folder: Path, touched: Mapping[str, frozenset[int]], scores: Mapping[str, Score]
    ) -> Mapping[str, Score]:
        """Scores on the untouched items alone, from the results per item of a finished evaluation.

        Args:
            folder: The cell's ``evaluation/`` folder.
            touched: Positions of the items that share text with the corpus, by task or source; without those that
                have no such item.
            scores: All scores of the evaluation.

        Returns:
            ``SCORE.clean`` for each score that is a mean over items of which some are touched and some are not.
        """
        ...
