"""Rows in the terminal: aligned, and never wrapped, whatever its width."""

import io

import pytest
from rich.console import Console

from sftdiv.reporting.terminal import aligned_lines, print_lines
from sftdiv.sweep.on_multirun_end import _print_unfinished
from sftdiv.sweep.plan import PlannedCell

COMMAND = "python -m sftdiv.run -m strategy=micro_token diversity_level=0,0.5,1"


@pytest.fixture
def narrow():
    """A terminal of 40 columns."""
    return Console(file=io.StringIO(), width=40)


def test_columns_are_padded_to_their_widest_entry():
    rows = [("name", "n"), ("a longer name", "1,000"), ("b", "7")]
    assert aligned_lines(rows) == ["name           n", "a longer name  1,000", "b              7"]
    assert aligned_lines(rows, numbers=True) == ["name               n", "a longer name  1,000", "b                  7"]
    assert aligned_lines([]) == []


def test_lines_are_longer_than_the_terminal_and_hold_no_markup(narrow):
    line = "[bold]micro_token[/bold]-response-n2000-d0.8-tiny-s0-h923a96\x1b[2J"
    print_lines(narrow, [line])
    assert narrow.file.getvalue() == line.replace("\x1b", "\\x1b") + "\n"


def test_names_of_unfinished_cells_and_the_command_stay_whole(narrow, tmp_path):
    cells = [tmp_path / f"micro_token-response-n2000-d{level}-tiny-s0-h923a96" for level in (0, 0.5, 1)]
    planned = [PlannedCell((), cell) for cell in cells]
    _print_unfinished(planned, {}, 6, COMMAND, narrow)
    lines = narrow.file.getvalue().splitlines()
    assert lines[0] == "3 of 6 cells are not finished"
    assert [line.split()[0] for line in lines[1:5]] == ["cell", *(cell.name for cell in cells)]
    assert all(line.endswith("  not started  the sweep stopped earlier") for line in lines[2:5])
    assert lines[-1].strip() == COMMAND
