"""Prototype, rehearse and prove the move of LLM chat streaming to Convex.

The front door: what notebooks and scripts import. Each name is loaded when it is first
used, so that `import kit` and the command line stay quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kit.app.hooks import use_hybrid_task, use_message_streaming, use_task_socket
    from kit.checks import Checks, Recorder
    from kit.client import BlockingDeployment, Deployment
    from kit.doctor import diagnose
    from kit.show import show_diff, show_source, show_source_diff
    from kit.stack import Stack
    from kit.widget import ChatView, SplitView

__version__ = "0.1.0"

__all__ = [
    "BlockingDeployment",
    "ChatView",
    "Checks",
    "Deployment",
    "Recorder",
    "SplitView",
    "Stack",
    "diagnose",
    "show_diff",
    "show_source",
    "show_source_diff",
    "use_hybrid_task",
    "use_message_streaming",
    "use_task_socket",
]

_HOMES = {
    "BlockingDeployment": "kit.client",
    "ChatView": "kit.widget",
    "Checks": "kit.checks",
    "Deployment": "kit.client",
    "Recorder": "kit.checks",
    "SplitView": "kit.widget",
    "Stack": "kit.stack",
    "diagnose": "kit.doctor",
    "show_diff": "kit.show",
    "show_source": "kit.show",
    "show_source_diff": "kit.show",
    "use_hybrid_task": "kit.app.hooks",
    "use_message_streaming": "kit.app.hooks",
    "use_task_socket": "kit.app.hooks",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'kit' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
