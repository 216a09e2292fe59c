"""Each metric of tokens and texts against a value worked out by hand or a naive reference, and what must
hold for any set of texts."""

from __future__ import annotations

import itertools
import math
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from sftdiv.diversity.compression_ratio import compression_ratio
from sftdiv.diversity.distinct_n import distinct_n
from sftdiv.diversity.entropy import token_entropy
from sftdiv.diversity.homogenisation import homogenisation, pair_scores, rouge_l
from sftdiv.diversity.length import length_percentiles, mean_length
from sftdiv.diversity.mtld import mtld, mtld_scores, pooled_mtld
from sftdiv.diversity.ngram_counts import count_ngrams
from sftdiv.diversity.ngram_ratio import ngram_ratios
from sftdiv.diversity.registry import FAMILIES, METRICS, PAPER, describe, describe_units
from sftdiv.diversity.self_bleu import closest_lengths, self_bleu, self_bleu_scores
from sftdiv.diversity.self_repetition import self_repetition
from sftdiv.diversity.unit_coverage import unit_coverage, unit_entropy
from sftdiv.records import SftdivError, TokenIds

Sentences = Sequence[Sequence[str]]
sentences = st.lists(st.lists(st.sampled_from("abcd"), max_size=9), min_size=2, max_size=6)


def token_ids(texts: Sentences) -> TokenIds:
    """Words as tokens, numbered by the alphabet."""
    names = sorted({word for text in texts for word in text})
    number = {name: i for i, name in enumerate(names)}
    flat = np.array([number[word] for text in texts for word in text], dtype=np.int32)
    return TokenIds(flat, np.cumsum([0, *map(len, texts)], dtype=np.int64), names)


def words(*texts: str) -> TokenIds:
    return token_ids([text.split() for text in texts])


def drawn(texts: int, *, seed: int = 0, types: int = 60) -> list[list[str]]:
    """Texts of 0 to 40 words with frequencies as in language, every tenth a copy of another."""
    rng = np.random.default_rng(seed)
    made = [[f"w{min(word, types)}" for word in rng.zipf(1.4, size=rng.integers(41))] for _ in range(texts)]
    for i in range(10, texts, 10):
        made[i] = made[i - 3]
    return made


def grams(text: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]


def nltk_scores(texts: Sentences) -> list[float]:
    """The definition, pair by pair."""
    bleu = pytest.importorskip("nltk.translate.bleu_score")
    others = [[*texts[:i], *texts[i + 1 :]] for i in range(len(texts))]
    smoothing = bleu.SmoothingFunction().method1
    return [
        bleu.sentence_bleu(rest, text, smoothing_function=smoothing) for text, rest in zip(texts, others, strict=True)
    ]


def test_ngram_ratio_counts_within_texts_only() -> None:
    # unigrams a b a, a b: 2 of 5; bigrams ab ba, ab: 2 of 3; the trigram aba: 1 of 1; no text has four words
    assert ngram_ratios(words("a b a", "a b")) == pytest.approx([2 / 5, 2 / 3, 1.0, math.nan], nan_ok=True)


def test_distinct_n_divides_by_tokens_where_the_ratio_divides_by_ngrams() -> None:
    assert distinct_n(words("a b a", "a b")) == [2 / 5, 2 / 5, 1 / 5, 0.0]


def test_ngram_ratio_halves_when_every_text_is_repeated() -> None:
    once, twice = words("a b c d e", "f a c e b"), words("a b c d e", "f a c e b", "a b c d e", "f a c e b")
    assert ngram_ratios(twice) == pytest.approx([ratio / 2 for ratio in ngram_ratios(once)])


@pytest.mark.parametrize("positions", [1, 7, 1 << 23])
def test_ngram_counts_equal_those_of_python_in_blocks_of_any_size(positions: int) -> None:
    texts = drawn(80)
    counts = count_ngrams(token_ids(texts), order=5, positions=positions)
    for n in range(1, 6):
        each = [Counter(grams(text, n)) for text in texts]
        holders = Counter(gram for counter in each for gram in counter)
        assert counts.occurrences[n - 1] == sum(map(Counter.total, each))
        assert counts.distinct[n - 1] == len(holders)
        assert counts.repeats[n - 1].tolist() == [sum(holders[gram] - 1 for gram in counter) for counter in each]
        for i, counter in enumerate(each):
            best = {gram: max(other[gram] for j, other in enumerate(each) if j != i) for gram in counter}
            assert counts.matches[n - 1, i] == sum(min(count, best[gram]) for gram, count in counter.items())


