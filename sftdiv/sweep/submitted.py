"""Jobs that were submitted: the record of each, which are alive, and the wait for their end.

The record, ``.job.json`` in the cell's folder, is how a later command knows the job. Whether a job is alive is asked of
SLURM (``squeue``) or of the system (a local process of that id and command line), since a job that the cluster
killed leaves no trace in its cell. submitit asks ``sacct`` instead, and where SLURM keeps no accounting it waits for a
killed job without an end.
"""

from __future__ import annotations

import json
import logging
import subprocess
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sftdiv.records import SftdivError
from sftdiv.storage.cell import FAILURE, RESULT, stage_of
from sftdiv.storage.files import write_json

log = logging.getLogger(__name__)
JOB = ".job.json"
SECONDS_TO_ASK = 120  # of squeue, on a busy cluster
FIRST_LOOK, LONGEST_WAIT = 2.0, 30.0  # seconds between two looks at the queue, which grow from the first to the longest
SECONDS_UNTIL_SEEN = 20.0  # until a file that a job wrote last is seen on a shared file system
LOCAL, SLURM = "local", "slurm"


@dataclass(frozen=True)
class SubmittedJob:
    """A job of one cell.

    Attributes:
        executor: ``local`` or ``slurm``.
        job_id: Process id, or SLURM's id such as ``1234_5``.
        logs: Folder of the job's output.
    """

    executor: str
    job_id: str
    logs: str

    def __str__(self) -> str:
        return f"{'SLURM job' if self.executor == SLURM else 'process'} {self.job_id}"


def record_job(folder: Path, job: SubmittedJob) -> None:
    """Write the record of a cell's job."""
    write_json(folder / JOB, asdict(job))


def job_of(folder: Path) -> SubmittedJob | None:
    """The job that was last submitted for a cell; None without one."""
    try:
        return SubmittedJob(**json.loads((folder / JOB).read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise SftdivError(
            f"{folder / JOB} is damaged: it is unknown whether a job of the cell runs; if none does, remove the file"
        ) from None


def alive_jobs(folders: Iterable[Path]) -> dict[Path, SubmittedJob]:
    """The cells whose last submitted job waits or runs, with the job.

    Args:
        folders: Folders of the cells.

    Raises:
        SftdivError: SLURM cannot be asked, or a record is damaged.
    """
    jobs = {folder: job for folder in folders if (job := job_of(folder)) is not None}
    in_queue = slurm_queue() if any(job.executor == SLURM for job in jobs.values()) else set()
    return {
        folder: job
        for folder, job in jobs.items()
        if (job.job_id in in_queue if job.executor == SLURM else _is_process(job))
    }


def slurm_queue() -> set[str]:
    """Ids of all jobs that wait or run, ``1234_5`` for a task of an array.

    Raises:
        SftdivError: ``squeue`` is missing or fails.
    """
    command = ["squeue", "--noheader", "--array", "--format=%i"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS_TO_ASK)
    except (OSError, subprocess.SubprocessError) as error:
        detail = getattr(error, "stderr", None) or error
        raise SftdivError(
            f"SLURM cannot be asked which cells have a job, and cells might be submitted twice: {' '.join(command)}: "
            f"{detail}"
        ) from None
    return set(done.stdout.split())


def wait_for_jobs(folders: Iterable[Path]) -> None:
    """Wait until the job of no cell waits or runs, and its row or failure is seen. A silent SLURM is asked again.

    Args:
        folders: Folders of the cells.
    """
    jobs = {folder: job for folder in folders if (job := job_of(folder)) is not None}
    waiting, seconds, is_silent = set(jobs), FIRST_LOOK, False
    while waiting:
        try:
            waiting, is_silent = set(alive_jobs(waiting)), False
        except SftdivError as error:
            if not is_silent:
                log.warning("%s. It is asked again every %g seconds", error, seconds)
            is_silent = True
        if waiting:
            time.sleep(seconds)
            seconds = min(1.5 * seconds, LONGEST_WAIT)
    last = time.monotonic() + SECONDS_UNTIL_SEEN
    unseen = [folder for folder, job in jobs.items() if job.executor == SLURM]
    while (unseen := [folder for folder in unseen if not _has_ended(folder)]) and time.monotonic() < last:
        time.sleep(1)


def _has_ended(folder: Path) -> bool:
    return (folder / RESULT).exists() or (folder / FAILURE).exists()


def _is_process(job: SubmittedJob) -> bool:
    """Whether submitit's local process still runs: its id may belong to another process by now."""
    import psutil

    try:
        process = psutil.Process(int(job.job_id))
        command = process.cmdline()  # ends with the folder of the logs; empty of a process that has ended
        return bool(command) and command[-1].replace("%j", job.job_id) == job.logs
    except psutil.Error:
        return False


def describe_job(folder: Path, job: SubmittedJob, *, alive: bool) -> tuple[str, str]:
    """Stage and message of an unfinished cell with a job."""
    stage = stage_of(folder)
    if alive:
        return stage or "submitted", f"{job} {'runs' if stage else 'waits or starts'}"
    return stage or "not started", f"{job} ended without a result; its output is in {job.logs}"
