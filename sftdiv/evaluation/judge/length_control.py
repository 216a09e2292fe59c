"""The length-controlled win rate: what the win rate would be were the candidate's answers as long as the baseline's.

In: preferences, differences of length and, where it is known, the difficulty of the instructions.
Out: AlpacaEval 2's logistic model, fitted for this judge and baseline, and the win rate it predicts
at no difference of length. The trade: a prior on the length coefficient. A terse candidate is
shorter on nearly every prompt, so that its own data cannot tell terse from bad, and a fit to them
alone errs by tens of points; AlpacaEval anchors the coefficient with 1,610 verdicts on its baseline
told to be terse or verbose, which its files do not hold. A normal distribution stands for them;
``benchmarks/length_control.py`` measures how well.
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
DIFFICULTY_SD = 1.0  # of the prior of the coefficient of the standardised difficulty: weak beside 805 prompts


@dataclass(frozen=True)
class LengthPrior:
    """What is known of the length coefficient before any verdict of this candidate: normal with this mean and standard deviation."""

    mean: float
    sd: float


ANY_JUDGE = LengthPrior(mean=0.0, sd=2.0)  # nothing is known; one sd is odds of 7 to 1 for a much longer answer
# AlpacaEval 2's judge against gpt4_1106_preview: its published weights (alpaca_eval, metrics/weights, some 190 models) are 1.6 with a
# spread of 0.35 given the difficulty, whose part in a verdict (sd 1.5 in logits) shrinks them to about 1.1 where it is left out. Narrower
# than that spread, since a fit without the difficulty takes what goes with it for length; of the priors tried in
# benchmarks/length_control.py this one errs least at worst.
ALPACA_EVAL = LengthPrior(mean=1.1, sd=0.05)
DECISIVE = 0.08  # nats a prompt: simulated files of AlpacaEval's models reach 0.052, judges that go by length alone begin at 0.09 (ibid.)


@dataclass(frozen=True)
class LengthFit:
    """Coefficients of the model, in logits, and what it predicts.

    ``model``: the candidate's strength (infinite where it wins every prompt). ``length``: what
    answers much longer than the baseline's gain. ``difficulty``: of the difficulty, standardised; 0
    where none is given. ``controlled``: the length-controlled win rate in [0, 1]. ``evidence``: log
    probability of the verdicts, coefficients integrated out (Laplace); compares priors, no data.
    """

    model: float
    length: float
    difficulty: float
    controlled: float
    evidence: float = 0.0


def length_controlled_win_rate(
    preferences: Floats, length_delta: Floats, difficulty: Floats | None = None, *, prior: LengthPrior = ANY_JUDGE
) -> float:
    """The win rate at equal lengths, in [0, 1], NaN where no preference is known; see ``fit_length`` for the model and the arguments."""
    return fit_length(preferences, length_delta, difficulty, prior=prior).controlled


def fit_length(
    preferences: Floats, length_delta: Floats, difficulty: Floats | None = None, *, prior: LengthPrior = ANY_JUDGE
) -> LengthFit:
    """Fit the length-controlled model of AlpacaEval 2.

    For prompt x, candidate m, baseline b (Dubois et al. 2024, arXiv 2404.04475, equations 1-3;
    ``alpaca_eval/metrics/glm_winrate.py``)::

        P(m beats b on x) = logistic(theta + phi tanh((len_m(x) - len_b(x)) / sd) + psi gamma(x))

    sd being that of the differences over the prompts, gamma the difficulty; the length-controlled
    win rate is the mean over x with phi's term left out, so that m = b gives one half and swapping
    m and b gives 1 less it. Fitted is the cross-entropy of the preferences, whole as they are, with
    ``phi ~ prior``; theta is free. The paper's L1 penalty, its strength chosen by cross-validation,
    is left out.

    Args:
        preferences: Probability that the candidate wins, shape (prompts,), NaN where it could not
            be read (left out of the fit).
        length_delta: Characters of the candidate's answer less those of the baseline's, shape (prompts,).
        difficulty: A measure of how hard each instruction is, in any unit (it is standardised),
            shape (prompts,).
        prior: Of phi. The default binds little where lengths differ both ways; ``ALPACA_EVAL`` is
            for the published verdicts of that judge.

    Returns:
        Where all preferences are 1 (or 0): an infinite ``model``, the prior's ``length`` and
        ``controlled`` 1 (or 0).

    Raises:
        SftdivError: If shapes differ, a preference lies outside [0, 1], or a length or difficulty
            is no finite number.
    """
    known = known_preferences(preferences)
    columns = [_length_term(_finite(length_delta, len(preferences), "length_delta"))]
    if difficulty is not None:
        columns.append(_standardised(_finite(difficulty, len(preferences), "difficulty")))
    if not len(known) or known.mean() == 0 or (1 - known).mean() == 0:
        strength = math.inf * (2 * known.mean() - 1) if len(known) else math.nan
        return LengthFit(strength, prior.mean, 0.0, float(known.mean()) if len(known) else math.nan)
    features = np.column_stack([np.ones(len(preferences)), *columns])
    means = np.array([0.0, prior.mean, 0.0])[: features.shape[1]]
    precisions = np.array([0.0, prior.sd**-2, DIFFICULTY_SD**-2])[: features.shape[1]]
    found, evidence = _posterior_mode(features[~np.isnan(preferences)], known, means, precisions)
    features[:, 1] = 0.0
    psi = float(found[2]) if len(found) > 2 else 0.0
    return LengthFit(float(found[0]), float(found[1]), psi, float(_logistic(features @ found).mean()), evidence)


def published_prior(preferences: Floats, length_delta: Floats) -> LengthPrior:
    """The prior for a file that does not name its judge: ``ALPACA_EVAL``, unless its verdicts tell plainly of another judge.

    Plainly: the wide prior explains them better by ``DECISIVE`` nats a prompt. The threshold is far
        above one of chance, because
    instructions that differ in kind move AlpacaEval's own verdicts further than chance does.
    """
    fits = [fit_length(preferences, length_delta, prior=prior) for prior in (ALPACA_EVAL, ANY_JUDGE)]
    return (
        ANY_JUDGE
        if fits[1].evidence - fits[0].evidence > DECISIVE * len(known_preferences(preferences))
        else ALPACA_EVAL
    )


def _length_term(delta: Floats) -> Floats:
    """``tanh(delta / sd)``; where all differences are one, its limit: the sign."""
    spread = float(delta.std(ddof=1)) if len(delta) > 1 else 0.0
    return np.tanh(delta / spread) if spread > 1e-12 * float(np.abs(delta).max(initial=0)) else np.sign(delta)


def _standardised(values: Floats) -> Floats:
    centred = values - values.mean()
    spread = float(centred.std())
    return centred / spread if spread > 0 else centred


def _finite(values: Floats, prompts: int, name: str) -> Floats:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (prompts,):
        raise SftdivError(f"{name} has shape {values.shape}; there are {prompts} preferences, and each needs one")
    if not np.isfinite(values).all():
        raise SftdivError(f"{name} holds {values[~np.isfinite(values)][0]}; every prompt needs a finite number")
    return values


def _posterior_mode(features: Floats, preferences: Floats, means: Floats, precisions: Floats) -> tuple[Floats, float]:
    """Mode and evidence of a logistic regression with independent normal priors: Newton's method with halved steps on a convex loss.

    Wins and losses are summed apart, each as it is small: a judge nearly sure of all leaves 1 less
    the other nothing but rounding.
    """
    share = float(preferences.mean())
    found = means.copy()
    found[0] = math.log(share) - math.log(float((1 - preferences).mean())) - float((features[:, 1:] @ means[1:]).mean())
    loss = _loss(found, features, preferences, means, precisions)
    for _ in range(ROUNDS):
        wins, losses = _logistic(features @ found), _logistic(-features @ found)
        gradient = features.T @ ((1 - preferences) * wins - preferences * losses) + precisions * (found - means)
        curvature = (features.T * (wins * losses)) @ features + np.diag(precisions)
        step = np.linalg.solve(curvature, gradient)
        if np.abs(step).max() < TOLERANCE:
            proper = precisions[precisions > 0]
            return found - step, -loss - float(np.linalg.slogdet(curvature)[1] - np.log(proper).sum()) / 2
        while (new := _loss(found - step, features, preferences, means, precisions)) > loss + 1e-12 * abs(loss):
            step = step / 2
        found, loss = found - step, new
    raise SftdivError(
        f"the length-controlled fit did not settle in {ROUNDS} rounds; last step {np.abs(step).max():.3g}"
    )


def _loss(found: Floats, features: Floats, preferences: Floats, means: Floats, precisions: Floats) -> float:
    logits = features @ found
    missed = preferences * np.logaddexp(0, -logits) + (1 - preferences) * np.logaddexp(0, logits)
    return float(missed.sum() + (precisions * (found - means) ** 2).sum() / 2)


def _logistic(logits: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -logits))
