"""Tables in a schema that is there: added, completed, or left with a word about it."""

from pathlib import Path

import pytest
from repositories import apply_plan, copy_monorepo, write
from typescript import install_packages

from kit.apply import make_plan
from kit.apply.schema import merge_schema
from kit.apply.steps import Draft, StepNotes
from kit.apply.types import check_types
from kit.repo import Settings, locate, open_repository
from kit.repo.functions import read_schema
from kit.repo.source import Source

FILE = "convex/schema.ts"
HEAD = """\
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";

"""


def merge(root: Path, schema: str) -> tuple[str, StepNotes]:
    """The schema after, and what is said of it."""
    write(root, {FILE: schema})
    draft = Draft(open_repository(root, env={"PATH": ""}))
    notes = StepNotes()
    merge_schema(draft, FILE, "streamingKit", notes)
    source = draft.source(FILE)
    assert source is not None
    assert source.first_error is None
    return source.text, notes


def tables(text: str) -> dict[str, str]:
    schema = read_schema(Source(FILE, text.encode()))
    body = text.encode()
    return {
        name: body[place.start : place.end].decode()
        for name, place in schema.tables.items()
    }


STATUS = (
    'v.union(v.literal("INITIALIZING"), v.literal("RUNNING"), v.literal("COMPLETED"), '
    'v.literal("STOPPED"), v.literal("FAILED"))'
)


@pytest.mark.parametrize(
    "inside",
    ["", "\n", "notes: defineTable({ a: v.string() })", "\n  notes,\n  ...others,\n"],
    ids=["empty", "blank", "no comma", "elsewhere"],
)
def test_tables_that_are_not_there_are_added(tmp_path: Path, inside: str) -> None:
    text, notes = merge(tmp_path, f"{HEAD}export default defineSchema({{{inside}}});\n")
    assert "chatMessages: streamingSchema.tables.chatMessages,\n" in text
    assert 'import streamingSchema from "./streamingKit/schema";' in text
    assert inside.strip() in text
    assert notes.todo == []


def test_a_table_of_both_gets_what_it_lacks_and_loses_nothing(tmp_path: Path) -> None:
    own = f"""{HEAD}export default defineSchema({{
  tasks: defineTable({{
    title: v.string(), // what it is about
    status: {STATUS},
    color: v.optional(v.string()),
  }}).index("by_color", ["color"]),
}});
"""
    text, notes = merge(tmp_path, own)
    assert notes.todo == []
    table = tables(text)["tasks"]
    for kept in ("title: v.string(), // what it is about", "color:", '"by_color"'):
        assert kept in table
    added = "ownerId: streamingSchema.tables.tasks.validator.fields.ownerId,\n"
    assert added in table
    assert '.index("by_ownerId", ["ownerId"])' in table
    assert merge(tmp_path, text)[0] == text


def test_constants_of_the_module_are_looked_through(tmp_path: Path) -> None:
    own = f"""{HEAD}const status = v.union(
  v.literal("INITIALIZING"),
  v.literal("RUNNING"),
  v.literal("COMPLETED"),
  v.literal('STOPPED'),
  v.literal("FAILED"),
);
const fields = {{ title: v.string(), status }};
const taskFields = {{ title: v.string(), status: status, errorMessage: v.optional(
  v.string(),
), ownerId: v.optional(v.string()) }};
export default defineSchema({{ tasks: defineTable(taskFields) }});
"""
    text, notes = merge(tmp_path, own)
    assert notes.todo == []
    assert 'defineTable(taskFields)\n.index("by_ownerId", ["ownerId"])' in text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (f"title: v.number(), status: {STATUS}", "`title` is v.number()"),
        (
            f"title: v.string(), status: {STATUS}, team: v.string()",
            "`team` is required",
        ),
        ("title: v.string()", "`status` is missing"),
        ("title: v.string(), ...more", "cannot be read"),
    ],
)
def test_a_clash_is_reported_and_left(tmp_path: Path, fields: str, said: str) -> None:
    own = (
        f"{HEAD}export default defineSchema({{\n  tasks: defineTable({{ {fields} }}),\n"
    )
    text, notes = merge(tmp_path, f"{own}}});\n")
    assert f"{FILE}:5" in notes.todo[0]
    assert said in notes.todo[0]
    assert fields in text
    assert "chatMessages: streamingSchema" in text


def test_another_index_of_the_same_name_is_a_clash(tmp_path: Path) -> None:
    own = f"""{HEAD}export default defineSchema({{
  tasks: defineTable({{ title: v.string(), status: {STATUS} }})
    .index("by_ownerId", ["title"]),
}});
"""
    text, notes = merge(tmp_path, own)
    assert "the index `by_ownerId` has" in notes.todo[0]
    assert text.count("by_ownerId") == 1


def test_a_schema_that_cannot_be_read_is_left(tmp_path: Path) -> None:
    own = "import tables from './tables';\nexport default make(tables);\n"
    text, notes = merge(tmp_path, own)
    assert text == own
    assert "...streamingSchema.tables" in notes.todo[0]


def test_a_repository_without_a_schema_gets_the_kits(tmp_path: Path) -> None:
    write(tmp_path, {"a.ts": ""})
    draft = Draft(open_repository(tmp_path, env={"PATH": ""}))
    merge_schema(draft, FILE, "streamingKit", StepNotes())
    assert draft.data(FILE) == b'export { default } from "./streamingKit/schema";\n'


@pytest.mark.timeout(300)
def test_a_completed_table_fits_the_functions(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    install_packages(root)
    write(
        root,
        {
            FILE: f"""{HEAD}export default defineSchema({{
  notes: defineTable({{ author: v.string(), body: v.string() }}).index("by_author", [
    "author",
  ]),
  tasks: defineTable({{
    title: v.string(),
    status: {STATUS},
    color: v.optional(v.string()),
  }}),
}});
"""
        },
    )
    layout = locate(open_repository(root, env={"PATH": ""}), Settings())
    apply_plan(make_plan(layout, 1))
    found = check_types(root, [root])
    # `tasks:get` returns what the kit's table has, so a field more is a type error.
    assert [error for error in found.errors if "color" not in error] == []
