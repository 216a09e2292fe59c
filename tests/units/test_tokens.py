"""Token units: from texts to ids to the sparse matrix of mid-frequency tokens."""

import numpy as np
import pytest
import scipy.sparse

from sftdiv.protocols import CorpusSide
from sftdiv.records import SftdivError, TokenIds
from sftdiv.training.tokenizer import train_tokenizer
from sftdiv.units import tokens as tokens_module
from sftdiv.units.encoding import encode, tokenizer_identity
from sftdiv.units.identity import EachExample
from sftdiv.units.tokens import TokenUnits

SENTENCES = ["the cat sat on the mat", "the dog sat", "a cat and a dog"]


def side_of(texts, tokens):
    return CorpusSide(texts, lambda: tokens, embeddings=lambda: None, column=lambda name: [])


def band(*, unit="occurrences", scale="absolute", **settings):
    return TokenUnits(unit=unit, scale=scale, **settings)


def test_words_equal_a_literal():
    tokens = encode(SENTENCES, "words")
    assert tokens.names == ["a", "and", "cat", "dog", "mat", "on", "sat", "the"]
    assert tokens.flat.tolist() == [7, 2, 6, 5, 7, 4, 7, 3, 6, 0, 2, 1, 0, 3]
    assert tokens.offsets.tolist() == [0, 6, 9, 14]
    assert tokens.lengths().tolist() == [6, 3, 5]


def test_unit_matrix_of_three_sentences_equals_a_literal(monkeypatch):
    monkeypatch.setattr(tokens_module, "FEWEST_TYPES", 2)
    units = band(low=2, high=2).extract(side_of(SENTENCES, encode(SENTENCES, "words")))
    assert units.names == ["a", "cat", "dog", "sat"]  # twice each; "the" stands three times, the others once
    assert units.matrix.toarray().tolist() == [[0, 1, 0, 1], [0, 0, 1, 1], [2, 1, 1, 0]]


def test_a_band_that_leaves_too_little_says_so():
    with pytest.raises(
        SftdivError,
        match=r"2 to 2 occurrences contains 4 token types .* of 8 types that occur, 3 are rarer and 1 more common",
    ):
        band(low=2, high=2).extract(side_of(SENTENCES, encode(SENTENCES, "words")))
    with pytest.raises(SftdivError, match="0 < low <= high, got low=5, high=2"):
        band(low=5, high=2)


def test_a_band_of_documents_counts_a_token_once_a_text(monkeypatch):
    # "a" stands twice, in one text; "the" three times, in two; "sat", "cat" and "dog" in two
    monkeypatch.setattr(tokens_module, "FEWEST_TYPES", 2)
    units = band(low=2, high=2, unit="documents").extract(side_of(SENTENCES, encode(SENTENCES, "words")))
    assert units.names == ["cat", "dog", "sat", "the"]
    assert units.matrix.toarray().tolist() == [[1, 0, 1, 2], [0, 1, 1, 1], [1, 1, 0, 0]]


@pytest.mark.parametrize(("unit", "rate"), [("occurrences", 2e6 / 14), ("documents", 2e6 / 3)])
def test_a_band_per_million_is_the_same_band_at_another_size(monkeypatch, unit, rate):
    # two of 14 tokens, or in two of 3 texts; ten copies of the corpus have ten times the counts and the same rates
    monkeypatch.setattr(tokens_module, "FEWEST_TYPES", 2)
    rates = band(low=rate - 1, high=rate + 1, unit=unit, scale="per_million")
    absolute = band(low=2, high=2, unit=unit).extract(side_of(SENTENCES, encode(SENTENCES, "words")))
    for texts in (SENTENCES, SENTENCES * 10):
        assert rates.extract(side_of(texts, encode(texts, "words"))).names == absolute.names


def test_counts_and_matrix_equal_those_of_scipy():
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 40, size=500)  # some texts are empty
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = TokenIds(rng.zipf(1.3, size=offsets[-1]).clip(max=300).astype(np.int32) - 1, offsets, [""] * 300)
    text = np.repeat(np.arange(500), lengths)
    dense = scipy.sparse.coo_array((np.ones(len(text), dtype=int), (text, tokens.flat)), shape=(500, 300)).toarray()
    assert tokens_module.frequencies(tokens, "occurrences").tolist() == dense.sum(axis=0).tolist()
    assert tokens_module.frequencies(tokens, "documents").tolist() == np.count_nonzero(dense, axis=0).tolist()
    in_band = (dense.sum(axis=0) > 5) & (dense.sum(axis=0) < 300)
    matrix = tokens_module.token_matrix(tokens, in_band)
    assert matrix.toarray().tolist() == dense[:, in_band].tolist()
    assert matrix.has_canonical_format
    assert {array.dtype for array in (matrix.data, matrix.indices, matrix.indptr)} == {np.dtype(np.int32)}


@pytest.mark.parametrize(
    ("setting", "known"), [({"unit": "texts"}, "occurrences, documents"), ({"scale": "share"}, "absolute, per_million")]
)
def test_an_unknown_way_of_counting_is_an_error_with_the_alternatives(setting, known):
    with pytest.raises(SftdivError, match=f"corpus.band.{next(iter(setting))}=.* is unknown.*Known: {known}"):
        band(low=1, high=2, **setting)


def test_take_keeps_the_order_asked_for():
    tokens = encode(SENTENCES, "words").take(np.array([2, 0]))
    assert tokens.flat.tolist() == [0, 2, 1, 0, 3, 7, 2, 6, 5, 7, 4]
    assert tokens.offsets.tolist() == [0, 5, 11]
    assert encode(SENTENCES, "words").take(np.array([], dtype=np.int64)).offsets.tolist() == [0]


def test_a_tokenizer_folder_leaves_special_tokens_out(tmp_path):
    train_tokenizer(SENTENCES * 10, tmp_path / "tokenizer", vocab_size=300)
    tokens = encode(["the cat<|eos|> sat", "", "ünï"], str(tmp_path / "tokenizer"))
    special = {tokens.names.index(name) for name in ("<|eos|>", "<|pad|>")}
    assert not special & set(tokens.flat.tolist())
    assert tokens.lengths()[1] == 0
    assert tokens.lengths()[2] > 3  # bytes of two umlauts


def test_both_ways_of_reading_a_tokenizer_agree(tmp_path):
    from sftdiv.units.encoders import _from_file, _from_transformers

    train_tokenizer(SENTENCES * 10, tmp_path, vocab_size=300)
    fast, slow = _from_file(tmp_path / "tokenizer.json"), _from_transformers(str(tmp_path), None)
    assert [list(ids) for ids in fast.encode(SENTENCES)] == [list(ids) for ids in slow.encode(SENTENCES)]
    assert fast.names == slow.names
    assert fast.is_special.tolist() == slow.is_special.tolist()


def test_identity_is_the_content_of_a_folder(tmp_path):
    for name in ("a", "b"):
        train_tokenizer(SENTENCES, tmp_path / name, vocab_size=270)
    train_tokenizer(SENTENCES, tmp_path / "c", vocab_size=280)
    same, again, other = (tokenizer_identity(str(tmp_path / name)) for name in "abc")
    assert same == again != other
    assert tokenizer_identity("org/model", "main") == {"name": "org/model", "revision": "main"}


def test_random_gives_each_example_a_type_of_its_own():
    units = EachExample().extract(
        side_of(SENTENCES, TokenIds(np.empty(0, dtype=np.int32), np.zeros(4, dtype=np.int64), []))
    )
    assert units.matrix.toarray().tolist() == np.eye(3).tolist()
