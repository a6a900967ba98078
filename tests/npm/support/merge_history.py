"""Merges as the Python hybrid does: `{convex, stored}` in, rows out, as JSON."""

import json
import sys

from kit.app.hooks.hybrid_task import merge
from kit.app.hooks.stream_chunks import row_of_history

given = json.load(sys.stdin)
stored = [row_of_history(message, "task") for message in given["stored"]]
json.dump(merge(given["convex"], stored), sys.stdout)
