"""The `ctx` of an action.

An action may await anything, but reaches documents only through functions: each
`run_*` is a transaction of its own in the deployment. Holds no pipe: `ask` carries a
request there and brings the answer.
"""

from __future__ import annotations

import math
import time
from datetime import datetime
from typing import Any, Literal, Protocol

from kit.deployment.contexts import Auth, due_time, time_in_ms
from kit.deployment.failures import UsageError
from kit.deployment.identity import UserIdentity
from kit.deployment.not_offered import NotOffered
from kit.values import InvalidValue, JsonValue, Value, to_json

__all__ = ["ActionCtx", "Deployment"]


class Deployment(Protocol):
    """What an action can ask of the deployment, on behalf of one run.

    Each raises what the action sees: ConvexError for one that the function raised,
    UsageError for any other failure.
    """

    async def call(
        self, kind: Literal["query", "mutation", "action"], path: str, args: JsonValue
    ) -> Value: ...

    async def schedule(self, path: str, args: JsonValue, due_ms: float) -> str: ...

    async def cancel(self, job_id: str) -> None: ...


class ActionCtx:
    """What an action is given as `ctx`. Usable until the action ends."""

    storage = NotOffered("File storage (`ctx.storage`)")
    meta = NotOffered("Function metadata (`ctx.meta`)")
    vector_search = NotOffered("Vector search (`ctx.vectorSearch`)")

    def __init__(
        self, deployment: Deployment, identity: UserIdentity | None = None
    ) -> None:
        self._deployment = deployment
        self.scheduler = ActionScheduler(deployment)
        self.auth = Auth(lambda: None if identity is None else identity.attributes())

    async def run_query(self, path: str, args: dict[str, Any] | None = None) -> Value:
        """Run a query at the newest state. Raises as it does."""
        return await self._deployment.call("query", _path_of(path), _args_of(args))

    async def run_mutation(
        self, path: str, args: dict[str, Any] | None = None
    ) -> Value:
        """Run a mutation; it is committed when this returns. Raises as it does.

        Cancelled, the mutation may run nevertheless.
        """
        return await self._deployment.call("mutation", _path_of(path), _args_of(args))

    async def run_action(self, path: str, args: dict[str, Any] | None = None) -> Value:
        """Run another action and wait for it. Raises as it does.

        Cancelled, that action goes on.
        """
        return await self._deployment.call("action", _path_of(path), _args_of(args))

    def now(self) -> float:
        """Ms since the epoch, a whole number. In an action, time passes."""
        return float(math.floor(time.time() * 1000.0))


class ActionScheduler:
    """`ctx.scheduler` of an action: what it schedules is scheduled at once."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    async def run_after(
        self, delay_ms: float, path: str, args: dict[str, Any] | None = None
    ) -> str:
        """Run a mutation or an action `delay_ms` from now; the job's id."""
        due_ms = due_time(delay_ms, time.time() * 1000.0)
        return await self.run_at(due_ms, path, args)

    async def run_at(
        self, due: float | datetime, path: str, args: dict[str, Any] | None = None
    ) -> str:
        """Run a mutation or an action at a time; the job's id.

        The time is in ms since the epoch, or a datetime.
        """
        due_ms = time_in_ms(due)
        if not math.isfinite(due_ms):
            raise UsageError("The invoke time must be a finite number")
        return await self._deployment.schedule(_path_of(path), _args_of(args), due_ms)

    async def cancel(self, job_id: str) -> None:
        """Do not run the job if it has not begun; let it schedule nothing if it has."""
        await self._deployment.cancel(_text_of(job_id, "The id of a job"))


# What is sent is of the type that it must have: the deployment takes anything else for
# an executor that has gone wrong.


def _path_of(path: object) -> str:
    return _text_of(path, "A function path")


def _text_of(text: object, what: str) -> str:
    if not isinstance(text, str):
        raise UsageError(f"{what} must be a string, not {text!r}")
    return text


def _args_of(args: dict[str, Any] | None) -> JsonValue:
    try:
        return to_json({} if args is None else args)
    except InvalidValue as error:
        raise UsageError(f"Invalid arguments: {error}") from None
