"""The tokenizer `lexical`: words and signs by a rule, in any script."""

import re
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftdiv.text.words import split_words
from sftdiv.units.encoding import encode, tokenizer_identity
from sftdiv.units.lexical import _patterns, lexical_tokens, number_lexical
from sftdiv.units.numbering import Numbering, number_by


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop, l\u2019été: x_1=3.5!", ["Don't", "stop", ",", "l\u2019été", ":", "x_1", "=", "3", ".", "5", "!"]),
        ("'quoted'", ["'", "quoted", "'"]),
        ("हिन्दी में लिखो।", ["हिन्दी", "में", "लिखो", "।"]),  # vowel signs belong to their word
        ("你好。abc中文", ["你", "好", "。", "abc", "中", "文"]),  # no spaces: a character is a token
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("\U0001f44d ok\n\tok", ["\U0001f44d", "ok", "ok"]),
        (" \n", []),
    ],
)
def test_words_and_signs(text, expected):
    assert lexical_tokens(text) == expected


def test_ids_follow_first_occurrence_and_texts_keep_their_ends():
    ids = encode(["b a b", "", "a c"], "lexical")
    assert (ids.flat.tolist(), ids.offsets.tolist(), ids.names) == ([0, 1, 0, 1, 2], [0, 3, 3, 5], ["b", "a", "c"])


def number_tokens(blocks, number_block):
    numbering = Numbering()
    for block in blocks:
        numbering.add(number_block(block))
    return numbering.token_ids()


@pytest.mark.parametrize("number_block", [number_lexical, partial(number_by, split_words)])
def test_blocks_number_the_same_tokens_alike(number_block):
    texts = ["b a b", "", "a c", "d, b", "a"]
    whole, *parts = (
        number_tokens(blocks, number_block) for blocks in ([texts], [texts[:2], texts[2:]], [[text] for text in texts])
    )
    for part in parts:
        assert (part.flat.tolist(), part.offsets.tolist(), part.names) == (
            whole.flat.tolist(),
            whole.offsets.tolist(),
            whole.names,
        )


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_fast_pattern_is_the_full_one_where_both_hold(text):
    plain, full = _patterns()
    assert plain.findall(text) == full.findall(text)


@given(st.text())
def test_no_character_but_space_is_lost(text):
    assert "".join(lexical_tokens(text)) == re.sub(r"\s", "", text)


def test_its_identity_is_its_name_even_beside_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "lexical").mkdir()
    monkeypatch.chdir(tmp_path)
    assert tokenizer_identity("lexical") == {"name": "lexical", "revision": None}
