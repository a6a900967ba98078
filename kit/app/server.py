"""The application's server process: Socket.IO, and a few HTTP calls beside it.

`python -m kit.app.server` reads the settings, puts the application together and
serves it, to this machine only: a request with a foreign Host or Origin, such as one
from a web page elsewhere, is refused. Which form of the application runs is read from
`.env.local` once, when it starts. On a deployment that asks who calls, it acts as the
user of KIT_CONVEX_TOKEN, or with KIT_CONVEX_ADMIN_KEY, both from its environment.

`GET /health` gives `{status, mode}`, `GET /about` what is in `about`; `POST /api/tasks
{title}` gives `{taskId}`; `GET /api/tasks/{id}` gives the task, `GET
/api/tasks/{id}/messages` gives `{messages}`, both from SQL. The Socket.IO events are in
`events`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import msgspec
from aiohttp import web

from kit.app.about import About
from kit.app.chat import ChatService
from kit.app.convex_chat import ConvexChat, own_api_keys
from kit.app.events import Room, SocketEvents
from kit.app.flags import Flags
from kit.app.history import History
from kit.app.llm_service import LLMService
from kit.app.out_of_sight import OutOfSight
from kit.app.recovery import Recovery
from kit.app.runs import Runs
from kit.app.tasks import Tasks
from kit.app.workspace import Workspace
from kit.client import Deployment
from kit.client.credentials import secrets_in
from kit.convex._tools import TOOLS
from kit.deltas import valid_text
from kit.errors import ConfigError, DatabaseError, DeploymentError
from kit.serving import is_loopback, log_to_stderr, serve

__all__ = ["main"]

logger = logging.getLogger("kit.app.server")  # also when run as __main__


class _NewTask(msgspec.Struct):
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit status, 2 for a bad setting."""
    options = _parser().parse_args(argv)
    log_to_stderr(options.log_level)
    try:
        asyncio.run(_run(options, os.environ))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m kit.app.server",
        description="The chat application that is migrated from Socket.IO to Convex.",
    )
    parser.add_argument(
        "--port", type=_port, default=0, help="0 takes a free one (default)"
    )
    parser.add_argument(
        "--env-file",
        type=Path,
        default=Path(".env.local"),
        metavar="PATH",
        help="where the migration's flags are (default .env.local)",
    )
    parser.add_argument(
        "--history-url",
        default="sqlite+aiosqlite:///history.db",
        metavar="URL",
        help="the SQL database: sqlite+aiosqlite:///FILE or postgresql+psycopg://...",
    )
    parser.add_argument(
        "--workspace",
        type=Path,
        default=Path("workspace"),
        metavar="DIR",
        help="where tasks have their files (default workspace)",
    )
    parser.add_argument(
        "--log-level",
        default="INFO",
        type=str.upper,
        choices=["DEBUG", "INFO", "WARNING", "ERROR"],
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return int(text)


async def _run(options: argparse.Namespace, env: Mapping[str, str]) -> None:
    flags = Flags.read(options.env_file)
    try:
        options.workspace.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The workspace {options.workspace} cannot be used: {error.strerror}."
        ) from None
    async with AsyncExitStack() as stack:
        history = await History.open(options.history_url)
        stack.push_async_callback(history.close)
        convex, convex_url = None, None
        if flags.use_convex_realtime:
            assert flags.convex_url is not None
            deployment = Deployment(flags.convex_url, **secrets_in(env))
            stack.push_async_callback(deployment.close)
            convex = ConvexChat(deployment, own_api_keys(env))
            convex_url = deployment.url
        logger.info(
            "[CHAT] Mode %s, history in %s, Convex at %s",
            flags.mode,
            history,
            convex_url or "no URL (flag off)",
        )
        about = About(options.env_file, flags, convex_url, env)
        app = _application(flags, history, convex, options.workspace, env, about)
        await serve(app, port=options.port)


