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

ACCEPT_TIMEOUT = 60.0  # s


class _OverSocketIO:
    """A server process, and clients of it that ask for replies, each one at a time."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._session: aiohttp.ClientSession | None = None
        self._askers: list[socketio.AsyncClient] = []
        self._idle: list[socketio.AsyncClient] = []

    @property
    def url(self) -> str:
        return self._server.url

    async def start(self, environment: Mapping[str, str]) -> None:
        self._server.env.update(environment)
        await self._server.start()
        # Each asker keeps a connection: by default, a hundred of them is all.
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector)

    async def ask(self, task_id: str, prompt: str, model: str) -> None:
        message = {"taskId": task_id, "message": prompt, "llmModel": model}
        asker = self._idle.pop() if self._idle else await self._connect()
        try:
            await asker.call("user-message", message, timeout=ACCEPT_TIMEOUT)
        except socketio.exceptions.TimeoutError:
            raise StackError(
                f"The {self._server.name} has not accepted a message within "
                f"{ACCEPT_TIMEOUT:g} s."
            ) from None
        self._idle.append(asker)

    async def _connect(self) -> socketio.AsyncClient:
        asker = socketio.AsyncClient(http_session=self._session, handle_sigint=False)
        self._askers.append(asker)
        await asker.connect(
            self.url, transports=["websocket"], wait_timeout=ACCEPT_TIMEOUT
        )
        return asker

    async def _disconnect(self) -> None:
        askers, self._askers, self._idle = self._askers, [], []
        for asker in askers:
            await asker.shutdown()

    def processes(self) -> dict[str, int]:
        return {"server": self._server.pid or 0}

    async def aclose(self) -> None:
        await self._disconnect()
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
        return await _event_viewer(url or self.url, task_id)


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
        await self._disconnect()
        await self._server.stop()
        history = await History.open(self._history_url)
        try:
            for role, text in said_before(messages):
                await history.add_message(task_id, role, text, llm_model="bench")
        finally:
            await history.close()
        await self._server.start()
        return task_id

    async def watch(
        self, task_id: str, *, url: str = "", light: bool = False
    ) -> Viewer:
        if light:
            return await _event_viewer(url or self.url, task_id)
        hook = await use_task_socket(task_id, socket_url=url or self.url)
        return HookViewer(hook)


async def _event_viewer(url: str, task_id: str) -> Viewer:
    viewer = EventViewer()
    await viewer.join(url, task_id)
    return viewer
