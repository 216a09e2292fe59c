"""What a model answers to the prompts, kept as it comes.

In: a model's folder and prompts. Out: every answer, in a ledger (``answers.jsonl``), so that a
killed run goes on after its last batch. In a conversation of several turns each turn follows on the
answer before it: one round of batches a turn. The trade: the model is loaded once an answer is
missing and freed when none is, so that two models are never in memory together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sftdiv.evaluation.judge.prompt import Prompt
from sftdiv.llm.journal import Ledger
from sftdiv.llm.request_progress import progress
from sftdiv.modeling.checkpoint import load_tokenizer
from sftdiv.modeling.generate import BatchedModel, Sampling, room_for_prompts
from sftdiv.modeling.generate_vllm import VllmModel, check_vllm
from sftdiv.records import ModelRef, SftdivError
from sftdiv.storage.hashing import content_hash

FILE = "answers.jsonl"
BACKENDS = ("hf", "vllm")
AUTO, AT_FIRST = "auto", 16  # conversations at once where none are named
Replies = Mapping[str, tuple[str, ...]]  # of each prompt, by its key: its answers, one a turn


@dataclass(frozen=True, kw_only=True)
class Generation:
    """How answers are written; ``backend`` and ``batch_size`` change them by near-ties alone, unless vLLM samples.

    ``batch_size``: conversations at once, or ``auto``; both give way to half as many where memory
    does not hold them.
    """

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int
    batch_size: int | str
    backend: str

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise SftdivError(f"judge.generation.backend={self.backend!r} is unknown. Known: {', '.join(BACKENDS)}")
        if self.batch_size != AUTO and (not isinstance(self.batch_size, int) or self.batch_size < 1):
            raise SftdivError(
                f"judge.generation.batch_size={self.batch_size!r} must be {AUTO} or a whole number of at least 1"
            )
        _ = self.sampling  # refuses what cannot be

    def check(self, positions: int | None) -> None:
        """Refuse a backend that is not installed, and answers as long as all that the model has positions for (None: not known)."""
        if self.backend == "vllm":
            check_vllm()
        if positions is not None:
            room_for_prompts(positions, self.max_new_tokens)

    @property
    def at_once(self) -> int:
        """Conversations to begin with."""
        return AT_FIRST if isinstance(self.batch_size, str) else self.batch_size

    @property
    def sampling(self) -> Sampling:
        """How tokens are chosen."""
        return Sampling(
            max_new_tokens=self.max_new_tokens, temperature=self.temperature, top_p=self.top_p, seed=self.seed
        )

    def identity(self, *, max_length: int) -> dict[str, Any]:
        """What decides an answer, beside the model and the prompt."""
        versions = {name: version(name) for name in ("torch", "transformers")}
        return {**asdict(self.sampling), "backend": self.backend, "max_length": max_length, "versions": versions}


def write_answers(
    model: Path | str,
    tokenizer: Path | str,
    prompts: Sequence[Prompt],
    path: Path,
    *,
    generation: Generation,
    max_length: int,
    device: str,
    revision: str | None = None,
) -> Replies:
    """Answer the prompts that the ledger holds no answer to.

    Args:
        model: A folder or a hub id.
        tokenizer: Folder of the tokenizer, whose chat template prompts are put in.
        prompts: What is asked.
        path: The ledger.
        generation: How.
        max_length: Tokens of a prompt at most; its start is cut.
        device: torch's name of where the model runs.
        revision: Of the model on the hub.

    Returns:
        The answers to every prompt.
    """
    said: dict[str, list[str]] = {prompt.key: [] for prompt in prompts}
    loaded: BatchedModel | VllmModel | None = None
    label = generation.identity(max_length=max_length)
    with Ledger(path) as ledger, progress("answering", sum(prompt.answers for prompt in prompts)) as advance:
        for turn in range(max(prompt.answers for prompt in prompts)):
            asked = [prompt for prompt in prompts if turn < prompt.answers]
            keys = {prompt.key: content_hash([prompt.key, turn, label]) for prompt in asked}
            missing = [prompt for prompt in asked if not ledger.done(keys[prompt.key])]
            for _ in range(len(asked) - len(missing)):
                advance(False)
            if missing:
                loaded = loaded or _load(
                    model, tokenizer, revision, generation=generation, max_length=max_length, device=device
                )
                conversations = [_conversation(prompt, said[prompt.key]) for prompt in missing]
                seeds = [int(content_hash([prompt.key, turn]), 16) for prompt in missing]
                for row, answer in loaded.answers(conversations, seeds, sampling=generation.sampling):
                    key = missing[row].key
                    ledger.add(
                        {"key": keys[key], "state": "answered", "prompt": key, "turn": turn, **_counted(asdict(answer))}
                    )
                    advance(True)
            for prompt in asked:
                said[prompt.key].append(str((ledger.line(keys[prompt.key]) or {})["text"]))
    return {key: tuple(texts) for key, texts in said.items()}


def read_answers(path: Path, prompts: Sequence[Prompt], *, generation: Generation, max_length: int) -> Replies | None:
    """The answers of a ledger that another run has written; None where it lacks one to these prompts, asked in this way."""
    if not path.is_file():
        return None
    texts: dict[str, str] = {}
    for line in path.read_bytes().split(
        b"\n"
    ):  # not splitlines: answers may hold U+2028 and others that it takes for line ends
        try:
            read = json.loads(line)
            texts[read["key"]] = read["text"]
        except (ValueError, KeyError, TypeError):
            continue  # torn: as good as not there
    label = generation.identity(max_length=max_length)
    keys = {
        prompt.key: [content_hash([prompt.key, turn, label]) for turn in range(prompt.answers)] for prompt in prompts
    }
    if not all(key in texts for turns in keys.values() for key in turns):
        return None
    return {prompt: tuple(texts[key] for key in turns) for prompt, turns in keys.items()}


def _load(
    model: Path | str,
    tokenizer: Path | str,
    revision: str | None,
    *,
    generation: Generation,
    max_length: int,
    device: str,
) -> BatchedModel | VllmModel:
    ready, reference = load_tokenizer(tokenizer), ModelRef(str(model), revision)
    if generation.backend == "vllm":
        return VllmModel(reference, ready, max_length=max_length, max_new_tokens=generation.max_new_tokens)
    return BatchedModel(reference, ready, max_length=max_length, batch_size=generation.at_once, device=device)


def _conversation(prompt: Prompt, said: Sequence[str]) -> list[dict[str, str]]:
    """The prompt up to its next answer, with the answers so far between the user's turns."""
    turns = [{"role": role, "content": text} for role, text in prompt.opening]
    for reply, following in zip(said, prompt.following, strict=False):
        turns += [{"role": "assistant", "content": reply}, {"role": "user", "content": following}]
    return turns


def _counted(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer as a ledger's line, in which ``tokens`` counts by kind."""
    return {**answer, "tokens": {"completion_tokens": answer["tokens"]}}
