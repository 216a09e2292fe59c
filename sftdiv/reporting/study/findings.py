"""What a study found, in a few sentences that claim no more than its tables do.

In: an ``Analysis``. Out: plain sentences for the top of the page.
"""

from __future__ import annotations

from numbers import Real

import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.reporting.format import HUNDREDTHS, format_interval, format_number, format_signed
from sftdiv.reporting.study.study_views import excludes_zero, level_slopes, with_settings

MOST_NAMED, MOST_BESIDE = 8, 4  # strategies with a side that are named one by one, and slopes of each


def setting_facts(analysis: Analysis) -> list[tuple[str, str]]:
    """What was swept and what was held: (term, values) in words."""
    cells = analysis.study.cells
    swept = cells[cells["kind"] == "level"]
    names = {
        "strategy": "strategies",
        "side": "sides",
        "size": "sizes",
        "budget": "budgets",
        "match": "matched for",
        "level": "levels",
    }
    facts = [
        (
            "cells",
            f"{len(cells):,} finished ({len(swept):,} of them on a ladder), {len(analysis.study.failures):,} failed",
        )
    ]
    facts += [(term, _values(swept[column])) for column, term in names.items()]
    facts += [(term, _values(cells[term])) for term in ("seed", "model", "corpus", "eval")]
    return [*facts, ("performance", _values(cells["primary"]))]


def _values(column: pd.Series) -> str:
    found = sorted(column.dropna().unique())
    return (
        ", ".join(format_number(float(value), 3) if isinstance(value, Real) else str(value) for value in found)
        or "none"
    )


def versions(analysis: Analysis) -> list[tuple[str, str]]:
    """Library and version(s), as the rows say."""
    cells = analysis.study.cells
    return [
        (name.removeprefix("versions."), _values(cells[name]))
        for name in sorted(cells.columns)
        if name.startswith("versions.")
    ]


def sentences(analysis: Analysis) -> list[str]:
    """The findings, strongest relations first."""
    told = with_settings(level_slopes(analysis))
    known = told[told["slope_low"].notna()]
    if known.empty:
        return ["No ladder has enough cells for a slope with an interval; see the notes."]
    sure = int(sum(excludes_zero(row) for _, row in known.iterrows()))
    verb = "has" if sure == 1 else "have"
    found = [
        f"{sure or 'None'} of {len(known)} slopes of performance on the diversity level {verb} a 95 % interval that "
        f"leaves out zero; were there no relation at all, about {format_number(len(known) / 20, 2)} would have one by chance."
    ]
    groups = [
        group
        for _, group in known.groupby(["strategy", "side"], sort=False)
        if any(excludes_zero(row) for _, row in group.iterrows())
    ]
    groups.sort(key=lambda group: -group["slope"].abs().max())
    found += [_relation(group) for group in groups[:MOST_NAMED]]
    if len(groups) > MOST_NAMED:
        found.append(f"{len(groups) - MOST_NAMED} more strategies and sides are in the table.")
    return [*found, *_noise_sentence(analysis)]


def _relation(group: pd.DataFrame) -> str:
    """One strategy and side, every size and control that was run, beside each other."""
    first, rows = group.iloc[0], group.head(MOST_BESIDE)
    beside = [
        f"{format_signed(100 * row['slope'])} {format_interval(100 * row['slope_low'], 100 * row['slope_high'])} {row['setting']}"
        for _, row in rows.iterrows()
    ]
    more = f" and {len(group) - MOST_BESIDE} more" if len(group) > MOST_BESIDE else ""
    return f"{first['strategy']} on the {first['side']}, slope {HUNDREDTHS}: {'; '.join(beside)}{more}."


def _noise_sentence(analysis: Analysis) -> list[str]:
    """The noise floor beside the slopes; nothing where no level has two seeds."""
    noise = analysis.noise.dropna(subset=["seed_sd"])
    if noise.empty:
        return ["No level has two seeds, so the noise between runs is not known."]
    low, high = 100 * noise["seed_sd"].min(), 100 * noise["seed_sd"].max()
    about = (
        format_number(low, 2)
        if format_number(low, 2) == format_number(high, 2)
        else f"{format_number(low, 2)} to {format_number(high, 2)}"
    )
    error = analysis.noise["score_stderr"].mean()
    beside = (
        ""
        if pd.isna(error)
        else f"; one evaluation has a standard error of about {format_number(100 * error, 2)}\u00a0{HUNDREDTHS}"
    )
    return [
        f"Two runs at one level that differ in the seed alone scatter with a standard deviation of {about}\u00a0{HUNDREDTHS}{beside}."
    ]
