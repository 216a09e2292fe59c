"""Paths that cannot be read or written: one message with the path and the way out, before anything is read."""

import errno
import json
import os
import re
import sys
from pathlib import Path

import pytest
from tiny_models import tiny_base
from warm_process import run_code, run_program

from sftdiv.config.from_python import compose_run
from sftdiv.config.run_request import check_study
from sftdiv.data.folder_files import data_files
from sftdiv.pipeline.recorder import Recorder
from sftdiv.records import ModelRef, SftdivError
from sftdiv.storage.cell import Cell, check_cell_name
from sftdiv.storage.files import local_path, write_atomically
from sftdiv.storage.folders import check_folder, disk_errors_explained, os_error_message, user_path
from sftdiv.tracking.run_tracker import RunTracker

LONG = "x" * 300


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "afile").touch()
    with pytest.raises(
        SftdivError, match=r"paths.outputs: .*afile/cell cannot be written: Not a directory; a file is in the way"
    ):
        check_folder("paths.outputs", tmp_path / "afile" / "cell")
    with pytest.raises(SftdivError, match=r"a file is in the way of a folder"):
        check_folder("paths.cache", tmp_path / "afile")


def test_a_folder_that_can_be_written_is_left_empty(tmp_path):
    check_folder("paths.outputs", tmp_path / "new" / "cell")
    assert list((tmp_path / "new" / "cell").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_a_folder_that_the_system_refuses_is_named():
    with pytest.raises(SftdivError, match=r"paths.cache: /proc/x cannot be written: .*; choose another folder"):
        check_folder("paths.cache", user_path("/proc/x"))


@pytest.mark.parametrize("path", ["~nosuchuser/x.jsonl", f"{LONG}.jsonl", "a\0b"])
def test_paths_that_no_system_takes_are_messages(path):
    with pytest.raises(SftdivError, match=r"corpus.path"):
        data_files(path)
    assert local_path(path) is None
    assert not ModelRef(path).is_local and ModelRef(path).identity() == {"path": path, "revision": None}


def test_names_in_bytes_count_not_characters(tmp_path):
    with pytest.raises(SftdivError, match=r"study: the name .* has 300 bytes"):
        check_folder("study", tmp_path / ("語" * 100))
    with pytest.raises(SftdivError, match=r"export.name: the name"):
        compose_run(["export.format=messages", f"export.name={'n' * 250}"])
    with pytest.raises(SftdivError, match=r"export.name='a/b' must be letters"):
        compose_run(["export.format=messages", "export.name=a/b"])
    write_atomically(tmp_path / ("n" * 250), "fits")


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", "..", "", "a\nb", "\x1b[2Jx", "javascript:alert(1)", "C:x", " x", LONG]
)
def test_studies_are_plain_names(name):
    with pytest.raises(SftdivError, match=r"study"):
        check_study(name)


def test_names_of_studies_may_be_of_any_script():
    for name in ("my study", "研究-1", "a+b", "étude.2"):
        check_study(name)


@pytest.mark.parametrize("part", ["../x", "javascript:alert(1)", "[/red]", "<b>", "a b"])
def test_cells_are_plain_names(part):
    with pytest.raises(SftdivError, match=r"strategy.name, strategy.side and model.name may hold"):
        check_cell_name(f"{part}-response-1k-d1-m-s0-h123456")
    check_cell_name("micro_token-response-0.5k-d0.333-scratch_3m-s0-h123456")
    with pytest.raises(SftdivError, match=r"the cell would be named|is part of a folder's name"):
        compose_run([f"model.name='{part}'"]).single_cell()


@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "read-only"),
        (errno.EFBIG, "ulimit"),
        (errno.EACCES, "permission"),
    ],
)
def test_errors_of_the_system_name_the_file_and_the_way_out(number, way_out):
    message = os_error_message(OSError(number, os.strerror(number), "/a/b"))
    assert message and message.startswith("/a/b: ") and way_out in message and "the same command resumes" in message


def test_errors_of_a_network_are_not_the_system_s():
    assert os_error_message(ConnectionError("refused")) is None


