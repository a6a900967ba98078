"""`ctx.db.query("messages").with_index(...).order("desc").take(10)`.

Says step by step what is to be read, and reads it through a transaction. Which
intervals count as read is up to the transaction. Unlike in JavaScript, a step leaves
the query before it usable. Error texts are those of Convex's `server/impl/query_impl`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, TypeAlias, get_args

from kit.deployment.cursors import fingerprint_of
from kit.deployment.failures import UsageError
from kit.deployment.filters import (
    Expression,
    FilterBuilder,
    Operand,
    as_expression,
    keeps,
)
from kit.deployment.index_keys import Interval, after
from kit.deployment.index_ranges import IndexRange
from kit.deployment.not_offered import not_offered
from kit.deployment.pagination import Journal, PageOptions, Source, read_page
from kit.deployment.tables import BUILT_IN_INDEXES, BY_CREATION_TIME, Index
from kit.deployment.transaction import Transaction

__all__ = ["Query"]

Order: TypeAlias = Literal["asc", "desc"]
Document: TypeAlias = dict[str, Any]

MAX_OPERATORS = 256
NOTHING: Interval = (b"", b"")


@dataclass(frozen=True, eq=False)
class Query:
    """A query over one table: read when `collect`, `take`, `first`, `unique` or
    `paginate` is awaited, or by `async for`.

    Without `with_index`, documents come in the order of their creation. A table that
    does not exist has no documents.
    """

    transaction: Transaction
    table_name: str
    journal: Journal = field(default_factory=Journal)
    index_name: str = BY_CREATION_TIME
    range: IndexRange | None = None
    """None until `with_index`."""
    direction: Order | None = None
    conditions: tuple[Expression, ...] = ()

    def with_index(
        self, name: str, range: Callable[[IndexRange], IndexRange] | None = None
    ) -> Query:
        """Read the index `name`, all of it or a range: `lambda q: q.eq("a", 1)`."""
        if self.range is not None or self.direction is not None or self.conditions:
            raise UsageError(
                "`with_index` must come once, and before `order` and `filter`"
            )
        chosen = IndexRange() if range is None else range(IndexRange())
        if not isinstance(chosen, IndexRange):
            raise UsageError(
                "The range of `with_index` must return what it built: "
                'lambda q: q.eq("field", value)'
            )
        return self._with(index_name=name, range=chosen)

    def with_search_index(self, name: str, search: Any = None) -> NoReturn:
        """Not offered here."""
        not_offered("Full text search (`withSearchIndex`)")

    def order(self, order: Order) -> Query:
        """`asc`, as without it, or `desc`: the whole index in reverse."""
        if self.direction is not None:
            raise UsageError("Queries may only specify order at most once")
        if order not in get_args(Order):
            raise UsageError(f"The order of a query is 'asc' or 'desc', not {order!r}")
        return self._with(direction=order)

    def filter(self, predicate: Callable[[FilterBuilder], Operand]) -> Query:
        """Only documents for which `lambda q: q.eq(q.field("a"), 1)` is true.

        What is left out has been read nevertheless, and counts as that: prefer the
        range of an index.
        """
        if len(self.conditions) >= MAX_OPERATORS:
            raise UsageError(
                f"Can't construct query with more than {MAX_OPERATORS} operators"
            )
        condition = as_expression(predicate(FilterBuilder()))
        return self._with(conditions=(*self.conditions, condition))

    async def collect(self) -> list[Document]:
        """All documents in the range."""
        return self._read(None)

    async def take(self, n: float) -> list[Document]:
        """The first `n` documents, or fewer; `n` may be a float such as 10.0."""
        if isinstance(n, bool) or not isinstance(n, int | float) or n < 0 or n % 1:
            raise TypeError("Arg 1 `n` to `take` must be a non-negative integer")
        return self._read(int(n))

    async def first(self) -> Document | None:
        """The first document, or None."""
        found = self._read(1)
        return found[0] if found else None

    async def unique(self) -> Document | None:
        """The only document, or None. Raises UsageError when there are more."""
        found = self._read(2)
        if len(found) > 1:
            first, second = (document["_id"] for document in found)
            raise UsageError(
                "unique() query returned more than one result from table "
                f"{self.table_name}:\n [{first}, {second}, ...]"
            )
        return found[0] if found else None

    async def paginate(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """One page: `{page, isDone, continueCursor, splitCursor, pageStatus}`.

        `options`: `{numItems, cursor}`, with `cursor` None for the first page and the
        `continueCursor` of a page for the next; also `endCursor`, `maximumRowsRead`,
        `maximumBytesRead`. Once in a function. The page of a query that a client
        follows keeps its end: it grows and shrinks with what is added and removed.
        """
        chosen = PageOptions.of(options)
        return read_page(self.transaction, self._source(), chosen, self.journal)

    def __aiter__(self) -> AsyncIterator[Document]:
        """`async for document in query`: reads no further than the loop goes."""
        return _Iteration(self._source(), self.transaction)

    def _with(self, **changes: Any) -> Query:
        # As `dataclasses.replace` does, in a fifth of the time.
        changed = object.__new__(Query)
        changed.__dict__.update(self.__dict__, **changes)
        return changed

    def _read(self, limit: int | None) -> list[Document]:
        index = self._index()
        if index is None:
            return []
        return self.transaction.scan(
            index,
            self._interval(index),
            descending=self.direction == "desc",
            limit=limit,
            keep=self._keeps if self.conditions else None,
        )

    def _index(self) -> Index | None:
        """The index to read; None when there is no such table."""
        table = self.transaction.table(self.table_name)
        if table is None and self.index_name in BUILT_IN_INDEXES:
            return None
        if table is None or self.index_name not in table.indexes:
            raise UsageError(f"Index {self._full_name} not found.")
        return table.indexes[self.index_name]

    def _interval(self, index: Index) -> Interval:
        return (self.range or IndexRange()).interval(index, self._full_name)

    @property
    def _full_name(self) -> str:
        return f"{self.table_name}.{self.index_name}"

    def _keeps(self, document: Document) -> bool:
        return all(keeps(condition, document) for condition in self.conditions)

    def _source(self) -> Source:
        index = self._index()
        query = {
            "table": self.table_name,
            "index": self.index_name,
            "fields": [] if index is None else index.fields,
            "range": (self.range or IndexRange()).to_json(),
            "order": self.direction or "asc",
            "filters": [condition.to_json() for condition in self.conditions],
        }
        return Source(
            fingerprint_of(query),
            index,
            NOTHING if index is None else self._interval(index),
            self.direction == "desc",
            self._keeps,
        )


class _Iteration:
    """The documents of a query one by one; others may be written between them."""

    def __init__(self, source: Source, transaction: Transaction) -> None:
        self._source = source
        self._transaction = transaction
        self._left = source.interval

    def __aiter__(self) -> AsyncIterator[Document]:
        return self

    async def __anext__(self) -> Document:
        index, descending = self._source.index, self._source.descending
        if index is not None:
            walk = self._transaction.walk(index, self._left, descending=descending)
            with closing(walk) as found:
                for key, _, document in found:
                    low, high = self._left
                    self._left = (low, key) if descending else (after(key), high)
                    if self._source.keep(document):
                        return document
        raise StopAsyncIteration
