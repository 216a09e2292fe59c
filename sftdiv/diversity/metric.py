"""How a diversity metric is declared: one ``@metric(...)`` beside its function, in its own file.

A *family* is what a config names and what is measured at once; it gives one or more *columns* of a
result row. The decorated function receives a ``TextSet`` (or a ``UnitSet``, for a family that needs
units) and returns the value of each column, in the order declared. ``registry`` imports the files
and measures; nothing here knows which metrics exist.

Names and families are needed before any work, to validate a config and to show a finished run.
Importing a metric's module must therefore be cheap: numpy and the standard library at the top;
compiled kernels (``kernels/``), scikit-learn and scipy inside the function that calls them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.ngram_counts import NgramCounts, count_ngrams
from sftdiv.records import SftdivError, TokenIds

if TYPE_CHECKING:
    import scipy.sparse

Direction = Literal["high", "low", "neither"]
Needs = Literal["tokens", "texts", "embeddings", "reference", "units"]
Growth = Literal["falls", "rises", "stays"]
Measure = Callable[[Any], float | Sequence[float]]
Decorated = TypeVar("Decorated", bound=Measure)

LAST = 1000  # order of families that declare none: after the package's own


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One column of a result row.

    Attributes:
        name: Column name.
        family: Name that ``describe`` and ``diversity.metrics`` select it by.
        title: Label in a table or on an axis.
        direction: Values of a diverse set: high, low, or neither (length).
        needs: Input that it is computed from; ``reference`` are embeddings of the whole corpus.
        growth: Change of the value as more texts are drawn from one source. Only sets of one size
            compare, unless it stays.
        moves_with_length: Whether it depends on the length of the texts, whatever their diversity.
        detail: Whether another column of the family summarises it. Details are measured and stored,
            but neither listed nor tested as metrics of their own.
    """

    name: str
    family: str
    title: str
    direction: Direction
    needs: Needs
    growth: Growth
    moves_with_length: bool
    detail: bool

    def record(self) -> dict[str, str]:
        """The column as ``measure.json`` describes it."""
        return {
            "name": self.name,
            "family": self.family,
            "title": self.title,
            "diverse": self.direction,
            "needs": self.needs,
            "growth": self.growth,
        }


@dataclass(frozen=True, kw_only=True)
class Family:
    """A function that measures one or more columns; the first column is the headline of the family.

    Attributes:
        name: Name that a config selects it by.
        columns: Its columns.
        needs: Input of all its columns.
        paper: Whether it is one of the paper's metrics (Li et al., arXiv 2505.24768).
        order: Position among the families, ascending.
        measure: Values of the columns of a ``TextSet`` or, where it needs units, of a ``UnitSet``.
    """

    name: str
    columns: tuple[Metric, ...]
    needs: Needs
    paper: bool
    order: int
    measure: Measure

    def values(self, subset: TextSet | UnitSet) -> dict[str, float]:
        """Column name to value."""
        values = self.measure(subset)
        values = [values] if isinstance(values, int | float) else values
        return {column.name: value for column, value in zip(self.columns, values, strict=True)}


