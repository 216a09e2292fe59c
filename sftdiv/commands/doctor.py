"""``sftdiv doctor``: what this machine offers and what is missing: versions, devices, hub, caches, W&B and extras.

It changes nothing and sends one request, to the Hugging Face hub, unless that is switched off (``HF_HUB_OFFLINE``).
``--json`` prints the same facts for programs and bug reports; neither form holds a key or a token.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sftdiv import __version__
from sftdiv.commands.extras import examine_extras, installed_version
from sftdiv.records import SftdivError
from sftdiv.storage.closed_output import outlive_readers

LIBRARIES = ("torch", "transformers", "datasets", "pytorch-lightning", "peft", "lm-eval", "sentence-transformers")
LIBRARIES_OF_CONFIG = ("hydra-core", "omegaconf", "numpy", "pyarrow", "wandb")
GIB = 1 << 30


def parser() -> argparse.ArgumentParser:
    """The command line."""
    command_line = argparse.ArgumentParser(
        prog="sftdiv doctor",
        description="Versions, devices, hub, caches, W&B and extras of this machine. Changes nothing; one request to "
        "the hub, none with HF_HUB_OFFLINE=1.",
    )
    command_line.add_argument("--json", action="store_true", help="print JSON instead of text")
    return command_line


def main(arguments: list[str] | None = None) -> int:
    """Print the facts; gives the exit code."""
    outlive_readers()
    options = parser().parse_args(arguments)
    facts = examine()
    print(json.dumps(facts, indent=2) if options.json else "\n".join(report_lines(facts)))
    return 0


def examine() -> dict[str, Any]:
    """All facts as JSON values."""
    cache = _cache_folder()
    return {
        "sftdiv": __version__,
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "system": platform.platform(),
        "libraries": {name: installed_version(name) for name in (*LIBRARIES, *LIBRARIES_OF_CONFIG)},
        "devices": examine_devices(),
        "hub": examine_hub(),
        "wandb": examine_wandb(),
        "caches": examine_caches(cache),
        "extras": [dataclasses.asdict(extra) for extra in examine_extras()],
    }


def examine_devices() -> dict[str, Any]:
    """Cores and free memory, in bytes, of the machine or its container, and the accelerators that torch finds."""
    import torch

    from sftdiv.training.resources.available_memory import machine_memory

    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "free_memory": int(machine_memory()),
        "gpus": [{"name": device.name, "memory": int(device.total_memory)} for device in devices],
        "cuda": torch.version.cuda,
        "mps": bool(torch.backends.mps.is_available()),
    }


def examine_hub() -> dict[str, Any]:
    """Address of the hub, whether it responds (None where it is switched off), and whether a token is known."""
    from huggingface_hub import constants, get_token

    from sftdiv.evaluation.loading import hub_responds

    is_offline = constants.is_offline_mode()
    return {
        "endpoint": constants.ENDPOINT,
        "offline": is_offline,
        "responds": None if is_offline else hub_responds(constants.ENDPOINT),
        "token": get_token() is not None,
    }


def examine_wandb() -> dict[str, Any]:
    """The mode of W&B in runs with the default settings, and whether an API key is known."""
    from sftdiv.tracking.session import has_key, resolve_mode

    try:
        mode = resolve_mode("auto")
    except SftdivError as error:  # WANDB_MODE=online without a key
        return {"mode": None, "key": has_key(), "error": str(error)}
    return {"mode": mode, "key": has_key(), "error": None}


def examine_caches(sftdiv_cache: Path) -> list[dict[str, Any]]:
    """Folder, size and free space, in bytes, of each cache; of sftdiv's also the size of each kind of artifact."""
    from huggingface_hub import constants

    datasets_cache = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets"
    folders = {
        "sftdiv (paths.cache)": sftdiv_cache,
        "hub (HF_HUB_CACHE)": Path(constants.HF_HUB_CACHE),
        "datasets (HF_DATASETS_CACHE)": Path(datasets_cache),
    }
    caches = []
    for name, folder in folders.items():
        kinds = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        sizes = {path.name: folder_size(path) for path in kinds} if folder == sftdiv_cache else {}
        existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        size, free = folder_size(folder), shutil.disk_usage(existing).free
        caches.append({"name": name, "folder": str(folder), "bytes": size, "kinds": sizes, "free": free})
    return caches


