"""`use_task_socket`: a task over Socket.IO, as the guide's front end does it.

Holds what the server sends for one task: history, live reply, status, terminal, file
changes. Mirrors the guide's `useTaskSocket`, with what it gets wrong, because that is
what the migration cures:

* a chunk that is sent while the client is away is gone; what comes afterwards is
  appended, so the text has a hole;
* at `stream-complete` the parts are dropped and the history is fetched, which may be
  older than what the parts showed;
* after a reconnect nothing is shown as streaming until the next chunk comes.

What is drawn from these fields is somebody else's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from kit.app.hooks.live_parts import LiveParts
from kit.app.hooks.outgoing import SentMessages
from kit.app.hooks.socket_connection import SocketConnection, Unanswered
from kit.app.hooks.socket_reply import SocketReply
from kit.app.hooks.source import (
    Delivery,
    Hook,
    HookChange,
    Message,
    MessagesChanged,
    StateChanged,
)
from kit.app.hooks.stream_chunks import row_of_history
from kit.app.runs import WhenActive
from kit.client.background import cancel, keep_awake, spawn
from kit.errors import KitError
from kit.serving import is_loopback

__all__ = ["SocketEvent", "TaskSocket", "use_task_socket"]

logger = logging.getLogger("kit.app.hooks")

SETTLE_TIMEOUT = 3.0

Connection = Literal["connecting", "connected", "reconnecting", "disconnected"]


async def use_task_socket(
    task_id: str,
    *,
    socket_url: str,
    model: str | None = None,
    swaps_with_history: bool = False,
    timeout: float = 5.0,
) -> TaskSocket:
    """Join a task's room; returns when its history is there.

    `model` is for messages that are sent without one; None leaves the choice to the
    server. `swaps_with_history` keeps live parts until the history holds their reply,
    which the guide's front end does not. Raises ConfigError within 5 s if no Socket.IO
    server answers at `socket_url`, KitError if it does not give the task's history
    within `timeout` seconds.
    """
    hook = TaskSocket(
        task_id, socket_url, model=model, swaps_with_history=swaps_with_history
    )
    try:
        await hook.connect()
        await hook._wait_for_history(timeout)
    except BaseException:
        await hook.aclose()
        raise
    return hook


@dataclass(frozen=True, slots=True)
class SocketEvent:
    """An event as it arrived; `time` is seconds since the epoch."""

    time: float
    name: str
    payload: Any


class TaskSocket(Hook):
    """A task over Socket.IO. See the module for what it gets wrong on purpose.

    `events` holds every event since the start, `connect` and `disconnect` included;
    `task_status` the last one sent, None if unknown, as after a disconnect; `terminal`
    and `fs_changes` what the sidecar sent.
    """

    def __init__(
        self,
        task_id: str,
        socket_url: str,
        *,
        model: str | None = None,
        swaps_with_history: bool = False,
    ) -> None:
        super().__init__(task_id)
        self.socket_url = socket_url
        self.events: list[SocketEvent] = []
        self.task_status: str | None = None
        self.terminal: list[dict[str, Any]] = []
        self.fs_changes: list[dict[str, Any]] = []
        self._model = model
        self._swaps_with_history = swaps_with_history
        self._sent = SentMessages(task_id)
        self._failure: str | None = None
        self._reply = SocketReply()
        self._history: list[Message] = []
        self._has_history = False
        self._messages: list[Message] = []
        self._state: Connection = "connecting"
        self._socket: SocketConnection | None = None
        self._awake: asyncio.Task[None] | None = None

    # --- what it shows ----------------------------------------------------------

    @property
    def messages(self) -> list[Message]:
        """The last `chat-history`, and what was sent since and is not in it."""
        return self._messages

    @property
    def is_streaming(self) -> bool:
        """Whether chunks came and neither their end, a stop nor a disconnect since."""
        return self._reply.is_streaming

    @property
    def is_replying(self) -> bool:
        """Whether there is a live reply: it streams, or its parts still show."""
        return self._reply.is_shown

    @property
    def is_connected(self) -> bool:
        return self.connection == "connected"

    @property
    def connection(self) -> str:
        return "closed" if self._closed else self._state

    @property
    def _live(self) -> LiveParts:
        return self._reply.live

    def event_counts(self) -> Counter[str]:
        """How many events of each name have come."""
        return Counter(event.name for event in self.events)

    def status_since(self, index: int) -> str | None:
        """The last task status among `events[index:]`; None if none came."""
        for event in reversed(self.events[index:]):
            if event.name == "task-status-updated":
                return str(event.payload["status"])
        return None

    def _details(self) -> list[str]:
        names = " ".join(event.name for event in self.events[-3:])
        return [f"task {self.task_status or 'without status'}", f"last events {names}"]

    # --- what it does -----------------------------------------------------------

    async def connect(self) -> None:
        """Connect, and join the task's room; nothing if it has not been left.

        Raises ConfigError within 5 s if no Socket.IO server answers.
        """
        if self._closed:
            raise KitError(f"{self!r} has been closed. Use another.")
        if self._socket is not None:
            return
        if self._awake is None:
            self._awake = spawn(keep_awake(), "keep awake")
        self._socket = SocketConnection(self.socket_url, self._on_event)
        try:
            await self._socket.open()
        except BaseException:
            self._socket = None
            raise

    async def disconnect(self) -> None:
        """Be away, as with a lost connection, until `connect()`. What comes is lost."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
            self._become("disconnected")

    async def send_message(
        self,
        text: str,
        *,
        model: str | None = None,
        client_message_id: str | None = None,
        when_active: WhenActive = "reject",
    ) -> str:
        """Send a user's message (`user-message`); its `clientMessageId`.

        Its answer arrives by itself; a refusal, such as while another message is being
        answered, shows in `error`. Waits for the end of a reply that is just ending,
        see `until_settled`. Raises KitError while there is no connection, or when the
        server does not answer within 5 s: see `Hook.send_message`.
        """
        if not self.is_streaming:
            await self.until_settled()
        return await self.submit(
            text,
            model=model,
            client_message_id=client_message_id,
            when_active=when_active,
        )

    async def submit(
        self,
        text: str,
        *,
        model: str | None = None,
        client_message_id: str | None = None,
        when_active: WhenActive = "reject",
    ) -> str:
        """`send_message` at once, whatever the server is still busy with."""
        client_message_id = self._sent.begin(text, client_message_id, self._messages)
        payload = {
            "taskId": self.task_id,
            "message": text,
            "clientMessageId": client_message_id,
        }
        if chosen := model or self._model:
            payload["llmModel"] = chosen
        if when_active != "reject":
            payload["whenActive"] = when_active
        self.error = self._failure = None
        self._reply.expect_another()
        self._set_messages()
        self._tell(MessagesChanged())
        try:
            await self._emit("user-message", payload)
        except BaseException:
            self._sent.fail(client_message_id)
            self._set_messages()
            self._tell(MessagesChanged())
            raise
        self._sent.arrived(client_message_id)
        return client_message_id

    @property
    def unheard(self) -> list[Message]:
        """What was sent over connections that were lost, and was not seen since.

        Empty while that cannot be known: without a connection, before the server has
        told how the task is and what it holds, or while a reply is being written.
        """
        if not self._has_history or self.task_status in (None, "RUNNING"):
            return []
        return self._sent.doubtful

    def saw(self, messages: Iterable[Message]) -> None:
        """Whoever has these from elsewhere tells that they have arrived."""
        self._sent.seen(messages)
        self._set_messages()

    def give_up(self, row: Message) -> None:
        """One of `unheard` has not arrived: say so, and do not show it any more."""
        self._sent.give_up(row)
        self._set_messages()
        text = row["content"]
        shown = text if len(text) <= 40 else text[:40] + "…"
        self.error = f"“{shown}” has not arrived. Send it again."
        self._tell(MessagesChanged(), StateChanged())

    async def until_settled(self) -> None:
        """Wait until the server is done with the last message, up to 3 s.

        It refuses a message before that, and a reply has ended for its viewers some
        moments earlier.
        """
        with contextlib.suppress(TimeoutError):
            await self.until(
                lambda hook: hook.task_status != "RUNNING", timeout=SETTLE_TIMEOUT
            )

    async def stop_stream(self) -> None:
        """Ask the server to stop (`stop-stream`); shown as stopped as soon as it hears.

        Raises KitError while there is no connection, or without an answer in 5 s.
        """
        await self._emit("stop-stream", {"taskId": self.task_id})
        self._tell(*self._reply.stop())

    async def _emit(self, event: str, payload: dict[str, Any]) -> None:
        if self._socket is None or not self.is_connected:
            raise KitError(
                f"{event} was not sent: there is no connection to the application "
                f"server at {self.socket_url} ({self.connection}). Try again when "
                "there is one."
            )
        try:
            await self._socket.ask(event, payload)
        except Unanswered as error:
            raise KitError(
                f"{event} may not have arrived: {error}. When there is a connection, "
                "see whether it shows; if not, try again."
            ) from None
        except ConnectionError as error:
            raise KitError(f"{event} was not sent: {error}.") from None

    async def _end(self) -> None:
        await self.disconnect()
        if self._awake is not None:
            await cancel(self._awake)

    # --- what it hears ----------------------------------------------------------

    async def _wait_for_history(self, timeout: float) -> None:
        try:
            await self.until(lambda _: self._has_history or self.error, timeout=timeout)
        except TimeoutError:
            raise KitError(
                f"{self.socket_url} did not send the history of task {self.task_id} "
                f"within {timeout:g} s. Is it the application server?"
            ) from None
        if not self._has_history:
            raise KitError(f"Task {self.task_id} cannot be joined: {self.error}")

    async def _on_event(self, name: str, payload: Any) -> None:
        # Nothing is awaited before the event is taken in: that keeps their order.
        self.events.append(SocketEvent(time.time(), name, payload))
        was_replying = self.is_replying
        try:
            self._take(name, payload)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            logger.warning("Cannot read event %s of %s: %r", name, self.task_id, error)
        match name:
            case "connect":
                await self._ask("join-task")
                await self._ask("get-chat-history", complete=False)
            case "stream-complete":
                await self._ask("get-chat-history", complete=True)
            case "stream-chunk" if self._swaps_with_history and not was_replying:
                # It answers what somebody else has sent, and nobody tells of that.
                if self.is_replying and not self._sent.rows:
                    await self._ask("get-chat-history", complete=True)
            case "stream-error" | "message-error" if self._swaps_with_history:
                await self._ask("get-chat-history", complete=True)

    async def _ask(self, event: str, **fields: bool) -> None:
        """Emit, unless the connection is just gone: it asks again when it is back."""
        if self._socket is not None:
            with contextlib.suppress(ConnectionError):
                await self._socket.emit(event, {"taskId": self.task_id, **fields})

    def _take(self, name: str, payload: Any) -> None:
        """Take one event in. A payload of another shape raises, and changes nothing."""
        match name:
            case "connect":
                self._become("connected")
            case "disconnect":
                # What comes of it meanwhile is not sent again.
                self.task_status = self._failure = None
                self._has_history = False
                self._sent.lose_connection()
                self._tell(*self._reply.pause())
                if self._socket is not None:
                    self._become("reconnecting")
            case "chat-history":
                self._take_history(payload["messages"])
            case "stream-state":
                chunks, streams = payload["chunks"], payload["isStreaming"]
                self._tell(*self._reply.restore(chunks, bool(streams)))
            case "stream-chunk":
                self._take_chunk(payload)
            case "stream-complete":
                if not self._swaps_with_history:
                    self._tell(*self._reply.drop())
            case "stream-error" | "message-error" | "chat-history-error":
                self.error = str(payload.get("error") or "The application failed.")
                self._tell(*self._reply.end(), StateChanged())
            case _:
                self._take_from_sidecar(name, payload)

    def _take_from_sidecar(self, name: str, payload: Any) -> None:
        match name:
            case "task-status-updated":
                self.task_status = str(payload["status"])
                self._failure = payload.get("errorMessage")
                self._show_failure()
            case "terminal-output":
                self.terminal.append(payload["entry"])
            case "terminal-history":
                self.terminal = list(payload["entries"])
            case "terminal-cleared":
                self.terminal = []
            case "fs-change":
                self.fs_changes.append(payload)
            case _:
                return
        self._tell(StateChanged())

    def _take_chunk(self, chunk: Any) -> None:
        match chunk["type"]:
            case "fs-change":  # the guide's server passes them on like this
                self.fs_changes.append(chunk["fsChange"])
                self._tell(StateChanged())
                return
            case "error":
                self.error = str(chunk["error"])
        sent_at = chunk.get("sentAt")  # the guide's server does not tell
        if isinstance(sent_at, int | float) and is_loopback(self.socket_url):
            # On another machine it would be by another clock.
            self._delivery = Delivery(sent_at / 1000, time.time())
        was_shown = self._reply.is_shown
        changes = self._reply.take(chunk)
        if chunk["type"] in ("complete", "error") and not self._swaps_with_history:
            changes += self._reply.end()
        if self._reply.is_shown != was_shown:
            self._set_messages()
            changes.insert(0, MessagesChanged())
        self._tell(*changes)

    def _take_history(self, stored: Iterable[Any]) -> None:
        self._history = [row_of_history(message, self.task_id) for message in stored]
        self._has_history = True
        self._sent.seen(self._history)
        changes: list[HookChange] = [MessagesChanged()]
        if self._swaps_with_history and self._history_has_reply():
            changes += self._reply.drop()
        self._set_messages()
        self._show_failure()
        self._tell(*changes, StateChanged())

    def _show_failure(self) -> None:
        """Say why the last message has no reply, if only the task's status says it."""
        last = self._messages[-1] if self._messages else None
        if self.task_status == "FAILED" and last is not None and last["role"] == "USER":
            self.error = self.error or self._failure

    # --- fields -----------------------------------------------------------------

    def _history_has_reply(self) -> bool:
        """Whether the history holds all that was sent, and ends with a whole reply."""
        if self._sent.rows or not self._history:
            return False
        last = self._history[-1]
        return bool(last["role"] == "ASSISTANT" and last["status"] != "streaming")

    def _set_messages(self) -> None:
        rows = self._history
        if self._swaps_with_history and self._reply.is_shown:
            # The live parts say more than the unfinished row does.
            rows = [row for row in rows if row["status"] != "streaming"]
        self._messages = rows + self._sent.rows

    def _become(self, state: Connection) -> None:
        self._state = state
        self._tell(StateChanged())
