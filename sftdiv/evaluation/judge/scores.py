"""The scores of one cell from its verdicts.

In: the columns of ``verdicts.parquet``, one row a verdict. Out: named scores, shares in [0, 1] and
lengths in characters. The trade: a prompt's preference is the mean over the orders that could be
read, so that one unreadable verdict does not cost its prompt; ``unreadable`` says how many there
are, and a prompt that no order could read is left out of every score but that one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.evaluation.judge.length_control import length_controlled_win_rate
from sftdiv.evaluation.judge.noise_floor import noise_floor
from sftdiv.evaluation.judge.position_bias import order_agreement, position_bias, position_rate
from sftdiv.evaluation.judge.win_rate import bootstrap, standard_error, win_rate
from sftdiv.records import Score, SftdivError

ORDERS = ("candidate_first", "baseline_first")
NEEDED = ("prompt", "order", "repeat", "preference", "first", "candidate_chars", "baseline_chars")
IDENTICAL = "identical"  # state of a verdict that was not asked for, the answers being equal
DRAWN = 1e-9  # a preference this near one half is a draw


@dataclass(frozen=True)
class Prompts:
    """Verdicts by prompt, in the order in which prompts first come: ``preferences`` (repeats, 2 orders, prompts), NaN where there is none.

    ``length_delta``: characters of the candidate's answer less those of the baseline's, shape (prompts,).
    """

    names: NDArray[np.str_]
    preferences: NDArray[np.float64]
    length_delta: NDArray[np.float64]

    def once(self, repeat: int = 0) -> NDArray[np.float64]:
        """Mean preference over the orders that could be read, shape (prompts,)."""
        return mean_of_known(self.preferences[repeat])


def mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the first axis of what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    return np.where(counts > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(counts, 1), np.nan)


def by_prompt(verdicts: Mapping[str, NDArray[Any]]) -> Prompts:
    """Arrange verdicts by prompt, order and repeat.

    Args:
        verdicts: Columns of one length, at least ``NEEDED``.

    Raises:
        SftdivError: If a column is missing, there are no verdicts, an order is unknown, or one
            verdict is there twice.
    """
    if missing := [name for name in NEEDED if name not in verdicts]:
        raise SftdivError(f"verdicts lack the columns {', '.join(missing)}; they have {', '.join(sorted(verdicts))}")
    if not len(verdicts["prompt"]):
        raise SftdivError("there are no verdicts to score")
    if strange := sorted(set(map(str, verdicts["order"])) - set(ORDERS)):
        raise SftdivError(f"order={strange[0]!r} is unknown. Known: {', '.join(ORDERS)}")
    keys, first, prompt = np.unique(np.asarray(verdicts["prompt"], dtype=str), return_index=True, return_inverse=True)
    rank = np.empty(len(keys), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(keys))
    prompt, order = rank[prompt], (np.asarray(verdicts["order"], dtype=str) == ORDERS[1]).astype(np.int64)
    repeat = np.asarray(verdicts["repeat"], dtype=np.int64)
    shape = (int(repeat.max()) + 1, len(ORDERS), len(keys))
    if np.bincount(np.ravel_multi_index((repeat, order, prompt), shape)).max() > 1:
        raise SftdivError("one verdict is there twice: a prompt has one of each order and repeat")
    preferences, delta = np.full(shape, np.nan), np.zeros(len(keys))
    preferences[repeat, order, prompt] = np.asarray(verdicts["preference"], dtype=np.float64)
    delta[prompt] = np.asarray(verdicts["candidate_chars"], dtype=np.float64) - np.asarray(
        verdicts["baseline_chars"], dtype=np.float64
    )
    return Prompts(keys[np.argsort(rank)], preferences, delta)


def scores_of(verdicts: Mapping[str, NDArray[Any]], *, seed: int, draws: int) -> dict[str, Score]:
    """Every score of a cell, by name.

    ``win_rate``, ``length_controlled_win_rate`` (each with ``_low`` and ``_high``, 95 %),
    ``position_bias``, ``position_rate``, ``order_agreement``, ``draws`` (share of prompts),
    ``unreadable`` (share of verdicts), ``prompts``, ``answer_chars``, ``baseline_chars`` and, where
    verdicts were repeated, ``noise`` (standard deviation to expect of the difference of two runs'
    win rates over all prompts), ``noise_observed`` and ``noise_flipped`` (on the repeated sample).
    Repeats count for the noise alone. Pairs of equal answers (``state`` identical) are draws and
    say nothing of the judge: bias, agreement and ``unreadable`` leave them out.

    Args:
        verdicts: Columns of ``verdicts.parquet``.
        seed: Of the bootstraps.
        draws: Of each bootstrap.

    Raises:
        SftdivError: As ``by_prompt``.
    """
    prompts = by_prompt(verdicts)
    once = prompts.once()
    counted = np.asarray(verdicts["repeat"]) == 0
    asked = counted & (np.asarray(verdicts.get("state", counted), dtype=str) != IDENTICAL)
    first = np.asarray(verdicts["first"], dtype=np.float64)[asked]
    both = prompts.preferences[0][:, np.isin(prompts.names, np.asarray(verdicts["prompt"], dtype=str)[asked])]
    known = once[~np.isnan(once)]
    rng = np.random.default_rng(seed)
    scores = _with_interval("win_rate", win_rate, (once,), draws=draws, rng=rng)
    scores |= _with_interval(
        "length_controlled_win_rate", length_controlled_win_rate, (once, prompts.length_delta), draws=draws, rng=rng
    )
    scores |= {
        "position_bias": _position_bias(*both),
        "position_rate": _share(position_rate(*both), int((~np.isnan(both).any(axis=0)).sum())),
        "order_agreement": _share(order_agreement(*both), int((~np.isnan(both).any(axis=0)).sum())),
        "draws": _share(float((np.abs(known - 0.5) < DRAWN).mean()) if len(known) else math.nan, len(known)),
        "unreadable": _share(float(np.isnan(first).mean()) if len(first) else 0.0, len(first)),
        "prompts": Score(float(len(known)), math.nan),
        "answer_chars": _mean(np.asarray(verdicts["candidate_chars"], dtype=np.float64)[counted]),
        "baseline_chars": _mean(np.asarray(verdicts["baseline_chars"], dtype=np.float64)[counted]),
    }
    return scores | (_noise(prompts) if len(prompts.preferences) > 1 else {})


def _with_interval(
    name: str, statistic: Any, arrays: tuple[NDArray[np.float64], ...], *, draws: int, rng: np.random.Generator
) -> Any:
    interval = bootstrap(statistic, *arrays, draws=draws, rng=rng)
    ends = {f"{name}_low": Score(interval.low, math.nan), f"{name}_high": Score(interval.high, math.nan)}
    return {name: Score(statistic(*arrays), interval.stderr)} | ends


def _position_bias(candidate_first: NDArray[np.float64], baseline_first: NDArray[np.float64]) -> Score:
    """Over prompts read in both orders, so that who is better cancels, in the value and in its error."""
    first = np.stack([candidate_first, 1 - baseline_first])
    first = first[:, ~np.isnan(first).any(axis=0)]
    return Score(position_bias(first.ravel()), 2 * standard_error(first.mean(axis=0)))


def _noise(prompts: Prompts) -> dict[str, Score]:
    """The first two runs, on the verdicts that both have: an order that was judged once does not count."""
    once, again = prompts.preferences[0], prompts.preferences[1]
    both = ~(np.isnan(once) | np.isnan(again))
    counted = int((~np.isnan(prompts.once())).sum())
    found = noise_floor(
        mean_of_known(np.where(both, once, np.nan)),
        mean_of_known(np.where(both, again, np.nan)),
        prompts=counted or None,
    )
    return {
        "noise": Score(found.stderr, math.nan),
        "noise_observed": Score(found.observed, math.nan),
        "noise_flipped": _share(found.flipped, found.prompts),
    }


def _share(value: float, count: int) -> Score:
    return Score(value, math.sqrt(value * (1 - value) / count) if count and not math.isnan(value) else math.nan)


def _mean(values: NDArray[np.float64]) -> Score:
    return Score(
        float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    )
