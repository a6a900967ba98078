"""The small pages."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from serving_app import serving

from kit.deployment.http_pages import GREETING, INSTANCE_NAME, page_routes


@pytest.fixture
async def url() -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes(page_routes())
    async with serving(app, shutdown_timeout=2.0) as url:
        yield url


async def text_of(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.ok
        return await answer.text()


async def test_it_says_that_it_runs_and_what_it_is(url: str) -> None:
    assert await text_of(url) == GREETING
    assert await text_of(f"{url}/instance_name") == INSTANCE_NAME
    version = await text_of(f"{url}/version")
    assert version[0].isdigit()
    assert await text_of(f"{url}/instance_version") == version


async def test_it_echoes_whatever_it_gets(url: str) -> None:
    data = b"\xff\x00{"
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/echo", data=data) as answer:
            assert await answer.read() == data
        event = {"event": "LongWebsocketDisconnect"}
        async with session.post(f"{url}/api/debug_event", json=event) as answer:
            assert answer.ok
