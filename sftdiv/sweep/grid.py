"""Which cells a sweep has: the grid of its swept settings, and the baselines that stand beside it.

In: parsed overrides such as ``seed=0,1``, and named baselines such as ``{strategy: random, size:
full}``. Out: one list of plain overrides a cell. A baseline is a sweep of its own: it takes the
grid's values for every setting that it does not name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from sftdiv.records import SftdivError

Axes = dict[str, list[str]]  # setting -> its overrides, "key=value" each


def axes_of(overrides: Sequence[str], parser: OverridesParser) -> Axes:
    """Every overridden setting with its values; a later override of a setting replaces an earlier one.

    Raises:
        SftdivError: If a sweep is a range of real numbers, which has no values.
    """
    axes: Axes = {}
    for override in parser.parse_overrides(list(overrides)):
        key = override.get_key_element()
        axes[key] = [f"{key}={value}" for value in _values(override)]
    return axes


def grid(axes: Axes) -> list[list[str]]:
    """Every combination of the settings' values."""
    return [list(combination) for combination in product(*axes.values())]


def baseline_axes(
    axes: Axes, settings: Mapping[str, object], parser: OverridesParser, current: Callable[[str], str]
) -> Axes:
    """The axes of one baseline.

    A baseline that names a strategy leaves out what the grid sets of its own strategies, which
    another one may not have, but for the side.

    Args:
        axes: The grid's.
        settings: The baseline's own settings; ``{key}`` in a value stands for the grid's values of
            that setting.
        parser: Hydra's.
        current: The value of a setting that the grid does not sweep over.
    """

    def swept(match: re.Match[str]) -> str:
        values = [each.partition("=")[2] for each in axes[match[1]]] if match[1] in axes else [current(match[1])]
        return ",".join(value for value in values if value != "random")  # a baseline of the baseline would be itself

    filled = {key: re.sub(r"\{([\w.]+)\}", swept, str(value)) for key, value in settings.items()}
    if any(not value for value in filled.values()):
        return {}
    own = "strategy." if "strategy" in settings else "="
    shared = {key: values for key, values in axes.items() if key == "strategy.side" or not key.startswith(own)}
    return shared | axes_of([f"{key}={value}" for key, value in filled.items()], parser)


def _values(override: Override) -> Sequence[str]:
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if not override.is_discrete_sweep():
        raise SftdivError(
            f"{override.input_line} is a continuous range; list its values, such as diversity_level=0,1/2,1"
        )
    return list(override.sweep_string_iterator())
