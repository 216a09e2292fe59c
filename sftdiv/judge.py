"""``python -m sftdiv.judge``: win rates of files of verdicts, and scores of a study's judged cells in one table.

``score`` reads annotations in AlpacaEval's format, ``arena`` a study whose cells were judged. Both print
a table, or JSON with ``--json`` (``score``: one line per file). Neither queries a judge nor loads a model, so
both finish within seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.records import SftdivError
from sftdiv.reporting.format import format_decimals
from sftdiv.reporting.terminal import aligned_lines, literal, print_lines
from sftdiv.storage.closed_output import outlive_readers
from sftdiv.storage.files import finite

if TYPE_CHECKING:
    from sftdiv.evaluation.judge.arena import Arena

DRAWS = 1000
SEED = 0
CAPTION = (
    "rates and unreadable verdicts in percent; beside each estimate its 95 % interval; LC: length-controlled win rate, "
    "from one fit over all cells with prompt effects; n: prompts"
)


def show_score(scores: Mapping[str, Any], title: str) -> None:
    """Print the scores of one file as a table."""
    from rich.console import Console
    from rich.table import Table

    names = " against ".join(scores[name] for name in ("candidate", "baseline") if name in scores)
    table = Table(title=literal(names or title), title_justify="left", min_width=60)
    for head in ("", "%", "standard error", "95 % interval"):
        table.add_column(head, justify="left" if not head else "right")
    for label, name, error in (
        ("win rate", "win_rate", "standard_error"),
        ("length-controlled win rate", "length_controlled_win_rate", "length_controlled_standard_error"),
    ):
        if name == "length_controlled_win_rate" and scores["length_fit"] is None:
            continue
        low, high = scores[f"{name}_interval"]
        interval = f"{format_decimals(low)} to {format_decimals(high)}"
        table.add_row(label, format_decimals(scores[name]), format_decimals(scores[error]), interval)
    console = Console()
    console.print(table)
    counts = ", ".join(f"{scores[name]:,} {name}" for name in ("wins", "losses", "draws", "unreadable"))
    console.print(f"{scores['n']:,} prompts: {counts}", highlight=False)
    lengths = f"{scores['candidate_chars']:,.0f} characters per answer, baseline {scores['baseline_chars']:,.0f}"
    if scores["length_fit"] is None:
        console.print(f"{lengths}\n{scores['length_note']}", highlight=False)
        return
    fit = "one fit over all files" if scores["length_fit"] == "joint" else "fit of this file alone"
    coefficient = f"length coefficient {scores['length_coefficient']:.2f} ({fit}, prior: {scores['length_prior']})"
    console.print(f"{lengths}; {coefficient}", highlight=False)


def arena(study: Path, *, draws: int, seed: int) -> Arena:
    """Scores of all judged cells of a study, also written to its folder as ``arena.csv``.

    Raises:
        SftdivError: If there are no judged cells, or they are not comparable.
    """
    from sftdiv.evaluation.judge.arena import TABLE, read_arena, write_arena

    if not study.is_dir():
        raise SftdivError(f"there is no study folder {study}; pass one that a sweep wrote, such as multirun/NAME")
    scores = read_arena(study, draws=draws, seed=seed)
    write_arena(scores, study / TABLE)
    return scores


def show_arena(arena: Arena, study: Path) -> None:
    """Print the scores of a study as a table."""
    from rich.console import Console

    interval = "95 % interval"
    rows = [("cell", "level", "score", interval, "win rate", interval, "LC", interval, "n", "unread")]
    for row in arena.standings:
        level = "" if row.level is None else f"{row.level:.3g}"
        score = _with_interval(row.score, row.score_low, row.score_high, 0)
        wins, controlled = (
            _with_interval(100 * value, 100 * low, 100 * high, 1)
            for value, low, high in (
                (row.win_rate, row.win_rate_low, row.win_rate_high),
                (
                    row.length_controlled_win_rate,
                    row.length_controlled_win_rate_low,
                    row.length_controlled_win_rate_high,
                ),
            )
        )
        unread = format_decimals(100 * row.unreadable, 1)
        rows.append((str(literal(row.cell)), level, *score, *wins, *controlled, f"{row.n:,}", unread))
    title = f"{arena.judge} ({arena.template}) on {arena.prompts:,} prompts; {arena.baseline} has 1000"
    print_lines(Console(), [title, *aligned_lines(rows, numbers=True), CAPTION, f"written: {study / 'arena.csv'}"])


def _with_interval(value: float, low: float, high: float, decimals: int) -> tuple[str, str]:
    return format_decimals(value, decimals), f"[{format_decimals(low, decimals)}, {format_decimals(high, decimals)}]"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    main_parser = argparse.ArgumentParser(
        prog="python -m sftdiv.judge", description="Scores of pairwise verdicts; queries no judge."
    )
    commands = main_parser.add_subparsers(dest="command", required=True)
    score_parser = commands.add_parser(
        "score", help="win rates and length-controlled win rates of files of annotations"
    )
    score_parser.add_argument(
        "file",
        nargs="+",
        type=Path,
        help="JSON or JSON lines with preference, output_1 (baseline), output_2 (candidate), instruction; several "
        "files of one judge and baseline are controlled for length in one fit",
    )
    score_parser.add_argument(
        "--scale",
        choices=["12", "01"],
        help="scale of the preferences: 12 is 1 + the probability that output_2 wins (AlpacaEval; the default), 01 is "
        "that probability itself",
    )
    score_parser.add_argument(
        "--prior",
        choices=["auto", "alpaca_eval", "any"],
        default="auto",
        help="prior knowledge of the judge's preference for length: that of AlpacaEval 2's judge, or almost none; "
        "auto: the former for files that name that judge, else almost none for several files and no length control "
        "for one (default: %(default)s)",
    )
    arena_parser = commands.add_parser(
        "arena", help="Bradley-Terry scores of all judged cells of a study; writes arena.csv"
    )
    arena_parser.add_argument("study", type=Path, help="folder of the study, e.g. multirun/NAME")
    for command in (score_parser, arena_parser):
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
        command.add_argument(
            "--draws",
            type=_count,
            default=DRAWS,
            help="number of bootstrap resamples, 0 for no intervals (default: %(default)s)",
        )
        command.add_argument("--seed", type=_count, default=SEED, help="seed of the bootstrap (default: %(default)s)")
    return main_parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 0")
    return int(text)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; user errors end as a message with exit code 1."""
    outlive_readers()
    options = parser().parse_args(arguments)
    try:
        if options.command == "score":
            from sftdiv.evaluation.judge.score_files import score_files

            bootstrapped = {"draws": options.draws, "seed": options.seed}
            for scores in score_files(options.file, scale=options.scale, prior=options.prior, **bootstrapped):
                if options.json:
                    print(json.dumps(finite(scores), allow_nan=False))
                else:
                    show_score(scores, Path(scores["file"]).name)
            return
        standings = arena(options.study, draws=options.draws, seed=options.seed)
        if options.json:
            print(json.dumps(finite(asdict(standings)), allow_nan=False))
        else:
            show_arena(standings, options.study)
    except SftdivError as error:
        sys.exit(f"sftdiv: {error}")


if __name__ == "__main__":
    main()
