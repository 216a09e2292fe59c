"""What a checkpoint answers, to look at.

In: a checkpoint folder and prompts. Out: its greedy answers, in the order of the prompts. Prompts are padded on the left and answered
together, which can flip a near-tie between two tokens against answering each alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sftdiv.causal.checkpoint import load_model, load_tokenizer
from sftdiv.causal.labels import Messages


def generate(model_folder: Path, prompts: Sequence[Messages], *, max_new_tokens: int, max_length: int, device: str) -> list[str]:
    """Greedy answers to some prompts.

    Args:
        model_folder: From `fine_tune`.
        prompts: Conversations that end with a user turn.
        max_new_tokens: Tokens of an answer at most.
        max_length: Tokens of a prompt at most; its start is cut.
        device: torch's name of where it runs.
    """
    import torch

    if not prompts:
        return []
    tokenizer = load_tokenizer(model_folder)
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    texts = [tokenizer.apply_chat_template([dict(turn) for turn in turns], tokenize=False, add_generation_prompt=True) for turns in prompts]
    inputs = tokenizer(texts, add_special_tokens=False, padding=True, truncation=True, max_length=max_length, return_tensors="pt").to(
        device
    )
    model = load_model(model_folder, dtype="auto", device=device)
    with torch.inference_mode():
        outputs = model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
    return [str(text) for text in tokenizer.batch_decode(outputs[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)]
