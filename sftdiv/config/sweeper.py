"""From a Hydra multirun to a sweep: swept overrides become combinations, one list of overrides per cell.

Each combination is built into a request; Hydra's launcher runs the unfinished ones.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict

from sftdiv.config.compose import missing_message, missing_settings, request_of
from sftdiv.config.instantiate import plain
from sftdiv.config.run_request import RunRequest, check_study
from sftdiv.config.submit import check_can_submit, submit, submits
from sftdiv.pipeline.publish import check_distinct_targets
from sftdiv.records import SftdivError
from sftdiv.storage.folders import user_path
from sftdiv.storage.redaction import redacted_overrides
from sftdiv.sweep.grid import Axes, baseline_axes, grid
from sftdiv.sweep.sweep import SweepOrder, run_sweep


def sweep(config: DictConfig, loader: ConfigLoader, launcher: Launcher, overrides: Sequence[str]) -> None:
    """Run the unfinished cells of a multirun.

    Args:
        config: Config of the multirun, composed by Hydra.
        loader: Hydra's config loader.
        launcher: Hydra's launcher, which runs the unfinished cells.
        overrides: Swept and plain overrides, those of the experiment first.

    Raises:
        SftdivError: A swept setting has no discrete values, or the launcher cannot do what ``sweep.wait`` asks for.
    """

    def build(cell_overrides: Sequence[str]) -> RunRequest:
        job = loader.load_sweep_config(config, list(cell_overrides))
        with open_dict(job):
            del job["hydra"]
        return request_of(job, cell_overrides)

    unresolved: dict[str, Any] = dict(OmegaConf.to_container(config.train, resolve=False))  # type: ignore[arg-type]

    check_study(str(config.study))
    if not config.sweep.wait:
        check_can_submit(launcher)
    cells = combinations(config, loader, overrides)
    if cells:
        _check_missing(loader.load_sweep_config(config, list(cells[0])), cells)
    order = SweepOrder(
        study=str(config.study),
        root=user_path(config.paths.multirun, name="paths.multirun").absolute(),
        command=" ".join(["python -m sftdiv.run", *map(shlex.quote, redacted_overrides(sys.argv[1:]))]),
        combinations=cells,
        build=build,
        check=lambda cells: check_distinct_targets(unresolved["push_to_hub"], cells),
        launch=lambda jobs: launcher.launch(jobs, initial_job_idx=0),
        submit=(lambda jobs: submit(launcher, jobs)) if submits(launcher) else None,
        wait=bool(config.sweep.wait),
        launcher=cast("dict[str, Any]", OmegaConf.to_container(config.hydra.launcher, resolve=False)),
    )
    run_sweep(order)


def _check_missing(first: DictConfig, cells: Sequence[Sequence[str]]) -> None:
    """Refuse a sweep whose cells all lack the same settings, before each is composed.

    Args:
        first: Config of the first cell.
        cells: Overrides of each cell.

    Raises:
        SftdivError: With the settings that are missing in all cells.
    """
    with open_dict(first):
        first.pop("hydra", None)

    def of_part(overrides: Sequence[str], root: str) -> set[str]:
        return {text for text in overrides if text.lstrip("+").startswith((f"{root}=", f"{root}.", f"{root}/"))}

    missing = missing_settings(first)
    roots = {name.partition(".")[0] for name in missing}
    if missing and all(of_part(cell, root) == of_part(cells[0], root) for root in roots for cell in cells):
        raise SftdivError(f"{missing_message(missing)}. It is missing in all {len(cells):,} cells of the sweep")


def combinations(config: DictConfig, loader: ConfigLoader, overrides: Sequence[str]) -> list[list[str]]:
    """One list of overrides per cell: the baselines first, since all cells are compared with them, then the grid."""
    parser = OverridesParser.create(config_loader=loader)

    def axes_of(texts: Sequence[str]) -> Axes:
        return swept_values(texts, parser)

    axes = axes_of(overrides) | {"study": [f"study={config.study}"]}
    choices = config.hydra.runtime.choices

    def current(key: str) -> str:
        return str(choices[key] if key in choices else OmegaConf.select(config, key))

    baselines: Mapping[str, Mapping[str, Any]] = plain(config.sweep.baselines)
    baseline_grids = [baseline_axes(axes, settings, axes_of, current) for settings in baselines.values()]
    return [cell for cell_axes in [*filter(None, baseline_grids), axes] for cell in grid(cell_axes)]


def swept_values(overrides: Sequence[str], parser: OverridesParser) -> Axes:
    """Values of every overridden setting; a later override of a setting replaces an earlier one.

    Raises:
        SftdivError: A sweep is a continuous range.
    """
    axes: Axes = {}
    for override in parser.parse_overrides(list(overrides)):
        key = override.get_key_element()
        axes[key] = [f"{key}={value}" for value in _values(override)]
    return axes


def _values(override: Override) -> Sequence[str]:
    if not override.is_sweep_override():
        return [override.get_value_element_as_str()]
    if not override.is_discrete_sweep():
        raise SftdivError(
            f"{override.input_line} is a continuous range; list its values, such as diversity_level=0,1/2,1"
        )
    return list(override.sweep_string_iterator())
