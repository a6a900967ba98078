"""Who watches while processes are killed: hooks, chat views, and a loop that must beat.

A `Rehearsal` is one task of the application, everything running, with its viewers: two
that follow Convex, each with a client of its own, and one that has only the socket.
What a viewer shows is written down at each change, so that a text that shrinks, repeats
itself or has a hole is seen even if the end is right.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from kit.app.hooks import (
    HybridTask,
    MessageStreaming,
    TaskSocket,
    use_hybrid_task,
    use_message_streaming,
    use_task_socket,
)
from kit.app.hooks.source import Hook, HookChange
from kit.client import Deployment
from kit.client.background import cancel
from kit.drill.proxy import Networks
from kit.stack import ServerProcess, Stack
from kit.widget import ChatView

LEASE = {"KIT_LEASE_MS": "3000"}
LIVE = ("streaming", "stopping")
LIMIT = 30.0  # s; a bound for what hangs, no expectation


class Watched:
    """A hook with a chat view on it, and what the two have shown."""

    def __init__(self, hook: Hook) -> None:
        self.hook = hook
        self.view = ChatView(hook)
        self.connections = [hook.connection]
        self.labels = [self.label]
        self.broken: list[str] = []
        self._said: dict[str, str] = {}
        self._stop = hook.observe(self._look)

    @property
    def label(self) -> str:
        """The word on the view's status line."""
        return repr(self.view).partition(": ")[2].partition(",")[0]

    @property
    def reply(self) -> dict[str, Any]:
        """The newest reply, {} if there is none."""
        rows = reversed(self.hook.messages)
        return next((row for row in rows if row["role"] == "ASSISTANT"), {})

    @property
    def is_live(self) -> bool:
        return self.reply.get("status") in LIVE

    @property
    def text(self) -> str:
        """The text of the newest reply, live or final."""
        row = self.reply
        if self.is_live:
            return self.hook.streaming_text()
        return str(row.get("content", ""))

    def close(self) -> None:
        self._stop()
        self.view.close()

    async def until(self, condition: Callable[[Watched], object]) -> None:
        await self.hook.until(lambda _: condition(self), timeout=LIMIT)

    def _look(self, _: HookChange) -> None:
        for seen, now in (
            (self.connections, self.hook.connection),
            (self.labels, self.label),
        ):
            if seen[-1] != now:
                seen.append(now)
        row = self.reply
        if not row:
            return
        before = self._said.get(row["_id"], "")
        self._said[row["_id"]] = self.text
        if not self.text.startswith(before):
            self.broken.append(f"{before!r}, then {self.text!r}")


class Beats:
    """A task that runs whenever the loop is free. Nobody waits on the loop but it."""

    async def __aenter__(self) -> Beats:
        self._count = 0
        self._beaten = asyncio.Condition()
        self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *_: object) -> None:
        await cancel(self._beating)

    async def more(self, count: int) -> None:
        """Wait until it has beaten that often from now on."""
        enough = self._count + count
        async with self._beaten:
            await self._beaten.wait_for(lambda: self._count >= enough)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            async with self._beaten:
                self._count += 1
                self._beaten.notify_all()


