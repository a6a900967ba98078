"""The chat service: answers a user's message, in the three forms of the migration.

Holds what the guide changes, `ChatService._before`, `_option_1` and `_option_2`, to be
read side by side, and around them what it leaves alone: which messages a task takes,
its status, the sidecar, stopping. Knows no sockets: `emit` is given.
Model calls, SQL and Convex are in `llm_service`, `reply` and `history`, and
`convex_chat`.

Mirrors `apps/server/src/agent/chat.ts` of the guide's application. Kept on purpose,
because this is what the migration is about:

* a chunk is sent once, to whoever is connected: no number, no replay. A client that
  is away for a second has a hole in its text until the reply ends;
* SQL is up to a second behind, so the history that such a client fetches does not
  fill the hole;
* `stream-complete` is sent before the last write, and again after it: a client that
  fetches the history at the first one sees a reply that still streams;
* the whole message is written again each time;
* a server that is killed leaves its task RUNNING and its reply streaming, in SQL. With
  Convex the next one finds out what became of it.

Not kept, because it would only be in the way: a stopped reply keeps its text and is
no longer marked as streaming; stopping a task that is idle does not spoil its next
reply; a run never cleans up after another one; a message sent again with the same
`clientMessageId` is not answered twice; errors reach the client as text; a second
message is refused while one is answered. While Convex streams that, a message may be
queued instead, or interrupt it (`when_active`): that is then done by Convex.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import assert_never

from kit.agent import Tool
from kit.app.acceptance import accept, reply_id
from kit.app.convex_chat import ConvexChat
from kit.app.convex_replies import ConvexReply, status_of
from kit.app.flags import Mode
from kit.app.history import History, TaskStatus
from kit.app.llm_service import LLMService, StreamChunk
from kit.app.out_of_sight import OnOutOfSight
from kit.app.recovery import copy_to_sql
from kit.app.reply import WRITE_INTERVAL, Reply
from kit.app.runs import Outcome, Run, Runs, WhenActive
from kit.app.tasks import Emit, Tasks
from kit.app.workspace import Workspace
from kit.errors import DeploymentError, FunctionError, KitError, ReplyOutOfSight

__all__ = ["DEFAULT_MODEL", "ChatService", "UserMessage", "get_system_prompt"]

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "claude-opus-5-5"


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What a user said in a task, to be answered by `model`.

    `sent_before`: it was accepted before, so that a reply may have been begun.
    """

    task_id: str
    text: str
    model: str = DEFAULT_MODEL
    client_message_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    sent_before: bool = False
    when_active: WhenActive = "reject"


def get_system_prompt() -> str:
    """What the model is told to be, in every form."""
    return (
        "You are a helpful assistant in a chat application. Answer in Markdown. "
        "Use the tools you are given when they help."
    )


