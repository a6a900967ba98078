"""Scheduled functions as documents of the system table `_scheduled_functions`.

```text
{_id, _creationTime, name: "messages.js:destruct", args: [{...}], scheduledTime: ms,
 completedTime?: ms, state: {kind: pending | inProgress | success | failed | canceled,
                             error?: text when failed}}
```
Cron jobs (`cron_jobs`) are run as if they were scheduled functions: where a job is
begun, ended or looked for, both are meant.

Each function here works in a transaction of the caller's. When a job is run, and by
whom, is not decided here. Source: Convex's `model/src/scheduled_jobs`.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

from kit.deployment.cron_jobs import is_cron_job, reschedule
from kit.deployment.failures import UsageError
from kit.deployment.functions import FunctionRegistry
from kit.deployment.index_ranges import IndexRange
from kit.deployment.paths import FunctionPath, parse_path
from kit.deployment.tables import CRON_JOBS, SCHEDULED_FUNCTIONS
from kit.deployment.transaction import Transaction

__all__ = [
    "cancel_job",
    "due_jobs",
    "finish_job",
    "jobs_in_progress",
    "next_due",
    "pending_job",
    "prune_jobs",
    "schedule_job",
    "start_job",
]

JobDocument: TypeAlias = dict[str, Any]
EndState: TypeAlias = Literal["success", "failed", "canceled"]

YEARS_AHEAD = 5
MS_PER_YEAR = 366 * 24 * 3600 * 1000.0
LIFETIME = 7 * 24 * 3600 * 1000.0  # ms that a job is kept after it has ended
PRUNED_AT_ONCE = 200


def schedule_job(
    transaction: Transaction,
    registry: FunctionRegistry,
    path: str,
    args: dict[str, Any] | None,
    due_ms: float,
    *,
    by_job: str | None = None,
) -> str:
    """Store a job; returns its id. Raises UsageError when it cannot ever be run.

    `by_job`: the job that schedules it; if that was canceled, so is the new one.
    """
    target = _target(registry, path)
    _check_due(due_ms, transaction.now * 1000.0)
    arguments = {} if args is None else args
    transaction.count_schedule(due_ms, arguments)
    state = {"kind": "canceled" if _is_canceled(transaction, by_job) else "pending"}
    document: JobDocument = {
        "name": target.canonical,
        "args": [arguments],
        "scheduledTime": due_ms,
        "state": state,
    }
    if state["kind"] == "canceled":
        document["completedTime"] = transaction.now * 1000.0
    return transaction.insert(SCHEDULED_FUNCTIONS, document)


def cancel_job(transaction: Transaction, job_id: str) -> None:
    """Never run a pending job; mark one in progress. Otherwise nothing happens."""
    table = transaction.table_of_id(job_id) if isinstance(job_id, str) else None
    if table != SCHEDULED_FUNCTIONS:
        raise UsageError(
            "Invalid scheduled function ID. The ID must be an ID on the "
            f"'{SCHEDULED_FUNCTIONS}' table."
        )
    document = transaction.get(job_id, "cancel")
    if document is not None and document["state"]["kind"] in ("pending", "inProgress"):
        finish_job(transaction, document, "canceled")


def pending_job(transaction: Transaction, job_id: str) -> JobDocument | None:
    """The job, if it has neither begun nor ended."""
    document = transaction.get(job_id)
    if document is None or document["state"]["kind"] != "pending":
        return None
    return document


def start_job(transaction: Transaction, document: JobDocument) -> None:
    """Note that the job has begun."""
    transaction.patch(document["_id"], {"state": {"kind": "inProgress"}})


def finish_job(
    transaction: Transaction,
    document: JobDocument,
    kind: EndState,
    error: str | None = None,
) -> None:
    """Note that the job has ended, and how; a cron job, when it is due again."""
    if is_cron_job(document):
        reschedule(transaction, document)
        return
    state = {"kind": kind} if error is None else {"kind": kind, "error": error}
    transaction.patch(
        document["_id"],
        {"state": state, "completedTime": transaction.now * 1000.0},
    )


def due_jobs(transaction: Transaction, now_ms: float, limit: int) -> list[JobDocument]:
    """Pending jobs that are due, the longest due first."""
    found = _in_state(transaction, "pending", limit, until=now_ms)
    return sorted(found, key=_due)[:limit]


def next_due(transaction: Transaction) -> float | None:
    """When the next pending job is due, ms since the epoch."""
    return min(map(_due, _in_state(transaction, "pending", 1)), default=None)


def jobs_in_progress(transaction: Transaction) -> list[JobDocument]:
    """The jobs that have begun and not ended."""
    return _in_state(transaction, "inProgress", None)


def prune_jobs(transaction: Transaction) -> None:
    """Delete some of the jobs that ended long ago."""
    oldest = transaction.now * 1000.0 - LIFETIME
    ended = IndexRange().gte("completedTime", 0.0).lt("completedTime", oldest)
    oldest_first = (SCHEDULED_FUNCTIONS, "by_completion")
    for document in _scan(transaction, *oldest_first, ended, PRUNED_AT_ONCE):
        transaction.delete(document["_id"])


def _target(registry: FunctionRegistry, path: str) -> FunctionPath:
    try:
        target = parse_path(path)
    except ValueError as error:
        raise UsageError(
            f"{path} is not a valid path to a Convex function. {error}"
        ) from None
    if target in registry.functions:
        return target
    if not registry.has_module(target.module):
        raise UsageError(
            f"Attempted to schedule function at nonexistent path: {target.module}.js"
        )
    raise UsageError(
        f"Attempted to schedule function, but no exported function {target.function} "
        f"found in the file: {target.module}.js. Did you forget to export it?"
    )


def _check_due(due_ms: float, now_ms: float) -> None:
    if not math.isfinite(due_ms) or due_ms < 0:
        raise UsageError(f"{due_ms} is not a time at which a function can be run")
    if abs(due_ms - now_ms) > YEARS_AHEAD * MS_PER_YEAR:
        where = "future" if due_ms > now_ms else "past"
        raise UsageError(f"{due_ms} is more than {YEARS_AHEAD} years in the {where}")


def _is_canceled(transaction: Transaction, job_id: str | None) -> bool:
    document = None if job_id is None else transaction.get(job_id)
    return document is not None and document["state"]["kind"] == "canceled"


def _due(document: JobDocument) -> float:
    due: float = document["scheduledTime"]
    return due


def _in_state(
    transaction: Transaction,
    kind: str,
    limit: int | None,
    *,
    until: float | None = None,
) -> list[JobDocument]:
    """Jobs of each table, at most `limit` of each, the longest due first."""
    chosen = IndexRange().eq("state.kind", kind)
    if until is not None:
        chosen.lte("scheduledTime", until)
    return [
        document
        for table_name in (SCHEDULED_FUNCTIONS, CRON_JOBS)
        for document in _scan(transaction, table_name, "by_state", chosen, limit)
    ]


def _scan(
    transaction: Transaction,
    table_name: str,
    index_name: str,
    chosen: IndexRange,
    limit: int | None,
) -> list[JobDocument]:
    table = transaction.table(table_name)
    assert table is not None, "every database has the system tables"
    index = table.indexes[index_name]
    return transaction.scan(index, chosen.interval(index, index_name), limit=limit)
