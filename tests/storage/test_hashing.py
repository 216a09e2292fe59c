"""Identities of users' own classes: two classes never share one, whether or not they name their kind."""

from dataclasses import dataclass

import numpy as np
import pytest

from sftdiv.selection.ladder_selector import LadderSelector
from sftdiv.storage import hashing
from sftdiv.storage.hashing import array_hash, arrays_hash, content_hash, identity_of, settings_identity
from sftdiv.storage.source_code import source_digest

LADDER = {"prune": "support", "k_min": "auto", "k_min_size": None, "slack": 1.5}


@dataclass(frozen=True)
class Longest:
    slack: float = 1.5


@dataclass(frozen=True)
class Shortest:
    slack: float = 1.5

    def identity(self):
        return settings_identity(self)


class OwnLadder(LadderSelector):
    """Inherits the identity of the ladder."""


@dataclass(frozen=True)
class Named:
    slack: float = 1.5

    def identity(self):
        return {"kind": "named", **settings_identity(self)}


SOURCE = source_digest(Named)  # of this file


def test_own_classes_with_equal_settings_have_different_identities():
    assert identity_of(Longest()) == {"class": f"{__name__}.Longest", "slack": 1.5, "source code": SOURCE}
    assert identity_of(Shortest()) == {"class": f"{__name__}.Shortest", "slack": 1.5, "source code": SOURCE}
    assert identity_of(OwnLadder(**LADDER)) != identity_of(LadderSelector(**LADDER))
    assert identity_of([Longest()]) != identity_of([Shortest()])


def test_a_class_that_names_its_kind_may_be_renamed():
    assert identity_of(Named()) == {"kind": "named", "slack": 1.5, "source code": SOURCE}
    assert identity_of(LadderSelector(**LADDER)) == {"kind": "ladder", **LADDER}


def test_what_has_no_identity_is_refused():
    with pytest.raises(TypeError, match="object has no identity"):
        identity_of(object())


def test_arrays_hash_as_their_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_BLOCK", 3)
    rows, weights = np.arange(7), np.array([0.1, 1e-9, 3.0, 2.5, 1e20])
    assert array_hash(rows) == content_hash(rows.tolist())
    assert array_hash(weights, length=6) == content_hash(weights.tolist(), length=6)
    assert arrays_hash([rows, weights, rows[:0]]) == content_hash([rows.tolist(), weights.tolist(), []])
