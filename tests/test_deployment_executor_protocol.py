"""The lines between the deployment and its executor."""

import msgspec
import pytest
from msgspec import Raw

from kit.deployment.executor_protocol import (
    Answer,
    Call,
    Cancel,
    Done,
    FromExecutor,
    Ready,
    Run,
    Schedule,
    ToExecutor,
    decode_from_executor,
    decode_to_executor,
    encode_line,
)
from kit.deployment.failures import FunctionFailure

FAILURE = FunctionFailure("Uncaught Error: boom", '{"a":1.0}', ("    at f (x:1)",))


@pytest.mark.parametrize(
    "message",
    [
        Run(1, "m:f", {"text": "two\nlines \u2028", "list": [1.0, None]}),
        Answer(2, Raw(b'{"a":"\\n"}')),
        Answer(3, failure=FAILURE),
    ],
)
def test_what_the_deployment_says_is_one_line(message: ToExecutor) -> None:
    line = encode_line(message)
    assert line.count(b"\n") == 1
    assert decode_to_executor(line) == message


@pytest.mark.parametrize(
    "message",
    [
        Ready(),
        Done(1, ["[LOG] 'x'"], Raw(b"5.0")),
        Done(2, [], failure=FAILURE),
        Call(3, 1, "mutation", "m:f", {}),
        Schedule(4, 1, "m:f", {}, 1.5),
        Cancel(5, 1, "j57"),
    ],
)
def test_what_the_executor_says_is_one_line(message: FromExecutor) -> None:
    line = encode_line(message)
    assert line.count(b"\n") == 1
    assert decode_from_executor(line) == message


@pytest.mark.parametrize("line", [b"hello\n", b'{"type":"Run"}\n', b"{}\n"])
def test_anything_else_is_an_error(line: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_from_executor(line)
