"""Sweeps that do not wait: cells as jobs of submitit's local executor, in real processes, and which of them a later
command submits again."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock
from small_runs import SMALL, environment, paths
from warm_process import DEVNULL, PIPE, run_program, start_program

from sftdiv.config.from_python import compose_run
from sftdiv.records import SftdivError
from sftdiv.sweep import submitted
from sftdiv.sweep.submitted import SubmittedJob, alive_jobs, record_job, wait_for_jobs

pytestmark = pytest.mark.timeout(600)
CELL = [*SMALL, "strategy=micro_token", "stop_after=select", "embedder=none", "tracking=none", "study=jobs"]
SUBMITTED = ["hydra/launcher=submitit_local", "sweep.wait=false"]


def arguments(folder: Path, *overrides: str) -> list[str]:
    return ["-m", *CELL, *paths(folder), "diversity_level=0,1", *overrides]


def sweep(folder: Path, *overrides: str) -> Any:
    return run_program("sftdiv.run", *arguments(folder, *overrides), env=environment(), timeout=500)


def jobs_of(folders: list[Path]) -> list[str]:
    return [json.loads((folder / ".job.json").read_text())["job_id"] for folder in folders]


def kill_job(process_id: str) -> None:
    """Kill submitit's process of a job and its children."""
    process = psutil.Process(int(process_id))
    for member in [*process.children(recursive=True), process]:
        os.kill(member.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while psutil.pid_exists(process.pid) and process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)


def test_a_sweep_that_does_not_wait_submits_each_cell_once_while_its_job_is_alive(tmp_path: Path) -> None:
    settings = [*CELL, *paths(tmp_path)]
    cells = [compose_run([*settings, f"diversity_level={level}"]).sweep_cell().folder for level in (0, 1)]
    locks = [FileLock(cell / ".lock") for cell in cells]
    for cell, lock in zip(cells, locks, strict=True):  # the jobs wait for these, and stay alive
        cell.mkdir(parents=True)
        lock.acquire()
    try:
        first = start_program(
            "sftdiv.run", *arguments(tmp_path, *SUBMITTED), env=environment(), stdout=DEVNULL, stderr=PIPE
        )
        with first:
            _, printed = first.communicate(timeout=300)  # the pipe is not held by the jobs
        assert first.returncode == 0, printed[-3000:]
        assert "2 jobs submitted: process" in printed and "2 of 2 cells are not finished" in printed
        assert f"What is missing: python -m sftdiv.analyze {tmp_path}/multirun/jobs" in printed
        jobs = jobs_of(cells)

        again = sweep(tmp_path, *SUBMITTED)
        assert again.returncode == 0, again.stderr[-3000:]
        assert "0 jobs submitted" in again.stderr and jobs_of(cells) == jobs
        assert "The same command adopts the jobs and starts the other cells" in again.stderr

        missing = run_program("sftdiv.analyze", tmp_path / "multirun" / "jobs", env=environment())
        assert missing.returncode == 1 and f"process {jobs[0]} waits or starts" in missing.stderr

        kill_job(jobs[0])
        third = sweep(tmp_path, *SUBMITTED)
        assert third.returncode == 0 and "1 jobs submitted: process" in third.stderr, third.stderr[-3000:]
        assert jobs_of(cells)[0] != jobs[0] and jobs_of(cells)[1] == jobs[1]
        submitted = jobs_of(cells)

        waiting = start_program("sftdiv.run", *arguments(tmp_path), env=environment(), stdout=DEVNULL, stderr=PIPE)
        with waiting:
            assert any(" to run" in line for line in waiting.stderr)
            for lock in locks:
                lock.release()  # only now can the jobs end, and the command that waits for them
            _, printed = waiting.communicate(timeout=300)
        assert waiting.returncode == 0 and "2 of 2 finished" in printed, printed[-3000:]
        assert jobs_of(cells) == submitted  # a cell that the command starts itself has no job
    finally:
        for lock in locks:
            lock.release()
    logs = sorted((tmp_path / "multirun" / ".submitit").glob("*/*_log.out"))
    assert {path.name.partition("_")[0] for path in logs} == {jobs[0], *submitted}
    finished = run_program("sftdiv.analyze", tmp_path / "multirun" / "jobs", env=environment())
    assert finished.returncode == 0 and "not finished" not in finished.stdout


def test_only_a_launcher_that_submits_can_go_on_without_its_cells(tmp_path: Path) -> None:
    done = sweep(tmp_path, "sweep.wait=false")
    assert done.returncode == 1 and "sweep.wait=false needs a launcher that submits jobs" in done.stderr
    assert not (tmp_path / "multirun").exists()


def test_jobs_of_slurm_are_alive_while_squeue_lists_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``squeue`` is a script here; its output is that of SLURM 22 for ``--noheader --array --format=%i``."""
    program = tmp_path / "bin" / "squeue"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$*" = "--noheader --array --format=%i" ] && printf "81_0\\n81_2\\n90\\n"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    cells = [tmp_path / name for name in ("a", "b", "c", "d")]
    for cell, job in zip(cells, ("81_0", "81_1", "90"), strict=False):
        cell.mkdir()
        record_job(cell, SubmittedJob("slurm", job, "logs"))
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert {cell.name: str(job) for cell, job in alive_jobs(cells).items()} == {
        "a": "SLURM job 81_0",
        "c": "SLURM job 90",
    }
    program.write_text("#!/bin/sh\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1\n")
    with pytest.raises(
        SftdivError, match=r"cannot be asked which cells have a job.*Unable to contact slurm controller"
    ):
        alive_jobs(cells)


def test_a_wait_ends_with_the_last_job_and_outlives_a_silent_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Looks at the queue: both jobs, no answer, one job, none. The killed job left nothing in its cell."""
    answers = ["printf '7_0\\n7_1\\n'", "echo 'Socket timed out' >&2; exit 1", "printf '7_1\\n'", "true", "exit 9"]
    program = tmp_path / "bin" / "squeue"
    program.parent.mkdir()
    for number, answer in enumerate(answers):
        (tmp_path / f"answer.{number}").write_text(answer)
    program.write_text(
        f"#!/bin/sh\ncd {tmp_path}\nanswer=$(ls answer.* | head -n 1)\nmv $answer done-$answer\n. ./done-$answer\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(submitted, "FIRST_LOOK", 0.01)
    monkeypatch.setattr(submitted, "SECONDS_UNTIL_SEEN", 0.01)
    cells = [tmp_path / name for name in ("killed", "finished", "never_submitted")]
    for cell, job in zip(cells, ("7_0", "7_1"), strict=False):
        cell.mkdir()
        record_job(cell, SubmittedJob("slurm", job, "logs"))
    wait_for_jobs(cells)
    assert sorted(path.name for path in tmp_path.glob("*answer.*")) == [
        "answer.4",
        *(f"done-answer.{number}" for number in range(4)),
    ]
    assert caplog.text.count("Socket timed out") == 1 and "It is asked again" in caplog.text
