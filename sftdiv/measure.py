"""``python -m sftdiv.measure``: how diverse a dataset is, and whether it is more diverse than another one. Trains nothing.

In: a Hydra config (``conf/measure.yaml``; ``--help`` shows it). Out: a table in the terminal, and
``outputs/measure/NAME-HASH/`` with ``token_bands.png``, ``measure.html`` and, last,
``measure.json``. The folder is named by content: the same command on the same data finds it and
only shows it again. The trade: heavy libraries are imported once there is something to measure.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from rich.console import Console
from rich.markup import escape

from sftdiv.config.app import conf_dir, register_resolvers, run_app
from sftdiv.config.measure_spec import NAME, baseline_config, check, composed_strategies, dataset_names, place
from sftdiv.diversity.profile.settings import Matched, Runs
from sftdiv.diversity.registry import metric_families

register_resolvers()
REJECTED = ("rejected.jsonl", "rejected-baseline.jsonl")


def main() -> None:
    """The command."""
    run_app(_app, config_name=NAME)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=NAME)
def _app(config: DictConfig) -> None:
    measure(config, list(HydraConfig.get().overrides.task))


def measure(config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Measure a dataset, and its baseline where there is one, unless that is done; show and return what was measured.

    Args:
        config: ``conf/measure.yaml``, composed.
        overrides: What it was composed with beside the defaults.

    Raises:
        SftdivError: If a setting is wrong or a dataset cannot be read.
    """
    from sftdiv.reporting.dataset.dataset_terminal import show
    from sftdiv.reporting.dataset.report_files import finished, write_report

    matched, runs = check(config)
    configs = [config, *([] if config.baseline is None else [baseline_config(config, overrides)])]
    strategies = composed_strategies(config, overrides)
    names = dataset_names(configs)
    folder = place(config, configs, names, strategies)
    console = Console(stderr=True)
    measured = finished(folder)
    if measured is None:
        say = _Clock(console)
        measured = _measured(configs, names, strategies, matched, runs, overrides, say, folder)
        measured = write_report(measured, folder)
        say("done")
    show(measured, folder)
    return measured


def _measured(
    configs: Sequence[DictConfig],
    names: Sequence[str],
    strategies: Sequence[Mapping[str, Any]],
    matched: Matched,
    runs: Runs,
    overrides: Sequence[str],
    say: _Clock,
    folder: Path,
) -> dict[str, Any]:
    """Everything that ``measure.json`` holds; the rows that could not be read are put into the folder."""
    from sftdiv.pipeline.artifacts import Artifacts, plain
    from sftdiv.pipeline.compare_datasets import copy_rejected, measure_all, versions
    from sftdiv.pipeline.measure_dataset import Survey
    from sftdiv.storage.cache import Store

    config = configs[0]
    store = Store(Path(config.paths.cache).expanduser())
    artifacts = [Artifacts(_with_tokenizer(each), store) for each in configs]
    for each, name in zip(artifacts, names, strict=True):
        say(f"{name}: reading")
        say(f"{name}: {len(each.corpus):,} examples")
    survey = Survey(
        tokenizer=config.tokenizer,
        revision=config.tokenizer_revision,
        metrics=metric_families(plain(config.metrics)),
        pair_tokens=config.pair_tokens,
        matched=matched,
        runs=runs,
        near=plain(config.near_duplicates),
        band=plain(config.corpus.band),
        strategies=strategies,
        seed=config.seed,
    )
    found = measure_all(survey, artifacts, names, say)
    for each, name in zip(artifacts, REJECTED, strict=False):
        copy_rejected(each.corpus, folder / name)
    settings = OmegaConf.to_container(config, resolve=True)
    return {
        **found,
        "settings": settings,
        "versions": versions(),
        "command": ["python", "-m", "sftdiv.measure", *overrides],
    }


class _Clock:
    """Says what begins, with the time since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.perf_counter()

    def __call__(self, text: str) -> None:
        self._console.print(
            f"[dim]{time.perf_counter() - self._started:7.1f} s[/]  {escape(text)}", highlight=False, soft_wrap=True
        )


def _with_tokenizer(config: DictConfig) -> DictConfig:
    """What `Artifacts` calls the model's tokenizer is here the one that was chosen."""
    whole = copy.deepcopy(config)
    with open_dict(whole):
        whole.model = {"source": "pretrained", "path": config.tokenizer, "revision": config.tokenizer_revision}
    return whole


if __name__ == "__main__":
    main()
