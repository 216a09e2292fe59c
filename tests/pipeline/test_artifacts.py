"""Where the stages meet: what the base model has read is never selected, and a change rebuilds only what
depends on it."""

import json

import numpy as np
import pytest

from sftdiv.config.from_python import compose_run
from sftdiv.diversity.equal_tokens import COLUMNS as EQUAL_TOKENS
from sftdiv.pipeline import cell_files, stages, subset_diversity
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.records import SftdivError
from sftdiv.storage.cache import Store


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    topics = ["river", "bread", "stone", "cloud"]
    rows = [
        {
            "instruction": f"Tell me about the {topics[i % 4]} number {i % 300}.",
            "output": f"The {topics[i % 4]} {i} is {'very ' * (i % 5)}old.",
        }
        for i in range(600)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def artifacts_of(tmp_path, pairs, *overrides):
    small = [
        "corpus=files",
        f"corpus.path={pairs}",
        "model=scratch_3m",
        "model.vocabulary=400",
        "corpus.heldout=30",
        "size.n=50",
        "embedder=lsa",
    ]
    spec = compose_run([*small, "corpus.band.high=600", *overrides]).spec
    return RunArtifacts(spec, Store(tmp_path / "cache"))


def universe_of(artifacts):
    units = artifacts.data.units(artifacts.spec.strategy)
    return stages.find_universe(artifacts.spec, artifacts, units)


def selected(artifacts):
    """The units and the selection of a run."""
    units = artifacts.data.units(artifacts.spec.strategy)
    return units, stages.select(artifacts.spec, artifacts, units, universe_of(artifacts))


def test_what_the_base_reads_is_disjoint_from_the_universe_and_the_heldout(tmp_path, pairs):
    artifacts = artifacts_of(tmp_path, pairs, "strategy=random")
    universe = universe_of(artifacts)
    groups = np.array(artifacts.data.corpus.column("group"))
    heldout = np.array(artifacts.data.corpus.column("heldout"))
    read, chosen, held = (set(groups[rows]) for rows in (artifacts.read_by_base, universe.indices, heldout))
    assert read and chosen and held
    assert not read & chosen and not read & held and not chosen & held
    assert 0.15 < artifacts.read_by_base.mean() < 0.45
    texts = set(artifacts._pretraining_texts(artifacts.spec.model.pretrain))
    assert len(texts) == artifacts.read_by_base.sum()
    assert not texts & {
        f"{artifacts.data.texts('instruction')[i]}\n{artifacts.data.texts('response')[i]}" for i in universe.indices
    }


def test_filters_say_whom_they_left_out(tmp_path, pairs):
    artifacts = artifacts_of(
        tmp_path, pairs, "strategy=random", "selection.response_tokens=[1,9]", "selection.universe_share=0.5"
    )
    universe = universe_of(artifacts)
    lengths = artifacts.data.token_ids("response", artifacts.tokenizer).lengths()
    assert lengths[universe.indices].max() <= 9
    assert universe.counts["response_tokens"] > 0 and universe.counts["universe_share"] > 0
    assert sum(universe.counts.values()) + len(universe.indices) == len(artifacts.data.corpus)


def built(tmp_path):
    return {
        path.relative_to(tmp_path / "cache").parent.as_posix() for path in (tmp_path / "cache").rglob("manifest.json")
    }


def test_a_change_rebuilds_only_what_depends_on_it(tmp_path, pairs):
    def make(*overrides):
        artifacts = artifacts_of(tmp_path, pairs, "strategy=random", *overrides)
        selected(artifacts)
        artifacts.data.token_ids("response", artifacts.tokenizer)
        return built(tmp_path)

    first = make("diversity_level=0.5")  # below level 1, where another order of ties has a ladder too
    assert make("model.finetune.learning_rate=0.1", "seed=7", "diversity_level=0.3") == first == make()
    assert {each.split("/")[0] for each in make("seed.ladder=3") - first} == {"ladders"}
    assert {each.split("/")[0] for each in make("model.vocabulary=420") - first} >= {"tokenizer", "token_ids"}


def test_replicates_have_ladders_of_their_own_and_seeds_share_one(tmp_path, pairs):
    def kept(*overrides):
        ladder = ["corpus.band.low=1", "selection.universe_share=0.5", "diversity_level=0.3"]
        artifacts = artifacts_of(tmp_path, pairs, *ladder, *overrides)
        units, selection = selected(artifacts)
        return universe_of(artifacts).indices.tolist(), set(units.matrix[selection.indices].indices.tolist())

    (first, types), (same, _), (other, other_types) = kept(), kept("seed=1"), kept("replicate=1")
    assert first == same and set(first) != set(other)
    assert types != other_types


def test_a_score_column_is_matched_in_quintiles_at_every_level(tmp_path, pairs):
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    scores = np.random.default_rng(0).normal(size=len(rows)).tolist()
    scored = [row | {"score": None if i % 10 == 0 else scores[i]} for i, row in enumerate(rows)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in scored))
    columns = ["corpus.columns=[score]", "strategy=random", "embedder=none", "selection.slack=1.2"]

    def quintiles(level):
        match = ["selection.match=quality", "selection.quality=score", f"diversity_level={level}"]
        artifacts = artifacts_of(tmp_path, pairs, *columns, *match)
        _, selection = selected(artifacts)
        known = np.array(artifacts.data.corpus.column("score"), dtype=float)
        universe = known[universe_of(artifacts).indices]
        edges = np.nanquantile(universe, [0.2, 0.4, 0.6, 0.8], method="higher")
        drawn = known[selection.indices]
        counts = np.bincount(np.searchsorted(edges, drawn[~np.isnan(drawn)], side="right"), minlength=5)
        return [int(np.isnan(drawn).sum()), *counts.tolist()]

    assert quintiles(0) == quintiles(1)  # the missing scores are a stratum too
    assert min(quintiles(0)) >= 4 and sum(quintiles(0)) == 50
    with pytest.raises(SftdivError, match=r"needs the name of a numeric column: selection.quality=COLUMN"):
        artifacts_of(tmp_path, pairs, "selection.match=quality")
    with pytest.raises(SftdivError, match=r"selection.quality=instruction must be a column of numbers; it holds 'Tell"):
        universe_of(
            artifacts_of(tmp_path, pairs, *columns, "selection.match=length+quality", "selection.quality=instruction")
        )


