"""Imports the Python files of a functions folder, and says where one is broken.

Knows nothing of what is in the modules: `functions` looks for functions in them.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from kit.deployment.paths import parse_path
from kit.errors import FunctionLoadError

__all__ = ["import_modules", "location_of"]

# The loose folder that is on `sys.path` now, if any.
_loose_folder: Path | None = None


def import_modules(folder: Path) -> dict[str, ModuleType]:
    """The modules below `folder` by path without extension, as in `dir/messages`.

    Raises FunctionLoadError when there is no such folder, a name cannot be a module of
    functions, or a module does not import.
    """
    paths = _paths_below(folder)
    prefix = _make_importable(folder)
    importlib.invalidate_caches()
    return {path: _import(folder, prefix, path) for path in paths}


def location_of(function: Callable[..., Any]) -> str:
    """`file, line n` where `function` is defined."""
    code = function.__code__
    return f"{code.co_filename}, line {code.co_firstlineno}"


def _paths_below(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise FunctionLoadError(
            f"There is no folder of functions at {folder}. Check --functions."
        )
    paths = []
    for file in _walk(folder):
        path = file.relative_to(folder).with_suffix("").as_posix()
        _check_module_path(path, file)
        paths.append(path)
    return paths


def _walk(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise FunctionLoadError(
            f"Cannot read the functions folder {folder}: {error.strerror}."
        ) from None
    for entry in entries:
        if entry.name.startswith(("_", ".")) or entry.name == "node_modules":
            continue
        if entry.is_dir():
            yield from _walk(entry)
        elif entry.suffix == ".py":
            yield entry


def _check_module_path(path: str, file: Path) -> None:
    try:
        parse_path(f"{path}:default")
        problem = "" if path.replace("/", "_").isidentifier() else "not importable"
    except ValueError as error:
        problem = str(error)
    if problem:
        raise FunctionLoadError(
            f"{file} cannot be a module of functions ({problem}). Rename it using "
            "letters, digits and underscores, or start its name with `_` to leave it "
            "out."
        )


def _make_importable(folder: Path) -> str:
    """Make `folder` importable; returns what goes before its modules' dotted names."""
    if not (folder / "__init__.py").exists():
        _use_loose_folder(folder)
        return ""
    root = folder
    while (root.parent / "__init__.py").exists():
        root = root.parent
    _append_to_path(root.parent)
    return ".".join(folder.relative_to(root.parent).parts) + "."


def _use_loose_folder(folder: Path) -> None:
    """Put `folder` on `sys.path`, and forget the one that was there before.

    It goes last, so that a file named like a library does not hide the library: such a
    file is then found out by `_import`.
    """
    global _loose_folder
    if _loose_folder is not None:
        if str(_loose_folder) in sys.path:
            sys.path.remove(str(_loose_folder))
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file is not None and Path(file).is_relative_to(_loose_folder):
                del sys.modules[name]
    _loose_folder = folder
    _append_to_path(folder)


def _append_to_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _import(folder: Path, prefix: str, path: str) -> ModuleType:
    name = prefix + path.replace("/", ".")
    file = folder / f"{path}.py"
    writes_bytecode = sys.dont_write_bytecode
    if not prefix:
        # Bytecode is told from its source by a time in whole seconds: a file changed
        # twice within one would be loaded as it was.
        sys.dont_write_bytecode = True
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        where = _where(error, folder) or file
        raise FunctionLoadError(f"{where}: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = writes_bytecode
    found = getattr(module, "__file__", None)
    if found is None or not os.path.samefile(found, file):
        raise FunctionLoadError(
            f"{file} cannot be imported: the module name {name!r} is already taken by "
            f"{found or 'a built-in module'}. Rename the file."
        )
    return module


def _where(error: BaseException, folder: Path) -> str | None:
    """The innermost place in the folder's own code that led to `error`."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename).is_relative_to(folder):
            return f"{frame.filename}, line {frame.lineno}"
    return None
