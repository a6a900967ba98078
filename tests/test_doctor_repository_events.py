"""Socket.IO events: those that streamed text, and those that are to stay."""

from pathlib import Path

from repositories import CHAT, SOCKET, copy_monorepo, write
from reviewed import reading_of

from kit.doctor.repository.events import socket_events
from kit.doctor.repository.findings import Found

HOOK = "apps/frontend/hooks/socket/use-task-socket.ts"
STREAMS_IN_CONVEX = """
import { emitToTask } from "../socket";
export async function processMessage(taskId: string) {
  await client.action(api.streaming.streamChatWithTools, { taskId });
  emitToTask(taskId, "task-status-updated", { taskId, status: "COMPLETED" });
}
"""


def events_in(root: Path) -> list[Found]:
    return list(socket_events(reading_of(root)))


def after_option_2(folder: Path) -> Path:
    root = copy_monorepo(folder, committed=False)
    write(root, {CHAT: STREAMS_IN_CONVEX})
    return root


def replaced(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new))


def test_before_the_migration_it_is_a_note(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    (finding,) = events_in(root)
    expected = ("text-over-socket", "note", SOCKET, 14)
    assert (finding.code, finding.level, finding.file, finding.line) == expected


def test_at_option_1_it_is_the_fallback(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    write(root, {"apps/server/src/convex.ts": STREAMS_IN_CONVEX})
    assert reading_of(root).state == "option-1"
    assert events_in(root) == []


def test_after_option_2_what_is_emitted_is_left_over(tmp_path: Path) -> None:
    root = after_option_2(tmp_path)
    found = events_in(root)
    assert {finding.code for finding in found} == {"event-emitted"}
    assert {finding.file for finding in found} == {SOCKET}
    assert len(found) == 4


def test_after_option_2_a_handler_is_a_note(tmp_path: Path) -> None:
    root = after_option_2(tmp_path)
    for event in ("stream-chunk", "stream-complete", "stream-error"):
        replaced(root, SOCKET, f'"{event}"', '"other"')
    found = events_in(root)
    assert [(each.code, each.file) for each in found] == [("event-handled", HOOK)] * 3


def test_an_event_that_is_to_stay_and_is_gone(tmp_path: Path) -> None:
    root = after_option_2(tmp_path)
    assert "event-gone" not in {each.code for each in events_in(root)}
    replaced(root, CHAT, "task-status-updated", "done")
    (gone,) = [each for each in events_in(root) if each.code == "event-gone"]
    assert gone.file == HOOK
    assert "task-status-updated" in gone.seen


def test_an_event_whose_name_is_a_constant_is_not_gone(tmp_path: Path) -> None:
    root = after_option_2(tmp_path)
    replaced(root, CHAT, '"task-status-updated"', "STATUS")
    write(root, {"apps/server/src/names.ts": 'export const S = "task-status-updated";'})
    assert "event-gone" not in {each.code for each in events_in(root)}


def test_an_error_that_no_view_hears(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    replaced(root, HOOK, '"stream-error"', "ERROR")
    (finding,) = [each for each in events_in(root) if each.level == "warning"]
    assert (finding.code, finding.file) == ("error-event-unhandled", HOOK)
    write(root, {"apps/frontend/lib/names.ts": 'export const ERROR = "stream-error";'})
    assert [each.level for each in events_in(root)] == ["note"]
