"""Runs as a user types them, on a synthetic corpus and a model that are small enough to train in a second.

All end-to-end tests use the same settings, so that they share artifacts: `finished_run` is made once a test session,
from an empty cache, in a new interpreter. `warm_cache` gives a test a copy of its artifacts, in which
the test may delete what it wants to see built.
"""

import json
import os
import subprocess
import sys

from shared_folders import linked_copy, shared_folder
from warm_process import run_program, start_program

SMALL = [
    "corpus.samples=1500",
    "corpus.heldout=60",
    "size.n=150",
    "corpus.band.low=3",
    "corpus.band.high=400",
    "model.pretrain.steps=20",
    "model.finetune.epochs=1",
    "trainer.threads=1",
]
ONE_CELL = [*SMALL, "samples=3", "strategy=micro_token", "diversity_level=0.8"]
VARYING = (
    "time.",
    "speed.",
    "memory.",
    "config.paths.",
    "config.tracking",
    "digest",
)  # columns that differ from run to run


def paths(folder):
    """Overrides that put everything a run writes into a folder."""
    return [f"paths.outputs={folder}/outputs", f"paths.multirun={folder}/multirun", f"paths.cache={folder}/cache"]


def arguments(folder, *overrides):
    """Command-line arguments of a run of one small cell, or of what the overrides make of it."""
    flags = [override for override in overrides if override.startswith("-")]
    settings = [override for override in overrides if not override.startswith("-")]
    limit = [] if any(override.startswith("eval=") for override in overrides) else ["eval.limit=40"]
    return [*flags, *ONE_CELL, *limit, *paths(folder), *settings]


def environment(**variables):
    """Environment of a program: wide lines, and no W&B service of this process, in which a killed run would live on."""
    inherited = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
    return inherited | {"COLUMNS": "200"} | variables


def run_small(folder, *overrides, **variables):
    """Run ``python -m sftdiv.run`` in a warm process to its end."""
    given = arguments(folder, *overrides)
    return run_program("sftdiv.run", *given, env=environment(**variables))


def start_small(folder, *overrides, stdout=None, stderr=None, **variables):
    """Start ``python -m sftdiv.run`` in a warm process."""
    given = arguments(folder, *overrides)
    return start_program("sftdiv.run", *given, env=environment(**variables), stdout=stdout, stderr=stderr)


def run_cold(folder, *overrides, code=None):
    """Run ``sftdiv run`` (or Python code, which finds the arguments in ``sys.argv``) in a new interpreter."""
    program = [sys.executable, *(["-c", code] if code else ["-m", "sftdiv", "run"])]
    return subprocess.run(
        [*program, *arguments(folder, *overrides)], capture_output=True, text=True, check=False, env=environment()
    )


def finished_run():
    """The folder of a finished run of one small cell, with what it printed in ``stdout`` and ``stderr``;
    not to be changed."""

    def build(folder):
        done = run_cold(folder)
        assert done.returncode == 0, done.stderr[-3000:]
        (folder / "stdout").write_text(done.stdout)
        (folder / "stderr").write_text(done.stderr)

    return shared_folder("finished-run", build)


def warm_cache(folder, *, without=()):
    """Put a copy of the finished run's artifacts into ``FOLDER/cache``, without the kinds named."""
    linked_copy(finished_run() / "cache", folder / "cache", without=without)
    return folder


def only_cell(folder, study="single"):
    """The folder of the only cell of a study."""
    (cell,) = (folder / "outputs" / study).glob("micro_token-*")
    return cell


def row_of(cell):
    """A cell's result row without what differs from run to run."""
    row = json.loads((cell / "result.json").read_text())
    return {key: value for key, value in row.items() if not key.startswith(VARYING)}
