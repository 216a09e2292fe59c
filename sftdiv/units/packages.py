"""Check that the optional packages of a component are installed, so that a missing one is a clear error."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from typing import Any

from sftdiv.records import SftdivError
from sftdiv.storage.hashing import libraries_of, library_versions


def check_packages(component: Any) -> None:
    """Refuse a component whose ``libraries``, or those of its parts, are not installed.

    Raises:
        SftdivError: With the missing package and the extra that installs it.
    """
    try:
        library_versions(libraries_of(component))
    except PackageNotFoundError as error:
        raise SftdivError(
            f"the chosen strategy needs the package {error.name}: pip install 'sftdiv[{error.name}]'"
        ) from error
