"""Size of a subset: in examples, or in label tokens of their responses."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sftdiv.config.spec import RunSpec
from sftdiv.pipeline.run_artifacts import RunArtifacts


def weights_of(spec: RunSpec, artifacts: RunArtifacts) -> NDArray[np.float64]:
    """Contribution of each example to the size: 1, or its label tokens; shape (examples,)."""
    size = spec.selection.size
    if size.everything or size.label_tokens is None:
        return np.ones(len(artifacts.data.corpus))
    return _label_tokens(spec, artifacts)


def total_size(spec: RunSpec, artifacts: RunArtifacts, weights: NDArray[np.float64]) -> float:
    """Size at which drawing stops, in examples or label tokens; with ``auto``, the label tokens of n average examples.

    The average is over all examples that may be trained on, so that it is the same for all strategies, sides and
    levels.
    """
    size = spec.selection.size
    if size.label_tokens != "auto":
        return float(size.n if size.label_tokens is None else size.label_tokens)
    selectable = ~np.logical_or.reduce([*artifacts.data.untrained.values(), artifacts.read_by_base])
    return float(round(int(size.n) * weights[selectable].mean()))


def response_tokens(artifacts: RunArtifacts) -> NDArray[np.int64]:
    """Number of tokens of each response under the model's tokenizer, shape (examples,)."""
    return artifacts.data.token_ids("response", artifacts.tokenizer).lengths()


def _label_tokens(spec: RunSpec, artifacts: RunArtifacts) -> NDArray[np.float64]:
    """Number of label tokens of each response, end token included, up to the maximum length; shape (examples,)."""
    return np.minimum(response_tokens(artifacts) + 1, spec.model.max_length).astype(np.float64)
