"""Each metric against a value worked out by hand, self-BLEU against NLTK, and what must hold for any set of texts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftdiv.diversity.compression_ratio import compression_ratio
from sftdiv.diversity.describe import describe
from sftdiv.diversity.embedding_distance import embedding_distance
from sftdiv.diversity.entropy import token_entropy
from sftdiv.diversity.length import mean_length
from sftdiv.diversity.ngram_ratio import ngram_ratios
from sftdiv.diversity.self_bleu import brevity_penalty, self_bleu
from sftdiv.records import TokenIds

Sentences = Sequence[Sequence[str]]
sentences = st.lists(st.lists(st.sampled_from("abcd"), max_size=9), min_size=2, max_size=6)


def token_ids(texts: Sentences) -> TokenIds:
    """Words as tokens, numbered by the alphabet."""
    names = sorted({word for text in texts for word in text})
    flat = np.array([names.index(word) for text in texts for word in text], dtype=np.int32)
    return TokenIds(flat, np.cumsum([0, *map(len, texts)], dtype=np.int64), names)


def words(*texts: str) -> TokenIds:
    return token_ids([text.split() for text in texts])


def nltk_self_bleu(texts: Sentences) -> float:
    """The definition, pair by pair."""
    bleu = pytest.importorskip("nltk.translate.bleu_score")
    others = [[*texts[:i], *texts[i + 1 :]] for i in range(len(texts))]
    smoothing = bleu.SmoothingFunction().method1
    return float(np.mean([bleu.sentence_bleu(rest, text, smoothing_function=smoothing) for text, rest in zip(texts, others, strict=True)]))


def test_ngram_ratio_counts_within_texts_only() -> None:
    # unigrams a b a, a b: 2 of 5; bigrams ab ba, ab: 2 of 3; the trigram aba: 1 of 1; no text has four words
    assert ngram_ratios(words("a b a", "a b")) == pytest.approx([2 / 5, 2 / 3, 1.0, math.nan], nan_ok=True)


def test_ngram_ratio_halves_when_every_text_is_repeated() -> None:
    once, twice = words("a b c d e", "f a c e b"), words("a b c d e", "f a c e b", "a b c d e", "f a c e b")
    assert ngram_ratios(twice) == pytest.approx([ratio / 2 for ratio in ngram_ratios(once)])


def test_embedding_distance_of_three_rows() -> None:
    # pairs: equal rows 0, and twice a right angle 1
    assert embedding_distance(np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)) == pytest.approx(2 / 3)
    assert embedding_distance(np.array([[1, 0], [-1, 0]], dtype=np.float32)) == pytest.approx(2.0)
    assert math.isnan(embedding_distance(np.ones((1, 1), dtype=np.float32)))


def test_embedding_distance_equals_the_mean_over_all_pairs() -> None:
    rows = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = (rows @ rows.T)[np.triu_indices(40, k=1)]
    assert embedding_distance(rows) == pytest.approx(1 - cosines.mean(), abs=1e-6)


def test_mean_length_and_entropy() -> None:
    assert mean_length(words("a b a", "a")) == 2.0
    assert token_entropy(words("a b", "c d")) == pytest.approx(2.0)  # four equal shares
    assert token_entropy(words("a a a b")) == pytest.approx(0.75 * math.log2(4 / 3) + 0.25 * 2)
    assert token_entropy(words("a a")) == 0.0


def test_compression_ratio_rises_with_repetition_and_ignores_order() -> None:
    different = [f"{i} {i * i} {i**3}" for i in range(200)]
    assert compression_ratio(["the same text every time"] * 200) > 10 * compression_ratio(different)
    assert compression_ratio(different) == compression_ratio(different[::-1])


def test_self_bleu_of_two_short_texts_by_hand() -> None:
    # "a b" against "a c": 1 of 2 unigrams; 0 of 1 bigrams is 0.1; the orders it cannot have are 0.1 / 1; lengths are equal
    assert self_bleu(words("a b", "a c")) == pytest.approx((0.5 * 0.1 * 0.1 * 0.1) ** 0.25)


def test_self_bleu_is_one_for_copies_and_zero_for_strangers() -> None:
    assert self_bleu(words("a b c d", "a b c d")) == pytest.approx(1.0)
    assert self_bleu(words("a b c d", "e f g h")) == 0.0
    assert math.isnan(self_bleu(words("a b c d")))


def test_self_bleu_clips_the_best_holder_by_the_second_best() -> None:
    texts = [list("aaaab"), list("aacde"), list("abcde")]
    assert self_bleu(token_ids(texts)) == pytest.approx(nltk_self_bleu(texts))


def test_brevity_penalty_takes_the_closest_other_length() -> None:
    # 4: closest is 6; 6: 4 and 8 are equally close, the shorter counts; 8: 6 is shorter, as is 8 for 20
    assert brevity_penalty(np.array([4, 6, 8, 20])) == pytest.approx([math.exp(1 - 6 / 4), 1, 1, 1])


@given(sentences)
def test_self_bleu_equals_nltk(texts: Sentences) -> None:
    assert self_bleu(token_ids(texts)) == pytest.approx(nltk_self_bleu(texts), abs=1e-12)


@given(sentences)
def test_no_metric_depends_on_the_order_of_the_texts(texts: Sentences) -> None:
    rows = np.random.default_rng(0).normal(size=(len(texts), 3)).astype(np.float32)
    order = np.random.default_rng(len(texts)).permutation(len(texts))
    shuffled = [texts[i] for i in order]
    before = describe(token_ids(texts), [" ".join(text) for text in texts], rows)
    after = describe(token_ids(shuffled), [" ".join(text) for text in shuffled], rows[order])
    assert before == pytest.approx(after, nan_ok=True)


@given(sentences)
def test_metrics_stay_in_their_ranges(texts: Sentences) -> None:
    metrics = describe(token_ids(texts), [" ".join(text) for text in texts], None)
    assert "embedding_distance" not in metrics
    assert 0 <= metrics["self_bleu"] <= 1 + 1e-12
    assert 0 <= metrics["entropy"] <= math.log2(4) + 1e-12
    assert all(math.isnan(metrics[f"ngram_ratio_{n}"]) or 0 < metrics[f"ngram_ratio_{n}"] <= 1 for n in range(1, 5))
