"""Columns of strings as codes and hashes: the same from a list and from an Arrow column in several chunks."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftdiv.text import string_columns
from sftdiv.text.column_texts import ChosenTexts, ColumnTexts
from sftdiv.text.string_columns import (
    codes_of,
    digest_column,
    distinct_by_digest,
    distinct_in_order,
    each,
    is_one_of,
    salted_hashes,
    sorted_codes,
    text_digests,
)

FRUIT = ["pear", "fig", "pear", "apple", "fig", "pear"]
COLUMN = pa.chunked_array([FRUIT[:2], [], FRUIT[2:]], type=pa.string())
TEXTS = st.lists(st.text(max_size=3), max_size=20)


@pytest.mark.parametrize("values", [FRUIT, COLUMN])
def test_codes_are_numbered_by_first_occurrence_or_by_name(values: string_columns.Strings) -> None:
    assert codes_of(values).names.to_pylist() == ["pear", "fig", "apple"]
    assert codes_of(values).of_row.tolist() == [0, 1, 0, 2, 1, 0]
    assert sorted_codes(values).names.to_pylist() == ["apple", "fig", "pear"]
    assert sorted_codes(values).of_row.tolist() == [2, 1, 2, 0, 1, 2]
    assert is_one_of(values, ["fig", "plum"]).tolist() == [False, True, False, False, True, False]
    assert list(each(values, np.array([3, 0]))) == ["apple", "pear"]


def test_no_values_have_no_codes() -> None:
    for nothing in ([], pa.chunked_array([], type=pa.string())):
        assert codes_of(nothing).of_row.tolist() == sorted_codes(nothing).of_row.tolist() == []


def test_salted_hashes_are_those_of_salt_and_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(string_columns, "BLOCK", 2)
    digests = [hashlib.blake2b(f"cap:0:{name}".encode(), digest_size=8).digest() for name in FRUIT]
    assert [int(value).to_bytes(8) for value in salted_hashes(COLUMN, "cap:0")] == digests
    assert salted_hashes(FRUIT, "cap:0", np.array([5, 1])).tolist() == salted_hashes(COLUMN, "cap:0")[[5, 1]].tolist()


@given(TEXTS)
def test_a_column_has_the_distinct_texts_of_numpy_in_the_same_order(texts: list[str]) -> None:
    names, first, row = np.unique(np.array(texts, dtype=object), return_index=True, return_inverse=True)
    column = ColumnTexts(pa.chunked_array([texts[:7], texts[7:]], type=pa.large_string()))
    for found in (distinct_in_order(column), distinct_in_order(texts)):
        assert (found.first.tolist(), found.of_text.tolist()) == (first.tolist(), row.tolist())
    assert list(ChosenTexts(column, first)) == names.tolist()


@given(TEXTS)
def test_digests_sort_as_their_bytes(texts: list[str]) -> None:
    digests = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
    first, of_text = distinct_by_digest(texts)
    assert [digests[row] for row in first] == sorted(set(digests))
    assert [texts[first[number]] for number in of_text] == texts
    codes = codes_of(digest_column(text_digests(texts, len(texts))))
    assert len(codes.names) == len(set(texts))
