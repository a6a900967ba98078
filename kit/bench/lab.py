"""Everything that a comparison needs, running: the provider and the ways.

All ways are fed by one scripted provider. `run` has replies written and looked at, and
gives back what was seen; what that means is for others to say.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from kit.bench.load import WAYS, Load, Run, Seen
from kit.bench.relay import Relay
from kit.bench.seen import ProviderReply
from kit.bench.usage import UsageMeter
from kit.bench.viewers import Viewer
from kit.bench.ways.base import Way
from kit.bench.ways.convex import GuideConvex, KitConvex
from kit.bench.ways.socket_io import BareSocket, SocketWithHistory
from kit.client.background import cancel, spawn
from kit.convex._settings import ON_CONVEX_FLUSH_INTERVAL_MS
from kit.errors import StackError
from kit.stack import API_KEYS, SCRIPTED_URL, ServerProcess

__all__ = ["Lab"]


@dataclass
class Lab:
    """`async with Lab(folder) as lab`; `folder` gets databases and logs."""

    folder: Path
    names: Sequence[str] = WAYS
    kit_log_level: str = "WARNING"
    kit_environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the kit's deployment, such as KIT_FLUSH_INTERVAL_MS."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.provider = ServerProcess(
            "scripted provider",
            ["kit.llm.scripted", "--log-level", "WARNING"],
            log=self.folder / "provider.log",
            env=_environment(),
        )
        self.ways: dict[str, Way] = {name: self._way(name) for name in self.names}
        self._numbers = itertools.count(1)
        self._known = 0  # requests to the provider that are not looked at any more
        self._prefix = f"bench {os.getpid()}"

    def _way(self, name: str) -> Way:
        match name:
            case "bare":
                return BareSocket(self.folder)
            case "sql":
                return SocketWithHistory(self.folder)
            case "guide" | "guide-text":
                return GuideConvex(self.folder, parts=name == "guide")
            case "kit" | "kit-billed":
                return KitConvex(self.folder, name=name, log_level=self.kit_log_level)
            case _:
                raise ValueError(f"there is no way {name!r}")

    async def __aenter__(self) -> Lab:
        try:
            environment = {**_environment(), SCRIPTED_URL: await self.provider.start()}
            async with asyncio.TaskGroup() as starting:
                for name in self.ways:
                    own = {**environment, **self._own_environment(name)}
                    starting.create_task(self._start(name, own))
        except BaseException as error:
            await self._stop()
            if isinstance(error, BaseExceptionGroup):
                raise error.exceptions[0] from None
            raise
        return self

    def _own_environment(self, name: str) -> Mapping[str, str]:
        match name:
            case "kit":
                return self.kit_environment
            case "kit-billed":
                interval = f"{ON_CONVEX_FLUSH_INTERVAL_MS:g}"
                return {"KIT_FLUSH_INTERVAL_MS": interval}
            case _:
                return {}

    async def _start(self, name: str, environment: Mapping[str, str]) -> None:
        await self.ways[name].start(environment)
        # The first reply waits for the import of an SDK.
        await self.run(name, Load(tokens=5, pace=0))

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        await asyncio.gather(*(way.aclose() for way in self.ways.values()))
        await self.provider.stop()

    async def run(self, name: str, load: Load, tasks: Sequence[str] = ()) -> Run:
        """Have replies written in one way, and look at them until they have ended.

        `tasks`: existing ones to use, one per stream. Raises StackError if the way
        does not work at all; what only came late, or not, is in the result.
        """
        way = self.ways[name]
        tasks = tasks or [await way.create_task() for _ in range(load.streams)]
        async with AsyncExitStack() as resources:
            relay = None
            if load.count_bytes or load.delay:
                relay = await resources.enter_async_context(
                    Relay(way.url, delay=load.delay)
                )
            viewers = [
                await self._viewers(resources, way, task, load, relay) for task in tasks
            ]
            before = relay.traffic.copy() if relay else None
            meter = UsageMeter(self._pids(way, viewers))
            started = time.monotonic()
            resources.enter_context(_collector_at_rest())
            async with meter:
                prompts = [self.new_prompt() for _ in tasks]
                asked_at = time.time()
                asking = [
                    way.ask(task, prompt, load.model)
                    for task, prompt in zip(tasks, prompts, strict=True)
                ]
                ended = await _until_ended(viewers, asking, load.time_limit)
            seconds = time.monotonic() - started
            replies = await self.replies(prompts)
            return Run(
                name,
                load,
                [
                    Seen(asked_at, reply, [viewer.log for viewer in watching], ended)
                    for reply, watching in zip(replies, viewers, strict=True)
                ],
                meter.usage,
                seconds,
                relay.traffic.since(before) if relay and before else None,
            )

    async def _viewers(
        self,
        resources: AsyncExitStack,
        way: Way,
        task: str,
        load: Load,
        relay: Relay | None,
    ) -> list[Viewer]:
        url = relay.url if relay else ""
        light = load.streams * load.viewers > 1
        viewers = []
        for _ in range(load.viewers):
            viewer = await way.watch(task, url=url, light=light)
            resources.push_async_callback(viewer.aclose)
            viewers.append(viewer)
        return viewers

    def new_prompt(self) -> str:
        return f"{self._prefix}, reply {next(self._numbers)}"

    async def replies(self, prompts: Sequence[str]) -> list[ProviderReply]:
        """What the provider has sent for these prompts by now.

        Raises StackError if it was not asked, or has refused.
        """
        by_prompt = {entry["prompt"]: entry for entry in await self.provider_log()}
        for prompt in prompts:
            entry = by_prompt.get(prompt)
            if entry is None or entry["outcome"] == "refused":
                what = "never asked" if entry is None else "asked and refused"
                raise StackError(
                    f"The provider was {what} ({prompt}): is the server well? "
                    f"Logs are in {self.folder}."
                )
        return [ProviderReply.of(by_prompt[prompt]) for prompt in prompts]

    async def forget_replies(self) -> None:
        """Look for replies only among those that are asked for from now on.

        What the provider tells of many long ones takes seconds to read.
        """
        for entry in await self.provider_log():
            self._known = entry["number"]

    async def provider_log(self) -> list[dict[str, Any]]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.provider.url}/log?since={self._known}") as response,
        ):
            return list((await response.json())["requests"])

    def _pids(self, way: Way, viewers: Sequence[Sequence[Viewer]]) -> dict[str, int]:
        pids = {"provider": self.provider.pid or 0, **way.processes()}
        pids["viewers"] = os.getpid()
        workers = [v.worker_pid for group in viewers for v in group if v.worker_pid]
        if workers:
            pids["client worker"] = workers[0]
        return pids


async def _until_ended(
    viewers: Sequence[Sequence[Viewer]],
    asking: Sequence[Coroutine[Any, Any, None]],
    limit: float,
) -> bool:
    """Ask, and wait until all viewers know that their reply has ended, or for `limit`.

    False if one does not, after `limit` seconds. Raises what asking raises, at once.
    """
    waiting = [
        spawn(viewer.until_ended(limit), "bench: viewer")
        for group in viewers
        for viewer in group
    ]
    asks = [spawn(ask, "bench: ask") for ask in asking]
    tasks = [*asks, *waiting]
    try:
        await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_EXCEPTION)
        for ask in asks:
            if ask.done():
                ask.result()
        return all(task.done() and task.result() for task in waiting)
    finally:
        await cancel(*tasks)


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """As `timeit` has it: the viewers are in this process, beside all that it keeps,
    and a full collection would count as a late token."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _environment() -> dict[str, str]:
    """No key from outside; what the kit reads of the environment is at its default."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in API_KEYS and not name.startswith("KIT_")
    }
    return {**kept, "PYTHONUNBUFFERED": "1"}
