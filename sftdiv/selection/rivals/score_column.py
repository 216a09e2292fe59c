"""Highest, or lowest, values of a column of scores first, such as a reward or a judge's rating of the data.

Formula: the order of the column's values; ties in the order of the corpus. An example without a value is not selected.
Source: the usual "top-k by score", as in AlpaGasus (Chen et al. 2023, arXiv 2307.08701).
Complexity: a sort. Needs: the column (``corpus.columns``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sftdiv.protocols import SelectionProblem
from sftdiv.records import Selection
from sftdiv.selection.by_value import numbers_of, select_by_value
from sftdiv.selection.ordered import by_score
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_one_of

FIRST = ("highest", "lowest")
SETTING = "selection.selector.column"


@dataclass(frozen=True, kw_only=True)
class ColumnSelector:
    """Selects by a column.

    Attributes:
        column: Name of a column of numbers.
        first: Which values come first, ``highest`` or ``lowest``.
    """

    uses_level: ClassVar[bool] = False

    column: str
    first: str

    def __post_init__(self) -> None:
        check_one_of("selection.selector.first", self.first, FIRST)

    def identity(self) -> dict[str, Any]:
        """Kind and all settings."""
        return {"kind": "column", **settings_identity(self)}

    def select(self, problem: SelectionProblem) -> Selection:
        """The subset, with the medians of the column; see `select_by_value`.

        Raises:
            SftdivError: The column does not exist, holds anything but numbers, or has too few of them.
        """
        scores = numbers_of(problem, self.column, setting=SETTING)
        sign = 1.0 if self.first == "highest" else -1.0
        return select_by_value(
            problem,
            scores,
            name="column_score",
            missing=f"the column {self.column} is empty there",
            order=lambda values: by_score(sign * values),
        )
