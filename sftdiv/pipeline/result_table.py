"""A finished row as people read it: one table in the terminal."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sftdiv.diversity.registry import detail_columns


def show_result(row: Mapping[str, Any], folder: Path, *, done_before: bool) -> None:
    """Print the row of one cell: level, ladder, diversity, scores, time, and where things are."""
    console = Console()
    table = Table(
        title=f"{row['cell']}{' (done before)' if done_before else ''}",
        show_header=False,
        title_justify="left",
        min_width=60,
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in _lines(row):
        table.add_row(name, text)
    table.add_row("folder", str(folder))
    console.print(table)
    if done_before:
        console.print(
            "This cell is done: the row above was read from its result.json. Another seed or setting makes another cell."
        )


def _lines(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = _subset_lines(row) if row["n"] else [("subset", "none: the base model as it is")]
    if "train.loss" in row:
        lines.append(
            (
                "training",
                f"{row['train.steps']:,} steps, {row['train.label_tokens']:,} label tokens, loss {row['train.loss']:.3f}",
            )
        )
    if "speed.mfu" in row:
        lines.append(("speed", f"{row['speed.tokens_per_second']:,.0f} tokens a second, MFU {row['speed.mfu']:.1%}"))
    for name in (key for key in row if key.startswith("score.") and not key.endswith(".stderr")):
        error = row.get(f"{name}.stderr")
        star = "  (primary)" if name == f"score.{row['primary']}" else ""
        lines.append(
            (name, f"{_number(row[name])}{'' if error is None or math.isnan(error) else f' ± {_number(error)}'}{star}")
        )
    seconds = {key.removeprefix("time."): value for key, value in row.items() if key.startswith("time.")}
    lines.append(
        (
            "seconds",
            ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
            + f"; in all {sum(seconds.values()):.1f}",
        )
    )
    return lines


def _subset_lines(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [
        ("strategy", f"{row['strategy']} on the {row['side']}, level {row['level']:.3g}, match {row['match']}"),
        ("subset", f"{row['n']:,} examples from a pool of {row['pool']:,} in a universe of {row['universe']:,}"),
        (
            "types",
            f"k = {row['k_asked']:,} of {row['k_max']:,} (lowest {row['k_min']:,}); {row['k_reached']:,} reached",
        ),
        (
            "units",
            f"{row['diversity.units.per_example']:.1f} an example, entropy {row['diversity.units.entropy']:.2f} bit",
        ),
    ]
    for side in ("instruction", "response"):
        lines.append((f"diversity, {side}", _listed(row, f"diversity.{side}.", leave_out=detail_columns())))
    return lines


def _listed(row: Mapping[str, Any], prefix: str, *, leave_out: Collection[str]) -> str:
    names = [key.removeprefix(prefix) for key in row if key.startswith(prefix)]
    return ", ".join(f"{name} {_number(row[prefix + name])}" for name in names if name not in leave_out)


def _number(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:,.0f}" if 1000 <= abs(value) < math.inf and value == round(value) else f"{value:.4g}"