def test_a_subset_may_hold_one_example_of_each_text(tmp_path, pairs):
    def distinct(*overrides):
        artifacts = artifacts_of(tmp_path, pairs, "strategy=random", "embedder=none", *overrides)
        units, selection = selected(artifacts)
        columns = subset_diversity.diversity(artifacts.spec, artifacts, units, selection)["subset"]["distinct"]
        return universe_of(artifacts).counts.get("max_per_group", 0), columns

    left_out, columns = distinct("selection.max_per_group=1", "strategy.side=instruction")
    assert left_out > 100 and columns["instruction"] == 50  # 600 pairs hold 300 instructions
    assert distinct("selection.max_per_group=1")[0] == 0  # and 600 responses
    assert distinct("selection.max_per_group=1", "selection.group_by=both")[1] == {"instruction": 50, "response": 50}
    assert distinct()[1]["instruction"] < 50


def ids_of(artifacts):
    _, selection = selected(artifacts)
    return [artifacts.data.corpus.column("id")[row] for row in selection.indices]


@pytest.mark.parametrize("strategy", ["micro_token", "random"])
@pytest.mark.parametrize("match", ["none", "length"])
def test_the_order_of_the_corpus_does_not_matter(tmp_path, pairs, strategy, match):
    lines = pairs.read_text().splitlines(keepends=True)
    turned = tmp_path / "turned.jsonl"
    turned.write_text("".join(lines[i] for i in np.random.default_rng(0).permutation(len(lines))))
    rules = [
        f"strategy={strategy}",
        f"selection.match={match}",
        "diversity_level=0.5",
        "strategy.side=response",
        "corpus.band.low=1",
    ]
    first, second = (ids_of(artifacts_of(tmp_path / path.stem, path, *rules)) for path in (pairs, turned))
    assert first == second
    assert len(set(first)) == 50


@pytest.mark.parametrize("side", ["instruction", "response"])
@pytest.mark.parametrize("strategy", ["macro_topic", "meso_tag", "micro_token"])
def test_units_rise_with_the_level_for_every_strategy(tmp_path_factory, strategy, side):
    cache = tmp_path_factory.getbasetemp() / "worlds"
    entropies, reached = [], []
    for level in (0, 0.5, 1):
        small = [
            "corpus.samples=4000",
            "size.n=400",
            f"strategy={strategy}",
            f"strategy.side={side}",
            f"diversity_level={level}",
        ]
        artifacts = RunArtifacts(compose_run(small).spec, Store(cache))
        units, selection = selected(artifacts)
        measured = subset_diversity.diversity(artifacts.spec, artifacts, units, selection)["diversity"]["units"]
        assert len(set(selection.indices.tolist())) == 400
        entropies.append(measured["entropy"])
        reached.append(measured["types"])
    assert entropies == sorted(set(entropies)) and reached == sorted(set(reached))


