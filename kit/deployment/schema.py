"""Schemas: tables, what their documents look like, and their indexes.

Written in a functions folder's `schema.py`, as in Convex's `convex/server`:

```python
schema = define_schema({"tasks": define_table({"title": v.string()})})
```

Only the description is here; `database` makes the tables and indexes and holds
documents to it. A table that is not in the schema takes any document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from kit.deployment.not_offered import not_offered
from kit.values import ObjectValidator, Validator, is_identifier
from kit.values.validators import (
    AnyValidator,
    OptionalField,
    RecordValidator,
    UnionValidator,
)

__all__ = [
    "IndexDefinition",
    "Schema",
    "TableDefinition",
    "define_schema",
    "define_table",
]

MAX_INDEX_FIELDS = 16
MAX_INDEXES = 32
_BUILT_IN_INDEXES = ("by_id", "by_creation_time")


@dataclass(frozen=True)
class IndexDefinition:
    """An index: documents in the order of `fields`, then of their creation."""

    name: str
    fields: tuple[str, ...]


@dataclass(frozen=True)
class TableDefinition:
    """A table: the validator of its documents (without system fields), its indexes."""

    validator: Validator
    indexes: Mapping[str, IndexDefinition] = field(default_factory=dict)

    def index(self, name: str, fields: Sequence[str]) -> TableDefinition:
        """This table with one more index. Raises ValueError when it cannot be."""
        _check_index(self, name, fields)
        definition = IndexDefinition(name, tuple(fields))
        return replace(self, indexes={**self.indexes, name: definition})

    def search_index(self, name: str, options: Any = None) -> NoReturn:
        """Not offered here."""
        not_offered("Full text search (`searchIndex`)")

    def vector_index(self, name: str, options: Any = None) -> NoReturn:
        """Not offered here."""
        not_offered("Vector search (`vectorIndex`)")


@dataclass(frozen=True)
class Schema:
    """All tables by name."""

    tables: Mapping[str, TableDefinition] = field(default_factory=dict)
    validates: bool = True
    """Whether documents are held to it; else it gives the indexes alone."""


def define_table(
    document: Mapping[str, Validator | OptionalField] | Validator,
) -> TableDefinition:
    """A table of documents with these fields, or that match this validator.

    The validator must be an object, a union of objects, or any.
    """
    validator = (
        document if isinstance(document, Validator) else ObjectValidator(document)
    )
    for shape in _shapes(validator):
        for name in shape.fields:
            if name.startswith("_"):
                raise ValueError(
                    f"Field {name!r} starts with an underscore, which is only allowed "
                    "for system fields. `_id` and `_creationTime` are added to every "
                    "table: leave them out"
                )
    return TableDefinition(validator)


def define_schema(
    tables: Mapping[str, TableDefinition], *, schema_validation: bool = True
) -> Schema:
    """The schema with these tables. Raises ValueError for a name that cannot be.

    Without `schema_validation`, tables take any document.
    """
    for name, table in tables.items():
        if not isinstance(name, str) or not is_identifier(name):
            raise ValueError(
                f"{name!r} cannot be the name of a table: use up to 64 letters, digits "
                "and underscores, not starting with a digit"
            )
        if name.startswith("_"):
            raise ValueError(
                f"{name!r} cannot be the name of a table: names that start with an "
                "underscore are reserved for system tables"
            )
        if not isinstance(table, TableDefinition):
            raise TypeError(f"Table {name!r} is {table!r}: use define_table(...)")
    return Schema(dict(tables), schema_validation)


def _shapes(validator: Validator) -> Iterator[ObjectValidator]:
    match validator:
        case ObjectValidator():
            yield validator
        case UnionValidator(members):
            for member in members:
                yield from _shapes(member)
        case AnyValidator():
            return
        case _:
            raise ValueError(
                f"A table holds objects: {validator} is neither v.object, a union of "
                "objects, nor v.any"
            )


def _check_index(table: TableDefinition, name: str, fields: Sequence[str]) -> None:
    if not isinstance(name, str) or not is_identifier(name):
        raise ValueError(f"{name!r} cannot be the name of an index")
    if name.startswith("_") or name in _BUILT_IN_INDEXES:
        raise ValueError(f"Index name {name!r} is reserved: choose another")
    if name in table.indexes:
        raise ValueError(f"Index {name!r} is defined twice on this table")
    if len(table.indexes) == MAX_INDEXES:
        raise ValueError(f"Table has more than {MAX_INDEXES} indexes")
    if isinstance(fields, str) or not fields:
        raise ValueError(f"Index {name!r} needs a list of at least one field")
    if len(fields) > MAX_INDEX_FIELDS:
        raise ValueError(f"Index {name!r} has more than {MAX_INDEX_FIELDS} fields")
    if len(set(fields)) != len(fields):
        raise ValueError(f"Index {name!r} has a field twice: {list(fields)}")
    for path in fields:
        _check_index_field(table, name, path)


def _check_index_field(table: TableDefinition, index: str, path: str) -> None:
    if path in ("_id", "_creationTime"):
        raise ValueError(
            f"Index {index!r} cannot have field {path!r}: every index ends in "
            "_creationTime and _id by itself"
        )
    names = path.split(".")
    if not all(map(is_identifier, names)):
        raise ValueError(f"Index {index!r} has an invalid field: {path!r}")
    if not _may_have(table.validator, names):
        raise ValueError(
            f"Index {index!r} has field {path!r}, but no document of this table can "
            f"have it: {table.validator}"
        )


def _may_have(validator: Validator, names: Sequence[str]) -> bool:
    """Whether a value that matches could have something at the path `names`."""
    if not names:
        return True
    match validator:
        case ObjectValidator(fields):
            rule = fields.get(names[0])
            if isinstance(rule, OptionalField):
                rule = rule.validator
            return rule is not None and _may_have(rule, names[1:])
        case UnionValidator(members):
            return any(_may_have(member, names) for member in members)
        case RecordValidator(_, value):
            return _may_have(value, names[1:])
        case AnyValidator():
            return True
        case _:
            return False
