"""A checkpoint as a model of the lm-evaluation-harness, run by `transformers` in this process or by vLLM.

Neither scores nor answers depend on the batch size. Six behaviours of the harness with
`transformers` are corrected here:

- A prompt in a chat format already has every special token that training saw, so none is added before it.
- An answer also ends with the tokenizer's end token where the model's generation settings do not name it. Otherwise a
  finished row of a batch would continue while others are not finished.
- A task that requests longer answers than the model has positions for gets half of the positions, instead of an
  assertion error.
- What a model thinks before the last ``</think>`` is no part of its answer, and a task's stop sequences do not end it.
- On a CPU the choices of an item share one pass over its prompt (`shared_contexts`).
- ``batch_size=auto`` is computed on a CPU. The harness finds it by running out of memory, which would end the process.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sftdiv.evaluation.backends import AUTO, check_backend
from sftdiv.evaluation.stop_after_thoughts import stop_after_thoughts
from sftdiv.llm.answer_text import END_OF_THOUGHT
from sftdiv.modeling.checkpoint import as_model_ref, check_model_files, load_model, load_tokenizer
from sftdiv.modeling.generate import end_tokens, prompt_tokens
from sftdiv.modeling.read_answer import answer_text, opens_thought

CPU_BATCH_BYTES = 1 << 30  # of a batch's logits and log-probabilities
MAX_AUTO_BATCH = 64  # as in the harness
MAX_AUTO_TOKENS = 4096  # length of an item, for the estimate of its memory
log = logging.getLogger(__name__)


def language_model(
    folder: Path, *, backend: str, batch_size: int | str, chat_template: bool, device: str, seed: int
) -> Any:
    """A checkpoint as a model of the harness.

    Args:
        folder: Checkpoint written by ``fine_tune``; the base of an adapter is loaded with it.
        backend: ``hf`` or ``vllm``.
        batch_size: Number of items per batch, or ``auto``; vLLM schedules its own batches.
        chat_template: Whether prompts will be in the model's chat format.
        device: Torch device name for ``hf``.
        seed: Seed of vLLM, where a task samples.

    Raises:
        SftdivError: If the backend is unknown or not installed.
    """
    check_backend(backend)
    add_special_token = False if chat_template else None  # None leaves it to the tokenizer
    if backend == "vllm":
        from lm_eval.models.vllm_causallms import VLLM

        check_model_files(as_model_ref(folder), weights=True)
        weights = _vllm_weights(folder)
        thinks = END_OF_THOUGHT in str(load_tokenizer(folder).chat_template)
        return VLLM(
            **weights,
            dtype="auto",
            batch_size=AUTO,
            seed=seed,
            add_bos_token=add_special_token,
            think_end_token=END_OF_THOUGHT if thinks else None,
        )
    model, tokenizer = load_model(folder, dtype="auto", device=device), load_tokenizer(folder)
    (prompt,) = prompt_tokens(tokenizer, [[{"role": "user", "content": "a"}]])
    if batch_size == AUTO and device == "cpu":
        batch_size = _cpu_batch_size(model.config.vocab_size, min(_positions(model.config), MAX_AUTO_TOKENS))
    return _checkpoint_class(begun=chat_template and opens_thought(tokenizer, prompt))(
        pretrained=model, tokenizer=tokenizer, batch_size=batch_size, add_bos_token=add_special_token
    )


def _vllm_weights(folder: Path) -> dict[str, Any]:
    """Arguments of vLLM for a whole model, or for a base with an adapter."""
    adapter = folder / "adapter_config.json"
    if not adapter.exists():
        return {"pretrained": str(folder)}
    settings = json.loads(adapter.read_text(encoding="utf-8"))
    return {
        "pretrained": settings["base_model_name_or_path"],
        "tokenizer": str(folder),
        "lora_local_path": str(folder),
        "max_lora_rank": max(settings["r"], 16),
    }


def _cpu_batch_size(vocabulary: int, tokens: int) -> int:
    """Number of items of this length whose float32 logits and log-probabilities fit ``CPU_BATCH_BYTES``."""
    return int(min(max(CPU_BATCH_BYTES // (vocabulary * tokens * 2 * 4), 1), MAX_AUTO_BATCH))


def _positions(config: Any) -> int:
    from lm_eval.models.utils import resolve_max_length

    return int(resolve_max_length(config))


def _checkpoint_class(*, begun: bool) -> Any:
    """The harness's class with the corrections above; a function, so that importing this module imports no torch.

    Args:
        begun: Whether prompts end with ``<think>``.
    """
    from lm_eval.models import huggingface
    from lm_eval.models.huggingface import HFLM

    from sftdiv.evaluation.shared_contexts import score_requests

    criteria = partial(stop_after_thoughts, begun=begun)

    class Checkpoint(HFLM):
        def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
            limited = _limit_answers(requests, self.max_length // 2, self.max_gen_toks)
            return super().generate_until(limited, disable_tqdm=disable_tqdm)

        def _model_generate(self, context: Any, max_length: int, stop: list[str], **settings: Any) -> Any:
            ends = list(end_tokens(self.model, self.tokenizer))
            with patch.object(huggingface, "stop_sequences_criteria", criteria):
                return super()._model_generate(context, max_length, stop, eos_token_id=ends, **settings)

        def tok_decode(self, tokens: Any, skip_special_tokens: bool = True) -> str:
            if isinstance(tokens, list) and skip_special_tokens:  # an answer
                return answer_text(self.tokenizer, tokens, begun=begun)
            return str(super().tok_decode(tokens, skip_special_tokens=skip_special_tokens))

        def _loglikelihood_tokens(
            self, requests: list[Any], disable_tqdm: bool = False, override_bs: int | None = None
        ) -> list[tuple[float, bool]]:
            score_alone = partial(super()._loglikelihood_tokens, disable_tqdm=disable_tqdm, override_bs=override_bs)
            if self.device.type != "cpu" or override_bs is not None:  # the latter: windows of a long text
                return score_alone(requests)
            return score_requests(
                self.model,
                requests,
                batch_size=int(self.batch_size),
                max_length=self.max_length,
                score_others=score_alone,
            )

        def _detect_batch_size(self, requests: Sequence[Any] | None = None, pos: int = 0) -> int:
            with contextlib.redirect_stdout(io.StringIO()):
                return super()._detect_batch_size(requests, pos)

    return Checkpoint


def _limit_answers(requests: Sequence[Any], max_tokens: int, default: int) -> list[Any]:
    """Requests with answers of at most ``max_tokens`` tokens; ``default`` is the length where a request sets none."""
    from dataclasses import replace

    limited, longest = [], 0
    for request in requests:
        context, settings = request.args
        length = int(settings.get("max_gen_toks", default))
        longest = max(longest, length)
        if length > max_tokens:
            request = replace(request, arguments=(context, {**settings, "max_gen_toks": max_tokens}))
        limited.append(request)
    if longest > max_tokens:
        log.warning(
            "a task requests answers of %d tokens; this model has %d positions and generates at most half as many",
            longest,
            2 * max_tokens,
        )
    return limited
