"""Published annotation files as arrays: AlpacaEval's ``annotations.json``, and whatever is written like it.

In: JSON (a list) or JSON lines, one object a prompt with ``preference, output_1, output_2,
instruction``. Out: the probability that ``output_2``, the candidate, wins, and the lengths. The
trade: what does not fit the scale is an error and never dropped, since a file on the other scale
would give a plausible and wrong number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.evaluation.judge.length_control import ALPACA_EVAL, ANY_JUDGE, LengthPrior, published_prior
from sftdiv.records import SftdivError

REQUIRED = ("preference", "output_1", "output_2", "instruction")
NAMES = {"candidate": "generator_2", "baseline": "generator_1", "judge": "annotator"}
DIFFICULTIES = ("instruction_difficulty", "difficulty")
SCALES = {"12": (1.0, 2.0), "01": (0.0, 1.0)}  # preference of a lost and of a won prompt
OTHER = {"12": "01", "01": "12"}
ROUNDING = 1e-6  # sums of token probabilities pass their bounds by so much
ALPACA_EVAL_JUDGES = (
    "weighted_alpaca_eval",
    "alpaca_eval_gpt4_turbo",
)  # how the names of AlpacaEval 2's annotators begin


@dataclass(frozen=True)
class Annotations:
    """One file of verdicts; arrays have the shape (prompts,).

    ``preferences``: probability that the candidate wins, NaN where the file has none.
    ``candidate_chars``, ``baseline_chars``: lengths of the answers in characters. ``difficulty``:
    of the instructions, where the file says. ``names``: candidate, baseline and judge.
    """

    preferences: NDArray[np.float64]
    candidate_chars: NDArray[np.float64]
    baseline_chars: NDArray[np.float64]
    difficulty: NDArray[np.float64] | None
    names: Mapping[str, str]


def read_annotations(path: Path, *, scale: str | None = None) -> Annotations:
    """Read a file of annotations.

    Args:
        path: JSON or JSON lines.
        scale: ``12`` (None means this one): 1 + the probability that ``output_2`` wins, 0 being
            AlpacaEval's code for a draw. ``01``: that probability itself. A null is an answer that
            could not be read, on both.

    Raises:
        SftdivError: If the file cannot be read, lacks a key, mixes candidates, baselines or judges,
            or does not fit the scale; also if it holds zeros and ones alone and no scale is given,
            since both scales would fit.
    """
    entries = _entries(path)
    for number, entry in enumerate(entries):
        _check(entry, f"{path}, entry {number}")
    _check_ambiguous(entries, path, scale)
    preferences = [
        _preference(entry["preference"], f"{path}, entry {number}", scale or "12", entries)
        for number, entry in enumerate(entries)
    ]
    return Annotations(
        np.array(preferences),
        np.array([len(entry["output_2"] or "") for entry in entries], dtype=np.float64),
        np.array([len(entry["output_1"] or "") for entry in entries], dtype=np.float64),
        _difficulty(entries, path),
        {name: found for name, key in NAMES.items() if (found := _only(entries, key, path))},
    )


def _entries(path: Path) -> Sequence[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SftdivError(f"{path} cannot be read: {error}") from error
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        entries = _lines(text, path, error)
    if isinstance(entries, dict):
        entries = [entries]  # one line of JSON lines
    if not isinstance(entries, list) or not entries:
        raise SftdivError(
            f"{path} holds no annotations: it must be a list of objects with {', '.join(REQUIRED)}, or one such object a line"
        )
    return entries


def _lines(text: str, path: Path, whole: json.JSONDecodeError) -> list[Any]:
    """JSON lines; what is neither is told of where the reader of JSON stopped."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines or not lines[0][1].lstrip().startswith("{") or lines[0][1].strip() == "{":
        raise SftdivError(
            f"{path} is neither JSON nor JSON lines: line {whole.lineno}, column {whole.colno}: {whole.msg}"
        ) from whole
    entries = []
    for number, line in lines:
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise SftdivError(
                f"{path} is neither JSON nor JSON lines: line {number}, column {error.colno}: {error.msg}"
            ) from error
    return entries


def _check(entry: Any, where: str) -> None:
    """Refuse an entry that is no object, lacks a key, or whose answers are no text."""
    if not isinstance(entry, dict):
        raise SftdivError(f"{where} is a {type(entry).__name__} and not an object with {', '.join(REQUIRED)}")
    if missing := [key for key in REQUIRED if key not in entry]:
        raise SftdivError(f"{where} lacks {', '.join(missing)}; it has {', '.join(sorted(entry)) or 'nothing'}")
    for key in ("output_1", "output_2"):
        if not isinstance(entry[key], str | None):
            raise SftdivError(f"{where} has a {type(entry[key]).__name__} as {key}; an answer must be text")


def _preference(value: Any, where: str, scale: str, entries: Sequence[Mapping[str, Any]]) -> float:
    """One preference as a probability."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SftdivError(f"{where} has preference={value!r}, which is no number")
    if scale == "12" and value == 0:
        return 0.5
    low, high = SCALES[scale]
    if not low - ROUNDING <= value <= high + ROUNDING:
        raise SftdivError(
            f"{where} has preference={value:g}, outside the scale from {low:g} to {high:g}{_advice(entries, scale)}"
        )
    return float(min(max(value - low, 0.0), 1.0))


def _advice(entries: Sequence[Mapping[str, Any]], scale: str) -> str:
    low, high = SCALES[OTHER[scale]]
    numbers = [entry["preference"] for entry in entries if isinstance(entry["preference"], int | float)]
    fits = all(
        low <= value <= high or (OTHER[scale] == "12" and value == 0) for value in numbers if not math.isnan(value)
    )
    if fits:
        return f"; every preference of the file fits --scale {OTHER[scale]} ({low:g} to {high:g})"
    return f"; it does not fit --scale {OTHER[scale]} ({low:g} to {high:g}) as a whole either"


def _check_ambiguous(entries: Sequence[Mapping[str, Any]], path: Path, scale: str | None) -> None:
    """Zeros and ones alone are draws and losses on one scale and losses and wins on the other: whoever asks must say."""
    if scale is None and {entry["preference"] for entry in entries if isinstance(entry["preference"], int | float)} == {
        0,
        1,
    }:
        raise SftdivError(
            f"every preference in {path} is 0 or 1: say --scale 01 if they are the probability that output_2 wins (lost and won), "
            "or --scale 12 if they are AlpacaEval's codes (a draw and lost)"
        )


def _only(entries: Sequence[Mapping[str, Any]], key: str, path: Path) -> str:
    """The one value of a key in a file, empty where no entry has it."""
    found = sorted({str(entry[key]) for entry in entries if entry.get(key) is not None})
    if len(found) > 1:
        raise SftdivError(
            f"{path} holds {len(found)} values of {key} ({', '.join(found[:3])}); score each in a file of its own"
        )
    return found[0] if found else ""


def _difficulty(entries: Sequence[Mapping[str, Any]], path: Path) -> NDArray[np.float64] | None:
    key = next((key for key in DIFFICULTIES if key in entries[0]), None)
    if key is None:
        return None
    values = [entry.get(key) for entry in entries]
    bad = next(
        (
            number
            for number, value in enumerate(values)
            if isinstance(value, bool) or not isinstance(value, int | float)
        ),
        None,
    )
    if bad is not None:
        raise SftdivError(
            f"{path}, entry {bad} has {key}={values[bad]!r}; where one entry has a difficulty, each needs a number"
        )
    return np.array(values, dtype=np.float64)


def choose_prior(file: Annotations) -> LengthPrior:
    """What is known of the length effect of the file's judge: AlpacaEval's if it is that one, or is not named and judges like it."""
    judge = file.names.get("judge", "")
    if judge:
        return ALPACA_EVAL if judge.startswith(ALPACA_EVAL_JUDGES) else ANY_JUDGE
    return published_prior(file.preferences, file.candidate_chars - file.baseline_chars)
