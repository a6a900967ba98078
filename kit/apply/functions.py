"""The kit's functions in the repository's `convex/`: added, nothing replaced.

What is only used from inside goes into a folder of its own, so that no module of the
repository's is in its way. The modules that clients call keep their names, since these
are part of the contract; where the repository has a module of the same name, the kit's
goes into the folder too and its functions are exported from there.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath

from kit.apply.edits import add_import, edited, insert
from kit.apply.generated import update_generated
from kit.apply.packages import add_packages
from kit.apply.schema import merge_schema
from kit.apply.steps import Draft, StepNotes
from kit.deploy.project import SOURCE, modules
from kit.repo.functions import exported_names
from kit.repo.layout import Layout
from kit.repo.source import Source
from kit.repo.syntax import string_value, text, walk

__all__ = ["FOLDER", "bring_functions"]

FOLDER = "streamingKit"
_SPECIFIER = re.compile(r"""(?<=from ")\.[^"]*(?=")|(?<=import\(")\.[^"]*(?="\))""")
_SWEEP = """\
{crons}.interval(
  "look for replies whose producer died",
  {{ hours: 1 }},
  internal.streaming.sweep,
  {{}},
);

"""


def bring_functions(draft: Draft, layout: Layout, notes: StepNotes) -> None:
    """Add modules, tables, packages and their types."""
    functions = layout.functions
    notes.missing(*functions.missing)
    if notes.blocked:
        return
    what = "is there" if functions.exists else "is new"
    notes.found.append(f"{functions.folder}/ {what}.")
    public = [path.name for path in modules() if path.parent == SOURCE]
    public.remove("schema.ts")
    aside = {name for name in public if _is_theirs(draft, functions.file(name))}
    for path in modules():
        own = path.relative_to(SOURCE).as_posix()
        if own == "crons.ts" and own in aside:
            continue  # a schedule of theirs gets one more line
        content = _rewritten(path.read_text(encoding="utf-8"), own, aside)
        draft.bring(functions.file(_target(own, aside)), content, notes)
    for name in sorted(aside):
        if name == "crons.ts":
            _add_sweep(draft, functions.file(name), notes)
        else:
            _export(draft, functions.file(name), name.removesuffix(".ts"), notes)
    merge_schema(draft, functions.file("schema.ts"), FOLDER, notes)
    update_generated(draft, layout, notes)
    add_packages(draft, layout, notes)
    notes.todo.append(
        "Deploy them with `npx convex dev` or `npx convex deploy`, and set the models' "
        "keys there with `npx convex env set`."
    )
    notes.todo.append(
        f"Tools of your own do not run in Convex by themselves: add them to "
        f"{functions.file(f'{FOLDER}/tools.ts')}. A task has to be in Convex, with its "
        "Convex id as its taskId (`tasks:create`); one that is not is answered over "
        "Socket.IO in Option 1."
    )


def _is_theirs(draft: Draft, file: str) -> bool:
    """Whether a module of this name is the repository's, not one brought earlier."""
    source = draft.source(file)
    if source is None:
        return False
    name = PurePosixPath(file).name
    own = _rewritten((SOURCE / name).read_text(encoding="utf-8"), name, set())
    return source.text.replace("\r\n", "\n") != own


def _target(own: str, aside: set[str]) -> str:
    """Where a module of the kit's goes, below the functions' folder."""
    if own.startswith("lib/"):
        return f"{FOLDER}/{own.removeprefix('lib/')}"
    return f"{FOLDER}/{own}" if own == "schema.ts" or own in aside else own


def _rewritten(content: str, own: str, aside: set[str]) -> str:
    """The module with its imports for where it goes."""
    here = PurePosixPath(_target(own, aside)).parent

    def moved(match: re.Match[str]) -> str:
        named = os.path.normpath(PurePosixPath(own).parent / match[0])
        if named.startswith("_generated"):
            target = named
        else:
            target = _target(f"{named}.ts", aside).removesuffix(".ts")
        path = PurePosixPath(os.path.relpath(target, here)).as_posix()
        return path if path.startswith(".") else f"./{path}"

    return _SPECIFIER.sub(moved, content)


def _export(draft: Draft, file: str, name: str, notes: StepNotes) -> None:
    """Export the kit's functions from a module of theirs, if their names are free."""
    source = draft.source(file)
    assert source is not None
    if source.first_error is not None:
        notes.blocked.append(f"{source.first_error}: the file does not parse here.")
        return
    own = Source(name, (SOURCE / f"{name}.ts").read_bytes())
    wanted = exported_names(own)
    path = f"./{FOLDER}/{name}"
    from_us = {
        text(specifier.child_by_field_name("name"))
        for node in source.root.named_children
        if string_value(node.child_by_field_name("source")) == path
        for specifier in walk(node, "export_specifier")
    }
    taken = sorted((wanted & exported_names(source)) - from_us)
    if taken:
        notes.todo.append(
            f"{file} has functions of its own called {', '.join(taken)}: they are "
            f"left, and the kit's are in {PurePosixPath(file).parent}/{FOLDER}/"
            f"{name}.ts. Hooks and server call the kit's by these names: rename yours "
            "before you deploy."
        )
    free = sorted(wanted - set(taken) - from_us)
    if free:
        end = "" if source.body.endswith(b"\n") else "\n"
        line = f'{end}\nexport {{ {", ".join(free)} }} from "{path}";\n'
        draft.write(file, edited(source, [insert(len(source.body), line)]))


def _add_sweep(draft: Draft, file: str, notes: StepNotes) -> None:
    """Add the sweep for dead producers to their schedule."""
    source = draft.source(file)
    assert source is not None
    if "internal.streaming.sweep" in source.text:
        return
    for node in source.root.named_children:
        is_default = any(child.type == "default" for child in node.children)
        value = node.child_by_field_name("value")
        if node.type == "export_statement" and is_default and value is not None:
            if value.type != "identifier":
                break
            sweep = _SWEEP.format(crons=text(value))
            edits = [insert(node.start_byte, sweep)]
            if not re.search(r"import \{[^}]*\binternal\b", source.text):
                path = "./_generated/api"
                edits.append(add_import(source, "{ internal }", path))
            draft.write(file, edited(source, edits))
            return
    notes.todo.append(
        f"{file}: run `internal.streaming.sweep` with {{}} once an hour there."
    )
