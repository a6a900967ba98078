"""What a drill run does: replies, viewers, faults and their moments. Pure, seeded.

The same seed gives the same plan, everywhere. Faults strike at a phase of a reply and,
while it is being written, at a share of it: not at a time, so that a slow machine plays
the same plan. What exactly is on its way at that moment is up to the processes.

| reach | carried out on | faults |
|---|---|---|
| stream | processes that several runs share | of the provider, viewers, callers |
| process | processes of its own | SIGKILL of deployment, executor, provider |
| producer | the functions on an engine | calls lost, repeated, reordered |
| application | the application, with Convex | all but these, its server, networks |
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

__all__ = [
    "FAULTS",
    "Fault",
    "FaultKind",
    "Phase",
    "Plan",
    "ProviderFault",
    "Reach",
    "ReplyPlan",
    "ViewerKind",
    "ViewerPlan",
    "plan",
]

Reach: TypeAlias = Literal["stream", "process", "producer", "application"]
Phase: TypeAlias = Literal[
    "before",  # as soon as the reply has begun, or with the sending itself
    "during",  # at a share of the reply
    "after",  # when the reply has ended
]
ViewerKind: TypeAlias = Literal["hook", "log", "hybrid"]

ProviderFault: TypeAlias = Literal[
    "error-mid", "drop", "eof", "stall", "http-401", "http-429", "http-529", "flaky"
]
CallerFault: TypeAlias = Literal[
    "cut-viewer", "late-join", "stop", "stop-twice", "resend", "overlap"
]
ProcessFault: TypeAlias = Literal["kill-deployment", "kill-executor", "kill-provider"]
ApplicationFault: TypeAlias = Literal[
    "kill-app", "cut-network", "slow-network", "half-open"
]
AppendFault: TypeAlias = Literal[
    "lose-call",
    "lose-ack",
    "delay-ack",
    "repeat-call",
    "late-repeat",
    "early-append",
    "stale-producer",
    "dead-producer",
]
FaultKind: TypeAlias = (
    ProviderFault | CallerFault | ProcessFault | ApplicationFault | AppendFault
)
Network: TypeAlias = Literal["viewers", "backend", "sockets"]
"""Between clients and deployment, application and deployment, clients and application.
"""

MAX_LOST = 3
"""Calls or answers lost in one reply: with each in a row the writer waits twice as
long, and a producer that waits longer than its lease is taken for dead."""

_PROVIDER: tuple[ProviderFault, ...] = get_args(ProviderFault)
_CALLER: tuple[CallerFault, ...] = get_args(CallerFault)
_PROCESS: tuple[ProcessFault, ...] = get_args(ProcessFault)
_APPLICATION: tuple[ApplicationFault, ...] = get_args(ApplicationFault)
_APPEND: tuple[AppendFault, ...] = get_args(AppendFault)

FAULTS: tuple[FaultKind, ...] = (
    *_PROVIDER,
    *_CALLER,
    *_PROCESS,
    *_APPLICATION,
    *_APPEND,
)
"""All kinds, in the order of the table that a drill prints."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong."""

    kind: FaultKind
    reply: int = 0
    """Which reply it strikes, from 0."""
    phase: Phase = "during"
    at: float = 0.0
    """Share of the reply that is there when it strikes, if `during`."""
    count: int = 1
    """How many at once: of repeated sends, of viewers that join."""
    which: int = 0
    """Which client is cut, or what kind of viewer joins."""
    network: Network = "viewers"
    seconds: float = 0.0
    """How long a process or a network stays away, an acknowledgement is late."""


@dataclass(frozen=True)
class ReplyPlan:
    """One message that is sent, and the reply that the provider plays."""

    model: str
    tokens: int
    by: Literal["send", "action"] = "send"
    tools: tuple[str, ...] = ()
    calls: int = 1
    """Model calls that one generation makes."""


@dataclass(frozen=True)
class ViewerPlan:
    """A viewer that is there from the start; viewers of one client share its socket."""

    kind: ViewerKind
    client: int


@dataclass(frozen=True)
class Plan:
    """One run. `replies` of a producer run only say how long the reply is."""

    seed: int
    reach: Reach
    replies: tuple[ReplyPlan, ...]
    viewers: tuple[ViewerPlan, ...]
    faults: tuple[Fault, ...]
    option: int = 0
    """Of an application run: the form of the migration, 1 or 2."""


def plan(seed: int) -> Plan:
    """The plan of this seed."""
    # Seeded with a text: the same on every platform, and near seeds are unrelated.
    chance = random.Random(f"drill {seed}")
    reach = chance.choices(get_args(Reach), (38, 22, 18, 22))[0]
    match reach:
        case "stream":
            return _stream_plan(seed, chance)
        case "process":
            return _process_plan(seed, chance)
        case "producer":
            return _producer_plan(seed, chance)
        case _:
            return _application_plan(seed, chance)


def _stream_plan(seed: int, chance: random.Random) -> Plan:
    replies, faults = [], []
    for index in range(chance.choice((1, 1, 2))):
        fault = chance.choice(_PROVIDER) if chance.random() < 0.45 else None
        replies.append(_reply(chance, fault))
        if fault is not None:
            faults.append(Fault(fault, index, at=0.5))
        kinds: list[CallerFault] = [
            kind for kind in _CALLER if chance.random() < 0.35 and kind != "overlap"
        ]
        faults += [_caller_fault(chance, kind, index) for kind in kinds]
    if len(replies) == 2 and chance.random() < 0.5:
        faults.append(Fault("overlap", 1, at=_share(chance)))
    return Plan(seed, "stream", tuple(replies), _viewers(chance), tuple(faults))


