"""Ends a forkserver with the process that started it, also while it imports the heavy libraries.

A forkserver notices the end of its parent when it next waits for a request, which is after all imports, ten seconds and
more. This module is the first that it imports: twice a second the server then asks for its parent. In any other
process the import does nothing. A timer is used and no thread, since the server forks.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

SECONDS = 0.5


def watch_parent() -> None:
    """Kill this process as soon as its parent has changed. Processes forked from it are not concerned."""
    parent, server = os.getppid(), os.getpid()

    def check(*_: Any) -> None:
        if os.getpid() == server and os.getppid() != parent:
            os.kill(server, signal.SIGKILL)

    signal.signal(signal.SIGALRM, check)
    signal.siginterrupt(signal.SIGALRM, False)  # system calls of libraries go on
    signal.setitimer(signal.ITIMER_REAL, SECONDS, SECONDS)


if any("multiprocessing.forkserver" in argument for argument in sys.orig_argv):
    watch_parent()
