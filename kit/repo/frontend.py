"""The frontend: the Next application, and the settings file that it reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from kit.repo.files import Repository
from kit.repo.places import Missing, Place
from kit.repo.settings import Settings

__all__ = ["FLAG", "URL", "Frontend", "env_value", "find_frontend", "package"]

FLAG = "NEXT_PUBLIC_USE_CONVEX_REALTIME"
URL = "NEXT_PUBLIC_CONVEX_URL"
_ENV_FILES = (".env.local", ".env.local.example", ".env.example", ".env")


@dataclass(frozen=True)
class Frontend:
    """The application's folder and `.env.local`, which need not be there yet.

    `flag_reads` are the places that read the guide's flag; `provider` is one where a
    ConvexProvider stands.
    """

    folder: str
    env_file: str
    flag: str | None
    url: str | None
    flag_reads: tuple[Place, ...] = ()
    provider: Place | None = None


def find_frontend(
    repository: Repository, settings: Settings, hook_file: str | None
) -> tuple[Frontend | None, tuple[Missing, ...]]:
    """The Next application, the one with the hook if there are several."""
    if settings.frontend is not None:
        folders = [repository.inside(settings.frontend, "The frontend")]
    else:
        folders = [
            folder for folder in _folders(repository) if _is_next(repository, folder)
        ]
        if len(folders) > 1 and hook_file is not None:
            folders = [each for each in folders if _holds(each, hook_file)] or folders
        if len(folders) > 1:
            with_env = [each for each in folders if _has_env(repository, each)]
            folders = with_env if len(with_env) == 1 else folders
    if len(folders) != 1:
        return None, (_unclear(folders),)
    folder = folders[0]
    env_file = str(PurePosixPath(folder) / ".env.local")
    if settings.env_file is not None:
        env_file = repository.inside(settings.env_file, "The settings file")
    source = repository.source(env_file)
    body = "" if source is None else source.text
    return Frontend(
        folder=folder,
        env_file=env_file,
        flag=env_value(body, FLAG),
        url=env_value(body, URL),
        flag_reads=tuple(_reads(repository, folder)),
        provider=_provider(repository, folder),
    ), ()


def env_value(body: str, key: str) -> str | None:
    """What a settings file sets a variable to; the last line that sets it counts."""
    found = re.findall(
        rf"^[ \t]*(?:export[ \t]+)?{key}[ \t]*=[ \t]*(.*?)[ \t]*\r?$",
        body,
        re.MULTILINE,
    )
    if not found:
        return None
    value = str(found[-1])
    if value[:1] in ("'", '"'):
        return value[1:].partition(value[0])[0]
    return re.split(r"\s#", value, maxsplit=1)[0].strip()


def package(repository: Repository, folder: str) -> Mapping[str, Any]:
    """The `package.json` of a folder; empty if there is none to be read."""
    source = repository.source(str(PurePosixPath(folder) / "package.json"))
    try:
        found = json.loads("{}" if source is None else source.text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _folders(repository: Repository) -> list[str]:
    return [
        str(PurePosixPath(file).parent)
        for file in repository.files
        if PurePosixPath(file).name == "package.json"
    ]


def _is_next(repository: Repository, folder: str) -> bool:
    found = package(repository, folder)
    return any(
        isinstance(packages := found.get(kind), dict) and "next" in packages
        for kind in ("dependencies", "devDependencies")
    )


def _holds(folder: str, file: str) -> bool:
    return PurePosixPath(file).is_relative_to(folder)


def _has_env(repository: Repository, folder: str) -> bool:
    base = PurePosixPath(folder)
    return any(repository.is_file(str(base / name)) for name in _ENV_FILES)


def _reads(repository: Repository, folder: str) -> list[Place]:
    found = []
    for source in repository.containing(FLAG):
        if not _holds(folder, source.file):
            continue
        for match in re.finditer(re.escape(FLAG.encode()), source.body):
            line = source.line_at(match.start())
            found.append(Place(source.file, line, match.start(), match.end()))
    return found


def _provider(repository: Repository, folder: str) -> Place | None:
    for source in repository.containing("<ConvexProvider"):
        if _holds(folder, source.file):
            at = source.body.index(b"<ConvexProvider")
            return Place(source.file, source.line_at(at), at, at + 15)
    return None


def _unclear(folders: list[str]) -> Missing:
    if folders:
        what = f"{len(folders)} Next applications were found: {', '.join(folders)}"
    else:
        what = "No Next application (a package.json with `next`) was found"
    return Missing(what, "Say which folder it is with `frontend` in the TOML file.")
