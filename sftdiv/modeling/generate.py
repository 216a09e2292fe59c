"""Generates responses to conversations in batches, greedy or sampled.

Input is a model, conversations that end with a user turn, and a seed for each. Output is the
answers, batch by batch, longest prompts first. Prompts are padded on the left, so that an answer
does not depend on the others of its batch but for the last bits of a sum. A sampled answer takes its
random numbers, one per token, from a generator of its own, so that it does not depend on its batch.
The trade-off: one setting of temperature and top_p applies to all models that are compared; those of
a model's own ``generation_config`` are ignored.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sftdiv.modeling.chat_labels import Messages, render_prompt
from sftdiv.modeling.checkpoint import ModelSource, load_model, load_tokenizer
from sftdiv.modeling.read_answer import Answer, opens_thought, read_answer
from sftdiv.records import SftdivError

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen.

    Attributes:
        max_new_tokens: Maximum tokens per answer.
        temperature: Softmax temperature; 0 for greedy decoding.
        top_p: Probability mass of the nucleus that tokens are drawn from.
        seed: Seed of the random numbers, beside that of each conversation.
    """

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise SftdivError(
                f"max_new_tokens must be at least 1, temperature at least 0 and top_p in (0, 1]; got {self}"
            )


class BatchedModel:
    """A model in this process, run by `transformers`."""

    def __init__(
        self, model: ModelSource, tokenizer: PreTrainedTokenizerBase, *, max_length: int, batch_size: int, device: str
    ) -> None:
        """Load the model.

        Args:
            model: Model.
            tokenizer: Tokenizer with the chat template of the prompts; its end token ends an
                answer, as does the model's own.
            max_length: Maximum tokens per prompt; longer ones are truncated at the start.
            batch_size: Conversations per batch; halved if they do not fit into the GPU's memory.
            device: Torch's name of the device.
        """
        self._model = load_model(model, dtype="auto", device=device)
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._batch_size = batch_size
        self._end_ids = end_tokens(self._model, tokenizer)

    def answers(
        self, conversations: Sequence[Messages], seeds: Sequence[int], *, sampling: Sampling
    ) -> Iterator[tuple[int, Answer]]:
        """Answer every conversation.

        Args:
            conversations: Conversations that end with a user turn.
            seeds: Seed of each conversation, beside that of the sampling.
            sampling: How tokens are chosen.

        Yields:
            Index of a conversation and its answer, a batch at a time.

        Raises:
            SftdivError: The model has no room for answers of this length.
        """
        prompts = prompt_tokens(self._tokenizer, conversations)
        begun = [opens_thought(self._tokenizer, prompt) for prompt in prompts]
        room = min(self._max_length, room_for_prompts(positions_of(self._model.config), sampling.max_new_tokens))
        remaining = [int(row) for row in np.argsort([-len(prompt) for prompt in prompts], kind="stable")]
        while remaining:
            rows = remaining[: self._batch_size]
            generators = [np.random.default_rng([sampling.seed, seeds[row]]) for row in rows]
            outputs = self._try_generate([prompts[row][-room:] for row in rows], generators, sampling)
            if outputs is None:
                self._batch_size = len(rows) // 2
                message = "%d answers at once do not fit into the GPU's memory; continuing with %d"
                log.warning(message, len(rows), self._batch_size)
                continue
            remaining = remaining[len(rows) :]
            for row, ids in zip(rows, outputs, strict=True):
                cut = len(prompts[row]) > room
                yield row, read_answer(self._tokenizer, ids, self._end_ids, cut=cut, begun=begun[row])

    def _try_generate(
        self, prompts: Sequence[list[int]], generators: list[np.random.Generator], sampling: Sampling
    ) -> list[list[int]] | None:
        """Generated tokens of each prompt; None if memory does not suffice for more than one."""
        import torch

        try:
            return self._generate(prompts, generators, sampling)
        except torch.OutOfMemoryError:
            if len(prompts) == 1:
                raise
        torch.cuda.empty_cache()  # outside of the handler, where the error no longer keeps its tensors alive
        return None

    def _generate(
        self, prompts: Sequence[list[int]], generators: list[np.random.Generator], sampling: Sampling
    ) -> list[list[int]]:
        """Generated tokens of each prompt, padded on the right."""
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        pad, device = int(self._tokenizer.pad_token_id), self._model.device
        width = max(map(len, prompts))
        padding = [width - len(prompt) for prompt in prompts]
        rows = list(zip(padding, prompts, strict=True))
        input_ids = torch.tensor([[pad] * missing + prompt for missing, prompt in rows], device=device)
        mask = torch.tensor([[0] * missing + [1] * len(prompt) for missing, prompt in rows], device=device)
        ends = {"pad_token_id": pad, "eos_token_id": sorted(self._end_ids)}
        settings = GenerationConfig(max_new_tokens=sampling.max_new_tokens, do_sample=False, **ends)
        self._model.generation_config = settings
        processors = LogitsProcessorList([PerRowSampler(generators, sampling)] if sampling.temperature > 0 else [])
        with torch.inference_mode():
            outputs: Any = self._model.generate(input_ids=input_ids, attention_mask=mask, logits_processor=processors)
        return [row[width:] for row in outputs.tolist()]


