"""What the kit's servers share: who may reach them, what they do when they start."""

import json
import subprocess
import sys
import urllib.request

import pytest

from kit.serving import is_loopback


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8888", True),
        ("http://localhost", True),
        ("https://[::1]:1", True),
        ("//127.0.0.1:80", True),
        ("http://127.0.0.1.example.org", False),
        ("http://example.org", False),
        ("http://evil.example@localhost", False),
        ("http://localhost/evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
    ],
)
def test_is_loopback(url: str, local: bool) -> None:
    assert is_loopback(url) is local


SERVER = """
import asyncio, gc
from aiohttp import web
from kit.serving import serve

async def tell(request: web.Request) -> web.Response:
    return web.json_response(gc.get_freeze_count())

app = web.Application()
app.add_routes([web.get("/", tell)])
asyncio.run(serve(app, port=0))
"""


def test_a_servers_modules_are_passed_over_by_the_garbage_collector() -> None:
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        with urllib.request.urlopen(url, timeout=10) as response:
            passed_over = json.load(response)
        server.terminate()
        assert server.wait(10) == 0
    assert passed_over > 10_000
