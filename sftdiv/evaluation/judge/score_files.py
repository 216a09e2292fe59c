"""Scores of files of annotations: win rates of each file, and length-controlled win rates from one fit over all.

One file does not identify the judge's preference for length, so that it gets no length-controlled win rate by default.
The exceptions are files of AlpacaEval's own judge, whose coefficient is roughly known, and an explicit ``prior``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.evaluation.judge.alpaca_eval_files import Annotations, is_alpaca_eval_judge, read_annotations
from sftdiv.evaluation.judge.joint_length_control import ALPACA_EVAL_GIVEN_DIFFICULTY, MIN_CELLS, WIDE, fit_jointly
from sftdiv.evaluation.judge.length_control import ALPACA_EVAL, ANY_JUDGE, fit_length, length_controlled_win_rate
from sftdiv.evaluation.judge.win_rate import bootstrap, logit_interval, standard_error, win_rate
from sftdiv.records import SftdivError
from sftdiv.storage.validate import check_one_of

PRIORS = ("auto", "alpaca_eval", "any")
NO_CONTROL = (
    "no length-controlled win rate: one file cannot tell the judge's preference for length from quality, and a fit to "
    "it can rank models worse than the raw win rate (benchmarks/length_control.md). Score several files of one judge "
    "and baseline together, or choose a prior: --prior alpaca_eval (verdicts of AlpacaEval's judge) or --prior any"
)


@dataclass(frozen=True)
class LengthControl:
    """Length-controlled win rate of one file, in percent; NaN where there is none.

    Attributes:
        rate: The win rate at equal lengths.
        stderr: Its standard error.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
        coefficient: Length coefficient, in logits.
        prior: Prior of the coefficient, ``alpaca_eval`` or ``any``; None without length control.
        fit: ``joint`` (one fit over all files), ``file`` (this file alone), or None.
        difficulty: Whether the file's own difficulty of the prompts is used.
        note: Reason for which there is none; empty where there is one.
    """

    rate: float = math.nan
    stderr: float = math.nan
    low: float = math.nan
    high: float = math.nan
    coefficient: float = math.nan
    prior: str | None = None
    fit: str | None = None
    difficulty: bool = False
    note: str = NO_CONTROL


def score_files(paths: Sequence[Path], *, scale: str | None, prior: str, draws: int, seed: int) -> list[dict[str, Any]]:
    """Scores of each file of annotations (see ``alpaca_eval_files``), in percent as AlpacaEval publishes them.

    Args:
        paths: The files. Several are compared: they must have one judge and one baseline, and share prompts.
        scale: ``12`` (also for None) or ``01``.
        prior: Prior of the length coefficient, of ``PRIORS``. ``auto``: that of AlpacaEval's judge for files that name
            it; otherwise almost none for several files, and no length control for one.
        draws: Number of bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        SftdivError: If a file cannot be scored, or several do not compare.
    """
    check_one_of("--prior", prior, PRIORS)
    files = [read_annotations(path, scale=scale) for path in paths]
    for path, file in zip(paths, files, strict=True):
        if np.isnan(file.preferences).all():
            raise SftdivError(f"no preference in {path} could be read ({len(file.preferences)} entries, all null)")
    is_alpaca_eval = prior == "alpaca_eval" or (prior == "auto" and all(is_alpaca_eval_judge(f.names) for f in files))
    controls: Sequence[LengthControl]
    if len(files) >= MIN_CELLS:
        controls = _control_jointly(paths, files, is_alpaca_eval)
    elif prior == "auto" and not is_alpaca_eval:
        controls = [LengthControl()]
    else:
        controls = [_control_alone(files[0], is_alpaca_eval, draws=draws, rng=np.random.default_rng([seed, 1]))]
    rows = zip(paths, files, controls, strict=True)
    return [_scores(path, file, control, draws=draws, seed=seed) for path, file, control in rows]


def _scores(path: Path, file: Annotations, control: LengthControl, *, draws: int, seed: int) -> dict[str, Any]:
    """The scores of one file as a mapping for JSON."""
    raw = bootstrap(win_rate, file.preferences, draws=draws, rng=np.random.default_rng(seed))
    return {
        "file": str(path),
        "win_rate": 100 * win_rate(file.preferences),
        "length_controlled_win_rate": control.rate,
        "standard_error": 100 * standard_error(file.preferences),
        "length_controlled_standard_error": control.stderr,
        "win_rate_interval": [100 * raw.low, 100 * raw.high],
        "length_controlled_win_rate_interval": [control.low, control.high],
        **_counts(file.preferences),
        "candidate_chars": float(file.candidate_chars.mean()),
        "baseline_chars": float(file.baseline_chars.mean()),
        "length_coefficient": control.coefficient,
        "length_prior": control.prior,
        "length_fit": control.fit,
        "length_note": control.note,
        "difficulty": control.difficulty,
        **file.names,
    }


def _counts(preferences: NDArray[np.float64]) -> dict[str, int]:
    """Numbers of readable and unreadable preferences, and of wins, losses and ties among the readable ones."""
    unreadable = int(np.isnan(preferences).sum())
    return {
        "n": len(preferences) - unreadable,
        "unreadable": unreadable,
        "wins": int((preferences > 0.5).sum()),
        "losses": int((preferences < 0.5).sum()),
        "draws": int((preferences == 0.5).sum()),
    }


def _control_alone(file: Annotations, is_alpaca_eval: bool, *, draws: int, rng: np.random.Generator) -> LengthControl:
    """A fit of one file with a prior from outside."""
    prior = ALPACA_EVAL if is_alpaca_eval else ANY_JUDGE
    arrays = [file.preferences, file.candidate_chars - file.baseline_chars]
    if file.difficulty is not None:
        arrays.append(file.difficulty)
    fit = fit_length(*arrays, prior=prior)
    interval = bootstrap(partial(length_controlled_win_rate, prior=prior), *arrays, draws=draws, rng=rng)
    return LengthControl(
        rate=100 * fit.controlled,
        stderr=100 * interval.stderr,
        low=100 * interval.low,
        high=100 * interval.high,
        coefficient=fit.length,
        prior="alpaca_eval" if is_alpaca_eval else "any",
        fit="file",
        difficulty=file.difficulty is not None,
        note="",
    )


def _control_jointly(paths: Sequence[Path], files: Sequence[Annotations], is_alpaca_eval: bool) -> list[LengthControl]:
    """One fit over all files, matched by prompt."""
    _check_comparable(paths, files)
    prompts = {prompt: None for file in files for prompt in file.prompts}
    column = {prompt: position for position, prompt in enumerate(prompts)}
    preferences = np.full((len(files), len(prompts)), math.nan)
    delta = preferences.copy()
    for row, file in enumerate(files):
        columns = [column[prompt] for prompt in file.prompts]
        preferences[row, columns] = file.preferences
        delta[row, columns] = file.candidate_chars - file.baseline_chars
    fit = fit_jointly(preferences, delta, prior=ALPACA_EVAL_GIVEN_DIFFICULTY if is_alpaca_eval else WIDE)
    controls = []
    for rate, stderr in zip(fit.controlled.tolist(), fit.stderr.tolist(), strict=True):
        low, high = logit_interval(rate, stderr)
        controls.append(
            LengthControl(
                rate=100 * rate,
                stderr=100 * stderr,
                low=100 * low,
                high=100 * high,
                coefficient=fit.length,
                prior="alpaca_eval" if is_alpaca_eval else "any",
                fit="joint",
                note="",
            )
        )
    return controls


def _check_comparable(paths: Sequence[Path], files: Sequence[Annotations]) -> None:
    """Refuse files of different judges or baselines, and a file that shares no prompt with any other."""
    for name in ("judge", "baseline"):
        values = {file.names[name]: path for path, file in zip(paths, files, strict=True) if name in file.names}
        if len(values) > 1:
            listed = "; ".join(f"{value!r} in {path}" for value, path in values.items())
            raise SftdivError(
                f"files with different values of {name} are not fitted together: {listed}. Score each alone"
            )
    for number, (path, file) in enumerate(zip(paths, files, strict=True)):
        others = {prompt for other, each in enumerate(files) if other != number for prompt in each.prompts}
        if others.isdisjoint(file.prompts):
            raise SftdivError(f"{path} has no instruction in common with the other files; score it alone")
