"""The comparison of selectors as a Markdown table.

python benchmarks/selectors/table.py benchmarks/selectors   # or multirun/selectors
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

MATCHES = {"none": "unmatched", "length": "length-matched"}


def difference(row: pd.Series) -> str:
    """Points of difference to random with its interval, and a star where p < 0.05 after Holm's correction."""
    star = "\\*" if row["p_holm"] < 0.05 else ""
    return f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]{star}"


def table(folder: Path) -> str:
    """Selectors by their unmatched difference to random draws, with the mean length of their responses in tokens."""
    rows = pd.read_csv(folder / "selectors.csv")
    rows = rows[rows["difference"].notna()]
    by_match = {match: rows[rows["match"] == match].set_index("selector") for match in MATCHES}
    order = by_match["none"].sort_values("difference", ascending=False).index
    lines = ["| selector | unmatched | length-matched | tokens | types | Vendi score |", "|" + " --- |" * 6]
    for name in order:
        cells = [difference(by_match[match].loc[name]) if name in by_match[match].index else "" for match in MATCHES]
        unmatched = by_match["none"].loc[name]
        numbers = [f"{unmatched[column]:.0f}" for column in ("response_tokens", "types", "vendi")]
        lines.append(f"| {' | '.join([name, *cells, *numbers])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(Path(sys.argv[1])))
