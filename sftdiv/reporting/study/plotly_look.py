"""The plotly template and colour scale of the charts of the study page."""

from __future__ import annotations

import plotly.graph_objects as go

from sftdiv.reporting.styles import GREY, INK, PALE

_FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
BLUES = [[0.0, "#f7fbff"], [0.25, "#d0e1f2"], [0.5, "#94c4df"], [0.75, "#4a98c9"], [1.0, "#08519c"]]
_AXIS = {
    "showline": True,
    "linecolor": GREY,
    "ticks": "outside",
    "tickcolor": GREY,
    "gridcolor": PALE,
    "zeroline": False,
    "automargin": True,
    "exponentformat": "power",  # plotly's default writes 0.0003 as 300\u00b5
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": _FONT, "size": 12, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hoverlabel": {
            "align": "left",
            "bgcolor": "white",
            "bordercolor": GREY,
            "font": {"family": _FONT, "size": 12, "color": INK},
        },
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)
