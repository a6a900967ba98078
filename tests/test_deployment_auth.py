"""As whom a client acts, by what it shows."""

import base64
import json
import subprocess
import sys
from typing import Any

import pytest
from tokens import ADMIN_KEY, APPLICATION, ISSUER, jwks, rsa_key, token

from kit.deployment.admin_key import AdminKey
from kit.deployment.auth import Authenticator, AuthFailed
from kit.deployment.auth_config import ALGORITHMS, Provider
from kit.deployment.identity import NOBODY, Identity
from kit.protocol import Authenticate

PROVIDER = Provider(ISSUER, APPLICATION, ALGORITHMS, jwks(rsa=rsa_key()))
ACTING_AS = {"issuer": "i", "subject": "s", "role": "tester"}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def auth(clock: Clock) -> Authenticator:
    return Authenticator([PROVIDER], AdminKey(ADMIN_KEY), now=clock)


def subject_of(identity: Identity) -> Any:
    assert identity.user is not None
    return identity.user.attributes()["subject"]


def refused(auth: Authenticator, header: str) -> tuple[int, str]:
    """Status and code."""
    with pytest.raises(AuthFailed) as caught:
        auth.of_header(header)
    shown = header.partition(" ")[2]
    assert not shown or shown not in str(caught.value)
    return caught.value.status, caught.value.code


def acting(attributes: Any) -> str:
    """What an admin who acts as a user puts behind the key."""
    return base64.b64encode(json.dumps(attributes).encode()).decode()


# --- headers ------------------------------------------------------------------


def test_whoever_shows_nothing_is_nobody(auth: Authenticator) -> None:
    assert auth.of_header(None) == NOBODY


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_token_is_a_user(auth: Authenticator, scheme: str) -> None:
    identity = auth.of_header(f"{scheme} {token('ann')}")
    assert subject_of(identity) == "ann"
    assert not identity.is_admin


@pytest.mark.parametrize("scheme", ["Convex", "convex"])
def test_the_admin_key_is_an_admin(auth: Authenticator, scheme: str) -> None:
    for key in (ADMIN_KEY, f" {ADMIN_KEY} "):
        assert auth.of_header(f"{scheme} {key}") == Identity(is_admin=True)


def test_an_admin_may_act_as_a_user(auth: Authenticator) -> None:
    shown = f"Convex {ADMIN_KEY}:{acting(ACTING_AS)}"
    identity = auth.of_header(shown)
    assert identity.is_admin and identity.user is not None
    assert identity.user.attributes() == {**ACTING_AS, "tokenIdentifier": "i|s"}
    assert identity.user.expires is None

    shown = f"Convex {ADMIN_KEY}:{acting({'tokenIdentifier': 'x'})}"
    identity = auth.of_header(shown)
    assert identity.user is not None
    assert identity.user.attributes() == {"tokenIdentifier": "x"}


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        ("", (400, "InvalidAdminKey")),
        ("nonsense", (400, "InvalidAdminKey")),
        ("Bearer", (400, "InvalidAdminKey")),
        ("Bearer ", (400, "InvalidAdminKey")),
        ("Convex ", (400, "InvalidAdminKey")),
        ("Basic dXNlcjpwYXNz", (400, "InvalidAdminKey")),
        ("Bearer nonsense", (401, "InvalidAuthHeader")),
        (f"Bearer {token(iss='https://other.example')}", (401, "NoAuthProvider")),
        (f"Bearer {token(key=rsa_key('mallory'))}", (401, "Unauthenticated")),
        (f"Bearer {token(lifetime=-60)}", (401, "Unauthenticated")),
        ("Convex wrong", (401, "BadAdminKey")),
        (f"Convex wrong:{acting(ACTING_AS)}", (401, "BadAdminKey")),
        (f"Convex {ADMIN_KEY}:no base64!", (400, "HeaderParseFailure")),
        (f"Convex {ADMIN_KEY}:{acting([])}", (400, "HeaderParseFailure")),
        (f"Convex {ADMIN_KEY}:{acting({})}", (400, "HeaderParseFailure")),
        (
            f"Convex {ADMIN_KEY}:{acting({'issuer': 'i', 'subject': 5})}",
            (400, "HeaderParseFailure"),
        ),
        (
            f"Convex {ADMIN_KEY}:{acting({**ACTING_AS, 'level': 10**400})}",
            (400, "HeaderParseFailure"),
        ),
        (f"Convex {ADMIN_KEY}:", (400, "HeaderParseFailure")),
        ("Convex \udc80\u00e9", (401, "BadAdminKey")),
        ("Bearer \udc80\u00e9", (401, "InvalidAuthHeader")),
        (f"Convex {ADMIN_KEY}:\udc80", (400, "HeaderParseFailure")),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_what_is_wrong_is_refused(
    auth: Authenticator, header: str, answer: tuple[int, str]
) -> None:
    assert refused(auth, header) == answer


def test_without_providers_and_key_everything_is_refused() -> None:
    auth = Authenticator()
    assert auth.of_header(None) == NOBODY
    assert refused(auth, f"Bearer {token()}") == (401, "NoAuthProvider")
    assert refused(auth, f"Convex {ADMIN_KEY}") == (401, "BadAdminKey")


def test_cryptography_is_loaded_for_providers_only() -> None:
    script = (
        "import sys, kit.deployment.__main__; from kit.deployment.auth import *; "
        "Authenticator(); assert 'jwt' not in sys.modules, 'loaded'"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


# --- messages -----------------------------------------------------------------


def test_an_authenticate_says_it_in_a_message(auth: Authenticator) -> None:
    assert auth.of_message(Authenticate(0, "None")) == NOBODY
    assert subject_of(auth.of_message(Authenticate(0, "User", token("ann")))) == "ann"
    assert auth.of_message(Authenticate(0, "Admin", ADMIN_KEY)) == Identity(
        is_admin=True
    )
    message = Authenticate(0, "Admin", ADMIN_KEY, impersonating=ACTING_AS)
    identity = auth.of_message(message)
    assert identity.is_admin and subject_of(identity) == "s"


@pytest.mark.parametrize(
    "message",
    [
        Authenticate(0, "User"),
        Authenticate(0, "User", "nonsense"),
        Authenticate(0, "Admin"),
        Authenticate(0, "Admin", "wrong"),
        Authenticate(0, "Admin", ADMIN_KEY, acting_as={}),
    ],
    ids=range(5),
)
def test_a_wrong_authenticate_is_refused(
    auth: Authenticator, message: Authenticate
) -> None:
    with pytest.raises(AuthFailed):
        auth.of_message(message)


# --- the end of a token -------------------------------------------------------


def test_a_user_is_current_until_the_token_ends(
    auth: Authenticator, clock: Clock
) -> None:
    identity = auth.of_token(token(lifetime=1000))
    assert identity.user is not None and identity.user.expires is not None
    clock.now = identity.user.expires - 0.1
    auth.check_current(identity)
    clock.now = identity.user.expires
    with pytest.raises(AuthFailed, match="Convex token identity expired") as caught:
        auth.check_current(identity)
    assert (caught.value.status, caught.value.code) == (401, "TokenExpired")


def test_nobody_and_an_admin_stay_current(auth: Authenticator, clock: Clock) -> None:
    clock.now = 1e12
    auth.check_current(NOBODY)
    auth.check_current(auth.of_admin_key(ADMIN_KEY))
    auth.check_current(auth.of_admin_key(ADMIN_KEY, ACTING_AS))
