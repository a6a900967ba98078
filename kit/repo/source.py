"""One source file, byte for byte: BOM and line ends are kept for whoever edits it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from tree_sitter import Node, Tree

from kit.repo.places import Place
from kit.repo.syntax import first_error, parse

__all__ = ["BOM", "Source"]

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, eq=False)
class Source:
    """A file of the repository; `body` is all of it but a BOM.

    Positions are those of bytes in `body`.
    """

    file: str
    data: bytes = field(repr=False)
    body: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", self.data.removeprefix(BOM))

    @property
    def bom(self) -> bytes:
        return BOM if self.data.startswith(BOM) else b""

    @cached_property
    def text(self) -> str:
        return self.body.decode("utf-8")

    @cached_property
    def newline(self) -> str:
        """The line end that most lines have."""
        crlf = self.body.count(b"\r\n")
        return "\r\n" if crlf > self.body.count(b"\n") - crlf else "\n"

    @cached_property
    def tree(self) -> Tree:
        """The syntax tree, for a file of TypeScript. Broken files have one, too."""
        return parse(self.body, tsx=PurePosixPath(self.file).suffix == ".tsx")

    @property
    def root(self) -> Node:
        return self.tree.root_node

    @cached_property
    def first_error(self) -> Place | None:
        """Where the file first breaks the grammar of TypeScript, if it does."""
        node = first_error(self.root)
        return None if node is None else self.place(node)

    def place(self, node: Node) -> Place:
        return Place(
            self.file, node.start_point.row + 1, node.start_byte, node.end_byte
        )

    def line_at(self, position: int) -> int:
        return self.body.count(b"\n", 0, position) + 1

    def indent_at(self, position: int) -> str:
        """The white space that the line of a position begins with."""
        start = self.body.rfind(b"\n", 0, position) + 1
        line = self.body[start:].split(b"\n", 1)[0]
        return line[: len(line) - len(line.lstrip(b" \t"))].decode()
