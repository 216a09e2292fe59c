"""Collects the examples of a reader for a corpus: into the spill, with a count of what they leave unread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from sftdiv.data.corpus_preview import PREVIEWED, cut_turns
from sftdiv.data.example_table import example_table
from sftdiv.data.external_sort import Spill
from sftdiv.records import Example
from sftdiv.storage.progress_bar import progress_bar

_BATCH = 10_000  # rows


def collect_examples(examples: Iterator[Example], spill: Spill, unread: Counter[str]) -> list[list[dict[str, Any]]]:
    """Write all examples to the spill, in the columns of `example_table`, and count what they do not hold.

    Args:
        examples: Examples in the order of their files.
        spill: Receives the examples.
        unread: Receives the number of examples by unread column.

    Returns:
        The turns of the first examples, cut for a preview.
    """
    first: list[list[dict[str, Any]]] = []
    with progress_bar("reading", unit="rows") as advance:
        while batch := list(islice(examples, _BATCH)):
            first += [cut_turns(example.messages) for example in batch[: PREVIEWED - len(first)]]
            spill.add(example_table(batch))
            unread.update(name for example in batch for name in example.unread)
            advance(len(batch))
    return first
