"""Queries, mutations and actions over HTTP, each one request and one answer.

Holds the HTTP sessions, one per event loop. Keeps no connection state and retries
nothing that could take effect twice. Mirrors Convex's public HTTP API:
`POST /api/query|mutation|action` with `format: convex_encoded_json`.

Not the official client: its calls hold the interpreter lock until the answer is
there, and it sends an action again after a lost connection, which generates twice.
"""

from __future__ import annotations

import asyncio
import logging
import re
import weakref
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

import aiohttp
import msgspec

from kit.client.credentials import NOTHING, Credentials
from kit.errors import (
    ConfigError,
    ConvexFunctionError,
    DeploymentError,
    DeploymentUnreachable,
    FunctionError,
    RequestRejected,
)
from kit.values import JsonValue, Value, from_json

__all__ = ["Calls", "Kind", "is_key", "origin", "shown_url"]

logger = logging.getLogger("kit.client.functions")

Kind = Literal["query", "mutation", "action"]

CONNECT_TIMEOUT = 4.0
FUNCTION_FAILED = 560  # an older Convex's status of a function that raised


# `prod:happy-animal-123|eyJ2…`, and an admin key: `happy-animal-123|01f3…`.
_KEY = re.compile(r"([\w:-]+)\|")
_LONGEST_SHOWN = 120


def is_key(text: str) -> bool:
    """Whether a text is a deploy key or an admin key of Convex's."""
    return _KEY.match(text.strip()) is not None


def shown_url(url: str) -> str:
    """What was given for a URL, as a text may quote it: without what may be secret."""
    url = url.strip()
    if key := _KEY.match(url):
        return f"'{key[1]}|…' (a key)"
    shown = re.sub(r"//[^/@]*@", "//…@", url).partition("?")[0].partition("#")[0]
    if len(shown) > _LONGEST_SHOWN:
        shown = shown[:_LONGEST_SHOWN] + "…"
    return repr(shown)


