"""A training that is interrupted, by a signal or by kill -9 amid a checkpoint, on one rank or two, goes on
as if it had not been."""

import contextlib
import json
import os
import pickle
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_models import CPU, NAMES, TALKS, fine_tuning, ref, tiny_base
from warm_process import run_code, start_code

from sftdiv.modeling.checkpoint import load_model
from sftdiv.records import SftdivError
from sftdiv.storage.file_digests import DIGEST, sealed_text
from sftdiv.training.callbacks.checkpoint_files import PROGRESS, digests
from sftdiv.training.callbacks.safe_storage import restore_values, split_values
from sftdiv.training.config import AdapterConfig
from sftdiv.training.distributed.launch import launch
from sftdiv.training.fine_tune import fine_tune

LORA = AdapterConfig(rank=4, alpha=8, dropout=0.1, targets="all-linear", quantize=None, merge=True)
SHARDED = {
    "adapter": replace(LORA, dropout=0.0),
    "gradient_checkpointing": True,
    "checkpoint_steps": 5,
    "epochs": 20,
}
TWO_SHARDS = replace(CPU, strategy="fsdp", devices=2)
KINDS = {
    "all weights": {},
    "adapter with dropout": {"adapter": LORA},
    "noise": {"neftune": 5.0},
    "validation with patience": {"validation": 0.25, "epochs": 4, "patience": 2},
}


@pytest.fixture(scope="module")
def base():
    """A base model that has read four sentences for five steps."""
    return tiny_base()


def weights(folder):
    return load_model(folder, dtype=torch.float32).state_dict()


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


class SignalAt:
    """A tracker that sends this process a signal when a step is told of."""

    def __init__(self, step, number):
        self.step, self.number = step, number

    def log(self, metrics, step):
        if step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_goes_on_to_the_same_weights_to_the_bit(base, tmp_path, kind, number):
    handler = signal.getsignal(signal.SIGINT)
    settings = fine_tuning(checkpoint_steps=2, **KINDS[kind])
    whole = fine_tune(ref(base), TALKS, NAMES, tmp_path / "whole" / "model", **settings)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(ref(base), TALKS, NAMES, tmp_path / "cut" / "model", **settings, tracker=SignalAt(2, number))
    assert signal.getsignal(signal.SIGINT) == handler
    assert [path.name for path in (tmp_path / "cut" / "checkpoint").iterdir()] == [
        "step-4"
    ]  # the next step sees the signal
    assert not (tmp_path / "cut" / "model").exists()
    resumed = fine_tune(ref(base), TALKS, NAMES, tmp_path / "cut" / "model", **settings)
    assert resumed.resumed_at == 4  # of six, in the middle of the second epoch
    assert (resumed.losses, resumed.validation) == (whole.losses, whole.validation)
    assert equal(weights(tmp_path / "whole" / "model"), weights(tmp_path / "cut" / "model"))
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["model", "preview.txt"]


def interrupted_at_4(base, folder):
    with pytest.raises(KeyboardInterrupt):
        settings = fine_tuning(checkpoint_steps=2)
        fine_tune(ref(base), TALKS, NAMES, folder / "model", **settings, tracker=SignalAt(2, signal.SIGINT))
    return folder / "checkpoint" / "step-4"


def test_a_checkpoint_is_safetensors_and_json_and_resuming_unpickles_nothing(base, tmp_path, monkeypatch):
    checkpoint = interrupted_at_4(base, tmp_path)
    names = ["metadata.json", "parts-0.safetensors", PROGRESS, "random-0.safetensors"]
    assert sorted(path.name for path in checkpoint.iterdir()) == names

    def refuse(*_, **__):
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    record = fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning(checkpoint_steps=2))
    assert record.resumed_at == 4


class Payload:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_code_in_a_checkpoint_does_not_run(base, tmp_path):
    checkpoint = interrupted_at_4(base, tmp_path)
    (checkpoint / ".metadata").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    progress = json.loads((checkpoint / PROGRESS).read_text())
    for name in ("metadata.json", "parts-0.safetensors", "random-0.safetensors"):
        (checkpoint / name).write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    progress["files"] = digests(checkpoint)  # whoever can write the files can write their digests
    (checkpoint / PROGRESS).write_text(sealed_text({key: progress[key] for key in progress if key != DIGEST}))
    with pytest.raises(SftdivError, match=r"step-4 is no state of this training .* remove it"):
        fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning(checkpoint_steps=2))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["metadata.json", "parts-0.safetensors", PROGRESS, "random-0.safetensors"])
