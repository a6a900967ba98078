"""What is shown where no widget lives: HTML that needs nothing, and plain text.

Holds the static face of a transcript, for executed notebooks, reports and code hosts.
The HTML carries its style in `style` attributes: front ends remove scripts and style
sheets from a notebook that is not trusted. Colours are readable on a light and on a
dark page: the text has the page's own, code has a light ground in both.

Headings of replies are no heading elements: they would become entries of the notebook's
table of contents, which front ends then look up one by one.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from kit.widget.highlight import highlight_code
from kit.widget.shown import ShownPart
from kit.widget.transcript import ShownMessage

__all__ = ["FACE_LIMIT", "Face", "code_to_html", "to_html", "to_text"]

FACE_LIMIT = 250_000
"""Characters of a face that is kept in a notebook: code hosts show no large files."""

_LINE = "1px solid rgba(128,128,128,0.35)"
_BOX = "border-radius:6px;padding:4px 12px;margin:8px 0"
_PLAIN = (
    "white-space:pre-wrap;overflow-wrap:break-word;margin:4px 0;padding:0;border:none;"
    "background:transparent"
)
# What a front end has cleaned keeps plain values only: no `inherit`, no variables.
_CODE_TEXT = "background:transparent;color:#1f2328"
_STYLES = {
    "kit-chat": f"border:{_LINE};border-radius:8px;padding:8px 16px;max-width:960px;"
    "overflow-wrap:break-word;flex:1 1 360px;min-width:0",
    "kit-sides": "display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start",
    "kit-head": f"border-bottom:{_LINE};padding:4px 0 8px 0;margin:0 0 8px 0",
    "kit-message": "margin:0 0 16px 0",
    "kit-role": "font-weight:bold;margin:0 0 4px 0",
    "kit-said": f"border:{_LINE};border-radius:8px;padding:4px 12px",
    "kit-dim": "opacity:0.75;font-size:90%;font-weight:normal",
    "kit-card": f"border:{_LINE};{_BOX}",
    "kit-error": f"border:1px solid #cf222e;border-left:4px solid #cf222e;{_BOX}",
    "kit-plain": _PLAIN,
    "kit-words": f"{_PLAIN};font-family:sans-serif",
    "kit-note": "opacity:0.75;font-size:90%;margin:4px 0",
    "kit-image": "opacity:0.75",
    "kit-table": "overflow-x:auto;margin:8px 0",
    "kit-code": "background:#f6f8fa;color:#1f2328;border:1px solid #d0d7de;"
    "border-radius:6px;padding:8px 12px;margin:8px 0;overflow-x:auto",
    "kit-bar": "color:#57606a;font-size:85%",
    "kit-c": "color:#57606a",
    "kit-k": "color:#cf222e",
    "kit-s": "color:#0a3069",
    "kit-m": "color:#0550ae",
    "kit-f": "color:#8250df",
    "kit-b": "color:#953800",
    "kit-ins": "color:#116329",
    "kit-del": "color:#82071e",
}
_CLASS = re.compile(r' class="([a-z-]+)"')
_PLAIN_TAGS = {
    "<pre><code>": f'<pre style="margin:0;padding:0;border:none;{_CODE_TEXT}">'
    f'<code style="{_CODE_TEXT}">',
    "<table>": '<table border="1" cellpadding="4" style="border-collapse:collapse">',
}

_HEADING = re.compile(r"<(/?)h([1-6])>")
_HEADING_SIZES = {"1": 140, "2": 125, "3": 110}

_CALL_STATES = {
    "writing": "arguments incomplete",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "invalid": "arguments refused",
    "unanswered": "no result",
}


@dataclass(frozen=True, slots=True)
class Face:
    """A chat as it is to be shown."""

    title: str
    status: str
    messages: list[ShownMessage]


def to_html(faces: Sequence[Face], *, limit: int | None = None) -> str:
    """One self-contained element: no script, no style sheet, nothing to be loaded.

    With a `limit`, in characters, a long message is cut and the newest messages that
    fit are shown; it says what is left out.
    """
    page = "".join(_face_html(face, limit) for face in faces)
    if len(faces) > 1:
        page = f'<div class="kit-sides">{page}</div>'
    return _styled(page)


def code_to_html(code: str, language: str) -> str:
    """A block of code with the same colours, readable on light and dark pages."""
    highlighted = highlight_code(code, language)
    return _styled(f'<div class="kit-code"><pre><code>{highlighted}</code></pre></div>')


def _styled(page: str) -> str:
    """The style of each class in its elements.

    All markup here and in what was rendered is ours: text has its quotes escaped.
    """
    for plain, styled in _PLAIN_TAGS.items():
        page = page.replace(plain, styled)
    page = _HEADING.sub(_plain_heading, page)
    return _CLASS.sub(lambda found: f' style="{_STYLES[found[1]]}"', page)


def _face_html(face: Face, limit: int | None) -> str:
    heading = f"<strong>{html.escape(face.title)}</strong> " if face.title else ""
    shown = _newest([_message_html(each, limit) for each in face.messages], limit)
    body = "".join(shown) or '<p class="kit-dim">No messages yet.</p>'
    if left_out := len(face.messages) - len(shown):
        body = f'<p class="kit-dim">{_left_out(left_out)}</p>{body}'
    return (
        f'<div class="kit-chat"><div class="kit-head">{heading}'
        f'<span class="kit-dim">{html.escape(face.status)}</span></div>{body}</div>'
    )


def _newest(messages: list[str], limit: int | None) -> list[str]:
    """The last ones of `messages` that fit, and the last one in any case."""
    shown: list[str] = []
    size = 0
    for message in reversed(messages):
        size += len(message)
        if shown and limit is not None and size > limit:
            break
        shown.append(message)
    return shown[::-1]


def _left_out(count: int) -> str:
    what = "One earlier message is" if count == 1 else f"{count:,} earlier messages are"
    return f"{what} not shown here."


def _plain_heading(found: re.Match[str]) -> str:
    if found[1]:
        return "</p>"
    size = _HEADING_SIZES.get(found[2], 100)
    style = f"font-weight:bold;font-size:{size}%;margin:14px 0 6px 0"
    return f'<p role="heading" aria-level="{found[2]}" style="{style}">'


def _message_html(message: ShownMessage, limit: int | None) -> str:
    role = message.attributes["role"]
    model = message.attributes.get("model", "")
    detail = f' <span class="kit-dim">{html.escape(model)}</span>' if model else ""
    if role == "assistant" and message.attributes["status"] in ("stopped", "failed"):
        detail += f' <span class="kit-dim">({message.attributes["status"]})</span>'
    parts = "".join(_part_html(part, limit) for part in message.parts.values())
    if role == "user":
        parts = f'<div class="kit-said">{_in_words(parts)}</div>'
    return (
        f'<div class="kit-message"><div class="kit-role">{html.escape(role)}{detail}'
        f"</div>{parts}</div>"
    )


def _body(part: ShownPart, limit: int | None) -> str:
    """The blocks of a part, as many as fit; of one that does not, the beginning."""
    blocks = part.blocks()
    if limit is None:
        return "".join(blocks)
    shown: list[str] = []
    for block in blocks:
        limit -= len(block)
        if limit < 0:
            break
        shown.append(block)
    if more := len(blocks) - len(shown):
        if not shown:
            start = html.escape(part.text[: limit + len(blocks[0])])
            shown.append(f'<pre class="kit-plain">{start}…</pre>')
        what = "The rest is" if more == 1 else f"{more:,} more blocks are"
        shown.append(f'<p class="kit-note">{what} not shown here.</p>')
    return "".join(shown)


def _part_html(part: ShownPart, limit: int | None) -> str:
    attributes = part.attributes
    body = _body(part, limit)
    match attributes["type"]:
        case "reasoning":
            label = f"Reasoning{_seconds(part)}"
            return _folded("kit-card", f"<em>{label}</em>", body)
        case "redacted-reasoning":
            return '<p class="kit-dim">Reasoning withheld by the provider.</p>'
        case "tool-call":
            state = _CALL_STATES[attributes["state"]] + _seconds(part)
            name = f"<strong>{html.escape(attributes['tool'])}</strong>"
            if error := attributes.get("error"):
                body += f"<p>{html.escape(error)}</p>"
            return _folded("kit-card", f"Tool {name} · {state}", body)
        case "tool-result":
            label = "Error from" if attributes["isError"] else "Result of"
            name = html.escape(attributes["tool"])
            css_class = "kit-error" if attributes["isError"] else "kit-card"
            return _folded(css_class, f"{label} <strong>{name}</strong>", body)
        case "error":
            words = _in_words(body)
            return f'<div class="kit-error"><strong>Error</strong>{words}</div>'
        case _:
            return body


def _in_words(body: str) -> str:
    """Plain text in the letters of prose; that of tools keeps those of code."""
    return body.replace('class="kit-plain"', 'class="kit-words"')


def _folded(css_class: str, summary: str, body: str) -> str:
    return f'<details class="{css_class}"><summary>{summary}</summary>{body}</details>'


def _seconds(part: ShownPart) -> str:
    seconds = part.attributes.get("seconds")
    return f" · {seconds:.1f} s" if seconds is not None else ""


def to_text(faces: Sequence[Face], *, limit: int | None = None) -> str:
    """The same in plain text; replies stay Markdown."""
    return "\n\n".join(_face_text(face, limit) for face in faces)


def _face_text(face: Face, limit: int | None) -> str:
    shown = _newest([_message_text(each, limit) for each in face.messages], limit)
    lines = [f"{face.title} [{face.status}]" if face.title else f"[{face.status}]"]
    if left_out := len(face.messages) - len(shown):
        lines += ["", _left_out(left_out)]
    return "\n".join([*lines, *shown])


def _message_text(message: ShownMessage, limit: int | None) -> str:
    texts = [_part_text(part) for part in message.parts.values()]
    said = "\n".join(["", f"{message.attributes['role']}:", *texts])
    if limit is None or len(said) <= limit:
        return said
    return f"{said[:limit]}\n({len(said) - limit:,} more characters.)"


def _part_text(part: ShownPart) -> str:
    attributes = part.attributes
    match attributes["type"]:
        case "reasoning":
            return f"(reasoning) {part.text}"
        case "redacted-reasoning":
            return "(reasoning withheld by the provider)"
        case "tool-call":
            return f"(tool {attributes['tool']}) {part.text}"
        case "tool-result":
            kind = "error" if attributes["isError"] else "result"
            return f"({kind} of {attributes['tool']}) {part.text}"
        case "error":
            return f"(error) {part.text}"
        case _:
            return part.text
