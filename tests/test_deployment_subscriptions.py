"""Results shared by all sessions, and by those of one user where a query asks who
calls: run once, stale by interval, dropped at last."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import Raw

from kit.deployment.engine import QueryOutcome
from kit.deployment.failures import FunctionFailure
from kit.deployment.identity import NOBODY, Identity, UserIdentity
from kit.deployment.index_keys import Interval
from kit.deployment.read_sets import ReadSet
from kit.deployment.shared_queries import Subscription
from kit.deployment.state import QueryError, QueryResult
from kit.deployment.subscriptions import Subscriptions
from kit.values import JsonValue

EMPTY = Raw(b"[{}]")

ANN = Identity(UserIdentity.of({"subject": "ann"}))
BOB = Identity(UserIdentity.of({"subject": "bob"}))
ADMIN = Identity(is_admin=True)


class Session:
    """A watcher that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def query_changed(self, query_id: int) -> None:
        self.told.append(query_id)


class Queries:
    """An engine's `run_query`: counts runs; what a path reads is set by the test."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, JsonValue]] = []
        # As whom each of them.
        self.identities: list[Identity] = []
        self.reads: dict[str, dict[int, list[Interval]]] = {}
        # Paths that ask who calls.
        self.personal: set[str] = set()
        # Those that paginate, and with which journal each query ran.
        self.paginated: set[str] = set()
        self.journals: list[str | None] = []
        self.failure: FunctionFailure | Exception | None = None

    def __call__(
        self, path: str, args: JsonValue, identity: Identity, journal: str | None
    ) -> QueryOutcome:
        self.runs.append((path, args))
        self.identities.append(identity)
        self.journals.append(journal)
        if isinstance(self.failure, Exception):
            raise self.failure
        read_set = ReadSet(self.reads.get(path, {}))
        value = None if self.failure else str(float(len(self.runs)))
        end = journal or f"end {len(self.runs)}"
        return QueryOutcome(
            value,
            self.failure,
            ["[LOG] 'ran'"],
            read_set,
            1,
            path in self.personal,
            end if path in self.paginated else None,
        )


@pytest.fixture
def queries() -> Queries:
    return Queries()


@pytest.fixture
def subscriptions(queries: Queries) -> Subscriptions:
    return Subscriptions(queries)


Follow = Callable[..., Subscription]


@pytest.fixture
def follow(subscriptions: Subscriptions) -> Follow:
    """Subscribe and run."""

    def follow(
        path: str,
        args: Raw = EMPTY,
        *,
        by: Session | None = None,
        query_id: int = 0,
        identity: Identity = NOBODY,
        journal: str | None = None,
    ) -> Subscription:
        query = subscriptions.subscribe(
            path, args, by or Session(), query_id, identity, journal
        )
        subscriptions.refresh(query)
        return query

    return follow


def test_the_same_function_and_arguments_run_once(
    queries: Queries, follow: Follow
) -> None:
    first = follow("m:f", Raw(b'[{"a":1,"b":2}]'))
    second = follow("m.js:f", Raw(b'[{"b":2.0,"a":1.0}]'))
    assert first.query is second.query
    assert queries.runs == [("m:f", {"a": 1, "b": 2})]
    assert first.result == QueryResult("1.0", ("[LOG] 'ran'",))


def test_other_arguments_are_another_query(queries: Queries, follow: Follow) -> None:
    number = follow("m:f", Raw(b'[{"a":1}]'))
    text = follow("m:f", Raw(b'[{"a":"1"}]'))
    assert number.query is not text.query
    assert follow("m").query is follow("m:default").query
    assert len(queries.runs) == 3


def test_a_commit_tells_exactly_those_who_read_what_it_wrote(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    queries.reads = {
        "m:f": {7: [(b"b", b"d")]},
        "m:g": {7: [(b"d", b"e")], 8: [(b"a", b"z")]},
    }
    reader, other = Session(), Session()
    read = follow("m:f", by=reader, query_id=3)
    follow("m:g", by=other, query_id=4)

    subscriptions.committed({7: [b"a", b"c"]})
    assert (reader.told, other.told) == ([3], [])
    assert read.stale

    subscriptions.committed({8: [b"q"]})
    assert other.told == [4]
    subscriptions.committed({9: [b"c"], 7: [b"z"]})
    assert (reader.told, other.told) == ([3], [4])


def test_a_stale_query_runs_once_for_all_who_follow_it(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    queries.reads = {"m:f": {7: [(b"b", b"d")]}}
    sessions = [Session() for _ in range(10)]
    followed = [follow("m:f", by=session) for session in sessions]
    subscriptions.committed({7: [b"b"]})
    subscriptions.committed({7: [b"c"]})
    assert [session.told for session in sessions] == [[0]] * 10
    for subscription in followed:
        subscriptions.refresh(subscription)
    assert len(queries.runs) == 2
    assert {subscription.result.value for subscription in followed} == {"2.0"}


def test_a_refreshed_query_is_told_of_again(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    queries.reads = {"m:f": {7: [(b"b", b"d")]}}
    session = Session()
    query = follow("m:f", by=session)
    for _ in range(3):
        subscriptions.committed({7: [b"b"]})
        subscriptions.refresh(query)
    assert session.told == [0, 0, 0]


def test_what_counts_is_what_the_last_run_read(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    queries.reads = {"m:f": {7: [(b"b", b"d"), (b"x", b"y")], 8: [(b"", b"z")]}}
    session = Session()
    query = follow("m:f", by=session)
    queries.reads = {"m:f": {7: [(b"x", b"y"), (b"y", b"z")]}}
    subscriptions.committed({7: [b"b"]})
    subscriptions.refresh(query)
    session.told.clear()

    subscriptions.committed({7: [b"b"], 8: [b"b"]})
    assert session.told == []
    subscriptions.committed({7: [b"y"]})
    assert session.told == [0]


def test_one_session_may_follow_a_query_under_two_ids(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    queries.reads = {"m:f": {7: [(b"b", b"d")]}}
    session = Session()
    query = follow("m:f", by=session, query_id=1)
    follow("m:f", by=session, query_id=2)
    subscriptions.unsubscribe(query)
    subscriptions.committed({7: [b"b"]})
    assert session.told == [2]


def test_a_result_that_nobody_follows_is_dropped(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    queries.reads = {"m:f": {7: [(b"b", b"d")]}}
    first, second = Session(), Session()
    query = follow("m:f", by=first)
    other = follow("m:f", by=second)
    subscriptions.unsubscribe(query)
    assert len(subscriptions) == 1
    subscriptions.unsubscribe(other)
    assert len(subscriptions) == 0

    subscriptions.committed({7: [b"b"]})
    subscriptions.refresh(query)
    assert (first.told, second.told) == ([], [])
    assert len(queries.runs) == 1


def test_following_again_runs_again(queries: Queries, follow: Follow) -> None:
    subscriptions = Subscriptions(queries)
    session = Session()
    query = subscriptions.subscribe("m:f", EMPTY, session, 0)
    subscriptions.refresh(query)
    subscriptions.unsubscribe(query)
    subscriptions.unsubscribe(query)
    again = subscriptions.subscribe("m:f", EMPTY, session, 1)
    subscriptions.refresh(again)
    assert again.result.value == "2.0"


def test_a_failed_query_waits_for_a_commit_as_any_other(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    queries.reads = {"m:f": {7: [(b"b", b"d")]}}
    queries.failure = FunctionFailure("Uncaught Error: boom", '{"code":1.0}')
    query = follow("m:f")
    error = query.result.value
    assert isinstance(error, QueryError)
    assert error.message == "Uncaught Error: boom\n"
    assert error.text.startswith("[Request ID: ")
    assert error.text.endswith("] Server Error\nUncaught Error: boom\n")
    assert error.data == '{"code":1.0}'

    subscriptions.refresh(query)
    assert len(queries.runs) == 1
    queries.failure = None
    subscriptions.committed({7: [b"b"]})
    subscriptions.refresh(query)
    assert query.result.value == "2.0"


def test_a_query_whose_engine_failed_stays_stale(
    queries: Queries, subscriptions: Subscriptions
) -> None:
    queries.failure = OSError("disk gone")
    query = subscriptions.subscribe("m:f", EMPTY, Session(), 0)
    with pytest.raises(OSError, match="disk gone"):
        subscriptions.refresh(query)
    queries.failure = None
    subscriptions.refresh(query)
    assert not query.stale


@pytest.mark.parametrize("args", [b"[{},{}]", b"[nope]"])
def test_arguments_that_cannot_be_read_are_a_failed_result(
    args: bytes, queries: Queries, follow: Follow
) -> None:
    assert isinstance(follow("m:f", Raw(args)).result.value, QueryError)
    assert queries.runs == []


def test_two_arguments_are_not_taken_for_one_array(
    queries: Queries, follow: Follow
) -> None:
    two = follow("m:f", Raw(b"[1.0,2.0]"))
    one = follow("m:f", Raw(b"[[1.0,2.0]]"))
    assert two.query is not one.query


def test_what_is_no_value_and_no_path_is_left_to_the_engine(
    queries: Queries, follow: Follow
) -> None:
    follow("no such:path!", Raw(b'[{"$bad":1}]'))
    assert queries.runs == [("no such:path!", {"$bad": 1})]


# --- who calls ----------------------------------------------------------------


def test_a_query_that_does_not_ask_who_calls_runs_once_for_all(
    queries: Queries, follow: Follow
) -> None:
    followed = [follow("m:f", identity=identity) for identity in (ANN, BOB, NOBODY)]
    assert {subscription.result.value for subscription in followed} == {"1.0"}
    assert queries.identities == [ANN]


def test_a_query_that_asks_who_calls_runs_once_for_each_user(
    queries: Queries, follow: Follow
) -> None:
    queries.personal = {"m:f"}
    callers = (ANN, BOB, NOBODY, ANN, NOBODY)
    followed = [follow("m:f", identity=identity) for identity in callers]
    assert queries.identities == [ANN, BOB, NOBODY]
    values = [subscription.result.value for subscription in followed]
    assert values == ["1.0", "2.0", "3.0", "1.0", "3.0"]


def test_a_query_may_begin_to_ask(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    queries.reads = {"m:f": {7: [(b"b", b"d")]}}
    sessions = [Session() for _ in range(4)]
    callers = (ANN, BOB, NOBODY, ANN)
    followed = [
        follow("m:f", by=session, identity=identity)
        for session, identity in zip(sessions, callers, strict=True)
    ]
    assert len(queries.runs) == len(subscriptions) == 1

    queries.personal = {"m:f"}
    subscriptions.committed({7: [b"b"]})
    assert [session.told for session in sessions] == [[0]] * 4
    subscriptions.refresh(followed[1])
    assert [subscription.stale for subscription in followed] == [
        True,
        False,
        True,
        True,
    ]
    for subscription in followed:
        subscriptions.refresh(subscription)
    assert queries.identities[1:] == [BOB, ANN, NOBODY]
    values = [subscription.result.value for subscription in followed]
    assert values == ["3.0", "2.0", "4.0", "3.0"]

    subscriptions.committed({7: [b"c"]})
    assert [session.told for session in sessions] == [[0, 0]] * 4
    for subscription in followed:
        subscriptions.unsubscribe(subscription)
    assert len(subscriptions) == 0


def test_a_query_of_one_user_is_told_of_what_that_one_read(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    queries.personal = {"m:f"}
    queries.reads = {"m:f": {7: [(b"a", b"b")]}}
    ann, bob = Session(), Session()
    follow("m:f", by=ann, identity=ANN)
    queries.reads = {"m:f": {7: [(b"b", b"c")]}}
    follow("m:f", by=bob, identity=BOB)
    subscriptions.committed({7: [b"b"]})
    assert (ann.told, bob.told) == ([], [0])


def test_becoming_somebody_else_matters_where_the_query_asks(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    queries.personal = {"m:f"}
    session = Session()
    personal = follow("m:f", by=session, query_id=1, identity=ANN)
    shared = follow("m:g", by=session, query_id=2, identity=ANN)
    for subscription in (personal, shared):
        subscriptions.change_identity(subscription, BOB)
    assert session.told == [1]
    assert (personal.stale, shared.stale) == (True, False)
    subscriptions.refresh(personal)
    assert queries.identities == [ANN, ANN, BOB]
    # Ann's result was dropped with the last one to follow it.
    assert len(subscriptions) == 2


def test_becoming_who_another_session_is_takes_its_result(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    queries.personal = {"m:f"}
    follow("m:f", identity=BOB)
    session = Session()
    subscription = follow("m:f", by=session, identity=ANN)
    subscriptions.change_identity(subscription, BOB)
    assert session.told == [0]
    assert subscription.result.value == "1.0"
    assert len(queries.runs) == 2


def test_a_renewed_token_changes_nothing(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    queries.personal = {"m:f"}
    session = Session()
    subscription = follow("m:f", by=session, identity=ANN)
    renewed = Identity(UserIdentity.of({"subject": "ann"}, 5.0))
    subscriptions.change_identity(subscription, renewed)
    assert session.told == []
    assert subscription.identity.user is renewed.user


def test_an_admin_shares_nothing_with_others(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    """Internal functions are within its reach: the same path may be another result."""
    follow("m:f")
    session = Session()
    subscription = follow("m:f", by=session, identity=ADMIN)
    assert queries.identities == [NOBODY, ADMIN]
    subscriptions.change_identity(subscription, NOBODY)
    assert session.told == [0]
    assert subscription.result.value == "1.0"
    subscriptions.change_identity(subscription, ADMIN)
    subscriptions.refresh(subscription)
    assert queries.identities[2:] == [ADMIN]


def test_a_subscription_that_has_ended_does_not_run(
    queries: Queries, subscriptions: Subscriptions
) -> None:
    ended = subscriptions.subscribe("m:f", EMPTY, Session(), 0)
    subscriptions.subscribe("m:f", EMPTY, Session(), 0)
    subscriptions.unsubscribe(ended)
    subscriptions.refresh(ended)
    assert queries.runs == []


# --- pages --------------------------------------------------------------------


def test_a_page_keeps_its_journal(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    queries.paginated = {"m:f"}
    queries.reads = {"m:f": {7: [(b"b", b"d")]}}
    page = follow("m:f")
    assert page.result.journal == "end 1"
    for _ in range(2):
        subscriptions.committed({7: [b"b"]})
        subscriptions.refresh(page)
    assert queries.journals == [None, "end 1", "end 1"]
    assert page.result.journal == "end 1"


def test_whoever_comes_later_begins_with_a_page_of_its_own(
    queries: Queries, subscriptions: Subscriptions, follow: Follow
) -> None:
    queries.paginated = {"m:f"}
    together = [subscriptions.subscribe("m:f", EMPTY, Session(), 0) for _ in range(2)]
    for subscription in together:
        subscriptions.refresh(subscription)
    later = follow("m:f")
    assert queries.journals == [None, None]
    assert [each.result.journal for each in (*together, later)] == [
        "end 1",
        "end 1",
        "end 2",
    ]
    assert len(subscriptions) == 2
    for subscription in (*together, later):
        subscriptions.unsubscribe(subscription)
    assert len(subscriptions) == 0


def test_a_page_goes_on_with_the_journal_that_a_client_brings(
    queries: Queries, follow: Follow
) -> None:
    queries.paginated = {"m:f"}
    page = follow("m:f", journal="end 9")
    assert queries.journals == ["end 9"]
    assert page.result.journal == "end 9"


def test_each_user_keeps_the_page_that_all_had(
    queries: Queries, subscriptions: Subscriptions
) -> None:
    queries.paginated = {"m:f"}
    queries.reads = {"m:f": {7: [(b"b", b"d")]}}
    followed = [
        subscriptions.subscribe("m:f", EMPTY, Session(), 0, identity)
        for identity in (ANN, BOB)
    ]
    subscriptions.refresh(followed[0])
    queries.personal = {"m:f"}
    subscriptions.committed({7: [b"b"]})
    for subscription in followed:
        subscriptions.refresh(subscription)
    assert queries.identities == [ANN, ANN, BOB]
    assert queries.journals == [None, "end 1", "end 1"]
