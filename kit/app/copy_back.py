"""What was written on Convex, copied back into the SQL history: a rollback's last step.

Holds which tasks and messages are copied, each task in one transaction, and the look at
both stores afterwards. How a message is translated is in `convex_rows`, where it
belongs in `turns`, what counts as the same in `comparison`.

Whatever SQL has stays. Copied are the messages that have ended, also those that failed
or were stopped; one that is still being written is counted and left for the next time.
Copying may be repeated and broken off: what is there already is not copied again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kit.app.comparison import compare
from kit.app.convex_replies import ConvexCalls
from kit.app.convex_rows import has_ended, moment_of, stored_message
from kit.app.copy_report import CopyReport, TaskCopy, Unfinished
from kit.app.history import History, Message, Task, TaskStatus
from kit.app.turns import in_common, merge_turns
from kit.client import Deployment
from kit.client.credentials import secrets_in
from kit.errors import (
    ConfigError,
    ConvexFunctionError,
    FunctionError,
    MessageIdTaken,
)

__all__ = ["copy_back", "copy_between"]

TASKS_PER_PAGE = 100

ConvexTask = Mapping[str, Any]


async def copy_between(
    deployment_url: str,
    history_url: str,
    *,
    task_ids: Iterable[str] | None = None,
    dry_run: bool = False,
    env: Mapping[str, str] = os.environ,
) -> CopyReport:
    """`copy_back` between two URLs. The SQL history must exist; it is not created.

    On the deployment it acts as the user of the token in `env`, if there is one (see
    `kit.client.credentials`). Raises ConfigError for a URL that cannot be used, and
    what `copy_back` raises.
    """
    history = await History.open(history_url, create=False)
    try:
        async with Deployment(deployment_url, **secrets_in(env)) as deployment:
            return await copy_back(
                deployment, history, task_ids=task_ids, dry_run=dry_run
            )
    finally:
        await history.close()


async def copy_back(
    convex: ConvexCalls,
    history: History,
    *,
    task_ids: Iterable[str] | None = None,
    dry_run: bool = False,
) -> CopyReport:
    """Copy what Convex holds and SQL does not, then compare both.

    `task_ids`: only these; None is all tasks that the deployment shows to the caller.
    A task that SQL does not have is created there, with its id. With `dry_run` nothing
    is written: the report counts what would be, and compares what is.

    Raises ConfigError for a task that neither of both knows, and for a deployment
    without the functions to read it; DeploymentError and DatabaseError when one of them
    fails. Each task is one transaction: tasks copied before stay, and calling again
    goes on with the rest, as it does after cancelling.
    """
    copier = _Copier(convex, history, dry_run)
    ids = await copier.all_tasks(first_only=task_ids is not None)
    if task_ids is not None:
        ids = list(dict.fromkeys(task_ids))
    return CopyReport([await copier.copy(task_id) for task_id in ids], dry_run=dry_run)


@dataclass(frozen=True, slots=True)
class _Copier:
    convex: ConvexCalls
    history: History
    dry_run: bool

    async def all_tasks(self, *, first_only: bool) -> list[str]:
        """The ids of all tasks; `first_only` just sees whether they can be read."""
        ids: list[str] = []
        cursor: str | None = None
        while True:
            options = {"numItems": TASKS_PER_PAGE, "cursor": cursor}
            try:
                page = await self.convex.query(
                    "tasks:page", {"paginationOpts": options}
                )
            except ConvexFunctionError:
                raise
            except FunctionError as error:
                raise ConfigError(
                    f"The tasks on Convex cannot be read: {_one_line(error)} Are the "
                    "deployment's functions older than this kit? Deploy them again: "
                    "kit deploy."
                ) from None
            ids += [task["_id"] for task in page["page"]]
            if page["isDone"] or first_only:
                return ids
            cursor = page["continueCursor"]

    async def copy(self, task_id: str) -> TaskCopy:
        """Copy one task, then read it from both stores and compare."""
        task = await self._task(task_id)
        known = await self.history.task(task_id)
        title = self._title(task_id, task, known)
        messages, _ = await self._read(task)
        before = await self.history.messages(task_id)
        there = len(in_common(before, messages))
        copied = len(messages) - there
        problem = None
        if task is not None and not self.dry_run and (copied or known is None):
            try:
                copied = await self._store(task, messages)
            except MessageIdTaken as error:
                copied, problem = 0, str(error)
        on_convex, unfinished = await self._read(task)
        in_sql = await self.history.messages(task_id)
        return TaskCopy(
            task_id=task_id,
            title=title,
            on_convex=len(on_convex),
            already_there=there,
            copied=copied,
            unfinished=tuple(unfinished),
            comparison=compare(on_convex, in_sql),
            problem=problem,
        )

    async def _task(self, task_id: str) -> ConvexTask | None:
        try:
            found = await self.convex.query("tasks:get", {"taskId": task_id})
        except ConvexFunctionError:
            raise
        except FunctionError:  # not an id of Convex's, but of SQL's
            return None
        task: ConvexTask | None = found
        return task

    def _title(self, task_id: str, task: ConvexTask | None, known: Task | None) -> str:
        if task is not None:
            return str(task["title"])
        if known is not None:
            return known["title"]
        raise ConfigError(
            f"There is no task {task_id!r}, neither on Convex, as far as it shows "
            f"its tasks to this caller, nor in {self.history}."
        )

    async def _read(
        self, task: ConvexTask | None
    ) -> tuple[list[Message], list[Unfinished]]:
        """The messages on Convex: those that have ended, and the others."""
        ended: list[Message] = []
        unfinished: list[Unfinished] = []
        after: dict[str, float] = {}
        more = task is not None
        while more and task is not None:
            args = {"taskId": task["_id"], **after}
            page = await self.convex.query("messages:page", args)
            for row in page["messages"]:
                if has_ended(row):
                    ended.append(stored_message(row))
                else:
                    unfinished.append(Unfinished(row["_id"], row["status"]))
                after = {"after": row["sequence"]}
            more = page["more"]
        return ended, unfinished

    async def _store(self, task: ConvexTask, messages: list[Message]) -> int:
        """Store what is missing, in its place; how many. All of it or nothing."""
        async with self.history.locked(task["_id"]) as locked:
            if not locked.exists:
                created_at = moment_of(task["_creationTime"])
                await locked.create(task["title"], created_at=created_at)
            stored = await locked.messages()
            same = in_common(stored, messages)
            missing = {m["id"] for m in messages if m["id"] not in same}
            if missing:
                merged = merge_turns(stored, messages, same)
                await locked.arrange(merged)
                if merged[-1]["id"] in missing and merged[-1]["role"] == "assistant":
                    await locked.set_status(*_status_after(merged[-1]))
        return len(missing)


def _status_after(reply: Message) -> tuple[TaskStatus, str | None]:
    """The status and error message of a task whose last reply this is."""
    metadata = reply["metadata"]
    match metadata["finishReason"]:
        case "error":
            errors = [part["error"] for part in metadata["parts"] if "error" in part]
            return "FAILED", errors[-1] if errors else None
        case "aborted":
            return "STOPPED", None
        case _:
            return "COMPLETED", None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
