"""What the config says of a training, as the records that the stage ``training`` takes.

In: the groups ``model``, ``data``, ``loss`` and ``train``. Out: their values in the four records,
whose own checks refuse what cannot be right. Nothing heavy is imported, so that a sweep checks all
of its cells before the first begins.
"""

from __future__ import annotations

from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from sftdiv.protocols import Tracking
from sftdiv.records import SftdivError
from sftdiv.training.config import DataConfig, FineTuningConfig, OptimizerConfig, ScheduleConfig

OF_METHOD = (
    "gradient_checkpointing",
    "neftune",
    "liger",
    "compile",
    "attention",
    "checkpoint_minutes",
    "checkpoint_steps",
)


def training_settings(config: DictConfig) -> dict[str, Any]:
    """What `fine_tune` takes of the groups ``model``, ``data``, ``loss`` and ``train``.

    Raises:
        SftdivError: A value cannot be right.
    """
    model, how, data = config.model, config.train, config.data
    tuning: dict[str, Any] = OmegaConf.to_container(model.finetune, resolve=True)  # type: ignore[assignment]
    epochs, batch_size, micro_batch = (tuning.pop(name) for name in ("epochs", "batch_size", "micro_batch"))
    return {
        "reading": DataConfig(
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
        "length": ScheduleConfig(
            epochs=epochs,
            steps=how.steps,
            batch_size=batch_size,
            micro_batch=min(micro_batch, batch_size) if how.batch is None else how.batch,
            validate_every=how.validate_every,
            patience=how.patience,
        ),
        "method": FineTuningConfig(adapter=made(how.adapter), **{name: how[name] for name in OF_METHOD}),
        "optimizer": OptimizerConfig(**tuning, name=how.optimizer, schedule=how.schedule),
    }


def tracking_options(config: DictConfig) -> list[Tracking]:
    """The chosen options of the group ``tracking``, in the order given.

    Raises:
        SftdivError: A setting cannot be right, an option's package is missing, or its file lacks the ``@package`` line.
    """
    if "_target_" in config.tracking:
        raise SftdivError(
            "the file of tracking=NAME must begin with the line '# @package tracking.NAME', so that it can stand beside "
            f"others; here it makes {config.tracking._target_}"
        )
    return [made(node) for node in config.tracking.values() if isinstance(node, DictConfig) and "_target_" in node]


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
