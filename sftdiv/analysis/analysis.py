"""The analysis of a study: every table of the report.

In: a study and a random generator, for the bootstraps. Out: tables, and notes that say what could not be computed and why.
Cells of one ladder share examples, so runs are not quite independent and intervals are, if
anything, too narrow: ``overlaps`` says how much they share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from sftdiv.analysis.study import Study


@dataclass(frozen=True)
class Analysis:
    """Tables of a study; a number that cannot be computed is NaN, and a note says why.

    ``slopes``: one row a (ladder, predictor). ``differences``: pairs of ladders that differ in strategy or side alone.
    ``correlations``: one row a (scope, side, metric). ``overlaps``: for each ladder, levels x levels, the mean Jaccard index of two subsets.
    ``ladders``: one row a (ladder, level). ``baselines``: random, full and base cells. ``noise``: one row a ladder. ``power``: one row a
    (ladder, slope): the seeds it takes to see that slope.
    """

    study: Study
    slopes: pd.DataFrame
    differences: pd.DataFrame
    correlations: pd.DataFrame
    overlaps: Mapping[str, pd.DataFrame]
    ladders: pd.DataFrame
    baselines: pd.DataFrame
    noise: pd.DataFrame
    power: pd.DataFrame
    notes: tuple[str, ...]
