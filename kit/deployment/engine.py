"""Runs queries and mutations against the database; synchronous, never awaits.

(Signatures first: the bodies follow in the next commits.)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kit.deployment.database import Database
from kit.deployment.failures import FunctionFailure
from kit.deployment.functions import Function, FunctionRegistry
from kit.deployment.read_sets import ReadSet, WriteSet
from kit.values import JsonValue

__all__ = [
    "Engine",
    "FunctionFailure",
    "Job",
    "MutationOutcome",
    "QueryOutcome",
    "ReadSet",
    "WriteSet",
]


@dataclass(frozen=True)
class QueryOutcome:
    """What a query came to: a value or an error, and what it read at `timestamp`."""

    value_json: str | None
    error: FunctionFailure | None
    log_lines: list[str]
    read_set: ReadSet
    timestamp: int


@dataclass(frozen=True)
class MutationOutcome:
    """What a mutation came to; `timestamp` of its commit, None when it failed."""

    value_json: str | None
    error: FunctionFailure | None
    log_lines: list[str] = field(default_factory=list)
    timestamp: int | None = None
    replayed: bool = False
    """Whether this is the stored outcome of an earlier request of the session."""


@dataclass(frozen=True)
class Job:
    """A scheduled function that is due."""

    id: str
    path: str
    args_json: str  # the one argument object, Convex JSON text
    scheduled_time: float  # ms since the epoch
    kind: str  # "mutation" or "action"; "missing" when no such function is served now


class Engine:
    on_commit: Callable[[int, WriteSet], None]  # (timestamp, keys by index id)
    on_schedule: Callable[[float], None]  # due time, ms since the epoch

    def __init__(
        self,
        database: Database,
        registry: FunctionRegistry,
        *,
        now: Callable[[], float] = time.time,
        time_limit: float = 1.0,
    ) -> None: ...

    @property
    def latest_timestamp(self) -> int: ...

    def run_query(
        self, path: str, args: JsonValue, *, internal: bool = False
    ) -> QueryOutcome: ...

    def run_mutation(
        self,
        path: str,
        args: JsonValue,
        *,
        internal: bool = False,
        session: tuple[str, int] | None = None,
    ) -> MutationOutcome: ...

    # Actions run elsewhere; their arguments and results are checked here.
    def check_action(
        self, path: str, args: JsonValue, *, internal: bool = False
    ) -> Function | FunctionFailure: ...

    def check_action_result(
        self, path: str, value: JsonValue
    ) -> FunctionFailure | None: ...

    # The scheduler's loop. A mutation job: run_job. An action job: claim_action,
    # run it, finish_action.
    def schedule(
        self, path: str, args: JsonValue, due_ms: float, *, by_job: str | None = None
    ) -> str | FunctionFailure: ...

    def cancel(self, job_id: str) -> FunctionFailure | None: ...

    def due_jobs(self, now_ms: float, limit: int = 8) -> list[Job]: ...

    def next_due_ms(self) -> float | None: ...

    def run_job(self, job_id: str) -> MutationOutcome | None: ...

    def claim_action(self, job_id: str) -> bool: ...

    def finish_action(self, job_id: str, error: FunctionFailure | None) -> None: ...
