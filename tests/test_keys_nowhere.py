"""A key is used, and then it is nowhere: no document, file, log, error or notebook.

Over real processes, each wire, and all that goes wrong or is stopped there. What a
single module does with a key is in its own tests. All wires share the processes; each
has keys of its own, so that a key that is found tells where it was used.
"""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import re
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import nbformat
import pytest
import requests
from llm_helpers import MODELS, model_named
from nbformat.v4 import new_code_cell, new_notebook
from reply_stage import scripted_process
from sync_client import sync_client

import kit
from kit.app.hooks import use_message_streaming
from kit.client import Deployment
from kit.errors import DeploymentError
from kit.llm.providers import PROVIDERS, ProviderName
from kit.report import write_report
from kit.report.junit import write_junit
from kit.stack import Stack
from kit.tour import run_notebook

pytestmark = pytest.mark.timeout(240)

SENTINEL = "sentinel-7c1e5a9d3b"


def keys_of(wire: ProviderName) -> dict[str, str]:
    """Not all of them look like keys: what has no pattern cannot be found by one."""
    return {
        "good": f"sk-ant-api03-{SENTINEL}-{wire}-good",
        "plain": f"{SENTINEL}-{wire}-0123456789",
        "refused": f"refused-{SENTINEL}-{wire}",
    }


PROMPT = "a prompt that is stored"

# With `echo`, the provider's error quotes the key.
FAILURES = [
    "error-mid:echo=1",
    "error-mid:at=0,echo=1",
    "drop",
    "eof",
    "stall",
    *(f"http-{status}:echo=1" for status in (400, 401, 402, 403, 404)),
    *(f"http-{status}:echo=1,retry-after=0.05" for status in (429, 500, 529)),
    "http-429:echo=1,retry-after=21",
    "text:context=1,echo=1",
    "tool:rounds=9",  # more than there may be
]
TOOL_FAULTS = ["tool", "broken-tool", "wrong-tool"]  # what is asked for is 1 / 0
STOPPED = [
    "text:tokens=100000,pace=50",
    "slow:delay=600",
    "stall:tokens=20",
    "http-429:echo=1,retry-after=19",
]
SETTINGS = {
    "KIT_LLM_READ_TIMEOUT": "1.5",
    "KIT_TOOL_TIMEOUT_MS": "200",
    "KIT_MAX_STEPS": "2",
}


def keys_in(text: object) -> list[str]:
    return re.findall(rf"{SENTINEL}[-\w]*", str(text))


def files_with_key(folder: Path) -> dict[Path, list[str]]:
    found = {path: read(path) for path in all_files(folder)}
    return {
        path: keys_in(text.decode(errors="replace"))
        for path, text in found.items()
        if SENTINEL.encode() in text
    }


def all_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # a temporary file of SQLite's, or a process that has just ended
        return b""


def check_folder(folder: Path) -> None:
    """No file has the key; and what should be there is, in the clear.

    Databases and their write-ahead logs are read as bytes, as they are just then.
    """
    assert files_with_key(folder) == {}
    stored = b"".join(read(path) for path in all_files(folder / "deployment"))
    assert PROMPT.encode() in stored


def check_command_lines() -> None:
    """No process of this machine was started with the key."""
    lines = {path: read(path) for path in Path("/proc").glob("[0-9]*/cmdline")}
    assert any(b"kit.deployment" in line for line in lines.values())
    assert [path for path, line in lines.items() if SENTINEL.encode() in line] == []


async def say_all(stack: Stack) -> None:
    """Start the processes again, so that they log whatever they can."""
    for server in (stack.deployment, stack.app):
        if server is not None and server.running:
            server.args += ["--log-level", "DEBUG"]
            await server.restart()


@pytest.fixture
def provider() -> Iterator[str]:
    """A scripted provider of ours, which the kit takes for a real one."""
    with scripted_process() as url:
        yield url


def asked(provider: str) -> list[dict[str, Any]]:
    """What the provider was asked."""
    log = requests.get(f"{provider}/log", timeout=10).json()
    found: list[dict[str, Any]] = log["requests"]
    return found


def key_hashes(provider: str) -> set[str]:
    """Of the keys that the provider was shown."""
    return {request["keyHash"] for request in asked(provider)}


# --- keys that a caller gives -----------------------------------------------------


