"""The hooks, and what components take of them."""

from pathlib import Path

import pytest
from repositories import write

from kit.repo import Settings, open_repository
from kit.repo.hooks import Hooks, find_hooks

SOCKET = """\
export function useTaskSocket(taskId?: string) {
  return { isConnected: true, "sendMessage": send, stopStream() {} };
}
"""
HYBRID = "export const useHybridTask = (taskId?: string) => useTaskSocket(taskId);\n"


def hooks_of(root: Path, **files: str) -> Hooks:
    write(root, {"web/hooks/socket.ts": SOCKET, "web/hooks/hybrid.ts": HYBRID})
    write(root, {f"web/{name}.tsx": text for name, text in files.items()})
    return find_hooks(open_repository(root, env={"PATH": ""}), Settings())


@pytest.mark.parametrize(
    ("text", "fields", "whole"),
    [
        ("const { a, b: c, d = 1 } = useHybridTask(id);", "abd", False),
        ("const { a, ...rest } = useHybridTask(id);", "a", True),
        ("const t = useHybridTask(id); t.a(); show(t.b);", "ab", False),
        ("const t = useHybridTask(id); const { a } = t;", "a", False),
        ("const t = useHybridTask(id); provide(t);", "", True),
        ("const a = useHybridTask(id).b;", "b", False),
        ("return useHybridTask(id);", "", True),
        ("useHybridTask(id);", "", False),
    ],
)
def test_the_fields_that_are_used(
    tmp_path: Path, text: str, fields: str, whole: bool
) -> None:
    (consumer,) = hooks_of(tmp_path, view=f"function View() {{ {text} }}").consumers
    assert (consumer.fields, consumer.whole) == (frozenset(fields), whole)
    assert consumer.place.file == "web/view.tsx"


def test_the_fields_that_are_returned(tmp_path: Path) -> None:
    hooks = hooks_of(tmp_path)
    assert hooks.socket is not None
    wanted = frozenset({"isConnected", "sendMessage", "stopStream"})
    assert hooks.socket.fields == wanted
    assert hooks.merging is not None
    assert hooks.merging.fields is None  # whatever the other one returns


def test_two_hooks_are_not_chosen_between(tmp_path: Path) -> None:
    hooks = hooks_of(tmp_path, other=HYBRID)
    assert hooks.merging is None
    (missing,) = hooks.missing
    assert "--hook-file" in missing.todo
    assert len(missing.places) == 2
