"""Runs one query or mutation, with the functions that it calls, in one transaction.

Arguments and results are checked against the function's validators, with Convex's
texts; they cross between functions as JSON, so that none shares a list with another.
Handlers are `async def`, yet nothing is waited for: they are driven to their end at
once, and awaiting anything but `ctx` is an error. Beginning and committing the
transaction is up to `engine`.
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from typing import Any

from kit.deployment.contexts import MutationCtx, QueryCtx
from kit.deployment.deadline import FunctionTimedOut
from kit.deployment.failures import (
    FunctionFailure,
    UsageError,
    exception_of,
    failure_of,
)
from kit.deployment.functions import Function, FunctionKind, FunctionRegistry
from kit.deployment.identity import UserIdentity
from kit.deployment.jobs import cancel_job, schedule_job
from kit.deployment.pagination import Journal
from kit.deployment.queries import Query
from kit.deployment.transaction import Transaction
from kit.errors import DatabaseError
from kit.values import (
    InvalidValue,
    JsonValue,
    ValidationFailed,
    Value,
    decode_trusted,
    encode,
    format_bytes,
    from_json,
    size_of,
    to_json,
)
from kit.values.render import debug
from kit.values.validators import TableOfId

__all__ = [
    "Execution",
    "FunctionFailed",
    "check_args",
    "check_result",
    "find_function",
]

MAX_ARGS_SIZE = 16 * 1024 * 1024
MAX_RESULT_SIZE = 16 * 1024 * 1024


class FunctionFailed(Exception):
    """A function could not be run, or raised; `failure` is what its caller is told."""

    def __init__(self, failure: FunctionFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Execution:
    """One top-level call: the `Runner` of each `ctx` that is made for it."""

    def __init__(
        self,
        registry: FunctionRegistry,
        transaction: Transaction,
        identity: UserIdentity | None = None,
    ) -> None:
        self.transaction = transaction
        self.identity_read = False
        """Whether a function has asked who calls."""
        self._registry = registry
        self._identity = identity

    def run(
        self, function: Function, args: JsonValue, journal: Journal | None = None
    ) -> str:
        """Run `function`; returns its result as Convex JSON text.

        `journal`: of its paginated query, if it has one. Raises FunctionFailed, or what
        must not be taken for its failure: DatabaseError, FunctionTimedOut,
        KeyboardInterrupt.
        """
        table_of = self.transaction.table_of_id
        values = check_args(function, args, table_of)
        make = QueryCtx if function.kind == "query" else MutationCtx
        ctx = make(self, journal or Journal())
        try:
            result = _drive(function.handler(ctx, values))
            _check_is_result(result)
        except (DatabaseError, FunctionTimedOut, KeyboardInterrupt):
            raise
        except BaseException as error:
            failure = failure_of(error, *self._registry.folders)
            raise FunctionFailed(failure) from error
        return check_result(function, result, table_of)

    # --- what `ctx` calls -----------------------------------------------------

    def user_identity(self) -> dict[str, Any] | None:
        self.identity_read = True
        return None if self._identity is None else self._identity.attributes()

    def call_query(self, path: str, args: dict[str, Any] | None) -> Value:
        return self._call(path, "query", args)

    def call_mutation(self, path: str, args: dict[str, Any] | None) -> Value:
        with self.transaction.savepoint():
            return self._call(path, "mutation", args)

    def schedule(self, path: str, args: dict[str, Any] | None, due_ms: float) -> str:
        values = from_json(_plain_args(args))
        return schedule_job(self.transaction, self._registry, path, values, due_ms)

    def cancel(self, job_id: str) -> None:
        cancel_job(self.transaction, job_id)

    def _call(
        self, path: str, kind: FunctionKind, args: dict[str, Any] | None
    ) -> Value:
        try:
            function = find_function(self._registry, path, kind, internal=True)
            return decode_trusted(self.run(function, _plain_args(args)))
        except FunctionFailed as error:
            raise exception_of(error.failure) from error


def find_function(
    registry: FunctionRegistry, path: str, kind: FunctionKind, *, internal: bool
) -> Function:
    """The function to run; internal ones only if `internal`. Raises FunctionFailed."""
    try:
        function = registry.get(path)
    except ValueError as error:
        text = f"{path} is not a valid path to a Convex function. {error}"
        raise FunctionFailed(FunctionFailure(text)) from None
    # The same text for both, so that internal functions cannot be found out.
    if function is None or (function.internal and not internal):
        text = f"Could not find public function for '{path}'."
        raise FunctionFailed(FunctionFailure(text))
    if function.kind != kind:
        text = (
            f"Trying to execute {function.path.canonical} as {kind.capitalize()}, "
            f"but it is defined as {function.kind.capitalize()}."
        )
        raise FunctionFailed(FunctionFailure(text))
    return function


def check_args(
    function: Function, args: JsonValue, table_of: TableOfId
) -> dict[str, Value]:
    """The argument object as values. Raises FunctionFailed when it does not fit."""
    name = function.path.canonical
    try:
        values = from_json(args)
    except InvalidValue as error:
        text = f"Invalid arguments for {name}: {error}"
        raise FunctionFailed(FunctionFailure(text)) from None
    if not isinstance(values, dict):
        raise _args_invalid(
            "Expected to receive an object as the function's argument. "
            f"Instead received: {debug(values)}"
        )
    size = size_of(values)
    if size > MAX_ARGS_SIZE:
        text = (
            f"Arguments for {name} are too large (actual: {format_bytes(size)}, "
            f"limit: {format_bytes(MAX_ARGS_SIZE)})"
        )
        raise FunctionFailed(FunctionFailure(text))
    if function.args is not None:
        try:
            function.args.check(values, table_of)
        except ValidationFailed as error:
            raise _args_invalid(str(error)) from None
    return values


def check_result(function: Function, result: Value, table_of: TableOfId) -> str:
    """The result as Convex JSON text. Raises FunctionFailed when it does not fit."""
    name = function.path.canonical
    try:
        text = encode(result)
    except InvalidValue as error:
        problem = f"Uncaught Error: Return value of {name} is invalid: {error}"
        raise FunctionFailed(FunctionFailure(problem)) from None
    # No value is larger than four bytes for each character of its text.
    if len(text) * 4 > MAX_RESULT_SIZE and size_of(result) > MAX_RESULT_SIZE:
        problem = (
            f"Function {name} return value is too large "
            f"(actual: {format_bytes(size_of(result))}, "
            f"limit: {format_bytes(MAX_RESULT_SIZE)})"
        )
        raise FunctionFailed(FunctionFailure(problem))
    if function.returns is not None:
        try:
            function.returns.check(result, table_of)
        except ValidationFailed as error:
            problem = f"ReturnsValidationError: {error}\n"
            raise FunctionFailed(FunctionFailure(problem)) from None
    return text


def _args_invalid(details: str) -> FunctionFailed:
    # With a line end of its own, as Convex has it.
    return FunctionFailed(FunctionFailure(f"ArgumentValidationError: {details}\n"))


def _plain_args(args: dict[str, Any] | None) -> JsonValue:
    try:
        return to_json({} if args is None else args)
    except InvalidValue as error:
        raise UsageError(f"Invalid arguments: {error}") from None


def _drive(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """What `coroutine` returns, without waiting for anything."""
    try:
        awaited = coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise UsageError(
        "A query or mutation may only await the methods of `ctx`, one after the other; "
        f"this one awaited {awaited!r}. asyncio's sleep, gather, tasks and all I/O "
        "belong in an action"
    )


def _check_is_result(result: object) -> None:
    """Raises UsageError for what is returned when an `await` was forgotten."""
    if isinstance(result, Query):
        raise UsageError(
            "Return value is a Query. Results must be retrieved with `.collect()`, "
            "`.take(n)`, `.unique()`, or `.first()`."
        )
    if inspect.iscoroutine(result):
        result.close()
        raise UsageError("Return value is a coroutine: an `await` is missing")
