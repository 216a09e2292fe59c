"""``measure.html``: the diversity of a dataset as one page that opens from disk, without network access or scripts.

The input is the content of ``measure.json``; the output is HTML text, the same for the same input.
All data is escaped, and the page's content security policy forbids every script and every request.
Nothing is interactive except folding sections. In return the page prints, can be sent as one small
file, and follows the reader's light or dark mode.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure

from sftdiv.reporting.dataset import dataset_figures as figures
from sftdiv.reporting.dataset import dataset_provenance as provenance
from sftdiv.reporting.dataset import dataset_views as views
from sftdiv.reporting.dataset import repetition_views, verdict
from sftdiv.reporting.dataset.terms import SIDE_NAMES
from sftdiv.reporting.format import format_count, format_percent
from sftdiv.reporting.html import render_html

HERE = Path(__file__).parent


def render_page(measured: Mapping[str, Any], *, bands: Figure, beside: Sequence[str]) -> str:
    """Render the page.

    Args:
        measured: Content of ``measure.json``.
        bands: Figure of the token bands.
        beside: Names of the files written with the page.
    """
    datasets = measured["datasets"]
    return render_html(
        HERE,
        "dataset",
        names=[dataset["name"] for dataset in datasets],
        several=len(datasets) > 1,
        size=format_count(measured["size"]),
        sides=list(SIDE_NAMES.values()),
        verdict=verdict.sentences(measured),
        cautions=verdict.cautions(measured),
        tiles=views.tiles(measured),
        comparison=views.comparison(measured, every=False),
        comparison_all=views.comparison(measured, every=True),
        metrics=views.metrics(measured, every=False),
        metrics_all=views.metrics(measured, every=True),
        bands_figure=figures.inline_svg(bands, "bands"),
        lengths_figure=figures.inline_svg(figures.draw_lengths(datasets), "lengths"),
        bands=_bands(datasets),
        band_unit=datasets[0]["sides"]["response"]["bands"]["unit"],
        lengths=views.lengths(measured),
        percentile_names=views.percentile_names(measured),
        units=views.units(measured),
        coverage=views.coverage(measured),
        topics=views.most_frequent(measured, "macro_topic"),
        tags=views.most_frequent(measured, "meso_tag"),
        repeated=repetition_views.repeated(measured),
        near=repetition_views.near_duplicates(measured),
        first_examples=provenance.first_examples(measured),
        sources=provenance.sources(measured),
        counts=provenance.counts(measured),
        facts=provenance.facts(measured),
        command=shlex.join(measured["command"]),
        settings=yaml.safe_dump(measured["settings"], allow_unicode=True, sort_keys=False),
        beside=beside,
    )


def _bands(datasets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each band of each side of each dataset, with examples of its tokens."""
    return [
        {
            "dataset": dataset["name"],
            "side": SIDE_NAMES[side],
            "name": name,
            "types": format_count(dataset["sides"][side]["bands"][name]["types"]),
            "share": format_percent(dataset["sides"][side]["bands"][name]["share"]),
            "examples": "  ".join(dataset["sides"][side]["bands"][name]["examples"]),
        }
        for dataset in datasets
        for side in ("instruction", "response")
        for name in ("frequent", "mid", "rare")
    ]
