"""Slopes of performance on level, share of types and measured entropy, raw and controlled, for every ladder.

The input is the cells and settings of a study. The output is one row per (ladder, predictor), and
the differences between ladders. Only ladder cells are used. Intervals assume independent cells,
although those of one ladder share examples (see `overlap`) and those of one seed share its noise
(see ``slope_mixed``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sftdiv.analysis import correlation
from sftdiv.analysis.checks import is_constant
from sftdiv.analysis.intercept import fit_random_intercept
from sftdiv.analysis.notes import Notes
from sftdiv.analysis.regression import Fit, difference, explained, fit_line
from sftdiv.analysis.variants import FAMILY, IDENTITY, differing, identifying_settings, is_foreign

Floats = NDArray[np.float64]
PREDICTORS = ("level", "k_share", "unit_entropy")
COVARIATES = {
    "length": ("diversity.response.length", "mean response length"),
    "tokens": ("train.label_tokens", "number of label tokens"),
}
COLLINEAR = 0.9  # R^2 above which the slope given a covariate rests on at most a tenth of the predictor's variance
COLUMNS = (
    "ladder", *FAMILY, "variant", "predictor", "n", "seeds", "levels",
    "slope", "slope_sd", "slope_low", "slope_high", "sigma", "intercept",
    "pearson", "pearson_low", "pearson_high", "spearman", "spearman_low", "spearman_high",
    "slope_given_length", "slope_given_length_sd", "partial_length",
    "slope_given_tokens", "slope_given_tokens_sd", "partial_tokens",
    "collinear_length", "collinear_tokens", "slope_mixed", "slope_mixed_sd", "seed_variance_share",
)  # fmt: skip
DIFFERENCES = ("a", "b", "difference", "sd", "low", "high", "probability")


def ladders_of(cells: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Label and cells of each ladder, in the order of the study."""
    for label, ladder in cells[cells["kind"] == "level"].groupby("ladder", sort=False):
        yield str(label), ladder


def slope_table(cells: pd.DataFrame, *, rng: np.random.Generator, resamples: int, notes: Notes) -> pd.DataFrame:
    """Regress performance on every predictor, for every ladder.

    Args:
        cells: Sorted cells of a study.
        rng: Random generator of the bootstraps.
        resamples: Number of samples in each bootstrap.
        notes: Receives what cannot be computed.

    Returns:
        Table with the columns ``COLUMNS``; NaN where a number cannot be computed.
    """
    rows = []
    for label, ladder in ladders_of(cells):
        scored = ladder[ladder["performance"].notna()]
        seeds = scored["seed"].to_numpy()
        if scored.empty:
            notes.add("no cell has a performance: no slope", label)
        elif scored["seed"].nunique() < 2:
            notes.add(
                "one seed: no seed effect or noise between seeds can be estimated; intervals use cells only", label
            )
        samples = correlation.resample(seeds, rng=rng, resamples=resamples) if len(scored) else None
        identity = {name: ladder[name].iloc[0] for name in (*FAMILY, "variant")}
        for predictor in PREDICTORS:
            columns = _slope_row(scored, label, predictor, samples, notes)
            rows.append({"ladder": label, **identity, "predictor": predictor, **columns})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _slope_row(
    scored: pd.DataFrame, label: str, predictor: str, samples: NDArray[np.int64] | None, notes: Notes
) -> dict[str, Any]:
    """The columns of one ladder and predictor."""
    row: dict[str, Any] = {"n": len(scored), "seeds": scored["seed"].nunique(), "levels": scored["level"].nunique()}
    x, y = scored[predictor].to_numpy(dtype=float), scored["performance"].to_numpy(dtype=float)
    if not len(x) or is_constant(scored["performance"]):  # the study has a note on it
        return row
    if predictor == "k_share" and np.isnan(x).all():  # not selected by a ladder of unit types
        return row
    if np.isnan(x).any():
        notes.add(f"{predictor} is not known for {int(np.isnan(x).sum())} of {len(x)} cells: no slope on it", label)
        return row
    fit = fit_line(x, y)
    if fit is None:
        too_few = f"{len(x)} scored cell{'s' if len(x) > 1 else ''}: a line and its uncertainty need 3"
        notes.add(too_few if len(x) < 3 else f"{predictor} is the same in every cell: no slope on it", label)
        return row
    row |= _raw(fit, label, notes)
    row |= _correlations(x, y, samples, label, notes)
    for name, (column, words) in COVARIATES.items():
        row |= _controlled(x, y, scored[column].to_numpy(dtype=float), name, words, label, notes)
    mixed = fit_random_intercept(x, y, scored["seed"].to_numpy())
    if mixed is not None:
        row |= {"slope_mixed": mixed.slope, "slope_mixed_sd": mixed.slope_sd, "seed_variance_share": mixed.seed_share}
    elif row["seeds"] > 1:
        notes.add(f"no random intercept for the seed with {predictor}: too few cells within a seed", label)
    return row


