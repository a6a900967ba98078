from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from convex_values import order_of, values
from deployment_in_a_test import NOW
from hypothesis import given
from hypothesis import strategies as st

from kit.deployment.database import Database
from kit.deployment.failures import UsageError
from kit.deployment.index_keys import UNSET
from kit.deployment.queries import Query
from kit.deployment.schema import define_schema, define_table
from kit.deployment.transaction import Transaction
from kit.values import v

SCHEMA = define_schema(
    {
        "things": define_table(v.any())
        .index("by_a_b", ["a", "b"])
        .index("by_path", ["deep.er", "b"])
    }
)
Result = TypeVar("Result")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database in which nothing is ever committed."""
    database = Database.open(tmp_path_factory.mktemp("data"), SCHEMA)
    yield database
    database.close()


@pytest.fixture
def transaction(database: Database) -> Iterator[Transaction]:
    transaction = Transaction(database, NOW)
    yield transaction
    transaction.end()


@pytest.fixture
def things(transaction: Transaction) -> Query:
    """Documents with a = 0..5; b is a % 2, but missing where a is 5."""
    for a in range(5):
        transaction.insert("things", {"a": a, "b": a % 2})
    transaction.insert("things", {"a": 5, "deep": {"er": "x"}})
    return Query(transaction, "things")


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine returns that waits for nothing, as functions are run."""
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    result: Result = stop.value.value
    return result


def a_of(documents: list[dict[str, Any]]) -> list[float]:
    return [document["a"] for document in documents]


# --- steps and ends -----------------------------------------------------------


def test_a_query_offers_collect_take_first_and_unique(things: Query) -> None:
    by_a = things.with_index("by_a_b")
    assert a_of(run(by_a.collect())) == [0, 1, 2, 3, 4, 5]
    assert a_of(run(by_a.order("desc").take(2.0))) == [5, 4]
    assert a_of(run(by_a.order("asc").take(0))) == []
    first = run(by_a.first())
    assert first is not None and first["a"] == 0
    only = run(things.with_index("by_a_b", lambda q: q.eq("a", 3)).unique())
    assert only is not None and only["a"] == 3
    none = things.with_index("by_a_b", lambda q: q.eq("a", 9))
    assert run(none.first()) is run(none.unique()) is None


def test_a_table_that_does_not_exist_is_empty(transaction: Transaction) -> None:
    missing = Query(transaction, "missing")
    assert run(missing.collect()) == []
    assert run(missing.with_index("by_creation_time").first()) is None
    assert run(missing.filter(lambda q: q.field("a")).collect()) == []
    assert run(collected(missing)) == []


def test_a_step_leaves_the_query_before_it_usable(things: Query) -> None:
    backwards = things.order("desc")
    even = backwards.filter(lambda q: q.eq(q.field("b"), 0))
    assert a_of(run(even.collect())) == [4, 2, 0]
    assert a_of(run(backwards.take(2))) == [5, 4]
    assert a_of(run(things.take(2))) == [0, 1]


def test_dotted_fields_and_creation_times_bound_ranges(things: Query) -> None:
    deep = things.with_index("by_path", lambda q: q.eq("deep.er", "x").eq("b", UNSET))
    assert a_of(run(deep.collect())) == [5]
    time = run(things.collect())[3]["_creationTime"]
    since = things.with_index(
        "by_creation_time", lambda q: q.gte("_creationTime", time)
    )
    assert a_of(run(since.collect())) == [3, 4, 5]
    within = things.with_index(
        "by_path",
        lambda q: q.eq("deep.er", UNSET).eq("b", 1).gt("_creationTime", time - 1e6),
    )
    assert a_of(run(within.order("desc").collect())) == [3, 1]


@pytest.mark.parametrize(
    ("use", "problem"),
    [
        (
            lambda q: q.unique(),
            "unique() query returned more than one result from table things:\n [",
        ),
        (lambda q: q.with_index("by_x").collect(), "Index things.by_x not found."),
        (
            lambda q: q.order("asc").order("asc"),
            "Queries may only specify order at most once",
        ),
        (
            lambda q: q.filter(lambda e: True).order("desc").order("asc"),
            "Queries may only specify order at most once",
        ),
        (lambda q: q.order("up"), "The order of a query is 'asc' or 'desc', not 'up'"),
        (
            lambda q: q.order("asc").with_index("by_a_b"),
            "`with_index` must come once, and before `order` and `filter`",
        ),
        (
            lambda q: q.filter(lambda e: True).with_index("by_a_b"),
            "`with_index` must come once, and before `order` and `filter`",
        ),
        (
            lambda q: q.with_index("by_a_b").with_index("by_a_b"),
            "`with_index` must come once, and before `order` and `filter`",
        ),
        (
            lambda q: q.with_index("by_a_b", lambda r: None),
            "The range of `with_index` must return what it built",
        ),
        (
            lambda q: q.with_search_index("by_text", lambda s: s),
            "Full text search (`withSearchIndex`): not offered by the embedded deploy",
        ),
    ],
)
def test_misuse_of_a_query_is_told(
    things: Query, use: Callable[[Query], Any], problem: str
) -> None:
    with pytest.raises(UsageError) as error:
        use(things).send(None)
    assert problem in str(error.value)


@pytest.mark.parametrize("n", [-1, 1.5, True, "1", None])
def test_only_whole_numbers_can_be_taken(things: Query, n: Any) -> None:
    with pytest.raises(TypeError, match="Arg 1 `n` to `take` must be a non-negative"):
        things.take(n).send(None)


# --- filter -------------------------------------------------------------------


