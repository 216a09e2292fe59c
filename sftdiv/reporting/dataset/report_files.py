"""The output folder of a measurement: ``token_bands.png``, ``measure.html`` and, last, ``measure.json``.

Each file is written atomically, and ``measure.json`` marks the measurement as complete. The page
and the figure are rendered from its content only, so a missing one can be rendered again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sftdiv.diversity.profile.settings import LAYOUT
from sftdiv.storage.file_digests import DamagedFileError, read_sealed, write_sealed
from sftdiv.storage.files import finite, write_atomically

log = logging.getLogger(__name__)
NUMBERS, PAGE, FIGURE = "measure.json", "measure.html", "token_bands.png"


def finished(folder: Path) -> dict[str, Any] | None:
    """The content of ``measure.json``, or None if it is missing or damaged; renders a deleted page or figure."""
    path = folder / NUMBERS
    if not path.exists():
        return None
    try:
        measured = read_sealed(path, way_out="the dataset is measured again")
    except DamagedFileError as error:
        log.warning("%s", error)
        return None
    if measured.get("layout") != LAYOUT:
        return None
    if not ((folder / PAGE).exists() and (folder / FIGURE).exists()):
        _render(measured, folder)
    return measured


def write_report(measured: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write page, figure and numbers; returns the measurement as a later ``finished`` reads it."""
    content: dict[str, Any] = json.loads(json.dumps(finite(measured), ensure_ascii=False, allow_nan=False))
    _render(content, folder)
    write_sealed(folder / NUMBERS, content)
    return content


def _render(measured: Mapping[str, Any], folder: Path) -> None:
    from sftdiv.reporting.dataset.dataset_figures import draw_token_bands, render
    from sftdiv.reporting.dataset.dataset_page import render_page

    bands = draw_token_bands(measured["datasets"])
    write_atomically(folder / FIGURE, render(bands, "png"))
    bands.set_layout_engine("none")  # the page uses the layout of the first drawing
    write_atomically(folder / PAGE, render_page(measured, bands=bands, beside=(NUMBERS, FIGURE)))
