"""The output folder of a measurement: ``token_bands.png``, ``measure.html`` and, last, ``measure.json``.

Each file is written atomically, and ``measure.json`` marks the measurement as complete. The page
and the figure are rendered from its content only, so a missing one can be rendered again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftdiv.diversity.profile.settings import LAYOUT
from sftdiv.storage.files import finite, write_atomically

NUMBERS, PAGE, FIGURE = "measure.json", "measure.html", "token_bands.png"


def finished(folder: Path) -> dict[str, Any] | None:
    """The content of ``measure.json``, or None if the measurement is not complete; renders a deleted page or figure."""
    path = folder / NUMBERS
    if not path.exists():
        return None
    measured: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if measured.get("layout") != LAYOUT:
        return None
    if not ((folder / PAGE).exists() and (folder / FIGURE).exists()):
        _render(measured, folder)
    return measured


def write_report(measured: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write page, figure and numbers; returns the measurement as a later ``finished`` reads it."""
    text = json.dumps(finite(measured), ensure_ascii=False, allow_nan=False, indent=1)
    content: dict[str, Any] = json.loads(text)
    _render(content, folder)
    write_atomically(folder / NUMBERS, text + "\n")
    return content


def _render(measured: Mapping[str, Any], folder: Path) -> None:
    from sftdiv.reporting.dataset.dataset_figures import draw_token_bands, render
    from sftdiv.reporting.dataset.dataset_page import render_page

    bands = draw_token_bands(measured["datasets"])
    write_atomically(folder / FIGURE, render(bands, "png"))
    bands.set_layout_engine("none")  # the page uses the layout of the first drawing
    write_atomically(folder / PAGE, render_page(measured, bands=bands, beside=(NUMBERS, FIGURE)))
