"""The results of a `kit bench`, for the report: its tables and pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

from kit.errors import ConfigError

__all__ = ["Bench", "read_bench"]

_PICTURE = re.compile(r"^!\[[^\]]*\]\(([\w-]+\.svg)\)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Bench:
    """`tables` are titles with HTML, the one of targets first; `pictures` are SVG."""

    name: str
    tables: list[tuple[str, str]]
    pictures: list[str]


def read_bench(folder: Path) -> Bench:
    """What `kit bench` has written to `folder`.

    Raises ConfigError if that is not there.
    """
    try:
        page = (folder / "bench.md").read_text(encoding="utf-8")
        names = _PICTURE.findall(page)
        pictures = [(folder / name).read_text(encoding="utf-8") for name in names]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{folder} does not have the results of a bench ({error}). "
            "Make them with kit bench, which says where they are."
        ) from None
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    _, *sections = _PICTURE.sub("", f"\n{page}").split("\n### ")
    tables = []
    for section in sections:
        title, _, body = section.partition("\n")
        tables.append((title.strip(), str(markdown.render(body))))
    return Bench(folder.resolve().name, tables, pictures)
