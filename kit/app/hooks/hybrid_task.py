"""`use_hybrid_task`: messages and live parts from Convex, the rest from Socket.IO.

Holds how the two hooks become one chat. Mirrors the guide's `useHybridTask`, and keeps
its promise where the guide's application breaks it: with Convex on, it still is
connected, sends and stops over Socket.IO.

Where the application falls back to Socket.IO for a reply, the reply's parts and then
its message are taken from there. A message's `clientMessageId` tells which of the two
answered: what Convex has, it has alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import Counter
from collections.abc import Iterator
from typing import Any, assert_never

from kit.app.hooks.live_parts import LiveParts
from kit.app.hooks.message_streaming import MessageStreaming, use_message_streaming
from kit.app.hooks.source import (
    Delivery,
    Hook,
    HookChange,
    Message,
    MessagesChanged,
    PartsChanged,
    PartsReset,
    StateChanged,
)
from kit.app.hooks.task_socket import SocketEvent, TaskSocket, use_task_socket
from kit.app.runs import WhenActive
from kit.client import Deployment
from kit.client.background import cancel, spawn
from kit.errors import DeploymentError

__all__ = ["HybridTask", "use_hybrid_task"]


async def use_hybrid_task(
    task_id: str,
    *,
    deployment: Deployment,
    socket_url: str,
    model: str | None = None,
) -> HybridTask:
    """The guide's hybrid hook; returns when messages and history are there.

    Raises DeploymentUnreachable or ConfigError within 5 s if the deployment or the
    application server does not answer, and what `use_message_streaming` and
    `use_task_socket` raise.
    """
    # Messages from Convex
    streaming = await use_message_streaming(task_id, deployment=deployment)
    # Other data from Socket.IO: sending, stopping, status, terminal, files
    try:
        socket = await use_task_socket(
            task_id, socket_url=socket_url, model=model, swaps_with_history=True
        )
    except BaseException:
        await streaming.aclose()
        raise
    return HybridTask(streaming, socket)


class HybridTask(Hook):
    """One chat of a `MessageStreaming` and a `TaskSocket`, which it owns and closes."""

    def __init__(self, streaming: MessageStreaming, socket: TaskSocket) -> None:
        super().__init__(streaming.task_id)
        self.streaming = streaming
        self.socket = socket
        self._looking: asyncio.Task[None] | None = None
        self._merge()
        self._shown = self._source()
        self._stop_observing = (
            streaming.observe(self._streaming_changed),
            socket.observe(self._socket_changed),
        )

    # --- what it shows ----------------------------------------------------------

    @property
    def messages(self) -> list[Message]:
        """Convex's messages, and those that only the application's history has."""
        return self._messages

    @property
    def is_streaming(self) -> bool:
        return self._source().is_streaming

    @property
    def is_connected(self) -> bool:
        """Whether the socket is connected, as in the guide's hook."""
        return self.socket.is_connected

    @property
    def connection(self) -> str:
        """`connected` if both are; else the state of the one that is not.

        `streaming.connection` and `socket.connection` tell them apart.
        """
        if self._closed:
            return "closed"
        states = (self.streaming.connection, self.socket.connection)
        return next((state for state in states if state != "connected"), "connected")

    @property
    def task_status(self) -> str | None:
        return self.socket.task_status

    @property
    def terminal(self) -> list[dict[str, Any]]:
        return self.socket.terminal

    @property
    def fs_changes(self) -> list[dict[str, Any]]:
        return self.socket.fs_changes

    @property
    def events(self) -> list[SocketEvent]:
        """The Socket.IO events since the start."""
        return self.socket.events

    def event_counts(self) -> Counter[str]:
        """How many Socket.IO events of each name have come."""
        return self.socket.event_counts()

    def status_since(self, index: int) -> str | None:
        """See `TaskSocket.status_since`."""
        return self.socket.status_since(index)

    @property
    def _live(self) -> LiveParts:
        return self._source()._live

    @property
    def delivery(self) -> Delivery | None:
        return self._source().delivery

    def _source(self) -> MessageStreaming | TaskSocket:
        """Where the live parts come from: Convex, unless a fallback is under way.

        A reply that Convex was streaming when it went away does not hide a fallback.
        """
        convex_streams = (
            self.streaming.is_live and self.streaming.connection == "connected"
        )
        if self.socket.is_replying and not convex_streams:
            return self.socket
        return self.streaming

    # --- what it does -----------------------------------------------------------

    async def send_message(
        self,
        text: str,
        *,
        model: str | None = None,
        client_message_id: str | None = None,
        when_active: WhenActive = "reject",
    ) -> str:
        """Send a user's message over Socket.IO; its `clientMessageId`.

        The application has Convex answer it, or answers itself. Raises KitError while
        there is no connection to the application, or when that does not answer within
        5 s: see `Hook.send_message`.
        """
        if not self.is_streaming:
            await self.until_settled()
        return await self.socket.submit(
            text,
            model=model,
            client_message_id=client_message_id,
            when_active=when_active,
        )

    async def until_settled(self) -> None:
        """Wait until the application is done with the last message, up to 3 s.

        It refuses a message before that. A reply has ended for its viewers some moments
        earlier.
        """
        await self.socket.until_settled()

    async def stop_stream(self) -> None:
        """Stop the reply, in Convex and in the application, whichever is writing it.

        What is queued is dropped.
        Raises KitError if whoever is writing it could not be told.
        """
        falls_back = self._source() is self.socket
        convex_failed, socket_failed = await asyncio.gather(
            self.streaming.stop_stream(),
            self.socket.stop_stream(),
            return_exceptions=True,
        )
        # The application passes a stop on to Convex, but not the other way round.
        if socket_failed is not None and (falls_back or convex_failed is not None):
            raise socket_failed

    async def _end(self) -> None:
        for stop in self._stop_observing:
            stop()
        if self._looking is not None:
            await cancel(self._looking)
        await asyncio.gather(self.streaming.aclose(), self.socket.aclose())

    def _details(self) -> list[str]:
        return [f"Convex {self.streaming.connection}", *self.socket._details()]

    # --- changes ----------------------------------------------------------------

    def _streaming_changed(self, change: HookChange) -> None:
        self._changed(change, self.streaming)

    def _socket_changed(self, change: HookChange) -> None:
        self._changed(change, self.socket)
        if self.socket.unheard and self._looking is None:
            self._looking = spawn(self._look_for_unheard(), "messages that were lost")
            self._looking.add_done_callback(self._looked)

    async def _look_for_unheard(self) -> None:
        """Messages that went to a server that was then killed: has Convex got them?"""
        for row in self.socket.unheard:
            with contextlib.suppress(DeploymentError):  # the next change looks again
                if await self.streaming.has_message(row["clientMessageId"]):
                    self.socket.saw([row])
                    self._changed(MessagesChanged(), self.socket)
                else:
                    self.socket.give_up(row)

    def _looked(self, _: object) -> None:
        self._looking = None

    def _changed(
        self, change: HookChange, origin: MessageStreaming | TaskSocket
    ) -> None:
        """Pass a change on if it concerns what is shown."""
        self.error = self.socket.error or self.streaming.error
        source = self._source()
        if source is not self._shown:
            self._shown = source
            self._merge()
            self._tell(MessagesChanged(), PartsReset(), StateChanged())
            return
        match change:
            case PartsChanged() | PartsReset():
                if source is origin:
                    self._tell(change)
            case MessagesChanged():
                self._merge()
                self._tell(change)
            case StateChanged():
                self._tell(change)
            case _:
                assert_never(change)

    def _merge(self) -> None:
        self.socket.saw(self.streaming.messages)
        self._messages = merge(self.streaming.messages, self.socket.messages)


def merge(convex: list[Message], stored: list[Message]) -> list[Message]:
    """Convex's messages, and the turns of the history that Convex does not have.

    A turn is a user's message and what follows it. In the order of their times; rows of
    one source keep their order.
    """
    only_stored = list(_without(convex, stored))
    if not only_stored:
        return convex
    return list(heapq.merge(convex, only_stored, key=lambda row: row["_creationTime"]))


def _without(convex: list[Message], stored: list[Message]) -> Iterator[Message]:
    known = {row[name] for row in convex for name in _IDS if name in row}
    in_convex = False
    for row in stored:
        if row["role"] == "USER":
            in_convex = row.get("clientMessageId") in known
        if not in_convex and row["_id"] not in known:
            yield row


_IDS = ("_id", "clientMessageId")
