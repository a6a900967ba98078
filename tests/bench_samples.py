"""Results of a bench, made up: for what is shown of them, and what follows."""

from typing import Any

from kit.bench.adapters import AdapterCost
from kit.bench.append_cost import AppendCost
from kit.bench.deployment_speed import DeploymentSpeed
from kit.bench.fan_out import FanOut
from kit.bench.figures import Cost, Figures
from kit.bench.load import WAYS, Load
from kit.bench.presence import Presence
from kit.bench.results import Interval, Results
from kit.bench.seen import Latency
from kit.bench.start_up import Tour
from kit.bench.written import Written

BASE_MS = {"bare": 1.0, "sql": 1.5, "guide": 2.5, "kit": 3.0, "kit-billed": 120.0}
BASE_BYTES = {
    "bare": 50.0,
    "sql": 60.0,
    "guide": 20_000.0,
    "kit": 50.0,
    "kit-billed": 50.0,
}


def latency(milliseconds: float) -> Latency:
    """All values are the same, but for the largest."""
    found = Latency.of([milliseconds / 1000] * 999 + [milliseconds / 500])
    assert found is not None
    return found


def figures(way: str, load: Load, **changes: Any) -> Figures:
    times = latency(changes.pop("milliseconds", BASE_MS[way]))
    fields: dict[str, Any] = {
        "latency": times,
        "first": times,
        "from_ask": times,
        "tokens_per_second": 50.0,
        "lost": 0,
        "drift": 1.0,
        "bytes_per_token": 4.0,
        "pushed_per_token": BASE_BYTES[way] if load.count_bytes else None,
        "messages_per_token": 1.0 if load.count_bytes else None,
        "deflated_per_token": 9.0 if load.count_bytes else None,
        "costs": {
            "provider": Cost(100.0, 40.0, 0.0),
            "deployment" if way in ("guide", "kit") else "server": Cost(
                500.0, 60.0, 8000.0
            ),
        },
    }
    return Figures(way, load, **{**fields, **changes})


def written(way: str, tokens: int, per_token: float) -> Written:
    return Written(way, tokens, tokens, tokens, int(tokens * per_token), tokens * 4)


def results() -> Results:
    """One of everything; all targets are met."""
    loads = [Load(), Load(streams=50), Load(streams=200), Load(viewers=10)]
    counted = [Load(n, 100.0, count_bytes=True) for n in (200, 2_000)]
    return Results(
        machine={"cores": 2},
        streams=[figures(way, load) for load in loads for way in WAYS],
        histories=[
            figures("kit", Load(history=n, count_bytes=True)) for n in (10, 10_000)
        ],
        bytes=[figures(way, load) for load in counted for way in BASE_BYTES],
        written=[
            written(way, load.tokens, per_token)
            for load in counted
            for way, per_token in (
                *(("kit", 40.0), ("kit-billed", 40.0), ("guide", 9_000.0)),
            )
        ],
        late=[Presence("bare", None, False, 500, 500, 1000)],
        away=[
            Presence("sql", 2.0, False, 400, 0, 1000),
            Presence("kit", 0.25, True, 0, 0, 1000),
        ],
        intervals=[
            Interval(ms, figures("kit", Load(count_bytes=True)), 1.0)
            for ms in (10.0, 100.0)
        ],
        fan_out=[FanOut(100, 80, 100, figures("kit", Load(viewers=100)))],
        append_costs=[
            AppendCost("ten of everything", 10, 200.0, 1.0),
            AppendCost("other tasks", 1_000, 202.0, 1.01),
            AppendCost("other tasks", 100_000, 204.0, 1.02),
        ],
        deployment=DeploymentSpeed(3500.0, 0.9, 0.4, 0.3, 50.0, 45.0),
        echo=latency(0.1),
        commit=latency(0.01),
        import_seconds=0.02,
        adapters=[AdapterCost("responses", 100.0, 110.0)],
        tour=Tour(True, 60.0, 900.0),
        seconds=12.0,
    )
