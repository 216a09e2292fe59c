"""A forkserver ends with its parent, also while it imports: the parent is killed, and nothing of it is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PARENT = """
import multiprocessing

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["sftdiv.sweep.end_with_parent", "slow_import"])
context.Process(target=print).start()
"""
SLOW = """
import os, pathlib, time

pathlib.Path("server").write_text(str(os.getpid()))
time.sleep(60)
"""


def is_running(pid):
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_a_forkserver_that_still_imports_ends_with_its_killed_parent(tmp_path):
    (tmp_path / "slow_import.py").write_text(SLOW)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen([sys.executable, "-c", PARENT], cwd=tmp_path, env=os.environ | {"PYTHONPATH": path})
    server = tmp_path / "server"
    assert wait_until(lambda: server.exists() and server.read_text(), 30)
    pid = int(server.read_text())
    assert is_running(pid) and pid != process.pid
    time.sleep(1.2)
    assert is_running(pid)  # with its parent alive it goes on
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert wait_until(lambda: not is_running(pid), 3)


def test_the_import_does_nothing_in_another_process():
    before = signal.getsignal(signal.SIGALRM)
    code = "import signal, sftdiv.sweep.end_with_parent; print(signal.getitimer(signal.ITIMER_REAL))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(0.0, 0.0)\n" and signal.getsignal(signal.SIGALRM) == before
