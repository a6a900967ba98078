"""The server's calls of Convex: before the loop, and beside what SQL keeps."""

from pathlib import Path

import pytest
from repositories import CHAT, copy_monorepo, write
from reviewed import found_in, reading_of

from kit.doctor.repository.fallback import sql_writes

# The guide's sample for Option 1, step 2, in its method.
GUIDE = """
export class ChatService {
  async processMessage(taskId: string, userMessage: string, context: TaskContext) {
    let assistantMessageId: string | null = null;
    try {
      const { api } = await import("../../../../convex/_generated/api");
      const convexClient = getConvexClient();
      const streamResult = await convexClient.action(
        api.streaming.streamChatWithTools,
        { taskId, prompt: userMessage, %s model: context.getMainModel() },
      );
      assistantMessageId = streamResult.messageId;
      %s
    } catch (convexError) {
      console.warn(`Convex streaming failed, falling back:`, convexError);
    }
    %s {
      for await (const chunk of this.llmService.createMessageStream(userMessage)) {
        emitStreamChunk(taskId, chunk);
      }
    } %s
  }
}
"""
AFTER = "finally { cleanUp(); }"


def codes(root: Path, *filled: str) -> set[str]:
    return {found.code for found in found_in(root, {CHAT: GUIDE % filled})}


def test_the_guides_own_sample_answers_twice(tmp_path: Path) -> None:
    found = found_in(tmp_path, {CHAT: GUIDE % ("", "", "try", AFTER)})
    assert [(each.code, each.level, each.line) for each in found] == [
        ("answers-twice", "error", 8),
        ("no-client-message-id", "warning", 8),
        ("server-ignores-flag", "warning", 8),
    ]


ONCE = {
    "it returns": ("", "return;", "try", AFTER),
    "it returns in a branch": ("", "if (streamResult.ok) { return; }", "try", AFTER),
    "it throws": ("", "throw new Done();", "try", AFTER),
    "the loop asks": ("", "", "if (assistantMessageId === null)", ""),
}


@pytest.mark.parametrize("filled", ONCE.values(), ids=ONCE)
def test_one_that_leaves_does_not(tmp_path: Path, filled: tuple[str, ...]) -> None:
    assert "answers-twice" not in codes(tmp_path, *filled)


def test_a_return_in_a_callback_does_not_leave(tmp_path: Path) -> None:
    callback = "parts.map((part) => { return part.id; });"
    assert "answers-twice" in codes(tmp_path, "", callback, "try", AFTER)


def test_in_the_catch_the_loop_is_the_fallback(tmp_path: Path) -> None:
    source = """
    async function processMessage(taskId: string) {
      try {
        await client.action(api.streaming.streamChatWithTools, { ...args });
      } catch {
        for await (const chunk of llm.createMessageStream(taskId)) emit(chunk);
      }
    }
    """
    found = {each.code for each in found_in(tmp_path, {CHAT: source})}
    assert found == {"server-ignores-flag"}


@pytest.mark.parametrize("given", ["clientMessageId,", "clientMessageId: id,", "...a,"])
def test_a_call_with_the_messages_id(tmp_path: Path, given: str) -> None:
    assert "no-client-message-id" not in codes(tmp_path, given, "", "try", AFTER)


def test_writes_to_sql_after_option_2(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    assert list(sql_writes(reading_of(root))) == []
    source = """
    async function processMessage(taskId: string) {
      await prisma.chatMessage.create({ data: { taskId } });
      await client.action(api.streaming.streamChatWithTools, { taskId });
      await prisma.task.update({ where: { id: taskId }, data: { status: "DONE" } });
      await prisma.chatMessage.findMany({ where: { taskId } });
    }
    """
    write(root, {CHAT: source})
    (finding,) = sql_writes(reading_of(root))
    expected = ("sql-write", "note", CHAT, 3)
    assert (finding.code, finding.level, finding.file, finding.line) == expected
