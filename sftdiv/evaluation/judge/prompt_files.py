"""Reads prompts and outputs from files, in the formats in which benchmarks publish them.

Files are JSON (a list of objects), JSON lines or Parquet. Supported rows: AlpacaEval's
``{"instruction", "output", "generator"}``, Arena-Hard's ``{"turns": [{"content"}]}`` and ``{"prompt"}``,
MT-Bench's ``{"turns": ["...", "..."]}`` and OpenAI-style ``{"messages"}``. Any other row is an error
that names it, because a silently dropped prompt would change the score.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftdiv.evaluation.judge.prompt import Prompt
from sftdiv.records import SftdivError

KINDS = ("messages", "turns", "prompt", "instruction")
SOURCES = ("source", "dataset", "subcategory", "category")
REFERENCES = ("output", "response", "reference")


def read_prompts(path: Path, *, source: str) -> list[Prompt]:
    """The prompts of a file, in its order.

    Args:
        path: ``.json``, ``.jsonl`` or ``.parquet``.
        source: Source of rows that name none.

    Raises:
        SftdivError: If the file cannot be read, or a row holds no prompt.
    """
    prompts = []
    for number, row in enumerate(read_rows(path), start=1):
        row_source = next((str(row[name]) for name in SOURCES if row.get(name)), source)
        try:
            prompts.append(prompt_of_row(row, source=row_source))
        except SftdivError as error:
            raise SftdivError(f"{path}, entry {number}: {error}") from None
        except (KeyError, TypeError, IndexError) as error:
            raise SftdivError(
                f"{path}, entry {number} is no prompt in a known form ({error!r}): {str(row)[:200]}"
            ) from None
    return prompts


def prompt_of_row(row: Mapping[str, Any], *, source: str) -> Prompt:
    """The prompt of one row.

    Raises:
        SftdivError: If the row holds no prompt, or its contents are no texts.
    """
    kind = next((name for name in KINDS if row.get(name) is not None), None)
    if kind is None:
        raise SftdivError(f"no prompt in the keys {', '.join(map(str, row)) or 'none'}; known: {', '.join(KINDS)}")
    value = row[kind]
    if kind == "messages" or (kind in {"prompt", "turns"} and _is_messages(value)):
        return _prompt_of_messages(value, source)
    if kind == "instruction" and row.get("input"):
        turns = [f"{value}\n\n{row['input']}"]
    elif isinstance(value, str):
        turns = [value]
    else:
        turns = [turn["content"] if isinstance(turn, Mapping) else turn for turn in value]
    if not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise SftdivError(f"{kind} must be a text or a list of texts, none of them empty; got {value!r:.200}")
    turns = [_check_text(turn) for turn in turns]
    return Prompt((("user", turns[0]),), tuple(turns[1:]), source, _references(row, len(turns)))


def _is_messages(value: Any) -> bool:
    """Whether a list of turns has the form of OpenAI's messages."""
    return not isinstance(value, str) and bool(len(value)) and isinstance(value[0], Mapping) and "role" in value[0]


def _prompt_of_messages(messages: Any, source: str) -> Prompt:
    """The conversation up to its last user turn; the assistant turn after it is the reference."""
    turns = [(str(turn["role"]), _check_text(turn["content"])) for turn in messages]
    last = max((position for position, (role, _) in enumerate(turns) if role == "user"), default=None)
    if last is None:
        raise SftdivError(f"messages hold no user turn: {[role for role, _ in turns]}")
    references = [text for role, text in turns[last + 1 :] if role == "assistant"]
    return Prompt(tuple(turns[: last + 1]), (), source, tuple(references[:1]))


def _check_text(value: Any) -> str:
    """Refuse anything but valid Unicode text, on which a tokenizer or a file would fail only after training."""
    if not isinstance(value, str):
        raise SftdivError(f"a turn's content must be text; got {value!r:.100}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise SftdivError(f"a text holds half a character (a lone surrogate, as in \\ud83d): {error}") from None
    return value


def _references(row: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Published answers to a prompt, if there is one per turn."""
    value = next((row[name] for name in REFERENCES if row.get(name) is not None), ())
    texts = (value,) if isinstance(value, str) else tuple(value)
    return texts if len(texts) == count and all(isinstance(text, str) for text in texts) else ()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a file.

    Raises:
        SftdivError: If the file does not exist, or holds no list of objects.
    """
    if not path.is_file():
        raise SftdivError(f"there is no file {path}")
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        try:
            table: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        except (OSError, ValueError) as error:
            raise SftdivError(f"{path} cannot be read as Parquet: {error}") from error
        return table
    try:
        text = path.read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    except ValueError as error:
        raise SftdivError(f"{path} is neither a JSON list nor JSON lines: {error}") from error
    if wrong := [row for row in rows if not isinstance(row, dict)]:
        raise SftdivError(f"{path} must hold objects, got {wrong[0]!r:.100}")
    return list(rows)
