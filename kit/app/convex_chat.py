"""The application's way to its Convex deployment: begin a reply, follow it, stop it.

Holds the one rule that must not break when a connection does: **nothing is generated
twice**. A reply is begun by an action that carries the message's `clientMessageId`;
if the answer to that call is lost, the stream is looked up by this id and followed
instead of begun again. A call that may still be on its way is only ever repeated with
the same id. Does not decide what happens when nothing was begun: Option 1 falls back
to Socket.IO then, Option 2 fails.

Mirrors the guide's `lib/convex-client` and its call of
`streaming:streamChatWithTools`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from kit.app.convex_replies import (
    UNFINISHED,
    ConvexCalls,
    ConvexReplies,
    ConvexReply,
    begun_query,
)
from kit.app.runs import WhenActive
from kit.client.background import cancel
from kit.errors import (
    ConvexFunctionError,
    DeploymentError,
    FunctionError,
    KitError,
    ReplyOutOfSight,
    RequestRejected,
)
from kit.llm.providers import ProviderName
from kit.llm.route import keys_in
from kit.llm.secret import Secret, redact

__all__ = ["ConvexChat", "own_api_keys"]

logger = logging.getLogger(__name__)

# Codes of the errors that `streaming:streamChatWithTools` throws on purpose: another
# reply is being streamed in the task; so many wait there already; the id was used for
# another message.
_REFUSALS = ("StreamActive", "QueueFull", "ClientMessageIdTaken")

_ATTEMPTS = 3  # at a call that is lost without a trace
_LATE_LOOKS = 2  # at an action that says nothing and has begun nothing


def own_api_keys(env: Mapping[str, str]) -> Mapping[ProviderName, Secret]:
    """The keys in the server's environment, by provider, as the guide passes them on.

    None of them while the scripted provider is in use: it is never sent a real key.
    """
    return {} if env.get("KIT_SCRIPTED_URL") else keys_in(env)


class ConvexChat:
    """Replies through one Convex deployment. All times are in seconds.

    `reach_timeout`: how long a quick call may take before the deployment counts as
    out of reach. `reply_timeout`: how long a reply may take. `lost_timeout`: how long
    a deployment that went away during a reply is waited for. `look_interval`: how long
    an action may say nothing before its reply is looked up.
    """

    def __init__(
        self,
        convex: ConvexCalls,
        api_keys: Mapping[ProviderName, Secret],
        *,
        reach_timeout: float = 3.0,
        reply_timeout: float = 600.0,
        lost_timeout: float = 10.0,
        poll_interval: float = 0.25,
        look_interval: float = 5.0,
    ) -> None:
        self.replies = ConvexReplies(
            convex,
            reach_timeout=reach_timeout,
            reply_timeout=reply_timeout,
            lost_timeout=lost_timeout,
            poll_interval=poll_interval,
        )
        self._convex = convex
        self._api_keys = dict(api_keys)
        self._reply_timeout = reply_timeout
        self._poll_interval = poll_interval
        self._look_interval = look_interval

    async def create_task(self, title: str) -> str:
        """Create a task; its id. Raises DeploymentError."""
        created = await self.replies.quickly(
            "mutation", "tasks:create", {"title": title}
        )
        return str(created)

    async def task_title(self, task_id: str) -> str | None:
        """The title of the task that Convex holds under this id, None if none.

        Raises DeploymentError when Convex does not answer.
        """
        try:
            task = await self.replies.quickly("query", "tasks:get", {"taskId": task_id})
        except FunctionError:  # not an id of Convex's
            return None
        return None if task is None else str(task["title"])

    async def stop_task(self, task_id: str) -> None:
        """Stop what is streaming in the task, if anything. Raises DeploymentError."""
        await self.replies.quickly(
            "mutation", "streaming:stopTask", {"taskId": task_id}
        )

    async def has_begun(self, task_id: str, client_message_id: str) -> bool:
        """Whether Convex has this message. Raises KitError when it does not answer."""
        return await self.replies.begun(task_id, client_message_id) is not None

    async def stream_chat_with_tools(
        self,
        *,
        task_id: str,
        prompt: str,
        model: str,
        system_prompt: str,
        client_message_id: str,
        tools: list[str],
        sent_before: bool = False,
        when_active: WhenActive = "reject",
    ) -> ConvexReply:
        """Have Convex stream the reply; returns when the reply has ended.

        `when_active`: what becomes of it while another reply is being streamed in the
        task. Queued, it returns after its turn.

        Called again with the same `client_message_id` it follows the same reply.
        Cancelling ends the waiting, not the reply: that is `stop_task`.

        Raises DeploymentError **only if no reply was begun, nor will be**: the caller
        may then answer by other means. Raises ReplyOutOfSight when one may have been,
        plain KitError when another reply is being streamed in the task, or as many
        messages are queued as may be. A message that was `sent_before` may have a reply
        that Convex has begun.
        """
        # Whether Convex is in reach is found out by a quick call: the action is waited
        # for as long as a reply may take.
        if sent_before:
            await self.replies.begun(task_id, client_message_id)
        else:
            lookup = begun_query(task_id, client_message_id)
            await self.replies.quickly("query", *lookup)
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
        if when_active != "reject":
            args["whenActive"] = when_active
        await self._have_streamed(args)
        return await self.replies.follow(task_id, client_message_id)

    async def _have_streamed(self, args: dict[str, Any]) -> None:
        """Run the action until the reply has ended, or at least been begun."""
        for _ in range(_ATTEMPTS):
            error = await self._run_action(args)
            if error is None or await self._was_begun(error, args):
                return
            if _has_ended(error):
                # A rejected call may be quoted in the error, with its arguments.
                text = redact(str(error), *self._api_keys.values())
                raise DeploymentError(text) from None
            # It may yet arrive, so nobody else may answer. Convex may: whichever call
            # comes second finds the reply of the first.
            logger.info(
                "[CHAT] The Convex action for task %s was lost; sending it again",
                args["taskId"],
            )
        raise ReplyOutOfSight(
            f"Convex answers, but lost the message {_ATTEMPTS} times before it began a "
            "reply. Send the message again."
        )

    async def _run_action(self, args: dict[str, Any]) -> DeploymentError | None:
        """Wait for the action: what it failed with, None when the reply has ended.

        Looks now and then whether the reply has ended without the action's answer, as
        on a connection that is dead and does not say so.
        """
        action = asyncio.create_task(
            self._convex.action(
                "streaming:streamChatWithTools", args, timeout=self._reply_timeout
            )
        )
        task_id, client_message_id = args["taskId"], args["clientMessageId"]
        idle_looks = 0
        try:
            while not (await asyncio.wait({action}, timeout=self._look_interval))[0]:
                begun = await self.replies.begun(task_id, client_message_id)
                if begun is not None and begun["status"] not in UNFINISHED:
                    return None
                idle_looks += begun is None
                if idle_looks == _LATE_LOOKS:
                    return DeploymentError("The action did not begin a reply.")
            await action
        except DeploymentError as error:
            return error
        finally:
            await cancel(action)
        return None

    async def _was_begun(self, error: DeploymentError, args: dict[str, Any]) -> bool:
        """Whether the action that failed with `error` had begun the reply."""
        if refused := _refusal(error):
            raise KitError(refused)
        task_id = args["taskId"]
        # A call whose answer was lost may only just be arriving.
        for look in range(1 if _has_ended(error) else 4):
            if look:
                await asyncio.sleep(self._poll_interval)
            if await self.replies.begun(task_id, args["clientMessageId"]):
                logger.info(
                    "[CHAT] The Convex action for task %s broke off; following the "
                    "reply that it had begun",
                    task_id,
                )
                return True
        return False


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
