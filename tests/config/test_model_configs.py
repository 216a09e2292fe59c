"""Every model's config composes with every way to train it, and the memory that its comment states is what
is estimated."""

import re
from dataclasses import replace

import pytest
from omegaconf import OmegaConf
from transformers import LlamaConfig, Qwen3Config

from sftdiv.config.app import conf_dir
from sftdiv.config.build import build_training
from sftdiv.training.resources.dry_run import MicroBatchShape, weigh
from sftdiv.training.resources.memory import DTYPES, GIB, check_fits, estimate

MODELS = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))
STATED = re.compile(r"^#   (\S.*): (\d+) GiB", re.MULTILINE)
FILES = ["corpus=files", "corpus.path=mine.jsonl"]


def llama(vocabulary, width, mlp, layers, heads, groups, *, tied=False):
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        tie_word_embeddings=tied,
    )


def qwen3(width, mlp, layers, heads, *, tied):
    return Qwen3Config(
        vocab_size=151936,
        hidden_size=width,
        intermediate_size=mlp,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=tied,
    )


PUBLISHED = {  # the config.json of each on the hub, and the parameters that its card states
    "smollm2_135m": (llama(49152, 576, 1536, 30, 9, 3, tied=True), "135M"),
    "smollm2_135m_instruct": (llama(49152, 576, 1536, 30, 9, 3, tied=True), "135M"),
    "smollm2_360m": (llama(49152, 960, 2560, 32, 15, 5, tied=True), "362M"),
    "smollm2_1_7b": (llama(49152, 2048, 8192, 24, 32, 32, tied=True), "1.71B"),
    "qwen3_0_6b": (qwen3(1024, 3072, 28, 16, tied=True), "596M"),
    "qwen3_8b": (qwen3(4096, 12288, 36, 32, tied=False), "8.19B"),
    "llama2_7b": (llama(32000, 4096, 11008, 32, 32, 32), "6.74B"),
    "llama3_8b": (llama(128256, 4096, 14336, 32, 32, 8), "8.03B"),
    "llama2_70b": (llama(32000, 8192, 28672, 80, 64, 8), "69.0B"),
}


def stated(name):
    """What a config's comment says: (settings of a command, GiB) of each of its lines."""
    text = (conf_dir() / "model" / f"{name}.yaml").read_text(encoding="utf-8")
    return [(settings.split(), int(size)) for settings, size in STATED.findall(text)]


def size_of(composed, name, settings):
    """The estimate for a command, every conversation as long as may be and learned; ``auto`` as on a GPU
    that has bf16."""
    config = composed(*FILES, f"model={name}", *settings)
    training, length = build_training(config), config.model.max_length
    accelerator = "cpu" if training.trainer.accelerator == "cpu" else "gpu"
    precision = "bf16-mixed" if training.trainer.precision == "auto" else training.trainer.precision
    training = replace(training, trainer=replace(training.trainer, accelerator=accelerator, precision=precision))
    shape = MicroBatchShape(training.schedule.micro_batch, length, length - 1)
    return estimate(PUBLISHED[name][0], shape, config=training), {"shape": shape, "config": training}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_architectures_are_the_published_ones(name):
    config, published = PUBLISHED[name]
    count = weigh(config, dtype=DTYPES["bf16-true"], adapter=None).trained_count
    unit = {"M": 1e6, "B": 1e9}[published[-1]]
    assert f"{count / unit:#.3g}".rstrip(".") + published[-1] == published
    assert OmegaConf.load(conf_dir() / "model" / f"{name}.yaml").parameters == count


def some_nightly(names, *, fast):
    """The fast ones, and the others as nightly: they prove the same of larger or similar architectures."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.nightly) for name in names]


@pytest.mark.parametrize("name", some_nightly(PUBLISHED, fast=("smollm2_135m", "qwen3_0_6b", "llama3_8b")))
def test_the_memory_in_the_comment_is_what_is_estimated(composed, name):
    lines = stated(name)
    assert len(lines) >= 3
    assert [(settings, round(size_of(composed, name, settings)[0].total / GIB)) for settings, _ in lines] == lines


def test_every_pretrained_model_states_its_memory(composed):
    assert {name for name in MODELS if composed(*FILES, f"model={name}").model.source == "pretrained"} == set(PUBLISHED)


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"tiny", "tiny_narrow"}))
@pytest.mark.parametrize(
    ("train", "trainer"), [("full", "cpu"), ("lora", "gpu"), ("qlora", "ddp"), ("full", "fsdp"), ("lora", "deepspeed")]
)
def test_every_model_composes_with_every_way_to_train(composed, monkeypatch, name, train, trainer):
    monkeypatch.setattr("sftdiv.training.compatibility.find_spec", lambda package: True)  # deepspeed is an extra
    config = composed(*FILES, f"model={name}", f"train={train}", f"trainer={trainer}")
    settings = build_training(config)
    assert settings.schedule.batch_size % settings.schedule.micro_batch == 0
    assert (settings.fine_tuning.adapter is None) == (train == "full")
    assert settings.trainer.strategy == (trainer if trainer in ("ddp", "fsdp", "deepspeed") else "single")


@pytest.mark.nightly  # the estimate of a sharded training against its limit is the test of full_fsdp with llama2_7b
def test_the_70b_experiment_fits_8_gpus_of_80_gb_and_4(composed):
    for devices in (8, 4):
        config = composed(*FILES, "+experiment=llama2_70b", f"trainer.devices={devices}")
        assert (config.model.name, config.train.name, config.trainer.strategy) == ("llama2_70b", "lora", "fsdp")
        assert (config.train.gradient_checkpointing, config.trainer.precision) == (True, "bf16-true")
        settings = [f"trainer.devices={devices}", "+experiment=llama2_70b"]
        memory, taken = size_of(composed, "llama2_70b", settings)
        check_fits(memory, 79 * GIB, **taken)


@pytest.mark.parametrize("model", some_nightly(["llama2_7b", "llama3_8b", "qwen3_8b"], fast=("llama2_7b",)))
def test_the_full_fsdp_experiment_fits_8_gpus_of_40_gb(composed, model):
    config = composed(*FILES, "+experiment=full_fsdp", f"model={model}")
    assert (config.model.name, config.train.adapter, config.train.gradient_checkpointing) == (model, None, True)
    memory, taken = size_of(composed, model, ["+experiment=full_fsdp", "trainer.devices=8"])
    check_fits(memory, 39 * GIB, **taken)
