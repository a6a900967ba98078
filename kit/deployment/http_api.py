"""The HTTP calls of a deployment: query, mutation, action, and small ones.

Holds how a request is read and how an outcome is written. What a function does, also
its errors, is an answer with status 200; only a request that is wrong in itself gets
another status, as `{"code": ..., "message": ...}` (see `http_guard`). Mirrors
`public_api.rs` of Convex's backend.
"""

from __future__ import annotations

import base64
import importlib.metadata
import math
import struct
from collections.abc import Sequence

import msgspec
from aiohttp import web
from msgspec import UNSET, Raw, UnsetType

from kit.deployment.actions import ActionOutcome
from kit.deployment.engine import MutationOutcome, QueryOutcome
from kit.deployment.http_guard import Rejection
from kit.deployment.paths import parse_path
from kit.deployment.requests import MAX_ARGS_TEXT, new_request_id
from kit.deployment.runtime import Runtime
from kit.protocol import encode_timestamp
from kit.values import JsonValue

__all__ = ["MAX_BODY", "HttpApi"]

MAX_BODY = MAX_ARGS_TEXT + 2000
INSTANCE_NAME = "convex-streaming-kit"
GREETING = "This Convex deployment is running. See https://docs.convex.dev/."

Outcome = QueryOutcome | MutationOutcome | ActionOutcome


class FunctionRequest(msgspec.Struct, frozen=True):
    """The body of a call."""

    path: str
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


_request = msgspec.json.Decoder(FunctionRequest)


class HttpApi:
    """The handlers, over one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def routes(self) -> list[web.AbstractRouteDef]:
        """What to add to an application's router."""
        return [
            web.get("/", self.greet),
            web.get("/version", self.version),
            web.get("/instance_name", self.instance_name),
            web.get("/instance_version", self.version),
            web.get("/api/query", self.query_by_get),
            web.post("/api/query", self.query),
            web.post("/api/query_ts", self.query_timestamp),
            web.post("/api/mutation", self.mutation),
            web.post("/api/action", self.action),
        ]

    async def query(self, request: web.Request) -> web.Response:
        return self._run_query(request, await _read(request))

    async def query_by_get(self, request: web.Request) -> web.Response:
        """GET /api/query?path=&args=&format=, `args` being JSON text."""
        path = request.query.get("path")
        if path is None:
            raise Rejection(400, "BadQueryArgs", "The parameter `path` is missing.")
        args = request.query.get("args", "{}")
        call = FunctionRequest(path, Raw(args), request.query.get("format"))
        return self._run_query(request, _check(call))

    async def mutation(self, request: web.Request) -> web.Response:
        call = await _read(request)
        return _respond(request, call, self._runtime.mutation(call.path, call.args))

    async def action(self, request: web.Request) -> web.Response:
        """The action goes on when the client goes away: nothing here cancels it."""
        call = await _read(request)
        return _respond(request, call, await self._runtime.action(call.path, call.args))

    async def query_timestamp(self, request: web.Request) -> web.Response:
        timestamp = encode_timestamp(self._runtime.engine.latest_timestamp)
        return _json({"ts": timestamp})

    async def greet(self, request: web.Request) -> web.Response:
        return web.Response(text=GREETING)

    async def version(self, request: web.Request) -> web.Response:
        return web.Response(text=importlib.metadata.version("convex-streaming-kit"))

    async def instance_name(self, request: web.Request) -> web.Response:
        return web.Response(text=INSTANCE_NAME)

    def _run_query(self, request: web.Request, call: FunctionRequest) -> web.Response:
        return _respond(request, call, self._runtime.query(call.path, call.args))


async def _read(request: web.Request) -> FunctionRequest:
    """The call in the body. Raises Rejection."""
    if request.content_type != "application/json":
        raise Rejection(
            400, "BadJsonBody", "Expected request with `Content-Type: application/json`"
        )
    body = await request.read()
    try:
        call = _request.decode(body)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Rejection(400, "BadJsonBody", f"The body is not valid: {error}") from None
    except RecursionError:
        raise Rejection(400, "BadJsonBody", "The body is nested too deeply") from None
    return _check(call)


def _check(call: FunctionRequest) -> FunctionRequest:
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
    return call


def _respond(
    request: web.Request, call: FunctionRequest, outcome: Outcome
) -> web.Response:
    log_lines = outcome.log_lines or UNSET
    error = outcome.error
    if error is None:
        assert outcome.value_json is not None
        value = _formatted(outcome.value_json, call.format)
        return _json(Success(value, log_lines))
    data = error.data_json
    return _json(
        Failure(
            error.render(_request_id(request)),
            UNSET if data is None else _formatted(data, call.format),
            log_lines,
        )
    )


def _request_id(request: web.Request) -> str:
    """The id that the client chose for its request, if it did."""
    given = request.headers.get("Convex-Request-Id", "")
    return given if given.isalnum() and len(given) <= 64 else new_request_id()


def _json(content: object) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(content), content_type="application/json"
    )


# --- formats ------------------------------------------------------------------

ENCODED = ("convex_encoded_json", "convex_json")
# Also what a client gets that does not say.
CLEAN = (None, "json", "convex_clean_json")
FORMATS = (*ENCODED, *CLEAN)


def _formatted(text: str, format: str | None) -> Raw:
    """Convex JSON text as the client wants it."""
    if format in ENCODED or '{"$' not in text:
        return Raw(text)
    return Raw(msgspec.json.encode(_clean(msgspec.json.decode(text))))


def _clean(json: JsonValue) -> JsonValue:
    """Plain JSON, losing what is not JSON's: int64 and bytes become strings."""
    match json:
        case list():
            return [_clean(item) for item in json]
        case {"$integer": str(text), **rest} if not rest:
            return str(int.from_bytes(base64.b64decode(text), "little", signed=True))
        case {"$bytes": str(text), **rest} if not rest:
            return text
        case {"$float": str(text), **rest} if not rest:
            return _clean_float(struct.unpack("<d", base64.b64decode(text))[0])
        case dict():
            return {name: _clean(item) for name, item in json.items()}
        case _:
            return json


def _clean_float(value: float) -> JsonValue:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
