"""The argument object out of what clients send."""

from __future__ import annotations

import pytest
from msgspec import Raw

from kit.deployment.failures import FunctionFailure
from kit.deployment.requests import (
    MAX_ARGS_TEXT,
    decode_args,
    loggable,
    new_request_id,
    request_id_of,
)


def failure(args: bytes) -> str:
    decoded = decode_args("messages:list", Raw(args))
    assert isinstance(decoded, FunctionFailure)
    return decoded.message


@pytest.mark.parametrize("text", [b'{"a":1.0}', b'[{"a":1.0}]', b' [ {"a":1} ] '])
def test_the_object_alone_or_in_an_array(text: bytes) -> None:
    assert decode_args("m:f", Raw(text)) == {"a": 1}


def test_values_are_not_looked_into() -> None:
    assert decode_args("m:f", Raw(b'[{"$bad":1}]')) == {"$bad": 1}
    assert decode_args("m:f", Raw(b"[7]")) == 7


@pytest.mark.parametrize(("text", "count"), [(b"[]", 0), (b"[{},{}]", 2)])
def test_there_must_be_exactly_one_argument(text: bytes, count: int) -> None:
    assert failure(text).endswith(f"Instead received {count} arguments.")


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[nope]", b'["\\ud800"]', b'["\xff"]', b"[1e999]"]
)
def test_text_that_is_not_json_is_a_failure_of_the_request(text: bytes) -> None:
    assert failure(text).startswith("Invalid arguments for messages.js:list: ")


def test_deep_nesting_is_a_failure_of_the_request() -> None:
    depth = 100_000
    assert "nested too deeply" in failure(b"[" * depth + b"]" * depth)


def test_a_large_argument_is_a_failure_of_the_request() -> None:
    text = b'[{"text":"' + b"x" * MAX_ARGS_TEXT + b'"}]'
    assert failure(text) == (
        "Arguments for messages.js:list are too large (actual: 16 MiB, limit: 16 MiB)"
    )


def test_a_request_id_on_a_socket_follows_from_session_and_number() -> None:
    session = "1c84c4aa-30d4-4a70-8aa0-2b76f37755cd"
    assert request_id_of(session, 0) == request_id_of(session, 0)
    assert request_id_of(session, 0) != request_id_of(session, 1)
    assert len(request_id_of(session, 0)) == 16


def test_any_other_request_id_is_random() -> None:
    assert len(new_request_id()) == 16
    assert new_request_id() != new_request_id()


def test_what_clients_sent_cannot_forge_log_lines() -> None:
    assert loggable("messages:list") == "messages:list"
    assert loggable("x\n2026 ERROR all is lost") == "'x\\n2026 ERROR all is lost'"
    assert loggable("x" * 1000) == "x" * 80
