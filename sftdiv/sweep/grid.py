"""The cells of a sweep: the grid of its swept settings, and its baselines.

Swept settings such as ``seed=0,1`` and named baselines such as ``{strategy: random, size: full}`` become
one list of plain overrides per cell. A baseline is a separate sweep that uses the grid's values for every
setting that it does not name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product

Axes = dict[str, list[str]]  # setting -> its overrides, "key=value" each


def grid(axes: Axes) -> list[list[str]]:
    """Every combination of the settings' values."""
    return [list(combination) for combination in product(*axes.values())]


def baseline_axes(
    axes: Axes,
    settings: Mapping[str, object],
    axes_of: Callable[[Sequence[str]], Axes],
    current: Callable[[str], str],
) -> Axes:
    """Axes of one baseline; empty if a setting has no values.

    A baseline that names a strategy ignores the grid's settings of its strategies, which other strategies may not
    have, except for the side.

    Args:
        axes: Axes of the grid.
        settings: Settings of the baseline; ``{key}`` in a value stands for the grid's values of that setting.
        axes_of: Parser from overrides to axes.
        current: Value of a setting that the grid does not sweep.
    """

    def grid_values(match: re.Match[str]) -> str:
        values = [text.partition("=")[2] for text in axes[match[1]]] if match[1] in axes else [current(match[1])]
        return ",".join(value for value in values if value != "random")  # random draws are their own baseline

    filled = {key: re.sub(r"\{([\w.]+)\}", grid_values, str(value)) for key, value in settings.items()}
    if any(not value for value in filled.values()):
        return {}
    replaced = ("strategy.", "strategy/") if "strategy" in settings else ()
    shared = {
        key: values
        for key, values in axes.items()
        if key == "strategy.side" or not key.lstrip("+").startswith(replaced)
    }
    return shared | axes_of([f"{key}={value}" for key, value in filled.items()])
