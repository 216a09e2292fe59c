"""Builds the settings of a training from the config groups ``model``, ``data``, ``loss``, ``train`` and ``trainer``.

The classes validate their values. Nothing heavy is imported, so that a sweep checks all of its cells
before the first one starts.
"""

from __future__ import annotations

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from sftdiv.records import SftdivError
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


def training_settings(config: DictConfig) -> TrainingConfig:
    """Settings of a fine-tuning, with an unresolved trainer.

    Raises:
        SftdivError: A value is invalid, or two of them cannot work together.
    """
    model, how, data = config.model, config.train, config.data
    tuning: dict[str, Any] = OmegaConf.to_container(model.finetune, resolve=True)  # type: ignore[assignment]
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
            steps=how.steps,
            batch_size=batch_size,
            micro_batch=min(micro_batch, batch_size) if how.batch is None else how.batch,
            validate_every=how.validate_every,
            patience=how.patience,
        ),
        fine_tuning=FineTuningConfig(adapter=made(how.adapter), **{name: how[name] for name in FINE_TUNING}),
        optimizer=OptimizerConfig(**tuning, name=how.optimizer, schedule=how.schedule),
        trainer=made(config.trainer),
    )


def made(node: Any) -> Any:
    """What a config node describes; a setting that its class refuses is told as such, and not as Hydra's failure to make one.

    Raises:
        SftdivError: As the class does.
    """
    try:
        return instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, SftdivError):
            raise error.__cause__ from None
        raise
