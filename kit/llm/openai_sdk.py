"""The `openai` SDK's client, as both wires that use it need it.

Holds the construction and nothing about any wire.
"""

from __future__ import annotations

import httpx2
import openai

from kit.llm.providers import Route
from kit.llm.transport import NO_KEY, http_client, quiet_loggers, timeouts

__all__ = ["openai_client"]


def openai_client(
    route: Route, transport: httpx2.AsyncBaseTransport | None
) -> openai.AsyncOpenAI:
    """A client for `route` alone, without retries and without the environment.

    Organisation, project and custom headers, which the SDK takes from the
    environment, are dropped by the transport: they must not reach another host.
    """
    client = openai.AsyncOpenAI(
        api_key=NO_KEY,
        base_url=route.base_url,
        max_retries=0,
        timeout=timeouts(route),
        http_client=http_client(route, transport),
    )
    quiet_loggers()
    return client
