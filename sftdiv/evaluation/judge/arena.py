"""The cells of a study on one scale: Bradley-Terry scores from their verdicts against one baseline.

In: ``*/evaluation/judge/verdicts.parquet`` of a study's cells. Out: one row a cell, best first; the
baseline has 1000. The trade: only cells that one judge compared with one baseline on the same
prompts are put beside each other; another prompt set or template is an error, since a table would
not show it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.evaluation.judge.bradley_terry import bradley_terry, star_scores
from sftdiv.evaluation.judge.length_control import length_controlled_win_rate
from sftdiv.evaluation.judge.scores import NEEDED, Prompts, by_prompt, mean_of_known
from sftdiv.evaluation.judge.win_rate import COVERAGE, FEWEST_DRAWS, win_rate
from sftdiv.records import SftdivError
from sftdiv.storage.cell import RESULT
from sftdiv.storage.files import write_atomically

Floats = NDArray[np.float64]
VERDICTS = Path("evaluation", "judge", "verdicts.parquet")
TABLE = "arena.csv"
SAME = ("judge", "template", "baseline")
FEWEST_OTHERS = 4  # cells from whose verdicts an instruction's difficulty is told


@dataclass(frozen=True)
class Standing:
    """One player. Rates are shares, scores points with the baseline at 1000; ``level`` is None for cells that are on no ladder.

    ``length_controlled_win_rate`` takes the instructions' difficulty into account where there are
    cells enough; a cell's own score cannot. ``n``: prompts with a preference; ``unreadable``: share
    of the verdicts that could not be read.
    """

    cell: str
    level: float | None
    win_rate: float
    win_rate_low: float
    win_rate_high: float
    length_controlled_win_rate: float
    score: float
    score_low: float
    score_high: float
    n: int
    unreadable: float


@dataclass(frozen=True)
class Arena:
    """The standings, best first, and what all have in common: judge, template, baseline, and the number of prompts."""

    judge: str
    template: str
    baseline: str
    prompts: int
    standings: tuple[Standing, ...]

    def rows(self) -> list[dict[str, Any]]:
        """The standings as mappings."""
        return [asdict(standing) for standing in self.standings]


def judged_cells(study: Path) -> list[str]:
    """Names of the cells that have verdicts, sorted."""
    return sorted(path.parents[2].name for path in study.glob(f"*/{VERDICTS.as_posix()}"))


def read_arena(study: Path, *, draws: int, seed: int) -> Arena:
    """Compare all judged cells of a study in one fit, with intervals of one bootstrap of the prompts for all cells.

    Raises:
        SftdivError: If no cell was judged, or two cells differ in the judge, the template, the
            baseline or the prompts.
    """
    names = judged_cells(study)
    if not names:
        raise SftdivError(
            f"{study} holds no verdicts (no */{VERDICTS.as_posix()}); run its cells with eval=judge, or eval=[...,judge]"
        )
    tables = {name: _read(study / name / VERDICTS) for name in names}
    shared = {key: _shared(key, {name: str(table[key][0]) for name, table in tables.items()}) for key in SAME}
    cells = {name: by_prompt(table) for name, table in tables.items()}
    order = _shared_prompts(cells)
    preferences = np.stack([cells[name].once()[np.argsort(cells[name].names)] for name in names])
    rng = np.random.default_rng(seed)
    wins, games = drawn_again(preferences, draws=draws, rng=rng)
    scores = arena_scores(preferences)
    low, high = ends(star_scores(wins, games))
    rate_low, rate_high = ends(np.divide(wins, games, out=np.full_like(wins, np.nan), where=games > 0))
    difficulty = difficulties(preferences)
    standings = []
    for row, name in enumerate(names):
        delta = cells[name].length_delta[np.argsort(cells[name].names)]
        standings.append(
            Standing(
                name,
                _level(study / name / RESULT),
                win_rate(preferences[row]),
                float(rate_low[row]),
                float(rate_high[row]),
                length_controlled_win_rate(preferences[row], delta, None if difficulty is None else difficulty[row]),
                float(scores[row]),
                float(low[row]),
                float(high[row]),
                int((~np.isnan(preferences[row])).sum()),
                float(np.isnan(tables[name]["preference"][tables[name]["repeat"] == 0]).mean()),
            )
        )
    standings.sort(
        key=lambda standing: (-standing.score if not math.isnan(standing.score) else math.inf, standing.cell)
    )
    return Arena(**shared, prompts=len(order), standings=tuple(standings))


def arena_scores(preferences: Floats) -> Floats:
    """Scores of cells against one baseline, which has 1000, shape (cells,).

    Args:
        preferences: Probability that the cell beats the baseline, shape (cells, prompts), NaN where
            it is not known.
    """
    wins = np.zeros((len(preferences) + 1, len(preferences) + 1))
    wins[1:, 0] = np.nansum(preferences, axis=1)
    wins[0, 1:] = np.nansum(1 - preferences, axis=1)
    return bradley_terry(wins)[1:]


def difficulties(preferences: Floats) -> Floats | None:
    """How hard each instruction is, for each cell told from the others: the mean share that those win of it, shape (cells, prompts).

    It stands for gamma in AlpacaEval 2's model (Dubois et al. 2024, equation 3), which is told from
    all models of the leaderboard. A cell's own verdicts are left out, since they would explain
    themselves. Where no other cell knows a prompt, the mean over prompts stands in.

    Args:
        preferences: As for `arena_scores`.

    Returns:
        None for fewer than five cells.
    """
    if len(preferences) <= FEWEST_OTHERS:
        return None
    known = ~np.isnan(preferences)
    wins = np.where(known, preferences, 0.0)
    others, games = wins.sum(axis=0) - wins, known.sum(axis=0) - known
    shares = np.divide(others, games, out=np.full(wins.shape, np.nan), where=games > 0)
    return np.where(np.isnan(shares), np.nan_to_num(mean_of_known(shares.T))[:, None], shares)


def drawn_again(preferences: Floats, *, draws: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Wins and games of a bootstrap that draws prompts for all cells together, each of shape (draws, cells).

    No game for a cell of which a single prompt is known: that says nothing of others.

    Args:
        preferences: As for `arena_scores`.
        draws: How often.
        rng: For the draws.
    """
    prompts = preferences.shape[1]
    times = rng.multinomial(prompts, np.full(prompts, 1 / prompts), size=draws).astype(np.float64)
    known = ~np.isnan(preferences)
    known &= known.sum(axis=1, keepdims=True) > 1
    return times @ np.where(known, preferences, 0.0).T, times @ known.T.astype(np.float64)


