"""Keys do not show, and texts are cleared of them."""

import copy
import json
import pickle
from dataclasses import dataclass

import pytest

from kit.llm.secret import PLACEHOLDER_KEY, Secret, redact

KEY = "sk-ant-api03-AbC_dEf-0123456789"


def test_a_secret_shows_its_value_to_reveal_only() -> None:
    secret = Secret(KEY)
    assert secret.reveal() == KEY
    for shown in (repr(secret), str(secret), f"{secret}", f"{[secret]}"):
        assert KEY not in shown


def test_a_secret_inside_of_a_dataclass_stays_hidden() -> None:
    @dataclass
    class Holder:
        key: Secret

    assert repr(Holder(Secret(KEY))).endswith("Holder(key=Secret('…'))")


def test_a_secret_cannot_be_pickled_copied_or_encoded() -> None:
    secret = Secret(KEY)
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError, match="never pickled"):
        copy.deepcopy(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        vars(secret)


def test_secrets_compare_and_hash_by_value() -> None:
    assert Secret(KEY) == Secret(KEY)
    assert Secret(KEY) != Secret("sk-other-key")
    assert Secret(KEY) != KEY
    assert len({Secret(KEY), Secret(KEY)}) == 1


def test_exact_keys_are_removed_longest_first() -> None:
    text = redact("used abcdefgh-ijkl here", "abcdefgh", Secret("abcdefgh-ijkl"), None)
    assert text == "used [redacted] here"


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: {KEY}.",
        "Incorrect API key provided: sk-ab********************wxyz.",
        "Authorization: Bearer eyJhbGciOi.J9eyJzdWIi",
        'headers={"x-api-key": "0123456789abcdef"}',
        "api_key=0123456789abcdef&x=1",
        "http://user:0123456789@host/v1",
    ],
)
def test_what_looks_like_a_key_is_removed(text: str) -> None:
    cleaned = redact(text)
    assert "[redacted]" in cleaned
    for part in (KEY, "wxyz", "eyJ", "0123456789"):
        assert part not in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "a task-management tool, risk-free and desk-bound",
        "bearer of bad news, Bearer authentication",
        "https://example.com/a@b",
        "the api key was refused",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert redact(text) == text


def test_short_values_and_the_placeholder_are_no_secrets() -> None:
    text = "a scripted reply about a cat"
    assert redact(text, PLACEHOLDER_KEY, "a", "", Secret("cat")) == text
