"""A plan written: one commit per step, on a branch of its own, or nothing at all.

The commits are made beside the work tree, from its last commit; only then git moves the
work tree over to them. Hooks are not run, since a commit that one of them changes or
refuses would leave half a change.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.apply.record import LOCAL_RECORD, entry_of, read_record, written
from kit.apply.steps import Change, Plan, Step
from kit.errors import ConfigError
from kit.repo.files import Repository
from kit.repo.git import Git

__all__ = ["Written", "write_plan"]


@dataclass(frozen=True, slots=True)
class Written:
    """`branch` is the one that the repository is on now; `was` the one before."""

    branch: str
    was: str
    commits: int


def write_plan(plan: Plan, *, rollback: bool = False) -> Written:
    """Commit the steps on a new branch, and move over to it.

    Raises ConfigError, and has then changed nothing, if the plan is blocked, the tree
    is not clean, no branch is checked out, or files cannot be written.
    """
    repository = plan.repository
    git = _require_git(repository)
    if plan.blocked:
        raise ConfigError(
            "Nothing was written: the plan says what has to be done first."
        )
    was = _require_clean(git)
    ignored = repository.ignored([change.file for change in plan.changes])
    _require_writable(repository, plan.changes)
    branch = _free_name(git, plan.name)
    steps = [_kept(step, ignored) for step in plan.steps]
    steps = [step for step in steps if step.changes]
    private = [change for change in plan.changes if change.file in ignored]
    commit = _commits(git, repository, steps)
    record = repository.root / git.text("rev-parse", "--git-path", LOCAL_RECORD)
    undo = {path: _content(path) for path in (record, *_paths(repository, private))}
    try:
        git.run("branch", branch, commit)
        _switch(git, branch)
        _write_private(repository, private, plan, record, rollback=rollback)
    except (ConfigError, OSError) as error:
        _take_back(git, branch, was, undo)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"The change could not be written, and was taken back: {reason}"
        ) from None
    return Written(branch, was, len(steps))


def _require_git(repository: Repository) -> Git:
    if repository.git is None:
        raise ConfigError(
            f"{repository.root} is no git repository, or git is not installed. The "
            "change is written as commits: `git init`, commit all, and apply again."
        )
    return repository.git


def _require_clean(git: Git) -> str:
    """The branch that is checked out."""
    status, out, _ = git.try_run("symbolic-ref", "--quiet", "--short", "HEAD")
    if status != 0:
        raise ConfigError(
            "No branch is checked out (a detached head). `git switch` to the branch "
            "that the change is to start from, and apply again."
        )
    if git.try_run("rev-parse", "--verify", "--quiet", "HEAD")[0] != 0:
        raise ConfigError("There is no commit yet. Commit all, and apply again.")
    dirty = git.run("status", "--porcelain", "--untracked-files=all").decode()
    if dirty:
        lines = dirty.splitlines()
        listed = "\n".join(f"  {line}" for line in lines[:10])
        more = f"\n  and {len(lines) - 10} more" if len(lines) > 10 else ""
        raise ConfigError(
            "The work tree is not clean, so that nothing was written. Commit or stash "
            f"first:\n{listed}{more}"
        )
    return out.decode().strip()


def _require_writable(repository: Repository, changes: Sequence[Change]) -> None:
    for change in changes:
        path = repository.root / change.file
        if path.is_symlink() or not path.resolve().is_relative_to(repository.root):
            raise ConfigError(f"{change.file} is a link: nothing was written.")
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(
                f"{folder} cannot be written to: nothing was written. Make it so, "
                "or work in a clone that is."
            )
        if path.exists() and not os.access(path, os.W_OK):
            raise ConfigError(f"{path} is read-only: nothing was written.")


def _free_name(git: Git, name: str) -> str:
    """The name, with a number where there is such a branch already."""
    for number in range(1, 1000):
        branch = name if number == 1 else f"{name}-{number}"
        if git.try_run("rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")[0]:
            return branch
    raise ConfigError(f"There are too many branches called {name}-…: delete some.")


def _kept(step: Step, ignored: set[str]) -> Step:
    changes = tuple(each for each in step.changes if each.file not in ignored)
    return Step(step.name, step.title, changes)


def _commits(git: Git, repository: Repository, steps: Sequence[Step]) -> str:
    """Make the commits without touching index or work tree; the last one."""
    commit = git.text("rev-parse", "HEAD")
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git.run("read-tree", "HEAD", env=index)
        for step in steps:
            for change in step.changes:
                _stage(git, change, index)
            tree = git.run("write-tree", env=index).decode().strip()
            message = f"{step.title}\n\n{step.name}, by kit apply.\n"
            commit = (
                git.run("commit-tree", tree, "-p", commit, given=message.encode())
                .decode()
                .strip()
            )
    return commit


def _stage(git: Git, change: Change, index: dict[str, str]) -> None:
    path = f"{git.prefix}{change.file}"
    if change.after is None:
        zero = f"0 {'0' * 40}\t{path}\n"
        git.run("update-index", "--index-info", given=zero.encode(), env=index)
        return
    # With the file's filters, so that line ends are stored as git would store them.
    stored = git.run(
        "hash-object", "-w", "--stdin", f"--path={path}", given=change.after
    )
    listed = git.run("ls-files", "--stage", "--full-name", "--", change.file, env=index)
    mode = listed.decode().partition(" ")[0] or "100644"
    info = f"{mode} {stored.decode().strip()}\t{path}\n"
    git.run("update-index", "--index-info", given=info.encode(), env=index)


def _switch(git: Git, branch: str) -> None:
    status, _, err = git.try_run("switch", "--quiet", branch)
    if status != 0:
        raise ConfigError(err.decode("utf-8", "replace").strip())


def _write_private(
    repository: Repository,
    changes: Sequence[Change],
    plan: Plan,
    record: Path,
    *,
    rollback: bool,
) -> None:
    """Files that git ignores are written where they are, and noted in .git."""
    for change in changes:
        _replace(repository.root / change.file, change.after)
    if rollback:
        _replace(record, None)
    elif changes:
        steps = {change: step.name for step in plan.steps for change in step.changes}
        entries = read_record(_content(record))
        entries += [entry_of(steps[change], change) for change in changes]
        _replace(record, written(entries))


def _replace(path: Path, data: bytes | None) -> None:
    if data is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    os.chmod(file.name, mode)
    Path(file.name).replace(path)


def _take_back(git: Git, branch: str, was: str, undo: dict[Path, bytes | None]) -> None:
    for path, data in undo.items():
        if _content(path) != data:
            _replace(path, data)
    git.try_run("switch", "--quiet", "--discard-changes", was)
    git.try_run("branch", "--quiet", "-D", branch)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _paths(repository: Repository, changes: Sequence[Change]) -> list[Path]:
    return [repository.root / change.file for change in changes]
