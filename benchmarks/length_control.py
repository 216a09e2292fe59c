"""Ways to control a judge's win rate for length, on simulated files like AlpacaEval's, which lack the difficulty.

    python benchmarks/length_control.py ../shared/data/pool-117k.parquet
    python benchmarks/length_control.py ../shared/data/pool-117k.parquet --leaderboard LEADERBOARD.csv

The pool has about 190 answers of each of 220 models of AlpacaEval's leaderboard. A simulated file has real
answer lengths where the pool has them and drawn ones elsewhere. Verdicts follow AlpacaEval 2's model. By
default the strengths are drawn, the length coefficients have the published mean and spread, and the truth
is the win rate at equal lengths that the simulation knows. With the leaderboard of the package alpaca_eval
0.6.6 (weighted_alpaca_eval_gpt4_turbo_leaderboard.csv) they are those that lead to the published win rates
(raw and controlled), and the published length-controlled win rate is the truth. The difficulty of the
instructions is drawn and may correlate with the length of the baseline's answer (``correlation``): a fit
that knows neither it nor prompt effects mistakes it for length. No real verdicts are used, since none are
available here. Results of a run: length_control.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm, rankdata, spearmanr

from sftdiv.evaluation.judge.joint_length_control import fit_jointly
from sftdiv.evaluation.judge.length_control import (
    ALPACA_EVAL,
    ANY_JUDGE,
    LengthPrior,
    fit_length,
)

Floats = NDArray[np.float64]
BASELINE, PROMPTS = "gpt4_1106_preview", 805
CORRELATIONS = (-0.7, -0.5, -0.3, 0.0, 0.2)  # of difficulty with the length of the baseline's answer
# Published coefficients given the difficulty, mean and spread over models (alpaca_eval, metrics/weights).
LENGTH, LENGTH_SD = 1.6, 0.35
DIFFICULTY = 1.5  # sd of the difficulty's part, in logits, where the leaderboard has no lc_standard_error
STRENGTH, STRENGTH_SD = -1.2, 1.3  # of the drawn models, in logits: controlled win rates of about 2 to 85 %
FILES, SUBSETS = (56, 12), 10  # models in one comparison, and how many comparisons


@dataclass(frozen=True)
class File:
    """One simulated file of annotations and the published length-controlled win rate."""

    preferences: Floats
    length_delta: Floats
    published: float


def answer_lengths(pool: Path, models: list[str] | None, rng: np.random.Generator) -> dict[str, Floats]:
    """Characters of each model's answers: real ones, else draws from the model's own, ranked as the prompts' are."""
    table = pd.read_parquet(pool, columns=["source", "task", "instruction", "response"])
    table = table[table["source"].str.startswith("alpacaeval")]
    if models is not None:
        table = table[table["task"].isin(models)]
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
    difficulty = _difficulty(baseline, correlation, rng)
    files = {}
    for name in sorted(set(lengths) & set(board.index) - {BASELINE}):
        delta = lengths[name] - baseline
        files[name] = _simulated(board.loc[name], delta, difficulty, rng)
    return files


def drawn_files(lengths: Mapping[str, Floats], correlation: float, rng: np.random.Generator) -> dict[str, File]:
    """One file per model whose strength and length coefficient are drawn."""
    difficulty = _difficulty(lengths[BASELINE], correlation, rng)
    files = {}
    for name in sorted(set(lengths) - {BASELINE}):
        delta = lengths[name] - lengths[BASELINE]
        strength, length = rng.normal(STRENGTH, STRENGTH_SD), rng.normal(LENGTH, LENGTH_SD)
        equal = strength + DIFFICULTY * difficulty
        chance = _logistic(equal + length * np.tanh(delta / delta.std(ddof=1)))
        files[name] = File(_verdicts(chance, 1.0, rng), delta, float(_logistic(equal).mean()))
    return files


def _difficulty(baseline: Floats, correlation: float, rng: np.random.Generator) -> Floats:
    """Difficulty of each prompt, of variance 1, correlated with the rank of the length of the baseline's answer."""
    scale = norm.ppf((rankdata(baseline) - 0.5) / len(baseline))
    scale /= scale.std()
    other = rng.normal(size=len(baseline))
    other -= scale * (other @ scale) / (scale @ scale)
    mixed: Floats = correlation * scale + math.sqrt(1 - correlation**2) * other / other.std()
    return mixed


