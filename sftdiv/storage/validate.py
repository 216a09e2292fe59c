"""Validation of settings, shared by every layer: each error names the setting, its value and the alternatives."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from typing import Any

from sftdiv.records import SftdivError

YAML_WORDS = {None: "null", True: "true", False: "false"}  # as users write them


def shown_value(value: Any) -> str:
    """A value as users write it in a command: ``null``, ``true`` and ``[a, b]``, other text in quotes."""
    if value is None or isinstance(value, bool):
        return YAML_WORDS[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(item if isinstance(item, str) else shown_value(item) for item in value)}]"
    return repr(value)


def did_you_mean(value: Any, known: Iterable[Any]) -> str:
    """Suggestion of the closest known value, with a leading space; empty if none is close."""
    matches = difflib.get_close_matches(str(value), [str(item) for item in known], n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def check_one_of(name: str, value: Any, known: Sequence[Any]) -> None:
    """Reject a value that is not one of the known ones.

    Raises:
        SftdivError: The value is unknown; names the closest known one and all known ones.
    """
    if value not in known:
        options = ", ".join(str(YAML_WORDS.get(item, item)) for item in known)
        raise SftdivError(f"{name}={shown_value(value)} is unknown.{did_you_mean(value, known)} Known: {options}")


def check_installed(package: str, *, extra: str, setting: str) -> None:
    """Reject a setting whose package is not installed.

    Args:
        package: Name under which the package is imported.
        extra: Extra of sftdiv that installs it.
        setting: Setting as users write it.

    Raises:
        SftdivError: With the command that installs it.
    """
    if find_spec(package) is None:
        raise SftdivError(f"{setting} needs the package {package}: pip install 'sftdiv[{extra}]'")


def check_range(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    whole: bool = False,
    optional: bool = False,
) -> None:
    """Reject a value that is not a number within bounds.

    Args:
        name: Setting as users write it.
        value: Value to check; booleans and infinities are not numbers.
        least: Lower bound, inclusive.
        most: Upper bound, inclusive.
        above: Lower bound, exclusive; instead of ``least``.
        whole: Whether the number must be an integer.
        optional: Whether None is accepted.

    Raises:
        SftdivError: The value is no number, or out of bounds; names the bounds.
    """
    if value is None and optional:
        return
    is_number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    is_high = (least is None or value >= least) and (above is None or value > above) if is_number else False
    if is_high and math.isfinite(value) and (most is None or value <= most):
        return
    kind = "a whole number" if whole else "a number"
    if least is not None and most is not None:
        bounds = f" in [{least}, {most}]"
    elif above is not None:
        bounds = f" above {above}" if most is None else f" in ({above}, {most}]"
    elif least is not None:
        bounds = f" of at least {least}"
    else:
        bounds = "" if most is None else f" of at most {most}"
    raise SftdivError(f"{name}={shown_value(value)} must be {kind}{bounds}{', or null' if optional else ''}")
