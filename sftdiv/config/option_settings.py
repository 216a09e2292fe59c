"""Settings that the options of a group bring along, and what to type where a setting's group was not chosen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from sftdiv.config.groups import chooses_option, is_group, option_file, options_of
from sftdiv.config.names import COMMANDS
from sftdiv.storage.cell import flatten

UNRESOLVED = re.compile(
    r"Interpolation key '([\w.]+)' not found|[Ee]rror resolving interpolation '[^']*\$\{([\w./]+)\}"
)

ADDRESS = "http://localhost:8000/v1"  # an address in a message is redacted unless it is one


def options_with(setting: str, config_name: str) -> list[str]:
    """Options of a setting's group that have the setting.

    Args:
        setting: Dotted name, such as ``train.adapter.rank``.
        config_name: Name of the command's YAML file.
    """
    root, _, inner = setting.partition(".")
    known = COMMANDS[config_name]
    if not inner or not is_group(root) or (known is not None and root not in known):
        return []
    return [option for option in options_of(root) if _holds(_read(f"{root}/{option}"), inner.split("."))]


def options_choosing(group: str) -> list[str]:
    """Options of the parent of a group that choose from it: ``meso_tag`` for ``strategy/tagger``."""
    parent, _, name = group.rpartition("/")
    defaults = {option: _read(f"{parent}/{option}").get("defaults") or [] for option in options_of(parent)}
    return [
        option
        for option, entries in defaults.items()
        if any(isinstance(entry, Mapping) and name in entry for entry in entries)
    ]


def choose_first(message: str, overrides: Sequence[str], config_name: str) -> str | None:
    """What to type where an option reads a setting of a group that was not chosen; None for other messages.

    Args:
        message: Message of OmegaConf or Hydra about an interpolation that cannot be resolved.
        overrides: Overrides of the command.
        config_name: Name of the command's YAML file.
    """
    unresolved = UNRESOLVED.search(message)
    key = (unresolved[1] or unresolved[2]) if unresolved else ""
    root = key.partition(".")[0]
    if not is_group(root):
        return None
    reader = next((text for text in overrides if chooses_option(text) and _reads(text.lstrip("+"), root)), "an option")
    known = COMMANDS[config_name]
    if known is not None and root not in known:
        return f"{reader} reads {key}, and python -m sftdiv.{config_name} has no group {root}: choose another option"
    chosen = next((text for text in overrides if text.lstrip("+").startswith(f"{root}=")), None)
    options = options_with(key, config_name) or options_of(root)
    commands = [_command(root, option, plus=chosen is None or chosen.startswith("+")) for option in options]
    state = f"which {chosen} does not have" if chosen else f"and no option of the group {root} is chosen"
    return f"{reader} reads {key}, {state}: type {' or '.join(commands)}"


def _command(group: str, option: str, *, plus: bool) -> str:
    """The overrides that choose an option and give the settings that it has no default for."""
    settings = flatten(_read(f"{group}/{option}"))
    missing = [name for name, value in settings.items() if value == "???"]
    needed = [f"{group}.{name}={ADDRESS if name.endswith('base_url') else 'VALUE'}" for name in missing]
    return " ".join([f"{'+' if plus else ''}{group}={option}", *needed])


def _reads(choice: str, root: str) -> bool:
    """Whether the file of an option refers to a group."""
    group, _, option = choice.partition("=")
    path = option_file(f"{group}/{option}")
    return path is not None and re.search(rf"\$\{{{root}\b", path.read_text(encoding="utf-8")) is not None


def _read(option: str) -> Mapping[str, Any]:
    """The settings in an option's file."""
    path = option_file(option)
    settings = yaml.safe_load(path.read_text(encoding="utf-8")) if path else None
    return settings if isinstance(settings, Mapping) else {}


def _holds(node: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(node, Mapping) or key not in node:
            return False
        node = node[key]
    return True
