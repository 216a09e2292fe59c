"""The registry of metrics: what it knows without heavy imports, and how a user's own metric joins it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from sftdiv.diversity.equal_tokens import COLUMNS as EQUAL_TOKENS
from sftdiv.diversity.metric import DECLARED, metric
from sftdiv.diversity.registry import FAMILIES, METRICS, PAPER, PAPER_METRICS, describe, detail_columns, metric_families
from sftdiv.diversity.text_set import TextSet
from sftdiv.records import SftdivError, TokenIds

HEAVY = {"numba", "scipy", "sklearn", "pandas", "torch", "transformers"}
TOKENS = TokenIds(np.array([0, 1, 0, 2], dtype=np.int32), np.array([0, 3, 4]), ["a", "b", "c"])
TEXTS = ["a b a", "c"]


@pytest.fixture
def restored() -> Iterator[None]:
    """Declarations as they were, after a test that adds some."""
    kept = [dict(families) for families in vars(DECLARED).values()]
    yield
    for families, before in zip(vars(DECLARED).values(), kept, strict=True):
        families.clear()
        families.update(before)


def declare_vocabulary() -> None:
    @metric(
        "vocabulary",
        {"vocabulary": "Vocabulary (types)", "vocabulary_share": "Types per token"},
        details=["vocabulary_share"],
        direction="high",
        needs="tokens",
        growth="rises",
    )
    def vocabulary(texts: TextSet) -> list[float]:
        types = len(set(texts.token_ids.flat.tolist()))
        return [float(types), types / len(texts.token_ids.flat)]


def test_a_metric_declared_anywhere_is_measured_and_accepted_in_a_config(restored: None) -> None:
    declare_vocabulary()
    assert describe(TOKENS, TEXTS, None, metrics=["vocabulary"]) == {"vocabulary": 3.0, "vocabulary_share": 0.75}
    assert metric_families(["vocabulary", "mtld"]) == ("vocabulary", "mtld")
    assert metric_families("all")[-1] == "vocabulary" and "vocabulary" not in PAPER
    assert (METRICS["vocabulary"].title, METRICS["vocabulary"].direction) == ("Vocabulary (types)", "high")
    assert "vocabulary_share" in detail_columns() and "vocabulary" not in detail_columns()
    declare_vocabulary()  # a module that is reloaded declares again
    assert list(METRICS).count("vocabulary") == 1


def test_a_name_that_is_declared_by_another_function_is_refused(restored: None) -> None:
    settings = {"direction": "high", "needs": "tokens", "growth": "stays"}
    with pytest.raises(
        SftdivError, match=r"family 'mtld' is declared twice: by sftdiv\.diversity\.mtld\._measure and by"
    ):
        metric("mtld", {"mine": "Mine"}, **settings)(lambda texts: 0.0)
    with pytest.raises(
        SftdivError, match=r"column 'mtld' is declared twice: by sftdiv\.diversity\.mtld\._measure and by"
    ):
        metric("mine", {"mtld": "MTLD"}, **settings)(lambda texts: 0.0)
    assert "mine" not in FAMILIES and METRICS["mtld"].family == "mtld"


def test_a_metric_that_needs_embeddings_is_left_out_where_there_are_none(restored: None) -> None:
    metric("mine", {"mine": "Mine"}, direction="high", needs="reference", growth="stays")(lambda texts: 1.0)
    rows = np.eye(2, dtype=np.float32)
    assert describe(TOKENS, TEXTS, None, metrics=["mine"]) == {}
    assert describe(TOKENS, TEXTS, rows, metrics=["mine"]) == {}
    assert describe(TOKENS, TEXTS, rows, metrics=["mine"], reference=rows) == {"mine": 1.0}


def test_settings_select_the_papers_families_all_or_some() -> None:
    assert metric_families("paper") == PAPER == tuple(list(FAMILIES)[:6])
    assert metric_families("all") == tuple(FAMILIES)
    assert metric_families("mtld") == ("mtld",)
    known = ", ".join(["paper", "all", *FAMILIES])
    with pytest.raises(SftdivError) as error:
        metric_families(["mtld", "bleu"])
    assert str(error.value) == f"diversity.metrics='bleu' is unknown. Did you mean 'self_bleu'? Known: {known}"


def test_only_the_ratios_of_long_n_grams_and_the_metrics_at_equal_tokens_are_details() -> None:
    at_tokens = {f"{name}_at_tokens" for name in EQUAL_TOKENS}
    assert detail_columns() == at_tokens | {f"ngram_ratio_{n}" for n in (3, 4)}


def test_the_papers_seven_metrics_are_columns_of_its_families_and_no_details() -> None:
    assert PAPER_METRICS == (
        "ngram_ratio_1",
        "ngram_ratio_2",
        "embedding_distance",
        "length",
        "compression_ratio",
        "self_bleu",
        "entropy",
    )
    assert {METRICS[name].family for name in PAPER_METRICS} == set(PAPER)
    assert not detail_columns().intersection(PAPER_METRICS)


def test_metrics_at_equal_tokens_are_measured_whatever_the_config_and_name_no_cell() -> None:
    assert "equal_tokens" not in FAMILIES and "equal_tokens" not in metric_families("all")
    assert {METRICS[f"{name}_at_tokens"].direction for name in ("compression_ratio", "self_repetition")} == {"low"}
    assert METRICS["entropy_at_tokens"].direction == "high"


def test_metrics_that_move_with_length() -> None:
    assert {column.family for column in METRICS.values() if column.moves_with_length} == {
        "ngram_ratio",
        "distinct",
        "compression_ratio",
        "self_bleu",
        "entropy",
        "self_repetition",
        "homogenisation",
    }


def test_metrics_that_are_blind_to_repeated_texts() -> None:
    assert [name for name, column in METRICS.items() if column.within_texts] == ["mtld_pooled", "mtld"]
    once = describe(TOKENS, TEXTS, None, metrics=["mtld"])
    twice = TokenIds(np.tile(TOKENS.flat, 2), np.array([0, 3, 4, 7, 8]), TOKENS.names)
    assert describe(twice, [*TEXTS, *TEXTS], None, metrics=["mtld"]) == pytest.approx(once, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("module", ["registry", "mtld", "entropy"])
def test_any_module_may_be_imported_first_and_none_imports_compiled_or_heavy_libraries(module: str) -> None:
    code = f"""
import sys
import sftdiv.diversity.{module}
from sftdiv.diversity.registry import METRICS
print(len(METRICS), sorted(set(sys.modules) & {HEAVY!r}))
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == [str(len(METRICS)), "[]"]
