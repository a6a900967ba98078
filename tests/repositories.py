"""Small repositories of TypeScript for tests: copies of the fixture, and changes."""

import os
import shutil
import subprocess
from pathlib import Path

from kit.apply import Plan

__all__ = [
    "CHAT",
    "HYBRID",
    "SOCKET",
    "apply_plan",
    "change",
    "commit",
    "copy_monorepo",
    "git",
    "write",
]

FIXTURE = Path(__file__).parent / "fixtures" / "monorepo"
CHAT = "apps/server/src/agent/chat.ts"
SOCKET = "apps/server/src/socket.ts"
HYBRID = "apps/frontend/hooks/convex/use-hybrid-task.ts"
_PERSON = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Somebody"), ("EMAIL", "somebody@example.com"))
}


def copy_monorepo(folder: Path, *, committed: bool = True) -> Path:
    """A copy of the fixture as a repository of its own."""
    root = folder / "monorepo"
    shutil.copytree(FIXTURE, root)
    if committed:
        git(root, "init", "--quiet", "--initial-branch=main")
        git(root, "config", "user.name", "Somebody")
        git(root, "config", "user.email", "somebody@example.com")
        commit(root)
    return root


def commit(root: Path, message: str = "As it was") -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", message)


def git(root: Path, *command: str) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    done = subprocess.run(
        ["git", *command],
        cwd=root,
        env={**env, **_PERSON},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def change(root: Path, file: str, old: str, new: str) -> None:
    """Replace a text of a file; fails where there is no such text."""
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new))


def apply_plan(plan: Plan) -> None:
    """What a plan comes to, written to its files; without git."""
    assert not plan.blocked
    for each in plan.changes:
        path = plan.repository.root / each.file
        if each.after is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(each.after)


def write(root: Path, files: dict[str, str | bytes]) -> None:
    """Write files below a folder, byte for byte."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
