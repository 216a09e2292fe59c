"""Reads published annotation files in AlpacaEval's format (``annotations.json``) as arrays.

Files are JSON (a list) or JSON lines, one object per prompt with ``preference, output_1, output_2,
instruction``. The result is the probability that ``output_2``, the candidate, wins, and the lengths of
the answers. Values outside the scale are an error and never dropped, because a file on the other scale
would give a plausible but wrong number.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError
from sftdiv.storage.cell import undamaged

REQUIRED = ("preference", "output_1", "output_2", "instruction")
NAMES = {"candidate": "generator_2", "baseline": "generator_1", "judge": "annotator"}
DIFFICULTIES = ("instruction_difficulty", "difficulty")
SCALES = {"12": (1.0, 2.0), "01": (0.0, 1.0)}  # preference of a lost and of a won prompt
OTHER = {"12": "01", "01": "12"}
ROUNDING = 1e-6  # by which sums of token probabilities may exceed their bounds
ALPACA_EVAL_JUDGES = ("weighted_alpaca_eval", "alpaca_eval_gpt4_turbo")  # prefixes of AlpacaEval 2's annotators


@dataclass(frozen=True)
class Annotations:
    """Verdicts of one file.

    Attributes:
        prompts: Instruction of each verdict, with a number where a file holds it several times, shape (prompts,).
        preferences: Probability that the candidate wins, shape (prompts,); NaN where unknown.
        candidate_chars: Length of the candidate's answers in characters, shape (prompts,).
        baseline_chars: Length of the baseline's answers in characters, shape (prompts,).
        difficulty: Difficulty of the instructions, shape (prompts,); None where the file has none.
        names: Names of the ``candidate``, the ``baseline`` and the ``judge``, where the file has them.
    """

    prompts: Sequence[tuple[str, int]]
    preferences: NDArray[np.float64]
    candidate_chars: NDArray[np.float64]
    baseline_chars: NDArray[np.float64]
    difficulty: NDArray[np.float64] | None
    names: Mapping[str, str]


def read_annotations(path: Path, *, scale: str | None = None) -> Annotations:
    """Read a file of annotations.

    Args:
        path: JSON or JSON lines.
        scale: ``12`` (also for None): 1 + the probability that ``output_2`` wins, 0 being AlpacaEval's
            code for a tie. ``01``: that probability itself. Null is an unreadable answer on both.

    Raises:
        SftdivError: If the file cannot be read, lacks a key, mixes candidates, baselines or judges, or
            does not fit the scale; also if it holds only zeros and ones and no scale is given, because
            both scales would fit.
    """
    entries = _read_entries(undamaged(path))
    for number, entry in enumerate(entries):
        _check_entry(entry, f"{path}, entry {number}")
    _check_ambiguous(entries, path, scale)
    preferences = [
        _preference(entry["preference"], f"{path}, entry {number}", scale or "12", entries)
        for number, entry in enumerate(entries)
    ]
    names = {name: _unique_value(entries, key, path) for name, key in NAMES.items()}
    return Annotations(
        prompts=_numbered([str(entry["instruction"]) for entry in entries]),
        preferences=np.array(preferences),
        candidate_chars=np.array([len(entry["output_2"] or "") for entry in entries], dtype=np.float64),
        baseline_chars=np.array([len(entry["output_1"] or "") for entry in entries], dtype=np.float64),
        difficulty=_difficulty(entries, path),
        names={name: value for name, value in names.items() if value},
    )


def is_alpaca_eval_judge(names: Mapping[str, str]) -> bool:
    """Whether the names of a file (``Annotations.names``) say that AlpacaEval 2's own judge compared the answers."""
    return names.get("judge", "").startswith(ALPACA_EVAL_JUDGES)


def _numbered(instructions: Sequence[str]) -> list[tuple[str, int]]:
    """Each instruction with the number of its earlier occurrences."""
    seen: Counter[str] = Counter()
    numbered = []
    for instruction in instructions:
        numbered.append((instruction, seen[instruction]))
        seen[instruction] += 1
    return numbered


