"""``python -m sftdiv.judge``: win rates of files of verdicts, and the scores of a study's cells in one table.

In: ``score`` takes annotations as AlpacaEval publishes them, ``arena`` a study whose cells were
judged. Out: tables, or with ``--json`` JSON. The trade: neither asks a judge nor loads a model, so
that both answer in a second or two.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.records import SftdivError

if TYPE_CHECKING:
    from sftdiv.evaluation.judge.arena import Arena

DRAWS = 1000
SEED = 0
CAPTION = (
    "rates and unread verdicts in percent; below each estimate its 95 % interval; LC: length-controlled win rate "
    "(of five cells and more with the difficulty of the prompts); n: prompts"
)


def score(path: Path, *, scale: str | None, prior: str, draws: int, seed: int) -> dict[str, Any]:
    """The win rates of a file of annotations, in percent as AlpacaEval publishes them; see ``judging.published`` for the file.

    Args:
        path: Of the file.
        scale: ``12`` (or None) or ``01``.
        prior: ``alpaca_eval``, ``any`` or ``auto``: the first for AlpacaEval's judge and for files
            that name none and whose verdicts agree with it, else the second.
        draws: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        SftdivError: If the file cannot be scored.
    """
    import numpy as np

    from sftdiv.evaluation.judge.alpaca_eval_files import choose_prior, read_annotations
    from sftdiv.evaluation.judge.length_control import ALPACA_EVAL, ANY_JUDGE, fit_length, length_controlled_win_rate
    from sftdiv.evaluation.judge.win_rate import bootstrap, standard_error, win_rate

    file = read_annotations(path, scale=scale)
    preferences, delta = file.preferences, file.candidate_chars - file.baseline_chars
    known = ~np.isnan(preferences)
    if not known.any():
        raise SftdivError(f"no preference in {path} could be read ({len(known)} entries, all null)")
    chosen = {"alpaca_eval": ALPACA_EVAL, "any": ANY_JUDGE}.get(prior) or choose_prior(file)
    arrays = (preferences, delta) if file.difficulty is None else (preferences, delta, file.difficulty)
    fit = fit_length(*arrays, prior=chosen)
    rng = np.random.default_rng(seed)
    raw = bootstrap(win_rate, preferences, draws=draws, rng=rng)
    controlled = bootstrap(
        lambda *drawn: length_controlled_win_rate(*drawn, prior=chosen), *arrays, draws=draws, rng=rng
    )
    return {
        "win_rate": 100 * win_rate(preferences),
        "length_controlled_win_rate": 100 * fit.controlled,
        "standard_error": 100 * standard_error(preferences),
        "length_controlled_standard_error": 100 * controlled.stderr,
        "win_rate_interval": [100 * raw.low, 100 * raw.high],
        "length_controlled_win_rate_interval": [100 * controlled.low, 100 * controlled.high],
        "n": int(known.sum()),
        "unreadable": int((~known).sum()),
        "wins": int((preferences[known] > 0.5).sum()),
        "losses": int((preferences[known] < 0.5).sum()),
        "draws": int((preferences[known] == 0.5).sum()),
        "candidate_chars": float(file.candidate_chars.mean()),
        "baseline_chars": float(file.baseline_chars.mean()),
        "length_coefficient": fit.length,
        "length_prior": "alpaca_eval" if chosen is ALPACA_EVAL else "any",
        "difficulty": file.difficulty is not None,
        **file.names,
    }


def show_score(scored: Mapping[str, Any], title: str) -> None:
    """Print the scores of one file as a table."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    names = " against ".join(scored[name] for name in ("candidate", "baseline") if name in scored)
    table = Table(title=escape(names or title), title_justify="left", min_width=60)
    for head in ("", "%", "standard error", "95 % interval"):
        table.add_column(head, justify="left" if not head else "right")
    for words, name, error in (
        ("win rate", "win_rate", "standard_error"),
        ("length-controlled win rate", "length_controlled_win_rate", "length_controlled_standard_error"),
    ):
        low, high = scored[f"{name}_interval"]
        table.add_row(words, _number(scored[name]), _number(scored[error]), f"{_number(low)} to {_number(high)}")
    console = Console()
    console.print(table)
    counts = ", ".join(f"{scored[name]:,} {name}" for name in ("wins", "losses", "draws", "unreadable"))
    console.print(f"{scored['n']:,} prompts: {counts}", highlight=False)
    lengths = f"{scored['candidate_chars']:,.0f} characters an answer, the baseline {scored['baseline_chars']:,.0f}"
    console.print(
        f"{lengths}; length coefficient {scored['length_coefficient']:.2f} (prior: {scored['length_prior']})",
        highlight=False,
    )


