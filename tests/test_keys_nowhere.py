"""A key is used, and then it is nowhere: no document, file, log, error or notebook.

Over real processes. What a single module does with a key is in its own tests.
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import nbformat
import pytest
import requests
from nbformat.v4 import new_code_cell, new_notebook
from sync_client import sync_client

from kit.app.hooks import use_message_streaming
from kit.client import Deployment
from kit.errors import DeploymentError
from kit.stack import Stack
from kit.tour import run_notebook

pytestmark = pytest.mark.timeout(180)

# Not all of them look like keys: what has no pattern cannot be found by one.
SENTINEL = "sentinel-7c1e5a9d3b"
KEYS = {
    "good": f"sk-ant-api03-{SENTINEL}",
    "plain": f"{SENTINEL}-0123456789",
    "refused": f"refused-{SENTINEL}",
}
PROMPT = "a prompt that is stored"

FAILURES = [
    "error-mid",
    "drop",
    "eof",
    "http-401",
    "http-402",
    "http-403",
    "http-404",
    "http-500",
    "http-529",
]


def has_key(text: object) -> bool:
    return SENTINEL in str(text)


def files_with_key(folder: Path) -> list[Path]:
    return [path for path in all_files(folder) if SENTINEL.encode() in read(path)]


def all_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # a temporary file of SQLite's
        return b""


def check_folder(folder: Path) -> None:
    """No file has the key; and what should be there is, in the clear."""
    assert files_with_key(folder) == []
    stored = b"".join(read(path) for path in all_files(folder / "deployment"))
    assert PROMPT.encode() in stored


@pytest.fixture
def provider() -> Iterator[str]:
    """A scripted provider of ours, which the kit takes for a real one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "kit.llm.scripted", "--pace", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]
        process.terminate()


def key_hashes(provider: str) -> set[str]:
    """Of the keys that the provider was shown."""
    shown = requests.get(f"{provider}/log", timeout=10).json()["requests"]
    return {request["keyHash"] for request in shown}


# --- keys that a caller gives -----------------------------------------------------


class Caller:
    """Asks for replies with a key in `apiKeys`, and keeps all that comes back."""

    def __init__(self, deployment: Deployment, task_id: str) -> None:
        self.deployment = deployment
        self.task_id = task_id
        self.seen: list[object] = []

    async def ask(self, model: str, **more: Any) -> Any:
        """The result, or the error."""
        args = {"taskId": self.task_id, "prompt": PROMPT, "model": model, **more}
        try:
            answer = await self.deployment.action("streaming:streamChatWithTools", args)
        except DeploymentError as error:
            self.seen += [repr(error), str(error), vars(error), error.__context__]
            return error
        self.seen.append(answer)
        return answer


