"""`filter(lambda q: q.eq(q.field("a"), 1))`: expressions over a document.

An expression is data, built once when the query is made: it has a JSON form, by which
cursors recognise their query, and is evaluated for each document. Values compare as
they sort in an index, across types, and a field that a document lacks is undefined,
which sorts before all else. Python's own `and`, `or` and `not` cannot be overloaded,
hence `and_`, `or_`, `not_`. Pure. Mirrors `Expression` of Convex's
`common/src/query.rs`.
"""

from __future__ import annotations

import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeAlias

from kit.deployment.failures import UsageError
from kit.deployment.index_keys import UNSET, Unset, encode_value, field_at
from kit.values import (
    ConvexInt64,
    InvalidValue,
    JsonValue,
    Value,
    from_json,
    is_identifier,
    to_json,
)
from kit.values.render import debug

__all__ = ["Expression", "FilterBuilder", "Operand", "as_expression", "keeps"]

Document: TypeAlias = dict[str, Any]
Outcome: TypeAlias = Value | Unset

ComparisonName: TypeAlias = Literal["eq", "neq", "lt", "lte", "gt", "gte"]
ArithmeticName: TypeAlias = Literal["add", "sub", "mul", "div", "mod"]

_SIGN = 1 << 63
_TWO_TO_64 = 1 << 64


class Expression(ABC):
    """Something to be evaluated on a document; made by a `FilterBuilder`."""

    @abstractmethod
    def evaluate(self, document: Document) -> Outcome:
        """The value for this document. Raises UsageError, e.g. for "a" + 1."""

    @abstractmethod
    def to_json(self) -> JsonValue:
        """The form in which Convex's clients send it."""

    # Python's own comparisons would be answered at once, and wrongly.

    def __eq__(self, other: object) -> NoReturn:
        raise UsageError('Compare with q.eq(q.field("a"), value), not with ==')

    def __ne__(self, other: object) -> NoReturn:
        raise UsageError('Compare with q.neq(q.field("a"), value), not with !=')

    def __bool__(self) -> NoReturn:
        raise UsageError("Combine conditions with q.and_(...), q.or_(...), q.not_(...)")

    __hash__ = None  # type: ignore[assignment]


Operand: TypeAlias = Expression | Value | Unset
"""What every method of a `FilterBuilder` takes: an expression, or a value."""


def as_expression(operand: Operand) -> Expression:
    """`operand` as an expression. Raises UsageError when it is no Convex value."""
    if isinstance(operand, Expression):
        return operand
    if operand is UNSET:
        return _Literal(UNSET)
    try:
        return _Literal(from_json(to_json(operand)))
    except InvalidValue as error:
        raise UsageError(f"Invalid value in a filter: {error}") from None


def keeps(condition: Expression, document: Document) -> bool:
    """Whether a filter lets `document` through."""
    return _boolean(condition.evaluate(document))


class FilterBuilder:
    """The `q` of a filter."""

    def field(self, path: str) -> Expression:
        """The field at a dotted path; undefined where a document has none."""
        return _Field(_checked_path(path))

    def eq(self, left: Operand, right: Operand) -> Expression:
        """Whether both are the same value: `1` and `ConvexInt64(1)` are not."""
        return _comparison("eq", left, right)

    def neq(self, left: Operand, right: Operand) -> Expression:
        return _comparison("neq", left, right)

    def lt(self, left: Operand, right: Operand) -> Expression:
        """Whether `left` sorts before `right`, whatever their types."""
        return _comparison("lt", left, right)

    def lte(self, left: Operand, right: Operand) -> Expression:
        return _comparison("lte", left, right)

    def gt(self, left: Operand, right: Operand) -> Expression:
        return _comparison("gt", left, right)

    def gte(self, left: Operand, right: Operand) -> Expression:
        return _comparison("gte", left, right)

    def add(self, left: Operand, right: Operand) -> Expression:
        """The sum of two floats, or of two int64, as for all arithmetic."""
        return _arithmetic("add", left, right)

    def sub(self, left: Operand, right: Operand) -> Expression:
        return _arithmetic("sub", left, right)

    def mul(self, left: Operand, right: Operand) -> Expression:
        return _arithmetic("mul", left, right)

    def div(self, left: Operand, right: Operand) -> Expression:
        """The quotient; of two int64, without its fraction."""
        return _arithmetic("div", left, right)

    def mod(self, left: Operand, right: Operand) -> Expression:
        """The remainder, with the sign of `left`."""
        return _arithmetic("mod", left, right)

    def neg(self, operand: Operand) -> Expression:
        return _Negation(as_expression(operand))

    def and_(self, *conditions: Operand) -> Expression:
        """Whether all are true; those after one that is not are not looked at."""
        return _Junction("and", tuple(map(as_expression, conditions)))

    def or_(self, *conditions: Operand) -> Expression:
        """Whether any is true; those after one that is are not looked at."""
        return _Junction("or", tuple(map(as_expression, conditions)))

    def not_(self, condition: Operand) -> Expression:
        return _Not(as_expression(condition))


# --- leaves -------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Field(Expression):
    path: str

    def evaluate(self, document: Document) -> Outcome:
        return field_at(document, self.path)

    def to_json(self) -> JsonValue:
        return {"$field": self.path}


