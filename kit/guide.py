"""The steps of the migration guide, in its order: what a team signs off one by one.

Notebooks name a step where they show its change or check its behaviour; the report
gathers by these names what was shown and checked.
"""

from __future__ import annotations

from dataclasses import dataclass

from kit.errors import ConfigError

__all__ = ["STEPS", "Step", "known_step"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the guide; `file` is what it changes, None if nothing."""

    name: str
    title: str
    file: str | None = None


STEPS = (
    Step("Option 1, step 1", "Enable the Convex flag", "apps/frontend/.env.local"),
    Step(
        "Option 1, step 2",
        "Try Convex first, keep Socket.IO as the fallback",
        "apps/server/src/agent/chat.ts",
    ),
    Step(
        "Option 1, step 3",
        "Use the Convex hook in the frontend",
        "apps/frontend/hooks/convex/use-hybrid-task.ts",
    ),
    Step("Testing", "The behaviour to expect of Option 1"),
    Step("If it fails", "Faults, what shows them and what mends them"),
    Step(
        "Option 2, step 1",
        "Replace the streaming loop",
        "apps/server/src/agent/chat.ts",
    ),
    Step(
        "Option 2, step 2",
        "Remove the events that streamed text, keep the others",
        "apps/server/src/socket.ts",
    ),
    Step("Benefits", "What the guide promises, measured"),
    Step("Rollback, step 1", "Turn the flag off", "apps/frontend/.env.local"),
    Step("Rollback, step 2", "Revert the change", "apps/server/src/agent/chat.ts"),
    Step("Rollback, step 3", "Restart frontend and backend"),
)

_NAMES = [step.name for step in STEPS]


def known_step(name: str) -> str:
    """`name`, if the guide has a step of this name. Raises ConfigError."""
    if name not in _NAMES:
        raise ConfigError(
            f"The guide has no step {name!r}. It has: {'; '.join(_NAMES)}."
        )
    return name
