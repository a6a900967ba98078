import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from convex_values import order_of, values
from deployment_in_a_test import NOW
from hypothesis import given
from hypothesis import strategies as st

from kit.deployment.database import Database
from kit.deployment.failures import UsageError
from kit.deployment.ids import encode_id
from kit.deployment.index_keys import UNSET
from kit.deployment.index_ranges import IndexRange
from kit.deployment.read_sets import ReadSet, WriteSet
from kit.deployment.schema import define_schema, define_table
from kit.deployment.transaction import Transaction
from kit.values import ConvexInt64, v

SCHEMA = define_schema(
    {
        "things": define_table(v.any()).index("by_a_b", ["a", "b"]),
        "strict": define_table({"n": v.number(), "ref": v.optional(v.id("things"))}),
    }
)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database.open(tmp_path_factory.mktemp("data"), SCHEMA)
    yield database
    database.close()


@pytest.fixture
def empty(database: Database) -> Database:
    """The database with nothing in `things`."""
    transaction = Transaction(database, NOW)
    for document in scan(transaction):
        transaction.delete(document["_id"])
    transaction.commit()
    return database


@pytest.fixture
def transaction(empty: Database) -> Iterator[Transaction]:
    """On an empty table, and undone at the end of the test."""
    transaction = Transaction(empty, NOW)
    yield transaction
    transaction.end()


