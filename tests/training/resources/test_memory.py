"""A training's memory before it begins: weights by hand, activations against a real step, refusals that
name what helps."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tiny_models import fine_tuning
from transformers import LlamaConfig

from sftdiv.records import SftdivError
from sftdiv.training import compatibility
from sftdiv.training.config import AdapterConfig, TrainerConfig
from sftdiv.training.resources import available_memory as capacity
from sftdiv.training.resources import dry_run
from sftdiv.training.resources.available_memory import available, machine_memory
from sftdiv.training.resources.dry_run import MicroBatchShape, peak_activations, weigh
from sftdiv.training.resources.memory import GIB, MemoryEstimate, check_fits, estimate, largest_micro_batch

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "tie_word_embeddings": False,
}
CONFIG = LlamaConfig(vocab_size=100, **SMALL)
LAYER, OUTSIDE = 4 * 64 * 64 + 3 * 64 * 176 + 2 * 64, 2 * 100 * 64 + 64  # parameters
ALL = 3 * LAYER + OUTSIDE
LLAMA_7B = LlamaConfig(
    vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32
)
LLAMA_70B = LlamaConfig(
    vocab_size=32000,
    hidden_size=8192,
    intermediate_size=28672,
    num_hidden_layers=80,
    num_attention_heads=64,
    num_key_value_heads=8,
)
LORA = AdapterConfig(rank=8, alpha=16, dropout=0.0, targets="all-linear", quantize=None, merge=True)
NF4 = AdapterConfig(rank=8, alpha=16, dropout=0.0, targets="all-linear", quantize="nf4", merge=True)


def gpus(count=1, strategy="single", precision="bf16-mixed", **settings):
    return TrainerConfig(
        accelerator="gpu", devices=count, precision=precision, threads=None, strategy=strategy, **settings
    )


def method(adapter=None, *, checkpointing=False, attention="auto"):
    return {"adapter": adapter, "gradient_checkpointing": checkpointing, "attention": attention}


def training(trainer, how=None, optimizer="adamw"):
    return fine_tuning(trainer=trainer, **how or method(), name=optimizer)["config"]


def needed(trainer, how=None, config=CONFIG, *, optimizer="adamw", rows=2, length=32, labels=8):
    return estimate(config, MicroBatchShape(rows, length, labels), config=training(trainer, how, optimizer))


@pytest.fixture(autouse=True)
def every_package(monkeypatch):
    """Estimates need no optional package."""
    monkeypatch.setattr(compatibility, "find_spec", lambda package: True)


def weights_of(memory):
    return memory.parameters, memory.gradients, memory.optimizer


def activations(
    rows=2,
    length=32,
    labels=8,
    config=CONFIG,
    *,
    checkpointing=False,
    attention="auto",
    dtype=torch.float32,
    autocast=False,
):
    settings = fine_tuning(**method(checkpointing=checkpointing, attention=attention))["config"].fine_tuning
    shape = MicroBatchShape(rows, length, labels)
    return peak_activations(config, shape, dtype=dtype, autocast=autocast, fine_tuning=settings)


# weights, gradients, optimizer


@pytest.mark.parametrize(
    ("precision", "optimizer", "bytes_each"),
    [
        ("32-true", "adamw", (4, 4, 8)),
        ("bf16-mixed", "adamw", (4, 4, 8)),
        ("bf16-true", "adamw", (2, 2, 4)),
        ("bf16-true", "adamw_8bit", (2, 2, 2 * (1 + 4 / 256))),
    ],
)
def test_bytes_of_a_weight(precision, optimizer, bytes_each):
    memory = needed(gpus(precision=precision), optimizer=optimizer)
    assert weights_of(memory) == pytest.approx([ALL * each for each in bytes_each])


def test_of_an_adapter_alone_there_are_gradients():
    adapters = 3 * 8 * (4 * (64 + 64) + 3 * (64 + 176))
    assert weights_of(needed(gpus(precision="bf16-true"), method(LORA))) == (
        (ALL + adapters) * 2,
        adapters * 2,
        adapters * 4,
    )


def test_four_bits_hold_the_linear_layers_and_32_the_rest():
    adapters, linear = 3 * 8 * (4 * (64 + 64) + 3 * (64 + 176)), 3 * (LAYER - 2 * 64)
    memory = needed(gpus(), method(NF4))
    block = 64 * 4 / 8 + 1 + 4 / 256  # bytes: 64 weights of 4 bits, a scale of 8 bits, a 256th of the scales' scale
    assert memory.parameters == pytest.approx(linear * block / 64 + (ALL - linear + adapters) * 4)


def test_a_shard_and_what_is_gathered():
    memory = needed(gpus(4, "fsdp"))
    shard, gathered = ALL / 4, 2 * LAYER + OUTSIDE
    assert weights_of(memory) == (4 * shard + 2 * gathered, 4 * shard + 4 * (LAYER + OUTSIDE), 8 * shard)
    away = needed(gpus(4, "fsdp", offload=True))
    assert (*weights_of(away), away.offloaded) == (2 * gathered, 4 * (LAYER + OUTSIDE), 0, 16 * shard)
    assert weights_of(needed(gpus(4, "ddp"))) == weights_of(needed(gpus()))
    assert weights_of(needed(gpus(1, "fsdp"))) == weights_of(needed(gpus()))
    zero = needed(gpus(4, "deepspeed"))
    assert weights_of(zero) == (2 * shard + 2 * gathered, 2 * shard + 2 * (LAYER + OUTSIDE), 12 * shard)


@pytest.mark.parametrize(("config", "published"), [(LLAMA_7B, 6_738_415_616), (LLAMA_70B, 68_976_648_192)])
def test_the_largest_models_are_weighed_without_their_weights(config, published):
    assert weigh(config, dtype=torch.bfloat16, adapter=None).trained_count == published


# activations

STEP = """
import json, sys, warnings
warnings.simplefilter("ignore")
import torch
from transformers import AutoModelForCausalLM, LlamaConfig
from sftdiv.modeling.loss import token_losses
from sftdiv.training.resources.available_memory import peak_memory
torch.set_num_threads(1)
def step(config, rows, length, labels, checkpointing):
    model = AutoModelForCausalLM.from_config(LlamaConfig(**config), dtype=torch.float32).train()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    ids = torch.randint(0, 50, (rows, length))
    targets = torch.full_like(ids, -100)
    targets[:, -labels:] = ids[:, -labels:]
    for _ in range(2):  # the second step has an optimizer's state
        optimizer.zero_grad()
        for _ in range(2):  # the second micro-batch adds to gradients
            token_losses(model, ids, targets).sum().backward()
        optimizer.step()