def test_mean_length_percentiles_and_entropy() -> None:
    assert mean_length(words("a b a", "a")) == 2.0
    assert length_percentiles(words("a", "a b", "a b a"), percentiles=(0, 50, 75, 100)) == [1, 2, 2.5, 3]
    assert token_entropy(words("a b", "c d")) == pytest.approx(2.0)  # four equal shares
    assert token_entropy(words("a a a b")) == pytest.approx(0.75 * math.log2(4 / 3) + 0.25 * 2)
    assert token_entropy(words("a a")) == 0.0


def test_compression_ratio_rises_with_repetition_and_ignores_order() -> None:
    different = [f"{i} {i * i} {i**3}" for i in range(200)]
    assert compression_ratio(["the same text every time"] * 200) > 10 * compression_ratio(different)
    assert compression_ratio(different) == compression_ratio(different[::-1])


def test_compression_of_many_texts_reads_those_that_come_first_by_hash() -> None:
    texts = [f"{number} sheep and {number * number} goats" for number in range(5_000)]
    all_texts, some = compression_ratio(texts), compression_ratio(texts, most=1 << 16)
    assert some != all_texts and some == pytest.approx(all_texts, rel=0.2)
    assert some == compression_ratio(texts[::-1], most=1 << 16)


def test_compression_ratio_in_pieces_is_that_of_the_whole() -> None:
    texts = [f"text {i}" for i in range(3000)] + ["", "\u00e9"]
    whole = "\n".join(texts).encode()
    in_order = compression_ratio(["\n".join(texts)])
    assert in_order == len(whole) / len(zlib.compress(whole, 9))
    assert compression_ratio(texts) == pytest.approx(in_order, rel=0.5) and compression_ratio(texts) != in_order


def test_self_bleu_of_two_short_texts_by_hand() -> None:
    # "a b" against "a c": 1 of 2 unigrams; 0 of 1 bigrams is 0.1; the orders it cannot have are 0.1 / 1;
    # lengths are equal
    assert self_bleu(words("a b", "a c")) == pytest.approx((0.5 * 0.1 * 0.1 * 0.1) ** 0.25)


def test_self_bleu_is_one_for_copies_and_zero_for_strangers() -> None:
    assert self_bleu(words("a b c d", "a b c d")) == pytest.approx(1.0)
    assert self_bleu(words("a b c d", "e f g h")) == 0.0
    assert math.isnan(self_bleu(words("a b c d")))


def test_closest_lengths_are_of_other_texts_and_the_shorter_of_two() -> None:
    # 4: closest is 6; 6: 4 and 8 are equally close, the shorter counts; 8: 6 is shorter, as is 8 for 20; 20: 8
    assert closest_lengths(np.array([6, 4, 20, 8])).tolist() == [4, 6, 8, 6]
    assert closest_lengths(np.array([5, 5, 9])).tolist() == [5, 5, 5]


def test_self_bleu_of_200_texts_is_nltks_to_the_last_bit() -> None:
    texts = drawn(200, types=400)
    assert self_bleu_scores(token_ids(texts)).tolist() == nltk_scores(texts)


@given(sentences)
def test_self_bleu_of_any_texts_is_nltks_to_the_last_bit(texts: Sentences) -> None:
    assert self_bleu_scores(token_ids(texts)).tolist() == nltk_scores(texts)


def test_self_repetition_by_hand() -> None:
    # abcd is in texts 0 and 1, bcde in text 0 alone, and twice in text 3 counts once: sums are 1 + 0, 1, none
    assert self_repetition(words("a b c d e", "a b c d", "x y")) == pytest.approx((math.log(2) + math.log(2) + 0) / 3)


def test_self_repetition_is_that_of_the_package_diversity() -> None:
    texts = drawn(60, types=8)
    once_a_text = [set(grams(text, 4)) for text in texts]
    holders = Counter(gram for held in once_a_text for gram in held)
    expected = np.mean([np.log(sum(holders[gram] for gram in held) - len(held) + 1) for held in once_a_text])
    assert self_repetition(token_ids(texts)) == pytest.approx(expected, rel=1e-14)


def mtld_one_way(text: Sequence[str], threshold: float) -> float:
    """McCarthy and Jarvis' factors of one text read in one direction."""
    factors, run = 0.0, []
    for word in text:
        run.append(word)
        if len(set(run)) / len(run) < threshold:
            factors, run = factors + 1, []
    return factors + ((1 - len(set(run)) / len(run)) / (1 - threshold) if run else 0)


