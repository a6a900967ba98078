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

TASKS_PER_PAGE = 500

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

    On the deployment it acts as the user of the token in `env`, or with the admin key
    there, and then for everybody (see `kit.client.credentials`). Raises ConfigError for
    a URL that cannot be used, and what `copy_back` raises.
    """
    secrets = secrets_in(env)
    history = await History.open(history_url, create=False)
    try:
        async with Deployment(deployment_url, **secrets) as deployment:
            return await copy_back(
                deployment,
                history,
                task_ids=task_ids,
                dry_run=dry_run,
                of_everybody=bool((secrets["admin_key"] or "").strip()),
            )
    finally:
        await history.close()


async def copy_back(
    convex: ConvexCalls,
    history: History,
    *,
    task_ids: Iterable[str] | None = None,
    dry_run: bool = False,
    of_everybody: bool = False,
) -> CopyReport:
    """Copy what Convex holds and SQL does not, then compare both.

    `task_ids`: only these; None is all tasks that Convex shows to the caller, or, with
    `of_everybody`, all that there are: that takes an admin. A task that SQL does not
    have is created there, with its id. With `dry_run` nothing is written: the report
    counts what would be, and compares what is.

    Raises ConfigError for a task that neither of both knows, and for a deployment
    without the functions to read it; DeploymentError and DatabaseError when one of them
    fails. Each task is one transaction: tasks copied before stay, and calling again
    goes on with the rest, as it does after cancelling.
    """
    copier = _Copier(convex, history, dry_run, of_everybody)
    tasks = await copier.tasks()
    ids = tasks if task_ids is None else dict.fromkeys(task_ids)
    copies = [await copier.copy(task_id, tasks.get(task_id)) for task_id in ids]
    return CopyReport(copies, dry_run=dry_run)


@dataclass(frozen=True, slots=True)
class _Copier:
    convex: ConvexCalls
    history: History
    dry_run: bool
    of_everybody: bool

    async def tasks(self) -> dict[str, ConvexTask]:
        """All tasks on Convex by their ids, oldest first."""
        path = "tasks:pageOfAll" if self.of_everybody else "tasks:page"
        tasks: dict[str, ConvexTask] = {}
        cursor: str | None = None
        while True:
            options = {"numItems": TASKS_PER_PAGE, "cursor": cursor}
            try:
                page = await self.convex.query(path, {"paginationOpts": options})
            except ConvexFunctionError:
                raise
            except FunctionError as error:
                raise ConfigError(
                    f"The tasks on Convex cannot be read: {_one_line(error)} Are the "
                    "deployment's functions older than this kit? Deploy them again: "
                    "kit deploy."
                ) from None
            tasks |= {task["_id"]: task for task in page["page"]}
            if page["isDone"]:
                return tasks
            cursor = page["continueCursor"]

    async def copy(self, task_id: str, task: ConvexTask | None) -> TaskCopy:
        """Copy one task, then read it from both stores and compare."""
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
        path = "messages:pageOfAny" if self.of_everybody else "messages:page"
        after: dict[str, float] = {}
        more = task is not None
        while more and task is not None:
            args = {"taskId": task["_id"], **after}
            page = await self.convex.query(path, args)
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
