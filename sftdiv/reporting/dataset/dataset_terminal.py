"""The result of a measurement in the terminal: the verdict, one table, and the path of the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sftdiv.reporting.dataset import dataset_views as views
from sftdiv.reporting.dataset.report_files import PAGE
from sftdiv.reporting.dataset.terms import SIDE_NAMES
from sftdiv.reporting.dataset.verdict import limits, sentences
from sftdiv.reporting.format import MISSING, format_count
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
    rows = views.metrics(measured, every=False)
    known = [row for row in rows if any(value != MISSING for value, _ in row["fields"])]
    marks = "N, L: depends on the number or the length of texts; T: within each text, blind to repeats"
    table = _table(measured, marks + _left_out(row for row in rows if row not in known))
    for side in SIDE_NAMES:
        table.add_column(side, justify="right")
    for row in known:
        table.add_row(_name(row), *(f"{value} [dim]{half}[/]" for value, half in row["fields"]))
    entropies = {(row["kind"], row["side"]): row["entropy"] for row in views.units(measured) if not row["problem"]}
    for kind in dict.fromkeys(kind for kind, _ in entropies):
        by_side = [entropies.get((kind, side), ("", "")) for side in SIDE_NAMES]
        texts = [f"{value} [dim]{half}[/]" for value, half in by_side]
        table.add_row(f"Entropy of {kind} (bits) \u2191 [dim]NL[/]", *texts)
    return table


def comparison_table(measured: Measured) -> Table:
    """Dataset and baseline for each side, the more diverse one in bold."""
    lines = list(zip(*(block["rows"] for block in views.comparison(measured, every=False)), strict=True))
    known = [rows for rows in lines if any(row[name] != MISSING for row in rows for name in ("value", "baseline"))]
    absent = _left_out(rows[0] for rows in lines if rows not in known)
    table = _table(
        measured,
        "dataset | baseline; bold: more diverse (95 % interval); N, L: depends on the number or the length of texts; "
        f"T: within each text, blind to repeats, decides nothing{absent}",
    )
    for side in SIDE_NAMES:
        table.add_column(side, justify="right")
    for rows in known:
        table.add_row(_name(rows[0]), *(_pair(row) for row in rows))
    return table


def _left_out(rows: Iterable[Mapping[str, Any]]) -> str:
    """Metrics without a line, since samples of this size have no value of them; empty if there are none."""
    titles = "; ".join(escape(row["title"]) for row in rows)
    return f". Samples too small for: {titles}" if titles else ""


def _pair(row: Mapping[str, Any]) -> str:
    """Values of dataset and baseline, the more diverse one in bold."""
    texts = {name: row["value" if name == "dataset" else name] for name in ("dataset", "baseline")}
    bold = {name: f"[bold]{text}[/]" if name == row["more_diverse"] else text for name, text in texts.items()}
    return f"{bold['dataset']} | {bold['baseline']}"


def _table(measured: Measured, caption: str) -> Table:
    names = " | ".join(dataset["name"] for dataset in measured["datasets"])
    title = f"{escape(names)}: samples of {format_count(measured['size'])} example{'s' * (measured['size'] != 1)}"
    table = open_table(title, caption=caption)
    table.add_column("\u2191 \u2193 is more diverse")
    return table


def _name(row: Mapping[str, Any]) -> str:
    return f"{escape(row['title'])} {row['arrow']} [dim]{row['depends']}[/]"
