"""The comparison as a notebook uses it: one call, and tables and pictures to show."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from kit.bench.claims import claims_table
from kit.bench.load import WAYS, Load
from kit.bench.measure import Measurement, OnStep
from kit.bench.pictures import CAPTIONS, pictures
from kit.bench.plan import Plan, loads
from kit.bench.results import Results
from kit.bench.table import Table
from kit.bench.tables import (
    byte_table,
    cost_table,
    presence_table,
    stream_table,
    tables,
)
from kit.errors import ConfigError
from kit.show import Picture

__all__ = ["Comparison", "compare"]


class Comparison:
    """What a comparison came to; displays all of its tables.

    `latency`, `costs`, `bytes`, `viewers` and `claims` are single tables,
    `picture(name)` is one of `pictures`, `results` has every figure.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self.pictures = {
            name: Picture(svg, CAPTIONS[name])
            for name, svg in pictures(results).items()
        }

    @property
    def latency(self) -> Table:
        """From the provider's token to the viewer's callback."""
        return stream_table(self.results)

    @property
    def costs(self) -> Table:
        """Processor time and memory of each process."""
        return cost_table(self.results)

    @property
    def bytes(self) -> Table:
        """Pushed to a viewer and written, per token."""
        return byte_table(self.results)

    @property
    def viewers(self) -> Table:
        """What became of those that came late or were away."""
        return presence_table(self.results)

    @property
    def claims(self) -> Table:
        """What the guide promises, beside what was measured."""
        return claims_table(self.results)

    def picture(self, name: str) -> Picture:
        """Raises ConfigError for one that there is not."""
        if name not in self.pictures:
            names = ", ".join(self.pictures) or "none"
            raise ConfigError(
                f"There is no picture {name!r} of what was measured. There are: {names}"
            )
        return self.pictures[name]

    def _repr_html_(self) -> str:
        return "\n".join(table._repr_html_() for table in self._tables())

    def __repr__(self) -> str:
        return "\n".join(map(str, self._tables()))

    def _tables(self) -> list[Table]:
        # The targets rest on more than a comparison measures.
        return tables(self.results)[1:]


async def compare(
    *,
    paces: Sequence[float] = (50.0,),
    concurrent: Sequence[int] = (1,),
    lengths: Sequence[int] = (200,),
    viewers: Sequence[int] = (1,),
    delays: Sequence[float] = (),
    byte_lengths: Sequence[int] = (),
    absence: float = 0.0,
    rounds: int = 1,
    ways: Sequence[str] = WAYS,
    on_step: OnStep | None = None,
) -> Comparison:
    """Stream the same scripted replies in each way, in turn, and compare.

    Measured is every combination of `paces` (tokens per second of a reply, 0 for as
    fast as possible), `concurrent` replies, `lengths` in tokens and `viewers` of each
    reply; the first one `rounds` times. For each of `delays`, in seconds of network
    each way, one reply at the first pace. The bytes of replies of `byte_lengths` tokens
    at that pace are counted, and viewers join late and are away for `absence` seconds,
    0 for none.

    Starts what it needs (a provider, a server for each of `ways`) and stops it, also
    when it is cancelled. `on_step` is told what is measured next; without it a notebook
    shows that in one line. Raises ConfigError for what cannot be measured, StackError
    when a process does not start.
    """
    _check(paces, concurrent, lengths, viewers, delays, byte_lengths, ways)
    if not 0 <= absence <= 60:
        raise ConfigError(f"absence is {absence!r}: give seconds from 0 to 60.")
    if not 1 <= rounds <= 100:
        raise ConfigError(f"rounds is {rounds!r}: give a number from 1 to 100.")
    planned = loads(
        paces=paces, concurrent=concurrent, lengths=lengths, viewers=viewers
    )
    for delay in delays:
        planned += loads(paces=paces[:1], lengths=lengths[:1], delay=delay)
    pace = paces[0] or 50.0
    plan = Plan(
        loads=list(dict.fromkeys(planned)),
        rounds=rounds,
        ways=ways,
        byte_lengths=byte_lengths,
        byte_pace=pace,
        # Long enough that a viewer is back before the end.
        absence=Load(int((absence + 4) * pace), pace) if absence else None,
        absence_seconds=absence,
    )
    with tempfile.TemporaryDirectory(prefix="kit-bench-") as folder:
        measurement = Measurement(plan, Path(folder))
        results = await measurement.run(on_step or _in_notebook(measurement))
    return Comparison(results)


def _check(
    paces: Sequence[float],
    concurrent: Sequence[int],
    lengths: Sequence[int],
    viewers: Sequence[int],
    delays: Sequence[float],
    byte_lengths: Sequence[int],
    ways: Sequence[str],
) -> None:
    limits: dict[str, tuple[Sequence[float], float, float]] = {
        "paces": (paces, 0, 100_000),
        "concurrent": (concurrent, 1, 1_000),
        "lengths": (lengths, 1, 200_000),
        "viewers": (viewers, 1, 1_000),
        "delays": (delays, 0, 10),
        "byte_lengths": (byte_lengths, 1, 200_000),
    }
    for name, (values, low, high) in limits.items():
        if not values and name not in ("delays", "byte_lengths"):
            raise ConfigError(f"{name} is empty: give at least one value.")
        for value in values:
            if not low <= value <= high:
                raise ConfigError(
                    f"{name} has {value!r}: give numbers from {low:g} to {high:g}."
                )
    unknown = [way for way in ways if way not in WAYS]
    if unknown or not ways:
        raise ConfigError(f"ways are {list(ways)}: choose from {', '.join(WAYS)}.")


def _in_notebook(measurement: Measurement) -> OnStep:
    """Progress in one line of the cell's output; nothing outside of a notebook."""
    from IPython import get_ipython

    if get_ipython() is None:
        return lambda title: None
    from IPython.display import Pretty, display

    shown = display(Pretty("Starting the processes"), display_id=True)
    begun = 0

    def on_step(title: str) -> None:
        nonlocal begun
        text = f"{begun} of {len(measurement.steps)}: {title}"
        begun += 1
        shown.update(Pretty(text))

    return on_step
