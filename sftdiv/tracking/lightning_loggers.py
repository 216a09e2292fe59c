"""Lightning's loggers with places for what a run ends with: its result row, its generations, and a study's summary.

Lightning's interface takes metrics and settings. Each class here adds the rest in the form that its service shows:
text and images in TensorBoard, artifacts in MLflow, further files for CSV. Importing this module imports torch, so the
options import it only when a run begins.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pytorch_lightning.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger

from sftdiv.protocols import RunLogger, StudySummary
from sftdiv.storage.files import write_atomically
from sftdiv.text.csv_cells import csv_cell, csv_text
from sftdiv.tracking.contents import numbers_of, read_samples
from sftdiv.tracking.run_tracker import RESULT_PREFIX

if TYPE_CHECKING:
    import pandas as pd

SHOWN_SAMPLE = 4000  # characters of a generation in TensorBoard


class StudyLogger(RunLogger, Protocol):
    """A logger that also takes the tables, figures and report of a study."""

    def log_table(self, name: str, frame: pd.DataFrame) -> None:
        """Record a table."""
        ...

    def log_files(self, figures: Mapping[str, Path], report: Path | None) -> None:
        """Record image files by name, and the HTML report."""
        ...


def log_study_to(logger: StudyLogger, summary: StudySummary) -> None:
    """Record a study's summary as one run, and close the run."""
    import pandas as pd

    logger.log_metrics(clean_names(numbers_of(summary.numbers)), 0)
    for name, rows in summary.tables.items():
        frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(list(rows))
        logger.log_table(name, frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index())
    logger.log_files(summary.figures, summary.report)
    logger.finalize("success")


def clean_names(numbers: Mapping[str, float], prefix: str = "") -> dict[str, float]:
    """Metrics with names that TensorBoard and MLflow take: letters, digits and ``_ . / -``."""
    return {prefix + re.sub(r"[^\w./-]", "-", name): value for name, value in numbers.items()}


class CsvRunLogger(CSVLogger):
    """``metrics.csv`` with a row per step, ``hparams.yaml``, and ``result.csv`` with the final numbers."""

    def log_summary(self, row: Mapping[str, Any]) -> None:
        """Write the final numbers as ``result.csv``, one per line."""
        path = Path(self.experiment.log_dir) / "result.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["name", "value"])
            writer.writerows((csv_cell(name), value) for name, value in numbers_of(row).items())

    def log_table(self, name: str, frame: pd.DataFrame) -> None:
        """Write a table as ``NAME.csv``."""
        write_atomically(Path(self.experiment.log_dir) / f"{name}.csv", csv_text(frame))

    def log_files(self, figures: Mapping[str, Path], report: Path | None) -> None:
        """Write nothing: figures and report are files in the study's folder already."""


class TensorBoardRunLogger(TensorBoardLogger):
    """Scalars per step, generations as text, and the final numbers beside the settings in the HPARAMS tab."""

    def log_samples(self, path: Path) -> None:
        """Show every generation as text."""
        for index, sample in enumerate(read_samples(path)):
            lines = [f"**{name}**: {str(value)[:SHOWN_SAMPLE]}" for name, value in sample.items()]
            self.experiment.add_text("samples", "\n\n".join(lines), index)

    def log_summary(self, row: Mapping[str, Any]) -> None:
        """Show the final numbers as scalars and as the metrics of the settings."""
        self.log_hyperparams(dict(self.hparams), clean_names(numbers_of(row), RESULT_PREFIX))

    def log_table(self, name: str, frame: pd.DataFrame) -> None:
        """Show a table as text."""
        self.experiment.add_text(f"table/{name}", _markdown(frame), 0)

    def log_files(self, figures: Mapping[str, Path], report: Path | None) -> None:
        """Show the figures; TensorBoard has no page for the report."""
        from matplotlib.image import imread

        for name, path in figures.items():
            self.experiment.add_image(f"figure/{name}", imread(path), 0, dataformats="HWC")


class MlflowRunLogger(MLFlowLogger):
    """Metrics and parameters of a run; generations, tables, figures and report as artifacts."""

    def log_samples(self, path: Path) -> None:
        """Keep the file of generations."""
        self.experiment.log_artifact(self.run_id, str(path))

    def log_summary(self, row: Mapping[str, Any]) -> None:
        """Record the final numbers as metrics."""
        self.log_metrics(clean_names(numbers_of(row), RESULT_PREFIX), 0)

    def log_table(self, name: str, frame: pd.DataFrame) -> None:
        """Keep a table as ``tables/NAME.csv``."""
        self.experiment.log_text(self.run_id, csv_text(frame), f"tables/{name}.csv")

    def log_files(self, figures: Mapping[str, Path], report: Path | None) -> None:
        """Keep the figures and the report."""
        for path in figures.values():
            self.experiment.log_artifact(self.run_id, str(path), "figures")
        if report is not None:
            self.experiment.log_artifact(self.run_id, str(report))


def _markdown(frame: pd.DataFrame) -> str:
    """A table in Markdown, which TensorBoard renders."""
    rows: list[list[object]] = [list(frame.columns), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in row) + " |" for row in rows)
