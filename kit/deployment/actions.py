"""The actions that run, and the executor process that runs them.

Holds who waits for which action; carries what actions ask to the engine. An executor
is started with the deployment and replaced when it dies: the actions it was running
fail, since nobody knows how far they had come, and those that come while there is none
wait for the next. When the functions have changed it is replaced, too, and ends once
the actions that it is running have ended. The process is in `executor_process`, what
runs there in `executor`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, assert_never

import msgspec
from msgspec import Raw

from kit.deployment.engine import Engine, MutationOutcome, QueryOutcome
from kit.deployment.executor_process import ExecutorProcess
from kit.deployment.executor_protocol import (
    Answer,
    Call,
    Cancel,
    Done,
    Ready,
    Run,
    Schedule,
)
from kit.deployment.failures import FunctionFailure
from kit.deployment.identity import UserIdentity
from kit.values import JsonValue

__all__ = ["INTERNAL", "TRANSIENT", "ActionOutcome", "Actions"]

log = logging.getLogger(__name__)

# Convex's text for an action that was lost with the process that ran it.
TRANSIENT = FunctionFailure("Transient error while executing action")
# Convex's text for what is not the function's fault.
INTERNAL = FunctionFailure("Your request couldn't be completed. Try again later.")

FIRST_DELAY = 0.2  # s until the next start, doubled when it does not become ready
LONGEST_DELAY = 5.0  # s


@dataclass(frozen=True, slots=True)
class ActionOutcome:
    """What an action came to: JSON text of its value, or an error."""

    value_json: str | None
    error: FunctionFailure | None
    log_lines: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an action comes from; what it calls comes from there, too."""

    identity: UserIdentity | None = None
    """Who called it."""
    job_id: str | None = None
    """The job that it runs for: what it schedules is canceled with that."""


NOWHERE = Origin()


class NoExecutor(Exception):
    """There is no executor for those who wait; the text says why."""


class _Executor:
    """An executor, and what runs in it."""

    def __init__(self, process: ExecutorProcess) -> None:
        self.send = process.send
        self._ask_to_end = process.close_input
        # By run id; done with None when the process ends first.
        self.runs: dict[int, asyncio.Future[Done | None]] = {}
        self._retired = False

    def retire(self) -> None:
        """Let it end as soon as nothing runs in it."""
        self._retired = True
        self._end_if_unused()

    def ended(self, run_id: int) -> None:
        """Note that a run is over."""
        self.runs.pop(run_id, None)
        self._end_if_unused()

    def _end_if_unused(self) -> None:
        if self._retired and not self.runs:
            self._ask_to_end()


