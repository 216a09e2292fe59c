"""Tags from key phrases and columns, on texts that fit in the head, their artifacts, and the configs that
choose between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from sftdiv.protocols import CorpusSide, build_uncached
from sftdiv.records import RawTags, SftdivError, Units
from sftdiv.storage.cache import Store
from sftdiv.units.tagging.association import Association
from sftdiv.units.tagging.frequency import Frequency
from sftdiv.units.tagging.instagger import LocalTagger
from sftdiv.units.tagging.keyphrase import KeyphraseTagger
from sftdiv.units.tagging.llm import LlmTagger
from sftdiv.units.tagging.normalise import Normaliser, Step
from sftdiv.units.tagging.rules import Rules
from sftdiv.units.tagging.semantic import Semantic
from sftdiv.units.tagging.tag_map import load_tag_map, save_tag_map
from sftdiv.units.tags import ColumnTagUnits, TagUnits

CONF = Path(__file__).parents[3] / "conf"
NONE = Normaliser(frequency=None, rules=None, semantic=None, association=None)


def only(**steps: Step) -> Normaliser:
    return Normaliser(**{"frequency": None, "rules": None, "semantic": None, "association": None, **steps})


def side_of(texts: Sequence[str], *, store: Store | None = None, **columns: list[Any]) -> CorpusSide:
    """A side that has texts and columns and cannot be asked for anything else."""

    def keep(kind: str, key: Mapping[str, Any], build: Callable[[Path, Path], None]) -> Path:
        return (
            store.folder(kind, key, lambda folder: build(folder, store.partial(kind, key)))
            if store
            else build_uncached(kind, key, build)
        )

    refuse = lambda: pytest.fail("tags need neither tokens nor embeddings")  # noqa: E731
    return CorpusSide(texts, token_ids=refuse, embeddings=refuse, column=columns.__getitem__, keep=keep)


def held(units: Units) -> list[list[str]]:
    """The tags of each example, by name."""
    return [[units.names[tag] for tag in row.indices.tolist()] for row in units.matrix]


def tagger(**settings: Any) -> KeyphraseTagger:
    return KeyphraseTagger(
        **{"per_example": 2, "longest": 2, "min_documents": 1, "max_share": 1.0, "prefer_long": 0.0, **settings}
    )


def phrases(normaliser: Normaliser = NONE, tag_map: Path | None = None, **settings: Any) -> TagUnits:
    return TagUnits(tagger=tagger(**settings), normaliser=normaliser, tag_map=str(tag_map) if tag_map else None)


def column(name: str = "tags", normaliser: Normaliser = NONE, tag_map: Path | None = None) -> ColumnTagUnits:
    return ColumnTagUnits(column=name, normaliser=normaliser, tag_map=str(tag_map) if tag_map else None)


def test_phrases_break_at_stop_words_numbers_and_punctuation() -> None:
    words = ["red", "red apples", "apples", "green", "green pears", "pears", "plums"]
    assert sorted(tagger().phrases("Red apples and the green pears, 3 plums")) == sorted(words)
    assert list(tagger(longest=1).phrases("red apples")) == ["red", "apples"]


def test_matrix_of_three_sentences() -> None:
    units = phrases(min_documents=2).extract(side_of(["solar panel", "a solar panel on a roof", "paint the roof"]))
    assert units.names == ["panel", "roof", "solar"]
    assert units.matrix.toarray().tolist() == [[1, 0, 1], [1, 1, 0], [0, 1, 0]]
    assert units.made_by["finder"] == "tags" and units.made_by["tagger"]["name"] == "keyphrases"
    assert {name: units.made_by[name] for name in ("raw_tags", "tags", "untagged")} == {
        "raw_tags": 3,
        "tags": 3,
        "untagged": 0,
    }


def test_tags_of_one_text_share_no_word_and_are_at_most_per_example() -> None:
    texts = [f"solar panel {word} heat pump" for word in ("cheap", "new", "old")]
    for tags in held(phrases(per_example=3).extract(side_of(texts))):
        words = [word for tag in tags for word in tag.split()]
        assert len(tags) == 3
        assert len(words) == len(set(words))


def test_long_phrases_can_be_preferred() -> None:
    texts = ["solar panel solar", "solar panel roof", "panel roof", "solar roof"]
    assert held(phrases(per_example=1).extract(side_of(texts)))[0] == ["solar"]
    assert held(phrases(per_example=1, prefer_long=1.0).extract(side_of(texts)))[0] == ["panel solar"]
    assert held(phrases(per_example=1, prefer_long=1.0).extract(side_of(texts)))[1] == ["panel roof"]


def test_equal_texts_hold_equal_tags_and_a_text_without_a_shared_phrase_none() -> None:
    units = phrases(min_documents=2).extract(side_of(["red apple", "zebra", "red apple", "green apple"]))
    assert held(units) == [["apple"], [], ["apple"], ["apple"]]
    assert units.made_by["untagged"] == 1


def test_the_order_of_the_texts_changes_no_tag() -> None:
    texts = ["red apple pie", "red wine", "apple wine", "pie and wine"]
    tags = held(phrases(min_documents=2).extract(side_of(texts)))
    assert held(phrases(min_documents=2).extract(side_of(texts[::-1]))) == tags[::-1]


def test_no_phrase_in_enough_texts_is_an_error_with_the_numbers() -> None:
    with pytest.raises(
        SftdivError, match=r"no phrase of 2 distinct texts occurs in at least 5 .* 10%.*units\.tagger\.min_documents"
    ):
        phrases(min_documents=5, max_share=0.1).extract(side_of(["red apple", "green pear"]))


def test_column_tags_take_lists_strings_and_nothing() -> None:
    units = column().extract(side_of(["a", "b", "c", "d"], tags=[["math", "code", "math"], "code", None, ""]))
    assert held(units) == [["code", "math"], ["code"], [], []]
    assert units.matrix.data.tolist() == [1, 1, 1]
    assert units.made_by["tagger"] == {"column": "tags"} and units.made_by["untagged"] == 2


def test_column_tags_refuse_what_is_not_text() -> None:
    with pytest.raises(SftdivError, match=r"row 1 of column 'tags' holds 3; tags are a string or a list of strings"):
        column().extract(side_of(["a", "b"], tags=["math", 3]))


def test_a_text_that_is_repeated_counts_once_in_what_is_learnt_from_texts_but_each_row_of_a_column_counts() -> None:
    texts, tags = ["red apple", "red apple", "green pear"], ["fruit", "fruit", "rare"]
    assert phrases(only(frequency=Frequency(min_texts=2))).extract(side_of(texts)).names == []
    assert column(normaliser=only(frequency=Frequency(min_texts=2))).extract(side_of(texts, tags=tags)).names == [
        "fruit"
    ]


class Counting:
    """A tagger that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def identity(self) -> dict[str, Any]:
        return {"name": "counting"}

    def tag(self, texts: Sequence[str], partial: Path) -> RawTags:
        self.asked.append(list(texts))
        (partial / "answers.jsonl").write_text("said\n")
        return RawTags([text.split() for text in texts], {"asked": len(texts)})


