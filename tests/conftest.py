"""What several tests share: composed configs, and a world that is small enough to train on in seconds."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from sftdiv.config.app import conf_dir, register_resolvers

TESTS = Path(__file__).parent
# Child processes of tests import the package of this checkout, and the helper modules.
os.environ["PYTHONPATH"] = os.pathsep.join(map(str, [TESTS.parent, TESTS, TESTS / "support"]))


@pytest.fixture
def composed() -> Iterator[Callable[..., DictConfig]]:
    """A function that composes the config of a command's overrides."""
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield lambda *overrides: compose("config", overrides=list(overrides))
