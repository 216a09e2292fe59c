"""What a cell leaves behind: its name, its row and its failure; its W&B run is in test_tracking.py."""

import json

import pytest

from sftdiv.config.from_python import compose_run
from sftdiv.pipeline.recorder import Recorder
from sftdiv.records import SftdivError
from sftdiv.storage.cell import Cell, flatten
from sftdiv.storage.files import write_json


def cell_of(*overrides):
    return compose_run(["study=s", "diversity_level=0.8", *overrides]).single_cell()


def test_a_cell_is_named_as_in_the_design():
    cell = cell_of()
    assert cell.name.rpartition("-h")[0] == "micro_token-response-n2000-d0.8-tiny-s0"
    assert cell.folder.parts[-3:] == ("outputs", "s", cell.name)
    assert cell_of("size.label_tokens=5000").name.startswith("micro_token-response-t5000-d0.8")


def test_settings_that_change_the_result_change_the_name_and_others_do_not():
    """Some of them; tests/config/test_identity.py tries all."""
    name = cell_of().name
    assert cell_of("paths.outputs=x", "tracking.mode=online", "study=t").name == name
    changes = ("corpus.band.low=6", "size.n=1", "seed=1", "diversity_level=0.9", "model.finetune.learning_rate=2")
    assert len({name, *(cell_of(change).name for change in changes)}) == 6


def test_levels_that_print_alike_have_two_folders_and_one_hash():
    sixth, rounded = (cell_of(f"diversity_level={level}") for level in ("1/6", "0.167"))
    assert sixth.name != rounded.name
    assert sixth.hash == rounded.hash


def test_rows_are_flat_and_strict_json(tmp_path):
    assert flatten({"a": {"b": 1, "c": {"d": 2}}, "e": 3}) == {"a.b": 1, "a.c.d": 2, "e": 3}
    write_json(tmp_path / "row.json", {"a": float("nan"), "b": 1.5})
    assert json.loads((tmp_path / "row.json").read_text()) == {"a": None, "b": 1.5}


class Remembers:
    """A tracker that keeps how it was closed."""

    def __init__(self):
        self.closed = []

    def finish(self, summary, exit_code):
        self.closed.append(exit_code)


@pytest.mark.parametrize("error", [SftdivError("too few"), SystemExit(3), KeyboardInterrupt(), MemoryError("x")])
def test_whatever_ends_a_cell_early_is_written_down(tmp_path, error):
    cell, tracker = Cell("s", "cell", tmp_path, "abc"), Remembers()
    with pytest.raises(type(error)), Recorder(cell, tracker) as recorder, recorder.stage("train"):
        raise error
    failure = json.loads((tmp_path / "failure.json").read_text())
    assert failure["stage"] == "train"
    assert failure["message"].startswith(type(error).__name__) and "Traceback" in failure["traceback"]
    assert cell.result() is None and tracker.closed == [1]
    with Recorder(cell, tracker) as recorder:
        recorder.add({"n": 1, "diversity": {"entropy": 2.0}})
    assert not (tmp_path / "failure.json").exists()
    assert cell.result()["diversity.entropy"] == 2.0 and tracker.closed == [1, 0]
