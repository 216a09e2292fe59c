"""A small run of ``benchmarks/fuzz_corpus.py``: whatever a file holds, its rows are loaded, rejected or refused."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import sftdiv


def fuzz_module() -> Any:
    path = Path(sftdiv.__file__).parent.parent / "benchmarks" / "fuzz_corpus.py"
    spec = importlib.util.spec_from_file_location("fuzz_corpus", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_no_fuzzed_file_loses_a_row_in_silence(tmp_path: Path) -> None:
    module = fuzz_module()
    counts, failures = module.fuzz(150, 1, tmp_path, module.read_only)
    assert not failures, "\n".join(failures)
    assert counts.total() == 150
    assert {"loaded", "refused"} == {outcome for _, outcome in counts}
    assert {damage for damage, _ in counts} >= {"none", "row", "flip", "cut", "insert"}


def test_fuzzed_files_become_whole_corpora(tmp_path: Path) -> None:
    module = fuzz_module()
    _, failures = module.fuzz(10, 2, tmp_path, module.load_whole)
    assert not failures, "\n".join(failures)
