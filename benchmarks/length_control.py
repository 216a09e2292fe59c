"""Length control with a prior on the length coefficient, where AlpacaEval's files lack the instruction difficulty.

    python benchmarks/length_control.py ../shared/data/pool-117k.parquet
    weighted_alpaca_eval_gpt4_turbo_leaderboard.csv

The pool has about 190 answers of each of 220 models of AlpacaEval's leaderboard; the leaderboard is that
of the package alpaca_eval 0.6.6. For each estimator the table shows how it ranks simulated files against
the published length-controlled win rates. A simulated file has real answer lengths where the pool has
them and drawn ones elsewhere. Verdicts follow the published model with the coefficients that lead to the
published win rates (raw and controlled) and their standard errors. The difficulty of the instructions,
which the files lack, is drawn too and may correlate with the length of the baseline's answer
(``correlation``): the published model takes it into account, a fit without it mistakes it for length. No
real verdicts are used, since none are available here. Results of a run: length_control.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm, rankdata, spearmanr

from sftdiv.evaluation.judge.length_control import (
    ALPACA_EVAL,
    ANY_JUDGE,
    DECISIVE,
    LengthPrior,
    fit_length,
    published_prior,
)

Floats = NDArray[np.float64]
BASELINE, PROMPTS = "gpt4_1106_preview", 805
CORRELATIONS = (-0.7, -0.5, -0.3, 0.0, 0.2)  # of difficulty with the length of the baseline's answer
# Published coefficients given the difficulty, mean and spread over models (alpaca_eval, metrics/weights).
LENGTH, LENGTH_SD = 1.6, 0.35
DIFFICULTY = 1.5  # sd of the difficulty's part, in logits, where the leaderboard has no lc_standard_error
FILES, SUBSETS = 56, 300  # models in one comparison, and how many comparisons


@dataclass(frozen=True)
class File:
    """One simulated file of annotations and the published length-controlled win rate."""

    preferences: Floats
    length_delta: Floats
    published: float


def answer_lengths(pool: Path, models: list[str], rng: np.random.Generator) -> dict[str, Floats]:
    """Characters of each model's answers: real ones, else draws from the model's own, ranked as the prompts' are."""
    table = pd.read_parquet(pool, columns=["source", "task", "instruction", "response"])
    table = table[table["source"].str.startswith("alpacaeval") & table["task"].isin(models)]
    wide = table.assign(chars=table["response"].str.len()).pivot_table(
        index="task", columns="instruction", values="chars", aggfunc="first"
    )
    known, lengths = ~wide.isna().to_numpy(), wide.to_numpy(dtype=float)
    ranks = np.zeros_like(lengths)
    for row, there in enumerate(known):
        ranks[row, there] = norm.ppf((rankdata(lengths[row, there]) - 0.5) / there.sum())
    loads, prompts = np.full(len(wide), 0.7), np.zeros(wide.shape[1])
    for _ in range(80):  # one factor by alternating least squares: how long answers to a prompt are
        prompts = (ranks * loads[:, None]).sum(axis=0) / (loads[:, None] ** 2 * known).sum(axis=0)
        prompts = (prompts - prompts.mean()) / prompts.std()
        loads = np.clip((ranks * prompts).sum(axis=1) / (known * prompts**2).sum(axis=1), -0.97, 0.97)
    drawn = {}
    for row, name in enumerate(wide.index):
        latent = loads[row] * prompts + math.sqrt(1 - loads[row] ** 2) * rng.normal(size=len(prompts))
        drawn[str(name)] = np.where(
            known[row], lengths[row], np.quantile(lengths[row, known[row]], norm.cdf(latent)).round()
        )
    return drawn


