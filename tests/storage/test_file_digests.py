"""Digests of files: every flipped bit of a sealed file is found, what is whole or older is read."""

import json
import math
import os

import pytest

from sftdiv.llm.journal import decode_line, encode_line
from sftdiv.storage.cell import (
    FAILURE,
    RESULT,
    RUNNING,
    checked_row,
    is_finished,
    read_failure,
    read_row,
    stage_of,
    write_failure,
    write_result,
)
from sftdiv.storage.file_digests import (
    DIGEST,
    DIGESTS,
    DamagedFileError,
    changed_files,
    check_folder_files,
    file_record,
    folder_damage,
    is_whole,
    place_sealed,
    read_sealed,
    seal_folder,
    write_sealed,
)

VALUE = {"name": "ünit\u2028", "score": 0.1, "none": math.nan, "list": [1, {"a": 2.0}], "on": True}


def flips(data):
    """A copy of the bytes for each of their bits, with this bit flipped."""
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            yield bytes(changed)


def test_a_sealed_file_is_read_back_and_every_flipped_bit_of_it_is_found(tmp_path):
    path = tmp_path / "row.json"
    write_sealed(path, VALUE)
    assert read_sealed(path, way_out="") == {**VALUE, "none": None}
    for changed in flips(path.read_bytes()):
        path.write_bytes(changed)
        with pytest.raises(DamagedFileError, match=r"row.json is damaged: .*; run it again"):
            read_sealed(path, way_out="run it again")


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"a": 1', b"\xff\xfe", b"[1]", b"[" * 100_000, b'{"digest": "blake2b:00"}']
)
def test_what_is_no_whole_mapping_is_one_clear_error(tmp_path, data):
    path = tmp_path / "row.json"
    path.write_bytes(data)
    with pytest.raises(DamagedFileError, match=r"row.json is damaged"):
        read_sealed(path, way_out="run it again")


def test_a_file_from_before_there_were_digests_is_read(tmp_path):
    (tmp_path / "row.json").write_text('{"a": 1}')
    assert read_sealed(tmp_path / "row.json", way_out="") == {"a": 1}


def test_every_flipped_bit_of_a_journal_s_line_is_found():
    line = {"key": "k", "state": "answered", "text": 'he said "yes", ünd\u2028 \\ {}', "calls": 1}
    data = encode_line(line)
    assert decode_line(data) == line
    for changed in flips(data):
        if changed.count(b"\n") == 1 == data.count(b"\n") and changed.endswith(b"\n"):
            with pytest.raises(ValueError):
                decode_line(changed)
        else:  # the file has other lines then, none of them whole
            for piece in changed.split(b"\n"):
                with pytest.raises(ValueError):
                    decode_line(piece + b" " if piece + b"\n" == data else piece)
    old = json.dumps(line).encode()
    assert decode_line(old) == line


def test_a_folder_knows_what_changed_in_it(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.safetensors").write_bytes(b"weights")
    (tmp_path / "sub" / "b.json").write_text("{}")
    assert folder_damage(tmp_path) == []  # nothing is recorded yet
    seal_folder(tmp_path)
    assert folder_damage(tmp_path) == []
    (tmp_path / "README.md").write_text("written later")
    check_folder_files(tmp_path)
    (tmp_path / "a.safetensors").write_bytes(b"weighty")
    assert folder_damage(tmp_path) == ["a.safetensors"] and folder_damage(tmp_path, weights=False) == []
    (tmp_path / "sub" / "b.json").unlink()
    with pytest.raises(DamagedFileError, match=r"a.safetensors, sub/b.json changed"):
        check_folder_files(tmp_path)
    (tmp_path / DIGESTS).write_text("{")
    assert folder_damage(tmp_path) == [DIGESTS]


def test_a_part_that_a_killed_run_leaves_is_used_only_while_it_is_whole(tmp_path):
    path = tmp_path / "000000.npy"
    temporary = tmp_path / ".000000.npy"
    temporary.write_bytes(b"vectors")
    assert not is_whole(path)
    place_sealed(temporary, path)
    assert is_whole(path) and not temporary.exists()
    for file in (path, tmp_path / "000000.npy.digest"):
        data = file.read_bytes()
        file.write_bytes(data[:5] + bytes([data[5] ^ 1]) + data[6:])
        assert not is_whole(path)
        file.write_bytes(data)
    path.unlink()
    assert not is_whole(path)


def test_only_the_size_of_large_files_is_compared_where_many_cells_are_read(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"0123456789")
    records = {"weights": file_record(path)}
    path.write_bytes(b"0123456780")
    assert changed_files(tmp_path, records) == ["weights"]
    assert changed_files(tmp_path, records, whole_below=10) == []
    path.write_bytes(b"012345678")
    assert changed_files(tmp_path, records, whole_below=9) == ["weights"]


def finished_cell(folder):
    (folder / "model").mkdir(parents=True)
    for name in ("subset.parquet", "model/model.safetensors", "model/train.json", "samples.jsonl", "log.txt"):
        (folder / name).write_text(name)
    write_result(folder, {"cell": "c", "n": 3, "score.a": math.nan})
    return folder


def test_a_row_holds_digests_and_is_read_without_them(tmp_path):
    cell = finished_cell(tmp_path / "cell")
    columns = json.loads((cell / RESULT).read_text())
    assert list(columns)[-1] == DIGEST and "digest.model/train.json" in columns and "digest.log.txt" not in columns
    assert read_row(cell / RESULT) == checked_row(cell) == {"cell": "c", "n": 3, "score.a": None}
    (cell / "log.txt").write_text("more")
    for path in (cell / "model").iterdir():
        path.unlink()  # to free space
    assert is_finished(cell)


@pytest.mark.parametrize("name", ["subset.parquet", "model/model.safetensors", "samples.jsonl", RESULT])
def test_a_cell_with_a_damaged_file_is_not_finished_and_says_what_is_repeated(tmp_path, caplog, name):
    cell = finished_cell(tmp_path / "cell")
    data = (cell / name).read_bytes()
    for changed in (data[:-1], bytes([data[0] ^ 1]) + data[1:], data + b" "):
        (cell / name).write_bytes(changed)
        assert not is_finished(cell)
        with pytest.raises(DamagedFileError, match=rf"{name} is damaged"):
            checked_row(cell)
    assert f"{cell / name} is damaged" in caplog.text
    (cell / name).write_bytes(data)
    assert is_finished(cell)


@pytest.mark.parametrize("data", [b"", b'{"stage": "tr', b"[]", b"\xff"])
def test_damaged_marks_of_failed_and_running_cells_are_no_traceback(tmp_path, data):
    write_failure(tmp_path, "train", "too few examples")
    assert read_failure(tmp_path) == {"stage": "train", "message": "too few examples"}
    (tmp_path / FAILURE).write_bytes(data)
    (tmp_path / RUNNING).write_bytes(data)
    failure = read_failure(tmp_path)
    assert failure["stage"] == "unknown" and f"{FAILURE} is damaged" in failure["message"]
    assert stage_of(tmp_path) == "unknown"


def test_a_flip_with_the_old_time_of_the_content_is_found(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"0" * 100)
    before, times = file_record(path), path.stat()
    path.write_bytes(b"0" * 99 + b"1")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_mtime_ns == times.st_mtime_ns and file_record(path) != before
