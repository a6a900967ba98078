"""The messages of Convex's sync protocol, as typed structs.

Holds what goes over the WebSocket in both directions, its JSON form, and the two
encodings that are easy to get wrong: timestamps and optional keys. It does not know
what a message means (`kit.deployment.state` does) and opens no socket.

Mirrors `convex_sync_types` of Convex's Rust client and `protocol.ts` of the JavaScript
client: a JSON object per text message, told apart by `type`, with camelCase keys;
unknown keys are ignored.

Arguments and results stay JSON text (`msgspec.Raw`): what the engine has encoded is
embedded as it is, and a message can be understood without decoding a large argument.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from kit.errors import ProtocolError

__all__ = [
    "Action",
    "ActionResponse",
    "Add",
    "AuthError",
    "Authenticate",
    "ClientMessage",
    "Connect",
    "Event",
    "FatalError",
    "Modification",
    "ModifyQuerySet",
    "Mutation",
    "MutationResponse",
    "Ping",
    "QueryFailed",
    "QueryRemoved",
    "QueryUpdated",
    "Remove",
    "ServerMessage",
    "StateVersion",
    "Transition",
    "decode_timestamp",
    "encode",
    "encode_timestamp",
    "json_string",
    "parse",
]

U32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]

# Rust's Timestamp is an i64 under the u64; a larger one is refused by the client.
MAX_TIMESTAMP = 2**63 - 1

# Characters of what is said about a message that is none.
MAX_REASON = 300

EMPTY_ARGS = Raw(b"[]")


def encode_timestamp(timestamp: int) -> str:
    """Nanoseconds since the epoch -> 8 bytes little-endian in standard base64."""
    return base64.b64encode(timestamp.to_bytes(8, "little")).decode("ascii")


def decode_timestamp(text: str) -> int:
    """The reverse of `encode_timestamp`. Raises ProtocolError."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    timestamp = int.from_bytes(data, "little")
    if len(data) != 8 or timestamp > MAX_TIMESTAMP:
        raise ProtocolError(
            f"{text[:40]!r} is not a timestamp: expected base64 of 8 bytes, "
            "a little-endian integer of at most 2**63 - 1"
        )
    return timestamp


class _Message(msgspec.Struct, frozen=True, tag_field="type", tag=True, rename="camel"):
    """Base of everything that has a `type`."""


# --- client to server ---------------------------------------------------------


class Connect(_Message, frozen=True):
    """First message on a socket. There is no direct reply."""

    session_id: uuid.UUID
    connection_count: U32 = 0
    last_close_reason: str | None = None
    max_observed_timestamp: str | None = None
    # Milliseconds since the epoch. The Python client always sends 0.
    client_ts: int | None = None

    def observed(self) -> int:
        """The newest timestamp this client has seen; 0 when it has seen none."""
        if self.max_observed_timestamp is None:
            return 0
        return decode_timestamp(self.max_observed_timestamp)


class Add(_Message, frozen=True):
    """Subscribe: part of a ModifyQuerySet."""

    query_id: U32
    udf_path: str
    args: Raw = EMPTY_ARGS
    journal: str | None = None
    component_path: str | None = None


class Remove(_Message, frozen=True):
    """Unsubscribe: part of a ModifyQuerySet."""

    query_id: U32


class ModifyQuerySet(_Message, frozen=True):
    """Change the set of subscribed queries."""

    base_version: U32
    new_version: U32
    modifications: list[Add | Remove]


class Mutation(_Message, frozen=True):
    """Run a mutation. `request_id` counts up from 0, shared with actions."""

    request_id: U32
    udf_path: str
    args: Raw = EMPTY_ARGS
    component_path: str | None = None


class Action(_Message, frozen=True):
    """Run an action. `request_id` counts up from 0, shared with mutations."""

    request_id: U32
    udf_path: str
    args: Raw = EMPTY_ARGS
    component_path: str | None = None


class Authenticate(_Message, frozen=True):
    """Change who this client is. `value` is a token or an admin key: never log it."""

    base_version: U32
    token_type: Literal["User", "Admin", "None"]
    value: str | None = None
    # An admin may act as a user with these attributes: what the JavaScript client calls
    # it, and what the Rust one does.
    impersonating: dict[str, Any] | None = None
    acting_as: dict[str, Any] | None = msgspec.field(default=None, name="acting_as")

    @property
    def acting_user(self) -> dict[str, Any] | None:
        """The attributes of the user that an admin acts as."""
        return self.impersonating if self.acting_as is None else self.acting_as

    def __repr__(self) -> str:
        return (
            f"Authenticate(base_version={self.base_version}, "
            f"token_type={self.token_type!r}, value=…)"
        )


