"""Runs queries and mutations against the database; synchronous, never awaits.

One function at a time, in one thread: executions are serial, so mutations are
serialisable without conflicts or retries, and a query sees the latest commit. Also
checks arguments and results of actions, which run elsewhere, and keeps the scheduler's
jobs; when to run them is the server's business.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from kit.deployment.console import collect_log_lines
from kit.deployment.cron_jobs import store_cron_jobs
from kit.deployment.database import Database, SessionResult
from kit.deployment.deadline import FunctionTimedOut, run_with_deadline
from kit.deployment.execution import (
    Execution,
    FunctionFailed,
    check_args,
    check_result,
    find_function,
)
from kit.deployment.failures import FunctionFailure, UsageError
from kit.deployment.functions import Function, FunctionKind, FunctionRegistry
from kit.deployment.identity import UserIdentity
from kit.deployment.index_keys import after, starting_with
from kit.deployment.jobs import (
    cancel_job,
    due_jobs,
    finish_job,
    jobs_in_progress,
    next_due,
    pending_job,
    prune_jobs,
    schedule_job,
    start_job,
)
from kit.deployment.pagination import Journal
from kit.deployment.paths import parse_path
from kit.deployment.read_sets import ReadSet, WriteSet
from kit.deployment.tables import BY_CREATION_TIME
from kit.deployment.transaction import Transaction
from kit.values import InvalidValue, JsonValue, encode, from_json, to_json

__all__ = [
    "Engine",
    "FunctionFailure",
    "Job",
    "MutationOutcome",
    "QueryOutcome",
    "ReadSet",
    "WriteSet",
]

INTERRUPTED = "Transient error while executing action"
JOBS_BETWEEN_PRUNINGS = 100


@dataclass(frozen=True)
class QueryOutcome:
    """What a query came to: a value or an error, and what it read at `timestamp`."""

    value_json: str | None
    """The result as Convex JSON text; None when it failed."""
    error: FunctionFailure | None
    log_lines: list[str]
    read_set: ReadSet
    """What it read, also when it failed."""
    timestamp: int
    """That of the latest commit that it saw, in ns."""
    identity_read: bool = False
    """Whether it asked who calls, also when it failed."""
    journal: str | None = None
    """To be given to its next run, if it paginates: keeps the end of its page."""


@dataclass(frozen=True)
class MutationOutcome:
    """What a mutation came to: a value with its commit, or an error."""

    value_json: str | None
    """The result as Convex JSON text; None when it failed."""
    error: FunctionFailure | None
    log_lines: list[str] = field(default_factory=list)
    timestamp: int | None = None
    """That of its commit in ns, or of the latest one if it wrote nothing; None when it
    failed."""
    replayed: bool = False
    """Whether this is what an earlier request, sent again, had come to."""


@dataclass(frozen=True)
class Job:
    """A scheduled function, or a cron job, that is due."""

    id: str
    path: str
    args_json: str
    """The one argument object as Convex JSON text."""
    scheduled_time: float
    """When it was to be run, ms since the epoch."""
    kind: Literal["mutation", "action"]
    """`mutation` also for a function that cannot be run: `run_job` will say why."""


class Engine:
    """Executes functions of `registry` on `database`.

    `now` gives seconds since the epoch; `time_limit` is in seconds of processor time.
    """

    def __init__(
        self,
        database: Database,
        registry: FunctionRegistry,
        *,
        now: Callable[[], float] = time.time,
        time_limit: float = 1.0,
    ) -> None:
        self.on_commit: Callable[[int, WriteSet], None] = _ignore
        """Called after each commit with its timestamp and the keys it changed."""
        self.on_schedule: Callable[[float], None] = _ignore
        """Called after a commit that schedules, with the earliest due time in ms."""
        self._database = database
        self._registry = registry
        self._now = now
        self._time_limit = time_limit
        self._jobs_ended = 0
        self._prepare_jobs()

    @property
    def latest_timestamp(self) -> int:
        """Timestamp of the latest commit in ns."""
        return self._database.timestamp

    def kind_of(self, path: str) -> FunctionKind | None:
        """What the function at `path` is, public or not; None if there is none."""
        try:
            function = self._registry.get(path)
        except ValueError:
            return None
        return None if function is None else function.kind

    def change_functions(self, registry: FunctionRegistry) -> None:
        """Execute those of `registry` from now on, on a database of its schema.

        Raises DatabaseError, with nothing changed.
        """
        self._database.change_schema(registry.schema)
        self._registry = registry
        with self._transaction() as transaction:
            transaction.lift_limits()
            store_cron_jobs(transaction, registry.crons)
            transaction.commit()

    # --- queries and mutations ------------------------------------------------

    def run_query(
        self,
        path: str,
        args: JsonValue,
        *,
        internal: bool = False,
        identity: UserIdentity | None = None,
        at: int | None = None,
        journal: str | None = None,
    ) -> QueryOutcome:
        """Run a query at the latest commit; `args` is a Convex JSON object.

        `internal`: whether internal functions may be called. `identity`: who calls.
        `journal`: of an earlier run with the same arguments, whose page keeps its end.
        `at`: run it as of that timestamp instead. What goes wrong in or about the
        function is in the outcome. Raises DatabaseError, and NotKept (see `history`)
        when documents cannot be had as of `at`.
        """
        with collect_log_lines() as lines, self._transaction() as transaction:
            if at is not None:
                self._database.rewind(at)
            execution = Execution(self._registry, transaction, identity)
            page = Journal(journal)
            value, error = None, None
            try:
                value = self._run(execution, path, "query", args, internal, page)
            except FunctionFailed as failed:
                error = failed.failure
            return QueryOutcome(
                value,
                error,
                lines,
                transaction.read_set,
                self.latest_timestamp if at is None else at,
                execution.identity_read,
                # A run that failed before it came to its page changes nothing.
                page.end or (page.previous if error else None),
            )

    def run_mutation(
        self,
        path: str,
        args: JsonValue,
        *,
        internal: bool = False,
        identity: UserIdentity | None = None,
        session: tuple[str, int] | None = None,
    ) -> MutationOutcome:
        """Run a mutation and commit it; `args` is a Convex JSON object.

        `internal`, `identity`: as for `run_query`. `session`: id and request number,
        under which a success is stored with the commit; the same request again gets
        that answer and runs nothing. A failure stores nothing. Raises DatabaseError,
        with nothing stored.
        """
        if session is not None:
            known = self._database.session_result(*session)
            if known is not None:
                timestamp, result = known
                return MutationOutcome(
                    result.value_json, None, result.log_lines, timestamp, replayed=True
                )
        with collect_log_lines() as lines, self._transaction() as transaction:
            execution = Execution(self._registry, transaction, identity)
            try:
                value = self._run(execution, path, "mutation", args, internal)
            except FunctionFailed as failed:
                return MutationOutcome(None, failed.failure, lines)
            timestamp = transaction.commit(
                None if session is None else SessionResult(*session, value, lines)
            )
        return MutationOutcome(value, None, lines, timestamp)

    def _run(
        self,
        execution: Execution,
        path: str,
        kind: FunctionKind,
        args: JsonValue,
        internal: bool,
        journal: Journal | None = None,
    ) -> str:
        function = find_function(self._registry, path, kind, internal=internal)
        try:
            # What it prints: the deployment's own stdout says only where it listens.
            with redirect_stdout(sys.stderr):
                value = run_with_deadline(
                    self._time_limit, lambda: execution.run(function, args, journal)
                )
        except FunctionTimedOut as stopped:
            raise FunctionFailed(FunctionFailure(str(stopped))) from stopped
        self._database.check()
        return value

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        """A transaction that is undone unless the block commits it."""
        transaction = Transaction(self._database, self._now())
        try:
            yield transaction
        finally:
            transaction.end()
        if transaction.committed is not None:
            self.on_commit(transaction.committed, transaction.write_set)
            if transaction.due:
                self.on_schedule(min(transaction.due))

    # --- documents ------------------------------------------------------------

    def list_documents(
        self, table_name: str, after_key: bytes | None, limit: int, *, at: int
    ) -> dict[bytes, str] | None:
        """Documents of a table as of `at`, oldest first, as Convex JSON text.

        By the key that continues behind them; None if there is no such table. Raises
        NotKept as `run_query` does.
        """
        with self._transaction():
            self._database.rewind(at)
            table = self._database.catalog.named(table_name)
            if table is None:
                return None
            low, high = starting_with(b"")
            index = table.indexes[BY_CREATION_TIME]
            low = low if after_key is None else after(after_key)
            found = self._database.scan(index.id, (low, high))
            return {key: row.text for key, row in islice(found, limit)}

    # --- actions --------------------------------------------------------------

    def check_action(
        self, path: str, args: JsonValue, *, internal: bool = False
    ) -> Function | FunctionFailure:
        """The action to run with these arguments, or why it cannot be."""
        try:
            function = find_function(self._registry, path, "action", internal=internal)
            check_args(function, args, self._database.catalog.table_of_id)
        except FunctionFailed as failed:
            return failed.failure
        return function

    def check_action_result(
        self, path: str, value: JsonValue
    ) -> FunctionFailure | None:
        """Why `value` cannot be the result of the action; None if it can."""
        try:
            function = find_function(self._registry, path, "action", internal=True)
            table_of = self._database.catalog.table_of_id
            check_result(function, from_json(value), table_of)
        except FunctionFailed as failed:
            return failed.failure
        except InvalidValue as error:
            return FunctionFailure(
                f"Uncaught Error: Return value of {path} is invalid: {error}"
            )
        return None

    # --- scheduled functions and cron jobs ------------------------------------

    def schedule(
        self, path: str, args: JsonValue, due_ms: float, *, by_job: str | None = None
    ) -> str | FunctionFailure:
        """Schedule a function at once, as an action does; returns the job's id.

        `by_job`: the job that the action runs for; when that has been canceled, the new
        job is canceled too.
        """
        with self._transaction() as transaction:
            try:
                values = from_json(args)
                job_id = schedule_job(
                    transaction, self._registry, path, values, due_ms, by_job=by_job
                )
            except (UsageError, InvalidValue) as error:
                return FunctionFailure(f"Uncaught Error: {error}")
            transaction.commit()
        return job_id

    def cancel(self, job_id: str) -> FunctionFailure | None:
        """Cancel a job at once, as an action does."""
        with self._transaction() as transaction:
            try:
                cancel_job(transaction, job_id)
            except UsageError as error:
                return FunctionFailure(f"Uncaught Error: {error}")
            transaction.commit()
        return None

    def due_jobs(self, now_ms: float, limit: int = 8) -> list[Job]:
        """Jobs to be run now, the longest due first; `now_ms` since the epoch."""
        with self._transaction() as transaction:
            return [self._job(found) for found in due_jobs(transaction, now_ms, limit)]

    def next_due_ms(self) -> float | None:
        """When the next job is due, ms since the epoch; None if none is scheduled."""
        with self._transaction() as transaction:
            return next_due(transaction)

    def run_job(self, job_id: str) -> MutationOutcome | None:
        """Run a scheduled mutation, exactly once; None if it is no longer pending.

        What it does and that it has been done are committed together. When it fails,
        what it did is undone and the failure is stored. Raises DatabaseError, with the
        job still pending.
        """
        value, error = None, None
        with collect_log_lines() as lines, self._transaction() as transaction:
            document = pending_job(transaction, job_id)
            if document is None:
                return None
            path, args = _call_of(document)
            # Nobody calls it: whoever scheduled it is not known any more.
            execution = Execution(self._registry, transaction)
            try:
                with transaction.savepoint():
                    value = self._run(execution, path, "mutation", args, True)
            except FunctionFailed as failed:
                error = failed.failure
            self._end_job(transaction, document, error)
            timestamp = transaction.commit()
        return MutationOutcome(value, error, lines, None if error else timestamp)

    def claim_action(self, job_id: str) -> bool:
        """Note that a scheduled action begins; False if it is no longer pending.

        From here on it will not be begun again, whatever happens to it.
        """
        with self._transaction() as transaction:
            document = pending_job(transaction, job_id)
            if document is not None:
                start_job(transaction, document)
            transaction.commit()
        return document is not None

    def finish_action(self, job_id: str, error: FunctionFailure | None) -> None:
        """Note how a claimed action ended, unless it has been canceled meanwhile."""
        with self._transaction() as transaction:
            document = transaction.get(job_id)
            if document is not None and document["state"]["kind"] == "inProgress":
                self._end_job(transaction, document, error)
            transaction.commit()

    def _end_job(
        self,
        transaction: Transaction,
        document: dict[str, Any],
        error: FunctionFailure | None,
    ) -> None:
        transaction.lift_limits()
        if error is None:
            finish_job(transaction, document, "success")
        else:
            finish_job(transaction, document, "failed", error.text)
        self._jobs_ended += 1
        if self._jobs_ended % JOBS_BETWEEN_PRUNINGS == 0:
            prune_jobs(transaction)

    def _prepare_jobs(self) -> None:
        """Bring the stored jobs to where this deployment starts.

        Actions that were running when it ended are not run again.
        """
        with self._transaction() as transaction:
            transaction.lift_limits()
            for document in jobs_in_progress(transaction):
                finish_job(transaction, document, "failed", INTERRUPTED)
            store_cron_jobs(transaction, self._registry.crons)
            prune_jobs(transaction)
            transaction.commit()

    def _job(self, document: dict[str, Any]) -> Job:
        path, _ = _call_of(document)
        function = self._registry.get(path)
        is_action = function is not None and function.kind == "action"
        return Job(
            id=document["_id"],
            path=path,
            args_json=encode(document["args"][0]),
            scheduled_time=document["scheduledTime"],
            kind="action" if is_action else "mutation",
        )


def _call_of(document: dict[str, Any]) -> tuple[str, JsonValue]:
    """Path and argument object of a job."""
    return str(parse_path(document["name"])), to_json(document["args"][0])


def _ignore(*_: object) -> None:
    pass
