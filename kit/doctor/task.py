"""The task: who knows it, and what became of its newest reply.

Asks Convex by queries and the application's SQL by `GET /api/tasks/{id}`, which takes
nothing over from one into the other. Without a task, the newest one that was answered
tells how replies fare.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

from kit.app.flags import Mode
from kit.doctor.application import Told
from kit.doctor.case import Case
from kit.doctor.findings import Finding, ok, problem, skipped
from kit.doctor.http import Http, NoAnswer
from kit.doctor.queries import Outcome, Queries, Refused

__all__ = ["look_at_task"]

NEWEST = 10  # tasks to look at for the newest reply, and messages of one
STUCK_AFTER = 15 * 60.0  # seconds; an action may take ten minutes

Known = Literal["yes", "no", "unknown"]


class TaskProbe:
    """Looks at one task, or at the newest; `queries` is None without a deployment."""

    def __init__(self, case: Case, http: Http, queries: Queries | None) -> None:
        self._case = case
        self._http = http
        self._queries = queries

    async def look(self, mode: Mode | None) -> list[Finding]:
        task_id = self._case.task
        if task_id is None:
            why = "Give its id with --task."
            return [skipped("task", why), await self._newest_reply(None)]
        convex = await self._ask("tasks:get", {"taskId": task_id})
        in_sql, sql = await self._in_sql(task_id)
        in_convex = _known(convex)
        finding = _existence(task_id, in_convex, in_sql, mode, convex, sql)
        if finding.fault is not None and (newest := await self._newest_ids()):
            advice = f"The newest tasks on the deployment: {newest}."
            finding = problem("task", finding.fault, finding.seen, task_id, advice)
        if in_convex == "yes":
            return [finding, await self._newest_reply(convex.value)]
        return [finding, _sql_reply(sql)]

    # --- asking -----------------------------------------------------------------

    async def _ask(self, path: str, args: Mapping[str, Any]) -> Outcome:
        """A query's outcome; one that says nothing if nobody answers."""
        if self._queries is None:
            return Outcome(reason="other", text="there is no deployment to ask")
        try:
            return await self._queries.run(path, args)
        except (NoAnswer, Refused) as error:
            return Outcome(reason="other", text=str(error))

    async def _in_sql(self, task_id: str) -> tuple[Known, dict[str, Any]]:
        """Whether the application's SQL has the task, and its row."""
        if self._case.app_url is None:
            return "unknown", {}
        url = f"{self._case.app_url}/api/tasks/{quote(task_id, safe='')}"
        try:
            answer = await self._http.get(url)
        except NoAnswer:
            return "unknown", {}
        match answer.json():
            case {"id": str(), "status": str()} as row if answer.status == 200:
                return "yes", row
            case {"error": str()} if answer.status == 404:
                return "no", {}
            case _:
                return "unknown", {}

    async def _newest_tasks(self) -> list[dict[str, Any]]:
        listed = await self._ask("tasks:list", {"limit": NEWEST})
        if not isinstance(listed.value, list):
            return []
        return [task for task in listed.value if isinstance(task, dict)]

    async def _newest_ids(self) -> str:
        tasks = (await self._newest_tasks())[:3]
        return ", ".join(f"{task.get('_id')} ({_title(task)})" for task in tasks)

    # --- the newest reply -------------------------------------------------------

    async def _newest_reply(self, task: dict[str, Any] | None) -> Finding:
        """Of this task; None: of the newest task that was answered."""
        if self._queries is None:
            return skipped("newest-reply", "There is no deployment to ask.")
        if task is None:
            answered = [
                task
                for task in await self._newest_tasks()
                if task.get("status") != "INITIALIZING"
            ]
            if not answered:
                why = "No task has a reply yet, or none can be listed."
                return skipped("newest-reply", why)
            task = answered[0]
        args = {"taskId": task["_id"], "limit": NEWEST}
        rows = await self._ask("messages:byTask", args)
        if not isinstance(rows.value, list):
            why = (
                f"The task's messages cannot be read: {rows.text or 'no reason given'}."
            )
            return skipped("newest-reply", why)
        replies = [row for row in rows.value if row.get("role") == "ASSISTANT"]
        if not replies:
            return skipped("newest-reply", "The task has no reply yet.")
        return _reply(replies, str(task["_id"]))


