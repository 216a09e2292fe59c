# ruff: noqa: RUF001
"""Words of every script, worked examples: marks belong to their letter, scripts without spaces count by character."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftdiv.data.shingles import shingle_sets
from sftdiv.embeddings.lsa import LsaEmbedder
from sftdiv.records import SftdivError
from sftdiv.text.words import count_words, is_simple, split_words, terms
from sftdiv.units.encoding import encode
from sftdiv.units.tagging.keyphrase import WORD_OR_BREAK, KeyphraseTagger, _word_run_or_break
from sftdiv.units.tagging.rules import one_spelling, spelling
from sftdiv.units.topic_words import telling_words

LATIN = st.text(alphabet=st.characters(max_codepoint=0x2FF))


def tagger(**changes):
    settings = {"per_example": 3, "longest": 2, "min_documents": 1, "max_share": 1.0, "prefer_long": 0.0}
    return KeyphraseTagger(**(settings | changes))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop, l\u2019été -- 3.5!", ["Don't", "stop,", "l\u2019été", "--", "3.5!"]),
        ("दिल और दाल।", ["दिल", "और", "दाल।"]),
        ("今天天气很好。", ["今", "天", "天", "气", "很", "好"]),
        ("use 你好, abc中文 ok", ["use", "你", "好", "abc", "中", "文", "ok"]),
        ("ดีมาก", ["ดี", "ม", "า", "ก"]),  # the vowel sign belongs to its consonant
        ("\u30b3\u30fc\u30d2\u30fc", ["\u30b3", "\u30fc", "\u30d2", "\u30fc"]),
        ("\U00020000\U00020001", ["\U00020000", "\U00020001"]),
        ("", []),
    ],
)
def test_words_between_white_space_or_characters(text, words):
    assert split_words(text) == words
    assert count_words([text]) == [len(words)]
    assert sorted(encode([text], "words").names) == sorted(set(words))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's a x1 l\u2019été", ["It", "x1", "été"]),
        ("दिल दाल न मान", ["दिल", "दाल", "मान"]),
        ("今天天气 好", ["今天", "天天", "天气", "好"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("re\u0301sume\u0301 is", ["re\u0301sume\u0301", "is"]),
    ],
)
def test_terms_are_words_of_two_characters_or_pairs(text, expected):
    assert terms(text) == expected


@given(LATIN)
def test_latin_texts_are_cut_as_before(text):
    assert is_simple(text)
    assert split_words(text) == text.split()
    assert terms(text) == re.findall(r"(?u)\b\w\w+\b", text)
    whole = [match[0] for match in _word_run_or_break().finditer(text)]
    assert whole == WORD_OR_BREAK.findall(text)  # the rule for all scripts says the same of Latin ones


@given(LATIN)
def test_latin_spellings_are_as_before(text):
    import unicodedata

    plain = unicodedata.normalize("NFKC", text).lower()
    if is_simple(plain):
        before = re.sub(r"((?<=\w)[+#]+)|[^\w]|_", lambda match: match.group(1) or " ", plain)
        assert spelling(text) == (" ".join(before.split()) or plain.strip())


def test_emoji_and_their_selectors_are_no_words():
    assert is_simple("I \u2764\ufe0f it \U0001f468\u200d\U0001f469")
    assert spelling("\u2764\ufe0f love") == "love"


@pytest.mark.parametrize(
    "tags",
    [
        ["दिल", "दाल", "मान", "मीन", "रात", "रीत", "काम"],
        ["கல்", "கால்", "கில்"],  # Tamil
        ["กิน", "กัน", "กน"],  # Thai
        ["عَلَم", "عِلْم", "علم"],  # Arabic with and without diacritics
        ["שֵׁם", "שָׁם"],
        ["می\u200cخواهم", "می خواهم"],
    ],
)
def test_tags_that_differ_in_marks_alone_stay_apart(tags):
    assert one_spelling(tags, np.ones(len(tags), dtype=np.int64), language="en") == tags


def test_spellings_of_latin_tags():
    assert [spelling(tag) for tag in ("C++", "C#", "Data_Set!", "naïve-Bayes", "++")] == [
        "c++",
        "c#",
        "data set",
        "naïve bayes",
        "++",
    ]


def test_key_phrases_of_a_script_with_marks_are_whole_words():
    assert list(tagger().phrases("सूरज पहाड़, नदी का 3 x")) == ["सूरज", "सूरज पहाड़", "पहाड़", "नदी", "नदी का", "का"]


def test_key_phrases_of_a_script_without_spaces_are_pairs():
    assert list(tagger().phrases("今天天气，write light")) == ["今天", "天天", "天气", "write", "write light", "light"]
    texts = [f"请写一首关于{subject}的诗" for subject in ("太阳", "月亮", "高山", "大海")] * 3
    tags = tagger(min_documents=2, max_share=0.5).tag(texts, None).tags
    assert all(tags) and "太阳" in tags[0] and "月亮" in tags[1]


def test_lsa_and_names_of_topics_know_every_script():
    for texts in (
        ["请介绍太阳", "太阳很热", "月亮很亮", "请介绍月亮"],
        ["सूरज गरम है", "गरम सूरज", "नदी ठंडी है", "ठंडी नदी"],
        ["ดวงอาทิตย์ร้อน", "ร้อนดวงอาทิตย์", "แม่น้ำเย็น", "เย็นแม่น้ำ"],
    ):
        lsa = LsaEmbedder(dimensions=3, min_documents=1, max_share=0.9, max_words=100, iterations=4, seed=0)
        vectors = lsa.embed(texts, None).vectors
        assert vectors.any(axis=1).all()
        assert float(vectors[0] @ vectors[1]) > float(vectors[0] @ vectors[2])
        assert all(telling_words(texts, np.array([0, 0, 1, 1]), words=2))


def test_without_any_word_the_error_names_the_settings():
    lsa = LsaEmbedder(dimensions=3, min_documents=1, max_share=0.9, max_words=100, iterations=4, seed=0)
    with pytest.raises(SftdivError, match=r"embedder\.min_documents"):
        lsa.embed(["!", "?"], None)


def test_near_duplicates_keep_vowel_signs_with_their_letter():
    one, other = (shingle_sets([text], unit="words", size=1) for text in ("दिल दाल", "दाल दिल दल"))
    assert len(one.flat) == 2 and len(other.flat) == 3 and set(one.flat) < set(other.flat)
