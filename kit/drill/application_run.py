"""Carries out a plan through the application: messages go over its sockets.

The sender is what a careful client is: a message that was lost, or came to nothing, is
sent again with the same id. Most viewers are hybrid hooks, behind networks that fail;
the run itself looks at Convex directly, and at the application's database.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence

import aiohttp

from kit.client import Deployment
from kit.drill.application_lane import ApplicationLane
from kit.drill.base_run import REPLY_LIMIT, SETTLE_LIMIT, BaseRun, all_of
from kit.drill.history import RunSeen, SendSeen, StopSeen, ViewerSeen, answer_in
from kit.drill.hybrid_viewer import HybridViewer
from kit.drill.schedule import Fault, Plan, ReplyPlan, ViewerKind
from kit.drill.viewers import LIVE, HookViewer, LogViewer, Viewer
from kit.errors import ConfigError, DeploymentError, KitError

__all__ = ["carry_out_application"]

CLIENTS = 2
AGAIN = 0.2  # s between attempts to send a message
JOIN_LIMIT = 15.0  # s of attempts to join
LOOK = 0.05  # s between looks at a database
RESTED = ("COMPLETED", "STOPPED", "FAILED")
ALSO_LIVE = (*LIVE, "queued")


async def carry_out_application(plan: Plan, lane: ApplicationLane) -> RunSeen:
    """Carry out the plan; what was seen. Never raises for what goes wrong in it."""
    networks = lane.forms[plan.option].networks
    networks.heal()
    async with (
        lane.clients(1) as (direct,),
        lane.clients(CLIENTS, url=networks.viewers.url) as clients,
    ):
        try:
            return await _ApplicationRun(plan, lane, direct, clients).carry_out()
        finally:
            networks.heal()


class _ApplicationRun(BaseRun):
    def __init__(
        self,
        plan: Plan,
        lane: ApplicationLane,
        direct: Deployment,
        clients: Sequence[Deployment],
    ) -> None:
        super().__init__(plan, lane, direct)
        self._form = lane.forms[plan.option]
        self._apps = lane
        self._clients = clients
        self._news = asyncio.Event()
        self._hybrids: list[HybridViewer] = []
        self._sent = 0

    async def _until(self, condition: Callable[[], object], timeout: float) -> bool:
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return False
        return True

    async def _create_task(self, title: str) -> str:
        url = f"{self._form.server.url}/api/tasks"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json={"title": title}) as response,
        ):
            return str((await response.json())["taskId"])

    # --- viewers ----------------------------------------------------------------

    async def _join_all(self) -> None:
        first, *others = self._plan.viewers
        seen = ViewerSeen(f"{first.kind} 0", first.kind, self.clock())
        self._control = LogViewer(seen, self.clock)
        await self._begin(self._control, self._calls)
        await all_of(self._join(viewer.kind, viewer.client) for viewer in others)

    async def _join(self, kind: ViewerKind, client: int) -> None:
        seen = ViewerSeen(f"{kind} {len(self.seen.viewers)}", kind, self.clock())
        viewer: Viewer
        if kind == "hybrid":
            url = self._form.networks.sockets.url
            viewer = HybridViewer(seen, self.clock, url, lambda: self._sent)
        else:
            viewer = HookViewer(seen, self.clock)
        await self._begin(viewer, self._clients[client])
        if isinstance(viewer, HybridViewer):
            self._hybrids.append(viewer)

    async def _begin(self, viewer: Viewer, client: Deployment) -> None:
        """Have it look, again and again while what it needs is away."""
        viewer.on_news = self._news.set
        self.seen.viewers.append(viewer.seen)
        self._viewers.append(viewer)
        give_up_at = self.clock() + JOIN_LIMIT
        while True:
            try:
                return await viewer.start(self._task_id, client)
            except (DeploymentError, ConfigError, KitError, TimeoutError):
                if self.clock() > give_up_at:
                    raise
            await asyncio.sleep(AGAIN)

    # --- sending ----------------------------------------------------------------

    async def _send(self, index: int, reply: ReplyPlan) -> None:
        give_up_at = self.clock() + REPLY_LIMIT
        self._sent = index + 1
        while not self._has_ended(index):
            if self.clock() > give_up_at:
                self.note(f"message {index} got no reply within {REPLY_LIMIT:g} s")
                return
            sender = self._hybrids[0]
            since = len(sender.hook.events)
            if await self._send_once(index, reply, sender):
                await self._at_rest(index, sender, since)
            await asyncio.sleep(AGAIN)

    async def _send_once(
        self, index: int, reply: ReplyPlan, sender: HybridViewer
    ) -> bool:
        """Whether the application says that it has the message."""
        attempt = SendSeen(self.clock(), 0.0)
        self.seen.replies[index].sends.append(attempt)
        try:
            await sender.hook.send_message(
                self._prompt(index),
                model=reply.model,
                client_message_id=self._client_id(index),
            )
        except KitError as error:
            attempt.refused = str(error)
            return False
        finally:
            attempt.ended_at = self.clock()
        return True

    async def _at_rest(self, index: int, sender: HybridViewer, since: int) -> None:
        """Wait until the message has its reply, or visibly comes to nothing."""

        def rests() -> bool:
            if self._has_ended(index):
                return True
            if self._status(index) in ALSO_LIVE:
                return False
            hook = sender.hook
            return hook.error is not None or hook.status_since(since) in RESTED

        await self._until(rests, REPLY_LIMIT)

    def _has_ended(self, index: int) -> bool:
        """Whether Convex has a whole reply, or a fallback's is shown as whole."""
        status = self._status(index)
        if status is not None:
            return status not in ALSO_LIVE
        client_id = self.seen.replies[index].client_message_id
        shown = (answer_in(viewer.seen.rows, client_id) for viewer in self._hybrids)
        return any(row is not None and row["status"] not in ALSO_LIVE for row in shown)

    def _said(self, index: int) -> int:
        if self._status(index) is not None:
            return super()._said(index)
        return max(len(viewer.hook.streaming_text()) for viewer in self._hybrids)

    # --- faults -----------------------------------------------------------------

    async def _strike_now(self, fault: Fault) -> None:
        match fault.kind:
            case "cut-viewer":
                worker = self._clients[fault.which].worker_pid
                if worker is not None:
                    os.kill(worker, signal.SIGKILL)
            case "late-join":
                joining = (
                    self._join("hybrid", n % CLIENTS) for n in range(fault.count)
                )
                await all_of(joining)
            case "stop":
                await self._stop()
            case "resend":
                reply = self._plan.replies[fault.reply]
                senders = [
                    self._hybrids[n % len(self._hybrids)] for n in range(fault.count)
                ]
                await all_of(
                    self._send_once(fault.reply, reply, sender) for sender in senders
                )
            case "kill-app":
                await self._apps.kill_app(self._plan.option, fault.seconds)
            case "cut-network" | "slow-network" | "half-open":
                await self._disturb(fault)
            case _:
                await self._kill(fault)

    async def _resend(self, index: int, count: int) -> None:
        """By several who have it open, at once."""
        reply = self._plan.replies[index]
        senders = [self._hybrids[n % len(self._hybrids)] for n in range(count)]
        await all_of(self._send_once(index, reply, sender) for sender in senders)

    async def _stop(self) -> None:
        # Whether it was this that stopped a reply is not told over a socket.
        self.seen.stops.append(StopSeen(self.clock(), answer_lost=True))
        try:
            await self._hybrids[0].hook.stop_stream()
        except KitError:
            return  # nobody was there to be told

    async def _disturb(self, fault: Fault) -> None:
        network = getattr(self._form.networks, fault.network)
        match fault.kind:
            case "cut-network":
                network.cut()
            case "slow-network":
                network.delay = fault.seconds / 4
                await asyncio.sleep(fault.seconds)
                network.delay = 0.0
            case _:
                network.fall_silent()
                await asyncio.sleep(fault.seconds)
                network.heal()
                network.cut()

    # --- the end ----------------------------------------------------------------

    async def _collect(self) -> None:
        await self._until_rested()
        await super()._collect()
        history = self._form.history
        self.seen.stored = [dict(m) for m in await history.messages(self._task_id)]
        task = await history.task(self._task_id)
        self.seen.stored_task = None if task is None else dict(task)

    async def _until_rested(self) -> None:
        """Wait until both stores say that nothing is being written."""
        task = {"taskId": self._task_id}
        give_up_at = self.clock() + SETTLE_LIMIT
        while self.clock() < give_up_at:
            stored = await self._form.history.task(self._task_id)
            held = await self._patiently(lambda: self._calls.query("tasks:get", task))
            states = [stored and stored["status"], held["status"]]
            if "RUNNING" not in states:
                return
            await asyncio.sleep(LOOK)

    def _is_up(self, viewer: Viewer) -> bool:
        seen = viewer.seen
        if seen.kind != "hybrid":
            return seen.rows == self.seen.rows and self._has_whole_log(seen)
        ids = [reply.client_message_id for reply in self.seen.replies]
        answers = (answer_in(seen.rows, client_id) for client_id in ids)
        whole = all(row is not None and row["status"] not in LIVE for row in answers)
        return whole and not seen.is_streaming and seen.connection == "connected"
