import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from kit.deployment.deadline import FunctionTimedOut, run_with_deadline, timers_kept

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no interval timers")


def spin() -> None:
    while True:
        pass


def test_a_function_that_ends_is_left_alone() -> None:
    assert run_with_deadline(1.0, lambda: 7) == 7


def test_a_function_that_spins_is_stopped() -> None:
    with pytest.raises(FunctionTimedOut) as error:
        run_with_deadline(0.05, spin)
    assert str(error.value) == (
        "Function execution timed out (maximum duration: 0.05s)"
    )


def test_a_function_that_sleeps_is_stopped_after_longer() -> None:
    started = time.monotonic()
    with pytest.raises(FunctionTimedOut):
        run_with_deadline(0.02, lambda: threading.Event().wait(60))
    assert 0.25 < time.monotonic() - started < 30


def test_catching_the_stop_does_not_help() -> None:
    stops = 0

    def stubborn() -> str:
        nonlocal stops
        while stops < 3:
            try:
                spin()
            except BaseException:
                stops += 1
        return "done"

    with pytest.raises(FunctionTimedOut):
        run_with_deadline(0.05, stubborn)
    assert stops == 3


def test_an_error_of_the_function_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        run_with_deadline(1.0, lambda: 1 // 0)


@contextmanager
def another_alarm(delay: float) -> Iterator[threading.Event]:
    """Somebody else's elapsed-time timer; the event is set when it goes off."""
    assert sys.platform != "win32"
    fired = threading.Event()
    handler = signal.signal(signal.SIGALRM, lambda *_: fired.set())
    timer = signal.setitimer(signal.ITIMER_REAL, delay)
    try:
        yield fired
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)


def handlers() -> list[object]:
    assert sys.platform != "win32"
    return [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGVTALRM)]


@pytest.mark.parametrize("function", [int, spin, lambda: 1 // 0])
def test_handlers_and_timers_are_given_back(function: Callable[[], object]) -> None:
    assert sys.platform != "win32"
    with another_alarm(30.0):
        before = handlers()
        with suppress(FunctionTimedOut, ZeroDivisionError):
            run_with_deadline(0.05, function)
        assert handlers() == before
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 30.0
        assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_an_alarm_that_came_due_meanwhile_goes_off_afterwards() -> None:
    with another_alarm(0.01) as fired:
        with pytest.raises(FunctionTimedOut):
            run_with_deadline(0.05, spin)
        assert fired.wait(10)


def test_timers_that_are_kept_stop_one_function_after_the_other() -> None:
    before = handlers()
    with timers_kept(0.02):
        kept = handlers()
        for _ in range(2):
            assert run_with_deadline(1.0, lambda: 7) == 7
            with pytest.raises(FunctionTimedOut):
                run_with_deadline(0.02, spin)
        with pytest.raises(FunctionTimedOut):
            run_with_deadline(0.02, lambda: threading.Event().wait(60))
        assert run_with_deadline(0.02, lambda: 7) == 7
        assert handlers() == kept != before
    assert handlers() == before
    test_handlers_and_timers_are_given_back(spin)


def test_outside_the_main_thread_nothing_is_installed() -> None:
    seen: list[object] = []
    before = handlers()
    thread = threading.Thread(
        target=lambda: run_with_deadline(0.05, lambda: seen.append(handlers()))
    )
    thread.start()
    thread.join()
    assert seen == [before]
