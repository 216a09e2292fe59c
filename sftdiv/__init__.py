"""sftdiv: select SFT subsets at a controlled diversity, fine-tune on them, and measure the effect of diversity.

``sftdiv.select``, ``ladder``, ``measure`` and ``analyze`` are the Python API (`sftdiv.api`). They are
imported on first use, so that importing sftdiv takes milliseconds.

``sftdiv.measure`` and ``sftdiv.analyze`` are the functions, also after ``import sftdiv.measure``: the modules of the
commands of these names are ``importlib.import_module("sftdiv.measure")``, their contents ``from sftdiv.measure import
main``.
"""

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sftdiv.api import Report, Study, Subset, analyze, ladder, measure, select

__version__ = "0.2.0"
__all__ = ["Report", "Study", "Subset", "analyze", "ladder", "measure", "select"]

# OpenMP threads spin while they wait. Beside another busy process this made the tiny base model 25 times
# slower (LOG.md, 2026-11-21). torch reads the variable when it is imported, so it is set here, before any stage.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class _Package(ModuleType):
    """The package: importing the modules ``sftdiv.measure`` and ``sftdiv.analyze`` keeps the API's functions."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Functions and classes of the API, imported on first use."""
    if name in __all__:
        from sftdiv import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
