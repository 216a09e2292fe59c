"""Atomic writes: a reader sees the old content or the new one, and a failure leaves neither a part nor a
temporary file."""

import pytest

from sftdiv.storage.files import write_atomically, writing


def test_a_file_written_in_parts_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "rows.jsonl"
    with writing(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write("one\n")
        assert not path.exists() and temporary.parent == path.parent and temporary.suffix != path.suffix
        stream.write("two\n")
    assert path.read_text() == "one\ntwo\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_keeps_the_old_content_and_removes_the_temporary_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_atomically(path, "old\n")
    with pytest.raises(ZeroDivisionError), writing(path) as temporary:
        temporary.write_text("half")
        1 / 0  # noqa: B018
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]
    write_atomically(path, b"new\n")
    assert path.read_bytes() == b"new\n"
