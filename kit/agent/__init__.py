"""The agent: ask the model, run the tools it calls, ask again, until it is done.

Holds the order of things in a reply and the final ids of its parts. Knows no
provider (it is given a `Conversation`), no store (it yields chunks, see `kit.parts`)
and no tool (it is given those, too).

`loop` waits for the model, `tools` for tools; `steps` is pure.
"""

from kit.agent.loop import MAX_STEPS, stream_reply
from kit.agent.tools import TOOL_TIMEOUT, Tool, ToolLimits

__all__ = ["MAX_STEPS", "TOOL_TIMEOUT", "Tool", "ToolLimits", "stream_reply"]
