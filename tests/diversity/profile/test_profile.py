"""What a report adds to the metrics: lengths, token bands, repeated runs, estimates with intervals, and
numbers as people read them."""

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftdiv.diversity.profile.comparison import compare, estimate, half_width
from sftdiv.diversity.profile.joined import beginnings, joined_tokens, joined_vectors
from sftdiv.diversity.profile.lengths import bin_edges, lengths_of
from sftdiv.diversity.profile.repeated import KEPT, repeated_runs
from sftdiv.diversity.profile.settings import Matched, Runs
from sftdiv.diversity.profile.texts import cut, distinct_rows
from sftdiv.diversity.profile.token_bands import thinned, token_bands
from sftdiv.records import SftdivError, TokenIds
from sftdiv.reporting.dataset.terms import headline, readable
from sftdiv.reporting.format import format_number, format_percent
from sftdiv.text.column_texts import ColumnTexts


def token_ids(*texts):
    """Token ids of texts of single letters, named by themselves."""
    names = sorted(set("".join(texts)))
    offsets = np.cumsum([0, *map(len, texts)])
    return TokenIds(np.array([names.index(letter) for letter in "".join(texts)], dtype=np.int32), offsets, names)


def words_of(tokens):
    spans = zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)
    return [[tokens.names[token] for token in tokens.flat[start:stop]] for start, stop in spans]


def test_lengths_by_hand():
    found = lengths_of(np.array([0, 1, 3, 3, 8]))
    assert found["mean"] == 3.0
    assert (found["percentiles"]["0"], found["percentiles"]["50"], found["percentiles"]["100"]) == (0.0, 3.0, 8.0)
    assert found["histogram"] == {"edges": [0, 1, 2, 3, 4, 6, 8, 11], "texts": [1, 1, 0, 2, 0, 0, 1]}


@given(st.integers(0, 100_000))
def test_bins_hold_every_length_and_are_the_same_for_all(longest):
    edges = bin_edges(longest)
    assert edges[-1] > longest and sorted(set(edges)) == edges
    assert edges == bin_edges(200_000)[: len(edges)]


def test_bands_by_hand():
    names = ["the", "of", "cat", "dog", "zyx", "unseen"]
    found = token_bands(np.array([60, 20, 10, 5, 5, 0]), names, low=10, high=20)
    assert found["frequent"] == {"types": 1, "share": 0.6, "examples": ["the"]}
    assert found["mid"] == {"types": 2, "share": 0.3, "examples": ["of", "cat"]}
    assert found["rare"] == {"types": 2, "share": 0.1, "examples": ["dog", "zyx"]}
    assert found["curve"] == [[1, 60], [2, 20], [3, 10], [4, 5], [5, 5]]
    assert (found["types"], found["occurrences"]) == (5, 100)


def test_bands_by_documents_have_shares_of_all_occurrences():
    """A word said 60 times in 4 texts is mid-frequency by texts, and still most of the text."""
    found = token_bands(np.array([9, 4, 1]), ["the", "go", "cat"], low=2, high=5, occurrences=np.array([30, 60, 10]))
    assert [found[band]["share"] for band in ("frequent", "mid", "rare")] == [0.3, 0.6, 0.1]
    assert found["mid"]["examples"] == ["go"] and found["curve"][0] == [1, 9] and found["occurrences"] == 100


def test_no_token_has_no_curve_and_empty_bands():
    found = token_bands(np.zeros(3, dtype=np.int64), ["a", "b", "c"], low=10, high=500)
    assert found["curve"] == [] and found["mid"] == {"types": 0, "share": 0.0, "examples": []}


def test_thinned_ranks_keep_both_ends():
    ranks = thinned(100_000)
    assert ranks[0] == 1 and ranks[-1] == 100_000 and len(ranks) <= 300 and ranks[:5] == [1, 2, 3, 4, 5]


def naive_runs(texts, shortest, longest, min_texts):
    """Every run that enough texts hold and that no longer run replaces: run -> (texts, occurrences)."""
    counted = {}
    for length in range(1, longest + 1):
        holders, times = Counter(), Counter()
        for text in texts:
            runs = [tuple(text[i : i + length]) for i in range(len(text) - length + 1)]
            holders.update(set(runs))
            times.update(runs)
        counted[length] = {run: (holders[run], times[run]) for run in holders if holders[run] >= min_texts}
    return {
        run: found
        for length in range(shortest, longest + 1)
        for run, found in counted[length].items()
        if not any(
            run in (longer[1:], longer[:-1]) and held >= KEPT * found[0]
            for longer, (held, _) in counted.get(length + 1, {}).items()
        )
    }


