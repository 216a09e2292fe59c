"""The compiled loop cuts and numbers ASCII texts as the regular expressions do, beside texts that it leaves to them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftdiv.text.ascii_tokens import number_ascii_tokens

PATTERNS = {False: re.compile(r"\w+|[^\s\w]"), True: re.compile(r"\w+(?:'+\w+)*|[^\s\w]")}
TEXTS = st.one_of(
    st.text(alphabet="ab_0' \n.", max_size=12),
    st.text(alphabet=st.characters(max_codepoint=127), max_size=12),
    st.text(alphabet="a\u00e9'\u2019 ", max_size=6),
)


@pytest.mark.parametrize("inner_apostrophes", [False, True])
@given(texts=st.lists(TEXTS, max_size=8))
def test_tokens_are_those_of_the_regular_expression(texts: list[str], inner_apostrophes: bool) -> None:
    cut = PATTERNS[inner_apostrophes].findall
    tokens = number_ascii_tokens(texts, cut, inner_apostrophes=inner_apostrophes, fewest=0)
    expected = [cut(text) for text in texts]
    assert tokens.lengths.tolist() == [len(words) for words in expected]
    flat = [word for words in expected for word in words]
    assert [tokens.names[number] for number in tokens.flat] == flat
    assert tokens.names == list(dict.fromkeys(flat)), "numbered by first occurrence, over texts of both kinds"


def test_thousands_of_types_outgrow_the_first_table() -> None:
    words = [f"w{number}" for number in range(5_000)]
    tokens = number_ascii_tokens([" ".join(words), " ".join(words[::-1])], str.split, inner_apostrophes=True, fewest=0)
    assert tokens.names == words
    assert tokens.flat.tolist() == [*range(5_000), *reversed(range(5_000))]
