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
from typing import Any, Literal, TypeVar

from sftdiv.diversity.text_set import TextSet, UnitSet
from sftdiv.records import SftdivError

Direction = Literal["high", "low", "neither"]
Needs = Literal["tokens", "texts", "embeddings", "reference", "units", "samples"]
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
        needs: Input that it is computed from; ``reference`` are embeddings of the whole corpus, ``samples`` texts
            of a fixed number of tokens, which are drawn for every set and are no choice of a config.
        growth: Change of the value as more texts are drawn from one source. Only sets of one size
            compare, unless it stays.
        moves_with_length: Whether it depends on the length of the texts, whatever their diversity.
        within_texts: Whether it is measured in each text by itself, so that it does not see that texts repeat.
        detail: Whether another column of the family summarises it. Details are measured and stored,
            but neither listed nor tested as metrics of their own.
        paper: Whether it is one of the paper's seven metrics (Li et al., arXiv 2505.24768).
    """

    name: str
    family: str
    title: str
    direction: Direction
    needs: Needs
    growth: Growth
    moves_with_length: bool
    within_texts: bool
    detail: bool
    paper: bool

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
        paper: Whether it has one of the paper's metrics.
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


class Registry:
    """Declared families and their columns, each in the order of the families."""

    def __init__(self) -> None:
        self.metrics: dict[str, Metric] = {}
        self.text_families: dict[str, Family] = {}
        self.unit_families: dict[str, Family] = {}
        self.sample_families: dict[str, Family] = {}

    def add(self, family: Family) -> None:
        """Register a family, in place of an earlier declaration of the same function (a reloaded module).

        Raises:
            SftdivError: If another function has declared the family or one of its columns.
        """
        declared = self.text_families | self.unit_families | self.sample_families
        previous = declared.get(family.name)
        if previous is not None and _origin(previous) != _origin(family):
            raise SftdivError(f"the metric family {family.name!r} is declared twice: {_both(previous, family)}")
        for column in family.columns:
            owner = declared[self.metrics[column.name].family] if column.name in self.metrics else family
            if owner.name != family.name:
                raise SftdivError(f"the metric column {column.name!r} is declared twice: {_both(owner, family)}")
        declared[family.name] = family
        ordered = sorted(declared.values(), key=lambda item: item.order)
        by_needs = {"units": self.unit_families, "samples": self.sample_families}
        self.metrics.clear()
        for families in (self.text_families, *by_needs.values()):
            families.clear()
        for item in ordered:
            self.metrics.update({column.name: column for column in item.columns})
            by_needs.get(item.needs, self.text_families)[item.name] = item


def _origin(family: Family) -> str:
    return f"{family.measure.__module__}.{getattr(family.measure, '__qualname__', '')}"


def _both(first: Family, second: Family) -> str:
    return f"by {_origin(first)} and by {_origin(second)}"


DECLARED = Registry()


def metric(
    family: str,
    columns: Mapping[str, str],
    *,
    direction: Direction | Mapping[str, Direction],
    needs: Needs,
    growth: Growth,
    moves_with_length: bool = False,
    within_texts: bool = False,
    details: Collection[str] = (),
    paper: Collection[str] = (),
    order: int = LAST,
) -> Callable[[Decorated], Decorated]:
    """Declare the decorated function as the measure of a family of columns.

    Args:
        family: Name that a config selects it by.
        columns: Column name to title, the headline first; the function returns a value for each.
        direction: Values of a diverse set, of all columns or of each by its name.
        needs: Input of the function; where there is none, ``describe`` leaves the columns out.
        growth: Change of the values as more texts are drawn from one source.
        moves_with_length: Whether the values depend on the length of the texts.
        within_texts: Whether they are measured in each text by itself; they decide no comparison of two sets.
        details: Columns that another one summarises; see ``Metric``.
        paper: Columns that are metrics of the paper; their families are measured by default.
        order: Position among the families.
    """

    def declare(function: Decorated) -> Decorated:
        declared = tuple(
            Metric(
                name=name,
                family=family,
                title=title,
                direction=direction if isinstance(direction, str) else direction[name],
                needs=needs,
                growth=growth,
                moves_with_length=moves_with_length,
                within_texts=within_texts,
                detail=name in details,
                paper=name in paper,
            )
            for name, title in columns.items()
        )
        DECLARED.add(
            Family(name=family, columns=declared, needs=needs, paper=bool(paper), order=order, measure=function)
        )
        return function

    return declare
