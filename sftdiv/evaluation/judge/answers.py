"""Answers of a model to the prompts, journaled as they are generated.

A model and prompts come in; every answer goes to a journal (``answers.jsonl``), so that a killed run
resumes after its last batch. In a conversation of several turns each turn follows the answer before
it: one round of batches per turn. The model is loaded only if an answer is missing, and freed
afterwards, so that two models are never in memory together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from sftdiv.evaluation.backends import AUTO, BACKENDS, check_batch_size
from sftdiv.evaluation.judge.prompt import Prompt
from sftdiv.llm.journal import Journal, decode_line
from sftdiv.modeling.checkpoint import load_tokenizer
from sftdiv.modeling.generate import BatchedModel, Sampling, room_for_prompts
from sftdiv.modeling.generate_vllm import VllmModel, check_vllm
from sftdiv.records import ModelRef
from sftdiv.storage.hashing import content_hash, library_versions, settings_identity
from sftdiv.storage.progress_bar import progress_bar
from sftdiv.storage.validate import check_one_of

FILE = "answers.jsonl"
AUTO_BATCH_SIZE = 16  # conversations per batch with batch_size=auto
Replies = Mapping[str, tuple[str, ...]]  # prompt key -> answers, one per turn


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Settings of the generation of answers.

    Attributes:
        max_new_tokens: Maximum length of an answer, in tokens.
        temperature: Sampling temperature; 0 is greedy.
        top_p: Probability mass of the nucleus.
        seed: Seed of sampled answers.
        batch_size: Conversations per batch, or ``auto``; halved where memory is short. It changes
            answers by near-ties only.
        backend: ``hf`` or ``vllm``; greedy answers of the two differ by near-ties only.
    """

    performance_only: ClassVar[frozenset[str]] = frozenset({"batch_size"})
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers")

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    batch_size: int | str
    backend: str

    def __post_init__(self) -> None:
        check_one_of("judge.generation.backend", self.backend, BACKENDS)
        check_batch_size("judge.generation.batch_size", self.batch_size)
        _ = self.sampling  # validates the sampling settings

    def check(self, positions: int | None) -> None:
        """Refuse a backend that is not installed, and answers that fill all positions of the model (None: unknown)."""
        if self.backend == "vllm":
            check_vllm()
        if positions is not None:
            room_for_prompts(positions, self.max_new_tokens)

    @property
    def initial_batch_size(self) -> int:
        """Conversations in the first batch."""
        return AUTO_BATCH_SIZE if self.batch_size == AUTO else int(self.batch_size)

    @property
    def sampling(self) -> Sampling:
        """Sampling settings."""
        return Sampling(
            max_new_tokens=self.max_new_tokens, temperature=self.temperature, top_p=self.top_p, seed=self.seed
        )

    def identity(self) -> dict[str, Any]:
        """Settings that decide an answer, given the model and the prompt."""
        return settings_identity(self)

    def artifact_key(self, *, max_length: int) -> dict[str, Any]:
        """Everything that decides an answer, given model and prompt: settings, prompt length and library versions."""
        return {**self.identity(), "max_length": max_length, "versions": library_versions(self.libraries)}


def write_answers(
    model: ModelRef,
    tokenizer: Path | str,
    prompts: Sequence[Prompt],
    path: Path,
    *,
    generation: Generation,
    max_length: int,
    device: str,
) -> Replies:
    """Answer the prompts that have no answer in the journal.

    Args:
        model: The model that answers.
        tokenizer: Folder or hub id of the tokenizer, whose chat template is used.
        prompts: The prompts.
        path: The journal.
        generation: Generation settings.
        max_length: Maximum length of a prompt, in tokens; its start is cut.
        device: Torch device name.

    Returns:
        The answers to every prompt.
    """
    answers: dict[str, list[str]] = {prompt.key: [] for prompt in prompts}
    loaded: BatchedModel | VllmModel | None = None
    settings = generation.artifact_key(max_length=max_length)
    total = sum(prompt.answer_count for prompt in prompts)
    with Journal(path) as journal, progress_bar("answering", total, unit="answers") as advance:
        for turn in range(max(prompt.answer_count for prompt in prompts)):
            active = [prompt for prompt in prompts if turn < prompt.answer_count]
            keys = {prompt.key: content_hash([prompt.key, turn, settings]) for prompt in active}
            missing = [prompt for prompt in active if not journal.done(keys[prompt.key])]
            advance(len(active) - len(missing), earlier=True)
            if missing:
                if loaded is None:
                    loaded = _load(model, tokenizer, generation=generation, max_length=max_length, device=device)
                conversations = [_conversation(prompt, answers[prompt.key]) for prompt in missing]
                seeds = [int(content_hash([prompt.key, turn]), 16) for prompt in missing]
                for row, answer in loaded.answers(conversations, seeds, sampling=generation.sampling):
                    prompt_key, fields = missing[row].key, asdict(answer)
                    fields["tokens"] = {"completion_tokens": fields["tokens"]}  # the format of other journals
                    line = {"key": keys[prompt_key], "state": "answered", "prompt": prompt_key, "turn": turn}
                    journal.add({**line, **fields})
                    advance()
            for prompt in active:
                answers[prompt.key].append(str((journal.line(keys[prompt.key]) or {})["text"]))
    return {key: tuple(texts) for key, texts in answers.items()}


def read_answers(path: Path, prompts: Sequence[Prompt], *, generation: Generation, max_length: int) -> Replies | None:
    """The answers in a journal of another run; None where an answer to these prompts with these settings is missing."""
    if not path.is_file():
        return None
    texts: dict[str, str] = {}
    for data in path.read_bytes().split(b"\n"):  # not splitlines: answers may hold U+2028 and other line separators
        try:
            line = decode_line(data)
            texts[line["key"]] = line["text"]
        except (ValueError, KeyError, TypeError):
            continue  # a torn or damaged line
    settings = generation.artifact_key(max_length=max_length)
    answers: dict[str, tuple[str, ...]] = {}
    for prompt in prompts:
        keys = [content_hash([prompt.key, turn, settings]) for turn in range(prompt.answer_count)]
        if not all(key in texts for key in keys):
            return None
        answers[prompt.key] = tuple(texts[key] for key in keys)
    return answers


def _load(
    model: ModelRef, tokenizer: Path | str, *, generation: Generation, max_length: int, device: str
) -> BatchedModel | VllmModel:
    loaded_tokenizer = load_tokenizer(tokenizer)
    if generation.backend == "vllm":
        return VllmModel(model, loaded_tokenizer, max_length=max_length, max_new_tokens=generation.max_new_tokens)
    batch_size = generation.initial_batch_size
    return BatchedModel(model, loaded_tokenizer, max_length=max_length, batch_size=batch_size, device=device)


def _conversation(prompt: Prompt, answers: Sequence[str]) -> list[dict[str, str]]:
    """The prompt up to its next answer, with the answers so far between the user turns."""
    turns = [{"role": role, "content": text} for role, text in prompt.opening]
    for answer, following in zip(answers, prompt.following, strict=False):
        turns += [{"role": "assistant", "content": answer}, {"role": "user", "content": following}]
    return turns
