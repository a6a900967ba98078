"""The application's Socket.IO events: what clients may send, checked, and handed on.

Holds the events' names, payloads and rooms; what happens then is in `chat`. A client
gets a task's events after it has joined it. Whatever a client sends, the answer is an
event with a text that says what was wrong; other clients do not notice.

Mirrors `apps/server/src/socket.ts` of the guide's application:

| from clients | payload |
|---|---|
| join-task, leave-task, stop-stream | {taskId} |
| user-message | {taskId, message, llmModel?, clientMessageId?, whenActive?} |
| get-chat-history | {taskId, complete?} |

| to clients | payload |
|---|---|
| connection-info | {connectionId, reconnectCount, timestamp} |
| chat-history | {taskId, messages, queuedAction} |
| stream-chunk, stream-complete, stream-error | a StreamChunk, nothing, {error} |
| task-status-updated | {taskId, status, timestamp, errorMessage?} |
| terminal-output | {taskId, entry} |
| fs-change | {id, taskId, type, path, timestamp, source, isDirectory} |
| message-error, chat-history-error | {error} |

As there, access to a task means that the task exists. Added: an event sent with an
acknowledgement is acknowledged when it has been dealt with, so that a client can know
that it has joined; a StreamChunk has `sentAt`, the time in milliseconds when it was
emitted; the events of one client are dealt with in their order; and who
joins a task is told its status, which may have changed while a client was away.
`queuedAction` is always null: what is queued (`whenActive`) is so in Convex.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import socketio
from aiohttp import web

from kit.app.chat import DEFAULT_MODEL, ChatService, UserMessage
from kit.app.history import History
from kit.app.runs import WhenActive
from kit.app.tasks import Tasks
from kit.deltas import valid_text
from kit.errors import KitError
from kit.serving import is_loopback

__all__ = ["Room", "SocketEvents"]

logger = logging.getLogger(__name__)

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern="^[!-~]*$")]
_ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Text = Annotated[str, msgspec.Meta(max_length=200_000)]

# Room for the longest text with each of its characters escaped in JSON.
_MAX_FRAME = 4_000_000

_CLOSE_TIMEOUT = 1.0  # seconds
_PING_INTERVAL = 5  # seconds
_PING_TIMEOUT = 15  # seconds


class _TaskPayload(msgspec.Struct):
    taskId: _Id


class _UserMessage(_TaskPayload):
    message: _Text
    llmModel: _ModelName | None = None
    clientMessageId: _Id | None = None
    whenActive: WhenActive = "reject"


_Payload = TypeVar("_Payload", bound=_TaskPayload)
_ErrorEvent = Literal["message-error", "chat-history-error"]


def _may_come_from(origin: str | None) -> bool:
    """Whether a browser may read the answers; without an Origin there is none."""
    return origin is not None and is_loopback(origin)


class Room:
    """The Socket.IO server, and the rooms of tasks in it."""

    def __init__(self) -> None:
        self.sio = socketio.AsyncServer(
            async_mode="aiohttp",
            # A handler is short; in their order, a message never overtakes a join.
            async_handlers=False,
            # connection-info is sent while the connection is being made.
            always_connect=True,
            cors_allowed_origins=_may_come_from,
            max_http_buffer_size=_MAX_FRAME,
            # A connection that is dead and does not say so is found in 20 s, by both
            # ends. A kernel that a cell blocks for less keeps its connection.
            ping_interval=_PING_INTERVAL,
            ping_timeout=_PING_TIMEOUT,
        )
        self._web_sockets: set[asyncio.Transport] = set()

    async def emit(self, task_id: str, event: str, payload: Any) -> None:
        """Send an event to the clients that joined the task; None is no payload."""
        await self.sio.emit(event, payload, room=_room(task_id))

    async def close(self) -> None:
        """Close all connections, as a server that goes away does.

        Not a Socket.IO disconnect, after which clients would not come back by
        themselves when the server has been started again.
        """
        if self.sio.eio.sockets:
            with suppress(TimeoutError):  # a client that does not read its last packet
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await self.sio.eio.disconnect()
        await self.sio.shutdown()
        # aiohttp, when it shuts down, no longer listens to its web sockets: it would
        # wait for closing handshakes that it does not hear.
        for transport in list(self._web_sockets):
            transport.close()

    def attach(self, app: web.Application) -> None:
        """Serve `/socket.io/` in `app`."""
        self.sio.attach(app)
        app.middlewares.append(self._remember_web_socket)

    @web.middleware
    async def _remember_web_socket(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        transport = request.transport
        if transport is None or "Upgrade" not in request.headers:
            return await handler(request)
        self._web_sockets.add(transport)
        try:
            return await handler(request)
        finally:
            self._web_sockets.discard(transport)


class SocketEvents:
    """Registers the handlers of all events on the server in `room`."""

    def __init__(
        self, room: Room, *, chat: ChatService, tasks: Tasks, history: History
    ) -> None:
        self._sio = room.sio
        self._chat = chat
        self._tasks = tasks
        self._history = history
        self._stopping: set[asyncio.Task[None]] = set()
        self._sio.on("connect", self._connect)
        self._on("join-task", _TaskPayload, self._join_task)
        self._on("leave-task", _TaskPayload, self._leave_task)
        self._on("user-message", _UserMessage, self._user_message)
        self._on("stop-stream", _TaskPayload, self._stop_stream)
        self._on(
            "get-chat-history",
            _TaskPayload,
            self._get_chat_history,
            error_event="chat-history-error",
        )

    def _on(
        self,
        event: str,
        payload_type: type[_Payload],
        handle: Callable[[str, _Payload], Awaitable[None]],
        *,
        error_event: _ErrorEvent = "message-error",
    ) -> None:
        """Have `handle` called with payloads that are whole, of tasks that exist."""

        async def checked(sid: str, *args: Any) -> None:
            try:
                payload = msgspec.convert(args[0] if args else None, payload_type)
                if await self._tasks.find(payload.taskId) is None:
                    raise KitError(
                        f"there is no task {payload.taskId!r}. "
                        "Create one with POST /api/tasks."
                    )
                await handle(sid, payload)
            except (msgspec.ValidationError, KitError) as error:
                await self._refuse(sid, error_event, f"{event}: {error}")
            except Exception:
                logger.exception("%s failed", event)
                text = f"{event}: the server failed. Its log says why."
                await self._refuse(sid, error_event, text)

        self._sio.on(event, checked)

    async def _refuse(self, sid: str, event: _ErrorEvent, text: str) -> None:
        await self._sio.emit(event, {"error": text}, to=sid)

    async def _connect(self, sid: str, environ: Mapping[str, Any]) -> None:
        info = {
            "connectionId": sid,
            "reconnectCount": 0,  # each connection is a new one, as in the original
            "timestamp": int(time.time() * 1000),
        }
        await self._sio.emit("connection-info", info, to=sid)

    async def _join_task(self, sid: str, payload: _TaskPayload) -> None:
        """Join, and hear how the task is: what was told meanwhile is not told again."""
        await self._sio.enter_room(sid, _room(payload.taskId))

        async def emit(_: str, event: str, payload: Any) -> None:
            await self._sio.emit(event, payload, to=sid)

        await self._tasks.tell(payload.taskId, emit)

    async def _leave_task(self, sid: str, payload: _TaskPayload) -> None:
        await self._sio.leave_room(sid, _room(payload.taskId))

    async def _user_message(self, sid: str, payload: _UserMessage) -> None:
        text = valid_text(payload.message)
        if not text.strip():
            raise KitError("the message is empty. Write something.")
        run = self._chat.submit(
            UserMessage(
                payload.taskId,
                text,
                payload.llmModel or DEFAULT_MODEL,
                payload.clientMessageId or uuid.uuid4().hex,
                when_active=payload.whenActive,
            )
        )
        # What is acknowledged is not lost if the server is.
        await run.accepted.wait()

    async def _stop_stream(self, sid: str, payload: _TaskPayload) -> None:
        """Stopping takes as long as the reply's end; the client's events go on."""

        async def stop() -> None:
            try:
                await self._chat.stop(payload.taskId)
            except KitError as error:
                await self._refuse(sid, "message-error", f"stop-stream: {error}")

        task = asyncio.create_task(stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _get_chat_history(self, sid: str, payload: _TaskPayload) -> None:
        history = {
            "taskId": payload.taskId,
            "messages": await self._history.messages(payload.taskId),
            "queuedAction": None,
        }
        await self._sio.emit("chat-history", history, to=sid)


def _room(task_id: str) -> str:
    return f"task-{task_id}"
