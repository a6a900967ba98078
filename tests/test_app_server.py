"""The application's process: its settings, its HTTP calls, and the whole of it live."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import socketio
from deployment_fixture import deployment_process
from tokens import auth_config, token

from kit.app.flags import set_flags
from kit.app.server import main
from kit.client import Deployment
from kit.stack import ServerProcess, Stack

SENTINEL = "sentinel-4d1f9c7b2a"
ENDED = ("COMPLETED", "STOPPED", "FAILED")


# --- settings that cannot be used -------------------------------------------------


def settings(folder: Path) -> list[str]:
    return [
        *("--env-file", str(folder / ".env.local")),
        *("--history-url", f"sqlite+aiosqlite:///{folder / 'history.db'}"),
        *("--workspace", str(folder / "workspace")),
    ]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (["--history-url", "nonsense"], "The SQL history's URL cannot be read"),
        (
            ["--history-url", "sqlite:////no/such/folder/x.db"],
            "No such file or directory",
        ),
        (["--workspace", "/dev/null/x"], "The workspace /dev/null/x cannot be used"),
        (["--env-file", "/dev"], "Cannot read /dev"),
        (["--port", "{taken}"], "is already in use"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_clear_line_and_status_2(
    tmp_path: Path, bad: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bad = [text.format(taken=taken.getsockname()[1]) for text in bad]
        assert main([*settings(tmp_path), *bad]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_a_flag_without_a_url_is_a_line_on_stderr_of_the_process(
    tmp_path: Path,
) -> None:
    (tmp_path / ".env.local").write_text("NEXT_PUBLIC_USE_CONVEX_REALTIME=true\n")
    done = subprocess.run(
        [sys.executable, "-m", "kit.app.server", *settings(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "NEXT_PUBLIC_CONVEX_URL is missing" in line


@pytest.mark.parametrize("bad", [["--port", "x"], ["--port", "70000"], ["--nonsense"]])
def test_an_option_that_makes_no_sense_is_status_2(
    bad: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(bad)
    assert caught.value.code == 2
    assert bad[-1] in capsys.readouterr().err


# --- HTTP ---------------------------------------------------------------------------


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """The application alone, in mode `before`."""
    args = ["kit.app.server", *settings(tmp_path)]
    process = ServerProcess(
        "application", args, log=tmp_path / "app.log", env=dict(os.environ)
    )
    await process.start()
    yield process
    await process.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize("signed_in", [True, False])
async def test_on_a_deployment_that_asks_it_acts_as_the_user_of_its_token(
    tmp_path: Path, http: aiohttp.ClientSession, signed_in: bool
) -> None:
    with deployment_process(
        data=tmp_path / "data",
        functions=None,
        options=["--auth", str(auth_config(tmp_path))],
    ) as deployment:
        set_flags(tmp_path / ".env.local", realtime=True, convex_url=deployment.url)
        ann = token("ann")
        env = {**os.environ, **({"KIT_CONVEX_TOKEN": ann} if signed_in else {})}
        log = tmp_path / "app.log"
        args = ["kit.app.server", *settings(tmp_path), "--log-level", "DEBUG"]
        process = ServerProcess("application", args, log=log, env=env)
        await process.start()
        try:
            new = {"title": "Mine"}
            async with http.post(f"{process.url}/api/tasks", json=new) as response:
                status, answer = response.status, await response.json()
            async with http.get(f"{process.url}/about") as response:
                assert ann not in await response.text()
        finally:
            await process.stop()
        assert ann not in log.read_text()
        if not signed_in:
            assert status == 503
            assert "You are not signed in" in answer["error"]
            return
        assert status == 201
        async with Deployment(deployment.url, token=ann) as client:
            (task,) = await client.query("tasks:list")
            assert task["_id"] == answer["taskId"]


async def test_health_tasks_and_messages_over_http(
    server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{server.url}/health") as response:
        assert await response.json() == {"status": "ok", "mode": "before"}
    async with http.post(f"{server.url}/api/tasks", json={"title": "Mine"}) as response:
        assert response.status == 201
        task_id = (await response.json())["taskId"]
    async with http.get(f"{server.url}/api/tasks/{task_id}") as response:
        task = await response.json()
        assert (task["id"], task["title"]) == (task_id, "Mine")
        assert task["status"] == "INITIALIZING"
    messages = f"{server.url}/api/tasks/{task_id}/messages"
    async with http.get(messages) as response:
        assert await response.json() == {"messages": []}
    for path in ("none", "none/messages"):
        async with http.get(f"{server.url}/api/tasks/{path}") as response:
            assert response.status == 404
            assert "no task 'none'" in (await response.json())["error"]

    for body in (b"", b"x", b"\xff", b"[]", b"{}", b'{"title": 7}', b'{"title": " "}'):
        async with http.post(f"{server.url}/api/tasks", data=body) as response:
            assert response.status == 400, body
            assert "title" in (await response.json())["error"]


async def test_only_this_machine_is_served(
    server: ServerProcess, http: aiohttp.ClientSession
) -> None:
    refused = [
        {"Origin": "http://example.org"},
        {"Origin": "null"},
        {"Host": "example.org"},
    ]
    allowed: list[dict[str, str]] = [{}, {"Origin": "http://localhost:8888"}]
    for path in ("/health", "/about", "/socket.io/?EIO=4&transport=polling"):
        for headers in allowed:
            async with http.get(server.url + path, headers=headers) as response:
                assert response.status == 200, (path, headers)
        for headers in refused:
            async with http.get(server.url + path, headers=headers) as response:
                assert response.status == 403, (path, headers)
                assert "error" in await response.json()


# --- the whole of it, with provider and deployment ----------------------------------


class Viewer:
    """A client in one task, which keeps every event."""

    def __init__(self, stack: Stack, task_id: str) -> None:
        self.stack = stack
        self.task_id = task_id
        self.events: list[tuple[str, Any]] = []
        self.asked_before = 0  # the provider, by other tests
        self.logged_before = 0  # lines of the application, by them
        self._arrived = asyncio.Event()
        self._session = aiohttp.ClientSession()
        self._sio = socketio.AsyncClient(http_session=self._session)
        self._sio.on("*", self._received)

    async def _received(self, event: str, *payload: Any) -> None:
        self.events.append((event, payload[0] if payload else None))
        self._arrived.set()

    async def join(self) -> None:
        await self._sio.connect(self.stack.app.url, transports=["websocket"])
        await self._sio.call("join-task", {"taskId": self.task_id})

    async def leave(self) -> None:
        await self._sio.disconnect()

    async def close(self) -> None:
        await self._sio.shutdown()
        await self._session.close()

    async def emit(self, event: str, **fields: Any) -> None:
        await self._sio.emit(event, {"taskId": self.task_id, **fields})

    async def say(self, text: str, model: str = "claude-opus-5-5") -> None:
        await self.emit("user-message", message=text, llmModel=model)

    async def ask(self, text: str, model: str = "claude-opus-5-5") -> str:
        """Say it and wait for the end of the turn; the status that it ended with."""
        before = len(self.events)
        await self.say(text, model)
        return await self.ended(before)

    async def ended(self, since: int = 0) -> str:
        await self.until(lambda: any(s in ENDED for s in self.statuses(since)))
        return self.statuses(since)[-1]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._arrived.clear()
            await self._arrived.wait()

    def statuses(self, since: int = 0) -> list[str]:
        status = "task-status-updated"
        return [p["status"] for event, p in self.events[since:] if event == status]

    def counts(self) -> Counter[str]:
        return Counter(event for event, _ in self.events)

    @property
    def text(self) -> str:
        chunks = [p for event, p in self.events if event == "stream-chunk"]
        return "".join(chunk.get("content", "") for chunk in chunks)

    async def stored(self) -> list[dict[str, Any]]:
        url = f"{self.stack.app.url}/api/tasks/{self.task_id}/messages"
        async with self._session.get(url) as response:
            messages: list[dict[str, Any]] = (await response.json())["messages"]
            return messages

    async def requests(self) -> list[dict[str, Any]]:
        """What the provider was asked since this viewer's task was created."""
        return (await self.stack.provider_log())[self.asked_before :]

    def log_lines(self, containing: str) -> list[str]:
        """What the application has logged since then."""
        lines = self.stack.app.log_lines()[self.logged_before :]
        return [line for line in lines if containing in line]