def origin(url: str) -> str:
    """The deployment's address as `scheme://host[:port]`.

    Raises ConfigError for anything that cannot be a deployment URL.
    """
    shown = shown_url(url)
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ConfigError(f"{shown} is not a deployment URL.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"{shown} is not a deployment URL. It looks like http://127.0.0.1:3210 or "
            "https://your-deployment.convex.cloud."
        )
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigError(
            f"{shown} has a path. A deployment URL is only scheme, host and port."
        )
    if parts.hostname.endswith(".convex.site"):
        raise ConfigError(
            f"{shown} is where HTTP actions are served. The deployment URL ends in "
            ".convex.cloud."
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


class _Answer(msgspec.Struct, tag_field="status", frozen=True):
    logLines: list[str] = []


class _Success(_Answer, tag="success", frozen=True):
    value: JsonValue = None


class _Failure(_Answer, tag="error", frozen=True):
    errorMessage: str = "Server Error"
    errorData: Any = msgspec.UNSET


class _Rejection(msgspec.Struct, frozen=True):
    code: str
    message: str


_answers = msgspec.json.Decoder(_Success | _Failure)
_rejections = msgspec.json.Decoder(_Rejection)


class Calls:
    """The HTTP side of one deployment. Safe to cancel at any point.

    `credentials` are what each call shows from now on.
    """

    def __init__(self, url: str, credentials: Credentials = NOTHING) -> None:
        self.url = url
        self.credentials = credentials
        self._sessions: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, aiohttp.ClientSession
        ] = weakref.WeakKeyDictionary()

    async def call(
        self, kind: Kind, path: str, args: JsonValue, timeout: float
    ) -> Value:
        """Run a function and return its value.

        Raises FunctionError or ConvexFunctionError (it raised), RequestRejected (the
        deployment refused the request), DeploymentUnreachable (no connection, or it was
        lost before the answer), DeploymentError (no answer within `timeout` seconds).
        Cancelling gives up waiting; the function may run on.
        """
        body = msgspec.json.encode(
            {"path": path, "args": args, "format": "convex_encoded_json"}
        )
        try:
            return await self._post(kind, path, body, timeout)
        except _Lost as lost:
            if kind != "query":
                raise lost.error from None
        try:  # a query has no effects, and the connection may just have been stale
            return await self._post(kind, path, body, timeout)
        except _Lost as lost:
            raise lost.error from None

    async def _post(self, kind: Kind, path: str, body: bytes, timeout: float) -> Value:
        limits = aiohttp.ClientTimeout(total=timeout, connect=CONNECT_TIMEOUT)
        try:
            async with self._session().post(
                f"{self.url}/api/{kind}",
                data=body,
                headers={
                    "Content-Type": "application/json",
                    **self.credentials.headers,
                },
                timeout=limits,
                allow_redirects=False,
            ) as response:
                content = await response.read()
                return self._open(path, response.status, content)
        except aiohttp.ClientConnectorError as error:
            raise DeploymentUnreachable(self.url, _connect_reason(error)) from None
        except aiohttp.ConnectionTimeoutError:
            raise DeploymentUnreachable(
                self.url, f"no connection within {CONNECT_TIMEOUT:g} s"
            ) from None
        except TimeoutError:
            raise DeploymentError(
                f"{path}: no answer from {self.url} within {timeout:g} s. "
                f"The {kind} may still be running; if it needs longer, give a timeout."
            ) from None
        except aiohttp.ClientError as error:
            raise _Lost(self.url, kind, path, error) from None

    def _open(self, path: str, status: int, content: bytes) -> Value:
        if status not in (200, FUNCTION_FAILED):
            self._reject(status, content)
        try:
            answer = _answers.decode(content)
            match answer:
                case _Success():
                    value, error = from_json(answer.value), None
                case _Failure():
                    value, error = None, _function_error(path, answer)
        except ValueError as reason:  # not JSON, of another shape, or no Convex value
            raise DeploymentError(
                f"{path}: {self.url} does not answer as a Convex deployment does "
                f"({reason}): {_excerpt(content)}"
            ) from None
        for line in answer.logLines:
            logger.info("%s: %s", path, line)
        if error is not None:
            raise error
        return value

    def _reject(self, status: int, content: bytes) -> NoReturn:
        try:
            rejection = _rejections.decode(content)
        except msgspec.DecodeError:
            raise RequestRejected(
                status, "UnexpectedAnswer", _excerpt(content)
            ) from None
        raise RequestRejected(status, rejection.code, rejection.message)

    async def probe(self, timeout: float) -> None:
        """Ask `GET /version`.

        Raises DeploymentUnreachable unless a deployment answers.
        """
        limits = aiohttp.ClientTimeout(total=timeout)
        try:
            async with self._session().get(
                f"{self.url}/version", timeout=limits, allow_redirects=False
            ) as response:
                start = await response.content.read(64)
                status, content_type = response.status, response.content_type
        except aiohttp.ClientConnectorError as error:
            raise DeploymentUnreachable(self.url, _connect_reason(error)) from None
        except TimeoutError:
            reason = f"it said nothing for {timeout:g} s"
            raise DeploymentUnreachable(self.url, reason) from None
        except aiohttp.ClientError as error:
            reason = f"it does not speak HTTP as a deployment does ({_text(error)})"
            raise DeploymentUnreachable(self.url, reason) from None
        if status != 200 or content_type == "text/html" or not start:
            reason = (
                f"something else than Convex answers there (GET /version: status "
                f"{status}, {content_type})"
            )
            raise DeploymentUnreachable(self.url, reason)

    def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # actions wait for minutes
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            self._sessions[loop] = session
        return session

    async def close(self) -> None:
        """Close this loop's session. May be called again."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()


def _function_error(path: str, failure: _Failure) -> FunctionError:
    if failure.errorData is msgspec.UNSET:
        return FunctionError(path, failure.errorMessage)
    data = from_json(failure.errorData)
    return ConvexFunctionError(path, failure.errorMessage, data)


class _Lost(Exception):
    """The connection broke after the request had gone out."""

    def __init__(self, url: str, kind: Kind, path: str, cause: Exception) -> None:
        effects = "" if kind == "query" else f"; the {kind} may have run all the same"
        reason = f"the connection was lost while {path} ran ({_text(cause)}){effects}"
        self.error = DeploymentUnreachable(url, reason)


def _connect_reason(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the host name {error.host!r} does not resolve"
    if isinstance(error.os_error, ConnectionRefusedError):
        return "the connection was refused, nothing listens on that port"
    return _text(error.os_error)


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def _excerpt(content: bytes) -> str:
    text = content[:200].decode(errors="replace")
    return text + ("…" if len(content) > 200 else "")