async def look_at_task(
    case: Case,
    http: Http,
    queries: Queries | None,
    told: Told | None,
    mode: Mode | None,
) -> list[Finding]:
    """The findings about the task and its newest reply.

    What counts is the mode of the running application; `mode` is the file's.
    """
    return await TaskProbe(case, http, queries).look(told.mode if told else mode)


def _known(found: Outcome) -> Known:
    if found.succeeded:
        return "no" if found.value is None else "yes"
    # An id of another table, of another deployment, or no id at all.
    return "no" if found.reason == "arguments" else "unknown"


def _existence(
    task_id: str,
    in_convex: Known,
    in_sql: Known,
    mode: Mode | None,
    convex: Outcome,
    sql: dict[str, Any],
) -> Finding:
    """Whether whoever needs the task knows it."""
    seen = f"Convex: {_said(in_convex, convex)} SQL: {_said_sql(in_sql, sql)}"
    # With the flag off SQL decides, else Convex.
    deciding, other = (in_sql, in_convex) if mode == "before" else (in_convex, in_sql)
    if deciding == "yes":
        return ok("task", seen, task_id)
    if deciding == "unknown":
        return skipped("task", f"Who decides could not be asked. {seen}", task_id)
    if other != "yes":
        return problem("task", "task-unknown", seen, task_id)
    fault = "task-only-in-convex" if mode == "before" else "task-only-in-sql"
    return problem("task", fault, seen, task_id)


def _said(known: Known, found: Outcome) -> str:
    match known:
        case "yes":
            return f"{_title(found.value)}, {found.value.get('status')}."
        case "no" if found.reason == "arguments":
            return "this is not the id of a task there."
        case "no":
            return "no such task, or no longer."
        case "unknown":
            return f"could not tell ({found.text or 'no reason given'})."


def _said_sql(known: Known, row: dict[str, Any]) -> str:
    match known:
        case "yes":
            return f"{_title(row)}, {row['status']}."
        case "no":
            return "no such task."
        case "unknown":
            return "could not tell (the application was not asked, or did not answer)."


def _title(task: dict[str, Any]) -> str:
    title = str(task.get("title", ""))
    return f"“{title if len(title) <= 40 else title[:40] + '…'}”"


# --- what became of a reply -------------------------------------------------------


def _reply(replies: list[dict[str, Any]], task_id: str) -> Finding:
    """What became of the newest of `replies`; of those before it, in a word each."""
    *earlier, row = replies
    began = float(row.get("_creationTime", 0)) / 1000.0
    when, age = _clock(began), time.time() - began
    before = f" Before it: {', '.join(map(_ended, earlier))}." if earlier else ""
    status = row.get("status")
    if status == "failed":
        text = str(row.get("error") or "No reason is given.")
        seen = f"Begun at {when}, {_ended(row)}. {text}{before}"
        return problem("newest-reply", _fault(row), seen, task_id)
    if status in ("streaming", "stopping"):
        seen = f"Being written since {when}, for {age:.0f} s.{before}"
        if age > STUCK_AFTER:
            return problem("newest-reply", "reply-stuck", seen, task_id)
        return ok("newest-reply", f"{seen} If it does not grow, it is ended.", task_id)
    return ok("newest-reply", f"Begun at {when}, {_ended(row)}.{before}", task_id)


def _ended(row: dict[str, Any]) -> str:
    kind = f" ({row['errorKind']})" if "errorKind" in row else ""
    return f"{row.get('status')}{kind}"


def _fault(row: dict[str, Any]) -> str:
    match row.get("errorKind"):
        case "auth":
            return "reply-key-refused"
        case "interrupted":
            return "reply-broke-off"
        case _:
            return "reply-failed"


def _sql_reply(row: dict[str, Any]) -> Finding:
    """What the application's own task tells of its newest reply."""
    if not row or row["status"] == "INITIALIZING":
        return skipped("newest-reply", "No reply of this task is known.")
    place = str(row["id"])
    if row["status"] != "FAILED":
        return ok("newest-reply", f"The task is {row['status']}.", place)
    text = str(row.get("errorMessage") or "no reason given")
    fault = "reply-key-refused" if "the key was refused" in text else "reply-failed"
    return problem("newest-reply", fault, text, place)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M:%S")
