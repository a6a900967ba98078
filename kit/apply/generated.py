"""`convex/_generated`: what Convex's codegen would write for the modules there are now.

Its own codegen writes it again; until then, the type checker knows the new modules.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from kit.apply.steps import Draft, StepNotes
from kit.deploy.project import SOURCE
from kit.repo.layout import Layout

__all__ = ["update_generated"]

_IMPORTS = re.compile(r'(?:^import type \* as \w+ from "\.\./[^"]*";\n)+', re.MULTILINE)
_MODULES = re.compile(r"(?<=ApiFromModules<\{\n)(?:  .*\n)*(?=\}>)")
_NOT_MODULES = ("schema.ts", "auth.config.ts", "convex.config.ts")


def update_generated(draft: Draft, layout: Layout, notes: StepNotes) -> None:
    """Name all modules in `api.d.ts`; make the folder where there is none."""
    folder = layout.functions.file("_generated")
    api = f"{folder}/api.d.ts"
    source = draft.source(api)
    if source is None:
        for path in sorted((SOURCE / "_generated").iterdir()):
            if path.is_file() and path.name != "api.d.ts":
                draft.bring(
                    f"{folder}/{path.name}", path.read_text(encoding="utf-8"), notes
                )
        current = (SOURCE / "_generated" / "api.d.ts").read_text(encoding="utf-8")
    else:
        current = source.text.replace("\r\n", "\n")
    if not _IMPORTS.search(current) or not _MODULES.search(current):
        notes.todo.append(f"{api} is of another form: run `npx convex codegen`.")
        return
    names = _modules(draft, layout)
    imports = "".join(
        f'import type * as {_identifier(name)} from "../{name}.js";\n' for name in names
    )
    listed = "".join(f"  {_key(name)}: typeof {_identifier(name)};\n" for name in names)
    changed = _IMPORTS.sub(lambda _: imports, current, count=1)
    changed = _MODULES.sub(lambda _: listed, changed, count=1)
    if changed != current or source is None:
        newline = "\n" if source is None else source.newline
        bom = b"" if source is None else source.bom
        data = bom + changed.replace("\n", newline).encode()
        draft.write(api, data, theirs=source is None)


def _modules(draft: Draft, layout: Layout) -> list[str]:
    folder = PurePosixPath(layout.functions.folder)
    found = []
    for file in draft.files():
        path = PurePosixPath(file)
        if not path.is_relative_to(folder) or path.suffix not in (".ts", ".tsx", ".js"):
            continue
        own = path.relative_to(folder)
        if (
            "." not in own.stem
            and own.parts[0] not in ("_generated", "node_modules")
            and str(own) not in _NOT_MODULES
            and draft.data(file) is not None
        ):
            found.append(str(own.with_suffix("")))
    return sorted(found)


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _key(name: str) -> str:
    return name if re.fullmatch(r"\w+", name) else f'"{name}"'
