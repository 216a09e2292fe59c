"""A training on as many devices as are asked for: in this process on one, by torchrun on several.

In: what `fine_tune` takes. Out: the model's folder, with ``train.json`` in it. With several devices
each has a process of its own, which knows nothing of Hydra and takes its settings from a file; this
process waits, and passes the numbers of each step on to the tracker. What passes between the
processes are plain files in a folder beside the model, which is removed when the training is done.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sftdiv.modeling.chat_labels import Messages
from sftdiv.protocols import Tracker
from sftdiv.records import SftdivError
from sftdiv.training.config import TrainerConfig
from sftdiv.training.distributed.worker import ERROR, MESSAGES, SPEC, STEPS
from sftdiv.training.summary import FILE

SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_STOP = 60.0  # in which ranks end their step and write a checkpoint


def launch(
    base: str | Path,
    messages: Sequence[Messages],
    names: Sequence[str],
    folder: Path,
    *,
    groups: Sequence[str],
    hardware: TrainerConfig,
    tracker: Tracker | None,
    **settings: Any,
) -> dict[str, Any]:
    """Fine-tune on the devices of ``hardware``; see `fine_tune` for the arguments.

    Returns:
        What ``train.json`` says.

    Raises:
        SftdivError: As `fine_tune` does; or a rank died, with the end of what the ranks wrote in
            the log above.
    """
    hardware = hardware.resolved()
    if hardware.ranks == 1 and hardware.strategy != "deepspeed":
        from sftdiv.training.fine_tune import fine_tune

        fine_tune(base, messages, names, folder, groups=groups, hardware=hardware, tracker=tracker, **settings)
    else:
        place = folder.parent / "ranks"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        _write(place, base, messages, names, groups, folder, hardware, settings)
        _run(command(place, hardware), place, tracker)
        shutil.rmtree(place)
    return dict(json.loads((folder / FILE).read_text(encoding="utf-8")))


def command(place: Path, hardware: TrainerConfig) -> list[str]:
    """The words that start the ranks: torchrun on this machine, or on each of several by way of the prefix, which meet at this one."""
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nproc-per-node={hardware.devices}",
        f"--nnodes={hardware.nodes}",
    ]
    if hardware.nodes == 1:
        torchrun.append("--standalone")
    else:
        torchrun += [
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={socket.gethostname()}:{_free_port()}",
            f"--rdzv-id={place.parent.name}",
        ]
    return [*shlex.split(hardware.prefix or ""), *torchrun, "-m", "sftdiv.training.distributed.worker", str(place)]


def _write(
    place: Path,
    base: str | Path,
    messages: Sequence[Messages],
    names: Sequence[str],
    groups: Sequence[str],
    folder: Path,
    hardware: TrainerConfig,
    settings: dict[str, Any],
) -> None:
    plain = {
        name: asdict(value) if hasattr(value, "__dataclass_fields__") else value for name, value in settings.items()
    }
    launcher = {"host": socket.gethostname(), "process": os.getpid()}
    spec = {
        "base": str(base),
        "folder": str(folder.absolute()),
        "hardware": asdict(hardware),
        "launcher": launcher,
        **plain,
    }
    (place / SPEC).write_text(json.dumps(spec), encoding="utf-8")
    with (place / MESSAGES).open("w", encoding="utf-8") as stream:
        for turns, name, group in zip(messages, names, groups, strict=True):
            stream.write(json.dumps({"messages": [dict(turn) for turn in turns], "name": name, "group": group}) + "\n")


def _run(words: Sequence[str], place: Path, tracker: Tracker | None) -> None:
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}  # torchrun would set it so, and warn
    process = subprocess.Popen(words, env=os.environ | threads, start_new_session=True)
    told = 0
    try:
        while process.poll() is None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            told = _pass_on(place / STEPS, told, tracker)
    except BaseException:  # Ctrl-C, above all: the ranks are told, and write a checkpoint
        _stop(process)
        raise
    _pass_on(place / STEPS, told, tracker)
    if (place / ERROR).exists():
        raise SftdivError((place / ERROR).read_text(encoding="utf-8"))
    if process.returncode:
        raise SftdivError(
            f"a rank of the training ended with exit code {process.returncode}; what it wrote stands in the log above"
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)  # torchrun passes it on to every rank
    try:
        process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _pass_on(path: Path, told: int, tracker: Tracker | None) -> int:
    """Tell the tracker of the whole lines that are new; gives how many bytes are told of."""
    if tracker is None or not path.exists():
        return told
    with path.open("rb") as stream:
        stream.seek(told)
        new = stream.read()
    whole = new[: new.rfind(b"\n") + 1]
    for line in whole.splitlines():
        step, metrics = json.loads(line)
        tracker.log(metrics, step)
    return told + len(whole)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return int(one.getsockname()[1])
