"""A mixture of sources in given shares: the largest part of the universe in which each source has its share.

Examples of a source that has more than its share are left out by the hash of their id, so that the mixture does not
depend on the order of the corpus. The same weights are asked for as "dataset weights" in other trainers, which
repeat or sample examples while they train; here they decide who can be selected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.records import SftdivError
from sftdiv.storage.validate import did_you_mean
from sftdiv.text.string_columns import codes_of, salted_hashes

if TYPE_CHECKING:
    from sftdiv.text.string_columns import Strings


def in_mixture(
    sources: Strings,
    ids: Strings,
    selectable: NDArray[np.bool_],
    weights: Mapping[str, float],
    *,
    seed: int,
) -> NDArray[np.bool_]:
    """Mask of the selectable examples that make up the mixture, shape (examples,).

    Args:
        sources: Source of each example.
        ids: Id of each example.
        selectable: Mask of the examples to choose from, shape (examples,).
        weights: Weight of each source, above 0; their shares are proportional. Other sources are left out.
        seed: Seed of the order in which examples of a source are taken.

    Raises:
        SftdivError: The corpus has no selectable example of a source.
    """
    codes = codes_of(sources)
    names = codes.names.to_pylist()
    code_of = {name: code for code, name in enumerate(names)}
    rows_of = {source: np.flatnonzero(selectable & (codes.of_row == code_of.get(source, -1))) for source in weights}
    if missing := [source for source, rows in rows_of.items() if not len(rows)]:
        known = sorted({names[code] for code in np.unique(codes.of_row[selectable])} - {""})
        raise SftdivError(
            f"corpus.mix names {', '.join(missing)}, of which there is no selectable example."
            f"{did_you_mean(missing[0], known)} Sources: {', '.join(known) or 'none; corpus.source_column=NAME'}"
        )
    total = min(len(rows_of[source]) / weight for source, weight in weights.items())
    kept = np.zeros(len(selectable), dtype=bool)
    for source, weight in weights.items():
        rows = rows_of[source]
        by_hash = rows[np.argsort(salted_hashes(ids, f"mix:{seed}", rows), kind="stable")]
        kept[by_hash[: round(total * weight)]] = True
    return kept
