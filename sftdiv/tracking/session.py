"""Opens and closes W&B runs: with ids derived from the run's names, without prompts, within a time limit.

It takes a `Destination` and the run's names and settings, and gives an open ``wandb.Run``: online where an API key is
known, else offline, into ``wandb/`` in the study's folder. Where W&B does not answer, the run is offline too, so that
nothing is lost; `sync_line` gives the command that sends it.
"""

from __future__ import annotations

import logging
import netrc
import os
import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast
from urllib.parse import urlparse

from sftdiv.protocols import TrackedRun
from sftdiv.records import SftdivError
from sftdiv.storage.files import write_atomically
from sftdiv.storage.hashing import content_hash
from sftdiv.storage.validate import check_one_of, shown_value
from sftdiv.tracking.offline import read_run

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)
MODES = ("auto", "online", "offline")
FAILURES = Exception  # W&B raises errors of many families, private ones among them, and none of them may end a training
PROCESS_VARIABLES = ("WANDB_SERVICE",)  # of this process's W&B service: a child that inherits it dies with its parent's
UNREACHABLE_FOR = 600.0  # seconds after a failed start in which `auto` stays offline, else each cell of a sweep waits
LONGEST_TAG = 64  # characters; W&B refuses more


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where W&B runs go.

    Attributes:
        project: W&B's project.
        entity: W&B's user or team; None for the key's own.
        mode: ``auto`` (online where an API key is known), ``online`` or ``offline``.
        timeout: Seconds that W&B may take to begin a run, and to end it.
    """

    project: str
    entity: str | None
    mode: str
    timeout: float

    def __post_init__(self) -> None:
        check_one_of("tracking.mode", self.mode, MODES)
        if not self.timeout > 0:
            raise SftdivError(f"tracking.timeout={shown_value(self.timeout)} must be a number of seconds above 0")


def run_id(study: str, name: str) -> str:
    """Id of the run ``name`` of a study; equal names give equal ids, so that a resumed cell continues its run."""
    return content_hash([study, name])


def open_run(destination: Destination, tracked: TrackedRun, *, mode: str) -> wandb.Run:
    """Open one run; whatever W&B raises passes through.

    Under a W&B agent the agent has made the run, and its parameters own their names: the run keeps the agent's id and
    project, and the settings go below ``settings``.

    Args:
        destination: Project, entity and time limit; its own mode is not read.
        tracked: Names, folder, settings and tags. Tags are cut at 64 characters; empty and repeated ones are left out.
        mode: ``online``, ``offline`` or ``disabled``, as `resolve_mode` gives it.
    """
    import wandb

    tracked.folder.mkdir(parents=True, exist_ok=True)
    under_agent = "WANDB_SWEEP_ID" in os.environ
    wandb.setup(wandb.Settings(silent=True))
    return wandb.init(
        project=None if under_agent else destination.project,
        entity=None if under_agent else destination.entity,
        group=tracked.study,
        name=tracked.name,
        id=None if under_agent else run_id(tracked.study, tracked.name),
        resume="allow",
        job_type=tracked.kind,
        tags=list(dict.fromkeys(tag[:LONGEST_TAG] for tag in tracked.tags if tag)),
        dir=tracked.folder,
        config={"settings": dict(tracked.config)} if under_agent else dict(tracked.config),
        mode=cast("Literal['online', 'offline', 'disabled']", mode),  # W&B checks it
        settings=wandb.Settings(
            silent=True,
            console="off",
            x_disable_stats=True,
            disable_git=True,
            init_timeout=destination.timeout,
            finish_timeout=destination.timeout,
            finish_timeout_raises=True,
        ),
    )


def start_run(destination: Destination, tracked: TrackedRun) -> wandb.Run | None:
    """Open a run for a new try: offline where W&B does not answer, None where not even that works.

    Steps that an earlier try left offline and unsent are taken over, and its log is removed. ``wandb sync`` stops at a
    log whose end is torn, and then does not send the complete log of the same id either (seen with W&B 0.31).

    Raises:
        SftdivError: Online is asked for and no key is known.
    """
    folder = tracked.folder
    mode = resolve_mode(destination.mode)
    if mode == "online" and destination.mode == "auto" and _recently_unreachable(folder):
        mode = "offline"
    steps: dict[int, dict[str, float]] = {}
    for attempt in dict.fromkeys((mode, "offline")):
        try:
            steps |= _take_steps(folder, run_id(tracked.study, tracked.name))
            run = open_run(destination, tracked, mode=attempt)
            for step, metrics in sorted(steps.items()):
                run.log(metrics, step=step, commit=True)
            return run
        except FAILURES as error:
            if attempt == "online":
                log.warning("W&B does not answer (%s): this run is kept offline", error)
            else:
                log.warning("W&B could not start (%s): this run is not tracked", error)
            _after_failure(folder)
    return None


def _after_failure(folder: Path) -> None:
    """Record that W&B did not answer, and release the id of the run that could not begin."""
    try:
        write_atomically(folder / "wandb" / "unreachable", "")
        end_session()
    except FAILURES as error:
        log.warning("W&B could not be ended (%s)", error)


def _take_steps(folder: Path, run: str) -> dict[int, dict[str, float]]:
    """The unsent metrics of an earlier try by step; its logs are removed."""
    steps: dict[int, dict[str, float]] = {}
    for path in unsent(folder, run):
        try:
            history = read_run(path).history
        except SftdivError as error:
            log.warning("the steps of an earlier try are lost: %s", error)
            history = []
        for row in history:
            metrics = {
                key: value for key, value in row.items() if isinstance(value, (int, float)) and not key.startswith("_")
            }
            if metrics:
                steps[row["_step"]] = metrics
        path.unlink()
        shutil.rmtree(path.parent, ignore_errors=True)  # a killed cell's W&B service may still write beside the log
    return steps


def end_run(run: wandb.Run, *, exit_code: int) -> None:
    """Close a run and wait until its log is complete on disk; whatever W&B raises passes through.

    ``finish`` alone does not wait for the W&B service, which the end of a sweep's child process would interrupt.
    """
    run.finish(exit_code=exit_code)
    end_session()


def end_session() -> None:
    """End this process's W&B service; the next run starts a new one."""
    import wandb

    wandb.teardown()


