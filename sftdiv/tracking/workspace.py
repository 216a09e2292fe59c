"""A W&B workspace for one study, built with the library ``wandb-workspaces`` (extra ``workspaces``).

It takes the project of the runs and the names of the score and the slopes, and gives a ``Workspace``. Building it needs
no account, saving it does. The panels read what `WandbTracking` sends: settings from a run's config, levels and scores
from its summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sftdiv.records import SftdivError
from sftdiv.tracking.session import FAILURES, has_key
from sftdiv.tracking.study_run import KIND

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

MOST_RUNS = 500  # runs drawn in one panel; a grid of the paper's size has fewer
COLUMNS = (
    "strategy",
    "side",
    "size",
    "level",
    "k_reached",
    "diversity.units.entropy",
    "diversity.response.length",
    "seed.ladder",
    "seed",
)


def build_workspace(*, entity: str, project: str, study: str, score: str, slopes: Sequence[str]) -> Workspace:
    """Build the workspace of one study; nothing is sent.

    Args:
        entity: W&B's user or team.
        project: W&B's project.
        study: The study's name, which is the group of its runs.
        score: Column of the primary score, such as ``score.judge.win_rate``.
        slopes: Names of the study's numbers to draw as bars, such as
            ``slope.level.micro_token.response.1000.tiny.unmatched``.

    Raises:
        SftdivError: The library is not installed.
    """
    try:
        from wandb_workspaces import workspaces
    except ImportError as error:
        raise SftdivError(
            "a W&B workspace needs the library wandb-workspaces: pip install 'sftdiv[workspaces]'"
        ) from error
    from wandb_workspaces.expr import And, Config, Metric, Ordering, Summary

    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=f"sftdiv {study}",
        sections=[
            workspaces.Section(name="Performance and diversity", panels=_performance(score), is_open=True),
            workspaces.Section(name="What the study found", panels=_findings(slopes), is_open=True),
            workspaces.Section(name="Training and generations", panels=_training(), is_open=True),
        ],
        runset_settings=workspaces.RunsetSettings(
            filters=And(Metric("Group") == study),
            order=[Ordering(Config("strategy.name")), Ordering(Summary("level"))],
            pinned_columns=[f"summary:{name}" for name in (*COLUMNS, score)],
        ),
        settings=workspaces.WorkspaceSettings(max_runs=MOST_RUNS),
    )


def _performance(score: str) -> list[Any]:
    """The score against level and diversity, by strategy, and all columns in parallel coordinates."""
    from wandb_workspaces.reports import v2 as panels

    value = panels.SummaryMetric(score)
    predictors = {
        "level": "level",
        "diversity.units.entropy": "entropy of the units, bit",
        "diversity.response.length": "response, tokens",
    }
    columns = {"level": "level", "size": "size", **predictors, "train.label_tokens": "label tokens", score: score}
    return [
        *(
            panels.ScatterPlot(title=f"{score} against {label}", x=panels.SummaryMetric(name), y=value, regression=True)
            for name, label in predictors.items()
        ),
        panels.BarPlot(
            title=f"{score} by strategy",
            metrics=[value],
            groupby=panels.Config("strategy.name"),
            groupby_aggfunc="mean",
            groupby_rangefunc="stderr",
            max_runs_to_show=MOST_RUNS,
        ),
        panels.ParallelCoordinatesPlot(
            title="Every cell",
            columns=[
                panels.ParallelCoordinatesPlotColumn(metric=panels.Config("strategy.name"), display_name="strategy"),
                *(
                    panels.ParallelCoordinatesPlotColumn(metric=panels.SummaryMetric(name), display_name=label)
                    for name, label in columns.items()
                ),
            ],
        ),
    ]


def _findings(slopes: Sequence[str]) -> list[Any]:
    """The slopes as bars where their names are known, and the study's tables and report."""
    from wandb_workspaces.reports import v2 as panels

    bars = (
        [panels.BarPlot(title="Slopes", metrics=[panels.SummaryMetric(name) for name in slopes], orientation="h")]
        if slopes
        else []
    )
    tables = [panels.WeavePanelSummaryTable(table_name=f"table/{name}") for name in ("slopes", "correlations")]
    note = f"Slopes, tables, figures and the report belong to the run of job type `{KIND}`; every other run is a cell."
    return [
        *bars,
        *tables,
        panels.MediaBrowser(title="Report", media_keys=["report"]),
        panels.MarkdownPanel(markdown=note),
    ]


def _training() -> list[Any]:
    from wandb_workspaces.reports import v2 as panels

    loss = {"title": "Training loss", "x": "Step", "y": ["train.loss"], "max_runs_to_show": MOST_RUNS}
    return [
        panels.LinePlot(**loss),
        panels.LinePlot(
            **loss | {"title": "Training loss by strategy"},
            groupby=panels.Config("strategy.name"),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            aggregate=True,
        ),
        panels.WeavePanelSummaryTable(table_name="samples"),
    ]


def save_workspace(workspace: Workspace) -> str:
    """Save a workspace as a new view of its project; gives its address.

    Raises:
        SftdivError: No API key is known, or W&B does not take the workspace.
    """
    if not has_key():
        raise SftdivError(
            f"saving the workspace {workspace.name!r} needs an account: set WANDB_API_KEY, or `wandb login`"
        )
    try:
        return str(workspace.save().url)
    except FAILURES as error:
        raise SftdivError(
            f"W&B did not take the workspace {workspace.name!r} for {workspace.entity}/{workspace.project}: {error}"
        ) from error