def test_another_normalisation_asks_the_tagger_nothing_and_equal_texts_are_asked_about_once(tmp_path: Path) -> None:
    store, asked = Store(tmp_path), Counting()
    texts = ["Cats eat", "cat eats", "Cats eat"]
    raw = TagUnits(tagger=asked, normaliser=NONE, tag_map=None).extract(side_of(texts, store=store))
    merged = TagUnits(tagger=asked, normaliser=only(rules=Rules(language="en")), tag_map=None).extract(
        side_of(texts, store=store)
    )
    assert asked.asked == [["Cats eat", "cat eats"]]
    assert (raw.names, merged.names) == (["Cats", "cat", "eat", "eats"], ["cat", "eat"])
    assert merged.record["tagger"] == {"asked": 2}
    (kept,) = (tmp_path / "raw_tags").glob("*/answers.jsonl")
    assert kept.read_text() == "said\n"
    assert not list((tmp_path / "raw_tags").glob("*.partial"))


def test_the_record_maps_each_raw_tag_and_the_matrix_follows_it() -> None:
    steps = only(frequency=Frequency(min_texts=2), rules=Rules(language="en"))
    tags = [["Cats", "odd"], ["cats", "Dogs"], ["Cats", "dogs"], ["cats", "Dogs"], ["odd one"], ["dogs"]]
    units = column(normaliser=steps).extract(side_of(["?"] * 6, tags=tags))
    assert units.record["tag_map"] == {
        "Cats": "cats",
        "Dogs": "dogs",
        "cats": "cats",
        "dogs": "dogs",
        "odd": None,
        "odd one": None,
    }
    assert units.record["tag_counts"] == {"Cats": 2, "Dogs": 2, "cats": 2, "dogs": 2, "odd": 1, "odd one": 1}
    final = [sorted({units.record["tag_map"][tag]} - {None} for tag in row) for row in tags]
    assert held(units) == [sorted({tag for one in row for tag in one}) for row in final]
    frequency, rules = units.record["steps"]
    assert (
        frequency["tags_before"],
        frequency["tags_after"],
        frequency["untagged_before"],
        frequency["untagged_after"],
    ) == (6, 4, 0, 1)
    assert (rules["tags_before"], rules["tags_after"], rules["assignments_before"], rules["assignments_after"]) == (
        4,
        2,
        8,
        8,
    )


