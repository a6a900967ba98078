"""The deployment's side of its executor process.

Holds the process, the actions that run in it and who waits for them; carries what they
ask to the engine. The process is started with the deployment and replaced when it
dies: the actions it was running fail, since nobody knows how far they had come, and
actions that come while there is none wait for the next one. What is run there is in
`executor`, what the two say to each other in `executor_protocol`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import signal
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, assert_never

import msgspec
from msgspec import Raw

from kit.deployment.engine import Engine, MutationOutcome, QueryOutcome
from kit.deployment.executor_protocol import (
    Answer,
    Call,
    Cancel,
    Done,
    Ready,
    Run,
    Schedule,
    ToExecutor,
    decode_from_executor,
    encode_line,
)
from kit.deployment.failures import FunctionFailure
from kit.values import JsonValue

__all__ = ["TRANSIENT", "ActionOutcome", "Actions"]

log = logging.getLogger(__name__)

# Convex's text for an action that was lost with the process that ran it.
TRANSIENT = FunctionFailure("Transient error while executing action")
INTERNAL = FunctionFailure("Your request couldn't be completed. Try again later.")

# One line holds a whole value, at most 16 MiB by Convex's measure.
MAX_LINE = 256 * 1024 * 1024
LOG_TAIL = 15  # lines
FIRST_DELAY = 0.2  # s
LONGEST_DELAY = 5.0  # s
STOP_TIMEOUT = 2.0  # s


@dataclass(frozen=True, slots=True)
class ActionOutcome:
    """What an action came to: JSON text of its value, or an error."""

    value_json: str | None
    error: FunctionFailure | None
    log_lines: list[str] = field(default_factory=list)


class ExecutorLost(Exception):
    """The executor did not start; the text says why."""


@dataclass(slots=True)
class _Process:
    """One executor, and what runs in it."""

    process: asyncio.subprocess.Process
    # Done with None when the executor ends first.
    runs: dict[int, asyncio.Future[Done | None]] = field(default_factory=dict)
    ready: bool = False

    def send(self, message: ToExecutor) -> None:
        """Queue one line. The executor always reads, so nothing piles up for long."""
        assert self.process.stdin is not None
        # Writing to a dead process raises nothing: its end is noticed on its stdout.
        self.process.stdin.write(encode_line(message))


class Actions:
    """Runs actions in an executor process for `functions`.

    `start` and `aclose` bracket its life; both in the deployment's loop.
    """

    def __init__(
        self,
        engine: Engine,
        functions: Path,
        *,
        options: Sequence[str] = (),
    ) -> None:
        """`options`: further command line options of the executor."""
        self._engine = engine
        self._command = [
            *(sys.executable, "-m", "kit.deployment.executor"),
            *("--functions", str(functions)),
            *options,
        ]
        self._supervisor: asyncio.Task[None] | None = None
        # Done when an executor is ready, or could not be started; then a new one.
        self._ready: asyncio.Future[_Process] = _future()
        self._run_ids = itertools.count()
        # The job that an action runs for, by run id: what it schedules dies with it.
        self._jobs: dict[int, str] = {}
        self._nested: set[asyncio.Task[None]] = set()
        # What the last executor said on stderr.
        self._log_tail: deque[str] = deque(maxlen=LOG_TAIL)
        # Goes up with each start; shown in the log.
        self.starts = 0

    def start(self) -> None:
        """Start the executor, without waiting for it."""
        self._supervisor = asyncio.create_task(self._supervise(), name="executor")

    async def aclose(self) -> None:
        """Stop the executor; actions still running fail. Takes at most 2 s."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        self._refuse("the deployment is stopping")
        await asyncio.gather(*self._nested, return_exceptions=True)

    async def run(
        self,
        path: str,
        args: JsonValue,
        *,
        internal: bool = False,
        job_id: str | None = None,
    ) -> ActionOutcome:
        """Check and run an action; its outcome, also when it or the executor fails.

        Waits while the executor starts. Cancelled, the action goes on.
        """
        checked = self._engine.check_action(path, args, internal=internal)
        if isinstance(checked, FunctionFailure):
            return ActionOutcome(None, checked)
        try:
            executor = await asyncio.shield(self._ready)
        except ExecutorLost as error:
            message = f"{TRANSIENT.message}: the executor did not start. {error}"
            return ActionOutcome(None, FunctionFailure(message))
        done = await self._run_in(executor, path, args, job_id)
        if done is None:
            return ActionOutcome(None, TRANSIENT)
        return self._outcome(path, done)

    async def _run_in(
        self, executor: _Process, path: str, args: JsonValue, job_id: str | None
    ) -> Done | None:
        run_id = next(self._run_ids)
        finished: asyncio.Future[Done | None] = _future()
        executor.runs[run_id] = finished
        if job_id is not None:
            self._jobs[run_id] = job_id
        try:
            executor.send(Run(run_id, path, args))
            return await finished
        finally:
            executor.runs.pop(run_id, None)
            self._jobs.pop(run_id, None)

    def _outcome(self, path: str, done: Done) -> ActionOutcome:
        failure = done.failure
        if failure is None:
            value: JsonValue = msgspec.json.decode(done.value)
            failure = self._engine.check_action_result(path, value)
        if failure is not None:
            return ActionOutcome(None, failure, done.log_lines)
        return ActionOutcome(bytes(done.value).decode(), None, done.log_lines)

    # --- the process ----------------------------------------------------------

    async def _supervise(self) -> None:
        """Keep one executor running. Ends only by being cancelled."""
        delay = FIRST_DELAY
        while True:
            was_ready, reason = await self._live()
            if was_ready:
                log.warning("The executor ended (%s); starting another", reason)
                delay = FIRST_DELAY
            else:
                log.error("The executor did not start (%s); trying again", reason)
                self._refuse(f"{reason}\n{self._last_words()}")
                self._ready = _future()
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)

    def _refuse(self, reason: str) -> None:
        """Fail those who wait for an executor."""
        self._ready.set_exception(ExecutorLost(reason))
        self._ready.exception()  # seen, also when nobody waits

    def _last_words(self) -> str:
        return "\n".join(self._log_tail) or "It said nothing on stderr."

    async def _live(self) -> tuple[bool, str]:
        """One executor from start to end: whether it was ready, and why it ended."""
        self.starts += 1
        self._log_tail.clear()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=MAX_LINE,
                # Ctrl-C in a terminal is for the deployment, which then ends this.
                start_new_session=True,
            )
        except OSError as error:
            return False, f"it could not be started: {error}"
        executor = _Process(process)
        stderr = asyncio.create_task(self._relay_stderr(process))
        try:
            await self._converse(executor)
            await _stop(process)
            # Its last words; not waited for long, as a child of its may hold the pipe.
            await asyncio.wait({stderr}, timeout=0.5)
            return executor.ready, _ending(process)
        finally:
            # In this order: who comes now is to wait for the next executor.
            if executor.ready:
                self._ready = _future()
            for finished in executor.runs.values():
                if not finished.done():
                    finished.set_result(None)
            await _stop(process)
            stderr.cancel()

    async def _converse(self, executor: _Process) -> None:
        """Serve what the executor says until it falls silent."""
        while line := await self._read_line(executor.process):
            try:
                message = decode_from_executor(line)
            except msgspec.MsgspecError:
                log.exception("The executor said what it should not")
                return
            if isinstance(message, Ready):
                executor.ready = True
                self._ready.set_result(executor)
            else:
                self._serve(executor, message)
                # Others have their turn between two functions.
                await asyncio.sleep(0)

    async def _read_line(self, process: asyncio.subprocess.Process) -> bytes:
        assert process.stdout is not None
        try:
            return await process.stdout.readline()
        except ValueError:
            log.exception("The executor sent a line longer than %d bytes", MAX_LINE)
            process.kill()
            return b""

    async def _relay_stderr(self, process: asyncio.subprocess.Process) -> None:
        """What functions print is the deployment's output; keep the last lines."""
        assert process.stderr is not None
        with contextlib.suppress(ValueError):  # a line without an end
            async for line in process.stderr:
                text = line.decode("utf-8", "replace")
                self._log_tail.append(text.rstrip("\n"))
                sys.stderr.write(text)
                sys.stderr.flush()

    # --- what actions ask for -------------------------------------------------

    def _serve(
        self, executor: _Process, message: Done | Call | Schedule | Cancel
    ) -> None:
        match message:
            case Done():
                finished = executor.runs.get(message.run_id)
                if finished is not None and not finished.done():
                    finished.set_result(message)
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
            log.exception("An action's request failed in the deployment")
            return Answer(message.call_id, failure=INTERNAL)

    def _call(self, message: Call) -> QueryOutcome | MutationOutcome:
        if message.kind == "query":
            return self._engine.run_query(message.path, message.args, internal=True)
        return self._engine.run_mutation(message.path, message.args, internal=True)

    def _schedule(self, message: Schedule) -> Answer:
        scheduled = self._engine.schedule(
            message.path,
            message.args,
            message.due_ms,
            by_job=self._jobs.get(message.run_id),
        )
        if isinstance(scheduled, FunctionFailure):
            return Answer(message.call_id, failure=scheduled)
        return Answer(message.call_id, Raw(msgspec.json.encode(scheduled)))

    async def _run_nested(self, executor: _Process, message: Call) -> None:
        job_id = self._jobs.get(message.run_id)
        outcome = await self.run(
            message.path, message.args, internal=True, job_id=job_id
        )
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


def _ending(process: asyncio.subprocess.Process) -> str:
    returncode = process.returncode
    if returncode is None or returncode >= 0:
        return f"exit code {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


async def _stop(process: asyncio.subprocess.Process) -> None:
    """End of stdin asks it to stop; SIGKILL after `STOP_TIMEOUT`."""
    if process.returncode is not None:
        return
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(STOP_TIMEOUT):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
