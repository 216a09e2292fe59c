"""What was measured, in the terminal: the verdict, one table, and where the page is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sftdiv.reporting.dataset import dataset_views as views
from sftdiv.reporting.dataset.report_files import PAGE
from sftdiv.reporting.dataset.terms import SIDE_NAMES
from sftdiv.reporting.dataset.verdict import sentences
from sftdiv.reporting.format import format_count

Measured = Mapping[str, Any]


def show(measured: Measured, folder: Path, console: Console | None = None) -> None:
    """Print the sentences, the table, and the page's path last, on a line of its own."""
    console = console or Console()
    for sentence in sentences(measured):
        console.print(f"\u2022 {escape(sentence)}", highlight=False)
    console.print(compared(measured) if measured["comparison"] else alone(measured))
    console.print(str(folder / PAGE), markup=False, highlight=False, soft_wrap=True)


def alone(measured: Measured) -> Table:
    """A dataset's metrics on samples of the common size."""
    table = _table(measured, "N, L: moves with the number or the length of texts")
    for side in SIDE_NAMES:
        table.add_column(side, justify="right")
    for row in views.metrics(measured, every=False):
        table.add_row(_name(row), *(f"{value} [dim]{half}[/]" for value, half in row["fields"]))
    found = {(row["kind"], row["side"]): row["entropy"] for row in views.units(measured) if not row["problem"]}
    for kind in dict.fromkeys(kind for kind, _ in found):
        entropies = [found.get((kind, side), ("", "")) for side in SIDE_NAMES]
        table.add_row(
            f"Entropy of {kind} (bits) \u2191 [dim]NL[/]", *(f"{value} [dim]{half}[/]" for value, half in entropies)
        )
    return table


def compared(measured: Measured) -> Table:
    """Dataset and baseline, side by side for each side; the more diverse one in bold."""
    table = _table(
        measured,
        "dataset | baseline; bold: more diverse by a 95 % interval; N, L: moves with the number or the length of texts",
    )
    blocks = views.comparison(measured, every=False)
    for side in SIDE_NAMES:
        table.add_column(side, justify="right")
    for rows in zip(*(block["rows"] for block in blocks), strict=True):
        table.add_row(_name(rows[0]), *(_pair(row) for row in rows))
    return table


def _pair(row: Mapping[str, Any]) -> str:
    ends = {"dataset": ("[bold]", "[/]", "", ""), "baseline": ("", "", "[bold]", "[/]")}.get(
        row["who"], ("", "", "", "")
    )
    return f"{ends[0]}{row['value']}{ends[1]} | {ends[2]}{row['baseline']}{ends[3]}"


def _table(measured: Measured, caption: str) -> Table:
    names = " | ".join(dataset["name"] for dataset in measured["datasets"])
    title = f"{escape(names)}: samples of {format_count(measured['size'])} examples"
    table = Table(
        title=title,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("\u2191 \u2193 is more diverse")
    return table


def _name(row: Mapping[str, Any]) -> str:
    return f"{escape(row['title'])} {row['arrow']} [dim]{row['moves']}[/]"
