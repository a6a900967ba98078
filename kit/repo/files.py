"""The files of a repository: which there are, and what is in those that matter.

What git ignores, packages and what tools have made is left out; where there is no git,
a bounded walk leaves out folders that by custom hold such things. Links are not
followed. What is skipped although it may matter is named, with the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from kit.errors import ConfigError
from kit.repo.git import Git
from kit.repo.source import Source

__all__ = ["MAX_BYTES", "Repository", "Skipped", "open_repository"]

MAX_BYTES = 1024 * 1024  # nobody has written a larger source file by hand
MAX_FILES = 100_000
_LEFT_OUT = frozenset(
    {
        ".git", ".hg", ".svn", ".next", ".nuxt", ".turbo", ".vercel", ".cache", ".kit",
        ".yarn", ".pnpm-store", "build", "coverage", "dist", "node_modules", "out",
        "target", "vendor", "__pycache__", ".venv", "venv",
    }
)  # fmt: skip
_TYPESCRIPT = (".ts", ".tsx", ".mts", ".cts")
_TESTS = (".test", ".spec", ".stories")
_TEST_FOLDERS = frozenset({"__tests__", "__mocks__", "test", "tests", "e2e"})
_GENERATED = (b"@generated", b"AUTOMATICALLY GENERATED", b"DO NOT EDIT")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not looked into, and why."""

    file: str
    why: str


@dataclass
class Repository:
    """A folder of files; paths are relative to `root`, with `/`.

    `git` is None where there is none. Files are read once, when they are asked for.
    """

    root: Path
    git: Git | None
    files: tuple[str, ...]
    skipped: list[Skipped] = field(default_factory=list)
    _sources: dict[str, Source | None] = field(default_factory=dict, repr=False)

    def source(self, file: str) -> Source | None:
        """A file, None if it is not there or cannot be used; `skipped` says why."""
        if file not in self._sources:
            self._sources[file] = self._read(file)
        return self._sources[file]

    def _read(self, file: str) -> Source | None:
        path = self.root / file
        try:
            if not path.resolve().is_relative_to(self.root):
                why = "a link that leads out of the repository"
            elif path.is_symlink():
                why = "a link"
            elif (size := path.stat().st_size) > MAX_BYTES:
                why = f"large ({size / MAX_BYTES:.1f} MiB)"
            else:
                data = path.read_bytes()
                data.decode("utf-8")
                if b"\0" not in data:
                    return Source(file, data)
                why = "binary"
        except FileNotFoundError:
            return None
        except OSError as error:
            why = error.strerror or "cannot be read"
        except UnicodeDecodeError:
            why = "not UTF-8"
        self.skipped.append(Skipped(file, why))
        return None

    def is_file(self, file: str) -> bool:
        return (self.root / file).is_file()

    def typescript(self, *, tests: bool = False) -> tuple[str, ...]:
        """Modules of TypeScript that somebody has written; tests only if asked for."""
        return tuple(
            file
            for file in self.files
            if file.endswith(_TYPESCRIPT)
            and not file.endswith(".d.ts")
            and "_generated/" not in file
            and (tests or not _is_test(file))
        )

    def containing(
        self, *needles: str, files: Sequence[str] | None = None
    ) -> Iterator[Source]:
        """The modules with any of these texts: the few that are worth parsing."""
        wanted = [needle.encode() for needle in needles]
        for file in self.typescript() if files is None else files:
            source = self.source(file)
            if (
                source is not None
                and any(needle in source.body for needle in wanted)
                and not self._is_generated(source)
            ):
                yield source

    def _is_generated(self, source: Source) -> bool:
        head = source.body[:1000]
        return any(mark in head for mark in _GENERATED)

    def ignored(self, files: Sequence[str]) -> set[str]:
        """Those of the files that git would not commit."""
        return set() if self.git is None else self.git.ignored(files)

    def inside(self, path: str | Path, what: str) -> str:
        """A path that a person gave, relative to the root. Raises ConfigError."""
        given = Path(path)
        full = Path(os.path.normpath(self.root / given))
        if not full.is_relative_to(self.root) or not full.resolve().is_relative_to(
            self.root
        ):
            raise ConfigError(
                f"{what}: {path} is outside of {self.root}. Give a path inside of it."
            )
        return full.relative_to(self.root).as_posix()


def open_repository(
    path: str | Path, *, env: Mapping[str, str] = os.environ
) -> Repository:
    """List a repository's files, with git where there is one.

    Raises ConfigError for what is no folder, holds no TypeScript or is far too large.
    """
    root = Path(path)
    if not root.is_dir():
        raise ConfigError(f"{path} is not a folder. Give the root of your repository.")
    root = root.resolve()
    git = Git.find(root, env)
    files = [] if git is None else git.files()
    if not files:
        git = None
        files = list(_walked(root))
    repository = Repository(root, git, tuple(sorted(files)))
    if not repository.typescript():
        raise ConfigError(
            f"{root} holds no TypeScript. Give the root of the repository that has "
            "your application's server and frontend."
        )
    return repository


def _walked(root: Path) -> Iterator[str]:
    count = 0
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        for name in names:
            count += 1
            if count > MAX_FILES:
                raise ConfigError(
                    f"{root} holds more than {MAX_FILES:,} files. Give the root of "
                    "one repository."
                )
            yield (Path(folder) / name).relative_to(root).as_posix()


def _is_test(file: str) -> bool:
    path = PurePosixPath(file)
    return path.stem.endswith(_TESTS) or not _TEST_FOLDERS.isdisjoint(path.parts[:-1])
