"""Mean loss of each response under a model, in nats per token: after its instruction, or alone.

The texts are tokenized as plain text, the instruction followed by a newline and the response, without a chat
template, as Superfiltering does (Li et al. 2024, arXiv 2402.00530), so that a base model reads what it was pretrained
on. ``exp`` of a mean loss is the perplexity. A text longer than ``max_tokens`` is cut at its end, and the response
alone is cut to the tokens that are scored after the instruction. A response of which no token is scored (it is
empty, or its instruction fills the limit) has the loss NaN.

One forward pass of the model over all tokens; the values are those of the whole corpus and are cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.modeling.chat_labels import IGNORED, Labelled
from sftdiv.modeling.length_shards import batches, in_shards
from sftdiv.records import ModelRef

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NO_TEMPLATE = ""  # in place of a chat template, which plain text does not need
BATCH_TOKENS = {"cpu": 4_096, "cuda": 65_536}  # padded tokens per batch
MAX_LOGITS = {"cpu": 1 << 28, "cuda": 1 << 30}  # logits per batch: 1 GB and 4 GB in float32
TOKENIZED = 4_096  # texts tokenized at once


@dataclass(frozen=True)
class ScoredText:
    """A tokenized text of which the tokens from ``start`` on are scored.

    Attributes:
        ids: Token ids, shape (tokens,).
        start: Position of the first scored token; the first token of a text has no context and never is scored.
    """

    ids: NDArray[np.int64]
    start: int

    def __len__(self) -> int:
        return len(self.ids)

    def labelled(self) -> Labelled:
        """The text as an example of the loss."""
        labels = self.ids.copy()
        labels[: self.start] = IGNORED
        return Labelled(self.ids, labels, truncated=False)


def response_losses(
    base: ModelRef,
    instructions: Sequence[str],
    responses: Sequence[str],
    partial: Path,
    *,
    alone: bool,
    max_tokens: int,
) -> NDArray[np.float64]:
    """Mean loss per token of each response, shape (examples,).

    Args:
        base: A causal language model.
        instructions: Instruction of each example.
        responses: Response of each example.
        partial: Folder of complete shards: empty, or from an interrupted call with the same arguments.
        alone: Whether the response is scored without its instruction.
        max_tokens: Tokens at which instruction and response together are cut; the model's own limit if that is lower.

    Raises:
        SftdivError: The model cannot be loaded.
    """
    model, tokenizer, limit = reading_model(base, max_tokens=max_tokens)
    texts = scored_texts(tokenizer, instructions, responses, alone=alone, limit=limit)
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    compute = bind(_losses_of, model, texts, int(tokenizer.pad_token_id))
    label = "loss of responses alone" if alone else "loss of responses"
    return in_shards(lengths, compute, partial, label=label).astype(np.float64)


def reading_model(base: ModelRef, *, max_tokens: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, int]:
    """A model that reads plain text, on the GPU where there is one, its tokenizer, and its limit of tokens.

    Args:
        base: A causal language model.
        max_tokens: Tokens at which a text is cut; the model's own limit if that is lower.

    Raises:
        SftdivError: The model cannot be loaded.
    """
    import torch

    from sftdiv.modeling.checkpoint import load_model, load_tokenizer
    from sftdiv.modeling.generate import positions_of

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(base, dtype="auto" if device == "cuda" else torch.float32, device=device)
    return model, load_tokenizer(base, template=NO_TEMPLATE), min(max_tokens, positions_of(model.config))


def scored_texts(
    tokenizer: PreTrainedTokenizerBase,
    instructions: Sequence[str],
    responses: Sequence[str],
    *,
    alone: bool,
    limit: int,
) -> list[ScoredText]:
    """The texts that are scored; see `response_losses`."""
    texts = []
    for first in range(0, len(responses), TOKENIZED):
        chunk = slice(first, first + TOKENIZED)
        prompts = [f"{instruction}\n" for instruction in instructions[chunk]]
        starts = [len(ids) for ids in _token_ids(tokenizer, prompts, limit)]
        if alone:
            ids_of_texts = _token_ids(tokenizer, responses[chunk], limit)
            lengths = [max(limit - start + 1, 0) for start in starts]
            texts += [ScoredText(ids[:length], 0) for ids, length in zip(ids_of_texts, lengths, strict=True)]
        else:
            joined = [f"{prompt}{response}" for prompt, response in zip(prompts, responses[chunk], strict=True)]
            ids_of_texts = _token_ids(tokenizer, joined, limit)
            texts += [ScoredText(ids, start) for ids, start in zip(ids_of_texts, starts, strict=True)]
    return texts


def _token_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], limit: int) -> list[NDArray[np.int64]]:
    encoded = tokenizer(list(texts), truncation=True, max_length=limit, return_attention_mask=False)["input_ids"]
    return [np.array(ids, dtype=np.int64) for ids in encoded]


def _losses_of(
    model: PreTrainedModel, texts: Sequence[ScoredText], pad_id: int, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean loss of some texts, longest first, shape (rows,); NaN where no token is scored."""
    import torch

    from sftdiv.modeling.loss import pad_batch, token_losses

    kind = model.device.type
    vocabulary = model.config.get_text_config().vocab_size
    budget = min(BATCH_TOKENS[kind], MAX_LOGITS[kind] // vocabulary)
    means = np.full(len(rows), np.nan)
    scored = np.array([max(text.start, 1) < len(text) for text in (texts[row] for row in rows)], dtype=bool)
    positions = np.flatnonzero(scored)
    for batch in batches(np.array([len(texts[row]) for row in rows[positions]]), tokens=budget):
        input_ids, labels = pad_batch([texts[row].labelled() for row in rows[positions[batch]]], pad_id)
        with torch.inference_mode():
            losses = token_losses(model, input_ids.to(model.device), labels.to(model.device)).cpu().double().numpy()
        number = np.nonzero(labels[:, 1:].numpy() != IGNORED)[0]
        means[positions[batch]] = np.bincount(number, weights=losses) / np.bincount(number)
    return means
