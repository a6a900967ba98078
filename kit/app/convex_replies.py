"""Replies that a Convex deployment holds: found, followed to their end, read.

Holds the calls that only look, and how patient they are. Begins nothing; that is
`kit.app.convex_chat`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from kit.app.tables import TaskStatus
from kit.errors import DeploymentError, FunctionError, KitError, ReplyOutOfSight

__all__ = [
    "UNFINISHED",
    "ConvexCalls",
    "ConvexReplies",
    "ConvexReply",
    "begun_query",
    "status_of",
]

UNFINISHED = ("queued", "streaming", "stopping")
"""The statuses of a reply that has not ended."""

_LOOKS = (8, 40)
"""How many messages to look among for a reply: others may be queued behind it."""


class ConvexCalls(Protocol):
    """What is needed of a deployment; `kit.client.Deployment` is one."""

    async def query(
        self, path: str, args: Mapping[str, Any], *, timeout: float | None = None
    ) -> Any: ...

    async def mutation(
        self, path: str, args: Mapping[str, Any], *, timeout: float | None = None
    ) -> Any: ...

    async def action(
        self, path: str, args: Mapping[str, Any], *, timeout: float | None = None
    ) -> Any: ...


@dataclass(frozen=True, slots=True)
class ConvexReply:
    """A reply that Convex holds and that has ended; `row` is all of it.

    `error` says why it failed.
    """

    message_id: str
    status: Literal["complete", "stopped", "failed"]
    text: str
    row: Mapping[str, Any]
    error: str | None = None


class ConvexReplies:
    """The replies in one deployment. All times are in seconds; see `ConvexChat`."""

    def __init__(
        self,
        convex: ConvexCalls,
        *,
        reach_timeout: float,
        reply_timeout: float,
        lost_timeout: float,
        poll_interval: float,
    ) -> None:
        self.calls = convex
        self._reach_timeout = reach_timeout
        self._reply_timeout = reply_timeout
        self._lost_timeout = lost_timeout
        self._poll_interval = poll_interval

    async def begun(self, task_id: str, client_message_id: str) -> Any:
        """What was begun for this message: None, or ids and status. Raises KitError."""
        return await self.patiently(*begun_query(task_id, client_message_id))

    async def find(self, task_id: str, client_message_id: str) -> ConvexReply | None:
        """The reply to a message that somebody else sent, when it has ended.

        None if none was begun, or Convex does not know such a task. Raises KitError
        when Convex does not answer for `lost_timeout` seconds, or the reply does not
        end.
        """
        try:
            begun = await self.patiently(
                *begun_query(task_id, client_message_id), final=FunctionError
            )
        except FunctionError:
            return None
        if begun is None:
            return None
        return await self.follow(task_id, client_message_id)

    async def last_client_message_id(self, task_id: str) -> str | None:
        """The id of the task's last message; None if it has none. Raises KitError."""
        newest = {"taskId": task_id, "limit": 8}
        try:
            rows = await self.patiently("messages:byTask", newest, final=FunctionError)
        except FunctionError:
            return None
        for row in reversed(rows):
            if "clientMessageId" in row:
                return str(row["clientMessageId"])
        return None

    async def follow(self, task_id: str, client_message_id: str) -> ConvexReply:
        """Wait for the end of a reply that was begun. Raises KitError."""
        deadline = time.monotonic() + self._reply_timeout
        while True:
            begun = await self.begun(task_id, client_message_id)
            if begun is None:
                raise KitError(
                    "Convex no longer has the reply. Send the message again."
                )
            if begun["status"] not in UNFINISHED:
                break
            if time.monotonic() > deadline:
                raise ReplyOutOfSight(
                    f"The reply has not ended within {self._reply_timeout:g} s. "
                    "It may go on in Convex; stop it before sending another message."
                )
            await asyncio.sleep(self._poll_interval)
        for limit in _LOOKS:
            newest = {"taskId": task_id, "limit": limit}
            for row in await self.patiently("messages:byTask", newest):
                if row["_id"] == begun["messageId"]:
                    return _reply(row)
        raise KitError(
            "Convex no longer shows the reply: the task has many newer ones."
        )

    async def patiently(
        self,
        path: str,
        args: dict[str, Any],
        *,
        final: type[DeploymentError] | tuple[()] = (),
    ) -> Any:
        """A query's value, also from a deployment that is just restarting.

        Whatever it fails with: of a reply that may have been begun, no failure can mean
        that there is none. Raises ReplyOutOfSight, and at once what is `final`.
        """
        deadline = time.monotonic() + self._lost_timeout
        while True:
            try:
                return await self.quickly("query", path, args)
            except final:
                raise
            except DeploymentError:
                if time.monotonic() > deadline:
                    raise ReplyOutOfSight(
                        "Convex went away while it streamed the reply. What it had "
                        "written shows when it is back; to be answered now, send the "
                        "message again."
                    ) from None
            await asyncio.sleep(self._poll_interval)

    async def quickly(
        self, kind: Literal["query", "mutation"], path: str, args: dict[str, Any]
    ) -> Any:
        """A call that a deployment in reach answers at once. Raises DeploymentError."""
        call = self.calls.query if kind == "query" else self.calls.mutation
        try:
            async with asyncio.timeout(self._reach_timeout):
                return await call(path, args)
        except TimeoutError:
            raise DeploymentError(
                f"Convex did not answer {path} within {self._reach_timeout:g} s. "
                "Check NEXT_PUBLIC_CONVEX_URL and that the deployment is running."
            ) from None


def status_of(stored: ConvexReply) -> TaskStatus:
    """The status of a task whose reply has ended so. Raises KitError if it failed."""
    if stored.error is not None:
        raise KitError(stored.error)
    return "STOPPED" if stored.status == "stopped" else "COMPLETED"


def begun_query(task_id: str, client_message_id: str) -> tuple[str, dict[str, Any]]:
    """Asks what Convex holds for this client's message: None, or ids and status."""
    return (
        "messages:byClientMessageId",
        {"taskId": task_id, "clientMessageId": client_message_id},
    )


def _reply(row: dict[str, Any]) -> ConvexReply:
    """The ended reply in a row of `messages:byTask`."""
    failed = row["status"] == "failed"
    return ConvexReply(
        message_id=row["_id"],
        status=row["status"],
        text=row["content"],
        row=row,
        error=(row.get("error") or "The reply failed in Convex.") if failed else None,
    )