def test_a_run_within_a_longer_one_is_not_told():
    tokens = token_ids("xabcdey", "zabcdew", "abcdev", "bcdq")
    found = repeated_runs(tokens, shortest=3, longest=10, min_texts=3, top=10)
    assert [("".join(run.tokens), run.texts, run.occurrences) for run in found] == [
        ("abcde", 3, 3)
    ]  # bcd is in four texts: 0.75 of them


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abc", max_size=12), min_size=1, max_size=12))
def test_runs_are_those_of_a_naive_search(texts):
    tokens = token_ids(*texts)
    expected = naive_runs(words_of(tokens), 3, 8, 2)
    found = repeated_runs(tokens, shortest=3, longest=8, min_texts=2, top=1000)
    assert all(expected[run.tokens] == (run.texts, run.occurrences) for run in found)
    covers = [run.texts * len(run.tokens) for run in found]
    assert covers == sorted(covers, reverse=True)
    assert bool(found) == bool(expected)
    if expected:
        assert covers[0] == max(texts * len(run) for run, (texts, _) in expected.items())


def test_runs_of_signs_and_runs_that_overlap_are_passed_over():
    tokens = token_ids("....ab", "....ba", "abcdef", "abcdefg", "zbcdefg", "zbcdef")
    found = repeated_runs(tokens, shortest=3, longest=4, min_texts=2, top=10)
    assert ["".join(run.tokens) for run in found] == [
        "bcde",
        "defg",
    ]  # cdef shares half of its triples with bcde; "...." has no letter


def test_both_sides_are_one_text():
    one, other = token_ids("ab", ""), token_ids("bc", "c")
    both = joined_tokens(one, other)
    assert words_of(both) == [["a", "b", "b", "c"], ["c"]]
    assert both.names == ["a", "b", "c"]
    same = joined_tokens(one, one)
    assert words_of(same) == [["a", "b", "a", "b"], []] and same.names == ["a", "b"]


def test_beginnings_of_texts():
    cut_short = beginnings(token_ids("abcd", "", "ab", "bcd"), 3)
    assert words_of(cut_short) == [["a", "b", "c"], [], ["a", "b"], ["b", "c", "d"]]


def test_the_cosine_of_both_sides_is_the_mean_of_the_cosines():
    one = np.array([[1, 0], [0, 1]], dtype=np.float32)
    other = np.array([[1, 0], [0.6, 0.8]], dtype=np.float32)
    both = joined_vectors(one, other)
    assert both[0] @ both[1] == pytest.approx((0 + 0.6) / 2)
    assert np.linalg.norm(both, axis=1) == pytest.approx([1, 1])


def test_columns_of_texts_read_like_a_list():
    columns = [
        pa.chunked_array([["a", "b"], ["c"]], type=pa.large_string()),
        pa.chunked_array([["x"], ["y", "z"]], type=pa.large_string()),
    ]
    texts = ColumnTexts(*columns)
    assert list(texts) == ["a\n\nx", "b\n\ny", "c\n\nz"]
    assert (len(texts), texts[2], texts[1:], texts[::2], texts[5:]) == (
        3,
        "c\n\nz",
        ["b\n\ny", "c\n\nz"],
        ["a\n\nx", "c\n\nz"],
        [],
    )
    assert list(ColumnTexts(columns[0])) == ["a", "b", "c"]


def test_distinct_rows_are_the_first_of_each_text():
    rows, counts = distinct_rows(["a", "b", "a", "", "b", "", "a", "c"])
    assert (rows.tolist(), counts.tolist()) == ([0, 1, 3, 7], [3, 2, 2, 1])


def test_texts_are_cut_to_a_line():
    assert cut("a\n b  c", 20) == "a b c"
    assert cut("abcdef", 4) == "abc\u2026"
    assert cut(" " * 100 + "a", 4) == "\u2026"


def test_an_estimate_by_hand():
    found = estimate([1.0, 2.0, 3.0], size=10, examples=40)
    assert found.value == 2.0
    assert found.stderr == pytest.approx(math.sqrt(1.0 * (1 / 3 + 10 / 30)))


@pytest.mark.parametrize("values", [[], [1.0, None], [1.0, math.nan]])
def test_no_estimate_where_a_sample_gave_none(values):
    assert math.isnan(estimate(values, size=1, examples=10).value)


