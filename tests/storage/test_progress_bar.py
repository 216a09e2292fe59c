"""The progress bar: what it says, where it shows, and that it stays quiet."""

import logging
import os
import pty
import subprocess
import sys

import pytest

from sftdiv.storage import progress_bar as module
from sftdiv.storage.progress_bar import progress_bar, progress_text, tracked

PROGRAM = """
import time
from sftdiv.storage import progress_bar as module
module.DELAY = {delay}
for item in module.tracked(range(3), "tokenizing", unit="texts"):
    with module.progress_bar("inner", 2) as advance:
        advance()
    time.sleep(0.3)
"""


@pytest.mark.parametrize(
    ("done", "total", "worked", "seconds", "text"),
    [
        (40, 100, 40, 10.0, "40 of 100 rows, 4.0/s, 0:00:15 left"),
        (60, 100, 40, 10.0, "60 of 100 rows, 4.0/s, 0:00:10 left"),  # 20 were finished earlier
        (60, 100, 0, 10.0, "60 of 100 rows"),
        (50_000, None, 50_000, 2.0, "50,000 rows, 25,000/s"),
        (100, 100, 100, 1.0, "100 of 100 rows, 100/s, 0:00:00 left"),
    ],
)
def test_counts_rate_and_remaining_time(done, total, worked, seconds, text):
    assert progress_text(done, total, worked, seconds, "rows") == text


def test_a_log_has_a_line_a_minute_and_none_of_an_inner_step(monkeypatch, caplog, capsys):
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    with caplog.at_level(logging.INFO, logger=module.__name__), progress_bar("reading", 300, unit="rows") as advance:
        for _ in range(10):
            now[0] += 15
            with progress_bar("inner", 1) as inner:
                inner()
            advance(30)
    assert [record.message for record in caplog.records] == [
        "reading: 120 of 300 rows, 2.0/s, 0:01:30 left",
        "reading: 240 of 300 rows, 2.0/s, 0:00:30 left",
    ]
    assert capsys.readouterr() == ("", "")


def test_items_pass_through_unchanged():
    assert list(tracked(iter("abc"), "reading")) == ["a", "b", "c"]
    assert module._active == []


@pytest.mark.parametrize(("delay", "is_shown"), [(0.2, True), (100.0, False)])
def test_on_a_terminal_a_long_step_shows_a_bar_and_a_short_one_nothing(delay, is_shown):
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    program = [sys.executable, "-c", PROGRAM.format(delay=delay)]
    done = subprocess.run(program, stderr=follower, env=environment, check=False)
    os.close(follower)
    shown = b""
    while part := _read(leader):
        shown += part
    os.close(leader)
    assert done.returncode == 0, shown.decode()
    assert (b"tokenizing" in shown and b"of 3 texts" in shown and b" left" in shown) == is_shown
    assert b"inner" not in shown and (is_shown or not shown)


def _read(descriptor):
    """The next bytes of a terminal; none once nothing is left and its other end is closed."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""
