"""Prints a result row in the terminal: scores, diversity, then facts about the run and the path of its files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from sftdiv.config.spec import SELECT
from sftdiv.diversity.registry import METRICS
from sftdiv.pipeline.left_out import left_out_text
from sftdiv.records import SIDES
from sftdiv.reporting.format import format_duration, format_number, is_missing
from sftdiv.reporting.terminal import aligned_lines, literal, print_lines

AT_TOKENS = "entropy_at_tokens"  # of the metrics at equal tokens the one that is printed; the row holds all
INDENT = "  "
SELECTED_ONLY = (
    "none; a run that trains is another cell and may draw another subset, since it leaves out the examples held out "
    "for evaluation and those that a model from scratch reads"
)


def show_result(row: Mapping[str, Any], folder: Path, *, done_before: bool) -> None:
    """Print the row of one cell.

    Args:
        row: Row of ``result.json``.
        folder: Folder of the cell.
        done_before: Whether the cell was finished before this command.
    """
    console = Console()
    title = f"{row['cell']}{' (finished earlier)' if done_before else ''}"
    console.print(literal(title), style="bold", highlight=False, soft_wrap=True)
    print_lines(console, result_lines(row, folder))
    if done_before:
        note = "This cell was finished earlier; its row was read from result.json. Change a setting for a new cell."
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def result_lines(row: Mapping[str, Any], folder: Path) -> list[str]:
    """Lines of a row: sections of aligned columns."""
    left_out = left_out_text(row) if row["n"] else None
    lines = [f"left out  {left_out}"] if left_out else []
    lines += _scores(row)
    if row["n"]:
        lines += _diversity(row)
    return lines + aligned_lines(_facts(row, folder))


def level_meaning(level: float) -> str:
    """What a diversity level allows, and what it does not promise."""
    if level == 1:
        return "1 = all unit types allowed, drawn evenly; not the most distinct instructions"
    if level == 0:
        return "0 = the fewest unit types whose examples leave a choice (selection.slack); not the most similar texts"
    return f"{level:.3g} = this share of the way from the fewest unit types (level 0) to all of them (level 1)"


def _scores(row: Mapping[str, Any]) -> list[str]:
    names = [key for key in row if key.startswith("score.") and not key.endswith(".stderr")]
    primary = f"score.{row['primary']}"
    table = []
    for name in sorted(names, key=lambda name: name != primary):  # the primary first
        error = row.get(f"{name}.stderr")
        has_error = error is not None and not math.isnan(error)
        value = format_number(row[name]) + (f" ± {format_number(error)}" if has_error else "")
        table.append((name, value, "primary" if name == primary else ""))
    return aligned_lines(table)


def _diversity(row: Mapping[str, Any]) -> list[str]:
    """Headline metrics of both sides, one per line, each beside that of a random draw of the same size."""
    prefixes = ("", "random.") if "random.n" in row else ("",)
    columns = [(side, prefix) for side in SIDES for prefix in prefixes]
    shown = [name for name, metric in METRICS.items() if not metric.detail or name == AT_TOKENS]
    metrics = [(name, f"diversity.{{}}.{name}") for name in shown]
    table: list[Sequence[str]] = [("diversity", *("random" if prefix else side for side, prefix in columns))]
    for name, column in [("distinct texts", "subset.distinct.{}"), *metrics]:
        keys = [prefix + column.format(side) for side, prefix in columns]
        if not all(is_missing(row.get(key)) for key in keys):  # texts below the token budget have no metric at it
            table.append((f"{INDENT}{name}", *(format_number(row.get(key)) for key in keys)))
    return aligned_lines(table)


def _tie_noise(row: Mapping[str, Any]) -> str:
    """What the pool shares with that of another order of ties, where they differ."""
    jaccard = row.get("tie_jaccard")
    return "" if jaccard in (None, 1) else f" (Jaccard {jaccard:.3f} with another order of ties)"


def _facts(row: Mapping[str, Any], folder: Path) -> Iterable[Sequence[str]]:
    if row["n"]:
        pool = f" from a pool of {row['pool']:,}{_tie_noise(row)}" if "pool" in row else ""
        yield "subset", f"{row['n']:,} examples{pool} in a universe of {row['universe']:,}"
        level = "no level" if row["level"] is None else f"level {row['level']:.3g}"
        yield "strategy", f"{row['strategy']} on the {row['side']}, {level}, match {row['match']}"
        if "selector" in row:
            yield "selector", f"{row['selector']}; the units of {row['strategy']} are counted and define the universe"
        elif "k_asked" in row:
            requested = f"k = {row['k_asked']:,} of {row['k_max']:,} (at level 0: {row['k_min']:,})"
            yield "types", f"{requested}; {row['k_reached']:,} reached"
            yield "level", level_meaning(row["level"])
        elif selector := row.get("config.selection.selector._target_"):
            yield "selector", selector
        if "types.share" in row:
            share = f"{row['types.share']:.0%} of the universe's {row['types.universe']:,}"
            yield "distinct", f"{row['types.subset']:,} unit types, {share}"
        if axis := {key.removeprefix("axis."): value for key, value in row.items() if key.startswith("axis.")}:
            yield "axes", ", ".join(f"{name.replace('_', ' ')} {format_number(value)}" for name, value in axis.items())
        per_example, entropy = row["diversity.units.per_example"], row["diversity.units.entropy"]
        beside = f" (random draw: {row['random.diversity.units.entropy']:.2f})" if "random.n" in row else ""
        yield "units", f"{per_example:.1f} per example, entropy {entropy:.2f} bits{beside}"
        if "match_tokens.subset" in row:
            subset, universe = row["match_tokens.subset"], row["match_tokens.universe"]
            yield "lengths", f"{subset:.1f} tokens per response, universe {universe:.1f} ({subset / universe - 1:+.1%})"
    else:
        yield "subset", "none: the base model itself"
    if row["n"] and row.get("config.stop_after") == SELECT:
        yield "training", SELECTED_ONLY
    if "train.loss" in row:
        steps, tokens = f"{row['train.steps']:,} steps", f"{row['train.label_tokens']:,} label tokens"
        yield "training", f"{steps}, {tokens}, loss {row['train.loss']:.3f}"
    if "speed.tokens_per_second" in row:
        mfu = f", MFU {row['speed.mfu']:.1%}" if "speed.mfu" in row else ""
        yield "speed", f"{row['speed.tokens_per_second']:,.0f} tokens/s{mfu}"
    seconds = {key.removeprefix("time."): value for key, value in row.items() if key.startswith("time.")}
    stages = ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    yield "time", f"{format_duration(sum(seconds.values()))} (seconds: {stages})"
    yield "files", str(folder)
