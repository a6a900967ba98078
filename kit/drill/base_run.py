"""What every run on processes does: wait for its turns, watch, strike, write down.

How messages are sent, what a fault does and what counts as an end is said by the kind
of run. Whatever does not come within its time, and every error that is not part of the
plan, is a problem in the record; nothing is judged here.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, get_args

from kit.client import Deployment
from kit.drill.history import (
    FaultSeen,
    ReplySeen,
    RunSeen,
    ViewerSeen,
    reply_row,
)
from kit.drill.lane import Lane
from kit.drill.schedule import Fault, Plan, ProviderFault, ReplyPlan
from kit.drill.viewers import LogViewer, Viewer
from kit.errors import DeploymentUnreachable

__all__ = ["PLAYED", "PROBE", "REPLY_LIMIT", "BaseRun", "all_of", "provider_of"]

PLAYED = (*get_args(ProviderFault), "overlap")
"""Faults that the provider plays, or that lie in when a message is sent."""
RUN_LIMIT = 60.0  # s
REPLY_LIMIT = 30.0  # s, from sending to the end; a dead producer is found in 3
SETTLE_LIMIT = 15.0  # s until every viewer has come to the end
CALL_LIMIT = 20.0  # s of trying while the deployment is away
FAILED = ("failed", None)  # None: in Convex there was no such reply
CHARACTERS = 4.3  # of a token of the scripted texts, on average
PROBE = ReplyPlan("openai/scripted-text:tokens=3,pace=0", tokens=3)

Call = Callable[[], Awaitable[Any]]


class BaseRun(ABC):
    """One plan being carried out. `calls` is a client that no fault disturbs."""

    def __init__(self, plan: Plan, lane: Lane, calls: Deployment) -> None:
        self.seen = RunSeen(plan)
        self._plan = plan
        self._lane = lane
        self._calls = calls
        self._started = time.monotonic()
        self._task_id = ""
        self._viewers: list[Viewer] = []
        self._control = LogViewer(ViewerSeen("", "log", 0.0), self.clock)
        self._forgotten: list[dict[str, Any]] = []  # what a killed provider had seen

    def clock(self) -> float:
        return time.monotonic() - self._started

    def note(self, problem: str) -> None:
        self.seen.problems.append(problem)

    async def carry_out(self) -> RunSeen:
        """Carry it out; what was seen. Never raises for what goes wrong in it."""
        try:
            async with asyncio.timeout(RUN_LIMIT):
                await self._play()
        except TimeoutError:
            self.note(f"the run did not end within {RUN_LIMIT:g} s")
        except Exception as error:
            self.note(f"{type(error).__name__}: {error}")
        finally:
            await all_of(viewer.close() for viewer in self._viewers)
        self.seen.seconds = self.clock()
        return self.seen

    async def _play(self) -> None:
        self._task_id = await self._create_task(f"Drill {self._plan.seed}")
        await self._join_all()
        self.seen.replies = [
            ReplySeen(self._client_id(index), calls=reply.calls)
            for index, reply in enumerate(self._plan.replies)
        ]
        await all_of(self._reply(index) for index in range(len(self._plan.replies)))
        await self._probe()
        await self._collect()
        await self._settle()

    # --- what a kind of run says ------------------------------------------------

    @abstractmethod
    async def _create_task(self, title: str) -> str: ...

    @abstractmethod
    async def _join_all(self) -> None:
        """Have the plan's viewers look; the first one is `_control`."""

    @abstractmethod
    async def _send(self, index: int, reply: ReplyPlan) -> None:
        """Send a message, again where it was lost; always with the same id."""

    @abstractmethod
    async def _strike_now(self, fault: Fault) -> None: ...

    @abstractmethod
    def _has_ended(self, index: int) -> bool: ...

    @abstractmethod
    def _is_up(self, viewer: Viewer) -> bool:
        """Whether a viewer has come to the end."""

    def _said(self, index: int) -> int:
        """How many characters of a reply there are so far."""
        row = self._row(index)
        return 0 if row is None else len(self._control.said(row["streamId"]))

    # --- replies ----------------------------------------------------------------

    async def _reply(self, index: int) -> None:
        await self._turn_of(index)
        faults = [f for f in self._plan.faults if f.reply == index]
        work = [self._send(index, self._plan.replies[index])]
        for fault in faults:
            if fault.phase == "before":
                work.append(self._strike_before(fault))
            elif fault.phase == "during" and fault.kind not in PLAYED:
                work.append(self._strike_during(fault))
        await all_of(work)
        await self._ended(index)
        await all_of(self._strike(fault) for fault in faults if fault.phase == "after")

    async def _turn_of(self, index: int) -> None:
        """Wait for the end of the reply before, or for its share if they overlap."""
        if index == 0:
            return
        early = [f for f in self._plan.faults if f.kind == "overlap"]
        if early and early[0].reply == index:
            await self._reached(index - 1, early[0].at)
        else:
            await self._ended(index - 1)

    async def _ended(self, index: int) -> None:
        if not await self._until(lambda: self._has_ended(index), REPLY_LIMIT):
            row = self._row(index)
            state = "had not begun" if row is None else f"was {row['status']}"
            self.note(f"reply {index} {state} after {REPLY_LIMIT:g} s")

    async def _reached(self, index: int, share: float) -> None:
        """Wait until that share of the reply is there, or it has ended."""
        wanted = share * self._plan.replies[index].tokens * CHARACTERS
        await self._until(
            lambda: self._has_ended(index) or self._said(index) >= max(wanted, 1),
            REPLY_LIMIT,
        )

    async def _until(self, condition: Callable[[], object], timeout: float) -> bool:
        """Wait until it is true, looking whenever a viewer has news."""
        return await self._control.until(condition, timeout)

    def _client_id(self, index: int) -> str:
        return f"drill-{self._plan.seed}-{index}"

    def _prompt(self, index: int) -> str:
        return f"Run {self._plan.seed}, message {index}: what is 12 + {index}?"

    def _row(self, index: int) -> Any:
        """The reply on Convex, as the control viewer has it."""
        client_id = self.seen.replies[index].client_message_id
        return reply_row(self._control.seen.rows, client_id)

    def _status(self, index: int) -> str | None:
        row = self._row(index)
        return None if row is None else row["status"]

    async def _probe(self) -> None:
        """Send one more message: the task has to be free for it."""
        index = len(self.seen.replies)
        self.seen.replies.append(ReplySeen(self._client_id(index), is_probe=True))
        await self._send(index, PROBE)
        await self._ended(index)

    async def _patiently(self, call: Call) -> Any:
        """Call again while the deployment is away; for what may run twice."""
        give_up_at = self.clock() + CALL_LIMIT
        while True:
            try:
                return await call()
            except DeploymentUnreachable:
                if self.clock() > give_up_at:
                    raise
                await self._back_again()

    async def _back_again(self) -> None:
        # The loss may not be known yet to what `until_connected` asks.
        await asyncio.sleep(0.1)
        try:
            await self._calls.until_connected(timeout=CALL_LIMIT)
        except DeploymentUnreachable:
            await asyncio.sleep(0.1)

    # --- faults -----------------------------------------------------------------

    async def _strike_before(self, fault: Fault) -> None:
        """With the sending itself, or, if it needs a reply, as soon as there is one."""
        if fault.kind in ("stop", "stop-twice"):
            await self._until(lambda: self._has_begun(fault.reply), REPLY_LIMIT)
        await self._strike(fault)

    def _has_begun(self, index: int) -> bool:
        return self._row(index) is not None or self._has_ended(index)

    async def _strike_during(self, fault: Fault) -> None:
        await self._reached(fault.reply, fault.at)
        await self._strike(fault)

    async def _strike(self, fault: Fault) -> None:
        in_time = fault.phase != "during" or not self._has_ended(fault.reply)
        self.seen.faults.append(FaultSeen(fault, self.clock(), in_time))
        await self._strike_now(fault)

    async def _kill(self, fault: Fault) -> None:
        """SIGKILL of what both kinds of lane have."""
        match fault.kind:
            case "kill-deployment":
                await self._lane.kill_deployment(fault.seconds)
            case "kill-executor":
                await self._lane.kill_executor()
            case "kill-provider":
                for seen in self.seen.replies:
                    seen.spoken_whole = False
                self._forgotten += await self._lane.kill_provider(fault.seconds)
            case other:
                raise ValueError(f"{other} is nothing that a run does")

    # --- the end ----------------------------------------------------------------

    async def _collect(self) -> None:
        task = {"taskId": self._task_id}
        self.seen.rows = await self._patiently(
            lambda: self._calls.query("messages:byTask", task)
        )
        self.seen.task = await self._patiently(
            lambda: self._calls.query("tasks:get", task)
        )
        for row in self.seen.rows:
            if "streamId" in row:
                self.seen.logs[row["streamId"]] = await self._log(row["streamId"])
        requests = self._forgotten + await self._lane.provider_log()
        for index, reply in enumerate(self.seen.replies):
            # A prompt that got no text back comes before the next one, in one turn.
            prompt = self._prompt(index)
            mine = [r for r in requests if r["prompt"].endswith(prompt)]
            _note_requests(reply, mine)
            self._note_played(index, mine)

    def _note_played(self, index: int, requests: list[dict[str, Any]]) -> None:
        """Which of the faults that are not ours to make has struck, and when."""
        epoch = time.time() - self.clock()  # the provider's clock is the wall's
        for fault in self._plan.faults:
            if fault.reply != index or fault.kind not in PLAYED:
                continue
            if fault.kind == "overlap":
                sends = self.seen.replies[index].sends
                at, struck = sends[0].begun_at, sends[0].refused == "StreamActive"
            else:
                # A stall ends when the kit has waited enough, and goes away.
                stalled = fault.kind == "stall" and self._status(index) in FAILED
                outcomes = ("refused", "disconnected" if stalled else fault.kind)
                ends = [r["endedAt"] for r in requests if r["outcome"] in outcomes]
                at, struck = (ends[0] - epoch if ends else self.clock()), bool(ends)
            self.seen.faults.append(FaultSeen(fault, at, struck))

    async def _log(self, stream_id: str) -> list[Any]:
        deltas: list[Any] = []
        more = True
        while more:
            args = {"streamId": stream_id, "from": len(deltas)}
            answer = await self._patiently(
                partial(self._calls.query, "streaming:catchUp", args)
            )
            deltas += answer["deltas"]
            more = answer["more"]
        return deltas

    async def _settle(self) -> None:
        """Give every viewer the time to come to the end; what it shows is judged."""
        for viewer in self._viewers:
            await viewer.until(partial(self._is_up, viewer), SETTLE_LIMIT)

    def _has_whole_log(self, viewer: ViewerSeen) -> bool:
        return viewer.chunks is None or all(
            len(viewer.chunks.get(stream, ())) >= sum(len(d["chunks"]) for d in log)
            for stream, log in self.seen.logs.items()
        )


def _note_requests(reply: ReplySeen, requests: list[dict[str, Any]]) -> None:
    reply.spoken = "".join(token for r in requests for token in r["tokens"])
    reply.generations = [
        request["outcome"]
        for request in requests
        if request["tokens"] or request["outcome"] in ("complete", "disconnected")
    ]


def provider_of(model: str) -> str:
    if "/" in model:
        return "openrouter"
    return "anthropic" if model.startswith("claude-") else "openai"


async def all_of(work: Iterable[Awaitable[Any]]) -> None:
    """All of it, side by side; the first error is raised when all have ended."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
