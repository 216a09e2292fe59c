"""Settings of a fine-tuning: data, schedule, fine-tuning method, optimizer, trainer.

The classes are flat and survive `dataclasses.asdict` and JSON, since a training on several devices
hands its settings to other processes. The YAML files hold the defaults. Nothing heavy is imported,
so that a sweep validates all of its cells before the first one starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from sftdiv.records import SftdivError
from sftdiv.storage.hashing import settings_identity
from sftdiv.storage.validate import check_one_of, check_range, shown_value
from sftdiv.training.compatibility import check_together
from sftdiv.training.trainer_config import TrainerConfig

__all__ = [
    "AdapterConfig",
    "DataConfig",
    "FineTuningConfig",
    "OptimizerConfig",
    "ScheduleConfig",
    "TrainerConfig",
    "TrainingConfig",
]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW and its learning-rate schedule.

    Attributes:
        learning_rate: Peak learning rate.
        warmup: Share of the steps over which the learning rate rises linearly.
        weight_decay: Decay of matrices; vectors have none.
        clip: Gradient norm above which gradients are clipped.
        name: ``adamw`` (fused) or ``adamw_8bit``.
        schedule: Learning rate after the warm-up: ``cosine``, ``linear`` or ``constant``.
    """

    learning_rate: float
    warmup: float
    weight_decay: float
    clip: float
    name: str = "adamw"
    schedule: str = "cosine"

    def __post_init__(self) -> None:
        check_one_of("train.optimizer", self.name, ("adamw", "adamw_8bit"))
        check_one_of("train.schedule", self.schedule, ("cosine", "linear", "constant"))
        check_range("warmup", self.warmup, least=0, most=1)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """How conversations are tokenized and which tokens enter the loss.

    Attributes:
        template: Jinja chat template; None for the tokenizer's own.
        prefer_own: Whether the tokenizer's own template, if it has one, takes precedence over ``template``.
        max_length: Maximum tokens per conversation.
        too_long: ``truncate`` or ``drop`` longer conversations.
        packing: Whether a sequence holds several conversations, each attending to itself only.
        loss_on: ``response`` tokens or ``all`` tokens.
        loss_turns: ``all`` responses, or the ``last`` one only.
        max_masked_share: Maximum share of conversations without a label token; these are dropped.
        validation: Share of the instruction groups held out for validation.
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
        check_one_of("data.too_long", self.too_long, ("truncate", "drop"))
        check_one_of("loss.on", self.loss_on, ("response", "all"))
        check_one_of("loss.turns", self.loss_turns, ("all", "last"))
        check_range("model.max_length", self.max_length, least=2, whole=True)
        check_range("data.max_masked_share", self.max_masked_share, least=0, most=1)
        check_range("data.validation", self.validation, least=0, most=1)
        if (self.loss_on, self.loss_turns) == ("all", "last"):
            raise SftdivError("loss.on=all puts every turn into the loss; loss.turns=last needs loss.on=response")


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Epochs or steps, batch sizes, validation interval.

    Attributes:
        epochs: Passes over the conversations.
        steps: Optimizer steps; overrides ``epochs`` unless None.
        batch_size: Conversations per optimizer step, over all devices.
        micro_batch: Conversations per forward pass on one device; ``auto``: as many as fit.
        validate_every: Interval between validations, as a share of an epoch.
        patience: Validations without improvement after which training stops; None never stops it.
    """

    epochs: int
    steps: int | None
    batch_size: int
    micro_batch: int | str
    validate_every: float
    patience: int | None

    def __post_init__(self) -> None:
        check_range("model.finetune.epochs", self.epochs, least=1, whole=True)
        check_range("train.steps", self.steps, least=1, whole=True, optional=True)
        check_range("model.finetune.batch_size", self.batch_size, least=1, whole=True)
        check_range("train.patience", self.patience, least=1, whole=True, optional=True)
        if self.micro_batch != "auto" and not (isinstance(self.micro_batch, int) and self.micro_batch >= 1):
            raise SftdivError(
                f"train.batch={shown_value(self.micro_batch)} must be a whole number of at least 1, auto, or null"
            )
        if not 0 < self.validate_every <= 1:
            raise SftdivError(f"train.validate_every={shown_value(self.validate_every)} must be in (0, 1], epochs")


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Low-rank adapters: LoRA (Hu et al. 2021, arXiv 2106.09685) and QLoRA (Dettmers et al. 2023, arXiv 2305.14314).

    Attributes:
        rank: Rank of the update.
        alpha: Scale of the update, divided by the rank.
        dropout: Dropout on the adapters' input.
        targets: Names of the adapted modules, or ``all-linear``.
        quantize: ``nf4`` stores the base weights as 4-bit NormalFloat; None keeps them.
        merge: Whether to save a whole model with the update merged in, instead of the adapter alone.
    """

    rank: int
    alpha: int
    dropout: float
    targets: str | Sequence[str]
    quantize: str | None
    merge: bool

    def __post_init__(self) -> None:
        check_range("train.adapter.rank", self.rank, least=1, whole=True)
        check_range("train.adapter.dropout", self.dropout, least=0, most=1)
        check_one_of("train.adapter.quantize", self.quantize, (None, "nf4"))

    def identity(self) -> dict[str, Any]:
        """All settings: each decides the trained weights or their form."""
        return settings_identity(self)


@dataclass(frozen=True, kw_only=True)
class FineTuningConfig:
    """Which weights are trained, how they are computed, and what trades time for memory.

    Attributes:
        adapter: Low-rank adapters; None trains all weights.
        gradient_checkpointing: Whether activations are recomputed in the backward pass.
        neftune: Scale of the noise on embeddings (Jain et al. 2023, arXiv 2310.05914); 0 for none.
        liger: Whether to use Liger's GPU kernels.
        compile: Whether to use torch.compile.
        attention: Attention implementation of transformers, or ``auto``.
        checkpoint_minutes: Minutes between checkpoints; None for none by the clock.
        checkpoint_steps: Optimizer steps between checkpoints; None for none by number.
    """

    performance_only: ClassVar[frozenset[str]] = frozenset({"checkpoint_minutes", "checkpoint_steps"})

    adapter: AdapterConfig | None
    gradient_checkpointing: bool
    neftune: float
    liger: bool
    compile: bool
    attention: str
    checkpoint_minutes: float | None
    checkpoint_steps: int | None

    def __post_init__(self) -> None:
        known = ("auto", "eager", "sdpa", "flash_attention_2", "flex_attention")
        check_one_of("train.attention", self.attention, known)
        check_range("train.neftune", self.neftune, least=0)
        check_range("train.checkpoint_minutes", self.checkpoint_minutes, least=0, optional=True)
        check_range("train.checkpoint_steps", self.checkpoint_steps, least=1, whole=True, optional=True)

    @property
    def draws_noise(self) -> bool:
        """Whether a step draws random numbers for each micro-batch: noise on embeddings, or an adapter's dropout."""
        return self.neftune > 0 or (self.adapter is not None and self.adapter.dropout > 0)

    @property
    def quantized(self) -> bool:
        """Whether the base weights are stored in 4 bits."""
        return self.adapter is not None and self.adapter.quantize is not None


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """All settings of a fine-tuning besides its base model, data and seed; validated together.

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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Rebuild the settings from `dataclasses.asdict`, also after a round trip through JSON."""
        adapter = values["fine_tuning"]["adapter"]
        return cls(
            data=DataConfig(**values["data"]),
            schedule=ScheduleConfig(**values["schedule"]),
            fine_tuning=FineTuningConfig(
                **values["fine_tuning"] | {"adapter": None if adapter is None else AdapterConfig(**adapter)}
            ),
            optimizer=OptimizerConfig(**values["optimizer"]),
            trainer=TrainerConfig(**values["trainer"]),
        )

    def identity(self) -> dict[str, Any]:
        """Settings that decide the trained weights.

        The loss of a step is one sum over its label tokens, however it is cut into micro-batches, so that their size
        (with ``auto`` that of the memory found) changes the last bits alone. Noise is drawn for each micro-batch.
        """
        identity = settings_identity(self)
        if not self.fine_tuning.draws_noise:
            del identity["schedule"]["micro_batch"]
        return identity

    def resolved(self) -> TrainingConfig:
        """The same settings with a resolved trainer; see `TrainerConfig.resolved`."""
        return replace(self, trainer=self.trainer.resolved())
