"""The folder of a measurement: what stands in it, and when it is done.

In: what was measured. Out: ``token_bands.png``, ``measure.html`` and ``measure.json``, each written
whole or not at all; the last one says that all are there. Page and figure are made of
``measure.json``'s content alone, so that one that is missing is drawn again from it.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftdiv.diversity.profile.settings import LAYOUT
from sftdiv.storage.files import write_atomically

NUMBERS, PAGE, FIGURE = "measure.json", "measure.html", "token_bands.png"


def finished(folder: Path) -> dict[str, Any] | None:
    """What was measured, or None where that is not done; a page or figure that was deleted is made again."""
    path = folder / NUMBERS
    if not path.exists():
        return None
    measured: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if measured.get("layout") != LAYOUT:
        return None
    if not ((folder / PAGE).exists() and (folder / FIGURE).exists()):
        _write_shown(measured, folder)
    return measured


def write_report(measured: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write everything, the numbers last, and give what was measured as it will be read again."""
    text = json.dumps(finite(measured), ensure_ascii=False, allow_nan=False, indent=1)
    kept: dict[str, Any] = json.loads(text)
    _write_shown(kept, folder)
    write_atomically(folder / NUMBERS, text + "\n")
    return kept


def finite(value: Any) -> Any:
    """The same with NaN and infinity as None, which every JSON reader knows."""
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_shown(measured: Mapping[str, Any], folder: Path) -> None:
    from sftdiv.reporting.dataset.dataset_figures import draw_token_bands, rendered
    from sftdiv.reporting.dataset.dataset_page import render_page

    bands = draw_token_bands(measured["datasets"])
    _write_bytes(folder / FIGURE, rendered(bands, "png"))
    bands.set_layout_engine("none")  # what the first drawing laid out holds for the page too
    write_atomically(folder / PAGE, render_page(measured, bands=bands, beside=(NUMBERS, FIGURE)))


def _write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    Path(name).chmod(0o644)  # mkstemp makes it private
    Path(name).replace(path)
