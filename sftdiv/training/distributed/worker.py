"""One rank of a training: ``python -m sftdiv.training.distributed.worker FOLDER``, started by torchrun on each device.

Input is ``spec.json`` and ``conversations.jsonl`` in the folder, written by `launch`. Output is that
of `fine_tune`; rank 0 also writes the metrics of each step as lines of ``steps.jsonl``, and a rank
that fails for a reason that users can fix writes ``error.txt``. Hydra is not imported.
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

from sftdiv.records import ModelRef, SftdivError
from sftdiv.storage.files import write_atomically
from sftdiv.text.lines import read_json_lines
from sftdiv.training.config import TrainingConfig

SPEC, CONVERSATIONS, STEPS, ERROR = "spec.json", "conversations.jsonl", "steps.jsonl", "error.txt"
SECONDS_BETWEEN_POLLS = 1.0


class JsonLinesTracker:
    """A tracker that writes one line per step, for the process that waits."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append the metrics of a step."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([step, dict(metrics)]) + "\n")

    def samples(self, path: Path) -> None:
        """Do nothing: a training makes no samples."""

    def finish(self, summary: Mapping[str, Any], exit_code: int) -> None:
        """Do nothing: every line is complete when it is written."""


def main(folder: Path) -> int:
    """Train this rank's share; return the exit code."""
    from sftdiv.training.fine_tune import fine_tune

    is_first_rank = os.environ["RANK"] == "0"
    spec = json.loads((folder / SPEC).read_text(encoding="utf-8"))
    if spec["launcher"]["host"] == socket.gethostname():
        threading.Thread(target=_end_with, args=(spec["launcher"]["process"],), daemon=True).start()
    level = logging.INFO if is_first_rank else logging.ERROR
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=level)
    rows = read_json_lines(folder / CONVERSATIONS)
    try:
        fine_tune(
            ModelRef(**spec["base"]),
            [row["messages"] for row in rows],
            [row["name"] for row in rows],
            Path(spec["folder"]),
            groups=[row["group"] for row in rows],
            config=TrainingConfig.from_dict(spec["config"]),
            seed=spec["seed"],
            tracker=JsonLinesTracker(folder / STEPS) if is_first_rank else None,
        )
    except SftdivError as error:
        _write_error(folder / ERROR, str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _end_with(process: int) -> None:
    """Kill this rank when the launching process ends in any way: nothing else would stop the ranks of a killed run."""
    while Path(f"/proc/{process}").exists() or not Path("/proc").exists():
        time.sleep(SECONDS_BETWEEN_POLLS)
    os.kill(os.getpid(), signal.SIGKILL)


def _write_error(path: Path, message: str) -> None:
    """Write the error of this rank; one that names examples is not overwritten by those of other ranks."""
    if not path.exists() or "of another rank" not in message:
        write_atomically(path, message)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
