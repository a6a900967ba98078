"""A plan as commits: all of it on a branch of its own, or nothing."""

import os
import subprocess
from pathlib import Path

import pytest
from repositories import (
    CHAT,
    HYBRID,
    SOCKET,
    change,
    commit,
    copy_monorepo,
    git,
    write,
)

from kit.apply import Plan, make_plan, write_plan
from kit.apply import write as write_module
from kit.apply.record import RECORD
from kit.errors import ConfigError
from kit.repo import Settings, locate, open_repository

ENV = "apps/frontend/.env.local"
LOCAL = ".git/convex-streaming-kit.json"


def plan_for(root: Path, option: int = 1) -> Plan:
    layout = locate(open_repository(root), Settings())
    return make_plan(layout, 1 if option == 1 else 2, deployment_url="http://x.test")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_monorepo(tmp_path)


def state(root: Path) -> tuple[object, ...]:
    """All that a refused write must leave as it was."""
    files = {
        path.relative_to(root): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }
    head = (root / ".git" / "HEAD").read_text()
    return files, head, git(root, "for-each-ref"), (root / LOCAL).exists()


def test_each_step_is_a_commit_on_a_branch_of_its_own(root: Path) -> None:
    plan = plan_for(root)
    written = write_plan(plan)
    assert (written.branch, written.was) == ("kit/convex-option-1", "main")
    assert git(root, "branch", "--show-current").strip() == "kit/convex-option-1"
    subjects = git(root, "log", "--format=%s", "main..").splitlines()
    assert subjects == [
        "Use the Convex hook in the frontend",
        "Try Convex first, keep Socket.IO as the fallback",
        "Bring functions and tables into the Convex folder",
    ]
    assert git(root, "status", "--porcelain") == ""
    for each in plan.changes:
        last = [c for c in plan.changes if c.file == each.file][-1]
        assert (root / each.file).read_bytes() == last.after


def test_a_step_changes_the_files_that_it_shows(root: Path) -> None:
    plan = plan_for(root)
    write_plan(plan)
    committed = [step for step in plan.steps if step.name != "Option 1, step 1"]
    for number, step in enumerate(reversed(committed)):
        listed = git(root, "show", "--name-only", "--format=", f"HEAD~{number}")
        assert set(listed.split()) == {each.file for each in step.changes}


def test_the_settings_file_is_written_and_never_committed(root: Path) -> None:
    write_plan(plan_for(root))
    assert "NEXT_PUBLIC_USE_CONVEX_REALTIME=true" in (root / ENV).read_text()
    assert ".env.local" not in git(
        root, "log", "-p", "--format=", "main..", "--name-only"
    )
    assert (root / LOCAL).exists()
    assert (root / RECORD).exists()


def test_a_name_that_is_taken_gets_a_number(root: Path) -> None:
    git(root, "branch", "kit/convex-option-1")
    assert write_plan(plan_for(root)).branch == "kit/convex-option-1-2"


def test_modes_and_filters_of_files_are_kept(root: Path) -> None:
    (root / CHAT).chmod(0o755)
    write(root, {".gitattributes": "*.ts text eol=crlf\n"})
    commit(root, "Line ends")
    git(root, "rm", "--quiet", "--cached", "-r", ".")
    git(root, "reset", "--quiet", "--hard")
    assert b"\r\n" in (root / CHAT).read_bytes()
    write_plan(plan_for(root))
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "ls-files", "--stage", CHAT).startswith("100755")
    stored = subprocess.run(
        ["git", "show", f"HEAD:{CHAT}"], cwd=root, capture_output=True, check=True
    ).stdout
    assert b"\r" not in stored
    data = (root / CHAT).read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n")


def test_hooks_of_the_repository_are_not_run(root: Path) -> None:
    hook = root / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nrm -rf apps\n")
    hook.chmod(0o755)
    write_plan(plan_for(root))
    assert (root / CHAT).exists()


def test_a_folder_of_a_larger_repository(tmp_path: Path) -> None:
    inner = copy_monorepo(tmp_path, committed=False)
    write(tmp_path, {"other.txt": "other"})
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    git(tmp_path, "config", "user.name", "Somebody")
    git(tmp_path, "config", "user.email", "somebody@example.com")
    commit(tmp_path)
    write_plan(plan_for(inner))
    assert "tryConvexFirst" in (inner / CHAT).read_text()
    assert git(tmp_path, "status", "--porcelain") == ""
    assert (tmp_path / "other.txt").exists()


# --- what is refused ------------------------------------------------------------------


def refused(root: Path, match: str, *, option: int = 1) -> None:
    plan = plan_for(root, option)
    before = state(root)
    with pytest.raises(ConfigError, match=match):
        write_plan(plan)
    assert state(root) == before


@pytest.mark.parametrize("new", [True, False], ids=["new file", "changed file"])
def test_a_dirty_tree(root: Path, new: bool) -> None:
    write(root, {"notes.txt" if new else SOCKET: "mine"})
    refused(root, r"not clean.*\n.*(notes\.txt|socket\.ts)")


def test_a_detached_head(root: Path) -> None:
    git(root, "switch", "--quiet", "--detach")
    refused(root, "detached head")


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    git(root, "init", "--quiet")
    refused(root, "no commit yet")


def test_no_git_repository(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    layout = locate(open_repository(root, env={"PATH": ""}), Settings())
    with pytest.raises(ConfigError, match="no git repository"):
        write_plan(make_plan(layout, 1))
    assert not (root / RECORD).exists()


def test_a_blocked_plan(root: Path) -> None:
    change(root, CHAT, "for await", "for")
    commit(root)
    refused(root, "what has to be done first")


def test_a_read_only_tree(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may write everywhere, so modes alone would not show it in a container.
    real = os.access
    folder = (root / HYBRID).parent

    def access(path: Path, mode: int) -> bool:
        return Path(path) != folder and real(path, mode)

    monkeypatch.setattr(os, "access", access)
    refused(root, r"hooks/convex cannot be written to: nothing was written")


def test_a_link_in_the_way(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (root / "apps/frontend/hooks/convex/streaming-kit").symlink_to(
        tmp_path / "elsewhere"
    )
    commit(root)
    plan = plan_for(root)
    before = state(root)
    with pytest.raises(ConfigError, match="is a link: nothing was written"):
        write_plan(plan)
    assert state(root) == before
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_fails_half_way_is_taken_back(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(root, {ENV: "SECRET=1\n"})
    plan = plan_for(root)
    before = state(root)
    real = write_module._replace
    calls = []

    def replace(path: Path, data: bytes | None) -> None:
        calls.append(path)
        if len(calls) == 2:  # the settings file is written, its record is not
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(write_module, "_replace", replace)
    with pytest.raises(ConfigError, match="taken back: No space left"):
        write_plan(plan)
    assert state(root) == before


def test_nobody_who_commits(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(root, "config", "user.name", "")
    git(root, "config", "user.email", "")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("EMAIL", "")
    refused(root, "commit-tree")
