"""Settings that several functions of training pass on together. Nothing heavy is imported, so that they are checked early.

Each class holds what one part of the config says (the YAML files hold the defaults), is flat, and
survives `dataclasses.asdict` and JSON, for a training on several devices hands its settings to
other processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from sftdiv.records import SftdivError

ACCELERATORS = ("auto", "cpu", "gpu")
PRECISIONS = ("auto", "32-true", "64-true", "bf16-mixed", "bf16-true", "16-mixed")
STRATEGIES = ("single", "ddp", "fsdp", "deepspeed")


def one_of(name: str, value: Any, known: Sequence[Any]) -> None:
    """Refuse a value that is not among the known ones."""
    if value not in known:
        raise SftdivError(
            f"{name} is {value!r}; known: {', '.join('null' if each is None else str(each) for each in known)}"
        )


def at_least(name: str, value: float | None, least: float) -> None:
    """Refuse a number below the least; None means that nothing is asked for."""
    if value is not None and not value >= least:
        raise SftdivError(f"{name} is {value!r}; it must be at least {least}")


def share(name: str, value: float) -> None:
    """Refuse what is not a share of 1."""
    if not 0 <= value <= 1:
        raise SftdivError(f"{name} is {value!r}; it must be in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Where a training runs: Lightning's names of accelerator and precision, and how its devices share the work.

    ``devices`` count on each of ``nodes`` machines; with more than one in all, torchrun starts the
    ranks, after the words of ``prefix`` (such as ``srun ...``), which must start the command that
    follows once on each machine. ``threads`` of each process: None leaves torch's choice.
    ``offload`` keeps the shards of fsdp and deepspeed in the machine's memory.
    """

    accelerator: str
    devices: int | str
    precision: str
    threads: int | None
    strategy: str = "single"
    nodes: int = 1
    prefix: str | None = None
    offload: bool = False

    def __post_init__(self) -> None:
        one_of("trainer.accelerator", self.accelerator, ACCELERATORS)
        one_of("trainer.precision", self.precision, PRECISIONS)
        one_of("trainer.strategy", self.strategy, STRATEGIES)
        at_least("trainer.nodes", self.nodes, 1)
        at_least("trainer.threads", self.threads, 1)
        if self.devices != "auto" and not (isinstance(self.devices, int) and self.devices >= 1):
            raise SftdivError(
                f"trainer.devices is {self.devices!r}; it must be a whole number of at least 1, or auto: all that are seen"
            )
        if self.strategy == "single" and (self.devices != 1 or self.nodes != 1):
            raise SftdivError(
                f"trainer.devices={self.devices} on {self.nodes} nodes need a way to share the work: trainer=ddp, fsdp or deepspeed; "
                "or run several cells side by side with hydra/launcher=joblib"
            )
        if self.accelerator == "cpu" and self.precision not in ("auto", "32-true", "64-true"):
            raise SftdivError(
                f"trainer.precision={self.precision} is some 20 times slower than 32-true on a CPU; use 32-true"
            )
        if self.strategy == "deepspeed" and self.accelerator == "cpu":
            raise SftdivError("trainer=deepspeed needs GPUs; on a CPU trainer=fsdp trainer.accelerator=cpu shards too")

    def resolved(self) -> TrainerConfig:
        """The same with every ``auto`` replaced by what this machine has.

        Raises:
            SftdivError: A GPU is asked for and none is to be seen.
        """
        import torch

        gpus = torch.cuda.device_count()
        if self.accelerator == "gpu" and not gpus:
            raise SftdivError("trainer.accelerator=gpu, but torch finds no GPU here; use trainer=cpu")
        accelerator = ("gpu" if gpus else "cpu") if self.accelerator == "auto" else self.accelerator
        precision = self.precision
        if precision == "auto":
            precision = (
                "32-true" if accelerator == "cpu" else "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
            )
        devices = (max(gpus, 1) if accelerator == "gpu" else 1) if self.devices == "auto" else self.devices
        return replace(self, accelerator=accelerator, precision=precision, devices=devices)

    def alone(self) -> TrainerConfig:
        """One device of it: what is small enough to need no sharing."""
        return replace(self, strategy="single", devices=1, nodes=1)

    @property
    def device(self) -> str:
        """Torch's name of the accelerator, where it is resolved."""
        return "cuda" if self.accelerator == "gpu" else "cpu"

    @property
    def ranks(self) -> int:
        """Processes in all, where the devices are resolved."""
        return int(self.devices) * self.nodes


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Peak learning rate, share of the steps that warm up, decay of matrices, and the gradient norm to clip at."""

    learning_rate: float
    warmup: float
    weight_decay: float
    clip: float
    name: str = "adamw"
    schedule: str = "cosine"

    def __post_init__(self) -> None:
        one_of("train.optimizer", self.name, ("adamw", "adamw_8bit"))
        one_of("train.schedule", self.schedule, ("cosine", "linear", "constant"))
        share("warmup", self.warmup)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What of the conversations is read and learned.

    ``max_length`` tokens a conversation at most: what is ``too_long`` is truncated or dropped.
    ``loss_on`` the response tokens or all, of all turns or the last (``loss_turns``). ``packing``
    puts several conversations into one row, each attending to itself alone. Conversations without a
    label token are dropped, and above ``max_masked_share`` of them the training is refused.
    ``template`` is a Jinja chat template; None, and with ``prefer_own`` any other, leaves a model
    the one that it has. ``validation`` is the share of the instruction groups that is not trained
    on.
    """

    template: str | None
    prefer_own: bool
    max_length: int
    too_long: str
    packing: bool
    loss_on: str
    loss_turns: str
    max_masked_share: float
    validation: float

    def __post_init__(self) -> None:
        one_of("data.too_long", self.too_long, ("truncate", "drop"))
        one_of("loss.on", self.loss_on, ("response", "all"))
        one_of("loss.turns", self.loss_turns, ("all", "last"))
        at_least("model.max_length", self.max_length, 2)
        if (self.loss_on, self.loss_turns) == ("all", "last"):
            raise SftdivError(
                "loss.on=all learns every token of every turn; loss.turns=last goes with loss.on=response"
            )
        share("data.max_masked_share", self.max_masked_share)
        share("data.validation", self.validation)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How long is trained, and in what portions.

    ``epochs`` passes, or optimizer ``steps`` where they are not None. ``batch_size`` conversations
    make an optimizer step, over all devices; ``micro_batch`` of them pass through one device at a
    time ("auto": as many as fit). Every ``validate_every``-th of an epoch the loss on the
    validation share is taken, and after ``patience`` times without a better one training ends with
    the best weights.
    """

    epochs: int
    steps: int | None
    batch_size: int
    micro_batch: int | str
    validate_every: float
    patience: int | None

    def __post_init__(self) -> None:
        at_least("model.finetune.epochs", self.epochs, 1)
        at_least("train.steps", self.steps, 1)
        at_least("model.finetune.batch_size", self.batch_size, 1)
        at_least("train.patience", self.patience, 1)
        if self.micro_batch != "auto" and not (isinstance(self.micro_batch, int) and self.micro_batch >= 1):
            raise SftdivError(
                f"train.batch is {self.micro_batch!r}; it must be a whole number of at least 1, auto, or null: the model's own"
            )
        if not 0 < self.validate_every <= 1:
            raise SftdivError(
                f"train.validate_every is {self.validate_every!r}; it must be a share of an epoch, in (0, 1]"
            )


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """LoRA (Hu et al. 2021, arXiv 2106.09685): ``rank`` and ``alpha`` of the update, on the modules of ``targets`` ("all-linear" or names).

    ``quantize`` holds the base in 4-bit NormalFloat ("nf4": QLoRA, Dettmers et al. 2023, arXiv
    2305.14314) or leaves it as it is (None). ``merge`` adds the update to the weights and saves a
    whole model; else the adapter alone is saved, beside the name of its base.
    """

    rank: int
    alpha: int
    dropout: float
    targets: str | Sequence[str]
    quantize: str | None
    merge: bool

    def __post_init__(self) -> None:
        at_least("train.adapter.rank", self.rank, 1)
        share("train.adapter.dropout", self.dropout)
        one_of("train.adapter.quantize", self.quantize, (None, "nf4"))


@dataclass(frozen=True, kw_only=True)
class FineTuningConfig:
    """How the weights are trained and computed: all of them or an adapter, and what trades time for memory.

    ``neftune`` is the scale of the noise on embeddings (Jain et al. 2023, arXiv 2310.05914), 0 for
    none. ``attention`` is one of transformers' implementations, or auto. A checkpoint to resume
    from is kept every ``checkpoint_minutes`` or ``checkpoint_steps``.
    """

    adapter: AdapterConfig | None
    gradient_checkpointing: bool
    neftune: float
    liger: bool
    compile: bool
    attention: str
    checkpoint_minutes: float | None
    checkpoint_steps: int | None

    def __post_init__(self) -> None:
        one_of("train.attention", self.attention, ("auto", "eager", "sdpa", "flash_attention_2", "flex_attention"))
        at_least("train.neftune", self.neftune, 0)
        at_least("train.checkpoint_minutes", self.checkpoint_minutes, 0)
        at_least("train.checkpoint_steps", self.checkpoint_steps, 1)


@dataclass(frozen=True, kw_only=True)
class ArchitectureConfig:
    """The shape of a Llama with tied embeddings; ``positions`` is the longest input that it accepts, in tokens."""

    width: int
    layers: int
    heads: int
    mlp_width: int
    positions: int

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise SftdivError(
                f"model.architecture.width={self.width} does not divide into model.architecture.heads={self.heads} heads of even width"
            )


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Everything that a fine-tuning is told besides its data, base model and seed.

    Attributes:
        data: How conversations are tokenized and which tokens enter the loss.
        schedule: Epochs or steps, batch sizes, validation interval.
        fine_tuning: All weights or an adapter; what trades time for memory.
        optimizer: Optimizer, learning rate and its schedule.
        trainer: Accelerator, devices, precision.
    """

    data: DataConfig
    schedule: ScheduleConfig
    fine_tuning: FineTuningConfig
    optimizer: OptimizerConfig
    trainer: TrainerConfig

    def __post_init__(self) -> None:
        check_together(self.fine_tuning, self.optimizer, self.trainer)


