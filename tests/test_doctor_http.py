"""One request, and why there is no answer."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from aiohttp import web
from doctor_helpers import PlayedConvex, http, played, tls_server
from serving_app import serving
from wrong_places import not_http, refusing, silent, unresolvable

from kit.doctor.http import NoAnswer, Obstacle, resolve

Place = Callable[[], AbstractAsyncContextManager[str]]


async def obstacle(url: str, timeout: float = 20) -> NoAnswer:
    async with http(timeout) as requests:
        with pytest.raises(NoAnswer) as caught:
            await requests.get(url)
    return caught.value


@pytest.mark.parametrize(
    ("place", "expected"),
    [(refusing, "refused"), (unresolvable, "dns"), (not_http, "not-http")],
)
async def test_what_is_in_the_way_is_told(place: Place, expected: Obstacle) -> None:
    async with place() as url:
        assert (await obstacle(url)).obstacle == expected


async def test_silence_has_an_end() -> None:
    async with silent() as url:
        error = await obstacle(url, timeout=0.3)
    assert (error.obstacle, str(error)) == ("silent", "no answer within 0.3 s")


async def test_a_body_that_never_ends_has_an_end() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    app = web.Application()
    app.router.add_get("/", drip)
    async with serving(app) as url, http() as requests:
        answer = await requests.get(url)
    assert len(answer.body) > 1_000_000


async def test_a_certificate_that_nobody_trusts(tmp_path: Path) -> None:
    async with tls_server(tmp_path) as url:
        error = await obstacle(url)
        assert error.obstacle == "certificate"
        assert "self-signed" in str(error)
        plain = await obstacle(url.replace("https", "http"))
    assert plain.obstacle == "not-http"


async def test_encryption_where_there_is_none() -> None:
    async with played(PlayedConvex({})) as url:
        assert (await obstacle(url.replace("http", "https"))).obstacle == "tls"


async def test_redirects_are_answers() -> None:
    async def move(_: web.Request) -> web.Response:
        raise web.HTTPMovedPermanently("http://127.0.0.1:1/")

    app = web.Application()
    app.router.add_get("/", move)
    async with serving(app) as url, http() as requests:
        answer = await requests.get(url)
    assert (answer.status, answer.headers["location"]) == (301, "http://127.0.0.1:1/")


async def test_json_that_is_none_is_none() -> None:
    async def deep(_: web.Request) -> web.Response:
        return web.Response(body=b"[" * 100_000)

    app = web.Application()
    app.router.add_get("/", deep)
    async with serving(app) as url, http() as requests:
        assert (await requests.get(url)).json() is None


# --- names ------------------------------------------------------------------------


async def test_a_name_is_resolved() -> None:
    found = await resolve("127.0.0.1", 80)
    assert [address[4] for address in found] == [("127.0.0.1", 80)]
    for name in ("no-such-host.invalid", "a" * 70 + ".invalid"):
        with pytest.raises(OSError):
            await resolve(name, 80)


def test_a_slow_name_server_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also not when the loop ends: that is what a thread pool would do."""
    release = threading.Event()

    def look_up(*_: object, **__: object) -> list[object]:
        release.wait()
        return []

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await resolve("slow.example", 80)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        asyncio.run(give_up())  # returns, though the look-up does not
    finally:
        release.set()
