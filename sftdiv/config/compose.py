"""The composed config before it becomes a specification: fractions, another universe's settings, and checks of what no part knows.

Each part of the specification validates its own settings (`config.spec`); here stand the checks that
need the config itself, such as a setting that was not given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from sftdiv.config.build import build_request, evaluation_options, make
from sftdiv.config.run_request import RunRequest
from sftdiv.records import SftdivError
from sftdiv.release.hub.reproduce_command import command_of
from sftdiv.storage.cell import flatten
from sftdiv.storage.validate import check_one_of, check_range

SHARED_OF_CUSTOM = ("tasks", "include_path")  # shared evaluation settings that only eval=custom reads
SHARED_COUNTS = {"limit": 1, "num_fewshot": 0}  # shared settings that are whole numbers, with their least values


def request_of(config: DictConfig, overrides: Sequence[str]) -> RunRequest:
    """The run that a composed config asks for.

    Args:
        config: As Hydra composed it, without the ``hydra`` node; changed in place.
        overrides: The overrides that it was composed with.

    Raises:
        SftdivError: A setting is missing or cannot be right.
    """
    prepare(config, overrides)
    return build_request(config)


def prepare(config: DictConfig, overrides: Sequence[str]) -> None:
    """Make a composed config ready to build, in place: fractions become numbers, another universe's strategy is composed.

    Args:
        config: As Hydra composed it.
        overrides: The overrides that it was composed with.

    Raises:
        SftdivError: A setting is missing or cannot be right.
    """
    if isinstance(config.diversity_level, str) and re.fullmatch(r"\d+/[1-9]\d*", config.diversity_level):
        config.diversity_level = float(Fraction(config.diversity_level))
    check(config)
    with open_dict(config):
        config.command = command_of(overrides)
    _compose_universe(config, overrides)


def check_given(config: DictConfig) -> None:
    """Refuse a config that leaves open what has no default.

    Raises:
        SftdivError: With the missing settings.
    """
    unresolved = flatten(dict(OmegaConf.to_container(config, resolve=False)))  # type: ignore[arg-type]  # a mapping
    if missing := [name for name, value in unresolved.items() if value == "???"]:
        raise SftdivError(
            f"{' and '.join(missing)} must be given, as {missing[0]}=VALUE; --help and conf/ list the values"
        )


def check(config: DictConfig) -> None:
    """Refuse what cannot be right before anything is built, read or written.

    Raises:
        SftdivError: With the setting, its value and the alternatives.
    """
    check_given(config)
    check_one_of("model.source", config.model.source, ("scratch", "pretrained"))
    for name in ("epochs", "batch_size", "micro_batch"):
        check_range(f"model.finetune.{name}", config.model.finetune[name], least=1, whole=True)
    if config.model.source == "scratch" and config.model.path:
        raise SftdivError(
            f"model={config.model.name} is trained from scratch and would ignore model.path={config.model.path}; "
            "choose a pretrained one too, such as model=smollm2_135m"
        )
    if config.corpus.name == "hub" and Path(config.corpus.path).exists():
        raise SftdivError(
            f"corpus.path={config.corpus.path} is on this machine: use corpus=files, which notices when its content "
            "changes"
        )
    for group in ("strategy", "judge"):  # before settings are written or tracked: a wrong value may be a secret
        make(OmegaConf.select(config, f"{group}.endpoint"))
    _check_evaluation_options(config)


def _check_evaluation_options(config: DictConfig) -> None:
    if "_target_" in config.eval:
        name = config.eval.get("name", "NAME")
        raise SftdivError(
            f"the file of eval={name} must begin with the line '# @package eval.{name}', "
            "so that it can stand beside others"
        )
    options = evaluation_options(config)
    for name in SHARED_OF_CUSTOM:
        if config.eval[name] is not None and "custom" not in options:
            instead = " and ".join(f"eval.{option}.{name}" for option, node in options.items() if name in node)
            raise SftdivError(
                f"eval.{name}={config.eval[name]} is read by eval=custom alone; here it is {instead or 'eval=custom'}"
            )
    for name, least in SHARED_COUNTS.items():
        if not isinstance(config.eval[name], DictConfig):  # a mapping gives examples by task
            check_range(f"eval.{name}", config.eval[name], least=least, whole=True, optional=True)
    if config.stop_after == "select":
        return
    for name, option in options.items():
        if option.get("needs_world", False) and config.corpus.name != "embedded":
            raise SftdivError(
                f"eval={name} asks about the synthetic corpus; with corpus={config.corpus.name} use eval=heldout, "
                "custom or none"
            )


def _compose_universe(config: DictConfig, overrides: Sequence[str]) -> None:
    """Where ``selection.universe`` names a strategy, compose its settings into ``universe_strategy``, on the run's own side.

    The overrides hold for that strategy too, where they are not about the run's own.
    """
    name = config.selection.universe
    known = sorted(GlobalHydra.instance().config_loader().get_group_options("strategy"))  # with those of --config-dir
    check_one_of("selection.universe", name, ("own", *known))
    if name != "own":
        others = [text for text in overrides if not text.lstrip("+~").startswith(("strategy", "hydra"))]
        universe = compose(
            "config", overrides=[*others, f"strategy={name}", f"strategy.side={config.strategy.side}"]
        ).strategy
        with open_dict(config):
            config.universe_strategy = universe
