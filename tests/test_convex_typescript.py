"""The TypeScript twins of the functions: their types, format and own tests.

Those tests play the scenarios of `tests/scenarios`, too, which test_scenarios plays on
the Python functions; and they ask the scripted provider, which this Python runs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from node import VitestFile, install, require_node, run, run_vitest, vitest_files

import kit.convex

FUNCTIONS = Path(kit.convex.__file__).parent

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def project() -> Path:
    require_node()
    install(FUNCTIONS)
    return FUNCTIONS


@pytest.fixture(scope="module")
def results(project: Path) -> dict[str, VitestFile]:
    return run_vitest(project, env={"KIT_PYTHON": sys.executable})


def test_the_types_are_right(project: Path) -> None:
    run(project, "npm", "run", "typecheck")


def test_the_format_is_prettiers(project: Path) -> None:
    run(project, "prettier", "--check", "**/*.ts")


@pytest.mark.parametrize("name", vitest_files(FUNCTIONS))
def test_vitest(results: dict[str, VitestFile], name: str) -> None:
    results[name].check()


def test_versions_are_exact_and_no_registry_is_named() -> None:
    package = json.loads((FUNCTIONS / "package.json").read_text())
    for versions in (package["dependencies"], package["devDependencies"]):
        assert all(version[0].isdigit() for version in versions.values())
    lock = json.loads((FUNCTIONS / "package-lock.json").read_text())
    assert not any("resolved" in entry for entry in lock["packages"].values())
