"""The range of an index that a query reads: `q.eq("a", 1).gt("b", 2)`.

Built step by step, then turned into an interval of index keys. Pure. Error texts are
those of Convex's `common/src/query.rs`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

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
from kit.deployment.tables import BY_ID, Index
from kit.values import InvalidValue, JsonValue, Value, from_json, to_json
from kit.values.render import debug, quote

__all__ = ["IndexRange"]

_SEE = "For more information see https://docs.convex.dev/using/indexes."


class _Bound(NamedTuple):
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
    bound on the next; after its own fields, an index has `_creationTime` and `_id`.
    Bounds compare across types: below 5.0 there are also undefined, null and every
    int64.
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

    def gt(self, field: str, value: Value | Unset) -> IndexRange:
        """`field` comes after `value`."""
        return self._set_lower(_Bound(field, ">", _normal(value)))

    def gte(self, field: str, value: Value | Unset) -> IndexRange:
        """`field` is `value` or comes after it."""
        return self._set_lower(_Bound(field, ">=", _normal(value)))

    def lt(self, field: str, value: Value | Unset) -> IndexRange:
        """`field` comes before `value`."""
        return self._set_upper(_Bound(field, "<", _normal(value)))

    def lte(self, field: str, value: Value | Unset) -> IndexRange:
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

    def to_json(self) -> JsonValue:
        """All that decides what is in the range, in one order."""
        limits = [limit for limit in (self.lower, self.upper) if limit]
        bounds = [*(self.equal[name] for name in sorted(self.equal)), *limits]
        return [[it.field, it.operator, _json_of(it.value)] for it in bounds]

    def interval(self, index: Index, name: str) -> Interval:
        """The keys of `index` in this range; `name` is for errors: `table.index`.

        Raises UsageError when the range does not fit the index.
        """
        self._check_fields(index, name)
        prefix = b"".join(
            _encode(self.equal[field])
            for field in _all_fields(index)[: len(self.equal)]
        )
        low, high = starting_with(prefix)
        if self.lower is not None:
            low = prefix + _encode(self.lower)
            if self.lower.operator == ">":
                low = past(low)
        if self.upper is not None:
            high = prefix + _encode(self.upper)
            if self.upper.operator == "<=":
                high = past(high)
        return low, max(low, high)

    def _check_fields(self, index: Index, name: str) -> None:
        limits = dict.fromkeys(
            limit.field for limit in (self.lower, self.upper) if limit
        )
        fields = _all_fields(index)
        for used in (*self.equal, *limits):
            if used not in fields:
                raise UsageError(
                    f"The index range included a comparison with {quote(used)}, but "
                    f"{name} with fields {_list(index.range_fields)} doesn't index "
                    f"this field. {_SEE}"
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
                    f"fields in order.\nIndex fields: {_list(index.range_fields)}\n"
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


def _json_of(value: Value | Unset) -> JsonValue:
    return {"$undefined": None} if value is UNSET else to_json(value)


def _all_fields(index: Index) -> tuple[str, ...]:
    """The fields in a key of `index`; Convex's errors leave out the last."""
    return index.range_fields if index.name == BY_ID else (*index.range_fields, "_id")


def _encode(bound: _Bound) -> bytes:
    if bound.field != "_id":
        return encode_value(bound.value)
    # Ids sort as their bytes, whatever the table.
    try:
        return decode_id(bound.value)[1]
    except (ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"Invalid `_id` in index range: {error}") from None


def _list(fields: tuple[str, ...] | list[str]) -> str:
    return f"[{', '.join(map(quote, fields))}]"
