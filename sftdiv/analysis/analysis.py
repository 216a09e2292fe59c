"""The analysis of a study: every table of the report.

The input is a study. The output is tables, and notes on what could not be computed and why. The
independent runs are ladders, not cells (see `inference`); ``overlaps`` shows how much the subsets of a
ladder share.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from sftdiv.analysis.against_random import random_table
from sftdiv.analysis.associations import correlation_table
from sftdiv.analysis.differences import difference_table
from sftdiv.analysis.notes import Notes
from sftdiv.analysis.power import SLOPES
from sftdiv.analysis.power_table import power_table
from sftdiv.analysis.prediction import axis_table, equivalent_table, prediction_table
from sftdiv.analysis.selector_length import length_table
from sftdiv.analysis.selectors import selector_overlap, selector_table
from sftdiv.analysis.shape import shape_table
from sftdiv.analysis.slopes import slope_table
from sftdiv.analysis.study import Study
from sftdiv.analysis.summaries import baseline_table, ladder_table, noise_table, overlap_tables
from sftdiv.analysis.variance_components import component_table


@dataclass(frozen=True)
class Analysis:
    """Tables of a study. A number that cannot be computed is NaN, and a note gives the reason.

    Attributes:
        study: The study analyzed.
        slopes: One row per (ladder, predictor).
        differences: Pairs of ladders that differ only in strategy or only in side.
        correlations: One row per (scope, side, metric).
        shapes: Lack of fit of the line, curvature and halves, one row per series.
        against_random: Level 1 against random draws, one row per series.
        prediction: Prediction of left-out series, one row per metric and side.
        axes: One line over all series on each common axis.
        equivalent: Levels with the same value of a common axis.
        overlaps: Mean Jaccard index between the subsets of each two levels, by ladder.
        selectors: Selectors without levels and level 1 of each strategy against random draws; empty without a selector.
        selector_length: Gains over random, unmatched and length-matched, one row per selector.
        selector_overlap: Mean Jaccard index between the subsets of each two selectors, by kind of matching.
        ladders: One row per (ladder, level).
        baselines: Random, full and base cells.
        noise: Noise between seeds, one row per ladder.
        components: Variance components: ladder, draw, training, items.
        power: Ladders needed to detect a slope, one row per (series, design, slope).
        notes: Computations and comparisons that were not possible, each with its reason.
    """

    study: Study
    slopes: pd.DataFrame
    differences: pd.DataFrame
    correlations: pd.DataFrame
    shapes: pd.DataFrame
    against_random: pd.DataFrame
    prediction: pd.DataFrame
    axes: pd.DataFrame
    equivalent: pd.DataFrame
    overlaps: Mapping[str, pd.DataFrame]
    selectors: pd.DataFrame
    selector_length: pd.DataFrame
    selector_overlap: Mapping[str, pd.DataFrame]
    ladders: pd.DataFrame
    baselines: pd.DataFrame
    noise: pd.DataFrame
    components: pd.DataFrame
    power: pd.DataFrame
    notes: tuple[str, ...]


def analyze(
    study: Study,
    *,
    first_metrics: Sequence[str],
    detail_metrics: Collection[str],
    slope_sizes: Sequence[float] = SLOPES,
) -> Analysis:
    """Compute every table of a study.

    Args:
        study: Result of ``load_study``.
        first_metrics: Diversity metrics listed before the others, in this order.
        detail_metrics: Columns that another metric summarises, which are not correlated.
        slope_sizes: Slopes in the power table, in performance from level 0 to level 1.
    """
    cells, notes = study.cells, Notes()
    return Analysis(
        study=study,
        slopes=slope_table(cells, folder=study.folder, notes=notes),
        differences=difference_table(cells, study.settings, notes=notes),
        correlations=correlation_table(cells, first=first_metrics, details=detail_metrics, notes=notes),
        shapes=shape_table(cells),
        against_random=random_table(cells),
        prediction=prediction_table(cells, first=first_metrics, details=detail_metrics),
        axes=axis_table(cells),
        equivalent=equivalent_table(cells),
        overlaps=overlap_tables(cells, study.folder, notes=notes),
        selectors=selector_table(cells),
        selector_length=length_table(cells),
        selector_overlap=selector_overlap(cells, study.folder),
        ladders=ladder_table(cells),
        baselines=baseline_table(cells),
        noise=noise_table(cells),
        components=component_table(cells, folder=study.folder, notes=notes),
        power=power_table(cells, study.folder, slopes=slope_sizes, notes=notes),
        notes=(*study.notes, *notes.sentences()),
    )
