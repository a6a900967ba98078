"""Calls of a deployment that only its admins may make.

Blocking: they take milliseconds on the embedded deployment, and a cell magic cannot
await.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Literal

from kit.errors import ConfigError, DeploymentUnreachable, RequestRejected
from kit.stack import ADMIN_KEY, Stack

__all__ = ["call"]

TIMEOUT = 15.0  # s


def call(
    stack: Stack, method: Literal["GET", "POST"], path: str, **query: str | None
) -> Any:
    """Call the deployment of `stack` as its admin; the JSON that it answers.

    Raises ConfigError without an admin key, RequestRejected or DeploymentUnreachable.
    """
    if stack.admin_key is None:
        raise ConfigError(
            f"Looking inside {stack.deployment_url} needs its admin key: set "
            f"{ADMIN_KEY} in the environment (of Convex: a deploy key) and start the "
            "kernel again."
        )
    given = {name: value for name, value in query.items() if value is not None}
    request = urllib.request.Request(
        f"{stack.deployment_url}{path}?{urllib.parse.urlencode(given)}",
        method=method,
        headers={"Authorization": f"Convex {stack.admin_key.reveal()}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            raise _rejection(error) from None
    except (OSError, ValueError) as error:
        raise DeploymentUnreachable(stack.deployment_url, str(error)) from None


def _rejection(error: urllib.error.HTTPError) -> RequestRejected:
    text = error.read(10_000).decode("utf-8", "replace")
    try:
        answer = json.loads(text)
        return RequestRejected(error.code, answer["code"], answer["message"])
    except (ValueError, KeyError, TypeError):
        return RequestRejected(error.code, error.reason, text[:300])