def simulated_files(
    board: pd.DataFrame, lengths: Mapping[str, Floats], correlation: float, rng: np.random.Generator
) -> dict[str, File]:
    """One file per model, simulated from its published win rates."""
    baseline = lengths[BASELINE]
    scale = norm.ppf((rankdata(baseline) - 0.5) / len(baseline))
    scale /= scale.std()
    other = rng.normal(size=len(baseline))
    other -= scale * (other @ scale) / (scale @ scale)
    difficulty = correlation * scale + math.sqrt(1 - correlation**2) * other / other.std()
    files = {}
    for name in sorted(set(lengths) & set(board.index) - {BASELINE}):
        delta = lengths[name] - baseline
        files[name] = _simulated(board.loc[name], delta, difficulty, rng)
    return files


def _simulated(published: pd.Series, delta: Floats, difficulty: Floats, rng: np.random.Generator) -> File:
    controlled, raw = published["length_controlled_winrate"] / 100, published["win_rate"] / 100
    harder = _difficulty_part(controlled, published["lc_standard_error"] / 100, difficulty) * difficulty
    strength = _strength(controlled, harder)
    term = np.tanh(delta / delta.std(ddof=1))
    grid = np.linspace(-0.5, 4, 91)
    fits = np.array([_logistic(strength + harder + length * term).mean() for length in grid])
    length = grid[np.argmin(((fits - raw) / 0.02) ** 2 + ((grid - LENGTH) / LENGTH_SD) ** 2)]
    chance = _logistic(strength + harder + length * term)
    variance = (published["standard_error"] / 100) ** 2 * len(
        delta
    )  # of the verdicts, which are near 0 or 1: a beta distribution
    spread = max(1e-3, (chance * (1 - chance)).mean() / max(variance - chance.var(), 1e-4) - 1)
    drawn = rng.beta(np.maximum(chance * spread, 1e-6), np.maximum((1 - chance) * spread, 1e-6))
    return File(np.clip(np.nan_to_num(drawn), 0, 1), delta, controlled)


def _difficulty_part(controlled: float, stderr: float, difficulty: Floats) -> float:
    """Effect of one sd of difficulty in logits, from the spread of the published predictions, else ``DIFFICULTY``."""

    def missed(part: float) -> float:
        return float(
            _logistic(_strength(controlled, part * difficulty) + part * difficulty).std() - stderr * math.sqrt(PROMPTS)
        )

    if math.isnan(stderr) or missed(0.001) * missed(10) > 0:
        return DIFFICULTY
    return float(brentq(missed, 0.001, 10))


def _strength(controlled: float, harder: Floats) -> float:
    return float(brentq(lambda strength: _logistic(strength + harder).mean() - controlled, -40, 40))


def _logistic(logits: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -logits))


def with_prior(prior: LengthPrior) -> Callable[[File], float]:
    """The estimator with one prior."""
    return lambda file: fit_length(file.preferences, file.length_delta, prior=prior).controlled


def as_scored(file: File) -> float:
    """The estimate of ``sftdiv.judge score`` for a file that does not name its judge."""
    prior = published_prior(file.preferences, file.length_delta)
    return fit_length(file.preferences, file.length_delta, prior=prior).controlled


ESTIMATORS: dict[str, Callable[[File], float]] = {
    "raw win rate": lambda file: float(file.preferences.mean()),
    "no prior": with_prior(LengthPrior(0, 100)),
    "N(0, 1)": with_prior(LengthPrior(0, 1)),
    "N(0, 0.4)": with_prior(LengthPrior(0, 0.4)),
    "N(1.1, 0.35)": with_prior(LengthPrior(1.1, 0.35)),
    "N(1.1, 0.15)": with_prior(LengthPrior(1.1, 0.15)),
    "N(0.9, 0.05)": with_prior(LengthPrior(0.9, 0.05)),
    "N(1.3, 0.05)": with_prior(LengthPrior(1.3, 0.05)),
    f"ANY_JUDGE N({ANY_JUDGE.mean:g}, {ANY_JUDGE.sd:g})": with_prior(ANY_JUDGE),
    f"ALPACA_EVAL N({ALPACA_EVAL.mean:g}, {ALPACA_EVAL.sd:g})": with_prior(ALPACA_EVAL),
    "as scored, judge not named": as_scored,
}