@dataclass(frozen=True)
class TextSet:
    """Texts of one side of a set, and what several metrics compute from them.

    Attributes:
        token_ids: Token ids of the texts.
        texts: The texts.
        embeddings: Row-normalised embeddings, shape (texts, dimensions), or None.
        reference: Embeddings of the corpus that the set is taken from, or None.
        rng: Generator of metrics that draw at random, or None.
        most: Number of texts that metrics over all pairs of embeddings use at most.
    """

    token_ids: TokenIds
    texts: Sequence[str]
    embeddings: NDArray[np.float32] | None
    reference: NDArray[np.float32] | None
    rng: np.random.Generator | None
    most: int

    @cached_property
    def ngram_counts(self) -> NgramCounts:
        """N-grams of orders 1 to 4, counted once for all metrics made from them."""
        return count_ngrams(self.token_ids)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The embeddings; ``describe`` calls a metric that needs them only where there are some."""
        assert self.embeddings is not None
        return self.embeddings

    @cached_property
    def sampled_vectors(self) -> NDArray[np.float32]:
        """The embeddings of at most ``most`` texts, drawn once without replacement where there are more."""
        if len(self.vectors) <= self.most:
            return self.vectors
        return self.vectors[np.sort(self.generator.choice(len(self.vectors), self.most, replace=False))]

    @property
    def generator(self) -> np.random.Generator:
        """The random generator.

        Raises:
            SftdivError: If there is none.
        """
        if self.rng is None:
            raise SftdivError(
                f"homogenisation, and metrics over all pairs of more than {self.most:,} texts, draw at random "
                "and need rng"
            )
        return self.rng


@dataclass(frozen=True)
class UnitSet:
    """Units of the examples of a set.

    Attributes:
        matrix: Counts, shape (examples, types).
        types: Number of types that exist; None for the columns of the matrix.
    """

    matrix: scipy.sparse.csr_array
    types: int | None = None


class Registry:
    """Declared families and their columns, each in the order of the families."""

    def __init__(self) -> None:
        self.metrics: dict[str, Metric] = {}
        self.text_families: dict[str, Family] = {}
        self.unit_families: dict[str, Family] = {}

    def add(self, family: Family) -> None:
        """Register a family, in place of an earlier declaration of the same function (a reloaded module).

        Raises:
            SftdivError: If another function has declared the family or one of its columns.
        """
        declared = self.text_families | self.unit_families
        previous = declared.get(family.name)
        if previous is not None and _origin(previous) != _origin(family):
            raise SftdivError(f"the metric family {family.name!r} is declared twice: {_both(previous, family)}")
        for column in family.columns:
            owner = declared[self.metrics[column.name].family] if column.name in self.metrics else family
            if owner.name != family.name:
                raise SftdivError(f"the metric column {column.name!r} is declared twice: {_both(owner, family)}")
        declared[family.name] = family
        ordered = sorted(declared.values(), key=lambda item: item.order)
        for families in (self.metrics, self.text_families, self.unit_families):
            families.clear()
        for item in ordered:
            self.metrics.update({column.name: column for column in item.columns})
            (self.unit_families if item.needs == "units" else self.text_families)[item.name] = item


def _origin(family: Family) -> str:
    return f"{family.measure.__module__}.{getattr(family.measure, '__qualname__', '')}"


def _both(first: Family, second: Family) -> str:
    return f"by {_origin(first)} and by {_origin(second)}"


DECLARED = Registry()


def metric(
    family: str,
    columns: Mapping[str, str],
    *,
    direction: Direction,
    needs: Needs,
    growth: Growth,
    moves_with_length: bool = False,
    details: Collection[str] = (),
    paper: bool = False,
    order: int = LAST,
) -> Callable[[Decorated], Decorated]:
    """Declare the decorated function as the measure of a family of columns.

    Args:
        family: Name that a config selects it by.
        columns: Column name to title, the headline first; the function returns a value for each.
        direction: Values of a diverse set.
        needs: Input of the function; where there is none, ``describe`` leaves the columns out.
        growth: Change of the values as more texts are drawn from one source.
        moves_with_length: Whether the values depend on the length of the texts.
        details: Columns that another one summarises; see ``Metric``.
        paper: Whether the family is one of the paper's metrics, which are measured by default.
        order: Position among the families.
    """

    def declare(function: Decorated) -> Decorated:
        declared = tuple(
            Metric(
                name=name,
                family=family,
                title=title,
                direction=direction,
                needs=needs,
                growth=growth,
                moves_with_length=moves_with_length,
                detail=name in details,
            )
            for name, title in columns.items()
        )
        DECLARED.add(Family(name=family, columns=declared, needs=needs, paper=paper, order=order, measure=function))
        return function

    return declare
