"""The guide's flag and URL in the frontend's settings file.

Of the file, only these two lines are shown, written down or changed: the others may
hold secrets.
"""

from __future__ import annotations

import re

from kit.apply.steps import Draft, StepNotes
from kit.repo.frontend import FLAG, URL, env_value
from kit.repo.layout import Layout

__all__ = ["set_flag"]


def set_flag(draft: Draft, layout: Layout, notes: StepNotes, url: str | None) -> None:
    """Turn the flag on. It stays off while nobody knows the deployment's URL."""
    frontend = layout.frontend
    if frontend is None:
        return
    file = frontend.env_file
    source = draft.source(file)
    if source is None and draft.is_taken(file):
        notes.blocked.append(f"{file} cannot be read. See what is at that path.")
        return
    body = "" if source is None else source.text
    url = env_value(body, URL) or url
    notes.found.append(f"{file}: {_said(body)}.")
    if not url:
        notes.todo.append(
            f"{URL} is not set in {file}, so the flag stays off. Apply again with "
            "--deployment-url URL, the one that `npx convex dev` prints."
        )
        notes.is_open = True
        return
    newline = "\n" if source is None else source.newline
    for key, value in ((FLAG, "true"), (URL, url)):
        if env_value(body, key) != value:
            body = _with(body, key, value, newline)
    bom = b"" if source is None else source.bom
    # No context: neighbouring lines of a settings file may be keys.
    draft.write(file, bom + body.encode(), context=0)
    notes.todo.append("Restart the frontend: it reads the flag when it starts.")


def _said(body: str) -> str:
    flag, url = env_value(body, FLAG), env_value(body, URL)
    return f"{FLAG} is {flag or 'not set'}, {URL} is {'set' if url else 'not set'}"


def _with(body: str, key: str, value: str, newline: str) -> str:
    """The file with a variable set: its last line changed, or one more at the end."""
    line = f"{key}={value}"
    found = list(
        re.finditer(
            rf"^[ \t]*(?:export[ \t]+)?{key}[ \t]*=[^\r\n]*", body, re.MULTILINE
        )
    )
    if found:
        last = found[-1]
        return body[: last.start()] + line + body[last.end() :]
    if body and not body.endswith("\n"):
        body += newline
    return body + line + newline
