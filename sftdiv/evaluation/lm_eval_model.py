"""A checkpoint as the harness asks it: by `transformers` in this process, or by vLLM.

In: a checkpoint folder. Out: one of the harness's models, of which neither scores nor answers
depend on the batch. Of what the harness does with `transformers`, four things are set right here:

- a prompt in a chat format already has every special token that training saw, so none is put before it;
- an answer ends with the tokenizer's end token too, where the model's generation settings do not name it: else a row of a batch whose
  answer is finished would go on while others are not;
- a task that asks for longer answers than the model has positions for gets half of the positions, instead of an assertion;
- ``batch_size=auto`` finds its number by running out of memory, which on a CPU ends the process: there it is computed.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sftdiv.modeling.checkpoint import load_model, load_tokenizer
from sftdiv.modeling.generate import end_tokens
from sftdiv.records import SftdivError

BACKENDS = ("hf", "vllm")
AUTO_BYTES = 1 << 30  # of a CPU's batch: its logits, and their logarithms
AUTO_MOST = 64  # as the harness has it
log = logging.getLogger(__name__)


def check_backend(backend: str) -> None:
    """Refuse a backend that is unknown or not installed.

    Raises:
        SftdivError: With the package to install.
    """
    if backend not in BACKENDS:
        raise SftdivError(f"eval.backend={backend!r} is unknown. Known: {', '.join(BACKENDS)}")
    if backend == "vllm" and find_spec("vllm") is None:
        raise SftdivError(
            "eval.backend=vllm needs the package vllm: pip install 'sftdiv[vllm]' (Linux with a GPU); or eval.backend=hf"
        )


def language_model(
    folder: Path, *, backend: str, batch_size: int | str, chat_template: bool, device: str, seed: int
) -> Any:
    """A checkpoint as a model of the harness.

    Args:
        folder: From `fine_tune`; of an adapter, its base is loaded with it.
        backend: "hf" or "vllm".
        batch_size: Items at once, or "auto"; vLLM schedules its own.
        chat_template: Whether prompts will be in the model's chat format.
        device: torch's name of where "hf" runs.
        seed: Of vLLM, where a task samples.

    Raises:
        SftdivError: As `check_backend` does.
    """
    check_backend(backend)
    special = False if chat_template else None  # None leaves it to the tokenizer
    if backend == "vllm":
        from lm_eval.models.vllm_causallms import VLLM

        return VLLM(**_weights(folder), dtype="auto", batch_size="auto", seed=seed, add_bos_token=special)
    model, tokenizer = load_model(folder, dtype="auto", device=device), load_tokenizer(folder)
    if batch_size == "auto" and device == "cpu":
        batch_size = _batch_of_cpu(model.config.vocab_size, min(_positions(model.config), 4096))
    return _checkpoint_class()(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, add_bos_token=special)


def _weights(folder: Path) -> dict[str, Any]:
    """The weights as vLLM takes them: a whole model, or a base with an adapter."""
    import json

    adapter = folder / "adapter_config.json"
    if not adapter.exists():
        return {"pretrained": str(folder)}
    settings = json.loads(adapter.read_text(encoding="utf-8"))
    base, rank = settings["base_model_name_or_path"], settings["r"]
    return {
        "pretrained": base,
        "tokenizer": str(folder),
        "lora_local_path": str(folder),
        "max_lora_rank": max(rank, 16),
    }


def _batch_of_cpu(vocabulary: int, tokens: int) -> int:
    """Items whose float32 logits and log-probabilities fit `AUTO_BYTES`, were each as long as the model takes."""
    return int(min(max(AUTO_BYTES // (vocabulary * tokens * 2 * 4), 1), AUTO_MOST))


def _positions(config: Any) -> int:
    from lm_eval.models.utils import resolve_max_length

    return int(resolve_max_length(config))


def _checkpoint_class() -> Any:
    """The harness's own with the corrections of this module's text; a function, so that importing this module imports no torch."""
    from lm_eval.models.huggingface import HFLM

    class Checkpoint(HFLM):
        def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
            return super().generate_until(
                _within(requests, self.max_length // 2, self.max_gen_toks), disable_tqdm=disable_tqdm
            )

        def _model_generate(self, context: Any, max_length: int, stop: list[str], **settings: Any) -> Any:
            ends = list(end_tokens(self.model, self.tokenizer))
            return super()._model_generate(context, max_length, stop, eos_token_id=ends, **settings)

        def _detect_batch_size(self, requests: Sequence[Any] | None = None, pos: int = 0) -> int:
            with contextlib.redirect_stdout(io.StringIO()):
                return super()._detect_batch_size(requests, pos)

    return Checkpoint


def _within(requests: Sequence[Any], most: int, otherwise: int) -> list[Any]:
    """The same requests, none for an answer of more than ``most`` tokens."""
    from dataclasses import replace

    kept, longest = [], 0
    for request in requests:
        context, settings = request.args
        asked = int(settings.get("max_gen_toks", otherwise))
        longest = max(longest, asked)
        kept.append(
            request if asked <= most else replace(request, arguments=(context, {**settings, "max_gen_toks": most}))
        )
    if longest > most:
        log.warning(
            "a task asks for answers of %d tokens; this model has %d positions and gives them half", longest, 2 * most
        )
    return kept
