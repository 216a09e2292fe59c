"""The diversity metrics that exist, and their measurement on a set as one flat dict.

``METRICS`` describes every column, ``FAMILIES`` what ``describe`` measures, ``PAPER`` what it
measures by default, ``PAPER_METRICS`` the paper's seven columns. No metric depends on the order of
the texts; most depend on their number (see ``size_matched``).

A metric is one file in this folder: a function, and ``@metric(...)`` from ``metric.py`` on the
function that applies it to a ``TextSet``. Importing this module imports every module in the folder,
so there is no list to extend. A metric elsewhere is registered by importing its module, before a
config is validated or ``describe`` is called; it then is accepted in ``diversity.metrics``,
measured, and treated in tables and reports as its declaration says::

    from sftdiv.diversity.metric import metric
    from sftdiv.diversity.text_set import TextSet

    @metric("vocabulary", {"vocabulary": "Vocabulary (types)"}, direction="high", needs="tokens", growth="rises")
    def vocabulary(texts: TextSet) -> float:
        return float(len(set(texts.token_ids.flat.tolist())))

All metric modules are imported to know one name. That is cheap because they import compiled code
and heavy libraries inside their functions only, which a test checks. A separate file of
declarations would save these imports, at the price of a second place to edit.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sftdiv.diversity.metric import DECLARED, Family, Metric
from sftdiv.diversity.text_set import TextSet, UnitSet
from sftdiv.records import SftdivError, TokenIds
from sftdiv.storage.hashing import SOURCE
from sftdiv.storage.progress_bar import tracked
from sftdiv.storage.source_code import is_foreign, source_digest
from sftdiv.storage.validate import check_one_of

if TYPE_CHECKING:
    import scipy.sparse

for _module in pkgutil.iter_modules([str(Path(__file__).parent)]):
    if not _module.ispkg and _module.name != "registry":
        importlib.import_module(f"sftdiv.diversity.{_module.name}")

METRICS: Mapping[str, Metric] = MappingProxyType(DECLARED.metrics)  # by column
FAMILIES: Mapping[str, Family] = MappingProxyType(DECLARED.text_families)  # that a config may choose
SMALL = 5_000  # texts; a product of 5,000 x 384 matrices takes 0.05 s on one core
PAPER: tuple[str, ...] = tuple(name for name, family in FAMILIES.items() if family.paper)
PAPER_METRICS: tuple[str, ...] = tuple(name for name, metric in METRICS.items() if metric.paper)


def detail_columns() -> frozenset[str]:
    """Columns that another column of their family summarises; tables and tests of metrics leave them out."""
    return frozenset(name for name, metric in METRICS.items() if metric.detail)


def metric_families(setting: str | Sequence[str], *, name: str = "diversity.metrics") -> tuple[str, ...]:
    """Families that a setting selects.

    Args:
        setting: ``paper``, ``all``, or a list of families.
        name: Name of the setting, for messages.

    Raises:
        SftdivError: If a family is unknown.
    """
    if isinstance(setting, str):
        setting = {"paper": PAPER, "all": tuple(FAMILIES)}.get(setting, (setting,))
    for family in setting:
        check_one_of(name, family, ("paper", "all", *FAMILIES))
    return tuple(setting)


def metrics_identity(names: Sequence[str]) -> list[Any]:
    """Identity of families of metrics: names, and the source of those that are defined outside this package.

    Args:
        names: Families, from ``FAMILIES``.
    """
    return [_identity(FAMILIES[name]) for name in names]


def foreign_unit_metrics() -> list[Any]:
    """Identities of the metrics of units that are defined outside this package; all of them are always measured."""
    return [_identity(family) for family in DECLARED.unit_families.values() if is_foreign(family.measure)]


def _identity(family: Family) -> Any:
    return {"name": family.name, SOURCE: source_digest(family.measure)} if is_foreign(family.measure) else family.name


def describe(
    token_ids: TokenIds,
    texts: Sequence[str],
    embeddings: NDArray[np.float32] | None,
    *,
    metrics: Sequence[str] = PAPER,
    reference: NDArray[np.float32] | None = None,
    rng: np.random.Generator | None = None,
    most: int = 10_000,
) -> dict[str, float]:
    """Measure the diversity of a set of texts.

    Args:
        token_ids: Token ids of the texts.
        texts: The texts, as many as in ``token_ids``.
        embeddings: Row-normalised embeddings, shape (texts, dimensions). None leaves out the
            metrics that need them.
        metrics: Families to measure, from ``FAMILIES``.
        reference: Embeddings of the corpus that the set is taken from. Facility location is left
            out without it, and NovelSum's density.
        rng: Generator that draws the pairs of texts for homogenisation, and the texts where there
            are more than ``most``.
        most: Number of texts that NovelSum, nearest-neighbour distance, facility location and
            cluster inertia use at most, drawn without replacement.

    Returns:
        Column name to value, in the order of ``metrics``; NaN where a set is too small for a metric
        (see each).

    Raises:
        SftdivError: If a metric is unknown, or needs ``rng`` and there is none.
    """
    unknown = [name for name in metrics if name not in FAMILIES]
    if unknown:
        raise SftdivError(f"unknown diversity metrics {', '.join(unknown)}. Known: {', '.join(FAMILIES)}")
    subset = TextSet(token_ids, texts, embeddings, reference, rng, most)
    missing = set()
    if embeddings is None:
        missing = {"embeddings", "reference"}
    elif reference is None:
        missing = {"reference"}
    columns: dict[str, float] = {}
    with _threads_for(len(texts)):
        for family in tracked([FAMILIES[name] for name in metrics], "diversity metrics", unit="families"):
            if family.needs not in missing:
                columns |= family.values(subset)
    return columns


def _threads_for(texts: int) -> AbstractContextManager[Any]:
    """One thread of BLAS and OpenMP for small sets, whose many small matrices threads only wait for."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1 if texts <= SMALL else None)


def describe_at_tokens(token_ids: TokenIds, texts: Sequence[str]) -> dict[str, float]:
    """Measure a set of texts at an equal number of tokens; see ``equal_tokens``. Every set is, whatever the config."""
    columns: dict[str, float] = {}
    for family in DECLARED.sample_families.values():
        columns |= family.values(TextSet(token_ids, texts, None, None, None, 0))
    return columns


def describe_units(matrix: scipy.sparse.csr_array, *, types: int | None = None) -> dict[str, float]:
    """Measure the diversity of the units of a set's examples; see ``unit_coverage``.

    Args:
        matrix: Counts, shape (examples, types).
        types: Number of types that exist; the columns of the matrix unless given.
    """
    columns: dict[str, float] = {}
    for family in DECLARED.unit_families.values():
        columns |= family.values(UnitSet(matrix, types))
    return columns