class ChatService:
    """Answers messages in the form that `mode` names."""

    def __init__(
        self,
        mode: Mode,
        *,
        history: History,
        tasks: Tasks,
        llm_service: LLMService,
        convex: ConvexChat | None,
        workspace: Workspace,
        emit: Emit,
        runs: Runs,
        on_out_of_sight: OnOutOfSight = lambda _, __: None,
        tools: Mapping[str, Tool] = MappingProxyType({}),
        write_interval: float = WRITE_INTERVAL,
        stop_timeout: float = 5.0,
    ) -> None:
        """`convex` may be None in mode `before` only; `runs` are shared with nobody
        but `kit.app.recovery`. `on_out_of_sight` is told of replies that may go on in a
        Convex that does not answer.
        """
        self.mode = mode
        self._history = history
        self._tasks = tasks
        self._llm_service = llm_service
        self._optional_convex = convex
        self._workspace = workspace
        self._emit = emit
        self._tool_names = list(tools)
        self._write_interval = write_interval
        self._stop_timeout = stop_timeout
        self._runs = runs
        self._on_out_of_sight = on_out_of_sight

    # --- the three forms --------------------------------------------------------

    async def _before(self, message: UserMessage) -> TaskStatus:
        """Before: the reply is streamed over Socket.IO and stored in SQL."""
        messages = await self._history.messages(message.task_id)
        async with (
            self._over_socketio(message) as reply,
            aclosing(
                self._llm_service.create_message_stream(
                    get_system_prompt(), messages, message.model
                )
            ) as chunks,
        ):
            async for chunk in chunks:
                await self._emit_stream_chunk(message.task_id, chunk)
                reply.add(chunk)
        return "COMPLETED"

    async def _option_1(self, message: UserMessage) -> TaskStatus:
        """Option 1: Convex is tried first; the Socket.IO loop is the fallback."""
        logger.info("[CHAT] TESTING Convex streaming for task %s", message.task_id)
        try:
            stored = await self._stream_in_convex(message)
            logger.info(
                "[CHAT] Convex streaming SUCCESS! MessageId: %s", stored.message_id
            )
            return status_of(stored)  # skips the Socket.IO loop below
        except DeploymentError as error:
            logger.warning(
                "[CHAT] Convex streaming failed, falling back to Socket.IO: %s", error
            )

        messages = await self._history.messages(message.task_id)
        async with (
            self._over_socketio(message) as reply,
            aclosing(
                self._llm_service.create_message_stream(
                    get_system_prompt(), messages, message.model
                )
            ) as chunks,
        ):
            async for chunk in chunks:
                await self._emit_stream_chunk(message.task_id, chunk)
                reply.add(chunk)
        return "COMPLETED"

    async def _option_2(self, message: UserMessage) -> TaskStatus:
        """Option 2: Convex streams and stores; nothing of it passes through here."""
        logger.info("[CHAT] Starting Convex streaming for task %s", message.task_id)
        stored = await self._stream_in_convex(message)
        logger.info(
            "[CHAT] Convex streaming completed for task %s, messageId: %s",
            message.task_id,
            stored.message_id,
        )
        return status_of(stored)

    # --- what the forms share ---------------------------------------------------

    async def _stream_in_convex(self, message: UserMessage) -> ConvexReply:
        """The guide's call of `streaming:streamChatWithTools`; ends with the reply.

        While the application may still fall back, or be rolled back, SQL gets a copy.
        Raises DeploymentError if no reply was begun, plain KitError if one failed, or
        if none was begun while an earlier one goes on: then nobody else may answer.
        """
        run = self._run_of(message)
        run.in_convex = True
        try:
            stored = await self._convex.stream_chat_with_tools(
                task_id=message.task_id,
                prompt=message.text,
                model=message.model,
                system_prompt=get_system_prompt(),
                client_message_id=message.client_message_id,
                tools=self._tool_names,
                sent_before=message.sent_before,
                when_active=message.when_active,
            )
        except Exception as error:  # not when cancelled: the reply goes on there
            run.in_convex = False
            if isinstance(error, ReplyOutOfSight):
                self._on_out_of_sight(message.task_id, message.client_message_id)
            if isinstance(error, DeploymentError):
                if self._runs.before(message.task_id, run):
                    raise KitError(f"{error} Send the message again.") from None
                run.alone = True
            raise
        run.in_convex = False
        run.reply_ended = True  # whoever stops it now waits until it is written down
        if self.mode == "option-1":
            await copy_to_sql(
                self._history, message.task_id, stored, message.client_message_id
            )
        status_of(stored)
        return stored

    @asynccontextmanager
    async def _over_socketio(self, message: UserMessage) -> AsyncIterator[Reply]:
        """A reply that is streamed from here: its last write, and how clients learn.

        Raises KitError if the reply failed.
        """
        reply = Reply(
            self._history,
            message.task_id,
            message.model,
            message_id=reply_id(message.task_id, message.client_message_id),
            interval=self._write_interval,
        )
        if self.mode == "option-1":
            # A server that is killed from here on has begun a reply: whoever sends the
            # message again does not get another one.
            await reply.begin()
        try:
            yield reply
            await reply.finish()
        except asyncio.CancelledError:
            await reply.finish("aborted")
            await self._emit(message.task_id, "stream-complete", None)
            raise
        except Exception as error:
            text = _told(error)
            failed: StreamChunk = {
                "type": "error",
                "error": text,
                "finishReason": "error",
            }
            reply.add(failed)
            await self._emit(message.task_id, "stream-chunk", failed)
            await self._emit(message.task_id, "stream-error", {"error": text})
            await reply.finish()
            raise
        await self._emit(message.task_id, "stream-complete", None)
        if reply.error is not None:
            raise KitError(reply.error)

    async def _emit_stream_chunk(self, task_id: str, chunk: StreamChunk) -> None:
        sent: StreamChunk = {**chunk, "sentAt": time.time() * 1000}
        await self._emit(task_id, "stream-chunk", sent)
        if chunk["type"] == "complete":
            await self._emit(task_id, "stream-complete", None)

    # --- around the forms -------------------------------------------------------

    def submit(self, message: UserMessage) -> Run:
        """Begin to answer a message in the background; what happens is emitted.

        The run tells when it is accepted. The same one, sent again, changes nothing
        while it is being answered. Raises KitError if another message of the task is,
        unless `when_active` is not `reject` and Convex streams all of them.
        """
        task_id = message.task_id
        known = self._runs.to(task_id, message.client_message_id)
        if known is not None:
            return known
        self._runs.admit(task_id, message.when_active)
        run = self._runs.begin(task_id, lambda _: self.process_message(message))
        run.client_message_id = message.client_message_id
        run.alone = self.mode == "before"
        return run

    def _run_of(self, message: UserMessage) -> Run:
        return self._runs.to(message.task_id, message.client_message_id) or Run()

    async def process_message(self, message: UserMessage) -> None:
        """Answer one message, from status RUNNING to the status that it ends with.

        Failures are emitted (`task-status-updated` FAILED, `message-error`) and not
        raised. Cancelling stops a reply that is streamed from here, keeps its text
        and ends in STOPPED; a reply that Convex streams goes on there. While other
        messages of the task are being answered, that stays RUNNING.
        """
        task_id = message.task_id
        run = self._run_of(message)
        try:
            outcome: Outcome | None = None
            accepted = await self._accept(message, run)
            if accepted is not None:
                # Who hears that it is accepted has heard that the task is busy.
                await self._tasks.set_status(task_id, "RUNNING")
                run.accepted.set()
                async with self._sidecar(accepted):
                    outcome = await self._answer(accepted)
        except asyncio.CancelledError:
            if run.in_convex and not run.stop_requested:
                logger.info("[CHAT] The reply of task %s goes on in Convex", task_id)
            else:
                await self._tasks.set_status(task_id, "STOPPED")
            raise
        task_ends = self._runs.end(task_id, run, outcome)
        if outcome is not None and outcome[1] is not None:
            await self._emit(task_id, "message-error", {"error": outcome[1]})
        if task_ends is not None:
            # The last event: whoever hears it may send the next message.
            await self._tasks.set_status(task_id, *task_ends)

    @asynccontextmanager
    async def _sidecar(self, message: UserMessage) -> AsyncIterator[None]:
        """The workspace works beside the reply; its last events come before the end."""
        working = asyncio.create_task(
            self._workspace.run_turn(message.task_id, message.text)
        )
        try:
            yield
            await asyncio.wait({working})
        finally:
            working.cancel()

    async def _answer(self, message: UserMessage) -> Outcome:
        """Run the form that the mode names: the task's new status, and what failed."""
        try:
            match self.mode:
                case "before":
                    return await self._before(message), None
                case "option-1":
                    return await self._option_1(message), None
                case "option-2":
                    return await self._option_2(message), None
                case _:
                    assert_never(self.mode)
        except KitError as error:
            logger.warning("[CHAT] Task %s failed: %s", message.task_id, error)
            return "FAILED", _told(error)
        except Exception as error:
            logger.exception("[CHAT] Task %s failed", message.task_id)
            return "FAILED", _told(error)

    async def _accept(self, message: UserMessage, run: Run) -> UserMessage | None:
        """The message as it is to be answered; None if not, and clients hear why.

        One that was sent again and has its reply is only told how the task is.
        """
        task_id = message.task_id
        try:
            if self.mode != "before":
                await self._runs.until_turn(task_id, run, self._convex.has_begun)
            if self.mode == "option-2":
                return message
            accepted = await accept(
                self._history,
                task_id,
                message.text,
                model=message.model,
                client_message_id=message.client_message_id,
            )
            if accepted == "answered":
                await self._tasks.tell(task_id)
        except KitError as error:
            logger.warning("[CHAT] Task %s: %s", task_id, error)
            await self._emit(task_id, "message-error", {"error": str(error)})
            return None
        match accepted:
            case "new":
                return message
            case "again":
                return replace(message, sent_before=True)
            case "answered":
                return None
            case _:
                assert_never(accepted)

    # --- stopping ---------------------------------------------------------------

    async def stop(self, task_id: str) -> None:
        """Stop the task's reply; returns when it has ended and its text is kept.

        A reply that Convex streams is stopped there, whoever began it, and what is
        queued behind it is dropped; if it does not end within the stop timeout, it is
        no longer waited for. Without any reply, only a status RUNNING that a killed
        server left behind is corrected. Raises DeploymentError when Convex cannot be
        told.
        """
        runs = self._runs.of(task_id)
        if not runs:
            await self._stop_idle(task_id)
            return
        for run in runs:
            run.stop_requested = True
        # Those that wait to reach Convex are not to.
        await asyncio.gather(*(run.cancel() for run in runs if not run.in_convex))
        deadline = time.monotonic() + self._stop_timeout
        while any(run.in_convex for run in runs) and time.monotonic() < deadline:
            # Again and again: a stop that comes before the stream is begun finds
            # nothing to stop.
            await self._convex.stop_task(task_id)
            answering = [run.answering for run in runs if run.answering is not None]
            if not (await asyncio.wait(answering, timeout=0.5))[1]:
                return
        await asyncio.gather(*(run.cancel() for run in runs))

    async def _stop_idle(self, task_id: str) -> None:
        if self.mode != "before":
            with suppress(FunctionError):  # a task that Convex does not know
                await self._convex.stop_task(task_id)
        task = await self._tasks.find(task_id)
        if task is not None and task["status"] == "RUNNING":
            await self._tasks.set_status(task_id, "STOPPED")

    async def close(self) -> None:
        """Stop all replies that are streamed from here; their text is kept."""
        await self._runs.cancel_all()

    @property
    def _convex(self) -> ConvexChat:
        assert self._optional_convex is not None, f"mode {self.mode} needs Convex"
        return self._optional_convex


def _told(error: Exception) -> str:
    """What clients are told: the kit's own errors, nothing of unforeseen ones."""
    if isinstance(error, KitError):
        return str(error)
    return "The server failed while it answered. Its log says why."
