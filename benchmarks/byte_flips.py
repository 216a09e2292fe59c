"""Flips a byte of every file of a finished cell, of its checkpoint and of its store, one at a time: each must be found.

    python benchmarks/byte_flips.py [POSITIONS=16] [FOLDER] > benchmarks/byte_flips.txt

One small real cell is made: selection, training, evaluation with results per item, a judge (a server of the tests that
answers by rule), samples and export. Then, for every file and for POSITIONS places spread over it, one bit is flipped
and what reads the file is called: it must name the file and refuse it. For every file of the cell one flip is also
followed by the command itself: it must name the file, end well, and leave the same row and the same bytes. Files that
nothing reads back are listed with the reason. Exit status 1 if a flip stays unseen.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from fake_judges import MODEL, weighing
from fake_openai_server import Behaviour, serving

from sftdiv.config.from_python import compose_run
from sftdiv.run import run
from sftdiv.storage.cache import MANIFEST, Store
from sftdiv.storage.cell import RESULT, Cell, checked_row, read_row
from sftdiv.storage.file_digests import DamagedFileError
from sftdiv.training.callbacks.checkpoint_files import latest_checkpoint, read_progress

SETTINGS = shlex.split("""corpus.samples=1500 corpus.heldout=60 size.n=150 corpus.band.low=3 corpus.band.high=400
trainer.threads=1 model.pretrain.steps=20 model.finetune.epochs=1 strategy=micro_token diversity_level=0.8
samples=3 eval=[embedded,judge] eval.limit=20 tracking=none export.format=sharegpt study=flips
judge.endpoint.concurrency=1""")
NOT_READ = {
    "export": "for other programs, which may change it; dataset_info.json is shared with them",
    ".lock": "empty lock files",
    "evaluation/judge/answers.jsonl.lock": "empty lock files",
}
VARYING = ("time.", "speed.", "memory.")
REPRODUCED = ("subset.parquet", "samples.jsonl", "model/model.safetensors", "model/tokenizer.json", "config.yaml")


class BuiltAgainError(Exception):
    """The store asks for an entry to be built."""


def flip(path: Path, position: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << position % 7
    path.write_bytes(data)


def positions(path: Path, count: int) -> list[int]:
    """Places spread over a file, both ends among them."""
    size = path.stat().st_size
    return sorted({round(step * (size - 1) / max(count - 1, 1)) for step in range(count)}) if size else []


def files_of(folder: Path) -> list[Path]:
    """All files of a folder that are not empty."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


@contextmanager
def messages() -> Iterator[list[str]]:
    """Log messages of the block."""
    seen: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        yield seen
    finally:
        logging.getLogger().removeHandler(handler)


def try_all(folder: Path, count: int, check: Callable[[Path], bool], label: str) -> int:
    """Flip, check and restore every file of a folder; prints a line per file and returns the number of misses."""
    missed = 0
    for path in files_of(folder):
        whole = path.read_bytes()
        found = []
        for position in positions(path, count):
            flip(path, position)
            found.append(check(path))
            path.write_bytes(whole)
        missed += found.count(False)
        print(f"{label} {path.relative_to(folder)}: {sum(found)} of {len(found)} found", flush=True)
    return missed


def row_of(cell: Cell) -> str:
    """The row of a cell without what differs between equal runs, as text."""
    row = read_row(cell.folder / RESULT)
    return json.dumps({key: value for key, value in row.items() if not key.startswith(VARYING)}, sort_keys=True)


def flip_cell(cell: Cell, count: int) -> int:
    """Flips of a finished cell, as the check of the next command sees them."""
    aside = cell.folder.parent / ".not-read"
    for name, reason in NOT_READ.items():
        if (cell.folder / name).exists():
            print(f"cell {name}: not read back ({reason})")
    shutil.move(cell.folder / "export", aside)

    def found(path: Path) -> bool:
        try:
            checked_row(cell.folder)
        except DamagedFileError as error:
            return str(path) in str(error)
        return False

    missed = try_all(cell.folder, count, found, "cell")
    shutil.move(aside, cell.folder / "export")
    return missed


