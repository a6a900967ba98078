"""Look inside a running rehearsal, and change it while it runs.

| name | gives |
|---|---|
| `documents`, `deltas` | the documents of a table, the deltas of a stream, as frames |
| `show_logs` | the logs of a stack's processes, live, filtered |
| `Wiretap` | the sync messages between a client and its deployment |
| `push`, `%%convex` | functions of one's own on the embedded deployment |

For engineers at a notebook: nothing of the product needs it.
"""

from __future__ import annotations

from typing import Any

from kit.explore.functions import push
from kit.explore.logs import LogView, show_logs
from kit.explore.tables import deltas, documents
from kit.explore.wiretap import Wiretap

__all__ = [
    "LogView",
    "Wiretap",
    "deltas",
    "documents",
    "load_ipython_extension",
    "push",
    "show_logs",
]


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext kit.explore` makes the cell magic `%%convex` known."""
    from kit.explore.magic import ConvexMagic

    shell.register_magics(ConvexMagic)
