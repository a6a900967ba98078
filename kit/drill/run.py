"""Carries out one plan on a lane: sends, watches, breaks things, writes down.

Judges nothing: what was seen goes to `invariants`. Whatever does not come within its
time, and every error that is not part of the plan, is a problem in the record.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, assert_never, get_args

from kit.client import Deployment
from kit.drill.history import (
    FaultSeen,
    ReplySeen,
    RunSeen,
    SendSeen,
    StopSeen,
    ViewerSeen,
    reply_row,
)
from kit.drill.lane import SENTINEL, Lane
from kit.drill.schedule import Fault, Plan, ProviderFault, ReplyPlan, ViewerKind
from kit.drill.viewers import LIVE, HookViewer, LogViewer, Viewer
from kit.errors import ConvexFunctionError, DeploymentUnreachable, FunctionError

__all__ = ["carry_out"]

PLAYED = (*get_args(ProviderFault), "overlap")
"""Faults that the provider plays, or that lie in when a message is sent."""
CLIENTS = 2
RUN_LIMIT = 60.0  # s
REPLY_LIMIT = 30.0  # s, from sending to the end; a dead producer is found in 3
SETTLE_LIMIT = 15.0  # s until every viewer has come to the end
CALL_LIMIT = 20.0  # s of trying while the deployment is away
CHARACTERS = 4.3  # of a token of the scripted texts, on average
PROBE = ReplyPlan("openai/scripted-text:tokens=3,pace=0", tokens=3)

Call = Callable[[], Awaitable[Any]]


async def carry_out(plan: Plan, lane: Lane) -> RunSeen:
    """Carry out the plan; what was seen. Never raises for what goes wrong in it."""
    async with lane.clients(CLIENTS) as clients:
        run = _Run(plan, lane, clients)
        try:
            async with asyncio.timeout(RUN_LIMIT):
                await run.play()
        except TimeoutError:
            run.note(f"the run did not end within {RUN_LIMIT:g} s")
        except Exception as error:
            run.note(f"{type(error).__name__}: {error}")
        finally:
            await run.close()
    run.seen.seconds = run.clock()
    return run.seen


class _Run:
    def __init__(self, plan: Plan, lane: Lane, clients: Sequence[Deployment]) -> None:
        self.seen = RunSeen(plan)
        self._plan = plan
        self._lane = lane
        self._clients = clients
        self._calls = clients[0]
        self._started = time.monotonic()
        self._task_id = ""
        self._viewers: list[Viewer] = []
        self._control = LogViewer(ViewerSeen("", "log", 0.0), self.clock)
        self._forgotten: list[dict[str, Any]] = []  # what a killed provider had seen

    def clock(self) -> float:
        return time.monotonic() - self._started

    def note(self, problem: str) -> None:
        self.seen.problems.append(problem)

    async def play(self) -> None:
        title = {"title": f"Drill {self._plan.seed}"}
        self._task_id = await self._patiently(
            lambda: self._calls.mutation("tasks:create", title)
        )
        first, *others = self._plan.viewers
        self._control = await self._join(first.kind, first.client, self._control)
        await _all(self._join(viewer.kind, viewer.client) for viewer in others)
        self.seen.replies = [
            ReplySeen(self._client_id(index), calls=reply.calls)
            for index, reply in enumerate(self._plan.replies)
        ]
        await _all(self._reply(index) for index in range(len(self._plan.replies)))
        await self._probe()
        await self._collect()
        await self._settle()

    async def close(self) -> None:
        await _all(viewer.close() for viewer in self._viewers)

    def _client_id(self, index: int) -> str:
        return f"drill-{self._plan.seed}-{index}"

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
        await _all(work)
        await self._ended(index)
        await _all(self._strike(fault) for fault in faults if fault.phase == "after")

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
        def ended() -> bool:
            row = self._row(index)
            return row is not None and row["status"] not in LIVE

        if not await self._control.until(ended, REPLY_LIMIT):
            row = self._row(index)
            state = "had not begun" if row is None else f"was {row['status']}"
            self.note(f"reply {index} {state} after {REPLY_LIMIT:g} s")

    async def _reached(self, index: int, share: float) -> None:
        """Wait until that share of the reply is there, or it has ended."""
        wanted = share * self._plan.replies[index].tokens * CHARACTERS

        def reached() -> bool:
            row = self._row(index)
            if row is None:
                return False
            said = self._control.said(row["streamId"])
            return row["status"] not in LIVE or len(said) >= wanted

        await self._control.until(reached, REPLY_LIMIT)

    def _row(self, index: int) -> Any:
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

    # --- sending ----------------------------------------------------------------

    async def _send(self, index: int, reply: ReplyPlan) -> None:
        """Send the message as a client does that re-sends what was lost, same id."""
        give_up_at = self.clock() + REPLY_LIMIT
        while self.clock() < give_up_at:
            attempt = SendSeen(self.clock(), 0.0)
            self.seen.replies[index].sends.append(attempt)
            try:
                answer = await self._ask(index, reply)
                attempt.message_id = answer["messageId"]
                attempt.stream_id = answer["streamId"]
                attempt.reused = answer["reused"]
                return
            except ConvexFunctionError as error:
                attempt.refused = error.data["code"]
                if attempt.refused != "StreamActive":
                    raise
                await self._control.until(self._nothing_streams, REPLY_LIMIT)
            except DeploymentUnreachable:
                attempt.refused = "DeploymentUnreachable"
                await self._back_again()
            except FunctionError as error:
                attempt.refused = "FunctionError"
                if "Transient error" not in str(error):
                    raise
            finally:
                attempt.ended_at = self.clock()
        self.note(f"message {index} could not be sent within {REPLY_LIMIT:g} s")

    async def _ask(self, index: int, reply: ReplyPlan) -> Any:
        args: dict[str, Any] = {
            "taskId": self._task_id,
            "prompt": self._prompt(index),
            "model": reply.model,
            "clientMessageId": self._client_id(index),
            "tools": list(reply.tools),
        }
        if reply.by == "send":
            return await self._calls.mutation("streaming:send", args)
        key = f"{SENTINEL}{self._plan.seed}"
        args["apiKeys"] = {_provider_of(reply.model): key}
        return await self._calls.action("streaming:streamChatWithTools", args)

    def _prompt(self, index: int) -> str:
        return f"Run {self._plan.seed}, message {index}: what is 12 + {index}?"

    def _nothing_streams(self) -> bool:
        return all(row["status"] != "streaming" for row in self._control.seen.rows)

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
            begun = lambda: self._row(fault.reply) is not None  # noqa: E731
            await self._control.until(begun, REPLY_LIMIT)
        await self._strike(fault)

    async def _strike_during(self, fault: Fault) -> None:
        await self._reached(fault.reply, fault.at)
        await self._strike(fault)

    async def _strike(self, fault: Fault) -> None:
        row = self._row(fault.reply)
        struck = fault.phase != "during" or (row is not None and row["status"] in LIVE)
        self.seen.faults.append(FaultSeen(fault, self.clock(), struck))
        match fault.kind:
            case "cut-viewer":
                self._cut(self._clients[fault.which])
            case "late-join":
                kind: ViewerKind = "log" if fault.which else "hook"
                await _all(
                    self._join(kind, number % CLIENTS) for number in range(fault.count)
                )
            case "stop":
                await self._stop(fault.reply, ["streaming:stopTask"])
            case "stop-twice":
                paths = ["streaming:stopTask", "streaming:cancelStream"]
                await self._stop(fault.reply, paths)
            case "resend":
                reply = self._plan.replies[fault.reply]
                await _all(self._send(fault.reply, reply) for _ in range(fault.count))
            case "kill-deployment":
                await self._lane.kill_deployment(fault.seconds)
            case "kill-executor":
                await self._lane.kill_executor()
            case "kill-provider":
                self._forgotten += await self._lane.provider_log()
                for seen in self.seen.replies:
                    seen.spoken_whole = False
                await self._lane.kill_provider(fault.seconds)
            case other:
                raise ValueError(f"{other} is nothing that a run does")

    def _cut(self, client: Deployment) -> None:
        if client.worker_pid is not None:
            os.kill(client.worker_pid, signal.SIGKILL)

    async def _stop(self, index: int, paths: Sequence[str]) -> None:
        row = self._row(index)
        if row is None:
            return
        await _all(self._stop_by(path, row["_id"]) for path in paths)

    async def _stop_by(self, path: str, message_id: str) -> None:
        args = {"taskId": self._task_id}
        if path == "streaming:cancelStream":
            args = {"messageId": message_id}
        seen = StopSeen(self.clock())
        self.seen.stops.append(seen)
        attempts = 0

        async def stop() -> Any:
            nonlocal attempts
            attempts += 1
            return await self._calls.mutation(path, args)

        answer = await self._patiently(stop)
        stopping = [message_id] if answer.get("stopping") else []
        seen.message_ids = answer.get("messageIds", stopping)
        seen.answer_lost = attempts > 1

    # --- viewers ----------------------------------------------------------------

    async def _join(
        self, kind: ViewerKind, client: int, control: LogViewer | None = None
    ) -> Any:
        name = f"{kind} {len(self.seen.viewers)}"
        seen = ViewerSeen(name, kind, self.clock())
        viewer: Viewer
        match kind:
            case "log":
                viewer = LogViewer(seen, self.clock)
            case "hook":
                viewer = HookViewer(seen, self.clock)
            case _:
                assert_never(kind)
        self.seen.viewers.append(seen)
        self._viewers.append(viewer)
        await self._patiently(
            lambda: viewer.start(self._task_id, self._clients[client])
        )
        return viewer

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
                stalled = fault.kind == "stall" and self._status(index) == "failed"
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
            await viewer.until(partial(self._is_up, viewer.seen), SETTLE_LIMIT)

    def _is_up(self, viewer: ViewerSeen) -> bool:
        if viewer.rows != self.seen.rows:
            return False
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


def _provider_of(model: str) -> str:
    if "/" in model:
        return "openrouter"
    return "anthropic" if model.startswith("claude-") else "openai"


async def _all(work: Any) -> None:
    """All of it, side by side; the first error is raised when all have ended."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
