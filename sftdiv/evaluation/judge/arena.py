"""The cells of a study on one scale: Bradley-Terry scores from their verdicts against one baseline.

A study folder whose cells were judged comes in; one row per cell goes out, best first, and as CSV. The
baseline's score is 1000. `arena_verdicts` reads the verdicts, `arena_fit` computes the scores.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from sftdiv.evaluation.judge.arena_fit import arena_scores, interval_ends, resample_games
from sftdiv.evaluation.judge.arena_verdicts import StudyVerdicts, read_study_verdicts
from sftdiv.evaluation.judge.bradley_terry import star_scores
from sftdiv.evaluation.judge.joint_length_control import MIN_CELLS, fit_jointly
from sftdiv.evaluation.judge.win_rate import logit_interval, win_rate
from sftdiv.storage.cell import RESULT, read_row
from sftdiv.storage.files import write_atomically
from sftdiv.text.csv_cells import csv_line

TABLE = "arena.csv"


@dataclass(frozen=True)
class Standing:
    """Scores of one cell. Rates are shares; intervals are of 95 %.

    Attributes:
        cell: Name of the cell.
        level: Diversity level; None for cells that are on no ladder.
        win_rate: Win rate against the baseline.
        win_rate_low: Lower end of its interval.
        win_rate_high: Upper end of its interval.
        length_controlled_win_rate: Win rate at equal lengths, from one fit over all cells with prompt effects; NaN
            for a study with a single judged cell, which does not identify it.
        length_controlled_win_rate_low: Lower end of its interval.
        length_controlled_win_rate_high: Upper end of its interval.
        score: Bradley-Terry score; the baseline has 1000.
        score_low: Lower end of its interval.
        score_high: Upper end of its interval.
        n: Number of prompts with a preference.
        unreadable: Share of unreadable verdicts.
    """

    cell: str
    level: float | None
    win_rate: float
    win_rate_low: float
    win_rate_high: float
    length_controlled_win_rate: float
    length_controlled_win_rate_low: float
    length_controlled_win_rate_high: float
    score: float
    score_low: float
    score_high: float
    n: int
    unreadable: float


@dataclass(frozen=True)
class Arena:
    """Scores of all judged cells of a study.

    Attributes:
        judge: Name of the judge model.
        template: Name of the template.
        baseline: Name of the baseline.
        prompts: Number of prompts.
        standings: Scores of the cells, best first.
    """

    judge: str
    template: str
    baseline: str
    prompts: int
    standings: tuple[Standing, ...]

    def rows(self) -> list[dict[str, Any]]:
        """The standings as mappings."""
        return [asdict(standing) for standing in self.standings]


def read_arena(study: Path, *, draws: int, seed: int) -> Arena:
    """Compare all judged cells of a study in one fit, with intervals from one bootstrap of the prompts for all cells.

    Args:
        study: Folder of the study.
        draws: Number of bootstrap resamples; fewer than 2 give no intervals.
        seed: Seed of the bootstrap.

    Raises:
        SftdivError: If no cell was judged, or two cells differ in the judge, the template, the
            baseline or the prompts.
    """
    verdicts = read_study_verdicts(study)
    levels = [_level(study / cell / RESULT) for cell in verdicts.cells]
    standings = _standings(verdicts, levels, draws=draws, rng=np.random.default_rng(seed))
    # Best first; cells without a score last.
    standings.sort(key=lambda row: (-row.score if not math.isnan(row.score) else math.inf, row.cell))
    return Arena(
        judge=verdicts.judge,
        template=verdicts.template,
        baseline=verdicts.baseline,
        prompts=verdicts.preferences.shape[1],
        standings=tuple(standings),
    )


def write_arena(arena: Arena, path: Path) -> None:
    """Write the standings as CSV; unknown numbers are empty fields."""
    lines = [csv_line(field.name for field in fields(Standing))]
    for row in arena.rows():
        lines.append(
            csv_line("" if isinstance(value, float) and math.isnan(value) else value for value in row.values())
        )
    write_atomically(path, "".join(lines))


def _standings(
    verdicts: StudyVerdicts, levels: list[float | None], *, draws: int, rng: np.random.Generator
) -> list[Standing]:
    """Scores of all cells, in the order of the verdicts."""
    preferences = verdicts.preferences
    scores = arena_scores(preferences)
    controlled = stderrs = np.full(len(preferences), math.nan)
    if len(preferences) >= MIN_CELLS:
        fit = fit_jointly(preferences, verdicts.length_delta)
        controlled, stderrs = fit.controlled, fit.stderr
    wins, games = resample_games(preferences, draws=draws, rng=rng)
    score_low, score_high = interval_ends(star_scores(wins, games))
    rate_low, rate_high = interval_ends(np.divide(wins, games, out=np.full_like(wins, np.nan), where=games > 0))
    standings = []
    for row, cell in enumerate(verdicts.cells):
        controlled_low, controlled_high = logit_interval(float(controlled[row]), float(stderrs[row]))
        standings.append(
            Standing(
                cell=cell,
                level=levels[row],
                win_rate=win_rate(preferences[row]),
                win_rate_low=float(rate_low[row]),
                win_rate_high=float(rate_high[row]),
                length_controlled_win_rate=float(controlled[row]),
                length_controlled_win_rate_low=controlled_low,
                length_controlled_win_rate_high=controlled_high,
                score=float(scores[row]),
                score_low=float(score_low[row]),
                score_high=float(score_high[row]),
                n=int((~np.isnan(preferences[row])).sum()),
                unreadable=float(verdicts.unreadable[row]),
            )
        )
    return standings


def _level(result: Path) -> float | None:
    """Diversity level of a cell on a ladder; None for other cells."""
    if not result.exists():
        return None
    row = read_row(result)
    return float(row["level"]) if row.get("kind") == "level" and row.get("level") is not None else None
