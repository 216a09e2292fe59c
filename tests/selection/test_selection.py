"""Universe, ladder, level, draw and match: worked examples on sets that fit on a page, and invariants on
made-up ones."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from sftdiv.records import SftdivError, Units
from sftdiv.selection.choose import build_ladders, choose
from sftdiv.selection.draw import draw_evenly
from sftdiv.selection.ladder import PRUNINGS, build_ladder, tie_ranks
from sftdiv.selection.level import k_of_level, lowest_k, smallest_k
from sftdiv.selection.universe import build_universe, group_share
from sftdiv.storage.hashing import content_hash


def units_of(*examples, names=None):
    """Units from one set of type numbers an example."""
    types = 1 + max(max(held) for held in examples if held)
    matrix = np.zeros((len(examples), types), dtype=np.int32)
    for row, held in enumerate(examples):
        matrix[row, list(held)] = 1
    return Units(scipy.sparse.csr_array(matrix), names or [f"type{t}" for t in range(types)], {"finder": "test"})


def everyone(units, match="none", lengths=None, sources=None):
    examples = units.matrix.shape[0]
    return build_universe(
        {"no_unit": np.diff(units.matrix.indptr) == 0},
        lengths=np.arange(examples) if lengths is None else np.asarray(lengths),
        sources=sources or ["one"] * examples,
        match=match,
    )


def subset_of(units, *, level, size, seed=0, prune="support", k_min="auto", slack=1.0, weights=None, **universe):
    who = everyone(units, **universe)
    ladders = build_ladders(units, who, prune=prune, seed=0)
    weights = np.ones(units.matrix.shape[0]) if weights is None else np.asarray(weights, dtype=float)
    return choose(units, who, ladders, level=level, size=size, weights=weights, k_min=k_min, slack=slack, seed=seed)


# --- ladder ---------------------------------------------------------------------------------------------------------


def test_support_pruning_by_hand():
    # Types: 0 is held by examples 0, 1, 2; 1 by 2, 3; 2 by 3 alone. Type 2 goes first and takes example 3
    # with it; then type 1, now held by example 2 alone, and with it example 2; type 0 is last.
    units = units_of({0}, {0}, {0, 1}, {1, 2})
    ladder = build_ladder(units.matrix, tie_ranks(units.names, seed=0), prune="support")
    assert ladder.type_order.tolist() == [2, 1, 0]
    assert [ladder.pool(k).tolist() for k in (3, 2, 1)] == [[0, 1, 2, 3], [0, 1, 2], [0, 1]]


def test_sample_pruning_by_hand():
    # Losses (sum of 1/support): example 0: 1/3, 1: 1/3, 2: 1/3 + 1/2, 3: 1/2 + 1. Examples 0 and 1 go
    # first; then type 0 has one holder left, example 2 loses 1 + 1/2 and example 3 as much: the tie falls
    # to the example whose best type comes first by hash.
    units = units_of({0}, {0}, {0, 1}, {1, 2})
    ties = tie_ranks(units.names, seed=0)
    ladder = build_ladder(units.matrix, ties, prune="sample")
    first = 2 if min(ties[0], ties[1]) < min(ties[1], ties[2]) else 3
    assert ladder.type_order[0] == (0 if first == 2 else 2)
    assert ladder.pool(3).tolist() == [0, 1, 2, 3]
    assert ladder.pool(2).tolist() == [5 - first]


def test_random_pruning_takes_types_in_hash_order():
    units = units_of({0}, {0}, {0, 1}, {1, 2})
    ties = tie_ranks(units.names, seed=3)
    ladder = build_ladder(units.matrix, ties, prune="random")
    assert ladder.type_order.tolist() == np.argsort(ties).tolist()
    kept = set(ladder.type_order[1:].tolist())
    assert ladder.pool(2).tolist() == [row for row, held in enumerate([{0}, {0}, {0, 1}, {1, 2}]) if held <= kept]


def test_ties_follow_names_not_columns():
    units = units_of({0}, {1}, {2}, names=["a", "b", "c"])
    turned = units_of({2}, {1}, {0}, names=["c", "b", "a"])
    orders = [
        [each.names[t] for t in build_ladder(each.matrix, tie_ranks(each.names, seed=5), prune="support").type_order]
        for each in (units, turned)
    ]
    assert orders[0] == orders[1]


def test_unknown_pruning_names_the_known():
    units = units_of({0}, {1})
    with pytest.raises(SftdivError, match=r"prune='greedy'.*support, sample, random"):
        build_ladder(units.matrix, tie_ranks(units.names, seed=0), prune="greedy")


def test_the_order_of_a_made_up_corpus_is_what_it_was_before_the_kernel_was_rewritten():
    # Digest by the code of 2026-11-21 (scipy's CSC, one heap), on types that many examples share.
    rng = np.random.default_rng(0)
    units = units_of(*[set((rng.zipf(1.3, size=6) % 90).tolist()) for _ in range(2000)])
    ladder = build_ladder(units.matrix, tie_ranks(units.names, seed=0), prune="support")
    assert content_hash([ladder.type_order.tolist(), ladder.example_step.tolist()]) == "677a1311f90e9a0e"


# --- level ----------------------------------------------------------------------------------------------------------


def test_smallest_k_by_hand():
    units = units_of({0}, {0}, {0, 1}, {1, 2})
    ladder = build_ladder(units.matrix, tie_ranks(units.names, seed=0), prune="support")
    assert [smallest_k(ladder, np.ones(4), needed) for needed in (1, 2, 3, 4)] == [1, 1, 2, 3]
    assert smallest_k(ladder, np.array([1.0, 1.0, 5.0, 5.0]), 6) == 2


def test_levels_run_from_k_min_to_k_max():
    assert [k_of_level(level, 10, 40) for level in (0, 1 / 3, 0.5, 1)] == [10, 20, 25, 40]
    for level in (-0.1, 1.1, float("nan")):
        with pytest.raises(SftdivError, match=r"diversity_level=.* is outside \[0, 1\]"):
            k_of_level(level, 10, 40)


def test_k_min_as_number_and_share():
    units = units_of(*[{t} for t in range(10) for _ in range(5)])
    ladder = build_ladder(units.matrix, tie_ranks(units.names, seed=0), prune="support")
    assert [lowest_k(k_min, ladder, np.ones(50), 12, types=10) for k_min in ("auto", 4, 0.5)] == [
        (3, 3),
        (4, 3),
        (5, 3),
    ]
    assert lowest_k(8, ladder, np.ones(50), 12, types=20) == (4, 3)  # half of all ladders' types are this one's
    assert lowest_k(2, ladder, np.ones(50), 12, types=20) == (1, 3)
    with pytest.raises(SftdivError, match="must be auto, a share"):
        lowest_k("few", ladder, np.ones(50), 12, types=10)


def test_a_level_is_refused_by_its_own_pool():
    # Ten types of five examples each; 8 examples with slack 1.5 need 12, so three types. With k_min=2 level 0 has two
    # types (ten examples) and is refused, level 1/4 has four and works.
    units = units_of(*[{t} for t in range(10) for _ in range(5)])
    with pytest.raises(SftdivError, match=r"2 of 10 types hold 10 examples.*k_min >= 3.*or a higher level"):
        subset_of(units, level=0, size=8, slack=1.5, k_min=2)
    for level in (0.25, 1):
        subset = subset_of(units, level=level, size=8, slack=1.5, k_min=2)
        assert (len(subset), subset.columns["k_min"], subset.columns["k_asked"]) == (8, 2, 4 if level < 1 else 10)


def test_level_1_serves_any_size_up_to_the_universe():
    units = units_of(*[{0}] * 20, *[{1}] * 10)
    for size in (21, 25, 30):
        subset = subset_of(units, level=1, size=size, slack=1.5)
        assert len(subset) == len(set(subset.indices.tolist())) == size
    tokens = np.tile([2.0, 3.0, 4.0], 10)
    assert len(subset_of(units, level=1, size=tokens.sum(), slack=1.5, weights=tokens)) == 30
    matched = subset_of(units, level=1, size=30, slack=1.5, match="source", sources=["a", "b", "c"] * 10)
    assert len(matched) == 30
    with pytest.raises(SftdivError, match=r"size 31 is more than the universe holds: 30 examples.* is 30: size\.n=30$"):
        subset_of(units, level=1, size=31, slack=1.5)
    with pytest.raises(SftdivError, match=r"90 label tokens in 30 examples.* is 90: size\.label_tokens=90$"):
        subset_of(units, level=1, size=91, slack=1.5, weights=tokens)
    with pytest.raises(
        SftdivError, match=r"1.5 x 25 = 38 is more than.* is 20 below level 1 and 30 at diversity_level=1"
    ):
        subset_of(units, level=0.99, size=25, slack=1.5)


# --- draw -----------------------------------------------------------------------------------------------------------


def test_draw_is_even_over_disjoint_types():
    units = units_of(*[{0}] * 50, *[{1}] * 10, *[{2}] * 10)
    rows = draw_evenly(units.matrix, np.ones(70), 30, rng=np.random.default_rng(0))
    assert np.bincount(np.array([0] * 50 + [1] * 10 + [2] * 10)[rows]).tolist() == [10, 10, 10]
    rows = draw_evenly(units.matrix, np.ones(70), 40, rng=np.random.default_rng(0))
    assert np.bincount(np.array([0] * 50 + [1] * 10 + [2] * 10)[rows]).tolist() == [
        20,
        10,
        10,
    ]  # 1 and 2 have no member left


def test_draw_counts_an_example_for_all_its_types():
    # Type 1 is rarer and is served first, by the one example that also holds type 0: both are then represented.
    units = units_of({0}, {0}, {0, 1})
    assert draw_evenly(units.matrix, np.ones(3), 1, rng=np.random.default_rng(0)).tolist() == [2]


def test_members_are_drawn_uniformly():
    units = units_of(*[{0}] * 5)
    firsts = [draw_evenly(units.matrix, np.ones(5), 1, rng=np.random.default_rng(seed))[0] for seed in range(2000)]
    counts = np.bincount(firsts, minlength=5)
    assert abs(counts - 400).max() < 5 * np.sqrt(2000 * 0.2 * 0.8)  # five standard deviations


def test_members_are_drawn_in_proportion_to_their_scores_and_those_of_score_0_last():
    units, scores = units_of(*[{0}] * 4), np.array([1.0, 2, 3, 0])
    draws = [
        draw_evenly(units.matrix, np.ones(4), 4, rng=np.random.default_rng(seed), scores=scores) for seed in range(2000)
    ]
    expected = np.array([1, 2, 3, 0]) / 6 * 2000
    counts = np.bincount([rows[0] for rows in draws], minlength=4)
    assert (abs(counts - expected) <= 5 * np.sqrt(expected * (1 - expected / 2000))).all()
    assert all(rows[-1] == 3 for rows in draws)
    after_2 = [rows[1] for rows in draws if rows[0] == 2]  # without replacement: 1 : 2 among the others
    assert abs(np.mean(np.array(after_2) == 1) - 2 / 3) < 5 * np.sqrt(2 / 9 / len(after_2))


def test_a_draw_by_scores_stays_even_over_types():
    units, scores = units_of(*[{0}] * 50, *[{1}] * 10, *[{2}] * 10), np.r_[np.full(50, 100.0), np.ones(20)]
    rows = draw_evenly(units.matrix, np.ones(70), 24, rng=np.random.default_rng(0), scores=scores)
    assert np.bincount(np.array([0] * 50 + [1] * 10 + [2] * 10)[rows]).tolist() == [8, 8, 8]


def test_a_random_order_keeps_more_types_where_rare_types_stand_alone():
    alone, together = (
        [{i} for i in range(20)],
        [{20 + j for j in range(5 * (i // 2), 5 * (i // 2) + 5)} for i in range(20)],
    )
    units = units_of(*alone, *together)  # 20 types with one holder, 50 with two; five examples cannot have them all

    def types(seed, rarest_first):
        rng = np.random.default_rng(seed)
        rows = draw_evenly(units.matrix, np.ones(40), 5, rng=rng, rarest_first=rarest_first)
        return len(np.unique(units.matrix[rows].indices))

    assert [types(seed, True) for seed in range(20)] == [5] * 20
    assert np.mean([types(seed, False) for seed in range(20)]) > 10  # 5 x (20/70 + 5 x 50/70), less chance


# --- choose ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prune", ["support", "random"])
def test_two_topics_level_0_takes_one_and_level_1_splits_evenly(prune):
    units = units_of(*[{0}] * 20, *[{1}] * 30)
    low, high = (subset_of(units, level=level, size=20, prune=prune) for level in (0, 1))
    assert low.columns["k_asked"] == low.columns["k_reached"] == 1
    assert len({row < 20 for row in low.indices}) == 1
    assert high.columns["k_reached"] == 2
    assert sum(row < 20 for row in high.indices) == 10


def test_label_token_budget_stops_when_it_is_filled():
    units = units_of(*[{0}] * 20, *[{1}] * 20)
    weights = np.tile([3.0, 7.0], 20)
    subset = subset_of(units, level=1, size=50, weights=weights)
    drawn = weights[subset.indices]
    assert drawn.sum() >= 50 > drawn[:-1].sum()


def test_a_budget_over_many_strata_is_overshot_by_one_response_at_most():
    units = units_of(*[{i % 5} for i in range(400)])
    weights = np.tile([20.0, 30.0, 40.0, 50.0], 100)
    subset = subset_of(
        units, level=1, size=500, weights=weights, match="source", sources=[f"s{i % 40}" for i in range(400)]
    )
    assert 500 <= weights[subset.indices].sum() < 550


def test_infeasible_size_says_the_largest_feasible():
    units = units_of(*[{0}] * 20, *[{1}] * 10)
    with pytest.raises(
        SftdivError,
        match=r"1.5 x 25 = 38 is more than the universe holds: 30 examples\. .*largest feasible size is 20 below",
    ):
        subset_of(units, level=0, size=25, slack=1.5)
    assert len(subset_of(units, level=0, size=20, slack=1.5)) == 20


def test_errors_name_what_is_wrong():
    units = units_of({0}, {0}, {0})
    with pytest.raises(SftdivError, match="holds 1 unit types; at least two"):
        subset_of(units, level=0, size=1)
    units = units_of({0}, {1}, {1})
    with pytest.raises(SftdivError, match=r"slack=0.5 is below 1"):
        subset_of(units, level=0, size=1, slack=0.5)
    with pytest.raises(SftdivError, match=r"match='lenght' is unknown. Did you mean 'length'"):
        subset_of(units, level=0, size=1, match="lenght")
    with pytest.raises(SftdivError, match="no selectable example is left"):
        build_universe({"heldout": np.ones(3, dtype=bool)}, lengths=np.ones(3), sources=["a"] * 3, match="none")


def test_left_out_counts_once_under_the_first_reason():
    masks = {"heldout": np.array([True, True, False, False]), "no_unit": np.array([True, False, True, False])}
    universe = build_universe(masks, lengths=np.ones(4), sources=["a"] * 4, match="none")
    assert universe.counts == {"heldout": 2, "no_unit": 1}
    assert universe.indices.tolist() == [3]


def test_matching_length_fixes_the_share_of_each_length():
    # Type t is held by examples of length 4 ** t: unmatched, level 0 is one length; matched, each length gives its
    # fifth at every level.
    units = units_of(*[{2 * (i // 20) + i % 2} for i in range(100)])
    lengths = [4 ** (i // 20) for i in range(100)]
    for level in (0, 1):
        subset = subset_of(units, level=level, size=25, match="length", lengths=lengths)
        assert np.unique(np.array(lengths)[subset.indices], return_counts=True)[1].tolist() == [5] * 5
    assert len(set(np.array(lengths)[subset_of(units, level=0, size=8, lengths=lengths).indices])) == 1


def test_strata_of_lengths_by_hand():
    # Steps of 1.25 from 1: 1, 2 and 3, 4, 5 to 6, 7 ...; 0 counts as 1.
    units = units_of(*[{0}] * 8, *[{1}] * 8)
    lengths = [0, 1, 2, 2, 3, 4, 5, 6] * 2
    assert everyone(units, match="length", lengths=lengths).strata.tolist() == [0, 0, 1, 1, 2, 3, 4, 5] * 2
    many = units_of(*[{0}] * 999, {1})  # a single long one joins the others
    assert set(everyone(many, match="length", lengths=[10] * 999 + [10_000]).strata) == {0}


@pytest.mark.parametrize(("match", "size"), [("length", 200), ("length", 1000), ("length+source", 1000)])
def test_matched_levels_agree_in_length_within_5_percent(match, size):
    """Types that rise with the length, as tokens do, and lengths with a long tail: unmatched means differ manifold."""
    rng = np.random.default_rng(0)
    lengths = np.ceil(rng.lognormal(4.5, 1.2, size=8000)).astype(int)
    common, rare = (
        rng.zipf(1.3, size=(8000, 3)) % 40,
        40 + (lengths[:, None] // 8 + rng.integers(0, 60, (8000, 3))) % 900,
    )
    units = units_of(*[set(row) for row in np.hstack([common, np.where(lengths[:, None] > 60, rare, common)]).tolist()])
    sources = [f"s{i % 3}" for i in range(8000)]
    means = {
        rule: [
            lengths[
                subset_of(
                    units, level=level, size=size, slack=1.5, match=rule, lengths=lengths, sources=sources
                ).indices
            ].mean()
            for level in (0, 1)
        ]
        for rule in ("none", match)
    }
    assert means["none"][1] > 1.5 * means["none"][0]
    assert abs(means[match][1] / means[match][0] - 1) < 0.05


def test_matching_source_gives_each_its_share():
    units = units_of(*[{i % 4} for i in range(40)])
    sources = ["big"] * 30 + ["small"] * 10
    subset = subset_of(units, level=0.5, size=11, match="source", sources=sources)
    assert sorted(np.unique(np.array(sources)[subset.indices], return_counts=True)[1].tolist()) == [
        3,
        8,
    ]  # 8.25 and 2.75 by largest remainder


def test_group_share_keeps_groups_whole_and_does_not_depend_on_the_others():
    groups = [f"g{i // 3}" for i in range(3000)]
    mask = group_share(groups, 0.3, salt="test:0")
    assert len(set(zip(groups, mask, strict=True))) == 1000
    assert 0.25 < mask.mean() < 0.35
    assert group_share(groups[:300], 0.3, salt="test:0").tolist() == mask[:300].tolist()
    assert (group_share(groups, 0.3, salt="test:1") != mask).any()
    assert not group_share(groups, 0.0, salt="x").any() and group_share(groups, 1.0, salt="x").all()
    with pytest.raises(SftdivError, match=r"replicate=1.5 must be a number in \[0, 1\]"):
        group_share(groups, 1.5, salt="replicate:0")


def test_the_ladders_own_noise_is_what_ties_decide():
    # Three types of two holders each: ties alone decide which type remains, and with it the pool.
    units = units_of({0}, {0}, {1}, {1}, {2}, {2})
    names = [[f"type{number}" for number in order] for order in ((0, 1, 2), (1, 2, 0))]
    ladders = [build_ladders(Units(units.matrix, each, {}), everyone(units), prune="support", seed=0) for each in names]
    settings = {"size": 1, "weights": np.ones(6), "k_min": 1, "slack": 1.0, "seed": 0}

    def columns(level, other):
        other_ladders = lambda: ladders[other]  # noqa: E731
        return choose(units, everyone(units), ladders[0], level=level, other_ladders=other_ladders, **settings).columns

    assert [columns(level, 0)["tie_jaccard"] for level in (0, 0.5, 1)] == [1, 1, 1]
    order, other = (each[0].type_order.tolist() for each in ladders)
    assert order != other
    expected = [
        len(set(order[gone:]) & set(other[gone:])) / len(set(order[gone:]) | set(other[gone:])) for gone in (2, 1)
    ]
    assert [columns(level, 1)["tie_jaccard"] for level in (0, 0.5)] == expected
    assert columns(1, 7)["tie_jaccard"] == 1  # not even asked for: ladders[7] does not exist


# --- one result -----------------------------------------------------------------------------------------------------

FROM_FILE = """
import json, sys
from pathlib import Path
import numpy as np
from sftdiv.data.build_corpus import load_corpus
from sftdiv.data.files_reader import FilesReader
from sftdiv.data.formats import Converter
from sftdiv.protocols import CorpusSide
from sftdiv.selection.choose import build_ladders, choose
from sftdiv.selection.universe import build_universe
from sftdiv.storage.cache import Store
from sftdiv.units.encoding import encode
from sftdiv.units.tokens import TokenUnits

