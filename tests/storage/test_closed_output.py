"""Output that nobody reads any more ends no command, and loses no file."""

import os
import subprocess
import sys

import pytest

from sftdiv.storage.closed_output import outlive_readers


@pytest.fixture
def unread():
    """A pipe as a text stream, whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as stream:
        yield stream


def test_what_nobody_reads_is_dropped(unread, monkeypatch):
    monkeypatch.setattr(sys, "stdout", unread)
    outlive_readers()
    outlive_readers()
    print("to nobody")
    sys.stdout.write("nor this\n" * 10_000)
    sys.stdout.flush()


def test_a_stream_that_is_read_is_unchanged(capsys):
    outlive_readers()
    print("to a reader")
    assert capsys.readouterr().out == "to a reader\n"
    assert sys.stdout.encoding.lower().replace("-", "") == "utf8"
    assert not sys.stdout.isatty()


@pytest.mark.parametrize(
    "command",
    [["sftdiv", "--help"], ["sftdiv.commands.doctor"], ["sftdiv.run", "--help"], ["sftdiv.judge", "--help"]],
    ids=lambda command: command[0],
)
def test_a_command_of_which_the_first_lines_are_read_succeeds(command, unread):
    # The pipe has no reader from the start: ``| head`` closes it at a time that a test cannot choose.
    ended = subprocess.run(
        [sys.executable, "-m", *command], stdout=unread, stderr=subprocess.PIPE, text=True, check=False, timeout=120
    )
    assert (ended.returncode, ended.stderr) == (0, "")
