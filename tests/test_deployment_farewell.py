"""How sessions end, by reason."""

import json

import pytest

from kit.deployment.auth import AuthFailed
from kit.deployment.farewell import (
    AuthRefused,
    Overloaded,
    Stopping,
    farewell,
)
from kit.deployment.state import OutOfStep
from kit.errors import ProtocolError

EXPIRED = AuthFailed(401, "TokenExpired", "Convex token identity expired")


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (None, 1001, ""),
        (ConnectionResetError(), 1001, ""),
        (Stopping(), 1001, "Shutdown"),
        (OutOfStep("x"), 1011, "InternalServerError"),
        (Overloaded("TooManyConcurrentActions"), 1013, "TooManyConcurrentActions"),
        (OSError("disk"), 1011, "InternalServerError"),
    ],
    ids=repr,
)
def test_a_client_that_may_come_back_gets_a_status(
    error: Exception | None, code: int, reason: str
) -> None:
    last = farewell(error, 0)
    assert (last.code, last.reason, last.last) == (code, reason, None)
    assert last.is_failure is (type(error) is OSError)


def test_a_mistake_is_told_and_has_no_status() -> None:
    last = farewell(ProtocolError("so\nwrong"), 0)
    assert last.code is None
    assert json.loads(last.last or b"") == {"type": "FatalError", "error": "so\nwrong"}
    assert "\n" not in last.note


@pytest.mark.parametrize("attempted", [True, False])
def test_a_refusal_names_the_version_in_force(attempted: bool) -> None:
    last = farewell(AuthRefused(EXPIRED, attempted=attempted), 3)
    assert last.code is None
    assert json.loads(last.last or b"") == {
        "type": "AuthError",
        "error": "Convex token identity expired",
        "baseVersion": 3,
        "authUpdateAttempted": attempted,
    }
    assert last.note == "TokenExpired"