config, *rest = json.loads(sys.argv[1])
step({**config, "hidden_size": 64, "intermediate_size": 64}, 1, 8, 4, False)  # what the libraries take once
now = int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])
step(config, *rest)
print(int(peak_memory()) - now * 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_estimate_is_what_a_real_step_takes(checkpointing):
    config = {"vocab_size": 2000, **SMALL, "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 5}
    case = (config, 8, 256, 128, checkpointing)
    blocks = {
        "MALLOC_MMAP_THRESHOLD_": "65536"
    }  # the C library gives every tensor back: the resident memory is what torch holds
    ran = subprocess.run(
        [sys.executable, "-c", STEP, json.dumps(case)],
        env=os.environ | blocks,
        capture_output=True,
        text=True,
        check=True,
    )
    cpu = TrainerConfig(accelerator="cpu", devices=1, precision="32-true", threads=1)
    memory = needed(cpu, method(checkpointing=checkpointing), LlamaConfig(**config), rows=8, length=256, labels=128)
    assert memory.total == pytest.approx(int(ran.stdout), rel=0.05, abs=16 << 20)  # the libraries take some MiB


def test_depth_is_extrapolated_to_the_byte(monkeypatch):
    deep = LlamaConfig(vocab_size=100, **SMALL | {"num_hidden_layers": 7})
    settings = [{}, {"checkpointing": True}, {"autocast": True}, {"dtype": torch.bfloat16}]
    quick = [activations(config=deep, **each) for each in settings]
    monkeypatch.setattr(dry_run, "DEPTHS", (2, 9))  # all seven layers are run
    assert quick == [activations(config=deep, **each) for each in settings]


def test_rows_labels_and_the_attention_matrix():
    few, more, many = (activations(rows) for rows in (8, 16, 24))
    assert many - more == pytest.approx(more - few, rel=0.02)
    wide = LlamaConfig(vocab_size=5000, **SMALL)
    few, more, many = (activations(8, labels=labels, config=wide) for labels in (8, 16, 24))
    assert many - more == pytest.approx(more - few, rel=0.02)
    assert (
        2 <= (more - few) / (8 * 8 * 5000 * 4) <= 4
    )  # rows, labels, vocabulary, bytes: logits, their softmax and its gradient
    lengths = (256, 512)
    without, beside = ([activations(1, length, 1, attention=name) for length in lengths] for name in ("auto", "eager"))
    assert without[1] / without[0] < 2.05  # linear in the tokens
    assert (beside[1] - without[1]) / (beside[0] - without[0]) > 3.8  # and their square


def test_less_is_kept_where_layers_are_computed_again_and_in_16_bits():
    many = {"rows": 4, "length": 64}
    assert activations(**many, checkpointing=True) < 0.6 * activations(**many)
    assert activations(**many, dtype=torch.bfloat16) < 0.8 * activations(**many)


def test_autocast_holds_a_copy_of_each_weight():
    kept = activations(1, 2, 1, autocast=True) - activations(1, 2, 1)
    assert kept == pytest.approx(2 * (ALL - 100 * 64), rel=0.2)  # of matrices that multiply: not of the embedding


# whether it fits


def refusal(available_bytes, hardware, how, **settings):
    with pytest.raises(SftdivError) as caught:
        check_fits(needed(hardware, how, **settings), available_bytes, FOUR_ROWS, config=training(hardware, how))
    return str(caught.value)


FOUR_ROWS = MicroBatchShape(4, 2048, 2047)
REAL = {"config": LLAMA_7B, "rows": 4, "length": 2048, "labels": 2047}


def test_a_7b_model_does_not_fit_24_gib():
    told = refusal(24 * GIB, gpus(), method(), **REAL)
    assert "parameters 25.1, gradients 25.1, optimizer 50.2, activations 71." in told and "of 24.0" in told
    assert "it would not fit without any activations either" in told
    ways = [
        "train=lora",
        "train=qlora",
        "trainer.precision=bf16-true",
        "train.optimizer=adamw_8bit",
        "trainer=fsdp",
        "a smaller model",
    ]
    assert [way for way in ways if way in told] == ways
    assert "train.batch" not in told and "max_length" not in told


def test_a_7b_model_fits_an_h200_in_bf16():
    hardware, how = gpus(precision="bf16-true"), method(checkpointing=True)
    memory = needed(hardware, how, **REAL)
    check_fits(memory, 139.8 * GIB, FOUR_ROWS, config=training(hardware, how))
    assert 50 * GIB < memory.total < 62 * GIB


def test_an_adapter_of_a_70b_model_fits_8_gpus_of_80_gb():
    hardware, how = gpus(8, "fsdp", precision="bf16-true"), method(LORA, checkpointing=True)
    memory = needed(hardware, how, LLAMA_70B, rows=1, length=2048, labels=2047)
    check_fits(memory, 79 * GIB, MicroBatchShape(1, 2048, 2047), config=training(hardware, how))
    assert memory.parameters == pytest.approx((68_976_648_192 * 2 / 8) + 4.2 * GIB, rel=0.02)


def test_what_is_on_already_is_not_advised():
    told = refusal(
        60 * GIB, gpus(), method(LORA, checkpointing=True), **REAL | {"rows": 16, "length": 4096, "labels": 4095}
    )
    assert (
        "train.batch below 4 (or train.batch=auto), model.max_length below 2048, train=qlora, "
        "trainer.precision=bf16-true" in told
    )
    assert not [
        word
        for word in ("gradient_checkpointing", "train=lora", "adamw_8bit", "without any activations")
        if word in told
    ]
    told = refusal(1e4, gpus(2, "fsdp"), method(LORA), rows=1)
    assert "more than 2 devices (trainer.devices, trainer.nodes), trainer.offload=true" in told
    told = refusal(
        1e4, TrainerConfig(accelerator="cpu", devices=1, precision="32-true", threads=None), method(), rows=1
    )
    assert told.endswith("Settings that need less: train=lora, a smaller model")


def test_offloading_needs_the_machine_s_memory(monkeypatch):
    hardware = gpus(4, "fsdp", offload=True)
    memory = needed(hardware)
    monkeypatch.setattr("sftdiv.training.resources.memory.machine_memory", lambda: 3.9 * memory.offloaded)
    with pytest.raises(SftdivError, match=r"offload=true moves .* for each of 4 devices into the machine's memory"):
        check_fits(memory, GIB, MicroBatchShape(2, 32, 8), config=training(hardware))
    monkeypatch.setattr("sftdiv.training.resources.memory.machine_memory", lambda: 4.1 * memory.offloaded)
    check_fits(memory, GIB, MicroBatchShape(2, 32, 8), config=training(hardware))


def test_the_largest_micro_batch_leaves_a_tenth_and_one_more_does_not():
    hardware = gpus()
    there = needed(hardware, rows=10).total / 0.9 + 1
    step, config = MicroBatchShape(64, 32, 8), training(hardware)
    assert largest_micro_batch(CONFIG, there, step, config=config) == 10
    assert largest_micro_batch(CONFIG, there, replace(step, rows=4), config=config) == 4
    with pytest.raises(SftdivError, match="does not fit"):
        largest_micro_batch(CONFIG, needed(hardware, rows=1).total - 1, step, config=config)


def test_the_line_that_is_logged():
    memory = MemoryEstimate(parameters=12.6 * GIB, gradients=12.6 * GIB, optimizer=25.1 * GIB, activations=8.3 * GIB)
    assert memory.describe(139.8 * GIB) == (
        "memory per device in GiB: parameters 12.6, gradients 12.6, optimizer 25.1, activations 8.3: 58.6 of 139.8"
    )
    small = MemoryEstimate(parameters=0.002 * GIB, gradients=0, optimizer=0, activations=0.1 * GIB, offloaded=3 * GIB)
    assert small.describe() == (
        "memory per device in GiB: parameters 0.002, gradients 0.0, optimizer 0.0, activations 0.1: 0.1, "
        "plus 3.0 in the machine's memory"
    )


# how much there is


def test_processes_on_a_cpu_share_the_machine():
    one = TrainerConfig(accelerator="cpu", devices=1, precision="32-true", threads=None)
    four = TrainerConfig(accelerator="cpu", devices=4, precision="32-true", threads=None, strategy="ddp")
    assert available(four) == pytest.approx(available(one) / 4, rel=0.2)
    assert 0 < machine_memory() < 2**50


def group(folder, limit, use, inactive, *, names, statistic):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip((*names, "memory.stat"), (limit, use, f"anon 5\n{statistic} {inactive}"), strict=True):
        (folder / name).write_text(f"{text}\n")


def test_a_container_s_limit_counts_less_what_can_be_dropped(tmp_path, monkeypatch):
    memberships = tmp_path / "self"
    monkeypatch.setattr(capacity, "GROUPS", tmp_path / "v2")
    monkeypatch.setattr(capacity, "MEMBERSHIPS", memberships)
    memberships.write_text("0::/jobs/mine\n")
    names = ("memory.max", "memory.current")
    group(tmp_path / "v2" / "jobs" / "mine", "max", 100, 0, names=names, statistic="inactive_file")
    group(tmp_path / "v2" / "jobs", 1000, 700, 300, names=names, statistic="inactive_file")
    assert machine_memory() == 1000 - 700 + 300
    monkeypatch.setattr(capacity, "GROUPS", tmp_path / "v1")
    memberships.write_text("5:cpu:/mine\n4:memory:/mine\n")
    group(
        tmp_path / "v1" / "memory" / "mine",
        900,
        950,
        20,
        names=("memory.limit_in_bytes", "memory.usage_in_bytes"),
        statistic="total_inactive_file",
    )
    assert machine_memory() == 0
    memberships.write_text("0::/not/seen/from/here\n")
    assert machine_memory() > 2**20
