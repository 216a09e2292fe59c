"""Stop sequences of lm-eval that apply to a model's answer only, not to what it thinks before the last ``</think>``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sftdiv.llm.answer_text import END_OF_THOUGHT, THOUGHT, without_thoughts


def stop_after_thoughts(
    tokenizer: Any, sequences: Sequence[str], prompt_length: int, batch_size: int, *, begun: bool
) -> Any:
    """The harness's ``stop_sequences_criteria``, but that a sequence within a thought ends no answer.

    Args:
        tokenizer: Tokenizer of the model.
        sequences: Stop sequences.
        prompt_length: Tokens of the padded prompts.
        batch_size: Rows of the batch.
        begun: Whether prompts end with ``<think>``.
    """
    from lm_eval.models.utils_hf import MultiTokenEOSCriteria
    from transformers import StoppingCriteriaList

    class AnswerCriteria(MultiTokenEOSCriteria):
        def __call__(self, input_ids: Any, scores: Any, **settings: Any) -> bool:
            done_before = list(self.done_tracker)
            super().__call__(input_ids, scores, **settings)
            for row, (before, now) in enumerate(zip(done_before, self.done_tracker, strict=True)):
                if now and not before:
                    text = tokenizer.decode(input_ids[row, prompt_length:])
                    thinks = begun or THOUGHT in text or END_OF_THOUGHT in text
                    self.done_tracker[row] = not thinks or self.sequence in without_thoughts(text, begun=begun)
            return all(self.done_tracker)

    return StoppingCriteriaList(
        [AnswerCriteria(sequence, tokenizer, prompt_length, batch_size) for sequence in sequences]
    )
