"""What both sides of part (b) train: a model with random weights, token ids, and which conversations are in a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sftdiv.modeling.chat_labels import IGNORED, Labelled

WARM_UP = 3  # steps that compile, fill caches and are not measured


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is trained.

    Attributes:
        shape: Of the model.
        lengths: Tokens of each conversation, shape (conversations,); the second half are labels.
        batch_size: Conversations per step.
        micro_batch: Conversations (packed: sequences) per forward pass.
        steps: Measured steps.
        max_length: Tokens of a packed sequence, and of the longest conversation.
        precision: Lightning's name.
        device: Torch's name.
    """

    shape: Mapping[str, Any]
    lengths: Any
    batch_size: int
    micro_batch: int
    steps: int
    max_length: int
    precision: str
    device: str

    def examples(self) -> list[Labelled]:
        """Random token ids."""
        rng = np.random.default_rng(0)
        ids = [rng.integers(3, self.shape["vocab_size"], size=length) for length in self.lengths]
        return [
            Labelled(each, np.where(np.arange(len(each)) >= len(each) // 2, each, IGNORED), truncated=False)
            for each in ids
        ]

    def plan(self) -> list[Any]:
        """Conversations of each step, warm-up included."""
        order = np.arange((WARM_UP + self.steps) * self.batch_size) % len(self.lengths)
        return [np.sort(each) for each in np.split(order, WARM_UP + self.steps)]

    def model(self, attention: str) -> Any:
        """The model with random weights, on its device."""
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(0)
        config = LlamaConfig(**self.shape, max_position_embeddings=max(2048, self.max_length), bos_token_id=None)
        config._attn_implementation = attention
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16 if self.precision == "bf16-true" else torch.float32)
        try:
            with torch.device(self.device):
                return LlamaForCausalLM(config)
        finally:
            torch.set_default_dtype(before)
