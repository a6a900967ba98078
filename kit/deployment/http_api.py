"""The HTTP calls of a deployment: its functions. The other pages are in `http_pages`.

Holds how a request is read and how an outcome is written. What a function does, also
its errors, is an answer with status 200; only a request that is wrong in itself gets
another status, as `{"code": ..., "message": ...}` (see `http_guard`). Mirrors
`public_api.rs` of Convex's backend.

| path below /api | body | who |
|---|---|---|
| POST query, mutation, action | `{path, args, format?}` | anybody |
| GET query | `?path=&args=&format=`, `args` being JSON text | anybody |
| POST query_ts | | anybody |
| POST query_at_ts | `{path, args, format?, ts}` | anybody |
| POST query_batch | `{queries: [{path, args, format?}]}` | anybody |
| POST run/dir/module/name | `{args, format?}` | anybody |
| POST function | `{path, args, format?}` | admins |

Whoever sends an `Authorization` acts as the user or the admin that it is about, or is
refused; an admin reaches internal functions, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, Raw, UnsetType

from kit.deployment.actions import ActionOutcome
from kit.deployment.engine import MutationOutcome, QueryOutcome
from kit.deployment.formats import FORMATS, formatted
from kit.deployment.history import NotKept
from kit.deployment.http_guard import Rejection
from kit.deployment.http_identity import identify, require_admin
from kit.deployment.identity import Identity
from kit.deployment.paths import parse_path
from kit.deployment.requests import MAX_ARGS_TEXT, new_request_id
from kit.deployment.runtime import Runtime
from kit.errors import ProtocolError
from kit.protocol import decode_timestamp, encode_timestamp

__all__ = ["MAX_BODY", "HttpApi"]

MAX_BODY = MAX_ARGS_TEXT + 2000

Outcome = QueryOutcome | MutationOutcome | ActionOutcome


class Call(msgspec.Struct, frozen=True, rename="camel"):
    """A function to be called: the body of most requests."""

    path: str
    args: Raw
    format: str | None = None
    component_path: str | None = None


class CallAt(Call, frozen=True):
    """A query to be run as of a timestamp."""

    ts: str = ""


class Batch(msgspec.Struct, frozen=True):
    """Queries to be run at the same timestamp."""

    queries: list[Call]


class CallOfPath(msgspec.Struct, frozen=True):
    """A call of the function that the URL names."""

    args: Raw
    format: str | None = None


class Success(
    msgspec.Struct, frozen=True, rename="camel", tag_field="status", tag="success"
):
    value: Raw
    log_lines: Sequence[str] | UnsetType


class Failure(
    msgspec.Struct, frozen=True, rename="camel", tag_field="status", tag="error"
):
    error_message: str
    error_data: Raw | UnsetType
    log_lines: Sequence[str] | UnsetType


Body = TypeVar("Body")


class HttpApi:
    """The handlers, over one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to an application's router."""
        return [
            web.get("/api/query", self.query_by_get),
            web.post("/api/query", self.query),
            web.post("/api/query_ts", self.query_timestamp),
            web.post("/api/query_at_ts", self.query_at_timestamp),
            web.post("/api/query_batch", self.query_batch),
            web.post("/api/mutation", self.mutation),
            web.post("/api/action", self.action),
            web.post("/api/function", self.function),
            web.post("/api/run/{path:.*}", self.run),
        ]

    async def query(self, request: web.Request) -> web.Response:
        identity = identify(self._runtime, request)
        return self._query(request, _check(await _read(request, Call)), identity)

    async def query_by_get(self, request: web.Request) -> web.Response:
        identity = identify(self._runtime, request)
        path = request.query.get("path")
        if path is None:
            raise Rejection(400, "BadQueryArgs", "The parameter `path` is missing.")
        args = Raw(request.query.get("args", "{}"))
        call = Call(path, args, request.query.get("format"))
        return self._query(request, _check(call), identity)

    def _query(
        self, request: web.Request, call: Call, identity: Identity
    ) -> web.Response:
        outcome = self._runtime.query(call.path, call.args, identity)
        return _json(_answer(request, call.format, outcome))

    async def query_timestamp(self, request: web.Request) -> web.Response:
        timestamp = encode_timestamp(self._runtime.engine.latest_timestamp)
        return _json({"ts": timestamp})

    async def query_at_timestamp(self, request: web.Request) -> web.Response:
        """What the npm client's `consistentQuery` calls, with the one timestamp that
        it has asked for at first."""
        identity = identify(self._runtime, request)
        call = _check(await _read(request, CallAt))
        try:
            timestamp = decode_timestamp(call.ts)
        except ProtocolError as error:
            raise Rejection(400, "BadTimestamp", str(error)) from None
        outcome = self._query_at(call, identity, timestamp)
        return _json(_answer(request, call.format, outcome))

    async def query_batch(self, request: web.Request) -> web.Response:
        identity = identify(self._runtime, request)
        calls = [_check(call) for call in (await _read(request, Batch)).queries]
        timestamp = self._runtime.engine.latest_timestamp
        results = []
        for call in calls:
            outcome = self._query_at(call, identity, timestamp)
            results.append(_answer(request, call.format, outcome))
            # Others have their turn between two functions.
            await asyncio.sleep(0)
        return _json({"results": results})

    def _query_at(self, call: Call, identity: Identity, timestamp: int) -> QueryOutcome:
        try:
            return self._runtime.query(call.path, call.args, identity, at=timestamp)
        except NotKept as error:
            raise Rejection(400, "OutOfRetention", f"{error}.") from None

    async def mutation(self, request: web.Request) -> web.Response:
        identity = identify(self._runtime, request)
        call = _check(await _read(request, Call))
        outcome = self._runtime.mutation(call.path, call.args, identity)
        return _json(_answer(request, call.format, outcome))

    async def action(self, request: web.Request) -> web.Response:
        """The action goes on when the client goes away: nothing here cancels it."""
        identity = identify(self._runtime, request)
        call = _check(await _read(request, Call))
        outcome = await self._runtime.action(call.path, call.args, identity)
        return _json(_answer(request, call.format, outcome))

    async def function(self, request: web.Request) -> web.Response:
        """Any function, for an admin."""
        identity = identify(self._runtime, request)
        require_admin(identity)
        call = _check(await _read(request, Call))
        return await self._any(request, call, identity)

    async def run(self, request: web.Request) -> web.Response:
        """Any function that the client may call, by the path of the URL."""
        identity = identify(self._runtime, request)
        module, _, name = request.match_info["path"].rpartition("/")
        if not module or not name:
            raise Rejection(
                400,
                "MissingIdentifier",
                "Path or function name not provided in path, e.g. "
                "/api/run/messages/list",
            )
        body = await _read(request, CallOfPath)
        call = _check(Call(f"{module}:{name}", body.args, body.format))
        return await self._any(request, call, identity)

    async def _any(
        self, request: web.Request, call: Call, identity: Identity
    ) -> web.Response:
        outcome = await self._runtime.function(call.path, call.args, identity)
        return _json(_answer(request, call.format, outcome))


