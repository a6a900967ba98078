"""The application's way to its Convex deployment: begin a reply, follow it, stop it.

Holds the one rule that must not break when a connection does: **nothing is generated
twice**. A reply is begun by an action that carries the message's `clientMessageId`;
if the answer to that call is lost, the stream is looked up by this id and followed
instead of begun again. Does not decide what happens when nothing was begun: Option 1
falls back to Socket.IO then, Option 2 fails.

Mirrors the guide's `lib/convex-client` and its call of
`streaming:streamChatWithTools`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from kit.errors import (
    ConvexFunctionError,
    DeploymentError,
    FunctionError,
    KitError,
    RequestRejected,
)
from kit.llm.route import PROVIDERS
from kit.llm.secret import redact

__all__ = ["ConvexCalls", "ConvexChat", "ConvexReply", "own_api_keys"]

logger = logging.getLogger(__name__)

# Codes of the errors that `streaming:streamChatWithTools` throws on purpose: another
# reply is being streamed in the task; the id was used for another message.
_REFUSALS = ("StreamActive", "ClientMessageIdTaken")


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
    """A reply that Convex holds, ended well or stopped; `row` is all of it."""

    message_id: str
    status: Literal["complete", "stopped"]
    text: str
    row: Mapping[str, Any]


def own_api_keys(env: Mapping[str, str]) -> dict[str, str]:
    """The keys in the server's environment, by provider, as the guide passes them on.

    None of them while the scripted provider is in use: it is never sent a real key.
    """
    if env.get("KIT_SCRIPTED_URL"):
        return {}
    return {
        provider: key
        for provider, settings in PROVIDERS.items()
        if (key := env.get(settings.key_variable, "").strip())
    }


class ConvexChat:
    """Replies through one Convex deployment. All times are in seconds.

    `reach_timeout`: how long a quick call may take before the deployment counts as
    out of reach. `reply_timeout`: how long a reply may take. `lost_timeout`: how long
    a deployment that went away during a reply is waited for.
    """

    def __init__(
        self,
        convex: ConvexCalls,
        api_keys: Mapping[str, str],
        *,
        reach_timeout: float = 3.0,
        reply_timeout: float = 600.0,
        lost_timeout: float = 10.0,
        poll_interval: float = 0.25,
    ) -> None:
        self._convex = convex
        self._api_keys = dict(api_keys)
        self._reach_timeout = reach_timeout
        self._reply_timeout = reply_timeout
        self._lost_timeout = lost_timeout
        self._poll_interval = poll_interval

    async def create_task(self, title: str) -> str:
        """Create a task; its id. Raises DeploymentError."""
        created = await self._quickly("mutation", "tasks:create", {"title": title})
        return str(created)

    async def task_title(self, task_id: str) -> str | None:
        """The title of the task that Convex holds under this id, None if none.

        Raises DeploymentError when Convex does not answer.
        """
        try:
            task = await self._quickly("query", "tasks:get", {"taskId": task_id})
        except FunctionError:  # not an id of Convex's
            return None
        return None if task is None else str(task["title"])

    async def stop_task(self, task_id: str) -> None:
        """Stop what is streaming in the task, if anything. Raises DeploymentError."""
        await self._quickly("mutation", "streaming:stopTask", {"taskId": task_id})

    async def stream_chat_with_tools(
        self,
        *,
        task_id: str,
        prompt: str,
        model: str,
        system_prompt: str,
        client_message_id: str,
        tools: list[str],
    ) -> ConvexReply:
        """Have Convex stream the reply; returns when the reply has ended.

        Called again with the same `client_message_id` it follows the same reply.
        Cancelling ends the waiting, not the reply: that is `stop_task`.

        Raises DeploymentError **only if no reply was begun**: the caller may then
        answer by other means. Raises plain KitError when the reply was begun and
        failed, or may have been begun where nobody can see it, or another reply is
        being streamed in the task.
        """
        # Whether Convex is in reach is found out by a quick call: the action is waited
        # for as long as a reply may take.
        await self._quickly("query", *_begun_query(task_id, client_message_id))
        args = {
            "taskId": task_id,
            "prompt": prompt,
            "model": model,
            "systemPrompt": system_prompt,
            "llmModel": model,
            "apiKeys": self._api_keys,
            "clientMessageId": client_message_id,
            "tools": tools,
        }
        try:
            await self._convex.action(
                "streaming:streamChatWithTools", args, timeout=self._reply_timeout
            )
        except DeploymentError as error:
            await self._find_out(error, task_id, client_message_id)
        return await self._follow(task_id, client_message_id)

    async def _find_out(
        self, error: DeploymentError, task_id: str, client_message_id: str
    ) -> None:
        """Return if the action that failed with `error` had begun the reply."""
        if refused := _refusal(error):
            raise KitError(refused)
        # A call whose answer was lost may only just be arriving.
        for look in range(1 if _has_ended(error) else 4):
            if look:
                await asyncio.sleep(self._poll_interval)
            if await self._patiently(*_begun_query(task_id, client_message_id)):
                logger.info(
                    "[CHAT] The Convex action for task %s broke off; following the "
                    "reply that it had begun",
                    task_id,
                )
                return
        # A rejected call may be quoted in the error, with its arguments.
        raise DeploymentError(redact(str(error), *self._api_keys.values())) from None

    async def _follow(self, task_id: str, client_message_id: str) -> ConvexReply:
        """Wait for the end of a reply that was begun. Raises KitError."""
        deadline = time.monotonic() + self._reply_timeout
        while True:
            begun = await self._patiently(*_begun_query(task_id, client_message_id))
            if begun is None:
                raise KitError(
                    "Convex no longer has the reply. Send the message again."
                )
            if begun["status"] not in ("streaming", "stopping"):
                break
            if time.monotonic() > deadline:
                raise KitError(
                    f"The reply has not ended within {self._reply_timeout:g} s. "
                    "It may go on in Convex; stop it before sending another message."
                )
            await asyncio.sleep(self._poll_interval)
        newest = {"taskId": task_id, "limit": 8}
        for row in await self._patiently("messages:byTask", newest):
            if row["_id"] == begun["messageId"]:
                return _reply(row)
        raise KitError(
            "Convex no longer shows the reply: the task has many newer ones."
        )

    async def _patiently(self, path: str, args: dict[str, Any]) -> Any:
        """A query's value, also from a deployment that is just restarting.

        Whatever it fails with: it was answered before the reply was begun, so that no
        failure can mean that there is no reply. Raises KitError.
        """
        deadline = time.monotonic() + self._lost_timeout
        while True:
            try:
                return await self._quickly("query", path, args)
            except DeploymentError:
                if time.monotonic() > deadline:
                    raise KitError(
                        "Convex went away while it streamed the reply. What it had "
                        "written shows when it is back; to be answered now, send the "
                        "message again."
                    ) from None
            await asyncio.sleep(self._poll_interval)

    async def _quickly(
        self, kind: Literal["query", "mutation"], path: str, args: dict[str, Any]
    ) -> Any:
        """A call that a deployment in reach answers at once. Raises DeploymentError."""
        call = self._convex.query if kind == "query" else self._convex.mutation
        try:
            async with asyncio.timeout(self._reach_timeout):
                return await call(path, args)
        except TimeoutError:
            raise DeploymentError(
                f"Convex did not answer {path} within {self._reach_timeout:g} s. "
                "Check NEXT_PUBLIC_CONVEX_URL and that the deployment is running."
            ) from None


def _begun_query(task_id: str, client_message_id: str) -> tuple[str, dict[str, Any]]:
    """Asks what Convex holds for this client's message: None, or ids and status."""
    return (
        "messages:byClientMessageId",
        {"taskId": task_id, "clientMessageId": client_message_id},
    )


def _has_ended(error: DeploymentError) -> bool:
    """Whether a call that failed like this has done whatever it will do."""
    if isinstance(error, RequestRejected):
        return error.status < 500  # or it comes from a proxy in between
    return isinstance(error, FunctionError)


def _refusal(error: DeploymentError) -> str | None:
    """Why Convex, which works, will not answer this message: no case for a fallback."""
    data = error.data if isinstance(error, ConvexFunctionError) else None
    if isinstance(data, dict) and data.get("code") in _REFUSALS:
        return str(data.get("message") or data["code"])
    return None


def _reply(row: dict[str, Any]) -> ConvexReply:
    """The ended reply in a row of `messages:byTask`. Raises KitError if it failed."""
    if row["status"] == "failed":
        raise KitError(row.get("error") or "The reply failed in Convex.")
    return ConvexReply(
        message_id=row["_id"],
        status="stopped" if row["status"] == "stopped" else "complete",
        text=row["content"],
        row=row,
    )
