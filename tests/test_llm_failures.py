"""Whatever an SDK raises becomes one LLMError that says what to do."""

import json
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import anthropic
import httpx2
import openai
import pytest
from llm_helpers import SENTINEL_KEY, route_to

from kit.errors import LLMError, LLMErrorKind
from kit.llm.failures import Failures
from kit.llm.providers import ProviderName

CLAUDE = Failures(route_to("anthropic"), anthropic)
OPENAI = Failures(route_to("openai"), openai)
OPENROUTER = Failures(route_to("openrouter"), openai)

# What the providers say of a conversation that is too long.
LONG_REPLY = (
    "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, "
    "decrease input length or `max_tokens` and try again"
)
LONG_CONVERSATION = (
    "This endpoint's maximum context length is 262000 tokens. However, you requested "
    "about 263390 tokens (263390 of text input)."
)
PASSED_ON = json.dumps(
    {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "Prompt is too long"},
    }
)

REQUEST = httpx2.Request("POST", "https://example.com/v1/messages")


def refused(
    failures: Failures, status: int, body: object = None, **headers: str
) -> LLMError:
    """As the SDK makes it from an HTTP answer."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    text = body if isinstance(body, str) else json.dumps(body)
    answer = httpx2.Response(status, headers=names, text=text, request=REQUEST)
    if failures is CLAUDE:
        client = anthropic.AsyncAnthropic(api_key="x", base_url="https://example.com")
        return failures.describe(client._make_status_error_from_response(answer))
    other = openai.AsyncOpenAI(api_key="x", base_url="https://example.com")
    return failures.describe(other._make_status_error_from_response(answer))


def error_body(message: str = "told so", **fields: object) -> dict[str, object]:
    return {"error": {"message": message, **fields}}


@pytest.mark.parametrize("failures", [CLAUDE, OPENAI, OPENROUTER])
@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, "bad-request", False),
        (401, "auth", False),
        (402, "billing", False),
        (403, "forbidden", False),
        (404, "not-found", False),
        (408, "timeout", True),
        (409, "server", True),
        (413, "too-large", False),
        (418, "bad-request", False),
        (422, "bad-request", False),
        (429, "rate-limit", True),
        (500, "server", True),
        (502, "server", True),
        (503, "overloaded", True),
        (504, "server", True),
        (529, "overloaded", True),
    ],
)
def test_a_status_has_its_kind(
    failures: Failures, status: int, kind: LLMErrorKind, retryable: bool
) -> None:
    error = refused(failures, status, error_body())
    assert (error.kind, error.retryable, error.status) == (kind, retryable, status)
    assert f"(HTTP {status}): told so." in str(error)
    assert str(error).startswith(failures.route.provider)


@pytest.mark.parametrize(
    ("failures", "status", "fields", "kind"),
    [
        (OPENAI, 429, {"code": "insufficient_quota"}, "billing"),
        (OPENAI, 400, {"code": "context_length_exceeded"}, "too-large"),
        (OPENAI, 400, {"code": "model_not_found"}, "not-found"),
        (OPENAI, 503, {"type": "server_error"}, "overloaded"),
        (CLAUDE, 400, {"message": "prompt is too long: 9 > 8"}, "too-large"),
        (CLAUDE, 400, {"message": LONG_REPLY}, "too-large"),
        (CLAUDE, 400, {"type": "billing_error"}, "billing"),
        (OPENROUTER, 400, {"message": "x/y is not a valid model ID"}, "not-found"),
        (OPENROUTER, 400, {"metadata": {"error_type": "payment_required"}}, "billing"),
        (OPENROUTER, 400, {"metadata": "x", "code": None}, "bad-request"),
        (OPENROUTER, 400, {"message": LONG_CONVERSATION}, "too-large"),
        (OPENROUTER, 413, {"metadata": {"raw": PASSED_ON}}, "too-large"),
        (OPENROUTER, 400, {"metadata": {"raw": json.loads(PASSED_ON)}}, "too-large"),
        (OPENROUTER, 400, {"metadata": {"raw": "Input is too long"}}, "too-large"),
        (OPENROUTER, 400, {"metadata": {"raw": "[1]"}}, "bad-request"),
    ],
)
def test_an_error_type_says_more_than_its_status(
    failures: Failures, status: int, fields: dict[str, object], kind: LLMErrorKind
) -> None:
    body = {"error": {"message": "told so"} | fields}
    assert refused(failures, status, body).kind == kind


@pytest.mark.parametrize(
    ("failures", "body", "kind"),
    [
        (CLAUDE, {"type": "overloaded_error", "message": "m"}, "overloaded"),
        (CLAUDE, {"error": {"type": "api_error", "message": "m"}}, "server"),
        (OPENAI, {"code": "rate_limit_exceeded", "message": "m"}, "rate-limit"),
        (OPENROUTER, {"code": 502, "message": "m"}, "server"),
        (OPENROUTER, {"code": "429", "message": "m"}, "rate-limit"),
        (OPENROUTER, {"metadata": {"error_type": "provider_overloaded"}}, "overloaded"),
        (OPENROUTER, {"code": 17, "message": "m"}, "server"),
        (OPENROUTER, {"code": "novel", "message": None}, "server"),
        (OPENROUTER, "just text", "server"),
        (OPENROUTER, None, "server"),
    ],
)
def test_an_error_in_the_stream_has_its_kind(
    failures: Failures, body: object, kind: LLMErrorKind
) -> None:
    error = failures.in_stream(body)
    assert (error.kind, error.status) == (kind, None)


def test_what_is_behind_openrouter_is_told_in_its_own_words() -> None:
    metadata = {"raw": PASSED_ON, "provider_name": "Google"}
    error = refused(OPENROUTER, 400, error_body("Provider error", metadata=metadata))
    assert "(HTTP 400): Prompt is too long. Start" in str(error)
    page = {"raw": "<html>nginx</html>"}
    error = refused(OPENROUTER, 502, error_body("Provider error", metadata=page))
    assert "(HTTP 502): Provider error. Send" in str(error)


def test_a_model_that_does_not_exist_is_named_with_its_provider() -> None:
    error = refused(CLAUDE, 404, error_body(type="not_found_error"))
    assert "anthropic has no model 'claude-opus-5-5'" in str(error)
    assert "choose another model" in str(error)


def test_a_404_that_is_no_api_blames_the_url() -> None:
    for body in ("<html>nginx</html>", "404 page not found", {"detail": "Not Found"}):
        error = refused(OPENAI, 404, body)
        assert error.kind == "protocol"
        assert "https://api.openai.com/v1" in str(error)


def test_a_web_page_is_not_quoted_and_long_words_are_cut() -> None:
    assert "<html" not in str(refused(OPENAI, 502, "<html><body>Bad gateway"))
    error = refused(OPENAI, 500, error_body("x" * 5000))
    assert len(str(error)) < 600


def test_the_request_id_is_kept() -> None:
    assert refused(CLAUDE, 500, error_body(), request_id="r1").request_id == "r1"
    assert refused(OPENAI, 500, error_body(), x_request_id="r2").request_id == "r2"
    assert refused(OPENAI, 500, error_body(), x_generation_id="g").request_id == "g"
    assert refused(OPENAI, 500, error_body()).request_id is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7.0),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after_ms": "250", "retry_after": "7"}, 0.25),
        ({"retry_after": "never"}, None),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert refused(CLAUDE, 429, error_body(), **headers).retry_after == seconds


def test_retry_after_may_be_a_date() -> None:
    date = format_datetime(datetime.fromtimestamp(time.time() + 90, UTC), usegmt=True)
    retry_after = refused(CLAUDE, 429, error_body(), retry_after=date).retry_after
    assert retry_after is not None
    assert 85 < retry_after <= 90


def test_a_long_wait_is_shown_with_the_number() -> None:
    text = str(refused(CLAUDE, 429, error_body(), retry_after="3600"))
    assert "wait 3600 s, more than the 20 s that the kit waits" in text


def test_a_provider_may_forbid_to_try_again() -> None:
    error = refused(OPENAI, 429, error_body(), x_should_retry="false")
    assert not error.retryable


@pytest.mark.parametrize(
    ("raised", "kind", "says"),
    [
        (httpx2.ConnectError("x"), "connection", "nobody answers at https://api."),
        (httpx2.ConnectTimeout("x"), "connection", "nobody answers"),
        (httpx2.ReadTimeout("x"), "timeout", "nothing arrived for 5 s"),
        (httpx2.ReadError("x"), "connection", "was cut"),
        (httpx2.RemoteProtocolError("x"), "connection", "was cut"),
        (ConnectionResetError("x"), "connection", "was cut"),
        (httpx2.DecodingError("x"), "protocol", "decompressed"),
        (json.JSONDecodeError("x", "{", 0), "protocol", "does not hold JSON"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), "protocol", "not UTF-8"),
        (AttributeError("x"), "protocol", "AttributeError"),
    ],
)
def test_what_the_http_library_raises_has_its_kind(
    raised: Exception, kind: LLMErrorKind, says: str
) -> None:
    error = CLAUDE.describe(raised)
    assert error.kind == kind
    assert says in str(error)


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (httpx2.ConnectError("x"), "connection"),
        (httpx2.ReadTimeout("x"), "timeout"),
        (httpx2.ConnectTimeout("x"), "connection"),
        (None, "connection"),
    ],
)
def test_what_the_sdk_wraps_is_unwrapped(
    cause: Exception | None, kind: LLMErrorKind
) -> None:
    wrapped = openai.APIConnectionError(request=REQUEST)
    wrapped.__cause__ = cause
    assert OPENAI.describe(wrapped).kind == kind


def test_an_llm_error_passes_as_it_is() -> None:
    error = CLAUDE.interrupted()
    assert CLAUDE.describe(error) is error


@pytest.mark.parametrize("provider", ["anthropic", "openai", "openrouter"])
def test_no_text_holds_the_key(provider: ProviderName) -> None:
    failures = {"anthropic": CLAUDE, "openai": OPENAI, "openrouter": OPENROUTER}
    told = f"Incorrect API key provided: {SENTINEL_KEY}"
    error = refused(failures[provider], 401, error_body(told))
    assert SENTINEL_KEY not in str(error)
    assert "Incorrect API key provided: [redacted]" in str(error)


@pytest.mark.parametrize("before", [370, 380, 390, 399])
def test_a_key_at_the_place_where_a_text_is_cut_is_not_cut_in_two(before: int) -> None:
    key = "plain-looking-key-0123"
    failures = Failures(route_to("openai", key=key), openai)
    error = refused(failures, 400, error_body("x" * before + key))
    assert "plain" not in str(error)
