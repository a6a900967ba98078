"""The official JavaScript clients against the embedded deployment, under vitest.

The tests are in `tests/npm`: what clients do there is what an application's front end
does. So are those of the hooks in `kit/templates`, which are laid out as a user copies
them, beside the functions in TypeScript. Each test file there is one test here.
"""

import sys
from pathlib import Path

import pytest
from node import VitestFile, install, require_node, run, run_vitest, vitest_files

PROJECT = Path(__file__).parent / "npm"
FUNCTIONS = Path(__file__).parent.parent / "kit" / "convex"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def project() -> Path:
    """The project, with its packages and those that the functions' types name."""
    require_node()
    install(FUNCTIONS)
    install(PROJECT)
    return PROJECT


@pytest.fixture(scope="module")
def results(project: Path) -> dict[str, VitestFile]:
    """What vitest found in each file; one run for all of them."""
    return run_vitest(project, env={"KIT_PYTHON": sys.executable})


def test_the_types_are_right(project: Path) -> None:
    run(project, "npm", "run", "typecheck")


@pytest.mark.parametrize("name", vitest_files(PROJECT))
def test_npm(results: dict[str, VitestFile], name: str) -> None:
    results[name].check()
