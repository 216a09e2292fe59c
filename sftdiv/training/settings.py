"""Settings that several functions of training pass on together. Nothing heavy is imported, so that they are checked early."""

from __future__ import annotations

from dataclasses import dataclass

from sftdiv.records import SftdivError

ACCELERATORS = ("cpu", "gpu")
PRECISIONS = ("32-true", "bf16-mixed", "bf16-true")


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where a training runs: Lightning's names of accelerator and precision, and threads (None leaves torch's choice)."""

    accelerator: str
    devices: int
    precision: str
    threads: int | None

    @property
    def device(self) -> str:
        """Torch's name of the accelerator."""
        return "cuda" if self.accelerator == "gpu" else "cpu"

    def __post_init__(self) -> None:
        if self.accelerator not in ACCELERATORS:
            raise SftdivError(f"trainer.accelerator is {self.accelerator!r}; known: {', '.join(ACCELERATORS)}")
        if self.precision not in PRECISIONS:
            raise SftdivError(f"trainer.precision is {self.precision!r}; known: {', '.join(PRECISIONS)}")
        if self.devices != 1:
            raise SftdivError(f"trainer.devices={self.devices}: training runs on one device so far; several cells can run side by side")
        if self.accelerator == "cpu" and self.precision != "32-true":
            raise SftdivError(f"trainer.precision={self.precision} is some 20 times slower than 32-true on a CPU; use 32-true")


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Peak learning rate, share of the steps that warm up, decay of matrices, and the gradient norm to clip at."""

    learning_rate: float
    warmup: float
    weight_decay: float
    clip: float


@dataclass(frozen=True, kw_only=True)
class Architecture:
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