class Actions:
    """Runs actions for `engine`; `start` and `aclose` bracket its life, in one loop."""

    def __init__(
        self, engine: Engine, functions: Sequence[Path], *, options: Sequence[str] = ()
    ) -> None:
        """`functions`: the folders that the engine's registry was loaded from.
        `options`: further command line options of the executor."""
        self._engine = engine
        self._command = [
            *(sys.executable, "-m", "kit.deployment.executor"),
            *(f"--functions={folder}" for folder in functions),
            *options,
        ]
        # One, and those of executors that are to end.
        self._supervisors: set[asyncio.Task[None]] = set()
        # The executor that has been started last, and how often functions have changed.
        self._newest: _Executor | None = None
        self._generation = 0
        # Done while there is an executor that is ready. Failed when one did not start,
        # for those who waited for it, and when the deployment stops.
        self._executor: asyncio.Future[_Executor] = _future()
        self._run_ids = itertools.count()
        # By run id, while the action runs.
        self._origins: dict[int, Origin] = {}
        # Actions called by actions.
        self._nested: set[asyncio.Task[None]] = set()
        # How many executors there have been.
        self.starts = 0

    def start(self) -> None:
        """Start the executor, without waiting for it."""
        work = self._supervise(self._generation)
        supervisor = asyncio.create_task(work, name="executor")
        self._supervisors.add(supervisor)
        supervisor.add_done_callback(self._supervisors.discard)

    def functions_changed(self) -> None:
        """Run actions in a new executor from now on."""
        self._generation += 1
        if self._newest is not None:
            self._newest.retire()
        if self._executor.done():
            self._executor = _future()
        self.start()

    async def aclose(self) -> None:
        """Stop the executor; actions still running fail. Takes at most 2 s or so."""
        for supervisor in self._supervisors:
            supervisor.cancel()
        await asyncio.gather(*self._supervisors, return_exceptions=True)
        self._refuse("the deployment is stopping")
        await asyncio.gather(*self._nested, return_exceptions=True)

    # --- running --------------------------------------------------------------

    async def run(
        self,
        path: str,
        args: JsonValue,
        *,
        internal: bool = False,
        identity: UserIdentity | None = None,
        job_id: str | None = None,
    ) -> ActionOutcome:
        """Check and run an action; its outcome, also when it or the executor fails.

        `internal`: whether internal functions may be called. `identity`: who calls.
        `job_id`: the job that it is run for. Waits while an executor starts. Cancelled,
        the action goes on.
        """
        return await self._run(path, args, internal, Origin(identity, job_id))

    async def _run(
        self, path: str, args: JsonValue, internal: bool, origin: Origin
    ) -> ActionOutcome:
        checked = self._engine.check_action(path, args, internal=internal)
        if isinstance(checked, FunctionFailure):
            return ActionOutcome(None, checked)
        try:
            executor = await asyncio.shield(self._executor)
        except NoExecutor as error:
            return ActionOutcome(None, FunctionFailure(f"{TRANSIENT.message}: {error}"))
        done = await self._run_in(executor, path, args, origin)
        if done is None:
            return ActionOutcome(None, TRANSIENT)
        return self._outcome(path, done)

    async def _run_in(
        self, executor: _Executor, path: str, args: JsonValue, origin: Origin
    ) -> Done | None:
        run_id = next(self._run_ids)
        done: asyncio.Future[Done | None] = _future()
        executor.runs[run_id] = done
        self._origins[run_id] = origin
        try:
            executor.send(Run(run_id, path, args, origin.identity))
            return await done
        finally:
            self._origins.pop(run_id, None)
            executor.ended(run_id)

    def _outcome(self, path: str, done: Done) -> ActionOutcome:
        failure = done.failure
        if failure is None:
            value: JsonValue = msgspec.json.decode(done.value)
            failure = self._engine.check_action_result(path, value)
        if failure is not None:
            return ActionOutcome(None, failure, done.log_lines)
        return ActionOutcome(bytes(done.value).decode(), None, done.log_lines)

    # --- keeping an executor --------------------------------------------------

    async def _supervise(self, generation: int) -> None:
        """Have one executor after the other, until the functions have changed."""
        delay = FIRST_DELAY
        while generation == self._generation:
            self.starts += 1
            try:
                process = await ExecutorProcess.start(self._command)
                was_ready = await self._live(process, generation)
                ending = process.ending
            except OSError as error:
                was_ready, ending = False, str(error)
            if generation != self._generation:
                return
            how = ending.partition("\n")[0]
            if was_ready:
                log.warning("The executor ended (%s); starting another", how)
                delay = FIRST_DELAY
            else:
                log.error("The executor did not start (%s); trying again", how)
                self._refuse(f"the executor did not start. {ending}")
                self._executor = _future()
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)

    async def _live(self, process: ExecutorProcess, generation: int) -> bool:
        """Serve one executor from its start to its end; whether it became ready."""
        executor = _Executor(process)
        if generation == self._generation:
            self._newest = executor
        else:  # they changed while it was started
            executor.retire()
        was_ready = False
        try:
            async for message in process.messages():
                if isinstance(message, Ready):
                    was_ready = True
                    if generation == self._generation:
                        self._executor.set_result(executor)
                else:
                    self._serve(executor, message)
                    # Others have their turn between two functions.
                    await asyncio.sleep(0)
        except ValueError:
            log.exception("The executor said what it should not; replacing it")
        finally:
            # In this order: who comes now is to wait for the next one.
            if was_ready and generation == self._generation:
                self._executor = _future()
            for done in executor.runs.values():
                if not done.done():
                    done.set_result(None)
            await process.stop()
        return was_ready

    def _refuse(self, reason: str) -> None:
        """Tell those who wait that there is no executor."""
        if not self._executor.done():
            self._executor.set_exception(NoExecutor(reason))
            self._executor.exception()  # seen, also when nobody waits

    # --- what actions ask for -------------------------------------------------

    def _serve(
        self, executor: _Executor, message: Done | Call | Schedule | Cancel
    ) -> None:
        match message:
            case Done():
                done = executor.runs.get(message.run_id)
                if done is not None and not done.done():
                    done.set_result(message)
            case Call(kind="action"):
                task = asyncio.create_task(self._run_nested(executor, message))
                self._nested.add(task)
                task.add_done_callback(self._nested.discard)
            case Call() | Schedule() | Cancel():
                executor.send(self._answer(message))
            case _:
                assert_never(message)

    def _answer(self, message: Call | Schedule | Cancel) -> Answer:
        try:
            match message:
                case Call():
                    return _answer_of(message.call_id, self._call(message))
                case Schedule():
                    return self._schedule(message)
                case Cancel():
                    failure = self._engine.cancel(message.job_id)
                    return Answer(message.call_id, failure=failure)
                case _:
                    assert_never(message)
        except Exception:
            log.exception("What an action asked for failed in the deployment")
            return Answer(message.call_id, failure=INTERNAL)

    def _call(self, message: Call) -> QueryOutcome | MutationOutcome:
        run = (
            self._engine.run_query
            if message.kind == "query"
            else self._engine.run_mutation
        )
        identity = self._origin(message).identity
        return run(message.path, message.args, internal=True, identity=identity)

    def _schedule(self, message: Schedule) -> Answer:
        scheduled = self._engine.schedule(
            message.path,
            message.args,
            message.due_ms,
            by_job=self._origin(message).job_id,
        )
        if isinstance(scheduled, FunctionFailure):
            return Answer(message.call_id, failure=scheduled)
        return Answer(message.call_id, Raw(msgspec.json.encode(scheduled)))

    def _origin(self, message: Call | Schedule) -> Origin:
        """Of the action that asks; nowhere when that has ended meanwhile."""
        return self._origins.get(message.run_id, NOWHERE)

    async def _run_nested(self, executor: _Executor, message: Call) -> None:
        origin = self._origin(message)
        try:
            outcome = await self._run(message.path, message.args, True, origin)
        except Exception:
            log.exception("An action called by an action failed in the deployment")
            outcome = ActionOutcome(None, INTERNAL)
        executor.send(_answer_of(message.call_id, outcome))


def _answer_of(
    call_id: int, outcome: QueryOutcome | MutationOutcome | ActionOutcome
) -> Answer:
    if outcome.error is not None:
        return Answer(call_id, failure=outcome.error)
    assert outcome.value_json is not None
    return Answer(call_id, Raw(outcome.value_json))


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()