@pytest.mark.parametrize("ending", [".csv", ".json"])
def test_the_map_is_saved_edited_by_hand_and_given_back(tmp_path: Path, ending: str) -> None:
    side, path = side_of(["?"] * 3, tags=[["maths", "misc"], ["Maths"], ["code, new"]]), tmp_path / f"map{ending}"
    units = column(normaliser=only(rules=Rules(language="en"))).extract(side)
    save_tag_map(units.record["tag_map"], units.record["tag_counts"], path)
    assert (
        load_tag_map(path)
        == units.record["tag_map"]
        == {"Maths": "maths", "code, new": "code new", "maths": "maths", "misc": "misc"}
    )
    given = column(tag_map=path)
    assert held(given.extract(side)) == held(units)
    before = given.identity()
    text = path.read_text()
    path.write_text(
        text.replace("misc,misc", "misc,") if ending == ".csv" else text.replace('"tag": "misc"', '"tag": null')
    )
    assert held(column(tag_map=path).extract(side)) == [["maths"], ["maths"], ["code new"]]
    assert column(tag_map=path).identity() != before  # the content is the key, not the name


def test_the_saved_map_lists_the_commonest_tags_first(tmp_path: Path) -> None:
    save_tag_map({"a": "a", "b": None, "c": "a"}, {"a": 1, "b": 5, "c": 5}, tmp_path / "map.csv")
    assert (tmp_path / "map.csv").read_text() == "raw_tag,tag,texts\nb,,5\nc,a,5\na,a,1\n"


def test_a_map_that_is_wrong_is_an_error_before_anything_is_tagged(tmp_path: Path) -> None:
    asked = Counting()
    for name, text, message in (
        ("map.json", '{"a": 3}', "maps 'a': 3; a tag must be a string"),
        ("map.json", "[", "cannot be read: JSONDecodeError"),
        ("map.csv", "from,to\na,b\n", "cannot be read: KeyError.*raw_tag,tag"),
        ("map.txt", "", "unknown suffix '.txt'. Known: .csv, .json"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(SftdivError, match=message):
            TagUnits(tagger=asked, normaliser=NONE, tag_map=str(tmp_path / name)).extract(side_of(["a"]))
    with pytest.raises(SftdivError, match=r"none\.csv' cannot be read: FileNotFoundError"):
        TagUnits(tagger=asked, normaliser=NONE, tag_map=str(tmp_path / "none.csv")).extract(side_of(["a"]))
    assert not asked.asked


def test_a_map_of_other_tags_is_an_error_and_unlisted_ones_are_counted(tmp_path: Path) -> None:
    (tmp_path / "map.json").write_text('{"a": "A"}')
    units = column(tag_map=tmp_path / "map.json").extract(side_of(["?"] * 2, tags=["a", "b"]))
    assert held(units) == [["A"], []]
    assert units.record["steps"][0]["unlisted"] == 1
    with pytest.raises(SftdivError, match=r"tag_map lists none of the 1 raw tags, such as \['b'\]"):
        column(tag_map=tmp_path / "map.json").extract(side_of(["?"], tags=["b"]))


def composed_units(*overrides: str) -> Any:
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = compose(overrides=["+strategy=meso_tag", *overrides])
    assert config.strategy.needs in {"nothing", "column"}
    return instantiate(config.strategy.units, _convert_="all")


def test_config_chooses_the_tagger() -> None:
    keyphrase = KeyphraseTagger(per_example=4, longest=2, min_documents=20, max_share=0.1, prefer_long=0.0)
    assert composed_units().tagger == keyphrase
    assert composed_units("strategy.units.tagger.min_documents=2").tagger.min_documents == 2
    assert composed_units("strategy/tagger=column") == ColumnTagUnits(column="tags", normaliser=NONE, tag_map=None)
    assert composed_units("strategy/tagger=column", "strategy.column=task").column == "task"
    llm = composed_units(
        "strategy/tagger=llm", "strategy.model=m", "strategy.endpoint.base_url=http://localhost:8000/v1"
    )
    assert isinstance(llm.tagger, LlmTagger)
    assert (llm.tagger.model, llm.tagger.endpoint.base_url) == ("m", "http://localhost:8000/v1")
    assert isinstance(composed_units("strategy/tagger=instagger").tagger, LocalTagger)


def test_config_chooses_the_steps_and_each_can_be_left_out() -> None:
    of_llm = composed_units("strategy/tagger=instagger").normaliser
    kinds = [type(step) for step in (of_llm.frequency, of_llm.rules, of_llm.semantic, of_llm.association)]
    assert kinds == [Frequency, Rules, Semantic, Association]
    light = composed_units("strategy/normalise=light", "strategy.units.normaliser.rules=null").normaliser
    assert light == only(frequency=Frequency(min_texts=20))
    assert composed_units("strategy/normalise=none").normaliser == NONE
    for step in ("frequency", "rules", "semantic", "association"):
        left = composed_units("strategy/normalise=instag_offline", f"strategy.units.normaliser.{step}=null").normaliser
        assert getattr(left, step) is None and len(left.identity()) == 3
