"""Evaluators of a run: validated before training, run on the checkpoint afterwards.

Several may be chosen (``eval=[embedded,judge]``); their score names must be distinct. Scores, and the digests of the
files that evaluators wrote, are kept in ``evaluation/.scores.json``: where another file of a finished cell is damaged,
the evaluation is not repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import sftdiv
from sftdiv.config.spec import RunSpec
from sftdiv.protocols import EvalContext
from sftdiv.records import Score, SftdivError
from sftdiv.storage.file_digests import (
    DIGESTS,
    DamagedFileError,
    changed_files,
    file_record,
    read_sealed,
    records_of,
    write_sealed,
)
from sftdiv.storage.hashing import content_hash, libraries_of, library_versions
from sftdiv.storage.validate import did_you_mean

log = logging.getLogger(__name__)
SCORES = ".scores.json"


def performance_columns(spec: RunSpec) -> dict[str, Any]:
    """Columns ``eval``, ``primary`` and ``higher_is_better``, as far as the settings determine them."""
    evaluators = spec.evaluators
    directions = [evaluator.higher_is_better for evaluator in evaluators.values() if evaluator.primary == spec.primary]
    return {
        "eval": "+".join(evaluators) or "none",
        "primary": spec.primary,
        "higher_is_better": next(iter(directions), None),
    }


def check_evaluation(spec: RunSpec, context: EvalContext) -> dict[str, Any]:
    """Validate tasks, data and prompts of the evaluators before training starts.

    Returns:
        Columns ``primary`` and ``higher_is_better``, determined from the evaluators' score names.

    Raises:
        SftdivError: An evaluator rejects its settings, two have the same score, or none has ``eval.primary``.
    """
    owners: dict[str, str] = {}
    directions: dict[str, bool | None] = {}
    for name, evaluator in spec.evaluators.items():
        scores = evaluator.check(context) or {f"{name}.": None}
        for score, higher in scores.items():
            _check_unowned(score, name, owners)
            owners[score] = name
            is_primary = evaluator.primary == score or higher is None
            directions[score] = evaluator.higher_is_better if is_primary else higher
    primary = spec.primary
    if primary is None:
        if any(not score.endswith(".") for score in owners):
            raise SftdivError(f"eval.primary must name the performance score: {_listed(owners)}")
        return {"primary": None, "higher_is_better": None}
    matching = [score for score in owners if score == primary or (score.endswith(".") and primary.startswith(score))]
    if not matching:
        raise SftdivError(
            f"eval.primary={primary!r} is not among the scores: {_listed(owners)}.{did_you_mean(primary, owners)}"
        )
    return {"primary": primary, "higher_is_better": directions[max(matching, key=len)]}


def evaluate_once(spec: RunSpec, context: EvalContext, checkpoint: Path, *, is_repair: bool) -> dict[str, Any]:
    """As `evaluate`, unless a finished cell is repaired whose evaluation and model are undamaged.

    Args:
        spec: Specification of the run.
        context: Evaluation context of the run.
        checkpoint: The model.
        is_repair: Whether the cell was finished before and one of its files was found damaged.
    """
    path = context.folder / SCORES
    key = _evaluation_key(spec, checkpoint)
    columns = _undamaged_scores(path, key) if is_repair else None
    if columns is None:
        path.unlink(missing_ok=True)
        columns = evaluate(spec, context, checkpoint)
        if spec.evaluators:
            files = [file for file in sorted(context.folder.rglob("*")) if file.is_file() and file.suffix != ".lock"]
            names = [file.relative_to(context.folder).as_posix() for file in files]
            write_sealed(path, {"key": key, "columns": columns, "files": records_of(context.folder, names)})
    return columns


def _evaluation_key(spec: RunSpec, checkpoint: Path) -> str:
    """Digest of what scores depend on, beside the data: the model's files, the evaluators and their libraries."""
    libraries = set().union(*(libraries_of(evaluator) for evaluator in spec.evaluators.values()))
    model = file_record(checkpoint / DIGESTS) if (checkpoint / DIGESTS).exists() else None
    versions = {"sftdiv": sftdiv.__version__, **library_versions(libraries)}
    return content_hash([model, spec.evaluation_identity(), versions])


def _undamaged_scores(path: Path, key: str) -> dict[str, Any] | None:
    """Scores of an earlier evaluation of this model, if none of its files changed."""
    if not path.exists():
        return None
    try:
        record = read_sealed(path, way_out="the evaluation is repeated")
    except DamagedFileError as error:
        log.warning("%s", error)
        return None
    if record["key"] != key:
        return None
    if changed := changed_files(path.parent, record["files"]):
        log.warning("%s changed since the evaluation, which is repeated", ", ".join(changed))
        return None
    return dict(record["columns"])


def evaluate(spec: RunSpec, context: EvalContext, checkpoint: Path) -> dict[str, Any]:
    """Scores of the checkpoint as ``score.NAME`` and ``score.NAME.stderr``.

    Raises:
        SftdivError: Two evaluators return the same score, or the primary score is missing.
    """
    scores: dict[str, Score] = {}
    owners: dict[str, str] = {}
    for name, evaluator in spec.evaluators.items():
        for score, value in evaluator.score(checkpoint, context).items():
            _check_unowned(score, name, owners)
            owners[score], scores[score] = name, value
    if spec.primary is not None and spec.primary not in scores:
        raise SftdivError(f"eval.primary={spec.primary!r} is not among the scores: {_listed(scores)}")
    values = {f"score.{name}": score.value for name, score in scores.items()}
    return values | {f"score.{name}.stderr": score.stderr for name, score in scores.items()}


def _check_unowned(score: str, evaluator: str, owners: Mapping[str, str]) -> None:
    if score in owners:
        raise SftdivError(
            f"both eval={owners[score]} and eval={evaluator} return the score {score}; remove one of them, or its task"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(f"{name}*" if name.endswith(".") else name for name in names))
