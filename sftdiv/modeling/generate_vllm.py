"""What a model answers, by vLLM: the same as `sftdiv.modeling.generate.BatchedModel`, many times as fast on a GPU.

In and out as there. vLLM batches as it likes and seeds each answer by itself; its random numbers
are not those of `BatchedModel`, so that the two agree where nothing is drawn (temperature 0), and
there but for near-ties. It is the extra ``vllm`` and is imported when asked for.
"""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.modeling.chat_labels import Messages
from sftdiv.modeling.checkpoint import load_config
from sftdiv.modeling.generate import Answer, Sampling, positions_of, prompt_tokens, read_answer, room_for_prompts
from sftdiv.records import SftdivError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PORTION = 256  # conversations that are handed over at once, and so lost at most where a run is killed


def check_vllm() -> None:
    """Refuse a backend that is not installed.

    Raises:
        SftdivError: There is no vLLM.
    """
    if importlib.util.find_spec("vllm") is None:
        raise SftdivError(
            "backend=vllm needs the package vllm, which is not installed: pip install 'sftdiv[vllm]', or backend=hf"
        )


class VllmModel:
    """A model in vLLM's engine; see `BatchedModel` for the settings."""

    def __init__(
        self,
        folder: str | Path,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_length: int,
        max_new_tokens: int,
        revision: str | None = None,
    ) -> None:
        check_vllm()
        if (Path(folder) / "adapter_config.json").exists():
            raise SftdivError(
                f"backend=vllm takes whole models and {folder} is an adapter: train.adapter.merge=true, or backend=hf"
            )
        positions = positions_of(load_config(folder, revision=revision))
        room = min(
            max_length, room_for_prompts(positions, max_new_tokens)
        )  # as there: vLLM refuses a longer max_model_len
        import torch
        from vllm import LLM  # type: ignore[import-not-found]  # the extra

        gc.collect()
        torch.cuda.empty_cache()  # the engine is a process of its own: what this one holds on to, it cannot have

        self._engine: Any = LLM(
            model=str(folder), revision=revision, max_model_len=room + max_new_tokens, skip_tokenizer_init=True
        )
        self._tokenizer = tokenizer
        self._max_length = room

    def answers(
        self, conversations: Sequence[Messages], seeds: Sequence[int], *, sampling: Sampling
    ) -> Iterator[tuple[int, Answer]]:
        """The position of each conversation and its answer; see `BatchedModel.answers`."""
        from vllm import SamplingParams

        prompts = prompt_tokens(self._tokenizer, conversations)
        end = int(self._tokenizer.eos_token_id)  # type: ignore[arg-type]
        how = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens,
            "stop_token_ids": [end],
        }
        for start in range(0, len(prompts), PORTION):
            rows = range(start, min(start + PORTION, len(prompts)))
            asked = [{"prompt_token_ids": prompts[row][-self._max_length :]} for row in rows]
            settings = [
                SamplingParams(**how, seed=(sampling.seed + seeds[row]) % 2**63, detokenize=False) for row in rows
            ]
            for row, output in zip(rows, self._engine.generate(asked, settings, use_tqdm=False), strict=True):
                ids = list(output.outputs[0].token_ids)
                yield row, read_answer(self._tokenizer, ids, {end}, cut=len(prompts[row]) > self._max_length)
