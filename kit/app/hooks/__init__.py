"""The front end's side of the application: its React hooks, in Python.

* `use_task_socket`: everything over Socket.IO, as the front end does before the
  migration, with its defect;
* `use_message_streaming`: messages and live parts from Convex alone;
* `use_hybrid_task`: the guide's hybrid, messages from Convex and the rest from
  Socket.IO.

Each gives a `ChatSource` that changes by itself; `observe` tells of each change,
`until` waits for one. Nothing here draws anything.
"""

from kit.app.hooks.hybrid_task import HybridTask, use_hybrid_task
from kit.app.hooks.message_streaming import MessageStreaming, use_message_streaming
from kit.app.hooks.source import (
    ChatSource,
    HookChange,
    MessagesChanged,
    PartsChanged,
    PartsReset,
    StateChanged,
)
from kit.app.hooks.task_socket import SocketEvent, TaskSocket, use_task_socket

__all__ = [
    "ChatSource",
    "HookChange",
    "HybridTask",
    "MessageStreaming",
    "MessagesChanged",
    "PartsChanged",
    "PartsReset",
    "SocketEvent",
    "StateChanged",
    "TaskSocket",
    "use_hybrid_task",
    "use_message_streaming",
    "use_task_socket",
]
