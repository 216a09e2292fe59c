"""A forked program finds and does what one in a new interpreter does: the other tests rely on it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from warm_process import DEVNULL, PIPE, run_program, session_members, start_program


def test_a_warm_program_finds_what_a_cold_one_finds_and_torch(tmp_path):
    given = {"cwd": tmp_path, "env": os.environ | {"ECHO": "ö"}}
    warm = run_program("echo_process", "a b", "", **given)
    cold = subprocess.run(
        [sys.executable, "-m", "echo_process", "a b", ""], capture_output=True, text=True, stdin=DEVNULL, **given
    )
    assert (warm.returncode, warm.stderr) == (cold.returncode, cold.stderr) == (0, "")
    differences = {"torch": True, "leads_its_group": True}
    assert json.loads(warm.stdout) == json.loads(cold.stdout) | differences
    assert (json.loads(warm.stdout)["cwd"], json.loads(warm.stdout)["variable"]) == (str(tmp_path), "ö")


@pytest.mark.parametrize(("way", "message"), [("exit", "no more"), ("raise", "ValueError: wrong")])
def test_failures_end_with_code_1_and_their_message(way, message):
    failed = run_program("echo_process", way)
    assert failed.returncode == 1 and failed.stderr.strip().endswith(message)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_ends_it_at_once(number):
    with start_program("echo_process", "wait", stdout=PIPE) as process:
        assert json.loads(process.stdout.readline())["arguments"] == ["wait"]
        assert process.poll() is None and process.session() == [process.pid]
        process.send_signal(number)
        assert process.wait(10) == -number == process.poll()
    assert not session_members(process.pid)


def test_what_runs_too_long_is_killed_with_its_group():
    started = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        run_program("echo_process", "wait", timeout=1)
    assert time.monotonic() - started < 20


def test_a_variable_that_is_read_at_import_is_refused():
    with pytest.raises(ValueError, match="HF_HOME is read at import"):
        run_program("echo_process", "x", env=os.environ | {"HF_HOME": "/tmp"})
