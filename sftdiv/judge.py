"""``python -m sftdiv.judge``: win rates of a file of verdicts, and scores of a study's judged cells in one table.

``score`` reads annotations in AlpacaEval's format, ``arena`` a study whose cells were judged. Both print
a table, or JSON with ``--json``. Neither queries a judge nor loads a model, so both finish within
seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.records import SftdivError
from sftdiv.reporting.format import format_decimals
from sftdiv.reporting.terminal import aligned_lines, literal, print_lines
from sftdiv.storage.files import finite

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sftdiv.evaluation.judge.arena import Arena

DRAWS = 1000
SEED = 0
CAPTION = (
    "rates and unreadable verdicts in percent; LC: length-controlled win rate "
    "(with five or more cells also controlled for the difficulty of the prompts); n: prompts"
)


def score(path: Path, *, scale: str | None, prior: str, draws: int, seed: int) -> dict[str, Any]:
    """Win rates of a file of annotations (see ``alpaca_eval_files``), in percent as AlpacaEval publishes them.

    Args:
        path: The file.
        scale: ``12`` (also for None) or ``01``.
        prior: ``alpaca_eval``, ``any`` or ``auto``: the first for AlpacaEval's judge and for files
            that name no judge and whose verdicts agree with it, else the second.
        draws: Number of bootstrap resamples.
        seed: Seed of the bootstrap.

    Raises:
        SftdivError: If the file cannot be scored.
    """
    import numpy as np

    from sftdiv.evaluation.judge.alpaca_eval_files import choose_prior, read_annotations
    from sftdiv.evaluation.judge.length_control import ALPACA_EVAL, ANY_JUDGE, fit_length, length_controlled_win_rate
    from sftdiv.evaluation.judge.win_rate import bootstrap, standard_error, win_rate

    file = read_annotations(path, scale=scale)
    preferences, delta = file.preferences, file.candidate_chars - file.baseline_chars
    if np.isnan(preferences).all():
        raise SftdivError(f"no preference in {path} could be read ({len(preferences)} entries, all null)")
    length_prior = {"alpaca_eval": ALPACA_EVAL, "any": ANY_JUDGE}.get(prior) or choose_prior(file)
    arrays = (preferences, delta) if file.difficulty is None else (preferences, delta, file.difficulty)
    fit = fit_length(*arrays, prior=length_prior)
    rng = np.random.default_rng(seed)
    raw = bootstrap(win_rate, preferences, draws=draws, rng=rng)
    controlled_rate = partial(length_controlled_win_rate, prior=length_prior)
    controlled = bootstrap(controlled_rate, *arrays, draws=draws, rng=rng)
    return {
        "win_rate": 100 * win_rate(preferences),
        "length_controlled_win_rate": 100 * fit.controlled,
        "standard_error": 100 * standard_error(preferences),
        "length_controlled_standard_error": 100 * controlled.stderr,
        "win_rate_interval": [100 * raw.low, 100 * raw.high],
        "length_controlled_win_rate_interval": [100 * controlled.low, 100 * controlled.high],
        **_counts(preferences),
        "candidate_chars": float(file.candidate_chars.mean()),
        "baseline_chars": float(file.baseline_chars.mean()),
        "length_coefficient": fit.length,
        "length_prior": "alpaca_eval" if length_prior is ALPACA_EVAL else "any",
        "difficulty": file.difficulty is not None,
        **file.names,
    }


def _counts(preferences: NDArray[np.float64]) -> dict[str, int]:
    """Numbers of readable and unreadable preferences, and of wins, losses and ties among the readable ones."""
    import numpy as np

    unreadable = int(np.isnan(preferences).sum())
    return {
        "n": len(preferences) - unreadable,
        "unreadable": unreadable,
        "wins": int((preferences > 0.5).sum()),
        "losses": int((preferences < 0.5).sum()),
        "draws": int((preferences == 0.5).sum()),
    }


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
        low, high = scores[f"{name}_interval"]
        interval = f"{format_decimals(low)} to {format_decimals(high)}"
        table.add_row(label, format_decimals(scores[name]), format_decimals(scores[error]), interval)
    console = Console()
    console.print(table)
    counts = ", ".join(f"{scores[name]:,} {name}" for name in ("wins", "losses", "draws", "unreadable"))
    console.print(f"{scores['n']:,} prompts: {counts}", highlight=False)
    console.print(
        f"{scores['candidate_chars']:,.0f} characters per answer, baseline {scores['baseline_chars']:,.0f}; "
        f"length coefficient {scores['length_coefficient']:.2f} (prior: {scores['length_prior']})",
        highlight=False,
    )


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

    rows = [("cell", "level", "score", "95 % interval", "win rate", "95 % interval", "LC", "n", "unread")]
    for row in arena.standings:
        level = "" if row.level is None else f"{row.level:.3g}"
        score = _with_interval(row.score, row.score_low, row.score_high, 0)
        wins = _with_interval(100 * row.win_rate, 100 * row.win_rate_low, 100 * row.win_rate_high, 1)
        shares = (format_decimals(100 * value, 1) for value in (row.length_controlled_win_rate, row.unreadable))
        controlled, unread = shares
        rows.append((str(literal(row.cell)), level, *score, *wins, controlled, f"{row.n:,}", unread))
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
    score_parser = commands.add_parser("score", help="win rate and length-controlled win rate of a file of annotations")
    score_parser.add_argument(
        "file",
        type=Path,
        help="JSON or JSON lines with preference, output_1 (baseline), output_2 (candidate), instruction",
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
        help="prior knowledge of the judge's preference for length: that of AlpacaEval 2's judge, or almost none "
        "(default: %(default)s)",
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
    options = parser().parse_args(arguments)
    try:
        if options.command == "score":
            scores = score(
                options.file, scale=options.scale, prior=options.prior, draws=options.draws, seed=options.seed
            )
            if options.json:
                print(json.dumps(finite(scores), allow_nan=False))
            else:
                show_score(scores, options.file.name)
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
