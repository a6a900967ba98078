"""Tables and the validators of what is in them."""

from __future__ import annotations

from kit.deployment.functions import define_schema, define_table
from kit.errors import ERROR_KINDS
from kit.values import Validator, v
from kit.values.validators import OptionalField

task_status = v.union(
    v.literal("INITIALIZING"),
    v.literal("RUNNING"),
    v.literal("COMPLETED"),
    v.literal("STOPPED"),
    v.literal("FAILED"),
)
role = v.union(v.literal("USER"), v.literal("ASSISTANT"), v.literal("SYSTEM"))
message_status = v.union(
    v.literal("queued"),
    v.literal("streaming"),
    v.literal("stopping"),
    v.literal("complete"),
    v.literal("stopped"),
    v.literal("failed"),
)
stream_state = v.union(
    v.literal("queued"),
    v.literal("streaming"),
    v.literal("stopping"),
    v.literal("done"),
)
when_active = v.union(v.literal("reject"), v.literal("interrupt"), v.literal("queue"))
outcome = v.union(v.literal("complete"), v.literal("stopped"), v.literal("failed"))
finish_reason = v.union(
    v.literal("stop"),
    v.literal("tool-calls"),
    v.literal("length"),
    v.literal("content-filter"),
    v.literal("error"),
    v.literal("interrupted"),
    v.literal("aborted"),
    v.literal("other"),
)
error_kind = v.union(*map(v.literal, ERROR_KINDS))
usage = v.object(
    {
        "promptTokens": v.number(),
        "completionTokens": v.number(),
        "totalTokens": v.number(),
        "cachedTokens": v.optional(v.number()),
        "reasoningTokens": v.optional(v.number()),
        "cost": v.optional(v.number()),
    }
)

# The shapes of `kit.parts`; the most frequent chunks first, since a union is tried
# from its start.
chunk = v.union(
    v.object({"type": v.literal("text-delta"), "id": v.string(), "delta": v.string()}),
    v.object(
        {"type": v.literal("reasoning-delta"), "id": v.string(), "delta": v.string()}
    ),
    v.object(
        {
            "type": v.literal("tool-input-delta"),
            "toolCallId": v.string(),
            "inputTextDelta": v.string(),
        }
    ),
    v.object({"type": v.literal("text-start"), "id": v.string()}),
    v.object({"type": v.literal("text-end"), "id": v.string()}),
    v.object(
        {
            "type": v.literal("reasoning-start"),
            "id": v.string(),
            "redactedData": v.optional(v.string()),
        }
    ),
    v.object(
        {
            "type": v.literal("reasoning-end"),
            "id": v.string(),
            "signature": v.optional(v.string()),
        }
    ),
    v.object(
        {
            "type": v.literal("tool-input-start"),
            "toolCallId": v.string(),
            "toolName": v.string(),
        }
    ),
    v.object(
        {
            "type": v.literal("tool-input-available"),
            "toolCallId": v.string(),
            "toolName": v.string(),
            "inputText": v.string(),
        }
    ),
    v.object(
        {
            "type": v.literal("tool-input-error"),
            "toolCallId": v.string(),
            "toolName": v.string(),
            "inputText": v.string(),
            "errorText": v.string(),
            "errorKind": v.optional(error_kind),
        }
    ),
    v.object(
        {
            "type": v.literal("tool-output-available"),
            "toolCallId": v.string(),
            "outputText": v.string(),
        }
    ),
    v.object(
        {
            "type": v.literal("tool-output-error"),
            "toolCallId": v.string(),
            "errorText": v.string(),
            "errorKind": v.optional(error_kind),
        }
    ),
    v.object({"type": v.literal("start-step")}),
    v.object(
        {
            "type": v.literal("finish-step"),
            "finishReason": finish_reason,
            "usage": v.optional(usage),
            "rawFinishReason": v.optional(v.string()),
        }
    ),
    v.object(
        {
            "type": v.literal("error"),
            "id": v.string(),
            "errorText": v.string(),
            "kind": error_kind,
            "retryable": v.optional(v.boolean()),
        }
    ),
    v.object({"type": v.literal("abort"), "reason": v.optional(v.string())}),
    v.object(
        {
            "type": v.literal("finish"),
            "finishReason": finish_reason,
            "usage": v.optional(usage),
        }
    ),
)

