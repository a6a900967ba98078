"""The guide's change, made in the fixture and in what differs from it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from repositories import CHAT, HYBRID, SOCKET, apply_plan, change, copy_monorepo, write
from typescript import install_packages

from kit.apply import Plan, make_plan
from kit.apply.shown import PlanTable
from kit.apply.types import check_types, projects_of
from kit.repo import Settings, locate, open_repository
from kit.repo.settings import Expressions, Names
from kit.repo.source import Source

URL = "http://127.0.0.1:3210"
ENV = "apps/frontend/.env.local"
MODULE = "apps/server/src/lib/convex-streaming.ts"
Option = Literal[1, 2]


def plan_for(
    root: Path, option: Option = 1, settings: Settings | None = None, url: str = URL
) -> Plan:
    layout = locate(open_repository(root, env={"PATH": ""}), settings or Settings())
    return make_plan(layout, option, deployment_url=url)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return copy_monorepo(tmp_path, committed=False)


def steps(plan: Plan) -> dict[str, str]:
    return {step.name: step.state for step in plan.steps}


def todo(plan: Plan) -> str:
    return "\n".join(line for step in plan.steps for line in step.todo)


def blocked(plan: Plan) -> str:
    return "\n".join(line for step in plan.steps for line in step.blocked)


def loop_of(text: str) -> str:
    return text[text.index("for await") : text.index("if (this.stopRequested")]


# --- Option 1 -------------------------------------------------------------------------


def test_option_1_is_the_guides_three_steps_and_the_functions(root: Path) -> None:
    plan = plan_for(root)
    assert not plan.blocked, blocked(plan)
    assert [step.name for step in plan.steps] == [
        "Functions",
        "Option 1, step 1",
        "Option 1, step 2",
        "Option 1, step 3",
    ]
    assert set(steps(plan).values()) == {"change"}


def test_a_flag_without_a_url_is_left_open_and_not_called_done(root: Path) -> None:
    plan = plan_for(root, url="")
    assert steps(plan)["Option 1, step 1"] == "open"
    assert not plan.blocked
    assert "so the flag stays off. Apply again with --deployment-url" in todo(plan)
    assert f"○ Option 1, step 1: {plan.steps[1].title}" in str(PlanTable(plan))


def test_a_plan_writes_nothing(root: Path) -> None:
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert plan_for(root).changes
    assert plan_for(root, 2).changes
    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert after == before


def test_on_success_the_loop_has_nothing_to_iterate_over(root: Path) -> None:
    apply_plan(plan_for(root))
    text = (root / CHAT).read_text()
    assert text.index("await tryConvexFirst({") < text.index("for await")
    assert "convexReply ? [] : this.llmService.createMessageStream(" in loop_of(text)
    # Inside of the application's own `try`, which knows what to do about a failure.
    assert text.index("try {") < text.index("await tryConvexFirst({")
    assert 'import { stopInConvex, tryConvexFirst } from "../lib/convex-streaming"' in (
        text
    )


def test_the_request_is_made_of_what_the_method_has(root: Path) -> None:
    apply_plan(plan_for(root))
    text = (root / CHAT).read_text()
    request = text[text.index("tryConvexFirst({") : text.index("for await")]
    assert re.sub(r"\s+", " ", request).startswith(
        "tryConvexFirst({ taskId, prompt: userMessage, model: context.getMainModel(), "
        "systemPrompt, apiKeys: context.getApiKeys(), clientMessageId, });"
    )


def test_the_fallback_looks_the_message_up_and_logs_no_key(root: Path) -> None:
    apply_plan(plan_for(root))
    module = (root / MODULE).read_text()
    assert "api.messages.byClientMessageId" in module
    assert 'from "./convex-client"' in module
    assert 'from "../../../../convex/_generated/api"' in module
    logged = re.findall(r"console\.\w+\((.*?)\);", module, re.DOTALL)
    assert logged
    assert not [line for line in logged if re.search(r"apiKeys|, error\b", line)]


def test_stopping_reaches_convex(root: Path) -> None:
    apply_plan(plan_for(root))
    text = (root / CHAT).read_text()
    stop = text[text.index("async stopStream") :]
    assert stop.index("void stopInConvex(taskId);") < stop.index("stopRequested.add")


def test_the_hook_keeps_every_field(root: Path) -> None:
    plan = plan_for(root)
    apply_plan(plan)
    text = (root / HYBRID).read_text()
    assert "const socketData = useConvexTask(taskId);" in text
    assert "return { ...socketData };" in text
    assert "useTaskSocket" not in text
    assert "is used of useHybridTask" not in todo(plan)
    kit_hook = (root / HYBRID).parent / "streaming-kit" / "use-hybrid-task.ts"
    found = 'import { useTaskSocket } from "../../socket/use-task-socket";'
    assert found in kit_hook.read_text()


def test_a_hook_that_lists_its_fields_gets_the_messages(root: Path) -> None:
    change(
        root,
        HYBRID,
        "  return { ...socketData };",
        "  return {\n    isConnected: socketData.isConnected,\n"
        "    sendMessage: socketData.sendMessage,\n  };",
    )
    plan = plan_for(root)
    apply_plan(plan)
    text = (root / HYBRID).read_text()
    added = "sendMessage: socketData.sendMessage,\n    messages: socketData.messages,\n"
    assert added in text


def test_a_hook_that_takes_fields_apart_gets_the_messages(root: Path) -> None:
    change(root, HYBRID, "const socketData =", "const { isConnected, stopStream } =")
    change(root, HYBRID, "{ ...socketData }", "{ isConnected, stopStream }")
    apply_plan(plan_for(root))
    text = (root / HYBRID).read_text()
    assert (
        "const { isConnected, stopStream, messages } = useConvexTask(taskId);" in text
    )
    assert "return { isConnected, stopStream, messages };" in text


def test_the_flag_and_the_url_are_set(root: Path) -> None:
    apply_plan(plan_for(root))
    assert (root / ENV).read_text() == (
        f"NEXT_PUBLIC_USE_CONVEX_REALTIME=true\nNEXT_PUBLIC_CONVEX_URL={URL}\n"
    )


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_other_settings_are_neither_changed_nor_shown(root: Path, newline: str) -> None:
    body = (
        f"SECRET=one{newline}"
        f"export NEXT_PUBLIC_USE_CONVEX_REALTIME=false # off{newline}"
        f"NEXT_PUBLIC_CONVEX_URL='https://mine.example'{newline}OTHER_SECRET=two"
    )
    write(root, {ENV: body})
    plan = plan_for(root)
    apply_plan(plan)
    changed = body.replace(
        "export NEXT_PUBLIC_USE_CONVEX_REALTIME=false # off",
        "NEXT_PUBLIC_USE_CONVEX_REALTIME=true",
    )
    assert (root / ENV).read_bytes() == changed.encode()
    shown = "".join(step.diff() for step in plan.steps)
    assert "SECRET" not in shown
    assert "SECRET" not in (root / ".convex-streaming-kit.json").read_text()


def test_without_a_url_the_flag_stays_off(root: Path) -> None:
    plan = plan_for(root, url="")
    assert not plan.blocked
    apply_plan(plan)
    assert not (root / ENV).exists()
    assert "--deployment-url" in todo(plan)


# --- Option 2 -------------------------------------------------------------------------


def test_option_2_has_no_loop_and_what_only_that_needed_is_gone(root: Path) -> None:
    apply_plan(plan_for(root, 2))
    text = (root / CHAT).read_text()
    assert "await streamInConvex({" in text
    for gone in (
        "for await",
        "createMessageStream",
        "assistantMessageId",
        "// Final updates",
        "WRITE_INTERVAL_MS",
        "type Part",
        "StreamChunk",
    ):
        assert gone not in text
    for kept in ("wasStoppedEarly", "prisma.task.update", "controller.abort()"):
        assert kept in text


def test_option_2_removes_three_events_and_keeps_the_others(root: Path) -> None:
    apply_plan(plan_for(root, 2))
    server = "".join((root / file).read_text() for file in (CHAT, SOCKET))
    for gone in ("stream-chunk", "stream-complete", "stream-error", "emitStreamChunk"):
        assert gone not in server
    for kept in ("task-status-updated", "terminal-output", "fs-change"):
        assert f'"{kept}"' in server
    assert "await chat.stopStream(taskId);" in server


def test_option_2_after_option_1_is_option_2(root: Path, tmp_path: Path) -> None:
    other = copy_monorepo(tmp_path / "other", committed=False)
    apply_plan(plan_for(other, 2))
    apply_plan(plan_for(root, 1))
    apply_plan(plan_for(root, 2))
    for file in (CHAT, SOCKET, HYBRID, MODULE, ENV, "convex/schema.ts"):
        assert (root / file).read_text() == (other / file).read_text()
    assert "streamInConvex" in (root / CHAT).read_text()


@pytest.mark.parametrize("option", [1, 2])
def test_applied_twice_nothing_changes(root: Path, option: Option) -> None:
    apply_plan(plan_for(root, option))
    again = plan_for(root, option)
    assert again.changes == ()
    assert not again.blocked
    assert set(steps(again).values()) == {"done"}


def test_option_1_after_option_2_changes_nothing(root: Path) -> None:
    apply_plan(plan_for(root, 2))
    plan = plan_for(root, 1)
    assert plan.changes == ()
    assert "Option 2 is applied" in "".join(plan.steps[2].found)


# --- what the types say ---------------------------------------------------------------


@pytest.mark.timeout(300)
def test_after_each_option_the_types_fit_the_functions(root: Path) -> None:
    install_packages(root)
    projects = projects_of(root, [CHAT, HYBRID, "convex/streaming.ts"])
    assert projects == [root]
    assert check_types(root, projects).errors == {}
    for option in (1, 2):
        apply_plan(plan_for(root, option))
        found = check_types(root, projects)
        assert (found.errors, found.unchecked) == ({}, ())
    # It would have found something.
    change(root, CHAT, "prompt: userMessage", "promt: userMessage")
    assert "promt" in str(check_types(root, projects).errors)


# --- variants -------------------------------------------------------------------------

SAMPLE = """\
      // TEST: Try Convex streaming first
      try {
        const { getConvexClient } = await import("../lib/convex-client");
        const { api } = await import("../../../../convex/_generated/api");
        const convexClient = getConvexClient();
        const streamResult = await convexClient.action(
          api.streaming.streamChatWithTools,
          { taskId, prompt: userMessage, model: context.getMainModel() },
        );
        assistantMessageId = streamResult.messageId;
      } catch (convexError) {
        console.warn(`[CHAT] Convex streaming failed:`, convexError);
      }
