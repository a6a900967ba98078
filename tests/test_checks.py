"""Checks: what held, what did not, and the evidence."""

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from kit.checks import CHECKS_MIME, Check, Checks
from kit.errors import CheckFailed, ConfigError


def test_a_check_that_held_and_one_that_did_not() -> None:
    checks = Checks("Option 1")
    assert checks.expect("No 403 errors", [] == [], "0 lines")
    assert not checks.expect("SUCCESS is logged", [], "not found")
    assert checks.results == [
        Check("No 403 errors", True, "0 lines"),
        Check("SUCCESS is logged", False, "not found"),
    ]
    assert checks.failed == [Check("SUCCESS is logged", False, "not found")]


def test_a_cell_that_is_run_again_replaces_its_check() -> None:
    checks = Checks("Option 1")
    checks.expect("Parts appear", False, "0 updates")
    checks.expect("Parts appear", True, "12 updates")
    assert checks.results == [Check("Parts appear", True, "12 updates")]


def test_a_check_belongs_to_a_step_of_the_guide() -> None:
    checks = Checks("Option 1", step="Testing")
    checks.expect("a", True, "")
    checks.expect("b", True, "", step="Option 1, step 2")
    assert [check.step for check in checks.results] == ["Testing", "Option 1, step 2"]
    with pytest.raises(ConfigError, match="no step 'Step 9'"):
        checks.expect("c", True, "", step="Step 9")


def test_an_open_question_is_noted_once() -> None:
    checks = Checks("Option 1")
    checks.leave_open("Who watches?")
    checks.leave_open("Who watches?")
    assert checks.open_questions == ["Who watches?"]


def test_verify_passes_when_everything_held(capsys: pytest.CaptureFixture[str]) -> None:
    checks = Checks("Option 1")
    checks.expect("Parts appear", True, "12 updates")
    checks.verify()
    assert "✓ Parts appear: 12 updates" in str(checks)


def test_verify_names_what_did_not_hold(capsys: pytest.CaptureFixture[str]) -> None:
    checks = Checks("Option 1")
    checks.expect("Parts appear", True, "12 updates")
    checks.expect("No 403 errors", False, "2 lines")
    with pytest.raises(CheckFailed, match=r"1 of 2[^:]*:\n  No 403 errors: 2 lines"):
        checks.verify()


def test_nothing_checked_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckFailed, match="nothing was checked"):
        Checks("Empty").verify()


def test_a_displayed_table_carries_its_results_and_escapes_html() -> None:
    checks = Checks("<b>Title</b>")
    checks.expect("a < b", True, "<script>")
    bundle = checks._repr_mimebundle_()
    assert bundle[CHECKS_MIME]["checks"] == [
        {
            "expected": "a < b",
            "held": True,
            "evidence": "<script>",
            "step": None,
            "cell": None,
        }
    ]
    assert "<script>" not in bundle["text/html"]
    assert "&lt;script&gt;" in bundle["text/html"]


def test_verify_displays_before_it_raises() -> None:
    shell = InteractiveShell.instance()
    publisher, shell.display_pub = shell.display_pub, CapturingDisplayPublisher()
    try:
        checks = Checks("Shown")
        checks.expect("x", False, "y")
        with pytest.raises(CheckFailed):
            checks.verify()
        shown = shell.display_pub.outputs
        assert shown[0]["data"][CHECKS_MIME]["title"] == "Shown"
    finally:
        shell.display_pub = publisher
        InteractiveShell.clear_instance()