in_its_loop = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with await Stack.start(pace=0, app=False) as stack:
        yield stack


@asynccontextmanager
async def viewing(stack: Stack, *, option: int | None = None) -> AsyncIterator[Viewer]:
    """A viewer of a new task of the application in this form; None is `before`."""
    assert stack.deployment is not None
    if not stack.deployment.running:  # a test that failed left it so
        await stack.deployment.start()
    asked, logged = len(await stack.provider_log()), len(stack.app.log_lines())
    stack.set_flags(realtime=option is not None, option=option or 1)
    await stack.app.restart()
    viewer = Viewer(stack, await stack.create_task("t"))
    viewer.asked_before, viewer.logged_before = asked, logged
    await viewer.join()
    try:
        yield viewer
    finally:
        await viewer.close()


SLOW = "claude-scripted-text:tokens=100000,pace=200"


@in_its_loop
async def test_before_a_viewer_that_is_away_loses_text_until_the_end(
    stack: Stack,
) -> None:
    async with viewing(stack) as viewer:
        other = Viewer(stack, viewer.task_id)
        await other.join()
        await viewer.say("hello", "claude-scripted-text:tokens=150,pace=150")
        await viewer.until(lambda: bool(viewer.text))
        await viewer.leave()
        seen_by_other = other.text
        await other.until(lambda: len(other.text) > len(seen_by_other) + 20)
        await viewer.join()
        assert await viewer.ended() == await other.ended() == "COMPLETED"
        assert len(viewer.text) < len(other.text), "chunks were sent once"
        assert not other.text.startswith(viewer.text), "a hole, not just a late start"
        (_, reply) = await viewer.stored()
        assert reply["content"] == other.text
        await other.close()


