"""What detectors find in small sources that are written for a test."""

from pathlib import Path

from repositories import write

from kit.doctor.repository.examination import read_code
from kit.doctor.repository.findings import Found
from kit.doctor.repository.reading import Reading
from kit.repo import Settings, locate, open_repository

__all__ = ["SERVER", "VIEW", "codes", "found_in", "reading_of"]

SERVER = "apps/server/src/module.ts"
VIEW = "apps/frontend/components/view.tsx"
_NEXT = {"apps/frontend/package.json": '{"dependencies": {"next": "16"}}'}


def reading_of(root: Path) -> Reading:
    return Reading(locate(open_repository(root, env={"PATH": ""}), Settings()))


def found_in(root: Path, files: dict[str, str]) -> list[Found]:
    """The findings in a repository of a frontend without code and these files."""
    write(root, {**_NEXT, **files})
    return read_code(reading_of(root))


def codes(root: Path, source: str, file: str = SERVER) -> list[str]:
    """The rules that one module breaks."""
    return [finding.code for finding in found_in(root, {file: source})]