def test_mtld_of_the_papers_example() -> None:
    # "of the people by the people | for the people": the ratio falls to 4/6 after six words, forward; what
    # is left repeats nothing
    text = "of the people by the people for the people"
    forward, backward = 1 + 0, mtld_one_way(text.split()[::-1], 0.72)
    assert pooled_mtld(words(text)) == pytest.approx((9 / forward + 9 / backward) / 2)
    assert mtld(words(text), shortest=9) == pytest.approx((9 / forward + 9 / backward) / 2)


def test_pooled_mtld_divides_all_tokens_by_all_factors() -> None:
    texts = drawn(40, types=12)
    tokens = sum(map(len, texts))
    ways = [sum(mtld_one_way(text[::step], 0.72) for text in texts) for step in (1, -1)]
    assert pooled_mtld(token_ids(texts)) == pytest.approx((tokens / ways[0] + tokens / ways[1]) / 2)
    for text, score in zip(texts, mtld_scores(token_ids(texts)), strict=True):
        forward, backward = mtld_one_way(text, 0.72), mtld_one_way(text[::-1], 0.72)
        if forward and backward:
            assert score == pytest.approx((len(text) / forward + len(text) / backward) / 2)
        else:
            assert math.isinf(score) if text else math.isnan(score)


def test_mtld_of_texts_that_repeat_nothing_is_infinite() -> None:
    assert math.isinf(pooled_mtld(words("a b c", "a")))
    assert math.isnan(pooled_mtld(words("", "")))
    assert math.isnan(mtld(words("a b c", "a"), shortest=1))


def test_mtld_of_a_set_is_the_mean_of_its_long_texts() -> None:
    rng = np.random.default_rng(0)
    texts = [[f"w{number}" for number in rng.integers(40, size=length)] for length in (99, 100, 150, 400)]
    texts.append([f"u{number}" for number in range(200)])  # repeats nothing
    each = mtld_scores(token_ids(texts))
    assert math.isinf(each[-1]) and np.isfinite(each[:-1]).all()
    assert mtld(token_ids(texts)) == pytest.approx(each[1:4].mean())
    assert mtld(token_ids(texts)) != pytest.approx(pooled_mtld(token_ids(texts)), rel=0.05)


def test_rouge_l_is_that_of_rouge_score() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    texts = [text for text in drawn(30, types=9) if text]
    for one, other in itertools.pairwise(texts):
        ids = token_ids([one, other])
        ours = rouge_l(ids.flat[: len(one)], ids.flat[len(one) :])
        assert ours == pytest.approx(scorer.score(" ".join(one), " ".join(other))["rougeL"].fmeasure)


def test_homogenisation_nears_the_mean_over_all_pairs() -> None:
    texts = drawn(12, types=6)
    ids = token_ids(texts)
    parts = [ids.flat[ids.offsets[i] : ids.offsets[i + 1]] for i in range(len(texts))]
    every = [rouge_l(one, other) for i, one in enumerate(parts) for j, other in enumerate(parts) if i != j]
    scores = pair_scores(ids, np.random.default_rng(1), pairs=20_000)
    assert abs(scores.mean() - np.mean(every)) < 4 * scores.std() / math.sqrt(len(scores))
    assert set(scores.round(12)) == set(
        np.round(every, 12)
    )  # no text is ever paired with itself, and every pair comes up
    assert homogenisation(words("a b c", "a b c"), np.random.default_rng(0)) == 1.0
    assert math.isnan(homogenisation(words("a"), np.random.default_rng(0)))


def test_unit_coverage_and_entropy_of_three_examples() -> None:
    matrix = scipy.sparse.csr_array(np.array([[2, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]))
    assert unit_coverage(matrix) == 2 / 4
    assert unit_coverage(matrix, types=8) == 2 / 8
    assert unit_entropy(matrix) == pytest.approx(0.75 * math.log2(4 / 3) + 0.25 * 2)
    assert set(describe_units(matrix)) == {name for name, metric in METRICS.items() if metric.needs == "units"}
    with pytest.raises(SftdivError, match="holds 2 types, more than the 1"):
        unit_coverage(matrix, types=1)


@given(st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=6))
def test_unit_coverage_never_falls_as_examples_are_added(held: list[set[int]]) -> None:
    matrix = scipy.sparse.csr_array(np.array([[int(type_ in types) for type_ in range(6)] for types in held]))
    coverage = [unit_coverage(matrix[:n]) for n in range(1, len(held) + 1)]
    assert coverage == sorted(coverage)


