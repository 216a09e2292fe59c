"""The published slopes with their uncertainty, as a table and a figure, computed from the points of the paper."""

from __future__ import annotations

import io

import pandas as pd

from sftdiv.analysis.paper_slopes import MAIN_FIGURE, paper_points, paper_slopes

UNITS = {"macro_topic": "topics", "meso_tag": "tags", "micro_token": "tokens"}
COLOURS = {"macro_topic": "#0072b2", "meso_tag": "#e69f00", "micro_token": "#009e73"}  # Okabe and Ito


def paper_table() -> str:
    """One row per ladder of figure 3: slope, pooled and own interval, and residual standard deviation."""
    head = "| side | units | size | slope | 95 %, pooled | 95 %, alone | residual SD |"
    rows = [
        f"| {row['side']} | {UNITS[row['strategy']]} | {row['size']:,} | {row['slope']:+.2f} "
        f"| [{row['slope_low']:+.1f}, {row['slope_high']:+.1f}] | [{row['alone_low']:+.1f}, {row['alone_high']:+.1f}] "
        f"| {row['residual_sd']:.2f} |"
        for row in _main().to_dict("records")
    ]
    return "\n".join([head, f"|{' --- |' * 7}", *rows])


def paper_summary() -> str:
    """The uncertainty of a slope in two sentences, with the numbers computed here."""
    main = _main()
    pooled = int(((main["slope_low"] > 0) | (main["slope_high"] < 0)).sum())
    alone = int(((main["alone_low"] > 0) | (main["alone_high"] < 0)).sum())
    half = float((main["slope_high"] - main["slope_low"]).mean() / 2)
    return (
        f"Over the {len(main)} ladders the residual standard deviation of a run around its line is "
        f"{float(main['pooled_sd'].iloc[0]):.2f} points of win rate, so that a slope is known to ±{half:.2f} points. "
        f"With that pooled variance {pooled} of {len(main)} intervals exclude zero; from its own seven points alone, "
        f"{alone} do."
    )


def paper_figure() -> str:
    """The points of figure 3 with their least-squares lines, as SVG; one panel per side and size."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt
    import numpy as np

    mpl.use("Agg")
    points, slopes = paper_points(), _main()
    points = points[points["figure"] == MAIN_FIGURE]
    with mpl.rc_context(
        {"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9, "svg.hashsalt": "sftdiv"}
    ):
        figure, axes = plt.subplots(2, 3, figsize=(8, 5), sharex=True, sharey="col", layout="constrained")
        for (side, size), axis in zip(
            [(side, size) for side in ("instruction", "response") for size in (10_000, 20_000, 30_000)],
            axes.flat,
            strict=True,
        ):
            for strategy, colour in COLOURS.items():
                chosen = points[(points["side"] == side) & (points["size"] == size) & (points["strategy"] == strategy)]
                row = slopes[(slopes["side"] == side) & (slopes["size"] == size) & (slopes["strategy"] == strategy)]
                centre, mean = chosen["level"].mean(), chosen["win_rate"].mean()
                ends = np.array([0.0, 1.0])
                axis.scatter(chosen["level"], chosen["win_rate"], s=12, color=colour, label=UNITS[strategy])
                axis.plot(ends, mean + float(row["slope"].iloc[0]) * (ends - centre), color=colour, linewidth=1)
            axis.set_title(f"{side}, {size:,} examples", fontsize=9)
        for axis in axes[1]:
            axis.set_xlabel("diversity level")
        for axis in axes[:, 0]:
            axis.set_ylabel("win rate, %")
        axes[0, 0].legend(frameon=False, fontsize=8)
        output = io.StringIO()
        figure.savefig(output, format="svg", metadata={"Date": None})
        plt.close(figure)
    return output.getvalue()


def _main() -> pd.DataFrame:
    slopes = paper_slopes()
    return slopes[slopes["figure"] == MAIN_FIGURE]
