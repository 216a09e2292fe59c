"""The parts that decide results, one Protocol each.

A component's ``identity`` is what decides its result, as JSON: files by content, no class names, paths,
library versions or speed settings. It names cells and keys artifacts; see `storage.hashing`. It is requested
before every run, finished ones included, so it must be cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols.contexts import CorpusSide, EvalContext, SelectionProblem
from sftdiv.records import Embeddings, Example, RawTags, Score, Selection, Units


class Reader(Protocol):
    """Reads the examples of a corpus."""

    def identity(self) -> Mapping[str, Any]:
        """What decides the content: file digests, or a Hub id and revision, or a seed; JSON, no paths."""
        ...

    def examples(self, reject: Callable[[str, int, str, str], None]) -> Iterator[Example]:
        """Every valid example in order.

        Args:
            reject: Called as ``reject(file, line, reason, text)`` for an invalid row; raises, or records the row.
        """
        ...


Needs = Literal["token_ids", "embeddings", "column", "nothing"]


class UnitExtractor(Protocol):
    """Extracts the units of diversity from one side of a corpus.

    A strategy's YAML names in ``needs`` (see `Needs`) the input of its extractor, which keys the cached units:

    - ``token_ids``: token ids of the side, by the strategy's ``tokenizer``;
    - ``embeddings``: vectors of the side's texts, by the configured ``embedder``;
    - ``column``: a carried column of the corpus (``corpus.columns``);
    - ``nothing``: the side's texts alone.
    """

    def identity(self) -> Mapping[str, Any]:
        """Kind and settings that decide the units; JSON, files by content, no versions."""
        ...

    def extract(self, side: CorpusSide) -> Units:
        """Units of every example; an example may have none."""
        ...


class Selector(Protocol):
    """Selects examples of a universe (``conf/selector``).

    Optional attributes of its class, and a field, are read before a run:

    - ``uses_level``: False for a selector without diversity levels. Its cells are named by the ``kind`` of its identity
      in place of strategy and level, are one for all levels, and have the columns ``kind=selector`` and ``selector``.
    - ``needs``: ``embeddings`` for a selector that compares vectors; ``embedder=none`` is then refused. ``names`` for
      one that embeds names of unit types, which ``embedder=lsa`` cannot do either. ``base`` for one that reads the
      examples with the base model, which ``stop_after=select`` does not train from scratch.
    - ``column``, a field: carried column of the corpus that it reads; without ``corpus.columns`` it is refused.
    """

    def identity(self) -> Mapping[str, Any]:
        """Kind and settings that decide the selection; JSON."""
        ...

    def select(self, problem: SelectionProblem) -> Selection:
        """Examples of the problem's universe, stratum by stratum, until their weights reach its size."""
        ...


class Embedder(Protocol):
    """Embeds texts."""

    def identity(self) -> Mapping[str, Any]:
        """Settings and content of the model; JSON, no paths of this machine."""
        ...

    def embed(self, texts: Sequence[str], partial: Path) -> Embeddings:
        """Row-normalised embeddings of texts.

        Args:
            texts: Texts to embed.
            partial: Folder for intermediate results; may hold those of a killed call with the same texts and identity.
        """
        ...


class Evaluator(Protocol):
    """Scores a checkpoint.

    Attributes:
        primary: Name of the score that a study uses as performance; None without such a score.
        higher_is_better: Whether a larger primary score is better; None if unknown.
    """

    primary: str | None
    higher_is_better: bool | None

    def identity(self) -> Mapping[str, Any]:
        """Settings that decide the scores; JSON, files by content, no class names, paths or speed settings."""
        ...

    def check(self, context: EvalContext) -> Mapping[str, bool | None] | None:
        """Validate tasks, data and settings before training starts.

        Args:
            context: Inputs of the evaluation.

        Returns:
            Names of the scores, each with whether higher is better (None if unknown). A name that ends in a dot
            stands for all names with this prefix. None: all names begin with the option's own name and a dot.
        """
        ...

    def score(self, checkpoint: Path, context: EvalContext) -> dict[str, Score]:
        """Every score by name."""
        ...


class Clusterer(Protocol):
    """Groups vectors into clusters. A ``seed`` among its settings, if any, is varied by repeated runs (`Stability`)."""

    def identity(self) -> Mapping[str, Any]:
        """Kind and settings that decide the clusters; JSON, no versions."""
        ...

    def cluster(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Cluster of each row, shape (rows,): 0, 1, ... or -1 for noise."""
        ...


class Tagger(Protocol):
    """Tags texts."""

    def identity(self) -> Mapping[str, Any]:
        """Kind and settings that decide the tags; JSON, files by content, no versions, speed settings or secrets."""
        ...

    def tag(self, texts: Sequence[str], partial: Path) -> RawTags:
        """Raw tags of distinct texts.

        Args:
            texts: Distinct texts.
            partial: Folder for intermediate results; may hold those of a killed call with the same texts and identity.
        """
        ...
