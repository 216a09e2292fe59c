"""The kind of value that each setting takes: null and values of other kinds are refused by the setting's name.

A setting's kind is that of its default in ``conf/``, or, for a setting of a component, what the type hint of its class
says. Components validate ranges and alternatives themselves and come first, since their messages say more. What still
makes a component raise an error of Python is traced to the override without which the settings can be built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from hydra import compose
from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sftdiv.config.groups import chooses_option, is_group
from sftdiv.config.hints import with_known_settings
from sftdiv.config.names import FREE, MEANT
from sftdiv.config.option_settings import choose_first
from sftdiv.records import SftdivError

Built = TypeVar("Built")
NULLABLE = re.compile(  # settings with another default for which null means something, as their comments in conf/ say
    r"near_duplicates|model\.parameters|units\.\w+(\.(tokenizer|tagger|clusterer|units\..+))?|sampling\.(?!extra).+|"
    r"train\.checkpoint_minutes|prompts\.\w+\.limit|judge\.(seed|temperature|max_tokens|generation\.seed)|"
    r"strategy\.units\.tagger\.(temperature|seed|max_tokens)|strategy\.units\.normaliser\.\w+|"
    r"strategy\.units\.normaliser\.rules\.language|eval\.\w+\.higher_is_better|sweep\.baselines\..+"
)
TEXTS = re.compile(  # names of files, folders, columns and sources: one of digits, such as 2024, is a text too
    r"baseline|study|selection\.(quality|draw_by|sources|selector\.column)|export\.(folder|name)|paths\.\w+|"
    r"(.+\.)?(path|tag_map|include_path)|"
    r"corpus\.(mapping\.\w+|columns|ignore|ood|id_column|source_column|contamination\.files)|strategy\.(column|tokenizer)"
)
NOT_SETTLED = "???"
KINDS: Mapping[type, str] = {bool: "true or false", int: "a number", float: "a number", str: "a text"}


def build_checked(
    build: Callable[[DictConfig, Sequence[str]], Built], config: DictConfig, overrides: Sequence[str], name: str
) -> Built:
    """Build a request, and refuse settings of a wrong kind by name.

    Args:
        build: Builds the request of a config and its overrides; may change the config.
        config: Composed config.
        overrides: Overrides of the command.
        name: Name of the composed YAML file.

    Raises:
        SftdivError: A setting is invalid.
    """
    _keep_names_as_written(config, overrides)
    given = OmegaConf.to_container(config, resolve=False)
    try:
        request = build(config, overrides)
    except SftdivError as error:  # a value of a wrong kind may have been reported under another setting's name
        unnamed = [text for text in overrides if chooses_option(text) or _last_part(text) not in str(error)]
        check_kinds(OmegaConf.create(given), unnamed, name)
        raise
    except Exception as error:
        check_kinds(OmegaConf.create(given), overrides, name)
        if (unchosen := choose_first(str(error), overrides, name)) is not None:
            raise SftdivError(unchosen) from error
        if (culprit := _culprit(build, overrides, name)) is not None:
            raise SftdivError(f"{culprit} cannot be used ({type(error).__name__}: {_first_line(error)})") from error
        raise
    check_kinds(OmegaConf.create(given), overrides, name)
    return request


def _keep_names_as_written(config: DictConfig, overrides: Sequence[str]) -> None:
    """Turn numbers in place of names back into texts: Hydra reads ``corpus.path=2024`` as a number."""
    for override in overrides:
        key, _, text = override.lstrip("+").partition("=")
        value = _selected(config, key) if TEXTS.fullmatch(key) else None
        if _is_number(value):
            OmegaConf.update(config, key, text)
        elif isinstance(value, ListConfig) and any(map(_is_number, value)):
            OmegaConf.update(config, key, [str(item) if _is_number(item) else item for item in value])


def check_kinds(config: Any, overrides: Sequence[str], name: str) -> None:
    """Refuse overridden settings whose values are not of the kind of their defaults.

    Args:
        config: Composed config.
        overrides: Overrides of the command.
        name: Name of the composed YAML file.

    Raises:
        SftdivError: With the setting, its value, the kind and the default.
    """
    defaults = None
    options = tuple(text for text in overrides if chooses_option(text))
    choices = options, tuple(text for text in options if not text.startswith("+experiment="))
    for override in overrides:
        key = override.lstrip("+").partition("=")[0]
        if override.startswith(("~", "hydra")) or is_group(key.partition("@")[0]):
            continue
        if defaults is None:
            defaults = _defaults(name, choices[0])
        if override.startswith("+") and not _is_read(config, defaults, key):
            raise SftdivError(f"{with_known_settings(key, name, overrides)} ('+' adds a setting that nothing reads)")
        value, default = _selected(config, key), _selected(defaults, key)
        if value == NOT_SETTLED or _fits_hint(config, key, value):
            continue
        if value is None and default is not None and _selected(_defaults(name, choices[1]), key) is None:
            continue  # null is the default that an experiment replaces
        if (kind := _refused(key, value, default)) is not None:
            shown = "null" if value is None else override.partition("=")[2]
            meant = " or ".join(f"{name}={shown}" for name in MEANT.get(key, ()) if value is not None)
            instead = f"did you mean {meant}?" if meant else f"leave it out for its default{_shown(default)}"
            if default == NOT_SETTLED:
                instead = f"it has no default: {key}=VALUE"
            raise SftdivError(f"{key}={shown}: the setting {kind}; {instead}")


def _last_part(override: str) -> str:
    return override.partition("=")[0].rpartition(".")[2]


def _is_read(config: Any, defaults: Any, key: str) -> bool:
    """Whether something reads a setting that ``+`` may have added: it exists, is free, or belongs to a component."""
    parents = [key.rsplit(".", count)[0] for count in range(1, key.count(".") + 1)]
    nodes = [_selected(config, parent) for parent in parents]
    siblings = _selected(defaults, parents[0]) if parents else defaults
    if isinstance(siblings, DictConfig) and (key.rpartition(".")[2] in siblings or (parents and not siblings)):
        return True
    is_component = any(isinstance(node, DictConfig) and "_target_" in node for node in nodes)
    return is_component or bool(FREE.fullmatch(key)) or f"${{{key}}}" in OmegaConf.to_yaml(config)


def _refused(key: str, value: Any, default: Any) -> str | None:
    """The kind of values that a setting takes, if this value is none of them."""
    if default == NOT_SETTLED:
        return "must be given" if value is None else "takes a single value" if isinstance(value, DictConfig) else None
    if FREE.fullmatch(key) and value is not None:
        return None
    if isinstance(default, DictConfig):
        is_allowed = isinstance(value, DictConfig) or (value is None and NULLABLE.fullmatch(key))
        inner = ", ".join(f"{key}.{name}=..." for name in list(default)[:3] if not str(name).startswith("_"))
        return None if is_allowed else f"has settings below it ({inner or 'none yet'})"
    if value is None:
        return None if default is None or NULLABLE.fullmatch(key) else _kind(default)
    if isinstance(value, DictConfig):
        return "takes a single value" if default is None else _kind(default)
    if isinstance(default, ListConfig) != isinstance(value, ListConfig):
        return None if default is None else _kind(default)
    if isinstance(default, bool) and not isinstance(value, bool):
        return _kind(default)
    return _kind(default) if _is_number(default) and not _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(default: Any) -> str:
    if isinstance(default, ListConfig):
        return "takes a list, such as [a,b]"
    return f"takes {KINDS.get(type(default), 'another kind of value')}"


def _shown(default: Any) -> str:
    if isinstance(default, DictConfig):
        return ""
    text = OmegaConf.to_yaml(default).strip() if isinstance(default, ListConfig) else str(default)
    return f" ({text.lower() if isinstance(default, bool) else text})" if len(text) < 80 and "\n" not in text else ""


@lru_cache(maxsize=64)
def _defaults(name: str, choices: tuple[str, ...]) -> DictConfig:
    """The config of the chosen options alone."""
    return compose(name, overrides=list(choices))


def _selected(config: Any, key: str) -> Any:
    """The value of a dotted key; `NOT_SETTLED` if it is missing or depends on what is missing."""
    try:
        return OmegaConf.select(config, key, throw_on_missing=True, default=NOT_SETTLED if "." not in key else None)
    except OmegaConfBaseException:  # missing, or made of what is missing
        return NOT_SETTLED


def _fits_hint(config: Any, key: str, value: Any) -> bool:
    """Whether a setting belongs to a component whose class accepts the value by its type hint."""
    parent, _, name = key.rpartition(".")
    node = _selected(config, parent) if parent else None
    if not isinstance(node, DictConfig) or "_target_" not in node:
        return False
    try:
        component = get_object(node._target_)
        hint = get_type_hints(component).get(name)
    except Exception:  # a name for type checkers only, or a class that cannot be imported: building it says more
        return False
    plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return hint is not None and not isinstance(plain, Mapping) and _fits(plain, hint)


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    if get_origin(hint) is Union or isinstance(hint, type(int | None)):
        return any(_fits(value, part) for part in get_args(hint))
    if get_origin(hint) is not None and str(hint).startswith("typing.Literal"):
        return value in get_args(hint)
    plain = get_origin(hint) or hint
    if not isinstance(plain, type) or getattr(plain, "_is_protocol", False):
        return False
    if plain is float:
        return _is_number(value)
    if plain is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, plain) and (plain is str or not isinstance(value, str))  # a text is no sequence here


def _culprit(build: Callable[[DictConfig, Sequence[str]], Any], overrides: Sequence[str], name: str) -> str | None:
    """The override without which the settings can be built, or else without which a message refuses them."""
    refused = None
    for override in reversed(overrides):
        others = [text for text in overrides if text != override]
        try:
            build(compose(name, overrides=others), others)
        except SftdivError as error:
            is_missing = "must be given" in str(error)
            refused = refused or (None if is_missing else override)
        except Exception:  # still the same error
            continue
        else:
            return override
    return refused


def _first_line(error: Exception) -> str:
    """The cause of an error in one line."""
    cause = error.__cause__ or error
    return str(cause).strip().partition("\n")[0]
