"""The text of ``--help``: examples and notes from the command's YAML file, its groups, and its settings with comments.

Words after ``--help`` narrow it: a group lists its options with their descriptions, and a setting or the first part
of its name shows the settings that begin so. Overrides apply first, so that ``--help eval=judge`` shows the judge's
settings. Everything is read from ``conf/`` (`setting_comments`) and from folders that ``--config-dir`` adds.
"""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sftdiv.config.groups import conf_dir, known_groups, option_file, options_of, own_config_folders
from sftdiv.config.names import COMMANDS, FLAGS_WITH_VALUE
from sftdiv.config.setting_comments import Comments, first_sentence, read_comments, read_description
from sftdiv.records import SftdivError
from sftdiv.storage.validate import did_you_mean

Line = tuple[str, str]  # a setting or option, and what it means
WIDEST_NAME = 44  # characters of the first column; longer names push their comments to the right
LONG = 160  # characters above which only the first sentence of a comment is shown in the list of all settings
MISSING, REQUIRED = "???", "VALUE"  # a setting without a default, as it is written in YAML and as it is shown
REFERENCE = re.compile(r"\$\{[\w./]+\}")  # to another setting: without a comment of its own it is no setting to change


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether a command asks for its help."""
    return bool({"--help", "-h"} & set(arguments))


def help_text(arguments: Sequence[str], config_name: str) -> str:
    """The help of a command.

    Args:
        arguments: Words of the command, without the program: overrides, and names of groups and settings to show.
        config_name: Name of the command's YAML file.

    Raises:
        SftdivError: A word is neither a group nor a setting.
    """
    overrides, words = _parted(arguments)
    config, choices, comments = _composed(overrides, config_name)
    settings = _settings(config, comments)
    if words:
        return "\n\n".join(_about(word, settings, config_name) for word in words)
    return Template(str(config.hydra.help.template)).substitute(
        APP_CONFIG_GROUPS=_aligned(_groups(choices, config_name)),
        CONFIG=_aligned([(name, text if len(text) <= LONG else first_sentence(text)) for name, text in settings]),
    )


def _parted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides, and words that name what to show; flags are left out."""
    overrides: list[str] = []
    words: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if argument.startswith("-") or before in FLAGS_WITH_VALUE:
            continue
        (overrides if "=" in argument or argument.startswith("~") else words).append(argument)
    return overrides, words


def _composed(overrides: list[str], config_name: str) -> tuple[DictConfig, dict[str, Any], Comments]:
    """The config of a command with Hydra's own part, the chosen option of each group, and the settings' comments."""
    folders = ",".join(f"file://{folder.absolute()}" for folder in own_config_folders())
    given = [text for text in overrides if not text.startswith("hydra.searchpath")]
    given += [f"hydra.searchpath=[{folders}]"] if folders else []
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(config_name, overrides=given, return_hydra_config=True)
        loader = GlobalHydra.instance().config_loader()
        parts = loader.compute_defaults_list(config_name, given, RunMode.RUN).defaults
    comments: Comments = {}
    for part in parts:
        path = None if part.config_path is None else option_file(part.config_path)
        if path is not None:
            prefix = f"{part.package}." if part.package else ""
            comments |= {f"{prefix}{key}": text for key, text in read_comments(path).items()}
    return config, dict(config.hydra.runtime.choices), comments


def _groups(choices: dict[str, Any], config_name: str) -> list[Line]:
    """The groups of a command, those with a default first, each with its options."""
    groups = _groups_of(config_name)
    chosen = [name for name in choices if name in groups]
    lines = [(f"{name}={choices[name]}", ", ".join(options_of(name))) for name in _in_order(chosen, config_name)]
    return lines + [(f"+{name}=NAME", ", ".join(options_of(name))) for name in groups if name not in choices]


def _groups_of(config_name: str) -> list[str]:
    """Names of the groups that a command has."""
    known = COMMANDS[config_name]
    return [name for name in known_groups() if known is None or name.partition("/")[0] in known]


def _in_order(groups: Sequence[str], config_name: str) -> list[str]:
    """Groups in the order of the command's own YAML file, each before those in it; then those that options add."""
    defaults = yaml.safe_load((conf_dir() / f"{config_name}.yaml").read_text(encoding="utf-8"))["defaults"]
    roots = [next(iter(entry)) for entry in defaults if isinstance(entry, dict)]
    position = {root: number for number, root in enumerate(roots)}
    return sorted(groups, key=lambda name: (position.get(name.partition("/")[0], len(roots)), name))


def _settings(config: DictConfig, comments: Comments) -> list[Line]:
    """The settings of a config with their values and comments, as ``KEY=VALUE``; blocks with a comment as ``KEY.*``."""
    lines = []
    for key, written in _leaves(OmegaConf.to_container(config, resolve=False), ""):
        comment, depth = comments.get(key, ""), key.count(".")
        if isinstance(written, dict) and written:
            lines += [(f"{key}.*", comment)] if comment else []
        elif comment or not (REFERENCE.fullmatch(str(written)) or (depth == 1 and key.endswith(".name"))):
            lines.append((f"{key}={_value(config, key, written)}", comment))
    return lines


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Dotted keys of nested settings with their values as written; classes and Hydra's own part are left out."""
    for name, value in node.items():
        key = f"{prefix}{name}"
        if not str(name).startswith("_") and key != "hydra":
            yield key, value
            yield from _leaves(value, f"{key}.") if isinstance(value, dict) else ()


def _value(config: DictConfig, key: str, written: Any) -> str:
    """A setting's value as it is written in a command; where it depends on a missing one, the reference itself."""
    if written == MISSING:
        return REQUIRED
    try:
        value = OmegaConf.select(config, key)
    except OmegaConfBaseException:
        return str(written)
    if isinstance(value, ListConfig):
        return f"[{','.join(map(str, value))}]"
    if isinstance(value, DictConfig):
        return "{}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _about(word: str, settings: Sequence[Line], config_name: str) -> str:
    """The options of a group, if the word names one, and the settings that begin with the word."""
    shown = [line for line in settings if line[0].startswith((f"{word}=", f"{word}."))]
    options = []
    if word in _groups_of(config_name):
        files: list[tuple[str, Path | None]] = [(name, option_file(f"{word}/{name}")) for name in options_of(word)]
        options = [(f"{word}={name}", first_sentence(read_description(path))) for name, path in files if path]
    if not options and not shown:
        names = [line[0].partition("=")[0].removesuffix(".*") for line in settings]
        raise SftdivError(
            f"{word} is neither a group nor a setting.{did_you_mean(word, [*names, *_groups_of(config_name)])} "
            "--help without a word shows all"
        )
    return "\n".join(_aligned(lines) for lines in (options, shown) if lines)


def _aligned(lines: Sequence[Line]) -> str:
    """Two columns; in a terminal the second is wrapped to its width, elsewhere each entry is one line."""
    width = min(WIDEST_NAME, max((len(name) for name, _ in lines), default=0))
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    rows = []
    for name, text in lines:
        head = f"  {name.ljust(width)}  "
        if columns > len(head) + 30:
            indent = " " * (width + 4)
            rows.append(textwrap.fill(text, columns, initial_indent=head, subsequent_indent=indent) if text else head)
        else:
            rows.append(head + text)
    return "\n".join(row.rstrip() for row in rows)
