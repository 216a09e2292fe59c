"""Rows of the real study: copied beside this file and back, and what the pilot says about noise.

    python benchmarks/real_study/collect.py copy MULTIRUN/real_study      # finished rows into rows/
    python benchmarks/real_study/collect.py restore MULTIRUN/real_study   # and back: the study goes on after them
    python benchmarks/real_study/collect.py noise                         # table and noise.png of the runs at level 1/2
    python benchmarks/real_study/collect.py slopes                        # table and levels.png of the ladders
    python benchmarks/real_study/collect.py selectors                     # table of the runs on ladder 0's universe

A row's folder holds ``result.json``, the scores of single MMLU items and three answers. ``python -m sftdiv.analyze
benchmarks/real_study/rows`` works on it, and a run takes a restored cell as finished.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats

from sftdiv.analysis.power import ladders_needed, power, spread_of

HERE = Path(__file__).parent
ROWS = HERE / "rows"
ITEMS, ANSWERS = "evaluation/custom/mmlu_cloze.parquet", "samples.jsonl"
OUTCOMES = {
    "score.heldout.loss_macro": "held-out loss, mean over sources",
    "score.heldout.t0.loss_macro": "held-out loss, T0",
    "score.heldout.gpteacher.loss_macro": "held-out loss, GPTeacher",
    "score.heldout.ood.gsm8k": "loss on GSM8K",
    "score.heldout.ood.codealpaca": "loss on CodeAlpaca",
    "score.mmlu_cloze.gold_logprob_bytes": "MMLU, log-likelihood of the right answer per byte",
    "score.mmlu_cloze.acc_norm": "MMLU cloze, accuracy",
}
LEVELS = np.array([0.0, 0.5, 1.0])
LADDERS = 8  # planned


def copy(source: Path, target: Path) -> None:
    """Copy finished cells: their rows, the item scores of MMLU and the answers to three held-out instructions."""
    results = sorted(source.glob("*/result.json"))
    for result in results:
        for name in ("result.json", ITEMS, ANSWERS):
            if (path := result.parent / name).exists():
                copied = target / result.parent.name / name
                copied.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copied)
    print(f"{len(results)} rows copied to {target}")


def read_rows(folder: Path) -> pd.DataFrame:
    """The rows of a folder of cells, one column per name, and the cell's folder."""
    results = sorted(folder.glob("*/result.json"))
    return pd.DataFrame([{**json.loads(path.read_text()), "folder": path.parent} for path in results])


def smallest_slope(per_ladder: float, ladders: int, goal: float = 0.8) -> float:
    """The smallest slope that the t test over ladders finds with the power ``goal``."""
    low, high = 0.0, 100 * per_ladder**0.5
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, ladders=ladders, per_ladder=per_ladder) > goal else (middle, high)
    return high


def item_noise(first: Path, second: Path, column: str) -> float:
    """Standard error, due to the choice of items, of the difference of two cells on the same items."""
    scores = [pd.read_parquet(folder / ITEMS)[f"metric.{column}"] for folder in (first, second)]
    return float((scores[0] - scores[1]).sem())


def spreads(runs: pd.DataFrame, name: str) -> tuple[float, float]:
    """SD of all runs, and of runs on one ladder (NaN where no ladder has two), which is that of draw and training."""
    on_one_ladder = runs.groupby("seed.ladder")[name]
    degrees = len(runs) - on_one_ladder.ngroups
    squares = float(((runs[name] - on_one_ladder.transform("mean")) ** 2).sum())
    return float(runs[name].std(ddof=1)), (squares / degrees) ** 0.5 if degrees else float("nan")


