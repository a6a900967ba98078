"""Queries as of a moment ago: what they see, how far back, what is kept for it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deployment_in_a_test import (
    COMMON,
    SCHEMA,
    Args,
    Clock,
    Ctx,
    Options,
    mutate,
    open_engine,
    query,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import kit.deployment.history
from kit.deployment import functions as f
from kit.deployment.engine import Engine
from kit.deployment.history import RETENTION, NotKept


@f.mutation()
async def change(ctx: Ctx, args: Args) -> Any:
    """Several steps, some of which may be undone within."""
    for step in args["steps"]:
        notes = await ctx.db.query("notes").collect()
        match step:
            case ["insert", kind]:
                await ctx.db.insert("notes", {"kind": kind})
            case ["patch", at, kind] if notes:
                note = notes[int(at) % len(notes)]
                await ctx.db.patch(note["_id"], {"kind": kind})
            case ["delete", at] if notes:
                await ctx.db.delete(notes[int(at) % len(notes)]["_id"])
            case ["table", name]:
                await ctx.db.insert(name, {})
            case ["undone", *steps]:
                try:
                    await ctx.run_mutation("m:fail", {"steps": steps})
                except Exception:
                    continue


@f.mutation()
async def fail(ctx: Ctx, args: Args) -> Any:
    await ctx.run_mutation("m:change", args)
    raise Exception("undo this")


@f.query()
async def q_everything(ctx: Ctx, args: Args) -> Any:
    """All documents by each of their indexes, and by their ids."""
    notes = await ctx.db.query("notes").collect()
    by_kind = await ctx.db.query("notes").with_index("by_kind").collect()
    by_id = [await ctx.db.get(note["_id"]) for note in notes]
    others = [await ctx.db.query(name).collect() for name in ("one", "two")]
    return [notes, by_kind, by_id, others]


@contextmanager
def opened(folder: Path, clock: Clock | None = None) -> Iterator[Engine]:
    functions = {"change": change, "fail": fail, "q_everything": q_everything}
    options = Options(clock=clock or Clock())
    with open_engine(folder, SCHEMA, options, **functions, **COMMON) as engine:
        yield engine


def as_of(engine: Engine, at: int) -> Any:
    outcome = engine.run_query("m:q_everything", {}, at=at)
    assert outcome.error is None, outcome.error.text
    assert outcome.value_json is not None
    assert outcome.timestamp == at
    return json.loads(outcome.value_json)


STEPS = st.recursive(
    st.one_of(
        st.tuples(st.just("insert"), st.integers(0, 2)),
        st.tuples(st.just("patch"), st.integers(0, 5), st.integers(0, 2)),
        st.tuples(st.just("delete"), st.integers(0, 5)),
        st.tuples(st.just("table"), st.sampled_from(["one", "two"])),
    ).map(list),
    lambda inner: st.lists(inner, max_size=3).map(lambda steps: ["undone", *steps]),
    max_leaves=4,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(commits=st.lists(st.lists(STEPS, max_size=4), max_size=8))
def test_a_query_of_the_past_sees_what_it_would_have_seen(
    commits: list[list[Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with opened(tmp_path_factory.mktemp("data")) as engine:
        seen = {engine.latest_timestamp: query(engine, "q_everything")}
        for steps in commits:
            mutate(engine, "change", steps=steps)
            seen[engine.latest_timestamp] = query(engine, "q_everything")
        for timestamp, expected in seen.items():
            assert as_of(engine, timestamp) == expected
        # And all is as it was, for the next one.
        assert query(engine, "q_everything") == list(seen.values())[-1]


def test_between_two_commits_it_is_the_earlier_one_that_counts(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as engine:
        mutate(engine, "add", text="one")
        first = engine.latest_timestamp
        clock.now += 1
        mutate(engine, "add", text="two")
        for timestamp in (first, first + 1, engine.latest_timestamp - 1):
            (note,) = as_of(engine, timestamp)[0]
            assert note["text"] == "one"


def test_the_future_is_not_known(tmp_path: Path) -> None:
    with (
        opened(tmp_path) as engine,
        pytest.raises(NotKept, match="later than the latest one"),
    ):
        as_of(engine, engine.latest_timestamp + 1)


def test_before_the_start_nothing_is_known(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        mutate(engine, "add", text="one")
        before = engine.latest_timestamp
        mutate(engine, "add", text="two")
    with opened(tmp_path) as engine:
        with pytest.raises(NotKept, match="keeps what has changed in the last 30 s"):
            as_of(engine, before)
        assert len(as_of(engine, engine.latest_timestamp)[0]) == 2


def test_what_changed_in_the_last_half_minute_is_kept(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as engine:
        timestamps = []
        for number in range(200):
            clock.now += 1
            mutate(engine, "add", text=str(number))
            timestamps.append(engine.latest_timestamp)
        for number, timestamp in enumerate(timestamps):
            if timestamp >= engine.latest_timestamp - RETENTION:
                assert len(as_of(engine, timestamp)[0]) == number + 1
        with pytest.raises(NotKept):
            as_of(engine, timestamps[200 - 2 * 30 - 3])


def test_silence_forgets_nothing(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock) as engine:
        mutate(engine, "add", text="one")
        timestamp = engine.latest_timestamp
        clock.now += 3600
        assert len(as_of(engine, timestamp)[0]) == 1


def test_what_is_kept_has_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit.deployment.history, "MOST_KEPT", 100_000)
    with opened(tmp_path) as engine:
        mutate(engine, "add", text="x" * 10_000)
        timestamps = []
        for number in range(50):
            steps = [["patch", 0, f"{number}" * 10_000]]
            mutate(engine, "change", steps=steps)
            timestamps.append(engine.latest_timestamp)
        with pytest.raises(NotKept):
            as_of(engine, timestamps[0])
        for number in (-1, -2):
            (note,) = as_of(engine, timestamps[number])[0]
            assert note["kind"][:2] == str(50 + number)


def test_a_failed_mutation_leaves_nothing_to_go_back_to(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        mutate(engine, "add", text="one")
        first = engine.latest_timestamp
        engine.run_mutation("m:fail", {"steps": [["insert", 1], ["delete", 0]]})
        mutate(engine, "add", text="two")
        assert [note["text"] for note in as_of(engine, first)[0]] == ["one"]
