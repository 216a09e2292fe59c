"""Entries that tell LLaMA-Factory and axolotl how to read an exported file.

A file gets an entry in ``dataset_info.json`` (LLaMA-Factory: ``dataset_dir: FOLDER``, ``dataset: NAME``)
and one in ``axolotl.yaml`` (paths are relative to where axolotl is started). Existing files keep their
other entries. axolotl's ``alpaca`` type supports neither system prompts nor earlier turns, so an alpaca
file with them gets no entry there.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sftdiv.records import SftdivError
from sftdiv.storage.files import write_atomically

DATASET_INFO, AXOLOTL = "dataset_info.json", "axolotl.yaml"
_HEAD = (
    "# The data sets of an axolotl config; paths are relative to this folder: "
    "start axolotl here, or put the folder before them.\n"
)
_OPENAI_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}
_ALPACA_COLUMNS = {
    "prompt": "instruction",
    "query": "input",
    "response": "output",
    "system": "system",
    "history": "history",
}


def llama_factory_entry(file: str, *, format: str, keys: list[str]) -> dict[str, Any]:
    """The entry of a file in ``dataset_info.json``, as LLaMA-Factory's data/README.md defines it.

    There OpenAI's messages are "simply a special case of the sharegpt format" with other tags; the tags
    of ``sharegpt`` itself are the defaults (``from, value, human, gpt, system``). Only existing columns
    are named, since LLaMA-Factory raises a ``KeyError`` for others.

    Args:
        file: Name of the file.
        format: Export format.
        keys: Keys of its rows.
    """
    if format == "alpaca":
        return {"file_name": file, "columns": {role: key for role, key in _ALPACA_COLUMNS.items() if key in keys}}
    if format == "sharegpt":
        return {"file_name": file, "formatting": "sharegpt", "columns": {"messages": "conversations"}}
    return {
        "file_name": file,
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": dict(_OPENAI_TAGS),
    }


def axolotl_entry(file: str, *, format: str, keys: list[str]) -> dict[str, Any] | None:
    """The element of ``datasets:`` for a file, as axolotl's docs/dataset-formats define it; None if no type fits."""
    entry = {"path": file, "ds_type": "parquet" if format == "parquet" else "json"}
    if format == "alpaca":
        return None if {"system", "history"} & set(keys) else {**entry, "type": "alpaca"}
    if format == "sharegpt":
        roles = {"system": ["system"], "user": ["human"], "assistant": ["gpt"]}
        mapping = {"role": "from", "content": "value"}
        return {
            **entry,
            "type": "chat_template",
            "field_messages": "conversations",
            "message_property_mappings": mapping,
            "roles": roles,
        }
    return {**entry, "type": "chat_template", "field_messages": "messages"}


def add_entries(folder: Path, name: str, file: str, *, format: str, keys: list[str]) -> list[Path]:
    """Write both entries into the folder's files, replacing those of the same name and file.

    Args:
        folder: Folder of the export.
        name: Name of the data set.
        file: Name of the data file.
        format: Export format.
        keys: Keys of the rows.

    Returns:
        Files that now have an entry.

    Raises:
        SftdivError: If one of the files exists and cannot be read.
    """
    info, axolotl = folder / DATASET_INFO, folder / AXOLOTL
    datasets = _read(info, json.loads) | {name: llama_factory_entry(file, format=format, keys=keys)}
    write_atomically(info, json.dumps(datasets, indent=2, ensure_ascii=False) + "\n")
    return [info, axolotl] if _add_to_axolotl(axolotl, file, axolotl_entry(file, format=format, keys=keys)) else [info]


def _add_to_axolotl(path: Path, file: str, entry: dict[str, Any] | None) -> bool:
    import yaml

    settings = _read(path, yaml.safe_load)
    remaining = [item for item in settings.get("datasets") or [] if item.get("path") != file]
    if entry is None and not path.exists():
        return False
    listed = remaining + ([entry] if entry else [])
    write_atomically(path, _HEAD + yaml.safe_dump(settings | {"datasets": listed}, sort_keys=False, allow_unicode=True))
    return entry is not None


def _read(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    """The mapping in a file; empty if there is no file."""
    try:
        content = parse(path.read_text(encoding="utf-8")) if path.exists() else {}
    except Exception as error:  # parsers have exceptions of their own
        raise SftdivError(
            f"{path} exists and cannot be read ({error}): repair it, remove it or export into another folder"
        ) from error
    if not isinstance(content, dict):
        raise SftdivError(
            f"{path} exists and holds {type(content).__name__}, not a mapping: export into another folder"
        )
    return content
