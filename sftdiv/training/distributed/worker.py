"""One rank of a training: ``python -m sftdiv.training.distributed.worker FOLDER``, as torchrun starts it on each device.

In: ``spec.json`` and ``messages.jsonl`` in the folder, as `launch` wrote them. Out: what
`fine_tune` leaves; from rank 0 the numbers of each step as lines of ``steps.jsonl``, and, where it
fails for a reason that a user can mend, ``error.txt``. Hydra is not imported.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftdiv.records import SftdivError
from sftdiv.storage.files import write_atomically
from sftdiv.training.config import (
    AdapterConfig,
    DataConfig,
    FineTuningConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainerConfig,
)

SPEC, MESSAGES, STEPS, ERROR = "spec.json", "messages.jsonl", "steps.jsonl", "error.txt"
SECONDS_BETWEEN_LOOKS = 1.0


class Lines:
    """A tracker that writes a line a step, for the process that waits."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append one line."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([step, dict(metrics)]) + "\n")

    def samples(self, path: Path) -> None:
        """None are made in a training."""

    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """Nothing is left to do."""


def main(folder: Path) -> int:
    """Train this rank's share; gives the exit code."""
    from sftdiv.training.fine_tune import fine_tune

    first = os.environ["RANK"] == "0"
    spec = json.loads((folder / SPEC).read_text(encoding="utf-8"))
    if spec["launcher"]["host"] == socket.gethostname():
        threading.Thread(target=_end_with, args=(spec["launcher"]["process"],), daemon=True).start()
    logging.basicConfig(
        format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.INFO if first else logging.ERROR
    )
    rows = [json.loads(line) for line in (folder / MESSAGES).read_text(encoding="utf-8").splitlines()]
    method = spec["method"]
    if method["adapter"] is not None:
        method = method | {"adapter": AdapterConfig(**method["adapter"])}
    try:
        fine_tune(
            spec["base"],
            [row["messages"] for row in rows],
            [row["name"] for row in rows],
            Path(spec["folder"]),
            groups=[row["group"] for row in rows],
            revision=spec["revision"],
            reading=DataConfig(**spec["reading"]),
            length=ScheduleConfig(**spec["length"]),
            method=FineTuningConfig(**method),
            optimizer=OptimizerConfig(**spec["optimizer"]),
            hardware=TrainerConfig(**spec["hardware"]),
            seed=spec["seed"],
            tracker=Lines(folder / STEPS) if first else None,
        )
    except SftdivError as error:
        _tell(folder, str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _end_with(process: int) -> None:
    """Die with the process that waits for this training, however it ends: nobody else would stop the ranks of a killed run."""
    while Path(f"/proc/{process}").exists() or not Path("/proc").exists():
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGKILL)


def _tell(folder: Path, message: str) -> None:
    """The message that names its examples wins over those of the ranks that only heard of it."""
    if not (folder / ERROR).exists() or "of another rank" not in message:
        write_atomically(folder / ERROR, message)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
