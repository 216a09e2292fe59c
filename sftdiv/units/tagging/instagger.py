"""Tags from a local causal language model such as InsTagger, without a server.

In: distinct texts and a transformers model. Out: the tags of each, with every answer kept
(``llm.ledger``), so that a killed run goes on where it stopped. InsTagger (Lu et al. 2023, arXiv
2308.07074) is LLaMA-2 7B trained on ChatGPT's tags with Vicuna's template; the prompt in YAML is
that. Batches are sorted by length, the longest first, padded on the left and parse_completion greedily. The
trade: plain ``generate`` on one device; for several, or for many texts, serve the model with vLLM
and use the tagger ``llm``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from sftdiv.llm.batch_requests import summary
from sftdiv.llm.journal import FAILED, Journal
from sftdiv.records import SftdivError
from sftdiv.storage.cache import MANIFEST
from sftdiv.storage.hashing import content_hash, file_digest
from sftdiv.units.tagging.raw import RawTags
from sftdiv.units.tagging.tag_answers import FILE, STATES, answer_line, tags_of, text_key

log = logging.getLogger(__name__)
PLACE = "{text}"


@dataclass(frozen=True, kw_only=True)
class LocalTagger:
    """Asks a transformers model for the tags of each text.

    Attributes:
        path: Hub id or folder of a causal language model with its tokenizer.
        revision: Of a hub id.
        prompt: What it is given, with ``{text}`` for the text.
        max_new_tokens: Tokens of an answer.
        max_prompt_tokens: Tokens of a prompt; a longer one has its text cut.
        batch_size: Texts at a time.
        device: torch's name; None is the first GPU, or else the processor.
        dtype: torch's name of the weights' type.
        max_failed: Share of the texts that may end without a readable answer.
    """

    path: str
    revision: str | None
    prompt: str
    max_new_tokens: int
    max_prompt_tokens: int
    batch_size: int
    device: str | None
    dtype: str
    max_failed: float

    def __post_init__(self) -> None:
        if self.prompt.count(PLACE) != 1:
            raise SftdivError(
                f"strategy.units.tagger.prompt must hold {PLACE} once, where the text stands; got {self.prompt[:200]!r}"
            )

    def identity(self) -> dict[str, Any]:
        """What decides the tags: the model (its files where it is a folder), the prompt (its digest), the limits and the weights' type."""
        model = (
            {"files": folder_digest(self.path)}
            if Path(self.path).is_dir()
            else {"path": self.path, "revision": self.revision}
        )
        limits = {name: getattr(self, name) for name in ("max_new_tokens", "max_prompt_tokens", "dtype")}
        return {"name": "local", **model, **limits, "prompt": content_hash(self.prompt)}

    def tag(self, texts: Sequence[str], partial: Path) -> RawTags:
        """The tags of every text; answers go to ``partial`` batch by batch, and those that lie there are not made again.

        Raises:
            SftdivError: If the model cannot be loaded, or more texts than ``max_failed`` end
                without a readable answer.
        """
        with Journal(partial / FILE) as ledger:
            missing = [
                text for text in texts if ledger.state(text_key(text)) is None
            ]  # greedy: a second answer is the first
            if missing:
                self._answer(missing, ledger)
            counts = summary(ledger.lines(), states=STATES)
            if counts[FAILED] > self.max_failed * len(texts):
                raise SftdivError(
                    f"{counts[FAILED]} of {len(texts)} texts got no readable answer from {self.path!r}, more than "
                    f"max_failed={self.max_failed:g} allows; {ledger.path} holds them"
                )
            return RawTags(tags_of(ledger, texts), {"prompt": self.prompt, **counts})

    def _answer(self, texts: list[str], ledger: Journal) -> None:
        """Generate and write down an answer for each text."""
        import torch

        model, tokenizer = self._load()
        prompts = sorted(
            ((len(ids), text, ids) for text in texts for ids in [self._prompt_ids(tokenizer, text)]), reverse=True
        )
        starts = range(0, len(prompts), self.batch_size)
        console = Console(stderr=True)
        for start in track(
            starts, description="tagging", transient=True, console=console, disable=not console.is_terminal
        ):
            batch = prompts[start : start + self.batch_size]
            padded = tokenizer.pad({"input_ids": [ids for _, _, ids in batch]}, return_tensors="pt").to(model.device)
            with torch.inference_mode():
                settings = {
                    "max_new_tokens": self.max_new_tokens,
                    "do_sample": False,
                    "pad_token_id": tokenizer.pad_token_id,
                }
                generated = model.generate(**padded, **settings)[:, padded["input_ids"].shape[1] :]
            for (_, text, _), answer in zip(
                batch, tokenizer.batch_decode(generated, skip_special_tokens=True), strict=True
            ):
                ledger.add({"key": text_key(text), **answer_line(answer)})

    def _prompt_ids(self, tokenizer: Any, text: str) -> list[int]:
        """Token ids of the prompt; the text is cut until they fit, what stands around it never is."""
        while True:
            ids: list[int] = tokenizer(self.prompt.replace(PLACE, text), return_attention_mask=False)["input_ids"]
            over = len(ids) - self.max_prompt_tokens
            if over <= 0:
                return ids
            if not text:
                raise SftdivError(
                    f"the prompt alone has {len(ids)} tokens, more than max_prompt_tokens={self.max_prompt_tokens}"
                )
            text = text[: min(len(text) - 1, int(len(text) * (1 - over / len(ids))))]

    def _load(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.path, revision=self.revision, padding_side="left")
            model = AutoModelForCausalLM.from_pretrained(
                self.path, revision=self.revision, dtype=getattr(torch, self.dtype)
            )
        except (OSError, ValueError) as error:
            raise SftdivError(
                f"strategy.units.tagger.path={self.path!r} cannot be loaded: {str(error).strip().splitlines()[0]} It may be a hub id or a "
                "folder of a causal language model; strategy/tagger=keyphrase needs none"
            ) from error
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return model.to(device).eval(), tokenizer


@cache
def folder_digest(path: str) -> str:
    """Digest of a folder's files; once a process, since weights take seconds."""
    files = sorted(file for file in Path(path).iterdir() if file.is_file() and file.name != MANIFEST)
    return content_hash({file.name: file_digest(file) for file in files})