def _recently_unreachable(folder: Path) -> bool:
    marker = folder / "wandb" / "unreachable"
    return marker.exists() and time.time() - marker.stat().st_mtime < UNREACHABLE_FOR


def offline_logs(folder: Path, run: str = "*") -> list[Path]:
    """Logs of offline runs of a study, oldest first."""
    return sorted(folder.glob(f"wandb/offline-run-*/run-{run}.wandb"), key=lambda path: path.parent.name)


def unsent(folder: Path, run: str = "*") -> list[Path]:
    """Logs of unsent offline runs of a study, oldest first."""
    return [path for path in offline_logs(folder, run) if not path.with_suffix(".wandb.synced").exists()]


def sync_line(folder: Path) -> str | None:
    """The command that sends a study's offline runs once a key is known; None where all are sent.

    It is not ``wandb sync``, which sends nothing at all from a folder where one cell was killed early (seen with
    W&B 0.31).
    """
    if not unsent(folder):
        return None
    path = folder.absolute()
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"python -m sftdiv.sync {shlex.quote(str(shown))}"


def resolve_mode(mode: str) -> str:
    """Replace ``auto`` by online or offline; W&B's own variable WANDB_MODE takes precedence over ``auto``.

    Raises:
        SftdivError: Online is asked for and no key is known, so that W&B would prompt for one.
    """
    resolved = (os.environ.get("WANDB_MODE") if mode == "auto" else mode) or ("online" if has_key() else "offline")
    if resolved == "online" and not has_key():
        raise SftdivError(
            "W&B is to be online and no API key is known: set WANDB_API_KEY, or `wandb login`, or tracking.mode=offline"
        )
    return resolved


def has_key() -> bool:
    """Whether the environment or the netrc file holds an API key for the W&B host; the key itself is not kept."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return path.exists() and netrc.netrc(path).authenticators(host) is not None
    except netrc.NetrcParseError:
        return False