def test_filters_narrow_what_the_range_holds(things: Query) -> None:
    some = things.with_index("by_a_b", lambda q: q.gte("a", 2))
    odd = some.filter(lambda q: q.eq(q.mod(q.field("a"), 2), 1))
    assert a_of(run(odd.collect())) == [3, 5]
    without_b = odd.filter(lambda q: q.eq(q.field("b"), UNSET))
    assert a_of(run(without_b.collect())) == [5]
    assert run(without_b.unique()) == run(odd.order("desc").first())
    either = things.filter(
        lambda q: q.or_(
            q.eq(q.field("deep.er"), "x"),
            q.and_(q.eq(q.field("b"), 0), q.not_(q.gt(q.field("a"), 2))),
        )
    )
    assert a_of(run(either.take(2))) == [0, 2]
    assert a_of(run(either.order("desc").take(2))) == [5, 2]


@given(
    st.lists(st.none() | values, max_size=5),
    values,
    st.sampled_from(["eq", "neq", "lt", "lte", "gt", "gte"]),
)
def test_a_filter_keeps_what_the_same_range_of_an_index_holds(
    database: Database, stored: list[Any], bound: Any, operator: str
) -> None:
    transaction = Transaction(database, NOW)
    try:
        for value in stored:
            transaction.insert("things", {"a": value})
        transaction.insert("things", {})
        query = Query(transaction, "things").with_index("by_a_b")
        kept = run(
            query.filter(lambda q: getattr(q, operator)(q.field("a"), bound)).collect()
        )
        if operator == "neq":
            key = order_of(bound)
            expected = [
                document
                for document in run(query.collect())
                if "a" not in document or order_of(document["a"]) != key
            ]
        else:
            ranged = Query(transaction, "things").with_index(
                "by_a_b", lambda q: getattr(q, operator)("a", bound)
            )
            expected = run(ranged.collect())
        assert [it["_id"] for it in kept] == [it["_id"] for it in expected]
    finally:
        transaction.end()


def test_256_operators_are_the_most(things: Query) -> None:
    query = things
    for _ in range(256):
        query = query.filter(lambda q: q.gte(q.field("a"), 0))
    assert len(run(query.collect())) == 6
    with pytest.raises(UsageError) as error:
        query.filter(lambda q: True)
    assert str(error.value) == "Can't construct query with more than 256 operators"


def test_a_filter_that_is_no_condition_fails_when_it_is_read(things: Query) -> None:
    query = things.filter(lambda q: q.field("b"))
    with pytest.raises(UsageError, match=r"Cannot use value 0\.0 \(type Float64\) as"):
        query.collect().send(None)


# --- iteration ----------------------------------------------------------------


async def collected(query: Query, *, until: float | None = None) -> list[Any]:
    found = []
    async for document in query:
        found.append(document["a"])
        if document["a"] == until:
            break
    return found


def test_a_query_can_be_iterated(things: Query) -> None:
    assert run(collected(things)) == [0, 1, 2, 3, 4, 5]
    assert run(collected(things.order("desc"))) == [5, 4, 3, 2, 1, 0]
    odd = things.with_index("by_a_b").filter(lambda q: q.eq(q.field("b"), 1))
    assert run(collected(odd)) == [1, 3]
    assert run(collected(odd.order("desc"), until=3)) == [3]


def test_what_is_iterated_may_be_changed_meanwhile(
    things: Query, transaction: Transaction
) -> None:
    async def change() -> None:
        async for document in things.with_index("by_a_b"):
            if document["a"] < 3:
                transaction.delete(document["_id"])
                transaction.insert("things", {"a": document["a"] + 10})

    run(change())
    assert run(collected(things.with_index("by_a_b"))) == [3, 4, 5, 10, 11, 12]


# --- what counts as read ------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Database]:
    """A database with six things that are committed, a = 0..5."""
    database = Database.open(tmp_path, SCHEMA)
    transaction = Transaction(database, NOW)
    for a in range(6):
        transaction.insert("things", {"a": a})
    transaction.commit()
    yield database
    database.close()


def noticed(
    database: Database, read: Callable[[Query], Coroutine[Any, Any, Any]]
) -> list[float]:
    """The things whose change would be noticed by who has read this."""
    reader = Transaction(database, NOW)
    run(read(Query(reader, "things")))
    reader.end()
    found = []
    writer = Transaction(database, NOW)
    for document in run(Query(writer, "things").collect()):
        writer.patch(document["_id"], {"changed": True})
        changed = {index: keys[-1:] for index, keys in writer.write_set.items()}
        if reader.read_set.overlaps(changed):
            found.append(document["a"])
    writer.end()
    return found


def test_what_a_filter_leaves_out_counts_as_read(stored: Database) -> None:
    def second_from_three(q: Query) -> Any:
        return q.filter(lambda q: q.gte(q.field("a"), 3)).take(2)

    assert noticed(stored, second_from_three) == [0, 1, 2, 3, 4]
    assert noticed(stored, lambda q: q.filter(lambda q: False).collect()) == [
        *(0, 1, 2, 3, 4, 5)
    ]


def test_an_iteration_has_read_as_far_as_it_went(stored: Database) -> None:
    assert noticed(stored, lambda q: collected(q, until=2)) == [0, 1, 2]
    backwards = noticed(stored, lambda q: collected(q.order("desc"), until=4))
    assert backwards == [4, 5]
    reader = Transaction(stored, NOW)
    run(collected(Query(reader, "things")))
    reader.end()
    assert [len(read) for read in reader.read_set.intervals.values()] == [1]
