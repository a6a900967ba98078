"""The version of the functions' contract, alike in both languages."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from convex_functions import FOLDER, Functions

from kit.convex import contract


@pytest.fixture
def functions(tmp_path: Path) -> Iterator[Functions]:
    functions = Functions(tmp_path)
    yield functions
    functions.close()


def test_a_deployment_tells_the_version_of_its_functions(functions: Functions) -> None:
    assert functions.call("contract:version") == contract.VERSION


def test_both_languages_are_at_the_same_version() -> None:
    (typescript,) = re.findall(
        r"^const VERSION = (\d+);", (FOLDER / "contract.ts").read_text(), re.MULTILINE
    )
    assert int(typescript) == contract.VERSION
