"""A lane with the application on it, in both of its forms with Convex.

Two application servers, one for each option, with a database each, and the networks
between them, their clients and the deployment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from kit.app.flags import set_flags
from kit.app.history import History
from kit.drill.lane import Lane
from kit.drill.proxy import Networks
from kit.stack import SCRIPTED_URL, ServerProcess

__all__ = ["ApplicationLane", "Form"]


@dataclass(frozen=True)
class Form:
    """The application in one of its forms; `history` is its database, read directly."""

    server: ServerProcess
    networks: Networks
    history: History


class ApplicationLane(Lane):
    """A lane whose runs go through the application, in the forms of `options`."""

    def __init__(self, folder: Path, options: Iterable[int]) -> None:
        super().__init__(folder)
        self.forms: dict[int, Form] = {}
        self._open = AsyncExitStack()
        self._apps = {option: self._app(option) for option in sorted(options)}

    def _app(self, option: int) -> ServerProcess:
        folder = self.folder / f"option-{option}"
        folder.mkdir()
        return self._server(
            f"application-{option}",
            "kit.app.server",
            *("--env-file", str(folder / ".env.local")),
            *("--history-url", f"sqlite+aiosqlite:///{folder / 'history.db'}"),
            *("--workspace", str(folder / "workspace")),
        )

    async def start(self) -> None:
        """Start all; raises StackError, with nothing left running."""
        await super().start()
        try:
            forms = [self._start_form(*each) for each in self._apps.items()]
            self.forms = dict(
                zip(self._apps, await asyncio.gather(*forms), strict=True)
            )
        except BaseException:
            await self.aclose()
            raise

    async def _start_form(self, option: int, app: ServerProcess) -> Form:
        networks = Networks.between(lambda: self.deployment.port, lambda: app.port)
        self._open.push_async_callback(networks.aclose)
        await networks.start()
        folder = self.folder / f"option-{option}"
        set_flags(
            folder / ".env.local",
            realtime=True,
            convex_url=networks.backend.url,
            option=option,
        )
        app.env[SCRIPTED_URL] = self.provider.url
        await app.start()
        url = f"sqlite+aiosqlite:///{folder / 'history.db'}"
        history = await History.open(url, create=False)
        self._open.push_async_callback(history.close)
        return Form(app, networks, history)

    async def aclose(self) -> None:
        try:
            await super().aclose()
        finally:
            await self._open.aclose()

    def _servers(self) -> list[ServerProcess]:
        return [*self._apps.values(), *super()._servers()]

    async def kill_app(self, option: int, away: float) -> None:
        """SIGKILL, `away` seconds of nobody, and the same database and port again."""
        async with self._repairs:
            await self._replace(self._apps[option], away)
