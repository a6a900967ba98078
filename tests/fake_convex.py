"""A Convex deployment for tests of the client: real protocol, functions in the test.

Speaks the HTTP calls and the sync protocol well enough for the official client, and
tells what it was asked. It runs in the test's own loop, so a test can hold an answer
back, fail it, or drop every connection.
"""

import base64
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import WSMsgType, web
from serving_app import serving

Query = Callable[[dict[str, Any]], Any]
Handler = Callable[[dict[str, Any]], Awaitable[Any]]


class Raise(Exception):
    """What a function raises; `data` makes it a ConvexError."""

    def __init__(self, message: str, data: Any = msgspec.UNSET) -> None:
        super().__init__(message)
        self.data = data


class Session:
    """One socket of the sync protocol."""

    def __init__(self, fake: "FakeConvex", socket: web.WebSocketResponse) -> None:
        self.fake = fake
        self.socket = socket
        self.version = {"querySet": 0, "identity": 0, "ts": timestamp(0)}
        self.queries: dict[int, tuple[str, Any]] = {}

    async def receive(self, message: dict[str, Any]) -> None:
        if message["type"] != "ModifyQuerySet":
            return
        results: list[dict[str, Any]] = []
        for change in message["modifications"]:
            query_id = change["queryId"]
            if change["type"] == "Add":
                self.queries[query_id] = change["udfPath"], change["args"][0]
                results.append(self.result(query_id))
            else:
                del self.queries[query_id]
                results.append({"type": "QueryRemoved", "queryId": query_id})
        await self.transition(results, message["newVersion"])

    def result(self, query_id: int) -> dict[str, Any]:
        path, args = self.queries[query_id]
        path = path.replace(".js:", ":")
        common = {"queryId": query_id, "logLines": ["[LOG] 'ran'"], "journal": None}
        try:
            value = self.fake.queries[path](args)
        except Raise as error:
            failed = {"type": "QueryFailed", "errorMessage": server_error(error)}
            if error.data is not msgspec.UNSET:
                failed["errorData"] = error.data
            return common | failed
        return common | {"type": "QueryUpdated", "value": value}

    async def transition(
        self, results: list[dict[str, Any]], query_set: int | None = None
    ) -> None:
        start = dict(self.version)
        if query_set is not None:
            self.version["querySet"] = query_set
        self.version["ts"] = timestamp(time.time_ns())
        message = {
            "type": "Transition",
            "startVersion": start,
            "endVersion": self.version,
            "modifications": results,
        }
        await self.socket.send_str(msgspec.json.encode(message).decode())


class FakeConvex:
    """`queries` by path are subscribed and called; `handlers` only called."""

    def __init__(self) -> None:
        self.url = ""
        self.queries: dict[str, Query] = {}
        self.handlers: dict[str, Handler] = {}
        self.requests: list[dict[str, Any]] = []
        self.sessions: list[Session] = []
        self.app = web.Application(middlewares=[self._refuse_while_away])
        self._is_away = False
        self.app.router.add_get("/version", self.version)
        self.app.router.add_get("/api/sync", self.sync)
        self.app.router.add_post("/api/{kind}", self.call)

    @property
    def subscribed(self) -> list[str]:
        """The function paths that are subscribed to, over all sockets."""
        return [
            path.replace(".js:", ":")
            for session in self.sessions
            for path, _ in session.queries.values()
        ]

    @web.middleware
    async def _refuse_while_away(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        if self._is_away:
            raise web.HTTPServiceUnavailable
        return await handler(request)

    async def go_away(self) -> None:
        """Drop all connections and answer nothing until `come_back`."""
        self._is_away = True
        for session in list(self.sessions):
            await session.socket.close()

    def come_back(self) -> None:
        self._is_away = False

    async def publish(self, *paths: str) -> None:
        """Send the present results of the queries at `paths` to who subscribed."""
        for session in self.sessions:
            results = [
                session.result(query_id)
                for query_id, (path, _) in session.queries.items()
                if path.replace(".js:", ":") in paths
            ]
            await session.transition(results)

    async def version(self, _: web.Request) -> web.Response:
        return web.Response(text="fake-1.0")

    async def sync(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        session = Session(self, socket)
        self.sessions.append(session)
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await session.receive(msgspec.json.decode(message.data))
        finally:
            self.sessions.remove(session)
        return socket

    async def call(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append({"kind": request.match_info["kind"], **body})
        answer: dict[str, Any] = {"logLines": ["[LOG] 'called'"]}
        try:
            if handler := self.handlers.get(body["path"]):
                value = await handler(body["args"])
            else:
                value = self.queries[body["path"]](body["args"])
            answer |= {"status": "success", "value": value}
        except Raise as error:
            answer |= {"status": "error", "errorMessage": server_error(error)}
            if error.data is not msgspec.UNSET:
                answer["errorData"] = error.data
        return json_response(answer)


@asynccontextmanager
async def fake_convex() -> AsyncIterator[FakeConvex]:
    fake = FakeConvex()
    async with serving(fake.app) as url:
        fake.url = url
        try:
            yield fake
        finally:
            for session in list(fake.sessions):
                await session.socket.close()


def json_response(content: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(content),
        status=status,
        content_type="application/json",
    )


def server_error(error: Raise) -> str:
    request_id = time.time_ns()  # each run has its own, as with Convex
    return f"[Request ID: {request_id:x}] Server Error\nUncaught {error}\n"


def timestamp(nanoseconds: int) -> str:
    return base64.b64encode(struct.pack("<Q", nanoseconds)).decode()
