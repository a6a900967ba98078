import json
import math
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from convex import ConvexError
from deployment_in_a_test import (
    COMMON,
    NOW,
    Args,
    Ctx,
    error_of,
    mutate,
    open_engine,
    query,
)
from hypothesis import given
from hypothesis import strategies as st

from kit.deployment import functions as f
from kit.deployment.database import Database
from kit.deployment.engine import Engine
from kit.deployment.failures import UsageError
from kit.deployment.pagination import (
    Journal,
    PageOptions,
    pagination_opts_validator,
    pagination_result_validator,
)
from kit.deployment.queries import Query
from kit.deployment.schema import define_schema, define_table
from kit.deployment.transaction import Transaction
from kit.values import ValidationFailed, v

SCHEMA = define_schema({"notes": define_table(v.any()).index("by_n", ["n"])})
Page = dict[str, Any]
Build = Callable[[Query], Query]


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
def ten(transaction: Transaction) -> Transaction:
    """With ten notes, n = 0..9."""
    for n in range(10):
        transaction.insert("notes", {"n": n})
    return transaction


def by_n(query: Query) -> Query:
    return query.with_index("by_n")


def backwards(query: Query) -> Query:
    return query.with_index("by_n").order("desc")


def even(query: Query) -> Query:
    return by_n(query).filter(lambda q: q.eq(q.mod(q.field("n"), 2), 0))


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    with pytest.raises(StopIteration) as stop:
        coroutine.send(None)
    return stop.value.value


def page(
    transaction: Transaction,
    size: float,
    cursor: str | None = None,
    *,
    build: Build = by_n,
    journal: Journal | None = None,
    **more: Any,
) -> Page:
    """One page, as a function of its own would get it."""
    made = build(Query(transaction, "notes", journal or Journal()))
    options = {"numItems": size, "cursor": cursor, **more}
    found: Page = run(made.paginate(options))
    return found


def numbers(*pages: Page) -> list[float]:
    return [note["n"] for page in pages for note in page["page"]]


def all_of(transaction: Transaction, build: Build = by_n) -> list[float]:
    found = run(build(Query(transaction, "notes")).collect())
    return [note["n"] for note in found]


# --- page by page -------------------------------------------------------------


def test_a_page_has_convexs_shape(ten: Transaction) -> None:
    first = page(ten, 4)
    assert first.keys() == {
        "page",
        "isDone",
        "continueCursor",
        "splitCursor",
        "pageStatus",
    }
    assert numbers(first) == [0, 1, 2, 3]
    assert (first["isDone"], first["pageStatus"]) == (False, None)
    pagination_result_validator(v.any()).check(first)


def test_a_full_page_is_not_the_end_even_if_nothing_follows(ten: Transaction) -> None:
    full = page(ten, 10)
    assert (numbers(full), full["isDone"]) == (list(range(10)), False)
    last = page(ten, 10, full["continueCursor"])
    assert (last["page"], last["isDone"]) == ([], True)
    again = page(ten, 10, last["continueCursor"])
    assert again == last
    assert page(ten, 11)["isDone"]


@given(
    stored=st.lists(st.integers(0, 5), max_size=12),
    size=st.integers(1, 5),
    build=st.sampled_from([by_n, backwards, even, lambda q: q.order("desc")]),
)
def test_the_pages_together_are_the_results(
    database: Database, stored: list[int], size: int, build: Build
) -> None:
    transaction = Transaction(database, NOW)
    try:
        for n in stored:
            transaction.insert("notes", {"n": n})
        pages = [page(transaction, size, build=build)]
        while not pages[-1]["isDone"]:
            assert len(pages[-1]["page"]) == size
            cursor = pages[-1]["continueCursor"]
            pages.append(page(transaction, size, cursor, build=build))
        assert numbers(*pages) == all_of(transaction, build)
        assert len(pages[-1]["page"]) <= size
    finally:
        transaction.end()


def test_a_table_that_does_not_exist_has_one_empty_page(
    transaction: Transaction,
) -> None:
    missing = Query(transaction, "missing")
    found = run(missing.paginate({"numItems": 5.0, "cursor": None}))
    assert (found["page"], found["isDone"]) == ([], True)


def test_an_end_cursor_bounds_a_page_whatever_its_size(ten: Transaction) -> None:
    first = page(ten, 3)
    second = page(ten, 4, first["continueCursor"])
    for size in (1, 9):
        bounded = page(
            ten, size, first["continueCursor"], endCursor=second["continueCursor"]
        )
        assert numbers(bounded) == [3, 4, 5, 6]
        assert bounded["continueCursor"] == second["continueCursor"]


