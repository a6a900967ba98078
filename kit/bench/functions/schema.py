"""Tables of the yardsticks: messages that are rewritten whole, and small rows."""

from __future__ import annotations

from kit.deployment.functions import define_schema, define_table
from kit.values import v

schema = define_schema(
    {
        "tasks": define_table({"title": v.string()}),
        "chatMessages": define_table(
            {
                "taskId": v.id("tasks"),
                "role": v.union(v.literal("USER"), v.literal("ASSISTANT")),
                "content": v.string(),
                "metadataJson": v.string(),
                "sequence": v.number(),
                "status": v.union(v.literal("streaming"), v.literal("complete")),
            }
        ).index("by_task_sequence", ["taskId", "sequence"]),
        "notes": define_table({"body": v.string()}),
    }
)
