"""Common axes of a subset and its distinct unit types: the same for every strategy, side and match."""

import json

import numpy as np
import pytest

from sftdiv.config.from_python import compose_run
from sftdiv.diversity.vendi import vendi_score
from sftdiv.pipeline import axes as common_axes
from sftdiv.pipeline import stages
from sftdiv.pipeline.axes import MIN_OCCURRENCES, axes, pair_coverage, reference_rows, word_types
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.storage.cache import Store
from sftdiv.units.encoding import encode

SMALL = ("corpus.samples=600", "corpus.heldout=50", "size.n=60", "corpus.band.low=3")
TOKENS = ("strategy=micro_token", "strategy.tokenizer=lexical")


def artifacts_of(cache, *overrides):
    return RunArtifacts(compose_run([*SMALL, *overrides]).spec, Store(cache))


def columns_of(artifacts):
    units = artifacts.data.units(artifacts.spec.strategy)
    universe = stages.find_universe(artifacts.spec, artifacts, units)
    selection = stages.select(artifacts.spec, artifacts, units, universe)
    return stages.selection_columns(universe, units, selection), axes(artifacts.data, selection.indices), selection


def test_distinct_words_by_hand():
    instructions = encode(["Cat dog 7 !", *["cat dog bird 7"] * 5, "cat"], "lexical")
    responses = encode(["Bird", *[""] * 6], "lexical")
    # in the corpus: cat 7 times and dog 6 (case-folded), bird 6 over both sides; 7 and ! are no words
    assert MIN_OCCURRENCES == 5
    assert word_types([instructions, responses], np.array([0])) == 3
    assert word_types([instructions, responses], np.array([6])) == 1
    rare = encode(["only once", *["cat"] * 5], "lexical")
    assert word_types([rare], np.array([0, 1])) == 1


def test_pairs_of_topic_and_skill_by_hand():
    assert pair_coverage(["a", "a", "b", "a"], ["x", "y", "x", "x"], possible=12) == 3 / 12


def test_the_reference_is_the_same_for_all_runs_and_moves_little_with_the_corpus(monkeypatch):
    monkeypatch.setattr(common_axes, "REFERENCE", 10)
    ids = [f"id{number}" for number in range(40)]
    rows = reference_rows(ids)
    assert len(rows) == 10 and rows.tolist() == sorted(rows.tolist())
    backwards = reference_rows(ids[::-1])
    assert {ids[row] for row in rows} == {ids[::-1][row] for row in backwards}
    assert reference_rows(ids[:7]).tolist() == list(range(7))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_axes_of_the_synthetic_corpus_are_measured_alike_for_all_strategies(cache):
    for overrides in (
        (*TOKENS, "strategy.side=response", "diversity_level=0"),
        (*TOKENS, "strategy.side=instruction", "selection.match=length"),
        ("strategy=random",),
    ):
        artifacts = artifacts_of(cache, *overrides)
        types, on_axes, selection = columns_of(artifacts)
        assert set(on_axes) == {"types", "vendi", "coverage", "true_coverage"}
        table = artifacts.data.corpus.table.select(selection.indices)
        lexicon = artifacts.spec.corpus.reader.world.lexicon
        pairs = set(zip(table["topic"], table["skill"], strict=True))
        assert on_axes["true_coverage"] == len(pairs) / (len(lexicon.topics) * len(lexicon.skills))
        again = axes(artifacts.data, selection.indices[::-1])
        assert again == pytest.approx(on_axes, rel=1e-12)
        assert types["types"]["share"] == types["types"]["subset"] / types["types"]["universe"]
        whole = axes(artifacts.data, np.arange(len(artifacts.data.corpus)))
        assert whole["coverage"] == pytest.approx(1, abs=1e-6)
        assert all(whole[name] >= on_axes[name] for name in on_axes)


def test_vendi_and_coverage_are_of_both_sides(cache):
    artifacts = artifacts_of(cache)
    rows = np.arange(0, 300, 3)
    both = np.hstack([np.asarray(artifacts.data.embeddings(side)[rows]) for side in ("instruction", "response")])
    assert axes(artifacts.data, rows)["vendi"] == pytest.approx(vendi_score(both * np.float32(0.5**0.5)), rel=1e-6)


def test_without_an_embedder_or_a_known_world_the_words_remain(tmp_path):
    path = tmp_path / "pairs.jsonl"
    lines = [{"instruction": f"Say word{i % 7} now.", "output": f"word{i % 7} {i}"} for i in range(80)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = ("strategy=random", "corpus=files", f"corpus.path={path}", "corpus.heldout=0", "embedder=none")
    artifacts = RunArtifacts(compose_run([*settings, "size.n=20", "stop_after=select"]).spec, Store(tmp_path / "cache"))
    assert list(axes(artifacts.data, np.arange(10))) == ["types"]


def test_matched_the_share_of_types_is_that_of_distinct_types(cache):
    types, _, _ = columns_of(artifacts_of(cache, *TOKENS, "selection.match=length", "diversity_level=0"))
    assert types["types"]["universe"] < types["k_max"]  # most types stand in several strata
    assert types["types"]["subset"] <= types["types.pool"] <= types["types"]["universe"]
    assert types["types"]["share"] > 1.15 * types["k_asked"] / types["k_max"]
