"""What models are asked before a judge compares them: prompts from benchmarks, from files, or from what the corpus holds out.

In: the chosen sources (config group ``prompts``). Out: distinct prompts, each named by its content.
The trade: a prompt that two sources share is asked once and counts for the first, since a second
verdict on it would be no news but would weigh twice.
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

log = logging.getLogger(__name__)
TURNS = ("all", "first")
PROBE_SECONDS = 10.0
OFFLINE = "Without a network: prompts.{name}.path=FILE for a local copy, prompts=files for your own, prompts=heldout for the corpus's"


class PromptSource(Protocol):
    """Where prompts come from."""

    def load(self, exam: EvalContext) -> list[Prompt]:
        """The prompts, in an order that does not change."""
        ...


@dataclass(frozen=True, kw_only=True)
class HeldoutPrompts:
    """Instructions that the corpus holds out, spread over its sources; the responses that it has for them are the references.

    Attributes:
        limit: How many at most; None for all.
    """

    limit: int | None

    def __post_init__(self) -> None:
        _check_limit("heldout", self.limit)

    def load(self, exam: EvalContext) -> list[Prompt]:
        """The prompts.

        Raises:
            SftdivError: Nothing is held out.
        """
        held = exam.heldout()
        rows = zip(held.messages, held.sources, strict=True)
        prompts = [prompt_of_row({"messages": messages}, source=source or "heldout") for messages, source in rows]
        if not prompts:
            raise SftdivError(
                "prompts=heldout asks what the corpus holds out, and it holds out nothing; raise corpus.heldout"
            )
        return spread(distinct(prompts), self.limit)


@dataclass(frozen=True, kw_only=True)
class FilePrompts:
    """Prompts of a local file, or of a file in a dataset repository of the Hugging Face hub.

    Attributes:
        name: The option's name; source of the prompts that name none.
        path: A local file; it stands in for the hub where both are given.
        repository: On the hub.
        file: In the repository.
        revision: A commit, branch or tag of the repository; with a commit the file is downloaded
            once and needs no network then.
        turns: ``all`` of a conversation's user turns, or the ``first`` alone.
        limit: How many at most, spread over the sources; None for all.
    """

    name: str
    path: str | None
    repository: str | None
    file: str | None
    revision: str | None
    turns: str
    limit: int | None

    def __post_init__(self) -> None:
        _check_limit(self.name, self.limit)
        if self.turns not in TURNS:
            raise SftdivError(f"prompts.{self.name}.turns={self.turns!r} is unknown. Known: {', '.join(TURNS)}")

    def load(self, exam: EvalContext) -> list[Prompt]:
        """The prompts.

        Raises:
            SftdivError: The file cannot be had or read.
        """
        path = Path(self.path).expanduser() if self.path else self._download()
        prompts = read_prompts(path, source=self.name)
        if self.turns == "first":
            prompts = [Prompt(prompt.opening, (), prompt.source, prompt.references[:1]) for prompt in prompts]
        return spread(distinct(prompts), self.limit)

    def _download(self) -> Path:
        import huggingface_hub as hub
        from huggingface_hub.constants import ENDPOINT

        what: dict[str, Any] = {
            "repo_id": self.repository,
            "filename": self.file,
            "repo_type": "dataset",
            "revision": self.revision,
        }
        try:
            if not isinstance(hub.try_to_load_from_cache(**what), str):
                hub.get_session().head(
                    ENDPOINT, timeout=PROBE_SECONDS
                )  # else a machine without a network tries again for half a minute
            return Path(hub.hf_hub_download(**what))
        except (
            Exception
        ) as error:  # the hub's HTTP client has changed its name, and with it its errors, between versions
            reason = (str(error) or type(error).__name__).strip().splitlines()[0].rstrip(".")
            way_out = OFFLINE.format(name=self.name)
            what_for = f"prompts={self.name} cannot be had from the hub ({self.repository}, {self.file})"
            raise SftdivError(f"{what_for}: {reason}. {way_out}") from error


def _check_limit(name: str, limit: int | None) -> None:
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise SftdivError(
            f"prompts.{name}.limit={limit!r} (or eval.limit, which it follows) must be a whole number of at least 1, or null"
        )


def load_prompts(sources: Mapping[str, PromptSource], exam: EvalContext) -> list[Prompt]:
    """The distinct prompts of all sources, in the order given.

    Raises:
        SftdivError: No source is chosen, one cannot be read, or none holds a prompt.
    """
    if not sources:
        raise SftdivError(
            "no prompts are chosen: prompts=heldout, alpaca_eval, arena_hard, mt_bench or files, or several as a list"
        )
    found = [prompt for source in sources.values() for prompt in source.load(exam)]
    prompts = distinct(found)
    if not prompts:
        raise SftdivError(f"prompts={','.join(sources)} hold no prompt")
    if len(prompts) < len(found):
        log.info("%d of %d prompts repeat others and are asked once", len(found) - len(prompts), len(found))
    return prompts


def distinct(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The first prompt of each content."""
    kept: dict[str, Prompt] = {}
    for prompt in prompts:
        kept.setdefault(prompt.key, prompt)
    return list(kept.values())


def spread(prompts: Sequence[Prompt], limit: int | None) -> list[Prompt]:
    """At most ``limit`` prompts, evenly over the sources; the same ones whenever it is asked."""
    if limit is None or limit >= len(prompts):
        return list(prompts)
    by_source = sorted(range(len(prompts)), key=lambda row: (prompts[row].source, row))
    return [prompts[by_source[place]] for place in np.linspace(0, len(prompts) - 1, limit).astype(int)]
