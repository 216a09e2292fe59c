"""Shards of `llm`: consecutive texts of the sorted ones, tagged wherever an executor puts them.

Each shard has a journal, which survives a killed process, so that only the requests in flight are repeated. Texts with
equal beginnings stay together. A complete shard is a file of journal lines in the order of its texts; the files of all
shards, end to end, are a journal.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from sftdiv.llm.journal import Journal, encode_line
from sftdiv.protocols import ShardExecutor
from sftdiv.storage.files import writing
from sftdiv.text.column_texts import MappedTexts, mapped
from sftdiv.units.tagging.tag_answers import text_key

SHARD = 20_000  # texts
FOLDER = "{}.shards"  # beside the journal of all texts, for the number of texts of a shard
RequestAll = Callable[[Sequence[str], Journal, float], None]


@dataclass(frozen=True)
class TagStep:
    """Tags a shard of texts; see `sftdiv.protocols.ShardStep`.

    Attributes:
        request_all: Requests the tags of some texts that a journal does not have; at most a share of them may fail.
        texts: All texts, sorted.
        size: Texts of a shard; the last may have fewer.
        max_failed: Share of all texts that may fail.
    """

    name: ClassVar[str] = "tagging"
    uses_all_cores: ClassVar[bool] = True  # one process has as many requests in flight as the endpoint allows

    request_all: RequestAll
    texts: MappedTexts
    size: int
    max_failed: float

    def write(self, shard: int, path: Path) -> None:
        """Write the journal lines of a shard."""
        texts = self.texts[shard * self.size : (shard + 1) * self.size]
        allowed = min(1.0, self.max_failed * len(self.texts) / len(texts))  # all failures may be in one shard
        with Journal(path.parent / f"{shard:06d}.jsonl") as journal:
            self.request_all(texts, journal, allowed)
            lines = (journal.line(text_key(text)) for text in texts)
            with path.open("wb") as stream:
                stream.writelines(encode_line(line) for line in lines if line is not None)


def fill_journal(
    request_all: RequestAll, texts: Sequence[str], path: Path, *, max_failed: float, compute: ShardExecutor
) -> None:
    """Tag texts in shards and join their journals.

    Args:
        request_all: See `TagStep`.
        texts: Distinct texts.
        path: The joined journal; the folder of the shards is beside it.
        max_failed: See `TagStep`.
        compute: Computes the shards.
    """
    folder = path.parent / FOLDER.format(SHARD)
    step = TagStep(request_all, mapped(in_order(texts), folder), SHARD, max_failed)
    shards = compute.run(step, -(-len(texts) // SHARD), folder)
    with writing(path) as temporary, temporary.open("wb") as joined:
        for shard in shards:
            with shard.open("rb") as stream:
                shutil.copyfileobj(stream, joined)


def in_order(texts: Sequence[str]) -> Sequence[str]:
    """The texts sorted, in memory only if they are not sorted yet."""
    return texts if all(left <= right for left, right in pairwise(texts)) else sorted(texts)
