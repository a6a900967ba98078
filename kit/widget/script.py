"""The browser's side of the widget: many files to one ES module and one style sheet.

Holds how the plain modules in `front/` become the single one that anywidget takes: in
the order in which they import each other, without the `import` lines and the word
`export`. There is nothing to build or to install; what the files say is what runs.
So that this is true, a module imports plain names from its neighbours only, and no two
modules define the same name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["join_modules", "join_styles"]

_IMPORT = re.compile(
    r'^import \{(?P<names>[\w\s,]+)\} from "\./(?P<file>[\w-]+\.js)";\n', re.MULTILINE
)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const|let) )", re.M)
_LEFT_OVER = re.compile(r"^(?:import|export(?! default))\b.*", re.MULTILINE)
_DEFINED = re.compile(r"^(?:async )?(?:function\*?|class|const|let|var) (\w+)", re.M)


def join_modules(entry: Path) -> str:
    """One module that does what `entry` does.

    Raises ValueError for what cannot be joined: see the rules above.
    """
    files: dict[Path, str] = {}
    _collect(entry, files, [])
    homes: dict[str, Path] = {}
    for path, text in files.items():
        for name in _DEFINED.findall(text):
            if name in homes:
                raise ValueError(f"{name} is defined in {homes[name]} and in {path}")
            homes[name] = path
    return "\n".join(f"// --- {path.name}\n\n{files[path]}" for path in files)


def _collect(path: Path, files: dict[Path, str], importing: list[Path]) -> None:
    """Add `path` to `files`, after all that it imports."""
    if path in importing:
        raise ValueError(f"modules import each other: {[*importing, path]}")
    if path in files:
        return
    text = path.read_text(encoding="utf-8")
    for found in _IMPORT.finditer(text):
        if re.search(r"\bas\b", found["names"]):
            raise ValueError(f"{path}: {found[0]!r} cannot be joined")
        _collect(path.parent / found["file"], files, [*importing, path])
    text = _EXPORT.sub("", _IMPORT.sub("", text))
    if (left := _LEFT_OVER.search(text)) is not None:
        raise ValueError(f"{path}: {left[0]!r} cannot be joined")
    files[path] = text


def join_styles(paths: Iterable[Path]) -> str:
    """One style sheet of these."""
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)
