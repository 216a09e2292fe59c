"""Near duplicates: groups that a reader can count by hand, the same groups as comparing all pairs, whatever
the order and the process."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftdiv.data.dedup import NearDuplicateFinder, NearDuplicates, near_duplicates
from sftdiv.data.jaccard_pairs import jaccard
from sftdiv.data.minhash_bands import bands_and_rows
from sftdiv.data.minhash_kernel import signatures
from sftdiv.data.set_numbers import SetNumbers
from sftdiv.data.shingles import SetCollector, ShingleSets, TextShingles, shingle_sets
from sftdiv.records import SftdivError

SETTINGS = {"threshold": 0.8, "unit": "words", "shingle": 5, "permutations": 256, "recall": 0.999, "seed": 0}
TWENTY = (
    "one two three four five six seven eight nine ten "
    "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
)


def groups(texts, **changes):
    return near_duplicates(texts, **SETTINGS | changes).group.tolist()


def perturbed(count, *, seed):
    """Texts of 12 to 40 words and, of each, copies with no, few or many words replaced."""
    rng = random.Random(seed)
    words = [f"w{number}" for number in range(60)]
    texts = []
    for _ in range(count):
        text = [rng.choice(words) for _ in range(rng.randint(12, 40))]
        for replaced in (0, 1, 1, 2, 8):
            copy = list(text)
            for _ in range(replaced):
                copy[rng.randrange(len(copy))] = rng.choice(words)
            texts.append(" ".join(copy))
    return texts


def by_all_pairs(texts, *, threshold, size):
    """The groups by comparing every pair: the first member of each text's connected component."""
    sets = []
    for text in texts:
        words = text.split()
        sets.append({tuple(words[at : at + size]) for at in range(max(1, len(words) - size + 1))})
    group = list(range(len(texts)))
    for one in range(len(texts)):
        for other in range(one):
            if len(sets[one] & sets[other]) / len(sets[one] | sets[other]) >= threshold:
                old, new = max(group[one], group[other]), min(group[one], group[other])
                group = [new if name == old else name for name in group]
    return group


def test_twenty_words_of_which_the_last_differs():
    other = TWENTY.replace("twenty", "score")  # 16 shingles of 5 words each, 15 of them shared: 15 / 17 = 0.882
    assert groups([TWENTY, other], threshold=0.88) == [0, 0]
    assert groups([TWENTY, other], threshold=0.89) == [0, 1]
    assert groups([TWENTY, other], threshold=15 / 17) == [0, 0]


def test_a_group_is_linked_through_its_members():
    texts = [
        TWENTY,
        TWENTY.replace("twenty", "score"),
        TWENTY.replace("twenty", "score").replace("one two", "un deux"),
        "something else",
    ]
    assert groups(texts, threshold=0.7) == [0, 0, 0, 3]  # 15 / 17 and 14 / 18; the first and the third share 13 of 19
    assert groups([texts[0], texts[2]], threshold=0.7) == [0, 1]


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_the_same_groups_as_comparing_all_pairs(threshold):
    texts = perturbed(60, seed=1)
    expected = by_all_pairs(texts, threshold=threshold, size=3)
    assert groups(texts, threshold=threshold, shingle=3) == expected
    assert 60 < len(set(expected)) < 300  # some are duplicates and some are not


def test_the_order_of_the_texts_and_the_seed_do_not_matter():
    texts = perturbed(40, seed=2)
    order = random.Random(0).sample(range(len(texts)), len(texts))
    given, turned = groups(texts), groups([texts[at] for at in order])

    def partition(group, names):
        return {frozenset(names[at] for at in range(len(group)) if group[at] == first) for first in group}

    assert partition(given, range(len(texts))) == partition(turned, order)
    assert given == groups(texts, seed=7)
    assert all(first <= at for at, first in enumerate(given))


