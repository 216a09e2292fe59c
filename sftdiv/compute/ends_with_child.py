"""The last step of a pipeline whose process is the child of a scheduler's: where one of both is killed, both end.

A ``multiprocessing.Pool`` neither notices that its worker was killed nor ends it when it is killed itself: the first
leaves a scheduler waiting forever, the second leaves two processes at work on one task.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from datatrove.pipeline.base import PipelineStep

# Reads until the child closes the pipe, by saying that it is done or by its end.
_WATCH = "import os, sys; sys.stdin.read(1) or os.kill(int(sys.argv[1]), 9)"
_SECONDS = 1.0


class EndsWithChild(PipelineStep):
    """Ties a child process and its parent to each other while the steps before it are at work."""

    type = "sftdiv"
    name = "ends with child"

    def run(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Take all documents of the steps before, which do their work meanwhile."""
        parent = os.getppid()
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        command = [sys.executable, "-I", "-S", "-c", _WATCH, str(parent)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as watcher:
            try:
                yield from data or ()
            finally:  # also after an error, which the scheduler receives
                assert watcher.stdin is not None
                watcher.stdin.write("done")


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_SECONDS)
    os._exit(1)
