"""A flipped byte of any file of a finished cell, or of the store, is found, named and made good."""

import json
import shutil

import pytest
from small_runs import finished_run, only_cell, row_of, run_small

from sftdiv.config.run_request import ExportSpec
from sftdiv.evaluation.judge.alpaca_eval_files import read_annotations
from sftdiv.evaluation.paired import compare_cells
from sftdiv.pipeline.export import export_cell
from sftdiv.storage.cache import MANIFEST, Store
from sftdiv.storage.cell import RESULT, Cell, checked_row, write_result
from sftdiv.storage.file_digests import DamagedFileError, read_sealed

UNREAD = {".lock"}  # empty


def flip(path, position):
    """Flip one bit of a file; a new file, since tests share files by links."""
    data = bytearray(path.read_bytes())
    data[position] ^= 2
    path.unlink()
    path.write_bytes(data)


def places(path, count=7):
    size = path.stat().st_size
    return sorted({round(step * (size - 1) / (count - 1)) for step in range(count)})


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in UNREAD)


@pytest.fixture
def finished(tmp_path):
    """A copy of a finished run with its store."""
    for name in ("outputs", "cache"):
        shutil.copytree(finished_run() / name, tmp_path / name)
    return tmp_path


def test_a_flipped_byte_of_any_file_of_a_finished_cell_is_found_and_named(finished):
    cell = only_cell(finished)
    assert checked_row(cell)["n"] == 150
    files = files_of(cell)
    assert {path.parent.name for path in files} >= {cell.name, "model", "evaluation", "embedded"}
    for path in files:
        whole = path.read_bytes()
        for place in places(path):
            flip(path, place)
            with pytest.raises(DamagedFileError) as found:
                checked_row(cell)
            assert str(path) in str(found.value)
            path.write_bytes(whole)
    assert checked_row(cell)["n"] == 150


def test_a_flipped_byte_of_any_file_of_the_store_builds_its_entry_again(finished):
    class BuiltAgainError(Exception):
        """Raised in place of a build."""

    def build(folder):
        raise BuiltAgainError

    manifests = sorted((finished / "cache").glob(f"*/*/{MANIFEST}"))
    kinds = {path.parent.parent.name for path in manifests}
    assert kinds >= {"corpus", "base", "tokenizer", "token_ids", "units", "ladders", "embeddings", "world_tasks"}
    for manifest in manifests:
        record = read_sealed(manifest, way_out="")
        kind, key = record["kind"], record["key"]
        assert Store(finished / "cache").folder(kind, key, build) == manifest.parent
        for path in files_of(manifest.parent):
            whole = path.read_bytes()
            for place in places(path):
                flip(path, place)
                with pytest.raises(BuiltAgainError):
                    Store(finished / "cache").folder(kind, key, build)
                path.write_bytes(whole)


