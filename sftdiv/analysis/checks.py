"""What keeps the cells of a study from being compared: mixed evaluations or corpora, missing levels, scores that are not there.

In: the table of cells. Out: notes. Nothing is dropped or averaged here: the analysis keeps such
cells apart, or leaves them out, as the note says.
"""

from __future__ import annotations

import pandas as pd

from sftdiv.analysis.notes import Notes

CONSTANT = 1e-12  # a spread below this share of the scores is rounding


def is_constant(scores: pd.Series) -> bool:
    """Whether all scores are one value but for rounding; one score alone is not called constant."""
    return len(scores) > 1 and float(scores.max() - scores.min()) <= CONSTANT * float(scores.abs().max())


def check_cells(cells: pd.DataFrame, notes: Notes) -> None:
    """Note whatever makes cells incomparable or incomplete.

    Args:
        cells: The sorted cells of a study.
        notes: Where to.
    """
    _check_mixture(cells, notes)
    _check_scores(cells, notes)
    ladders = cells[cells["kind"] == "level"]
    if ladders.empty:
        notes.add("no cell of a diversity ladder in this folder, only baselines: there is no slope to fit")
    all_levels = sorted(set(ladders["level"].astype(float)))
    for label, ladder in ladders.groupby("ladder", sort=False):
        _check_ladder(ladder, str(label), all_levels, notes)


def _check_mixture(cells: pd.DataFrame, notes: Notes) -> None:
    """More than one corpus, evaluation, or version of what trains."""
    for name, column in (("corpora", "corpus_hash"), ("evaluations", "eval_hash")):
        kinds = cells.groupby(column, dropna=False, sort=True).size()
        if len(kinds) > 1:
            counts = ", ".join(f"{str(key)[:8]}: {count} cells" for key, count in kinds.items())
            notes.add(
                f"{len(kinds)} {name} in one folder ({column} {counts}); their cells are kept apart and never averaged"
            )
    primaries = sorted(cells["primary"].dropna().unique())
    if len(primaries) > 1:
        notes.add(
            f"cells are judged by different scores ({', '.join(primaries)}); they are kept apart and never averaged"
        )
    for column in sorted(name for name in map(str, cells.columns) if name.startswith("versions.")):
        found = sorted(cells[column].dropna().unique())
        if len(found) > 1:
            notes.add(
                f"cells were made with different versions of {column.removeprefix('versions.')}: {', '.join(map(str, found))}"
            )
    for variant, line in cells[(cells["variant"] != "") & (cells["kind"] == "level")].groupby("variant", sort=True):
        notes.add(f"ladders of the same name that differ by {variant} are lines of their own", _plain(line))


def _plain(line: pd.DataFrame) -> str:
    return str(line["ladder"].iloc[0])


def _check_scores(cells: pd.DataFrame, notes: Notes) -> None:
    """Cells without a performance, and why."""
    unnamed = int(cells["primary"].isna().sum())
    if unnamed:
        notes.add(
            f"{unnamed} of {len(cells)} cells have no primary score (eval=none, or eval.primary=null), so no performance"
        )
    for primary, judged in cells[cells["primary"].notna()].groupby("primary", sort=True):
        absent = judged[judged["performance"].isna()]
        scores = [
            name for name in map(str, judged.columns) if name.startswith("score.") and not name.endswith(".stderr")
        ]
        known = sorted(name.removeprefix("score.") for name in scores)
        if f"score.{primary}" not in cells:
            notes.add(f"no cell has the primary score {primary!r}; scores in this folder: {', '.join(known) or 'none'}")
        elif len(absent):
            reason = (
                f"have no value of {primary} (NaN, or not evaluated) and are left out, such as {absent['cell'].iloc[0]}"
            )
            notes.add(f"{len(absent)} of {len(judged)} cells {reason}")
        if not judged["higher_is_better"].astype(bool).any():
            notes.add(f"{primary} is better when lower: performance is its negative")


def _check_ladder(ladder: pd.DataFrame, label: str, all_levels: list[float], notes: Notes) -> None:
    """Levels that are missing, that are the same set, or scores that do not move."""
    have = set(ladder["level"])
    if missing := [level for level in all_levels if level not in have]:
        notes.add(f"missing levels that other ladders have: {_listed(missing)}", label)
    seeds = set(ladder["seed"])
    holes = [level for level in sorted(have) if set(ladder.loc[ladder["level"] == level, "seed"]) != seeds]
    if holes:
        notes.add(f"some of the {len(seeds)} seeds are missing at level {_listed(holes)}", label)
    asked = ladder.groupby("level")["k_asked"].mean()
    if len(asked) > 1 and asked.nunique() < len(asked):
        notes.add("some levels ask for the same number of unit types k, and are the same set", label)
    if is_constant(ladder["performance"].dropna()):
        notes.add("the performance is the same in every cell: there is no slope or correlation to speak of", label)


def _listed(levels: list[float]) -> str:
    return ", ".join(f"{level:.3g}" for level in levels)
