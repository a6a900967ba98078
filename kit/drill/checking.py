"""Checks a run against all that must hold of its kind. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict

from kit.drill.application_invariants import APPLICATION_INVARIANTS
from kit.drill.history import RunSeen
from kit.drill.invariants import INVARIANTS, Violation

__all__ = ["NAMES", "check"]

# The last two are checked here, and in all files when the drill is over.
NAMES = {*INVARIANTS, *APPLICATION_INVARIANTS, "no key leaves", "no key is kept"}
"""Of all invariants."""


def check(run: RunSeen, sentinel: str) -> list[Violation]:
    """All violations of a run; `sentinel` is how every key in it begins."""
    application = run.plan.reach == "application"
    invariants = APPLICATION_INVARIANTS if application else INVARIANTS
    found = [
        Violation(run.plan.seed, name, what)
        for name, invariant in invariants.items()
        for what in invariant(run)
    ]
    if sentinel in json.dumps(asdict(run), default=repr):
        what = "a key came back in what the run was told"
        found.append(Violation(run.plan.seed, "no key leaves", what))
    return found
