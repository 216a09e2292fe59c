"""``measure.html``: a dataset's diversity as one page that opens from disk, with no network and no script.

In: the content of ``measure.json``. Out: HTML as text, the same for the same input. Whatever comes
from data is escaped, and the page's own content policy forbids every script and every request. The
trade: nothing to click but what folds; in return it prints, it can be sent as one small file, and
it takes the reader's light or dark.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from sftdiv.reporting.dataset import dataset_figures as figures
from sftdiv.reporting.dataset import dataset_provenance as provenance
from sftdiv.reporting.dataset import dataset_views as views
from sftdiv.reporting.dataset import verdict
from sftdiv.reporting.dataset.terms import SIDE_NAMES
from sftdiv.reporting.format import format_count, format_percent

HERE = Path(__file__).parent


def render_page(measured: Mapping[str, Any], *, bands: Figure, beside: Sequence[str]) -> str:
    """The page.

    Args:
        measured: What ``measure.json`` holds.
        bands: The figure of the token bands.
        beside: Names of the files that lie beside the page.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    datasets = measured["datasets"]
    return environment.get_template("page.html.jinja").render(
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
        lengths=views.lengths(measured),
        percentile_names=views.percentile_names(measured),
        units=views.units(measured),
        coverage=views.coverage(measured),
        topics=views.commonest(measured, "macro_topic"),
        tags=views.commonest(measured, "meso_tag"),
        repeated=views.repeated(measured),
        near=views.near_duplicates(measured),
        sources=provenance.sources(measured),
        counts=provenance.counts(measured),
        facts=provenance.facts(measured),
        command=shlex.join(measured["command"]),
        settings=yaml.safe_dump(measured["settings"], allow_unicode=True, sort_keys=False),
        beside=beside,
        css=(HERE / "page.css").read_text(encoding="utf-8"),
    )


def _bands(datasets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each band of each side of each dataset, with some of its tokens."""
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
