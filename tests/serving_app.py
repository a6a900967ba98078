"""Serve an application in the test's own loop, as `kit.serving` does in a process.

aiohttp's own test server cancels handlers when a client goes, which a server does not.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from kit.serving import HOST, finish_accepting

__all__ = ["serving"]


@asynccontextmanager
async def serving(
    app: web.Application,
    *,
    tls: ssl.SSLContext | None = None,
    shutdown_timeout: float = 0.1,
    handler_cancellation: bool = False,
) -> AsyncIterator[str]:
    """The URL, on a free port, for the time of the block.

    Handlers get `shutdown_timeout` seconds to end; with `handler_cancellation` they are
    cancelled when their client goes.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=shutdown_timeout,
        handler_cancellation=handler_cancellation,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0, ssl_context=tls).start()
        scheme = "https" if tls else "http"
        yield f"{scheme}://{HOST}:{runner.addresses[0][1]}"
    finally:
        await finish_accepting()
        await runner.cleanup()
