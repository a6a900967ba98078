"""Cron jobs as documents of the private system table `_cron_jobs`.

```text
{_id, _creationTime, cron: "tidy up", name: "streaming.js:sweep", args: [{...}],
 schedule: {type, ...}, scheduledTime: ms, previousTime?: ms,
 state: {kind: pending | inProgress}}
```
One for each job of `crons.py`, in the form of a scheduled function, so that `jobs` runs
them; only that a run ends in the next one. That it has been done and when it is due
again are stored together, so a restart neither loses a run nor repeats it. Runs that
were due while the deployment was down, or while the one before still ran, come to one.
Each function works in a transaction of the caller's. Source: Convex's
`model/src/cron_jobs` and `application/src/cron_jobs`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, TypeAlias

from kit.deployment.cron_times import first_run, next_run
from kit.deployment.crons import CronJob
from kit.deployment.index_keys import starting_with
from kit.deployment.tables import BY_CREATION_TIME, CRON_JOBS
from kit.deployment.transaction import Transaction

__all__ = ["is_cron_job", "reschedule", "store_cron_jobs"]

log = logging.getLogger(__name__)

CronDocument: TypeAlias = dict[str, Any]


def store_cron_jobs(transaction: Transaction, jobs: Mapping[str, CronJob]) -> None:
    """Make the stored jobs those in `jobs`, by name.

    One that is as it was stays due when it was.
    """
    stored = {document["cron"]: document for document in _all(transaction)}
    for name, job in jobs.items():
        known = stored.pop(name, None)
        if known is None:
            _insert(transaction, name, job)
        else:
            _update(transaction, known, job)
    for document in stored.values():
        transaction.delete(document["_id"])


def is_cron_job(document: Mapping[str, Any]) -> bool:
    """Whether a job is one of these, not a scheduled function."""
    return "cron" in document


def reschedule(transaction: Transaction, document: CronDocument) -> None:
    """Note that a run has ended, and when the next one is due."""
    previous = document["scheduledTime"]
    time, missed = next_run(document["schedule"], previous, transaction.now * 1000.0)
    if missed:
        log.info(
            "cron job %r: runs that were due by now are left out", document["cron"]
        )
    transaction.patch(
        document["_id"],
        {
            "state": {"kind": "pending"},
            "scheduledTime": time,
            "previousTime": previous,
        },
    )


def _insert(transaction: Transaction, name: str, job: CronJob) -> None:
    document: CronDocument = {
        "cron": name,
        "scheduledTime": first_run(job.schedule, transaction.now * 1000.0),
        "state": {"kind": "pending"},
        **_fields(job),
    }
    transaction.insert(CRON_JOBS, document)


def _update(transaction: Transaction, known: CronDocument, job: CronJob) -> None:
    fields = _fields(job)
    if known["schedule"] != job.schedule:
        now = transaction.now * 1000.0
        fields["scheduledTime"] = (
            next_run(job.schedule, known["previousTime"], now).time
            if "previousTime" in known
            else first_run(job.schedule, now)
        )
    transaction.patch(known["_id"], fields)


def _fields(job: CronJob) -> CronDocument:
    return {
        "name": job.path.canonical,
        "args": [job.args],
        "schedule": job.schedule,
    }


def _all(transaction: Transaction) -> list[CronDocument]:
    table = transaction.table(CRON_JOBS)
    assert table is not None, "every database has the system tables"
    return transaction.scan(table.indexes[BY_CREATION_TIME], starting_with(b""))