def _process_plan(seed: int, chance: random.Random) -> Plan:
    faults = [
        Fault(
            chance.choices(_PROCESS, (4, 4, 2))[0],
            phase=chance.choice(("before", "during", "during", "during", "after")),
            at=_share(chance),
            seconds=round(chance.uniform(0.0, 0.6), 2),
        )
        for _ in range(chance.choice((1, 1, 2)))
    ]
    kinds: tuple[CallerFault, ...] = ("cut-viewer", "late-join", "stop", "resend")
    faults += [
        _caller_fault(chance, kind, 0) for kind in kinds if chance.random() < 0.25
    ]
    replies = (_reply(chance, None),)
    return Plan(seed, "process", replies, _viewers(chance), tuple(faults))


def _producer_plan(seed: int, chance: random.Random) -> Plan:
    faults: list[Fault] = []
    for _ in range(chance.randint(2, 8)):
        kind = chance.choice(_APPEND[:-1])
        lost = sum(fault.kind.startswith("lose-") for fault in faults)
        if kind.startswith("lose-") and lost == MAX_LOST:
            kind = "late-repeat"
        seconds = round(chance.uniform(0.0, 0.05), 3)
        faults.append(Fault(kind, at=_share(chance), seconds=seconds))
    ending: FaultKind | None = chance.choice(("stop", "dead-producer", None, None))
    if ending is not None:
        faults.append(Fault(ending, at=_share(chance)))
    if chance.random() < 0.5:
        faults.append(Fault("late-join", at=_share(chance)))
    tokens = chance.randint(20, 300)
    replies = (ReplyPlan("", tokens),)
    viewers = tuple(ViewerPlan("log", 0) for _ in range(chance.randint(1, 3)))
    return Plan(seed, "producer", replies, viewers, tuple(faults))


def _application_plan(seed: int, chance: random.Random) -> Plan:
    option = chance.choice((1, 2))
    replies, faults = [], []
    for index in range(chance.choice((1, 1, 2))):
        fault = chance.choice(_PROVIDER) if chance.random() < 0.2 else None
        replies.append(_reply(chance, fault))
        if fault is not None:
            faults.append(Fault(fault, index, at=0.5))
        kinds: tuple[CallerFault, ...] = ("cut-viewer", "late-join", "stop", "resend")
        faults += [
            _caller_fault(chance, kind, index)
            for kind in kinds
            if chance.random() < 0.25
        ]
    for _ in range(chance.choice((1, 1, 2))):
        phases: tuple[Phase, ...] = ("before", "before", "during", "during", "after")
        faults.append(
            Fault(
                chance.choices((*_APPLICATION, *_PROCESS), (5, 3, 2, 4, 6, 1, 2))[0],
                chance.randrange(len(replies)),
                phase=chance.choice(phases),
                at=_share(chance),
                network=chance.choice(get_args(Network)),
                seconds=round(chance.uniform(0.0, 1.2), 2),
            )
        )
    others = [
        ViewerPlan(chance.choice(("hybrid", "hook")), chance.randint(0, 1))
        for _ in range(chance.randint(0, 2))
    ]
    viewers = (ViewerPlan("log", 0), ViewerPlan("hybrid", 0), *others)
    return Plan(seed, "application", tuple(replies), viewers, tuple(faults), option)


def _share(chance: random.Random) -> float:
    return round(chance.uniform(0.02, 0.98), 2)


def _reply(chance: random.Random, fault: ProviderFault | None) -> ReplyPlan:
    tokens = chance.randint(10, 120)
    options = [f"tokens={tokens}", f"pace={chance.choice((40, 80, 150, 300, 0))}"]
    tools: tuple[str, ...] = ()
    scenario: str
    if fault is not None:
        scenario = fault
        if fault.startswith("http-"):
            options.append("retry-after=0.05")
        elif fault != "flaky":
            options.append(f"at={chance.randint(0, tokens)}")
    else:
        scenario = chance.choice(("text", "text", "think", "tool", "length", "slow"))
        if scenario == "tool":
            tools = ("calculator",)
        elif scenario == "slow":
            options.append("delay=0.6")
    prefix = chance.choice(("claude-", "gpt-", "openai/"))
    return ReplyPlan(
        model=f"{prefix}scripted-{scenario}:{','.join(options)}",
        tokens=tokens,
        by=chance.choice(("send", "action")),
        tools=tools,
        calls=2 if tools else 1,
    )


def _caller_fault(chance: random.Random, kind: CallerFault, reply: int) -> Fault:
    phases: tuple[Phase, ...] = ("before", "during", "during", "after")
    return Fault(
        kind,
        reply,
        phase=chance.choice(phases),
        at=_share(chance),
        count=chance.randint(1, 3),
        which=chance.randint(0, 1),
    )


def _viewers(chance: random.Random) -> tuple[ViewerPlan, ...]:
    """The first one reads the log: the run itself watches through it."""
    kinds: tuple[ViewerKind, ...] = ("hook", "log")
    others = [
        ViewerPlan(chance.choice(kinds), chance.randint(0, 1))
        for _ in range(chance.randint(1, 3))
    ]
    return (ViewerPlan("log", 0), *others)
