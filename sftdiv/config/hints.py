"""Messages for arguments that cannot be right: they name what exists, and the setting that was probably meant.

`check_arguments` looks at a command's words before Hydra does, whose messages are about its own grammar.
`with_alternatives` turns Hydra's messages about unknown keys and options into ones about settings.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from sftdiv.config.groups import chooses_option, conf_dir, is_group, options_of
from sftdiv.config.names import COMMANDS, FLAGS, FLAGS_WITH_VALUE, FREE, INFORMATION, MEANT
from sftdiv.config.option_settings import options_choosing, options_with
from sftdiv.records import SftdivError
from sftdiv.storage.cell import flatten
from sftdiv.storage.files import local_path
from sftdiv.storage.redaction import redacted_overrides
from sftdiv.storage.validate import did_you_mean

JUDGE_CHOSEN = re.compile(r"eval=(.*\W)?judge\b.*")  # an override that adds the groups below
GROUPS_OF_JUDGE = ("judge", "prompts")
RENAMED = {  # settings of earlier versions
    "selection.seed": "seed.ladder",
    "selection.replicate": "selection.universe_share (sampled by seed.ladder; sweep over replicate=0,1,2)",
}
DATA_SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".gz", ".bz2", ".xz", ".zst")


def check_arguments(arguments: Sequence[str], config_name: str) -> None:
    """Refuse words of a command that are no settings, and values that no option of a group can be.

    Args:
        arguments: Words of the command, without the program.
        config_name: Name of its YAML file.

    Raises:
        SftdivError: With what was probably meant.
    """
    is_value = is_info = False  # of the flag before
    for argument in arguments:
        if is_value:
            is_value = False
        elif argument.startswith("-"):
            is_value = argument in FLAGS_WITH_VALUE
            is_info = argument in ("--info", "-i")  # whose value may be left out
            _check_flag(argument)
        elif is_info and argument in INFORMATION:
            is_info = False
        elif "=" not in argument and not argument.startswith("~"):
            raise SftdivError(f"{_shown(argument)!r} is no setting: {_meant_by_word(argument)}")
        else:
            check_group(argument, config_name)


def _check_flag(argument: str) -> None:
    name = argument.partition("=")[0]
    if name.startswith("--") and name not in FLAGS:
        setting = argument.lstrip("-").replace("-", "_")
        raise SftdivError(
            f"{_shown(argument)} is no flag of this command: settings are written without dashes, as "
            f"{_shown(setting) if '=' in setting else setting + '=VALUE'}.{did_you_mean(name, FLAGS)}"
        )


def _meant_by_word(word: str) -> str:
    path = local_path(word)
    if path is not None or word.lower().endswith(DATA_SUFFIXES) or any(mark in word for mark in "*?"):
        return f"to read it, write corpus=files corpus.path={_shown(word)}"
    if is_group(word):
        return f"choose an option of the group {word}: {', '.join(f'{word}={option}' for option in options_of(word))}"
    if re.fullmatch(r"[\w.-]+/[\w.-]+", word):
        return f"there is no such file; for a data set of the Hub write corpus=hub corpus.path={word}"
    return "settings are written as NAME=VALUE; --help lists them"


def check_group(argument: str, config_name: str) -> None:
    """Check an override of a whole group: the experiment's plus sign, groups of other commands, null and numbers.

    Args:
        argument: Override, such as ``size=5000``; one of a single setting passes.
        config_name: Name of the composed YAML file.

    Raises:
        SftdivError: With the options of the group.
    """
    name, _, value = argument.partition("=")
    prefix, group = name[: len(name) - len(name.lstrip("+~"))], name.lstrip("+~")
    if not is_group(group) or prefix == "~":
        return
    if group == "experiment" and config_name == "config" and not prefix:
        raise SftdivError(f"an experiment is added with a plus sign: +{argument}. Known: {_listed(group)}")
    known = COMMANDS[config_name]
    if known is not None and group.partition("/")[0] not in known:
        raise SftdivError(
            f"{argument}: python -m sftdiv.{config_name} has no group {group}; its groups: {', '.join(known)}"
        )
    if re.fullmatch(r"[\d.e,+-]+|[{].*", value) or value in ("", "null", "~"):
        shown = f"{name}={value or chr(39) * 2}"
        raise SftdivError(f"{shown} is not an option of the group {group}: {_listed(group)}{_instead(group, value)}")


def with_alternatives(message: str, config_name: str, overrides: Sequence[str]) -> str:
    """Hydra's message about an unknown key or option, with the closest one and all known ones.

    Args:
        message: Hydra's message.
        config_name: Name of the composed YAML file.
        overrides: Overrides of the command.
    """
    missing = re.search(r"(?:Could not load|In '[^']*': Could not find|Could not find) '([^']+)'", message)
    parts = missing[1].split("/") if missing else []
    for end in range(len(parts) - 1, 0, -1):  # an id such as OWNER/NAME is part of the option
        if is_group(group := "/".join(parts[:end])):
            return _unknown_option(group, "/".join(parts[end:]))
    unknown = re.search(r"Could not override '([^']+)'", message)
    return with_known_settings(unknown[1], config_name, overrides) if unknown else message


def _unknown_option(group: str, option: str) -> str:
    is_number = group == "size" and re.fullmatch(r"[\d.]+[kK]?", option) is not None
    close = "" if is_number else did_you_mean(option, options_of(group))
    return f"unknown option {option!r} of {group}.{close} Known: {_listed(group)}{_instead(group, option)}"


def _listed(group: str) -> str:
    return ", ".join(options_of(group))


def _instead(group: str, value: str) -> str:
    """The settings that were probably meant by a value that is no option of a group; empty if there are none."""
    if value in ("", "null", "~"):
        return f"; {group}=none turns it off" if "none" in options_of(group) else ""
    if group == "size":
        number = re.fullmatch(r"([\d.]+)(k?)", value.lower())
        count = "N" if number is None else f"{float(number[1]) * (1000 if number[2] else 1):.0f}"
        return f"; any number: size.n={count}"
    is_file = local_path(value) is not None or value.lower().endswith(DATA_SUFFIXES)
    is_id = re.fullmatch(r"[\w.-]+/[\w.-]+", value) is not None
    if group == "corpus":
        return f"; to read {'files' if is_file or not is_id else 'it from the Hub'}: " + (
            f"corpus=files corpus.path={value}" if is_file or not is_id else f"corpus=hub corpus.path={value}"
        )
    sentences = {
        "eval": f"; for tasks of lm-eval: eval=custom eval.tasks=[{value}] eval.primary={value}.acc",
        "model": "; for another model take the option closest to its size and change its path: "
        f"model=qwen3_0_6b model.path={value} model.name={Path(value).name}",
        "embedder": f"; for another model: embedder=minilm embedder.path={value}",
        "judge": f"; the judging model is named by judge.model={value}",
        "prompts": f"; for a file of your own: prompts=files prompts.files.path={value}",
    }
    return sentences.get(group, "")


def with_known_settings(setting: str, config_name: str, overrides: Sequence[str]) -> str:
    """Message about an unknown setting: its new name, options that have it, what was meant, or its siblings."""
    if setting in RENAMED:
        return f"{setting} has become {RENAMED[setting]}"
    if setting.startswith("seed.") and any(text.startswith("seed=") for text in overrides):
        return f"{setting} is set by seed=NUMBER already: give seed.draw and seed.train instead of seed"
    root = re.split(r"[./@]", setting)[0]
    if root in GROUPS_OF_JUDGE and not any(map(JUDGE_CHOSEN.fullmatch, overrides)):
        if config_name != "config":
            return f"unknown setting {setting!r}: python -m sftdiv.{config_name} has no judge"
        return f"unknown setting {setting!r}: {root} exists with eval=judge, or eval=[embedded,judge]"
    if is_group(setting) and COMMANDS[config_name] is None:
        return _unchosen_group(setting, overrides)
    config = _composed(config_name, [text for text in overrides if chooses_option(text)])
    value = next((text.partition("=")[2] for text in overrides if text.lstrip("+").startswith(f"{setting}=")), "VALUE")
    parent = setting.rpartition(".")[0]
    node = OmegaConf.select(config, parent) if parent else config
    if options := options_with(setting, config_name):
        value_of = next(text for text in options)
        if setting == "corpus.path" and "/" in value and local_path(value) is None and not Path(value).suffix:
            value_of = "hub"
        example = f"{root}={value_of} {setting}={_shown(value)}"
        return f"unknown setting {setting!r}: it exists with {' or '.join(f'{root}={o}' for o in options)}: {example}"
    if parent and FREE.fullmatch(setting):
        return f"{setting} is a new entry, which is added with a plus sign: +{setting}={_shown(value)}"
    if not isinstance(node, DictConfig):
        return f"unknown setting {setting!r}: {parent!r} has no settings below it.{_meant(setting, config, value)}"
    keys = [str(key) for key in node]
    known = sorted(f"{parent}.{key}" if parent else key for key in keys)
    within = f" in {parent}" if parent else ""
    names = ", ".join(name.rpartition(".")[2] for name in known)
    meant = _meant(setting, config, value)
    return f"unknown setting {setting!r}.{meant or did_you_mean(setting, known)} Known{within}: {names}"


def _unchosen_group(group: str, overrides: Sequence[str]) -> str:
    """Message about an option of a group that the command has not chosen from."""
    written = next((text for text in overrides if text.startswith(f"{group}=")), f"{group}=NAME")
    parent = group.rpartition("/")[0]
    if parent and (options := options_choosing(group)):
        return f"{group} exists with {' or '.join(f'{parent}={o}' for o in options)}: {parent}={options[0]} {written}"
    return f"the group {group} has no default, so an option is added with a plus sign: +{written}"


def _composed(config_name: str, choices: Sequence[str]) -> DictConfig:
    """The config of the chosen options, or of the defaults where these do not compose."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        try:
            return compose(config_name, overrides=list(choices))
        except Exception:  # one of the choices is what is wrong
            return compose(config_name)


