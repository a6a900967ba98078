"""From whatever an SDK or the HTTP library raised to one `LLMError`.

Holds the tables of statuses and error types, the texts, and the reading of
`Retry-After`. What comes out refers to no exception, request or response of an SDK:
those hold the key and the prompt. Nothing is retried here, see `kit.llm.step`.

Mirrors the error pages of the three providers: Anthropic's `error.type`, OpenAI's
`error.code`, OpenRouter's `error.code` (a status) and `error.metadata.error_type`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, assert_never

import httpx2

from kit.errors import LLMError, LLMErrorKind
from kit.llm.providers import PROVIDERS, Route
from kit.llm.secret import redact

__all__ = ["LONGEST_WAIT", "Failures", "SdkErrors"]

# The longest that the kit waits by itself when a provider asks for patience, seconds.
LONGEST_WAIT = 20.0

_RETRYABLE: frozenset[LLMErrorKind] = frozenset(
    ("rate-limit", "overloaded", "server", "timeout", "connection", "interrupted")
)

_BY_STATUS: Mapping[int, LLMErrorKind] = {
    401: "auth",
    402: "billing",
    403: "forbidden",
    404: "not-found",
    408: "timeout",
    409: "server",  # a conflict that passes, both SDKs retry it
    413: "too-large",
    429: "rate-limit",
    503: "overloaded",
    529: "overloaded",
}

# Error types and codes that say more than the status that they come with, or that
# come in the stream, where there is no status.
_BY_TYPE: Mapping[str, LLMErrorKind] = {
    # Anthropic
    "authentication_error": "auth",
    "billing_error": "billing",
    "permission_error": "forbidden",
    "not_found_error": "not-found",
    "request_too_large": "too-large",
    "rate_limit_error": "rate-limit",
    "overloaded_error": "overloaded",
    "timeout_error": "timeout",
    "api_error": "server",
    # OpenAI
    "invalid_api_key": "auth",
    "insufficient_quota": "billing",
    "model_not_found": "not-found",
    "context_length_exceeded": "too-large",
    "rate_limit_exceeded": "rate-limit",
    "server_error": "server",
    "server_is_overloaded": "overloaded",
    "invalid_prompt": "bad-request",
    # OpenRouter
    "payment_required": "billing",
    "permission_denied": "forbidden",
    "content_policy_violation": "forbidden",
    "provider_overloaded": "overloaded",
    "provider_unavailable": "server",
}

# Where a provider says it in words only.
_BY_WORDS: tuple[tuple[str, LLMErrorKind], ...] = (
    ("is not a valid model id", "not-found"),  # OpenRouter, with status 400
    # Always with status 400, also of what is behind OpenRouter.
    ("prompt is too long", "too-large"),  # Anthropic
    ("exceed context limit", "too-large"),  # Anthropic, with the reply's length
    ("input is too long", "too-large"),  # Bedrock
    ("maximum number of tokens", "too-large"),  # Google
    ("maximum context length", "too-large"),  # OpenRouter, vLLM, DeepSeek
    ("context window", "too-large"),
)


class SdkErrors(Protocol):
    """The exception classes that both SDKs have: the module itself."""

    @property
    def APITimeoutError(self) -> type[Exception]: ...
    @property
    def APIConnectionError(self) -> type[Exception]: ...
    @property
    def APIStatusError(self) -> type[Exception]: ...
    @property
    def APIError(self) -> type[Exception]: ...


@dataclass(frozen=True)
class Failures:
    """Describes what went wrong on one route."""

    route: Route
    sdk: SdkErrors

    def describe(self, error: Exception) -> LLMError:
        """The `LLMError` for anything that a call raised."""
        if isinstance(error, LLMError):
            return error
        if isinstance(error, self.sdk.APIStatusError):
            return self._status(error)
        if isinstance(error, self.sdk.APIConnectionError):
            return self._transport(error.__cause__ or error)
        if isinstance(error, self.sdk.APIError):
            return self.in_stream(getattr(error, "body", None), str(error))
        if isinstance(error, httpx2.HTTPError | httpx2.StreamError | OSError):
            return self._transport(error)
        return self.protocol(_what_was_wrong(error))

    def in_stream(self, body: Any, text: str = "") -> LLMError:
        """For an error object that the provider sent inside of a stream."""
        told = _Told.read(body, text)
        return self._error(told.kind or "server", told.text)

    def interrupted(self) -> LLMError:
        """For a stream that ended without its terminal event."""
        return self._error(
            "interrupted",
            "the stream ended without its last event, so the reply is incomplete",
        )

    def protocol(self, what: str) -> LLMError:
        """For an answer that is not in the provider's format."""
        return self._error("protocol", what)

    def no_credit(self) -> LLMError:
        """For a key that is accepted and can pay for nothing."""
        return self._error("billing", "the limit of this key is used up")

    def no_prompt(self) -> LLMError:
        """For a conversation in which the user has said nothing."""
        return self._error("bad-request", "there is no prompt to answer")

    def _status(self, error: Any) -> LLMError:
        status: int = error.status_code
        headers: Mapping[str, str] = error.response.headers
        if 300 <= status < 400:
            return self.protocol(f"it is a redirect (HTTP {status})")
        if status < 400:  # an error inside of a stream keeps the stream's status
            return self.in_stream(error.body, str(error))
        told = _Told.read(error.body, "")
        if status == 404 and not told.by_api:
            return self.protocol("HTTP 404, there is no such API at this URL")
        kind = told.kind
        if kind is None or kind == "server":  # the status says more than that
            kind = _kind_of_status(status)
        return self._error(
            kind,
            told.text,
            status=status,
            retry_after=_retry_after(headers),
            request_id=_request_id(headers),
            may_retry=headers.get("x-should-retry") != "false",
        )

    def _transport(self, error: BaseException) -> LLMError:
        connecting = httpx2.ConnectTimeout | httpx2.PoolTimeout | httpx2.ConnectError
        if isinstance(error, connecting):
            return self._error(
                "connection",
                f"nobody answers at {self.route.base_url}: check the network, and "
                "that this is the right URL",
            )
        if isinstance(error, httpx2.TimeoutException):
            seconds = f"{self.route.read_timeout:g} s"
            return self._error("timeout", f"nothing arrived for {seconds}")
        if isinstance(error, httpx2.DecodingError):
            return self.protocol("the body could not be decompressed")
        if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL):
            return self.protocol(f"{self.route.base_url} is not a usable URL")
        return self._error("connection", f"the connection to {self._host()} was cut")

    def _host(self) -> str:
        return httpx2.URL(self.route.base_url).netloc.decode()

    def _error(
        self,
        kind: LLMErrorKind,
        what: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
        may_retry: bool = True,
    ) -> LLMError:
        summary = _SUMMARY[kind] + (f" (HTTP {status})" if status else "")
        # Cleared before it is cut: half a key is not recognised.
        what = _cut(redact(what, self.route.api_key))
        cause = ": ".join(part for part in (summary, what) if part)
        text = f"{cause.rstrip('. ')}. {self._advice(kind, retry_after)}"
        return LLMError(
            kind,
            redact(text, self.route.api_key),
            provider=self.route.provider,
            status=status,
            retryable=kind in _RETRYABLE and may_retry,
            retry_after=retry_after,
            request_id=request_id,
        )

    def _advice(self, kind: LLMErrorKind, retry_after: float | None) -> str:
        """What to do about it."""
        settings = PROVIDERS[self.route.provider]
        match kind:
            case "auth":
                return (
                    f"Check {settings.key_variable}, or the {self.route.provider} key "
                    "given with the message."
                )
            case "billing":
                return "Add credit at the provider, or use another key."
            case "forbidden":
                return "Check what this key may use, or choose another model."
            case "not-found":
                return (
                    f"{self.route.provider} has no model {self.route.model!r} for this "
                    "key. Check its spelling, or choose another model."
                )
            case "too-large":
                return "Start a new task, or send less."
            case "rate-limit" | "overloaded" | "server" if retry_after is not None:
                wait = f"The provider asks to wait {retry_after:g} s"
                if retry_after > LONGEST_WAIT:
                    wait += f", more than the {LONGEST_WAIT:g} s that the kit waits"
                return f"{wait}. Send the message again after that."
            case "rate-limit" | "overloaded" | "server" | "connection" | "interrupted":
                return "Send the message again."
            case "timeout":
                return (
                    "Send the message again, or allow for more silence with "
                    "KIT_LLM_READ_TIMEOUT."
                )
            case "protocol":
                return f"Check that {self.route.base_url} is the URL of such an API."
            case "bad-request":
                return "Sending the same again will not help."
            case _:
                assert_never(kind)