@pytest.mark.parametrize("build", [by_n, backwards, even])
def test_a_page_can_be_split_where_it_says(ten: Transaction, build: Build) -> None:
    whole = page(ten, 5, build=build)
    middle, end = whole["splitCursor"], whole["continueCursor"]
    left = page(ten, 5, endCursor=middle, build=build)
    right = page(ten, 5, middle, endCursor=end, build=build)
    assert numbers(left, right) == numbers(whole)
    assert left["page"] and right["page"]
    assert page(ten, 2)["splitCursor"] is None


# --- journals -----------------------------------------------------------------


class Followed:
    """Pages that a client follows: each keeps its cursor, and its journal."""

    def __init__(self, transaction: Transaction, size: int, build: Build) -> None:
        self._transaction = transaction
        self._size = size
        self._build = build
        self._followed: list[tuple[str | None, str | None]] = [(None, None)]
        self.pages: list[Page] = []
        self.run()

    def run(self) -> None:
        """Run the functions again, as when a subscription is invalidated."""
        self.pages = []
        for place, (cursor, previous) in enumerate(self._followed):
            journal = Journal(previous)
            self.pages.append(
                page(
                    self._transaction,
                    self._size,
                    cursor,
                    build=self._build,
                    journal=journal,
                )
            )
            self._followed[place] = (cursor, journal.end)

    def load_more(self) -> None:
        if not self.pages[-1]["isDone"]:
            self._followed.append((self.pages[-1]["continueCursor"], None))
            self.run()


def test_a_followed_page_grows_and_shrinks(ten: Transaction) -> None:
    followed = Followed(ten, 4, by_n)
    followed.load_more()
    assert [numbers(it) for it in followed.pages] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    ends = [it["continueCursor"] for it in followed.pages]
    ten.insert("notes", {"n": 2.5})
    for note in run(Query(ten, "notes").collect()):
        if note["n"] in (3, 6, 7):
            ten.delete(note["_id"])
    followed.run()
    assert [numbers(it) for it in followed.pages] == [[0, 1, 2, 2.5], [4, 5]]
    assert [it["continueCursor"] for it in followed.pages] == ends
    followed.load_more()
    assert numbers(*followed.pages) == all_of(ten)


changes = st.lists(
    st.tuples(st.sampled_from(["insert", "delete", "more"]), st.integers(0, 20)),
    max_size=12,
)


@given(
    stored=st.lists(st.integers(0, 20), max_size=8),
    size=st.integers(1, 4),
    build=st.sampled_from([by_n, backwards, even]),
    changes=changes,
)
def test_followed_pages_leave_no_gap_and_do_not_overlap(
    database: Database,
    stored: list[int],
    size: int,
    build: Build,
    changes: list[tuple[str, int]],
) -> None:
    transaction = Transaction(database, NOW)
    try:
        for n in stored:
            transaction.insert("notes", {"n": n})
        followed = Followed(transaction, size, build)
        for change, n in changes:
            notes = run(Query(transaction, "notes").collect())
            if change == "insert":
                transaction.insert("notes", {"n": n})
            elif change == "more":
                followed.load_more()
            elif notes:
                transaction.delete(notes[n % len(notes)]["_id"])
            followed.run()
            loaded, results = numbers(*followed.pages), all_of(transaction, build)
            assert loaded == results[: len(loaded)]
            if followed.pages[-1]["isDone"]:
                assert loaded == results
    finally:
        transaction.end()


def test_the_end_of_a_page_bounds_what_it_reads(tmp_path: Path) -> None:
    database = Database.open(tmp_path, SCHEMA)
    writer = Transaction(database, NOW)
    for n in (0, 10, 20, 30):
        writer.insert("notes", {"n": n})
    writer.commit()
    reader = Transaction(database, NOW)
    first = page(reader, 2)
    page(reader, 9, first["continueCursor"], endCursor=first["continueCursor"])
    reader.end()
    for n, is_noticed in ((5, True), (10, True), (11, False), (25, False)):
        writer = Transaction(database, NOW)
        writer.insert("notes", {"n": n})
        # Of two notes with one number, the later is behind the end of the page.
        noticed = reader.read_set.overlaps(writer.write_set)
        writer.end()
        assert noticed is (is_noticed and n != 10)
    database.close()


