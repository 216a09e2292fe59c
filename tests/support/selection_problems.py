"""Selection problems made by hand, for tests of selectors."""

import numpy as np
import scipy.sparse

from sftdiv.protocols import SelectionProblem
from sftdiv.protocols.contexts import build_uncached
from sftdiv.records import TokenIds, Units, Universe


def token_ids(lengths):
    """Token ids of texts with these numbers of tokens."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return TokenIds(np.zeros(offsets[-1], dtype=np.int32), offsets, ["token"])


def problem_of(units=None, *, size, strata=None, lengths=None, columns=None, weights=None, **inputs):
    """A problem whose universe is the whole corpus: one set of types an example, or a matrix of counts."""
    examples = len(next(value for value in (units, lengths, *(columns or {}).values()) if value is not None))
    if units is None:
        units = np.ones((examples, 1))
    if not isinstance(units, np.ndarray):
        types_of, units = units, np.zeros((examples, 1 + max(max(types) for types in units)))
        for row, types in enumerate(types_of):
            units[row, list(types)] = 1
    matrix = scipy.sparse.csr_array(units)
    strata = np.zeros(examples, dtype=np.int64) if strata is None else np.asarray(strata)
    names = [f"type{number}" for number in range(matrix.shape[1])]
    return SelectionProblem(
        units=Units(matrix, names, {}),
        universe=Universe(np.arange(examples), strata, {}),
        level=1.0,
        size=float(size),
        examples=size,
        weights=np.ones(examples) if weights is None else np.asarray(weights, dtype=float),
        side="response",
        seed=0,
        ladder_seed=0,
        embeddings=None,
        token_ids=lambda side: token_ids(lengths),
        column=lambda name: columns[name],
        keep=build_uncached,
        **inputs,
    )
