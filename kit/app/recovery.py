"""What a killed server leaves behind, put right when the next one starts.

A task that is RUNNING in SQL while no server answers it: its reply was lost with the
server, or went on in Convex and has perhaps ended there. Holds how one finds out, and
the copy of a reply of Convex's into SQL. For the forms with Convex; before the
migration such a task stays as it is, which is one of the things that it cures.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from kit.app.acceptance import answer_to
from kit.app.convex_replies import ConvexReplies, ConvexReply, status_of
from kit.app.convex_rows import stored_message
from kit.app.flags import Mode
from kit.app.history import History, Message, MessageMetadata, TaskStatus
from kit.app.out_of_sight import OnOutOfSight
from kit.app.runs import Run, Runs
from kit.app.tasks import Tasks
from kit.errors import DatabaseError, KitError, ReplyOutOfSight

__all__ = ["Recovery", "copy_to_sql"]

logger = logging.getLogger(__name__)

NOT_BEGUN = "The server was ended before the reply was begun. Send the message again."
CUT_OFF = (
    "The server was ended while it wrote the reply. What had come of it is kept; "
    "send the message again to be answered."
)
_STATUSES: dict[str | None, TaskStatus] = {"error": "FAILED", "aborted": "STOPPED"}


class Recovery:
    """Takes up the tasks that are left RUNNING; each is busy in `runs` meanwhile."""

    def __init__(
        self,
        mode: Mode,
        *,
        history: History,
        tasks: Tasks,
        convex: ConvexReplies,
        runs: Runs,
        on_out_of_sight: OnOutOfSight,
    ) -> None:
        self._mode = mode
        self._history = history
        self._tasks = tasks
        self._convex = convex
        self._runs = runs
        self._on_out_of_sight = on_out_of_sight

    async def begin(self) -> None:
        """Begin to find out, in the background. Call it once, before clients come."""
        try:
            left = await self._history.running_tasks()
        except DatabaseError as error:  # each message will say so, too
            logger.warning("[CHAT] What was left behind is not known: %s", error)
            return
        for task_id in left:
            logger.info("[CHAT] Task %s was left by another server", task_id)
            run = self._runs.begin(task_id, partial(self._take_up, task_id))
            run.in_convex = True

    async def _take_up(self, task_id: str, run: Run) -> None:
        status: TaskStatus
        error: str | None = None
        try:
            try:
                status = await self._find_out(task_id, run)
            except KitError as failure:
                status, error = "FAILED", str(failure)
                if isinstance(failure, ReplyOutOfSight) and run.client_message_id:
                    self._on_out_of_sight(task_id, run.client_message_id)
            task_ends = self._runs.end(task_id, run, (status, error))
            if task_ends is not None:
                await self._tasks.set_status(task_id, *task_ends)
        except asyncio.CancelledError:
            if run.stop_requested:
                await self._tasks.set_status(task_id, "STOPPED")
            raise

    async def _find_out(self, task_id: str, run: Run) -> TaskStatus:
        """Wait until the reply that was asked for has ended; the task's status.

        Option 1 gets its copy of the reply then. Raises KitError when there is no
        whole reply, and says why.
        """
        if self._mode == "option-2":
            run.client_message_id = await self._convex.last_client_message_id(task_id)
            return status_of(await self._reply_in_convex(task_id, run))
        messages = await self._history.messages(task_id)
        question = _last_question(messages)
        if question is None:
            raise KitError(NOT_BEGUN)
        if answer := answer_to(task_id, question, messages):
            return await self._settle(answer)
        run.client_message_id = question.get("clientMessageId")
        await self._copy_those_before(task_id, question, messages)
        stored = await self._reply_in_convex(task_id, run)
        await copy_to_sql(self._history, task_id, stored, run.client_message_id)
        return status_of(stored)

    async def _copy_those_before(
        self, task_id: str, question: Message, messages: Sequence[Message]
    ) -> None:
        """Copy the replies that it was queued behind, when they have ended."""
        for earlier in reversed(messages[: messages.index(question)]):
            client_message_id = earlier.get("clientMessageId")
            if earlier["role"] != "user" or client_message_id is None:
                return
            found = await self._convex.find(task_id, client_message_id)
            if found is not None:
                await copy_to_sql(self._history, task_id, found, client_message_id)

    async def _reply_in_convex(self, task_id: str, run: Run) -> ConvexReply:
        found = None
        if run.client_message_id is not None:
            found = await self._convex.find(task_id, run.client_message_id)
        if found is None:
            raise KitError(NOT_BEGUN)
        return found

    async def _settle(self, reply: Message) -> TaskStatus:
        """End a reply that nobody writes any more; its status if it had ended."""
        metadata = reply.get("metadata") or {}
        if metadata.get("isStreaming"):
            ended: MessageMetadata = {
                **metadata,
                "isStreaming": False,
                "finishReason": "interrupted",
            }
            await self._history.update_message(reply["id"], reply["content"], ended)
            raise KitError(CUT_OFF)
        return _STATUSES.get(metadata.get("finishReason"), "COMPLETED")


async def copy_to_sql(
    history: History, task_id: str, stored: ConvexReply, client_message_id: str | None
) -> None:
    """Keep SQL whole while Option 1 may still fall back, or be rolled back.

    The reply comes after the message that it answers: others may have been queued
    since. What SQL does not take is logged: the reply itself is safe.
    """
    reply = stored_message(stored.row)
    if not reply["metadata"]["parts"]:
        return  # stopped before its first word
    try:
        async with history.locked(task_id) as task:
            messages = await task.messages()
            if any(known["id"] == reply["id"] for known in messages):
                return
            place = len(messages)
            for index, known in enumerate(messages):
                if known.get("clientMessageId", "") == client_message_id:
                    place = index + 1
            await task.arrange([*messages[:place], reply, *messages[place:]])
    except DatabaseError as error:
        logger.warning("[CHAT] Task %s: %s", task_id, error)


def _last_question(messages: Sequence[Message]) -> Message | None:
    return next((m for m in reversed(messages) if m["role"] == "user"), None)