@dataclass(frozen=True, eq=False)
class _Literal(Expression):
    value: Outcome

    def evaluate(self, document: Document) -> Outcome:
        return self.value

    def to_json(self) -> JsonValue:
        unset = self.value is UNSET
        return {"$literal": {"$undefined": None} if unset else to_json(self.value)}


def _checked_path(path: object) -> str:
    if not isinstance(path, str):
        raise UsageError(f"q.field needs the name of a field, not {path!r}")
    trimmed = path.strip(".")
    if not all(map(is_identifier, trimmed.split("."))):
        raise UsageError(
            f"Invalid field path {path!r}: names of letters, digits and underscores, "
            "joined by periods"
        )
    return trimmed


# --- comparisons --------------------------------------------------------------

_COMPARISONS: Mapping[ComparisonName, Callable[[bytes, bytes], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def _comparison(name: ComparisonName, left: Operand, right: Operand) -> Expression:
    return _Comparison(name, as_expression(left), as_expression(right))


@dataclass(frozen=True, eq=False)
class _Comparison(Expression):
    name: ComparisonName
    left: Expression
    right: Expression

    def evaluate(self, document: Document) -> Outcome:
        left = encode_value(self.left.evaluate(document))
        right = encode_value(self.right.evaluate(document))
        return _COMPARISONS[self.name](left, right)

    def to_json(self) -> JsonValue:
        return {f"${self.name}": [self.left.to_json(), self.right.to_json()]}


# --- arithmetic ---------------------------------------------------------------


def _arithmetic(name: ArithmeticName, left: Operand, right: Operand) -> Expression:
    return _Arithmetic(name, as_expression(left), as_expression(right))


@dataclass(frozen=True, eq=False)
class _Arithmetic(Expression):
    name: ArithmeticName
    left: Expression
    right: Expression

    def evaluate(self, document: Document) -> Outcome:
        left, right = self.left.evaluate(document), self.right.evaluate(document)
        if type(left) is type(right) is float:
            return _FLOATS[self.name](left, right)
        if type(left) is type(right) is ConvexInt64:
            return _int64(_INTEGERS[self.name](left.value, right.value))
        verb = _VERBS[self.name]
        raise UsageError(f"Cannot {verb} {_described(left)} and {_described(right)}")

    def to_json(self) -> JsonValue:
        return {f"${self.name}": [self.left.to_json(), self.right.to_json()]}


@dataclass(frozen=True, eq=False)
class _Negation(Expression):
    operand: Expression

    def evaluate(self, document: Document) -> Outcome:
        value = self.operand.evaluate(document)
        if type(value) is float:
            return -value
        if type(value) is ConvexInt64:
            return _int64(-value.value)
        raise UsageError(f"Cannot negate {_described(value)}")

    def to_json(self) -> JsonValue:
        return {"$neg": self.operand.to_json()}


def _int64(value: int) -> ConvexInt64:
    """`value` in 64 bits, as Convex's arithmetic wraps round."""
    return ConvexInt64((value + _SIGN) % _TWO_TO_64 - _SIGN)


def _divide_floats(left: float, right: float) -> float:
    if right:
        return left / right
    if not left or math.isnan(left) or math.isnan(right):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _remainder_of_floats(left: float, right: float) -> float:
    if not right or math.isinf(left):
        return math.nan
    return math.fmod(left, right)


def _divide_integers(left: int, right: int) -> int:
    """The quotient without its fraction, as in Rust."""
    if not right:
        raise UsageError("Cannot divide an int64 by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder_of_integers(left: int, right: int) -> int:
    return left - right * _divide_integers(left, right)


_VERBS: Mapping[ArithmeticName, str] = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "div": "divide",
    "mod": "mod",
}
_FLOATS: Mapping[ArithmeticName, Callable[[float, float], float]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": _divide_floats,
    "mod": _remainder_of_floats,
}
_INTEGERS: Mapping[ArithmeticName, Callable[[int, int], int]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": _divide_integers,
    "mod": _remainder_of_integers,
}


# --- logic --------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Junction(Expression):
    """All of some conditions, or any of them."""

    name: Literal["and", "or"]
    conditions: tuple[Expression, ...]

    def evaluate(self, document: Document) -> Outcome:
        decisive = self.name == "or"
        for condition in self.conditions:
            if keeps(condition, document) is decisive:
                return decisive
        return not decisive

    def to_json(self) -> JsonValue:
        return {f"${self.name}": [item.to_json() for item in self.conditions]}


@dataclass(frozen=True, eq=False)
class _Not(Expression):
    condition: Expression

    def evaluate(self, document: Document) -> Outcome:
        return not keeps(self.condition, document)

    def to_json(self) -> JsonValue:
        return {"$not": self.condition.to_json()}


def _boolean(value: Outcome) -> bool:
    if type(value) is bool:
        return value
    raise UsageError(f"Cannot use value {_described(value)} as a Boolean")


_TYPE_NAMES = {
    type(None): "Null",
    ConvexInt64: "Int64",
    float: "Float64",
    bool: "Boolean",
    str: "String",
    bytes: "Bytes",
    list: "Array",
    dict: "Object",
}


def _described(value: Outcome) -> str:
    """A value with its type, as in Convex's errors."""
    if value is UNSET:
        return "undefined (type undefined)"
    return f"{debug(value)} (type {_TYPE_NAMES[type(value)]})"
