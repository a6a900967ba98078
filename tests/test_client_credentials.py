"""What a client shows, and what of it shows elsewhere: nothing."""

import base64
import json
import time
from typing import Any

import pytest
from tokens import token

from kit.client.credentials import (
    NOTHING,
    Credentials,
    credentials_of,
    secrets_in,
)
from kit.errors import ConfigError


def jwt_of(claims: str) -> str:
    return f"e30.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.sig"


def test_nothing_is_shown_unless_something_was_given() -> None:
    assert credentials_of(None, None) == credentials_of(" ", "") == NOTHING
    assert NOTHING.headers == {}


def test_a_token_and_a_key_are_shown_as_convex_takes_them() -> None:
    user, admin = credentials_of(" t0ken\n", None), credentials_of("", "the|key")
    assert user.headers == {"Authorization": "Bearer t0ken"}
    assert admin.headers == {"Authorization": "Convex the|key"}


def test_a_secret_is_not_in_a_repr() -> None:
    assert repr(credentials_of("s3cret", None)) == "Credentials(kind='user')"


@pytest.mark.parametrize("secret", ["s3\ncret", "s3cr\u00e9t", "s3\x00cret"])
@pytest.mark.parametrize("what", ["token", "admin_key"])
def test_what_cannot_be_sent_is_refused_without_showing_it(
    secret: str, what: str
) -> None:
    given = {"token": None, "admin_key": None, what: secret}
    with pytest.raises(ConfigError, match="one line of ASCII") as caught:
        credentials_of(**given)
    assert "s3" not in str(caught.value)


def test_both_at_once_are_refused() -> None:
    with pytest.raises(ConfigError, match="Give one of them"):
        credentials_of("a", "b")


def test_a_program_takes_its_own_from_the_environment() -> None:
    assert secrets_in({}) == {"token": None, "admin_key": None}
    env = {"KIT_CONVEX_TOKEN": "t", "KIT_CONVEX_ADMIN_KEY": "k", "KIT_ADMIN_KEY": "x"}
    assert secrets_in(env) == {"token": "t", "admin_key": "k"}


def test_a_token_says_when_it_ends() -> None:
    ends = credentials_of(token(lifetime=60), None).ends
    assert ends is not None
    assert 0 < ends - time.time() <= 60


@pytest.mark.parametrize(
    "text",
    [
        "opaque",
        "a.b.c",
        "a.%.c",
        jwt_of("{}"),
        jwt_of("[]"),
        jwt_of('{"exp": "soon"}'),
        jwt_of('{"exp": null}'),
        jwt_of("[" * 100_000),
    ],
)
def test_what_does_not_say_when_it_ends_is_not_known_to(text: str) -> None:
    assert Credentials("user", text).ends is None


def test_an_admin_key_does_not_end() -> None:
    claims: dict[str, Any] = {"exp": 1}
    assert Credentials("admin", jwt_of(json.dumps(claims))).ends is None
