"""Sources of prompts for the judge (config group ``prompts``): benchmarks, files, and held-out examples of the corpus.

The chosen sources come in; distinct prompts go out, each identified by its content. A prompt that two
sources share is used once and counts for the first, because a second verdict on it would add no
information but double its weight.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sftdiv.evaluation.judge.prompt import Prompt
from sftdiv.evaluation.judge.prompt_files import prompt_of_row, read_prompts
from sftdiv.protocols import EvalContext
from sftdiv.records import SftdivError
from sftdiv.storage.folders import user_path
from sftdiv.storage.hashing import path_identity, settings_identity
from sftdiv.storage.validate import check_one_of, check_range
from sftdiv.text.lines import first_line

log = logging.getLogger(__name__)
TURNS = ("all", "first")
PROBE_SECONDS = 10.0
OFFLINE = (
    "Without network access: prompts.{name}.path=FILE for a local copy, prompts=files for your own prompts, "
    "prompts=heldout for those of the corpus"
)


class PromptSource(Protocol):
    """A source of prompts."""

    def identity(self) -> Mapping[str, Any]:
        """Settings that decide the prompts, JSON-serialisable, files by content."""
        ...

    def load(self, context: EvalContext) -> list[Prompt]:
        """The prompts, in a fixed order."""
        ...


@dataclass(frozen=True, kw_only=True)
class HeldoutPrompts:
    """Instructions of held-out examples, spread over their sources; the corpus's responses are the references.

    Attributes:
        limit: Maximum number of prompts; None for all.
    """

    limit: int | None

    def __post_init__(self) -> None:
        check_range("prompts.heldout.limit", self.limit, least=1, whole=True, optional=True)

    def identity(self) -> dict[str, Any]:
        """Settings that decide the prompts, given the corpus."""
        return {"kind": "heldout_prompts", **settings_identity(self)}

    def load(self, context: EvalContext) -> list[Prompt]:
        """The prompts.

        Raises:
            SftdivError: If the corpus has no held-out examples.
        """
        heldout = context.heldout()
        rows = zip(heldout.messages, heldout.sources, strict=True)
        prompts = [prompt_of_row({"messages": messages}, source=source or "heldout") for messages, source in rows]
        if not prompts:
            raise SftdivError("prompts=heldout needs held-out examples and the corpus has none; raise corpus.heldout")
        return spread(distinct(prompts), self.limit)


@dataclass(frozen=True, kw_only=True)
class FilePrompts:
    """Prompts of a local file, or of a file in a dataset repository on the Hugging Face hub.

    Attributes:
        name: Name of the option; source of prompts that name none.
        path: Local file; it takes precedence over the hub.
        repository: Dataset repository on the hub.
        file: File in the repository.
        revision: Hub revision (branch, tag or commit); with a commit the file is downloaded once and
            needs no network access afterwards.
        turns: ``all`` user turns of a conversation, or only the ``first``.
        limit: Maximum number of prompts, spread over the sources; None for all.
    """

    name: str
    path: str | None
    repository: str | None
    file: str | None
    revision: str | None
    turns: str
    limit: int | None

    def __post_init__(self) -> None:
        check_range(f"prompts.{self.name}.limit", self.limit, least=1, whole=True, optional=True)
        check_one_of(f"prompts.{self.name}.turns", self.turns, TURNS)

    def identity(self) -> dict[str, Any]:
        """Settings that decide the prompts; a local file by content."""
        settings = settings_identity(self)
        if self.path:
            settings["path"] = path_identity(self.path)
        return {"kind": "prompt_file", **settings}

    def load(self, context: EvalContext) -> list[Prompt]:
        """The prompts.

        Raises:
            SftdivError: If the file is unavailable or cannot be read.
        """
        return self.published()

    def published(self) -> list[Prompt]:
        """The prompts, which need no corpus."""
        path = user_path(self.path, name="prompts path") if self.path else self._download()
        prompts = read_prompts(path, source=self.name)
        if self.turns == "first":
            prompts = [Prompt(prompt.opening, (), prompt.source, prompt.references[:1]) for prompt in prompts]
        return spread(distinct(prompts), self.limit)

    def _download(self) -> Path:
        import huggingface_hub as hub
        from huggingface_hub.constants import ENDPOINT

        location: dict[str, Any] = {
            "repo_id": self.repository,
            "filename": self.file,
            "repo_type": "dataset",
            "revision": self.revision,
        }
        try:
            if not isinstance(hub.try_to_load_from_cache(**location), str):
                # Without this probe the hub's client retries for half a minute where there is no network.
                hub.get_session().head(ENDPOINT, timeout=PROBE_SECONDS)
            return Path(hub.hf_hub_download(**location))
        except Exception as error:  # the hub's HTTP client, and so the class of its errors, differs between versions
            reason = first_line(error).rstrip(".")
            raise SftdivError(
                f"prompts={self.name} cannot be downloaded from the hub ({self.repository}, {self.file}): {reason}. "
                f"{OFFLINE.format(name=self.name)}"
            ) from error


def load_prompts(sources: Mapping[str, PromptSource], context: EvalContext) -> list[Prompt]:
    """The distinct prompts of all sources, in the order of the sources.

    Raises:
        SftdivError: If no source is chosen, one cannot be read, or none holds a prompt.
    """
    if not sources:
        raise SftdivError(
            "no prompts are chosen: prompts=heldout, alpaca_eval, arena_hard, mt_bench or files, or several as a list"
        )
    loaded = [prompt for source in sources.values() for prompt in source.load(context)]
    prompts = distinct(loaded)
    if not prompts:
        raise SftdivError(f"prompts={','.join(sources)} hold no prompt")
    if len(prompts) < len(loaded):
        log.info("%d of %d prompts are duplicates and are left out", len(loaded) - len(prompts), len(loaded))
    return prompts


def published_prompts(sources: Mapping[str, PromptSource]) -> dict[str, list[Prompt]]:
    """Prompts by source of the sources that exist outside the corpus: those with a method ``published``."""
    return {name: source.published() for name, source in sources.items() if hasattr(source, "published")}


def distinct(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The first prompt of each content."""
    first: dict[str, Prompt] = {}
    for prompt in prompts:
        first.setdefault(prompt.key, prompt)
    return list(first.values())


def spread(prompts: Sequence[Prompt], limit: int | None) -> list[Prompt]:
    """At most ``limit`` prompts, evenly over the sources; deterministic."""
    if limit is None or limit >= len(prompts):
        return list(prompts)
    by_source = sorted(range(len(prompts)), key=lambda row: (prompts[row].source, row))
    return [prompts[by_source[position]] for position in np.linspace(0, len(prompts) - 1, limit).astype(int)]
