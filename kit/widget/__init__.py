"""A chat view for notebooks: replies shown while they are written.

`ChatView` is the widget, `SplitView` two of them side by side; `start_heartbeat` lets
Interrupt through while a cell waits.
"""

from kit.widget.chat import ChatView
from kit.widget.kernel import start_heartbeat
from kit.widget.split import SplitView

__all__ = ["ChatView", "SplitView", "start_heartbeat"]
