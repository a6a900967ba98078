"""The widget without a browser: what it sends, what it answers, what it leaves."""

import asyncio
import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import ipywidgets
import pytest
from fake_chat import FakeChat, text_chunks, tool_chunks
from screen import compact
from widget_wire import Browser, Wire, open_wires, wire_of

from kit.app.runs import WhenActive
from kit.errors import KitError
from kit.widget import ChatView
from kit.widget.markdown import render_markdown
from kit.widget.outlet import FLUSH_INTERVAL

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(autouse=True)
def wires(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Wire]]:
    yield from open_wires(monkeypatch)


REPLY = [
    *text_chunks("Hmm, *well*", part_id="reasoning-0", kind="reasoning", size=4),
    *tool_chunks("call-1", "search", '{"q": "x"}', '{"hits": []}'),
    *text_chunks("# Head\n\nSome **text**.\n\n- a\n- b\n\n```py\nx = 1\n```\n", size=3),
]


class SlowChat(FakeChat):
    """It takes a message when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.sending = asyncio.Event()
        self.go_on = asyncio.Event()

    async def send_message(
        self,
        text: str,
        *,
        model: str | None = None,
        client_message_id: str | None = None,
        when_active: WhenActive = "reject",
    ) -> str:
        self.sending.set()
        await self.go_on.wait()
        return await super().send_message(text)


# --- what is sent --------------------------------------------------------------------


async def test_a_view_that_follows_sees_what_was_said() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    browser = Browser(wire_of(view))
    chat.ask("hello?")
    await chat.stream(REPLY, pace=2_000)
    browser.follow()
    assert browser.screen.status["state"] == "done"
    shown = browser.screen.html()["message-1"]
    assert shown["text-0"] == compact(render_markdown(chat.rows[-1]["content"]))
    assert list(shown) == ["reasoning-0", "call-1", "call-1-result", "text-0"]


async def test_chunks_are_coalesced() -> None:
    """About thirty messages a second, however many chunks there are."""
    chat = FakeChat()
    view = ChatView(chat)
    chat.begin()
    loop = asyncio.get_running_loop()
    started, chunks = loop.time(), 0
    chat.feed({"type": "text-start", "id": "text-0"})
    while loop.time() < started + 0.5:
        chat.feed({"type": "text-delta", "id": "text-0", "delta": "word "})
        chunks += 1
        await asyncio.sleep(0)
    messages = wire_of(view).custom()
    elapsed = loop.time() - started
    assert chunks > 200
    assert 3 <= len(messages) <= elapsed * 30 + 3


async def test_what_came_in_one_turn_of_the_loop_is_one_message() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    chat.begin()
    for chunk in REPLY:
        chat.feed(chunk)
    await wire_of(view).until(wire_of(view).custom)
    assert len(wire_of(view).custom()) == 1


@pytest.mark.parametrize(("interval", "most"), [(0.0005, 8), (FLUSH_INTERVAL, 11)])
async def test_a_long_reply_is_sent_in_proportion_to_its_length(
    monkeypatch: pytest.MonkeyPatch, interval: float, most: int
) -> None:
    now = 0.0  # figures and snapshots are sent by the clock
    monkeypatch.setattr("kit.widget.pane.time", SimpleNamespace(monotonic=lambda: now))
    chat = FakeChat()
    view = ChatView(chat)
    wire = wire_of(view)
    browser = Browser(wire)
    text = "Some **text** and `code`, a sentence of a long reply.\n\n" * 3_700
    assert len(text) > 200_000
    chat.begin()
    chat.feed({"type": "text-start", "id": "text-0"})
    for start in range(0, len(text), 100):
        delta = text[start : start + 100]
        chat.feed({"type": "text-delta", "id": "text-0", "delta": delta})
        view._panes[0].flush()
        now += interval
    chat.end()
    sizes = [len(json.dumps(data)) for _, data in wire.sent[1:]]
    messages = [len(json.dumps(message)) for message in wire.custom()]
    assert len(messages) > 2_000
    assert max(messages) < 3_000
    assert sum(sizes) < most * len(text)
    browser.follow()
    expected = compact(render_markdown(text))
    assert browser.screen.html()["message-0"]["text-0"] == expected


async def test_everything_is_sent_at_the_end_of_a_turn() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    chat.ask("hello?")
    await chat.stream(REPLY, pace=2_000)
    snapshot = wire_of(view).snapshots()[-1]
    browser = Browser(wire_of(view))
    browser.load(snapshot)
    browser.follow()
    late = Browser(wire_of(view))
    late.follow()
    assert browser.screen.html() == late.screen.html()
    assert snapshot["status"]["state"] == "done"


async def test_the_end_is_sent_before_anybody_who_waits_for_it_goes_on() -> None:
    """The cell that waits may be the last: later messages reach no notebook."""
    chat = FakeChat()
    view = ChatView(chat)
    seen: list[str] = []

    async def cell() -> None:
        await chat.until(lambda chat: chat.messages and not chat.is_streaming)
        seen.append(wire_of(view).snapshots()[-1]["status"]["state"])

    chat.begin()
    waiting = asyncio.create_task(cell())
    await asyncio.sleep(0)
    chat.feed(*REPLY)
    chat.end()
    await waiting
    assert seen == ["done"]


async def test_a_page_that_is_reloaded_gets_what_is_shown_by_then() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    chat.begin()
    chat.feed(*REPLY[:-3])
    (snapshot,) = view.get_state("snapshot")["snapshot"]["panes"]
    late = Browser(wire_of(view))
    late.load(snapshot)
    chat.feed(*REPLY[-3:])
    chat.end()
    late.follow()
    full = Browser(wire_of(view))
    full.follow()
    assert late.screen.html() == full.screen.html()


async def test_a_static_view_has_no_comm(wires: list[Wire]) -> None:
    chat = FakeChat()
    view = ChatView(chat, live=False)
    await chat.stream(REPLY, pace=2_000)
    data, _ = view._repr_mimebundle_()
    assert wires == []
    assert sorted(data) == ["text/html", "text/plain"]
    assert "Head</p>" in data["text/html"]


async def test_what_was_there_before_is_shown_at_once() -> None:
    first = FakeChat()
    first.ask("hello?")
    await first.stream(REPLY, pace=2_000)
    browser = Browser(wire_of(ChatView(FakeChat(first.rows))))
    assert list(browser.screen.messages) == ["message-0", "message-1"]
    assert browser.screen.status["canSend"]


# --- what is answered -----------------------------------------------------------------


async def test_a_view_that_missed_a_message_is_sent_everything() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    chat.begin()
    chat.feed(*REPLY[:5])
    wire_of(view).receive({"type": "snapshot"})
    wire_of(view).receive({"type": "snapshot"})  # another view: one answer serves both
    await wire_of(view).until(wire_of(view).snapshots)
    (snapshot,) = wire_of(view).snapshots()
    assert snapshot["messages"][0]["parts"][0]["key"] == "reasoning-0"
    assert snapshot["status"]["active"]


async def test_a_view_that_lost_the_last_message_finds_out() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    chat.begin()
    await wire_of(view).until(wire_of(view).custom)
    seq = wire_of(view).custom()[-1]["seq"]
    wire_of(view).receive({"type": "check", "seq": seq})
    wire_of(view).receive({"type": "check", "seq": seq - 1})
    await wire_of(view).until(wire_of(view).snapshots)
    assert len(wire_of(view).snapshots()) == 1


async def test_stop_reaches_the_source_and_is_shown_at_once() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    browser = Browser(wire_of(view))
    chat.begin()
    wire_of(view).receive({"type": "stop", "id": "1"})
    await asyncio.wait_for(chat.stopped.wait(), 5)
    browser.follow()
    assert browser.screen.status["state"] == "stopping"
    assert not browser.screen.status["canStop"]
    chat.end("stopped")
    await wire_of(view).until(wire_of(view).answers)
    browser.follow()
    assert browser.screen.status["state"] == "stopped"
    assert "error" not in wire_of(view).answers()[0]


async def test_a_stop_that_fails_is_told_and_can_be_tried_again() -> None:
    chat = FakeChat()
    chat.refusal = KitError("The deployment is away.")
    view = ChatView(chat)
    browser = Browser(wire_of(view))
    chat.begin()
    wire_of(view).receive({"type": "stop", "id": "1"})
    await wire_of(view).until(wire_of(view).answers)
    browser.follow()
    assert browser.screen.status["notice"] == "The deployment is away."
    assert browser.screen.status["canStop"]


async def test_a_message_is_sent() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    wire_of(view).receive({"type": "send", "id": "1", "text": "hello *you*"})
    await wire_of(view).until(wire_of(view).answers)
    assert chat.sent == ["hello *you*"]
    assert {"pane": 0, "type": "received", "id": "1"} in wire_of(view).custom()


@pytest.mark.parametrize("text", ["", "  \n"])
async def test_nothing_is_not_sent(text: str) -> None:
    chat = FakeChat()
    view = ChatView(chat)
    wire_of(view).receive({"type": "send", "id": "1", "text": text})
    await wire_of(view).until(wire_of(view).answers)
    assert chat.sent == []
    assert wire_of(view).answers()[0]["error"] == "There is nothing to send."


async def test_while_a_reply_is_written_nothing_is_sent() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    chat.begin()
    wire_of(view).receive({"type": "send", "id": "1", "text": "and?"})
    await wire_of(view).until(wire_of(view).answers)
    assert chat.sent == []
    assert "Stop it first" in wire_of(view).answers()[0]["error"]


async def test_while_a_message_is_sent_no_other_is() -> None:
    chat = SlowChat()
    view = ChatView(chat)
    browser = Browser(wire_of(view))
    wire_of(view).receive({"type": "send", "id": "1", "text": "one"})
    await asyncio.wait_for(chat.sending.wait(), 5)
    browser.follow()
    assert browser.screen.status["label"] == "Sending…"
    assert not browser.screen.status["canSend"]
    wire_of(view).receive({"type": "send", "id": "2", "text": "two"})
    await wire_of(view).until(wire_of(view).answers)
    assert "just being sent" in wire_of(view).answers()[0]["error"]
    chat.go_on.set()
    await wire_of(view).until(lambda: len(wire_of(view).answers()) == 2)
    browser.follow()
    assert chat.sent == ["one"]
    assert browser.screen.status["label"] == "Sent"
    assert browser.screen.status["canSend"]


async def test_a_message_that_is_refused_is_not_called_sent() -> None:
    chat = FakeChat()
    chat.refusal = KitError("There is no connection.")
    view = ChatView(chat)
    browser = Browser(wire_of(view))
    wire_of(view).receive({"type": "send", "id": "1", "text": "one"})
    await wire_of(view).until(wire_of(view).answers)
    browser.follow()
    assert browser.screen.status["label"] == "Ready"
    assert browser.screen.status["notice"] == "There is no connection."
    assert browser.screen.status["canSend"]


async def test_the_last_message_is_sent_again_as_another_one() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    chat.ask("\nfirst")
    await chat.stream(REPLY, pace=2_000)
    chat.ask("\n*second*\n")
    await chat.stream(REPLY[:3], pace=2_000)
    wire_of(view).receive({"type": "retry", "id": "1"})
    await wire_of(view).until(wire_of(view).answers)
    assert chat.sent == ["\n*second*\n"]
    said = [row["content"] for row in chat.rows if row["role"] == "USER"]
    assert said == ["\nfirst", "\n*second*\n", "\n*second*\n"]


async def test_what_cannot_be_sent_again_says_why() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    wire_of(view).receive({"type": "retry", "id": "1"})
    await wire_of(view).until(wire_of(view).answers)
    chat.ask("hello?")
    chat.begin()
    wire_of(view).receive({"type": "retry", "id": "2"})
    await wire_of(view).until(lambda: len(wire_of(view).answers()) == 2)
    nothing, early = [answer["error"] for answer in wire_of(view).answers()]
    assert "no message that could be sent again" in nothing
    assert "Stop it first" in early
    assert chat.sent == []


async def test_a_message_is_copied_as_markdown() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    await chat.stream(REPLY, pace=2_000)
    wire_of(view).receive({"type": "copy", "id": "1", "message": "message-0"})
    wire_of(view).receive({"type": "copy", "id": "2", "message": "no such"})
    await wire_of(view).until(lambda: len(wire_of(view).answers()) == 2)
    copied, refused = wire_of(view).answers()
    assert copied["text"].startswith("# Head\n\nSome **text**.")
    assert "not shown any more" in refused["error"]


@pytest.mark.parametrize(
    "content",
    [
        *(None, [], "stop", {}, {"type": "x"}, {"type": "stop"}),
        *({"type": "send", "id": 1}, {"type": "stop", "id": "1", "pane": 1}),
        *({"type": "stop", "id": "1", "pane": -1}, {"type": "snapshot", "pane": "0"}),
    ],
)
async def test_nonsense_from_a_view_is_logged_and_harms_nothing(
    content: Any, caplog: pytest.LogCaptureFixture
) -> None:
    chat = FakeChat()
    view = ChatView(chat)
    wire_of(view).receive(content)
    wire_of(view).receive({"type": "send", "id": "1", "text": "still here"})
    await wire_of(view).until(wire_of(view).answers)
    assert "unknown" in caplog.text
    assert chat.sent == ["still here"]


async def test_a_view_may_speak_from_another_thread() -> None:
    """JupyterLab's messages may arrive on a subshell's thread."""
    threads: list[threading.Thread] = []

    class Noting(FakeChat):
        async def stop_stream(self) -> None:
            threads.append(threading.current_thread())
            await super().stop_stream()

    chat = Noting()
    view = ChatView(chat)
    chat.begin()
    message = {"type": "stop", "id": "1"}
    speaker = threading.Thread(target=wire_of(view).receive, args=[message])
    speaker.start()
    await asyncio.wait_for(chat.stopped.wait(), 5)
    speaker.join()
    assert threads == [threading.main_thread()]


async def test_the_figures_come_a_few_times_a_second() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    wire = wire_of(view)
    chat.begin()
    chat.feed({"type": "text-start", "id": "text-0"})
    loop = asyncio.get_running_loop()
    started = loop.time()
    while loop.time() < started + 0.8:
        chat.feed({"type": "text-delta", "id": "text-0", "delta": "word "})
        await asyncio.sleep(0.01)
    elapsed = loop.time() - started
    statuses = [op for message in wire.custom() for op in message["ops"]]
    statuses = [op[1] for op in statuses if op[0] == "status"]
    assert 2 <= len(statuses) <= elapsed / 0.25 + 3
    texts = [text for text, _ in statuses[-1]["figures"]]
    assert any(text.startswith("≈ ") and "tokens" in text for text in texts)
    chat.end(usage={"completionTokens": 1234.0})
    browser = Browser(wire)
    browser.follow()
    figures = dict(browser.screen.status["figures"])
    assert "1,234 tokens" in figures
    assert "counted" in figures["1,234 tokens"]


async def test_an_error_of_the_source_is_shown() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    browser = Browser(wire_of(view))
    chat.error = "The application server refused the message."
    chat.set_connection("reconnecting")
    browser.follow()
    assert browser.screen.status["notice"] == chat.error
    assert browser.screen.status["state"] == "reconnecting"


async def test_an_error_that_a_message_shows_is_not_shown_again() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    browser = Browser(wire_of(view))
    chat.begin()
    chat.error = "The provider is overloaded."
    chat.end("failed", error=chat.error)
    browser.follow()
    assert "The provider is overloaded." in str(browser.screen.html())
    assert browser.screen.status["notice"] == ""
    chat.ask("And now?")
    browser.follow()
    assert browser.screen.status["notice"] == chat.error


# --- what it leaves -------------------------------------------------------------------


async def test_the_bundle_has_the_view_and_its_static_face() -> None:
    data, _ = ChatView(FakeChat())._repr_mimebundle_()
    assert sorted(data) == [WIDGET_MIME, "text/html", "text/plain"]


async def test_on_a_page_with_places_the_output_is_the_face_alone() -> None:
    """JupyterLab shows an error where a widget was, though there is HTML as well."""
    view = ChatView(FakeChat())
    before, _ = view._repr_mimebundle_()
    wire_of(view).receive({"type": "places"})
    await asyncio.sleep(0)
    data, _ = view._repr_mimebundle_()
    assert sorted(data) == ["text/html", "text/plain"]
    assert data["text/html"] == before["text/html"]
    place = f'<kit-chat-place data-widget="{view.place}"'
    assert data["text/html"].startswith(place)
    assert data["text/html"].endswith(f"{view.as_html()}</kit-chat-place>")
    await view.close()
    data, _ = view._repr_mimebundle_()
    assert data["text/html"] == view.as_html()


async def test_a_closed_view_is_static_and_follows_nothing() -> None:
    chat = FakeChat()
    chat.ask("hello?")
    view = ChatView(chat)
    wire = wire_of(view)
    await view.close()
    view.close()
    assert wire.sent[-1][0] == "comm_close"
    count = len(wire.sent)
    chat.ask("and now?")
    wire.receive({"type": "send", "id": "1", "text": "from a ghost"})
    data, _ = view._repr_mimebundle_()
    assert sorted(data) == ["text/html", "text/plain"]
    assert "hello?" in data["text/html"]
    assert "and now?" not in data["text/html"]
    assert len(wire.sent) == count
    assert chat._observers == []


async def test_its_repr_says_what_is_going_on() -> None:
    chat = FakeChat()
    view = ChatView(chat, title="Option 1")
    assert repr(view) == "<ChatView 'Option 1': Ready, 0 messages>"
    chat.begin()
    chat.feed(*text_chunks("word " * 20)[:-1])
    assert repr(view) == (
        "<ChatView 'Option 1': Streaming, 1 messages, "
        "the last assistant 'word word word word word word word word …'>"
    )


async def test_it_can_be_put_into_a_box() -> None:
    left, right = ChatView(FakeChat()), ChatView(FakeChat())
    assert ipywidgets.HBox([left, right]).children == (left, right)


def test_outside_a_loop_it_shows_the_source_as_it_is() -> None:
    chat = FakeChat()
    view = ChatView(chat)
    chat.ask("hello?")
    assert "hello?" in view.as_text()


async def test_outside_a_notebook_it_is_shown_as_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    chat = FakeChat()
    chat.ask("hello?")
    await ChatView(chat).show()
    assert capsys.readouterr().out == "[Ready]\n\nuser:\nhello?\n"
