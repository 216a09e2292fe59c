"""Scores of one cell from its verdicts.

The columns of ``verdicts.parquet`` come in, one row per verdict; named scores go out, shares in [0, 1]
and lengths in characters. A prompt's preference is the mean over its readable orders, so that one
unreadable verdict does not cost its prompt; ``unreadable`` is their share. A prompt without a readable
verdict is left out of every other score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.evaluation.judge.noise_floor import noise_floor
from sftdiv.evaluation.judge.position_bias import order_agreement, position_bias, position_rate
from sftdiv.evaluation.judge.win_rate import bootstrap, standard_error, win_rate
from sftdiv.records import Score, SftdivError
from sftdiv.storage.validate import check_one_of

Floats = NDArray[np.float64]
ORDERS = ("candidate_first", "baseline_first")
NEEDED = ("prompt", "order", "repeat", "preference", "first", "candidate_chars", "baseline_chars")
IDENTICAL = "identical"  # state of a verdict that was not requested, because the answers are equal
TIE_TOLERANCE = 1e-9  # a preference this close to one half is a tie


@dataclass(frozen=True)
class PromptVerdicts:
    """Verdicts by prompt, in the order in which the prompts first appear.

    Attributes:
        names: Keys of the prompts, shape (prompts,).
        preferences: Probability that the candidate wins, shape (repeats, 2 orders, prompts); NaN where
            there is no verdict.
        length_delta: Characters of the candidate's answer minus those of the baseline's, shape (prompts,).
    """

    names: NDArray[np.str_]
    preferences: Floats
    length_delta: Floats

    def mean_preference(self) -> Floats:
        """Mean preference over the readable orders of the first repeat, shape (prompts,)."""
        return mean_of_known(self.preferences[0])


def mean_of_known(values: Floats) -> Floats:
    """Mean over the first axis of all values that are not NaN; NaN where all are."""
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    return np.where(counts > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(counts, 1), np.nan)


def verdicts_by_prompt(verdicts: Mapping[str, NDArray[Any]]) -> PromptVerdicts:
    """Arrange verdicts by prompt, order and repeat.

    Args:
        verdicts: Columns of equal length, at least ``NEEDED``.

    Raises:
        SftdivError: If a column is missing, there are no verdicts, an order is unknown, or a verdict
            is duplicated.
    """
    if missing := [name for name in NEEDED if name not in verdicts]:
        raise SftdivError(f"verdicts lack the columns {', '.join(missing)}; they have {', '.join(sorted(verdicts))}")
    if not len(verdicts["prompt"]):
        raise SftdivError("there are no verdicts to score")
    for value in sorted(set(map(str, verdicts["order"]))):
        check_one_of("order", value, ORDERS)
    keys, first, prompt = np.unique(np.asarray(verdicts["prompt"], dtype=str), return_index=True, return_inverse=True)
    rank = np.empty(len(keys), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(keys))
    prompt, order = rank[prompt], (np.asarray(verdicts["order"], dtype=str) == ORDERS[1]).astype(np.int64)
    repeat = np.asarray(verdicts["repeat"], dtype=np.int64)
    shape = (int(repeat.max()) + 1, len(ORDERS), len(keys))
    if np.bincount(np.ravel_multi_index((repeat, order, prompt), shape)).max() > 1:
        raise SftdivError("a verdict is duplicated: a prompt has one verdict per order and repeat")
    preferences, delta = np.full(shape, np.nan), np.zeros(len(keys))
    preferences[repeat, order, prompt] = _floats(verdicts["preference"])
    delta[prompt] = _floats(verdicts["candidate_chars"]) - _floats(verdicts["baseline_chars"])
    return PromptVerdicts(keys[np.argsort(rank)], preferences, delta)


def scores_of(verdicts: Mapping[str, NDArray[Any]], *, seed: int, draws: int) -> dict[str, Score]:
    """Every score of a cell, by name.

    ``win_rate`` (with ``_low`` and ``_high``, 95 %), ``position_bias``, ``position_rate``, ``order_agreement``,
    ``draws`` (share of prompts), ``unreadable`` (share of verdicts), ``prompts``, ``answer_chars``, ``baseline_chars``
    and, with repeats, ``noise`` (expected standard deviation of the difference of two runs' win rates over all
    prompts), ``noise_observed`` and ``noise_flipped`` (on the repeated sample). Repeats count for the
    noise only. Pairs of equal answers (``state`` identical) are ties and say nothing about the judge:
    bias, agreement and ``unreadable`` leave them out. One cell has no length-controlled win rate, because its
    verdicts do not separate the judge's preference for length from quality; the arena of a study has (``arena``).

    Args:
        verdicts: Columns of ``verdicts.parquet``.
        seed: Seed of the bootstrap.
        draws: Number of bootstrap resamples.

    Raises:
        SftdivError: As ``verdicts_by_prompt``.
    """
    prompts = verdicts_by_prompt(verdicts)
    preferences = prompts.mean_preference()
    counted = np.asarray(verdicts["repeat"]) == 0
    requested = counted & (np.asarray(verdicts.get("state", counted), dtype=str) != IDENTICAL)
    requested_prompts = np.isin(prompts.names, np.asarray(verdicts["prompt"], dtype=str)[requested])
    known = preferences[~np.isnan(preferences)]
    unread = np.isnan(_floats(verdicts["first"])[requested])
    rng = np.random.default_rng(seed)
    scores = _with_interval("win_rate", win_rate, (preferences,), draws=draws, rng=rng)
    scores |= _position_scores(*prompts.preferences[0][:, requested_prompts])
    scores |= {
        "draws": _share(float((np.abs(known - 0.5) < TIE_TOLERANCE).mean()) if len(known) else math.nan, len(known)),
        "unreadable": _share(float(unread.mean()) if len(unread) else 0.0, len(unread)),
        "prompts": Score(float(len(known)), math.nan),
        "answer_chars": _mean(_floats(verdicts["candidate_chars"])[counted]),
        "baseline_chars": _mean(_floats(verdicts["baseline_chars"])[counted]),
    }
    return scores | (_noise_scores(prompts) if len(prompts.preferences) > 1 else {})


def _with_interval(
    name: str, statistic: Callable[..., float], arrays: tuple[Floats, ...], *, draws: int, rng: np.random.Generator
) -> dict[str, Score]:
    """A statistic with its bootstrap standard error, and the ends of its interval."""
    interval = bootstrap(statistic, *arrays, draws=draws, rng=rng)
    return {
        name: Score(statistic(*arrays), interval.stderr),
        f"{name}_low": Score(interval.low, math.nan),
        f"{name}_high": Score(interval.high, math.nan),
    }


def _position_scores(candidate_first: Floats, baseline_first: Floats) -> dict[str, Score]:
    """Effects of the order, over prompts that are readable in both, so that differences in quality cancel."""
    first = np.stack([candidate_first, 1 - baseline_first])
    first = first[:, ~np.isnan(first).any(axis=0)]
    count = first.shape[1]
    return {
        "position_bias": Score(position_bias(first.ravel()), 2 * standard_error(first.mean(axis=0))),
        "position_rate": _share(position_rate(candidate_first, baseline_first), count),
        "order_agreement": _share(order_agreement(candidate_first, baseline_first), count),
    }


def _noise_scores(prompts: PromptVerdicts) -> dict[str, Score]:
    """Noise from the first two runs, on the orders that are readable in both."""
    first, second = prompts.preferences[0], prompts.preferences[1]
    both = ~(np.isnan(first) | np.isnan(second))
    counted = int((~np.isnan(prompts.mean_preference())).sum())
    noise = noise_floor(
        mean_of_known(np.where(both, first, np.nan)),
        mean_of_known(np.where(both, second, np.nan)),
        prompts=counted or None,
    )
    return {
        "noise": Score(noise.stderr, math.nan),
        "noise_observed": Score(noise.observed, math.nan),
        "noise_flipped": _share(noise.flipped, noise.prompts),
    }


def _floats(values: NDArray[Any]) -> Floats:
    return np.asarray(values, dtype=np.float64)


def _share(value: float, count: int) -> Score:
    return Score(value, math.sqrt(value * (1 - value) / count) if count and not math.isnan(value) else math.nan)


def _mean(values: Floats) -> Score:
    stderr = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return Score(float(values.mean()), stderr)
