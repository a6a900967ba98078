from typing import Any

import pytest

from kit.deployment.schema import Schema, define_schema, define_table
from kit.values import v

any_table: Any = define_table  # what the type checker would refuse
any_schema: Any = define_schema


def test_a_schema_holds_tables_with_indexes() -> None:
    table = (
        define_table({"a": v.string(), "b": v.object({"c": v.number()})})
        .index("by_a", ["a"])
        .index("by_c_a", ["b.c", "a"])
    )
    schema = define_schema({"things": table})
    assert schema.tables["things"].indexes["by_c_a"].fields == ("b.c", "a")
    assert list(table.indexes) == ["by_a", "by_c_a"]


def test_a_table_may_hold_a_union_of_objects_or_anything() -> None:
    rule = v.union(v.object({"a": v.string()}), v.object({"b": v.string()}))
    assert define_table(rule).index("by_b", ["b"]).validator is rule
    define_table(v.any()).index("by_x", ["x.y.z"])
    define_table({"r": v.record(v.string(), v.number())}).index("by_r", ["r.x"])
    define_table({"o": v.optional(v.any())}).index("by_o", ["o.x"])


table = define_table({"a": v.string()})


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: table.index("_x", ["a"]), "Index name '_x' is reserved"),
        (lambda: table.index("by_id", ["a"]), "Index name 'by_id' is reserved"),
        (lambda: table.index("by x", ["a"]), "cannot be the name of an index"),
        (lambda: table.index("x", []), "at least one field"),
        (lambda: table.index("x", "a"), "a list of at least one field"),
        (lambda: table.index("x", ["a", "a"]), "has a field twice"),
        (lambda: table.index("x", ["_creationTime"]), "ends in _creationTime"),
        (lambda: table.index("x", ["a b"]), "has an invalid field: 'a b'"),
        (lambda: table.index("x", ["b"]), "no document of this table can have it"),
        (lambda: table.index("x", ["a.b"]), "no document of this table can have it"),
        (lambda: table.index("x", ["a"]).index("x", ["a"]), "is defined twice"),
        (lambda: table.index("x", [f"f{n}" for n in range(17)]), "more than 16 fields"),
        (lambda: any_table({"_id": v.string()}), "starts with an underscore"),
        (lambda: any_table({"a": str}), "use a validator"),
        (lambda: any_table(v.string()), "A table holds objects: v.string()"),
        (lambda: any_schema({"a b": table}), "cannot be the name of a table"),
        (lambda: any_schema({"_a": table}), "reserved for system tables"),
        (lambda: any_schema({"a": {}}), "use define_table(...)"),
    ],
)
def test_what_cannot_be_is_refused_at_once(make: Any, problem: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert problem in str(error.value)


def test_a_table_takes_32_indexes() -> None:
    full = define_table(v.any())
    for number in range(32):
        full = full.index(f"i{number}", ["a"])
    with pytest.raises(ValueError, match="more than 32 indexes"):
        full.index("one_more", ["a"])


def test_a_schema_may_be_empty() -> None:
    assert Schema().tables == {}
