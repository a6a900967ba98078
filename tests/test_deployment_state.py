"""One session's state: each rule of the sync protocol, without a socket or a clock."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from kit.deployment.state import (
    OutOfStep,
    QueryError,
    QueryResult,
    QuerySetChange,
    SyncState,
)
from kit.errors import ProtocolError
from kit.protocol import (
    Add,
    Authenticate,
    Connect,
    ModifyQuerySet,
    QueryFailed,
    QueryRemoved,
    QueryUpdated,
    Remove,
    StateVersion,
    encode_timestamp,
)

ONE = QueryResult("1.0")
TWO = QueryResult("2.0")


def connect(observed: int | None = None) -> Connect:
    return Connect(
        uuid.UUID(int=1),
        max_observed_timestamp=None if observed is None else encode_timestamp(observed),
    )


def change(base: int, *modifications: Add | Remove) -> ModifyQuerySet:
    return ModifyQuerySet(base, base + 1, list(modifications))


def subscribed(*query_ids: int, at: int = 10) -> SyncState:
    """A session that has got `ONE` for each query."""
    state = SyncState()
    state.modify_query_set(change(0, *(Add(i, "m:f") for i in query_ids)))
    state.transition(dict.fromkeys(query_ids, ONE), at)
    return state


def test_a_new_session_is_owed_nothing() -> None:
    state = SyncState()
    state.connect(connect(), 5)
    assert not state.due
    assert state.pending == frozenset()


def test_the_first_transition_starts_at_zero_and_holds_every_query() -> None:
    state = SyncState()
    asked = state.modify_query_set(change(0, Add(1, "m:g"), Add(0, "m:f")))
    assert [add.udf_path for add in asked.added] == ["m:g", "m:f"]
    assert state.due
    assert state.pending == {0, 1}

    transition = state.transition({0: ONE, 1: TWO}, 10)
    assert transition.start_version == StateVersion.at(0, 0, 0)
    assert transition.end_version == StateVersion.at(1, 0, 10)
    assert transition.modifications == [
        QueryUpdated(0, Raw(b"1.0")),
        QueryUpdated(1, Raw(b"2.0")),
    ]
    assert not state.due
    assert state.pending == frozenset()


def test_a_transition_starts_where_the_last_one_ended() -> None:
    state = subscribed(0, at=10)
    state.query_changed(0)
    first = state.transition({0: TWO}, 20)
    assert first.start_version == StateVersion.at(1, 0, 10)
    assert first.end_version == StateVersion.at(1, 0, 20)
    state.responded()
    second = state.transition({}, 30)
    assert second.start_version == first.end_version
    assert second.modifications == []


def test_an_empty_query_set_change_is_answered() -> None:
    state = SyncState()
    assert state.modify_query_set(change(0)) == QuerySetChange((), ())
    assert state.due
    transition = state.transition({}, 0)
    assert transition.end_version == StateVersion.at(1, 0, 0)


def test_a_response_makes_a_transition_due_even_without_queries() -> None:
    state = SyncState()
    state.responded()
    assert state.due
    transition = state.transition({}, 7)
    assert transition.start_version == StateVersion.at(0, 0, 0)
    assert transition.end_version == StateVersion.at(0, 0, 7)


def test_an_empty_transition_may_start_and_end_at_the_same_version() -> None:
    state = subscribed(0, at=10)
    state.responded()
    transition = state.transition({}, 10)
    assert transition.start_version == transition.end_version


def test_a_result_equal_to_the_one_sent_is_left_out() -> None:
    state = subscribed(0)
    state.query_changed(0)
    assert state.transition({0: QueryResult("1.0")}, 11).modifications == []


def test_other_log_lines_make_another_result() -> None:
    state = subscribed(0)
    state.query_changed(0)
    result = QueryResult("1.0", ("[LOG] 'again'",))
    assert state.transition({0: result}, 11).modifications == [
        QueryUpdated(0, Raw(b"1.0"), ("[LOG] 'again'",))
    ]


def test_changes_until_the_next_transition_go_into_that_one() -> None:
    state = subscribed(0, 1)
    state.query_changed(0)
    state.query_changed(0)
    state.responded()
    state.query_changed(1)
    state.modify_query_set(change(1, Add(2, "m:f")))
    transition = state.transition({0: TWO, 1: TWO, 2: ONE}, 30)
    assert [change.query_id for change in transition.modifications] == [0, 1, 2]
    assert transition.end_version == StateVersion.at(2, 0, 30)
    assert not state.due


def test_a_failed_query_is_reported_and_stays_subscribed() -> None:
    state = subscribed(0)
    state.query_changed(0)
    failed = QueryResult(QueryError("boom", "[Request ID: a] boom"), ("[LOG] 1",))
    assert state.transition({0: failed}, 11).modifications == [
        QueryFailed(0, "[Request ID: a] boom", log_lines=("[LOG] 1",))
    ]
    state.query_changed(0)
    assert state.pending == {0}
    assert state.transition({0: ONE}, 12).modifications == [QueryUpdated(0, Raw("1.0"))]


def test_the_same_error_with_another_request_id_is_left_out() -> None:
    state = subscribed(0)
    state.query_changed(0)
    state.transition({0: QueryResult(QueryError("boom", "[Request ID: a] boom"))}, 11)
    state.query_changed(0)
    again = QueryResult(QueryError("boom", "[Request ID: b] boom"))
    assert state.transition({0: again}, 12).modifications == []


def test_null_data_of_a_convex_error_is_not_absent_data() -> None:
    state = subscribed(0, 1)
    state.query_changed(0)
    state.query_changed(1)
    with_data = QueryResult(QueryError("boom", "text", "null"))
    without = QueryResult(QueryError("boom", "text"))
    first, second = state.transition({0: with_data, 1: without}, 11).modifications
    assert b'"errorData":null' in msgspec.json.encode(first)
    assert b"errorData" not in msgspec.json.encode(second)


def test_a_removal_is_confirmed_once() -> None:
    state = subscribed(0, 1)
    assert state.modify_query_set(change(1, Remove(0))) == QuerySetChange((0,), ())
    assert state.transition({}, 10).modifications == [QueryRemoved(0)]
    state.responded()
    assert state.transition({}, 10).modifications == []


def test_a_change_of_a_removed_query_concerns_nobody() -> None:
    state = subscribed(0)
    state.modify_query_set(change(1, Remove(0)))
    state.transition({}, 10)
    state.query_changed(0)
    assert not state.due


def test_a_query_removed_while_its_result_is_awaited_is_removed() -> None:
    state = subscribed(0)
    state.query_changed(0)
    state.modify_query_set(change(1, Remove(0)))
    assert state.pending == frozenset()
    assert state.transition({}, 11).modifications == [QueryRemoved(0)]


def test_added_and_removed_in_one_message_is_only_confirmed_as_removed() -> None:
    state = SyncState()
    asked = state.modify_query_set(change(0, Add(0, "m:f"), Remove(0)))
    assert asked == QuerySetChange((), ())
    assert state.transition({}, 1).modifications == [QueryRemoved(0)]


def test_removed_and_added_again_gets_its_result_anew() -> None:
    state = subscribed(0)
    add = Add(0, "m:g")
    asked = state.modify_query_set(change(1, Remove(0), add))
    assert asked == QuerySetChange((0,), (add,))
    assert state.transition({0: ONE}, 10).modifications == [QueryUpdated(0, Raw("1.0"))]


def test_a_query_set_version_out_of_step_is_the_clients_mistake() -> None:
    state = subscribed(0)
    with pytest.raises(ProtocolError) as caught:
        state.modify_query_set(change(0, Add(1, "m:f")))
    assert str(caught.value) == (
        "Base version 0 passed up doesn't match the current version 1"
    )


def test_a_query_set_version_must_grow() -> None:
    with pytest.raises(ProtocolError, match="New version 0 passed up isn't greater"):
        SyncState().modify_query_set(ModifyQuerySet(0, 0, []))


def test_a_query_set_version_may_jump() -> None:
    state = SyncState()
    state.modify_query_set(ModifyQuerySet(0, 5, []))
    assert state.transition({}, 1).end_version == StateVersion.at(5, 0, 1)


def test_adding_a_live_query_id_ends_the_session() -> None:
    state = subscribed(0)
    with pytest.raises(OutOfStep, match="query 0 was added twice"):
        state.modify_query_set(change(1, Add(0, "m:f")))


def test_removing_an_unknown_query_id_ends_the_session() -> None:
    with pytest.raises(OutOfStep, match="query 3 was removed"):
        SyncState().modify_query_set(change(0, Remove(3)))


@pytest.mark.parametrize("kind", ["None", "User", "Admin"])
def test_being_somebody_else_advances_the_identity(kind: Any) -> None:
    state = subscribed(0)
    state.authenticate(Authenticate(0, kind))
    assert state.due
    assert state.identity_version == 1
    transition = state.transition({}, 10)
    assert transition.start_version == StateVersion.at(1, 0, 10)
    assert transition.end_version == StateVersion.at(1, 1, 10)
    assert transition.modifications == []


def test_several_identities_make_one_transition() -> None:
    state = subscribed(0)
    state.authenticate(Authenticate(0, "User"))
    state.query_changed(0)
    state.authenticate(Authenticate(1, "None"))
    transition = state.transition({0: QueryResult("9.0")}, 10)
    assert transition.end_version == StateVersion.at(1, 2, 10)
    (change,) = transition.modifications
    assert isinstance(change, QueryUpdated)


def test_an_identity_version_out_of_step_ends_the_session() -> None:
    with pytest.raises(OutOfStep, match="identity version 1"):
        SyncState().authenticate(Authenticate(1, "None"))


def test_a_client_that_has_seen_the_future_is_sent_away() -> None:
    with pytest.raises(OutOfStep, match="observed timestamp 11"):
        SyncState().connect(connect(observed=11), 10)
    SyncState().connect(connect(observed=10), 10)


def test_connecting_twice_is_the_clients_mistake() -> None:
    state = SyncState()
    state.connect(connect(), 0)
    with pytest.raises(ProtocolError, match="Connect was sent twice"):
        state.connect(connect(), 0)


def test_time_never_goes_back() -> None:
    state = subscribed(0, at=10)
    state.responded()
    with pytest.raises(AssertionError, match="timestamp 9 is before 10"):
        state.transition({}, 9)


def test_the_clock_is_passed_through() -> None:
    transition = SyncState().transition({}, 1, client_clock_skew=-5, server_ts=99)
    assert (transition.client_clock_skew, transition.server_ts) == (-5, 99)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "remove", "change", "respond", "send"]),
            st.integers(0, 4),
            st.integers(0, 2),
        )
    )
)
def test_whatever_happens_the_client_ends_up_with_the_newest_results(
    steps: list[tuple[str, int, int]],
) -> None:
    """Against a model: a client that applies Transitions as the official ones do."""
    state = SyncState()
    truth: dict[int, QueryResult] = {}
    held: dict[int, bytes] = {}
    version = StateVersion.at(0, 0, 0)
    query_set = 0

    def send(timestamp: int) -> None:
        nonlocal version
        transition = state.transition(
            {query_id: truth[query_id] for query_id in state.pending}, timestamp
        )
        assert transition.start_version == version
        version = transition.end_version
        for modification in transition.modifications:
            match modification:
                case QueryUpdated(query_id, value):
                    held[query_id] = bytes(value)
                case QueryRemoved(query_id):
                    held.pop(query_id, None)

    for timestamp, (step, query_id, value) in enumerate(steps):
        match step:
            case "add" if query_id not in truth:
                truth[query_id] = QueryResult(str(value))
                state.modify_query_set(change(query_set, Add(query_id, "m:f")))
                query_set += 1
            case "remove" if query_id in truth:
                del truth[query_id]
                state.modify_query_set(change(query_set, Remove(query_id)))
                query_set += 1
            case "change" if query_id in truth:
                truth[query_id] = QueryResult(str(value))
                state.query_changed(query_id)
            case "respond":
                state.responded()
            case "send" if state.due:
                send(timestamp)
    if state.due:
        send(len(steps))
    assert held == {
        query_id: str(result.value).encode() for query_id, result in truth.items()
    }
    assert version.query_set == query_set


def test_a_journal_goes_to_the_client_but_is_no_news() -> None:
    state = SyncState()
    state.modify_query_set(change(0, Add(0, "m:f")))
    transition = state.transition({0: QueryResult("1.0", journal="one")}, 10)
    (updated,) = transition.modifications
    assert isinstance(updated, QueryUpdated) and updated.journal == "one"
    state.query_changed(0)
    transition = state.transition({0: QueryResult("1.0", journal="two")}, 11)
    assert transition.modifications == []
    state.query_changed(0)
    failed = QueryResult(QueryError("no", "no"), journal="three")
    (changed,) = state.transition({0: failed}, 12).modifications
    assert isinstance(changed, QueryFailed) and changed.journal == "three"
