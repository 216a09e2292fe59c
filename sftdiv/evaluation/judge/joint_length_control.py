"""Length-controlled win rates of several cells (or files of one judge) from one fit.

A cell's own verdicts cannot separate its quality from the judge's preference for length: where its answers are shorter
on nearly every prompt, any length coefficient fits. Cells that answered the same prompts and were judged against the
same baseline can: on one prompt the baseline's answer and the difficulty are the same for all, so that what remains of
the differences of length belongs to the answers alone. The model, for cell c and prompt x, is AlpacaEval 2's
(Dubois et al. 2024, arXiv 2404.04475, equations 1-3) with one length coefficient for all cells and a prompt effect in
place of the leaderboard's difficulties::

    P(c beats the baseline on x) = logistic(theta_c + phi t_cx + gamma_x),    t_cx = tanh(delta_cx / sd_c)
    gamma_x = beta (mean of t_cx over the cells) + u_x,    u_x ~ N(0, tau^2)

Difficulty goes with the length of the baseline's answer, which all t_cx of a prompt share. The term with beta takes
that part, so that phi rests on the differences between cells on the same prompt (correlated random effects, Mundlak
1978, doi 10.2307/1913646). u_x is integrated out numerically: its mode alone would bias phi and tau towards 0 with few
cells. theta and tau are free; phi and beta have so wide a prior that it only keeps a judge of length alone finite.
Nothing comes from outside the cells. The length-controlled win rate of a cell is the mean over its prompts of the
expected ``logistic(theta_c + gamma_x)`` given the verdicts; since theta is free, it is the raw win rate where phi is 0.
``benchmarks/length_control.py`` compares it with a fit per cell and with the raw win rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from sftdiv.evaluation.judge.length_control import LengthPrior, length_term
from sftdiv.evaluation.judge.win_rate import known_preferences
from sftdiv.records import SftdivError

Floats = NDArray[np.float64]
NODES = np.linspace(-4, 4, 33)  # of u_x, in units of tau
LOG_NODE_WEIGHTS = -(NODES**2) / 2 - np.log(np.exp(-(NODES**2) / 2).sum())
LOG_SPREADS = (math.log(0.05), math.log(5.0))  # limits of tau, in logits
ROUNDS, POLISHING = 500, 3  # iterations of L-BFGS, and Newton steps after it
MIN_CELLS = 2
WIDE = LengthPrior(mean=0.0, sd=10.0)
# Of AlpacaEval 2's judge: mean and spread of the published coefficients given the difficulty of the instructions
# (alpaca_eval, metrics/weights, about 190 models). A few hundred verdicts outweigh it.
ALPACA_EVAL_GIVEN_DIFFICULTY = LengthPrior(mean=1.6, sd=0.35)


@dataclass(frozen=True)
class JointFit:
    """Result of one fit over several cells.

    Attributes:
        controlled: Length-controlled win rate of each cell in [0, 1], shape (cells,); NaN without a known preference.
        stderr: Standard errors, clustered by prompts, shape (cells,); NaN where the win rate is 0, 1 or unknown.
        length: The common length coefficient, in logits.
        length_stderr: Its standard error, clustered by prompts.
        prompt_spread: Standard deviation of the prompt effects gamma, in logits.
    """

    controlled: Floats
    stderr: Floats
    length: float
    length_stderr: float
    prompt_spread: float


def fit_jointly(preferences: Floats, length_delta: Floats, *, prior: LengthPrior = WIDE) -> JointFit:
    """Fit all cells at once. Cells that win (or lose) every known prompt keep 1 (or 0) and are left out of the fit.

    Args:
        preferences: Probability that a cell wins on a prompt, shape (cells, prompts); NaN where unknown.
        length_delta: Characters of the cell's answer minus those of the baseline's, shape (cells, prompts); NaN for
            prompts that the cell did not answer.
        prior: Prior of the length coefficient.

    Raises:
        SftdivError: If there are fewer than two cells, shapes differ, or a preference lies outside [0, 1].
    """
    if len(preferences) < MIN_CELLS:
        raise SftdivError(f"{len(preferences)} cell: length control needs at least {MIN_CELLS} cells with one judge")
    if preferences.shape != length_delta.shape:
        raise SftdivError(f"length_delta has shape {length_delta.shape} and preferences {preferences.shape}")
    rates = np.array([known.mean() if len(known := known_preferences(row)) else math.nan for row in preferences])
    fitted = np.flatnonzero((rates > 0) & (rates < 1))
    controlled, stderr = rates.copy(), np.full(len(rates), math.nan)
    if not len(fitted):
        return JointFit(controlled, stderr, prior.mean, math.nan, math.nan)
    model = _Model(preferences[fitted], length_delta[fitted], prior)
    model.fit()
    controlled[fitted] = model.controlled()
    stderr[fitted], length_stderr = model.standard_errors()
    return JointFit(controlled, stderr, float(model.weights[-1]), length_stderr, model.prompt_spread())


@dataclass(frozen=True)
class _State:
    """What follows from one set of weights; shapes over (nodes, cells, prompts).

    Attributes:
        loss: Minus the log of the marginal likelihood times the prior.
        shares: Probability of each node given the verdicts, shape (nodes, prompts).
        wins: Predicted probability of a win at each node.
        scores: Derivatives of the log likelihood at each node, shape (cells + 3, nodes, prompts).
    """

    loss: float
    shares: Floats
    wins: Floats
    scores: Floats


class _Model:
    """The fit; ``weights`` are theta of each cell, beta, the log of tau, and phi."""

    def __init__(self, preferences: Floats, length_delta: Floats, prior: LengthPrior) -> None:
        self.known = ~np.isnan(preferences)
        self.answered = ~np.isnan(length_delta)
        self.preferences = np.where(self.known, preferences, 0.0)
        self.terms = np.zeros(preferences.shape)
        for row, answered in enumerate(self.answered):
            self.terms[row, answered] = length_term(length_delta[row, answered])
        means = self.terms.sum(axis=0) / np.maximum(self.answered.sum(axis=0), 1)
        self.means = means - means.mean()
        cells = len(preferences)
        self.prior_means = np.concatenate([np.zeros(cells + 2), [prior.mean]])
        self.precisions = np.concatenate([np.zeros(cells), [WIDE.sd**-2, 0.0, prior.sd**-2]])
        shares = self.preferences.sum(axis=1) / self.known.sum(axis=1)
        self.weights = np.concatenate([np.log(shares) - np.log1p(-shares), [0.0, 0.0, 0.0]])

    def fit(self) -> None:
        """Minimise the loss: L-BFGS, then Newton steps to the last digits, where they lower it."""

        def loss_and_gradient(weights: Floats) -> tuple[float, Floats]:
            state = self._state(weights)
            return state.loss, self._gradient(weights, state)

        unbounded: tuple[float | None, float | None] = (None, None)
        found = minimize(
            loss_and_gradient,
            self.weights,
            jac=True,
            method="L-BFGS-B",
            bounds=[unbounded] * (len(self.weights) - 2) + [LOG_SPREADS, unbounded],
            options={"maxiter": ROUNDS, "maxfun": 2 * ROUNDS, "ftol": 1e-12, "gtol": 1e-6},
        )
        self.weights = np.asarray(found.x, dtype=np.float64)
        for _ in range(POLISHING):
            state = self._state(self.weights)
            free = np.ones(len(self.weights), dtype=bool)
            free[-2] = LOG_SPREADS[0] < self.weights[-2] < LOG_SPREADS[1]
            gradient, curvature = self._gradient(self.weights, state)[free], self._curvature(state)[np.ix_(free, free)]
            moved = self.weights.copy()
            moved[free] -= np.linalg.solve(curvature, gradient)
            if not self._state(moved).loss <= state.loss:
                break
            self.weights = moved

    def prompt_spread(self) -> float:
        """Standard deviation of the prompt effects."""
        return math.sqrt(math.exp(2 * self.weights[-2]) + self.weights[-3] ** 2 * float(self.means.var()))

    def controlled(self) -> Floats:
        """Expected win rate of each cell at equal lengths, over the prompts that it answered."""
        rates = (self._state(self.weights).shares[:, None] * self._at_equal_lengths()).sum(axis=0)
        return np.where(self.answered, rates, 0.0).sum(axis=1) / self.answered.sum(axis=1)

    def standard_errors(self) -> tuple[Floats, float]:
        """Standard errors of the controlled rates and of phi, from each prompt's influence (sandwich estimate)."""
        state, rates = self._state(self.weights), self._at_equal_lengths()
        by_prompt = (state.scores * state.shares).sum(axis=1)
        influence = np.linalg.solve(self._curvature(state), by_prompt)  # (weights, prompts); their sum is the estimate
        weighted = np.where(self.answered, rates, 0.0) * state.shares[:, None]
        slopes = weighted * (1 - rates)
        shift = NODES[:, None] * math.exp(self.weights[-2])
        direct = np.column_stack(
            [
                np.diag(slopes.sum(axis=(0, 2))),
                (slopes.sum(axis=0) * self.means).sum(axis=1),
                (slopes * shift[:, None]).sum(axis=(0, 2)),
                np.zeros(slopes.shape[1]),
            ]
        )
        through_shares = np.einsum("kcx,wkx->cw", weighted, state.scores - by_prompt[:, None], optimize=True)
        asked = self.answered.sum(axis=1, keepdims=True)
        expected = weighted.sum(axis=0)
        centred = np.where(self.answered, expected - (expected.sum(axis=1, keepdims=True) / asked), 0.0)
        of_rates = (centred + (direct + through_shares) @ influence) / asked
        prompts = of_rates.shape[1]
        correction = (
            math.sqrt(prompts / (prompts - 1)) if prompts > 1 else math.nan
        )  # one prompt says nothing of others
        return correction * np.sqrt((of_rates**2).sum(axis=1)), correction * float(np.sqrt((influence[-1] ** 2).sum()))

    def _effects(self, weights: Floats) -> Floats:
        """Prompt effects at each node, shape (nodes, 1, prompts)."""
        effects: Floats = weights[-3] * self.means + math.exp(weights[-2]) * NODES[:, None, None]
        return effects

    def _at_equal_lengths(self) -> Floats:
        """Probabilities without phi's term, shape (nodes, cells, prompts)."""
        return expit(self.weights[:-3, None] + self._effects(self.weights))

    def _state(self, weights: Floats) -> _State:
        logits = weights[:-3, None] + weights[-1] * self.terms + self._effects(weights)
        wins = expit(logits)
        # p log s(z) + (1 - p) log s(-z) = p z - log(1 + exp(z))
        likelihood = np.where(self.known, self.preferences * logits - np.logaddexp(0, logits), 0.0).sum(axis=1)
        joint = likelihood + LOG_NODE_WEIGHTS[:, None]
        marginal = logsumexp(joint, axis=0)
        missed = np.where(self.known, self.preferences - wins, 0.0)
        of_prompt = missed.sum(axis=1)
        by_spread = of_prompt * (NODES[:, None] * math.exp(weights[-2]))
        others = np.stack([of_prompt * self.means, by_spread, (missed * self.terms).sum(axis=1)])
        penalty = (self.precisions * (weights - self.prior_means) ** 2).sum() / 2
        scores = np.concatenate([missed.transpose(1, 0, 2), others])
        return _State(float(penalty - marginal.sum()), np.exp(joint - marginal), wins, scores)

    def _gradient(self, weights: Floats, state: _State) -> Floats:
        expected: Floats = (state.scores * state.shares).sum(axis=(1, 2))
        return self.precisions * (weights - self.prior_means) - expected

    def _curvature(self, state: _State) -> Floats:
        """Second derivatives of the loss (Louis 1982: expected curvature less the variance of the scores)."""
        cells = len(self.terms)
        slopes = np.where(self.known, state.wins * (1 - state.wins), 0.0) * state.shares[:, None]
        shift = NODES[:, None, None] * math.exp(self.weights[-2])
        features = [np.broadcast_to(each, slopes.shape) for each in (self.means, shift, self.terms)]
        expected = np.diag(np.append(slopes.sum(axis=(0, 2)), np.zeros(3)))
        for row, feature in enumerate(features):
            expected[cells + row, :cells] = expected[:cells, cells + row] = (slopes * feature).sum(axis=(0, 2))
            expected[cells + row, cells:] = [(slopes * feature * other).sum() for other in features]
        expected[-2, -2] -= (
            state.scores[-2] * state.shares
        ).sum()  # u moves with the log of tau in proportion to itself
        centred = (state.scores - (state.scores * state.shares).sum(axis=1)[:, None]) * np.sqrt(state.shares)
        flat = centred.reshape(len(centred), -1)
        curvature: Floats = expected - flat @ flat.T + np.diag(self.precisions)
        return curvature
