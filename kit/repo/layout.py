"""All that the guide's change touches, found in one repository."""

from __future__ import annotations

from dataclasses import dataclass

from kit.repo.files import Repository
from kit.repo.frontend import Frontend, find_frontend
from kit.repo.functions import Functions, find_functions
from kit.repo.hooks import Hooks, find_hooks
from kit.repo.places import Missing
from kit.repo.server import Server, find_server
from kit.repo.settings import Settings
from kit.repo.socket_events import SocketEvents, find_events

__all__ = ["Layout", "locate"]


@dataclass(frozen=True)
class Layout:
    """What was found; `missing` is what was not, or not for certain, in all of it."""

    repository: Repository
    settings: Settings
    frontend: Frontend | None
    server: Server
    hooks: Hooks
    events: SocketEvents
    functions: Functions
    missing: tuple[Missing, ...]


def locate(repository: Repository, settings: Settings) -> Layout:
    """Find the guide's places. Changes nothing.

    Raises ConfigError for a setting that leads out of the repository.
    """
    hooks = find_hooks(repository, settings)
    hook_file = None if hooks.merging is None else hooks.merging.source.file
    frontend, unclear = find_frontend(repository, settings, hook_file)
    server = find_server(repository, settings)
    functions = find_functions(repository, settings)
    return Layout(
        repository=repository,
        settings=settings,
        frontend=frontend,
        server=server,
        hooks=hooks,
        events=find_events(repository),
        functions=functions,
        missing=(*unclear, *server.missing, *hooks.missing, *functions.missing),
    )
