"""A chat view for notebooks: replies shown while they are written.

`ChatView` is the widget; `start_heartbeat` lets Interrupt through while a cell waits.
"""

from kit.widget.chat import ChatView
from kit.widget.kernel import start_heartbeat

__all__ = ["ChatView", "start_heartbeat"]
