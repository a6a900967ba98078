"""`kit apply`: the guide's change in a repository of your own, as diffs to review.

`plan` makes steps out of what `kit.repo` has found; nothing is written by it. `write`
makes one commit per step, `rollback` takes them back, `types` compares the errors of
the type checker.

| module | makes the change of |
|---|---|
| `flag` | the frontend's `.env.local` |
| `server`, `leftovers` | the method that streams |
| `hook` | the hook that merges socket data |
| `events` | the events that streamed text |
| `functions`, `schema`, `generated`, `packages` | the Convex folder |

`rehearsal` copies a repository to try the change on, `shown` shows a plan in a
notebook.
"""

from __future__ import annotations

from kit.apply.plan import make_plan
from kit.apply.rollback import plan_rollback
from kit.apply.steps import Change, Plan, Step
from kit.apply.write import write_plan

__all__ = ["Change", "Plan", "Step", "make_plan", "plan_rollback", "write_plan"]
