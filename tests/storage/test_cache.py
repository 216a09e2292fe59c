"""The artifact store: built once, also by processes at once; damage is noticed; keys are content."""

import json
import subprocess
import sys
import textwrap

import pytest

from sftdiv.storage.cache import MANIFEST, Store
from sftdiv.storage.files import write_atomically
from sftdiv.storage.hashing import content_hash


def counted(counter, text="whole"):
    def build(folder):
        counter.append(folder)
        (folder / "data.txt").write_text(text)

    return build


def test_built_once_and_read_again(tmp_path):
    built = []
    first = Store(tmp_path).folder("letters", {"a": 1}, counted(built))
    again = Store(tmp_path).folder("letters", {"a": 1}, counted(built))
    other = Store(tmp_path).folder("letters", {"a": 2}, counted(built))
    assert first == again != other
    assert (first / "data.txt").read_text() == "whole"
    assert len(built) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "no manifest", "broken manifest"])
def test_damage_is_built_again(tmp_path, damage):
    built = []
    folder = Store(tmp_path).folder("letters", {}, counted(built))
    data, manifest = folder / "data.txt", folder / MANIFEST
    match damage:
        case "flip":
            data.write_text("whale")
        case "cut":
            data.write_text("who")
        case "remove":
            data.unlink()
        case "no manifest":
            manifest.unlink()
        case _:
            manifest.write_text(manifest.read_text()[:20])
    assert (Store(tmp_path).folder("letters", {}, counted(built)) / "data.txt").read_text() == "whole"
    assert len(built) == 2


def test_a_failed_build_leaves_nothing_that_is_used(tmp_path):
    def fail(folder):
        (folder / "data.txt").write_text("half")
        raise RuntimeError("killed here")

    with pytest.raises(RuntimeError, match="killed here"):
        Store(tmp_path).folder("letters", {}, fail)
    assert (Store(tmp_path).folder("letters", {}, counted([])) / "data.txt").read_text() == "whole"


def test_processes_at_once_build_once(tmp_path):
    program = textwrap.dedent(
        f"""
        import os, time
        from pathlib import Path
        from sftdiv.storage.cache import Store
        def build(folder):
            Path({str(tmp_path)!r}, f"built-{{os.getpid()}}").touch()
            time.sleep(0.5)
            (folder / "data.txt").write_text("whole")
        print((Store(Path({str(tmp_path)!r})).folder("letters", {{}}, build) / "data.txt").read_text())
        """
    )
    running = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0].strip() for process in running] == ["whole"] * 4
    assert len(list(tmp_path.glob("built-*"))) == 1


def test_content_hash_is_of_content():
    assert content_hash({"a": 1, "b": [2, "ü"]}) == content_hash({"b": [2, "ü"], "a": 1})
    assert content_hash({"a": 1}) != content_hash({"a": 1.5})
    with pytest.raises(ValueError):
        content_hash({"a": float("nan")})


def test_write_atomically_replaces_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "new" / "row.json"
    for text in ("{}", json.dumps({"a": "ü"})):
        write_atomically(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert [each.name for each in path.parent.iterdir()] == ["row.json"]
