"""Text of data in files and terminals: no formula, no line break but the line feed, no markup, no control code."""

import csv
import io
import json
import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from sftdiv.pipeline.result_table import show_result
from sftdiv.reporting.terminal import literal
from sftdiv.storage.cell import write_failure
from sftdiv.storage.files import write_json
from sftdiv.sweep.on_multirun_end import finish_multirun
from sftdiv.text.csv_cells import csv_cell, csv_text, from_csv_cell
from sftdiv.text.lines import first_line, read_json_lines
from sftdiv.tracking.contents import read_samples
from sftdiv.units.tagging.tag_map import load_tag_map, save_tag_map

FORMULAS = ["=cmd|' /C calc'!A0", "@SUM(1+1)", "+1", "-1+2", "\t=1", "\r=1", "'=1", "''=1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_as_a_formula(text):
    assert csv_cell(text) == f"'{text}" and from_csv_cell(csv_cell(text)) == text


@given(st.text(alphabet="'=+-@\t a"))
def test_every_cell_is_read_back_the_same(text):
    assert from_csv_cell(csv_cell(text)) == text
    assert not csv_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@given(st.lists(st.text(alphabet='a,"\r\n \u2028'), min_size=2, max_size=4))
def test_tables_are_read_back_with_every_line_break(texts):
    frame = pd.DataFrame({"text": texts, "number": range(len(texts))})
    written = csv_text(frame)
    rows = list(csv.reader(io.StringIO(written, newline="")))
    assert rows == [["text", "number"], *([csv_cell(text), str(number)] for number, text in enumerate(texts))]
    outside = re.sub(r'"(?:[^"]|"")*"', "", written)
    assert "\r" not in outside  # a reader of lines would see another row


def test_ordinary_text_and_numbers_stay_as_they_are():
    assert [csv_cell(value) for value in ("C++", "don't", "'quoted'", -1.5, None)] == [
        "C++",
        "don't",
        "'quoted'",
        -1.5,
        None,
    ]


def test_tables_hold_no_formula_and_keep_their_numbers():
    frame = pd.DataFrame({"name": ["=1", "b", None], "=x": [-0.5, 1.0, None], "flag": [True, False, True]})
    assert csv_text(frame) == "name,'=x,flag\n'=1,-0.5,True\nb,1.0,False\n,,True\n"
    plain = pd.DataFrame({"a": [-0.1, None], "b": ["x", "y"], "c": [1, 2]})
    assert csv_text(plain) == plain.to_csv(index=False, lineterminator="\n")
    assert csv_text(plain.iloc[:0]) == "a,b,c\n"


def test_a_tag_map_in_a_spreadsheet_runs_nothing_and_is_read_back(tmp_path):
    tag_map = dict.fromkeys(FORMULAS) | {"plain": "=y", "other": "@x"}
    save_tag_map(tag_map, {}, tmp_path / "tag_map.csv")
    with (tmp_path / "tag_map.csv").open(newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert load_tag_map(tmp_path / "tag_map.csv") == tag_map


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_only_a_line_feed_ends_a_line(tmp_path, separator):
    rows = [{"id": "1", "response": f"a{separator}b"}, {"id": "2", "response": "c"}]
    path = tmp_path / "samples.jsonl"
    path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    assert read_json_lines(path) == read_samples(path) == rows
    assert first_line(ValueError(f"\n a{separator}b \nsecond")) == f"a{separator}b"


def test_an_error_without_a_message_is_named_by_its_type():
    assert first_line(ValueError("")) == first_line(ValueError(" \n")) == "ValueError"


def shown(*lines):
    console = Console(file=io.StringIO(), width=120)
    for line in lines:
        console.print(line)
    return console.file.getvalue()


def test_brackets_are_no_markup_and_control_characters_are_shown():
    table = Table(title=literal("[/red]"))
    table.add_column("")
    table.add_row(literal("[bold]a[/] \x1b[2J\u202e 語 \u0928\u0940"))
    text = shown(table)
    assert "[/red]" in text and "[bold]a[/] \\x1b[2J\\u202e 語 \u0928\u0940" in text


def test_a_failure_that_reads_as_markup_hides_no_table_and_the_command_keeps_its_lists(tmp_path):
    write_failure(tmp_path / "cell-1", "corpus", "SftdivError: role '[/red]' is unknown")
    command = "python -m sftdiv.run -m 'corpus.columns=[task,kind]'"
    write_json(tmp_path / "sweep.json", {"command": command, "cells": {"cell-1": []}})
    console = Console(file=io.StringIO(), width=160)
    assert not finish_multirun(tmp_path, [], console)
    text = console.file.getvalue()
    assert "role '[/red]' is unknown" in text and command in text


def test_a_source_that_reads_as_markup_is_shown(tmp_path, capsys):
    row = {
        "cell": "a",
        "primary": "heldout.[/red].loss",
        "score.heldout.[/red].loss": 1.5,
        "n": 0,
    }
    show_result(row, tmp_path, done_before=True)
    assert "heldout.[/red].loss" in capsys.readouterr().out
