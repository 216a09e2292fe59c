"""The four steps from raw tags to final ones, each on tags that fit in the head, and pairs by FP-growth
against counting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from sftdiv.records import Embeddings, SftdivError
from sftdiv.units.tagging.association import Association, associated, frequent_pairs
from sftdiv.units.tagging.characters import CharacterEmbedder
from sftdiv.units.tagging.frequency import Frequency, frequent
from sftdiv.units.tagging.merging import counts_of, incidence, renamed
from sftdiv.units.tagging.normalise import Normaliser
from sftdiv.units.tagging.rules import Rules, one_spelling, spelling
from sftdiv.units.tagging.semantic import Semantic, neighbours


def test_tags_of_three_texts_as_a_matrix_and_after_a_merge() -> None:
    names, held = incidence([["b", "a", "b"], [], ["c"]])
    assert (names, held.toarray().tolist()) == (["a", "b", "c"], [[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    merged_names, merged = renamed(held, ["x", "x", None])
    assert (merged_names, merged.toarray().tolist()) == (["x"], [[1], [0], [0]])


def test_frequency_drops_tags_below_the_threshold() -> None:
    assert frequent(["a", "b"], np.array([20, 19]), min_texts=20) == ["a", None]


def test_spelling_lowers_case_and_clears_punctuation_but_not_the_name_of_a_language() -> None:
    spelt = {
        "Creative_Writing": "creative writing",
        "data-analysis ": "data analysis",
        "C++": "c++",
        "C#": "c#",
        "#math": "math",
        "a+b": "a+b",
        "???": "???",
        "ﬁle": "file",
    }
    assert {tag: spelling(tag) for tag in spelt} == spelt


def test_rules_keep_the_commonest_spelling_of_the_same_lemmas() -> None:
    names = ["Data Structures", "data structure", "data_structure", "poem", "Poems", "university", "universe"]
    counts = np.array([5, 2, 2, 1, 1, 1, 1])
    kept = ["data structures", "data structures", "data structures", "poem", "poem", "university", "universe"]
    assert one_spelling(names, counts, language="en") == kept
    plain = ["data structures", "data structure", "data structure", "poem", "poems", "university", "universe"]
    assert one_spelling(names, counts, language=None) == plain


def test_a_spelling_counts_with_all_its_writings() -> None:
    # "plots" stands in 3 + 3 texts, "plot" in 5
    assert one_spelling(["Plots", "plots", "plot"], np.array([3, 3, 5]), language="en") == ["plots"] * 3


class Compass:
    """An embedder that knows three directions."""

    directions: ClassVar = {"maths": [1, 0], "mathematics": [0.999, 0.0447], "poetry": [0, 1], "nothing": [0, 0]}

    def identity(self) -> dict[str, str]:
        return {"kind": "compass"}

    def embed(self, texts: Sequence[str], partial: Path) -> Embeddings:
        return Embeddings(np.array([self.directions[text] for text in texts], dtype=np.float32), {})


def test_semantic_merges_what_is_near_under_the_commonest_name() -> None:
    names, held = incidence([["maths"], ["maths", "poetry"], ["mathematics", "nothing"]])
    step = Semantic(embedder=Compass(), distance=0.05)
    assert names == ["mathematics", "maths", "nothing", "poetry"]
    assert step.rename(names, held) == ["maths", "maths", "nothing", "poetry"]
    identity = step.identity()
    assert identity["embedder"].pop("source code")  # of a class from outside the package
    assert identity == {"kind": "semantic", "distance": 0.05, "embedder": {"kind": "compass"}}


def test_neighbours_chain_and_those_alone_or_zero_stay_alone() -> None:
    angles = np.radians([0, 10, 20, 90, 0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    vectors[4] = 0
    assert neighbours(vectors, distance=1 - np.cos(np.radians(11))).tolist() == [0, 0, 0, -1, -1]
    assert neighbours(np.zeros((2, 2), dtype=np.float32), distance=0.5).tolist() == [-1, -1]
    with pytest.raises(SftdivError, match=r"distance=1\.5"):
        Semantic(embedder=Compass(), distance=1.5)


def test_letters_alone_see_spelling_variants_and_keep_other_words_apart(tmp_path: Path) -> None:
    embedder = CharacterEmbedder(shortest=2, longest=4, dimensions=2048)
    vectors = embedder.embed(["colour theory", "color theory", "gardening"], tmp_path).vectors
    same, other = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert same > 0.6 > 0.2 > other


def world() -> list[list[str]]:
    """`algebra` implies `maths` always, `ode` and `lyric` imply each other always, `verse` mostly."""
    return [["algebra", "maths"]] * 4 + [["maths"]] * 6 + [["ode", "lyric", "verse"]] * 5 + [["verse"]]


def test_association_merges_both_ways_or_one_way() -> None:
    names, held = incidence(world())
    both = Association(min_texts=4, confidence=0.99, mutual=True).rename(names, held)
    assert list(zip(names, both, strict=True)) == [(name, "lyric" if name == "ode" else name) for name in names]
    one = Association(min_texts=4, confidence=0.99, mutual=False).rename(names, held)
    assert names == ["algebra", "lyric", "maths", "ode", "verse"]
    assert one == ["maths", "verse", "maths", "verse", "verse"]
    assert (
        Association(min_texts=6, confidence=0.99, mutual=False).rename(names, held) == names
    )  # no pair is that common


def test_confidence_is_of_the_texts_with_the_one_that_hold_the_other() -> None:
    first, second, together = np.array([10, 10]), np.array([10, 100]), np.array([9, 10])
    assert associated(first, second, together, confidence=0.9, mutual=True).tolist() == [True, False]
    assert associated(first, second, together, confidence=0.95, mutual=False).tolist() == [False, True]


def test_pairs_of_fp_growth_equal_those_counted_one_by_one() -> None:
    rng = np.random.default_rng(0)
    tags = [
        [f"t{tag}" for tag in rng.choice(30, size=4, replace=False, p=np.arange(30, 0, -1) / 465)] for _ in range(400)
    ]
    names, held = incidence(tags)
    counted = {
        (a, b): together
        for a in range(len(names))
        for b in range(a + 1, len(names))
        if (together := sum(names[a] in row and names[b] in row for row in tags)) >= 8
    }
    one, other, both = frequent_pairs(held, min_texts=8)
    assert len(counted) > 20
    assert dict(zip(zip(one.tolist(), other.tolist(), strict=True), both.tolist(), strict=True)) == counted


def test_the_steps_run_in_the_order_of_the_paper_and_say_what_they_changed() -> None:
    tags = [
        ["Ode", "lyric"],
        ["odes", "lyric"],
        ["Ode", "lyric"],
        ["odes", "lyric", "rare"],
        ["maths"],
        ["mathematics"],
        ["maths", "mathematics"],
    ]

    class Meaning(Compass):
        directions: ClassVar = {
            "maths": [1, 0, 0],
            "mathematics": [1, 0, 0],
            "ode": [0, 1, 0],
            "odes": [0, 1, 0],
            "lyric": [0, 0, 1],
        }

    normaliser = Normaliser(
        frequency=Frequency(min_texts=2),
        rules=Rules(language="en"),
        semantic=Semantic(embedder=Meaning(), distance=0.05),
        association=Association(min_texts=4, confidence=0.99, mutual=True),
    )
    names, held = incidence(tags)
    done = normaliser.normalise(names, held)
    assert [step["step"] for step in done.steps] == ["frequency", "rules", "semantic", "association"]
    assert [step["tags_before"] for step in done.steps] == [6, 5, 4, 3]
    assert [step["tags_after"] for step in done.steps] == [5, 4, 3, 2]
    ode = {"Ode": "lyric", "odes": "lyric", "lyric": "lyric"}
    assert done.tag_map == {**ode, "rare": None, "maths": "mathematics", "mathematics": "mathematics"}
    assert done.steps[-1]["largest"] == {"lyric": 2}
    assert (done.steps[-1]["assignments_before"], done.steps[-1]["assignments_after"]) == (11, 7)


def test_no_tag_at_all_is_no_error() -> None:
    names, held = incidence([[], []])
    done = Normaliser(
        frequency=Frequency(min_texts=2), rules=Rules(language="en"), semantic=None, association=None
    ).normalise(names, held)
    assert done.tag_map == {} and done.steps[0]["untagged_after"] == 2


def test_counts_are_of_texts() -> None:
    assert counts_of(incidence([["a", "a"], ["a", "b"]])[1]).tolist() == [2, 1]
