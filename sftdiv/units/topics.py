"""Macroscopic units: one topic an example, found by clustering the embeddings of one side.

In: a side's texts and embeddings, and a clusterer. Out: examples x topics, at most a single 1 a
row; topics run from the largest to the smallest and are named by their telling words. Only distinct
texts are clustered, in the order of their hashes, so that equal texts share a topic, a text
repeated 50 times is not a dense region of its own, and the order of the corpus decides nothing. The
trade: density clustering leaves many texts between the clusters; ``noise`` says whether they hold
no unit (and are never drawn), that of the nearest topic, or one of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sftdiv.protocols import CorpusSide
from sftdiv.records import SftdivError, Units
from sftdiv.units.clustering.kmeans import mean_directions, nearest_centre
from sftdiv.units.clustering.stability import Clusterer, Stability
from sftdiv.units.clustering.threads import in_ranges
from sftdiv.units.topic_words import central_rows, one_hot, telling_words

Noise = Literal["drop", "nearest", "own"]
NO_TOPIC = -1
EXAMPLES, LONGEST = 3, 200  # texts that show a topic in a report, and characters of each
COPIED = 65_536  # rows of noise that are looked at together: 100 MB at 384 dimensions
NAMED = ("numpy", "scikit-learn", "scipy")  # whose versions can change a name, whatever the clusterer


@dataclass(frozen=True, kw_only=True)
class TopicUnits:
    """Finds topics as clusters of embeddings.

    Attributes:
        clusterer: What groups the vectors: any dataclass with ``cluster``; with ``seed``, if it has
            one, and ``libraries``, the packages whose versions its result depends on.
        noise: ``drop`` leaves texts outside all clusters without a unit, ``nearest`` gives them the
            topic whose centre is closest in angle, ``own`` a topic of their own each (equal texts
            share it).
        words: Telling words in a topic's name.
        stability: The repeated runs that say how far the topics can be relied on.
    """

    clusterer: Clusterer
    noise: Noise
    words: int
    stability: Stability

    def __post_init__(self) -> None:
        if self.noise not in get_args(Noise):
            raise SftdivError(f"strategy.units.noise={self.noise!r} is not known. Known: {', '.join(get_args(Noise))}")

    def identity(self) -> dict[str, Any]:
        """The settings, and versions of the libraries that the topics depend on.

        Raises:
            SftdivError: If the clusterer's package is not installed.
        """
        try:
            versions = {name: version(name) for name in sorted({*NAMED, *getattr(self.clusterer, "libraries", ())})}
        except PackageNotFoundError as error:
            raise SftdivError(
                f"strategy/clusterer needs the package {error.name}: pip install 'sftdiv[{error.name}]'"
            ) from error
        return {**self._settings(), "stability": asdict(self.stability), "versions": versions}

    def extract(self, side: CorpusSide) -> Units:
        """The topic of every example; a text whose embedding is all zeros has none.

        Raises:
            SftdivError: If fewer than two clusters are found.
        """
        texts, first, row = canonical(side.texts)
        embeddings = side.embeddings()
        placed = np.flatnonzero(np.any(embeddings, axis=1)[first])
        vectors, placed_texts = embeddings[first[placed]], [texts[place] for place in placed]
        found = by_size(self.clusterer.cluster(vectors))
        topics = int(found.max(initial=NO_TOPIC)) + 1
        if topics < 2:
            raise SftdivError(f"{self.clusterer} finds {topics} topics in {len(texts)} distinct texts; two are needed")
        centres = mean_directions(vectors, found, np.zeros((topics, vectors.shape[1]), dtype=np.float32))
        settled = with_noise(vectors, found, centres, noise=self.noise)
        topic, in_cluster = np.full((2, len(texts)), NO_TOPIC, dtype=np.int64)
        topic[placed], in_cluster[placed] = settled, found
        telling = telling_words(placed_texts, np.where(settled < topics, settled, NO_TOPIC), words=self.words)
        alone = [placed_texts[place].split()[: self.words] for place in np.flatnonzero(settled >= topics)]
        names = [" ".join([str(number), *words]) for number, words in enumerate([*telling, *alone])]
        examples = [
            [placed_texts[place][:LONGEST] for place in places]
            for places in central_rows(vectors, found, centres, count=EXAMPLES)
        ]
        units = one_hot(topic[row], len(names))
        held = {"size": units.sum(axis=0), "texts": one_hot(topic, len(names)).sum(axis=0)}
        record = {"topics": described(names[:topics], telling, examples, held, rows=len(row))}
        numbers = {"topics": topics, "alone": len(alone), "noise_share": float(np.mean(in_cluster[row] == NO_TOPIC))}
        return Units(units, names, {**self._settings(), **numbers, **self._stability(vectors)}, record)

    def _settings(self) -> dict[str, Any]:
        clusterer = {f"clusterer.{name}": value for name, value in asdict(self.clusterer).items()}  # type: ignore[call-overload]
        return {
            "finder": "topics",
            "with": type(self.clusterer).__name__,
            **clusterer,
            "noise": self.noise,
            "words": self.words,
        }

    def _stability(self, vectors: NDArray[np.float32]) -> dict[str, float | None]:
        settings = {f"stability.{name}": value for name, value in asdict(self.stability).items()}
        return settings | {
            f"stability.{name}": value for name, value in self.stability.measure(self.clusterer, vectors).items()
        }


def canonical(texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64], NDArray[np.int64]]:
    """The distinct texts by ascending hash, where each stands first, and the place of each text among them."""
    distinct, first, row = np.unique(np.array(texts, dtype=object), return_index=True, return_inverse=True)
    hashes = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in distinct]
    order = np.array(sorted(range(len(hashes)), key=hashes.__getitem__), dtype=np.int64)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return distinct[order].tolist(), first[order], place[row]


def by_size(cluster: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same clusters numbered from the largest to the smallest (ties keep their order) without gaps, shape (rows,)."""
    sizes = np.bincount(cluster[cluster != NO_TOPIC])
    rank = np.full(
        len(sizes) + 1, NO_TOPIC, dtype=np.int64
    )  # its last place, which -1 points to, is for rows in no cluster
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))  # empty clusters come last
    return rank[cluster]


def with_noise(
    vectors: NDArray[np.float32], found: NDArray[np.int64], centres: NDArray[np.float32], *, noise: Noise
) -> NDArray[np.int64]:
    """The topic of each row after noise is dealt with, shape (rows,): as found, or of the nearest centre by cosine, or one of its own."""
    topic, rows = found.copy(), np.flatnonzero(found == NO_TOPIC)
    if noise == "own":
        topic[rows] = len(centres) + np.arange(len(rows))
    elif noise == "nearest":
        with in_ranges() as ranges:
            for start in range(0, len(rows), COPIED):
                block = rows[start : start + COPIED]
                topic[block] = nearest_centre(vectors[block], centres, ranges)
    return topic


def described(
    names: Sequence[str],
    words: Sequence[Sequence[str]],
    examples: Sequence[Sequence[str]],
    held: Mapping[str, NDArray[np.int64]],
    *,
    rows: int,
) -> list[dict[str, Any]]:
    """Each topic as a report lists it: name, how many examples and distinct texts hold it, share of all examples, words, central texts."""
    sizes = {name: values[: len(names)].tolist() for name, values in held.items()}
    return [
        {
            "name": name,
            **{what: values[number] for what, values in sizes.items()},
            "share": sizes["size"][number] / rows,
            "words": list(words[number]),
            "examples": list(examples[number]),
        }
        for number, name in enumerate(names)
    ]
