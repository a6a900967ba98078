"""The deployment as a web application: its sessions, its HTTP calls, its life.

Holds the sessions that are open. What travels is in `session` and `http_api`, who may
come in is in `http_guard`, how the process listens and stops in `kit.serving`.
"""

from __future__ import annotations

import logging
import re

from aiohttp import web

from kit.deployment.admin_api import AdminApi
from kit.deployment.http_api import MAX_BODY, HttpApi
from kit.deployment.http_guard import Rejection, allow_origin, guard
from kit.deployment.http_pages import page_routes
from kit.deployment.runtime import Runtime
from kit.deployment.session import KeepAlive, Session
from kit.deployment.socket import Socket

__all__ = ["make_app"]

log = logging.getLogger(__name__)

# https://semver.org, as far as npm versions go.
_semver = re.compile(r"\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


def make_app(
    runtime: Runtime, *, keep_alive: KeepAlive | None = None
) -> web.Application:
    """The application around `runtime`, which it starts and stops."""
    sessions = Sessions(runtime, keep_alive or KeepAlive())

    async def start(app: web.Application) -> None:
        runtime.start()

    async def stop(app: web.Application) -> None:
        # Before the handlers are waited for, so that they come to an end.
        sessions.stop()
        await runtime.aclose()

    app = web.Application(middlewares=[guard], client_max_size=MAX_BODY)
    app.add_routes(HttpApi(runtime).routes())
    app.add_routes(AdminApi(runtime).routes())
    app.add_routes(page_routes())
    app.add_routes(
        [
            web.get("/api/sync", sessions.serve),
            web.get("/api/{version}/sync", sessions.serve),
        ]
    )
    app.on_response_prepare.append(allow_origin)
    app.on_startup.append(start)
    app.on_shutdown.append(stop)
    return app


class Sessions:
    """The open sessions of a deployment."""

    def __init__(self, runtime: Runtime, keep_alive: KeepAlive) -> None:
        self._runtime = runtime
        self._keep_alive = keep_alive
        self._open: set[Session] = set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One WebSocket, from handshake to end."""
        version = request.match_info.get("version")
        if version is not None and not _semver.fullmatch(version):
            raise Rejection(
                400, "InvalidVersion", f"{version[:80]!r} is not a client version."
            )
        socket = Socket(request)
        response = await socket.accept()
        session = Session(self._runtime, socket, keep_alive=self._keep_alive)
        self._open.add(session)
        client = request.headers.get("Convex-Client", version)
        log.debug("session of %.40s opened, %d open", client, len(self._open))
        try:
            await session.run()
        finally:
            self._open.discard(session)
            log.debug("session of %.40s closed, %d open", client, len(self._open))
        return response

    def stop(self) -> None:
        """Close all sessions; their handlers end soon after."""
        for session in self._open:
            session.stop()
