"""The kit's functions on an engine of their own, without a server.

`Functions` runs queries and mutations (internal ones, too) against a database in a
folder, with a clock that tests turn, and the scheduler's jobs when a test says so.
Actions run in the test's event loop, with a `ctx` that reaches the same engine.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from convex import ConvexError

import kit.convex
from kit.deployment.database import Database
from kit.deployment.engine import Engine
from kit.deployment.failures import FunctionFailure
from kit.deployment.functions import FunctionRegistry, internal_mutation, internal_query
from kit.deployment.identity import UserIdentity
from kit.deployment.paths import FunctionPath
from kit.deployment.read_sets import ReadSet, WriteSet
from kit.values import decode, from_json, to_json

FOLDER = Path(kit.convex.__file__).parent


class Failed(Exception):
    """A function failed, other than with a ConvexError."""


@internal_query()
async def rows(ctx: Any, args: dict[str, Any]) -> Any:
    if args["table"].startswith("_"):
        return await ctx.db.system.query(args["table"]).collect()
    return await ctx.db.query(args["table"]).collect()


@internal_mutation()
async def patch(ctx: Any, args: dict[str, Any]) -> Any:
    await ctx.db.patch(args["id"], args["fields"])


@internal_mutation()
async def insert(ctx: Any, args: dict[str, Any]) -> Any:
    return await ctx.db.insert(args["table"], args["document"])


@internal_mutation()
async def delete(ctx: Any, args: dict[str, Any]) -> Any:
    await ctx.db.delete(args["id"])


OWN = {"rows": rows, "patch": patch, "insert": insert, "delete": delete}


class Functions:
    """`call` runs any query or mutation, as `user`; `now_ms` is the clock.

    The clock stands still until a test turns it; with `ticking`, it goes by itself.
    """

    def __init__(self, folder: Path, *, ticking: bool = False) -> None:
        self._ticking = ticking
        self._turned_ms = 0.0 if ticking else 1_700_000_000_000.0
        self.user: UserIdentity | None = None
        self._committed = asyncio.Event()
        registry = FunctionRegistry.load(FOLDER)
        own = {FunctionPath("test", name): function for name, function in OWN.items()}
        self.registry = replace(registry, functions={**registry.functions, **own})
        self.database = Database.open(folder, registry.schema)
        self.engine = Engine(
            self.database,
            self.registry,
            now=lambda: self.now_ms / 1000.0,
        )
        self.writes: list[WriteSet] = []
        self.engine.on_commit = self._note_commit
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def close(self) -> None:
        self.database.close()

    @property
    def now_ms(self) -> float:
        return self._turned_ms + (time.time() * 1000.0 if self._ticking else 0.0)

    def turn(self, milliseconds: float) -> None:
        """Turn the clock, and run nothing."""
        self._turned_ms += milliseconds

    def _note_commit(self, _: int, written: WriteSet) -> None:
        self.writes.append(written)
        self._committed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a commit that makes it true."""
        while not condition():
            self._committed.clear()
            await self._committed.wait()

    def call(
        self, path: str, args: Mapping[str, Any] | None = None, **more: Any
    ) -> Any:
        """The function's value. Raises ConvexError, or Failed with the error's text."""
        given = {**(args or {}), **more}
        self.calls.append((path, given))
        function = self.registry.get(path)
        assert function is not None
        encoded = to_json(given)
        if function.kind == "query":
            value, error = self.query(path, encoded)[:2]
        else:
            outcome = self.engine.run_mutation(
                path, encoded, internal=True, identity=self.user
            )
            value, error = outcome.value_json, outcome.error
        return _value_or_raise(value, error)

    def query(
        self, path: str, args: Any
    ) -> tuple[str | None, FunctionFailure | None, ReadSet]:
        outcome = self.engine.run_query(path, args, internal=True, identity=self.user)
        return outcome.value_json, outcome.error, outcome.read_set

    def read_set(self, path: str, **args: Any) -> ReadSet:
        return self.query(path, to_json(args))[2]

    def rows(self, table: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("test:rows", table=table)
        return found

    def jobs(self) -> list[dict[str, Any]]:
        """What is scheduled and has not run."""
        return [
            job
            for job in self.rows("_scheduled_functions")
            if job["state"]["kind"] == "pending"
        ]

    def advance(self, milliseconds: float) -> None:
        """Turn the clock, and run the mutations that fall due, each in its time."""
        until = self.now_ms + milliseconds
        while True:
            due = [j for j in self.engine.due_jobs(until) if j.kind == "mutation"]
            if not due:
                break
            self.turn(max(due[0].scheduled_time - self.now_ms, 0.0))
            outcome = self.engine.run_job(due[0].id)
            assert outcome is not None
            assert outcome.error is None, outcome.error.text
        self.turn(max(until - self.now_ms, 0.0))

    async def action(self, path: str, **args: Any) -> Any:
        """Run an action as the deployment would, arguments and result checked."""
        found = self.engine.check_action(path, to_json(args), internal=True)
        if isinstance(found, FunctionFailure):
            raise Failed(found.text)
        value = await found(ActionCtx(self), from_json(to_json(args)))
        failure = self.engine.check_action_result(path, to_json(value))
        assert failure is None, failure.text
        return value


class ActionCtx:
    """An action's `ctx`, in this process."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    async def run_query(self, path: str, args: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        return self._functions.call(path, args)

    async def run_mutation(self, path: str, args: dict[str, Any]) -> Any:
        await asyncio.sleep(0)
        return self._functions.call(path, args)


def _value_or_raise(value: str | None, error: FunctionFailure | None) -> Any:
    if error is None:
        assert value is not None
        return decode(value)
    if error.data_json is not None:
        raise ConvexError(error.message, decode(error.data_json))
    raise Failed(error.text)
