"""Metrics at an equal number of tokens: cut texts, the order of texts, sets that are too small."""

import math

import numpy as np
import pytest

from sftdiv.diversity.distinct_n import distinct_n
from sftdiv.diversity.entropy import token_entropy
from sftdiv.diversity.equal_tokens import COLUMNS, TOKENS, metrics_at_tokens
from sftdiv.diversity.registry import describe_at_tokens
from sftdiv.units.encoding import encode


def zipf_texts(count, length, rng):
    """Texts about one of 200 subjects each: half of their words are the subject's own, the others anybody's."""
    texts = []
    for subject in rng.integers(200, size=count):
        own = [f"s{subject}_{number}" for number in rng.integers(30, size=length)]
        common = [f"w{min(int(rank), 5000)}" for rank in rng.zipf(1.3, size=length)]
        texts.append(" ".join(np.where(rng.random(length) < 0.5, own, common)))
    return texts


def at_tokens(texts, **settings):
    return metrics_at_tokens(encode(texts, "words"), texts, **settings)


def test_a_set_of_exactly_the_tokens_has_its_own_values():
    texts = zipf_texts(20, 10, np.random.default_rng(0))
    tokens = encode(texts, "words")
    found = at_tokens(texts, tokens=200, draws=3)
    assert found["entropy"] == pytest.approx(token_entropy(tokens), abs=1e-12)
    assert found["distinct_1"] == pytest.approx(distinct_n(tokens)[0], abs=1e-12)


def test_the_expectation_over_single_word_texts_is_hurlberts():
    """Texts of one token each: the expected number of types of m of N tokens has a closed form (Hurlbert 1971)."""
    counts = np.array([50, 30, 10, 5, 3, 1, 1])
    texts = [f"t{kind}" for kind, count in enumerate(counts) for _ in range(count)]
    total, size = len(texts), 20
    expected = sum(1 - math.comb(total - count, size) / math.comb(total, size) for count in counts.tolist())
    assert at_tokens(texts, tokens=size, draws=4000)["distinct_1"] * size == pytest.approx(expected, rel=0.01)


def test_the_order_of_the_texts_does_not_matter():
    rng = np.random.default_rng(1)
    texts = zipf_texts(300, 20, rng)
    shuffled = [texts[row] for row in rng.permutation(len(texts))]
    assert at_tokens(texts, tokens=1000) == pytest.approx(at_tokens(shuffled, tokens=1000), rel=1e-12)


def test_raw_values_rise_with_the_length_of_the_texts_and_those_at_equal_tokens_do_not():
    rng = np.random.default_rng(2)
    long = [text.split() for text in zipf_texts(400, 120, rng)]
    raw, equal = [], []
    for length in (30, 60, 120):
        texts = [" ".join(words[:length]) for words in long]
        raw.append(token_entropy(encode(texts, "words")))
        equal.append(at_tokens(texts, tokens=3000, draws=8)["entropy"])
    assert raw[0] < raw[1] < raw[2] and raw[2] - raw[0] > 0.3
    assert max(equal) - equal[0] < 0.1 * (raw[2] - raw[0])


def test_more_texts_of_the_same_kind_leave_the_values_at_equal_tokens_as_they_are():
    texts = zipf_texts(2000, 20, np.random.default_rng(3))
    few, many = (at_tokens(texts[:count], tokens=4000) for count in (500, 2000))
    assert many["entropy"] == pytest.approx(few["entropy"], abs=0.1)
    assert token_entropy(encode(texts, "words")) > token_entropy(encode(texts[:250], "words")) + 0.2


def test_sets_of_fewer_tokens_have_no_value():
    texts = ["one two three four one"] * (TOKENS // 5 - 1)
    assert all(math.isnan(value) for value in describe_at_tokens(encode(texts, "words"), texts).values())
    texts.append("five six seven eight nine")
    found = describe_at_tokens(encode(texts, "words"), texts)
    assert list(found) == [f"{name}_at_tokens" for name in COLUMNS] and not any(map(math.isnan, found.values()))
    empty = describe_at_tokens(encode(["", ""], "words"), ["", ""])
    assert math.isnan(empty["entropy_at_tokens"])
