"""Files that matter and do not parse."""

from pathlib import Path

from repositories import CHAT, copy_monorepo
from reviewed import found_in, reading_of

from kit.doctor.repository.examination import read_code

BROKEN = "console.log(apiKey);\nllm.createMessageStream(;\nconst = 3\n"


def test_a_broken_file_has_one_finding_and_no_other(tmp_path: Path) -> None:
    (finding,) = found_in(tmp_path, {CHAT: BROKEN})
    expected = ("unreadable", "warning", 2)
    assert (finding.code, finding.level, finding.line) == expected


def test_a_broken_file_that_does_not_matter_is_left(tmp_path: Path) -> None:
    broken = BROKEN.replace("createMessageStream", "draw")
    assert found_in(tmp_path, {CHAT: broken}) == []


def test_what_parses_in_a_view_has_none(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    found = read_code(reading_of(root))
    assert "unreadable" not in {each.code for each in found}
