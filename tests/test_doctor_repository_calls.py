"""Calls of Convex functions, against the functions that the repository has."""

from pathlib import Path

import pytest
from reviewed import VIEW, found_in

STREAMING = """
import { v } from "convex/values";
import { action, internalAction, mutation, query } from "./_generated/server";
const vStatus = v.string();
export const streamChatWithTools = action({
  args: { taskId: v.id("tasks"), prompt: v.string(), tools: v.optional(v.any()) },
  handler: async () => null,
});
export const open = action({ args: v.any(), handler: async () => null });
export const read = query({ args: { status: vStatus, n: v.number() }, handler });
export const stop = authedMutation({ args: { taskId: v.id("tasks") }, handler });
const hidden = query({ args: {}, handler });
export { hidden as shown };
"""
IMPORT = 'import { api } from "../../convex/_generated/api";\n'


def codes(root: Path, source: str, **more: str) -> list[str]:
    files = {"convex/streaming.ts": STREAMING, "convex/lib/deep.ts": STREAMING, **more}
    found = found_in(root, {**files, VIEW: source})
    return [each.code for each in found if each.code.startswith("function")]


WRONG = {
    "no such name": ("x(api.streaming.streamChat);", "function-unknown"),
    "no such module": ("x(api.stream.read, {});", "function-unknown"),
    "not exported": ("x(api.streaming.hidden);", "function-unknown"),
    "not a folder's": ("x(api.deep.read);", "function-unknown"),
    "another kind": ("c.mutation(api.streaming.read, y);", "function-kind"),
    "by a hook": ("useAction(api.streaming.read);", "function-kind"),
    "an unknown field": (
        'c.action(api.streaming.streamChatWithTools, { taskId, prompt: "", id: 1 });',
        "function-args",
    ),
    "a missing field": (
        "c.action(api.streaming.streamChatWithTools, { taskId });",
        "function-args",
    ),
    "in JSX": (
        "const A = () => <p>{useQuery(api.streaming.read, { status: '' })}</p>;",
        "function-args",
    ),
}


@pytest.mark.parametrize(("call", "code"), WRONG.values(), ids=WRONG)
def test_a_wrong_call_is_found(tmp_path: Path, call: str, code: str) -> None:
    assert codes(tmp_path, IMPORT + call) == [code]


RIGHT = {
    "all fields": "c.action(api.streaming.streamChatWithTools, { taskId, prompt });",
    "a spread": "c.action(api.streaming.streamChatWithTools, { ...all });",
    "a variable": "c.action(api.streaming.streamChatWithTools, all);",
    "skipped": 'useQuery(api.streaming.read, on ? { status, n } : "skip");',
    "any args": "c.action(api.streaming.open, { whatever: 1 });",
    "a validator elsewhere": "c.query(api.streaming.read, { n: 1 });",
    "a builder of their own": "c.query(api.streaming.stop, { x: 1 });",
    "renamed": "c.query(api.streaming.shown, {});",
    "in a folder": "c.query(api.lib.deep.read, { status, n });",
    "a type": "type Row = FunctionReturnType<typeof api.streaming.gone>[number];",
    "only named": "const f = api.streaming.read;",
}


@pytest.mark.parametrize("call", RIGHT.values(), ids=RIGHT)
def test_a_right_call_is_left(tmp_path: Path, call: str) -> None:
    assert codes(tmp_path, IMPORT + call) == []


def test_another_api_is_left(tmp_path: Path) -> None:
    call = "api.users.list(); c.query(api.no.such, {});"
    assert codes(tmp_path, 'import { api } from "@/lib/api";\n' + call) == []
    both = IMPORT + "function f() { const api = connect(); api.no.such(); }"
    assert codes(tmp_path, both) == []


def test_the_guides_import_is_followed(tmp_path: Path) -> None:
    source = """
    async function run() {
      const { api } = await import("../../../../convex/_generated/api");
      await client.action(api.streaming.gone, {});
    }
    """
    assert codes(tmp_path, source) == ["function-unknown"]


def test_what_passes_on_anothers_exports_is_not_judged(tmp_path: Path) -> None:
    call = IMPORT + "x(api.all.anything); x(api.js.anything);"
    more = {
        "convex/all.ts": 'export * from "./streaming";',
        "convex/js.js": "exports.x = 1",
    }
    assert codes(tmp_path, call, **more) == []
