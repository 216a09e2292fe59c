"""Generates responses with vLLM: the interface of `sftdiv.modeling.generate.BatchedModel`, many times faster on a GPU.

vLLM batches on its own and seeds each answer separately. Its random numbers differ from those of
`BatchedModel`, so that the two agree only in greedy decoding (temperature 0), except for near-ties.
It is the extra ``vllm`` and is imported when used.
"""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.modeling.chat_labels import Messages
from sftdiv.modeling.checkpoint import ModelSource, as_model_ref, check_model_files, load_config
from sftdiv.modeling.generate import Sampling, positions_of, prompt_tokens, room_for_prompts
from sftdiv.modeling.read_answer import Answer, opens_thought, read_answer
from sftdiv.records import SftdivError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONVERSATIONS_PER_CALL = 256  # the most that are lost if a run is killed


def check_vllm() -> None:
    """Check that vLLM is installed.

    Raises:
        SftdivError: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise SftdivError(
            "backend=vllm needs the package vllm, which is not installed: pip install 'sftdiv[vllm]', or backend=hf"
        )


class VllmModel:
    """A model in vLLM's engine; see `BatchedModel` for the arguments."""

    def __init__(
        self, model: ModelSource, tokenizer: PreTrainedTokenizerBase, *, max_length: int, max_new_tokens: int
    ) -> None:
        check_vllm()
        reference = as_model_ref(model)
        if (Path(reference.path) / "adapter_config.json").exists():
            raise SftdivError(
                f"backend=vllm needs a whole model and {reference.path} is an adapter: use train.adapter.merge=true, "
                "or backend=hf"
            )
        check_model_files(reference, weights=True)
        room = min(max_length, room_for_prompts(positions_of(load_config(reference)), max_new_tokens))
        import torch
        from vllm import LLM  # type: ignore[import-not-found]  # an extra

        gc.collect()
        torch.cuda.empty_cache()  # the engine is a process of its own and cannot use what this one has reserved
        self._engine: Any = LLM(
            model=reference.path,
            revision=reference.revision,
            max_model_len=room + max_new_tokens,
            skip_tokenizer_init=True,
        )
        self._tokenizer = tokenizer
        self._max_length = room

    def answers(
        self, conversations: Sequence[Messages], seeds: Sequence[int], *, sampling: Sampling
    ) -> Iterator[tuple[int, Answer]]:
        """Index of each conversation and its answer; see `BatchedModel.answers`."""
        from vllm import SamplingParams

        prompts = prompt_tokens(self._tokenizer, conversations)
        end = int(self._tokenizer.eos_token_id)
        shared = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "stop_token_ids": [end],
            "detokenize": False,
        }
        for start in range(0, len(prompts), CONVERSATIONS_PER_CALL):
            rows = range(start, min(start + CONVERSATIONS_PER_CALL, len(prompts)))
            inputs = [{"prompt_token_ids": prompts[row][-self._max_length :]} for row in rows]
            settings = [SamplingParams(**shared, seed=(sampling.seed + seeds[row]) % 2**63) for row in rows]
            for row, output in zip(rows, self._engine.generate(inputs, settings, use_tqdm=False), strict=True):
                ids = list(output.outputs[0].token_ids)
                cut, begun = len(prompts[row]) > self._max_length, opens_thought(self._tokenizer, prompts[row])
                yield row, read_answer(self._tokenizer, ids, {end}, cut=cut, begun=begun)
