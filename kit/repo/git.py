"""Git, as far as it is asked: which files there are, what is ignored, plumbing.

Runs git without the repository's own programs (hooks, a file system monitor) and
without what the environment says about another repository.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from kit.errors import ConfigError

__all__ = ["Git"]

_TIMEOUT = 60.0  # seconds; git that waits for something else is not waited for
_NO_PROGRAMS = (
    "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null",
    "-c", "commit.gpgSign=false", "-c", "core.quotePath=false",
)  # fmt: skip


class Git:
    """The git repository that a folder is in; `prefix` leads from its top to it."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self._env = {k: v for k, v in env.items() if not k.startswith("GIT_")}
        self._env |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        self._env |= {
            k: v
            for k, v in env.items()
            if k.startswith(("GIT_AUTHOR", "GIT_COMMITTER"))
        }
        self.prefix = ""

    @classmethod
    def find(cls, folder: Path, env: Mapping[str, str]) -> Git | None:
        """None where the folder is in no work tree, or git is not installed."""
        if shutil.which("git", path=env.get("PATH")) is None:
            return None
        git = cls(folder, env)
        status, out, _ = git.try_run("rev-parse", "--is-inside-work-tree")
        if status != 0 or out.strip() != b"true":
            return None
        git.prefix = git.text("rev-parse", "--show-prefix")
        return git

    def files(self) -> list[str]:
        """Tracked files and new ones, without what is ignored or deleted."""
        out = self.run(
            "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."
        )
        names = dict.fromkeys(name.decode("utf-8", "replace") for name in _items(out))
        return [name for name in names if "node_modules/" not in name]

    def ignored(self, files: Sequence[str]) -> set[str]:
        """Those of the files that are ignored and not tracked."""
        if not files:
            return set()
        given = b"\0".join(file.encode() for file in files)
        _, out, _ = self.try_run("check-ignore", "-z", "--stdin", given=given)
        return {name.decode() for name in _items(out)}

    def text(self, *command: str) -> str:
        """What a command prints, without the last line end. Raises ConfigError."""
        return self.run(*command).decode("utf-8", "replace").rstrip("\n")

    def run(
        self, *command: str, given: bytes = b"", env: Mapping[str, str] | None = None
    ) -> bytes:
        """What a command prints. Raises ConfigError, in git's words, if it fails."""
        status, out, err = self.try_run(*command, given=given, env=env)
        if status != 0:
            said = err.decode("utf-8", "replace").strip() or f"status {status}"
            raise ConfigError(f"`git {command[0]}` failed in {self.folder}: {said}")
        return out

    def try_run(
        self, *command: str, given: bytes = b"", env: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, bytes]:
        """Status, output and errors of a command. Raises ConfigError if it hangs."""
        try:
            done = subprocess.run(
                ["git", *_NO_PROGRAMS, *command],
                cwd=self.folder,
                env={**self._env, **(env or {})},
                input=given,
                capture_output=True,
                timeout=_TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise ConfigError(
                f"`git {command[0]}` in {self.folder} took longer than "
                f"{_TIMEOUT:g} s. Nothing was changed by it."
            ) from None
        return done.returncode, done.stdout, done.stderr


def _items(out: bytes) -> list[bytes]:
    return [item for item in out.split(b"\0") if item]