async def test_a_key_in_a_call_is_nowhere_afterwards(
    tmp_path: Path,
    provider: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("KIT_SCRIPTED_URL", provider)
    async with (
        await Stack.start(folder=tmp_path, app=False) as stack,
        Deployment(stack.deployment_url) as deployment,
    ):
        assert stack.deployment is not None
        task_id = await deployment.mutation("tasks:create", {"title": "t"})
        caller = Caller(deployment, task_id)
        hook = await use_message_streaming(task_id, deployment=deployment)
        for name, key in KEYS.items():
            good = await caller.ask("claude-opus-5-5", apiKeys={"anthropic": key})
            assert good["success"] is (name != "refused")
        for model in FAILURES:
            for provider_name, prefix in (("anthropic", "claude-"), ("openai", "gpt-")):
                keys = {provider_name: KEYS["plain"]}
                failed = await caller.ask(f"{prefix}scripted-{model}", apiKeys=keys)
                assert failed["success"] is False
        for wrong in (
            {"apiKeys": KEYS["plain"]},
            {"apiKeys": {"anthropic": [KEYS["plain"]]}},
            {"apiKeys": {"anthropic": KEYS["plain"]}, "surprise": 1},
            {"apiKeys": {"anthropic": KEYS["plain"]}, "tools": ["none"]},
            {"apiKeys": {"anthropic": KEYS["plain"] + "\n"}, "clientMessageId": ""},
            {"apiKeys": {"nvidia": KEYS["plain"]}},
        ):
            assert isinstance(await caller.ask("claude-x", **wrong), DeploymentError)
        await _send_where_it_does_not_belong(stack, task_id, caller.seen)
        check_folder(tmp_path)

        # Killed in the middle of a reply, so that nothing is tidied up.
        slow = asyncio.create_task(
            caller.ask(
                "claude-scripted-text:tokens=500,pace=50",
                apiKeys={"anthropic": KEYS["plain"]},
            )
        )
        await hook.until(lambda h: len(h.streaming_parts_order) > 0, timeout=20)
        await stack.deployment.kill()
        await slow
        check_folder(tmp_path)
        await stack.deployment.start()
        await hook.until(lambda h: h.connection == "connected", timeout=20)
        await hook.stop_stream()
        await hook.until(lambda h: not h.is_live, timeout=20)
        caller.seen += [hook.messages, hook.error, hook, stack, deployment]
        await hook.aclose()
        assert len(key_hashes(provider)) == len(KEYS)
        command = Path(f"/proc/{stack.deployment.pid}/cmdline").read_bytes()
    check_folder(tmp_path)
    assert not has_key([caller.seen, caplog.text, command])


async def _send_where_it_does_not_belong(
    stack: Stack, task_id: str, seen: list[object]
) -> None:
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
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.deployment.port)  # type: ignore[union-attr]
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
    'folder: str = ""  # what the stack keeps',
    """
from pathlib import Path
from kit.app.hooks import use_hybrid_task, use_message_streaming
from kit.client import Deployment
from kit.stack import Stack
from kit.widget import ChatView

stack = await Stack.start(provider="real", folder=Path(folder))
stack.set_flags(realtime=True, option=2)
await stack.app.restart()
stack
""",
    f"""
deployment = Deployment(stack.deployment_url)
await deployment.connect()
task_id = await stack.create_task("keys")
hook = await use_hybrid_task(
    task_id, deployment=deployment, socket_url=stack.app.url, model="claude-opus-5-5"
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
    """
stack.set_flags(realtime=False)
await stack.app.restart()
print(stack.app.log_tail(), stack.deployment.log_tail(), stack.provider_log)
""",
    """
import os
request = {"taskId": task_id, "prompt": "x", "model": "claude-opus-5-5"}
keys = {"anthropic": os.environ["ANTHROPIC_API_KEY"]}
await deployment.action(
    "streaming:streamChatWithTools", {**request, "apiKeys": keys, "surprise": 1}
)
""",
]


@pytest.mark.notebook
@pytest.mark.parametrize("key", ["good", "refused"])
def test_a_key_of_the_environment_is_nowhere_afterwards(
    tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """A notebook, the application and the deployment, with keys as in real use."""
    for name in ("OPENROUTER_API_KEY", "OPENAI_API_KEY", "KIT_SCRIPTED_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEYS[key])
    monkeypatch.setenv("KIT_ANTHROPIC_BASE_URL", f"{provider}/anthropic")
    kept, out = tmp_path / "stack", tmp_path / "out"
    for folder in (kept, out):
        folder.mkdir()
    notebook = tmp_path / "keys.ipynb"
    cells = [new_code_cell(source.strip()) for source in NOTEBOOK]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    written = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(written, notebook)

    run = run_notebook(notebook, out, {"folder": str(kept)})
    # Its last cell fails, and everything ends with the kernel, as it stands.
    assert run.failed_cell == len(cells) + 1
    executed = run.executed.read_text()
    assert ("'status': 'failed'" in executed) is (key == "refused")
    assert "surprise" in str(run.error)
    assert '"output_type": "error"' in executed
    assert len(key_hashes(provider)) == 1
    check_folder(kept)
    assert files_with_key(tmp_path) == []
    assert not has_key(run)
