"""The functions that store and serve a streamed reply.

A Convex functions folder in Python, served by the embedded deployment. Modules whose
names start with `_` are helpers and are not served. Function names, arguments and
documents are camelCase, as for any Convex client.

| table | written | holds |
|---|---|---|
| tasks | rarely | one conversation: title, status |
| chatMessages | at begin, stop and end | what a viewer lists |
| messageParts | at the end, seldom | parts too large for their message's document |
| streams | at begin, stop and end | one reply being written: state, lease |
| streamHeads | at every append | next sequence number, last sign of life |
| streamDeltas | inserted at every append | the log of chunks |
| sweeps | seldom | when the next sweep for dead producers is due |

No query that a viewer follows reads `streamHeads`, and `messages:byTask` reads no
delta: an append re-runs nothing but the one page of `streaming:read` that it is on.
"""
