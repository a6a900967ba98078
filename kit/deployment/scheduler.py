"""Runs scheduled functions when they are due.

Holds the loop and what it has running; the jobs themselves are documents, kept by the
engine, so they survive a restart. A scheduled mutation runs exactly once: its effects
and the job's new state are one commit. A scheduled action runs at most once: it is
claimed before it starts, and one that was running when the deployment ended has
failed. At most `PARALLELISM` scheduled actions run at a time; mutations never wait for
them. Mirrors `scheduled_jobs` of Convex's backend.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from kit.deployment.actions import ActionOutcome
from kit.deployment.engine import Engine, Job
from kit.deployment.failures import FunctionFailure
from kit.deployment.requests import loggable
from kit.values import JsonValue

__all__ = ["PARALLELISM", "Scheduler"]

log = logging.getLogger(__name__)

PARALLELISM = 8
# Jobs looked at in one round. More than PARALLELISM, so that a mutation is seen behind
# actions that wait for their turn.
ROUND = 256
# A clock may be set while we sleep, so sleep is bounded.
LONGEST_SLEEP = 30.0  # s
# When what is due has to wait for its turn, something else may become due meanwhile.
SLEEP_WHEN_FULL = 0.1  # s
AFTER_AN_ERROR = 1.0  # s


class ActionRunner(Protocol):
    """What runs an action: the deployment's `Actions`."""

    async def run(
        self, path: str, args: JsonValue, *, internal: bool, job_id: str | None
    ) -> ActionOutcome: ...


class Scheduler:
    """The loop of one deployment. `now` is the time in seconds since the epoch."""

    def __init__(
        self,
        engine: Engine,
        actions: ActionRunner,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._actions = actions
        self._now = now
        self._wake = asyncio.Event()
        self._loop: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start the loop."""
        self._loop = asyncio.create_task(self._run(), name="scheduler")

    async def aclose(self) -> None:
        """Stop. An action that is running stays claimed: it has failed at restart."""
        tasks = [*self._running, *([self._loop] if self._loop else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """A job was scheduled or canceled: look again."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._run_due()
                pause = self._pause()
            except Exception:
                # The disk is full, say. The jobs are still there.
                log.exception("The scheduler could not run its jobs; trying again")
                pause = AFTER_AN_ERROR
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _run_due(self) -> None:
        for job in self._engine.due_jobs(self._now() * 1000.0, ROUND):
            if job.kind == "action":
                self._start_action(job)
            else:
                _note(job, self._run_mutation(job))
            # Others have their turn between two functions.
            await asyncio.sleep(0)

    def _pause(self) -> float:
        """Seconds until the next job is due."""
        due = self._engine.next_due_ms()
        if due is None:
            return LONGEST_SLEEP
        seconds = due / 1000.0 - self._now()
        if seconds <= 0 and len(self._running) >= PARALLELISM:
            return SLEEP_WHEN_FULL
        return min(max(seconds, 0.0), LONGEST_SLEEP)

    def _run_mutation(self, job: Job) -> FunctionFailure | None:
        outcome = self._engine.run_job(job.id)
        return None if outcome is None else outcome.error

    def _start_action(self, job: Job) -> None:
        if len(self._running) >= PARALLELISM or not self._engine.claim_action(job.id):
            return
        task = asyncio.create_task(self._run_action(job), name=f"job {job.id}")
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()

    async def _run_action(self, job: Job) -> None:
        args = msgspec.json.decode(job.args_json)
        try:
            outcome = await self._actions.run(
                job.path, args, internal=True, job_id=job.id
            )
            _note(job, outcome.error)
            self._engine.finish_action(job.id, outcome.error)
        except Exception:
            # It stays in progress, and will have failed at the next start.
            log.exception("The end of scheduled action %s was not stored", job.id)


def _note(job: Job, error: FunctionFailure | None) -> None:
    """Log how it went; the whole text of an error is in the job's document."""
    if error is None:
        log.debug("scheduled %s %s: done", job.kind, job.path)
    else:
        log.warning(
            "scheduled %s %s failed: %s (job %s)",
            *(job.kind, job.path, loggable(error.message.partition(": ")[0]), job.id),
        )