def test_a_failure_that_cannot_be_recorded_hides_no_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ValueError, match=r"the first"), Recorder(Cell("s", "c", tmp_path, "h"), RunTracker()):
        monkeypatch.setattr("sftdiv.pipeline.recorder.write_failure", full)
        raise ValueError("the first")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["paths.outputs=afile"], "paths.outputs: .*afile.* cannot be written"),
        (["paths.cache=/proc/x"], "paths.cache: /proc/x cannot be written"),
        (["export.format=messages", "export.folder=afile/x"], "export.folder: .*afile/x cannot be written"),
        (["-m", "diversity_level=0,1", "paths.multirun=afile"], "paths.multirun: .*afile.* cannot be written"),
        (["-m", "diversity_level=0,1", "study=../x"], "study='../x' must be a plain folder name"),
        (
            ["corpus.path='~nosuchuser/x.jsonl'"],
            "corpus.path=~nosuchuser/x.jsonl: .* no home directory for ~nosuchuser",
        ),
        ([LONG], "."),
    ],
)
def test_commands_end_with_a_message_before_anything_is_read(tmp_path, given, message):
    (tmp_path / "afile").touch()
    (tmp_path / "a.jsonl").write_text(json.dumps({"instruction": "a", "output": "b"}) + "\n")
    few = [
        "corpus=files",
        "corpus.path=a.jsonl",
        "stop_after=select",
        "embedder=none",
        "model=smollm2_135m",
        "tracking=none",
    ]
    flags = [text for text in given if text == "-m"]
    settings = [*few, f"paths.cache={tmp_path}/cache", *(text for text in given if text != "-m")]
    done = run_program("sftdiv.run", *flags, *settings, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(message, done.stderr.replace("\n", " "))
    assert not list((tmp_path / "cache").glob("corpus/*")) and not (tmp_path.parent / "x").exists()


FULL = """
import resource
import sys
from pathlib import Path

from tiny_models import NAMES, TALKS, fine_tuning, ref

from sftdiv.modeling.checkpoint import load_model, load_tokenizer, save_checkpoint
from sftdiv.records import SftdivError
from sftdiv.training.fine_tune import fine_tune

base, folder = sys.argv[1], Path(sys.argv[2])
model, tokenizer = load_model(base, dtype="auto"), load_tokenizer(base)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for write in (
    lambda: save_checkpoint(model, tokenizer, folder / "model"),
    lambda: fine_tune(ref(base), TALKS, NAMES, folder / "run" / "model", **fine_tuning(checkpoint_steps=2)),
):
    try:
        write()
    except SftdivError as error:
        print(error)
"""


def test_a_disk_that_takes_no_more_of_a_model_or_a_checkpoint_is_named_with_the_way_out(tmp_path):
    done = run_code(FULL, tiny_base(), tmp_path)
    saved, trained = done.stdout.strip().split("\n")
    assert saved.startswith(f"{tmp_path / 'model'}: File too large; ") and "ulimit -f" in saved
    assert trained.startswith(f"{tmp_path / 'run' / 'checkpoint' / 'step-2'}: File too large; ")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "x", "/a/b"), "/a/b: No space left on device; free some space"),
        (OSError("1000 requested and 24 written"), "/cell: No space left on device"),  # numpy
        (RuntimeError("Error while serializing: I/O error: Read-only file system (os error 30)"), "/cell: Read-only"),
        (OSError("Error writing bytes to file. Detail: [errno 28] No space left"), "/cell: No space left"),  # Arrow
        (
            RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
            "/cell: No space",
        ),  # torch
    ],
)
def test_what_libraries_say_of_a_full_disk_is_one_error(error, reason):
    with pytest.raises(SftdivError) as told, disk_errors_explained(Path("/cell")):
        raise error
    assert str(told.value).startswith(reason) and "the same command resumes" in str(told.value)


@pytest.mark.parametrize(
    "error", [ValueError("a"), OSError("no route"), KeyboardInterrupt(), SftdivError("(os error 28)")]
)
def test_other_errors_stay_as_they_are(error):
    with pytest.raises(type(error)) as told, disk_errors_explained(Path("/cell")):
        raise error
    assert told.value is error