def _application(
    flags: Flags,
    history: History,
    convex: ConvexChat | None,
    workspace: Path,
    env: Mapping[str, str],
    about: About,
) -> web.Application:
    room = Room()

    async def emit_sidecar_event(event: str, payload: dict[str, Any]) -> None:
        await room.emit(payload["taskId"], event, payload)

    tasks = Tasks(history, room.emit, convex)
    runs = Runs()
    after = None if convex is None else _Afterwards(flags, history, tasks, convex, runs)
    chat = ChatService(
        flags.mode,
        history=history,
        tasks=tasks,
        llm_service=LLMService(env, tools=TOOLS),
        convex=convex,
        workspace=Workspace(workspace, emit_sidecar_event),
        emit=room.emit,
        runs=runs,
        on_out_of_sight=after.out_of_sight.look_for if after else lambda _, __: None,
        tools=TOOLS,
    )
    SocketEvents(room, chat=chat, tasks=tasks, history=history)
    app = web.Application(middlewares=[_local_only])
    room.attach(app)
    app.add_routes(_Http(flags, tasks, history, about).routes())

    if after is not None:
        app.on_startup.append(after.begin)
        app.on_shutdown.append(after.close)

    async def shut_down(_: web.Application) -> None:
        await chat.close()
        await room.close()

    app.on_shutdown.append(shut_down)
    return app


class _Afterwards:
    """What is put right behind clients' backs, where there is a Convex."""

    def __init__(
        self,
        flags: Flags,
        history: History,
        tasks: Tasks,
        convex: ConvexChat,
        runs: Runs,
    ) -> None:
        self.out_of_sight = OutOfSight(
            flags.mode, history=history, tasks=tasks, convex=convex.replies, runs=runs
        )
        self._recovery = Recovery(
            flags.mode,
            history=history,
            tasks=tasks,
            convex=convex.replies,
            runs=runs,
            on_out_of_sight=self.out_of_sight.look_for,
        )

    async def begin(self, _: web.Application) -> None:
        await self._recovery.begin()

    async def close(self, _: web.Application) -> None:
        await self.out_of_sight.close()


@web.middleware
async def _local_only(
    request: web.Request,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> web.StreamResponse:
    """Refuse what a web page from elsewhere, or a name pointed here, has sent."""
    origin = request.headers.get("Origin")
    if not is_loopback(f"//{request.host}"):
        return _refusal(403, f"This server is not {request.host}. Use 127.0.0.1.")
    if origin is not None and not is_loopback(origin):
        return _refusal(403, f"Pages from {origin} may not use this server.")
    return await handler(request)


class _Http:
    def __init__(
        self, flags: Flags, tasks: Tasks, history: History, about: About
    ) -> None:
        self._flags = flags
        self._tasks = tasks
        self._history = history
        self._about = about

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/health", self._health),
            web.get("/about", self._tell_about),
            web.post("/api/tasks", self._create_task),
            web.get("/api/tasks/{id}", self._task),
            web.get("/api/tasks/{id}/messages", self._messages),
        ]

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "mode": self._flags.mode})

    async def _tell_about(self, _: web.Request) -> web.Response:
        return web.json_response(await self._about.tell())

    async def _create_task(self, request: web.Request) -> web.Response:
        try:
            new = msgspec.json.decode(await request.read(), type=_NewTask)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _refusal(400, f'{error}. Send JSON such as {{"title": "My task"}}.')
        title = valid_text(new.title).strip()
        if not title:
            return _refusal(400, "The title is blank. A task needs one.")
        try:
            task_id = await self._tasks.create(title)
        except (DeploymentError, DatabaseError) as error:
            return _refusal(503, f"The task was not created. {error}")
        return web.json_response({"taskId": task_id}, status=201)

    async def _task(self, request: web.Request) -> web.Response:
        """What SQL has. Unlike the events, this takes nothing over from Convex."""
        task_id = request.match_info["id"]
        try:
            task = await self._history.task(task_id)
        except DatabaseError as error:
            return _refusal(503, str(error))
        if task is None:
            return _refusal(404, f"There is no task {task_id!r}.")
        return web.json_response(task)

    async def _messages(self, request: web.Request) -> web.Response:
        task_id = request.match_info["id"]
        try:
            if await self._tasks.find(task_id) is None:
                return _refusal(404, f"There is no task {task_id!r}.")
            messages = await self._history.messages(task_id)
        except DatabaseError as error:
            return _refusal(503, str(error))
        return web.json_response({"messages": messages})


def _refusal(status: int, error: str) -> web.Response:
    return web.json_response({"error": error}, status=status)


if __name__ == "__main__":
    sys.exit(main())
