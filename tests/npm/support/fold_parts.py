"""Folds logs of chunks with `kit.parts`: a JSON array of logs in, one of parts out."""

import json
import sys

from kit.parts import fold

json.dump([fold(log) for log in json.load(sys.stdin)], sys.stdout)
