"""The loop over the model's stream, in the forms that it may have."""

from pathlib import Path

import pytest
from repositories import write

from kit.apply import make_plan
from kit.repo import Settings, locate, open_repository
from kit.repo.server import Server, find_server
from kit.repo.settings import Names

FILE = "server/src/agent/chat.ts"
LOOP = "for await (const chunk of this.llm.createMessageStream(prompt)) use(chunk);"
AWAITED = """\
async function run(taskId, prompt) {
  for await (const chunk of await llm.createMessageStream(prompt)) use(chunk);
}
"""
IN_A_VARIABLE = """\
async function run(taskId, prompt) {
  const chunks = llm.createMessageStream(prompt);
  for await (const chunk of chunks) use(chunk);
}
"""


def server_of(root: Path, text: str, settings: Settings | None = None) -> Server:
    write(root, {FILE: text})
    return find_server(open_repository(root, env={"PATH": ""}), settings or Settings())


@pytest.mark.parametrize(
    ("text", "method"),
    [
        (f"class A {{ async run(taskId, prompt) {{ {LOOP} }} }}", "run"),
        (f"class A {{ run = async (taskId, prompt) => {{ {LOOP} }}; }}", "run"),
        (f"export async function run(taskId, prompt) {{ {LOOP} }}", "run"),
        (f"const run = async (taskId, {{ prompt }}) => {{ {LOOP} }};", "run"),
        (f"const a = {{ run: async function (taskId, prompt) {{ {LOOP} }} }};", "run"),
        (f"class A {{ run(taskId, prompt) {{ x(async () => {{ {LOOP} }}) }} }}", "run"),
        (AWAITED, "run"),
        (IN_A_VARIABLE, "run"),
        (f"export default async (taskId, prompt) => {{ {LOOP} }};", "a function"),
    ],
    ids=[
        "method", "property", "function", "arrow", "in an object", "in a closure",
        "awaited", "in a variable", "without a name",
    ],
)  # fmt: skip
def test_the_loop_is_found(tmp_path: Path, text: str, method: str) -> None:
    server = server_of(tmp_path, text)
    assert server.missing == ()
    assert server.loop is not None
    assert server.loop.method.startswith(method)
    assert {"taskId", "prompt"} <= server.loop.names


@pytest.mark.parametrize(
    "text",
    [
        "class LLM { async *createMessageStream(x) { yield x; } }",
        f"// {LOOP}",
        "async function run() { for (const c of llm.createMessageStream(1)) use(c); }",
        "async function run() { await collect(llm.createMessageStream(1)); }",
        "async function run() { const r = llm.createMessageStream(1); return r; }",
        f'const sample = "{LOOP}";',
    ],
    ids=["definition", "comment", "not awaited", "collected", "returned", "text"],
)
def test_what_is_no_such_loop(tmp_path: Path, text: str) -> None:
    server = server_of(tmp_path, text)
    assert server.loop is None
    (missing,) = server.missing
    assert "stream_method" in missing.todo


def test_names_are_those_that_can_be_used_there(tmp_path: Path) -> None:
    text = f"""
const outside = 1;
class A {{
  async run(a: string, {{ b, c: d, ...e }}: X, [f] = [], g = 1) {{
    const h = 1, {{ i }} = h;
    if (a) {{ const hidden = 1; }}
    for (const j of []) {{ try {{ {LOOP} }} catch (k) {{}} }}
    const later = 1;
  }}
}}
"""
    loop = server_of(tmp_path, text).loop
    assert loop is not None
    assert loop.names == frozenset("abdefghij")


def test_two_methods_are_told_apart_by_name(tmp_path: Path) -> None:
    text = "".join(f"async function run{n}() {{ {LOOP} }}\n" for n in (1, 2))
    (missing,) = server_of(tmp_path, text).missing
    assert "run1, run2" in missing.todo
    settings = Settings(names=Names(server_method="run2"))
    loop = server_of(tmp_path, text, settings).loop
    assert loop is not None
    assert loop.place.line == 2


@pytest.mark.parametrize(
    ("stop", "name"),
    [
        ("stopStream(taskId: string) { this.a.get(taskId)?.abort(); }", "stopStream"),
        ("halt(taskId: string) { this.stopRequested.add(taskId); }", "halt"),
        ("halt(taskId: string) { this.controller.abort(); }", "halt"),
        ("halt(taskId: string) {}", None),
    ],
)
def test_the_method_that_stops(tmp_path: Path, stop: str, name: str | None) -> None:
    text = f"class A {{\n async run(taskId, prompt) {{ {LOOP} }}\n {stop}\n}}"
    server = server_of(tmp_path, text)
    assert server.stop_name == name
    assert (server.stop is None) == (name is None)


def test_an_awaited_stream_is_not_even_asked_for(tmp_path: Path) -> None:
    text = """\
export async function run(taskId: string, prompt: string, model: string) {
    for await (const chunk of await llm.createMessageStream(prompt)) use(chunk);
}
"""
    server_of(tmp_path, text)
    plan = make_plan(locate(open_repository(tmp_path, env={"PATH": ""}), Settings()), 1)
    step = plan.steps[2]
    assert not step.blocked
    (changed,) = [each for each in step.changes if each.file == FILE]
    assert changed.after is not None
    assert changed.after.decode().endswith("""\
export async function run(taskId: string, prompt: string, model: string) {
    // Convex first. The loop runs only if no reply was begun there.
    const convexReply = await tryConvexFirst({
        taskId,
        prompt,
        model,
    });
    for await (const chunk of convexReply ? [] : await llm.createMessageStream(prompt)) use(chunk);
}
""")  # noqa: E501
