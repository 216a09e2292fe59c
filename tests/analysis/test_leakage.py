"""Leaked items along ladders: the table, and the note where leak goes with level."""

import numpy as np
import pandas as pd
import pytest

from sftdiv.analysis.leakage import check_leaks, leak_table
from sftdiv.analysis.notes import Notes


def cells_of(leaks, *, ladder="micro", kind="level"):
    """Two cells per level with the given leaks."""
    rows = [
        {"kind": kind, "ladder": ladder, "variant": "", "level": level, "leak.choices": value}
        for level, values in leaks.items()
        for value in values
    ]
    return pd.DataFrame(rows).assign(**{"corpus.benchmark_items.choices": 500})


def test_a_rising_leak_is_noted_with_its_numbers():
    rising, flat = cells_of({0: (1, 3), 0.5: (20, 24), 1: (50, 54)}), cells_of({0: (5, 7), 1: (6, 6)}, ladder="meso")
    cells = pd.concat([rising, flat, cells_of({1: (90,)}, kind="random", ladder="")], ignore_index=True)
    table = leak_table(cells)
    assert table[["ladder", "items", "low", "high", "goes"]].values.tolist() == [
        ["micro", 500, 2, 52, True],
        ["meso", 500, 6, 6, False],
    ]
    levels, leaks = [1.5, 1.5, 3.5, 3.5, 5.5, 5.5], [1, 2, 3, 4, 5, 6]  # ranks
    assert table["correlation"][0] == pytest.approx(np.corrcoef(levels, leaks)[0, 1])
    assert np.isnan(table["correlation"][1])
    notes = Notes()
    check_leaks(cells, notes)
    (sentence,) = notes.sentences()
    assert "with 2 items of 500 of choices at the lowest level and 52 at the highest" in sentence
    assert sentence.endswith("(micro)")


@pytest.mark.parametrize("leaks", [{0: (1,), 1: (3,)}, {0: (0, 40), 0.5: (40, 0), 1: (5, 41)}])
def test_few_items_and_noise_are_not_noted(leaks):
    notes = Notes()
    check_leaks(cells_of(leaks), notes)
    assert notes.sentences() == ()


def test_a_study_without_leak_columns_has_no_table():
    cells = cells_of({0: (1,), 1: (9,)}).drop(columns=["leak.choices", "corpus.benchmark_items.choices"])
    assert leak_table(cells).empty
    notes = Notes()
    check_leaks(cells, notes)
    assert notes.sentences() == ()
