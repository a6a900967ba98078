"""A key is used, and then it is nowhere: no document, file, log, error or notebook.

Over real processes, each wire, and all that goes wrong or is stopped there. What a
single module does with a key is in its own tests.
"""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import traceback
from collections.abc import Iterator
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

# Not all of them look like keys: what has no pattern cannot be found by one.
SENTINEL = "sentinel-7c1e5a9d3b"
KEYS = {
    "good": f"sk-ant-api03-{SENTINEL}",
    "plain": f"{SENTINEL}-0123456789",
    "refused": f"refused-{SENTINEL}",
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


def has_key(text: object) -> bool:
    return SENTINEL in str(text)


def files_with_key(folder: Path) -> list[Path]:
    return [path for path in all_files(folder) if SENTINEL.encode() in read(path)]


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
    assert files_with_key(folder) == []
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

    def __init__(self, deployment: Deployment, task_id: str) -> None:
        self.deployment = deployment
        self.task_id = task_id
        self.seen: list[object] = []

    async def ask(self, model: Any, **more: Any) -> Any:
        """The result, or the error."""
        args = {"taskId": self.task_id, "prompt": PROMPT, "model": model, **more}
        try:
            answer = await self.deployment.action("streaming:streamChatWithTools", args)
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


@pytest.mark.parametrize("wire", list(PROVIDERS))
async def test_a_key_in_a_call_is_nowhere_afterwards(
    tmp_path: Path,
    provider: str,
    wire: ProviderName,
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
        task_id = await deployment.mutation("tasks:create", {"title": "t"})
        caller = Caller(deployment, task_id)
        for name, key in KEYS.items():
            good = await caller.ask(MODELS[wire], apiKeys={wire: key})
            assert good["success"] is (name != "refused")
        await let_fail(caller, wire)
        await refuse(caller)
        await send_where_it_does_not_belong(stack, caller.seen)
        check_folder(tmp_path)
        await stop(caller, wire, provider, tmp_path)
        await kill(caller, wire, stack, tmp_path)
        assert len(key_hashes(provider)) == len(KEYS)
    check_folder(tmp_path)
    assert not has_key([caller.seen, caplog.text])


async def let_fail(caller: Caller, wire: ProviderName) -> None:
    keys = {wire: KEYS["plain"]}
    for scenario in FAILURES:
        model = model_named(wire, scenario)
        failed = await caller.ask(model, apiKeys=keys, tools=["calculator"])
        assert failed["success"] is False
        assert ("[redacted]" in failed["error"]) is ("echo" in scenario)
    for scenario in TOOL_FAULTS:
        answered = await caller.ask(
            model_named(wire, scenario),
            prompt=f"{PROMPT}: “1 / 0”",
            apiKeys=keys,
            tools=["calculator"],
        )
        assert "failed: " in answered["text"]


async def refuse(caller: Caller) -> None:
    key = KEYS["plain"]
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
        more: dict[str, Any] = {"model": "claude-x", **wrong}
        assert isinstance(await caller.ask(**more), DeploymentError)


async def stop(caller: Caller, wire: ProviderName, provider: str, folder: Path) -> None:
    for scenario in STOPPED:
        before = len(asked(provider))
        model = model_named(wire, scenario)
        asking = asyncio.create_task(caller.ask(model, apiKeys={wire: KEYS["plain"]}))
        while len(await asyncio.to_thread(asked, provider)) == before:
            pass
        args = {"taskId": caller.task_id}
        caller.seen.append(await caller.deployment.mutation("streaming:stopTask", args))
        check_folder(folder)
        assert (await asking)["status"] == "stopped"


async def kill(caller: Caller, wire: ProviderName, stack: Stack, folder: Path) -> None:
    """In the middle of a reply, so that nothing is tidied up."""
    assert stack.deployment is not None
    hook = await use_message_streaming(caller.task_id, deployment=caller.deployment)
    model = model_named(wire, "text:tokens=500,pace=50")
    slow = asyncio.create_task(caller.ask(model, apiKeys={wire: KEYS["plain"]}))
    await hook.until(lambda h: len(h.streaming_parts_order) > 0, timeout=20)
    check_command_lines()
    await stack.deployment.kill()
    await slow
    check_folder(folder)
    await stack.deployment.start()
    await hook.until(lambda h: h.connection == "connected", timeout=20)
    await hook.stop_stream()
    await hook.until(lambda h: not h.is_live, timeout=20)
    caller.seen += [hook.messages, hook.error, hook, stack, caller.deployment]
    await hook.aclose()


async def send_where_it_does_not_belong(stack: Stack, seen: list[object]) -> None:
    """As a token, in a path, in HTTP that is none, in an argument of another type."""
    key, url = KEYS["plain"], stack.deployment_url
    call = {"path": "streaming:send", "args": {"apiKeys": {"anthropic": key}}}
    async with aiohttp.ClientSession() as http:
        for headers in ({}, {"Authorization": f"Bearer {key}"}, {"Origin": key}):
            async with http.post(
                f"{url}/api/mutation", json=call, headers=headers
            ) as answer:
                seen.append(_without_echo(await answer.text(), key, headers))
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
        seen.append(json.dumps(refused))


def _without_echo(text: str, key: str, headers: dict[str, str]) -> str:
    """An Origin is shown to who sent it, and to nobody else."""
    return text.replace(key, "") if "Origin" in headers else text


# --- keys of the environment ------------------------------------------------------

NOTEBOOK = [
    """
folder: str = ""  # what the stack keeps
model: str = ""
key_variable: str = ""
""",
    """
%xmode Verbose
from pathlib import Path
from kit.app.hooks import use_hybrid_task, use_message_streaming, use_task_socket
from kit.client import Deployment
from kit.stack import Stack
from kit.widget import ChatView

stack = await Stack.start(provider="real", folder=Path(folder))
stack.set_flags(realtime=True, option=2)
for server in (stack.deployment, stack.app):
    server.args += ["--log-level", "DEBUG"]
    await server.restart()
stack
""",
    f"""
deployment = Deployment(stack.deployment_url)
await deployment.connect()
task_id = await stack.create_task("keys")
hook = await use_hybrid_task(
    task_id, deployment=deployment, socket_url=stack.app.url, model=model
)
for _ in range(2):
    before = len(hook.messages)
    await hook.send_message({PROMPT!r})
    await hook.until(
        lambda h: len(h.messages) > before + 1
        and h.messages[-1]["status"] in ("complete", "failed"),
        timeout=30,
    )
display(ChatView(hook), hook, deployment, hook.messages, hook.error)
""",
    f"""
stack.set_flags(realtime=False)
await stack.app.restart()
socket = await use_task_socket(task_id, socket_url=stack.app.url, model=model)
since = len(socket.events)
await socket.send_message({PROMPT!r})
await socket.until(
    lambda h: h.status_since(since) in ("COMPLETED", "FAILED"), timeout=30
)
display(ChatView(socket), socket.messages, socket.error, socket.events)
print(await stack.stored_messages(task_id))
print(stack.app.log_tail(), stack.deployment.log_tail(), stack.provider_log)
""",
    """
import os, pickle, traceback
from kit.llm.secret import Secret

request = {"taskId": task_id, "prompt": "x", "model": model}
keys = {"anthropic": Secret(os.environ[key_variable])}
try:
    await deployment.action(
        "streaming:streamChatWithTools", {**request, "apiKeys": keys, "surprise": 1}
    )
except Exception as error:
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    print(repr(error), pickle.dumps(error), *told.format())
""",
    """
await deployment.action(
    "streaming:streamChatWithTools", {**request, "apiKeys": keys, "surprise": 1}
)
""",
]


@pytest.mark.notebook
@pytest.mark.parametrize(
    ("wire", "key"),
    [("anthropic", "good"), ("openai", "plain"), ("openrouter", "refused")],
)
def test_a_key_of_the_environment_is_nowhere_afterwards(
    tmp_path: Path,
    provider: str,
    monkeypatch: pytest.MonkeyPatch,
    wire: ProviderName,
    key: str,
) -> None:
    """A notebook, the application and the deployment, with keys as in real use."""
    monkeypatch.delenv("KIT_SCRIPTED_URL", raising=False)
    for settings in PROVIDERS.values():
        monkeypatch.delenv(settings.key_variable, raising=False)
    settings = PROVIDERS[wire]
    monkeypatch.setenv(settings.key_variable, KEYS[key])
    monkeypatch.setenv(settings.base_url_variable, provider + settings.scripted_path)
    kept, out = tmp_path / "stack", tmp_path / "out"
    for folder in (kept, out):
        folder.mkdir()
    parameters = {
        "folder": str(kept),
        "model": MODELS[wire],
        "key_variable": settings.key_variable,
    }
    run = run_notebook(write_notebook(tmp_path / "keys.ipynb"), out, parameters)
    write_report(out / "report.html", [run], {"Provider": "real"})
    write_junit(out / "junit.xml", [run])
    # Its last cell fails, and everything ends with the kernel, as it stands.
    assert run.failed_cell == len(NOTEBOOK) + 1
    executed = run.executed.read_text()
    assert ("'status': 'failed'" in executed) is (key == "refused")
    assert "surprise" in str(run.error)
    assert '"output_type": "error"' in executed
    # With the variables of the kit's frames, and of the cell: a secret among them.
    assert "kit/client/tracebacks.py" in executed
    assert "Secret('…')" in executed
    assert len(key_hashes(provider)) == 1
    assert len(asked(provider)) == 3
    check_folder(kept)
    history = b"".join(read(path) for path in kept.glob("history.db*"))
    assert PROMPT.encode() in history
    assert files_with_key(tmp_path) == []
    assert not has_key(run)


def write_notebook(path: Path) -> Path:
    cells = [new_code_cell(source.strip()) for source in NOTEBOOK]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, path)
    return path