@pytest.mark.parametrize("place", [0, 0.5, 0.9])
def test_a_damaged_checkpoint_is_named_and_not_resumed_from(base, tmp_path, caplog, name, place):
    checkpoint = interrupted_at_4(base, tmp_path)
    data = bytearray((checkpoint / name).read_bytes())
    data[int(place * len(data))] ^= 1  # amid progress.json also in a loss, which would still be read
    (checkpoint / name).write_bytes(data)
    assert fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning(checkpoint_steps=2)).resumed_at == 0
    assert f"{checkpoint} is not resumed from: {name}" in caplog.text


def test_values_that_are_no_tensors_are_stored_as_json_and_restored():
    state = {"a": torch.ones(2), "groups": [{"betas": (0.9, 0.95), "lr": 0.1, "on": True, "none": None}], "step": 3}
    tensors, values = split_values(state)
    assert list(tensors) == ["a"]
    stored = json.loads(json.dumps(values))
    current = {"a": state["a"], "groups": [{"betas": (0.0, 0.0), "lr": 0.0, "on": False, "none": 1}], "step": 0}
    assert restore_values(current, stored) == state


def test_other_settings_do_not_go_on_from_the_checkpoint(base, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning(), tracker=SignalAt(2, signal.SIGINT))
    assert fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **fine_tuning(seed=1)).resumed_at == 0


KILLED = """
import os, signal, sys
from pathlib import Path
from tiny_models import NAMES, TALKS, fine_tuning, ref
from sftdiv.training.callbacks import checkpointing
from sftdiv.training.fine_tune import fine_tune

moment, base, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
saves = 0

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def second(function, then):
    def wrapped(*arguments, **settings):
        global saves
        saves += 1
        return (then if saves == 2 else function)(*arguments, **settings)
    return wrapped

if moment == "before the weights":
    checkpointing.save = second(checkpointing.save, die)
elif moment == "amid the weights":
    whole = checkpointing.save
    def half(state, **settings):
        whole({"model": state["model"]}, **settings)  # without the optimizer's
        die()
    checkpointing.save = second(whole, half)
else:
    renamed = Path.replace
    def rename(self, target):
        if "step-4" in str(target) and moment == "before the name":
            die()
        done = renamed(self, target)
        if "step-4" in str(target):
            die()
        return done
    Path.replace = rename
fine_tune(ref(base), TALKS, NAMES, folder / "model", **fine_tuning(checkpoint_steps=2))
"""


@pytest.mark.parametrize(
    ("moment", "left", "resumed_at"),
    [
        ("before the weights", {"step-2"}, 2),
        ("amid the weights", {"step-2"}, 2),
        ("before the name", {"step-2"}, 2),
        ("before the old one goes", {"step-2", "step-4"}, 4),
    ],
)
def test_kill_9_in_a_checkpoint_leaves_a_whole_one(base, tmp_path, moment, left, resumed_at):
    died = run_code(KILLED, moment, base, tmp_path)
    assert died.returncode == -signal.SIGKILL
    whole = {path.name for path in (tmp_path / "checkpoint").iterdir() if not path.name.startswith(".")}
    assert whole == left
    settings = fine_tuning(checkpoint_steps=2)
    assert fine_tune(ref(base), TALKS, NAMES, tmp_path / "model", **settings).resumed_at == resumed_at
    fine_tune(ref(base), TALKS, NAMES, tmp_path / "whole" / "model", **settings)
    assert equal(weights(tmp_path / "whole" / "model"), weights(tmp_path / "model"))


# ranks


