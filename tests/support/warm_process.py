"""Runs a command of sftdiv in a process forked from one that has imported the heavy libraries.

A cold interpreter takes ten seconds to import torch, transformers, Lightning and lm-eval; a fork of one that
has them takes a twentieth of a second. `run_program` and `start_program` mirror `subprocess.run` and
`subprocess.Popen` for ``python -m MODULE ARGUMENTS``. One server (`warm_server.py`) serves all pytest processes
of a test session; it has no Python thread and has never computed anything, so its forks begin like new interpreters.

What a fork cannot show is left to real processes: which modules a command imports, what environment
variables change that are read at import (refused here, see `FIXED`), and that the installed command starts.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from filelock import FileLock

SHARED = "SFTDIV_TEST_SHARED"  # a folder of this test session, set by conftest.py for all pytest processes
HAND_OVER = "SFTDIV_TEST_HAND_OVER"  # as in sitecustomize.py
FIXED = ("HF_HOME", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE", "OMP_NUM_THREADS", "PYTHONHASHSEED")
ENVIRONMENT = dict(os.environ)  # the server's
SERVER = Path(__file__).with_name("warm_server.py")
MESSAGE = 1 << 20  # bytes, at most
SECONDS_TO_START = 120
PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL


def run_program(module, *arguments, cwd=None, env=None, timeout=280):
    """Run ``python -m MODULE ARGUMENTS`` to its end, like `subprocess.run` with ``capture_output`` and ``text``.

    Args:
        module: Module to run as ``__main__``.
        *arguments: Command-line arguments.
        cwd: Working directory; by default this process's.
        env: Environment variables; by default this process's.
        timeout: Seconds after which the process group is killed and `subprocess.TimeoutExpired` raised.
    """
    return _run({"module": module}, arguments, cwd, env, timeout)


def run_code(code, *arguments, cwd=None, env=None, timeout=280):
    """Run ``python -c CODE ARGUMENTS`` to its end; see `run_program`."""
    return _run({"code": code}, arguments, cwd, env, timeout)


def start_program(module, *arguments, cwd=None, env=None, stdout=None, stderr=None):
    """Start ``python -m MODULE ARGUMENTS`` in a session of its own, like `subprocess.Popen` with ``text``.

    Args:
        module: Module to run as ``__main__``.
        *arguments: Command-line arguments.
        cwd: Working directory; by default this process's.
        env: Environment variables; by default this process's.
        stdout: Open file, ``PIPE``, ``DEVNULL``, or None for this process's.
        stderr: Open file, ``PIPE``, ``DEVNULL``, or None for this process's.
    """
    return WarmProcess({"module": module}, arguments, cwd, env, stdout, stderr)


def start_code(code, *arguments, cwd=None, env=None, stdout=None, stderr=None):
    """Start ``python -c CODE ARGUMENTS``; see `start_program`."""
    return WarmProcess({"code": code}, arguments, cwd, env, stdout, stderr)


def _run(program, arguments, cwd, env, timeout):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        process = WarmProcess(program, arguments, cwd, env, out, error)
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill_group()
            raise
        texts = []
        for stream in (out, error):
            stream.seek(0)
            texts.append(stream.read().decode())
        return subprocess.CompletedProcess(process.args, process.returncode, *texts)


class WarmProcess:
    """A forked process, with the part of `subprocess.Popen` that tests use. It is killed when this object goes."""

    def __init__(self, program, arguments, cwd, env, stdout, stderr):
        environment = dict(os.environ if env is None else env)
        _refuse_fixed(environment)
        environment[HAND_OVER] = str(_server())
        self.args = [*program.values(), *map(str, arguments)]
        self.returncode = self.stdout = self.stderr = None
        request = {**program, "arguments": self.args[1:], "cwd": str(cwd or Path.cwd()), "env": environment}
        request["numbers"] = [0, 1, 2]
        opened = [os.open(os.devnull, os.O_RDWR)]
        try:
            descriptors = [opened[0]]
            for name, given in (("stdout", stdout), ("stderr", stderr)):
                if given == PIPE:
                    read, write = os.pipe()
                    opened.append(write)
                    setattr(self, name, os.fdopen(read, encoding="utf-8"))
                    descriptors.append(write)
                elif given == DEVNULL:
                    descriptors.append(opened[0])
                else:
                    descriptors.append(given.fileno() if given else {"stdout": 1, "stderr": 2}[name])
            self._connection = _open(_server())
            socket.send_fds(self._connection, [json.dumps(request).encode()], descriptors)
        finally:
            for descriptor in opened:
                os.close(descriptor)
        self.pid = self._receive(SECONDS_TO_START)["pid"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()
        self.wait()

    def _receive(self, timeout):
        """The server's next message.

        Raises:
            subprocess.TimeoutExpired: There is none in time.
        """
        if not select.select([self._connection], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout)
        message = self._connection.recv(MESSAGE)
        assert message, "the server of warm processes has ended"
        return json.loads(message)

    def poll(self):
        """The exit code, or None while the process runs."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout=None):
        """Wait for the end; the exit code, or minus the number of the signal that ended it."""
        if self.returncode is None:
            self.returncode = self._receive(timeout)["returncode"]
            self._connection.close()
        return self.returncode

    def communicate(self, timeout=None):
        """Read the pipe to its end and wait; with two pipes the output must fit into their buffers."""
        deadline = None if timeout is None else time.monotonic() + timeout
        texts = [stream.read() if stream else None for stream in (self.stderr, self.stdout)]
        self.wait(None if deadline is None else max(0, deadline - time.monotonic()))
        return texts[1], texts[0]

    def send_signal(self, number):
        """Send a signal to the process alone, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """Kill the process alone."""
        self.send_signal(signal.SIGKILL)

    def kill_group(self):
        """Kill the process and what it started, unless that left its group."""
        os.killpg(self.pid, signal.SIGKILL)
        self.wait(10)

    def session(self):
        """Process ids of this process and everything it started that still run, also after its own end."""
        return session_members(self.pid)


def session_members(leader):
    """Ids of the processes in a session that are no zombies."""
    members = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(session) == leader and state != "Z":
            members.append(int(entry.name))
    return members


def _refuse_fixed(environment):
    """A variable that libraries read when they are imported must be as it was when the server started."""
    for name in FIXED:
        if environment.get(name) != ENVIRONMENT.get(name):
            raise ValueError(f"{name} is read at import: a test that changes it needs a real process")


_alive = []  # this process's use of the server


def _server():
    """The socket of the server, which is started by the first process of the session that needs it."""
    path = Path(os.environ[SHARED]) / "warm.socket"
    if not _alive:
        with FileLock(f"{path}.lock"):
            try:
                _alive.append(_open(path))
            except OSError:
                _start_server(path)
                _alive.append(_open(path))
            _alive[0].send(b"{}")
    return path


def warm_children():
    """Variables that let this process's own children be handed over to the server (`sitecustomize`)."""
    return {HAND_OVER: str(_server())}


def hand_over(request, path):
    """Let the server run what this interpreter was started for; never returns."""
    numbers = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    numbers = [number for number in numbers if _is_open(number)]  # without the one that listed them
    request = request | {"numbers": numbers, "cwd": str(Path.cwd()), "env": dict(os.environ)}
    connection = _open(path)
    socket.send_fds(connection, [json.dumps(request).encode()], numbers)
    pid = json.loads(connection.recv(MESSAGE))["pid"]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: os.kill(pid, received))
    code = json.loads(connection.recv(MESSAGE) or b'{"returncode": 1}')["returncode"]
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code)


def _is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _open(path):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def _start_server(path):
    """Start the server and wait until it answers; it goes on by itself."""
    path.unlink(missing_ok=True)
    log = path.with_suffix(".log")
    with log.open("a") as stream:
        command = [sys.executable, str(SERVER), str(path)]
        done = subprocess.run(command, env=ENVIRONMENT, stdin=DEVNULL, stdout=stream, stderr=stream, check=False)
    assert done.returncode == 0, log.read_text()
