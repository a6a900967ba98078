"""What one append costs, and what it does not depend on.

Appends are timed in a store that holds ten of everything, and in stores that have
grown in one respect: the reply's length, the task's history, other tasks, what others
subscribe to. The stores take turns in small batches, so that what disturbs the machine
disturbs all alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

import msgspec

from kit.bench.store import KIT, Store, open_store
from kit.deployment.engine import Engine, QueryOutcome
from kit.deployment.identity import Identity
from kit.deployment.subscriptions import Subscriptions
from kit.values import JsonValue

__all__ = ["AppendCost", "append_costs"]

FEW = 10
BATCH = 20  # appends until another store has its turn
LONGEST_REPLY = 8000  # appends; a stream takes 8,192
CHUNKS = [{"type": "text-delta", "id": "text-0", "delta": " harbour"}]


@dataclass(frozen=True)
class AppendCost:
    """The time of an append where there is `count` of one thing."""

    what: str
    count: int
    microseconds: float
    ratio: float
    """To the store that has ten of everything, measured in turns with it."""


def append_costs(count: int, appends: int) -> list[AppendCost]:
    """Time `appends` in each store; the grown ones have `count` of one thing.

    As many appends as a reply takes, less those that are timed, if that is fewer.
    Blocks for as long as it takes.
    """
    longest = LONGEST_REPLY - appends
    with ExitStack() as stores:
        few = _Timed(stores.enter_context(open_store(KIT)), longest)
        grown = {
            what: _Timed(stores.enter_context(open_store(KIT)), longest)
            for what in GROWTH
        }
        sizes = {what: GROWTH[what](one, count) for what, one in grown.items()}
        for _ in range(appends // BATCH):
            for one in (few, *grown.values()):
                one.time(BATCH)
        base = median(few.seconds)
        times = {what: median(one.seconds) for what, one in grown.items()}
    return [AppendCost("ten of everything", FEW, base * 1e6, 1.0)] + [
        AppendCost(what, sizes[what], seconds * 1e6, seconds / base)
        for what, seconds in times.items()
    ]


class _Timed:
    """A store with a reply being written, ten of everything, and times of appends."""

    def __init__(self, store: Store, longest: int) -> None:
        self.store = store
        self.longest = longest
        """Appends that the reply may have before any is timed."""
        self.seconds: list[float] = []
        self._followed = Subscriptions(_query_runner(store.engine))
        store.engine.on_commit = lambda _, written: self._followed.committed(written)
        task = store.create_task()
        self._task = task
        self._stream = store.begin(task)
        self._seq = 0
        self.add_messages(FEW)
        self.follow(self.add_tasks(FEW))
        self.append(FEW)

    def append(self, count: int) -> None:
        for _ in range(count):
            self.store.append(self._stream, self._seq, CHUNKS)
            self._seq += 1

    def time(self, count: int) -> None:
        for _ in range(count):
            started = time.perf_counter()
            self.append(1)
            self.seconds.append(time.perf_counter() - started)

    def add_messages(self, count: int) -> None:
        """To the history of the task whose reply is being written."""
        message = {
            "taskId": self._task,
            "role": "USER",
            "content": "What was said before, at the length of an ordinary question.",
            "status": "complete",
        }
        self.store.insert(
            "chatMessages",
            [{**message, "sequence": -1.0 - number} for number in range(count)],
        )

    def add_tasks(self, count: int) -> list[str]:
        task = {"title": "Another conversation", "status": "COMPLETED"}
        return self.store.insert("tasks", [task] * count)

    def follow(self, tasks: list[str]) -> None:
        """Have somebody subscribe to the messages of each of these tasks."""
        for number, task in enumerate(tasks):
            args = msgspec.Raw(msgspec.json.encode([{"taskId": task}]))
            subscription = self._followed.subscribe(
                "messages:byTask", args, _NOBODY, number
            )
            self._followed.refresh(subscription)


class _Nobody:
    """A watcher that does not look."""

    def query_changed(self, query_id: int) -> None:
        pass


_NOBODY = _Nobody()


def _query_runner(
    engine: Engine,
) -> Callable[[str, JsonValue, Identity, str | None], QueryOutcome]:
    def run(
        path: str, args: JsonValue, identity: Identity, journal: str | None
    ) -> QueryOutcome:
        return engine.run_query(path, args, journal=journal)

    return run


# --- in which respects a store grows ------------------------------------------------


def _longer_reply(timed: _Timed, count: int) -> int:
    count = min(count, timed.longest)
    timed.append(count - FEW)
    return count


def _longer_history(timed: _Timed, count: int) -> int:
    timed.add_messages(count - FEW)
    return count


def _more_tasks(timed: _Timed, count: int) -> int:
    timed.add_tasks(count - FEW)
    return count


def _more_subscriptions(timed: _Timed, count: int) -> int:
    timed.follow(timed.add_tasks(count - FEW))
    return count


GROWTH: dict[str, Callable[[_Timed, int], int]] = {
    "appends to this reply": _longer_reply,
    "messages in this task": _longer_history,
    "other tasks": _more_tasks,
    "subscriptions to other tasks": _more_subscriptions,
}
