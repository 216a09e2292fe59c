"""What a model answers: conversations in batches, greedy or sampled.

In: a model's folder, conversations that end with a user turn, and a seed for each. Out: the
answers, batch by batch, longest prompts first. Prompts are padded on the left, so that an answer
does not depend on its neighbours but for the last bits of a sum. A sampled answer takes its random
numbers, one a token, from a generator of its own, so that it does not depend on the batch it is in.
The trade: one setting of temperature and top_p holds for every model that is compared; what a
model's own ``generation_config`` says of them is not used.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sftdiv.modeling.chat_labels import Messages
from sftdiv.modeling.checkpoint import load_model, load_tokenizer
from sftdiv.records import SftdivError

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen: the likeliest where ``temperature`` is 0, else at random from the likeliest with ``top_p`` of the mass."""

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise SftdivError(
                f"max_new_tokens must be at least 1, temperature at least 0 and top_p in (0, 1]; got {self}"
            )


@dataclass(frozen=True)
class Answer:
    """An answer, its tokens with the one that ends it, whether it ended by itself, and whether the start of its prompt was cut."""

    text: str
    tokens: int
    ended: bool
    cut: bool


class BatchedModel:
    """A model in this process, by `transformers`."""

    def __init__(
        self,
        folder: str | Path,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int,
        batch_size: int,
        device: str,
        revision: str | None = None,
    ) -> None:
        """Load it.

        Args:
            folder: Of the model, or a hub id.
            tokenizer: With the chat template that prompts are put in; its last token ends an
                answer, as does the model's own.
            max_length: Tokens of a prompt at most; its start is cut.
            batch_size: Conversations at once; halved where the GPU's memory does not hold them.
            device: torch's name of where it runs.
            revision: Of the hub.
        """
        self._model = load_model(folder, dtype="auto", device=device, revision=revision)
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._batch_size = batch_size
        self._ends = end_tokens(self._model, tokenizer)

    def answers(
        self, conversations: Sequence[Messages], seeds: Sequence[int], *, sampling: Sampling
    ) -> Iterator[tuple[int, Answer]]:
        """Answer every conversation.

        Args:
            conversations: Each ends with a user turn.
            seeds: Of each one's random numbers, beside the sampling's own.
            sampling: How tokens are chosen.

        Yields:
            The position of a conversation and its answer, a batch at a time.

        Raises:
            SftdivError: The model has no room for answers of this length.
        """
        prompts = prompt_tokens(self._tokenizer, conversations)
        room = min(self._max_length, room_for_prompts(positions_of(self._model.config), sampling.max_new_tokens))
        left = [int(row) for row in np.argsort([-len(prompt) for prompt in prompts], kind="stable")]
        while left:
            rows = left[: self._batch_size]
            randoms = [np.random.default_rng([sampling.seed, seeds[row]]) for row in rows]
            written = self._fitting([prompts[row][-room:] for row in rows], randoms, sampling)
            if written is None:
                self._batch_size = len(rows) // 2
                log.warning(
                    "%d answers at once do not fit the GPU's memory; from here on %d", len(rows), self._batch_size
                )
                continue
            left = left[len(rows) :]
            for row, ids in zip(rows, written, strict=True):
                yield row, read_answer(self._tokenizer, ids, self._ends, cut=len(prompts[row]) > room)

    def _fitting(
        self, prompts: Sequence[list[int]], randoms: list[np.random.Generator], sampling: Sampling
    ) -> list[list[int]] | None:
        """The tokens that follow each prompt; None where memory does not hold several at once."""
        import torch

        try:
            return self._write(prompts, randoms, sampling)
        except torch.OutOfMemoryError:
            if len(prompts) == 1:
                raise
        torch.cuda.empty_cache()  # here, where the error no longer holds on to its tensors
        return None

    def _write(
        self, prompts: Sequence[list[int]], randoms: list[np.random.Generator], sampling: Sampling
    ) -> list[list[int]]:
        """The tokens that follow each prompt, padded behind."""
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        pad = int(self._tokenizer.pad_token_id)  # type: ignore[arg-type]  # load_tokenizer has seen to it
        width = max(map(len, prompts))
        ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=self._model.device)
        mask = torch.tensor(
            [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=self._model.device
        )
        self._model.generation_config = GenerationConfig(
            max_new_tokens=sampling.max_new_tokens, do_sample=False, pad_token_id=pad, eos_token_id=sorted(self._ends)
        )
        draws = LogitsProcessorList([OwnDraws(randoms, sampling)] if sampling.temperature > 0 else [])  # type: ignore[list-item]
        with torch.inference_mode():
            outputs: Any = self._model.generate(input_ids=ids, attention_mask=mask, logits_processor=draws)
        return [row[width:] for row in outputs.tolist()]


class OwnDraws:
    """Chooses each row's next token with the row's own generator; what `transformers` then calls greedy takes that token.

    The inverse of the cumulative distribution over tokens, likeliest first, within the nucleus
    (Holtzman et al. 2020, arXiv 1904.09751).
    """

    def __init__(self, randoms: Sequence[np.random.Generator], sampling: Sampling) -> None:
        self._randoms = randoms
        self._sampling = sampling

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (rows, vocabulary) that leave one token to each row."""
        import torch

        probabilities, tokens = torch.softmax(scores.double() / self._sampling.temperature, dim=-1).sort(
            dim=-1, descending=True, stable=True
        )
        reached = probabilities.cumsum(dim=-1)
        nucleus = torch.where(reached - probabilities < self._sampling.top_p, reached, 0.0).amax(dim=-1)
        draws = torch.tensor([random.random() for random in self._randoms], dtype=torch.float64, device=scores.device)
        place = torch.searchsorted(reached, (draws * nucleus).unsqueeze(-1), right=True).clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(-1, tokens.gather(-1, place), 0.0)


def generate(
    model_folder: Path, prompts: Sequence[Messages], *, max_new_tokens: int, max_length: int, device: str
) -> list[str]:
    """Greedy answers to some prompts, to look at.

    Args:
        model_folder: From `fine_tune`.
        prompts: Conversations that end with a user turn.
        max_new_tokens: Tokens of an answer at most.
        max_length: Tokens of a prompt at most; its start is cut.
        device: torch's name of where it runs.
    """
    if not prompts:
        return []
    sampling = Sampling(max_new_tokens=max_new_tokens, temperature=0.0, top_p=1.0, seed=0)
    model = BatchedModel(
        model_folder, load_tokenizer(model_folder), max_length=max_length, batch_size=len(prompts), device=device
    )
    answers = dict(model.answers(prompts, [0] * len(prompts), sampling=sampling))
    return [answers[row].text for row in range(len(prompts))]


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Messages]) -> list[list[int]]:
    """Token ids of conversations in the chat format, up to where an answer begins."""
    texts = [
        tokenizer.apply_chat_template([dict(turn) for turn in turns], tokenize=False, add_generation_prompt=True)
        for turns in conversations
    ]
    return [list(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokens that end an answer: the tokenizer's, which fine-tuning teaches, and what the model's own settings name."""
    own = model.generation_config.eos_token_id if model.generation_config else None
    named = own if isinstance(own, list) else [own]
    return {int(token) for token in [*named, tokenizer.eos_token_id] if token is not None}  # type: ignore[arg-type]


def read_answer(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], ends: set[int], *, cut: bool) -> Answer:
    """An answer's text from its tokens, up to the first that ends it."""
    length = next((place for place, token in enumerate(ids) if token in ends), None)
    text = str(tokenizer.decode(ids[:length], skip_special_tokens=True))
    return Answer(text, len(ids) if length is None else length + 1, length is not None, cut)


def positions_of(config: PretrainedConfig) -> int:
    """Tokens that a model has positions for."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(positions) if positions else 1 << 30


def room_for_prompts(positions: int, max_new_tokens: int) -> int:
    """Tokens that answers of this length leave to a prompt.

    Raises:
        SftdivError: None.
    """
    if positions <= max_new_tokens:
        raise SftdivError(f"max_new_tokens={max_new_tokens} leaves no room for a prompt in {positions} positions")
    return positions - max_new_tokens
