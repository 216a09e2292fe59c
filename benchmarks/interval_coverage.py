"""Coverage of the slope's 95 % interval and the rate of bold flat slopes, before and after ladders are the runs.

    python benchmarks/interval_coverage.py [--sweeps 2000]

Writes benchmarks/coverage.md. All methods see the same kind of simulated sweep
(``tests/support/simulated_sweeps.py``): seven levels, noise 0.01 between seeds. *Before* is the method
until 2026-11-27: one line through all cells of a study whose seeds share one ladder, as if cells were
independent (its formula is kept here, in ``line_through_cells``). *After* is
`sftdiv.analysis.inference`: replicated ladders with one run per level each, and the shared ladder with
levels as clusters. About two minutes on one core.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from simulated_sweeps import SITUATIONS, SimulatedDesign, Situation, simulate, sweep_design, true_slope  # noqa: E402

from sftdiv.analysis.inference import fit_ladders  # noqa: E402

SLOPE = 0.03
METHODS = {  # heading -> (before, ladders, seeds)
    "before, 1 ladder x 3 seeds": (True, 1, 3),
    "before, 1 x 20": (True, 1, 20),
    "one ladder x 3 seeds, CR2": (False, 1, 3),
    "1 x 20, CR2": (False, 1, 20),
    "3 ladders": (False, 3, 1),
    "6 ladders": (False, 6, 1),
    "10 ladders": (False, 10, 1),
}


def line_through_cells(levels: np.ndarray, runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The interval until 2026-11-27: least squares over all cells, t with n - 2 degrees of freedom.

    Args:
        levels: Level of each cell, shape (n,).
        runs: Performance, shape (sweeps, n).

    Returns:
        Lower and upper limits, shape (sweeps,).
    """
    centred = levels - levels.mean()
    spread, n = centred @ centred, len(levels)
    slopes = runs @ centred / spread
    residuals = runs - runs.mean(axis=1, keepdims=True) - slopes[:, None] * centred
    reach = np.sqrt((residuals**2).sum(axis=1) / (n - 2) / spread) * stats.t.ppf(0.975, n - 2)
    return slopes - reach, slopes + reach


def intervals(design: SimulatedDesign, runs: np.ndarray, *, before: bool) -> tuple[np.ndarray, np.ndarray, bool]:
    """Limits of the slope's interval in each sweep, and whether such a slope may be bold."""
    if before:
        return *line_through_cells(design.levels, runs), True
    model = fit_ladders(design.levels[:, None], runs[0], ladders=design.ladders, levels=design.levels)
    assert model is not None
    combination = np.array([0.0, 1.0])
    limits = np.array([model.with_response(run).contrast(combination).interval() for run in runs])
    return limits[:, 0], limits[:, 1], model.status == ""


def rates(situation: Situation, *, before: bool, ladders: int, seeds: int, sweeps: int) -> tuple[float, float, float]:
    """Coverage at a slope of ``SLOPE``, and at a slope of 0 the share outside the interval and the share bold."""
    design = sweep_design(ladders=ladders, seeds=seeds)
    rng = np.random.default_rng(0)
    low, high, _ = intervals(design, simulate(situation, design, slope=SLOPE, sweeps=sweeps, rng=rng), before=before)
    truth = true_slope(situation, design, SLOPE)
    covered = float(np.mean((low <= truth) & (truth <= high)))
    low, high, may_be_bold = intervals(
        design, simulate(situation, design, slope=0.0, sweeps=sweeps, rng=rng), before=before
    )
    outside = float(np.mean((low > 0) | (high < 0)))
    return covered, outside, outside * may_be_bold


def table(results: dict[str, list[tuple[float, float, float]]], column: int) -> list[str]:
    """One measure of all situations and methods as a Markdown table."""
    lines = ["| situation | " + " | ".join(METHODS) + " |", "| --- |" + " --- |" * len(METHODS)]
    for name, row in results.items():
        lines.append(f"| {name} | " + " | ".join(f"{values[column]:.3f}" for values in row) + " |")
    return lines


def main() -> None:
    """Simulate all situations and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", type=int, default=2000, help="sweeps for each number (default: %(default)s)")
    sweeps = parser.parse_args().sweeps
    results = {
        name: [
            rates(situation, before=before, ladders=ladders, seeds=seeds, sweeps=sweeps)
            for before, ladders, seeds in METHODS.values()
        ]
        for name, situation in SITUATIONS.items()
    }
    error = 1.96 * np.sqrt(0.95 * 0.05 / sweeps)
    text = [
        "# Coverage of the slope's interval",
        "",
        f"`python benchmarks/interval_coverage.py --sweeps {sweeps}`: {sweeps:,} simulated sweeps for each number, so "
        f"that 0.95 has a simulation error of ± {error:.3f}. Situations, methods and formulas: the docstrings "
        "of `benchmarks/interval_coverage.py` and `tests/support/simulated_sweeps.py`.",
        "",
        f"## Coverage of the 95 % interval, true slope {SLOPE}",
        "",
        *table(results, 0),
        "",
        "## Share of flat slopes (true slope 0) whose interval excludes zero",
        "",
        *table(results, 1),
        "",
        "## Share of flat slopes that are bold",
        "",
        "A slope of one ladder is never bold: its interval is for that ladder, and fails where effects accumulate.",
        "",
        *table(results, 2),
        "",
    ]
    (ROOT / "benchmarks" / "coverage.md").write_text("\n".join(text), encoding="utf-8")
    print("\n".join(text))


if __name__ == "__main__":
    main()
