"""NEFTune: noise on the embeddings of what is trained on (Jain et al. 2023, arXiv 2310.05914, algorithm 1).

In: the embedding module of a model. Out: its outputs in training, each with noise drawn evenly from
[-1, 1] and scaled by alpha / sqrt(L d), where L is the length of the example that a token belongs
to, not of the row, so that padding and packing change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class EmbeddingNoise:
    """A forward hook; ``lengths`` are those of the rows that come next, as in `Batch.lengths`."""

    def __init__(self, embedding: nn.Module, alpha: float) -> None:
        self.alpha = alpha
        self.lengths: Sequence[Sequence[int]] = ()
        embedding.register_forward_hook(self._add)

    def _add(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        if not module.training:
            return output
        width, dimensions = output.shape[1:]
        of_token = [[length for length in row for _ in range(length)] for row in self.lengths]
        lengths = torch.tensor(
            [row + [width] * (width - len(row)) for row in of_token], device=output.device, dtype=output.dtype
        )
        scale = self.alpha / (lengths * dimensions).sqrt().unsqueeze(-1)
        return output + torch.empty_like(output).uniform_(-1, 1) * scale
