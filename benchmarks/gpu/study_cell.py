"""One cell of the study: its carried subset is fine-tuned on and scored, as a run does after its selection."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from carried_study import HELDOUT, OOD, REHEARSED_ROWS, CarriedStudy

from sftdiv.storage.cell import flatten

VERSIONS = ("sftdiv", "torch", "pytorch-lightning", "transformers", "tokenizers", "datasets", "lm-eval", "numpy")


def run_cell(study: CarriedStudy, cell: Mapping[str, Any], folder: Path, base: str, device: str) -> dict[str, Any]:
    """Fine-tune and score one cell; its result row.

    Args:
        study: The carried files.
        cell: Line of ``cells.jsonl``.
        folder: Folder of the cell.
        base: Folder of the base model.
        device: ``cuda`` or ``cpu``.
    """
    from sftdiv.records import ModelRef
    from sftdiv.training.config import TrainingConfig
    from sftdiv.training.fine_tune import fine_tune, save_untrained
    from sftdiv.training.summary import read_record, row

    config, began = TrainingConfig.from_dict(cell["training"]), time.perf_counter()
    schedule = replace(config.schedule, micro_batch=config.schedule.batch_size)  # changes the last bits alone
    config = replace(config, schedule=schedule)
    chosen = [study.rows[index] for index in cell["rows"]][: REHEARSED_ROWS if study.rehearsed else None]
    reference, data = ModelRef(base), config.data
    if chosen:
        columns = ([example[key] for example in chosen] for key in ("messages", "id", "group"))
        messages, names, groups = columns
        fine_tune(reference, messages, names, folder / "model", groups=groups, config=config, seed=cell["seed"])
    else:
        save_untrained(reference, folder / "model", template=data.template, prefer_own=data.prefer_own)
    trained = row(read_record(folder / "model"))
    seconds = {"time.train": time.perf_counter() - began}
    began, scores = time.perf_counter(), {}
    context = _context(study, cell, folder, base, config, device)
    for evaluator in study.evaluators.values():
        for name, score in evaluator.score(folder / "model", context).items():
            scores |= {f"score.{name}": score.value, f"score.{name}.stderr": score.stderr}
    seconds["time.evaluate"] = time.perf_counter() - began
    return flatten({**cell["row"], **trained, **scores, **seconds, **_versions()})


def _context(study: CarriedStudy, cell: Mapping[str, Any], folder: Path, base: str, config: Any, device: str) -> Any:
    from sftdiv.modeling.checkpoint import load_config
    from sftdiv.modeling.generate import positions_of
    from sftdiv.protocols import EvalContext
    from sftdiv.protocols.contexts import build_uncached
    from sftdiv.records import ModelRef

    def no_world() -> Path:
        raise RuntimeError("the study has no synthetic corpus")

    return EvalContext(
        heldout=lambda: study.examples(HELDOUT),
        ood=lambda: study.examples(OOD),
        world_tasks=no_world,
        base=lambda: ModelRef(base),
        positions=lambda: positions_of(load_config(base)),
        keep=build_uncached,
        device=device,
        max_length=config.data.max_length,
        loss_turns=config.data.loss_turns,
        folder=folder / "evaluation",
        study=folder.parent,
        cell=cell["cell"],
        seed=cell["seed"],
        columns=cell["row"],
    )


def _versions() -> dict[str, str]:
    versions = {}
    for name in VERSIONS:
        try:
            versions[f"versions.{name}"] = version(name)
        except PackageNotFoundError:  # sftdiv itself, where the tree is not installed
            versions[f"versions.{name}"] = "tree"
    return versions
