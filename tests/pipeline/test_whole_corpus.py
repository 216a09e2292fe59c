"""What is selected from, and what stands beside it: all rows without training, a random draw, matched lengths."""

import json
import logging
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

import sftdiv
from sftdiv.config.from_python import compose_run
from sftdiv.diversity.embedding_distance import embedding_distance
from sftdiv.pipeline import axes, stages
from sftdiv.pipeline.left_out import left_out_text
from sftdiv.pipeline.result_table import result_lines
from sftdiv.pipeline.run_artifacts import RunArtifacts
from sftdiv.pipeline.subset_diversity import counting_columns, diversity, match_columns, random_diversity
from sftdiv.records import Embeddings
from sftdiv.storage.cache import Store

SMALL = ["corpus=files", "size.n=60", "corpus.band.low=1", "corpus.band.high=900", "embedder=none"]
TOPICS = ["river", "bread", "stone", "cloud", "violin", "harbour", "garden", "engine"]
ROWS = [
    {
        "instruction": f"Tell me about the {TOPICS[i % 8]} number {i % 300}.",
        "output": f"The {TOPICS[i % 8]} {i} is {'very ' * (i % 50)}{i * i}.",
    }
    for i in range(1000)
]


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.setenv("SFTDIV_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def artifacts_of(path, *overrides):
    spec = compose_run([*SMALL, f"corpus.path={path}", *overrides]).spec
    return RunArtifacts(spec, Store(path.parent / "cache"))


def chosen(artifacts):
    """Units, universe and selection of a run."""
    units = artifacts.data.units(artifacts.spec.strategy)
    universe = stages.find_universe(artifacts.spec, artifacts, units)
    return units, universe, stages.select(artifacts.spec, artifacts, units, universe)


@pytest.mark.parametrize("model", ["scratch_3m", "scratch_30m"])
def test_without_training_every_row_may_be_selected(pairs, model):
    artifacts = artifacts_of(pairs, "stop_after=select", f"model={model}")
    _, universe, selection = chosen(artifacts)
    assert len(universe.indices) == len(ROWS) and not any(universe.counts.values())
    assert len(selection) == 60 and artifacts.tokenizer.path == "lexical"
    assert not list((pairs.parent / "cache").glob("tokenizer/*"))  # none is trained for a model that is not there


def test_what_is_asked_for_is_left_out_even_without_training(pairs):
    _, universe, _ = chosen(
        artifacts_of(pairs, "stop_after=select", "corpus.heldout=40", "selection.universe_share=0.5")
    )
    assert universe.counts["heldout"] == 40 and universe.counts["universe_share"] > 300


def test_selecting_alone_and_selecting_to_train_are_other_cells(tmp_path, monkeypatch):
    """They draw from other universes, and with a model from scratch they count other tokens."""
    overrides = ["corpus=hub", "corpus.path=x", "model=smollm2_135m"]
    trained, selected = (compose_run([*overrides, *more]).spec for more in ([], ["stop_after=select"]))
    assert (trained.corpus.heldout, selected.corpus.heldout) == (1000, 0)
    assert trained.corpus.identity() != selected.corpus.identity()
    assert selected.model.ref == trained.model.ref  # a ready tokenizer stays
    scratch = compose_run(["corpus=hub", "corpus.path=x", "stop_after=select"]).single_cell().name
    assert scratch.startswith("micro_token-response-n2000-d1-lexical-s0")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lexical").mkdir()  # a folder of that name is another thing
    assert compose_run(["corpus=hub", "corpus.path=x", "stop_after=select"]).single_cell().name == scratch


def test_the_python_api_uses_every_row(pairs):
    subset = sftdiv.select(pairs, n=1000, corpus__band__low=1, corpus__band__high=900)
    assert subset.report["universe"] == len(subset) == len(set(subset.indices.tolist())) == len(ROWS)


def test_training_says_first_what_is_left_out(pairs):
    artifacts = artifacts_of(pairs, "model=scratch_3m", "model.vocabulary=400", "corpus.heldout=40", "strategy=random")
    _, universe, _ = chosen(artifacts)
    row = {"universe": len(universe.indices)} | {f"left_out.{name}": count for name, count in universe.counts.items()}
    read = universe.counts["read_by_base"]
    assert 200 < read < 400
    assert left_out_text(row | {"corpus.count.duplicates": 250}) == (
        f"{read + 290:,} ({(read + 290) / 1250:.1%}) of 1,250 rows: duplicates 250 (20.0%), "
        f"held out for evaluation (corpus.heldout) 40 (3.2%), "
        f"read by the base model (model.pretrain_share) {read} ({read / 1250:.1%})"
    )
    assert left_out_text({"universe": 5, "left_out.no_unit": 0}) is None


def test_a_random_draw_of_the_same_size_stands_beside_the_selection(pairs):
    """Many rows share an instruction: level 1 of response tokens holds fewer distinct ones than the file could give."""
    subset = sftdiv.select(pairs, n=60, level=1, corpus__band__low=1, corpus__band__high=900)
    report = subset.report
    assert report["random.n"] == 60
    same = {key for key in report if key.startswith(("diversity.", "subset.", "axis.")) and "share" not in key}
    assert {f"random.{key}" for key in same} == {
        key for key in report if key.startswith("random.") and "share" not in key and key != "random.n"
    }
    assert report["subset.distinct.instruction"] == len(set(subset.dataset["instruction"][:])) <= 60
    assert report["random.subset.distinct.response"] == 60
    assert list(subset.table.columns) == ["subset", "random"]
    assert subset.table.loc[("response", "length"), "random"] == report["random.diversity.response.length"]
    levels = sftdiv.ladder(pairs, n=60, levels=[0, 1], corpus__band__low=1, corpus__band__high=900)
    draws = [{key: value for key, value in level.report.items() if key.startswith("random.")} for level in levels]
    assert draws[0] == draws[1]  # one draw for the whole ladder


def test_the_random_draw_is_uniform_and_has_the_size_of_a_token_budget(pairs):
    artifacts = artifacts_of(pairs, "stop_after=select", "size.label_tokens=500", "diversity.metrics=[length]")
    units, universe, selection = chosen(artifacts)
    of_draw = random_diversity(artifacts.spec, artifacts, units, universe, selection)["random"]
    tokens = of_draw["n"] * (of_draw["diversity"]["response"]["length"] + 1)
    assert 500 <= tokens < 500 + 60
    everything = artifacts_of(pairs, "stop_after=select", "size.n=all")
    assert random_diversity(everything.spec, everything, *chosen(everything)) == {}


def test_the_terminal_shows_both_and_says_what_the_level_means(tmp_path):
    row = {"cell": "c", "n": 2, "strategy": "s", "side": "response", "level": 1, "match": "length", "pool": 4}
    row |= {"universe": 8, "k_asked": 2, "k_max": 2, "k_min": 1, "k_reached": 1, "primary": None, "random.n": 2}
    row |= {"diversity.units.per_example": 1.0, "diversity.units.entropy": 1.0, "random.diversity.units.entropy": 0.5}
    row |= {"subset.distinct.instruction": 1, "subset.distinct.response": 2, "random.subset.distinct.instruction": 2}
    row |= {"random.subset.distinct.response": 2, "left_out.heldout": 2, "config.stop_after": "select"}
    row |= {"match_tokens.subset": 103.0, "match_tokens.universe": 100.0}
    lines = result_lines(row, tmp_path)
    assert lines[0] == "left out  2 (20.0%) of 10 rows: held out for evaluation (corpus.heldout) 2 (20.0%)"
    assert [line.split() for line in lines[1:3]] == [
        ["diversity", "instruction", "random", "response", "random"],
        ["distinct", "texts", "1", "2", "2", "2"],
    ]
    shown = {line.split()[0]: " ".join(line.split()[1:]) for line in lines[3:]}
    assert shown["level"] == "1 = all unit types allowed, drawn evenly; not the most distinct instructions"
    assert shown["units"] == "1.0 per example, entropy 1.00 bits (random draw: 0.50)"
    assert shown["lengths"] == "103.0 tokens per response, universe 100.0 (+3.0%)"
    assert shown["training"].startswith("none; a run that trains is another cell and may draw another subset")


CHINESE = "春眠不觉晓处处闻啼鸟夜来风雨声花落知多少床前明月光疑是地上霜举头望明月低头思故乡"


@pytest.mark.parametrize("unspaced", [False, True])
def test_lengths_are_matched_in_tokens_in_every_script(tmp_path, unspaced, caplog):
    """Long responses hold rarer types; five quintiles of words between white space would be one stratum in Chinese."""
    rng = np.random.default_rng(0)
    letters = np.array(list(CHINESE)) if unspaced else np.array([f"word{i}" for i in range(40)])
    lengths = np.ceil(rng.lognormal(3, 1, size=2000)).astype(int)
    join = "" if unspaced else " "
    rows = [
        {"instruction": f"{i}", "output": join.join(letters[rng.zipf(1.2, size=n) % min(len(letters), 3 + n)])}
        for i, n in enumerate(lengths)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ["stop_after=select", "size.n=400", "strategy=meso_tag", "strategy.side=response"]
    means = []
    for level in (0, 1):
        overrides = [*settings, "selection.match=length", "corpus.band.low=1", f"diversity_level={level}"]
        artifacts = artifacts_of(path, *overrides)
        units, universe, selection = chosen(artifacts)
        assert len(set(universe.strata.tolist())) > 10
        means.append(match_columns(artifacts, universe, selection)["match_tokens"]["subset"])
        assert diversity(artifacts.spec, artifacts, units, selection)["diversity"]["response"]["length"] == means[-1]
    assert abs(means[1] / means[0] - 1) < 0.05
    assert not caplog.records


def test_a_difference_in_length_that_is_left_is_said(pairs, caplog):
    artifacts = artifacts_of(pairs, "stop_after=select", "selection.match=length", "size.n=2")
    _, universe, selection = chosen(artifacts)
    with caplog.at_level(logging.WARNING):
        columns = match_columns(artifacts, universe, selection)["match_tokens"]
    gap = columns["subset"] / columns["universe"] - 1
    assert abs(gap) > 0.025 and f"({100 * gap:+.1f} %)" in caplog.text


@dataclass(frozen=True)
class CountingEmbedder:
    """Vectors by a hash of the text; remembers what it embedded."""

    embedded: list[list[str]] = field(default_factory=list)

    def identity(self):
        return {"kind": "counting"}

    def embed(self, texts, partial):
        self.embedded.append(list(texts))
        vectors = np.array([np.random.default_rng(sum(map(ord, text))).normal(size=8) for text in texts])
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return Embeddings(unit.astype(np.float32), {"model": "counting", "distinct": len(set(texts))})


@pytest.mark.parametrize("strategy", ["macro_topic", "micro_token"])
def test_only_the_subset_is_embedded_on_a_side_without_topics(pairs, strategy, monkeypatch):
    monkeypatch.setattr(axes, "REFERENCE", 100)
    embedder = CountingEmbedder()
    overrides = ["stop_after=select", f"strategy={strategy}", "embedder=lsa", "size.n=60"]
    if strategy == "macro_topic":
        overrides += ["strategy/clusterer=kmeans", "strategy.units.stability.seeds=0"]
    spec = replace(compose_run([*SMALL[:-1], f"corpus.path={pairs}", *overrides]).spec, embedder=embedder)
    artifacts = RunArtifacts(spec, Store(pairs.parent / "cache"))
    units, universe, selection = chosen(artifacts)
    measured = diversity(spec, artifacts, units, selection)["diversity"]
    random_diversity(spec, artifacts, units, universe, selection)
    responses = [texts for texts in embedder.embedded if texts[0].startswith("The ")]
    instructions = [texts for texts in embedder.embedded if texts[0].startswith("Tell ")]
    assert [len(texts) for texts in responses] == [60, 100, 60]  # subset, reference of axis.coverage, random draw
    whole_side = [len(texts) > 200 for texts in instructions]
    assert whole_side == ([True] if strategy == "macro_topic" else [False] * 3)
    told = counting_columns(artifacts, selection.indices)["embeddings"]
    assert told["response"]["distinct"] == 60 and len(responses) == 3  # read from the cache
    whole = embedder.embed(artifacts.data.texts("response"), pairs.parent).vectors[selection.indices]
    expected = embedding_distance(whole)
    assert measured["response"]["embedding_distance"] == pytest.approx(expected, rel=1e-6)


def test_a_large_subset_shares_one_pass_over_the_corpus(pairs):
    embedder = CountingEmbedder()
    spec = replace(compose_run([*SMALL, f"corpus.path={pairs}", "stop_after=select"]).spec, embedder=embedder)
    artifacts = RunArtifacts(spec, Store(pairs.parent / "cache"))
    assert artifacts.data.embeddings_of("response", np.arange(251)).vectors.shape == (251, 8)
    assert [len(texts) for texts in embedder.embedded] == [1000]