@in_its_loop
async def test_before_terminating_the_server_keeps_the_text_so_far(
    stack: Stack,
) -> None:
    async with viewing(stack) as viewer:
        await viewer.say("hello", SLOW)
        await viewer.until(lambda: len(viewer.text) > 20)
        await stack.app.stop()
        assert not viewer.log_lines("Traceback")
        await stack.app.start()
        (_, reply) = await viewer.stored()
        assert reply["content"].startswith(viewer.text[:20])
        assert reply["metadata"]["isStreaming"] is False


@in_its_loop
async def test_before_a_killed_server_leaves_a_task_that_can_be_stopped(
    stack: Stack,
) -> None:
    async with viewing(stack) as viewer:
        await viewer.say("hello", SLOW)
        await viewer.until(lambda: len(viewer.text) > 20)
        while not (await viewer.stored())[1:]:
            pass  # until its row is there
        await stack.app.kill()
        await viewer.close()
        await stack.app.start()
        again = Viewer(stack, viewer.task_id)
        await again.join()
        assert (await again.stored())[-1]["metadata"]["isStreaming"] is True
        await again.emit("stop-stream")
        assert await again.ended() == "STOPPED"
        assert await again.ask("and now?") == "COMPLETED"
        await again.close()


@in_its_loop
async def test_option_1_convex_answers_once_and_one_out_of_reach_is_made_up_for(
    stack: Stack,
) -> None:
    async with viewing(stack, option=1) as viewer:
        assert await viewer.ask("first") == "COMPLETED"
        assert not viewer.counts() & Counter(["stream-chunk", "stream-complete"])
        assert len(await viewer.requests()) == 1
        assert viewer.log_lines("[CHAT] Convex streaming SUCCESS! MessageId: ")

        await stack.cut_deployment()
        assert await viewer.ask("second") == "COMPLETED"
        assert "second" in viewer.text
        assert viewer.log_lines("[CHAT] Convex streaming failed, falling back")
        assert [r["prompt"] for r in await viewer.requests()] == ["first", "second"]
        stored = [(m["role"], m["content"][:2]) for m in await viewer.stored()]
        assert [role for role, _ in stored] == ["user", "assistant"] * 2

        await stack.restore_deployment()
        assert await viewer.ask("third") == "COMPLETED"
        assert len(viewer.log_lines("SUCCESS!")) == 2

        # One that hangs is given up within seconds.
        pid = stack.deployment.pid if stack.deployment else None
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(6):
                assert await viewer.ask("fourth") == "COMPLETED"
        finally:
            os.kill(pid, signal.SIGCONT)
        assert "fourth" in viewer.text


