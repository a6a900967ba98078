"""A copy of a repository, to try the change on: the original is only read."""

from pathlib import Path

import pytest
from repositories import CHAT, FIXTURE, copy_monorepo, git, write

from kit.apply import make_plan, plan_rollback, write_plan
from kit.apply.rehearsal import contents, copy_repository, example_repository
from kit.errors import ConfigError
from kit.repo import Settings, locate, open_repository

ENV = "apps/frontend/.env.local"


def test_the_example_is_there() -> None:
    assert example_repository() == FIXTURE
    assert open_repository(example_repository()).typescript()


def test_a_copy_has_what_the_work_tree_has(tmp_path: Path) -> None:
    original = copy_monorepo(tmp_path)
    changed = (original / CHAT).read_bytes() + b"// not committed\r\n"
    write(original, {CHAT: changed, "new.ts": "export const a = 1;\n"})
    write(original, {ENV: "SECRET=1\n", "dist/out.js": "x", "node_modules/a/b.ts": "x"})
    copy = copy_repository(original, _folder(tmp_path))
    found = contents(copy)
    assert found[CHAT] == contents(original, [CHAT])[CHAT]
    assert {"new.ts", ENV, ".gitignore"} <= set(found)
    assert "dist/out.js" not in found
    assert git(copy, "status", "--porcelain") == ""
    assert ENV not in git(copy, "ls-files").split()
    assert git(copy, "rev-list", "--count", "HEAD").strip() == "1"


def test_the_change_on_a_copy_leaves_the_original_alone(tmp_path: Path) -> None:
    original = copy_monorepo(tmp_path)
    before = contents(original)
    copy = copy_repository(original, _folder(tmp_path))
    write_plan(make_plan(locate(open_repository(copy), Settings()), 1))
    assert contents(copy) != before
    write_plan(plan_rollback(open_repository(copy)), rollback=True)
    assert contents(copy) == contents(original) == before
    assert git(original, "branch", "--list").split() == ["*", "main"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    original = copy_monorepo(tmp_path)
    (tmp_path / "secret.ts").write_text("secret")
    (original / "link.ts").symlink_to(tmp_path / "secret.ts")
    copy = copy_repository(original, _folder(tmp_path))
    assert not (copy / "link.ts").exists()


def test_what_is_ignored_everywhere_is_in_the_copy(tmp_path: Path) -> None:
    """A tracked file stays one, although a pattern would ignore it."""
    original = copy_monorepo(tmp_path)
    write(original, {"dist/kept.ts": "export const a = 1;\n"})
    git(original, "add", "--force", "dist/kept.ts")
    copy = copy_repository(original, _folder(tmp_path))
    assert "dist/kept.ts" in git(copy, "ls-files").split()


def test_what_is_no_repository_is_refused(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    with pytest.raises(ConfigError, match="no TypeScript"):
        copy_repository(folder, folder)
    assert list(folder.iterdir()) == []


def test_without_git_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = copy_monorepo(tmp_path, committed=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="git is not installed"):
        copy_repository(original, _folder(tmp_path))


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "copies"
    folder.mkdir()
    return folder
