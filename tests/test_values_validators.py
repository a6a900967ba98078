from typing import Any

import pytest

from kit.values import ConvexInt64, ValidationFailed, Validator, is_identifier, v

TABLES = {"m1": "messages", "u1": "users", "s1": "_scheduled_functions"}


def problem_of(validator: Validator, value: Any) -> str:
    with pytest.raises(ValidationFailed) as error:
        validator.check(value, TABLES.get)
    return str(error.value)


MESSAGE = v.object({"author": v.string(), "body": v.string()})


def test_a_missing_field_reads_as_convex_says_it() -> None:
    assert problem_of(MESSAGE, {"author": "me"}) == (
        "Object is missing the required field `body`. Consider wrapping the field "
        "validator in `v.optional(...)` if this is expected.\n"
        "\n"
        'Object: {author: "me"}\n'
        "Validator: v.object({author: v.string(), body: v.string()})"
    )


def test_an_extra_field_reads_as_convex_says_it() -> None:
    assert problem_of(v.object({"body": v.string()}), {"body": "x", "foo": 1}) == (
        "Object contains extra field `foo` that is not in the validator.\n"
        "\n"
        'Object: {body: "x", foo: 1.0}\n'
        "Validator: v.object({body: v.string()})"
    )


def test_a_mismatch_reads_as_convex_says_it() -> None:
    assert problem_of(v.object({"body": v.string()}), {"body": 123}) == (
        "Value does not match validator.\n"
        "Path: .body\n"
        "Value: 123.0\n"
        "Validator: v.string()"
    )


def test_known_fields_are_checked_in_order_before_extra_ones() -> None:
    text = problem_of(MESSAGE, {"zzz": 1, "body": 2, "author": 3})
    assert "Path: .author" in text


def test_the_path_leads_through_arrays_records_and_objects() -> None:
    rule = v.object({"a": v.array(v.object({"b": v.record(v.string(), v.null())}))})
    text = problem_of(rule, {"a": [{"b": {}}, {"b": {"x": 1}}]})
    assert "\nPath: .a[1].b.values()\n" in text
    keys = v.record(v.id("users"), v.any())
    assert "\nPath: .keys()\n" in problem_of(keys, {"not an id": 1})


def test_an_id_of_another_table_is_named() -> None:
    rule = v.object({"id": v.id("messages")})
    assert problem_of(rule, {"id": "u1"}) == (
        'Found ID "u1" from table `users`, which does not match the table name in '
        'validator `v.id("messages")`.Path: .id'
    )
    assert problem_of(v.id("messages"), "s1") == (
        'Found ID "s1" from a system table, which does not match the table name in '
        'validator `v.id("messages")`.'
    )
    assert problem_of(v.id("messages"), "zz") == (
        'Value does not match validator.\n\nValue: "zz"\nValidator: v.id("messages")'
    )


def test_a_literal_is_told_in_one_line() -> None:
    assert problem_of(v.literal("y"), "x") == (
        '`"x"` does not match literal validator `v.literal("y")`.'
    )


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        (1, True),
        (True, 1),
        (1, ConvexInt64(1)),
        (0.0, -0.0),
        ("1", 1),
        (ConvexInt64(1), ConvexInt64(2)),
    ],
)
def test_literals_tell_types_and_zeros_apart(literal: Any, value: Any) -> None:
    assert "does not match literal validator" in problem_of(v.literal(literal), value)
    v.literal(literal).check(literal)


def test_a_union_of_one_reports_its_members_problem_a_larger_one_its_own() -> None:
    assert "required field `author`" in problem_of(v.union(MESSAGE), {})
    text = problem_of(v.union(MESSAGE, v.null()), {})
    assert text.startswith("Value does not match validator.\n")
    assert (
        "Validator: v.union(v.object({author: v.string(), body: v.string()}), v" in text
    )


@pytest.mark.parametrize(
    ("validator", "good", "bad"),
    [
        (v.string(), "a", 1),
        (v.number(), 1, True),
        (v.float64(), 1.5, ConvexInt64(1)),
        (v.int64(), ConvexInt64(1), 1.0),
        (v.bigint(), ConvexInt64(1), 1),
        (v.boolean(), False, 0),
        (v.null(), None, False),
        (v.bytes(), b"", ""),
        (v.array(v.number()), [1, 2.0], {}),
        (v.record(v.string(), v.number()), {"a": 1}, []),
        (v.object({"a": v.optional(v.number())}), {}, {"a": None}),
        (v.object({}), {}, None),
        (v.union(v.string(), v.null()), None, 1),
        (v.id("users"), "u1", 5),
    ],
)
def test_each_validator_takes_its_type_only(
    validator: Validator, good: Any, bad: Any
) -> None:
    validator.check(good, TABLES.get)
    problem_of(validator, bad)


def test_nullable_is_the_union_with_null() -> None:
    assert str(v.nullable(v.string())) == "v.union(v.string(), v.null())"
    v.nullable(v.string()).check(None)
    v.nullable(v.string()).check("x")
    with pytest.raises(ValidationFailed):
        v.nullable(v.string()).check(5.0)


def test_any_takes_everything() -> None:
    v.any().check({"a": [None]})


def test_without_tables_any_string_passes_as_an_id() -> None:
    v.id("users").check("whatever")


def test_validators_render_as_they_are_written() -> None:
    rule = v.object(
        {
            "z": v.optional(v.number()),
            "a": v.union(v.literal("x"), v.literal(1), v.literal(True)),
            "b": v.record(v.id("t"), v.array(v.bytes())),
            "c": v.bigint(),
            "d": v.literal(ConvexInt64(1)),
            "e": v.boolean(),
            "f": v.null(),
            "g": v.any(),
        }
    )
    assert str(rule) == (
        'v.object({a: v.union(v.literal("x"), v.literal(1.0), v.literal(true)), '
        'b: v.record(v.id("t"), v.array(v.bytes())), c: v.int64(), '
        "d: v.literal(<bigint>), e: v.boolean(), f: v.null(), g: v.any(), "
        "z: v.optional(v.float64())})"
    )


any_v: Any = v  # what the type checker would refuse


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (
            lambda: any_v.object({"a b": v.string()}),
            "cannot be a field of v.object",
        ),
        (lambda: any_v.object({"a": str}), "use a validator such as v.string()"),
        (
            lambda: any_v.array(v.optional(v.string())),
            "v.optional cannot be used in",
        ),
        (lambda: any_v.union(str), "v.union needs a validator"),
        (lambda: any_v.id(""), "v.id needs the name of a table"),
        (lambda: any_v.literal(None), "v.literal needs a string, number"),
    ],
)
def test_a_validator_that_cannot_be_is_refused_at_once(make: Any, problem: str) -> None:
    with pytest.raises((TypeError, ValueError)) as error:
        make()
    assert problem in str(error.value)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("a", True),
        ("_a1", True),
        ("1a", False),
        ("__", False),
        ("a" * 65, False),
        ("a-b", False),
        ("", False),
        ("é", False),
        ("a\n", False),
    ],
)
def test_identifiers(name: str, is_one: bool) -> None:
    assert is_identifier(name) is is_one