def compare(files: Mapping[str, File], estimate: Callable[[File], float]) -> list[str]:
    """Spearman (all models; 56 of them: median, 5 %), largest error in points (all, median of 56), both kept."""
    found = np.array([estimate(file) for file in files.values()])
    published = np.array([file.published for file in files.values()])
    errors = 100 * np.abs(found - published)
    rng = np.random.default_rng(0)
    chosen = [rng.choice(len(found), FILES, replace=False) for _ in range(SUBSETS)]
    ranks = np.array([spearmanr(found[rows], published[rows]).statistic for rows in chosen])
    worst = np.array([errors[rows].max() for rows in chosen])
    both = float(((ranks >= 0.98) & (worst <= 6)).mean())
    numbers = [spearmanr(found, published).statistic, np.median(ranks), np.quantile(ranks, 0.05)]
    return [*(f"{number:.3f}" for number in numbers), f"{errors.max():.1f}", f"{np.median(worst):.1f}", f"{both:.2f}"]


def made_up_judges(rng: np.random.Generator) -> dict[str, tuple[Floats, Floats, float]]:
    """Verdicts on 805 prompts, differences of length, and the right length-controlled win rate."""
    judges = {}
    for words, shift in (("as often longer as shorter", 0), ("longer on 3 of 4", 200), ("longer on 19 of 20", 500)):
        delta = shift + 300 * rng.normal(size=PROMPTS)
        coin = rng.random(PROMPTS)
        judges[f"prefers the longer, always; {words}"] = ((delta > 0) * 1.0, delta, 0.5)
        judges[f"prefers the longer, 95 %; {words}"] = (np.where(delta > 0, 0.95, 0.05), delta, 0.5)
        judges[f"does not care, 70 % better; {words}"] = ((coin < 0.7) * 1.0, delta, float((coin < 0.7).mean()))
    return judges


def evidence_gap(preferences: Floats, delta: Floats) -> float:
    """Nats per prompt by which the wide prior explains verdicts better than AlpacaEval's."""
    wide, narrow = (fit_length(preferences, delta, prior=prior).evidence for prior in (ANY_JUDGE, ALPACA_EVAL))
    return (wide - narrow) / len(preferences)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("leaderboard", type=Path)
    asked = parser.parse_args()
    board = pd.read_csv(asked.leaderboard, index_col=0)
    lengths = answer_lengths(asked.pool, list(board.index), np.random.default_rng(1))
    columns = ("Spearman, all", "of 56, median", "of 56, 5 %", "largest error", "of 56, median", "both kept")
    print(f"| correlation | estimator | {' | '.join(columns)} |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    gaps = []
    for correlation in CORRELATIONS:
        files = simulated_files(board, lengths, correlation, np.random.default_rng(2))
        gaps.append(max(evidence_gap(file.preferences, file.length_delta) for file in files.values()))
        for name, estimate in ESTIMATORS.items():
            print(f"| {correlation:g} | {name} | {' | '.join(compare(files, estimate))} |", flush=True)
    cases = f"{len(files)} models x {len(CORRELATIONS)}"
    print(f"\nLargest evidence against ALPACA_EVAL in these {cases}: {max(gaps):.3f} nats per prompt;")
    print(f"the prior is given up over {DECISIVE}.\n")
    print("| a judge of one's own | raw | controlled, ANY_JUDGE | ALPACA_EVAL | should be | evidence, nats a prompt |")
    print("| --- | --- | --- | --- | --- | --- |")
    for words, (preferences, delta, truth) in made_up_judges(np.random.default_rng(3)).items():
        found = [fit_length(preferences, delta, prior=prior).controlled for prior in (ANY_JUDGE, ALPACA_EVAL)]
        gap = evidence_gap(preferences, delta)
        print(f"| {words} | {preferences.mean():.3f} | {found[0]:.3f} | {found[1]:.3f} | {truth:.3f} | {gap:.3f} |")


if __name__ == "__main__":
    main()