_growth = v.union(v.literal("streaming"), v.literal("done"))
part = v.union(
    v.object(
        {
            "id": v.string(),
            "type": v.literal("text"),
            "text": v.string(),
            "state": _growth,
        }
    ),
    v.object(
        {
            "id": v.string(),
            "type": v.literal("reasoning"),
            "text": v.string(),
            "signature": v.optional(v.string()),
            "state": _growth,
        }
    ),
    v.object(
        {
            "id": v.string(),
            "type": v.literal("redacted-reasoning"),
            "data": v.string(),
        }
    ),
    v.object(
        {
            "id": v.string(),
            "type": v.literal("tool-call"),
            "toolCallId": v.string(),
            "toolName": v.string(),
            "argsText": v.string(),
            "state": v.union(
                v.literal("input-streaming"),
                v.literal("input-available"),
                v.literal("input-error"),
            ),
            "errorText": v.optional(v.string()),
            "errorKind": v.optional(error_kind),
        }
    ),
    v.object(
        {
            "id": v.string(),
            "type": v.literal("tool-result"),
            "toolCallId": v.string(),
            "toolName": v.string(),
            "resultText": v.string(),
            "isError": v.boolean(),
            "errorKind": v.optional(error_kind),
        }
    ),
    v.object(
        {
            "id": v.string(),
            "type": v.literal("error"),
            "errorText": v.string(),
            "kind": error_kind,
        }
    ),
)

job_fields: dict[str, Validator | OptionalField] = {
    "model": v.string(),
    "systemPrompt": v.optional(v.string()),
    "tools": v.array(v.string()),
}
task_fields: dict[str, Validator | OptionalField] = {
    "title": v.string(),
    "status": task_status,
    "errorMessage": v.optional(v.string()),
    "ownerId": v.optional(v.string()),
}
message_fields: dict[str, Validator | OptionalField] = {
    "taskId": v.id("tasks"),
    "role": role,
    "content": v.string(),
    "parts": v.optional(v.array(part)),
    "llmModel": v.optional(v.string()),
    "sequence": v.number(),
    "status": message_status,
    "finishReason": v.optional(finish_reason),
    "usage": v.optional(usage),
    "error": v.optional(v.string()),
    "errorKind": v.optional(error_kind),
    "clientMessageId": v.optional(v.string()),
    "promptMessageId": v.optional(v.id("chatMessages")),
    "streamId": v.optional(v.id("streams")),
}

schema = define_schema(
    {
        "tasks": define_table(task_fields).index("by_ownerId", ["ownerId"]),
        "chatMessages": define_table(message_fields)
        .index("by_task_sequence", ["taskId", "sequence"])
        .index("by_task_clientMessageId", ["taskId", "clientMessageId"])
        .index("by_promptMessageId", ["promptMessageId"]),
        # A long text spans several rows: neighbours with the same part id.
        "messageParts": define_table(
            {"messageId": v.id("chatMessages"), "index": v.number(), "part": part}
        ).index("by_message", ["messageId", "index"]),
        "streams": define_table(
            {
                "taskId": v.id("tasks"),
                "messageId": v.id("chatMessages"),
                "ownerId": v.optional(v.string()),
                "epoch": v.number(),
                "state": stream_state,
                "outcome": v.optional(outcome),
                "stop": v.optional(v.object({"at": v.number()})),
                "leaseMs": v.number(),
                "startedAt": v.number(),
                "endedAt": v.optional(v.number()),
                # A later reply of the task had begun before this one ended.
                "overtaken": v.optional(v.boolean()),
                # What the deployment is to produce at its turn: only while queued.
                "jobId": v.optional(v.id("queuedJobs")),
            }
        )
        .index("by_task_state", ["taskId", "state"])
        .index("by_message", ["messageId"])
        .index("by_state", ["state"]),
        # Apart from the streams, because a system prompt may be large.
        "queuedJobs": define_table(job_fields),
        "streamHeads": define_table(
            {
                "streamId": v.id("streams"),
                "epoch": v.number(),
                "nextSeq": v.number(),
                "bytes": v.number(),
                "beatAt": v.number(),
            }
        ).index("by_stream", ["streamId"]),
        "streamDeltas": define_table(
            {
                "streamId": v.id("streams"),
                "seq": v.number(),
                "chunks": v.array(chunk),
            }
        ).index("by_stream_seq", ["streamId", "seq"]),
        "sweeps": define_table({"dueAt": v.number()}),
    }
)
