"""The parts of a running deployment, put together.

Holds the engine, the followed queries, the actions and the scheduler, and runs what
clients ask for: the WebSocket sessions and the HTTP calls both come through here. It
knows no transport.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

from convex import ConvexError
from msgspec import Raw

from kit.deployment.actions import ActionOutcome, Actions
from kit.deployment.auth import Authenticator
from kit.deployment.engine import Engine, MutationOutcome, QueryOutcome
from kit.deployment.failures import FunctionFailure, failure_of
from kit.deployment.functions import FunctionRegistry
from kit.deployment.identity import NOBODY, Identity
from kit.deployment.read_sets import ReadSet, WriteSet
from kit.deployment.requests import decode_args, loggable
from kit.deployment.scheduler import Scheduler
from kit.deployment.subscriptions import Subscriptions
from kit.values import JsonValue

__all__ = ["Runtime"]

log = logging.getLogger(__name__)

LOAD_IT = "Is it in the folder of functions that this deployment was started with?"
SIGN_IN = (
    "You are not signed in, and this deployment answers nobody who is not. Give the "
    "client a user's token or the admin key; or start the deployment with --open, to "
    "let everybody call its public functions."
)


class Runtime:
    """One deployment; made and used in one event loop.

    `functions` are the folders that the engine's registry was loaded from. Without
    `auth`, there are no users and no admin. If `auth` is closed, what a client that
    shows nothing calls fails with the ConvexError `Unauthenticated`, whatever it is.
    """

    def __init__(
        self,
        engine: Engine,
        functions: Sequence[Path],
        *,
        auth: Authenticator | None = None,
        executor_options: Sequence[str] = (),
    ) -> None:
        self.engine = engine
        self.auth = auth or Authenticator()
        sign_in = ConvexError(SIGN_IN, {"code": "Unauthenticated", "message": SIGN_IN})
        self._closed = failure_of(sign_in, *functions)
        self.subscriptions = Subscriptions(self._run_query)
        self._functions = functions
        self.actions = Actions(engine, functions, options=executor_options)
        self.scheduler = Scheduler(engine, self.actions)
        self._background: set[asyncio.Task[None]] = set()
        engine.on_commit = self._committed
        engine.on_schedule = self._scheduled

    def start(self) -> None:
        """Start what runs beside the requests, without waiting for it."""
        self.actions.start()
        self.scheduler.start()

    async def aclose(self) -> None:
        """Stop. Actions still running fail; takes at most 2 s or so."""
        await self.scheduler.aclose()
        await self.actions.aclose()
        await asyncio.gather(*self._background, return_exceptions=True)

    def load_functions(self) -> list[str]:
        """Load the functions again, with their schema and cron jobs; all their paths.

        Who follows a query gets what it comes to now; actions that run, run on. Raises
        FunctionLoadError or DatabaseError, with everything as it was.
        """
        registry = FunctionRegistry.load(*self._functions)
        self.engine.change_functions(registry)
        self.actions.functions_changed()
        self.subscriptions.functions_changed()
        self.scheduler.wake()
        return registry.paths()

    # What clients ask for: `args` as they send them, `identity` as whom they act.

    def query(
        self,
        path: str,
        args: Raw,
        identity: Identity = NOBODY,
        *,
        at: int | None = None,
    ) -> QueryOutcome:
        """Run a query now; `at`: as of that timestamp. Raises NotKept for one that
        cannot be had."""
        decoded = decode_args(path, args)
        if isinstance(decoded, FunctionFailure):
            return QueryOutcome(None, decoded, [], ReadSet({}), 0)
        return self._run_query(path, decoded, identity, at=at)

    def mutation(
        self,
        path: str,
        args: Raw,
        identity: Identity = NOBODY,
        *,
        session: tuple[str, int] | None = None,
    ) -> MutationOutcome:
        """Run a mutation now; (session, request id) that were answered before get the
        stored answer.

        Whoever follows what it changed has been told when this returns.
        """
        decoded = self._refusal(identity) or decode_args(path, args)
        if isinstance(decoded, FunctionFailure):
            return MutationOutcome(None, decoded)
        started = time.perf_counter()
        outcome = self.engine.run_mutation(
            path,
            decoded,
            internal=identity.is_admin,
            identity=identity.user,
            session=session,
        )
        _note("mutation", path, outcome.error, started)
        return outcome

    async def action(
        self, path: str, args: Raw, identity: Identity = NOBODY
    ) -> ActionOutcome:
        """Run an action. Cancelled, the action goes on."""
        decoded = self._refusal(identity) or decode_args(path, args)
        if isinstance(decoded, FunctionFailure):
            return ActionOutcome(None, decoded)
        started = time.perf_counter()
        outcome = await self.actions.run(
            path, decoded, internal=identity.is_admin, identity=identity.user
        )
        _note("action", path, outcome.error, started)
        return outcome

    async def function(
        self, path: str, args: Raw, identity: Identity = NOBODY
    ) -> QueryOutcome | MutationOutcome | ActionOutcome:
        """Run a function, whatever it is."""
        if refusal := self._refusal(identity):
            return ActionOutcome(None, refusal)
        match self.engine.kind_of(path):
            case "query":
                return self.query(path, args, identity)
            case "mutation":
                return self.mutation(path, args, identity)
            case "action":
                return await self.action(path, args, identity)
            case None:
                text = f"Could not find function for '{path}'. {LOAD_IT}"
                return ActionOutcome(None, FunctionFailure(text))
            case kind:
                assert_never(kind)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that outlives who asked for it."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _run_query(
        self,
        path: str,
        args: JsonValue,
        identity: Identity,
        journal: str | None = None,
        *,
        at: int | None = None,
    ) -> QueryOutcome:
        if refusal := self._refusal(identity):
            return QueryOutcome(None, refusal, [], ReadSet({}), 0, identity_read=True)
        started = time.perf_counter()
        outcome = self.engine.run_query(
            path,
            args,
            internal=identity.is_admin,
            identity=identity.user,
            journal=journal,
            at=at,
        )
        _note("query", path, outcome.error, started)
        if self.auth.closed:
            # That is to ask who calls: nobody is to share the result of a user.
            outcome = replace(outcome, identity_read=True)
        return outcome

    def _refusal(self, identity: Identity) -> FunctionFailure | None:
        """What whoever may call nothing is told."""
        return self._closed if self.auth.closed and identity == NOBODY else None

    def _committed(self, timestamp: int, written: WriteSet) -> None:
        self.subscriptions.committed(written)

    def _scheduled(self, due_ms: float) -> None:
        self.scheduler.wake()


def _note(kind: str, path: str, error: FunctionFailure | None, started: float) -> None:
    """Log a run: never arguments, nor an error's text, which may quote them."""
    milliseconds = (time.perf_counter() - started) * 1000
    if error is None:
        log.debug("%s %s: done in %.1f ms", kind, loggable(path), milliseconds)
    else:
        kind_of_error = loggable(error.message.partition(": ")[0])
        log.info(
            "%s %s: failed in %.1f ms: %s",
            *(kind, loggable(path), milliseconds, kind_of_error),
        )
