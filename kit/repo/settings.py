"""Where a repository differs from the guide's: options and a small TOML file.

```toml
server_file = "services/api/src/chat.ts"   # holds the loop over the model's stream
hook_file = "web/hooks/use-task.ts"        # the hook that is to show Convex's messages
frontend = "web"                           # the folder of the Next application
env_file = "web/.env.local"
convex = "backend/convex"                  # the folder of the functions

[names]
stream_method = "createMessageStream"      # what the loop iterates over
server_method = "processMessage"           # if several methods have such a loop
stop_method = "stopStream"
socket_hook = "useTaskSocket"
hybrid_hook = "useHybridTask"
convex_client = "getConvexClient"

[expressions]                              # in the server's method, as TypeScript
task_id = "taskId"
prompt = "userMessage"
model = "context.getMainModel()"
system_prompt = "systemPrompt"
api_keys = "context.getApiKeys()"
client_message_id = "clientMessageId"
```
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from kit.errors import ConfigError

__all__ = ["Expressions", "Names", "Settings", "read_settings"]


@dataclass(frozen=True, slots=True)
class Names:
    """What things are called in the application."""

    stream_method: str = "createMessageStream"
    server_method: str | None = None
    stop_method: str | None = None
    socket_hook: str = "useTaskSocket"
    hybrid_hook: str = "useHybridTask"
    convex_client: str = "getConvexClient"


@dataclass(frozen=True, slots=True)
class Expressions:
    """What the server's method gives to Convex, as TypeScript; None: to be found."""

    task_id: str | None = None
    prompt: str | None = None
    model: str | None = None
    system_prompt: str | None = None
    api_keys: str | None = None
    client_message_id: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Paths are relative to the repository; None: to be found."""

    server_file: str | None = None
    hook_file: str | None = None
    frontend: str | None = None
    env_file: str | None = None
    convex: str | None = None
    names: Names = field(default_factory=Names)
    expressions: Expressions = field(default_factory=Expressions)

    def with_files(
        self, *, server_file: str | None = None, hook_file: str | None = None
    ) -> Settings:
        """The same, with what was given beside the file."""
        return replace(
            self,
            server_file=server_file or self.server_file,
            hook_file=hook_file or self.hook_file,
        )


def read_settings(path: Path | None) -> Settings:
    """Read the TOML file; the defaults for None.

    Raises ConfigError for a file that cannot be read, and for what it does not know.
    """
    if path is None:
        return Settings()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from None
    names = Names(**_strings(path, table.pop("names", {}), Names))
    expressions = Expressions(
        **_strings(path, table.pop("expressions", {}), Expressions)
    )
    for name, value in (*_items(names), *_items(expressions)):
        if value is not None and (not value.strip() or "\n" in value):
            raise ConfigError(f"{path}: `{name}` must be one line of TypeScript.")
    paths = _strings(path, table, Settings)
    return Settings(**paths, names=names, expressions=expressions)


def _items(given: Names | Expressions) -> list[tuple[str, str | None]]:
    return [(each.name, getattr(given, each.name)) for each in fields(given)]


def _strings(path: Path, table: Mapping[str, Any], kind: type) -> dict[str, Any]:
    known = {each.name for each in fields(kind)} - {"names", "expressions"}
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: `{kind.__name__.lower()}` must be a table.")
    for name, value in table.items():
        if name not in known:
            listed = ", ".join(sorted(known))
            raise ConfigError(f"{path}: `{name}` is not known here. Known: {listed}.")
        if not isinstance(value, str):
            raise ConfigError(f"{path}: `{name}` must be a string.")
    return dict(table)