def rerun_cell(cell: Cell, command: Callable[[], dict[str, object]], row: str) -> int:
    """One flip of each file, each followed by the command itself."""
    missed = 0
    keep = Path(tempfile.mkdtemp()) / "cell"
    shutil.copytree(cell.folder, keep)
    for name in [path.relative_to(keep) for path in files_of(keep) if path.relative_to(keep).parts[0] not in NOT_READ]:
        shutil.rmtree(cell.folder)
        shutil.copytree(keep, cell.folder)
        flip(cell.folder / name, positions(keep / name, 3)[1])
        started = time.perf_counter()
        with messages() as seen:
            command()
        again = row_of(cell)
        is_named = any(str(cell.folder / name) in text for text in seen)
        equal = all((cell.folder / each).read_bytes() == (keep / each).read_bytes() for each in REPRODUCED)
        good = is_named and again == row and equal and cell.result() is not None
        missed += not good
        seconds = time.perf_counter() - started
        print(
            f"rerun {name}: named {is_named}, row equal {again == row}, files equal {equal} ({seconds:.1f} s)",
            flush=True,
        )
    return missed


def flip_store(root: Path, count: int) -> int:
    """Flips of every entry of the store, as the next run sees them."""

    def refuse(folder: Path) -> None:
        raise BuiltAgainError

    missed = 0
    for manifest in sorted(root.glob(f"*/*/{MANIFEST}")):
        record = json.loads(manifest.read_text(encoding="utf-8"))

        def found(path: Path, record: dict[str, object] = record) -> bool:
            try:
                Store(root).folder(str(record["kind"]), record["key"], refuse)  # type: ignore[arg-type]
            except BuiltAgainError:
                return True
            return False

        missed += try_all(manifest.parent, count, found, f"store {record['kind']}")
    return missed


def flip_checkpoint(work: Path, count: int) -> int:
    """Flips of the checkpoint of a killed training."""
    plain = [setting for setting in SETTINGS if not setting.startswith(("eval", "judge", "export", "study"))]
    settings = [*plain, "eval=none", "study=killed", "train.checkpoint_steps=2", f"paths.outputs={work}/outputs"]
    command = [sys.executable, "-m", "sftdiv.run", *settings, f"paths.cache={work}/cache"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    folder = None
    while folder is None and process.poll() is None:
        folder = next(work.glob("outputs/killed/*/checkpoint/step-*"), None)
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    folder = next(work.glob("outputs/killed/*/checkpoint/step-*"))
    plan = str(read_progress(folder)["plan"])
    assert latest_checkpoint(folder.parent, plan) == folder

    def found(path: Path) -> bool:
        with messages() as seen:
            refused = latest_checkpoint(folder.parent, plan) is None
        return refused and any(path.name in text for text in seen)

    return try_all(folder, count, found, "checkpoint")


def main() -> int:
    """Run everything; returns the exit status."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 16
    work = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
    os.environ["JUDGE_KEY"] = "none"
    with serving(Behaviour(reply=weighing, models=[MODEL], key="none")) as address:
        paths = [f"paths.outputs={work}/outputs", f"paths.cache={work}/cache"]
        judge = [f"judge.model={MODEL}", "judge.endpoint.api_key_env=JUDGE_KEY", f"judge.endpoint.base_url={address}"]
        request = compose_run([*SETTINGS, *judge, *paths])
        cell = request.single_cell()

        def command() -> dict[str, object]:
            with redirect_stdout(sys.stderr):
                return run(request)

        command()
        row = row_of(cell)
        missed = flip_cell(cell, count) + flip_store(work / "cache", count)
        missed += rerun_cell(cell, command, row)
    missed += flip_checkpoint(work, count)
    print(f"{missed} flips were not found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