class PerRowSampler:
    """Logits processor that draws each row's next token with the row's own generator; greedy decoding then takes it.

    The draw inverts the cumulative distribution over tokens, most likely first, within the nucleus
    (Holtzman et al. 2020, arXiv 1904.09751).
    """

    def __init__(self, generators: Sequence[np.random.Generator], sampling: Sampling) -> None:
        self._generators = generators
        self._sampling = sampling

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (rows, vocabulary) that allow a single token per row."""
        import torch

        probabilities, tokens = torch.softmax(scores.double() / self._sampling.temperature, dim=-1).sort(
            dim=-1, descending=True, stable=True
        )
        cumulative = probabilities.cumsum(dim=-1)
        in_nucleus = cumulative - probabilities < self._sampling.top_p
        nucleus = torch.where(in_nucleus, cumulative, 0.0).amax(dim=-1)
        uniform = [generator.random() for generator in self._generators]
        draws = (torch.tensor(uniform, dtype=torch.float64, device=scores.device) * nucleus).unsqueeze(-1)
        drawn = torch.searchsorted(cumulative, draws, right=True).clamp(max=scores.shape[-1] - 1)
        return torch.full_like(scores, -torch.inf).scatter(-1, tokens.gather(-1, drawn), 0.0)


def generate(
    model: ModelSource, prompts: Sequence[Messages], *, max_new_tokens: int, max_length: int, device: str
) -> list[str]:
    """Greedy answers to some prompts, for inspection.

    Args:
        model: Model folder from `fine_tune`.
        prompts: Conversations that end with a user turn.
        max_new_tokens: Maximum tokens per answer.
        max_length: Maximum tokens per prompt; longer ones are truncated at the start.
        device: Torch's name of the device.
    """
    if not prompts:
        return []
    sampling = Sampling(max_new_tokens=max_new_tokens, temperature=0.0, top_p=1.0, seed=0)
    batched = BatchedModel(model, load_tokenizer(model), max_length=max_length, batch_size=len(prompts), device=device)
    answers = dict(batched.answers(prompts, [0] * len(prompts), sampling=sampling))
    return [answers[row].text for row in range(len(prompts))]


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, conversations: Sequence[Messages]) -> list[list[int]]:
    """Token ids of conversations in the chat format, up to the start of the next answer."""
    texts = [render_prompt(tokenizer, turns) for turns in conversations]
    return [list(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Tokens that end an answer: the tokenizer's, which fine-tuning teaches, and those of the generation config."""
    configured = model.generation_config.eos_token_id if model.generation_config else None
    ids = configured if isinstance(configured, list) else [configured]
    return {int(token) for token in [*ids, tokenizer.eos_token_id] if token is not None}


def positions_of(config: PretrainedConfig) -> int:
    """Maximum input length of a model in tokens."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(positions) if positions else 1 << 30


def room_for_prompts(positions: int, max_new_tokens: int) -> int:
    """Tokens that answers of the maximum length leave for a prompt.

    Raises:
        SftdivError: They leave none.
    """
    if positions <= max_new_tokens:
        raise SftdivError(f"max_new_tokens={max_new_tokens} leaves no room for a prompt in {positions} positions")
    return positions - max_new_tokens
