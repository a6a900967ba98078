from pathlib import Path
from typing import Any

import pytest
from convex import ConvexError

from kit.deployment.failures import (
    FunctionFailure,
    UsageError,
    exception_of,
    failure_of,
)
from kit.values import ConvexInt64

FOLDER = Path(__file__).parent


class Taken(ConvexError):
    pass


@pytest.mark.parametrize(
    ("error", "message", "data"),
    [
        (Exception("boom"), "Uncaught Error: boom", None),
        (UsageError("boom"), "Uncaught Error: boom", None),
        (ValueError("bad"), "Uncaught ValueError: bad", None),
        (KeyError(), "Uncaught KeyError", None),
        (Exception(), "Uncaught Error", None),
        (SystemExit(1), "Uncaught SystemExit: 1", None),
        (Exception("é \ud800"), "Uncaught Error: é \\ud800", None),
        (ConvexError("taken", "taken"), "Uncaught ConvexError: taken", '"taken"'),
        (ConvexError("", "taken"), "Uncaught ConvexError: taken", '"taken"'),
        (
            ConvexError("", {"message": "m", "code": ConvexInt64(123)}),
            'Uncaught ConvexError: {"message":"m","code":"123n"}',
            '{"code":{"$integer":"ewAAAAAAAAA="},"message":"m"}',
        ),
        (ConvexError("say", {"a": 1}), "Uncaught ConvexError: say", '{"a":1.0}'),
        (ConvexError("", None), "Uncaught ConvexError: null", "null"),
        (Taken("x", 1), "Uncaught Taken: x", "1.0"),
    ],
)
def test_exceptions_read_as_convex_says_them(
    error: BaseException, message: str, data: str | None
) -> None:
    failure = failure_of(error, FOLDER)
    assert (failure.message, failure.data_json) == (message, data)


def test_data_that_is_no_value_is_told() -> None:
    failure = failure_of(ConvexError("x", {"a": {1}}), FOLDER)
    assert failure.data_json is None
    assert failure.message == (
        "Uncaught Error: The data of a ConvexError: set is not a supported Convex "
        "type. Use None, bool, int, float, ConvexInt64, str, bytes, list or dict "
        "(at .a)"
    )


def test_an_error_whose_text_cannot_be_made_is_told_too() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    message = failure_of(Broken(), FOLDER).message
    assert message == (
        "Uncaught Broken: (its text could not be made: RuntimeError('no text'))"
    )


def raised_below(folder: Path) -> FunctionFailure:
    def inner() -> None:
        raise Exception("boom")

    with pytest.raises(Exception, match="boom") as raised:
        inner()
    return failure_of(raised.value, folder)


def test_frames_of_the_folder_are_shown_innermost_first() -> None:
    inner, outer = raised_below(FOLDER).frames
    assert inner.startswith("    at inner (tests/test_deployment_failures.py:")
    assert outer.startswith("    at raised_below (tests/test_deployment_failures.py:")
    assert raised_below(FOLDER / "elsewhere").frames == ()


def test_the_text_for_a_client_ends_in_a_line_end() -> None:
    failure = FunctionFailure("Uncaught Error: boom", None, ("    at f (x.py:1)",))
    assert failure.render("0123456789abcdef") == (
        "[Request ID: 0123456789abcdef] Server Error\n"
        "Uncaught Error: boom\n"
        "    at f (x.py:1)\n"
    )


def test_a_caller_sees_what_failed_inside() -> None:
    inner = failure_of(ConvexError("taken", "taken"), FOLDER)
    raised: Any = exception_of(inner)
    assert isinstance(raised, ConvexError)
    assert raised.data == "taken"
    outer = failure_of(raised, FOLDER)
    assert outer.message == "Uncaught ConvexError: Uncaught ConvexError: taken\n"
    assert outer.data_json == '"taken"'
    other = exception_of(FunctionFailure("Uncaught ValueError: x"))
    assert failure_of(other, FOLDER).message == (
        "Uncaught Error: Uncaught ValueError: x\n"
    )