def test_an_unknown_column_and_source_name_the_known(tmp_path, pairs):
    message = r"strategy.column=tags .* add corpus.columns=\[task,tags\]. Known: id, messages, .*, task"
    with pytest.raises(SftdivError, match=message):  # before the corpus is read
        artifacts_of(tmp_path, pairs, "strategy=meso_tag", "strategy/tagger=column", "corpus.columns=[task]")
    with pytest.raises(SftdivError, match=r"selection.quality=score .* add corpus.columns=\[score\]"):
        artifacts_of(tmp_path, pairs, "selection.match=quality", "selection.quality=score")
    artifacts = artifacts_of(tmp_path, pairs, "strategy=random", "selection.sources=[web]")
    with pytest.raises(SftdivError, match=r"selection.sources names web; the corpus has: none; .*source_column"):
        stages.find_units(artifacts.spec, artifacts)


def test_what_counts_as_a_duplicate_is_a_setting(tmp_path):
    # two equal rows, and a long one of which a single word differs: 1 - 5 / 37 of their shingles of five
    # words are shared
    long = " ".join(f"word{i}" for i in range(40))
    pairs = [
        ("Say a.", "a"),
        ("Say a.", "a"),
        (long, long),
        (long.replace("word20", "other"), long),
        *((f"Say {i}.", str(i)) for i in range(40)),
    ]
    path = tmp_path / "twice.jsonl"
    path.write_text(
        "".join(json.dumps({"instruction": instruction, "output": output}) + "\n" for instruction, output in pairs)
    )
    kept = {
        dedup: len(
            artifacts_of(
                tmp_path, path, f"corpus.dedup={dedup}", "corpus.heldout=0", "corpus.near.threshold=0.7"
            ).data.corpus
        )
        for dedup in ("none", "exact", "near")
    }
    assert kept == {"none": 44, "exact": 43, "near": 42}


def test_metrics_of_a_subset_are_a_setting(tmp_path, pairs):
    def columns(*overrides):
        artifacts = artifacts_of(tmp_path, pairs, "strategy=random", *overrides)
        units, selection = selected(artifacts)
        return subset_diversity.diversity(artifacts.spec, artifacts, units, selection)["diversity"]["response"]

    paper = {"embedding_distance", "length", "compression_ratio", "self_bleu", "entropy", "ngram_ratio"} | {
        f"ngram_ratio_{n}" for n in range(1, 5)
    }
    paper |= (always := {f"{name}_at_tokens" for name in EQUAL_TOKENS})
    lsa = "embedder.max_share=1.0"
    assert set(columns(lsa)) == paper
    assert set(columns("embedder=none")) == paper - {"embedding_distance"}
    assert {"vendi", "novel_sum", "mtld", "log_determinant", "homogenisation"} < set(
        columns(lsa, "diversity.metrics=all")
    )
    assert set(columns("embedder=none", "diversity.metrics=[length,mtld]")) == always | {
        "length",
        "mtld",
        "mtld_pooled",
    }


def test_how_the_embeddings_were_made_is_told(tmp_path, pairs):
    artifacts = artifacts_of(tmp_path, pairs, "embedder.max_share=1.0")
    told = subset_diversity.counting_columns(artifacts, np.arange(50))
    assert told["embeddings"]["instruction"]["model"] == "lsa" and told["tokenizer"]["files"]


def test_the_map_of_tags_can_be_edited_and_given_back(tmp_path, pairs):
    def units_of(*overrides):
        artifacts = artifacts_of(
            tmp_path, pairs, "strategy=meso_tag", "strategy.units.tagger.max_share=1.0", *overrides
        )
        return artifacts.data.units(artifacts.spec.strategy)

    units = units_of()
    cell_files.write_tag_map(units, tmp_path)
    path = tmp_path / "tag_map.csv"
    kept = units_of(f"strategy.units.tag_map={path}")
    assert (list(kept.names), (kept.matrix != units.matrix).nnz) == (list(units.names), 0)
    path.write_text(path.read_text().replace("river number,river number", "river number,water"))
    renamed = units_of(f"strategy.units.tag_map={path}")
    assert "water" in renamed.names and "river number" not in renamed.names
