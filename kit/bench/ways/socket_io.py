"""The two ways over Socket.IO: `bare`, which stores nothing, and `sql`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import socketio

from kit.app.history import History
from kit.app.hooks import use_task_socket
from kit.bench.store import said_before
from kit.bench.viewers import EventViewer, HookViewer, Viewer
from kit.errors import StackError
from kit.stack import ServerProcess

__all__ = ["BareSocket", "SocketWithHistory"]

ACCEPT_TIMEOUT = 20.0  # s


class _OverSocketIO:
    """A server process, and a client of it that asks for replies."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._session: aiohttp.ClientSession | None = None
        self._asker: socketio.AsyncClient | None = None

    @property
    def url(self) -> str:
        return self._server.url

    async def start(self, environment: Mapping[str, str]) -> None:
        self._server.env.update(environment)
        await self._server.start()
        self._session = aiohttp.ClientSession()
        await self._connect()

    async def _connect(self) -> None:
        self._asker = socketio.AsyncClient(
            http_session=self._session, handle_sigint=False
        )
        await self._asker.connect(self.url, transports=["websocket"])

    async def ask(self, task_id: str, prompt: str, model: str) -> None:
        assert self._asker is not None
        message = {"taskId": task_id, "message": prompt, "llmModel": model}
        await self._asker.call("user-message", message, timeout=ACCEPT_TIMEOUT)

    def processes(self) -> dict[str, int]:
        return {"server": self._server.pid or 0}

    async def aclose(self) -> None:
        if self._asker is not None:
            await self._asker.shutdown()
        if self._session is not None:
            await self._session.close()
        await self._server.stop()


class BareSocket(_OverSocketIO):
    name = "bare"
    title = "Socket.IO, nothing stored"
    stores = False

    def __init__(self, folder: Path) -> None:
        log = folder / "bare.log"
        super().__init__(
            ServerProcess("bare server", ["kit.bench.bare_server"], log=log, env={})
        )
        self._numbers = itertools.count()

    async def create_task(self) -> str:
        return f"bare-{next(self._numbers)}"

    async def create_long_task(self, messages: int) -> str:
        return await self.create_task()  # nothing is kept of what was said

    async def watch(
        self, task_id: str, *, url: str = "", light: bool = False
    ) -> Viewer:
        viewer = EventViewer()
        await viewer.join(url or self.url, task_id)
        return viewer


class SocketWithHistory(_OverSocketIO):
    """The kit's application as it is before the migration, and its hook."""

    name = "sql"
    title = "Socket.IO with SQL history"
    stores = True

    def __init__(self, folder: Path) -> None:
        self._history_url = f"sqlite+aiosqlite:///{folder / 'history.db'}"
        args = [
            "kit.app.server",
            *("--env-file", str(folder / ".env.local")),
            *("--history-url", self._history_url),
            *("--workspace", str(folder / "workspace")),
            *("--log-level", "WARNING"),
        ]
        log = folder / "application.log"
        super().__init__(ServerProcess("application", args, log=log, env={}))

    async def create_task(self) -> str:
        assert self._session is not None
        async with self._session.post(
            f"{self.url}/api/tasks", json={"title": "Bench"}
        ) as response:
            if response.status != 201:
                raise StackError(f"The application refused: {await response.text()}")
            return str((await response.json())["taskId"])

    async def create_long_task(self, messages: int) -> str:
        task_id = await self.create_task()
        assert self._asker is not None
        await self._asker.shutdown()
        await self._server.stop()
        history = await History.open(self._history_url)
        try:
            for role, text in said_before(messages):
                await history.add_message(task_id, role, text, llm_model="bench")
        finally:
            await history.close()
        await self._server.start()
        await self._connect()
        return task_id

    async def watch(
        self, task_id: str, *, url: str = "", light: bool = False
    ) -> Viewer:
        hook = await use_task_socket(task_id, socket_url=url or self.url)
        return HookViewer(hook)
