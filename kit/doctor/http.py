"""HTTP as a doctor needs it: one GET or POST, a time limit, and why there is no answer.

Holds the requests and the sorting of what goes wrong below them. What an answer means
is up to the probes. Follows no redirects, uses no proxy (the kit's clients use none
either), and keeps no cookies.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = ["Answer", "Http", "NoAnswer", "Obstacle", "resolve"]

LARGEST_BODY = 16 * 1024 * 1024

Obstacle = Literal[
    "dns", "refused", "unreachable", "silent", "tls", "certificate", "not-http"
]


class NoAnswer(Exception):
    """Nobody answered; `obstacle` is what was in the way, the text says it in words."""

    def __init__(self, obstacle: Obstacle, text: str) -> None:
        self.obstacle: Obstacle = obstacle
        super().__init__(text)


@dataclass(frozen=True)
class Answer:
    """What came back. Header names are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace").strip()

    def json(self) -> Any:
        """The body's JSON value; None if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Http:
    """Requests that take `timeout` seconds at most, each. A context manager."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout

    async def __aenter__(self) -> Http:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=_Resolver(), force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self.timeout),
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def get(self, url: str) -> Answer:
        """GET. Raises NoAnswer."""
        return await self._request("GET", url)

    async def post(
        self, url: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """POST JSON. Raises NoAnswer."""
        return await self._request("POST", url, json=body, headers=headers)

    async def _request(self, method: str, url: str, **more: Any) -> Answer:
        try:
            async with self._session.request(
                method, url, allow_redirects=False, **more
            ) as response:
                headers = {
                    name.lower(): text for name, text in response.headers.items()
                }
                return Answer(response.status, headers, await _body(response))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise _no_answer(error, self.timeout) from None


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """The body, or the start of one that is too large to be meant."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > LARGEST_BODY:
            break
    return bytes(body)


def _no_answer(error: Exception, timeout: float) -> NoAnswer:
    match error:
        case aiohttp.ClientConnectorDNSError():
            text = f"the host name {error.host!r} does not resolve"
            return NoAnswer("dns", text)
        case aiohttp.ClientConnectorCertificateError():
            return NoAnswer("certificate", str(error.certificate_error))
        case aiohttp.ClientSSLError():
            return NoAnswer("tls", _reason(error))
        case TimeoutError():
            return NoAnswer("silent", f"no answer within {timeout:g} s")
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return NoAnswer("refused", "the connection was refused")
        case aiohttp.ClientConnectorError():
            return NoAnswer("unreachable", _reason(error.os_error))
        case _:
            return NoAnswer("not-http", _reason(error))


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())[:200] or type(error).__name__


# --- names ------------------------------------------------------------------------


async def resolve(
    host: str, port: int, family: int = socket.AF_UNSPEC
) -> list[tuple[Any, ...]]:
    """`socket.getaddrinfo` in a thread that nobody waits for. Raises OSError.

    A name server that does not answer holds its caller for half a minute or so, and
    the event loop's own threads are waited for when a program ends.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[tuple[Any, ...]]] = loop.create_future()

    def tell(outcome: list[tuple[Any, ...]] | OSError) -> None:
        if found.done():
            return
        if isinstance(outcome, OSError):
            found.set_exception(outcome)
        else:
            found.set_result(outcome)

    def look_up() -> None:
        outcome: list[tuple[Any, ...]] | OSError
        try:
            outcome = list(
                socket.getaddrinfo(host, port, family, type=socket.SOCK_STREAM)
            )
        except OSError as error:
            outcome = error
        except UnicodeError:  # a label that is empty or too long
            outcome = OSError(f"{host!r} cannot be a host name")
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, outcome)

    threading.Thread(target=look_up, name="name look-up", daemon=True).start()
    return await found


class _Resolver(AbstractResolver):
    """Resolves names as `resolve` does."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=address[1],
                family=found_family,
                proto=proto,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, proto, _, address in await resolve(host, port, family)
        ]

    async def close(self) -> None:
        pass
