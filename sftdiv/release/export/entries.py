"""What tells LLaMA-Factory and axolotl how to read an exported file.

In: a file's name, its format and the keys of its rows. Out: an entry in ``dataset_info.json``
(LLaMA-Factory: ``dataset_dir: FOLDER``, ``dataset: NAME``) and one in ``axolotl.yaml`` (paths are
relative to where axolotl is started). Files that are there keep their other entries. The trade:
axolotl's ``alpaca`` type knows neither system prompts nor earlier turns, so that such a file gets
no entry there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sftdiv.records import SftdivError
from sftdiv.storage.files import write_atomically

DATASET_INFO, AXOLOTL = "dataset_info.json", "axolotl.yaml"
_HEAD = "# The data sets of an axolotl config; paths are relative to this folder: start axolotl here, or put the folder before them.\n"
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
    """The description of a file in ``dataset_info.json``, as LLaMA-Factory's data/README.md defines it.

    OpenAI's messages are there "simply a special case of the sharegpt format", told apart by tags;
    the tags of ``sharegpt`` itself are the defaults (``from, value, human, gpt, system``). Columns
    are named only where the file has them: a missing one is a ``KeyError`` there.
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
    """The element of ``datasets:`` for a file, as axolotl's docs/dataset-formats define it, or None where no type of its fits."""
    read = {"path": file, "ds_type": "parquet" if format == "parquet" else "json"}
    if format == "alpaca":
        return None if {"system", "history"} & set(keys) else {**read, "type": "alpaca"}
    if format == "sharegpt":
        roles = {"system": ["system"], "user": ["human"], "assistant": ["gpt"]}
        mapping = {"role": "from", "content": "value"}
        return {
            **read,
            "type": "chat_template",
            "field_messages": "conversations",
            "message_property_mappings": mapping,
            "roles": roles,
        }
    return {**read, "type": "chat_template", "field_messages": "messages"}


def add_entries(folder: Path, name: str, file: str, *, format: str, keys: list[str]) -> list[Path]:
    """Put both entries into the folder's files, in place of those of the same name and file; returns the files that have one now.

    Raises:
        SftdivError: If a file of that name is there and cannot be read.
    """
    info, axolotl = folder / DATASET_INFO, folder / AXOLOTL
    described = _read(info, json.loads) | {name: llama_factory_entry(file, format=format, keys=keys)}
    write_atomically(info, json.dumps(described, indent=2, ensure_ascii=False) + "\n")
    return [info, axolotl] if _add_to_axolotl(axolotl, file, axolotl_entry(file, format=format, keys=keys)) else [info]


def _add_to_axolotl(path: Path, file: str, entry: dict[str, Any] | None) -> bool:
    import yaml

    settings = _read(path, yaml.safe_load)
    others = [other for other in settings.get("datasets") or [] if other.get("path") != file]
    if entry is None and not path.exists():
        return False
    listed = others + ([entry] if entry else [])
    write_atomically(path, _HEAD + yaml.safe_dump(settings | {"datasets": listed}, sort_keys=False, allow_unicode=True))
    return entry is not None


def _read(path: Path, parse: Any) -> dict[str, Any]:
    """The mapping in a file; empty where there is no file."""
    try:
        held = parse(path.read_text(encoding="utf-8")) if path.exists() else {}
    except Exception as error:  # whatever the parser calls it
        raise SftdivError(
            f"{path} is there and cannot be read ({error}): mend it, remove it or export into another folder"
        ) from error
    if not isinstance(held, dict):
        raise SftdivError(f"{path} is there and holds {type(held).__name__}, not a mapping: export into another folder")
    return held
