"""What a diagnosis comes to, and how it is shown."""

import json

from kit.doctor.faults import FAULTS
from kit.doctor.findings import SUBJECTS, Diagnosis, ok, problem, skipped

DIAGNOSIS = Diagnosis(
    [
        skipped("task", "Give its id."),
        problem(
            "deployment", "deployment-refused", "Refused <b>.", "http://a", "Try b."
        ),
        ok("flag-file", "on, option 1.", ".env.local"),
    ]
)


def test_findings_are_in_the_order_of_the_guides_list() -> None:
    assert [finding.subject for finding in DIAGNOSIS] == [
        "flag-file",
        "deployment",
        "task",
    ]
    assert (len(DIAGNOSIS), DIAGNOSIS[0].subject) == (3, "flag-file")
    assert DIAGNOSIS.of("task") == [DIAGNOSIS[2]]


def test_problems_are_counted_and_named() -> None:
    assert DIAGNOSIS.faults == ["deployment-refused"]
    assert DIAGNOSIS.problems == [DIAGNOSIS[1]]
    assert not DIAGNOSIS.well
    assert DIAGNOSIS.verdict == "1 problem: 2 things looked at, 1 not looked at."
    assert repr(DIAGNOSIS) == "<Diagnosis: deployment-refused>"
    well = Diagnosis([ok("packages", "x")])
    assert well.well
    assert well.verdict == "No problem: 1 things looked at."


def test_a_problem_has_what_users_see_and_what_to_do() -> None:
    finding = DIAGNOSIS[1]
    fault = FAULTS["deployment-refused"]
    assert (finding.title, finding.effect) == (fault.title, fault.effect)
    assert finding.remedy == f"Try b. {fault.remedy}"
    assert finding.notebook == fault.notebook
    for other in (DIAGNOSIS[0], DIAGNOSIS[2]):
        assert (other.effect, other.remedy, other.notebook) == ("", "", "")


def test_as_text_problems_come_first() -> None:
    lines = str(DIAGNOSIS).splitlines()
    assert lines[0] == DIAGNOSIS.verdict
    assert lines[1].startswith("✗ Who answers there (http://a): nothing listens there.")
    assert lines[2].strip().startswith("Users see: ")
    assert lines[3].strip().startswith("To do: Try b.")
    assert lines[4:] == [
        "✓ The flag (.env.local): on, option 1.",
        "- The task: not looked at. Give its id.",
    ]


def test_in_a_notebook_it_is_a_table_and_text_is_no_markup() -> None:
    shown = DIAGNOSIS._repr_mimebundle_()
    assert shown["text/plain"] == str(DIAGNOSIS)
    page = shown["text/html"]
    assert "Refused &lt;b&gt;." in page
    assert page.index("Refused") < page.index("<details>") < page.index("option 1")
    assert "<b>Nothing listens there.</b>" in page
    assert "<code>kit deployment</code>" in page
    well = Diagnosis([ok("packages", "x")])._repr_mimebundle_()["text/html"]
    assert "<details>" not in well


def test_as_data_it_is_json() -> None:
    data = json.loads(json.dumps(DIAGNOSIS.as_data()))
    assert data["well"] is False
    assert data["verdict"] == DIAGNOSIS.verdict
    assert [finding["state"] for finding in data["findings"]] == [
        "ok",
        "problem",
        "skipped",
    ]
    assert data["findings"][1]["fault"] == "deployment-refused"
    assert data["findings"][1]["remedy"] == DIAGNOSIS[1].remedy


def test_every_subject_has_a_name() -> None:
    assert all(SUBJECTS.values())
