"""Results of the Python API: a selected `Subset`, the `Report` of a dataset, and the analysis of a `Study`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SIDES, SftdivError
from sftdiv.storage.files import write_atomically

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from matplotlib.figure import Figure

    from sftdiv.analysis.analysis import Analysis


@dataclass(frozen=True)
class Subset:
    """Selected examples.

    Attributes:
        dataset: The examples in the order drawn, with the columns of a run's ``subset.parquet``: ``id``, ``messages``,
            ``instruction``, ``response``, ``source`` and carried ones.
        indices: Position of each example in the input data, shape (examples,).
        report: Columns of the result row: sizes, the selector's columns, ``diversity.SIDE.METRIC``, and the metrics of
            a random draw of the same size as ``random.*``.
    """

    dataset: datasets.Dataset
    indices: NDArray[np.int64]
    report: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        row = self.report
        level = f"{row['strategy']} on the {row['side']}, level {row['level']:.3g}"
        return f"Subset({len(self):,} examples of {row['universe']:,} that may be selected; {level})"

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per side and metric: of the subset, and of a random draw of the same size from the same universe.

        ``distinct`` is the number of distinct texts. The column ``random`` is missing where everything is selected.
        """
        import pandas as pd

        columns = {}
        for name, prefix in (("subset", ""), ("random", "random.")):
            metrics = {
                (side, metric): self.report[key]
                for key in self.report
                if key.startswith(f"{prefix}diversity.")
                for side, metric in [key.removeprefix(f"{prefix}diversity.").split(".", 1)]
            }
            distinct = f"{prefix}subset.distinct."
            texts = {
                (side, "distinct"): self.report[distinct + side] for side in SIDES if distinct + side in self.report
            }
            if metrics:
                columns[name] = texts | metrics
        return pd.DataFrame(columns).rename_axis(index=["side", "metric"])

    def save(self, path: str | Path, *, format: str = "messages") -> Path:
        """Write the examples to a file that other programs load.

        Args:
            path: Destination, with the suffix of the format: ``.jsonl`` (``.json`` for alpaca with history) or
                ``.parquet``.
            format: ``messages`` (TRL, axolotl), ``sharegpt`` or ``alpaca`` (LLaMA-Factory, axolotl), or ``parquet``.

        Returns:
            The file. LLaMA-Factory's ``dataset_info.json`` and axolotl's ``axolotl.yaml`` are written beside it.

        Raises:
            SftdivError: The format is unknown, or cannot represent an example.

        Example:
            >>> subset = sftdiv.select(rows, n=20, strategy="random")
            >>> subset.save(folder / "train.jsonl", format="sharegpt").name
            'train.jsonl'
        """
        from sftdiv.release.export.write_export import suffix_of, write_export

        target = Path(path).expanduser().absolute()
        suffix = suffix_of(self.dataset, format)  # before anything is written
        if suffix != target.suffix:
            raise SftdivError(f"{target.name}: the format {format} is written as {suffix}: {target.stem}{suffix}")
        data, *_ = write_export(self.dataset, target.parent, format=format, name=target.stem)
        return data


@dataclass(frozen=True)
class Report:
    """Diversity of a dataset, alone or compared with a baseline.

    Attributes:
        numbers: All measurements; the content of ``measure.json``.
        folder: Folder of ``measure.json``, ``measure.html`` and ``token_bands.png``.
    """

    numbers: Mapping[str, Any]
    folder: Path

    def __repr__(self) -> str:
        sizes = " beside ".join(f"{dataset['counts']['examples']:,} examples" for dataset in self.numbers["datasets"])
        return f"Report({sizes}; {self.folder})"

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per side and metric: ``value`` and, with a baseline, ``baseline``, on the complete datasets.

        Size-dependent metrics are not comparable across datasets of different sizes; ``numbers["comparison"]``
        compares equally sized samples.
        """
        import pandas as pd

        datasets = self.numbers["datasets"]
        names = ("value", "baseline")
        columns = {
            name: {
                (side, metric): value
                for side, measured in dataset["sides"].items()
                for metric, value in measured["metrics"].items()
            }
            for name, dataset in zip(names, datasets, strict=False)
        }
        return pd.DataFrame(columns).rename_axis(index=["side", "metric"])

    def to_html(self, path: str | Path) -> Path:
        """Write the report as one self-contained HTML file.

        Example:
            >>> report = sftdiv.measure(rows, near_duplicates=None)
            >>> report.to_html(folder / "report.html").name
            'report.html'
        """
        target = Path(path).expanduser().absolute()
        write_atomically(target, self._page())
        return target

    def _page(self) -> str:
        return (self.folder / "measure.html").read_text(encoding="utf-8")

    def _repr_html_(self) -> str:
        """The report in a notebook, in an iframe that isolates its styles."""
        from html import escape

        return f'<iframe srcdoc="{escape(self._page())}" style="width: 100%; height: 600px; border: 0"></iframe>'


@dataclass(frozen=True)
class Study:
    """The analysis of a study.

    Attributes:
        analysis: Every table of the report.
    """

    analysis: Analysis

    def __repr__(self) -> str:
        return f"Study({self.analysis.study.name!r}, {len(self.cells)} finished cells)"

    @property
    def cells(self) -> pd.DataFrame:
        """One row per finished cell."""
        return self.analysis.study.cells

    @property
    def slopes(self) -> pd.DataFrame:
        """One row per ladder and predictor: slope, standard deviation, interval."""
        return self.analysis.slopes

    @property
    def correlations(self) -> pd.DataFrame:
        """One row per scope, side and metric: correlation of diversity and performance."""
        return self.analysis.correlations

    def figure(self, name: str = "performance_by_level") -> Figure:
        """A figure of the report.

        Args:
            name: One of the report's figures.

        Raises:
            SftdivError: There is no such figure.

        Example:
            >>> sftdiv.analyze(study_folder).figure("performance_by_level").axes != []
            True
        """
        from sftdiv.reporting.study.study_figures import draw_figure

        return draw_figure(self.analysis, name)
