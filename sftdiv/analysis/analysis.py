"""The analysis of a study: every table of the report.

In: a study and a random generator, for the bootstraps. Out: tables, and notes that say what could
not be computed and why. The trade: cells count as independent, though those of one ladder share
examples, so that intervals are, if anything, too narrow; ``overlaps`` says how much.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sftdiv.analysis.associations import correlation_table
from sftdiv.analysis.correlation import RESAMPLES
from sftdiv.analysis.notes import Notes
from sftdiv.analysis.power import SLOPES
from sftdiv.analysis.slopes import difference_table, slope_table
from sftdiv.analysis.study import Study
from sftdiv.analysis.summaries import baseline_table, ladder_table, noise_table, overlap_tables, power_table


@dataclass(frozen=True)
class Analysis:
    """Tables of a study; a number that cannot be computed is NaN, and a note says why.

    ``slopes``: one row a (ladder, predictor). ``differences``: pairs of ladders that differ in
    strategy or side alone. ``correlations``: one row a (scope, side, metric). ``overlaps``: for
    each ladder, levels x levels, the mean Jaccard index. ``ladders``: one row a (ladder, level).
    ``baselines``: random, full and base cells. ``noise``: one row a ladder. ``power``: one row a
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


def analyze(
    study: Study,
    *,
    first_metrics: Sequence[str],
    detail_metrics: Collection[str],
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    slope_sizes: Sequence[float] = SLOPES,
) -> Analysis:
    """Every table of a study.

    Args:
        study: Of ``load_study``.
        first_metrics: Diversity metrics listed before the others, in this order.
        detail_metrics: Columns that another metric summarises, which are not correlated.
        rng: For the bootstraps.
        resamples: Of each bootstrap.
        slope_sizes: The slopes that ``power`` is told for, in performance from level 0 to level 1.
    """
    cells, notes = study.cells, Notes()
    noise = noise_table(cells)
    return Analysis(
        study=study,
        slopes=slope_table(cells, rng=rng, resamples=resamples, notes=notes),
        differences=difference_table(cells, study.folder, notes=notes),
        correlations=correlation_table(
            cells, first=first_metrics, details=detail_metrics, rng=rng, resamples=resamples, notes=notes
        ),
        overlaps=overlap_tables(cells, study.folder, notes=notes),
        ladders=ladder_table(cells),
        baselines=baseline_table(cells),
        noise=noise,
        power=power_table(cells, noise, slopes=slope_sizes, notes=notes),
        notes=(*study.notes, *notes.told()),
    )
