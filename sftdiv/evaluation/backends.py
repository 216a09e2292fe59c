"""Inference backends and batch sizes that evaluators share, and the checks of these settings."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from sftdiv.records import SftdivError
from sftdiv.storage.validate import check_one_of, shown_value

BACKENDS = ("hf", "vllm")
AUTO = "auto"  # batch size chosen by the evaluator


def check_backend(backend: str, *, setting: str = "eval.backend") -> None:
    """Refuse a backend that is unknown or not installed.

    Raises:
        SftdivError: With the known backends, or the package to install.
    """
    check_one_of(setting, backend, BACKENDS)
    if backend == "vllm" and find_spec("vllm") is None:
        raise SftdivError(
            f"{setting}=vllm needs the package vllm: pip install 'sftdiv[vllm]' (Linux with a GPU); or {setting}=hf"
        )


def check_batch_size(setting: str, value: Any) -> None:
    """Refuse a batch size that is neither ``auto`` nor a positive integer.

    Raises:
        SftdivError: With the value.
    """
    if value != AUTO and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise SftdivError(f"{setting}={shown_value(value)} must be {AUTO} or a whole number of at least 1")