def scan(
    transaction: Transaction,
    index_name: str = "by_creation_time",
    chosen: IndexRange | None = None,
    *,
    descending: bool = False,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    table = transaction.table("things")
    assert table is not None
    index = table.indexes[index_name]
    interval = (chosen or IndexRange()).interval(index, index_name)
    return transaction.scan(index, interval, descending=descending, limit=limit)


# --- documents ----------------------------------------------------------------


def test_an_inserted_document_can_be_read_at_once(transaction: Transaction) -> None:
    text_id = transaction.insert("things", {"a": 1, "b": [None]})
    document = transaction.get(text_id)
    assert document is not None
    assert document == {
        "_id": text_id,
        "_creationTime": document["_creationTime"],
        "a": 1.0,
        "b": [None],
    }
    assert type(document["a"]) is float
    assert scan(transaction) == [document]


@given(values)
def test_every_value_can_be_stored(database: Database, value: Any) -> None:
    transaction = Transaction(database, NOW)
    try:
        document = transaction.get(transaction.insert("things", {"a": value}))
        assert document is not None
        assert order_of(document["a"]) == order_of(value)
        assert len(scan(transaction, "by_a_b", IndexRange().eq("a", value))) == 1
    finally:
        transaction.end()


def test_documents_are_copies(transaction: Transaction) -> None:
    value: dict[str, Any] = {"a": [1.0]}
    text_id = transaction.insert("things", value)
    value["a"].append(2.0)
    first = transaction.get(text_id)
    assert first is not None and first["a"] == [1.0]
    first["a"].append(3.0)
    second = transaction.get(text_id)
    assert second is not None and second["a"] == [1.0]


def test_creation_times_go_up_within_a_transaction(transaction: Transaction) -> None:
    for n in range(3):
        transaction.insert("things", {"n": n})
    times = [document["_creationTime"] for document in scan(transaction)]
    assert times == [
        times[0],
        math.nextafter(times[0], math.inf),
        math.nextafter(times[1], math.inf),
    ]


def test_patch_merges_and_removes_fields(transaction: Transaction) -> None:
    text_id = transaction.insert("things", {"a": 1, "b": 2, "c": 3})
    transaction.patch(text_id, {"a": None, "b": UNSET, "d": 4, "x": UNSET})
    document = transaction.get(text_id)
    assert document is not None
    fields = {name: document[name] for name in document if not name.startswith("_")}
    assert fields == {"a": None, "c": 3.0, "d": 4.0}


def test_replace_keeps_only_system_fields(transaction: Transaction) -> None:
    text_id = transaction.insert("things", {"a": 1})
    before = transaction.get(text_id)
    assert before is not None
    transaction.replace(text_id, {"b": 2})
    del before["a"]
    assert transaction.get(text_id) == {**before, "b": 2.0}
    # The whole document, as it was read, may be given back.
    transaction.replace(text_id, {**before, "b": 3})


def test_a_deleted_document_is_gone_from_every_index(transaction: Transaction) -> None:
    text_id = transaction.insert("things", {"a": 1})
    transaction.delete(text_id)
    assert transaction.get(text_id) is None
    assert scan(transaction) == scan(transaction, "by_a_b") == []


def test_indexes_follow_a_change(transaction: Transaction) -> None:
    text_id = transaction.insert("things", {"a": 1, "b": ConvexInt64(1)})
    other = transaction.insert("things", {"a": 2})
    transaction.patch(text_id, {"a": 3})
    ids = [document["_id"] for document in scan(transaction, "by_a_b")]
    assert ids == [other, text_id]
    assert scan(transaction, "by_a_b", IndexRange().eq("a", 1)) == []


def test_an_index_sorts_by_fields_then_by_creation(transaction: Transaction) -> None:
    for fields in ({"a": 1, "b": 2}, {"a": 1}, {"b": 9}, {"a": 1, "b": 2, "c": 1}):
        transaction.insert("things", fields)
    found = [
        {name: document[name] for name in document if not name.startswith("_")}
        for document in scan(transaction, "by_a_b")
    ]
    assert found == [{"b": 9}, {"a": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 1}]


# --- read sets and write sets -------------------------------------------------


def written(database: Database, work: Callable[[Transaction], Any]) -> WriteSet:
    transaction = Transaction(database, NOW)
    work(transaction)
    transaction.commit()
    return transaction.write_set


def read(database: Database, work: Callable[[Transaction], Any]) -> ReadSet:
    transaction = Transaction(database, NOW)
    work(transaction)
    transaction.end()
    return transaction.read_set


def inserted(database: Database, **fields: Any) -> str:
    transaction = Transaction(database, NOW)
    text_id = transaction.insert("things", fields)
    transaction.commit()
    return text_id


def eq_a(value: Any) -> IndexRange:
    return IndexRange().eq("a", value)


def test_an_empty_range_counts_as_read(empty: Database) -> None:
    reads = read(empty, lambda t: scan(t, "by_a_b", eq_a(1)))
    assert not reads.overlaps(written(empty, lambda t: t.insert("things", {"a": 2})))
    assert reads.overlaps(written(empty, lambda t: t.insert("things", {"a": 1})))


def test_leaving_a_range_and_entering_it_both_count(empty: Database) -> None:
    text_id = inserted(empty, a=1)
    first = read(empty, lambda t: scan(t, "by_a_b", eq_a(1)))
    second = read(empty, lambda t: scan(t, "by_a_b", eq_a(2)))
    third = read(empty, lambda t: scan(t, "by_a_b", eq_a(3)))
    moved = written(empty, lambda t: t.patch(text_id, {"a": 2}))
    assert first.overlaps(moved)
    assert second.overlaps(moved)
    assert not third.overlaps(moved)


def test_a_change_of_another_field_counts_where_the_document_is(
    empty: Database,
) -> None:
    text_id = inserted(empty, a=1)
    inside = read(empty, lambda t: scan(t, "by_a_b", eq_a(1)))
    outside = read(empty, lambda t: scan(t, "by_a_b", eq_a(2)))
    point = read(empty, lambda t: t.get(text_id))
    changed = written(empty, lambda t: t.patch(text_id, {"c": 1}))
    assert inside.overlaps(changed)
    assert point.overlaps(changed)
    assert not outside.overlaps(changed)


def test_what_lies_behind_a_reached_limit_does_not_count(empty: Database) -> None:
    ids = [inserted(empty, a=n) for n in range(4)]
    reads = read(empty, lambda t: scan(t, "by_a_b", limit=2))
    assert not reads.overlaps(written(empty, lambda t: t.patch(ids[2], {"c": 1})))
    assert not reads.overlaps(written(empty, lambda t: t.insert("things", {"a": 1.5})))
    assert reads.overlaps(written(empty, lambda t: t.patch(ids[1], {"c": 1})))
    assert reads.overlaps(written(empty, lambda t: t.insert("things", {"a": 0.5})))


def test_descending_it_is_the_other_side_that_does_not_count(empty: Database) -> None:
    ids = [inserted(empty, a=n) for n in range(4)]
    reads = read(empty, lambda t: scan(t, "by_a_b", descending=True, limit=2))
    assert not reads.overlaps(written(empty, lambda t: t.patch(ids[1], {"c": 1})))
    assert reads.overlaps(written(empty, lambda t: t.patch(ids[2], {"c": 1})))
    assert reads.overlaps(written(empty, lambda t: t.insert("things", {"a": 99})))


def test_a_limit_that_is_not_reached_reads_the_whole_range(empty: Database) -> None:
    inserted(empty, a=1)
    reads = read(empty, lambda t: scan(t, "by_a_b", limit=2))
    assert reads.overlaps(written(empty, lambda t: t.insert("things", {"a": 99})))


def test_taking_nothing_reads_nothing(empty: Database) -> None:
    assert read(empty, lambda t: scan(t, limit=0)).intervals == {}


def test_a_missing_document_counts_as_read(empty: Database) -> None:
    text_id = inserted(empty, a=1)
    written(empty, lambda t: t.delete(text_id))
    assert read(empty, lambda t: t.get(text_id)).intervals != {}


def test_a_missing_table_counts_as_read_by_name_and_by_number(
    database: Database,
) -> None:
    number = database.catalog.next_number()
    reads = [
        read(database, lambda t: t.table("later")),
        read(database, lambda t: t.get(encode_id(number, bytes(16)))),
        read(database, lambda t: t.table_of_id(encode_id(number, bytes(16)))),
    ]
    other = read(database, lambda t: t.table("never"))
    change = written(database, lambda t: t.insert("later", {}))
    assert [each.overlaps(change) for each in reads] == [True, True, True]
    assert not other.overlaps(change)


@pytest.mark.parametrize("same", [{}, {"a": 1}, {"x": UNSET}, {"a": 1.0, "b": "x"}])
def test_a_change_that_changes_nothing_writes_nothing(
    empty: Database, same: dict[str, Any]
) -> None:
    text_id = inserted(empty, a=1, b="x")
    before = empty.timestamp
    assert written(empty, lambda t: t.patch(text_id, same)) == {}
    assert written(empty, lambda t: t.replace(text_id, {"b": "x", "a": 1})) == {}
    assert empty.timestamp == before


def test_a_write_set_holds_old_and_new_key_of_every_index(empty: Database) -> None:
    text_id = inserted(empty, a=1)
    table = empty.catalog.named("things")
    assert table is not None
    by_id, by_time, by_a_b = (index.id for index in table.indexes.values())
    change = written(empty, lambda t: t.patch(text_id, {"a": 2}))
    assert {index: len(set(keys)) for index, keys in change.items()} == {
        by_id: 1,
        by_time: 1,
        by_a_b: 2,
    }


def test_what_a_savepoint_undid_is_not_in_the_write_set(empty: Database) -> None:
    transaction = Transaction(empty, NOW)
    with pytest.raises(KeyError), transaction.savepoint():
        transaction.insert("things", {"a": 1})
        raise KeyError
    assert transaction.write_set == {}
    before = empty.timestamp
    assert transaction.commit() == before


small = st.integers(0, 3)
fields = st.fixed_dictionaries({}, optional={"a": small, "b": small})
operators = st.sampled_from(["gt", "gte", "lt", "lte"])


@st.composite
def ranges(draw: st.DrawFn) -> IndexRange:
    chosen = IndexRange()
    if draw(st.booleans()):
        chosen.eq("a", draw(small | st.just(UNSET)))
    bounded = "b" if chosen.equal else "a"
    for operator in draw(st.lists(operators, max_size=2, unique_by=lambda o: o[0])):
        getattr(chosen, operator)(bounded, draw(small))
    return chosen


def position(document: dict[str, Any]) -> tuple[Any, ...]:
    """Where a document stands in `by_a_b`, apart from keys."""
    fields = [
        order_of(document[name]) if name in document else (0,) for name in ("a", "b")
    ]
    return (*fields, document["_creationTime"], document["_id"])


def is_inside(document: dict[str, Any], chosen: IndexRange) -> bool:
    def value(name: str) -> tuple[Any, ...]:
        return order_of(float(document[name])) if name in document else (0,)

    def bound(given: Any) -> tuple[Any, ...]:
        return (0,) if given is UNSET else order_of(float(given))

    inside = all(
        value(each.field) == bound(each.value) for each in chosen.equal.values()
    )
    if (low := chosen.lower) is not None:
        inside &= value(low.field) > bound(low.value) or (
            low.operator == ">=" and value(low.field) == bound(low.value)
        )
    if (high := chosen.upper) is not None:
        inside &= value(high.field) < bound(high.value) or (
            high.operator == "<=" and value(high.field) == bound(high.value)
        )
    return inside


@given(
    documents=st.lists(fields, max_size=6),
    chosen=ranges(),
    descending=st.booleans(),
    limit=st.none() | st.integers(0, 3),
    change=st.tuples(st.sampled_from(["insert", "patch", "delete"]), small, fields),
)
def test_a_read_is_overtaken_when_and_only_when_what_it_looked_at_changed(
    database: Database,
    documents: list[dict[str, Any]],
    chosen: IndexRange,
    descending: bool,
    limit: int | None,
    change: tuple[str, int, dict[str, Any]],
) -> None:
    transaction = Transaction(database, NOW)
    for document in scan(transaction):
        transaction.delete(document["_id"])
    ids = [transaction.insert("things", document) for document in documents]
    transaction.commit()

    transaction = Transaction(database, NOW)
    before = {document["_id"]: document for document in scan(transaction)}
    transaction.end()
    transaction = Transaction(database, NOW)
    found = scan(transaction, "by_a_b", chosen, descending=descending, limit=limit)
    transaction.end()
    read_set = transaction.read_set

    expected = sorted(
        (document for document in before.values() if is_inside(document, chosen)),
        key=position,
        reverse=descending,
    )
    assert found == expected[:limit]

    kind, which, new_fields = change
    transaction = Transaction(database, NOW)
    if kind == "insert" or not ids:
        transaction.insert("things", new_fields)
    elif kind == "patch":
        transaction.patch(ids[which % len(ids)], new_fields)
    else:
        transaction.delete(ids[which % len(ids)])
    transaction.commit()
    write_set = transaction.write_set

    transaction = Transaction(database, NOW)
    later = {document["_id"]: document for document in scan(transaction)}
    transaction.end()

    def was_looked_at(document: dict[str, Any]) -> bool:
        if limit == 0 or not is_inside(document, chosen):
            return False
        if limit is None or len(found) < limit:
            return True
        last = position(found[-1])
        at = position(document)
        return at >= last if descending else at <= last

    touched = [
        version
        for text_id in {*before, *later}
        if before.get(text_id) != later.get(text_id)
        for version in (before.get(text_id), later.get(text_id))
        if version is not None
    ]
    assert read_set.overlaps(write_set) is any(map(was_looked_at, touched))


# --- misuse -------------------------------------------------------------------

ABSENT = encode_id(10001, bytes(16))


@pytest.mark.parametrize(
    ("misuse", "problem"),
    [
        (
            lambda t: t.get("abc"),
            (
                "Invalid argument `id` for `db.get`: Unable to decode ID: "
                "Invalid ID length 3"
            ),
        ),
        (
            lambda t: t.patch(None, {}),
            "Invalid argument `id` for `db.patch`, expected string but got 'NoneType'",
        ),
        (lambda t: t.get({}), "expected string but got 'dict': {}"),
        (lambda t: t.patch(ABSENT, {}), f"Update on nonexistent document ID {ABSENT}"),
        (
            lambda t: t.replace(ABSENT, {}),
            f"Replace on nonexistent document ID {ABSENT}",
        ),
        (lambda t: t.delete(ABSENT), f"Delete on nonexistent document ID {ABSENT}"),
        (
            lambda t: t.insert("things", [1]),
            "Invalid argument `value` for `db.insert`: Value must be an Object",
        ),
        (
            lambda t: t.insert("things", {"a": [object()]}),
            "Invalid argument `value` for `db.insert`: object is not a supported",
        ),
        (
            lambda t: t.insert("things", {"_x": 1}),
            (
                "{_x: 1.0} isn't a valid document: Field '_x' starts with an "
                "underscore, which is only allowed for system fields like '_id'"
            ),
        ),
        (lambda t: t.insert("things", {"_id": "x"}), "Provided document ID "),
        (
            lambda t: t.insert("things", {"_creationTime": 1}),
            "doesn't match '_creationTime' field 1.0",
        ),
        (
            lambda t: t.patch(t.insert("things", {}), {"_id": UNSET}),
            "System fields `_id` and `_creationTime` cannot be removed",
        ),
        (
            lambda t: t.patch(t.insert("things", {}), None),
            "Invalid argument `value` for `db.patch`: Value must be an Object",
        ),
        (
            lambda t: t.insert("things", {"a": "x" * 1_572_864}),
            "Value is too large (1.5 MiB > maximum size 1 MiB)",
        ),
        (
            lambda t: t.insert("things", {"a": nested(16)}),
            "Document is too nested (nested 17 levels deep > maximum nesting 16)",
        ),
        (
            lambda t: t.insert("strict", {"n": "1"}),
            (
                'Failed to insert or update a document in table "strict" because it '
                "does not match the schema: Value does not match validator.\n"
                'Path: .n\nValue: "1"\nValidator: v.float64()'
            ),
        ),
        (
            lambda t: t.patch(t.insert("strict", {"n": 1}), {"n": UNSET}),
            "Object is missing the required field `n`.",
        ),
        (
            lambda t: t.insert("strict", {"n": 1, "ref": t.insert("strict", {"n": 1})}),
            "from table `strict`, which does not match",
        ),
    ],
)
def test_misuse_is_told_as_convex_does(
    transaction: Transaction, misuse: Callable[[Transaction], Any], problem: str
) -> None:
    with pytest.raises(UsageError) as error:
        misuse(transaction)
    assert problem in str(error.value)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_the_largest_document_fits(transaction: Transaction) -> None:
    transaction.insert("things", {"a": nested(15), "b": "x" * 1_048_400})


def test_an_ended_transaction_cannot_be_used(database: Database) -> None:
    transaction = Transaction(database, NOW)
    text_id = transaction.insert("things", {})
    transaction.commit()
    with pytest.raises(UsageError, match="was used after its function had ended"):
        transaction.get(text_id)
    with pytest.raises(UsageError, match="was used after its function had ended"):
        transaction.insert("things", {})


# --- limits -------------------------------------------------------------------


def test_16000_documents_may_be_written_and_32000_read(
    transaction: Transaction,
) -> None:
    for _ in range(16_000):
        transaction.insert("things", {})
    with pytest.raises(UsageError) as writes:
        transaction.insert("things", {})
    assert str(writes.value) == (
        "Too many writes in a single function execution (limit: 16000)"
    )
    assert len(scan(transaction)) == 16_000
    assert len(scan(transaction, limit=15_999)) == 15_999
    assert len(scan(transaction, limit=1)) == 1
    with pytest.raises(UsageError) as reads:
        scan(transaction, limit=1)
    assert str(reads.value).startswith(
        "Too many documents read in a single function execution (limit: 32000). "
        "Consider using smaller limits in your queries,"
    )


def test_16_mebibytes_may_be_written_and_read(transaction: Transaction) -> None:
    text = "x" * 1_000_000
    ids = [transaction.insert("things", {"a": text}) for _ in range(16)]
    with pytest.raises(UsageError) as writes:
        transaction.insert("things", {"a": text})
    assert str(writes.value) == (
        "Too many bytes written in a single function execution (limit: 16 MiB)"
    )
    for text_id in ids:
        transaction.get(text_id)
    with pytest.raises(UsageError) as reads:
        scan(transaction)
    assert str(reads.value).startswith(
        "Too many bytes read in a single function execution (limit: 16777216 bytes). "
    )


def test_4096_ranges_may_be_read(transaction: Transaction) -> None:
    # None next to another: those would be one range.
    ids = [encode_id(10001, n.to_bytes(16, "big")) for n in range(0, 8194, 2)]
    for text_id in ids[:4096]:
        transaction.get(text_id)
        transaction.get(text_id)
    with pytest.raises(UsageError) as error:
        transaction.get(ids[4096])
    assert str(error.value).startswith(
        "Too many reads in a single function execution (limit: 4096). "
    )


def test_lifted_limits_no_longer_hold(transaction: Transaction) -> None:
    transaction.lift_limits()
    for n in range(0, 8200, 2):
        transaction.get(encode_id(10001, n.to_bytes(16, "big")))
