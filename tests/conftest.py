"""What several tests share: composed configs, and a world that is small enough to train on in seconds."""

from collections.abc import Callable, Iterator

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from sftdiv.config.app import conf_dir, register_resolvers


@pytest.fixture
def composed() -> Iterator[Callable[..., DictConfig]]:
    """A function that composes the config of a command's overrides."""
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield lambda *overrides: compose("config", overrides=list(overrides))
