import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.deployment.ids import decode_id, encode_id, new_internal_id

FROM_HEX = str.maketrans(
    "0123456789abcdefghijklmnopqrstuv", "0123456789abcdefghjkmnpqrstvwxyz"
)
ID = "j57000820c20a1g7104gm2rc1m70ynr8"


def test_ids_have_convexs_text() -> None:
    assert encode_id(10001, bytes(range(16))) == ID
    assert encode_id(1, bytes(16)) == "0400000000000000000000000000248"
    assert decode_id("2sh2c7pn6nyvkexbdsfj66vd9h5q3hg")[0] == 22


@given(st.integers(0, 2**32 - 1), st.binary(min_size=16, max_size=16))
def test_ids_survive_the_round_trip(table: int, internal: bytes) -> None:
    text = encode_id(table, internal)
    assert decode_id(text) == (table, internal)
    assert len(text) in (31, 32, 34, 36, 37)


@given(*[st.binary(min_size=16, max_size=16)] * 2)
def test_ids_of_a_table_sort_as_their_bytes(one: bytes, other: bytes) -> None:
    texts = encode_id(10001, one), encode_id(10001, other)
    assert (texts[0] < texts[1]) == (one < other)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("abc", "Invalid ID length 3"),
        ("", "Invalid ID length 0"),
        (ID + "0", "Invalid ID length 33"),
        (ID.upper(), "ID wasn't valid base32"),
        (ID.replace("0", "o"), "ID wasn't valid base32"),
        ("é" * 32, "ID wasn't valid base32"),
        (ID[:-1] + "9", "Invalid ID version 256"),
        (ID.replace("20a", "20b"), "Invalid ID version"),
    ],
)
def test_what_is_no_id_is_told_why(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_id(text)


@given(st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=31, max_size=37))
def test_only_what_encoding_gives_is_an_id(text: str) -> None:
    try:
        decoded = decode_id(text)
    except ValueError:
        return
    assert encode_id(*decoded) == text


def test_a_table_number_has_one_form_only() -> None:
    # Table 0 in two bytes, with a checksum that fits.
    data = b"\x80\x00" + bytes(16) + b"\x80\x00"
    text = base64.b32hexencode(data).decode().lower().translate(FROM_HEX)
    with pytest.raises(ValueError, match="ID wasn't valid base32"):
        decode_id(text)


def test_new_ids_differ_and_end_in_the_day() -> None:
    one, other = new_internal_id(3 * 86_400.0 + 5), new_internal_id(3 * 86_400.0)
    assert one != other
    assert one[-2:] == other[-2:] == b"\x00\x03"
