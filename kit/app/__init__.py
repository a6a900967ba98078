"""The application being migrated: chat over Socket.IO, stored in a SQL database.

It is the guide's application in Python, in the three forms of its migration: before,
Option 1 (Convex first, Socket.IO as the fallback) and Option 2 (Convex only).
`server` is the process, `chat` the service with the three forms, `hooks` the front
end's side.
"""
