"""Shape of a model that is trained from scratch. Nothing heavy is imported, so that it is validated early."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sftdiv.records import SftdivError
from sftdiv.storage.hashing import settings_identity


@dataclass(frozen=True, kw_only=True)
class ArchitectureConfig:
    """Shape of a Llama with tied embeddings that is trained from scratch.

    Attributes:
        width: Hidden size.
        layers: Number of transformer layers.
        heads: Attention heads per layer.
        mlp_width: Hidden size of the feed-forward network.
        positions: Maximum input length in tokens.
    """

    width: int
    layers: int
    heads: int
    mlp_width: int
    positions: int

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise SftdivError(
                f"model.architecture.width={self.width} does not divide into "
                f"model.architecture.heads={self.heads} heads of even width"
            )

    def identity(self) -> dict[str, Any]:
        """All settings: each decides the model."""
        return settings_identity(self)