def noise() -> None:
    """Print the noise between runs at level 1/2 and what follows for the design; draw them and the untrained model."""
    rows = read_rows(ROWS)
    runs, base = rows[(rows["kind"] == "level") & (rows["level"] == 0.5)], rows[rows["n"] == 0].iloc[0]
    columns = ["outcome", "untrained", "mean of the runs", "SD of a run", "SD of draw and training, on one ladder"]
    columns += [f"smallest slope, {LADDERS} ladders", "ladders for a slope of half the gain"]
    ladders = runs["seed.ladder"].nunique()
    print(f"{len(runs)} runs, {ladders} ladders\n\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    figure, axes = plt.subplots(1, len(OUTCOMES), figsize=(2.6 * len(OUTCOMES), 3.0), layout="constrained")
    for axis, (name, label) in zip(axes, OUTCOMES.items(), strict=True):
        spread, within = spreads(runs, name)
        per_ladder = spread**2 / spread_of(LEVELS)  # as if no part of a ladder were common to its levels
        gain = abs(runs[name].mean() - base[name])
        numbers = [base[name], runs[name].mean(), spread, within, smallest_slope(per_ladder, LADDERS)]
        needed = ladders_needed(gain / 2, per_ladder=per_ladder)
        print(f"| {label} | {' | '.join(f'{number:.4f}' for number in numbers)} | {needed:.0f} |")
        axis.plot(runs["seed.ladder"], runs[name], "o", color="#1f77b4", label="fine-tuned, level 1/2")
        axis.axhline(base[name], color="#7f7f7f", linestyle="--", label="untrained")
        axis.set(xlabel="ladder", xticks=sorted(runs["seed.ladder"].unique()))
        axis.set_title(label.replace(", ", ",\n", 1), fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, ncols=2, loc="outside lower center")
    figure.savefig(HERE / "noise.png", dpi=120)
    first, second = runs["folder"].iloc[:2]
    for column in ("gold_logprob_bytes", "acc_norm"):
        between, gain = item_noise(first, second, column), item_noise(first, base["folder"], column)
        print(
            f"items, {column}: standard error {between:.4f} between two runs, {gain:.4f} of a gain over the untrained"
        )


def ladder_slopes(runs: pd.DataFrame, name: str, predictor: str) -> pd.Series:
    """Least-squares slope of an outcome on a predictor, for each ladder with levels 0 and 1."""
    complete = [ladder for ladder, of_ladder in runs.groupby("seed.ladder") if {0.0, 1.0} <= set(of_ladder["level"])]
    return pd.Series(
        {
            ladder: np.polyfit(of_ladder[predictor], of_ladder[name], 1)[0]
            for ladder, of_ladder in runs.groupby("seed.ladder")
            if ladder in complete
        },
        dtype=float,
    )


def interval(values: pd.Series) -> str:
    """Mean and 95 % interval of Student's t over ladders, and the unadjusted p-value."""
    mean, error = values.mean(), values.sem()
    if len(values) < 2:
        return f"{mean:+.4f} (one ladder)"
    half = stats.t.ppf(0.975, len(values) - 1) * error
    p = 2 * stats.t.sf(abs(mean / error), len(values) - 1)
    return f"{mean:+.4f} [{mean - half:+.4f}, {mean + half:+.4f}], p = {p:.2g}"


def slopes() -> None:
    """Print the slopes over the ladders, on the level and on the measured entropy; draw the outcomes by level."""
    rows = read_rows(ROWS)
    runs, base = rows[rows["kind"] == "level"].sort_values("level"), rows[rows["n"] == 0].iloc[0]
    entropy = "diversity.units.entropy"
    print(
        "| outcome | untrained | "
        + " | ".join(f"level {level:g}" for level in LEVELS)
        + " | slope on the level | per bit |"
    )
    print("|" + " --- |" * (4 + len(LEVELS)))
    figure, axes = plt.subplots(1, len(OUTCOMES), figsize=(2.6 * len(OUTCOMES), 3.0), layout="constrained")
    for axis, (name, label) in zip(axes, OUTCOMES.items(), strict=True):
        means = [runs.loc[runs["level"] == level, name].mean() for level in LEVELS]
        found = [interval(ladder_slopes(runs, name, predictor)) for predictor in ("level", entropy)]
        print(f"| {label} | {base[name]:.4f} | {' | '.join(f'{mean:.4f}' for mean in means)} | {' | '.join(found)} |")
        for ladder, of_ladder in runs.groupby("seed.ladder"):
            axis.plot(of_ladder["level"], of_ladder[name], "o-", markersize=4, linewidth=1, label=f"ladder {ladder}")
        axis.axhline(base[name], color="#7f7f7f", linestyle="--", label="untrained")
        axis.set(xlabel="level", xticks=LEVELS)
        axis.set_title(label.replace(", ", ",\n", 1), fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, ncols=5, loc="outside lower center")
    figure.savefig(HERE / "levels.png", dpi=120)
    contents = {
        "types": "diversity.units.types",
        "entropy, bit": entropy,
        "units a response": "diversity.units.per_example",
    }
    contents |= {"response tokens": "diversity.response.length", "tokens trained on": "train.tokens"}
    print("\n| " + " | ".join(["level", "runs", *contents]) + " |\n|" + " --- |" * (2 + len(contents)))
    for level, at_level in runs.groupby("level"):
        fields = [f"{at_level[column].mean():,.2f}" for column in contents.values()]
        print(f"| {level:g} | {len(at_level)} | {' | '.join(fields)} |")


def selectors() -> None:
    """Print the outcomes of every run on the universe of replicate 0, with the difference to the random draw.

    Of MMLU the difference has its standard error over items; the losses of single held-out examples were not kept.
    """
    rows = read_rows(ROWS)
    runs = rows[rows["seed"] == 0].sort_values("score.heldout.loss_macro")
    random = runs[(runs["kind"] == "random") & (runs["n"] > 0)].iloc[0]
    print("| set | " + " | ".join(OUTCOMES.values()) + " |\n|" + " --- |" * (1 + len(OUTCOMES)))
    for _, run in runs.iterrows():
        fields = []
        for name in OUTCOMES:
            error, metric = "", name.removeprefix("score.mmlu_cloze.")
            if metric != name and run["folder"] != random["folder"]:
                error = f" ± {item_noise(random['folder'], run['folder'], metric):.4f}"
            fields.append(f"{run[name]:.4f} ({run[name] - random[name]:+.4f}{error})")
        print(f"| {set_name(run)} | {' | '.join(fields)} |")
    contents = {"response tokens": "diversity.response.length", "tokens trained on": "train.tokens"}
    contents |= {"examples cut": "train.truncated", "entropy of words, bit": "diversity.response.entropy"}
    contents |= {"share of T0": "subset.share.t0"}
    print("\n| " + " | ".join(["set", *contents]) + " |\n|" + " --- |" * (1 + len(contents)))
    for _, run in runs[runs["n"] > 0].iterrows():
        print(f"| {set_name(run)} | {' | '.join(number(run[column]) for column in contents.values())} |")


def number(value: float) -> str:
    """Four digits, and counts in full."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.4g}"


def set_name(run: pd.Series) -> str:
    """What a run was trained on, in words."""
    if run["n"] == 0:
        return "none: the untrained model"
    if run["kind"] == "level":
        return f"tokens, level {run['level']:g}"
    return f"{'random draw' if run['kind'] == 'random' else run['selector']}, match {run['match']}"


if __name__ == "__main__":
    command, folder = sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else ROWS
    verbs = {"copy": lambda: copy(folder, ROWS), "restore": lambda: copy(ROWS, folder)}
    (verbs | {"noise": noise, "slopes": slopes, "selectors": selectors})[command]()
