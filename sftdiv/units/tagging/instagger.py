"""Tags from a local causal language model such as InsTagger, without a server.

InsTagger (Lu et al. 2023, arXiv 2308.07074) is LLaMA-2 7B trained on ChatGPT's tags with Vicuna's
template, which is the prompt in YAML. Batches are sorted by length, longest first, padded on the
left and decoded greedily. Every answer is stored (``llm.journal``), so that a killed run resumes
where it stopped. Generation is plain ``generate`` on one device; for several devices or many texts,
serve the model with vLLM and use the tagger ``llm``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from sftdiv.llm.batch_requests import summary
from sftdiv.llm.journal import FAILED, Journal
from sftdiv.records import ModelRef, RawTags, SftdivError
from sftdiv.storage.hashing import content_hash, settings_identity
from sftdiv.storage.progress_bar import tracked
from sftdiv.text.lines import first_line
from sftdiv.units.tagging.llm import PLACEHOLDER, check_prompt
from sftdiv.units.tagging.tag_answers import FILE, STATES, answer_line, tags_of, text_key

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LocalTagger:
    """Generates the tags of each text with a transformers model.

    Attributes:
        path: Hub id or folder of a causal language model with its tokenizer.
        revision: Hub revision (branch, tag or commit); None for the default branch.
        prompt: Prompt, with ``{text}`` in place of the text.
        max_new_tokens: Maximum tokens of an answer.
        max_prompt_tokens: Maximum tokens of a prompt; the text in a longer one is truncated.
        batch_size: Texts per batch.
        device: Torch device name; None for the first GPU, or the CPU where there is none.
        dtype: Name of the torch dtype of the weights.
        max_failed: Share of the texts that may end without a parsable answer; decides only whether
            the run fails.
    """

    performance_only: ClassVar[frozenset[str]] = frozenset({"batch_size", "device", "max_failed"})
    kind_column: ClassVar[str] = "name"

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
        check_prompt(self.prompt)

    def identity(self) -> dict[str, Any]:
        """The model (a folder by its content), the prompt (its digest), the limits and the dtype."""
        settings = settings_identity(self)
        del settings["path"], settings["revision"]
        model = ModelRef(self.path, self.revision).identity()
        return {"kind": "local", **model, **settings, "prompt": content_hash(self.prompt)}

    def tag(self, texts: Sequence[str], partial: Path) -> RawTags:
        """The tags of every text.

        Args:
            texts: Distinct texts.
            partial: Folder of the journal, written after every batch; texts that are answered there
                are skipped.

        Raises:
            SftdivError: If the model cannot be loaded, or if more texts than ``max_failed`` allows
                end without a parsable answer.
        """
        with Journal(partial / FILE) as journal:
            # failed texts are not repeated: decoding is greedy
            missing = [text for text in texts if journal.state(text_key(text)) is None]
            if missing:
                self._answer(missing, journal)
            counts = summary(journal.lines(), states=STATES)
            if counts[FAILED] > self.max_failed * len(texts):
                raise SftdivError(
                    f"{counts[FAILED]} of {len(texts)} texts have no parsable answer from {self.path!r}, more than "
                    f"max_failed={self.max_failed:g} allows; the answers are in {journal.path}"
                )
            return RawTags(tags_of(journal, texts), {"prompt": self.prompt, **counts})

    def _answer(self, texts: list[str], journal: Journal) -> None:
        """Generate an answer to each text and append it to the journal."""
        import torch

        model, tokenizer = self._load()
        prompts = [(text, self._prompt_ids(tokenizer, text)) for text in texts]
        prompts.sort(key=lambda prompt: (len(prompt[1]), *prompt), reverse=True)
        batches = [prompts[start : start + self.batch_size] for start in range(0, len(prompts), self.batch_size)]
        settings = {
            "max_new_tokens": self.max_new_tokens,
            "do_sample": False,
            "pad_token_id": tokenizer.pad_token_id,
        }
        for batch in tracked(batches, "tagging", unit="batches"):
            padded = tokenizer.pad({"input_ids": [ids for _, ids in batch]}, return_tensors="pt").to(model.device)
            with torch.inference_mode():
                generated = model.generate(**padded, **settings)[:, padded["input_ids"].shape[1] :]
            answers = tokenizer.batch_decode(generated, skip_special_tokens=True)
            for (text, _), answer in zip(batch, answers, strict=True):
                journal.add({"key": text_key(text), **answer_line(answer)})

    def _prompt_ids(self, tokenizer: Any, text: str) -> list[int]:
        """Token ids of the prompt; the text is truncated until they fit, the prompt around it never is."""
        while True:
            prompt = self.prompt.replace(PLACEHOLDER, text)
            ids: list[int] = tokenizer(prompt, return_attention_mask=False)["input_ids"]
            excess = len(ids) - self.max_prompt_tokens
            if excess <= 0:
                return ids
            if not text:
                raise SftdivError(
                    f"the prompt without a text has {len(ids)} tokens, "
                    f"more than max_prompt_tokens={self.max_prompt_tokens}"
                )
            text = text[: min(len(text) - 1, int(len(text) * (1 - excess / len(ids))))]

    def _load(self) -> tuple[Any, Any]:
        """The model, on its device, and the tokenizer, padding on the left."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        path = str(Path(self.path).expanduser()) if ModelRef(self.path).is_local else self.path
        dtype = getattr(torch, self.dtype)
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                path, revision=self.revision, padding_side="left", trust_remote_code=False
            )
            model = AutoModelForCausalLM.from_pretrained(
                path, revision=self.revision, dtype=dtype, trust_remote_code=False
            )
        except (MemoryError, ImportError):
            raise
        except Exception as error:  # a damaged file may raise anything
            reason = first_line(error) or type(error).__name__
            raise SftdivError(
                f"strategy.units.tagger.path={self.path!r} cannot be loaded: {reason} It must be a hub id or a folder "
                "of a causal language model; strategy/tagger=keyphrase needs no model"
            ) from error
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return model.to(device).eval(), tokenizer
