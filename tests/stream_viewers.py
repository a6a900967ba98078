"""The kit's functions with their followers, for tests without a server.

`Deployed` is an engine whose watchdog jobs can get lost, with the subscriptions that a
deployment has; a `Viewer` follows one task as the hooks do, a step at a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convex_functions import Functions
from msgspec import Raw
from stream_model import LIVE, AnyChunk

from kit.deployment.engine import QueryOutcome
from kit.deployment.identity import Identity
from kit.deployment.shared_queries import Subscription
from kit.deployment.subscriptions import Subscriptions
from kit.parts import PartsFold
from kit.values import JsonValue, decode, encode

PAGE = 4


class Deployed(Functions):
    """The functions, whose watchdog jobs can get lost, and who follows them."""

    def __init__(self, folder: Path, lost: set[str] | None = None) -> None:
        super().__init__(folder)
        self.folder = folder
        self.lost = lost or set()
        # What was run for those who follow, and how long the result is.
        self.followed: list[tuple[str, int]] = []
        self.subscriptions = Subscriptions(self._run)
        self.engine.on_commit = lambda _, written: self.subscriptions.committed(written)

    def _run(
        self, path: str, args: JsonValue, identity: Identity, journal: str | None
    ) -> QueryOutcome:
        outcome = self.engine.run_query(path, args)
        self.followed.append((path, len(outcome.value_json or "")))
        return outcome

    def lose_watchdogs(self) -> None:
        self.lost.update(j["_id"] for j in self.jobs() if "watchdog" in j["name"])

    def advance(self, milliseconds: float) -> None:
        """Turn the clock, and run what falls due and is not lost, each in its time."""
        until = self.now_ms + milliseconds
        while True:
            due = self.engine.due_jobs(until, limit=1000)
            mutations = (job for job in due if job.kind == "mutation")
            job = next((job for job in mutations if job.id not in self.lost), None)
            if job is None:
                break
            self.turn(max(job.scheduled_time - self.now_ms, 0.0))
            outcome = self.engine.run_job(job.id)
            assert outcome is not None
            assert outcome.error is None, outcome.error.text
        self.turn(max(until - self.now_ms, 0.0))

    def follow(self, path: str, args: dict[str, Any], who: Viewer) -> Subscription:
        raw = Raw(encode(args).encode())
        subscription = self.subscriptions.subscribe(path, raw, who, 0)
        self.subscriptions.refresh(subscription)
        return subscription

    def fresh(self, subscription: Subscription) -> str | None:
        """What the query of a subscription returns now."""
        family = subscription.query.family
        assert not isinstance(family.args, Exception)
        args: Any = family.args
        outcome = self.engine.run_query(family.path, args)
        assert outcome.error is None
        return outcome.value_json


class Viewer:
    """Follows one task by the documented protocol."""

    def __init__(self, deployed: Deployed, task_id: str) -> None:
        self.task_id = task_id
        self.stream_id: str | None = None
        self.seen: list[AnyChunk] = []
        self.cursor = 0
        self.fold = PartsFold()
        self.page: Subscription | None = None
        # Told by a subscription that its value may be another.
        self.has_news = False
        self._page_number = 0
        self.reconnect(deployed)

    def query_changed(self, query_id: int) -> None:
        self.has_news = True

    def reconnect(self, deployed: Deployed) -> None:
        """Subscribe anew, as after a lost connection; the cursor is kept."""
        self.has_news = True
        self._deployed = deployed
        self.messages = deployed.follow(
            "messages:byTask", {"taskId": self.task_id}, self
        )
        if self.stream_id is not None:
            self._follow_page()

    @property
    def subscriptions(self) -> list[Subscription]:
        return [s for s in (self.messages, self.page) if s is not None]

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._value(self.messages)
        return rows

    def look(self) -> None:
        """Take what the subscriptions have brought."""
        self.has_news = False
        self._refresh(self.messages)
        live = [row for row in self.rows if row["status"] in LIVE]
        stream_id = live[-1]["streamId"] if live else None
        if stream_id != self.stream_id:
            self._leave_page()
            self.stream_id, self.cursor, self.seen = stream_id, 0, []
            self.fold = PartsFold()
            if stream_id is not None:
                self._catch_up()
                self._follow_page()
        while self.page is not None:
            self._refresh(self.page)
            self._take(self._value(self.page)["deltas"])
            if self.cursor < (self._page_number + 1) * PAGE:
                break
            self._leave_page()
            self._follow_page()

    def _catch_up(self) -> None:
        more = True
        while more:
            answer = self._deployed.call(
                "streaming:catchUp", {"streamId": self.stream_id, "from": self.cursor}
            )
            self._take(answer["deltas"])
            assert answer["nextSeq"] == self.cursor
            more = answer["more"]

    def _follow_page(self) -> None:
        self._page_number = self.cursor // PAGE
        args = {"streamId": self.stream_id, "page": self._page_number}
        self.page = self._deployed.follow("streaming:read", args, self)
        self._take(self._value(self.page)["deltas"])

    def _leave_page(self) -> None:
        if self.page is not None:
            self._deployed.subscriptions.unsubscribe(self.page)
            self.page = None

    def _refresh(self, subscription: Subscription) -> None:
        self._deployed.subscriptions.refresh(subscription)

    def _value(self, subscription: Subscription) -> Any:
        value = subscription.result.value
        assert isinstance(value, str), value
        return decode(value)

    def _take(self, found: list[dict[str, Any]]) -> None:
        for delta in found:
            if delta["seq"] >= self.cursor:
                assert delta["seq"] == self.cursor
                self.cursor += 1
                self.seen += delta["chunks"]
                for each in delta["chunks"]:
                    self.fold.apply(each)
