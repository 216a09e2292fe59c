"""Common axes of diversity: the same measurements of a subset whatever the strategy, the side and the match.

A level ranks the subsets of one ladder. Two ladders prune different units, and matched ladders are several in one, so
that their levels are no common axis. The columns ``axis.*`` of a result row are: both sides of every example are
measured, against the whole corpus, with constants instead of settings. They are measurements of every cell and
therefore part of no cell's identity.

``axis.types``: distinct words; ``axis.vendi``: Vendi score; ``axis.coverage``: facility-location coverage of the
corpus; ``axis.true_coverage``: share of the synthetic world's pairs of topic and skill. All four rise with the number
of examples, so that only subsets of one size and one corpus compare. Vendi score and coverage use the run's embedder,
which is one for a study (`embeddings.*` of the row describe it), and are left out with ``embedder=none``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sftdiv.data.synthetic_reader import SyntheticReader
from sftdiv.diversity.facility_location import facility_location
from sftdiv.diversity.profile.joined import joined_vectors
from sftdiv.diversity.vendi import vendi_score
from sftdiv.pipeline.artifacts import CorpusArtifacts
from sftdiv.records import SIDES, ModelRef, TokenIds
from sftdiv.storage.hashing import content_hash
from sftdiv.text.string_columns import each
from sftdiv.units.lexical import LEXICAL

if TYPE_CHECKING:
    from sftdiv.text.string_columns import Strings

MIN_OCCURRENCES = 5  # of a counted word in the corpus; rarer ones are mostly names, numbers and misspellings
REFERENCE = 2_000  # examples of the corpus whose coverage is measured: standard error about 0.15 / sqrt(2,000) = 0.003


def axes(data: CorpusArtifacts, rows: NDArray[np.int64]) -> dict[str, float]:
    """Diversity of some examples of a corpus on the common axes.

    O(tokens of the corpus + rows x (dimensions^2 + ``REFERENCE`` x dimensions)): seconds for 10,000 of 117,000
    examples, once tokens and embeddings of the corpus are cached. The result depends neither on the order of the rows
    nor on a seed.

    Args:
        data: Artifacts of the corpus.
        rows: Rows of the corpus, shape (selected,).
    """
    rows = np.sort(rows)
    tokens = [data.token_ids(side, ModelRef(LEXICAL)) for side in SIDES]
    columns: dict[str, float] = {"types": word_types(tokens, rows)}
    if data.embeds:
        reference = reference_rows(data.strings("id"))
        subset, corpus = (
            joined_vectors(*(data.embeddings_of(side, part).vectors for side in SIDES)) for part in (rows, reference)
        )
        columns["vendi"] = vendi_score(subset)
        columns["coverage"] = facility_location(subset, corpus)
    if isinstance(data.spec.reader, SyntheticReader):
        lexicon = data.spec.reader.world.lexicon
        pairs = np.array([data.corpus.column("topic"), data.corpus.column("skill")], dtype=object)[:, rows]
        columns["true_coverage"] = pair_coverage(*pairs, possible=len(lexicon.topics) * len(lexicon.skills))
    return columns


def word_types(sides: Iterable[TokenIds], rows: NDArray[np.int64]) -> int:
    """Number of distinct words of some examples, both sides together.

    A word is a token of the rule ``lexical`` (`units.lexical`) that begins with a letter, case-folded, and occurs at
    least ``MIN_OCCURRENCES`` times in the corpus. Neither the model's tokenizer nor the strategy decides it.

    Args:
        sides: Tokens of each side of the whole corpus under the rule ``lexical``.
        rows: Rows of the corpus, shape (selected,).
    """
    corpus: dict[str, int] = {}
    subset: set[str] = set()
    for tokens in sides:
        counts = np.bincount(tokens.flat, minlength=len(tokens.names))
        for token in np.flatnonzero(counts).tolist():
            if tokens.names[token][0].isalpha():
                word = tokens.names[token].casefold()
                corpus[word] = corpus.get(word, 0) + int(counts[token])
        subset |= {tokens.names[token].casefold() for token in np.unique(tokens.take(rows).flat).tolist()}
    return sum(corpus.get(word, 0) >= MIN_OCCURRENCES for word in subset)


def reference_rows(ids: Strings) -> NDArray[np.int64]:
    """Ascending rows of at most ``REFERENCE`` examples, by a hash of their ids: the same for all runs of a corpus."""
    if len(ids) <= REFERENCE:
        return np.arange(len(ids))
    hashes = (content_hash(["axis.coverage", name]) for name in each(ids))
    digests = np.fromiter(hashes, dtype="S16", count=len(ids))
    return np.sort(np.argsort(digests, kind="stable")[:REFERENCE])


def pair_coverage(first: Iterable[str], second: Iterable[str], *, possible: int) -> float:
    """Share of the possible pairs of two labels that at least one example has."""
    return len(set(zip(first, second, strict=True))) / possible
