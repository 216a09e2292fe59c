"""The settings of a training: they survive JSON, and know which of them decide the trained weights."""

import json
from dataclasses import asdict, fields, replace

import pytest
from tiny_models import CPU, fine_tuning

from sftdiv.storage.hashing import identity_of
from sftdiv.training.config import AdapterConfig, TrainingConfig

LORA = AdapterConfig(rank=4, alpha=8, dropout=0.0, targets="all-linear", quantize=None, merge=True)
OTHER = {  # another valid value of every setting
    "data": {
        "template": "{{ messages }}",
        "prefer_own": True,
        "max_length": 32,
        "too_long": "drop",
        "packing": True,
        "loss_on": "all",
        "loss_turns": "last",
        "max_masked_share": 0.2,
        "validation": 0.1,
    },
    "schedule": {
        "epochs": 3,
        "steps": 7,
        "batch_size": 5,
        "micro_batch": 2,
        "validate_every": 0.1,
        "patience": 2,
    },
    "fine_tuning": {
        "adapter": LORA,
        "gradient_checkpointing": True,
        "neftune": 5.0,
        "liger": True,
        "compile": True,
        "attention": "eager",
        "checkpoint_minutes": 3,
        "checkpoint_steps": 4,
    },
    "optimizer": {
        "learning_rate": 0.5,
        "warmup": 0.5,
        "weight_decay": 0.5,
        "clip": 0.5,
        "name": "adamw_8bit",
        "schedule": "linear",
    },
    "trainer": {
        "accelerator": "auto",
        "devices": 2,
        "precision": "64-true",
        "threads": 2,
        "strategy": "fsdp",
        "nodes": 2,
        "prefix": "srun",
        "offload": True,
    },
}
PERFORMANCE_ONLY = {"checkpoint_minutes", "checkpoint_steps", "devices", "nodes", "prefix", "offload"}
PERFORMANCE_ONLY |= {"accelerator", "threads", "strategy", "micro_batch"}  # the last bits at most
CASES = [(part, name) for part, settings in OTHER.items() for name in settings]


@pytest.fixture(autouse=True)
def every_package(monkeypatch):
    """No optional package is needed to compare settings."""
    monkeypatch.setattr("sftdiv.training.compatibility.find_spec", lambda package: True)


@pytest.mark.parametrize("changes", [{}, {"adapter": LORA}, {"micro_batch": "auto", "devices": 2, "strategy": "ddp"}])
def test_settings_survive_json(changes):
    config = fine_tuning(**changes)["config"]
    assert TrainingConfig.from_dict(json.loads(json.dumps(asdict(config)))) == config


def test_another_value_of_every_setting_is_compared():
    config = fine_tuning()["config"]
    assert {part.name: {field.name for field in fields(getattr(config, part.name))} for part in fields(config)} == {
        part: set(settings) for part, settings in OTHER.items()
    }


@pytest.mark.parametrize(("part", "name"), CASES)
def test_a_setting_decides_the_weights_or_is_performance_only(part, name):
    shared = {"trainer": replace(CPU, strategy="ddp", accelerator="auto" if name == "liger" else "cpu")}
    config = fine_tuning(**shared)["config"]
    changed = replace(config, **{part: replace(getattr(config, part), **{name: OTHER[part][name]})})
    assert changed != config
    assert (identity_of(changed) == identity_of(config)) == (name in PERFORMANCE_ONLY)


def test_the_micro_batch_decides_where_noise_is_drawn_for_each():
    def identities(**changes):
        return [identity_of(fine_tuning(**changes, micro_batch=rows)["config"]) for rows in (1, 2)]

    plain, noisy = identities(), identities(neftune=5.0)
    assert plain[0] == plain[1] and noisy[0] != noisy[1]


@pytest.mark.parametrize("field", [field.name for field in fields(AdapterConfig)])
def test_every_setting_of_an_adapter_decides_the_weights(field):
    values = {"rank": 8, "alpha": 9, "dropout": 0.1, "targets": ["q_proj"], "quantize": "nf4", "merge": False}
    assert identity_of(replace(LORA, **{field: values[field]})) != identity_of(LORA)
