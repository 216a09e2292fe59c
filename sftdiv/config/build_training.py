"""Builds the typed training settings from the groups ``data``, ``loss``, ``train``, ``trainer`` and ``model``."""

from __future__ import annotations

from omegaconf import DictConfig

from sftdiv.config.instantiate import make, plain
from sftdiv.training.config import DataConfig, FineTuningConfig, OptimizerConfig, ScheduleConfig, TrainingConfig

FINE_TUNING = (
    "gradient_checkpointing",
    "neftune",
    "liger",
    "compile",
    "attention",
    "checkpoint_minutes",
    "checkpoint_steps",
)


def build_training(config: DictConfig) -> TrainingConfig:
    """The groups ``data``, ``loss``, ``train`` and ``trainer``, and ``model.finetune``."""
    model, train, data = config.model, config.train, config.data
    tuning = plain(model.finetune)
    epochs, batch_size, micro_batch = (tuning.pop(name) for name in ("epochs", "batch_size", "micro_batch"))
    return TrainingConfig(
        data=DataConfig(
            template=model.template.jinja,
            prefer_own=model.template.prefer_own,
            max_length=model.max_length,
            too_long=data.too_long,
            packing=data.packing,
            loss_on=config.loss.on,
            loss_turns=config.loss.turns,
            max_masked_share=data.max_masked_share,
            validation=data.validation,
        ),
        schedule=ScheduleConfig(
            epochs=epochs,
            steps=train.steps,
            batch_size=batch_size,
            micro_batch=min(micro_batch, batch_size) if train.batch is None else train.batch,
            validate_every=train.validate_every,
            patience=train.patience,
        ),
        fine_tuning=FineTuningConfig(adapter=make(train.adapter), **{name: train[name] for name in FINE_TUNING}),
        optimizer=OptimizerConfig(**tuning, name=train.optimizer, schedule=train.schedule),
        trainer=make(config.trainer),
    )