class Notebook:
    """A tracker that remembers."""

    def __init__(self):
        self.pages = []

    def log(self, metrics, step):
        self.pages.append((step, metrics["train.loss"]))


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_train_to_the_losses_of_one_and_save_a_plain_folder(base, tmp_path, warm_children, strategy):
    changes = {"batch_size": 5, "validation": 0.2}  # no step divides evenly among two
    one = fine_tune(ref(base), TALKS, NAMES, tmp_path / "one" / "model", groups=NAMES, **fine_tuning(**changes))
    tracker = Notebook()
    two = launch(
        ref(base),
        TALKS,
        NAMES,
        tmp_path / "two" / "model",
        groups=NAMES,
        tracker=tracker,
        **fine_tuning(**changes, trainer=replace(CPU, strategy=strategy, devices=2)),
    )
    assert two["losses"] == pytest.approx(one.losses, rel=1e-5)
    assert [loss for _, loss in two["validation"]] == pytest.approx([loss for _, loss in one.validation], rel=1e-5)
    assert tracker.pages == list(enumerate(two["losses"]))
    assert two["how"]["ranks"] == 2
    saved, alone = weights(tmp_path / "two" / "model"), weights(tmp_path / "one" / "model")
    for name in alone:
        torch.testing.assert_close(saved[name], alone[name], atol=1e-4, rtol=1e-4)
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["model", "preview.txt"]


def test_two_machines_meet_by_way_of_the_prefix(base, tmp_path, warm_children):
    """Two torchruns of one process each, as srun would start them on two machines."""
    (tmp_path / "twice.sh").write_text('#!/bin/sh\n"$@" & one=$!\n"$@" & other=$!\nwait $one && wait $other\n')
    (tmp_path / "twice.sh").chmod(0o755)
    nodes = replace(CPU, strategy="ddp", nodes=2, prefix=str(tmp_path / "twice.sh"))
    how = {"groups": NAMES, "tracker": None}
    two = launch(ref(base), TALKS, NAMES, tmp_path / "two" / "model", **how, **fine_tuning(trainer=nodes))
    one = launch(ref(base), TALKS, NAMES, tmp_path / "one" / "model", **how, **fine_tuning())
    assert two["how"]["ranks"] == 2
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)


def test_an_adapter_is_sharded_interrupted_and_resumed(base, tmp_path, warm_children):
    one = fine_tune(ref(base), TALKS, NAMES, tmp_path / "one" / "model", **fine_tuning(**SHARDED))
    how = {"groups": NAMES, "tracker": None, **fine_tuning(**SHARDED, trainer=TWO_SHARDS)}
    process = start_sharded(base, tmp_path / "two")
    process.send_signal(signal.SIGINT)
    assert process.wait(100) == 130
    two = launch(ref(base), TALKS, NAMES, tmp_path / "two" / "model", **how)
    assert 0 < two["resumed_at"] < 60
    assert two["losses"] == pytest.approx(one.losses, rel=1e-4)


def test_the_ranks_of_a_killed_run_do_not_live_on(base, tmp_path, warm_children):
    process = start_sharded(base, tmp_path)
    assert running(tmp_path)
    process.kill()
    process.wait()
    wait_until(lambda: not running(tmp_path))


def start_sharded(base, folder):
    """A process that trains on two ranks, once its first checkpoint is written."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "import test_checkpointing as t; t.launch_for_ctrl_c(*sys.argv[2:])"
    )
    process = start_code(script, Path(__file__).parent, base, folder)
    wait_until(lambda: list((folder / "checkpoint").glob(f"step-*/{PROGRESS}")))
    return process


def wait_until(true):
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < 200
        time.sleep(0.05)


def running(folder):
    """Processes that were told of the folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [place] * (f"{folder}/ranks".encode() in place.read_bytes())
    return found


def launch_for_ctrl_c(base, folder):
    """What the process that gets the Ctrl-C does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    how = {"groups": NAMES, "tracker": None, **fine_tuning(**SHARDED, trainer=TWO_SHARDS)}
    try:
        launch(ref(base), TALKS, NAMES, Path(folder) / "model", **how)
    except KeyboardInterrupt:
        sys.exit(130)


def test_an_error_in_a_rank_is_told_as_in_one_process(base, tmp_path, warm_children):
    replicas = replace(CPU, strategy="ddp", devices=2)
    how = {"groups": NAMES, "tracker": None, **fine_tuning(learning_rate=1e38, clip=1e30, trainer=replicas)}
    with pytest.raises(SftdivError, match=r"the loss is (nan|inf) at step \d+ on the examples talk-\d+"):
        launch(ref(base), TALKS, NAMES, tmp_path / "model", **how)
    assert not (tmp_path / "model").exists()
