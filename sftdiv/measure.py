"""``python -m sftdiv.measure``: measure the diversity of a dataset, alone or compared with a baseline. No training.

The input is a Hydra config (``conf/measure.yaml``, shown by ``--help``). The output is a table in the
terminal and the folder ``outputs/measure/NAME-HASH/`` with ``token_bands.png``, ``measure.html`` and, last,
``measure.json``. The hash covers data and settings, so a repeated command shows the finished report.
Heavy libraries are imported only when there is something to measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from sftdiv.config.app import conf_dir, ends_in_one_line, register_resolvers, run_app
from sftdiv.config.measurement import NAME, build_measure_request

register_resolvers()


def main() -> None:
    """Entry point of the command."""
    run_app(_app, config_name=NAME)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=NAME)
def _app(config: DictConfig) -> None:
    with ends_in_one_line(NAME):
        measure(config, list(HydraConfig.get().overrides.task))


def measure(config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Measure a dataset and its baseline, if any; print and return the numbers. A finished report is read instead.

    Args:
        config: Composed ``conf/measure.yaml``.
        overrides: Overrides of the command.

    Raises:
        SftdivError: A setting is invalid or a dataset cannot be read.
    """
    from sftdiv.pipeline.compare_datasets import measure_request
    from sftdiv.reporting.dataset.dataset_terminal import show

    request = build_measure_request(config, overrides)
    measured = measure_request(request, Console(stderr=True))
    show(measured, request.folder)
    return measured


if __name__ == "__main__":
    main()