def test_a_dataset_measured_whole_has_no_interval():
    assert estimate([5.0], size=10, examples=10).value == 5.0
    assert math.isnan(estimate([5.0], size=10, examples=10).stderr)
    (row,) = compare({"m": [5.0]}, {"m": [1.0, 1.1]}, {"m": "high"}, size=10, examples=(10, 100))
    assert row["more_diverse"] == "unclear" and math.isnan(row["low"])


def test_the_direction_of_a_metric_decides_who_is_more_diverse():
    one, other = {"up": [5.0, 5.1], "down": [5.0, 5.1], "none": [5.0, 5.1], "close": [1.0, 2.0]}, {}
    other = {"up": [1.0, 1.1], "down": [1.0, 1.1], "none": [1.0, 1.1], "close": [1.1, 1.9], "alone": [0.0, 0.0]}
    rows = compare(
        one, other, {"up": "high", "down": "low", "none": "neither", "close": "high"}, size=1, examples=(1000, 1000)
    )
    assert {row["metric"]: row["more_diverse"] for row in rows} == {
        "up": "dataset",
        "down": "baseline",
        "none": None,
        "close": "unclear",
    }
    assert rows[0]["difference"] == pytest.approx(4.0)
    assert rows[0]["low"] < 4.0 < rows[0]["high"]


def test_intervals_hold_the_expectation_as_often_as_they_say():
    """The mean of 200 normal values, known from 20 samples of 50 of them: 95 % of the intervals hold 0,
    give or take."""
    rng, held, trials = np.random.default_rng(1), 0, 400
    for _ in range(trials):
        values = rng.standard_normal(200)
        drawn = [values[rng.choice(200, 50, replace=False)].mean() for _ in range(20)]
        found = estimate(drawn, size=50, examples=200)
        held += abs(found.value) <= half_width(found.stderr, draws=20)
    assert 0.92 <= held / trials <= 0.98


def test_the_size_of_samples():
    auto = Matched(size="auto", draws=20, seed=0)
    assert [auto.resolved(examples) for examples in (1, 3, 500, 5000)] == [1, 1, 250, 1000]
    assert Matched(size=300, draws=20, seed=0).resolved(300) == 300
    with pytest.raises(SftdivError, match=r"matched.size=300 is more than the 299 examples"):
        Matched(size=300, draws=20, seed=0).resolved(299)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Matched(size="all", draws=20, seed=0),
            "matched.size='all' must be a whole number of at least 1, or auto",
        ),
        (lambda: Matched(size=10, draws=1, seed=0), "matched.draws=1 must be a whole number of at least 2"),
        (
            lambda: Runs(shortest=2, longest=5, min_share=0.1, tokens=10, top=5, seed=0),
            "repeated.shortest=2 must be .* at least 3",
        ),
        (
            lambda: Runs(shortest=6, longest=5, min_share=0.1, tokens=10, top=5, seed=0),
            "repeated.longest=5 must not be below",
        ),
        (
            lambda: Runs(shortest=3, longest=5, min_share=2, tokens=10, top=5, seed=0),
            r"repeated.min_share=2 must be a number in \[0, 1\]",
        ),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(SftdivError, match=message):
        make()


def test_numbers_as_people_read_them():
    shown = [
        format_number(value, 3, padded=True)
        for value in (0.04567, 12.345, 123.45, 1234.5, 0.0, -2.5, None, math.nan, 5.0)
    ]
    assert shown == ["0.0457", "12.3", "123", "1,234", "0.00", "\u22122.50", "\u2014", "\u2014", "5.00"]
    assert [format_number(value, 2, padded=True, plus=True) for value in (0.5, -0.5)] == ["+0.50", "\u22120.50"]
    shown = [format_percent(share) for share in (0.0, 0.0004, 0.123, 0.9996, 1.0, None)]
    assert [text.replace("\u00a0", " ") for text in shown] == [
        "0 %",
        "< 0.1 %",
        "12.3 %",
        "> 99.9 %",
        "100 %",
        "\u2014",
    ]


def test_the_first_column_of_a_family_stands_for_it():
    catalogue = {"a": {"family": "f"}, "a_1": {"family": "f"}, "b": {"family": "g"}}
    assert headline(["a", "a_1", "b", "own"], catalogue) == ["a", "b", "own"]


def test_tokens_of_any_tokenizer_are_readable():
    assert readable(["un", "##believ", "##able"]) == "unbelievable"
    assert readable(["\u0120the", "\u2581cat"]) == "the cat"