_SUMMARY: Mapping[LLMErrorKind, str] = {
    "auth": "the key was refused",
    "billing": "the account has no credit",
    "forbidden": "access was denied",
    "not-found": "no such model",
    "bad-request": "the request was refused",
    "too-large": "the conversation is too long for the model",
    "rate-limit": "too many requests",
    "overloaded": "the provider is overloaded",
    "server": "the provider failed",
    "protocol": "the answer is not in the provider's format",
    # The rest says all of it.
    "timeout": "",
    "connection": "",
    "interrupted": "",
}


# --- what the provider told -------------------------------------------------------

_LONGEST_TEXT = 400


@dataclass(frozen=True)
class _Told:
    """An error object, whichever provider's."""

    kind: LLMErrorKind | None
    text: str
    by_api: bool = True  # an error object, not a page

    @classmethod
    def read(cls, body: Any, text: str) -> _Told:
        """From `{"error": {...}}`, the inner object, or a page of anything."""
        if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
            body = body["error"]
        if not isinstance(body, Mapping):
            words = _shown(body if isinstance(body, str) else text)
            return cls(None, words, by_api=False)
        metadata = body.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        inner = _passed_on(metadata.get("raw"))
        told = (
            body.get("code"),
            metadata.get("error_type"),
            body.get("type"),
            inner.get("code"),
            inner.get("type"),
        )
        words = _shown(inner.get("message")) or _shown(body.get("message") or text)
        status = _as_status(body.get("code"))
        kinds = [_BY_TYPE[t] for t in told if isinstance(t, str) and t in _BY_TYPE]
        kinds += [kind for some, kind in _BY_WORDS if some in words.lower()]
        if status is not None:
            kinds.append(_kind_of_status(status))
        return cls(kinds[0] if kinds else None, words, by_api=bool(words))


