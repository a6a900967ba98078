from collections.abc import Callable
from pathlib import Path

import pytest

from kit.deployment.failures import FunctionFailure, UsageError, failure_of
from kit.deployment.limits import ReadLimitReached, Usage

# The numbers and texts are held by test_deployment_transaction and _jobs, on documents.


@pytest.mark.parametrize(
    "use",
    [
        lambda usage: [usage.read("{}") for _ in range(32_001)],
        lambda usage: usage.read("é" * 2**23 + "x"),
        lambda usage: usage.intervals_read(4097),
    ],
)
def test_a_limit_of_reading_is_told_apart(use: Callable[[Usage], None]) -> None:
    with pytest.raises(ReadLimitReached) as error:
        use(Usage())
    assert isinstance(error.value, UsageError)
    usage = Usage()
    usage.lift()
    use(usage)


def test_up_to_the_limits_nothing_is_said() -> None:
    usage = Usage()
    usage.read("x" * 2**24)
    usage.intervals_read(4096)
    usage.write("x" * 2**24)
    for _ in range(1000):
        usage.schedule({})


def test_clients_see_a_limit_as_a_plain_error(tmp_path: Path) -> None:
    failure = failure_of(ReadLimitReached("Too many"), tmp_path)
    assert failure == FunctionFailure("Uncaught Error: Too many")
