"""What a client asks for, before any function runs: the argument object, request ids.

And how either may stand in a log. Shared by the WebSocket sessions and the HTTP calls.
Holds no connection and runs nothing.
"""

from __future__ import annotations

import hashlib
import secrets

import msgspec
from msgspec import Raw

from kit.deployment.failures import FunctionFailure
from kit.deployment.paths import parse_path
from kit.values import JsonValue, format_bytes

__all__ = [
    "MAX_ARGS_TEXT",
    "decode_args",
    "loggable",
    "new_request_id",
    "request_id_of",
]

# Convex counts 16 MiB by its own measure, and takes no more than about as much JSON
# over HTTP. Here it is one limit on the text for both ways in, so that an argument
# that is too large is an answer rather than a broken connection.
MAX_ARGS_TEXT = 16 * 1024 * 1024


def new_request_id() -> str:
    """16 hex digits for the error text of a request that has no id of its own."""
    return secrets.token_hex(8)


def request_id_of(session_id: str, request_id: int) -> str:
    """The request id that error texts show for a request on a WebSocket."""
    digest = hashlib.sha256(f"{session_id}|{request_id}".encode())
    return digest.hexdigest()[:16]


def loggable(text: str) -> str:
    """What came from a client, short and in one line."""
    shown = text[:80]
    return shown if shown.isprintable() else repr(shown)


def decode_args(path: str, args: Raw) -> JsonValue | FunctionFailure:
    """The argument object, a Convex JSON structure, or why it cannot be had.

    `args` is JSON text of the object, or of an array with the object alone in it.
    Whether it suits the function is for the engine to say, and so is `path`.
    """
    size = len(memoryview(args))
    if size > MAX_ARGS_TEXT:
        return FunctionFailure(
            f"Arguments for {_shown(path)} are too large (actual: "
            f"{format_bytes(size)}, limit: {format_bytes(MAX_ARGS_TEXT)})"
        )
    try:
        decoded: JsonValue = msgspec.json.decode(args)
    except (msgspec.MsgspecError, UnicodeError) as error:
        return FunctionFailure(f"Invalid arguments for {_shown(path)}: {error}")
    except RecursionError:
        return FunctionFailure(
            f"Invalid arguments for {_shown(path)}: they are nested too deeply"
        )
    if not isinstance(decoded, list):
        return decoded
    if len(decoded) != 1:
        return FunctionFailure(
            "ArgumentValidationError: Expected to receive a single object as the "
            f"function's argument. Instead received {len(decoded)} arguments."
        )
    return decoded[0]


def _shown(path: str) -> str:
    try:
        return parse_path(path).canonical
    except ValueError:
        return path[:80]
