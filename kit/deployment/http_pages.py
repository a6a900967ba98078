"""The small pages of a deployment, for everybody: that it runs, and what it is.

Mirrors the rest of `router.rs` of Convex's backend, as far as it is served here.
"""

from __future__ import annotations

import importlib.metadata

from aiohttp import web

__all__ = ["page_routes"]

INSTANCE_NAME = "convex-streaming-kit"
GREETING = "This Convex deployment is running. See https://docs.convex.dev/."


def page_routes() -> list[web.AbstractRouteDef]:
    """What to add to an application's router."""
    return [
        web.get("/", greet),
        web.get("/version", version),
        web.get("/instance_version", version),
        web.get("/instance_name", instance_name),
        web.post("/echo", echo),
        web.post("/api/debug_event", debug_event),
    ]


async def greet(request: web.Request) -> web.Response:
    return web.Response(text=GREETING)


async def version(request: web.Request) -> web.Response:
    return web.Response(text=importlib.metadata.version("convex-streaming-kit"))


async def instance_name(request: web.Request) -> web.Response:
    return web.Response(text=INSTANCE_NAME)


async def echo(request: web.Request) -> web.Response:
    return web.Response(body=await request.read())


async def debug_event(request: web.Request) -> web.Response:
    """What the npm client volunteers about its connection. Nobody reads it."""
    return web.Response()