def _verdicts(chance: Floats, spread: float, rng: np.random.Generator) -> Floats:
    """Preferences, mostly near 0 or 1: draws of a beta distribution with these means."""
    drawn = rng.beta(np.maximum(chance * spread, 1e-6), np.maximum((1 - chance) * spread, 1e-6))
    return np.clip(np.nan_to_num(drawn), 0, 1)


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
    return File(_verdicts(chance, spread, rng), delta, controlled)


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


Estimator = Callable[[Sequence[File]], Floats]


def with_prior(prior: LengthPrior) -> Estimator:
    """One fit per file, with one prior."""
    return lambda files: np.array(
        [fit_length(file.preferences, file.length_delta, prior=prior).controlled for file in files]
    )


def together(files: Sequence[File]) -> Floats:
    """One fit over all files, as ``sftdiv.judge score FILE...`` and the arena of a study do it."""
    preferences, deltas = (
        np.stack([getattr(file, name) for file in files]) for name in ("preferences", "length_delta")
    )
    return fit_jointly(preferences, deltas).controlled


ESTIMATORS: dict[str, Estimator] = {
    "raw win rate": lambda files: np.array([file.preferences.mean() for file in files]),
    "one fit per file, no prior": with_prior(LengthPrior(0, 100)),
    f"one fit per file, N({ANY_JUDGE.mean:g}, {ANY_JUDGE.sd:g}) (the former default)": with_prior(ANY_JUDGE),
    "one fit per file, N(1.1, 0.05) (formerly for AlpacaEval's judge)": with_prior(LengthPrior(1.1, 0.05)),
    f"one fit per file, N({ALPACA_EVAL.mean:g}, {ALPACA_EVAL.sd:g}) (now for AlpacaEval's judge)": with_prior(
        ALPACA_EVAL
    ),
    "one fit over all files (the default for several)": together,
}


def compare(files: Mapping[str, File], estimate: Estimator) -> list[str]:
    """Spearman correlation and largest error in points: over all models, and medians over sets of 56 and of 12."""
    everything = list(files.values())
    rng = np.random.default_rng(0)
    sets = [[everything], *([_drawn(everything, size, rng) for _ in range(SUBSETS)] for size in FILES)]
    columns = []
    for drawn in sets:
        results = [_agreement(estimate(each), np.array([file.published for file in each])) for each in drawn]
        columns.append(np.median(results, axis=0))
    return [f"{rank:.3f}" for rank, _ in columns] + [f"{error:.1f}" for _, error in columns]


def _drawn(files: Sequence[File], size: int, rng: np.random.Generator) -> list[File]:
    return [files[row] for row in rng.choice(len(files), size, replace=False)]


def _agreement(found: Floats, truth: Floats) -> tuple[float, float]:
    return float(spearmanr(found, truth).statistic), float(100 * np.abs(found - truth).max())


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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pool", type=Path)
    parser.add_argument("--leaderboard", type=Path)
    asked = parser.parse_args()
    board = None if asked.leaderboard is None else pd.read_csv(asked.leaderboard, index_col=0)
    lengths = answer_lengths(asked.pool, None if board is None else list(board.index), np.random.default_rng(1))
    sets = ("all", *(f"of {size}" for size in FILES))
    columns = [f"{what}, {which}" for what in ("Spearman", "largest error") for which in sets]
    print(f"| correlation | estimator | {' | '.join(columns)} |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for correlation in CORRELATIONS:
        rng = np.random.default_rng(2)
        files = drawn_files(lengths, correlation, rng)
        if board is not None:
            files = simulated_files(board, lengths, correlation, rng)
        for name, estimate in ESTIMATORS.items():
            print(f"| {correlation:g} | {name} | {' | '.join(compare(files, estimate))} |", flush=True)
    print("\n| a judge of one's own | raw | one fit per file, ANY_JUDGE | ALPACA_EVAL | should be |")
    print("| --- | --- | --- | --- | --- |")
    for words, (preferences, delta, truth) in made_up_judges(np.random.default_rng(3)).items():
        found = [fit_length(preferences, delta, prior=prior).controlled for prior in (ANY_JUDGE, ALPACA_EVAL)]
        print(f"| {words} | {preferences.mean():.3f} | {found[0]:.3f} | {found[1]:.3f} | {truth:.3f} |")


if __name__ == "__main__":
    main()