class Rehearsal:
    """One task, everything running, and who watches it."""

    def __init__(self, stack: Stack, task_id: str, option: int) -> None:
        self.stack = stack
        # May be those of a network in between; the late joiner's is always its own.
        self.deployment_url = stack.deployment_url
        self.socket_url = stack.app.url
        self.task_id = task_id
        self.option = option
        self.prompt = ""
        self._sent = 0
        self._open = AsyncExitStack()

    async def join(self) -> None:
        """Have all viewers look."""
        url = self.deployment_url
        self.first = await self._open.enter_async_context(Deployment(url))
        self.second = await self._open.enter_async_context(Deployment(url))
        socket_url = self.socket_url
        self.hybrid: HybridTask = await self._enter(
            await use_hybrid_task(
                self.task_id, deployment=self.first, socket_url=socket_url
            )
        )
        self.streaming: MessageStreaming = await self._enter(
            await use_message_streaming(self.task_id, deployment=self.second)
        )
        self.socket: TaskSocket = await self._enter(
            await use_task_socket(self.task_id, socket_url=socket_url)
        )
        self.beats = await self._open.enter_async_context(Beats())
        self.on_hybrid = self._watch(self.hybrid)
        self.on_streaming = self._watch(self.streaming)
        self.on_socket = self._watch(self.socket)
        self.convex_viewers = [self.on_hybrid, self.on_streaming]

    async def _enter(self, hook: Any) -> Any:
        return await self._open.enter_async_context(hook)

    def _watch(self, hook: Hook) -> Watched:
        watched = Watched(hook)
        self._open.callback(watched.close)
        return watched

    async def leave(self) -> None:
        await self._open.aclose()

    # --- what happens -----------------------------------------------------------

    async def begin(self, *, tokens: int = 150, pace: int = 50) -> None:
        """Send a message, and wait until all viewers show some of its reply."""
        model = f"claude-scripted-text:tokens={tokens},pace={pace}"
        self._sent += 1
        self.prompt = f"Message {self._sent} of task {self.task_id}"
        await self.hybrid.send_message(self.prompt, model=model)
        for viewer in self.convex_viewers:
            await viewer.until(lambda v: self._is_asked(v) and len(v.text) > 20)

    def _is_asked(self, viewer: Watched) -> bool:
        """Whether it shows the message that was sent last, and the reply to it."""
        contents = [row["content"] for row in viewer.hook.messages[-2:]]
        return contents[:1] == [self.prompt]

    async def outage(self, server: ServerProcess, *shows: Watched) -> None:
        """Kill it, and keep it away until `shows` show it and the loop has beaten on.

        Whatever waits for the server and holds the loop meanwhile, waits for ever.
        """
        await server.kill()
        for viewer in shows:
            await viewer.until(lambda v: v.hook.connection == "reconnecting")
            assert viewer.label == "Reconnecting…"
        await self.beats.more(20)

    async def ended(self, status: str) -> None:
        """Wait until all viewers show the end of the reply."""
        for viewer in self.convex_viewers:
            await viewer.until(lambda v: self._is_asked(v) and not v.is_live)
            assert viewer.reply["status"] == status, viewer.hook

    # --- what must hold ---------------------------------------------------------

    async def verify(self) -> str:
        """Every account of the reply is the same; its text."""
        row = self.on_hybrid.reply
        text: str = row["content"]
        assert text == await self._logged(row["streamId"])
        for viewer in self.convex_viewers:
            assert viewer.broken == []
            assert viewer.text == text
            assert text.strip()[:60] in viewer.view.as_text()
            assert viewer.hook.streaming_parts_order == []
        assert self.hybrid.messages == self.streaming.messages
        async with (
            Deployment(self.stack.deployment_url) as deployment,
            await use_message_streaming(self.task_id, deployment=deployment) as late,
        ):
            assert late.messages == self.streaming.messages
        return text

    async def _logged(self, stream_id: str) -> str:
        """What was accepted, from the log itself."""
        text, start, more = "", 0, True
        while more:
            args = {"streamId": stream_id, "from": start}
            answer = await self.second.query("streaming:catchUp", args)
            for delta in answer["deltas"]:
                chunks = delta["chunks"]
                text += "".join(c["delta"] for c in chunks if c["type"] == "text-delta")
            start, more = answer["nextSeq"], answer["more"]
        return text

    async def said_by_model(self) -> list[str]:
        """What the model said each time that it was asked for this message."""
        log = await self.stack.provider_log()
        return ["".join(r["tokens"]) for r in log if r["prompt"].endswith(self.prompt)]

    async def settled(self, status: str) -> None:
        """Both sockets hear the status, and both stores agree."""
        for hook in (self.hybrid.socket, self.socket):
            await hook.until(lambda hook: hook.task_status == status, timeout=LIMIT)
        task = await self.second.query("tasks:get", {"taskId": self.task_id})
        assert task["status"] == status
        if self.option == 1:
            stored = await self.stack.stored_messages(self.task_id)
            contents = [message["content"] for message in stored]
            assert contents == [row["content"] for row in self.streaming.messages]
        else:
            assert await self.stack.stored_messages(self.task_id) == []

    async def goes_on(self) -> None:
        """The next message is answered, for all to see."""
        await self.begin(tokens=10, pace=0)
        await self.ended("complete")
        await self.verify()
        (said,) = await self.said_by_model()
        assert self.on_hybrid.text == said
        await self.settled("COMPLETED")


@asynccontextmanager
async def running(folder: Path, option: int) -> AsyncIterator[Stack]:
    """Everything, in the form of this option, with a short lease."""
    async with await Stack.start(
        folder=folder, app=False, deployment_env=LEASE
    ) as stack:
        stack.set_flags(realtime=True, option=option)
        await stack.app.start()
        yield stack


@asynccontextmanager
async def between(stack: Stack) -> AsyncIterator[Networks]:
    """Networks in front of its deployment and its application, now or once started."""
    assert stack.deployment is not None
    deployment, app = stack.deployment, stack.app
    networks = Networks.between(lambda: deployment.port, lambda: app.port)
    try:
        await networks.start()
        yield networks
    finally:
        await networks.aclose()


@asynccontextmanager
async def networked(folder: Path, option: int) -> AsyncIterator[tuple[Stack, Networks]]:
    """Everything, and the application reaches its deployment over a network."""
    async with (
        await Stack.start(folder=folder, app=False, deployment_env=LEASE) as stack,
        between(stack) as networks,
    ):
        stack.set_flags(realtime=True, option=option, url=networks.backend.url)
        await stack.app.start()
        yield stack, networks


@asynccontextmanager
async def rehearsal(
    stack: Stack, option: int, networks: Networks | None = None
) -> AsyncIterator[Rehearsal]:
    """A new task and its viewers."""
    for server in (stack.provider, stack.deployment, stack.app):
        if server is not None and not server.running:
            await server.start()  # a test that failed left it so
    if networks is not None:
        networks.heal()
    made = Rehearsal(stack, await stack.create_task("Killed"), option)
    if networks is not None:
        made.deployment_url = networks.viewers.url
        made.socket_url = networks.sockets.url
    try:
        await made.join()
        yield made
    finally:
        await made.leave()