class Event(_Message, frozen=True):
    """Measurements that the JavaScript client volunteers. Nobody reads them."""

    event_type: str


ClientMessage = Connect | ModifyQuerySet | Mutation | Action | Authenticate | Event

_client_messages = msgspec.json.Decoder(ClientMessage)


def parse(text: bytes | str) -> ClientMessage:
    """Read one message from a client.

    Raises ProtocolError with the text that a FatalError carries, when it is not JSON,
    not a known message, lacks a key, or has one of the wrong type. The arguments of a
    function are not looked into here.
    """
    try:
        message: ClientMessage = _client_messages.decode(text)
    except msgspec.MsgspecError as error:
        reason = _shortened(str(error))
    except RecursionError:
        reason = "it is nested too deeply"
    except UnicodeError:
        reason = "it is not UTF-8"
    else:
        return message
    raise ProtocolError(f"Received Invalid JSON on websocket: {reason}")


def _shortened(reason: str) -> str:
    """It may quote what was sent, whatever its length; where that was is at its end."""
    if len(reason) <= MAX_REASON:
        return reason
    return f"{reason[: MAX_REASON // 2]} … {reason[-MAX_REASON // 2 :]}"


# --- server to client ---------------------------------------------------------


class StateVersion(msgspec.Struct, frozen=True, rename="camel"):
    """What a client holds: both sides start every socket at zero in all three.

    `query_set` and `identity` count the changes asked for by the client, `ts` is the
    timestamp at which all of its results are consistent.
    """

    query_set: int
    identity: int
    ts: str

    @classmethod
    def at(cls, query_set: int, identity: int, timestamp: int) -> StateVersion:
        """The version with `timestamp` in nanoseconds."""
        return cls(query_set, identity, encode_timestamp(timestamp))


class QueryUpdated(_Message, frozen=True):
    """A new result of a subscribed query."""

    query_id: int
    value: Raw
    log_lines: tuple[str, ...] = ()
    # Only paginated queries have one.
    journal: str | None = None


class QueryFailed(_Message, frozen=True):
    """A subscribed query raised. It stays subscribed."""

    query_id: int
    error_message: str
    # The key's presence, even with null, makes it a ConvexError for the client.
    error_data: Raw | UnsetType = UNSET
    log_lines: tuple[str, ...] = ()
    journal: str | None = None


class QueryRemoved(_Message, frozen=True):
    """The client's Remove has taken effect."""

    query_id: int


Modification = QueryUpdated | QueryFailed | QueryRemoved


class Transition(_Message, frozen=True):
    """Moves the client from one version to the next.

    `start_version` must equal the client's version in all three parts: the Python
    client reconnects otherwise, the JavaScript client is stuck for good.
    """

    start_version: StateVersion
    end_version: StateVersion
    modifications: list[Modification]
    # Milliseconds and nanoseconds. Integers or absent: a float makes the Python client
    # drop the socket, null makes the JavaScript client report a bogus delay.
    client_clock_skew: int | UnsetType = UNSET
    server_ts: int | UnsetType = UNSET


class MutationResponse(_Message, frozen=True):
    """The outcome of a mutation. `result` is the value, or the error's text.

    `ts` is the commit's timestamp, never null on success, null on failure. A client
    takes a success as done only once a Transition follows.
    """

    request_id: int
    success: bool
    result: Raw
    ts: str | None
    log_lines: tuple[str, ...] = ()
    error_data: Raw | UnsetType = UNSET


class ActionResponse(_Message, frozen=True):
    """The outcome of an action. `result` is the value, or the error's text."""

    request_id: int
    success: bool
    result: Raw
    log_lines: tuple[str, ...] = ()
    error_data: Raw | UnsetType = UNSET


class AuthError(_Message, frozen=True):
    """The client is not, or no longer, who it says it is. The socket closes after it.

    `base_version` counts what was accepted before. `auth_update_attempted`: whether
    this answers an Authenticate, rather than a token having ended since.
    """

    error: str
    base_version: int
    auth_update_attempted: bool


class FatalError(_Message, frozen=True):
    """The client broke the protocol. The socket closes after it."""

    error: str


class Ping(_Message, frozen=True):
    """Keeps the JavaScript client from giving up after 60 s. No reply."""


ServerMessage = (
    Transition | MutationResponse | ActionResponse | AuthError | FatalError | Ping
)

_encoder = msgspec.json.Encoder()


def encode(message: ServerMessage) -> bytes:
    """The JSON text of one message, UTF-8, without whitespace."""
    return _encoder.encode(message)


def json_string(text: str) -> Raw:
    """A plain text as JSON, for a `result` that is an error's text."""
    return Raw(_encoder.encode(text))
