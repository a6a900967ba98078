"""A repository of the user's, read: its files, their syntax, and the guide's places.

Reads only, and runs nothing of the repository's. Everything is found by content and
syntax tree, never by line number:

```python
layout = locate(open_repository(path), Settings())
```

`files` lists and reads, `source` is one file with its bytes as they are, `syntax` and
`calls` read TypeScript, `settings` says where a repository differs, and `layout` puts
together what `server`, `socket_events`, `hooks`, `frontend` and `functions` find.
"""

from __future__ import annotations

from kit.repo.files import Repository, open_repository
from kit.repo.layout import Layout, locate
from kit.repo.places import Missing, Place
from kit.repo.settings import Settings, read_settings

__all__ = [
    "Layout",
    "Missing",
    "Place",
    "Repository",
    "Settings",
    "locate",
    "open_repository",
    "read_settings",
]
