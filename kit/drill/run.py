"""Carries out a plan on a deployment alone: sends, stops and watches through Convex.

Judges nothing: what was seen goes to `invariants`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any

from kit.client import Deployment
from kit.drill.base_run import REPLY_LIMIT, BaseRun, all_of, provider_of
from kit.drill.history import RunSeen, SendSeen, StopSeen, ViewerSeen
from kit.drill.lane import SENTINEL, Lane
from kit.drill.schedule import Fault, Plan, ReplyPlan, ViewerKind
from kit.drill.viewers import LIVE, HookViewer, LogViewer, Viewer
from kit.errors import ConvexFunctionError, DeploymentUnreachable, FunctionError

__all__ = ["carry_out"]

CLIENTS = 2


async def carry_out(plan: Plan, lane: Lane) -> RunSeen:
    """Carry out the plan; what was seen. Never raises for what goes wrong in it."""
    async with lane.clients(CLIENTS) as clients:
        return await _Run(plan, lane, clients).carry_out()


class _Run(BaseRun):
    def __init__(self, plan: Plan, lane: Lane, clients: Sequence[Deployment]) -> None:
        super().__init__(plan, lane, clients[0])
        self._clients = clients

    async def _create_task(self, title: str) -> str:
        task_id: str = await self._patiently(
            lambda: self._calls.mutation("tasks:create", {"title": title})
        )
        return task_id

    # --- viewers ----------------------------------------------------------------

    async def _join_all(self) -> None:
        first, *others = self._plan.viewers
        self._control = await self._join(first.kind, first.client)
        await all_of(self._join(viewer.kind, viewer.client) for viewer in others)

    async def _join(self, kind: ViewerKind, client: int) -> Any:
        seen = ViewerSeen(f"{kind} {len(self.seen.viewers)}", kind, self.clock())
        viewer: Viewer
        if kind == "log":
            viewer = LogViewer(seen, self.clock)
        else:
            viewer = HookViewer(seen, self.clock)
        self.seen.viewers.append(seen)
        self._viewers.append(viewer)
        await self._patiently(
            lambda: viewer.start(self._task_id, self._clients[client])
        )
        return viewer

    def _has_ended(self, index: int) -> bool:
        status = self._status(index)
        return status is not None and status not in LIVE

    def _is_up(self, viewer: Viewer) -> bool:
        seen = viewer.seen
        return seen.rows == self.seen.rows and self._has_whole_log(seen)

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
        args["apiKeys"] = {provider_of(reply.model): key}
        return await self._calls.action("streaming:streamChatWithTools", args)

    def _nothing_streams(self) -> bool:
        return all(row["status"] != "streaming" for row in self._control.seen.rows)

    # --- faults -----------------------------------------------------------------

    async def _strike_now(self, fault: Fault) -> None:
        match fault.kind:
            case "cut-viewer":
                self._cut(self._clients[fault.which])
            case "late-join":
                kind: ViewerKind = "log" if fault.which else "hook"
                await all_of(
                    self._join(kind, number % CLIENTS) for number in range(fault.count)
                )
            case "stop":
                await self._stop(fault.reply, ["streaming:stopTask"])
            case "stop-twice":
                paths = ["streaming:stopTask", "streaming:cancelStream"]
                await self._stop(fault.reply, paths)
            case "resend":
                reply = self._plan.replies[fault.reply]
                again = (self._send(fault.reply, reply) for _ in range(fault.count))
                await all_of(again)
            case _:
                await self._kill(fault)

    def _cut(self, client: Deployment) -> None:
        if client.worker_pid is not None:
            os.kill(client.worker_pid, signal.SIGKILL)

    async def _stop(self, index: int, paths: Sequence[str]) -> None:
        row = self._row(index)
        if row is None:
            return
        await all_of(self._stop_by(path, row["_id"]) for path in paths)

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
