"""The fault runner: replies are streamed, things are broken on purpose, all is checked.

`await run_drill(runs=10, seed=1)` in a notebook, `kit drill --runs 200 --seed 1` in a
shell. A seed gives a plan (`schedule`, pure): replies, viewers, and faults with the
moment at which each strikes. A plan is carried out in one of three ways:

* on a deployment (`run`, on a `lane`), its clients sending and stopping through Convex;
* through the application (`application_run`, on an `application_lane`), in Option 1 or
  2, behind networks that fail (`proxy`), the hybrid hook watching;
* for faults between a producer and the store, against the functions on an engine in
  this process (`producer`).

Either way the outcome is a `RunSeen` (`history`), and what must hold is checked on that
alone (`checking`, pure). `runner` carries out many, `result` shows what they came to,
with the `picture` of one.
"""

from kit.drill.result import DrillResult
from kit.drill.runner import run_drill

__all__ = ["DrillResult", "run_drill"]