class Caller:
    """Asks for replies with a key in `apiKeys`, and keeps all that comes back."""

    def __init__(self, deployment: Deployment, wire: ProviderName) -> None:
        self.deployment = deployment
        self.wire = wire
        self.keys = keys_of(wire)
        self.seen: list[object] = []

    async def new_task(self) -> str:
        created = await self.deployment.mutation("tasks:create", {"title": "t"})
        return str(created)

    async def ask(self, model: Any, key: str = "plain", **more: Any) -> Any:
        """The result, or the error; in a task of its own unless told otherwise."""
        task_id = more.get("taskId") or await self.new_task()
        args = {"taskId": task_id, "prompt": PROMPT, "model": model}
        args["apiKeys"] = {self.wire: self.keys[key]}
        try:
            answer = await self.deployment.action(
                "streaming:streamChatWithTools", {**args, **more}
            )
        except DeploymentError as error:
            self.seen += [repr(error), str(error), vars(error), error.__context__]
            self.seen += [pickle.dumps(error), with_variables(error)]
            return error
        self.seen.append(answer)
        return answer


def with_variables(error: BaseException) -> str:
    """The traceback with the variables of the kit's frames: our own hold keys."""
    folder = str(Path(kit.__file__).parent)
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in told.stack if frame.filename.startswith(folder)]
    assert frames
    return "".join(traceback.StackSummary.from_list(frames).format())