def _passed_on(raw: Any) -> Mapping[str, Any]:
    """The error of whoever is behind OpenRouter, which itself says little more than
    that there is one."""
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError):
            return {"message": raw}
    if isinstance(raw, Mapping) and isinstance(raw.get("error"), Mapping):
        raw = raw["error"]
    return raw if isinstance(raw, Mapping) else {}


def _as_status(code: Any) -> int | None:
    """OpenRouter's error codes are HTTP statuses, as a number or as text."""
    try:
        status = int(code)
    except (TypeError, ValueError):
        return None
    return status if 400 <= status <= 599 else None


def _kind_of_status(status: int) -> LLMErrorKind:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return "server" if status >= 500 else "bad-request"


def _shown(text: Any) -> str:
    """The provider's words on one line; a web page says nothing worth showing."""
    line = " ".join(str(text or "").split())
    return "" if line.startswith("<") else line


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST_TEXT else line[:_LONGEST_TEXT] + "…"


def _what_was_wrong(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return "an event does not hold JSON"
    if isinstance(error, UnicodeDecodeError):
        return "an event is not UTF-8"
    # Its text may quote the request, so only the name is told.
    return f"it could not be read ({type(error).__name__})"


def _request_id(headers: Mapping[str, str]) -> str | None:
    for name in ("request-id", "x-request-id", "x-generation-id"):
        if headers.get(name):
            return headers[name][:100]
    return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: from milliseconds, seconds, or a date (RFC 9110, 10.2.3)."""
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _seconds(value)
    if seconds is not None or not value:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
