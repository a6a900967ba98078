"""The sync messages: what is understood, what is refused, and the exact text sent."""

from __future__ import annotations

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from kit.errors import ProtocolError
from kit.protocol import (
    Action,
    ActionResponse,
    Add,
    Authenticate,
    AuthError,
    Connect,
    Event,
    FatalError,
    ModifyQuerySet,
    Mutation,
    MutationResponse,
    Ping,
    QueryFailed,
    QueryRemoved,
    QueryUpdated,
    Remove,
    StateVersion,
    Transition,
    decode_timestamp,
    encode,
    encode_timestamp,
    json_string,
    parse,
)

SESSION = "1c84c4aa-30d4-4a70-8aa0-2b76f37755cd"


def test_a_timestamp_is_8_little_endian_bytes_in_base64() -> None:
    assert encode_timestamp(0) == "AAAAAAAAAAA="
    assert encode_timestamp(1) == "AQAAAAAAAAA="
    assert decode_timestamp("AQAAAAAAAAA=") == 1


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_a_timestamp_survives_the_round_trip(timestamp: int) -> None:
    assert decode_timestamp(encode_timestamp(timestamp)) == timestamp


@pytest.mark.parametrize(
    "text", ["", "AAAA", "not base64!", "//////////8=", "é", "AAAAAAAAAAAA"]
)
def test_what_is_not_a_timestamp_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="is not a timestamp"):
        decode_timestamp(text)


def test_connect_of_the_javascript_client() -> None:
    message = parse(
        f"""{{"type":"Connect","sessionId":"{SESSION}","connectionCount":2,
        "lastCloseReason":null,"maxObservedTimestamp":"AQAAAAAAAAA=",
        "clientTs":1795327552179,"somethingNew":{{}}}}"""
    )
    assert isinstance(message, Connect)
    assert message.session_id == uuid.UUID(SESSION)
    assert message.connection_count == 2
    assert message.observed() == 1
    assert message.client_ts == 1795327552179


def test_connect_without_an_observed_timestamp_has_seen_nothing() -> None:
    message = parse(f'{{"type":"Connect","sessionId":"{SESSION}"}}')
    assert isinstance(message, Connect)
    assert message.observed() == 0


def test_modify_query_set_in_the_field_order_of_the_rust_client() -> None:
    message = parse(
        """{"modifications":[{"args":[{"b":1.0,"a":2}],"queryId":0,"type":"Add",
        "udfPath":"messages:list"},{"queryId":3,"type":"Remove"}],
        "baseVersion":0,"newVersion":1,"type":"ModifyQuerySet"}"""
    )
    assert isinstance(message, ModifyQuerySet)
    add, remove = message.modifications
    assert isinstance(add, Add)
    assert (add.query_id, add.udf_path) == (0, "messages:list")
    assert bytes(add.args) == b'[{"b":1.0,"a":2}]'
    assert remove == Remove(3)


def test_requests_keep_their_arguments_as_text() -> None:
    mutation = parse('{"type":"Mutation","requestId":0,"udfPath":"m:f","args":[{}]}')
    assert isinstance(mutation, Mutation)
    assert bytes(mutation.args) == b"[{}]"
    action = parse('{"type":"Action","requestId":1,"udfPath":"m:f"}')
    assert isinstance(action, Action)
    assert bytes(action.args) == b"[]"


def test_authenticate_does_not_show_its_token() -> None:
    message = parse(
        '{"type":"Authenticate","baseVersion":0,"tokenType":"User","value":"s3cret"}'
    )
    assert isinstance(message, Authenticate)
    assert message.value == "s3cret"
    assert "s3cret" not in repr(message)


@pytest.mark.parametrize("name", ["impersonating", "acting_as"])
def test_an_admin_says_as_whom_it_acts(name: str) -> None:
    message = parse(
        '{"type":"Authenticate","baseVersion":0,"tokenType":"Admin","value":"k",'
        f'"{name}":{{"issuer":"i","subject":"s3cret"}}}}'
    )
    assert isinstance(message, Authenticate)
    assert message.acting_user == {"issuer": "i", "subject": "s3cret"}
    assert "s3cret" not in repr(message)


def test_authenticate_none_has_no_value() -> None:
    message = parse('{"type":"Authenticate","baseVersion":2,"tokenType":"None"}')
    assert message == Authenticate(2, "None")


