"""The extras of ``pip install 'sftdiv[EXTRA]'``: what each enables, and which are installed.

The requirements are those of the installed package's metadata, so of ``pyproject.toml``; what an extra enables is
written here only.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass

PURPOSES: Mapping[str, str] = {
    "offline": "all-MiniLM-L6-v2 as a package: sentence embeddings (embedder=minilm) without a hub",
    "gguf": "models from GGUF files: model.path=FILE.gguf",
    "evoc": "topics by EVoC: strategy/clusterer=evoc",
    "joblib": "several cells of a sweep at once on one machine: hydra/launcher=joblib",
    "slurm": "cells of a sweep as jobs of a cluster: hydra/launcher=submitit_slurm, or submitit_local to try it",
    "datatrove": "the work on a corpus's rows as tasks of datatrove: compute=datatrove_local or datatrove_slurm",
    "ray": "cells of a sweep and the work on a corpus as tasks of Ray: hydra/launcher=ray, compute=datatrove_ray",
    "bnb": "4-bit and 8-bit training: train=qlora, train.optimizer=adamw_8bit",
    "liger": "Liger's GPU kernels: train.liger=true",
    "deepspeed": "sharded training by DeepSpeed: trainer=deepspeed",
    "vllm": "faster generation on a Linux GPU: eval.backend=vllm; wants a torch of its own",
    "tensorboard": "tracking=tensorboard",
    "mlflow": "tracking=mlflow; the package mlflow adds its user interface",
    "workspaces": "a W&B workspace of a study: sftdiv sync workspace",
    "docs": "the documentation site: make docs",
    "dev": "tests, lint, types and builds of sftdiv itself",
}


@dataclass(frozen=True)
class Extra:
    """An extra and its packages.

    Attributes:
        name: Name of the extra.
        purpose: Feature that the extra enables, and its setting.
        installed: Version of each required package that is installed.
        missing: Required packages that are not installed.
    """

    name: str
    purpose: str
    installed: Mapping[str, str]
    missing: tuple[str, ...]


def examine_extras() -> list[Extra]:
    """The extras in the metadata of the installed package, in the order of `PURPOSES`; none without metadata."""
    try:
        requirements = importlib.metadata.requires("sftdiv") or []
    except importlib.metadata.PackageNotFoundError:  # a checkout that is only on the import path
        return []
    packages: dict[str, list[str]] = {name: [] for name in PURPOSES}
    for requirement in requirements:
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        package = re.match(r"[\w.-]+", requirement)
        if extra and package and package[0] != "sftdiv":
            packages.setdefault(extra[1], []).append(package[0])
    return [_examined(name, required) for name, required in packages.items() if required]


def installed_version(package: str) -> str | None:
    """Version of an installed distribution; None if it is not installed. Nothing is imported."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _examined(name: str, required: list[str]) -> Extra:
    versions = {package: installed_version(package) for package in required}
    installed = {package: version for package, version in versions.items() if version is not None}
    missing = tuple(package for package, version in versions.items() if version is None)
    return Extra(name, PURPOSES.get(name, ""), installed, missing)