converter = Converter(format="auto", id="id", source="source", columns=[], remove=[])
reader = FilesReader(path=sys.argv[1], max_row_bytes=10_000, converter=converter)
corpus = load_corpus(reader, Store(Path(sys.argv[2])), heldout=20, seed=0, on_bad_row="error")
texts, ids = corpus.column("response"), corpus.column("id")
side = CorpusSide(texts, lambda: encode(texts, "words"), embeddings=lambda: None, column=corpus.column)
units = TokenUnits(low=3, high=60, unit="occurrences", scale="absolute").extract(side)
left_out = {"heldout": np.array(corpus.column("heldout")), "no_unit": np.diff(units.matrix.indptr) == 0}
lengths, weights = np.array([len(text.split()) for text in texts]), np.ones(len(texts))
chosen = []
for match in ("none", "length"):
    universe = build_universe(left_out, lengths=lengths, sources=corpus.column("source"), match=match)
    ladders = build_ladders(units, universe, prune="support", seed=0)
    for level in (0, 0.5, 1):
        settings = {"level": level, "size": 100, "weights": weights, "k_min": "auto", "slack": 1.5, "seed": 0}
        subset = choose(units, universe, ladders, **settings)
        chosen.append([ids[row] for row in subset.indices])
print(json.dumps(chosen))
"""


def test_threads_and_the_order_of_the_file_change_nothing(tmp_path):
    rng = np.random.default_rng(0)
    said = [
        " ".join(f"w{word}" for word in rng.zipf(1.4, size=rng.integers(3, 20)) if word < 2000) or "none"
        for _ in range(600)
    ]
    lines = [
        json.dumps({"id": f"row{i}", "prompt": f"say {i % 400}", "completion": text}) for i, text in enumerate(said)
    ]
    chosen = []
    for name, order, threads in (("one", np.arange(600), "1"), ("two", rng.permutation(600), "2")):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(lines[i] for i in order))
        environment = os.environ | dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "RAYON_NUM_THREADS"), threads)
        command = [sys.executable, "-c", FROM_FILE, str(path), str(tmp_path / name)]
        chosen.append(json.loads(subprocess.run(command, check=True, capture_output=True, env=environment).stdout))
    assert chosen[0] == chosen[1]
    assert [len(set(ids)) for ids in chosen[0]] == [100] * 6
    assert len({tuple(ids) for ids in chosen[0]}) == 6


# --- invariants -----------------------------------------------------------------------------------------------------

corpora = st.lists(st.sets(st.integers(0, 7), max_size=4), min_size=12, max_size=40).filter(
    lambda held: len(set().union(*held)) >= 2
)


@settings(max_examples=60, deadline=None)
@given(held=corpora, prune=st.sampled_from(PRUNINGS), seed=st.integers(0, 5), share=st.floats(0.1, 0.6))
def test_subsets_are_exact_distinct_and_deterministic(held, prune, seed, share):
    units = units_of(*held, set())
    universe = everyone(units)
    size = max(1, int(share * len(universe.indices)))
    for level in (0, 0.5, 1):
        subset = subset_of(units, level=level, size=size, prune=prune, seed=seed)
        assert len(subset) == size == len(set(subset.indices.tolist()))
        assert set(subset.indices) <= set(universe.indices)
        assert subset.columns["k_reached"] <= subset.columns["k_asked"] <= subset.columns["k_max"]
        again = subset_of(units, level=level, size=size, prune=prune, seed=seed)
        assert again.indices.tolist() == subset.indices.tolist()


@settings(max_examples=60, deadline=None)
@given(held=corpora, seed=st.integers(0, 5))
def test_support_pruning_equals_the_naive_one(held, seed):
    held = [types for types in held if types]
    units = units_of(*held)
    ties = tie_ranks(units.names, seed=seed)
    live, order = list(held), []
    while live:
        support = {t: sum(t in types for types in live) for t in set().union(*held) - set(order)}
        gone = min(support, key=lambda t: (support[t], ties[t]))
        order.append(gone)
        live = [types for types in live if gone not in types]
    ladder = build_ladder(units.matrix, ties, prune="support")
    assert ladder.type_order.tolist()[: len(order)] == order
    assert ladder.example_step.tolist() == [1 + min(order.index(t) for t in types if t in order) for types in held]


@settings(max_examples=60, deadline=None)
@given(held=corpora, seed=st.integers(0, 5), batch=st.sampled_from([0.2, 0.5, 1.0]))
def test_pruning_in_rounds_equals_the_naive_one(held, seed, batch):
    held = [types for types in held if types]
    units = units_of(*held)
    ties = tie_ranks(units.names, seed=seed)
    live, remaining, order = list(held), set().union(*held), []
    while remaining:
        support = {t: sum(t in types for types in live) for t in remaining}
        ranked = sorted(remaining, key=lambda t: (support[t], ties[t]))
        gone = ranked[: max(1, int(batch * len(ranked)))]
        order += gone
        remaining -= set(gone)
        live = [types for types in live if not types & set(gone)]
    ladder = build_ladder(units.matrix, ties, prune="support", batch=batch)
    assert ladder.type_order.tolist() == order
    assert ladder.example_step.tolist() == [1 + min(map(order.index, types)) for types in held]


@settings(max_examples=30, deadline=None)
@given(held=corpora, prune=st.sampled_from(PRUNINGS), data=st.data())
def test_a_ladder_of_some_rows_is_that_of_their_matrix(held, prune, data):
    held = [types for types in held if types]
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, len(held) - 1), min_size=1))))
    units = units_of(*held)
    ties = tie_ranks(units.names, seed=0)
    some = build_ladder(units.matrix, ties, prune=prune, rows=rows)
    alone = build_ladder(units.matrix[rows], ties, prune=prune)
    assert some.type_order.tolist() == alone.type_order.tolist()
    assert some.example_step.tolist() == alone.example_step.tolist()


@settings(max_examples=60, deadline=None)
@given(held=corpora, prune=st.sampled_from(PRUNINGS))
def test_pools_are_nested_and_hold_live_types_only(held, prune):
    units = units_of(*held)
    matrix = units.matrix[everyone(units).indices]
    ladder = build_ladder(matrix, tie_ranks(units.names, seed=0), prune=prune)
    assert sorted(ladder.type_order.tolist()) == sorted(np.unique(matrix.indices).tolist())
    pools = [set(ladder.pool(k).tolist()) for k in range(1, ladder.k_max + 1)]
    assert pools[-1] == set(range(matrix.shape[0]))
    for k, (smaller, larger) in enumerate(zip([set(), *pools], pools, strict=False), start=1):
        assert smaller <= larger
        assert set(matrix[sorted(larger)].indices) <= set(ladder.type_order[ladder.k_max - k :].tolist())


def test_reached_types_rise_with_the_level():
    rng = np.random.default_rng(0)
    popularity = 1 / np.arange(1, 201)
    held = [set(rng.choice(200, size=4, replace=False, p=popularity / popularity.sum()).tolist()) for _ in range(3000)]
    units = units_of(*held)
    reached = [
        subset_of(units, level=level, size=300, slack=1.5).columns["k_reached"] for level in (0, 0.25, 0.5, 0.75, 1)
    ]
    assert reached == sorted(set(reached))
    assert reached[-1] == 200


def test_a_type_that_several_strata_hold_counts_once_in_the_distinct_types():
    """Two sources with the same three types: k is summed over both, types.pool counts each type once."""
    held = [{0}, {0}, {0}, {0, 1}, {1, 2}] * 2
    units = units_of(*held)
    matched = subset_of(units, level=1, size=6, match="source", sources=["a"] * 5 + ["b"] * 5)
    assert (matched.columns["k_max"], matched.columns["types.pool"]) == (6, 3)
    unmatched = subset_of(units, level=1, size=6)
    assert unmatched.columns["k_max"] == unmatched.columns["types.pool"] == 3
    lowest = subset_of(units, level=0, size=4, match="source", sources=["a"] * 5 + ["b"] * 5)
    assert (lowest.columns["k_asked"], lowest.columns["types.pool"]) == (2, 1)
