"""What every HTTP request and WebSocket handshake passes before it is served.

Holds who may come in, and how a request that is refused reads. The deployment serves
whoever is on this machine; as whom, is up to `auth`. A web page from elsewhere, open in
a browser on this machine, is not: such a request gives itself away by its Origin, or by
its Host when a foreign name was made to point here (DNS rebinding).

Refusals are `{"code": ..., "message": ...}` with the status that Convex's backend has
for the class of error.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from kit.deployment.requests import loggable
from kit.serving import is_loopback

__all__ = ["Rejection", "allow_origin", "guard"]

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_CODES = {
    400: "BadRequest",
    404: "NotFound",
    405: "MethodNotAllowed",
    413: "RequestTooLarge",
}
_client_name = re.compile(r"[^-].*-.+")
# HTTP actions and file storage.
_not_offered = re.compile(r"/(http|api/storage)(/|$)")


class Rejection(Exception):
    """A request is wrong in itself; no function has run."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        super().__init__(message)

    def response(self) -> web.Response:
        return web.Response(
            status=self.status,
            body=msgspec.json.encode({"code": self.code, "message": self.message}),
            content_type="application/json",
        )


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse strangers; turn refusals and unexpected errors into JSON answers."""
    try:
        _check_host(request)
        _check_origin(request)
        if request.method == "OPTIONS":
            return _preflight(request)
        _check_client(request)
        return await handler(request)
    except Rejection as rejection:
        log.info("%s %s refused: %s", *_shown(request), rejection.code)
        return rejection.response()
    except web.HTTPException as error:
        code = _CODES.get(error.status, "Error")
        return Rejection(error.status, code, _explain(request, error)).response()
    except Exception:
        log.exception("%s %s failed", *_shown(request))
        return Rejection(
            500,
            "InternalServerError",
            "Your request couldn't be completed. Try again later.",
        ).response()


async def allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    """Before any response: a page that was let in may read the answer (CORS)."""
    origin = request.headers.get("Origin")
    if origin is not None and is_loopback(origin):
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Vary"] = "Origin"


def _shown(request: web.Request) -> tuple[str, str]:
    """For the log: without the query string, which may hold arguments."""
    return request.method, loggable(request.path)


def _check_host(request: web.Request) -> None:
    host = request.headers.get("Host", "")
    if not is_loopback(f"//{host}"):
        raise Rejection(
            403,
            "ForbiddenHost",
            "This deployment is for this machine only: reach it by its address "
            "127.0.0.1, or as localhost.",
        )


def _check_origin(request: web.Request) -> None:
    origin = request.headers.get("Origin")
    if origin is not None and not is_loopback(origin):
        raise Rejection(
            403,
            "ForbiddenOrigin",
            f"This deployment is for this machine only: a page from {origin[:200]} "
            "may not use it.",
        )


def _check_client(request: web.Request) -> None:
    client = request.headers.get("Convex-Client")
    if client is not None and not _client_name.fullmatch(client):
        raise Rejection(
            400,
            "InvalidClientVersion",
            f"{client[:80]!r} is not a client version: expected <name>-<version>.",
        )


def _preflight(request: web.Request) -> web.Response:
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": "GET,POST,OPTIONS,PATCH,DELETE,PUT",
            "Access-Control-Allow-Headers": request.headers.get(
                "Access-Control-Request-Headers", ""
            ),
            "Access-Control-Max-Age": "86400",
        },
    )


def _explain(request: web.Request, error: web.HTTPException) -> str:
    if error.status == 404:
        if _not_offered.match(request.path):
            return (
                f"{request.path[:200]} is not offered by the embedded deployment. Use "
                "a Convex deployment for what needs it."
            )
        doubled = " (Does the deployment's URL end in a slash?)"
        hint = doubled if request.path.startswith("//") else ""
        return f"There is nothing at {request.path[:200]}.{hint}"
    if error.status == 405:
        return f"{request.path[:200]} does not take {request.method}."
    return error.text or error.reason