# --- options ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "`options.numItems` must be a positive number. Received `undefined`."),
        (
            {"numItems": "5"},
            "`options.numItems` must be a positive number. Received `'5'`.",
        ),
        ({"numItems": -1}, "`options.numItems` must be a positive number. Received `-"),
        ({"numItems": True}, "`options.numItems` must be a positive number. Received"),
        ({"numItems": 0}, "Must request at least 1 document while paginating"),
        ({"numItems": 1.5}, "`options.numItems` must be a whole number. Received `1.5"),
        ({"numItems": math.nan}, "`options.numItems` must be a whole number. Received"),
        ({"numItems": math.inf}, "`options.numItems` must be a whole number. Received"),
        ({"numItems": 32_001}, "Requested too many items: 32001"),
        ({"numItems": 1, "cursor": 5}, "`options.cursor` must be a cursor or null, no"),
        ({"numItems": 1, "endCursor": []}, "`options.endCursor` must be a cursor or n"),
        (
            {"numItems": 1, "maximumRowsRead": 0},
            "maximumRowsRead and maximumBytesRead must be greater than 0",
        ),
        (
            {"numItems": 1, "maximumBytesRead": 0.0},
            "maximumRowsRead and maximumBytesRead must be greater than 0",
        ),
        (
            {"numItems": 1, "maximumRowsRead": "1"},
            "`options.maximumRowsRead` must be a positive number",
        ),
        (5, "`paginate` needs {'numItems': ..., 'cursor': ...}"),
    ],
)
def test_options_that_cannot_be_are_told(options: Any, problem: str) -> None:
    with pytest.raises(UsageError) as error:
        PageOptions.of(options)
    assert problem in str(error.value)


def test_what_clients_send_are_options() -> None:
    sent = {"numItems": 10.0, "cursor": None, "id": 3.0, "endCursor": None}
    pagination_opts_validator.check(sent)
    assert PageOptions.of(sent) == PageOptions(10)
    full = {
        **sent,
        "cursor": "c",
        "endCursor": "e",
        "maximumRowsRead": 5.0,
        "maximumBytesRead": 7.0,
    }
    pagination_opts_validator.check(full)
    assert PageOptions.of(full) == PageOptions(10, "c", "e", 5, 7)
    with pytest.raises(ValidationFailed):
        pagination_opts_validator.check({"numItems": 10.0})


# --- limits -------------------------------------------------------------------


def test_a_page_ends_when_enough_was_read(ten: Transaction) -> None:
    rows = page(ten, 5, build=even, maximumRowsRead=4)
    assert (numbers(rows), rows["pageStatus"]) == ([0, 2], "SplitRequired")
    assert (rows["isDone"], rows["splitCursor"] is None) == (False, False)
    size = page(ten, 5, maximumBytesRead=1)
    assert (numbers(size), size["pageStatus"]) == ([0], "SplitRequired")
    more = page(ten, 5, rows["continueCursor"], build=even)
    assert numbers(rows, more) == [0, 2, 4, 6, 8]


def test_a_page_that_read_much_should_be_split(ten: Transaction) -> None:
    assert page(ten, 3, maximumRowsRead=4)["pageStatus"] is None
    assert page(ten, 4, maximumRowsRead=5)["pageStatus"] == "SplitRecommended"


def test_a_bounded_page_is_read_to_its_end(ten: Transaction) -> None:
    end = page(ten, 8)["continueCursor"]
    bounded = page(ten, 1, endCursor=end, maximumRowsRead=2, maximumBytesRead=1)
    assert numbers(bounded) == list(range(8))
    assert bounded["pageStatus"] == "SplitRecommended"


def test_a_page_ends_where_the_transaction_may_read_no_more(
    transaction: Transaction,
) -> None:
    for n in range(15):
        transaction.insert("notes", {"n": n, "text": "x" * 1_000_000})
    whole = page(transaction, 15)
    assert (len(whole["page"]), whole["pageStatus"]) == (15, "SplitRecommended")
    short = page(transaction, 15)
    assert (numbers(short), short["pageStatus"]) == ([0], "SplitRequired")
    assert not short["isDone"]
    # Without anything on it, it would lead nowhere.
    with pytest.raises(UsageError, match="Too many bytes read"):
        page(transaction, 15)


# --- cursors of other queries -------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        backwards,
        even,
        lambda q: q,
        lambda q: q.with_index("by_n", lambda r: r.gte("n", 0)),
        lambda q: by_n(q).filter(lambda e: e.eq(e.mod(e.field("n"), 2), 1)),
    ],
)
def test_a_cursor_belongs_to_its_query(ten: Transaction, other: Build) -> None:
    cursor = page(ten, 2)["continueCursor"]
    for options in ({"cursor": cursor}, {"endCursor": cursor}):
        with pytest.raises(ConvexError, match="this cursor is from a different query"):
            page(ten, 2, build=other, **options)
    with pytest.raises(ConvexError):
        page(ten, 2, build=other, journal=Journal(cursor))
    # Sizes do not make it another.
    assert numbers(page(ten, 5, cursor)) == [2, 3, 4, 5, 6]


def test_a_broken_cursor_is_told(ten: Transaction) -> None:
    with pytest.raises(UsageError, match="InvalidCursor: Failed to parse cursor"):
        page(ten, 2, "nonsense")


# --- in functions -------------------------------------------------------------


@f.query(args={"paginationOpts": pagination_opts_validator, "kind": v.string()})
async def q_list(ctx: Ctx, args: Args) -> Any:
    return await (
        ctx.db.query("notes")
        .filter(lambda q: q.eq(q.field("kind"), args["kind"]))
        .paginate(args["paginationOpts"])
    )