def _raw(fit: Fit, label: str, notes: Notes) -> dict[str, float]:
    """The slope without covariates."""
    slope = fit.slope
    if math.isnan(slope.sd):
        reason = "(Student t with 1 or 2 degrees of freedom)"
        notes.add(f"with 3 or 4 cells the slope's posterior has no standard deviation {reason}", label)
    low, high = slope.interval()
    fitted = {"slope": slope.center, "slope_sd": slope.sd, "slope_low": low, "slope_high": high}
    return fitted | {"sigma": fit.sigma, "intercept": float(fit.coefficients[0])}


def _correlations(
    x: Floats, y: Floats, samples: NDArray[np.int64] | None, label: str, notes: Notes
) -> dict[str, float]:
    """Pearson and Spearman correlation, with bootstrap intervals."""
    if len(x) < correlation.MIN_CELLS:
        notes.add(f"fewer than {correlation.MIN_CELLS} cells: no bootstrap interval of a correlation", label)
    pearson, spearman = correlation.pearson(x, y, samples), correlation.spearman(x, y, samples)
    row = {"pearson": pearson.value, "pearson_low": pearson.low, "pearson_high": pearson.high}
    return row | {"spearman": spearman.value, "spearman_low": spearman.low, "spearman_high": spearman.high}


def _controlled(
    x: Floats, y: Floats, covariate: Floats, name: str, words: str, label: str, notes: Notes
) -> dict[str, float]:
    """Slope and correlation given a covariate, and the share of the predictor that it explains."""
    if np.isnan(covariate).any():
        notes.add(f"the {words} of some cells is not known: no slope is controlled for it", label)
        return {}
    shared = explained(x, covariate)
    if math.isnan(shared):
        notes.add(f"the {words} is the same in every cell: there is nothing to control for", label)
        return {}
    if shared > COLLINEAR:
        advice = "use the matched ladder instead of the controlled slope"
        notes.add(f"diversity and the {words} are not separable (R^2 above {COLLINEAR}): {advice}", label)
    fit = fit_line(x, y, covariate)
    row = {f"collinear_{name}": shared, f"partial_{name}": correlation.partial(x, y, covariate)}
    if fit is None:
        notes.add(f"no slope given the {words}: too few cells, or diversity is a linear function of it", label)
        return row
    return row | {f"slope_given_{name}": fit.slope.center, f"slope_given_{name}_sd": fit.slope.sd}


def difference_table(cells: pd.DataFrame, settings: Mapping[str, Mapping[str, Any]], *, notes: Notes) -> pd.DataFrame:
    """Differences between the slopes on the level of each two ladders that differ only in strategy or only in side.

    Ladders of one study share the base model, seeds and possibly examples, so their slopes are not
    entirely independent, as is assumed here.

    Args:
        cells: Sorted cells of a study.
        settings: Flat settings by cell.
        notes: Receives pairs that differ in other settings too.
    """
    ladders = [(label, ladder, _level_fit(ladder)) for label, ladder in ladders_of(cells)]
    shared = {label: _shared_settings(settings[str(ladder["cell"].iloc[0])]) for label, ladder, _ in ladders}
    rows = []
    for (a, cells_a, fit_a), (b, cells_b, fit_b) in combinations(ladders, 2):
        if fit_a is None or fit_b is None or not _comparable(cells_a.iloc[0], cells_b.iloc[0]):
            continue
        if shared[a] != shared[b]:
            keys = ", ".join(differing([shared[a], shared[b]])[:3])
            notes.add(
                f"not compared with a ladder of another strategy or side that also differs by {keys or 'its config'}", a
            )
            continue
        result = difference(fit_a.slope, fit_b.slope)
        rows.append((a, b, result.mean, result.sd, result.low, result.high, result.probability))
    return pd.DataFrame(rows, columns=list(DIFFERENCES))


def _level_fit(ladder: pd.DataFrame) -> Fit | None:
    scored = ladder[ladder["performance"].notna()]
    if is_constant(scored["performance"]):
        return None
    return fit_line(scored["level"].to_numpy(dtype=float), scored["performance"].to_numpy(dtype=float))


def _shared_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The identifying settings without those of the strategy; ``k_min`` counts types of the strategy."""
    of_strategy = ("strategy.", "universe_strategy.", "selection.k_min")
    identifying = identifying_settings(settings)
    return {key: value for key, value in identifying.items() if not key.startswith(of_strategy)}


def _comparable(a: pd.Series, b: pd.Series) -> bool:
    """Whether two ladders differ only in strategy or only in side, according to their rows."""
    same = ["size", "budget", "model", "match", *(name for name in IDENTITY if name != "config_hash")]
    universes = [row["universe_of"] if is_foreign(row["universe_of"], row["strategy"]) else "own" for row in (a, b)]
    one_differs = (a["strategy"] == b["strategy"]) != (a["side"] == b["side"])
    return one_differs and universes[0] == universes[1] and all(a[name] == b[name] for name in same)
