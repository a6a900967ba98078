import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.deployment.cursors import Cursor, CursorSeal, fingerprint_of, invalid_cursor
from kit.deployment.failures import UsageError

SEAL = CursorSeal(bytes(range(32)))
FINGERPRINT = fingerprint_of({"table": "notes"})

cursors = st.builds(
    Cursor, st.binary(min_size=16, max_size=16), st.none() | st.binary(max_size=200)
)


@given(cursors)
def test_a_cursor_is_read_as_it_was_sealed(cursor: Cursor) -> None:
    text = SEAL.seal(cursor)
    assert SEAL.open(text) == cursor
    assert SEAL.seal(cursor) == text
    assert text.isascii() and not set(text) & set("=+/ ")


@given(cursors, st.integers(0), st.integers(1, 63))
def test_a_changed_cursor_is_not_read(cursor: Cursor, place: int, change: int) -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    text = SEAL.seal(cursor)
    # Not the last character: some of its bits may mean nothing.
    place %= len(text) - 1
    other = alphabet[alphabet.index(text[place]) ^ change]
    with pytest.raises(UsageError, match="InvalidCursor: Failed to parse cursor"):
        SEAL.open(text[:place] + other + text[place + 1 :])


@pytest.mark.parametrize("text", ["", "x", "AAAA", "é", "a b", "=" * 40, "A" * 99])
def test_what_is_no_cursor_is_not_read(text: str) -> None:
    with pytest.raises(UsageError, match="InvalidCursor: Failed to parse cursor"):
        SEAL.open(text)


def test_another_secret_does_not_open_it() -> None:
    with pytest.raises(UsageError):
        CursorSeal(bytes(32)).open(SEAL.seal(Cursor(FINGERPRINT, b"key")))


def test_a_cursor_hides_what_it_holds() -> None:
    plain = SEAL.seal(Cursor(FINGERPRINT, b"a secret value, repeated " * 4))
    other = SEAL.seal(Cursor(FINGERPRINT, b"a secret value, repeated " * 3 + b"x" * 25))
    same = sum(a == b for a, b in zip(plain, other, strict=True))
    assert same < len(plain) / 4


def test_a_fingerprint_tells_queries_apart() -> None:
    assert len(FINGERPRINT) == 16
    assert fingerprint_of({"b": 1.0, "a": [1]}) == fingerprint_of({"a": [1], "b": 1.0})
    assert fingerprint_of({"table": "note"}) != FINGERPRINT


def test_a_foreign_cursor_is_told_as_convex_does() -> None:
    error = invalid_cursor()
    assert str(error.args[0]).startswith("InvalidCursor: Tried to run a query starting")
    assert error.data == {
        "isConvexSystemError": True,
        "paginationError": "InvalidCursor",
    }
