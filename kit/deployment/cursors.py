"""Cursors of paginated queries: where a page ended, as text that only we can read.

A cursor holds a position in an index and the fingerprint of its query: with any other
query it is refused. It is sealed with the deployment's secret, because an index key
holds values of the last document that was read, which a function may not have shown;
and so that nobody can make one up. Equal cursors give equal texts, or a page that
stayed the same would look changed. Pure, given the secret. Mirrors `Cursor` of Convex's
`common/src/query.rs`, which are encrypted too.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from hashlib import blake2b, shake_256

import msgspec
from convex import ConvexError

from kit.deployment.failures import UsageError
from kit.values import JsonValue

__all__ = ["Cursor", "CursorSeal", "fingerprint_of", "invalid_cursor"]

FINGERPRINT_LENGTH = 16
TAG_LENGTH = 16
_END = b"\x00"
_AFTER = b"\x01"

_encoder = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True)
class Cursor:
    """A position in the results of a query."""

    fingerprint: bytes
    """Of the query; see `fingerprint_of`."""
    after: bytes | None
    """The index key of the last document passed; None at the end of the results."""


def fingerprint_of(query: JsonValue) -> bytes:
    """The same for, and only for, queries that are the same JSON."""
    return blake2b(_encoder.encode(query), digest_size=FINGERPRINT_LENGTH).digest()


def invalid_cursor() -> ConvexError:
    """For a cursor of another query. Convex's clients start over when they see it."""
    return ConvexError(
        "InvalidCursor: Tried to run a query starting from a cursor, but it looks like "
        "this cursor is from a different query.",
        {"isConvexSystemError": True, "paginationError": "InvalidCursor"},
    )


class CursorSeal:
    """Makes and reads the texts of cursors, with one secret of at most 64 bytes.

    The payload's keyed hash is both its authentication and, with the secret, the seed
    of the stream that hides it: a synthetic initialisation vector, as in SIV modes.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def seal(self, cursor: Cursor) -> str:
        """The text of `cursor`."""
        position = _END if cursor.after is None else _AFTER + cursor.after
        payload = cursor.fingerprint + position
        tag = self._tag(payload)
        sealed = tag + self._mask(payload, tag)
        return base64.urlsafe_b64encode(sealed).decode("ascii").rstrip("=")

    def open(self, text: str) -> Cursor:
        """The cursor in `text`. Raises UsageError if it was not sealed here."""
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", True)
        except (binascii.Error, ValueError):
            raise _unreadable() from None
        tag, masked = sealed[:TAG_LENGTH], sealed[TAG_LENGTH:]
        payload = self._mask(masked, tag)
        if not hmac.compare_digest(tag, self._tag(payload)):
            raise _unreadable()
        fingerprint = payload[:FINGERPRINT_LENGTH]
        position = payload[FINGERPRINT_LENGTH:]
        return Cursor(fingerprint, None if position == _END else position[1:])

    def _tag(self, payload: bytes) -> bytes:
        keyed = blake2b(
            payload, key=self._secret, digest_size=TAG_LENGTH, person=b"cursor"
        )
        return keyed.digest()

    def _mask(self, data: bytes, tag: bytes) -> bytes:
        """`data` hidden, or what was hidden made plain."""
        stream = shake_256(self._secret + tag).digest(len(data))
        mixed = int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")
        return mixed.to_bytes(len(data), "big")


def _unreadable() -> UsageError:
    return UsageError("InvalidCursor: Failed to parse cursor")
