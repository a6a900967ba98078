"""Values as HTTP callers get them."""

import base64
import json
import struct

import pytest

from kit.deployment.formats import FORMATS, formatted


def special(value: float) -> str:
    data = base64.b64encode(struct.pack("<d", value)).decode()
    return json.dumps({"$float": data}, separators=(",", ":"))


@pytest.mark.parametrize("format", ["convex_encoded_json", "convex_json"])
def test_encoded_is_as_it_is(format: str) -> None:
    text = '{"a":{"$integer":"BwAAAAAAAAA="}}'
    assert bytes(formatted(text, format)).decode() == text


@pytest.mark.parametrize("format", [None, "json", "convex_clean_json"])
@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("5.0", "5.0"),
        ('{"a":[1.5,null,true]}', '{"a":[1.5,null,true]}'),
        ('{"$integer":"BwAAAAAAAAA="}', '"7"'),
        ('[{"$integer":"//////////8="}]', '["-1"]'),
        ('{"$bytes":"YWI="}', '"YWI="'),
        (special(float("nan")), '"NaN"'),
        (special(float("inf")), '"Infinity"'),
        (special(float("-inf")), '"-Infinity"'),
        (special(-0.0), "-0.0"),
        ('{"a":{"b":[{"$bytes":""}]},"n":5.0}', '{"a":{"b":[""]},"n":5.0}'),
        ('"{\\"$integer\\""', '"{\\"$integer\\""'),
    ],
)
def test_clean_loses_what_is_not_jsons(
    text: str, clean: str, format: str | None
) -> None:
    assert bytes(formatted(text, format)).decode() == clean


def test_all_formats_are_covered() -> None:
    assert set(FORMATS) == {
        None,
        "convex_encoded_json",
        "convex_json",
        "json",
        "convex_clean_json",
    }