def check_together(method: FineTuningConfig, optimizer: OptimizerConfig, hardware: TrainerConfig) -> None:
    """Refuse settings that cannot work together, or that need a package which is not there.

    Raises:
        SftdivError: With what to install, or what to choose instead.
    """
    quantized = method.adapter is not None and method.adapter.quantize is not None
    needs = [
        (
            hardware.strategy == "deepspeed",
            "trainer=deepspeed",
            "deepspeed",
            "deepspeed",
            "trainer=fsdp, which does the same with torch alone",
        ),
        (quantized, "train=qlora", "bitsandbytes", "bnb", "train=lora"),
        (optimizer.name == "adamw_8bit", "train.optimizer=adamw_8bit", "bitsandbytes", "bnb", "train.optimizer=adamw"),
        (method.liger, "train.liger=true", "liger_kernel", "liger", "train.liger=false"),
    ]
    for asked, setting, package, extra, instead in needs:
        if asked and not find_spec(package):
            raise SftdivError(f"{setting} needs the package {package}: pip install 'sftdiv[{extra}]'; or use {instead}")
    if method.liger and hardware.accelerator == "cpu":
        raise SftdivError("train.liger=true: Liger's kernels run on GPUs only; with trainer=cpu leave it false")
    if quantized and hardware.strategy in ("fsdp", "deepspeed"):
        raise SftdivError(
            f"train=qlora with trainer={hardware.strategy}: packed integers cannot be sharded; use train=lora, or trainer=ddp"
        )
    if hardware.strategy == "fsdp" and hardware.precision == "16-mixed":
        raise SftdivError(
            "trainer=fsdp does not scale losses as trainer.precision=16-mixed needs; use bf16-mixed or 32-true"
        )