async def test_a_key_in_a_call_is_nowhere_afterwards(
    tmp_path: Path,
    provider: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name, value in {"KIT_SCRIPTED_URL": provider, **SETTINGS}.items():
        monkeypatch.setenv(name, value)
    async with (
        await Stack.start(folder=tmp_path, app=False) as stack,
        Deployment(stack.deployment_url) as deployment,
    ):
        await say_all(stack)
        callers = [Caller(deployment, wire) for wire in PROVIDERS]
        await asyncio.gather(*(use_each_key(caller) for caller in callers))
        await asyncio.gather(*(let_fail(caller) for caller in callers))
        await asyncio.gather(*(refuse(caller) for caller in callers))
        for caller in callers:
            await send_where_it_does_not_belong(stack, caller)
        check_folder(tmp_path)
        await asyncio.gather(*(stop(caller, provider, tmp_path) for caller in callers))
        await kill(callers, stack, tmp_path)
        assert len(key_hashes(provider)) == sum(len(caller.keys) for caller in callers)
    check_folder(tmp_path)
    assert keys_in([*(caller.seen for caller in callers), caplog.text]) == []


async def use_each_key(caller: Caller) -> None:
    model = MODELS[caller.wire]
    answers = await asyncio.gather(*(caller.ask(model, key) for key in caller.keys))
    for name, answer in zip(caller.keys, answers, strict=True):
        assert answer["success"] is (name != "refused")


async def let_fail(caller: Caller) -> None:
    """In all ways at the same moment."""
    await asyncio.gather(
        *(fail(caller, scenario) for scenario in FAILURES),
        *(fail_in_tool(caller, scenario) for scenario in TOOL_FAULTS),
    )


async def fail(caller: Caller, scenario: str) -> None:
    model = model_named(caller.wire, scenario)
    failed = await caller.ask(model, tools=["calculator"])
    assert failed["success"] is False
    assert ("[redacted]" in failed["error"]) is ("echo" in scenario)


async def fail_in_tool(caller: Caller, scenario: str) -> None:
    answered = await caller.ask(
        model_named(caller.wire, scenario),
        prompt=f"{PROMPT}: “1 / 0”",
        tools=["calculator"],
    )
    assert "failed: " in answered["text"]


async def refuse(caller: Caller) -> None:
    key, task_id = caller.keys["plain"], await caller.new_task()
    for wrong in (
        {"apiKeys": key},
        {"apiKeys": {"anthropic": [key]}},
        {"apiKeys": {key: "anthropic"}},
        {"apiKey": key},
        {"model": {"anthropic": key}},
        {"apiKeys": {"anthropic": key}, "surprise": 1},
        {"apiKeys": {"anthropic": key}, "tools": ["none"]},
        {"apiKeys": {"anthropic": f"{key}\n"}, "clientMessageId": ""},
        {"apiKeys": {"nvidia": key}},
    ):
        more: dict[str, Any] = {"model": "claude-x", "taskId": task_id, **wrong}
        assert isinstance(await caller.ask(**more), DeploymentError)


async def stop(caller: Caller, provider: str, folder: Path) -> None:
    for scenario in STOPPED:
        task_id = await caller.new_task()
        prompt = f"{PROMPT} in {task_id}"
        model = model_named(caller.wire, scenario)
        asking = asyncio.create_task(caller.ask(model, taskId=task_id, prompt=prompt))
        while not await asyncio.to_thread(was_asked, provider, prompt):
            pass
        args = {"taskId": task_id}
        caller.seen.append(await caller.deployment.mutation("streaming:stopTask", args))
        check_folder(folder)
        assert (await asking)["status"] == "stopped"


def was_asked(provider: str, prompt: str) -> bool:
    return any(request["prompt"] == prompt for request in asked(provider))


async def kill(callers: Sequence[Caller], stack: Stack, folder: Path) -> None:
    """In the middle of a reply on each wire, so that nothing is tidied up."""
    assert stack.deployment is not None
    hooks, slow = [], []
    for caller in callers:
        task_id = await caller.new_task()
        hook = await use_message_streaming(task_id, deployment=caller.deployment)
        model = model_named(caller.wire, "text:tokens=5000,pace=50")
        slow.append(asyncio.create_task(caller.ask(model, taskId=task_id)))
        hooks.append(hook)
    for hook in hooks:
        await hook.until(lambda h: len(h.streaming_parts_order) > 0, timeout=20)
    check_command_lines()
    await stack.deployment.kill()
    await asyncio.gather(*slow)
    check_folder(folder)
    await stack.deployment.start()
    for hook in hooks:
        await hook.until(lambda h: h.connection == "connected", timeout=20)
        await hook.stop_stream()
    for caller, hook in zip(callers, hooks, strict=True):
        await hook.until(lambda h: not h.is_live, timeout=20)
        caller.seen += [hook.messages, hook.error, hook, stack, caller.deployment]
        await hook.aclose()


async def send_where_it_does_not_belong(stack: Stack, caller: Caller) -> None:
    """As a token, in a path, in HTTP that is none, in an argument of another type."""
    key, url = caller.keys["plain"], stack.deployment_url
    call = {"path": "streaming:send", "args": {"apiKeys": {"anthropic": key}}}
    async with aiohttp.ClientSession() as http:
        for headers in ({}, {"Authorization": f"Bearer {key}"}, {"Origin": key}):
            async with http.post(
                f"{url}/api/mutation", json=call, headers=headers
            ) as answer:
                caller.seen.append(_without_echo(await answer.text(), key, headers))
        async with http.get(f"{url}/api/query?args={key}") as answer:
            await answer.read()
    assert stack.deployment is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.deployment.port)
    writer.write(
        f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: {key}\0\r\n\r\n".encode()
    )
    await reader.read()
    writer.close()
    async with sync_client(url) as client:
        await client.authenticate(key)
        refused = await client.receive()
        assert refused["type"] == "AuthError"
        caller.seen.append(json.dumps(refused))


def _without_echo(text: str, key: str, headers: dict[str, str]) -> str:
    """An Origin is shown to who sent it, and to nobody else."""
    return text.replace(key, "") if "Origin" in headers else text


# --- keys of the environment ------------------------------------------------------

USED: dict[ProviderName, str] = {
    "anthropic": "good",
    "openai": "plain",
    "openrouter": "refused",
}

