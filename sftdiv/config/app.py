"""Shared parts of the Hydra apps: the ``conf/`` folder, resolvers, and error messages that name the alternatives."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, InstantiationException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from sftdiv.config.spec import SELECT
from sftdiv.records import SftdivError
from sftdiv.storage.files import local_path
from sftdiv.storage.folders import os_error_message
from sftdiv.storage.hashing import content_hash
from sftdiv.storage.redaction import redact_output, redact_shown_settings, redacted, redacted_overrides
from sftdiv.storage.validate import did_you_mean

JUDGE_CHOSEN = re.compile(r"eval=(.*\W)?judge\b.*")  # an override that adds the groups below
GROUPS_OF_JUDGE = ("judge", "prompts")
SHOW_SETTINGS = ("--cfg", "-c", "--info", "-i")  # Hydra's flags that print the composed config
FREE_KEYS = ("sweep.baselines", "units", "corpus.columns", "eval.num_fewshot")  # mappings whose entries may be deleted


def conf_dir() -> Path:
    """The packaged ``conf`` folder of a wheel, or the repository's in a checkout or an editable install."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def options_of(group: str) -> list[str]:
    """Options of a config group, those of ``--config-dir`` included."""
    folders = [folder / group for folder in _config_folders()]
    return sorted({path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.yaml")})


def _config_folders() -> list[Path]:
    """The folder ``conf/`` and the user's own of this command."""
    own = []
    for argument, following in zip(sys.argv, [*sys.argv[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name in ("--config-dir", "-cd"):
            own.append(Path(value if equals else following))
    return [conf_dir(), *own]


def register_resolvers() -> None:
    """Register the resolvers of ``conf/config.yaml``; idempotent."""
    resolvers: dict[str, Callable[..., Any]] = {
        "given": lambda value, otherwise: otherwise if value is None else value,
        "by_corpus": lambda corpus, embedded, other: embedded if corpus == "embedded" else other,
        "unless_selecting": _unless_selecting,
        "study_of_command": lambda: study_of_command(sys.argv[1:]),
        "user_cache": lambda: str(Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "sftdiv"),
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def study_of_command(arguments: list[str]) -> str:
    """Default name of the study: the experiment's name, else ``single`` for one run, else a hash of the overrides.

    The hash omits settings that change no result, since a resuming command may change them.
    """
    for argument in arguments:
        name, _, experiment = argument.lstrip("+").partition("=")
        if name == "experiment" and experiment:
            return experiment.replace(",", "+")
    if not {"-m", "--multirun"} & set(arguments):
        return "single"
    omitted = ("tracking", "paths.", "hydra", "study", "sweep.")
    overrides = sorted(text for text in arguments if "=" in text and not text.startswith(omitted))
    return "sweep-" + content_hash(overrides, length=6)


def run_app(app: Callable[[], None], *, config_name: str) -> None:
    """Run a Hydra app with ``conf/CONFIG_NAME.yaml``; errors that a user can fix are printed without a traceback."""
    # Without this Hydra prints the error and exits itself, and the message does not name the alternatives.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    redact_output()
    if any(argument.partition("=")[0] in SHOW_SETTINGS for argument in sys.argv[1:]):
        redact_shown_settings()
    try:
        _reject_numbers_for_groups(sys.argv[1:])
        _reject_roles_in_columns(sys.argv[1:])
        refuse_deletions(sys.argv[1:])
        app()
    except KeyboardInterrupt:
        print("sftdiv: interrupted; finished work is kept, and the same command resumes", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        message = _message(error, config_name)
        if message is None:
            raise
        sys.exit(f"sftdiv: {redacted(message)}")


def _message(error: Exception, config_name: str) -> str | None:
    """What a user can do about an error; None for an error of the program, which needs its traceback."""
    if isinstance(error, InstantiationException):  # Hydra wraps the exceptions of constructors
        return str(error.__cause__) if isinstance(error.__cause__, SftdivError) else None
    if isinstance(error, ConfigCompositionException):
        return with_alternatives(str(error), config_name, sys.argv[1:])
    if isinstance(error, OverrideParseException):
        shown = redacted_overrides([error.override])[0]
        if shown != error.override:  # the parser's message repeats parts of it
            return f"{shown} cannot be read; its value is not shown, because it may hold a key or a password"
        return str(error)
    if isinstance(error, OSError):
        return os_error_message(error)
    return str(error) if isinstance(error, SftdivError) else None


def _reject_roles_in_columns(arguments: list[str]) -> None:
    """Reject ``corpus.columns.instruction=question``, for which OmegaConf raises an error about list indices.

    ``corpus.columns`` stays a list of carried columns, so that both settings can be given in one command.
    """
    for argument in arguments:
        name, _, column = argument.lstrip("+").partition("=")
        if name.startswith("corpus.columns."):
            role = name.removeprefix("corpus.columns.")
            raise SftdivError(
                f"{name}={column}: corpus.columns is the list of columns to keep; the columns that hold a "
                f"conversation are named by corpus.mapping, as in corpus.mapping.{role}={column}"
            )


def refuse_deletions(overrides: Sequence[str]) -> None:
    """Refuse ``~setting``: every setting is read. Entries of mappings whose keys are free may go.

    Raises:
        SftdivError: With what turns the setting off, or the options of its group.
    """
    for override in overrides:
        key = override.removeprefix("~").partition("=")[0]
        parent, _, entry = key.rpartition(".")
        is_option = _is_group(parent) and entry in options_of(parent)
        if not override.startswith("~") or key.startswith("hydra") or parent in FREE_KEYS or is_option:
            continue
        if not _is_group(key):
            instead = f"leave {override} out for its default, or give it a value: {key}=VALUE"
        elif "none" in options_of(key):
            instead = f"{key}=none turns {key} off"
        else:
            instead = f"choose one: {', '.join(f'{key}={option}' for option in options_of(key))}"
        raise SftdivError(f"{key} was deleted ({override}); it is needed: {instead}")


RENAMED = {  # settings of earlier versions
    "selection.seed": "seed.ladder",
    "selection.replicate": "selection.universe_share (sampled by seed.ladder; sweep over replicate=0,1,2)",
}


def _reject_numbers_for_groups(arguments: list[str]) -> None:
    """Reject a number as the option of a group, for which Hydra's own message is about types."""
    for argument in arguments:
        name, _, value = argument.partition("=")
        if re.fullmatch(r"[\d.e,]+", value) and _is_group(name):
            options = ", ".join(options_of(name))
            hint = f"; size.n={value} takes any number" if name == "size" else ""
            raise SftdivError(f"{name}={value} is not an option of the group {name}: {options}{hint}")


def _unless_selecting(value: Any, *, _root_: Any) -> Any:
    """A value for runs that train; 0 with ``stop_after=select``. Other commands than ``run`` have no ``stop_after``."""
    return 0 if OmegaConf.select(_root_, "stop_after", default=None) == SELECT else value


def with_alternatives(message: str, config_name: str, overrides: Sequence[str]) -> str:
    """Hydra's message about an unknown key or option, with the closest one and all known ones.

    Args:
        message: Hydra's message.
        config_name: Name of the composed YAML file.
        overrides: Overrides of the command.
    """
    missing_option = re.search(r"Could not load '([^']+)/([^'/]+)'", message)
    if missing_option and _is_group(missing_option[1]):
        return _unknown_option(missing_option[1], missing_option[2])
    unknown = re.search(r"Could not override '([^']+)'", message)
    return _with_known_settings(unknown[1], config_name, overrides) if unknown else message


def _unknown_option(group: str, option: str) -> str:
    options = options_of(group)
    return f"unknown option {option!r} of {group}.{did_you_mean(option, options)} Known: {', '.join(options)}"


def _with_known_settings(setting: str, config_name: str, overrides: Sequence[str]) -> str:
    """Message about an unknown setting that names its new name or its siblings."""
    if setting in RENAMED:
        return f"{setting} has become {RENAMED[setting]}"
    if setting.startswith("seed.") and any(text.startswith("seed=") for text in overrides):
        return f"{setting} is set by seed=NUMBER already: give seed.draw and seed.train instead of seed"
    root = re.split(r"[./@]", setting)[0]
    if root in GROUPS_OF_JUDGE and not any(map(JUDGE_CHOSEN.fullmatch, overrides)):
        return f"unknown setting {setting!r}: {root} exists with eval=judge, or eval=[embedded,judge]"
    is_choice = re.compile(r"[\w/]+=([\w.]+|\[[\w.,]+\])").fullmatch
    choices = [text for text in overrides if is_choice(text) and _is_group(text.split("=")[0])]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        config = compose(config_name, overrides=choices)
    parent = setting.rpartition(".")[0]
    node = OmegaConf.select(config, parent) if parent else config
    if not isinstance(node, DictConfig):
        return f"unknown setting {setting!r}: {parent!r} has no settings below it"
    keys = [str(key) for key in node]
    known = sorted(f"{parent}.{key}" if parent else key for key in keys)
    within = f" in {parent}" if parent else ""
    names = ", ".join(name.rpartition(".")[2] for name in known)
    return f"unknown setting {setting!r}.{did_you_mean(setting, known)} Known{within}: {names}"


def _is_group(name: str) -> bool:
    folders = [local_path(folder / name) for folder in _config_folders()] if name else []
    return any(folder is not None and folder.is_dir() for folder in folders)