def test_an_event_is_understood_and_otherwise_ignored() -> None:
    message = parse('{"type":"Event","eventType":"ClientConnect","event":[1,{}]}')
    assert message == Event("ClientConnect")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "truncated"),
        ("{", "truncated"),
        ("hello", "malformed"),
        ("[]", "Expected `object`, got `array`"),
        ("{}", "missing required field `type`"),
        ('{"type":"Explode"}', "Invalid value 'Explode' - at `$.type`"),
        ('{"type":"Mutation","requestId":"0","udfPath":"m"}', "at `$.requestId`"),
        ('{"type":"Mutation","requestId":-1,"udfPath":"m"}', "at `$.requestId`"),
        ('{"type":"Mutation","requestId":4294967296,"udfPath":"m"}', "`$.requestId`"),
        ('{"type":"Mutation","requestId":0,"udfPath":7}', "at `$.udfPath`"),
        ('{"type":"Mutation","requestId":0}', "missing required field `udfPath`"),
        ('{"type":"Connect","sessionId":"me"}', "Invalid UUID - at `$.sessionId`"),
        (
            '{"type":"Authenticate","baseVersion":0,"tokenType":"Root"}',
            "Invalid enum value 'Root' - at `$.tokenType`",
        ),
        (
            (
                '{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,'
                '"modifications":[{"type":"Add","queryId":0}]}'
            ),
            "at `$.modifications[0]`",
        ),
        ('{"type":"Event","eventType":"\\ud800"}', "truncated"),
    ],
)
def test_a_bad_message_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(text)
    assert str(caught.value).startswith("Received Invalid JSON on websocket: ")
    assert why in str(caught.value)


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(ProtocolError, match="Received Invalid JSON on websocket"):
        parse(b'{"type":"Event","eventType":"\xff"}')


# How deep the parser goes depends on the Python. What it takes is refused as a value.
@pytest.mark.parametrize("depth", [100_000, 1_000_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    with pytest.raises(ProtocolError, match="nested too deeply"):
        parse(f'{{"type":"Mutation","requestId":0,"udfPath":"m","args":{nested}}}')


@given(st.binary() | st.text())
def test_no_input_breaks_the_parser(noise: bytes | str) -> None:
    with pytest.raises(ProtocolError):
        parse(noise)


def test_a_transition_embeds_results_as_they_are() -> None:
    message = Transition(
        StateVersion.at(0, 0, 0),
        StateVersion.at(1, 0, 1),
        [
            QueryUpdated(0, Raw(b'{"x":5.0}'), ("[LOG] 'hi'",)),
            QueryFailed(1, "Server Error\n"),
            QueryFailed(2, "no", Raw(b"null")),
            QueryRemoved(3),
        ],
        client_clock_skew=-12,
        server_ts=1795327552191000000,
    )
    assert encode(message) == (
        b'{"type":"Transition",'
        b'"startVersion":{"querySet":0,"identity":0,"ts":"AAAAAAAAAAA="},'
        b'"endVersion":{"querySet":1,"identity":0,"ts":"AQAAAAAAAAA="},'
        b'"modifications":['
        b'{"type":"QueryUpdated","queryId":0,"value":{"x":5.0},'
        b'"logLines":["[LOG] \'hi\'"],"journal":null},'
        b'{"type":"QueryFailed","queryId":1,"errorMessage":"Server Error\\n",'
        b'"logLines":[],"journal":null},'
        b'{"type":"QueryFailed","queryId":2,"errorMessage":"no","errorData":null,'
        b'"logLines":[],"journal":null},'
        b'{"type":"QueryRemoved","queryId":3}],'
        b'"clientClockSkew":-12,"serverTs":1795327552191000000}'
    )


def test_the_clock_keys_are_absent_rather_than_null() -> None:
    version = StateVersion.at(0, 0, 0)
    assert set(json.loads(encode(Transition(version, version, [])))) == {
        "type",
        "startVersion",
        "endVersion",
        "modifications",
    }


def test_responses_have_every_key_that_a_client_needs() -> None:
    done = MutationResponse(0, True, Raw(b"null"), encode_timestamp(1), ("[LOG] 1",))
    assert json.loads(encode(done)) == {
        "type": "MutationResponse",
        "requestId": 0,
        "success": True,
        "result": None,
        "ts": "AQAAAAAAAAA=",
        "logLines": ["[LOG] 1"],
    }
    failed = MutationResponse(
        1, False, json_string('a "b"\n'), None, error_data=Raw(b'{"code":1.0}')
    )
    assert json.loads(encode(failed)) == {
        "type": "MutationResponse",
        "requestId": 1,
        "success": False,
        "result": 'a "b"\n',
        "ts": None,
        "logLines": [],
        "errorData": {"code": 1.0},
    }
    assert json.loads(encode(ActionResponse(2, True, Raw(b"5.0")))) == {
        "type": "ActionResponse",
        "requestId": 2,
        "success": True,
        "result": 5.0,
        "logLines": [],
    }


def test_what_is_said_before_closing() -> None:
    assert encode(Ping()) == b'{"type":"Ping"}'
    assert encode(FatalError("why")) == b'{"type":"FatalError","error":"why"}'
    assert json.loads(encode(AuthError("no", 3, True))) == {
        "type": "AuthError",
        "error": "no",
        "baseVersion": 3,
        "authUpdateAttempted": True,
    }
