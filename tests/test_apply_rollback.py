"""Taken back: the same files as before, also after later commits, or not at all."""

from pathlib import Path

import pytest
from repositories import CHAT, HYBRID, SOCKET, change, commit, copy_monorepo, git, write

from kit.apply import make_plan, plan_rollback, write_plan
from kit.apply.record import LOCAL_RECORD, RECORD
from kit.errors import ConfigError
from kit.repo import Settings, locate, open_repository

ENV = "apps/frontend/.env.local"
SECRETS = "SECRET=1\nNEXT_PUBLIC_USE_CONVEX_REALTIME=false\nOTHER=2"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = copy_monorepo(tmp_path)
    write(root, {ENV: SECRETS})
    return root


def apply_option(root: Path, option: int) -> None:
    layout = locate(open_repository(root), Settings())
    plan = make_plan(layout, 1 if option == 1 else 2, deployment_url="http://x.test")
    write_plan(plan)


def roll_back(root: Path) -> None:
    write_plan(plan_rollback(open_repository(root)), rollback=True)


def blocked(root: Path) -> str:
    plan = plan_rollback(open_repository(root))
    assert plan.blocked
    with pytest.raises(ConfigError, match="Nothing was written"):
        write_plan(plan, rollback=True)
    return "\n".join(line for step in plan.steps for line in step.blocked)


@pytest.mark.parametrize("options", [[1], [2], [1, 2]])
def test_all_is_as_it_was(root: Path, options: list[int]) -> None:
    for option in options:
        apply_option(root, option)
    roll_back(root)
    assert git(root, "diff", "--stat", "main") == ""
    assert (root / ENV).read_text() == SECRETS
    assert git(root, "status", "--porcelain") == ""
    assert not (root / RECORD).exists()
    assert not (root / ".git" / LOCAL_RECORD).exists()


def test_applied_again_it_may_be_taken_back_again(root: Path) -> None:
    for _ in range(2):
        apply_option(root, 1)
        roll_back(root)
    assert git(root, "diff", "--stat", "main") == ""
    assert git(root, "branch", "--show-current").strip() == "kit/convex-rollback-2"


@pytest.mark.parametrize("convert", [b"\r\n", b"\xef\xbb\xbf"], ids=["CRLF", "BOM"])
def test_bytes_are_as_they_were(tmp_path: Path, convert: bytes) -> None:
    root = copy_monorepo(tmp_path)
    for file in (CHAT, SOCKET, HYBRID, "convex/schema.ts"):
        data = (root / file).read_bytes()
        is_bom = convert != b"\r\n"
        data = convert + data if is_bom else data.replace(b"\n", convert)
        (root / file).write_bytes(data)
    commit(root)
    apply_option(root, 2)
    roll_back(root)
    assert git(root, "diff", "--stat", "main") == ""


def test_later_changes_stay(root: Path) -> None:
    apply_option(root, 2)
    change(root, CHAT, "[CHAT] Task", "[CHAT] The task")
    change(root, CHAT, "/** Answers", "// One more line\n// and one more\n/** Answers")
    change(root, SOCKET, "let io:", "const LATER = 1;\nlet io:")
    write(root, {"convex/later.ts": "export {};\n"})
    commit(root, "Later")
    roll_back(root)
    changed = git(root, "diff", "--name-only", "main").split()
    assert sorted(changed) == sorted([CHAT, SOCKET, "convex/later.ts"])
    lines = git(root, "diff", "--unified=0", "main", "--", CHAT, SOCKET).splitlines()
    added = [each for each in lines if each.startswith("+") and "+++" not in each]
    assert [each.strip("+ ") for each in added] == [
        "// One more line",
        "// and one more",
        "console.error(`[CHAT] The task ${taskId} failed: ${text}`);",
        "const LATER = 1;",
    ]


def test_it_works_where_commits_were_squashed_and_cloned(
    root: Path, tmp_path: Path
) -> None:
    apply_option(root, 1)
    git(root, "switch", "--quiet", "main")
    git(root, "merge", "--quiet", "--squash", "kit/convex-option-1")
    commit(root, "All of it")
    git(root, "branch", "--quiet", "-D", "kit/convex-option-1")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(root), str(clone))
    git(clone, "config", "user.name", "Somebody")
    git(clone, "config", "user.email", "somebody@example.com")
    roll_back(clone)
    assert git(clone, "diff", "--stat", "main~1") == ""


def test_a_hunk_that_no_longer_fits_is_shown_and_nothing_is_written(root: Path) -> None:
    apply_option(root, 1)
    change(root, CHAT, "convexReply ? [] :", "convexReply?.messageId ? [] :")
    commit(root, "Later")
    said = blocked(root)
    assert f"{CHAT}: the change at line" in said
    assert "no longer fits" in said
    assert "convexReply ? [] :" in said
    assert (root / RECORD).exists()


def test_what_was_taken_back_by_hand_is_no_obstacle(root: Path) -> None:
    apply_option(root, 1)
    git(root, "checkout", "--quiet", "main", "--", CHAT)
    commit(root, "Revert chat.ts")
    roll_back(root)
    assert git(root, "diff", "--stat", "main") == ""


def test_an_added_file_that_was_edited_is_not_deleted(root: Path) -> None:
    apply_option(root, 1)
    module = "convex/streamingKit/tools.ts"
    with (root / module).open("a") as file:
        file.write("// A tool of ours\n")
    commit(root, "Later")
    assert f"{module} was added by the change and has been edited" in blocked(root)


def test_without_a_record_there_is_nothing_to_take_back(root: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to roll back"):
        plan_rollback(open_repository(root))


def test_a_broken_record_is_said(root: Path) -> None:
    write(root, {RECORD: "{"})
    with pytest.raises(ConfigError, match="cannot be read"):
        plan_rollback(open_repository(root))


def test_a_record_that_leads_outside_is_refused(root: Path) -> None:
    entry = '{"step": "x", "file": "../../outside", "after": "x"}'
    write(root, {RECORD: f'{{"version": 1, "changes": [{entry}]}}'})
    with pytest.raises(ConfigError, match="is outside of"):
        plan_rollback(open_repository(root))


def test_generated_types_that_git_ignores_come_back_too(root: Path) -> None:
    git(root, "rm", "--quiet", "-r", "--cached", "convex/_generated")
    with (root / ".gitignore").open("a") as file:
        file.write("convex/_generated/\n")
    commit(root, "Ignore what is generated")
    api = root / "convex/_generated/api.d.ts"
    before = api.read_text()
    apply_option(root, 1)
    assert "streamingKit" in api.read_text()
    assert "_generated" not in git(root, "log", "--name-only", "--format=", "main..")
    roll_back(root)
    assert api.read_text() == before
    assert git(root, "diff", "--stat", "main") == ""
