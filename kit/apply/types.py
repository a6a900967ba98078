"""The type checker's errors before and after a change, where the repository has one.

Runs the repository's own TypeScript, in each project that a changed file belongs to.
Errors are compared without their lines, which a change moves.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["TypeErrors", "check_types", "projects_of"]

TIMEOUT = 300.0  # seconds, for each project
_ERROR = re.compile(
    r"^(?P<file>[^\s(][^(]*)\((?P<line>\d+),\d+\): error (?P<text>TS.*)$"
)


@dataclass(frozen=True)
class TypeErrors:
    """What was found; `unchecked` are projects that could not be checked, with why."""

    errors: Counter[str] = field(default_factory=Counter)
    unchecked: tuple[str, ...] = ()

    def new_since(self, before: TypeErrors) -> list[str]:
        """The errors that were not there before."""
        return sorted((self.errors - before.errors).elements())


def projects_of(root: Path, files: Iterable[str]) -> list[Path]:
    """The nearest folder with a `tsconfig.json`, upwards from each module.

    None without an installed TypeScript: a repository whose packages are not there
    would have nothing but errors.
    """
    found = set()
    for file in files:
        if not file.endswith((".ts", ".tsx")):
            continue
        for folder in (root / file).parents:
            if not folder.is_relative_to(root):
                break
            if (folder / "tsconfig.json").is_file():
                if _compiler(root, folder) is not None:
                    found.add(folder)
                break
    return sorted(found)


def check_types(root: Path, projects: Iterable[Path]) -> TypeErrors:
    """Run `tsc --noEmit` in each project."""
    errors: Counter[str] = Counter()
    unchecked = []
    for project in projects:
        compiler = _compiler(root, project)
        node = shutil.which("node")
        name = project.relative_to(root).as_posix()
        if compiler is None or node is None:
            unchecked.append(f"{name}: Node or TypeScript is not installed")
            continue
        command = [node, str(compiler), "--noEmit", "--pretty", "false"]
        try:
            done = subprocess.run(
                [*command, "--project", str(project)],
                cwd=root,
                env={**os.environ, "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            unchecked.append(f"{name}: not done within {TIMEOUT:g} s")
            continue
        found = [m for line in done.stdout.splitlines() if (m := _ERROR.match(line))]
        errors.update(f"{match['file']}: {match['text']}" for match in found)
        if done.returncode != 0 and not found:
            said = (done.stdout + done.stderr).strip().splitlines()
            unchecked.append(f"{name}: {said[0] if said else 'tsc failed'}")
    return TypeErrors(errors, tuple(unchecked))


def _compiler(root: Path, folder: Path) -> Path | None:
    """TypeScript's own program, from the folder upwards to the root."""
    for above in (folder, *folder.parents):
        if not above.is_relative_to(root):
            return None
        program = above / "node_modules" / "typescript" / "bin" / "tsc"
        if program.is_file():
            return program
    return None
