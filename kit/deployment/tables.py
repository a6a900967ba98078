"""Tables and indexes as a deployment has them, and where a document stands in them.

`schema` says what a developer wrote; this is what exists: numbers, index ids, keys. A
document's key in an index is the encoding of the indexed fields, then of
`_creationTime`, then the 16 bytes of its internal id; in `by_id` it is those 16 bytes
alone. Nothing is stored here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from kit.deployment.ids import decode_id
from kit.deployment.index_keys import encode_key, encode_value, field_at
from kit.deployment.schema import define_table
from kit.values import Validator, Value, v

__all__ = [
    "BUILT_IN_INDEXES",
    "BY_CREATION_TIME",
    "BY_ID",
    "CATALOG_INDEX",
    "CRON_JOBS",
    "FIRST_USER_TABLE",
    "SCHEDULED_FUNCTIONS",
    "SYSTEM_TABLES",
    "Catalog",
    "Index",
    "Row",
    "Table",
    "is_private",
    "is_system",
]

BY_ID = "by_id"
BY_CREATION_TIME = "by_creation_time"
BUILT_IN_INDEXES = (BY_ID, BY_CREATION_TIME)
FIRST_USER_TABLE = 10001
SCHEDULED_FUNCTIONS = "_scheduled_functions"
CRON_JOBS = "_cron_jobs"

# The index of the tables themselves, by name and by number: what was read when a
# table was looked for and not there, and what is written when one comes to be.
CATALOG_INDEX = 0

_by_state = define_table(v.any()).index("by_state", ["state.kind", "scheduledTime"])

# Number and definition of the tables that every deployment has.
SYSTEM_TABLES = {
    SCHEDULED_FUNCTIONS: (1, _by_state.index("by_completion", ["completedTime"])),
    CRON_JOBS: (2, _by_state),
}


def is_system(table_name: str) -> bool:
    """Whether the table belongs to the deployment itself."""
    return table_name.startswith("_")


def is_private(table_name: str) -> bool:
    """Whether it is a system table that functions do not get to see."""
    return is_system(table_name) and table_name != SCHEDULED_FUNCTIONS


@dataclass(frozen=True)
class Index:
    """An index of a table; `id` is unique over all tables and never used again."""

    id: int
    name: str
    fields: tuple[str, ...]
    """Indexed fields, without `_creationTime` and `_id`. For `by_id`: empty."""

    def key(self, document: dict[str, Value], internal_id: bytes) -> bytes:
        """Where `document` stands in this index."""
        if self.name == BY_ID:
            return internal_id
        values = [field_at(document, name) for name in self.fields]
        return (
            encode_key(values) + encode_value(document["_creationTime"]) + internal_id
        )

    @property
    def range_fields(self) -> tuple[str, ...]:
        """The fields that a range may be set on, in order."""
        return ("_id",) if self.name == BY_ID else (*self.fields, "_creationTime")


@dataclass
class Table:
    """A table; `validator` is None when the schema does not mention it."""

    number: int
    name: str
    indexes: dict[str, Index] = field(default_factory=dict)
    validator: Validator | None = None

    @property
    def by_id(self) -> Index:
        return self.indexes[BY_ID]

    def entries(
        self, document: dict[str, Value], internal_id: bytes
    ) -> list[tuple[int, bytes]]:
        """Index id and key of `document`, for each index of this table."""
        return [
            (index.id, index.key(document, internal_id))
            for index in self.indexes.values()
        ]


class Row(NamedTuple):
    """A stored document: the number of its row, and its text."""

    number: int
    text: str


class Catalog:
    """All tables, by name and by number."""

    def __init__(self) -> None:
        self._by_name: dict[str, Table] = {}
        self._by_number: dict[int, Table] = {}

    def __iter__(self) -> Iterator[Table]:
        return iter(self._by_name.values())

    def named(self, name: str) -> Table | None:
        return self._by_name.get(name)

    def numbered(self, number: int) -> Table | None:
        return self._by_number.get(number)

    def table_of_id(self, text: str) -> str | None:
        """The name of the table that the id `text` belongs to; None if to none."""
        try:
            number, _ = decode_id(text)
        except ValueError:
            return None
        table = self.numbered(number)
        return None if table is None else table.name

    def add(self, table: Table) -> None:
        self._by_name[table.name] = table
        self._by_number[table.number] = table

    def remove(self, table: Table) -> None:
        """Forget `table`, whether or not it was added."""
        self._by_name.pop(table.name, None)
        self._by_number.pop(table.number, None)

    def next_number(self) -> int:
        return max([FIRST_USER_TABLE - 1, *self._by_number]) + 1
