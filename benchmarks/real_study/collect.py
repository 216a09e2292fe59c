"""Rows of the real study: copied beside this file, and what the pilot says about noise and the number of ladders.

    python benchmarks/real_study/collect.py copy MULTIRUN/real_study    # finished rows into rows/
    python benchmarks/real_study/collect.py noise                        # table and noise.png from rows/

A row's folder holds ``result.json`` and the scores of single MMLU items, so that ``python -m sftdiv.analyze
benchmarks/real_study/rows`` works on it. The pilot is the runs at level 1/2 on ladders that have at least two.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sftdiv.analysis.power import ladders_needed, power, spread_of

HERE = Path(__file__).parent
ROWS = HERE / "rows"
OUTCOMES = {
    "heldout.loss_macro": "held-out loss",
    "heldout.ood.gsm8k": "loss on GSM8K",
    "heldout.ood.codealpaca": "loss on CodeAlpaca",
    "mmlu_cloze.gold_logprob_bytes": "MMLU, log-likelihood of the right answer",
    "mmlu_cloze.acc_norm": "MMLU cloze, accuracy",
}
LEVELS = np.array([0.0, 0.5, 1.0])
LADDERS = 8  # planned


def copy(study: Path) -> None:
    """Copy the finished cells of a study: their rows, and the item scores of the group MMLU."""
    for result in sorted(study.glob("*/result.json")):
        target = ROWS / result.parent.name
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(result, target / "result.json")
        for items in result.parent.glob("evaluation/*/mmlu_cloze.parquet"):
            (target / items.parent.relative_to(result.parent)).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(items, target / items.relative_to(result.parent))
    print(f"{len(list(ROWS.glob('*/result.json')))} rows in {ROWS}")


def read_rows() -> pd.DataFrame:
    """Every copied row, one column per name."""
    return pd.DataFrame([json.loads(path.read_text()) for path in sorted(ROWS.glob("*/result.json"))])


def variance_components(scores: pd.Series, ladders: pd.Series) -> tuple[float, float]:
    """Variance of a run on its ladder, and of ladders beyond it (at least 0), by a balanced analysis of variance."""
    groups = scores.groupby(ladders)
    within = groups.var(ddof=1).mean()
    return float(within), max(0.0, float(groups.mean().var(ddof=1) - within / groups.size().mean()))


def smallest_slope(per_ladder: float, ladders: int, goal: float = 0.8) -> float:
    """The smallest slope that the t test over ladders finds with the power ``goal``."""
    low, high = 0.0, 100 * per_ladder**0.5
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, ladders=ladders, per_ladder=per_ladder) > goal else (middle, high)
    return high


def noise() -> None:
    """Print the noise of the pilot and what follows for the design; draw the six runs beside the untrained model."""
    rows = read_rows()
    trained = rows[(rows["strategy"] == "micro_token") & (rows["level"] == 0.5)]
    pilot = trained[trained.groupby("seed.ladder")["cell"].transform("size") >= 2]
    base = rows[rows["size"] == 0].iloc[0]
    print(f"{len(pilot)} runs on {pilot['seed.ladder'].nunique()} ladders\n")
    columns = ["outcome", "untrained", "mean", "SD, seed", "SD, ladder", f"smallest slope, {LADDERS} ladders"]
    columns.append("ladders for a slope of half the gain")
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    figure, axes = plt.subplots(1, len(OUTCOMES), figsize=(3.2 * len(OUTCOMES), 3.2), layout="constrained")
    for axis, (name, label) in zip(axes, OUTCOMES.items(), strict=True):
        within, between = variance_components(pilot[name], pilot["seed.ladder"])
        per_ladder = (within + between) / spread_of(LEVELS)  # as if no part of a ladder were common to its levels
        gain = abs(pilot[name].mean() - base[name])
        numbers = [base[name], pilot[name].mean(), within**0.5, between**0.5, smallest_slope(per_ladder, LADDERS)]
        needed = ladders_needed(gain / 2, per_ladder=per_ladder)
        print(f"| {label} | {' | '.join(f'{number:.4f}' for number in numbers)} | {needed:.0f} |")
        axis.plot(pilot["seed.ladder"], pilot[name], "o", color="#1f77b4", label="fine-tuned, level 1/2")
        axis.axhline(base[name], color="#7f7f7f", linestyle="--", label="untrained")
        axis.set(title=label, xlabel="ladder", xticks=sorted(pilot["seed.ladder"].unique()))
    axes[0].legend(fontsize=8)
    figure.savefig(HERE / "noise.png", dpi=120)


if __name__ == "__main__":
    {"copy": lambda: copy(Path(sys.argv[2])), "noise": noise}[sys.argv[1]]()
