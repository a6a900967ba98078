"""The HTTP client below both SDKs: what leaves the machine, and to where.

Holds the one place where a key meets a header. The SDKs read organisation, project,
headers and base URLs from the environment and would send them to whatever host they
are pointed at, OpenRouter included; so headers are held to a list, and the SDK itself
never knows the key.
"""

from __future__ import annotations

import ipaddress
import logging

import httpx2

from kit.llm.providers import Route

__all__ = ["NO_KEY", "http_client", "quiet_loggers", "timeouts"]

# What an SDK's constructor is given for a key. The real one is set on each request.
NO_KEY = "set-by-the-transport"

_CONNECT_TIMEOUT = 5.0
_WRITE_TIMEOUT = 30.0
_POOL_TIMEOUT = 5.0

# As many replies at a time as the SDKs' own clients allow.
_LIMITS = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)

_SENT_HEADERS = frozenset(
    (
        "accept",
        "anthropic-version",
        "connection",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
        "user-agent",
    )
)


def timeouts(route: Route) -> httpx2.Timeout:
    """`read` is the longest silence: each chunk of the body starts it anew."""
    return httpx2.Timeout(
        connect=_CONNECT_TIMEOUT,
        read=route.read_timeout,
        write=_WRITE_TIMEOUT,
        pool=_POOL_TIMEOUT,
    )


def http_client(
    route: Route, transport: httpx2.AsyncBaseTransport | None = None
) -> httpx2.AsyncClient:
    """A client for `route` alone; `transport` takes the network's place in tests.

    It does not follow redirects: no API redirects, and a key must not travel on.
    """

    async def on_request(request: httpx2.Request) -> None:
        for name in set(request.headers):
            if name not in _SENT_HEADERS and not name.startswith("x-stainless-"):
                del request.headers[name]
        if request.method == "POST":
            request.headers["content-type"] = "application/json"
        # Uncompressed: a proxy that compresses a stream collects it first.
        request.headers["accept-encoding"] = "identity"
        request.headers["authorization"] = f"Bearer {route.api_key.reveal()}"

    url = httpx2.URL(route.base_url)
    return httpx2.AsyncClient(
        transport=transport,
        timeout=timeouts(route),
        limits=_LIMITS,
        follow_redirects=False,
        event_hooks={"request": [on_request]},
        # A proxy does not reach this machine's own servers.
        trust_env=not _is_loopback(url.host),
        # Without TLS, loading the system's certificates is 35 ms for nothing.
        verify=url.scheme == "https",
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def quiet_loggers() -> None:
    """Keep the SDKs' loggers at WARNING: at DEBUG they log prompts.

    After the import of an SDK, which obeys ANTHROPIC_LOG and OPENAI_LOG.
    """
    for name in ("anthropic", "openai", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
