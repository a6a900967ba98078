"""The ways by which a reply may reach its viewers, side by side.

| name | a reply is |
|---|---|
| bare | emitted over Socket.IO, token by token; nothing is stored |
| sql | the same, and written to SQL once a second, as before the migration |
| guide | rewritten whole in Convex for each token, as the guide's application does it |
| kit | appended to a log in Convex, which viewers follow |
"""
