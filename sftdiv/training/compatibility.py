"""Checks of settings that are valid one by one and may still not work together, or need a package that is missing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from sftdiv.records import SftdivError

if TYPE_CHECKING:
    from sftdiv.training.config import FineTuningConfig, OptimizerConfig
    from sftdiv.training.trainer_config import TrainerConfig


def check_together(fine_tuning: FineTuningConfig, optimizer: OptimizerConfig, trainer: TrainerConfig) -> None:
    """Reject settings that cannot work together, or that need a missing package.

    Raises:
        SftdivError: With the package to install, or the setting to choose instead.
    """
    _check_packages(fine_tuning, optimizer, trainer)
    if fine_tuning.liger and trainer.accelerator == "cpu":
        raise SftdivError("train.liger=true: Liger's kernels run on GPUs only; with trainer=cpu use train.liger=false")
    if fine_tuning.quantized and trainer.strategy in ("fsdp", "deepspeed"):
        raise SftdivError(
            f"train=qlora with trainer={trainer.strategy}: 4-bit weights cannot be sharded; "
            "use train=lora or trainer=ddp"
        )
    if trainer.strategy == "fsdp" and trainer.precision == "16-mixed":
        raise SftdivError(
            "trainer=fsdp does not scale the loss, which trainer.precision=16-mixed needs; use bf16-mixed or 32-true"
        )


def _check_packages(fine_tuning: FineTuningConfig, optimizer: OptimizerConfig, trainer: TrainerConfig) -> None:
    deepspeed_alternative = "trainer=fsdp, which shards with torch alone"
    requirements = [  # used, setting, package, extra, alternative
        (trainer.strategy == "deepspeed", "trainer=deepspeed", "deepspeed", "deepspeed", deepspeed_alternative),
        (fine_tuning.quantized, "train=qlora", "bitsandbytes", "bnb", "train=lora"),
        (optimizer.name == "adamw_8bit", "train.optimizer=adamw_8bit", "bitsandbytes", "bnb", "train.optimizer=adamw"),
        (fine_tuning.liger, "train.liger=true", "liger_kernel", "liger", "train.liger=false"),
    ]
    for used, setting, package, extra, alternative in requirements:
        if used and not find_spec(package):
            raise SftdivError(
                f"{setting} needs the package {package}: pip install 'sftdiv[{extra}]'; or use {alternative}"
            )
