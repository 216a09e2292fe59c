"""Where a training runs: accelerator, precision, devices, and how devices share the work. Nothing heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from sftdiv.records import SftdivError
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_one_of, check_range, shown_value

ACCELERATORS = ("auto", "cpu", "gpu")
PRECISIONS = ("auto", "32-true", "64-true", "bf16-mixed", "bf16-true", "16-mixed")
STRATEGIES = ("single", "ddp", "fsdp", "deepspeed")


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Accelerator, precision and devices of a training; accelerators and precisions have Lightning's names.

    Attributes:
        accelerator: ``cpu``, ``gpu``, or ``auto``: a GPU if there is one.
        devices: Devices per machine, or ``auto``: all GPUs of the machine, one CPU process.
        precision: Type of weights and arithmetic, or ``auto``: float32 on a CPU, else 16-bit mixed precision.
        threads: Threads per process; None for torch's default.
        strategy: How devices share the work: ``single``, ``ddp``, ``fsdp`` or ``deepspeed``.
        nodes: Number of machines.
        prefix: Command that starts torchrun once per machine (such as ``srun ...``); None on one machine.
        offload: Whether fsdp and deepspeed keep their shards in the machine's memory.
    """

    performance_only: ClassVar[frozenset[str]] = frozenset(
        {"accelerator", "devices", "threads", "strategy", "nodes", "prefix", "offload"}
    )

    accelerator: str
    devices: int | str
    precision: str
    threads: int | None
    strategy: str = "single"
    nodes: int = 1
    prefix: str | None = None
    offload: bool = False

    def __post_init__(self) -> None:
        check_one_of("trainer.accelerator", self.accelerator, ACCELERATORS)
        check_one_of("trainer.precision", self.precision, PRECISIONS)
        check_one_of("trainer.strategy", self.strategy, STRATEGIES)
        check_range("trainer.nodes", self.nodes, least=1, whole=True)
        check_range("trainer.threads", self.threads, least=1, whole=True, optional=True)
        if self.devices != "auto" and not (isinstance(self.devices, int) and self.devices >= 1):
            raise SftdivError(
                f"trainer.devices={shown_value(self.devices)} must be a whole number of at least 1, or auto (all)"
            )
        if self.strategy == "single" and (self.devices != 1 or self.nodes != 1):
            raise SftdivError(
                f"trainer.devices={self.devices} with trainer.nodes={self.nodes} needs a strategy that shares the "
                "work: trainer=ddp, fsdp or deepspeed; or run several cells in parallel with hydra/launcher=joblib"
            )
        if self.accelerator == "cpu" and self.precision not in ("auto", "32-true", "64-true"):
            raise SftdivError(
                f"trainer.precision={self.precision} is about 20 times slower than 32-true on a CPU; use 32-true"
            )
        if self.strategy == "deepspeed" and self.accelerator == "cpu":
            raise SftdivError("trainer=deepspeed needs GPUs; on a CPU use trainer=fsdp trainer.accelerator=cpu")

    def identity(self) -> dict[str, Any]:
        """The precision as asked for, so that a machine without a GPU names the cells that jobs with one run.

        Accelerator, threads and how devices share a step change the last bits alone. With ``auto`` the precision found
        is part of the row (``train.precision``), and the analysis notes cells that differ in it.
        """
        return settings_identity(self)

    def resolved(self) -> TrainerConfig:
        """The same settings with every ``auto`` replaced by what this machine has.

        Raises:
            SftdivError: A GPU is required and torch finds none.
        """
        import torch

        gpus = torch.cuda.device_count()
        if self.accelerator == "gpu" and not gpus:
            raise SftdivError("trainer.accelerator=gpu, but torch finds no GPU here; use trainer=cpu")
        accelerator = ("gpu" if gpus else "cpu") if self.accelerator == "auto" else self.accelerator
        precision = self.precision
        if precision == "auto" and accelerator == "cpu":
            precision = "32-true"
        elif precision == "auto":
            precision = "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
        devices = self.devices
        if devices == "auto":
            devices = max(gpus, 1) if accelerator == "gpu" else 1
        return replace(self, accelerator=accelerator, precision=precision, devices=devices)

    def single_device(self) -> TrainerConfig:
        """The same settings on one device, for a model small enough not to be shared."""
        return replace(self, strategy="single", devices=1, nodes=1)

    @property
    def device(self) -> str:
        """Torch's name of the resolved accelerator."""
        return "cuda" if self.accelerator == "gpu" else "cpu"

    @property
    def ranks(self) -> int:
        """Number of processes over all machines, once the devices are resolved."""
        return int(self.devices) * self.nodes

    @property
    def shards_model(self) -> bool:
        """Whether each rank holds only a share of the model, once the devices are resolved."""
        return self.strategy in ("fsdp", "deepspeed") and self.ranks > 1
