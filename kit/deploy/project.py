"""The folder that Convex's CLI runs in: a project around a copy of the functions.

The CLI takes every module below the functions folder for one of functions, packages
in `node_modules` too, and rewrites `_generated`. So it is not run where the kit is
installed: the functions are copied into `convex/` of a folder that has their
`package.json` beside it, as in any Convex project.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kit.errors import ConfigError

__all__ = [
    "INSTALL",
    "SOURCE",
    "has_packages",
    "install",
    "lay_out",
    "modules",
    "public_functions",
    "require_node",
    "run",
]

SOURCE = Path(__file__).parent.parent / "convex"

# Exactly the versions that the functions are tested with. No package here needs its
# install script.
INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")

_PACKAGE_FILES = ("package.json", "package-lock.json", ".npmrc")
# A dot in a module's name is for tests, but for these (`entryPoints` in the CLI's
# src/bundler/index.ts).
_CONFIGS = ("auth.config.ts", "convex.config.ts")
_PUBLIC = re.compile(r"^export const (\w+) = (?:query|mutation|action)\(", re.MULTILINE)


def public_functions(source: Path = SOURCE) -> list[str]:
    """The paths of the functions that clients may call."""
    return [
        f"{path.stem}:{name}"
        for path in _modules(source, "*.ts")
        for name in _PUBLIC.findall(path.read_text(encoding="utf-8"))
    ]


def modules(source: Path = SOURCE) -> list[Path]:
    """The functions' modules in TypeScript, without tests and what is generated."""
    return [*_modules(source, "*.ts"), *_modules(source, "lib/**/*.ts")]


def lay_out(folder: Path, source: Path = SOURCE) -> None:
    """Make `folder` a Convex project with a copy of the functions.

    A copy from before is replaced; installed packages stay. Raises ConfigError if
    the folder is something else's or cannot be written.
    """
    try:
        _refuse_foreign(folder, source)
        functions = folder / "convex"
        if functions.exists():
            shutil.rmtree(functions)
        functions.mkdir(parents=True)
        for path in _functions_files(source):
            _copy(path, functions / path.relative_to(source))
        for name in _PACKAGE_FILES:
            if (source / name).exists():
                _copy(source / name, folder / name)
    except OSError as error:
        raise ConfigError(
            f"The functions cannot be copied to {folder}: {error.strerror}. Choose "
            "another folder with --folder."
        ) from None


def has_packages(folder: Path, source: Path = SOURCE) -> bool:
    """Whether the packages that the functions need are installed in the project."""
    try:
        return _stamp(folder).read_text(encoding="utf-8") == _fingerprint(source)
    except OSError:
        return False


def install(folder: Path, env: Mapping[str, str]) -> None:
    """Install the packages. Raises ConfigError if npm fails; it has said why."""
    status = run(INSTALL, folder, env)
    if status != 0:
        raise ConfigError(
            f"`{' '.join(INSTALL)}` in {folder} ended with status {status}; its output "
            "is above. Nothing was deployed."
        )
    _stamp(folder).write_text(_fingerprint(folder), encoding="utf-8")


def run(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> int:
    """Run a command in the project, on this terminal; its exit status."""
    program = shutil.which(command[0], path=env.get("PATH"))
    if program is None:
        raise ConfigError(_missing([command[0]]))
    return subprocess.run([program, *command[1:]], cwd=folder, env=dict(env)).returncode


def require_node(env: Mapping[str, str]) -> None:
    """Raise ConfigError if Node or npm is missing."""
    programs = ("node", "npm", "npx")
    path = env.get("PATH")
    missing = [name for name in programs if shutil.which(name, path=path) is None]
    if missing:
        raise ConfigError(_missing(missing))


def _missing(programs: Sequence[str]) -> str:
    return (
        f"{', '.join(programs)} not found: Convex's CLI runs on Node.js. Install Node "
        "20 or later, with npm (https://nodejs.org), and try again. To check a "
        "deployment that has the functions, none is needed: kit deploy --check URL"
    )


def _refuse_foreign(folder: Path, source: Path) -> None:
    """Raise ConfigError unless the folder is ours, empty or not there yet."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    if _name(folder) != _name(source) or folder.resolve() == source.resolve():
        raise ConfigError(
            f"{folder} holds something else. Choose an empty folder, or one that "
            "`kit deploy` has made, with --folder."
        )


def _name(folder: Path) -> str | None:
    """The name of the npm package in a folder."""
    try:
        package = json.loads((folder / "package.json").read_text(encoding="utf-8"))
        return str(package["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _functions_files(source: Path) -> Iterator[Path]:
    """What a functions folder consists of, here without tests."""
    yield source / "tsconfig.json"
    yield from (path for path in (source / "_generated").iterdir() if path.is_file())
    yield from modules(source)


def _modules(source: Path, pattern: str) -> Iterator[Path]:
    for path in sorted(source.glob(pattern)):
        if "." not in path.stem or path.name in _CONFIGS:
            yield path


def _copy(source: Path, destination: Path) -> None:
    """Copy a file, but not its mode: what is installed may be read-only."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, destination)


def _stamp(folder: Path) -> Path:
    return folder / "node_modules" / ".installed"


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in ("package.json", "package-lock.json"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
