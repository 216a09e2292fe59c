"""LSA: equal texts, texts of one subject, texts without a known word, and what must not change the vectors."""

from __future__ import annotations

import numpy as np
import pytest

from sftdiv.embedders.lsa import LsaEmbedder
from sftdiv.records import SftdivError

TEXTS = [
    "bake bread with flour",
    "bake cake with flour and sugar",
    "bread needs flour, cake needs sugar",
    "stars shine at night",
    "night falls and stars shine",
    "the moon and stars shine",
]


def embedder(**settings: float) -> LsaEmbedder:
    return LsaEmbedder(**{"dimensions": 2, "min_documents": 1, "max_share": 1.0, "max_words": 1000, "iterations": 4, "seed": 0, **settings})


def test_rows_are_unit_vectors_and_texts_of_one_subject_are_close() -> None:
    vectors = embedder().embed(TEXTS)
    assert vectors.shape == (6, 2)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6))
    cosines = vectors @ vectors.T
    assert cosines[:3, :3].min() > cosines[:3, 3:].max()


def test_neither_order_nor_repetition_changes_a_text_s_vector() -> None:
    vectors = embedder().embed(TEXTS)
    again = embedder().embed([*TEXTS[::-1], TEXTS[0], TEXTS[0]])
    assert np.array_equal(again[:6], vectors[::-1])
    assert np.array_equal(again[6:], vectors[[0, 0]])


def test_a_text_without_a_word_that_counts_is_all_zeros() -> None:
    vectors = embedder(min_documents=2).embed([*TEXTS, "zebras gallop"])
    assert not vectors[-1].any()
    assert vectors[:-1].any(axis=1).all()


def test_common_words_do_not_count() -> None:
    # "and" stands in 4 of 6 texts: below that share it is gone, and with it all of the text "and"
    assert embedder(max_share=0.7).embed([*TEXTS[1:], "and"])[-1].any()
    assert not embedder(max_share=0.6).embed([*TEXTS[1:], "and"])[-1].any()


def test_dimensions_shrink_to_what_the_texts_have() -> None:
    assert embedder(dimensions=100).embed(TEXTS[:3]).shape == (3, 3)


def test_no_word_in_enough_texts_is_an_error_with_the_numbers() -> None:
    with pytest.raises(SftdivError, match=r"no word of 2 distinct texts .* at least 3 .* 50%.*embedder\.min_documents"):
        embedder(min_documents=3, max_share=0.5).embed(["a text", "some words"])
