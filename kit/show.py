"""What a notebook shows beside tables: source and diffs, highlighted; pictures.

With the name of a step of the guide, a source or diff also stands at that step in the
report: the output carries it as `application/vnd.kit.change+json`. Pictures come
together in one place there: `application/vnd.kit.exhibit+json`.
"""

from __future__ import annotations

import base64
import difflib
import html
import inspect
import textwrap
from typing import Any, Literal

from kit.guide import known_step
from kit.widget.static import code_to_html

__all__ = [
    "CHANGE_MIME",
    "EXHIBIT_MIME",
    "Picture",
    "Shown",
    "show_diff",
    "show_source",
    "show_source_diff",
]

CHANGE_MIME = "application/vnd.kit.change+json"
EXHIBIT_MIME = "application/vnd.kit.exhibit+json"

Language = Literal["python", "diff"]


class Shown:
    """Highlighted text, of a step of the guide if `step` names one."""

    def __init__(self, text: str, language: Language, step: str | None) -> None:
        self.text = text
        self.language = language
        self.step = None if step is None else known_step(step)

    @property
    def html(self) -> str:
        return code_to_html(self.text, self.language)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": self.text, "text/html": self.html}
        if self.step is not None:
            bundle[CHANGE_MIME] = {
                "step": self.step,
                "language": self.language,
                "text": self.text,
            }
        return bundle


class Picture:
    """An SVG drawing and what it shows, in a sentence. Needs nothing from outside.

    Shown as an image: JupyterLab takes bare SVG out of notebooks that it does not
    trust, and an executed one is not trusted.
    """

    def __init__(self, svg: str, caption: str) -> None:
        self.svg = svg
        self.caption = caption

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        source = base64.b64encode(self.svg.encode()).decode()
        return {
            "text/html": f'<img alt="{html.escape(self.caption)}" '
            f'src="data:image/svg+xml;base64,{source}">',
            "image/svg+xml": self.svg,
            "text/plain": f"(picture) {self.caption}",
            EXHIBIT_MIME: {"caption": self.caption},
        }


def show_source(thing: Any, *, step: str | None = None) -> Shown:
    """The source of a function, method, class or module."""
    return Shown(_source(thing), "python", step)


def show_source_diff(before: Any, after: Any, *, step: str | None = None) -> Shown:
    """What changes from one function, method or class to another, as a unified diff."""
    diff = difflib.unified_diff(
        _source(before).splitlines(keepends=True),
        _source(after).splitlines(keepends=True),
        fromfile=_where(before),
        tofile=_where(after),
        n=3,
    )
    return show_diff("".join(diff), step=step)


def show_diff(diff: str, *, step: str | None = None) -> Shown:
    """A unified diff, highlighted; an empty one is said in words."""
    return Shown(diff or "(nothing changes)\n", "diff", step)


def _source(thing: Any) -> str:
    return textwrap.dedent(inspect.getsource(thing))


def _where(thing: Any) -> str:
    return f"{thing.__module__}:{thing.__qualname__}"
