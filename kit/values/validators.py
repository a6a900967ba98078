"""Validators for arguments, results and documents: `v.string()`, `v.object({...})`.

They mirror Convex's `v`, including the texts in which a mismatch is reported and
the order in which fields are checked. A validator of ids needs to know which table an
id belongs to; whoever holds the tables passes that in.
"""

from __future__ import annotations

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from kit.values.codec import ConvexInt64, Value
from kit.values.render import debug

__all__ = [
    "ObjectValidator",
    "OptionalField",
    "TableOfId",
    "ValidationFailed",
    "Validator",
    "is_identifier",
    "v",
]

TableOfId: TypeAlias = Callable[[str], str | None]
"""From the text of an id to the name of its table; None when it is no such id."""

MAX_IDENTIFIER_LENGTH = 64
_identifier = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def is_identifier(name: str) -> bool:
    """Whether `name` may name a table, a validated field or a function."""
    return (
        _identifier.match(name) is not None
        and len(name) <= MAX_IDENTIFIER_LENGTH
        and name.strip("_") != ""
    )


class ValidationFailed(ValueError):
    """A value does not match a validator; the text is Convex's."""

    def __init__(
        self,
        problem: str,
        *,
        label: str = "",
        value: Value = None,
        validator: Validator | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[str] = []  # innermost first, filled while unwinding
        # Rendered only when read: a union tries, and forgets, many failures.
        self._label = label
        self._value = value
        self._validator = validator

    def __str__(self) -> str:
        where = f"Path: {''.join(reversed(self.path))}" if self.path else ""
        if self._validator is None:
            return self.problem + where
        return (
            f"{self.problem}\n{where}\n"
            f"{self._label}: {debug(self._value)}\nValidator: {self._validator}"
        )


class Validator(ABC):
    """A rule that a value may match. `str()` renders it as it is written."""

    @abstractmethod
    def check(self, value: Value, table_of: TableOfId | None = None) -> None:
        """Raises ValidationFailed unless `value` matches.

        Without `table_of`, any string passes as an id.
        """

    @abstractmethod
    def __str__(self) -> str: ...

    def _mismatch(self, value: Value) -> ValidationFailed:
        return ValidationFailed(
            "Value does not match validator.",
            label="Value",
            value=value,
            validator=self,
        )


@dataclass(frozen=True)
class OptionalField:
    """`v.optional(...)`: the field of an object that may be absent."""

    validator: Validator

    def __str__(self) -> str:
        return f"v.optional({self.validator})"


@dataclass(frozen=True)
class TypeValidator(Validator):
    """Any value of one scalar type."""

    name: str
    types: tuple[type, ...]

    def check(self, value: Value, table_of: TableOfId | None = None) -> None:
        if type(value) not in self.types and not self._is_subclass(value):
            raise self._mismatch(value)

    def _is_subclass(self, value: Value) -> bool:
        # `bool` is a subclass of `int`, but never a number to Convex.
        return isinstance(value, self.types) and not isinstance(value, bool)

    def __str__(self) -> str:
        return f"v.{self.name}()"


@dataclass(frozen=True)
class AnyValidator(Validator):
    """Every value."""

    def check(self, value: Value, table_of: TableOfId | None = None) -> None:
        pass

    def __str__(self) -> str:
        return "v.any()"


@dataclass(frozen=True)
class IdValidator(Validator):
    """The id of a document of one table; the document need not exist."""

    table: str

    def check(self, value: Value, table_of: TableOfId | None = None) -> None:
        if not isinstance(value, str):
            raise self._mismatch(value)
        if table_of is None:
            return
        found = table_of(value)
        if found == self.table:
            return
        if found is None:
            raise self._mismatch(value)
        source = "a system table" if found.startswith("_") else f"table `{found}`"
        raise ValidationFailed(
            f'Found ID "{value}" from {source}, which does not match the table name '
            f"in validator `{self}`."
        )

    def __str__(self) -> str:
        return f'v.id("{self.table}")'


@dataclass(frozen=True)
class LiteralValidator(Validator):
    """Exactly one string, number, int64 or boolean."""

    literal: str | float | bool | ConvexInt64

    def check(self, value: Value, table_of: TableOfId | None = None) -> None:
        # Both sides as Convex prints them: tells apart types, and 0.0 from -0.0.
        if type(value) is type(self.literal) is str:
            matches = value == self.literal
        else:
            matches = _type_name(value) == _type_name(self.literal) and (
                debug(value) == debug(self.literal)
            )
        if not matches:
            raise ValidationFailed(
                f"`{debug(value)}` does not match literal validator `{self}`."
            )

    def __str__(self) -> str:
        return f"v.literal({_literal_text(self.literal)})"


def _type_name(value: Value) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return "number" if is_number else type(value).__name__


def _literal_text(literal: str | float | bool | ConvexInt64) -> str:
    if isinstance(literal, ConvexInt64):
        return "<bigint>"
    if isinstance(literal, bool | str):
        return json.dumps(literal, ensure_ascii=False)
    return debug(literal) if math.isfinite(literal) else "<number>"


@dataclass(frozen=True)
class ArrayValidator(Validator):
    """A list whose items all match one validator."""

    item: Validator

    def check(self, value: Value, table_of: TableOfId | None = None) -> None:
        if not isinstance(value, list | tuple):
            raise self._mismatch(value)
        for index, item in enumerate(value):
            try:
                self.item.check(item, table_of)
            except ValidationFailed as error:
                error.path.append(f"[{index}]")
                raise

    def __str__(self) -> str:
        return f"v.array({self.item})"


@dataclass(frozen=True)
class RecordValidator(Validator):
    """A dict with any keys that match one validator, and values another."""

    key: Validator
    value: Validator

    def check(self, value: Value, table_of: TableOfId | None = None) -> None:
        if not isinstance(value, dict):
            raise self._mismatch(value)
        for name in sorted(value):
            self._check_part(self.key, name, ".keys()", table_of)
            self._check_part(self.value, value[name], ".values()", table_of)

    def _check_part(
        self, part: Validator, value: Value, path: str, table_of: TableOfId | None
    ) -> None:
        try:
            part.check(value, table_of)
        except ValidationFailed as error:
            error.path.append(path)
            raise

    def __str__(self) -> str:
        return f"v.record({self.key}, {self.value})"


@dataclass(frozen=True)
class ObjectValidator(Validator):
    """A dict with exactly these fields. Known fields are checked first, sorted."""

    fields: Mapping[str, Validator | OptionalField]
    _sorted: list[tuple[str, Validator, bool]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for name, rule in self.fields.items():
            if not isinstance(name, str) or not is_identifier(name):
                raise ValueError(
                    f"{name!r} cannot be a field of v.object: use up to 64 letters, "
                    "digits and underscores, not starting with a digit"
                )
            if not isinstance(rule, Validator | OptionalField):
                raise TypeError(
                    f"Field {name!r} of v.object is {rule!r}; use a validator such as "
                    "v.string()"
                )
        checks = [
            (name, rule.validator, True)
            if isinstance(rule, OptionalField)
            else (name, rule, False)
            for name, rule in sorted(self.fields.items())
        ]
        object.__setattr__(self, "_sorted", checks)

    def check(self, value: Value, table_of: TableOfId | None = None) -> None:
        if not isinstance(value, dict):
            raise self._mismatch(value)
        found = 0
        for name, validator, optional in self._sorted:
            if name in value:
                found += 1
                try:
                    validator.check(value[name], table_of)
                except ValidationFailed as error:
                    error.path.append(f".{name}")
                    raise
            elif not optional:
                raise self._object_problem(
                    f"Object is missing the required field `{name}`. Consider wrapping "
                    "the field validator in `v.optional(...)` if this is expected.",
                    value,
                )
        if found != len(value):
            extra = min(name for name in value if name not in self.fields)
            raise self._object_problem(
                f"Object contains extra field `{extra}` that is not in the validator.",
                value,
            )

    def _object_problem(self, problem: str, value: Value) -> ValidationFailed:
        return ValidationFailed(problem, label="Object", value=value, validator=self)

    def __str__(self) -> str:
        fields = (f"{name}: {self.fields[name]}" for name in sorted(self.fields))
        return f"v.object({{{', '.join(fields)}}})"


@dataclass(frozen=True)
class UnionValidator(Validator):
    """A value that matches one of several validators."""

    members: tuple[Validator, ...]

    def check(self, value: Value, table_of: TableOfId | None = None) -> None:
        if len(self.members) == 1:
            self.members[0].check(value, table_of)
            return
        for member in self.members:
            try:
                member.check(value, table_of)
            except ValidationFailed:
                continue
            return
        raise self._mismatch(value)

    def __str__(self) -> str:
        return f"v.union({', '.join(map(str, self.members))})"


def _require_validator(rule: object, place: str) -> None:
    if isinstance(rule, Validator):
        return
    if isinstance(rule, OptionalField):
        raise TypeError(f"v.optional cannot be used in {place}, only for a field")
    raise TypeError(f"{place} needs a validator such as v.string(), not {rule!r}")


_STRING = TypeValidator("string", (str,))
_FLOAT64 = TypeValidator("float64", (float, int))
_INT64 = TypeValidator("int64", (ConvexInt64,))
_BOOLEAN = TypeValidator("boolean", (bool,))
_NULL = TypeValidator("null", (type(None),))
_BYTES = TypeValidator("bytes", (bytes,))
_ANY = AnyValidator()


class _Builders:
    """Makes validators: `v.string()`, `v.object({"body": v.string()})`, ..."""

    def string(self) -> Validator:
        return _STRING

    def number(self) -> Validator:
        return _FLOAT64

    def float64(self) -> Validator:
        return _FLOAT64

    def bigint(self) -> Validator:
        return _INT64

    def int64(self) -> Validator:
        return _INT64

    def boolean(self) -> Validator:
        return _BOOLEAN

    def null(self) -> Validator:
        return _NULL

    def id(self, table: str) -> Validator:
        """The id of a document in `table`."""
        if not isinstance(table, str) or not is_identifier(table):
            raise ValueError(f"v.id needs the name of a table, not {table!r}")
        return IdValidator(table)

    def literal(self, value: str | float | bool | ConvexInt64) -> Validator:
        """Exactly `value`: a string, number, boolean or ConvexInt64."""
        if not isinstance(value, str | int | float | ConvexInt64):
            raise TypeError(
                f"v.literal needs a string, number, boolean or ConvexInt64, "
                f"not {value!r}"
            )
        return LiteralValidator(value)

    def array(self, item: Validator) -> Validator:
        """A list of any length whose items match `item`."""
        _require_validator(item, "v.array")
        return ArrayValidator(item)

    def record(self, key: Validator, value: Validator) -> Validator:
        """A dict whose keys match `key` and values match `value`."""
        _require_validator(key, "v.record")
        _require_validator(value, "v.record")
        return RecordValidator(key, value)

    def union(self, *members: Validator) -> Validator:
        """A value that matches one of `members`."""
        for member in members:
            _require_validator(member, "v.union")
        return UnionValidator(members)

    def nullable(self, validator: Validator) -> Validator:
        """A value that matches `validator`, or null."""
        return self.union(validator, _NULL)

    def optional(self, validator: Validator) -> OptionalField:
        """A field of `v.object` that may be absent. An absent field is not null."""
        _require_validator(validator, "v.optional")
        return OptionalField(validator)

    # Last: from here on, these names hide the built-in ones in this class.

    def any(self) -> Validator:
        return _ANY

    def bytes(self) -> Validator:
        return _BYTES

    def object(self, fields: Mapping[str, Validator | OptionalField]) -> Validator:
        """A dict with exactly these fields."""
        return ObjectValidator(fields)


v = _Builders()
