"""What the tests share: composed configs, folders that are built once a session, and a warm artifact cache."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault(
    "HF_XET_HIGH_PERFORMANCE", "1"
)  # as lm-eval sets it when it is imported: one value in all processes
os.environ["OMP_NUM_THREADS"] = "1"  # two pytest processes share two cores; read when torch is imported

import pytest
import warm_process
from hydra import compose, initialize_config_dir
from hypothesis import settings
from omegaconf import DictConfig

from sftdiv.config.app import conf_dir, register_resolvers

TESTS = Path(__file__).parent
# Child processes of tests import the package of this checkout, and the helper modules.
os.environ["PYTHONPATH"] = os.pathsep.join(map(str, [TESTS.parent, TESTS, TESTS / "support"]))
os.environ.pop("WANDB_SERVICE", None)
settings.register_profile("no deadline", deadline=None)  # machines are noisy: no test measures time
settings.load_profile("no deadline")


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder that all pytest processes of this session share (`warm_process.SHARED`)."""
    if not hasattr(config, "workerinput"):  # the only process, or the one that starts xdist's workers
        os.environ[warm_process.SHARED] = tempfile.mkdtemp(prefix="sftdiv-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove that folder."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ[warm_process.SHARED], ignore_errors=True)


@pytest.fixture
def composed() -> Iterator[Callable[..., DictConfig]]:
    """A function that composes the config of a command's overrides."""
    register_resolvers()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield lambda *overrides: compose("config", overrides=list(overrides))


@pytest.fixture
def warm_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchrun, its ranks and fork servers that this process starts run in forks of the warm server."""
    for name, value in warm_process.warm_children().items():
        monkeypatch.setenv(name, value)
