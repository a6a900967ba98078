"""Two chats in one widget: each its own, one message for both."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fake_chat import FakeChat, text_chunks
from widget_wire import Browser, Wire, open_wires, wire_of

from kit import Deployment, Stack, use_message_streaming, use_task_socket
from kit.app.hooks.source import Hook
from kit.errors import KitError
from kit.widget import SplitView


@pytest.fixture(autouse=True)
def wires(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Wire]]:
    yield from open_wires(monkeypatch)


def make(**options: Any) -> tuple[FakeChat, FakeChat, SplitView]:
    left, right = FakeChat(), FakeChat()
    return left, right, SplitView(left, right, titles=("L", "R"), **options)


async def test_each_side_shows_its_own_chat() -> None:
    left, right, split = make()
    wire = wire_of(split)
    browsers = [Browser(wire, pane) for pane in (0, 1)]
    await asyncio.gather(
        left.stream(text_chunks("said by *one*"), pace=2_000),
        right.stream(text_chunks("said by *another*"), pace=2_000),
    )
    for browser, text in zip(browsers, ("one", "another"), strict=True):
        browser.follow()
        (parts,) = browser.screen.html().values()
        assert parts["text-0"] == f"<p>said by <em>{text}</em></p>"
        assert browser.screen.status["state"] == "done"
    assert [browser.screen.status["title"] for browser in browsers] == ["L", "R"]


async def test_a_message_goes_to_both() -> None:
    left, right, split = make()
    await split.send_message("hello, both")
    assert left.sent == right.sent == ["hello, both"]


async def test_a_side_that_refuses_is_named_and_the_other_has_it() -> None:
    left, right, split = make()
    left.refusal = KitError("There is no connection.")
    with pytest.raises(KitError, match=r"^Not sent\. L: There is no connection\.$"):
        await split.send_message("hello?")
    assert right.sent == ["hello?"]


async def test_requests_are_for_one_side() -> None:
    left, right, split = make()
    wire = wire_of(split)
    right.ask("once more")
    wire.receive({"pane": 1, "type": "retry", "id": "1"})
    await wire.until(wire.answers)
    assert (left.sent, right.sent) == ([], ["once more"])
    assert wire.answers()[0]["pane"] == 1
    left.begin()
    wire.receive({"pane": 0, "type": "stop", "id": "2"})
    await asyncio.wait_for(left.stopped.wait(), 5)
    assert not right.stopped.is_set()


async def test_all_is_kept_when_both_have_ended() -> None:
    left, right, split = make()
    wire = wire_of(split)
    left.begin()
    right.begin()
    left.feed(*text_chunks("left is done"))
    left.end()
    assert wire.snapshots() == []
    right.feed(*text_chunks("and so is right"))
    right.end()
    assert [wire.snapshots(pane)[-1]["status"]["state"] for pane in (0, 1)] == [
        "done",
        "done",
    ]


async def test_its_faces_stand_side_by_side() -> None:
    left, right, split = make(live=False)
    left.ask("to the left")
    right.ask("to the right")
    page, text = split.as_html(), split.as_text()
    for face in (page, text):
        assert face.index("to the left") < face.index("to the right")
    assert "flex" in page.split(">")[0]
    assert text.startswith("L [")
    assert "\n\nR [" in text
    assert repr(split) == "<SplitView: L Sent, R Sent, static>"


async def test_closing_it_leaves_both_sources_alone() -> None:
    left, right, split = make()
    await split.close()
    assert left._observers == right._observers == []
    left.ask("unheard")
    assert "unheard" not in split.as_text()


async def test_both_ways_of_an_application_answer_the_same_prompt() -> None:
    """Socket.IO beside Convex, for real: what the view is for."""
    async with (
        await Stack.start(pace=200) as stack,
        Deployment(stack.deployment_url) as deployment,
    ):
        task_id = await deployment.mutation("tasks:create", {"title": "Convex"})
        async with (
            await use_task_socket(
                await stack.create_task("Socket.IO"), socket_url=stack.app.url
            ) as before,
            await use_message_streaming(
                task_id, deployment=deployment, model="claude-opus-5-5"
            ) as after,
        ):
            split = SplitView(before, after)
            assert split.titles == ("Socket.IO", "Convex")
            browsers = [Browser(wire_of(split), pane) for pane in (0, 1)]
            await split.send_message("Compare yourselves")
            for hook in (before, after):
                await hook.until(answered, timeout=30)
            for browser in browsers:
                browser.follow()
                status = browser.screen.status
                assert status["state"] == "done"
                figures = dict(status["figures"])
                assert any(text.startswith("first part") for text in figures)
                assert any("as the provider" in tip for tip in figures.values())
                seconds, _ = status["delivery"]
                assert 0 <= seconds < 60
            asked, replied = split.as_text().split("\n\nConvex [")
            for side in (asked, replied):
                assert "Compare yourselves" in side


def answered(hook: Hook) -> bool:
    """Whether the last message is a whole reply with its usage."""
    last = hook.messages[-1] if hook.messages else {}
    return last.get("role") == "ASSISTANT" and last.get("status") == "complete"


async def test_unnamed_sides_are_left_and_right() -> None:
    assert SplitView(FakeChat(), FakeChat(), live=False).titles == ("Left", "Right")
