"""What a study found, in a few sentences that claim no more than its tables do.

In: an ``Analysis``. Out: plain sentences for the top of the page.
"""

from __future__ import annotations

import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.analysis.appearance import HUNDREDTHS, interval, missing, number, signed
from sftdiv.analysis.variants import SEPARATOR
from sftdiv.analysis.views import excludes_zero, level_slopes, with_settings

MOST_NAMED = 8  # slopes that are named one by one


def setting_facts(analysis: Analysis) -> list[tuple[str, str]]:
    """What was swept and what was held: (term, values) in words."""
    cells = analysis.study.cells
    swept = cells[cells["kind"] == "level"]
    names = {"strategy": "strategies", "side": "sides", "size": "sizes", "budget": "budgets", "match": "matched for", "level": "levels"}
    facts = [("cells", f"{len(cells):,} finished ({len(swept):,} of them on a ladder), {len(analysis.study.failures):,} failed")]
    facts += [(term, _values(swept[column])) for column, term in names.items()]
    facts += [(term, _values(cells[term])) for term in ("seed", "model", "corpus", "eval")]
    return [*facts, ("performance", _values(cells["primary"]))]


def _values(column: pd.Series) -> str:
    found = sorted(column.dropna().unique())
    return ", ".join(number(value) if isinstance(value, int | float) else str(value) for value in found) or "none"


def versions(analysis: Analysis) -> list[tuple[str, str]]:
    """Library and version(s), as the rows say."""
    cells = analysis.study.cells
    return [(name.removeprefix("versions."), _values(cells[name])) for name in sorted(cells.columns) if name.startswith("versions.")]


def sentences(analysis: Analysis) -> list[str]:
    """The findings, strongest slopes first."""
    told = with_settings(level_slopes(analysis))
    known = told[told["slope_low"].notna()]
    if known.empty:
        return ["No ladder has enough cells for a slope with an interval; see the notes."]
    sure = known[[excludes_zero(row) for _, row in known.iterrows()]]
    sure = sure.reindex(sure["slope"].abs().sort_values(ascending=False, kind="stable").index)
    chance = len(known) / 20
    count = "None" if sure.empty else f"{len(sure)}"
    verb = "has" if len(sure) == 1 else "have"
    found = [
        f"{count} of {len(known)} slopes of performance on the diversity level {verb} a 95 % interval that leaves out zero; "
        f"were there no relation at all, about {number(chance, 2)} would have one by chance."
    ]
    found += [_slope_sentence(row) for _, row in sure.head(MOST_NAMED).iterrows()]
    if len(sure) > MOST_NAMED:
        found.append(f"{len(sure) - MOST_NAMED} more are in the table.")
    return [*found, *_noise_sentence(analysis)]


def _slope_sentence(row: pd.Series) -> str:
    who = SEPARATOR.join([row["strategy"], row["side"], row["setting"]])
    text = f"{who}: {signed(100 * row['slope'])} {interval(100 * row['slope_low'], 100 * row['slope_high'])} {HUNDREDTHS}"
    beside = [
        f"{signed(100 * row[f'slope_given_{what}'])} ± {100 * row[f'slope_given_{what}_sd']:.2f} given {words}"
        for what, words in (("length", "response length"), ("tokens", "label tokens"))
        if not missing(float(row[f"slope_given_{what}"]))
    ]
    return f"{text}; {', '.join(beside)}." if beside else f"{text}."


def _noise_sentence(analysis: Analysis) -> list[str]:
    """The noise floor beside the slopes; nothing where no level has two seeds."""
    noise = analysis.noise.dropna(subset=["seed_sd"])
    if noise.empty:
        return ["No level has two seeds, so the noise between runs is not known."]
    low, high = 100 * noise["seed_sd"].min(), 100 * noise["seed_sd"].max()
    about = number(low, 2) if number(low, 2) == number(high, 2) else f"{number(low, 2)} to {number(high, 2)}"
    error = analysis.noise["score_stderr"].mean()
    beside = "" if pd.isna(error) else f"; one evaluation has a standard error of about {number(100 * error, 2)} {HUNDREDTHS}"
    return [f"Two runs at one level that differ in the seed alone scatter with a standard deviation of {about} {HUNDREDTHS}{beside}."]
