"""Models of a few thousand weights, their training data and settings: shared by the tests of training and
evaluation."""

from dataclasses import fields, replace

from shared_folders import shared_folder

from sftdiv.records import ModelRef
from sftdiv.training.architecture import ArchitectureConfig
from sftdiv.training.config import (
    DataConfig,
    FineTuningConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainerConfig,
    TrainingConfig,
)
from sftdiv.training.pretrain import train_base
from sftdiv.training.tokenizer import train_tokenizer

CPU = TrainerConfig(accelerator="cpu", devices=1, precision="32-true", threads=1)
SHAPE = ArchitectureConfig(width=16, layers=2, heads=2, mlp_width=32, positions=64)
ADAM = {"learning_rate": 0.01, "warmup": 0.1, "weight_decay": 0.01, "clip": 1.0}
FACTS = [
    f"the {animal} says {sound}"
    for animal, sound in [("cat", "meow"), ("dog", "woof"), ("cow", "moo"), ("duck", "quack")]
]
TALKS = [
    [{"role": "user", "content": fact.split(" says ")[0]}, {"role": "assistant", "content": fact}] for fact in FACTS
] * 3
NAMES = [f"talk-{number}" for number in range(len(TALKS))]
CONFIG = TrainingConfig(
    data=DataConfig(
        template=None,
        prefer_own=False,
        max_length=64,
        too_long="truncate",
        packing=False,
        loss_on="response",
        loss_turns="all",
        max_masked_share=0.1,
        validation=0.0,
    ),
    schedule=ScheduleConfig(epochs=2, steps=None, batch_size=4, micro_batch=4, validate_every=0.5, patience=None),
    fine_tuning=FineTuningConfig(
        adapter=None,
        gradient_checkpointing=False,
        neftune=0.0,
        liger=False,
        compile=False,
        attention="auto",
        checkpoint_minutes=None,
        checkpoint_steps=None,
    ),
    optimizer=OptimizerConfig(**ADAM),
    trainer=CPU,
)


def fine_tuning(*, seed=0, **changes):
    """The settings of a training of seconds, with changes by the names of their fields, or of whole parts."""
    parts = {}
    for part in fields(CONFIG):
        settings = changes.pop(part.name, getattr(CONFIG, part.name))
        changed = {field.name: changes.pop(field.name) for field in fields(settings) if field.name in changes}
        parts[part.name] = replace(settings, **changed)
    assert not changes, changes
    return {"config": TrainingConfig(**parts), "seed": seed}


def ref(folder):
    """The reference to a model's folder."""
    return ModelRef(str(folder))


def pretrain(tokenizer, folder, *, seed=0):
    """A base model that has read four sentences for five steps."""
    return train_base(
        FACTS, tokenizer, folder, architecture=SHAPE, steps=5, batch_size=2, context=16, trainer=CPU, seed=seed, **ADAM
    )


def make_base(folder):
    """Train the base model and its tokenizer, which lie side by side; gives the model's folder."""
    train_tokenizer(FACTS, folder / "tokenizer", vocab_size=300)
    pretrain(folder / "tokenizer", folder / "model")
    return folder / "model"


def tiny_base():
    """The folder of the base model that all tests of a session share, with its tokenizer's beside it; not
    to be changed."""
    return shared_folder("tiny-base", make_base) / "model"
