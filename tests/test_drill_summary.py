"""What many runs came to: counts per fault, losses, figures."""

import json
from dataclasses import replace

from kit.drill.history import FaultSeen, Frame, ReplySeen, RunSeen, StopSeen, ViewerSeen
from kit.drill.invariants import Violation
from kit.drill.schedule import FAULTS, Fault, plan
from kit.drill.summary import WHAT, figures, results, table


def run_with(seed: int, *faults: FaultSeen) -> RunSeen:
    planned = tuple(seen.fault for seen in faults)
    return RunSeen(replace(plan(seed), faults=planned), faults=list(faults))


def lossy() -> RunSeen:
    run = run_with(2, FaultSeen(Fault("drop"), 0.3, True))
    delta = {"type": "text-delta", "id": "text-0", "delta": "Rain"}
    run.logs = {"s": [{"seq": 0.0, "chunks": [delta]}]}
    run.replies = [ReplySeen("c")]
    part = {"id": "text-0", "type": "text", "text": "Ra", "state": "done"}
    reply = {"_id": "m", "role": "ASSISTANT", "status": "failed", "content": "Ra"}
    run.rows = [
        {"_id": "p", "role": "USER", "clientMessageId": "c"},
        {**reply, "parts": [part], "promptMessageId": "p", "streamId": "s"},
    ]
    return run


def test_every_fault_has_words() -> None:
    assert list(WHAT) == list(FAULTS)


def test_faults_are_counted_with_what_they_cost() -> None:
    runs = [
        run_with(1, FaultSeen(Fault("drop"), 0.1, False)),
        lossy(),
        run_with(3, FaultSeen(Fault("stop"), 0.1, True)),
    ]
    rows = {row.fault: row for row in table(runs, [Violation(2, "x", "y")])}
    drop = rows["drop"]
    assert (drop.planned, drop.struck, drop.runs) == (2, 1, 2)
    assert (drop.lost, drop.violations) == (2, 1)
    assert (rows["stop"].lost, rows["stop"].violations) == (0, 0)
    assert rows["eof"].planned == 0


def test_a_stop_is_timed_from_the_first_call_to_the_first_viewer() -> None:
    run = RunSeen(plan(1), stops=[StopSeen(1.0, ["m"]), StopSeen(1.1, ["m"])])
    run.viewers = [
        ViewerSeen("a", "log", 0.0, [Frame(1.5, "m", "stopping", "", [])]),
        ViewerSeen(
            "b",
            "hook",
            0.0,
            [Frame(1.1, "m", "streaming", "", []), Frame(1.25, "m", "stopped", "", [])],
        ),
    ]
    assert figures([run]) == {
        "stop seen": {"count": 1, "median": 0.25, "longest": 0.25}
    }


def test_a_death_is_timed_to_the_end_of_the_reply() -> None:
    run = lossy()
    run.faults = [FaultSeen(Fault("kill-executor"), 1.0, True)]
    run.viewers = [ViewerSeen("a", "log", 0.0, [Frame(3.5, "m", "failed", "", [])])]
    assert figures([run])["dead producer found"]["longest"] == 2.5


def test_results_are_json_with_every_run() -> None:
    found = json.loads(json.dumps(results([lossy()], [Violation(2, "x", "y")], 1.0)))
    assert found["violations"] == [{"seed": 2, "invariant": "x", "what": "y"}]
    assert found["perRun"][0]["plan"]["seed"] == 2
    assert found["perRun"][0]["lost"] == 2
