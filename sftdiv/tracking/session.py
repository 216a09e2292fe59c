"""How a W&B run is opened here: with an id of its own content, never asking, never waiting longer than it is told to.

In: where runs go (``Destination``) and what a run is called. Out: an open ``wandb.Run``. Online
where an API key is known, else offline, into ``wandb/`` in the study's folder; where W&B does not
answer, offline too, so that nothing is lost: ``sync_line`` says how to send it.
"""

from __future__ import annotations

import logging
import netrc
import os
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from sftdiv.records import SftdivError
from sftdiv.storage.files import write_atomically
from sftdiv.storage.hashing import content_hash
from sftdiv.tracking.offline import read_run

if TYPE_CHECKING:
    import wandb

log = logging.getLogger(__name__)
MODES = ("auto", "online", "offline")
FAILURES = Exception  # W&B raises errors of many families, private ones among them, and none of them may end a training
PROCESS_VARIABLES = (
    "WANDB_SERVICE",
)  # names of this process's own W&B service: a child that inherits them dies with its parent's
UNREACHABLE_FOR = (
    600.0  # seconds after a failed start in which `auto` does not try again: a sweep of many cells would wait in each
)
LONGEST_TAG = 64  # characters; W&B refuses more


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where runs go: W&B's project and entity, the mode, and the seconds that W&B may take to begin a run, and to end it."""

    project: str
    entity: str | None
    mode: str
    timeout: float

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SftdivError(f"tracking.mode={self.mode!r} is unknown. Known: {', '.join(MODES)}")
        if not self.timeout > 0:
            raise SftdivError(f"tracking.timeout={self.timeout!r} must be a number of seconds above 0")


def run_id(group: str, name: str) -> str:
    """The id of the run ``name`` in ``group``: the same names give the same id, so a resumed cell continues its run."""
    return content_hash([group, name])


def open_run(
    where: Destination,
    *,
    folder: Path,
    group: str,
    name: str,
    kind: str,
    tags: Sequence[str],
    config: Mapping[str, Any],
    mode: str,
) -> wandb.Run:
    """Open one run in ``mode`` (``online``, ``offline`` or ``disabled``); whatever W&B raises passes through.

    Args:
        where: The project, the entity and how long W&B may take; its own mode is not read.
        folder: The study's folder.
        group: The study's name.
        name: The cell's name.
        kind: W&B's job type.
        tags: Words to filter by; cut at 64 characters, doubles and empty ones left out.
        config: Nested settings.
        mode: What ``resolve_mode`` gave.
    """
    import wandb

    folder.mkdir(parents=True, exist_ok=True)
    of_agent = "WANDB_SWEEP_ID" in os.environ  # W&B's agent has made the run then, and its parameters own their names
    wandb.setup(wandb.Settings(silent=True))
    return wandb.init(
        project=None if of_agent else where.project,
        entity=None if of_agent else where.entity,
        group=group,
        name=name,
        id=None if of_agent else run_id(group, name),
        resume="allow",
        job_type=kind,
        tags=list(dict.fromkeys(tag[:LONGEST_TAG] for tag in tags if tag)),
        dir=folder,
        config={"settings": dict(config)} if of_agent else dict(config),
        mode=mode,  # type: ignore[arg-type]  # W&B checks the name
        settings=wandb.Settings(
            silent=True,
            console="off",
            x_disable_stats=True,
            disable_git=True,
            init_timeout=where.timeout,
            finish_timeout=where.timeout,
            finish_timeout_raises=True,
        ),
    )


def start_run(where: Destination, *, folder: Path, group: str, name: str, **described: Any) -> wandb.Run | None:
    """Open a run that begins anew: offline where W&B does not answer, None where not even that works; ``described`` goes to ``open_run``.

    What an earlier try of it left offline and nobody sent is taken over, up to the step it came to,
    and removed: ``wandb sync`` stops at a log whose end is torn, and then does not send the whole
    one of the same id either (seen with W&B 0.31).

    Raises:
        SftdivError: If online is asked for and no key is known.
    """
    mode = resolve_mode(where.mode)
    if mode == "online" and where.mode == "auto" and _unreachable(folder):
        mode = "offline"
    steps: dict[int, dict[str, float]] = {}
    for attempt in dict.fromkeys((mode, "offline")):
        try:
            steps |= _take_steps(folder, run_id(group, name))
            run = open_run(where, folder=folder, group=group, name=name, mode=attempt, **described)
            for step, metrics in sorted(steps.items()):
                run.log(metrics, step=step, commit=True)
            return run
        except FAILURES as error:
            told = (
                "does not answer (%s): this run is kept offline"
                if attempt == "online"
                else "could not start (%s): this run is not tracked"
            )
            log.warning(f"W&B {told}", error)
            _after_failure(folder)
    return None


def _after_failure(folder: Path) -> None:
    """Remember that W&B did not answer, and let go of the id of the run that could not begin."""
    try:
        write_atomically(folder / "wandb" / "unreachable", "")
        end_session()
    except FAILURES as error:
        log.warning("W&B could not be ended (%s)", error)


def _take_steps(folder: Path, run: str) -> dict[int, dict[str, float]]:
    """The numbers of each step that lie unsent, the latest of each; their logs are removed."""
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
        shutil.rmtree(
            path.parent, ignore_errors=True
        )  # a killed cell's service may still write beside the log; without it that is inert
    return steps


def end_run(run: wandb.Run, *, exit_code: int) -> None:
    """Close a run and wait until its log is whole on the disk; whatever W&B raises passes through."""
    run.finish(exit_code=exit_code)
    end_session()  # finishing alone does not wait for the service, which a child of a sweep would take down half-written


def end_session() -> None:
    """End this process's W&B service; the next run starts another."""
    import wandb

    wandb.teardown()


def _unreachable(folder: Path) -> bool:
    marker = folder / "wandb" / "unreachable"
    return marker.exists() and time.time() - marker.stat().st_mtime < UNREACHABLE_FOR


def unsent(folder: Path, run: str = "*") -> list[Path]:
    """The logs of offline runs that were not sent, oldest first."""
    logs = sorted(folder.glob(f"wandb/offline-run-*/run-{run}.wandb"), key=lambda path: path.parent.name)
    return [path for path in logs if not path.with_suffix(".wandb.synced").exists()]


def sync_line(folder: Path) -> str | None:
    """The command that sends a study's offline runs once a key is known, or None where all are sent.

    It is not ``wandb sync``, which sends nothing at all from a folder where one cell was killed
    early (seen with W&B 0.31).
    """
    if not unsent(folder):
        return None
    place = folder.absolute()
    return f"python -m sftdiv.sync {shlex.quote(str(place.relative_to(Path.cwd()) if place.is_relative_to(Path.cwd()) else place))}"


def resolve_mode(mode: str) -> str:
    """``auto`` as online or offline; the variable WANDB_MODE, W&B's own switch, goes before.

    Raises:
        SftdivError: If online is asked for and no key is known, for W&B would then ask.
    """
    wanted = (os.environ.get("WANDB_MODE") if mode == "auto" else mode) or ("online" if has_key() else "offline")
    if wanted == "online" and not has_key():
        raise SftdivError(
            "W&B is to be online and no API key is known: set WANDB_API_KEY, or `wandb login`, or tracking.mode=offline"
        )
    return wanted


def has_key() -> bool:
    """Whether the environment or the netrc file knows an API key for the W&B host; the key itself is not read into anything."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    path = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        return path.exists() and netrc.netrc(path).authenticators(host) is not None
    except netrc.NetrcParseError:
        return False
