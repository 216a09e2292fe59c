"""Runs a training on the configured devices: in this process on one device, with torchrun on several.

On several devices each rank is a process of its own, which knows nothing of Hydra and reads its
settings from a file. This process waits, and forwards the metrics of each step to the tracker. The
processes exchange plain files in a folder beside the model, which is removed after the training.
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
from sftdiv.records import ModelRef, SftdivError
from sftdiv.training.config import TrainerConfig, TrainingConfig
from sftdiv.training.distributed.worker import CONVERSATIONS, ERROR, SPEC, STEPS
from sftdiv.training.summary import read_record

SECONDS_BETWEEN_POLLS = 0.2
SECONDS_TO_STOP = 60.0  # for the ranks to end their step and write a checkpoint


def launch(
    base: ModelRef,
    conversations: Sequence[Messages],
    names: Sequence[str],
    folder: Path,
    *,
    groups: Sequence[str],
    config: TrainingConfig,
    seed: int,
    tracker: Tracker | None,
) -> dict[str, Any]:
    """Fine-tune on the devices of ``config.trainer``; see `fine_tune` for the arguments.

    Returns:
        The content of ``train.json``.

    Raises:
        SftdivError: As `fine_tune` does; or a rank failed, with the end of its output in the log.
    """
    config = config.resolved()
    trainer = config.trainer
    if trainer.ranks == 1 and trainer.strategy != "deepspeed":
        from sftdiv.training.fine_tune import fine_tune

        fine_tune(base, conversations, names, folder, groups=groups, config=config, seed=seed, tracker=tracker)
    else:
        exchange = folder.parent / "ranks"
        shutil.rmtree(exchange, ignore_errors=True)
        exchange.mkdir(parents=True)
        spec = {
            "base": asdict(base),
            "folder": str(folder.absolute()),
            "config": asdict(config),
            "seed": seed,
            "launcher": {"host": socket.gethostname(), "process": os.getpid()},
        }
        (exchange / SPEC).write_text(json.dumps(spec), encoding="utf-8")
        _write_conversations(exchange / CONVERSATIONS, conversations, names, groups)
        _run(torchrun_command(exchange, trainer), exchange, tracker)
        shutil.rmtree(exchange)
    return read_record(folder)


def torchrun_command(exchange: Path, trainer: TrainerConfig) -> list[str]:
    """Command that starts the ranks: torchrun on this machine, or, through the prefix, on several that meet here.

    Args:
        exchange: Folder of the files for the ranks.
        trainer: Resolved settings.
    """
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nproc-per-node={trainer.devices}",
        f"--nnodes={trainer.nodes}",
    ]
    if trainer.nodes == 1:
        torchrun.append("--standalone")
    else:
        torchrun += [
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={socket.gethostname()}:{_free_port()}",
            f"--rdzv-id={exchange.parent.name}",
        ]
    return [*shlex.split(trainer.prefix or ""), *torchrun, "-m", "sftdiv.training.distributed.worker", str(exchange)]


def _write_conversations(
    path: Path, conversations: Sequence[Messages], names: Sequence[str], groups: Sequence[str]
) -> None:
    with path.open("w", encoding="utf-8") as stream:
        for messages, name, group in zip(conversations, names, groups, strict=True):
            line = {"messages": [dict(message) for message in messages], "name": name, "group": group}
            stream.write(json.dumps(line) + "\n")


def _run(command: Sequence[str], exchange: Path, tracker: Tracker | None) -> None:
    threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}  # torchrun's default, without its warning
    process = subprocess.Popen(command, env=os.environ | threads, start_new_session=True)
    offset = 0
    try:
        while process.poll() is None:
            time.sleep(SECONDS_BETWEEN_POLLS)
            offset = _forward_metrics(exchange / STEPS, offset, tracker)
    except BaseException:  # above all Ctrl-C: the ranks write a checkpoint
        _stop(process)
        raise
    _forward_metrics(exchange / STEPS, offset, tracker)
    if (exchange / ERROR).exists():
        raise SftdivError((exchange / ERROR).read_text(encoding="utf-8"))
    if process.returncode:
        raise SftdivError(
            f"a rank of the training failed with exit code {process.returncode}; its output is in the log above"
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)  # torchrun forwards it to every rank
    try:
        process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _forward_metrics(path: Path, offset: int, tracker: Tracker | None) -> int:
    """Send the complete lines after a byte offset to the tracker; return the new offset."""
    if tracker is None or not path.exists():
        return offset
    with path.open("rb") as stream:
        stream.seek(offset)
        unread = stream.read()
    complete = unread[: unread.rfind(b"\n") + 1]
    for line in complete.split(b"\n")[:-1]:
        step, metrics = json.loads(line)
        tracker.log(metrics, step)
    return offset + len(complete)


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("", 0))
        return int(server.getsockname()[1])
