"""The two ways over Convex: `guide`, which rewrites messages, and `kit`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from kit.app.hooks import use_message_streaming
from kit.bench.store import KIT, Store, said_before
from kit.bench.sync_link import SyncLink
from kit.bench.usage import children_of
from kit.bench.viewers import HookViewer, RowsViewer, Viewer
from kit.client import Deployment
from kit.errors import StackError
from kit.stack import ServerProcess

__all__ = ["FUNCTIONS", "GuideConvex", "KitConvex"]

FUNCTIONS = Path(__file__).parent.parent / "functions"


class _OverConvex:
    """An embedded deployment, and a client of it that asks for replies."""

    _functions = KIT

    def __init__(self, name: str, folder: Path, *options: str) -> None:
        self._data = folder / name
        args = ["kit.deployment", "--data", str(self._data), *options]
        log = folder / f"{name}.log"
        self.server = ServerProcess(f"{name}'s deployment", args, log=log, env={})
        self._asker: Deployment | None = None

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def asker(self) -> Deployment:
        assert self._asker is not None
        return self._asker

    async def start(self, environment: Mapping[str, str]) -> None:
        self.server.env.update(environment)
        await self.server.start()
        self._asker = Deployment(self.url)

    async def create_task(self) -> str:
        return str(await self.asker.mutation("tasks:create", {"title": "Bench"}))

    async def create_long_task(self, messages: int) -> str:
        task = await self.create_task()
        await self.server.stop()
        await asyncio.to_thread(self._say, task, messages)
        await self.server.start()
        return task

    def _say(self, task: str, messages: int) -> None:
        """Store what was said before, while the deployment is stopped."""
        store = Store(self._data, self._functions)
        try:
            rows = [
                {
                    "taskId": task,
                    "role": role.upper(),
                    "content": text,
                    "sequence": float(number),
                    "status": "complete",
                    **self._more_fields(role, text),
                }
                for number, (role, text) in enumerate(said_before(messages))
            ]
            store.insert("chatMessages", rows)
        finally:
            store.close()

    def _more_fields(self, role: str, text: str) -> dict[str, Any]:
        """What a stored message has beside the fields that both ways have."""
        raise NotImplementedError

    def processes(self) -> dict[str, int]:
        pid = self.server.pid or 0
        found = {"deployment": pid}
        for executor in children_of(pid, "kit.deployment.executor"):
            found["executor"] = executor
        return found

    async def aclose(self) -> None:
        if self._asker is not None:
            await self._asker.close()
        await self.server.stop()


async def _client(
    resources: AsyncExitStack, url: str, light: bool
) -> tuple[Deployment, Callable[[], int | None]]:
    """A viewer's own client, and its process; the official one unless `light`."""
    if light:
        link = SyncLink(url)
        await link.open()
        resources.push_async_callback(link.close)
        return link.as_deployment(), lambda: None
    deployment = await resources.enter_async_context(Deployment(url))
    return deployment, lambda: deployment.worker_pid


class GuideConvex(_OverConvex):
    """`parts`: whether a message has a part for each token, as in the guide's."""

    stores = True
    _functions = FUNCTIONS

    def __init__(self, folder: Path, *, parts: bool = True) -> None:
        self.name = "guide" if parts else "guide-text"
        self.title = "Convex, message rewritten per token" + (
            "" if parts else " (text alone)"
        )
        self._parts = parts
        options = ("--functions", str(FUNCTIONS), "--log-level", "WARNING")
        super().__init__(self.name, folder, *options)

    def _more_fields(self, role: str, text: str) -> dict[str, Any]:
        return {"metadataJson": "{}"}

    async def ask(self, task_id: str, prompt: str, model: str) -> None:
        message = {"taskId": task_id, "prompt": prompt, "model": model}
        await self.asker.action(
            "streaming:streamChat", {**message, "partPerToken": self._parts}
        )

    async def watch(
        self, task_id: str, *, url: str = "", light: bool = False
    ) -> Viewer:
        async with AsyncExitStack() as resources:
            client, worker = await _client(resources, url or self.url, light)
            rows = client.subscribe("messages:byTask", {"taskId": task_id})
            viewer = RowsViewer(rows)
            resources.push_async_exit(viewer.resources)
            await viewer.join()
            viewer.worker_pid = worker()
            viewer.resources = resources.pop_all()
        return viewer


class KitConvex(_OverConvex):
    """The kit's functions, writer, client and hook, as they are."""

    name = "kit"
    title = "Convex, the kit"
    stores = True

    def __init__(
        self, folder: Path, *, name: str = "kit", log_level: str = "WARNING"
    ) -> None:
        super().__init__(name, folder, "--log-level", log_level)

    def _more_fields(self, role: str, text: str) -> dict[str, Any]:
        if role == "user":
            return {}
        part = {"id": "text-0", "type": "text", "text": text, "state": "done"}
        return {"parts": [part]}

    async def ask(self, task_id: str, prompt: str, model: str) -> None:
        answer = await self.asker.action(
            "streaming:streamChatWithTools",
            {"taskId": task_id, "prompt": prompt, "model": model},
        )
        if not answer["success"]:
            raise StackError(f"The kit's reply failed: {answer['error']}")

    async def watch(
        self, task_id: str, *, url: str = "", light: bool = False
    ) -> Viewer:
        async with AsyncExitStack() as resources:
            client, worker = await _client(resources, url or self.url, light)
            viewer = HookViewer(await use_message_streaming(task_id, deployment=client))
            resources.push_async_exit(viewer.resources)
            viewer.worker_pid = worker()
            viewer.resources = resources.pop_all()
        return viewer
