"""JUnit XML of a tour: what CI systems count must be what the tour found."""

import xml.etree.ElementTree as ET
from pathlib import Path

from kit.checks import Check
from kit.report import Executed, NotebookRun, write_junit


def run(*checks: Check, error: str | None = None) -> NotebookRun:
    shown = Executed("A title", list(checks))
    return NotebookRun("02_step", Path("x"), shown, 1.5, error, 4 if error else None)


def written(folder: Path, *runs: NotebookRun) -> ET.Element:
    path = folder / "junit.xml"
    write_junit(path, runs)
    return ET.parse(path).getroot()


def test_a_case_per_check_and_one_for_the_whole(tmp_path: Path) -> None:
    root = written(tmp_path, run(Check("Parts appear", True, "12 <updates>")))
    assert root.attrib | {"name": ""} == {
        "name": "",
        "tests": "2",
        "failures": "0",
        "errors": "0",
    }
    cases = [
        (case.get("classname"), case.get("name")) for case in root.iter("testcase")
    ]
    assert cases == [("02_step", "runs to its end"), ("02_step", "Parts appear")]
    assert root.find(".//failure") is None


def test_a_broken_check_is_a_failure_with_its_evidence(tmp_path: Path) -> None:
    root = written(tmp_path, run(Check("a < b", False, "3 & 4")), run())
    assert (root.get("tests"), root.get("failures")) == ("3", "1")
    failure = root.find(".//testcase[@name='a < b']/failure")
    assert failure is not None
    assert failure.text == "3 & 4"


def test_a_notebook_that_broke_off_is_an_error(tmp_path: Path) -> None:
    root = written(tmp_path, run(error="ValueError: bad\x1b[0m\nmore"))
    assert (root.get("failures"), root.get("errors")) == ("0", "1")
    error = root.find(".//testcase[@name='runs to its end']/error")
    assert error is not None
    assert error.get("message") == "cell 4: ValueError: bad\N{REPLACEMENT CHARACTER}[0m"
