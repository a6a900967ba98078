"""What a bench measures: loads and counts, of a full run and of a quick one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kit.bench.load import WAYS, Load

__all__ = ["FULL", "QUICK", "Plan", "loads"]


@dataclass(frozen=True)
class Plan:
    """Loads are run in each way in turn; what is empty or zero is not measured."""

    loads: Sequence[Load]
    rounds: int
    """How often the first of the loads, which most targets rest on, is run."""
    ways: Sequence[str] = WAYS
    longest_guide: int = 2_000
    """Tokens: a longer reply is not rewritten whole for each token. It would push
    gigabytes, and its document would come to the largest size there is."""
    byte_lengths: Sequence[int] = ()
    """Lengths of the replies whose bytes are counted."""
    byte_pace: float = 50.0
    absence: Load | None = None
    """The reply during which viewers join late, and are away."""
    absence_seconds: float = 2.0
    histories: Sequence[int] = ()
    """Messages that a task has, when another reply is streamed into it."""
    intervals_ms: Sequence[float] = ()
    """Flush intervals of the kit that are compared."""
    interval_tokens: int = 100
    """Length of the reply that is streamed with each of them."""
    fan_out: Sequence[int] = ()
    """Numbers of viewers of one reply."""
    append_counts: Sequence[int] = ()
    """How much there is of one thing while appends are timed."""
    appends: int = 0
    mutation_seconds: float = 0.0
    starts: int = 0
    adapter_tokens: int = 0
    probes: int = 0
    """Echoes and commits."""
    tour: bool = False


def loads(
    *,
    paces: Sequence[float] = (50.0,),
    concurrent: Sequence[int] = (1,),
    lengths: Sequence[int] = (200,),
    viewers: Sequence[int] = (1,),
    delay: float = 0.0,
) -> list[Load]:
    """All combinations."""
    return [
        Load(length, pace, streams, count, delay)
        for length in lengths
        for streams in concurrent
        for count in viewers
        for pace in paces
    ]


QUICK = Plan(
    loads=[
        *loads(lengths=[100]),
        *loads(lengths=[400], paces=[0.0]),
        *loads(lengths=[60], concurrent=[10, 50]),
        *loads(lengths=[100], viewers=[10]),
    ],
    rounds=2,
    byte_lengths=(100, 400),
    absence=Load(tokens=250),
    histories=(200,),
    intervals_ms=(0.0, 250.0),
    fan_out=(1, 30),
    append_counts=(3_000,),
    appends=1_000,
    mutation_seconds=2.0,
    starts=3,
    adapter_tokens=300,
    probes=1_000,
)
"""In less than three minutes, for CI: shows the kind of each figure."""

FULL = Plan(
    loads=[
        *loads(paces=[50.0, 20.0, 100.0, 0.0]),
        *loads(lengths=[2_000], paces=[0.0]),
        *loads(lengths=[20_000], paces=[0.0]),
        *loads(concurrent=[10, 50, 200]),
        *loads(viewers=[10, 100]),
        *loads(delay=0.025),
    ],
    rounds=5,
    byte_lengths=(200, 2_000, 20_000),
    absence=Load(tokens=300),
    histories=(10, 10_000),
    intervals_ms=(0.0, 5.0, 10.0, 20.0, 30.0, 50.0, 100.0, 250.0, 500.0),
    interval_tokens=500,
    fan_out=(1, 10, 100),
    append_counts=(1_000, 10_000, 100_000),
    appends=2_000,
    mutation_seconds=5.0,
    starts=7,
    adapter_tokens=2_000,
    probes=5_000,
    tour=True,
)
"""All that the targets ask for."""