async def _read(request: web.Request, kind: type[Body]) -> Body:
    """The body of a request. Raises Rejection."""
    if request.content_type != "application/json":
        raise Rejection(
            400, "BadJsonBody", "Expected request with `Content-Type: application/json`"
        )
    body = await request.read()
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Rejection(400, "BadJsonBody", f"The body is not valid: {error}") from None
    except RecursionError:
        raise Rejection(400, "BadJsonBody", "The body is nested too deeply") from None


AnyCall = TypeVar("AnyCall", bound=Call)


def _check(call: AnyCall) -> AnyCall:
    """The call, if it can be one. Raises Rejection."""
    try:
        parse_path(call.path)
    except ValueError as error:
        raise Rejection(
            400,
            "BadConvexFunctionIdentifier",
            f"{call.path[:200]} is not a valid path to a Convex function. {error}",
        ) from None
    if call.format not in FORMATS:
        raise Rejection(
            400,
            "BadFormat",
            f"param `format` must be one of {', '.join(filter(None, FORMATS))}. "
            f"Got: {str(call.format)[:80]}",
        )
    if call.component_path:
        raise Rejection(
            400,
            "ComponentNotFound",
            "This deployment has no components: leave `componentPath` out.",
        )
    return call


def _answer(
    request: web.Request, format: str | None, outcome: Outcome
) -> Success | Failure:
    log_lines = outcome.log_lines or UNSET
    error = outcome.error
    if error is None:
        assert outcome.value_json is not None
        return Success(formatted(outcome.value_json, format), log_lines)
    data = error.data_json
    return Failure(
        error.render(_request_id(request)),
        UNSET if data is None else formatted(data, format),
        log_lines,
    )


def _request_id(request: web.Request) -> str:
    """The id that the client chose for its request, if it did."""
    given = request.headers.get("Convex-Request-Id", "")
    return given if given.isalnum() and len(given) <= 64 else new_request_id()


def _json(content: object) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(content), content_type="application/json"
    )
