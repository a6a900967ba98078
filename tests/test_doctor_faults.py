"""The catalogue of faults: whole, used, tried, and shown where it says."""

import re
from pathlib import Path

import pytest

from kit.doctor.faults import FAULTS
from kit.tour import find_notebooks

ROOT = Path(__file__).parent.parent
# The probes name a fault by its code; some put it together from what they saw.
SOURCES = "\n".join(
    path.read_text()
    for path in sorted((ROOT / "kit" / "doctor").glob("*.py"))
    if path.name != "faults.py"
)
TESTS = "\n".join(
    path.read_text()
    for path in sorted((ROOT / "tests").glob("test_doctor_*.py"))
    if path != Path(__file__)
)


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_is_found_by_a_probe_and_that_is_tested(code: str) -> None:
    assert f'"{code}"' in SOURCES
    assert f'"{code}"' in TESTS


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_says_what_users_see_and_what_to_do(code: str) -> None:
    fault = FAULTS[code]
    assert not fault.title.endswith(".")
    for text in (fault.effect, fault.remedy):
        assert text.endswith(".")
        assert text[0].isupper() or text.startswith("NEXT_PUBLIC_")


def test_notebooks_that_are_named_exist() -> None:
    known = {path.stem for path in find_notebooks()}
    assert {fault.notebook for fault in FAULTS.values()} - {""} <= known


def test_no_other_code_is_used() -> None:
    codes = re.findall(r'problem\(\s*"[\w-]+",\s*"([\w-]+)"', SOURCES)
    assert len(codes) > 20
    assert set(codes) <= FAULTS.keys()