def test_case_spacing_and_unicode_form_do_not_count_but_symbols_do():
    assert groups(["Yes.", "  yes\n.", "no.", "YES ."]) == [0, 0, 2, 0]
    assert groups(["What is 3 + 5?", "What is 3 - 5?", "what is 3+5 ?"]) == [0, 1, 0]
    assert groups(["ﬁne", "fine", "", " \n"]) == [0, 0, 2, 2]
    assert groups(["👍", "👎", "\ud800"]) == [0, 1, 2]
    assert groups([]) == []


def test_scripts_without_spaces_count_by_the_character():
    one, other = (
        "今天天气很好我们去公园散步吧大家一起来玩",
        "今天天气很好我们去公园散步吧大家一起来吃",
    )  # 20 characters, the last differs
    assert groups([one, other], threshold=0.88) == [0, 0]
    assert groups([one, other], threshold=0.89) == [0, 1]


def test_characters_as_the_unit():
    assert groups(["colour of the sea", "color of the sea"], unit="characters", shingle=3, threshold=0.7) == [
        0,
        0,
    ]  # 12 of 17
    assert groups(["colour of the sea", "color of the sea"], unit="characters", shingle=3, threshold=0.72) == [0, 1]
    assert groups(["colour of the sea", "color of the sea"], unit="words", shingle=3) == [0, 1]


def test_what_a_report_asks():
    found = near_duplicates(["a", "b", "A", "c", "a ", "C", "d"], **SETTINGS)
    assert found.keepers().tolist() == [True, True, False, True, False, False, True]
    assert found.sizes().tolist() == [3, 2]
    assert [members.tolist() for members in found.largest(5)] == [[0, 2, 4], [3, 5]]
    assert found.counts() == {"texts": 7, "kept": 4, "dropped": 3, "share": 3 / 7, "groups": 2, "largest": 3}
    assert NearDuplicates(np.array([], dtype=np.int64), {}).counts()["share"] == 0


def test_a_corpus_on_the_pair_or_on_one_side():
    rows = [
        ("Name a fruit.", "Apple"),
        ("Name a fruit.", "Pear"),
        ("Name a colour.", "Apple"),
        ("name a fruit .", "apple"),
    ]
    table = pa.table(
        {"instruction": [row[0] for row in rows], "response": [row[1] for row in rows], "source": [""] * 4}
    )

    def group(on):
        return NearDuplicateFinder(on=on, **SETTINGS).find(iter([table.slice(0, 3), table.slice(3)])).group.tolist()

    assert (group("pair"), group("instruction"), group("response")) == ([0, 1, 2, 0], [0, 0, 2, 0], [0, 1, 0, 0])
    with pytest.raises(SftdivError, match=r"corpus.near.on='both' is unknown. Known: pair, instruction, response"):
        group("both")


def test_different_questions_about_one_long_passage_are_no_duplicates():
    passage = " ".join(f"word{number}" for number in range(200))
    asked = [f"{passage} Who waits?", f"{passage} Which film?", f"{passage} Who waits ?"]
    table = pa.table({"instruction": asked, "response": ["Lisa", "Gutterballs", "lisa"]})
    assert groups(asked) == [0, 0, 0]
    assert NearDuplicateFinder(on="pair", **SETTINGS).find([table]).group.tolist() == [0, 1, 0]


def test_bands_find_a_pair_at_the_threshold_with_the_recall():
    assert bands_and_rows(threshold=0.8, permutations=128, recall=0.95) == (
        18,
        7,
    )  # 1 - (1 - 0.8^7)^18 = 0.986; 8 rows: 0.947
    assert bands_and_rows(threshold=1.0, permutations=64, recall=0.95) == (1, 64)
    with pytest.raises(SftdivError, match=r"permutations=4 are too few for recall=0.95 at threshold=0.3"):
        bands_and_rows(threshold=0.3, permutations=4, recall=0.95)
    with pytest.raises(SftdivError, match=r"threshold=0.*must be in \(0, 1\]"):
        bands_and_rows(threshold=0, permutations=4, recall=0.5)