NOTEBOOK = [
    """
folder: str = ""  # what the stack keeps
models: dict = {}  # by the variable of the key that is used
""",
    """
%xmode Verbose
import os
from pathlib import Path
from kit.app.hooks import use_hybrid_task, use_message_streaming, use_task_socket
from kit.client import Deployment
from kit.stack import Stack
from kit.widget import ChatView

stack = await Stack.start(provider="real", folder=Path(folder), app=False)
for server in (stack.deployment, stack.app):
    server.args += ["--log-level", "DEBUG"]
deployment = Deployment(stack.deployment_url)
await deployment.connect()
stack
""",
    f"""
async def over_both(task_id, model):
    socket_url = stack.app.url
    async with await use_hybrid_task(
        task_id, deployment=deployment, socket_url=socket_url, model=model
    ) as hook:
        for _ in range(2):
            before = len(hook.messages)
            await hook.send_message({PROMPT!r})
            await hook.until(
                lambda h: len(h.messages) > before + 1
                and h.messages[-1]["status"] in ("complete", "failed"),
                timeout=30,
            )
        display(ChatView(hook), hook, deployment, hook.messages, hook.error)
        print(model, "ended", *(row["status"] for row in hook.messages[1::2]))

async def over_the_socket(task_id, model):
    async with await use_task_socket(
        task_id, socket_url=stack.app.url, model=model
    ) as socket:
        since = len(socket.events)
        await socket.send_message({PROMPT!r})
        await socket.until(
            lambda h: h.status_since(since) in ("COMPLETED", "FAILED"), timeout=30
        )
        display(ChatView(socket), socket.messages, socket.error, socket.events)
        print(await stack.stored_messages(task_id))
""",
    """
for key_variable, model in models.items():
    for server in (stack.deployment, stack.app):
        # The one key alone: with all of them, one provider would answer for all.
        others = models.keys() - {key_variable}
        server.env = {k: v for k, v in os.environ.items() if k not in others}
    stack.set_flags(realtime=True, option=2)
    await stack.deployment.restart()
    await stack.app.restart()
    await deployment.until_connected(timeout=20)
    task_id = await stack.create_task("keys")
    await over_both(task_id, model)
    stack.set_flags(realtime=False)
    await stack.app.restart()
    await over_the_socket(task_id, model)
    print(stack.app.log_tail(), stack.deployment.log_tail(), stack.provider_log)
""",
    """
import pickle, traceback
from kit.llm.secret import Secret

request = {"taskId": task_id, "prompt": "x", "model": model}
for key_variable in models:
    keys = {"anthropic": Secret(os.environ[key_variable])}
    try:
        await deployment.action(
            "streaming:streamChatWithTools",
            {**request, "apiKeys": keys, "surprise": 1},
        )
    except Exception as error:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        print(repr(error), pickle.dumps(error), *told.format())
""",
    """
keys = {name.split("_")[0].lower(): Secret(os.environ[name]) for name in models}
await deployment.action(
    "streaming:streamChatWithTools", {**request, "apiKeys": keys, "surprise": 1}
)
""",
]


@pytest.mark.notebook
def test_a_key_of_the_environment_is_nowhere_afterwards(
    tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook, the application and the deployment, with keys as in real use."""
    monkeypatch.delenv("KIT_SCRIPTED_URL", raising=False)
    models: dict[str, str] = {}
    for wire, settings in PROVIDERS.items():
        monkeypatch.setenv(settings.key_variable, keys_of(wire)[USED[wire]])
        monkeypatch.setenv(
            settings.base_url_variable, provider + settings.scripted_path
        )
        models[settings.key_variable] = MODELS[wire]
    kept, out = tmp_path / "stack", tmp_path / "out"
    for folder in (kept, out):
        folder.mkdir()
    parameters = {"folder": str(kept), "models": models}
    run = run_notebook(write_notebook(tmp_path / "keys.ipynb"), out, parameters)
    write_report(out / "report.html", [run], {"Provider": "real"})
    write_junit(out / "junit.xml", [run])
    # Its last cell fails, and everything ends with the kernel, as it stands.
    assert run.failed_cell == len(NOTEBOOK) + 1, run.error
    executed = run.executed.read_text()
    for wire, key in USED.items():
        status = "failed" if key == "refused" else "complete"
        assert f"{MODELS[wire]} ended {status} {status}" in executed
    assert "surprise" in str(run.error)
    assert '"output_type": "error"' in executed
    # With the variables of the kit's frames, and of the cell: a secret among them.
    assert "kit/client/tracebacks.py" in executed
    assert "Secret('…')" in executed
    assert len(key_hashes(provider)) == len(PROVIDERS)
    assert len(asked(provider)) == 3 * len(PROVIDERS)
    check_folder(kept)
    history = b"".join(read(path) for path in kept.glob("history.db*"))
    assert PROMPT.encode() in history
    assert files_with_key(tmp_path) == {}
    assert keys_in(run) == []


def write_notebook(path: Path) -> Path:
    cells = [new_code_cell(source.strip()) for source in NOTEBOOK]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, path)
    return path
