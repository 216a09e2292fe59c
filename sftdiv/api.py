"""The Python face of sftdiv: ``select``, ``ladder``, ``measure``, ``analyze``.

The same defaults, checks, messages and results as the commands, without any knowledge of Hydra. Data is a
``datasets.Dataset``, a list of dicts, a pandas frame, or a path, glob or hub id. Every setting of a command
can be given as a keyword, with two underscores for a dot: ``corpus__dedup="near"`` is ``corpus.dedup=near``.
Data in memory is written once below the cache folder, named by its content, and read like any other file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError, Side
from sftdiv.storage.files import write_atomically

if TYPE_CHECKING:
    import datasets
    import pandas as pd
    from matplotlib.figure import Figure

    from sftdiv.analysis.analysis import Analysis
    from sftdiv.config.sources import Data


@dataclass(frozen=True)
class Subset:
    """Selected examples.

    Attributes:
        dataset: The examples in the order drawn, with the columns of a run's ``subset.parquet``: ``id``, ``messages``,
            ``instruction``, ``response``, ``source`` and carried ones.
        indices: Position of each example in the data as it was given, shape (examples,).
        report: Columns of the result row: sizes, the selector's numbers, ``diversity.SIDE.METRIC``.
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

    def save(self, path: str | Path, *, format: str = "messages") -> Path:
        """Write the examples to a file that other programs load.

        Args:
            path: Destination, with the suffix of the format: ``.jsonl`` (``.json`` for alpaca with history) or ``.parquet``.
            format: ``messages`` (TRL, axolotl), ``sharegpt`` or ``alpaca`` (LLaMA-Factory, axolotl), or ``parquet``.

        Returns:
            The file. LLaMA-Factory's ``dataset_info.json`` and axolotl's ``axolotl.yaml`` are written beside it.

        Raises:
            SftdivError: The format is unknown, has another suffix, or cannot hold an example.

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


def select(
    data: Data,
    n: int = 10_000,
    *,
    strategy: str = "micro_token",
    side: Side | None = None,
    level: float | str = 1.0,
    **settings: Any,
) -> Subset:
    """Select a subset at a diversity level, as ``python -m sftdiv.run stop_after=select`` does.

    Args:
        data: Examples; see the module's text.
        n: Number of examples.
        strategy: ``micro_token``, ``meso_tag``, ``macro_topic`` or ``random``.
        side: ``instruction`` or ``response``; None for the strategy's default.
        level: Diversity level: a number in [0, 1], or a fraction such as ``"1/6"``.
        **settings: Any other setting of the command, such as ``match="length"``, ``seed=1`` or ``corpus__dedup="near"``.
            Without ``embedder`` none is used unless the strategy needs one, so that nothing is embedded for metrics alone.

    Raises:
        SftdivError: A setting is unknown or out of range, the data cannot be read, or it is too small for ``n``.

    Example:
        >>> subset = sftdiv.select(rows, n=20, strategy="meso_tag", level=0.5)
        >>> len(subset), len(subset.dataset)
        (20, 20)
    """
    return ladder(data, n, strategy=strategy, side=side, levels=[level], **settings)[0]


def ladder(
    data: Data,
    n: int = 10_000,
    *,
    strategy: str = "micro_token",
    side: Side | None = None,
    levels: Sequence[float | str] = (0.0, 0.5, 1.0),
    **settings: Any,
) -> list[Subset]:
    """Select one subset at each of several diversity levels; what the levels share is computed once.

    Args:
        data: Examples; see the module's text.
        n: Number of examples of each subset.
        strategy: ``micro_token``, ``meso_tag``, ``macro_topic`` or ``random``.
        side: ``instruction`` or ``response``; None for the strategy's default.
        levels: Diversity levels: numbers in [0, 1], or fractions such as ``"1/6"``.
        **settings: Any other setting of the command; see `select`.

    Returns:
        The subsets in the order of the levels.

    Raises:
        SftdivError: As `select` does.

    Example:
        >>> low, high = sftdiv.ladder(rows, n=20, strategy="meso_tag", levels=[0, 1])
        >>> low.report["diversity.units.types"] < high.report["diversity.units.types"]
        True
    """
    from sftdiv.config.from_python import dotted, run_request
    from sftdiv.config.sources import positions_of, source_settings
    from sftdiv.pipeline.select_subsets import select_levels

    if not isinstance(n, str) and n < 1:
        raise SftdivError(f"n={n} selects nothing; at least one example is needed")
    if not len(levels):
        raise SftdivError("levels is empty; give diversity levels in [0, 1], such as levels=[0, 0.5, 1]")
    others = dotted({{"match": "selection.match"}.get(name, name): value for name, value in settings.items()})
    shared = {**source_settings(data, others), "size.n": n, "strategy": strategy, "stop_after": "select", **others}
    if side is not None:
        shared["strategy.side"] = side
    if "embedder" not in shared:
        shared |= _default_embedder(shared)
    request = run_request({**shared, "diversity_level": levels[0]})
    specs = [run_request({**shared, "diversity_level": level}).spec for level in levels]
    subsets = []
    reader = request.spec.corpus.reader
    for table, report in select_levels(specs, request.paths.cache):
        subsets.append(Subset(table, positions_of(reader, table["messages"]), report))
    return subsets


def _default_embedder(settings: Mapping[str, Any]) -> dict[str, Any]:
    """No embedder, unless the strategy needs one: then the command's own default."""
    from sftdiv.config.from_python import run_request

    needs_embeddings = run_request(settings).spec.strategy.needs == "embeddings"
    return {} if needs_embeddings else {"embedder": "none"}


