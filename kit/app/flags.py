"""The application's `.env.local`: read the migration's flags, edit them, show the edit.

Holds the three settings that decide how replies travel, and an editor that changes
single settings and leaves every other line as it is. Does not read the process's own
environment, and does not watch the file: as with the guide's application, a change
takes effect when the application restarts.

Mirrors the `.env` format as the guide's frontend reads it: `KEY=value` lines,
optional `export`, three kinds of quotes (no escapes in them), `#` comments, the last
of two equal keys wins.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from kit.client.calls import shown_url
from kit.errors import ConfigError

__all__ = [
    "CONVEX_URL",
    "MIGRATION_OPTION",
    "USE_CONVEX_REALTIME",
    "Flags",
    "Mode",
    "edit_env",
    "read_env",
    "set_flags",
]

USE_CONVEX_REALTIME = "NEXT_PUBLIC_USE_CONVEX_REALTIME"
CONVEX_URL = "NEXT_PUBLIC_CONVEX_URL"
MIGRATION_OPTION = "KIT_MIGRATION_OPTION"

Mode = Literal["before", "option-1", "option-2"]

# The URL that the guide prints for its readers to replace.
_PLACEHOLDER_HOST = "your-deployment.convex.cloud"

_QUOTES = "\"'`"
_LINE = re.compile(
    r"""
    (?P<head> \s* (?:export\s+)? (?P<key>[A-Za-z_][A-Za-z0-9_.]*) \s*=[^\S\r\n]* )
    (?P<value> "[^"]*" | '[^']*' | `[^`]*` | [^\r\n#]*? )
    (?P<tail> [^\S\r\n]* (?: \#[^\r\n]* )? )
    (?P<end> \r?\n )?
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Flags:
    """How replies travel, as `.env.local` says.

    `convex_url` is kept while the flag is off, so that turning it on again needs one
    line only.
    """

    use_convex_realtime: bool = False
    convex_url: str | None = None
    migration_option: Literal[1, 2] = 1

    @classmethod
    def read(cls, path: Path) -> Flags:
        """The flags in the file at `path`; a missing file means the defaults: off.

        Raises ConfigError, naming file, setting and remedy, when the file cannot be
        read, a setting makes no sense, or the flag is on without a usable URL.
        """
        env = read_env(path)
        realtime = _boolean(env.get(USE_CONVEX_REALTIME, ""), path)
        url = env.get(CONVEX_URL) or None
        if realtime:
            _check_url(url, path)
        return cls(realtime, url, _option(env.get(MIGRATION_OPTION, ""), path))

    @property
    def mode(self) -> Mode:
        """Which form of the application these flags ask for."""
        if not self.use_convex_realtime:
            return "before"
        return "option-1" if self.migration_option == 1 else "option-2"


def set_flags(
    path: Path,
    *,
    realtime: bool,
    convex_url: str | None = None,
    option: int | None = None,
) -> str:
    """Write the flags to the file at `path`; the edit as a unified diff.

    None leaves a setting as it is. What the file then says is checked: nothing is
    written if `Flags.read` would refuse it. Raises ConfigError.
    """
    updates = {USE_CONVEX_REALTIME: "true" if realtime else "false"}
    if convex_url is not None:
        updates[CONVEX_URL] = convex_url
    if option is not None:
        updates[MIGRATION_OPTION] = str(option)
    env = read_env(path) | updates
    _option(env.get(MIGRATION_OPTION, ""), path)
    if realtime:
        _check_url(env.get(CONVEX_URL), path)
    return edit_env(path, updates)


def read_env(path: Path) -> dict[str, str]:
    """Every setting in the file at `path`, unquoted; empty if there is no file.

    Raises ConfigError when the file cannot be read.
    """
    settings = {}
    for line in _read(path).splitlines(keepends=True):
        if match := _LINE.fullmatch(line):
            settings[match["key"]] = _unquoted(match["value"])
    return settings


def edit_env(path: Path, updates: Mapping[str, str]) -> str:
    """Set each of `updates` in the file at `path`; the edit as a unified diff.

    Other lines, their order, comments (also one behind a changed value) and line
    ends stay. A new key goes to the end; of a repeated key the last one, which is the
    one that counts, is changed. The diff is empty when nothing had to change. The
    file is created if there is none. Raises ConfigError when it cannot be read or
    written, or a key or value cannot stand on one line.
    """
    before = _read(path)
    lines = before.splitlines(keepends=True)
    for key, value in updates.items():
        _set(lines, key, value)
    after = "".join(lines)
    if after != before:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(after, encoding="utf-8", newline="")
        except OSError as error:
            raise ConfigError(
                f"Cannot write {path}: {error.strerror}. Check the folder's rights."
            ) from None
    return _diff(before, after, path.name)


def _set(lines: list[str], key: str, value: str) -> None:
    """Change the last line of `lines` that sets `key`, or add one."""
    quoted = _quoted(key, value)
    for index in range(len(lines) - 1, -1, -1):
        match = _LINE.fullmatch(lines[index])
        if match and match["key"] == key:
            if _unquoted(match["value"]) != value:
                lines[index] = (
                    match["head"] + quoted + match["tail"] + (match["end"] or "")
                )
            return
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    lines.append(f"{key}={quoted}{end}")


def _diff(before: str, after: str, name: str) -> str:
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"a/{name}", f"b/{name}", lineterm=""
    )
    return "\n".join(lines)


def _read(path: Path) -> str:
    try:
        # newline="" keeps \r\n as it is; utf-8-sig drops the mark of some editors.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text. Save it as UTF-8.") from None
    except OSError as error:
        raise ConfigError(
            f"Cannot read {path}: {error.strerror}. It should be a text file of "
            "KEY=value lines that this user may read."
        ) from None


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES:
        return value[1:-1]
    return value


def _quoted(key: str, value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", key):
        raise ConfigError(f"{key!r} cannot be the name of a setting.")
    if not value.isprintable():
        raise ConfigError(f"{key} cannot be set to {value!r}: not one line of text.")
    if not re.search(r"[\s#'\"`]", value):
        return value
    for quote in _QUOTES:
        if quote not in value:
            return quote + value + quote
    raise ConfigError(f"{key} cannot be set to {value!r}: it holds every quote.")


def _boolean(text: str, path: Path) -> bool:
    if text not in ("", "true", "false"):
        raise ConfigError(
            f"{USE_CONVEX_REALTIME} in {path} is {text!r}. Write true or false."
        )
    return text == "true"


def _option(text: str, path: Path) -> Literal[1, 2]:
    if text not in ("", "1", "2"):
        raise ConfigError(
            f"{MIGRATION_OPTION} in {path} is {text!r}. Write 1 (Convex first, "
            "Socket.IO as the fallback) or 2 (Convex only)."
        )
    return 2 if text == "2" else 1


def _check_url(url: str | None, path: Path) -> None:
    if not url:
        raise ConfigError(
            f"{USE_CONVEX_REALTIME} is true in {path}, but {CONVEX_URL} is missing. "
            f"Add {CONVEX_URL}=<the deployment's URL>, or set the flag to false."
        )
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # raises ValueError for a port that is no number
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"{CONVEX_URL} in {path} is {shown_url(url)}, which is not an http(s) URL. "
            "Write the deployment's URL, such as http://127.0.0.1:3210."
        )
    if parts.hostname == _PLACEHOLDER_HOST:
        raise ConfigError(
            f"{CONVEX_URL} in {path} is still the guide's example. "
            "Write your own deployment's URL."
        )
