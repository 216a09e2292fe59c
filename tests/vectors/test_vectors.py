"""Products, neighbours' products, ranges of work and distinct rows, against numpy."""

import numpy as np
import pytest

from sftdiv.vectors.distinct import distinct_rows
from sftdiv.vectors.products import products_of_pairs, products_on, products_with
from sftdiv.vectors.threads import in_ranges

VECTORS = np.random.default_rng(0).standard_normal((9_000, 24)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 3])
def test_products_are_those_of_numpy_in_double_precision(threads):
    with products_with(VECTORS, threads=threads) as product:
        for vector in (VECTORS[5], np.arange(24.0)):
            assert np.allclose(product(vector), VECTORS.astype(np.float64) @ vector.astype(np.float64), atol=1e-13)


def test_equal_rows_have_equal_products_wherever_they_stand():
    copies = VECTORS.copy()
    copies[[3, 4_095, 4_096, 8_999]] = copies[17]
    with products_with(copies) as product:
        assert len(set(product(copies[100])[[3, 17, 4_095, 4_096, 8_999]])) == 1


def test_pytorch_gives_the_same_products():
    """The code that runs on a GPU, on the CPU."""
    with products_with(VECTORS) as product:
        assert np.allclose(products_on(VECTORS, "cpu")(VECTORS[5]), product(VECTORS[5]), atol=1e-13)


@pytest.mark.parametrize("threads", [1, 3])
def test_ranges_cover_all_rows_once(threads):
    with in_ranges(threads) as ranges:
        for rows in (0, 1, 4, 11):
            visits = np.zeros(rows, dtype=int)

            def visit(start, stop, visits=visits):
                visits[start:stop] += 1

            ranges(visit, rows, 4)
            assert (visits == 1).all()


def test_products_of_pairs():
    partners = np.array([[1, 2], [0, 0], [2, 1]], dtype=np.int32)
    expected = [[VECTORS[row].astype(float) @ VECTORS[other] for other in partners[row]] for row in range(3)]
    assert np.allclose(products_of_pairs(VECTORS[:3], partners), expected, atol=1e-13)


def test_distinct_rows_are_numbered_by_their_first_occurrence():
    rows = np.array([[1, 0], [2, 2], [1, -0.0], [0, 1], [2, 2]], dtype=np.float32)
    first, number = distinct_rows(rows)
    assert (first.tolist(), number.tolist()) == ([0, 1, 3], [0, 1, 0, 2, 1])