def test_unknown_shingles_are_refused():
    with pytest.raises(
        SftdivError, match="shingles of 5 bytes cannot be made: the unit must be one of words, characters"
    ):
        groups(["a"], unit="bytes")
    with pytest.raises(SftdivError, match="shingles of 0 words cannot be made"):
        groups(["a"], shingle=0)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.text(alphabet="ab ", max_size=12), max_size=20), st.integers(1, 4))
def test_sets_of_shingles_overlap_as_those_of_words_do(texts, size):
    sets = shingle_sets(texts, unit="words", size=size)
    rows = list(sets)
    naive = []
    for text in texts:
        words = text.split()
        naive.append({tuple(words[at : at + size]) for at in range(max(1, len(words) - size + 1))})
    for one, own in zip(sets.of_text, naive, strict=True):
        assert len(rows[one]) == len(own)
        for other, others in zip(sets.of_text, naive, strict=True):
            assert jaccard(rows[one], rows[other]) == len(own & others) / len(own | others)


def random_sets(count, *, seed):
    """Sets of 1 to 5 of the numbers 0 to 8, so that many are equal."""
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.choice(9, rng.integers(1, 6), replace=False)).astype(np.uint32) for _ in range(count)]
    return rows, TextShingles(np.concatenate(rows), np.array([len(row) for row in rows]))


@pytest.mark.parametrize("seed", [0, 7])
def test_signatures_are_those_of_datasketch(seed):
    from datasketch import MinHash

    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 2**32, size, dtype=np.uint32) for size in (1, 2, 40, 300)]
    sketch = MinHash(num_perm=64, seed=seed, hashfunc=int)
    expected = []
    for row in rows:
        sketch.clear()
        sketch.update_batch(row.tolist())
        expected.append(sketch.hashvalues.tolist())
    signed = signatures(np.concatenate(rows), np.array([len(row) for row in rows]), *sketch.permutations)
    assert signed.tolist() == expected


def test_sets_are_numbered_by_their_first_occurrence():
    rows, sets = random_sets(3000, seed=0)
    known: dict[tuple[int, ...], int] = {}
    expected = [known.setdefault(tuple(row.tolist()), len(known)) for row in rows]
    numbers, ends = SetNumbers(), np.cumsum(sets.lengths)
    found = []
    for start in range(0, 3000, 700):  # the table grows
        stop = min(start + 700, 3000)
        flat = sets.flat[ends[start] - sets.lengths[start] : ends[stop - 1]]
        found += numbers.number(flat, sets.lengths[start:stop]).tolist()
    assert found == expected and len(numbers) == len(known)
    assert SetNumbers().number(*sets).tolist() == expected


def test_collected_sets_are_stored_once():
    rows, sets = random_sets(200, seed=1)
    half = int(sets.lengths[:100].sum())
    collector = SetCollector(unit="words", size=5)
    collector.add(TextShingles(sets.flat[:half], sets.lengths[:100]))
    collector.add(TextShingles(sets.flat[half:], sets.lengths[100:]))
    more = ShingleSets(np.array([3, 8, 900], dtype=np.uint32), np.array([0, 2, 3]), np.array([1, 0, 1]), "words", 5)
    is_new = collector.add_sets(more)
    rows += [np.array(row, dtype=np.uint32) for row in ([900], [3, 8], [900])]
    collected = collector.sets()
    stored = list(collected)
    assert len({row.tobytes() for row in stored}) == len(collected) == len({row.tobytes() for row in rows})
    assert all(np.array_equal(stored[number], row) for number, row in zip(collected.of_text, rows, strict=True))
    assert is_new.tolist() == [not any(row.tolist() == [3, 8] for row in rows[:200]), True]


def test_shingles_are_the_same_in_every_process():
    script = (
        "from sftdiv.data.shingles import shingle_sets; "
        "print(shingle_sets(['a b c', 'd'], unit='words', size=2).flat.tolist())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert printed == {f"{shingle_sets(['a b c', 'd'], unit='words', size=2).flat.tolist()}\n"}
