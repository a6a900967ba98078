"""A copy of a repository, to try the change on: the original is only read.

The copy is a git repository of its own, with one commit of what was in the original's
work tree. Files that git ignores are left out, but for the frontend's settings file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from kit.errors import ConfigError
from kit.repo import Settings, locate, open_repository
from kit.repo.git import Git

__all__ = ["contents", "copy_repository", "example_repository"]

_CONFIG = {
    "user.name": "kit apply",
    "user.email": "kit@example.invalid",
    "core.autocrlf": "false",  # byte for byte as in the original
    "core.safecrlf": "false",
}


def example_repository() -> Path:
    """A small repository, shaped as the guide describes its application.

    It is beside the package in a checkout, and inside of it when installed. Raises
    ConfigError if it is in neither.
    """
    package = Path(__file__).parent.parent
    for folder in (package.parent / "tests/fixtures/monorepo", package / "_example"):
        if folder.is_dir():
            return folder
    raise ConfigError(
        "The example repository is missing from this installation. Give a repository "
        "of your own, or install the package again."
    )


def copy_repository(
    path: Path | str, folder: Path, settings: Settings | None = None
) -> Path:
    """Copy a repository into a new folder below `folder`; where the copy is.

    Links are left out. Raises ConfigError for what is no repository of TypeScript, if
    git is not installed, and if a file cannot be copied.
    """
    original = open_repository(path)
    layout = locate(original, settings or Settings())
    if shutil.which("git") is None:
        raise ConfigError("git is not installed: install it, to try a change.")
    root = folder / (original.root.name or "repository")
    try:
        root.mkdir()
        for file in original.files:
            _copy(original.root, root, file)
        git = Git(root, os.environ)
        git.run("init", "--quiet", "--initial-branch=main")
        for name, value in _CONFIG.items():
            git.run("config", name, value)
        git.run("add", "--all", "--force")
        git.run("commit", "--quiet", "--allow-empty", "--message", "As it is")
        if layout.frontend is not None:
            _copy(original.root, root, layout.frontend.env_file)
    except OSError as error:
        raise ConfigError(
            f"{original.root} cannot be copied: {error.strerror}."
        ) from None
    return root


def _copy(original: Path, copy: Path, file: str) -> None:
    source, target = original / file, copy / file
    if source.is_symlink() or not source.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o600 | (source.stat().st_mode & 0o111))


def contents(root: Path, files: Iterable[str] | None = None) -> dict[str, str]:
    """A digest of each file by its path below `root`.

    Of these files; of None, of all but git's own and installed packages. Equal before
    and after: nothing was written there, nothing is left.
    """
    return {
        file: hashlib.sha256((root / file).read_bytes()).hexdigest()
        for file in (_all(root) if files is None else files)
        if (root / file).is_file() and not (root / file).is_symlink()
    }


def _all(root: Path) -> Iterator[str]:
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in (".git", "node_modules")]
        for name in names:
            yield (Path(folder) / name).relative_to(root).as_posix()
