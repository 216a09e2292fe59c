"""Selectors over embeddings pick what the naive reading of their formulas picks, ties included, for every size."""

import numpy as np
import pytest

from sftdiv.protocols import SelectionProblem
from sftdiv.protocols.contexts import build_uncached
from sftdiv.records import SftdivError, Universe
from sftdiv.selection.rivals.deita import Deita
from sftdiv.selection.rivals.facility_location_selector import FacilityLocation
from sftdiv.selection.rivals.k_center import KCenter
from sftdiv.selection.rivals.log_det import LogDet
from sftdiv.selection.rivals.novel_select import NovelSelect, densities
from sftdiv.selection.rivals.whitening import unit_rows, whitened
from sftdiv.vectors.products import dot

K_CENTER = KCenter(whiten=False)
LOG_DET = LogDet(alpha=1.0, whiten=False)
FACILITY = FacilityLocation(neighbours=None, quality=0.0, column=None, whiten=False)
NOVEL = NovelSelect(neighbours=5, density_power=0.5, distance_power=1.0, ranks=None, whiten=False)
DEITA = Deita(column="score", threshold=0.9, whiten=False)
SELECTORS = {"k_center": K_CENTER, "log_det": LOG_DET, "facility": FACILITY, "novel": NOVEL, "deita": DEITA}


def random_vectors(rows=200):
    return unit_rows(np.random.default_rng(0).standard_normal((rows, 16)))


def clustered_vectors(rows=200):
    """Ten clusters of close texts; every fifth text is a copy of another one, and two have no known word."""
    rng = np.random.default_rng(1)
    centers = rng.standard_normal((10, 16))
    vectors = centers[rng.integers(10, size=rows)] + 0.2 * rng.standard_normal((rows, 16))
    vectors[4::5] = vectors[3::5]
    vectors[[11, 150]] = 0
    return unit_rows(vectors)


VECTORS = {"random": random_vectors(), "clustered": clustered_vectors()}


def problem_of(vectors, size, *, strata=None, weights=None, scores=None, universe=None):
    count = len(vectors)
    indices = np.arange(count) if universe is None else universe
    strata = np.zeros(len(indices), dtype=np.int64) if strata is None else strata
    if scores is None:
        scores = (np.arange(count) * 37 % 101).tolist()
    return SelectionProblem(
        units=None,
        universe=Universe(indices, strata, {}),
        level=1.0,
        size=float(size),
        examples=size,
        weights=np.ones(count) if weights is None else weights,
        side="response",
        seed=0,
        ladder_seed=0,
        embeddings=lambda side: vectors,
        token_ids=None,
        column=lambda name: scores,
        keep=build_uncached,
    )


def picks(selector, vectors, size, **options):
    return selector.select(problem_of(vectors, size, **options)).indices.tolist()


def naive_k_center(x, size):
    chosen = [0]
    while len(chosen) < size:
        nearest = [min(np.linalg.norm(x[i] - x[s]) for s in chosen) for i in range(len(x))]
        nearest = [-1 if i in chosen else value for i, value in enumerate(nearest)]
        chosen.append(int(np.argmax(np.round(nearest, 9))))
    return chosen


def naive_log_det(x, size):
    kernel, chosen = np.eye(len(x)) + x @ x.T, []
    np.fill_diagonal(kernel, np.round(np.diagonal(kernel), 6))  # unit vectors, not their rounding to float32
    while len(chosen) < size:
        rest = [i for i in range(len(x)) if i not in chosen]
        values = [np.linalg.slogdet(kernel[np.ix_([*chosen, i], [*chosen, i])])[1] for i in rest]
        chosen.append(rest[int(np.argmax(np.round(values, 9)))])
    return chosen


def naive_facility(x, size, *, similarity=None, quality=None, share=0.0):
    similarity = np.maximum(x @ x.T, 0) if similarity is None else similarity
    quality = np.zeros(len(x)) if quality is None else quality
    chosen, covered = [], np.zeros(len(x))
    scale = similarity.sum(axis=0).max() if share else 1.0
    while len(chosen) < size:
        gains = np.maximum(similarity - covered[:, None], 0).sum(axis=0)
        values = (1 - share) * gains / scale + share * quality
        values[chosen] = -np.inf
        chosen.append(int(np.argmax(np.round(values, 9))))
        covered = np.maximum(covered, similarity[:, chosen[-1]])
    return chosen


def naive_novel(x, size, *, ranks=None):
    norms = (x**2).sum(axis=1)
    distance = np.maximum((norms[:, None] + norms) / 2 - x @ x.T, 0)  # the cosine distance; 0 between two of zeros
    density = densities(x.astype(np.float32), 5) ** 0.5
    chosen = [0]
    while len(chosen) < size:
        values = np.full(len(x), -np.inf)
        for i in set(range(len(x))) - set(chosen):
            nearest = sorted(chosen, key=lambda s: distance[i, s])[:ranks]
            values[i] = sum(density[s] * distance[i, s] / (rank + 1) for rank, s in enumerate(nearest))
        chosen.append(int(np.argmax(np.round(values, 9))))
    return chosen


