"""Key phrases and column tags on texts that fit in the head, and the configs that choose between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from sftdiv.records import SftdivError, SideText, Units
from sftdiv.units.tags import ColumnTags, KeyphraseTags

CONF = Path(__file__).parents[1] / "conf"


def side_of(texts: Sequence[str], **columns: list[Any]) -> SideText:
    """A side that has texts and columns and cannot be asked for anything else."""
    refuse = lambda: pytest.fail("tags need neither tokens nor embeddings")  # noqa: E731
    return SideText(texts, token_ids=refuse, embeddings=refuse, column=columns.__getitem__)


def held(units: Units) -> list[list[str]]:
    """The tags of each example, by name."""
    return [[units.names[tag] for tag in row.indices] for row in units.matrix]


def tagger(**settings: float) -> KeyphraseTags:
    return KeyphraseTags(**{"per_example": 2, "longest": 2, "min_documents": 1, "max_share": 1.0, **settings})


def test_phrases_break_at_stop_words_numbers_and_punctuation() -> None:
    words = ["red", "red apples", "apples", "green", "green pears", "pears", "plums"]
    assert sorted(tagger().phrases("Red apples and the green pears, 3 plums")) == sorted(words)
    assert list(tagger(longest=1).phrases("red apples")) == ["red", "apples"]


def test_matrix_of_three_sentences() -> None:
    units = tagger(min_documents=2).find(side_of(["solar panel", "a solar panel on a roof", "paint the roof"]))
    assert units.names == ["panel", "roof", "solar"]
    assert units.matrix.toarray().tolist() == [[1, 0, 1], [1, 1, 0], [0, 1, 0]]
    assert units.made_by == {"finder": "keyphrases", "per_example": 2, "longest": 2, "min_documents": 2, "max_share": 1.0}


def test_tags_of_one_text_share_no_word_and_are_at_most_per_example() -> None:
    texts = [f"solar panel {word} heat pump" for word in ("cheap", "new", "old")]
    for tags in held(tagger(per_example=3).find(side_of(texts))):
        words = [word for tag in tags for word in tag.split()]
        assert len(tags) == 3
        assert len(words) == len(set(words))


def test_equal_texts_hold_equal_tags_and_a_text_without_a_shared_phrase_none() -> None:
    tags = held(tagger(min_documents=2).find(side_of(["red apple", "zebra", "red apple", "green apple"])))
    assert tags == [["apple"], [], ["apple"], ["apple"]]


def test_the_order_of_the_texts_changes_no_tag() -> None:
    texts = ["red apple pie", "red wine", "apple wine", "pie and wine"]
    tags = held(tagger(min_documents=2).find(side_of(texts)))
    assert held(tagger(min_documents=2).find(side_of(texts[::-1]))) == tags[::-1]


def test_no_phrase_in_enough_texts_is_an_error_with_the_numbers() -> None:
    with pytest.raises(SftdivError, match=r"no phrase of 2 distinct texts stands in at least 5 .* 10%.*strategy\.units\.min_documents"):
        tagger(min_documents=5, max_share=0.1).find(side_of(["red apple", "green pear"]))


def test_column_tags_take_lists_strings_and_nothing() -> None:
    units = ColumnTags(column="tags").find(side_of(["a", "b", "c", "d"], tags=[["math", "code", "math"], "code", None, ""]))
    assert held(units) == [["code", "math"], ["code"], [], []]
    assert units.matrix.data.tolist() == [1, 1, 1]
    assert units.made_by == {"finder": "column", "column": "tags"}


def test_column_tags_refuse_what_is_not_text() -> None:
    with pytest.raises(SftdivError, match=r"row 1 of column 'tags' holds 3; tags are a string or a list of strings"):
        ColumnTags(column="tags").find(side_of(["a", "b"], tags=["math", 3]))


@pytest.mark.parametrize(
    ("overrides", "finder"),
    [
        ([], KeyphraseTags(per_example=4, longest=2, min_documents=20, max_share=0.1)),
        (["strategy.units.min_documents=2"], KeyphraseTags(per_example=4, longest=2, min_documents=2, max_share=0.1)),
        (["strategy/tagger=column"], ColumnTags(column="tags")),
        (["strategy/tagger=column", "strategy.column=task"], ColumnTags(column="task")),
    ],
)
def test_config_chooses_the_tagger(overrides: list[str], finder: KeyphraseTags | ColumnTags) -> None:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = compose(overrides=["+strategy=meso_tag", *overrides])
    assert instantiate(config.strategy.units) == finder
    assert config.strategy.needs in {"nothing", "column"}
