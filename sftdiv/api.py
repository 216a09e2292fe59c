"""The Python API of sftdiv: ``select``, ``ladder``, ``measure``, ``analyze``.

It has the same defaults, checks, messages and results as the commands and needs no knowledge of Hydra. Data
is a ``datasets.Dataset``, a list of dicts, a pandas frame, or a path, glob or Hub id. Every setting of a
command is a keyword, with two underscores for a dot: ``corpus__dedup="near"`` is ``corpus.dedup=near``.
Data in memory is written once to the cache folder, named by its content, and read like any other file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftdiv.pipeline.api_results import Report, Study, Subset
from sftdiv.records import SftdivError, Side

if TYPE_CHECKING:
    from sftdiv.config.sources import Data

__all__ = ["Report", "Study", "Subset", "analyze", "ladder", "measure", "select"]


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

    Every row may be selected: nothing is held out unless ``corpus__heldout`` says so. Level 1 allows all unit types of
    the strategy, drawn evenly; it is not the set with the most distinct instructions. ``table`` of the result shows the
    subset beside a random draw of the same size.

    Args:
        data: Examples; see the module's docstring.
        n: Number of examples.
        strategy: ``micro_token``, ``meso_tag``, ``macro_topic`` or ``random``.
        side: ``instruction`` or ``response``; None for the strategy's default.
        level: Diversity level: a number in [0, 1], or a fraction such as ``"1/6"``.
        **settings: Any other setting of the command, such as ``match="length"``, ``seed=1`` or
            ``corpus__dedup="near"``. ``embedder`` defaults to ``none`` unless the strategy needs one, so that texts
            are not embedded for metrics only.

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
    """Select one subset at each of several diversity levels. Units and ladder are computed once for all levels.

    Args:
        data: Examples; see the module's docstring.
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
    renamed = {{"match": "selection.match"}.get(name, name): value for name, value in settings.items()}
    shared = {"size.n": n, "strategy": strategy, "stop_after": "select", **dotted(renamed)}
    shared = source_settings(data, shared) | shared
    if side is not None:
        shared["strategy.side"] = side
    if "embedder" not in shared:
        shared |= _default_embedder(shared)
    requests = [run_request({**shared, "diversity_level": level}) for level in levels]
    first = requests[0]
    results = select_levels([request.spec for request in requests], first.paths.cache, compute=first.compute)
    reader = first.spec.corpus.reader
    return [Subset(table, positions_of(reader, table["messages"]), report) for table, report in results]


def _default_embedder(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The setting ``embedder=none``, unless strategy or selector need an embedder: then the command's default holds."""
    from sftdiv.config.from_python import run_request

    spec = run_request(settings).spec
    needs_embeddings = spec.strategy.needs == "embeddings" or spec.selection.needs_embeddings
    return {} if needs_embeddings else {"embedder": "none"}


def measure(data: Data, *, baseline: Data | None = None, **settings: Any) -> Report:
    """Measure the diversity of a dataset, alone or compared with a baseline, as ``python -m sftdiv.measure`` does.

    Args:
        data: Examples; see the module's docstring.
        baseline: Dataset to compare with.
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

    other_settings = dotted(settings)
    all_settings = {**source_settings(data, other_settings), **other_settings}
    if baseline is not None:
        all_settings["baseline"] = source_settings(baseline, other_settings)["corpus.path"]
    request = measure_request(all_settings)
    return Report(run_measurement(request, Console(stderr=True, force_jupyter=False)), request.folder)


def analyze(study: str | Path) -> Study:
    """Relate diversity to performance in a study's finished cells, as ``python -m sftdiv.analyze`` does.

    Nothing is written.

    Args:
        study: Folder of the study, such as ``multirun/my_study``.

    Raises:
        SftdivError: The folder is not a study, or none of its cells has a score.

    Example:
        >>> study = sftdiv.analyze(study_folder)
        >>> sorted(study.slopes["strategy"].unique())
        ['micro_token']
    """
    from sftdiv.pipeline.analyze_study import analyze_cells

    return Study(analyze_cells(Path(study).expanduser().absolute()))