def naive_deita(x, size, scores):
    ranked, kept = sorted(range(len(x)), key=lambda i: -scores[i]), []
    for i in ranked:
        if all(x[i] @ x[s] < 0.9 for s in kept):
            kept.append(i)
    return (kept + [i for i in ranked if i not in kept])[:size]


@pytest.mark.parametrize("name", VECTORS)
def test_picks_are_those_of_the_formula(name):
    vectors, exact = VECTORS[name], VECTORS[name].astype(np.float64)
    assert picks(K_CENTER, vectors, 60) == naive_k_center(exact, 60)
    assert picks(LOG_DET, vectors, 40) == naive_log_det(exact, 40)
    assert picks(FACILITY, vectors, 60) == naive_facility(exact, 60)
    assert picks(NOVEL, vectors, 40) == naive_novel(exact, 40)
    scores = (np.arange(200) * 37 % 101).tolist()
    assert picks(DEITA, vectors, 90) == naive_deita(exact, 90, scores)


def products_of(vectors, factors):
    return np.array([dot(vector, factors) for vector in vectors])


def eager_k_center(vectors, size):
    """The loop that renews all distances after each pick; picks and the covering radius."""
    norms = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    nearest, chosen = np.full(len(vectors), np.inf), [0]
    while len(chosen) <= size:
        last = chosen[-1]
        products = products_of(vectors, vectors[last].astype(np.float64))
        nearest = np.minimum(nearest, np.maximum(norms + norms[last] - 2 * products, 0))
        nearest[last] = -1
        chosen.append(int(nearest.argmax()))
    return chosen[:size], np.sqrt(max(nearest[chosen[size]], 0))


def eager_log_det(vectors, size):
    """The loop that renews all residuals after each pick; picks and the objective."""
    residual, inverse, chosen, value = vectors.any(axis=1).astype(float), np.eye(vectors.shape[1]), [], 0.0
    while len(chosen) < size:
        best = int(residual.argmax())
        chosen.append(best)
        scale = 1 + residual[best]
        value += np.log(scale)
        projected = inverse @ vectors[best].astype(float)
        residual -= 1 / scale * products_of(vectors, projected) ** 2
        inverse -= 1 / scale * np.outer(projected, projected)
        residual[best] = -np.inf
    return chosen, value


@pytest.mark.parametrize("size", [1, 200])
def test_scores_out_of_date_change_no_pick_and_no_bit(size):
    """More examples than one floor leaves; a fifth of them are copies, and two are zeros."""
    vectors = clustered_vectors(2_000)
    units = unit_rows(vectors)  # scaled once more, as selectors do
    selection = K_CENTER.select(problem_of(vectors, size))
    assert (selection.indices.tolist(), selection.columns["k_center"]["radius"]) == eager_k_center(units, size)
    selection = LOG_DET.select(problem_of(vectors, size))
    order, value = eager_log_det(units, size)
    assert selection.indices.tolist() == order
    assert selection.columns["log_det"]["value"] == pytest.approx(value, rel=1e-14)  # summed in another order


@pytest.mark.parametrize("selector", [K_CENTER, LOG_DET, NOVEL])
def test_the_path_of_a_gpu_gives_the_same_picks(selector, monkeypatch):
    """The code that runs on a GPU, by PyTorch on the CPU."""
    vectors = random_vectors(1_000)
    expected = picks(selector, vectors, 100)
    monkeypatch.setattr("sftdiv.vectors.products.gpu", lambda: "cpu")
    assert picks(selector, vectors, 100) == expected


def test_novelty_of_the_nearest_ranks_alone():
    few = NovelSelect(neighbours=5, density_power=0.5, distance_power=1.0, ranks=3, whiten=False)
    assert picks(few, VECTORS["clustered"], 40) == naive_novel(VECTORS["clustered"].astype(np.float64), 40, ranks=3)
    assert picks(few, VECTORS["random"], 40) != picks(NOVEL, VECTORS["random"], 40)


def test_an_example_is_covered_by_its_nearest_texts():
    """Of distinct vectors the three nearest and itself count, in both directions of the loop."""
    exact = VECTORS["random"].astype(np.float64)
    cosines = exact @ exact.T
    similarity = np.zeros_like(cosines)
    for i, row in enumerate(cosines):
        nearest = np.argsort(-row)[:4]
        similarity[i, nearest] = np.maximum(row[nearest], 0)
    sparse = FacilityLocation(neighbours=3, quality=0.0, column=None, whiten=False)
    assert picks(sparse, VECTORS["random"], 60) == naive_facility(exact, 60, similarity=similarity)


def test_quality_against_coverage():
    vectors, scores = VECTORS["random"], (np.arange(200) * 37 % 101).astype(float)
    scores[:3] = np.nan
    known = np.nan_to_num((scores - np.nanmin(scores)) / (np.nanmax(scores) - np.nanmin(scores)), nan=0.0)
    listed = [None if np.isnan(score) else score for score in scores]
    for share in (0.3, 1.0):
        qdit = FacilityLocation(neighbours=None, quality=share, column="score", whiten=False)
        expected = naive_facility(vectors.astype(np.float64), 50, quality=known, share=share)
        assert picks(qdit, vectors, 50, scores=listed) == expected