def test_the_command_repeats_what_was_damaged_and_gives_the_same_row(finished):
    cell = only_cell(finished)
    row, weights = row_of(cell), (cell / "model" / "model.safetensors").read_bytes()
    subset, item_file = cell / "subset.parquet", next((cell / "evaluation").glob("*/*.parquet"))
    damaged = [cell / "model" / "model.safetensors", cell / "samples.jsonl", subset, item_file]
    units = max((finished / "cache" / "units").glob("*/matrix.npz"))
    for path in (*damaged, units):
        flip(path, path.stat().st_size // 2)
    done = run_small(finished, "export.format=messages")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert not [path for path in damaged if f"{path} is damaged" not in said]
    assert f"{units.parent} is damaged or incomplete and is rebuilt" in said and "the model is trained again" in said
    assert row_of(cell) == row | {"config.export.format": "messages"}
    assert (cell / "model" / "model.safetensors").read_bytes() == weights
    assert (
        checked_row(cell) is not None and len((cell / "export" / f"{cell.name}.jsonl").read_bytes().splitlines()) == 150
    )


def test_where_only_the_subset_was_damaged_nothing_is_trained_or_evaluated_again(finished):
    cell = only_cell(finished)
    times = {path: path.stat().st_mtime_ns for path in files_of(cell / "model") + files_of(cell / "evaluation")}
    times = {path: time for path, time in times.items() if path.name != "README.md"}
    row, subset = row_of(cell), (cell / "subset.parquet").read_bytes()
    flip(cell / "subset.parquet", 5000)
    done = run_small(finished)
    assert done.returncode == 0 and f"{cell / 'subset.parquet'} is damaged" in done.stdout + done.stderr
    assert row_of(cell) == row and (cell / "subset.parquet").read_bytes() == subset
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_a_removed_subset_is_selected_again_by_the_command_that_exports_it(finished):
    cell = only_cell(finished)
    row, subset = row_of(cell), (cell / "subset.parquet").read_bytes()
    (cell / "subset.parquet").unlink()
    assert checked_row(cell) is not None  # nothing needs the file
    done = run_small(finished, "export.format=messages")
    assert done.returncode == 0, done.stderr[-2000:]
    assert (
        f"{cell / 'subset.parquet'} is missing; the cell's command repeats the selection" in done.stdout + done.stderr
    )
    assert row_of(cell) == row | {"config.export.format": "messages"}
    assert (cell / "subset.parquet").read_bytes() == subset


@pytest.mark.parametrize("data", [b"", b'{"n": 1'])
@pytest.mark.parametrize("name", [RESULT, "model/train.json", "model/tokenizer.json"])
def test_empty_and_cut_files_of_a_cell_are_made_again(finished, name, data):
    cell = only_cell(finished)
    row = row_of(cell)
    (cell / name).unlink()
    (cell / name).write_bytes(data)
    done = run_small(finished)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"{cell / name} is damaged" in done.stdout + done.stderr and row_of(cell) == row


def test_a_cell_from_before_there_were_digests_is_read_unchecked(finished):
    cell = only_cell(finished)
    columns = json.loads((cell / RESULT).read_text())
    row = {key: value for key, value in columns.items() if not key.startswith("digest")}
    (cell / RESULT).unlink()
    (cell / RESULT).write_text(json.dumps(row))
    (cell / "model" / ".digests.json").unlink()
    assert checked_row(cell) == row
    flip(cell / "model" / "model.safetensors", 10_000)
    assert checked_row(cell) == row


def test_other_commands_name_a_damaged_file_of_a_cell(finished, tmp_path):
    first = only_cell(finished)
    second = first.with_name(f"{first.name}-copy")
    shutil.copytree(first, second)
    assert compare_cells(first, second)
    path = next((second / "evaluation").glob("*/*.parquet"))
    flip(path, path.stat().st_size - 200)
    with pytest.raises(DamagedFileError, match=f"{path.name} is damaged: .* repeats the evaluation"):
        compare_cells(first, second)
    flip(first / "subset.parquet", 9000)
    export = ExportSpec(format="messages", folder=tmp_path / "export", name=None)
    with pytest.raises(DamagedFileError, match=r"subset.parquet is damaged: .* repeats the selection"):
        export_cell(export, Cell("single", first.name, first, ""), {})


def test_a_file_of_verdicts_that_lies_in_a_cell_is_compared_with_its_digest(tmp_path):
    entry = {"instruction": "a", "output_1": "b", "output_2": "c", "preference": 1.25}
    path = tmp_path / "cell" / "evaluation" / "judge" / "annotations.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([entry]))
    write_result(tmp_path / "cell", {"cell": "cell"})
    assert read_annotations(path).preferences.tolist() == [0.25]
    path.write_text(path.read_text().replace("1.25", "1.75"))
    with pytest.raises(DamagedFileError, match=r"annotations.json is damaged"):
        read_annotations(path)
    elsewhere = tmp_path / "annotations.json"
    path.rename(elsewhere)
    assert read_annotations(elsewhere).preferences.tolist() == [0.75]