def ends(drawn: Floats) -> tuple[Floats, Floats]:
    """The ends of 95 % intervals over the draws, shape (draws, cells) to (cells,) each; NaN where half the draws or more give no number."""
    if len(drawn) < 2:
        return np.full(drawn.shape[1], np.nan), np.full(drawn.shape[1], np.nan)
    enough = (~np.isnan(drawn)).mean(axis=0) > FEWEST_DRAWS
    low, high = np.nanquantile(np.where(enough, drawn, 0.0), [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2], axis=0)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)


def write_arena(arena: Arena, path: Path) -> None:
    """Write the standings as CSV, an empty field where a number is not known."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Standing)], lineterminator="\n")
    writer.writeheader()
    for row in arena.rows():
        writer.writerow(
            {name: "" if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        )
    write_atomically(path, text.getvalue())


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """The columns of one cell's verdicts that scores depend on."""
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise SftdivError(
            f"{path} cannot be read ({error}); run its cell again, which asks the judge nothing that it has said"
        ) from error
    wanted = (*NEEDED, *SAME)
    if missing := [name for name in wanted if name not in table.column_names]:
        raise SftdivError(f"{path} lacks {', '.join(missing)}; it has {', '.join(table.column_names)}")
    if not table.num_rows:
        raise SftdivError(f"{path} holds no verdict")
    return {name: table.column(name).to_numpy() for name in wanted}


def _shared(what: str, found: Mapping[str, str]) -> str:
    """The value that all cells share."""
    values: dict[str, list[str]] = {}
    for name, value in found.items():
        values.setdefault(value, []).append(name)
    if len(values) > 1:
        told = "; ".join(
            f"{value!r} in {len(cells)} ({cells[0]}{', ...' if len(cells) > 1 else ''})"
            for value, cells in values.items()
        )
        raise SftdivError(
            f"cells with different values of {what} do not compare: {told}. Put them into folders of their own"
        )
    return next(iter(values))


def _shared_prompts(cells: Mapping[str, Prompts]) -> Sequence[str]:
    """The prompts that all cells answered, sorted."""
    (name, first), *others = cells.items()
    known = set(first.names)
    for other, prompts in others:
        if different := known.symmetric_difference(prompts.names):
            raise SftdivError(
                f"cells with different prompts do not compare: {name} has {len(known)}, {other} {len(prompts.names)}, "
                f"and {len(different)} are not in both. Give all cells one prompts= and judge again"
            )
    return sorted(known)


def _level(result: Path) -> float | None:
    """The diversity level of a cell of a ladder."""
    if not result.exists():
        return None
    row = json.loads(result.read_text(encoding="utf-8"))
    return float(row["level"]) if row.get("kind") == "level" and row.get("level") is not None else None
