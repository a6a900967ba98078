"""Edits of a file: line ends, indents and all that is not meant stay."""

import pytest

from kit.apply.edits import (
    add_import,
    edited,
    import_path,
    indent_unit,
    insert,
    prune_imports,
    removal,
)
from kit.repo.source import BOM, Source


def source(text: str, file: str = "apps/server/src/a.ts") -> Source:
    return Source(file, text.encode())


def test_an_edit_has_the_files_line_ends_and_keeps_a_bom() -> None:
    file = Source("a.ts", BOM + "ä();\r\nb();\r\n".encode())
    after = edited(file, [insert(file.body.index(b"b"), "new();\nmore();\n")])
    assert after == BOM + "ä();\r\nnew();\r\nmore();\r\nb();\r\n".encode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a();\nb();\nc();\n", "a();\nc();\n"),
        ("a();\n\nb();\n\nc();\n", "a();\n\nc();\n"),
        ("a();\n// of b\nb();\nc();\n", "a();\nc();\n"),
        ("a(); // of a\nb();\nc();\n", "a(); // of a\nc();\n"),
        ("a();\n// apart\n\nb();\n", "a();\n// apart\n\n"),
        ("a(); b(); c();\n", "a();  c();\n"),
        ("a();\nb();", "a();\n"),
        ("a();\r\n\r\nb();\r\n\r\nc();\r\n", "a();\r\n\r\nc();\r\n"),
    ],
)
def test_a_statement_goes_with_its_line(before: str, after: str) -> None:
    file = source(before)
    node = next(n for n in file.root.named_children if n.text == b"b();")
    edit = removal(file, node, with_comment=True)
    assert edited(file, [edit]).decode() == after


@pytest.mark.parametrize(
    ("imports", "left"),
    [
        ('import { a, b } from "x";', 'import { b } from "x";'),
        ('import { b, a } from "x";', 'import { b } from "x";'),
        ('import { a, b, c } from "x";', 'import { b } from "x";'),
        ('import { c, a, b } from "x";', 'import { b } from "x";'),
        ('import { b, a, c } from "x";', 'import { b } from "x";'),
        ('import { a, c } from "x";', ""),
        ('import a from "x";', ""),
        ('import type { a } from "x";', ""),
        ('import { z as a, type b } from "x";', 'import { type b } from "x";'),
        ('import {\n  a,\n  b,\n  c,\n} from "x";', 'import {\n  b,\n} from "x";'),
        ('import * as a from "x";', 'import * as a from "x";'),
        ('import "x";', 'import "x";'),
        ('import { never } from "x";', 'import { never } from "x";'),
    ],
)
def test_imports_that_are_no_longer_used_go(imports: str, left: str) -> None:
    before = source(f"{imports}\nuse(a, b, c);\n")
    after = source(f"{imports}\nuse(b);\n")
    found = prune_imports(before, after).decode()
    rest = f"{left}\n" if left else ""
    assert found == f"{rest}use(b);\n"


ADDED = 'import { x } from "y";'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('import "a";\nb();\n', f'import "a";\n{ADDED}\nb();\n'),
        ("import 'a';\nb();\n", "import 'a';\nimport { x } from 'y';\nb();\n"),
        ('"use client";\n\nb();\n', f'"use client";\n\n{ADDED}\n\nb();\n'),
        ("// Why\nb();\n", f"// Why\n{ADDED}\n\nb();\n"),
        ("", f"{ADDED}\n"),
    ],
)
def test_an_import_is_added_after_the_others(before: str, after: str) -> None:
    file = source(before)
    assert edited(file, [add_import(file, "{ x }", "y")]).decode() == after


@pytest.mark.parametrize(
    ("text", "target", "path"),
    [
        ("", "apps/server/src/b.ts", "./b"),
        ("", "convex/_generated/api", "../../../convex/_generated/api"),
        ("", "apps/server/lib/c.d.ts", "../lib/c"),
        ('import "./x.js";', "apps/server/src/b.tsx", "./b.js"),
        ('import x from "package.js";', "apps/server/src/b.tsx", "./b"),
    ],
)
def test_a_module_is_named_as_the_others_are(text: str, target: str, path: str) -> None:
    assert import_path(source(text), target) == path


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("a {\n  b {\n    c\n", "  "),
        ("a {\n    b {\n        c\n", "    "),
        ("a {\n\tb\n", "\t"),
        ("/**\n * a\n */\nb\n", "  "),
    ],
)
def test_the_indent_is_the_files(text: str, unit: str) -> None:
    assert indent_unit(source(text)) == unit
