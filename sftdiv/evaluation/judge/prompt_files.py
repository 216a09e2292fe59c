"""Prompts and answers in files, as benchmarks publish them.

In: JSON (a list of objects), JSON lines or Parquet. Out: prompts. AlpacaEval's ``{"instruction",
"output", "generator"}``, Arena-Hard's ``{"turns": [{"content"}]}`` and ``{"prompt"}``, MT-Bench's
``{"turns": ["...", "..."]}`` and OpenAI-style ``{"messages"}`` are read as they are. The trade: a
row that is none of these is an error that names it, since a prompt left out in silence would change
the score.
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
        source: Of rows that name none.

    Raises:
        SftdivError: The file cannot be read, or a row holds no prompt.
    """
    prompts = []
    for number, row in enumerate(read_rows(path), start=1):
        named = next((str(row[name]) for name in SOURCES if row.get(name)), source)
        try:
            prompts.append(prompt_of_row(row, source=named))
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
        SftdivError: There is none, or its texts are no texts.
    """
    kind = next((name for name in KINDS if row.get(name) is not None), None)
    if kind is None:
        raise SftdivError(f"no prompt in the keys {', '.join(map(str, row)) or 'none'}; known: {', '.join(KINDS)}")
    said = row[kind]
    if (
        kind in {"prompt", "turns"}
        and not isinstance(said, str)
        and len(said)
        and isinstance(said[0], Mapping)
        and "role" in said[0]
    ):
        kind = "messages"
    if kind == "messages":
        return _of_messages(said, source)
    turns = (
        [said] if isinstance(said, str) else [turn["content"] if isinstance(turn, Mapping) else turn for turn in said]
    )
    if kind == "instruction" and row.get("input"):
        turns = [f"{said}\n\n{row['input']}"]
    if not turns or not all(isinstance(turn, str) and turn.strip() for turn in turns):
        raise SftdivError(f"{kind} must be a text or a list of texts, none of them empty; got {said!r:.200}")
    turns = [_text(turn) for turn in turns]
    return Prompt((("user", turns[0]),), tuple(turns[1:]), source, _references(row, len(turns)))


def _of_messages(messages: Any, source: str) -> Prompt:
    """The conversation up to its last user turn; what an assistant says after it is the reference."""
    turns = [(str(turn["role"]), _text(turn["content"])) for turn in messages]
    last = max((place for place, (role, _) in enumerate(turns) if role == "user"), default=None)
    if last is None:
        raise SftdivError(f"messages hold no user turn: {[role for role, _ in turns]}")
    return Prompt(
        tuple(turns[: last + 1]), (), source, tuple(text for role, text in turns[last + 1 :] if role == "assistant")[:1]
    )


def _text(said: Any) -> str:
    """What was said, which must be text that UTF-8 can hold: a tokenizer or a file would else stumble over it once all is trained."""
    if not isinstance(said, str):
        raise SftdivError(f"a turn's content must be text; got {said!r:.100}")
    try:
        said.encode()
    except UnicodeEncodeError as error:
        raise SftdivError(f"a text holds half a character (a lone surrogate, as in \\ud83d): {error}") from None
    return said


def _references(row: Mapping[str, Any], answers: int) -> tuple[str, ...]:
    """The answers that came with a prompt, where there is one for each of its turns."""
    given = next((row[name] for name in REFERENCES if row.get(name) is not None), ())
    texts = (given,) if isinstance(given, str) else tuple(given)
    return texts if len(texts) == answers and all(isinstance(text, str) for text in texts) else ()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a file.

    Raises:
        SftdivError: There is no such file, or what it holds is no list of objects.
    """
    if not path.is_file():
        raise SftdivError(f"there is no file {path}")
    if path.suffix == ".parquet":
        import pyarrow.parquet as parquet

        try:
            table: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        except (OSError, ValueError) as error:
            raise SftdivError(f"{path} cannot be read as Parquet: {error}") from error
        return table
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = (
            json.loads(text)
            if text.lstrip().startswith("[")
            else [json.loads(line) for line in text.split("\n") if line.strip()]
        )
    except ValueError as error:
        raise SftdivError(f"{path} is neither a JSON list nor JSON lines: {error}") from error
    if wrong := [row for row in rows if not isinstance(row, dict)]:
        raise SftdivError(f"{path} must hold objects, got {wrong[0]!r:.100}")
    return list(rows)
