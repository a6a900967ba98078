"""A lane: a deployment and a provider of its own, on which runs take place.

Knows how to start them with a short lease, how to kill what is to be killed, and which
clients are free. Which fault strikes when is the business of `run`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from kit.client import Deployment
from kit.errors import FunctionError, StackError
from kit.stack import API_KEYS, SCRIPTED_URL, ServerProcess

__all__ = ["LEASE_MS", "SENTINEL", "Lane", "executor_of"]

LEASE_MS = 3000.0
"""After what silence a producer counts as dead: short, so that a run need not wait."""
READ_TIMEOUT = 1.2  # s of silence that count as a stall of the provider
WARM_UPS = 5
EXECUTOR_LIMIT = 10.0  # s until the deployment has another executor
SENTINEL = "sk-drill-sentinel-"
"""Every key that a run gives with a message begins so, and may be found nowhere."""


class Lane:
    """Processes and clients; `start` and `aclose` bracket their life."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.provider = self._server("provider", "kit.llm.scripted")
        data = str(folder / "deployment")
        self.deployment = self._server("deployment", "kit.deployment", "--data", data)
        self._idle: dict[str, list[Deployment]] = {}
        self._clients: list[Deployment] = []
        # One process at a time is killed and started again.
        self._repairs = asyncio.Lock()

    def _server(self, name: str, *args: str) -> ServerProcess:
        log = self.folder / f"{name}.log"
        return ServerProcess(f"drill's {name}", args, log=log, env=_environment())

    async def start(self) -> None:
        """Start both; raises StackError, with nothing left running."""
        try:
            url = await self.provider.start()
            self.deployment.env[SCRIPTED_URL] = url
            await self.deployment.start()
            await self._warm_up()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        await asyncio.gather(
            *(client.close() for client in self._clients),
            *(server.stop() for server in self._servers()),
        )

    def _servers(self) -> list[ServerProcess]:
        return [self.deployment, self.provider]

    @contextlib.asynccontextmanager
    async def clients(
        self, count: int, *, url: str | None = None
    ) -> AsyncIterator[list[Deployment]]:
        """Clients for one run alone: a kill of one's worker is nobody else's matter.

        `url`: that of a network in between.
        """
        url = url or self.deployment.url
        borrowed = [self._client(url) for _ in range(count)]
        try:
            yield borrowed
        finally:
            self._idle.setdefault(url, []).extend(borrowed)

    def _client(self, url: str) -> Deployment:
        if idle := self._idle.get(url):
            return idle.pop()
        client = Deployment(url)
        self._clients.append(client)
        return client

    # --- faults -----------------------------------------------------------------

    async def kill_deployment(self, away: float) -> None:
        """SIGKILL, `away` seconds of nobody, and the same data and port again."""
        async with self._repairs:
            await self._replace(self.deployment, away)
            await self._warm_up()

    async def kill_provider(self, away: float) -> list[dict[str, Any]]:
        """SIGKILL; the requests that it had seen, which the next one does not know."""
        async with self._repairs:
            seen = await self.provider_log()
            await self._replace(self.provider, away)
        return seen

    async def _replace(self, server: ServerProcess, away: float) -> None:
        await server.kill()
        await asyncio.sleep(away)
        await server.start()

    async def kill_executor(self) -> None:
        """SIGKILL the process in which actions, and so the producers, run.

        Returns when another one works: an action that is handed to one that is just
        dying is lost, as it should be, and a lease passes until that is noticed.
        Raises StackError when there is none to kill, or none takes its place.
        """
        async with self._repairs:
            pid = await self._executor(other_than=None)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            await self._executor(other_than=pid)
            await self._warm_up()

    async def _warm_up(self) -> None:
        """Have replies written until one is whole.

        On a busy machine an executor takes two seconds to load, of a lease of three.
        """
        send = {"prompt": "Warm up", "model": "openai/scripted-text:tokens=1,pace=0"}
        async with Deployment(self.deployment.url) as caller:
            for _ in range(WARM_UPS):
                task = await caller.mutation("tasks:create", {"title": "Warm-up"})
                with contextlib.suppress(FunctionError):
                    answer = await caller.action(
                        "streaming:streamChatWithTools", {"taskId": task, **send}
                    )
                    if answer["status"] == "complete":
                        return
        raise StackError(
            f"The deployment has written no whole reply in {WARM_UPS} attempts. "
            f"Its log ends with:\n{self.deployment.log_tail()}"
        )

    async def _executor(self, *, other_than: int | None) -> int:
        """The process that runs actions, when there is one."""
        try:
            async with asyncio.timeout(EXECUTOR_LIMIT):
                while True:
                    pid = await executor_of(self.deployment.pid)
                    if pid is not None and pid != other_than:
                        return pid
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise StackError(
                f"The deployment has started no executor within {EXECUTOR_LIMIT:g} s. "
                f"Its log ends with:\n{self.deployment.log_tail()}"
            ) from None

    # --- what was seen ----------------------------------------------------------

    async def provider_log(self) -> list[dict[str, Any]]:
        """The requests that the provider has seen, oldest first."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.provider.url}/log") as response,
        ):
            return list((await response.json())["requests"])


def _environment() -> dict[str, str]:
    """No key from outside, whatever is set there; the short times of a drill."""
    environment = {k: v for k, v in os.environ.items() if k not in API_KEYS}
    environment["PYTHONUNBUFFERED"] = "1"
    environment["KIT_LEASE_MS"] = f"{LEASE_MS:g}"
    environment["KIT_LLM_READ_TIMEOUT"] = f"{READ_TIMEOUT:g}"
    return environment


async def executor_of(deployment_pid: int | None) -> int | None:
    """The deployment's child that runs actions, by what it is called."""
    ps = await asyncio.create_subprocess_exec(
        *("ps", "-A", "-ww", "-o", "pid=,ppid=,args="),
        stdout=asyncio.subprocess.PIPE,
    )
    listing, _ = await ps.communicate()
    for line in listing.decode(errors="replace").splitlines():
        pid, parent, command = line.split(maxsplit=2)
        if int(parent) == deployment_pid and "kit.deployment.executor" in command:
            return int(pid)
    return None
