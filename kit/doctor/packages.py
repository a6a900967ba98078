"""Whether what is installed is what the kit asks for.

In a checkout that is `pyproject.toml` as it is now: after a `git pull` it may ask for
more than was installed. Elsewhere it is what the installed package says of itself.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

import kit
from kit.doctor.findings import Finding, ok, problem, skipped

__all__ = ["check_packages", "look_at_packages", "requirements"]

DISTRIBUTION = "convex-streaming-kit"


def look_at_packages() -> Finding:
    """Compare the installed packages with the kit's requirements."""
    asked, source = requirements()
    if not asked:
        return skipped("packages", f"{source} tells no requirements.")
    wrong = check_packages(asked)
    if wrong:
        return problem("packages", "packages", f"{'; '.join(wrong)}.", source)
    return ok("packages", f"All {len(asked)} are as they should be.", source)


def requirements() -> tuple[list[str], str]:
    """What the kit asks for, and where that is written."""
    project = Path(kit.__file__).parent.parent / "pyproject.toml"
    try:
        table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        if table["name"] == DISTRIBUTION:
            return list(table["dependencies"]), str(project)
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not a checkout
    try:
        return requires(DISTRIBUTION) or [], DISTRIBUTION
    except PackageNotFoundError:
        return [], f"{DISTRIBUTION}, which is not installed,"


def check_packages(asked: list[str]) -> list[str]:
    """What is missing or out of range, each in a few words."""
    wrong = []
    for text in asked:
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            wrong.append(f"{text!r} cannot be understood")
            continue
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(wanted.name)
        except PackageNotFoundError:
            wrong.append(f"{wanted.name} is not installed ({wanted.specifier})")
            continue
        if not wanted.specifier.contains(installed, prereleases=True):
            wrong.append(f"{wanted.name} is {installed} ({wanted.specifier})")
    return wrong
