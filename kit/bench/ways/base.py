"""What all ways have in common: how they are driven and looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from kit.bench.viewers import Viewer

__all__ = ["Way"]


class Way(Protocol):
    """One way, with its servers; `start` and `aclose` bracket its life."""

    name: str
    title: str
    stores: bool
    """Whether a reply is still there when its server is not."""

    @property
    def url(self) -> str:
        """Where viewers connect."""
        ...

    async def start(self, environment: Mapping[str, str]) -> None:
        """Start its servers with these variables. Raises StackError."""
        ...

    async def create_task(self) -> str:
        """A new conversation; its id."""
        ...

    async def create_long_task(self, messages: int) -> str:
        """A conversation in which so much was said before; its servers start anew."""
        ...

    async def ask(self, task_id: str, prompt: str, model: str) -> None:
        """Have a reply written; returns when that was accepted, or at its end.

        Raises KitError if it is not written, or fails.
        """
        ...

    async def watch(
        self, task_id: str, *, url: str = "", light: bool = False
    ) -> Viewer:
        """Another viewer of a task, joined.

        `url`: another address of the server, that of a relay. `light`: one of many in
        this process, with a client that costs little, where there is a choice.
        """
        ...

    def processes(self) -> dict[str, int]:
        """The processes that do the work, by name."""
        ...

    async def aclose(self) -> None:
        """Stop everything. May be called again, and without `start`."""
        ...
