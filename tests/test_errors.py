"""The error tree: one base, texts that tell, and pickles that keep what was told."""

import pickle

import pytest

from kit import errors
from kit.errors import (
    ConvexFunctionError,
    DeploymentUnreachable,
    KitError,
    LLMError,
    RequestRejected,
)


def test_every_error_is_a_kit_error_and_in_the_drawn_tree() -> None:
    for name in errors.__all__:
        thing = getattr(errors, name)
        if isinstance(thing, type):
            assert issubclass(thing, KitError)
            assert name in str(errors.__doc__)


@pytest.mark.parametrize(
    "error",
    [
        DeploymentUnreachable("http://127.0.0.1:1", "refused"),
        RequestRejected(400, "BadJsonBody", "no JSON"),
        ConvexFunctionError("tasks:get", "gone", {"code": "NotFound"}),
        LLMError("rate-limit", "slow down", provider="openai", retry_after=2.0),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_pickling(error: KitError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_nobody_answering_is_also_a_connection_error() -> None:
    error = DeploymentUnreachable("http://127.0.0.1:1", "refused")
    assert isinstance(error, ConnectionError)
    assert "NEXT_PUBLIC_CONVEX_URL" in str(error)
