"""The ways, running: the same reply through each, whole and on record."""

import gc
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from kit.bench.lab import Lab
from kit.bench.load import WAYS, Load, Run
from kit.bench.seen import ViewerLog
from kit.errors import KitError, StackError


def processes() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def assert_whole(run: Run) -> None:
    """Every viewer has the reply, and in the order in which it was sent."""
    assert run.lost == 0
    for seen in run.seen:
        assert seen.ended
        assert len(seen.reply.tokens) == run.load.tokens
        for log in seen.logs:
            assert seen.reply.text.startswith(log.text)
            assert log.text == seen.reply.text or log.final == seen.reply.text
            assert log.times == sorted(log.times)
            assert first_seen(log) >= seen.reply.times[0] > seen.asked_at


def first_seen(log: ViewerLog) -> float:
    """When there was some of it: of a short reply, maybe only the stored message."""
    if log.times:
        return log.times[0]
    assert log.final_at is not None
    return log.final_at


@pytest.mark.timeout(120)
async def test_the_same_reply_comes_whole_in_every_way(tmp_path: Path) -> None:
    before = processes()
    async with Lab(tmp_path, names=(*WAYS, "guide-text")) as lab:
        texts = set()
        for name in lab.ways:
            run = await lab.run(name, Load(tokens=30, pace=200.0))
            assert_whole(run)
            texts.add(run.seen[0].reply.text)
            assert run.traffic is None
            assert {"provider", "viewers"} < set(run.usage)
        assert len(texts) == 1

        crowd = Load(20, 200.0, streams=3, viewers=2, delay=0.01, count_bytes=True)
        for name in lab.ways:
            run = await lab.run(name, crowd)
            assert_whole(run)
            assert len(run.seen) == 3
            assert {len(seen.logs) for seen in run.seen} == {2}
            sent = sum(len(seen.reply.text) for seen in run.seen)
            assert run.traffic is not None
            assert run.traffic.bytes_down > 2 * sent
            assert run.traffic.messages_down > 0
            for seen in run.seen:
                for log in seen.logs:  # no token overtakes the network
                    assert first_seen(log) - seen.reply.times[0] >= 0.01
    assert processes() == before
    assert gc.isenabled()


@pytest.mark.timeout(120)
async def test_a_task_can_have_a_history(tmp_path: Path) -> None:
    async with Lab(tmp_path) as lab:
        for name, way in lab.ways.items():
            task = await way.create_long_task(8)
            run = await lab.run(name, Load(tokens=10, pace=0, history=8), [task])
            assert_whole(run)
        convex: Any = lab.ways["kit"]
        rows = await convex.asker.query("messages:byTask", {"taskId": task})
        assert len(rows) == 8 + 2
        assert rows[0]["content"].startswith("Question 0")
        assert rows[1]["content"].startswith("Answer 1")
        assert rows[8]["content"].startswith("bench ")


class Refused(Load):
    """What the provider does not answer."""

    @property
    def model(self) -> str:
        return "openai/scripted-http-402"


@pytest.mark.timeout(120)
async def test_a_reply_that_is_refused_is_an_error_that_says_so(tmp_path: Path) -> None:
    async with Lab(tmp_path, names=("bare", "kit")) as lab:
        with pytest.raises(StackError, match="asked and refused"):
            await lab.run("bare", Refused())
        with pytest.raises(StackError, match=r"The kit's reply failed: .*402"):
            await lab.run("kit", Refused())
        with pytest.raises(KitError):
            await lab.ways["kit"].watch("no such task")
        assert_whole(await lab.run("kit", Load(tokens=5, pace=0)))
        assert len(await lab.provider_log()) > 1
        await lab.forget_replies()
        assert await lab.provider_log() == []
        assert_whole(await lab.run("kit", Load(tokens=5, pace=0)))
        assert len(await lab.provider_log()) == 1


@pytest.mark.timeout(120)
async def test_a_lab_that_cannot_start_leaves_nothing_running(tmp_path: Path) -> None:
    before = processes()
    lab = Lab(
        tmp_path,
        names=("bare", "kit"),
        kit_environment={"KIT_FLUSH_INTERVAL_MS": "never"},
    )
    with pytest.raises(KitError, match="KIT_FLUSH_INTERVAL_MS"):
        async with lab:
            raise AssertionError("it has started")
    assert processes() == before


def test_keys_and_settings_from_outside_do_not_reach_the_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("KIT_FLUSH_INTERVAL_MS", "9999")
    env = Lab(tmp_path).provider.env
    assert "sk-secret" not in env.values()
    assert "KIT_FLUSH_INTERVAL_MS" not in env
    assert env["PATH"] == os.environ["PATH"]