@given(sentences)
def test_no_metric_depends_on_the_order_of_the_texts(texts: Sentences) -> None:
    rows = np.random.default_rng(0).normal(size=(len(texts), 3)).astype(np.float32)
    order = np.random.default_rng(len(texts)).permutation(len(texts))
    shuffled = [texts[i] for i in order]
    metrics = [family for family in FAMILIES if family != "homogenisation"]  # draws its pairs
    before = describe(token_ids(texts), [" ".join(text) for text in texts], rows, metrics=metrics)
    after = describe(token_ids(shuffled), [" ".join(text) for text in shuffled], rows[order], metrics=metrics)
    assert before == pytest.approx(after, nan_ok=True)


@given(sentences)
def test_metrics_stay_in_their_ranges(texts: Sentences) -> None:
    metrics = describe(
        token_ids(texts), [" ".join(text) for text in texts], None, metrics=FAMILIES, rng=np.random.default_rng(0)
    )
    assert not any(METRICS[name].needs == "embeddings" for name in metrics)
    assert 0 <= metrics["self_bleu"] <= 1 + 1e-12
    assert 0 <= metrics["entropy"] <= math.log2(4) + 1e-12
    assert 0 <= metrics["homogenisation"] <= 1
    assert math.isnan(metrics["mtld_pooled"]) or metrics["mtld_pooled"] >= 1
    assert all(math.isnan(metrics[f"ngram_ratio_{n}"]) or 0 < metrics[f"ngram_ratio_{n}"] <= 1 for n in range(1, 5))
    assert all(not metrics[f"distinct_{n}"] > metrics[f"ngram_ratio_{n}"] for n in range(1, 5))


@given(sentences.filter(lambda texts: max(map(len, texts)) > 3))
def test_another_copy_of_a_text_lowers_diversity(texts: Sentences) -> None:
    before, after = token_ids(texts), token_ids([*texts, max(texts, key=len)])
    assert all(later < earlier for earlier, later in zip(ngram_ratios(before), ngram_ratios(after), strict=True))
    assert self_repetition(after) * (len(texts) + 1) > self_repetition(before) * len(texts)
    assert self_bleu_scores(after)[-1] == pytest.approx(1)


@given(sentences)
def test_self_bleu_and_self_repetition_of_a_text_rise_as_others_are_added(texts: Sentences) -> None:
    fewer, more = token_ids(texts[:-1]), token_ids(texts)
    assert (count_ngrams(more).matches[:, :-1] >= count_ngrams(fewer).matches).all()
    assert (count_ngrams(more).repeats[:, :-1] >= count_ngrams(fewer).repeats).all()


def test_describe_gives_the_papers_families_by_default_and_every_column_of_the_catalogue_when_asked() -> None:
    texts = drawn(20)
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    asked = {"metrics": FAMILIES, "reference": rows, "rng": np.random.default_rng(0)}
    papers = describe(token_ids(texts), [" ".join(text) for text in texts], rows)
    every = describe(token_ids(texts), [" ".join(text) for text in texts], rows, **asked)
    ratios = [f"ngram_ratio_{n}" for n in range(1, 5)]
    assert list(papers) == [
        "ngram_ratio",
        *ratios,
        "embedding_distance",
        "length",
        "compression_ratio",
        "self_bleu",
        "entropy",
    ]
    assert {METRICS[name].family for name in papers} == set(PAPER)
    assert list(every) == [name for name, metric in METRICS.items() if metric.needs not in ("units", "samples")]
    assert papers.items() <= every.items()


def test_describe_says_which_metrics_there_are_and_what_needs_a_generator() -> None:
    with pytest.raises(SftdivError, match=r"unknown diversity metrics bleu\. Known: ngram_ratio, .*self_bleu"):
        describe(words("a"), ["a"], None, metrics=["bleu"])
    with pytest.raises(SftdivError, match="need rng"):
        describe(words("a", "b"), ["a", "b"], None, metrics=["homogenisation"])
    with pytest.raises(SftdivError, match="more than 3 texts, draw at random and need rng"):
        describe(words("a", "b"), ["a", "b"], np.eye(4, dtype=np.float32), metrics=["novel_sum"], most=3)
