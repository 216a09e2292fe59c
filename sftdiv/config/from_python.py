"""Settings as Python keywords: the same groups, defaults, checks and messages as on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.errors import ConfigCompositionException, OverrideParseException

from sftdiv.config.app import conf_dir, register_resolvers, with_alternatives
from sftdiv.config.compose import request_of
from sftdiv.config.hints import check_group
from sftdiv.config.measurement import NAME as MEASURE
from sftdiv.config.measurement import MeasureRequest, build_measure_request
from sftdiv.config.run_request import RunRequest
from sftdiv.records import SftdivError
from sftdiv.storage.escaping import escape_interpolation


def run_request(settings: Mapping[str, Any]) -> RunRequest:
    """The run described by keyword settings.

    Args:
        settings: Values by setting; see `overrides_of`.

    Raises:
        SftdivError: A setting is unknown or invalid.
    """
    return compose_run(overrides_of({"study": "api", "tracking": "none", **settings}))


def compose_run(overrides: Sequence[str]) -> RunRequest:
    """The run described by a command's overrides, such as ``["strategy=meso_tag", "diversity_level=0.5"]``.

    Raises:
        SftdivError: A setting is unknown or invalid.
    """
    with _composing("config", overrides):
        return request_of(compose("config", overrides=list(overrides)), overrides)


def measure_request(settings: Mapping[str, Any]) -> MeasureRequest:
    """The measurement described by keyword settings.

    Args:
        settings: Values by setting; see `overrides_of`.

    Raises:
        SftdivError: A setting is unknown or invalid.
    """
    overrides = overrides_of(settings)
    with _composing(MEASURE, overrides):
        return build_measure_request(compose(MEASURE, overrides=overrides), overrides)


def overrides_of(settings: Mapping[str, Any]) -> list[str]:
    """Keyword settings as command-line overrides.

    ``corpus__dedup="near"``, ``{"corpus.dedup": "near"}`` and ``corpus={"dedup": "near"}`` all mean
    ``corpus.dedup=near``; ``strategy__tagger="column"`` chooses an option of the group ``strategy/tagger``.

    Args:
        settings: Values by setting: None, booleans, numbers (NumPy's as well), strings, paths, lists, mappings.
    """
    return [f"{key}={_text(value)}" for key, value in dotted(settings).items()]


def dotted(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword settings by their command-line names; see `overrides_of`."""
    values: dict[str, Any] = {}
    for name, value in settings.items():
        key = name.replace("__", ".")
        group = key.replace(".", "/")
        if isinstance(value, Mapping) and value:
            values |= dotted({f"{key}.{inner}": item for inner, item in value.items()})
        else:
            values[group if (conf_dir() / group).is_dir() else key] = value
    return values


def _text(value: Any) -> str:
    """A value in Hydra's override grammar."""
    if isinstance(value, (np.generic, np.ndarray)):
        return _text(value.tolist())
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_text(item) for item in value) + "]"
    text = escape_interpolation(str(value))
    reserved = {"null", "true", "false", "nan", "inf"}
    if re.fullmatch(r"[A-Za-z_][\w./+-]*", text) and text.lower() not in reserved:
        return text
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    trailing = re.search(r"\\*$", escaped)
    return f"'{escaped}{trailing[0] if trailing else ''}'"


_one_at_a_time = RLock()  # Hydra's state is global to the process


@contextmanager
def _composing(config_name: str, overrides: Sequence[str]) -> Iterator[None]:
    """A separate Hydra instance, so that composing also works inside a Hydra app and from threads.

    Raises:
        SftdivError: A setting is unknown or an override cannot be parsed.
    """
    with _one_at_a_time:
        register_resolvers()
        state = Singleton.get_state()
        GlobalHydra.instance().clear()
        for override in overrides:
            check_group(override, config_name)
        try:
            with initialize_config_dir(str(conf_dir()), version_base="1.3"):
                yield
        except ConfigCompositionException as error:
            raise SftdivError(with_alternatives(str(error), config_name, overrides)) from None
        except OverrideParseException as error:
            raise SftdivError(str(error)) from None
        finally:
            Singleton.set_state(state)


def is_hub_id(path: str) -> bool:
    """Whether the name of a missing path has the form of a Hub dataset id, ``OWNER/NAME`` or ``NAME``."""
    return re.fullmatch(r"[\w.-]+(/[\w.-]+)?", path) is not None and not Path(path).suffix
