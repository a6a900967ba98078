"""Whether a subscription gets its first result, through the official client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from kit.client import Deployment
from kit.client.credentials import secrets_in
from kit.doctor.findings import Finding, ok, problem
from kit.errors import DeploymentError, FunctionError

__all__ = ["look_at_subscription"]


async def look_at_subscription(
    url: str, timeout: float, env: Mapping[str, str]
) -> Finding:
    """Subscribe, and wait up to `timeout` seconds for anything that comes.

    `env` says who subscribes.

    An error of the query is an answer as well: it came over the WebSocket.
    """
    started = time.monotonic()
    deployment = Deployment(url, **secrets_in(env))
    try:
        async with asyncio.timeout(timeout):
            await anext(deployment.subscribe("contract:version"))
    except FunctionError:
        pass
    except TimeoutError:
        seen = f"No first result within {timeout:g} s."
        return problem("subscription", "subscription", seen, url)
    except (DeploymentError, OSError) as error:
        return problem("subscription", "subscription", str(error), url)
    finally:
        await deployment.close()
    seen = f"First result after {time.monotonic() - started:.2f} s."
    return ok("subscription", seen, url)
