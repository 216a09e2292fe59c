"""The length-controlled win rate of one cell: the win rate if its answers were as long as the baseline's.

Preferences, differences of length and, where known, the difficulty of the instructions come in. The
result is AlpacaEval 2's logistic model, fitted for this judge and baseline, and its predicted win rate
at equal lengths. One cell does not identify the length coefficient: a terse candidate is shorter on
nearly every prompt, so that its own data cannot separate terse from bad, and the difficulty of the
prompts, which goes with the length of the baseline's answers, is mistaken for length. The result can
rank candidates worse than the raw win rate does (``benchmarks/length_control.py``). Nothing here is
therefore a default: several cells of one judge are fitted together (``joint_length_control``), and one
alone only for AlpacaEval's own judge, whose coefficient is known roughly, or on request.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sftdiv.evaluation.judge.win_rate import known_preferences
from sftdiv.records import SftdivError

Floats = NDArray[np.float64]
ROUNDS, TOLERANCE = 100, 1e-10
DIFFICULTY_SD = 1.0  # of the prior on the coefficient of the standardised difficulty: weak against 805 prompts


@dataclass(frozen=True)
class LengthPrior:
    """Normal prior of the length coefficient, before any verdict on the candidate."""

    mean: float
    sd: float


ANY_JUDGE = LengthPrior(mean=0.0, sd=2.0)  # nothing is known; one sd is odds of 7 to 1 for a much longer answer
# AlpacaEval 2's judge against gpt4_1106_preview. The published weights (alpaca_eval, metrics/weights, about 190 models)
# are 1.6 with a spread of 0.35 given the difficulty of the instructions, which has an sd of 1.5 logits in a verdict;
# without it they shrink to about 1.1. The sd is that spread: weakly informative, so that the file's own verdicts and
# not the prior decide the coefficient (805 verdicts know it to about 0.2).
ALPACA_EVAL = LengthPrior(mean=1.1, sd=0.35)


@dataclass(frozen=True)
class LengthFit:
    """Coefficients of the model, in logits, and its prediction.

    Attributes:
        model: Strength of the candidate (infinite where it wins every prompt).
        length: Gain of answers much longer than the baseline's.
        difficulty: Coefficient of the standardised difficulty; 0 without difficulties.
        controlled: Length-controlled win rate in [0, 1].
    """

    model: float
    length: float
    difficulty: float
    controlled: float


def length_controlled_win_rate(
    preferences: Floats, length_delta: Floats, difficulty: Floats | None = None, *, prior: LengthPrior = ANY_JUDGE
) -> float:
    """Win rate at equal lengths, in [0, 1]; NaN where no preference is known. Arguments as in ``fit_length``."""
    return fit_length(preferences, length_delta, difficulty, prior=prior).controlled


def fit_length(
    preferences: Floats, length_delta: Floats, difficulty: Floats | None = None, *, prior: LengthPrior = ANY_JUDGE
) -> LengthFit:
    """Fit the length-controlled model of AlpacaEval 2.

    For prompt x, candidate m, baseline b (Dubois et al. 2024, arXiv 2404.04475, equations 1-3;
    ``alpaca_eval/metrics/glm_winrate.py``)::

        P(m beats b on x) = logistic(theta + phi tanh((len_m(x) - len_b(x)) / sd) + psi gamma(x))

    where sd is the standard deviation of the differences over the prompts and gamma the difficulty.
    The length-controlled win rate is the mean over x without phi's term, so that m = b gives one half
    and swapping m and b gives 1 minus it. The fit minimises the cross-entropy of the fractional
    preferences with ``phi ~ prior``; theta is free. The paper's L1 penalty, whose strength is chosen by
    cross-validation, is left out.

    Args:
        preferences: Probability that the candidate wins, shape (prompts,); NaN where unreadable (left
            out of the fit).
        length_delta: Characters of the candidate's answer minus those of the baseline's, shape (prompts,).
        difficulty: Difficulty of each instruction in any unit (it is standardised), shape (prompts,).
        prior: Prior of phi. The default has little effect where lengths differ in both directions;
            ``ALPACA_EVAL`` is for the published verdicts of that judge.

    Returns:
        If all preferences are 1 (or 0), an infinite ``model``, the prior's ``length`` and
        ``controlled`` 1 (or 0).

    Raises:
        SftdivError: If shapes differ, a preference lies outside [0, 1], or a length or difficulty
            is not finite.
    """
    known = known_preferences(preferences)
    columns = [length_term(_finite(length_delta, len(preferences), "length_delta"))]
    if difficulty is not None:
        columns.append(_standardised(_finite(difficulty, len(preferences), "difficulty")))
    if not len(known) or known.mean() == 0 or (1 - known).mean() == 0:
        strength = math.inf * (2 * known.mean() - 1) if len(known) else math.nan
        return LengthFit(strength, prior.mean, 0.0, float(known.mean()) if len(known) else math.nan)
    features = np.column_stack([np.ones(len(preferences)), *columns])
    means = np.array([0.0, prior.mean, 0.0])[: features.shape[1]]
    precisions = np.array([0.0, prior.sd**-2, DIFFICULTY_SD**-2])[: features.shape[1]]
    mode = _posterior_mode(features[~np.isnan(preferences)], known, means, precisions)
    features[:, 1] = 0.0
    psi = float(mode[2]) if len(mode) > 2 else 0.0
    return LengthFit(float(mode[0]), float(mode[1]), psi, float(_logistic(features @ mode).mean()))


def length_term(delta: Floats) -> Floats:
    """``tanh(delta / sd)``; where all differences are equal, its limit: the sign."""
    spread = float(delta.std(ddof=1)) if len(delta) > 1 else 0.0
    return np.tanh(delta / spread) if spread > 1e-12 * float(np.abs(delta).max(initial=0)) else np.sign(delta)


def _standardised(values: Floats) -> Floats:
    centred = values - values.mean()
    spread = float(centred.std())
    return centred / spread if spread > 0 else centred


def _finite(values: Floats, prompts: int, name: str) -> Floats:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (prompts,):
        raise SftdivError(f"{name} has shape {values.shape}; there are {prompts} preferences, and each needs a value")
    if not np.isfinite(values).all():
        raise SftdivError(f"{name} holds {values[~np.isfinite(values)][0]}; every prompt needs a finite number")
    return values


def _posterior_mode(features: Floats, preferences: Floats, means: Floats, precisions: Floats) -> Floats:
    """Mode of a logistic regression with independent normal priors, by Newton's method with step halving.

    Probabilities of wins and losses are computed separately. For a judge that is nearly certain, 1 minus
    one of them would be only rounding error.
    """
    share = float(preferences.mean())
    weights = means.copy()
    logit = math.log(share) - math.log(float((1 - preferences).mean()))
    weights[0] = logit - float((features[:, 1:] @ means[1:]).mean())
    loss = _loss(weights, features, preferences, means, precisions)
    for _ in range(ROUNDS):
        wins, losses = _logistic(features @ weights), _logistic(-features @ weights)
        gradient = features.T @ ((1 - preferences) * wins - preferences * losses) + precisions * (weights - means)
        curvature = (features.T * (wins * losses)) @ features + np.diag(precisions)
        step = np.linalg.solve(curvature, gradient)
        if np.abs(step).max() < TOLERANCE:
            return weights - step
        while (new := _loss(weights - step, features, preferences, means, precisions)) > loss + 1e-12 * abs(loss):
            step = step / 2
        weights, loss = weights - step, new
    raise SftdivError(
        f"the length-controlled fit did not converge in {ROUNDS} iterations; last step {np.abs(step).max():.3g}"
    )


def _loss(weights: Floats, features: Floats, preferences: Floats, means: Floats, precisions: Floats) -> float:
    logits = features @ weights
    cross_entropy = preferences * np.logaddexp(0, -logits) + (1 - preferences) * np.logaddexp(0, logits)
    return float(cross_entropy.sum() + (precisions * (weights - means) ** 2).sum() / 2)


def _logistic(logits: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -logits))