@pytest.mark.parametrize("name", SELECTORS)
def test_every_size_is_a_prefix(name):
    for vectors in VECTORS.values():
        largest = picks(SELECTORS[name], vectors, 120)
        assert len(set(largest)) == 120
        assert [picks(SELECTORS[name], vectors, size) for size in (1, 20, 77)] == [largest[:n] for n in (1, 20, 77)]
    assert picks(SELECTORS[name], vectors, 200) == list(range(200))  # everything, without work


@pytest.mark.parametrize("name", SELECTORS)
def test_strata_get_their_quotas_and_are_selected_alone(name):
    strata = np.repeat([0, 1], [150, 50])
    selected = picks(SELECTORS[name], VECTORS["random"], 40, strata=strata)
    assert selected[:30] == picks(SELECTORS[name], VECTORS["random"], 30, universe=np.arange(150))
    assert selected[30:] == picks(SELECTORS[name], VECTORS["random"], 10, universe=np.arange(150, 200))


@pytest.mark.parametrize("name", SELECTORS)
def test_a_budget_of_tokens_ends_the_order(name):
    weights = 1.0 + np.arange(200) % 7
    order = picks(SELECTORS[name], VECTORS["random"], 100)
    selected = picks(SELECTORS[name], VECTORS["random"], 100, weights=weights)
    reached = np.cumsum(weights[order])
    assert selected == order[: int(np.searchsorted(reached, 100)) + 1]


@pytest.mark.parametrize("name", SELECTORS)
def test_rows_outside_the_universe_are_never_selected(name):
    universe = np.arange(0, 200, 2)
    selected = picks(SELECTORS[name], VECTORS["random"], 30, universe=universe)
    scores = (np.arange(200) * 37 % 101)[universe].tolist()
    alone = picks(SELECTORS[name], VECTORS["random"][universe], 30, scores=scores)
    assert selected == universe[alone].tolist()


def test_deita_counts_what_filled_the_subset():
    vectors = unit_rows(np.array([[1, 0], [1, 0.01], [0, 1], [0.01, 1], [1, 1]], dtype=np.float32))
    problem = problem_of(vectors, 4, scores=[5, 4, 3, None, 1])
    selection = DEITA.select(problem)
    assert selection.indices.tolist() == [0, 2, 4, 1]  # 1 is close to 0, 3 to 2; 3 has no score
    assert selection.columns == {"deita": {"kept": 3, "filled": 1}}


def test_whitened_vectors_have_equal_variance_in_all_directions():
    rng = np.random.default_rng(2)
    vectors = unit_rows(rng.standard_normal((5_000, 8)) * [9, 5, 3, 1, 1, 1, 1, 1] + [20, 0, 0, 0, 0, 0, 0, 0])
    vectors[7] = 0
    result = whitened(vectors)
    assert not result[7].any() and np.allclose(np.linalg.norm(np.delete(result, 7, axis=0), axis=1), 1)
    cosines = np.abs(result[:300] @ result[300:600].T).mean()
    assert np.abs(vectors[:300] @ vectors[300:600].T).mean() > 0.5 > 0.35 > cosines
    before, after = (np.linalg.eigvalsh(np.cov(each.T)) for each in (vectors, result))
    assert before[-1] > 15 * before[0] and after[-1] < 4 * after[0]
    flat = whitened(unit_rows(np.c_[rng.standard_normal((50, 3)), np.zeros(50)]))
    assert flat.shape == (50, 3)  # a direction without variance is left out


@pytest.mark.parametrize("selector", [KCenter(whiten=True), LogDet(alpha=1.0, whiten=True)])
def test_a_selector_whitens_the_universe_first(selector):
    vectors, plain = VECTORS["clustered"], type(selector)(**{**vars(selector), "whiten": False})
    assert picks(selector, vectors, 30) == picks(plain, whitened(vectors), 30) != picks(plain, vectors, 30)


def test_a_size_above_the_universe_is_an_error():
    with pytest.raises(SftdivError, match="size 201 is more than the universe holds"):
        picks(K_CENTER, VECTORS["random"], 201)


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (NovelSelect(neighbours=200, density_power=0.5, distance_power=1.0, ranks=3, whiten=False), "there are 200"),
        (Deita(column="text", threshold=0.9, whiten=False), "column=text must be a column of numbers; it holds 'a'"),
    ],
)
def test_impossible_settings_are_named(selector, message):
    with pytest.raises(SftdivError, match=message):
        picks(selector, VECTORS["random"], 10, scores=["a"] * 200)


def test_a_quality_weight_needs_a_column():
    for quality, column in ((0.5, None), (0.0, "score")):
        with pytest.raises(SftdivError, match="belong together"):
            FacilityLocation(neighbours=None, quality=quality, column=column, whiten=False)