"""


@pytest.mark.parametrize("option", [1, 2])
def test_the_guides_sample_put_in_by_hand_is_replaced(
    root: Path, option: Option
) -> None:
    change(root, CHAT, "      for await", f"{SAMPLE}      for await")
    plan = plan_for(root, option)
    assert "answered twice" in "".join(plan.steps[2].found)
    apply_plan(plan)
    text = (root / CHAT).read_text()
    assert "streamChatWithTools" not in text
    assert text.count("InConvex({") + text.count("ConvexFirst({") == 1
    assert plan_for(root, option).changes == ()


def test_convex_asked_by_hand_in_another_way_is_for_its_author(root: Path) -> None:
    call = "await client.action(api.streaming.streamChatWithTools, {});\n"
    change(root, CHAT, "      for await", f"      {call}      for await")
    plan = plan_for(root)
    assert "Take that call out" in blocked(plan)


def test_the_guides_hook_put_in_by_hand_is_replaced(root: Path) -> None:
    write(
        root,
        {
            HYBRID: """\
import { useTaskSocket } from "../socket/use-task-socket";
import { useMessageStreaming } from "./use-message-streaming";

export function useHybridTask(taskId: string | undefined) {
  const socketData = useTaskSocket(taskId);
  const { messages, isStreaming } = useMessageStreaming(taskId);
  return { messages, isStreaming, isConnected: socketData.isConnected };
}
"""
        },
    )
    apply_plan(plan_for(root))
    text = (root / HYBRID).read_text()
    assert "return useConvexTask(taskId);" in text
    assert "useMessageStreaming" not in text
    assert "useTaskSocket" not in text


@pytest.mark.parametrize("option", [1, 2])
def test_a_stream_in_a_variable(root: Path, option: Option) -> None:
    change(root, CHAT, "for await (const chunk of this.llm", "const made = this.llm")
    change(
        root,
        CHAT,
        "        controller.signal,\n      )) {",
        "        controller.signal,\n      );\n      for await (const chunk of made) {",
    )
    apply_plan(plan_for(root, option))
    text = (root / CHAT).read_text()
    if option == 1:
        assert "const made = convexReply ? [] : this.llmService." in text
    else:
        assert "made" not in text
        assert "for await" not in text


def test_modules_that_write_js_in_imports_get_it(root: Path) -> None:
    for path in (root / "apps" / "server").rglob("*.ts"):
        path.write_text(re.sub(r'(from "\.[^"]*)"', r'\1.js"', path.read_text()))
    apply_plan(plan_for(root))
    assert 'from "../lib/convex-streaming.js"' in (root / CHAT).read_text()
    module = (root / MODULE).read_text()
    assert 'from "../../../../convex/_generated/api.js"' in module
    assert 'from "./convex-client.js"' in module


def test_a_server_without_a_convex_client_gets_one(root: Path) -> None:
    (root / "apps/server/src/lib/convex-client.ts").unlink()
    apply_plan(plan_for(root))
    assert (
        "getConvexClient" in (root / "apps/server/src/lib/convex-client.ts").read_text()
    )


def test_what_is_called_otherwise_is_given(root: Path) -> None:
    text = (root / CHAT).read_text()
    text = text.replace("userMessage", "said").replace("createMessageStream", "open")
    (root / CHAT).write_text(text.replace("clientMessageId", "messageKey"))
    names = Names(stream_method="open")
    plan = plan_for(root, settings=Settings(names=names))
    assert "`prompt` under [expressions]" in blocked(plan)
    expressions = Expressions(prompt="said", client_message_id="messageKey")
    plan = plan_for(root, settings=Settings(names=names, expressions=expressions))
    assert not plan.blocked
    apply_plan(plan)
    text = (root / CHAT).read_text()
    assert "prompt: said," in text
    assert "clientMessageId: messageKey," in text


def test_without_an_id_of_the_message_the_plan_says_what_that_means(root: Path) -> None:
    text = (root / CHAT).read_text().replace("clientMessageId", "key")
    (root / CHAT).write_text(text)
    assert "is answered again" in todo(plan_for(root))


@pytest.mark.parametrize(
    ("convert", "newline"),
    [
        (lambda data: data.replace(b"\n", b"\r\n"), b"\r\n"),
        (lambda data: b"\xef\xbb\xbf" + data, b"\n"),
        (lambda data: data.replace(b"  ", b"\t"), b"\n"),
    ],
    ids=["CRLF", "BOM", "tabs"],
)
@pytest.mark.parametrize("option", [1, 2])
def test_line_ends_tabs_and_a_bom_are_kept(
    root: Path, option: Option, convert: Callable[[bytes], bytes], newline: bytes
) -> None:
    for file in (CHAT, SOCKET, HYBRID, "convex/schema.ts", "package.json"):
        (root / file).write_bytes(convert((root / file).read_bytes()))
    originals = {file: (root / file).read_bytes() for file in (CHAT, HYBRID)}
    plan = plan_for(root, option)
    assert not plan.blocked, blocked(plan)
    apply_plan(plan)
    for file, original in originals.items():
        data = (root / file).read_bytes()
        assert data.count(b"\n") == data.count(newline)
        assert data.startswith(b"\xef\xbb\xbf") == original.startswith(b"\xef\xbb\xbf")
        assert Source(file, data).first_error is None
        if b"\t" in original:
            assert b"\n  " not in data
    again = plan_for(root, option)
    assert again.changes == ()


def test_a_file_that_does_not_parse_is_not_changed(root: Path) -> None:
    change(root, CHAT, "let lastWrite = 0;", "let lastWrite = = 0;")
    plan = plan_for(root)
    assert f"{CHAT}:40: the file does not parse here" in blocked(plan)
    assert steps(plan)["Option 1, step 2"] == "blocked"


def test_what_is_nowhere_to_be_found_is_said(root: Path) -> None:
    (root / CHAT).unlink()
    (root / HYBRID).unlink()
    (root / "apps/frontend/package.json").unlink()
    plan = plan_for(root)
    said = blocked(plan)
    for expected in ("--server-file", "--hook-file", "`frontend` in the TOML"):
        assert expected in said


def test_a_flag_that_is_read_elsewhere_is_named(root: Path) -> None:
    change(
        root,
        "apps/frontend/hooks/socket/use-socket.ts",
        "  const socket = shared;",
        '  const off = process.env.NEXT_PUBLIC_USE_CONVEX_REALTIME === "true";\n'
        "  const socket = shared;",
    )
    assert "use-socket.ts:10: the flag is read here" in todo(plan_for(root))
