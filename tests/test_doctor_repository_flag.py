"""Code paths that bypass the guide's flag, or the hook that follows it."""

from pathlib import Path

from repositories import CHAT, HYBRID, copy_monorepo, write
from reviewed import reading_of

from kit.doctor.repository.findings import Found
from kit.doctor.repository.flag import flag_bypasses

FLAG = "NEXT_PUBLIC_USE_CONVEX_REALTIME"
GUIDES_HOOK = """
import { useMessageStreaming } from "./use-message-streaming";
import { useTaskSocket } from "../socket/use-task-socket";

export function useHybridTask(taskId: string | undefined) {
  const socketData = useTaskSocket(taskId);
  const { messages, isStreaming } = useMessageStreaming(taskId);
  return { messages, isStreaming, sendMessage: socketData.sendMessage };
}
"""


def bypasses(root: Path) -> list[Found]:
    return list(flag_bypasses(reading_of(root)))


def test_before_the_migration_there_are_none(tmp_path: Path) -> None:
    assert bypasses(copy_monorepo(tmp_path, committed=False)) == []


def test_the_guides_own_hook_does_not_ask_the_flag(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    write(root, {HYBRID: GUIDES_HOOK})
    (finding,) = bypasses(root)
    expected = ("flag-not-read", "error", HYBRID, 7)
    assert (finding.code, finding.level, finding.file, finding.line) == expected


def test_a_query_in_a_view_does_not_either(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    view = "apps/frontend/components/live.tsx"
    source = """
    export const Live = ({ taskId }) =>
      <p>{useQuery(api.messages.byTask, { taskId })?.length}</p>;
    """
    write(root, {view: source})
    assert [(each.code, each.line) for each in bypasses(root)] == [("flag-not-read", 3)]


def test_whoever_names_the_flag_may_ask_it(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    flags = f"export const isOn = process.env.{FLAG} === 'true';"
    write(root, {HYBRID: GUIDES_HOOK, "packages/flags/index.ts": flags})
    assert bypasses(root) == []


CALL = "await client.action(api.streaming.streamChatWithTools, { taskId });"


def test_a_server_that_asks_convex_anyway(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    chat = (root / CHAT).read_text()
    write(
        root,
        {CHAT: chat.replace("    try {\n      for", f"    {CALL}\n    try {{ for")},
    )
    (finding,) = bypasses(root)
    expected = ("server-ignores-flag", CHAT)
    assert (finding.code, finding.file) == expected
    # The frontend's own reading of it does not count.
    write(root, {"apps/frontend/lib/flags.ts": f"process.env.{FLAG};"})
    assert [each.code for each in bypasses(root)] == ["server-ignores-flag"]
    write(root, {"apps/server/src/lib/flags.ts": f"process.env.{FLAG};"})
    assert bypasses(root) == []


def test_a_view_that_takes_the_sockets_own_hook(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    view = "apps/frontend/components/raw.tsx"
    source = """
    export function Raw({ id }: { id: string }) {
      const { isStreaming, stopStream } = useTaskSocket(id);
      return <p>{isStreaming}</p>;
    }
    """
    write(root, {view: source})
    assert bypasses(root) == []
    follows = GUIDES_HOOK.replace(
        "(taskId);\n  return", f"(taskId); // {FLAG}\n  return"
    )
    write(root, {HYBRID: follows})
    (finding,) = bypasses(root)
    expected = ("socket-hook-direct", view, 3)
    assert (finding.code, finding.file, finding.line) == expected
    assert "`isStreaming`" in finding.seen
    write(root, {view: source.replace("isStreaming", "isConnected")})
    assert bypasses(root) == []
