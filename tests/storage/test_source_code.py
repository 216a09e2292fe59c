"""An edited plug-in has another identity: its source, and that of the user's own modules that it imports, decide."""

import importlib
import sys

import pytest

from sftdiv.diversity.metric import DECLARED
from sftdiv.diversity.mtld import mtld
from sftdiv.diversity.registry import metrics_identity
from sftdiv.selection.ladder_selector import LadderSelector
from sftdiv.storage.hashing import identity_of
from sftdiv.storage.source_code import is_foreign

PLUGIN = """
from dataclasses import dataclass
from own_plugin.lengths import longest
import json

@dataclass(frozen=True)
class Longest:
    slack: float = 1.5
    def select(self, problem):
        return longest(problem)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A function that writes files of the package ``own_plugin`` and gives the identity of its class."""
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "own_plugin"
    folder.mkdir()

    def identity(**files):
        for name, text in files.items():
            (folder / f"{name}.py").write_text(text)
        for name in [name for name in sys.modules if name.startswith("own_plugin")]:
            del sys.modules[name]  # as in a new process
        importlib.invalidate_caches()
        return identity_of(importlib.import_module("own_plugin.selectors").Longest())

    yield identity
    for name in [name for name in sys.modules if name.startswith("own_plugin")]:
        del sys.modules[name]


def test_source_of_a_plugin_and_of_its_own_imports_is_part_of_its_identity(plugin):
    first = plugin(__init__="", selectors=PLUGIN, lengths="def longest(problem): return 1\n", unused="x = 1\n")
    assert set(first) == {"class", "slack", "source code"} and len(first["source code"]) == 16
    assert plugin(unused="x = 2\n") == first
    assert plugin(lengths="def longest(problem): return 2\n") != first
    assert plugin(lengths="def longest(problem): return 1\n") == first
    assert plugin(selectors=PLUGIN + "\nEDITED = True\n") != first
    assert plugin(selectors=PLUGIN, __init__="SCALE = 2\n") != first


def test_lazy_and_relative_imports_count(plugin):
    lazy = PLUGIN.replace("from own_plugin.lengths import longest", "").replace(
        "        return", "        from .lengths import longest\n        return"
    )
    first = plugin(__init__="", selectors=lazy, lengths="def longest(problem): return 1\n")
    assert plugin(lengths="def longest(problem): return 2\n") != first


def test_a_process_keeps_the_digest_of_the_code_that_it_has_imported_until_it_reloads(plugin, tmp_path):
    first = plugin(__init__="", selectors=PLUGIN, lengths="def longest(problem): return 1\n")
    module = sys.modules["own_plugin.selectors"]
    (tmp_path / "own_plugin" / "selectors.py").write_text(PLUGIN + "\nEDITED_LATER = True\n")
    assert identity_of(module.Longest()) == first
    assert identity_of(importlib.reload(module).Longest()) != first


def test_the_packages_own_components_are_identified_by_their_declarations():
    ladder = LadderSelector(prune="support", k_min="auto", k_min_size=None, slack=1.5)
    assert not is_foreign(LadderSelector) and "source code" not in identity_of(ladder)
    assert metrics_identity(["mtld", "vendi"]) == ["mtld", "vendi"] and not is_foreign(mtld)


SCRIPT = """
import sys
from dataclasses import dataclass
from sftdiv.storage.hashing import identity_of
LIMIT = {limit}
def helper(x):
    return x + {added}
def unrelated():
    return {other}
@dataclass(frozen=True)
class Own:
    slack: float = 1.5
    def select(self, problem):
        return helper(problem) > LIMIT
print(identity_of(Own())["source code"])
"""


def test_a_class_of_a_script_or_notebook_is_identified_by_its_definition_and_what_it_uses():
    def digest(**values):
        names = {"__name__": "__main__"}
        printed = []
        code = SCRIPT.format(**({"limit": 3, "added": 1, "other": 1} | values))
        main, sys.modules["__main__"] = sys.modules["__main__"], type(sys)("__main__")
        names = vars(sys.modules["__main__"]) | {"print": printed.append}
        vars(sys.modules["__main__"]).update(names)
        try:
            exec(compile(code, "<cell>", "exec"), vars(sys.modules["__main__"]))
        finally:
            sys.modules["__main__"] = main
        return printed[0]

    first = digest()
    assert digest() == first and digest(other=2) == first
    assert len({first, digest(limit=4), digest(added=2)}) == 3


def test_a_metric_of_the_users_is_part_of_the_identity_by_its_source(plugin):
    from sftdiv.diversity.metric import metric

    kept = [dict(families) for families in vars(DECLARED).values()]
    try:
        metric("mine", {"mine": "Mine"}, direction="high", needs="tokens", growth="stays")(lambda texts: 1.0)
        assert metrics_identity(["mtld", "mine"])[1]["name"] == "mine"
        assert len(metrics_identity(["mine"])[0]["source code"]) == 16
    finally:
        for families, before in zip(vars(DECLARED).values(), kept, strict=True):
            families.clear()
            families.update(before)
