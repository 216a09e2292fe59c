"""The result of a measurement in the terminal: the verdict, one table, and the path of the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sftdiv.reporting.dataset import dataset_views as views
from sftdiv.reporting.dataset.report_files import PAGE
from sftdiv.reporting.dataset.terms import SIDE_NAMES
from sftdiv.reporting.dataset.verdict import limits, sentences
from sftdiv.reporting.format import format_count
from sftdiv.reporting.terminal import open_table

Measured = Mapping[str, Any]


def show(measured: Measured, folder: Path, console: Console | None = None) -> None:
    """Print the sentences, the limits of small data, the table, and on the last line the path of the page."""
    console = console or Console()
    for sentence in [*sentences(measured), *limits(measured)]:
        console.print(f"\u2022 {escape(sentence)}", highlight=False)
    console.print(comparison_table(measured) if measured["comparison"] else metric_table(measured))
    console.print(str(folder / PAGE), markup=False, highlight=False, soft_wrap=True)


def metric_table(measured: Measured) -> Table:
    """The metrics of one dataset on samples of the common size."""
    marks = "N, L: depends on the number or the length of texts; T: within each text, blind to repeats"
    table = _table(measured, marks)
    for side in SIDE_NAMES:
        table.add_column(side, justify="right")
    for row in views.metrics(measured, every=False):
        table.add_row(_name(row), *(f"{value} [dim]{half}[/]" for value, half in row["fields"]))
    entropies = {(row["kind"], row["side"]): row["entropy"] for row in views.units(measured) if not row["problem"]}
    for kind in dict.fromkeys(kind for kind, _ in entropies):
        by_side = [entropies.get((kind, side), ("", "")) for side in SIDE_NAMES]
        texts = [f"{value} [dim]{half}[/]" for value, half in by_side]
        table.add_row(f"Entropy of {kind} (bits) \u2191 [dim]NL[/]", *texts)
    return table


def comparison_table(measured: Measured) -> Table:
    """Dataset and baseline for each side, the more diverse one in bold."""
    table = _table(
        measured,
        "dataset | baseline; bold: more diverse (95 % interval); N, L: depends on the number or the length of texts; "
        "T: within each text, blind to repeats, decides nothing",
    )
    blocks = views.comparison(measured, every=False)
    for side in SIDE_NAMES:
        table.add_column(side, justify="right")
    for rows in zip(*(block["rows"] for block in blocks), strict=True):
        table.add_row(_name(rows[0]), *(_pair(row) for row in rows))
    return table


def _pair(row: Mapping[str, Any]) -> str:
    """Values of dataset and baseline, the more diverse one in bold."""
    texts = {name: row["value" if name == "dataset" else name] for name in ("dataset", "baseline")}
    bold = {name: f"[bold]{text}[/]" if name == row["more_diverse"] else text for name, text in texts.items()}
    return f"{bold['dataset']} | {bold['baseline']}"


def _table(measured: Measured, caption: str) -> Table:
    names = " | ".join(dataset["name"] for dataset in measured["datasets"])
    title = f"{escape(names)}: samples of {format_count(measured['size'])} examples"
    table = open_table(title, caption=caption)
    table.add_column("\u2191 \u2193 is more diverse")
    return table


def _name(row: Mapping[str, Any]) -> str:
    return f"{escape(row['title'])} {row['arrow']} [dim]{row['depends']}[/]"
