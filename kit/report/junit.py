"""A tour as JUnit XML, which CI systems read: one case per expected behaviour.

Mirrors the format that Jenkins, GitLab and GitHub's reporters share: `testsuites` of
`testsuite` (a notebook) of `testcase` (a check), `failure` for a behaviour that did
not hold, `error` for a notebook that did not run to its end.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from kit.report.run import NotebookRun

__all__ = ["write_junit"]

# What XML 1.0 has no way to say, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(path: Path, runs: Sequence[NotebookRun]) -> None:
    """Write what came out of `runs` to `path`."""
    root = ET.Element("testsuites", name="kit tour")
    for run in runs:
        _suite(root, run)
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _suite(root: ET.Element, run: NotebookRun) -> None:
    broken = sum(not check.held for check in run.checks)
    suite = ET.SubElement(
        root,
        "testsuite",
        name=run.name,
        time=f"{run.seconds:.3f}",
        tests=str(len(run.checks) + 1),
        failures=str(broken),
        errors=str(int(run.error is not None)),
    )
    whole = _case(suite, run, "runs to its end", seconds=run.seconds)
    if run.error is not None:
        where = "" if run.failed_cell is None else f"cell {run.failed_cell}: "
        _said(whole, "error", where + run.error)
    for check in run.checks:
        case = _case(suite, run, check.expected)
        if not check.held:
            _said(case, "failure", check.evidence)


def _case(
    suite: ET.Element, run: NotebookRun, name: str, seconds: float = 0.0
) -> ET.Element:
    return ET.SubElement(
        suite,
        "testcase",
        classname=run.name,
        name=_xml(name),
        time=f"{seconds:.3f}",
    )


def _said(case: ET.Element, tag: str, text: str) -> None:
    text = _xml(text)
    ET.SubElement(case, tag, message=text.partition("\n")[0]).text = text


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