@in_its_loop
async def test_option_1_a_deployment_lost_in_mid_reply_does_not_answer_twice(
    stack: Stack,
) -> None:
    async with viewing(stack, option=1) as viewer:
        await viewer.say("hello", SLOW)
        while not await viewer.requests():
            pass  # until the model has been asked
        await stack.cut_deployment()
        await stack.restore_deployment()
        # Its producer is gone; the lease ends the reply, or a stop does.
        await viewer.until(lambda: "RUNNING" in viewer.statuses())
        await viewer.emit("stop-stream")
        assert await viewer.ended() in ("STOPPED", "FAILED")
        assert "stream-chunk" not in viewer.counts()
        assert len(await viewer.requests()) == 1


@in_its_loop
async def test_option_1_a_task_from_before_the_migration_is_answered_by_fallback(
    stack: Stack,
) -> None:
    async with viewing(stack) as viewer:
        assert await viewer.ask("first") == "COMPLETED"
        stack.set_flags(realtime=True, option=1)
        await viewer.leave()
        await stack.app.restart()
        await viewer.join()
        viewer.events.clear()
        assert await viewer.ask("second") == "COMPLETED"
        assert "second" in viewer.text


@in_its_loop
async def test_option_2_replies_are_convexs_alone_and_the_rest_still_comes(
    stack: Stack,
) -> None:
    async with viewing(stack, option=2) as viewer:
        assert await viewer.ask("use the calculator: 2+3") == "COMPLETED"
        counts = viewer.counts()
        assert set(counts) == {
            *("connection-info", "task-status-updated", "terminal-output", "fs-change")
        }
        async with Deployment(stack.deployment_url) as deployment:
            args = {"taskId": viewer.task_id}
            prompt, reply = await deployment.query("messages:byTask", args)
        assert prompt["content"] == "use the calculator: 2+3"
        assert reply["status"] == "complete"
        assert "tool-result" in [part["type"] for part in reply["parts"]]
        assert await viewer.stored() == []
        assert viewer.log_lines("[CHAT] Starting Convex streaming for task ")
        assert viewer.log_lines(f"messageId: {reply['_id']}")


@in_its_loop
async def test_option_2_a_stop_keeps_the_text_and_ends_the_task_stopped(
    stack: Stack,
) -> None:
    async with viewing(stack, option=2) as viewer:
        await viewer.say("hello", SLOW)
        async with Deployment(stack.deployment_url) as deployment:
            args = {"taskId": viewer.task_id}
            while not await viewer.requests():
                pass  # until the model has been asked
            await viewer.emit("stop-stream")
            assert await viewer.ended() == "STOPPED"
            _, reply = await deployment.query("messages:byTask", args)
            assert reply["status"] == "stopped"
        (request,) = await viewer.requests()
        assert request["outcome"] == "disconnected"


async def test_a_key_shows_nowhere(tmp_path: Path) -> None:
    """Whichever form of the application used it."""
    key = f"refused-{SENTINEL}"
    seen = ""
    async with await Stack.start(folder=tmp_path, pace=0, app=False) as stack:
        # A provider of our own with a key of our own, which it refuses.
        stack.app.env.pop("KIT_SCRIPTED_URL")
        stack.app.env["ANTHROPIC_API_KEY"] = key
        stack.app.env["KIT_ANTHROPIC_BASE_URL"] = f"{stack.scripted_url}/anthropic"
        for option in (None, 1, 2):
            async with viewing(stack, option=option) as viewer:
                assert await viewer.ask("hello") == "FAILED"
                seen += str(viewer.events) + str(await viewer.stored())
                assert len(await viewer.requests()) == 1
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert SENTINEL.encode() not in path.read_bytes(), path
    assert SENTINEL not in seen