def _read_entries(path: Path) -> Sequence[Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SftdivError(f"{path} cannot be read: {error}") from error
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        entries = _parse_lines(text, path, error)
    if isinstance(entries, dict):
        entries = [entries]  # a single line of JSON lines
    if not isinstance(entries, list) or not entries:
        raise SftdivError(
            f"{path} holds no annotations: it must be a list of objects with {', '.join(REQUIRED)}, or one such object "
            "per line"
        )
    return entries


def _parse_lines(text: str, path: Path, json_error: json.JSONDecodeError) -> list[Any]:
    """Parse JSON lines; ``json_error`` is reported where the text does not look like JSON lines."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines or not lines[0][1].lstrip().startswith("{") or lines[0][1].strip() == "{":
        raise SftdivError(
            f"{path} is neither JSON nor JSON lines: line {json_error.lineno}, column {json_error.colno}: "
            f"{json_error.msg}"
        ) from json_error
    entries = []
    for number, line in lines:
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise SftdivError(
                f"{path} is neither JSON nor JSON lines: line {number}, column {error.colno}: {error.msg}"
            ) from error
    return entries


def _check_entry(entry: Any, location: str) -> None:
    """Refuse an entry that is no object, lacks a key, or whose answers are no text."""
    if not isinstance(entry, dict):
        raise SftdivError(f"{location} is a {type(entry).__name__} and not an object with {', '.join(REQUIRED)}")
    if missing := [key for key in REQUIRED if key not in entry]:
        raise SftdivError(f"{location} lacks {', '.join(missing)}; it has {', '.join(sorted(entry)) or 'nothing'}")
    for key in ("output_1", "output_2"):
        if not isinstance(entry[key], str | None):
            raise SftdivError(f"{location} has a {type(entry[key]).__name__} as {key}; an answer must be text")


def _preference(value: Any, location: str, scale: str, entries: Sequence[Mapping[str, Any]]) -> float:
    """One preference as a probability; ``entries`` are used for the advice in the error."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SftdivError(f"{location} has preference={value!r}, which is no number")
    if scale == "12" and value == 0:
        return 0.5
    low, high = SCALES[scale]
    if not low - ROUNDING <= value <= high + ROUNDING:
        raise SftdivError(
            f"{location} has preference={value:g}, outside the scale from {low:g} to {high:g}; "
            f"{_scale_advice(entries, OTHER[scale])}"
        )
    return float(min(max(value - low, 0.0), 1.0))


def _scale_advice(entries: Sequence[Mapping[str, Any]], scale: str) -> str:
    """Whether the preferences fit a scale."""
    low, high = SCALES[scale]
    for value in _numbers(entries):
        if not (low <= value <= high or (scale == "12" and value == 0) or math.isnan(value)):
            return f"it does not fit --scale {scale} ({low:g} to {high:g}) as a whole either"
    return f"every preference of the file fits --scale {scale} ({low:g} to {high:g})"


def _check_ambiguous(entries: Sequence[Mapping[str, Any]], path: Path, scale: str | None) -> None:
    """Refuse zeros and ones without a scale: they are ties and losses on one scale, losses and wins on the other."""
    if scale is None and set(_numbers(entries)) == {0, 1}:
        raise SftdivError(
            f"every preference in {path} is 0 or 1: say --scale 01 if they are the probability that output_2 wins "
            "(lost and won), or --scale 12 if they are AlpacaEval's codes (a tie and lost)"
        )


def _numbers(entries: Sequence[Mapping[str, Any]]) -> list[float]:
    """The preferences that are numbers."""
    return [entry["preference"] for entry in entries if isinstance(entry["preference"], int | float)]


def _unique_value(entries: Sequence[Mapping[str, Any]], key: str, path: Path) -> str:
    """The only value of a key in a file; empty where no entry has the key."""
    values = sorted({str(entry[key]) for entry in entries if entry.get(key) is not None})
    if len(values) > 1:
        raise SftdivError(
            f"{path} holds {len(values)} values of {key} ({', '.join(values[:3])}); score each in a file of its own"
        )
    return values[0] if values else ""


def _difficulty(entries: Sequence[Mapping[str, Any]], path: Path) -> NDArray[np.float64] | None:
    key = next((key for key in DIFFICULTIES if key in entries[0]), None)
    if key is None:
        return None
    values = [entry.get(key) for entry in entries]
    for number, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SftdivError(
                f"{path}, entry {number} has {key}={value!r}; where one entry has a difficulty, each needs a number"
            )
    return np.array(values, dtype=np.float64)
