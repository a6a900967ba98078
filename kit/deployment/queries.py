"""`ctx.db.query("messages").with_index(...).order("desc").take(10)`.

Builds a range of one index, step by step, and reads it through a transaction. Which
intervals count as read is up to the transaction. Error texts are those of Convex's
`common/src/query.rs`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

from kit.deployment.failures import UsageError
from kit.deployment.ids import decode_id
from kit.deployment.index_keys import (
    UNSET,
    Interval,
    Unset,
    encode_value,
    past,
    starting_with,
)
from kit.deployment.tables import BUILT_IN_INDEXES, BY_CREATION_TIME, BY_ID, Index
from kit.deployment.transaction import Transaction
from kit.values import InvalidValue, Value, from_json, to_json
from kit.values.render import debug, quote

__all__ = ["IndexRange", "Query"]

Order: TypeAlias = Literal["asc", "desc"]
Document: TypeAlias = dict[str, Any]

_SEE = "For more information see https://docs.convex.dev/using/indexes."


@dataclass(frozen=True)
class _Bound:
    field: str
    operator: Literal["==", ">", ">=", "<", "<="]
    value: Value | Unset

    def __str__(self) -> str:
        value = "undefined" if self.value is UNSET else debug(self.value)
        return f"{quote(self.field)} {self.operator} {value}"


@dataclass
class IndexRange:
    """The range of an index: `q.eq("a", 1).gt("b", 2)`.

    Any number of `eq` on the first fields of the index, then one lower and one upper
    bound on the next. Bounds compare across types: below 5.0 there are also undefined,
    null and every int64.
    """

    equal: dict[str, _Bound] = field(default_factory=dict)
    lower: _Bound | None = None
    upper: _Bound | None = None

    def eq(self, field: str, value: Value | Unset) -> IndexRange:
        """`field` is exactly `value`; UNSET matches documents without the field."""
        bound = _Bound(field, "==", _normal(value))
        if field in self.equal:
            raise _already_defined("equality", bound)
        if field in (limit.field for limit in (self.lower, self.upper) if limit):
            raise _already_defined("inequality", bound)
        self.equal[field] = bound
        return self

    def gt(self, field: str, value: Value) -> IndexRange:
        """`field` comes after `value`."""
        return self._set_lower(_Bound(field, ">", _normal(value)))

    def gte(self, field: str, value: Value) -> IndexRange:
        """`field` is `value` or comes after it."""
        return self._set_lower(_Bound(field, ">=", _normal(value)))

    def lt(self, field: str, value: Value) -> IndexRange:
        """`field` comes before `value`."""
        return self._set_upper(_Bound(field, "<", _normal(value)))

    def lte(self, field: str, value: Value) -> IndexRange:
        """`field` is `value` or comes before it."""
        return self._set_upper(_Bound(field, "<=", _normal(value)))

    def _set_lower(self, bound: _Bound) -> IndexRange:
        if self.lower is not None:
            raise _already_defined("lower", bound)
        self.lower = bound
        return self

    def _set_upper(self, bound: _Bound) -> IndexRange:
        if self.upper is not None:
            raise _already_defined("upper", bound)
        self.upper = bound
        return self

    def interval(self, index: Index, name: str) -> Interval:
        """The keys of `index` in this range; `name` is for errors: `table.index`.

        Raises UsageError when the range does not fit the index.
        """
        self._check_fields(index, name)
        prefix = b"".join(
            _encode(index, self.equal[field])
            for field in index.range_fields[: len(self.equal)]
        )
        low, high = starting_with(prefix)
        if self.lower is not None:
            low = prefix + _encode(index, self.lower)
            if self.lower.operator == ">":
                low = past(low)
        if self.upper is not None:
            high = prefix + _encode(index, self.upper)
            if self.upper.operator == "<=":
                high = past(high)
        return low, max(low, high)

    def _check_fields(self, index: Index, name: str) -> None:
        limits = dict.fromkeys(
            limit.field for limit in (self.lower, self.upper) if limit
        )
        fields = index.range_fields
        for used in (*self.equal, *limits):
            if used not in fields:
                raise UsageError(
                    f"The index range included a comparison with {quote(used)}, but "
                    f"{name} with fields {_list(fields)} doesn't index this field. "
                    f"{_SEE}"
                )
        if len(limits) > 1:
            first, second = map(quote, limits)
            raise UsageError(
                "Upper and lower bounds in `range` can only be applied to a single "
                f"index field. This query against index {name} attempted to set a "
                f"range bound on both {first} and {second}. Consider using `filter` "
                "instead. See https://docs.convex.dev/using/indexes for more info."
            )
        query_fields = [*sorted(self.equal, key=fields.index), *limits]
        for expected, used in zip(fields, query_fields, strict=False):
            if used != expected:
                raise UsageError(
                    f"Tried to query index {name} but the query didn't use the index "
                    f"fields in order.\nIndex fields: {_list(fields)}\n"
                    f"Query fields: {_list(query_fields)}\n"
                    f"First incorrect field: {quote(used)}\n{_SEE}"
                )


def _already_defined(kind: str, bound: _Bound) -> UsageError:
    return UsageError(
        f"Already defined {kind} bound in index range. Can't add {bound}."
    )


def _normal(value: Value | Unset) -> Value | Unset:
    """`value` as it would be in a document."""
    if value is UNSET:
        return UNSET
    try:
        return from_json(to_json(value))
    except InvalidValue as error:
        raise UsageError(f"Invalid bound in index range: {error}") from None


def _encode(index: Index, bound: _Bound) -> bytes:
    if index.name != BY_ID:
        return encode_value(bound.value)
    # Ids sort as their bytes, whatever the table.
    try:
        return decode_id(bound.value)[1]
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"Invalid `_id` in index range: {error}") from None


def _list(fields: tuple[str, ...] | list[str]) -> str:
    return f"[{', '.join(map(quote, fields))}]"


@dataclass(frozen=True)
class Query:
    """A query over one table, read when one of its last four methods is awaited.

    Without `with_index`, documents come in the order of their creation. A table that
    does not exist has no documents.
    """

    transaction: Transaction
    table_name: str
    index_name: str | None = None
    range: IndexRange = field(default_factory=IndexRange)
    direction: Order | None = None

    def with_index(
        self, name: str, range: Callable[[IndexRange], IndexRange] | None = None
    ) -> Query:
        """Read the index `name`, all of it or a range: `lambda q: q.eq("a", 1)`."""
        if self.index_name is not None or self.direction is not None:
            raise UsageError("`with_index` must come once, and before `order`")
        chosen = IndexRange() if range is None else range(IndexRange())
        if not isinstance(chosen, IndexRange):
            raise UsageError(
                "The range of `with_index` must return what it built: "
                'lambda q: q.eq("field", value)'
            )
        return replace(self, index_name=name, range=chosen)

    def order(self, order: Order) -> Query:
        """`asc`, as without it, or `desc`: the whole index in reverse."""
        if self.direction is not None:
            raise UsageError("Queries may only specify order at most once")
        if order not in get_args(Order):
            raise UsageError(f"The order of a query is 'asc' or 'desc', not {order!r}")
        return replace(self, direction=order)

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

    def _read(self, limit: int | None) -> list[Document]:
        index_name = self.index_name or BY_CREATION_TIME
        full_name = f"{self.table_name}.{index_name}"
        table = self.transaction.table(self.table_name)
        if table is None and index_name in BUILT_IN_INDEXES:
            return []
        if table is None or index_name not in table.indexes:
            raise UsageError(f"Index {full_name} not found.")
        index = table.indexes[index_name]
        return self.transaction.scan(
            index,
            self.range.interval(index, full_name),
            descending=self.direction == "desc",
            limit=limit,
        )
