"""The tokenizer `lexical`: words and signs by a rule, in any script."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftdiv.units.encoding import encode, tokenizer_identity
from sftdiv.units.lexical import _patterns, lexical_ids


def tokens(text):
    ids = lexical_ids([text])
    return [ids.names[token] for token in ids.flat]


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
    assert tokens(text) == expected


def test_ids_follow_first_occurrence_and_texts_keep_their_ends():
    ids = lexical_ids(["b a b", "", "a c"])
    assert (ids.flat.tolist(), ids.offsets.tolist(), ids.names) == ([0, 1, 0, 1, 2], [0, 3, 3, 5], ["b", "a", "c"])
    assert encode(["b a b", "", "a c"], "lexical").flat.tolist() == ids.flat.tolist()


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_fast_pattern_is_the_full_one_where_both_hold(text):
    plain, full = _patterns()
    assert plain.findall(text) == full.findall(text)


@given(st.text())
def test_no_character_but_space_is_lost(text):
    assert "".join(tokens(text)) == re.sub(r"\s", "", text)


def test_its_identity_is_its_name_even_beside_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "lexical").mkdir()
    monkeypatch.chdir(tmp_path)
    assert tokenizer_identity("lexical") == {"name": "lexical", "revision": None}
