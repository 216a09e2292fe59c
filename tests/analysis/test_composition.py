"""What moves with the level beside diversity: shares of sources, and truncation."""

import numpy as np
import pandas as pd
import pytest

from sftdiv.analysis.composition import check_composition, cut_share
from sftdiv.analysis.notes import Notes


def cells_of(*rows, ladder="micro"):
    columns = ["level", "subset.share.web", "subset.share.books", "n", "train.truncated", "train.too_long"]
    cells = pd.DataFrame(rows, columns=columns).assign(kind="level", ladder=ladder)
    return cells.assign(cut_share=cut_share(cells))


def sentences(cells):
    notes = Notes()
    check_composition(cells, notes)
    return notes.sentences()


def test_a_source_that_moves_by_more_than_ten_points_is_noted_once_with_its_numbers():
    moving = cells_of((0, 0.2, 0.8, 10, 0, 0), (0, 0.3, 0.7, 10, 0, 0), (1, 0.61, 0.39, 10, 0, 0))
    still = cells_of((0, 0.5, 0.5, 10, 0, 0), (1, 0.59, 0.41, 10, 0, 0), ladder="meso")
    (note,) = sentences(pd.concat([moving, still], ignore_index=True))
    assert "source web moves with the level (25% at level 0, 61% at level 1)" in note or "source books" in note
    assert note.endswith("selection.match=source holds it fixed (micro)")


def test_truncation_that_moves_with_the_level_is_noted():
    cells = cells_of((0, 1, 0, 200, 1, 1), (0.5, 1, 0, 200, 4, 0), (1, 1, 0, 200, 20, 2))
    (note,) = sentences(cells)
    assert "cut or dropped at model.max_length moves with the level (1% at level 0, 11% at level 1) (micro)" in note
    assert sentences(cells_of((0, 1, 0, 200, 1, 1), (1, 1, 0, 200, 9, 0))) == ()


@pytest.mark.parametrize("missing", ["train.truncated", "train.too_long"])
def test_rows_without_training_have_no_share(missing):
    cells = cells_of((0, 1, 0, 100, np.nan, np.nan), (1, 1, 0, 100, 50, 0))
    assert np.isnan(cells["cut_share"][0]) and cells["cut_share"][1] == 0.5
    assert cut_share(cells.drop(columns=["train.truncated", "train.too_long"])).isna().all()
    assert cut_share(cells.drop(columns=[missing])).notna().sum() == 1