@f.query()
async def q_twice(ctx: Ctx, args: Args) -> Any:
    await ctx.db.query("notes").paginate({"numItems": 1, "cursor": None})
    await ctx.db.query("notes").paginate({"numItems": 1, "cursor": None})


@f.query()
async def q_nested(ctx: Ctx, args: Args) -> Any:
    inner = await ctx.run_query("m:q_list", args)
    outer = await ctx.db.query("notes").paginate({"numItems": 3, "cursor": None})
    return [len(inner["page"]), len(outer["page"])]


@f.mutation()
async def mutate_page(ctx: Ctx, args: Args) -> Any:
    await ctx.db.insert("notes", {"n": 0})
    found = await ctx.db.query("notes").paginate({"numItems": 5, "cursor": None})
    return len(found["page"])


@f.mutation()
async def remove_second(ctx: Ctx, args: Args) -> None:
    _, second = await ctx.db.query("notes").take(2)
    await ctx.db.delete(second["_id"])


FUNCTIONS = {
    **COMMON,
    "q_list": q_list,
    "q_twice": q_twice,
    "q_nested": q_nested,
    "mutate_page": mutate_page,
    "remove_second": remove_second,
}
FIRST_TWO = {"paginationOpts": {"numItems": 2.0, "cursor": None}, "kind": "a"}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with open_engine(tmp_path, SCHEMA, **FUNCTIONS) as engine:
        for _ in range(4):
            mutate(engine, "add", kind="a")
        yield engine


def test_the_journal_of_a_query_keeps_its_page(engine: Engine) -> None:
    first = engine.run_query("m:q_list", FIRST_TWO)
    assert first.journal is not None
    mutate(engine, "remove_second")
    again = engine.run_query("m:q_list", FIRST_TWO, journal=first.journal)
    assert again.value_json is not None
    assert len(json.loads(again.value_json)["page"]) == 1
    assert again.journal == first.journal
    afresh = engine.run_query("m:q_list", FIRST_TWO)
    assert afresh.value_json is not None
    assert len(json.loads(afresh.value_json)["page"]) == 2
    assert afresh.journal != first.journal


def test_a_query_without_pages_has_no_journal(engine: Engine) -> None:
    assert engine.run_query("m:q_all", {}).journal is None
    assert engine.run_query("m:q_all", {}, journal="anything").journal is None


def test_a_run_that_fails_before_its_page_keeps_the_journal(engine: Engine) -> None:
    journal = engine.run_query("m:q_list", FIRST_TWO).journal
    failed = engine.run_query("m:q_list", {"kind": "a"}, journal=journal)
    assert failed.error is not None and failed.journal == journal


def test_a_journal_that_cannot_be_used_is_forgotten(engine: Engine) -> None:
    journal = engine.run_query("m:q_list", FIRST_TWO).journal
    other = {**FIRST_TWO, "kind": "b"}
    for unusable in (journal, "nonsense"):
        failed = engine.run_query("m:q_list", other, journal=unusable)
        assert failed.error is not None and "InvalidCursor" in failed.error.message
        assert failed.journal is None


def test_clients_are_told_to_start_over(engine: Engine) -> None:
    cursor = query(engine, "q_list", **FIRST_TWO)["continueCursor"]
    options = {"numItems": 2.0, "cursor": cursor}
    error = engine.run_query("m:q_list", {"paginationOpts": options, "kind": "b"}).error
    assert error is not None
    assert error.message == (
        "Uncaught ConvexError: InvalidCursor: Tried to run a query starting from a "
        "cursor, but it looks like this cursor is from a different query."
    )
    assert error.data_json == (
        '{"isConvexSystemError":true,"paginationError":"InvalidCursor"}'
    )


def test_a_function_paginates_once(engine: Engine) -> None:
    assert error_of(engine, "q_twice") == (
        "Uncaught Error: This query or mutation function ran multiple paginated "
        "queries. Convex only supports a single paginated query in each function."
    )
    assert query(engine, "q_nested", **FIRST_TWO) == [2.0, 3.0]
    assert mutate(engine, "mutate_page") == 5.0


def test_a_cursor_outlives_a_restart(tmp_path: Path) -> None:
    with open_engine(tmp_path, SCHEMA, **FUNCTIONS) as engine:
        ids = [mutate(engine, "add", kind="a") for _ in range(4)]
        cursor = query(engine, "q_list", **FIRST_TWO)["continueCursor"]
    with open_engine(tmp_path, SCHEMA, **FUNCTIONS) as engine:
        options = {"numItems": 2.0, "cursor": cursor}
        rest = query(engine, "q_list", paginationOpts=options, kind="a")
        assert [note["_id"] for note in rest["page"]] == ids[2:]
