"""Digests of the source code of users' own classes and functions, for the identities of plug-ins.

The package's own components declare what decides their results. Code outside the package declares nothing, so its
source decides: an edited plug-in gives other cells and artifacts. A digest covers the module's file and every file
that it imports from the same folder (of an installed plug-in: from the same package), found by reading the import
statements, so that it does not depend on what has been imported. Code of ``__main__`` (a script or a notebook) is
identified by the definition itself, with those that it uses from there, so that other cells of a notebook may change.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

PACKAGE = __name__.partition(".")[0]
_INSTALLED = {"site-packages", "dist-packages"}
_PLAIN = (bool, int, float, complex, str, bytes, tuple, frozenset, type(None))
_digests: dict[str, tuple[object, str]] = {}  # module name -> its specification, which a reload replaces, and digest


def is_foreign(definition: Any) -> bool:
    """Whether a class or function is defined outside this package."""
    return str(getattr(definition, "__module__", "")).partition(".")[0] != PACKAGE


def source_digest(definition: Any) -> str | None:
    """Digest of the source of a class or function, with the user's own code that it imports.

    Args:
        definition: A class, function, or callable object.

    Returns:
        Hexadecimal digest; None where there is no source (a class of the interpreter itself).
    """
    if not isinstance(definition, (type, FunctionType)):
        definition = type(definition)
    module = sys.modules.get(definition.__module__)
    file = getattr(module, "__file__", None)
    if module is not None and definition.__module__ != "__main__" and file is not None and Path(file).is_file():
        return _module_digest(module, Path(file))
    names = vars(module) if module is not None else getattr(definition, "__globals__", {})
    texts = sorted(set(_definitions(definition, names, set())))
    return _digest(text.encode() for text in texts) if texts else None


def _digest(contents: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for content in contents:
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


def _module_digest(module: ModuleType, file: Path) -> str:
    """Digest of a module's file and its own imports, as they were when this process first asked for it.

    A process that has imported a file goes on with that code when the file is edited, and so with its digest.
    """
    specification = getattr(module, "__spec__", None)
    known = _digests.get(module.__name__)
    if known is None or known[0] is not specification:
        depth = len(module.__name__.split(".")) - (file.name != "__init__.py")
        root = file.resolve().parents[depth]
        within = module.__name__.partition(".")[0] if root.name in _INSTALLED else ""
        files = _imported_files(file.resolve(), root, within, set())
        known = specification, _digest(sorted(path.read_bytes() for path in files))
        _digests[module.__name__] = known
    return known[1]


def _imported_files(file: Path, root: Path, within: str, seen: set[Path]) -> set[Path]:
    """A file and all that it imports from below ``root``, in the package ``within`` if one is named."""
    if file in seen:
        return seen
    seen.add(file)
    if file.suffix == ".py":
        for name in _imported_names(file, root):
            if not within or name.partition(".")[0] == within:
                for path in _files_of(name, root):
                    _imported_files(path, root, within, seen)
    return seen


def _imported_names(file: Path, root: Path) -> Iterator[str]:
    """Dotted names in the import statements of a file; of ``from a import b`` both ``a`` and ``a.b``."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return  # it could not be imported either
    package = file.parent.relative_to(root).parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*parts, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}".strip(".") for alias in node.names)


def _files_of(name: str, root: Path) -> Iterator[Path]:
    """Files below ``root`` that importing a dotted name executes: those of its packages and its own."""
    folder = root
    for part in filter(None, name.split(".")):
        for path in (folder / part / "__init__.py", folder / f"{part}.py"):
            if path.is_file():
                yield path
        folder = folder / part


def _definitions(definition: Any, names: dict[str, Any], seen: set[int]) -> Iterator[str]:
    """Sources of a definition in ``__main__`` and of the definitions and plain values there that it uses."""
    if id(definition) in seen:
        return
    seen.add(id(definition))
    used: set[str] = set()
    if isinstance(definition, type):
        for base in definition.__mro__[1:]:
            if base.__module__ == definition.__module__:
                yield from _definitions(base, names, seen)
        for name, member in vars(definition).items():
            function = _function_of(member)
            if function is not None:
                yield from _definitions(function, names, seen)
            elif isinstance(member, _PLAIN) and not name.startswith("__"):
                yield f"{name}={member!r}"
    elif not definition.__code__.co_filename.startswith("<string"):  # else written by dataclasses
        yield _text(definition)
        used = _names_of(definition.__code__)
    for name in sorted(used & set(names)):
        value = names[name]
        if isinstance(value, (type, FunctionType)) and value.__module__ == definition.__module__:
            yield from _definitions(value, names, seen)
        elif isinstance(value, _PLAIN):
            yield f"{name}={value!r}"


def _function_of(member: Any) -> FunctionType | None:
    """The function behind a method, property, or static or class method."""
    function = getattr(member, "fget", getattr(member, "__func__", getattr(member, "func", member)))
    return function if isinstance(function, FunctionType) else None


def _text(function: FunctionType) -> str:
    """Source of a function; where it is lost (an interactive session) its compiled code."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return _compiled(function.__code__)


def _compiled(code: CodeType) -> str:
    constants = [_compiled(item) if isinstance(item, CodeType) else repr(item) for item in code.co_consts]
    return f"{code.co_code.hex()} {constants} {code.co_names}"


def _names_of(code: CodeType) -> set[str]:
    """Global names that a function and the functions inside it use."""
    inner = (item for item in code.co_consts if isinstance(item, CodeType))
    return set(code.co_names).union(*(_names_of(item) for item in inner))
