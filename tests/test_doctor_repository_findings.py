"""What was found in a repository, and how it is shown."""

import json

import pytest

from kit.doctor.faults import FAULTS
from kit.doctor.repository.findings import Found, Review
from kit.doctor.repository.rules import RULES, rule_of
from kit.tour import find_notebooks

NOTE = Found("sql-write", "note", "b.ts", 1, "`x` writes.")
ERROR = Found("key-logged", "error", "b.ts", 20, "`apiKey` & <b>.")
EARLIER = Found("answers-twice", "error", "b.ts", 3, "The loop in line 9.")
REVIEW = Review(
    [NOTE, ERROR, EARLIER, ERROR], root="/r", state="option-1", unknown=["It.", "It."]
)


def test_errors_come_first_then_files_and_lines() -> None:
    assert list(REVIEW) == [EARLIER, ERROR, NOTE]
    assert (len(REVIEW), REVIEW[0]) == (3, EARLIER)
    assert REVIEW.of("key-logged") == [ERROR]
    assert REVIEW.codes == {"sql-write", "key-logged", "answers-twice"}
    assert REVIEW.unknown == ("It.",)


def test_notes_alone_are_well() -> None:
    assert not REVIEW.well
    assert REVIEW.verdict == "2 errors, 1 note. The code is at Option 1."
    well = Review([NOTE], root="/r", state="option-2")
    assert well.well
    assert repr(well) == "<Review: 1 note. The code is at Option 2.>"
    assert Review([], root="/r").verdict == "Nothing found. The code is not recognised."


def test_as_text_and_html_it_says_what_users_see_and_what_to_do() -> None:
    bundle = REVIEW._repr_mimebundle_()
    rule = RULES["key-logged"]
    for shown in bundle.values():
        assert "b.ts:20" in shown
        assert rule.effect.split(",")[0] in shown
        assert "It." in shown
    assert rule.remedy in bundle["text/plain"]
    assert "<code>apiKey</code> &amp; &lt;b&gt;" in bundle["text/html"]


def test_as_data_it_is_json() -> None:
    data = json.loads(json.dumps(REVIEW.as_data()))
    assert data["well"] is False
    assert data["couldNotTell"] == ["It."]
    assert data["findings"][0]["line"] == 3
    assert data["findings"][0]["remedy"] == RULES["answers-twice"].remedy


@pytest.mark.parametrize("code", RULES)
def test_a_rule_is_whole_and_names_a_notebook_that_is_there(code: str) -> None:
    rule = RULES[code]
    assert code not in FAULTS
    assert not rule.title.endswith(".")
    assert rule.effect.endswith(".")
    assert rule.remedy.endswith(".")
    if rule.notebook:
        assert find_notebooks([rule.notebook])


def test_faults_of_what_runs_are_rules_too() -> None:
    for code, fault in FAULTS.items():
        assert rule_of(code).title == fault.title
    assert rule_of("flag-off").level == "note"
    assert rule_of("deployment-refused").level == "error"
