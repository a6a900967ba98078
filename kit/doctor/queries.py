"""Queries of a deployment, and what their errors tell.

Only `POST /api/query` is ever sent: a query cannot write, and a mutation or an action
that is called as one is refused before it runs. So whatever functions are there,
asking leaves no trace.

A production deployment hides what failed: its errors are "Server Error" and no more,
but for the data of a ConvexError. Facts: `crates/application/src/redaction.rs` and
`crates/udf/src/validation.rs` of Convex's backend.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from kit.client.credentials import NOTHING, Credentials
from kit.doctor.http import Answer, Http
from kit.values import from_json, to_json

__all__ = ["Outcome", "Queries", "Refused"]

Reason = Literal[
    "missing",
    "kind",
    "arguments",
    "sign-in",
    "stopped",
    "unsupported",
    "hidden",
    "other",
]

_REQUEST_ID = re.compile(r"^\[Request ID: [^\]]*\]\s*")
_KIND = re.compile(
    r"Trying to execute .* as \w+, but it is defined as (\w+)", re.IGNORECASE
)
_REASONS: tuple[tuple[str, Reason], ...] = (
    ("Could not find public function", "missing"),
    ("ArgumentValidationError", "arguments"),
    ("Cannot run functions while this deployment is", "stopped"),
    ("deployments have been disabled", "stopped"),
    ("This deployment has been disabled", "stopped"),
    ("are no longer supported", "unsupported"),
)


_CALLERS = {
    "nobody": "callers who are not signed in",
    "user": "the user of the token",
    "admin": "the admin",
}


class Refused(Exception):
    """The deployment refused the request itself, or did not answer as one does."""

    def __init__(self, status: int, code: str, text: str) -> None:
        self.status = status
        self.code = code
        super().__init__(text)


@dataclass(frozen=True)
class Outcome:
    """A value, or why there is none: `reason`, with `text`, `data` and `kind`."""

    value: Any = None
    reason: Reason | None = None
    text: str = ""
    data: Any = None
    kind: str = ""

    @property
    def succeeded(self) -> bool:
        return self.reason is None

    @property
    def code(self) -> str | None:
        """The code of one of the kit's own errors."""
        return self.data.get("code") if isinstance(self.data, Mapping) else None


class Queries:
    """Runs queries on the deployment at `url`, as whoever `credentials` are of.

    `deprecation` is what it has said about the version of the client, if anything.
    """

    def __init__(
        self, http: Http, url: str, credentials: Credentials = NOTHING
    ) -> None:
        self._http = http
        self._url = url
        self._headers = {
            "Convex-Client": f"python-{client_version()}",
            **credentials.headers,
        }
        self.caller = _CALLERS[credentials.kind]
        self.deprecation: str | None = None

    async def run(self, path: str, args: Mapping[str, Any]) -> Outcome:
        """Run a query. Raises Refused, NoAnswer."""
        body = {
            "path": path,
            "args": to_json(dict(args)),
            "format": "convex_encoded_json",
        }
        answer = await self._http.post(f"{self._url}/api/query", body, self._headers)
        if answer.headers.get("x-convex-deprecation-state"):
            self.deprecation = answer.headers.get("x-convex-deprecation-message", "")
        return _outcome(answer)


def client_version() -> str:
    """The installed version of the official client."""
    try:
        return version("convex")
    except PackageNotFoundError:
        return "0.0.0"


def _outcome(answer: Answer) -> Outcome:
    match answer.json():
        case {"status": "success", "value": value}:
            return Outcome(value=from_json(value))
        case {"status": "error", "errorMessage": str(text), **rest}:
            return _failure(text, from_json(rest.get("errorData")))
        case {"code": str(code), "message": str(text)}:
            raise Refused(answer.status, code, text[:200])
        case _:
            text = f"status {answer.status}, {answer.content_type or 'no content type'}"
            raise Refused(answer.status, "UnexpectedAnswer", text)


def _failure(message: str, data: Any) -> Outcome:
    text = _REQUEST_ID.sub("", message.strip())
    text = text.removeprefix("Server Error").strip()
    if kind := _KIND.search(text):
        return Outcome(reason="kind", text=text, kind=kind[1].lower())
    if isinstance(data, Mapping) and data.get("code") == "Unauthenticated":
        return Outcome(reason="sign-in", text=text, data=data)
    for words, reason in _REASONS:
        if words in text:
            return Outcome(reason=reason, text=text, data=data)
    return Outcome(reason="other" if text else "hidden", text=text, data=data)
