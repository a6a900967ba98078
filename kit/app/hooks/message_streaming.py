"""`use_message_streaming`: a task's messages and live parts from Convex alone.

Holds the subscription to `messages:byTask` and follows the newest reply that is being
written. The swap hangs on that one subscription: a message's row says streaming,
stopping or final, and live parts only fill in a row that is not final.

Mirrors the guide's `useMessageStreaming`. Sending and stopping go through Convex too.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Any

from kit.app.hooks.live_parts import LiveParts
from kit.app.hooks.outgoing import MessageIds
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
from kit.app.hooks.stream_follower import StreamFollower
from kit.app.runs import WhenActive
from kit.client import Deployment
from kit.client.background import cancel, spawn
from kit.errors import ConfigError, DeploymentError, FunctionError
from kit.parts import Chunk
from kit.serving import is_loopback

__all__ = ["MessageStreaming", "use_message_streaming"]

logger = logging.getLogger("kit.app.hooks")

STOP_TIMEOUT = 5.0
SEND_TIMEOUT = 8.0
LOOK_TIMEOUT = 2.0


async def use_message_streaming(
    task_id: str,
    *,
    deployment: Deployment,
    model: str | None = None,
    tools: Sequence[str] = (),
    timeout: float = 10.0,
) -> MessageStreaming:
    """Follow a task's messages and live parts; returns when its messages are there.

    `model` and `tools` are for `send_message`. Raises DeploymentUnreachable within 5 s
    if nobody answers, FunctionError if the query fails (no such task, no such
    function), TimeoutError after `timeout` seconds.
    """
    hook = MessageStreaming(task_id, deployment, model=model, tools=tools)
    try:
        await hook._start(timeout)
    except BaseException:
        await hook.aclose()
        raise
    return hook


class MessageStreaming(Hook):
    """Messages of a task and the live parts of its newest reply, from Convex.

    After a lost connection nothing is missing and nothing is there twice. `error` says
    what is wrong with the subscription, if anything. The deployment is not closed
    with it.
    """

    def __init__(
        self,
        task_id: str,
        deployment: Deployment,
        *,
        model: str | None = None,
        tools: Sequence[str] = (),
    ) -> None:
        super().__init__(task_id)
        self._deployment = deployment
        self._model = model
        self._tools = list(tools)
        self._ids = MessageIds()
        self._rows = deployment.subscribe("messages:byTask", {"taskId": task_id})
        self._messages: list[Message] = []
        self._live_row: Message | None = None
        self._live_parts = LiveParts()
        self._follower: asyncio.Task[None] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._stop_observing = deployment.observe(lambda _: self._tell(StateChanged()))

    @property
    def messages(self) -> list[Message]:
        """The newest messages, as `messages:byTask` gives them."""
        return self._messages

    @property
    def is_streaming(self) -> bool:
        """Whether the newest reply is being written; False once it is stopping."""
        return self._live_row is not None and self._live_row["status"] == "streaming"

    @property
    def is_live(self) -> bool:
        """Whether a reply is not final: streaming or stopping."""
        return self._live_row is not None

    @property
    def connection(self) -> str:
        """The deployment's state."""
        return "closed" if self._closed else self._deployment.state

    @property
    def _live(self) -> LiveParts:
        return self._live_parts

    async def send_message(
        self,
        text: str,
        *,
        model: str | None = None,
        client_message_id: str | None = None,
        when_active: WhenActive = "reject",
    ) -> str:
        """Have the deployment answer `text` (`streaming:send`); its `clientMessageId`.

        The keys are those in the deployment's environment, and the reply goes on if
        this process ends. Raises ConfigError without a model, and DeploymentError, at
        the latest after about 10 s: see `Hook.send_message`.
        """
        chosen = model or self._model
        if chosen is None:
            raise ConfigError("No model to answer with. Give send_message a model.")
        client_message_id = self._ids.id_for(text, client_message_id)
        args: dict[str, Any] = {
            "taskId": self.task_id,
            "prompt": text,
            "model": chosen,
            "llmModel": chosen,
            "clientMessageId": client_message_id,
        }
        if self._tools:
            args["tools"] = self._tools
        if when_active != "reject":
            args["whenActive"] = when_active
        try:
            await self._deployment.mutation(
                "streaming:send", args, timeout=SEND_TIMEOUT
            )
        except FunctionError:
            self._ids.arrived(client_message_id)  # and was refused
            raise
        except DeploymentError as error:
            if not await self._has_arrived(client_message_id):
                raise error from None
        self._ids.arrived(client_message_id)
        return client_message_id

    async def _has_arrived(self, client_message_id: str) -> bool:
        """Whether a message whose answer was lost is there, as far as one can tell."""
        with contextlib.suppress(DeploymentError):
            return await self.has_message(client_message_id)
        return False

    async def has_message(self, client_message_id: str) -> bool:
        """Whether the deployment has this message. Raises DeploymentError."""
        args = {"taskId": self.task_id, "clientMessageId": client_message_id}
        found = await self._deployment.query(
            "messages:byClientMessageId", args, timeout=LOOK_TIMEOUT
        )
        return found is not None

    async def stop_stream(self) -> None:
        """Stop the task's reply; its text so far is kept. What is queued is dropped.

        `is_streaming` turns False with the next value, whether or not the producer
        still lives. Raises DeploymentError.
        """
        await self._deployment.mutation(
            "streaming:stopTask", {"taskId": self.task_id}, timeout=STOP_TIMEOUT
        )

    # --- following --------------------------------------------------------------

    async def _start(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                first = await anext(self._rows)
        except TimeoutError:
            raise TimeoutError(
                f"{self._deployment.url} did not send the messages of task "
                f"{self.task_id} within {timeout:g} s."
            ) from None
        self._show(first)
        self._watcher = spawn(self._watch(), f"messages of {self.task_id}")

    async def _watch(self) -> None:
        while True:
            try:
                messages = await anext(self._rows)
                self.error = None
                self._show(messages)
            except StopAsyncIteration:
                self._show_error("The deployment was closed.")
                return
            except Exception as error:  # the next value may be well again
                logger.warning("Messages of task %s: %s", self.task_id, error)
                self._show_error(str(error))

    def _show_error(self, text: str) -> None:
        self.error = text
        self._tell(StateChanged())

    def _show(self, messages: list[Message]) -> None:
        """Take over the rows, and with them whether a reply is live, in one step."""
        was_streaming = self.is_streaming
        changes: list[HookChange] = [MessagesChanged()]
        self._messages = messages
        self._ids.seen(messages)
        row = next((row for row in reversed(messages) if _is_live(row)), None)
        if _stream_of(row) != _stream_of(self._live_row):
            self._follow(row)
            changes.append(PartsReset())
        self._live_row = row
        if was_streaming != self.is_streaming:
            changes.append(StateChanged())
        self._tell(*changes)

    def _follow(self, row: Message | None) -> None:
        """Follow the stream of `row` from its start, and no other any more."""
        if self._follower is not None:
            self._follower.cancel()
            self._follower = None
        self._live_parts = live = LiveParts(row["_id"] if row else "")
        if row is None:
            return
        self._delivery = None

        def fold(chunks: list[Chunk]) -> None:
            # Another machine has a clock of its own.
            if follower.written is not None and is_loopback(self._deployment.url):
                self._delivery = Delivery(follower.written, time.time())
            if changes := live.apply(chunks):
                self._tell(PartsChanged(live.message_id, changes))

        stream_id = row["streamId"]
        follower = StreamFollower(self._deployment, stream_id, fold)
        self._follower = spawn(follower.run(), f"stream {stream_id}")

    async def _end(self) -> None:
        self._stop_observing()
        tasks = (self._follower, self._watcher)
        await cancel(*(task for task in tasks if task is not None))
        await self._rows.aclose()


def _is_live(row: Message) -> bool:
    return row["status"] in ("streaming", "stopping") and "streamId" in row


def _stream_of(row: Message | None) -> str | None:
    return row["streamId"] if row is not None else None