def folder_size(folder: Path) -> int:
    """Bytes of the files below a folder; links count as links, and files that vanish meanwhile as nothing."""
    total, pending = 0, [str(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return total


def report_lines(facts: Mapping[str, Any]) -> list[str]:
    """The facts of `examine` as text."""
    from sftdiv.reporting.terminal import aligned_lines

    libraries = ", ".join(f"{name} {version or 'MISSING'}" for name, version in facts["libraries"].items())
    rows = [
        ("sftdiv", f"{facts['sftdiv']}, Python {facts['python']['version']}, {facts['system']}"),
        ("libraries", libraries),
        ("devices", _devices_text(facts["devices"])),
        ("hub", _hub_text(facts["hub"])),
        ("W&B", _wandb_text(facts["wandb"])),
        *(("cache" if row == 0 else "", text) for row, text in enumerate(_cache_texts(facts["caches"]))),
        *(("extras" if row == 0 else "", text) for row, text in enumerate(_extra_texts(facts["extras"]))),
    ]
    return aligned_lines(rows)


def _cache_folder() -> Path:
    """``paths.cache`` of a run with the default settings."""
    from sftdiv.config.from_python import run_request

    return run_request({}).paths.cache


def _devices_text(devices: Mapping[str, Any]) -> str:
    gpus = ", ".join(f"{gpu['name']} ({gpu['memory'] / GIB:.0f} GiB)" for gpu in devices["gpus"])
    built = f"torch is built for CUDA {devices['cuda']}" if devices["cuda"] else "torch is built without CUDA"
    accelerator = f"GPUs: {gpus}" if gpus else "Apple GPU (mps)" if devices["mps"] else f"no GPU ({built})"
    return f"{devices['cores']} CPU cores, {devices['free_memory'] / GIB:.1f} GiB of memory free; {accelerator}"


def _hub_text(hub: Mapping[str, Any]) -> str:
    states = {
        None: "switched off by HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE; only what is cached is used",
        True: "reachable",
        False: "not reachable; only what is cached or packaged is used (embedder=lsa, model=scratch_3m need no hub)",
    }
    return f"{hub['endpoint']}: {states[hub['responds']]}; {'a token is' if hub['token'] else 'no token is'} known"


def _wandb_text(wandb: Mapping[str, Any]) -> str:
    key = "an API key is known" if wandb["key"] else "no API key is known (WANDB_API_KEY, or wandb login)"
    return str(wandb["error"]) if wandb["error"] else f"{wandb['mode']}: {key}; tracking=none turns it off"


def _cache_texts(caches: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for cache in caches:
        kinds = sorted(cache["kinds"].items(), key=lambda item: -item[1])
        parts = ", ".join(f"{name} {_size(size)}" for name, size in kinds[:6] if size)
        inside = f" ({parts})" if parts else ""
        yield f"{cache['name']}: {_size(cache['bytes'])} in {cache['folder']}{inside}; {_size(cache['free'])} free"


def _extra_texts(extras: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not extras:
        yield "unknown: sftdiv is not installed as a package (pip install -e .)"
    for extra in extras:
        state = "installed"
        if extra["missing"]:
            state = f"missing: {', '.join(extra['missing'])}; pip install 'sftdiv[{extra['name']}]'"
        yield f"{extra['name']}: {extra['purpose']} - {state}"


def _size(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / (1 << 20):.1f} MiB"


if __name__ == "__main__":
    sys.exit(main())