@dataclass(frozen=True)
class Report:
    """The diversity of a dataset, or of two.

    Attributes:
        numbers: Everything measured, as ``measure.json`` holds it.
        folder: Folder of ``measure.json``, ``measure.html`` and ``token_bands.png``.
    """

    numbers: Mapping[str, Any]
    folder: Path

    def __repr__(self) -> str:
        sizes = " beside ".join(f"{dataset['counts']['examples']:,} examples" for dataset in self.numbers["datasets"])
        return f"Report({sizes}; {self.folder})"

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per side and metric: ``value`` and, with a baseline, ``baseline``, on the whole datasets.

        Size-dependent metrics of datasets of different sizes do not compare; see ``numbers["comparison"]``, which
        compares samples of one size.
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
        """Write the report as one HTML file that opens from disk.

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
        """The report in a notebook: the page in a frame of its own, so that its styles stay there."""
        from html import escape

        return f'<iframe srcdoc="{escape(self._page())}" style="width: 100%; height: 600px; border: 0"></iframe>'


def measure(data: Data, *, baseline: Data | None = None, **settings: Any) -> Report:
    """Measure how diverse a dataset is, alone or beside another one, as ``python -m sftdiv.measure`` does. Trains nothing.

    Args:
        data: Examples; see the module's text.
        baseline: A second dataset to compare with.
        **settings: Any other setting of the command, such as ``embedder="lsa"`` or ``matched={"size": 500}``.

    Raises:
        SftdivError: A setting is unknown or out of range, or the data cannot be read.

    Example:
        >>> report = sftdiv.measure(rows, near_duplicates=None)
        >>> bool(report.table.loc[("response", "entropy"), "value"] > 0)
        True
    """
    from rich.console import Console

    from sftdiv.config.from_python import dotted, measure_request
    from sftdiv.config.sources import source_settings
    from sftdiv.pipeline.compare_datasets import measure_request as run_measurement

    others = dotted(settings)
    named = {**source_settings(data, others), **others}
    if baseline is not None:
        named["baseline"] = source_settings(baseline, others)["corpus.path"]
    request = measure_request(named)
    return Report(run_measurement(request, Console(stderr=True, force_jupyter=False)), request.folder)


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


def analyze(study: str | Path, *, seed: int = 0) -> Study:
    """Relate diversity to performance in the finished cells of a study, as ``python -m sftdiv.analyze`` does; writes nothing.

    Args:
        study: Folder of the study, such as ``multirun/my_study``.
        seed: Seed of the bootstrap intervals.

    Raises:
        SftdivError: The folder is no study, or none of its cells has a score.

    Example:
        >>> study = sftdiv.analyze(study_folder)
        >>> sorted(study.slopes["strategy"].unique())
        ['micro_token']
    """
    from sftdiv.pipeline.analyze_study import analyze_cells

    return Study(analyze_cells(Path(study).expanduser().absolute(), seed=seed))
