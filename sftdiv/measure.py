"""``python -m sftdiv.measure``: how diverse a dataset is, and whether it is more diverse than another one. Trains nothing.

A Hydra config (``conf/measure.yaml``; ``--help`` shows it) becomes a table in the terminal and
``outputs/measure/NAME-HASH/`` with ``token_bands.png``, ``measure.html`` and, last, ``measure.json``. The
folder is named by content: the same command on the same data shows the finished report again. Heavy
libraries are imported once there is something to measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from sftdiv.config.app import conf_dir, register_resolvers, run_app
from sftdiv.config.measurement import NAME, build_measure_request

register_resolvers()


def main() -> None:
    """The command."""
    run_app(_app, config_name=NAME)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=NAME)
def _app(config: DictConfig) -> None:
    measure(config, list(HydraConfig.get().overrides.task))


def measure(config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Measure a dataset, and its baseline where there is one, unless that is done; show and return the numbers.

    Args:
        config: ``conf/measure.yaml``, composed.
        overrides: The overrides that it was composed with.

    Raises:
        SftdivError: A setting is wrong or a dataset cannot be read.
    """
    from sftdiv.pipeline.compare_datasets import measure_request
    from sftdiv.reporting.dataset.dataset_terminal import show

    request = build_measure_request(config, overrides)
    measured = measure_request(request, Console(stderr=True))
    show(measured, request.folder)
    return measured


if __name__ == "__main__":
    main()