def _meant(setting: str, config: DictConfig, value: str) -> str:
    """The settings that are called so elsewhere, or in other programs."""
    settings = flatten(OmegaConf.to_container(config, resolve=False))  # type: ignore[arg-type]  # a mapping
    name = setting.rpartition(".")[2].lower().replace("-", "_")
    same = [key for key in settings if key.rpartition(".")[2] == name and "._" not in key and ".reader." not in key]
    meant = [text for text in MEANT.get(name, ()) if _exists(text, settings)]
    found = list(dict.fromkeys([*meant, *same]))[:4]
    if not found:
        close = difflib.get_close_matches(name, {key.rpartition(".")[2] for key in settings}, n=1, cutoff=0.8)
        found = (
            [key for key in settings if close and key.rpartition(".")[2] == close[0]][:4] if "." not in setting else []
        )
    return f" Did you mean {' or '.join(f'{key}={_shown(value)}' for key in found)}?" if found else ""


def _exists(text: str, settings: Iterable[str]) -> bool:
    """Whether the last setting of a text such as ``corpus=files corpus.path`` can exist in a command."""
    key = text.split()[-1]
    return key in settings or any(name.startswith(f"{key}.") for name in settings) or key == "corpus.path"


def _shown(text: str) -> str:
    """An argument without what may be a secret, and not longer than a line."""
    shown = redacted_overrides([text])[0]
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
