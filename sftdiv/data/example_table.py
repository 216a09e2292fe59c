"""Examples as rows of the table that is sorted into a corpus: content, labels, and what orders and groups them."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sftdiv.records import Example, SftdivError
from sftdiv.storage.hashing import content_hash

if TYPE_CHECKING:
    import pyarrow as pa

_LABELS = json.JSONEncoder(sort_keys=True)
CARRIED = "carried."  # opens the name of a carried column while it stands beside internal ones


def normalise(instruction: str) -> str:
    """The words of an instruction, regardless of case, spacing and Unicode form; equal results form one group."""
    return " ".join(unicodedata.normalize("NFKC", instruction).casefold().split())


def _row(example: Example) -> dict[str, Any]:
    """One row. ``hash`` covers the messages; ``label`` holds the rest, which orders rows of equal messages.

    Names of carried columns are prefixed, so that data can have any name, also that of an internal column.
    """
    instruction, response = _text_of(example, "user"), _text_of(example, "assistant")
    return {
        "hash": content_hash(example.messages, length=32),
        "label": _LABELS.encode([example.source, example.id, example.extra]),
        "id": example.id,
        "messages": example.messages,
        "instruction": instruction,
        "response": response,
        "source": example.source,
        "group": _group(instruction),
        **{f"{CARRIED}{name}": value for name, value in example.extra.items()},
    }


@lru_cache(maxsize=20_000)  # one instruction often has many responses: pool-117k repeats 805 of them 41,334 times
def _group(instruction: str) -> str:
    return content_hash(normalise(instruction))


def _text_of(example: Example, role: str) -> str:
    return "\n\n".join(message["content"] for message in example.messages if message["role"] == role)


def example_table(examples: Sequence[Example]) -> pa.Table:
    """Examples as Arrow, in the columns of `_row`.

    Texts have 64-bit offsets: with 32 bits a take of more than 2 GB overflows.
    """
    import pyarrow as pa

    text = pa.large_string()
    types = {
        "instruction": text,
        "response": text,
        "messages": pa.large_list(pa.struct({"role": pa.string(), "content": text})),
    }
    rows = [_row(example) for example in examples]
    columns = {}
    for name in rows[0]:
        try:
            columns[name] = pa.array([row[name] for row in rows], type=types.get(name))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise SftdivError(
                f"A column of corpus.columns mixes types: {name.removeprefix(CARRIED)!r}, {error}"
            ) from error
    return pa.table(columns)
