"""Shared parts of the Hydra apps: the ``conf/`` folder, resolvers, and error messages that name the alternatives."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.errors import ConfigCompositionException, InstantiationException, OverrideParseException
from omegaconf import OmegaConf
from yaml import YAMLError

from sftdiv.config.groups import check_own_options, conf_dir, is_group, options_of
from sftdiv.config.help_page import asks_for_help, help_text
from sftdiv.config.hints import check_arguments, with_alternatives
from sftdiv.config.option_settings import choose_first
from sftdiv.config.spec import SELECT
from sftdiv.records import SftdivError
from sftdiv.storage.closed_output import outlive_readers
from sftdiv.storage.folders import os_error_message
from sftdiv.storage.hashing import content_hash
from sftdiv.storage.redaction import redact_output, redact_shown_settings, redacted, redacted_overrides

__all__ = [
    "conf_dir",
    "ends_in_one_line",
    "options_of",
    "refuse_deletions",
    "register_resolvers",
    "run_app",
    "study_of_command",
    "with_alternatives",
]

SHOW_SETTINGS = ("--cfg", "-c", "--info", "-i")  # Hydra's flags that print the composed config
FREE_KEYS = ("sweep.baselines", "units", "corpus.columns", "eval.num_fewshot")  # mappings whose entries may be deleted


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
    omitted = ("tracking", "paths.", "hydra", "study", "sweep.", "report.", "compute")
    overrides = sorted(text for text in arguments if "=" in text and not text.startswith(omitted))
    return "sweep-" + content_hash(overrides, length=6)


def run_app(app: Callable[[], None], *, config_name: str) -> None:
    """Run a Hydra app with ``conf/CONFIG_NAME.yaml``; errors that a user can fix are printed without a traceback."""
    # Without this Hydra prints the error and exits itself, and the message does not name the alternatives.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")
    outlive_readers()
    redact_output()
    if any(argument.partition("=")[0] in SHOW_SETTINGS for argument in sys.argv[1:]):
        redact_shown_settings()
    try:
        check_own_options()
        if asks_for_help(sys.argv[1:]):
            print(help_text(sys.argv[1:], config_name))
            return
        check_arguments(sys.argv[1:], config_name)
        _reject_roles_in_columns(sys.argv[1:])
        refuse_deletions(sys.argv[1:])
        app()
    except KeyboardInterrupt:
        print("sftdiv: interrupted; finished work is kept, and the same command resumes", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        _end_with_message(error, config_name)
        raise


@contextmanager
def ends_in_one_line(config_name: str) -> Iterator[None]:
    """End the process with a message where the block fails for a reason that a user can fix.

    Around the work of a single run: an exception that leaves Hydra's job is first announced by Hydra, in a line that
    repeats the command. Not for jobs of a sweep, in which the end of the process would end the sweep.

    Args:
        config_name: Name of the command's YAML file.
    """
    try:
        yield
    except Exception as error:
        _end_with_message(error, config_name)
        raise


def _end_with_message(error: Exception, config_name: str) -> None:
    """Exit with what a user can do about an error; return for an error of the program, which needs its traceback."""
    message = _message(error, config_name)
    if message is not None:
        sys.exit(f"sftdiv: {redacted(message)}")


def _message(error: Exception, config_name: str) -> str | None:
    """What a user can do about an error; None for an error of the program, which needs its traceback."""
    if isinstance(error, InstantiationException):  # Hydra wraps the exceptions of constructors
        return str(error.__cause__) if isinstance(error.__cause__, SftdivError) else None
    if isinstance(error, ConfigCompositionException):
        if swept := re.match(r"Ambiguous value for argument '([^=]*)=(.*)'", str(error)):
            key, value = swept[1], redacted_overrides([f"{swept[1]}={swept[2]}"])[0].partition("=")[2]
            return f"{key}={value}: -m (--multirun) runs every value; a list is written {key}=[{value}]"
        if unchosen := choose_first(str(error), sys.argv[1:], config_name):
            return unchosen
        return with_alternatives(str(error), config_name, sys.argv[1:])
    if isinstance(error, OverrideParseException):
        shown = redacted_overrides([error.override])[0]
        if shown != error.override:  # the parser's message repeats parts of it
            return f"{shown} cannot be read; its value is not shown, because it may hold a key or a password"
        return str(error)
    if isinstance(error, OSError):
        return os_error_message(error)
    if isinstance(error, YAMLError):  # of an option of the user's own
        return f"a YAML file cannot be read: {' '.join(str(error).split())}"
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
        is_option = is_group(parent) and entry in options_of(parent)
        if not override.startswith("~") or key.startswith("hydra") or parent in FREE_KEYS or is_option:
            continue
        if not is_group(key):
            instead = f"leave {override} out for its default, or give it a value: {key}=VALUE"
        elif "none" in options_of(key):
            instead = f"{key}=none turns {key} off"
        else:
            instead = f"choose one: {', '.join(f'{key}={option}' for option in options_of(key))}"
        raise SftdivError(f"{key} was deleted ({override}); it is needed: {instead}")


def _unless_selecting(value: Any, *, _root_: Any) -> Any:
    """A value for runs that train; 0 with ``stop_after=select``. Other commands than ``run`` have no ``stop_after``."""
    return 0 if OmegaConf.select(_root_, "stop_after", default=None) == SELECT else value
