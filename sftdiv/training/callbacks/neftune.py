"""NEFTune: noise on the embeddings during training (Jain et al. 2023, arXiv 2310.05914, algorithm 1).

The noise is uniform in [-1, 1], scaled by alpha / sqrt(L d), where L is the length of the example
that a token belongs to, not of its row, so that padding and packing change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class EmbeddingNoise:
    """A forward hook that adds the noise.

    Attributes:
        alpha: Scale of the noise.
        lengths: Tokens of each example of each row of the next batch, as in `Batch.lengths`.
    """

    def __init__(self, embedding: nn.Module, alpha: float) -> None:
        self.alpha = alpha
        self.lengths: Sequence[Sequence[int]] = ()
        embedding.register_forward_hook(self._add)

    def _add(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        if not module.training:
            return output
        width, dimensions = output.shape[1:]
        rows = []
        for row in self.lengths:
            per_token = [length for length in row for _ in range(length)]
            rows.append(per_token + [width] * (width - len(per_token)))
        lengths = torch.tensor(rows, device=output.device, dtype=output.dtype)
        scale = self.alpha / (lengths * dimensions).sqrt().unsqueeze(-1)
        return output + torch.empty_like(output).uniform_(-1, 1) * scale
