"""The findings of a study in a few sentences that claim no more than its tables."""

from __future__ import annotations

from numbers import Real

import pandas as pd

from sftdiv.analysis.analysis import Analysis
from sftdiv.reporting.format import HUNDREDTHS, format_interval, format_number, format_signed
from sftdiv.reporting.study.study_views import excludes_zero, level_slopes, with_settings

MAX_RELATIONS, MAX_SLOPES = 8, 4  # pairs of strategy and side described, and slopes of each
TERMS = {
    "strategy": "strategies",
    "side": "sides",
    "size": "sizes",
    "budget": "budgets",
    "match": "matched for",
    "level": "levels",
}


def setting_facts(analysis: Analysis) -> list[tuple[str, str]]:
    """The swept and fixed settings of the study, as (term, values)."""
    cells, failures = analysis.study.cells, analysis.study.failures
    swept = cells[cells["kind"] == "level"]
    counts = f"{len(cells):,} finished ({len(swept):,} of them on a ladder), {len(failures):,} failed"
    facts = [("cells", counts), *((term, _values(swept[column])) for column, term in TERMS.items())]
    facts += [(term, _values(cells[term])) for term in ("seed", "model", "corpus", "eval")]
    return [*facts, ("performance", _values(cells["primary"]))]


def _values(column: pd.Series) -> str:
    values = sorted(column.dropna().unique())
    texts = [format_number(float(value), 3) if isinstance(value, Real) else str(value) for value in values]
    return ", ".join(texts) or "none"


def versions(analysis: Analysis) -> list[tuple[str, str]]:
    """Libraries and their versions according to the rows."""
    cells = analysis.study.cells
    columns = [name for name in sorted(cells.columns) if name.startswith("versions.")]
    return [(name.removeprefix("versions."), _values(cells[name])) for name in columns]


def sentences(analysis: Analysis) -> list[str]:
    """The findings, strongest relations first."""
    slopes = with_settings(level_slopes(analysis))
    known = slopes[slopes["slope_low"].notna()]
    if known.empty:
        return ["No ladder has enough cells for a slope with an interval; see the notes."]
    significant = int(sum(excludes_zero(row) for _, row in known.iterrows()))
    verb = "has" if significant == 1 else "have"
    expected = format_number(len(known) / 20, 2)
    findings = [
        f"{significant or 'None'} of {len(known)} slopes of performance on the diversity level {verb} a 95 % interval "
        f"that excludes zero; without any relation, about {expected} would have one by chance."
    ]
    groups = []
    for _, group in known.groupby(["strategy", "side"], sort=False):
        if any(excludes_zero(row) for _, row in group.iterrows()):
            groups.append(group)
    groups.sort(key=lambda group: -group["slope"].abs().max())
    findings += [_relation(group) for group in groups[:MAX_RELATIONS]]
    if len(groups) > MAX_RELATIONS:
        findings.append(f"{len(groups) - MAX_RELATIONS} more strategies and sides are in the table.")
    return [*findings, _noise_sentence(analysis)]


def _relation(group: pd.DataFrame) -> str:
    """The slopes of one strategy and side, for every size and control."""
    first, slopes = group.iloc[0], []
    for _, row in group.head(MAX_SLOPES).iterrows():
        interval = format_interval(100 * row["slope_low"], 100 * row["slope_high"])
        slopes.append(f"{format_signed(100 * row['slope'])} {interval} {row['setting']}")
    more = f" and {len(group) - MAX_SLOPES} more" if len(group) > MAX_SLOPES else ""
    return f"{first['strategy']} on the {first['side']}, slope {HUNDREDTHS}: {'; '.join(slopes)}{more}."


def _noise_sentence(analysis: Analysis) -> str:
    """The noise between seeds, and the standard error of one evaluation."""
    noise = analysis.noise.dropna(subset=["seed_sd"])
    if noise.empty:
        return "No level has two seeds, so the noise between runs is not known."
    low, high = (format_number(100 * value, 2) for value in (noise["seed_sd"].min(), noise["seed_sd"].max()))
    sd = low if low == high else f"{low} to {high}"
    sentence = f"Runs at one level that differ only in the seed have a standard deviation of {sd}\u00a0{HUNDREDTHS}"
    error = analysis.noise["score_stderr"].mean()
    if not pd.isna(error):
        sentence += f"; the standard error of one evaluation is about {format_number(100 * error, 2)}\u00a0{HUNDREDTHS}"
    return f"{sentence}."