def arena(study: Path, *, draws: int, seed: int) -> Arena:
    """The scores of all judged cells of a study, written beside them as ``arena.csv``.

    Raises:
        SftdivError: If there are none, or they do not compare.
    """
    from sftdiv.evaluation.judge.arena import TABLE, read_arena, write_arena

    if not study.is_dir():
        raise SftdivError(f"there is no study folder {study}; give one that a sweep wrote, such as multirun/NAME")
    found = read_arena(study, draws=draws, seed=seed)
    write_arena(found, study / TABLE)
    return found


def show_arena(found: Arena, study: Path) -> None:
    """Print the scores of a study as a table."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    title = f"{escape(found.judge)} ({escape(found.template)}) on {found.prompts:,} prompts; {escape(found.baseline)} has 1000"
    table = Table(
        title=title,
        title_justify="left",
        caption=CAPTION,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("cell", overflow="fold")
    for head in ("level", "score", "win rate", "LC", "n", "unread"):
        table.add_column(head, justify="right")
    for one in found.standings:
        rate, low, high = (_number(100 * value, 1) for value in (one.win_rate, one.win_rate_low, one.win_rate_high))
        table.add_row(
            escape(one.cell),
            "" if one.level is None else f"{one.level:.3g}",
            f"{_number(one.score, 0)}\n[{_number(one.score_low, 0)}, {_number(one.score_high, 0)}]",
            f"{rate}\n[{low}, {high}]",
            _number(100 * one.length_controlled_win_rate, 1),
            f"{one.n:,}",
            _number(100 * one.unreadable, 1),
        )
    console = Console()
    console.print(table)
    console.print(f"written: {study / 'arena.csv'}", markup=False, highlight=False, soft_wrap=True)


def _number(value: float, digits: int = 2) -> str:
    return "none" if math.isnan(value) else f"{value:.{digits}f}"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m sftdiv.judge", description="Scores of pairwise verdicts; asks no judge."
    )
    commands = made.add_subparsers(dest="command", required=True)
    one = commands.add_parser("score", help="win rate and length-controlled win rate of a file of annotations")
    one.add_argument(
        "file",
        type=Path,
        help="JSON or JSON lines with preference, output_1 (baseline), output_2 (candidate), instruction",
    )
    one.add_argument(
        "--scale",
        choices=["12", "01"],
        help="of the preferences: 12 is 1 + the probability that output_2 wins (AlpacaEval; the default), 01 that probability itself",
    )
    one.add_argument(
        "--prior",
        choices=["auto", "alpaca_eval", "any"],
        default="auto",
        help="what is taken to be known of the judge's liking for length: as AlpacaEval 2's judge, or little (default: %(default)s)",
    )
    many = commands.add_parser("arena", help="Bradley-Terry scores of all judged cells of a study; writes arena.csv")
    many.add_argument("study", type=Path, help="the study's folder, e.g. multirun/NAME")
    for command in (one, many):
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
        command.add_argument(
            "--draws", type=_count, default=DRAWS, help="of the bootstrap, 0 for no intervals (default: %(default)s)"
        )
        command.add_argument("--seed", type=_count, default=SEED, help="of the bootstrap (default: %(default)s)")
    return made


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least 0")
    return int(text)


def main(arguments: list[str] | None = None) -> None:
    """The command; a mistake that the user can mend ends as a message and exit code 1."""
    asked = parser().parse_args(arguments)
    try:
        if asked.command == "score":
            scored = score(asked.file, scale=asked.scale, prior=asked.prior, draws=asked.draws, seed=asked.seed)
            if asked.json:
                print(json.dumps(_plain(scored), allow_nan=False))
            else:
                show_score(scored, asked.file.name)
            return
        found = arena(asked.study, draws=asked.draws, seed=asked.seed)
        if asked.json:
            print(json.dumps(_plain(asdict(found)), allow_nan=False))
        else:
            show_arena(found, asked.study)
    except SftdivError as error:
        sys.exit(f"sftdiv: {error}")


def _plain(value: Any) -> Any:
    """The same with None for NaN, which every JSON reader knows."""
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    main()
