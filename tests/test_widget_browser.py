"""The chat view in JupyterLab in a real browser: what a reader sees and does."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import nbformat
import pytest
import pytest_asyncio
from browser import Window, open_window, require_browser, start_lab
from nbclient import NotebookClient
from playwright.async_api import expect
from widget_page import (
    expect_output,
    expect_status,
    until_settled,
    view_of,
    write_notebook,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]

# Says in an output what became of the last reply; the source must not hold the text.
REPORT = 'print("ended", chat.rows[-1]["status"])'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def window(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Window]:
    require_browser()
    folder = tmp_path_factory.mktemp("notebooks")
    with start_lab(folder, tmp_path_factory.mktemp("lab")) as lab:
        async with open_window(lab) as window:
            yield window


AT_END = "log => log.scrollHeight - log.scrollTop - log.clientHeight < 2"

# --- while a reply is written ---------------------------------------------------------

WATCH = """() => {
  globalThis.renders = new Set();
  const look = () => {
    const view = document.querySelector('.kit-chat[data-status=streaming]');
    const text = view?.querySelector('.kit-text')?.innerText;
    if (text) globalThis.renders.add(text);
    const done = document.querySelector('.kit-chat[data-status=done]');
    if (!done) requestAnimationFrame(look);
  };
  look();
}"""


async def test_a_reply_grows_before_it_ends(window: Window, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    path = write_notebook(
        window.lab,
        "grows.ipynb",
        'reply = text_chunks("# Title\\n\\n" + "some **bold** words, " * 40)\n'
        f"await chat.stream(reply, pace=40, until={str(seen)!r})",
    )
    async with window.open_notebook(path) as notebook:
        await notebook.page.evaluate(WATCH)
        await notebook.run_all()
        view = view_of(notebook)
        await expect_status(view, "streaming")
        await expect(view.get_by_role("log")).to_have_attribute("aria-busy", "true")
        await expect(view.get_by_role("button", name="Stop")).to_be_enabled()
        await expect(view.get_by_role("button", name="Send")).to_be_disabled()
        seen.touch()
        await expect_status(view, "done")
        await expect(view.get_by_role("log")).to_have_attribute("aria-busy", "false")
        await expect(view.get_by_role("button", name="Stop")).to_be_disabled()
        await expect(view.locator("[aria-live=polite]")).to_have_text(
            "The reply is complete."
        )
        await expect(view.locator(".kit-text h1")).to_have_text("Title")
        await expect(view.locator(".kit-text strong")).to_have_count(40)
        renders = await notebook.page.evaluate("[...globalThis.renders]")
        assert len(renders) > 10
        assert sorted(renders, key=len) == renders
        assert notebook.complaints == []


async def test_stop_reaches_the_kernel_while_a_cell_waits(window: Window) -> None:
    path = write_notebook(
        window.lab,
        "stop.ipynb",
        'await chat.stream(text_chunks("word " * 2000), pace=20)',
        REPORT,
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        await expect(view.locator(".kit-text")).to_contain_text("word word")
        await view.get_by_role("button", name="Stop").click()
        await expect_status(view, "stopped")
        await expect_output(notebook, "ended stopped")
        await expect(view.locator(".kit-text")).to_contain_text("word word")


async def test_the_stop_button_stays_under_the_pointer(window: Window) -> None:
    """A reply that grows moves it down, a line at a time, until the view is full."""
    path = write_notebook(
        window.lab,
        "held.ipynb",
        'await chat.stream(text_chunks("a line\\n\\n" * 2000, size=8), pace=20)',
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        lines = view.locator(".kit-text p")
        stop = view.get_by_role("button", name="Stop")

        async def until_grown(more: int) -> None:
            count = await lines.count()
            await expect(lines.nth(count + more)).to_be_attached()

        await until_grown(1)
        await stop.hover()
        place = await stop.bounding_box()
        assert place is not None
        await until_grown(3)
        await notebook.page.mouse.down()
        await until_grown(3)
        assert await stop.bounding_box() == place
        assert await view.get_by_role("log").evaluate(AT_END)
        await notebook.page.mouse.up()
        await expect_status(view, "stopped")
        await notebook.page.wait_for_function(  # then all of it is shown again
            "y => document.querySelector('.kit-stop').getBoundingClientRect().y > y",
            arg=place["y"],
        )


async def test_a_stop_that_fails_says_so_in_the_view(window: Window) -> None:
    path = write_notebook(
        window.lab,
        "refused.ipynb",
        'chat.refusal = RuntimeError("nobody listens")\n'
        'await chat.stream(text_chunks("word " * 2000), pace=20)',
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        await expect_status(view, "streaming")
        await view.get_by_role("button", name="Stop").click()
        await expect(view.get_by_role("alert")).to_contain_text("nobody listens")
        await expect(view.get_by_role("button", name="Stop")).to_be_enabled()


async def test_all_views_show_the_same_also_after_a_reload(
    window: Window, tmp_path: Path
) -> None:
    go_on = tmp_path / "go-on"  # the reply waits for it in its middle
    path = write_notebook(
        window.lab,
        "views.ipynb",
        "reply = [\n"
        '    *text_chunks("Hm.", part_id="reasoning-0", kind="reasoning"),\n'
        '    *tool_chunks("c", "search", \'{"q": 1}\', \'{"hits": [1]}\'),\n'
        '    *text_chunks("- item **one**\\n- item `two`\\n\\n" * 40, size=20),\n'
        "]\n"
        "async def stream():\n"
        "    chat.begin()\n"
        "    for number, chunk in enumerate(reply):\n"
        "        chat.feed(chunk)\n"
        "        await asyncio.sleep(0.02)\n"
        f"        while number == 30 and not os.path.exists({str(go_on)!r}):\n"
        "            await asyncio.sleep(0.05)\n"
        "    chat.end()\n"
        "import os\n"
        "task = asyncio.create_task(stream())",
        "view.show()",
    )
    async with window.open_notebook(path, height=1600) as notebook:
        await notebook.run_all()
        views = view_of(notebook)
        await expect(views).to_have_count(2)
        await expect(views.last.locator(".kit-text li")).not_to_have_count(0)
        await notebook.save()
        await expect(notebook.page.locator(".jp-mod-dirty")).to_have_count(0)
        await notebook.reload()
        await expect(views).to_have_count(2, timeout=30_000)
        await expect_status(views.first, "streaming")
        await expect(views.first.locator(".kit-tool")).to_have_count(1)
        go_on.touch()
        await expect_status(views.first, "done")
        await expect_status(views.last, "done")
        first, last = [
            await each.locator(".kit-messages").inner_html()
            for each in await views.all()
        ]
        assert first == last
        await expect(views.first.locator(".kit-text li")).to_have_count(80)


async def test_a_long_reply_is_whole_though_most_of_it_is_not_drawn(
    window: Window,
) -> None:
    """Code and text without an end are cut into pieces, of which none gets lost."""
    path = write_notebook(
        window.lab,
        "long.ipynb",
        'code = "".join(f"line_{n} = go({n})  # of many\\n" for n in range(1500))\n'
        'prose = "".join(f"word{n} and others, " for n in range(2500))\n'
        'blocks = "".join(f"- item {n}\\n\\nparagraph {n}\\n\\n" for n in range(200))\n'
        "async def feed(part, text):\n"
        '    chat.feed({"type": "text-start", "id": part})\n'
        "    for start in range(0, len(text), 900):\n"
        "        delta = text[start : start + 900]\n"
        '        chat.feed({"type": "text-delta", "id": part, "delta": delta})\n'
        "        await asyncio.sleep(0.02)\n"
        "chat.begin()\n"
        'await feed("text-0", "```py\\n" + code)\n'
        'await feed("text-1", prose)\n'
        'await feed("text-2", blocks)\n'
        'print("so far")',
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        await expect_output(notebook, "so far")
        code, prose, blocks = await view.locator(".kit-text").all()
        await expect(blocks.locator("p")).to_have_count(200)
        for part in (code, prose):
            await expect(part.locator(".kit-piece")).not_to_have_count(0)
        said = await prose.evaluate("e => e.textContent")
        assert said.split() == [
            word for n in range(2500) for word in (f"word{n}", "and", "others,")
        ]
        assert await blocks.locator(".kit-chunk").count() > 5
        # Its end is what the reader sees.
        assert await view.get_by_role("log").evaluate(AT_END)
        # What is out of sight is found, and drawn when it is scrolled to.
        first = blocks.get_by_text("paragraph 3", exact=True)
        await first.scroll_into_view_if_needed()
        await expect(first).to_be_in_viewport()
        await expect(view.get_by_role("button", name="Jump to latest")).to_be_visible()
        await code.get_by_role("button", name="Copy code").click()
        copied = await notebook.page.evaluate("() => navigator.clipboard.readText()")
        lines = copied.splitlines()
        assert lines == [f"line_{n} = go({n})  # of many" for n in range(1500)]


async def test_a_tab_that_is_hidden_goes_on(window: Window) -> None:
    """A hidden tab has no frames."""
    path = write_notebook(
        window.lab,
        "hidden.ipynb",
        'await chat.stream(text_chunks("word " * 100), pace=20)',
    )
    async with window.open_notebook(path, keep=False) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        await expect(view.locator(".kit-text")).to_contain_text("word")
        await notebook.page.evaluate("() => { requestAnimationFrame = () => 0 }")
        await notebook.page.wait_for_function(
            "() => document.querySelector('.kit-chat').dataset.status === 'done'",
            polling=200,  # not in frames
        )
        text = await view.locator(".kit-text").evaluate("e => e.textContent")
        assert text.split() == ["word"] * 100


async def test_a_view_that_is_opened_late_shows_the_same(window: Window) -> None:
    path = write_notebook(
        window.lab,
        "late.ipynb",
        "chat.begin()\n"
        "chat.feed(\n"
        '    *text_chunks("Hm.", part_id="reasoning-0", kind="reasoning"),\n'
        '    *text_chunks("- item **one**\\n- item `two`\\n" * 20)[:-1],\n'
        ")",
        "view.show()",
        'text = "- the last\\n\\n```py\\nx = 1\\n```\\n"\n'
        'chat.feed({"type": "text-delta", "id": "text-0", "delta": text})',
        "view.show()",
        "chat.end()",
    )
    async with window.open_notebook(path, height=2400) as notebook:
        await notebook.run_all()
        views = view_of(notebook)
        await expect(views).to_have_count(3)
        for view in await views.all():
            await expect_status(view, "done")
        shown = [
            await each.locator(".kit-messages").inner_html()
            for each in await views.all()
        ]
        assert shown[0] == shown[1] == shown[2]
        assert "the last" in shown[0]


async def test_notebooks_with_kernels_of_their_own_do_not_mix(window: Window) -> None:
    names = ("one", "two")
    for name in names:
        write_notebook(
            window.lab,
            f"{name}.ipynb",
            f'chat.ask("to {name}"); await chat.stream(text_chunks("from {name}"))',
            "await chat.until(lambda chat: chat.sent)\nprint('got', chat.sent)",
        )
    async with window.open_notebook("one.ipynb") as notebook:
        await notebook.run_all()
        await expect_status(view_of(notebook), "done")
        await notebook.open("two.ipynb")
        await notebook.run_all()
        panels = notebook.page.locator(".jp-NotebookPanel")
        await expect(panels.last.locator(".kit-chat")).to_contain_text("from two")
        views = [panel.locator(".kit-chat") for panel in await panels.all()]
        for name, view in zip(names, views, strict=True):
            await expect(view.locator(".kit-messages")).to_have_text(
                re.compile(f"to {name}.*from {name}")
            )
        await views[1].get_by_role("textbox", name="Message").fill("only to two")
        await views[1].get_by_role("button", name="Send").click()
        await expect(views[1]).to_contain_text("only to two")
        await expect_output(notebook, "got ['only to two']")
        await expect(views[0]).not_to_contain_text("only to two")


async def test_a_view_that_missed_messages_asks_for_everything(window: Window) -> None:
    path = write_notebook(
        window.lab,
        "gap.ipynb",
        "chat.begin()\n"
        'chat.feed({"type": "text-start", "id": "text-0"})\n'
        "for number in range(40):\n"
        '    text = f"word-{number} "\n'
        '    chat.feed({"type": "text-delta", "id": "text-0", "delta": text})\n'
        "    await asyncio.sleep(0.04)\n"
        "    if number in (10, 39):\n"
        "        view.comm, comm = None, view.comm  # what is sent now is lost\n"
        '        chat.feed({"type": "text-delta", "id": "text-0", "delta": "lost "})\n'
        "        view._panes[0].flush()\n"
        "        view.comm = comm\n",
        "await asyncio.sleep(6)\nchat.end()",
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        text = view_of(notebook).locator(".kit-text")
        await expect(text).to_contain_text("word-10 lost word-11", timeout=30_000)
        # The last message was lost: no later one shows that. The view asks by itself.
        await expect(text).to_contain_text("word-39 lost", timeout=30_000)
        await expect_status(view_of(notebook), "done")


# --- what a reader does ---------------------------------------------------------------


async def test_a_message_is_sent_by_keyboard(window: Window) -> None:
    path = write_notebook(
        window.lab,
        "send.ipynb",
        "await chat.until(lambda chat: chat.sent)\nprint('got', repr(chat.sent[0]))",
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        box = view.get_by_role("textbox", name="Message")
        await box.click()
        await box.press_sequentially("first aab")  # keys that are Lab's shortcuts
        await box.press("Shift+Enter")
        await box.press_sequentially("second")
        await expect(box).to_have_value("first aab\nsecond")
        await box.press("Enter")
        await expect_output(notebook, r"got 'first aab\nsecond'")
        await expect(box).to_have_value("")
        said = view.locator(".kit-message[data-role=user]")
        await expect(said).to_contain_text("second")


async def test_a_refused_message_comes_back(window: Window) -> None:
    path = write_notebook(
        window.lab, "again.ipynb", 'chat.refusal = ValueError("no model")'
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        await until_settled(notebook)
        view = view_of(notebook)
        box = view.get_by_role("textbox", name="Message")
        await box.fill("hello")
        await view.get_by_role("button", name="Send").click()
        await expect(view.get_by_role("alert")).to_contain_text("no model")
        await expect(box).to_have_value("hello")


async def test_a_kernel_that_does_not_answer_is_said_to_be_busy(
    window: Window, tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    path = write_notebook(
        window.lab,
        "busy.ipynb",
        "import os, time\n"
        f"while not os.path.exists({str(seen)!r}):\n"
        "    time.sleep(0.05)",
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        box = view.get_by_role("textbox", name="Message")
        await box.fill("hello")
        await box.press("Enter")
        alert = view.get_by_role("alert")
        await expect(alert).to_contain_text("The kernel has not answered yet")
        await expect(box).to_have_value("hello")
        seen.touch()
        await expect(view.locator(".kit-message")).to_contain_text("hello")
        await expect(alert).to_have_count(0)
        await expect(box).to_have_value("")


async def test_the_last_message_is_sent_again(window: Window) -> None:
    path = write_notebook(
        window.lab,
        "retry.ipynb",
        'chat.ask("first"); await chat.stream(text_chunks("one"))',
        'chat.ask("second"); await chat.stream(text_chunks("two"))',
        "await chat.until(lambda chat: chat.sent)\n"
        'await chat.stream(text_chunks("word " * 400), pace=20)',
        "print('got', repr(chat.sent))",
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        await expect(view.locator(".kit-text")).to_have_count(4)
        await expect_status(view, "done")
        retry = view.get_by_role("button", name="Retry")
        await expect(retry).to_have_count(1)  # only that of the last message is shown
        await retry.click()
        await expect(view.get_by_role("textbox", name="Message")).to_be_focused()
        await expect(view.locator("[data-role=user]")).to_have_count(3)
        await expect_status(view, "streaming")
        await expect(retry).to_be_disabled()
        await notebook.page.keyboard.press("Escape")
        await expect_status(view, "stopped")
        await expect(retry).to_be_enabled()
        await expect_output(notebook, "got ['second']")


async def test_a_message_is_edited_and_sent_as_another_one(window: Window) -> None:
    path = write_notebook(
        window.lab,
        "edit.ipynb",
        'chat.ask("*old*\\n words"); await chat.stream(text_chunks("one"))',
        "await chat.until(lambda chat: chat.sent)\nprint('got', repr(chat.sent))",
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        await expect_status(view, "done")
        box = view.get_by_role("textbox", name="Message")
        banner = view.get_by_text("It will be sent as a new message")
        await box.fill("a draft")
        await view.get_by_role("button", name="Edit message").click()
        await expect(box).to_have_value("*old*\n words")
        await expect(box).to_be_focused()
        await expect(banner).to_be_visible()
        await box.press("Escape")
        await expect(box).to_have_value("a draft")
        await expect(banner).to_be_hidden()
        await box.fill("")
        await box.press("ArrowUp")
        await expect(box).to_have_value("*old*\n words")
        await box.press("End")
        await box.press_sequentially("!")
        await box.press("Enter")
        await expect_output(notebook, r"got ['*old*\n words!']")
        await expect(box).to_have_value("")
        await expect(banner).to_be_hidden()
        said = await view.locator("[data-role=user] pre").all_inner_texts()
        assert said == ["*old*\n words", "*old*\n words!"]


async def test_an_edited_message_that_is_refused_is_not_lost(window: Window) -> None:
    path = write_notebook(
        window.lab,
        "refused_edit.ipynb",
        'chat.ask("old"); await chat.stream(text_chunks("one"))',
        'chat.refusal = KitError("There is no connection.")',
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        await until_settled(notebook)
        view = view_of(notebook)
        box = view.get_by_role("textbox", name="Message")
        await box.fill("a draft")
        await view.get_by_role("button", name="Edit message").click()
        await expect(box).to_have_value("old")
        await box.fill("new")
        await box.press("Enter")
        await expect(view.get_by_role("alert")).to_contain_text("no connection")
        await expect(box).to_have_value("new")
        await box.press("Escape")
        await expect(box).to_have_value("a draft")


async def test_each_figure_says_what_it_means(window: Window, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    path = write_notebook(
        window.lab,
        "figures.ipynb",
        "await chat.until(lambda chat: chat.sent)\n"
        "chat.lag = 0.05\n"
        f'await chat.stream(text_chunks("word " * 200), until={str(seen)!r})\n'
        'chat.set_row(usage={"completionTokens": 200.0})',
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        box = view.get_by_role("textbox", name="Message")
        await box.fill("hello")
        await box.press("Enter")
        tokens = view.locator(".kit-figure", has_text="tokens").first
        await expect(tokens).to_contain_text("≈")
        await expect(tokens).to_have_attribute("title", re.compile("Estimated"))
        seen.touch()
        await expect_status(view, "done")
        await expect(tokens).to_have_text("200 tokens")
        await expect(tokens).to_have_attribute("title", re.compile("has counted"))
        delivery = view.locator(".kit-figure", has_text="delivery")
        await expect(delivery).to_have_text(re.compile(r"delivery \d+ ms"))
        await expect(delivery).to_have_attribute(
            "title", re.compile(r"50 ms to the kernel, \d+ ms from there")
        )
        texts = await view.locator(".kit-figure").all_inner_texts()
        assert re.fullmatch(r"\d+\.\d s", texts[0])
        assert texts[1].startswith("first part ")
        assert texts[3].endswith("tokens/s")
        for figure in await view.locator(".kit-figure").all():
            assert await figure.get_attribute("title")


async def test_everything_is_reached_by_keyboard_in_the_order_that_is_seen(
    window: Window,
) -> None:
    path = write_notebook(
        window.lab,
        "keyboard.ipynb",
        'chat.ask("hello?")\n'
        "await chat.stream([\n"
        '    *text_chunks("Hm.", part_id="reasoning-0", kind="reasoning"),\n'
        '    *text_chunks("```py\\nx = 1\\n```\\n"),\n'
        "])",
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        await expect_status(view, "done")
        await until_settled(notebook)
        await view.get_by_role("log").focus()
        seen: list[str] = []
        for _ in range(9):
            seen.append(await notebook.page.evaluate(FOCUSED))
            await notebook.page.keyboard.press("Tab")
        assert [words.partition(" · ")[0] for words in seen] == [
            *("Messages", "Edit message", "Copy message", "Retry", "Copy message"),
            *("Reasoning", "Copy code", "Message", "Send"),
        ]


FOCUSED = """() => {
  const { activeElement } = document;
  return activeElement.getAttribute('aria-label') ?? activeElement.innerText;
}"""


async def test_the_reader_stays_where_they_are(window: Window, tmp_path: Path) -> None:
    """Scrolling up ends the following; the end of a turn, which makes JupyterLab put a
    new element in the place of the old, loses neither place, nor draft, nor focus."""
    ready = tmp_path / "ready"
    path = write_notebook(
        window.lab,
        "scroll.ipynb",
        "reply = [\n"
        '    *text_chunks("Hm.", part_id="reasoning-0", kind="reasoning"),\n'
        '    *text_chunks("a line of text\\n\\n" * 120, size=16),\n'
        "]\n"
        f"await chat.stream(reply, pace=40, until={str(ready)!r})",
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        log = view.get_by_role("log")
        await expect(view.locator(".kit-text p")).not_to_have_count(0)
        await notebook.page.wait_for_function(
            "() => document.querySelector('.kit-log').scrollTop > 200"
        )
        jump = view.get_by_role("button", name="Jump to latest")
        await expect(jump).to_be_hidden()
        await log.hover()
        await notebook.page.mouse.wheel(0, -8)  # less than one line of the growing text
        await expect(jump).to_be_visible()
        while await log.evaluate("log => log.scrollTop"):  # it scrolls smoothly
            await notebook.page.mouse.wheel(0, -10_000)
        await log.evaluate("log => { log.scrollTop = 37 }")
        box = view.get_by_role("textbox", name="Message")
        await box.fill("a draft")
        await view.locator(".kit-reasoning summary").click()
        await box.focus()
        await notebook.page.evaluate(
            "() => { document.querySelector('.kit-view').dataset.old = 'yes' }"
        )
        ready.touch()
        await expect_status(view, "done")
        await expect(notebook.page.locator(".kit-view[data-old]")).to_have_count(0)
        await expect(notebook.page.locator(".kit-view")).to_have_count(1)
        await expect(box).to_have_value("a draft")
        await expect(box).to_be_focused()
        await expect(view.locator(".kit-reasoning")).to_have_attribute("open", "")
        assert await log.evaluate("log => log.scrollTop") == 37
        await jump.click()
        await expect(jump).to_be_hidden()
        assert await log.evaluate(AT_END)


async def test_a_view_at_its_end_stays_there_unless_something_is_unfolded(
    window: Window,
) -> None:
    path = write_notebook(
        window.lab,
        "end.ipynb",
        "chat.begin()\n"
        'chat.feed(*text_chunks("a line of text\\n\\n" * 60))\n'
        'thoughts = "a thought\\n\\n" * 40\n'
        'chat.feed(*text_chunks(thoughts, part_id="reasoning-1", kind="reasoning"))\n'
        'chat.feed(*text_chunks("The end.", part_id="text-2"))\n'
        "chat.end()",
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        log = view.get_by_role("log")
        await expect_status(view, "done")
        await until_settled(notebook)
        await log.evaluate(  # as what was never drawn, and turns out to be high
            "log => { log.querySelector('.kit-text p').style.height = '900px' }"
        )
        await notebook.page.wait_for_function(f"""() => {{
          const log = document.querySelector('.kit-log');
          return log.scrollHeight > 2000 && ({AT_END})(log);
        }}""")
        jump = view.get_by_role("button", name="Jump to latest")
        await expect(jump).to_be_hidden()

        place = await log.evaluate("log => log.scrollTop")
        summary = view.locator(".kit-reasoning summary")
        await summary.click()
        await expect(view.locator(".kit-reasoning")).to_have_attribute("open", "")
        await expect(jump).to_be_visible()
        assert await log.evaluate("log => log.scrollTop") == place
        await summary.click()
        await expect(jump).to_be_hidden()

        # In a view that was not full, what is unfolded makes the view higher, too.
        await view.locator(".kit-text").first.evaluate(
            "text => { text.style.display = 'none' }"
        )
        await notebook.page.wait_for_function(
            "() => document.querySelector('.kit-log').scrollTop === 0"
        )
        await summary.click()
        await expect(jump).to_be_visible()
        assert await log.evaluate("log => log.scrollTop") == 0
        await summary.click()
        await expect(jump).to_be_hidden()
        await expect(view.locator(".kit-reasoning")).not_to_have_attribute("open", "")
        assert await log.evaluate(AT_END)


async def test_code_and_messages_are_copied(window: Window) -> None:
    path = write_notebook(
        window.lab,
        "copy.ipynb",
        "chat.begin()\n"
        'chat.feed(*text_chunks("See *this*:\\n\\n```py\\nx = \\"<1>\\"\\n```\\n"))\n'
        "chat.end()",
    )
    async with window.open_notebook(path) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        await expect_status(view, "done")
        read = "() => navigator.clipboard.readText()"
        await view.get_by_role("button", name="Copy code").click()
        await expect(view.get_by_role("button", name="Copy code")).to_have_text(
            "Copied"
        )
        assert await notebook.page.evaluate(read) == 'x = "<1>"\n'
        await view.get_by_role("button", name="Copy message").click()
        await expect(view.get_by_role("button", name="Copy message")).to_have_text(
            "Copied"
        )
        copied = await notebook.page.evaluate(read)
        assert copied == 'See *this*:\n\n```py\nx = "<1>"\n```'


# --- how it looks ---------------------------------------------------------------------

# The smallest contrast between text and ground among the elements of a selector.
CONTRAST = """selector => {
  const parse = (text) => {
    const context = document.createElement('canvas').getContext('2d');
    context.fillStyle = text;
    context.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [R, G, B]) =>
    [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
  const ground = (element) => {
    const own = parse(getComputedStyle(element).backgroundColor);
    return own[3] === 1 || !element.parentElement
      ? own : over(own, ground(element.parentElement));
  };
  const luminance = ([r, g, b]) => [r, g, b]
    .map(value => value / 255)
    .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const ratios = [...document.querySelectorAll(selector)].map(element => {
    const below = ground(element);
    const text = over(parse(getComputedStyle(element).color), below);
    const [dark, light] = [luminance(text), luminance(below)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  });
  return ratios.length ? Math.min(...ratios) : null;
}"""

EVERYTHING = """
chat.ask("A question with a " + "verylongword" * 30)
chat.begin()
chat.feed(
    *text_chunks("Thinking **hard**", part_id="reasoning-0", kind="reasoning"),
    *tool_chunks("c", "search", '{"q": 1}', '{"hits": ["' + "x" * 300 + '"]}'),
    *text_chunks(
        "# Head\\n\\nA [link](https://x.org), `code`, " + "long" * 100 + "\\n\\n"
        "| a | b |\\n|---|---|\\n| " + "wide " * 60 + " | 2 |\\n\\n> quote\\n\\n"
        "```python\\n@decorator\\ndef f(x: int) -> str:  # comment\\n"
        '    return str(1) + "text" + ' + "name" * 60 + "\\n```\\n"
        "```diff\\n-old\\n+new\\n```\\n\\n![alt](https://x.org/i.png)\\n"
    ),
    {"type": "tool-input-start", "toolCallId": "d", "toolName": "search"},
    {"type": "tool-input-error", "toolCallId": "d", "toolName": "search",
     "inputText": "{", "errorText": "not JSON"},
    {"type": "error", "id": "error-0", "errorText": "it broke", "kind": "server"},
)
chat.end("failed")
chat.error = "The application server refused the message."
chat.set_connection("connected")
"""

TEXTS = [
    *(".kit-title", ".kit-status-text", ".kit-time", ".kit-role", ".kit-model"),
    *(
        ".kit-plain",
        ".kit-text p",
        ".kit-text a",
        ".kit-text p code",
        ".kit-reasoning p",
    ),
    *(".kit-text blockquote p", ".kit-text th", ".kit-text td", ".kit-code code"),
    *(".kit-c", ".kit-k", ".kit-s", ".kit-m", ".kit-f", ".kit-b", ".kit-bar"),
    *(".kit-tool-name", ".kit-badge", ".kit-label", ".kit-error strong", ".kit-action"),
    *(".kit-ending", ".kit-kind", ".kit-send", ".kit-stop", ".kit-ins", ".kit-del"),
    *(".kit-image", ".kit-refusal", ".kit-note:not(:empty)", ".kit-banner"),
    *(".kit-notice", ".kit-notice .kit-action"),
]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_it_is_readable_in_both_themes(window: Window, dark: bool) -> None:
    path = write_notebook(window.lab, "looks.ipynb", EVERYTHING)
    async with window.open_notebook(path, width=900, height=1600) as notebook:
        await notebook.set_theme(dark=dark)
        await notebook.run_all()
        view = view_of(notebook)
        await expect_status(view, "failed")
        await view.locator(".kit-reasoning summary").click()
        await view.get_by_role("button", name="Edit message").click()
        await expect(view.locator(".kit-banner")).to_contain_text("Editing")
        await expect(view.locator(".kit-error .kit-note")).to_contain_text("kept")
        contrasts = {
            selector: await notebook.page.evaluate(CONTRAST, f".kit-chat {selector}")
            for selector in TEXTS
        }
        weak = {name: each for name, each in contrasts.items() if (each or 0) < 4.5}
        assert weak == {}
        ground = await view.evaluate("view => getComputedStyle(view).backgroundColor")
        assert (
            sum(json.loads(ground.replace("rgb(", "[").replace(")", "]"))) < 200
        ) == dark
        # Long words wrap, wide code and tables scroll inside their own frames.
        assert await view.locator(".kit-log").evaluate(
            "log => log.scrollWidth <= log.clientWidth"
        )
        await notebook.set_theme(dark=False)


async def test_what_was_said_never_becomes_markup(window: Window) -> None:
    evil = (
        "<img src=x onerror='globalThis.harmed = true'><script>harmed = 1</script>"
        "![i](http://elsewhere.test/i.png) [a](javascript:harmed=1) "
        "[b](data:text/html,x) [c]( java\nscript:harmed=1) <javascript:harmed=1> "
        "[d](vbscript:x) [e](//elsewhere.test) <http://elsewhere.test/ok>"
    )
    path = write_notebook(
        window.lab,
        "evil.ipynb",
        f"evil = {evil!r}\n"
        "chat.ask(evil)\n"
        "chat.begin()\n"
        "chat.feed(\n"
        '    *text_chunks(evil, part_id="reasoning-0", kind="reasoning", size=3),\n'
        '    *tool_chunks(evil, evil, "[" + evil + "]", evil),\n'
        '    *text_chunks(f"{evil}\\n\\n- {evil}\\n\\n```{evil}\\n{evil}\\n```\\n"),\n'
        '    {"type": "error", "id": "error-0", "errorText": evil, "kind": evil},\n'
        ")\n"
        'chat.end("failed", llmModel=evil, error=evil)\n'
        "view.close()",
    )
    async with window.open_notebook(path) as notebook:
        loaded: list[str] = []
        notebook.page.on("request", lambda request: loaded.append(request.url))
        await notebook.run_all()
        await notebook.until_idle()
        await expect_output(notebook, "onerror")
        for link in await notebook.page.locator(".jp-OutputArea-output a").all():
            assert await link.get_attribute("href") == "http://elsewhere.test/ok"
            assert await link.get_attribute("target") == "_blank"
            assert "noopener" in (await link.get_attribute("rel") or "")
        assert await notebook.page.locator(".jp-OutputArea-output img").count() == 0
        assert await notebook.page.evaluate("globalThis.harmed") is None
        assert [url for url in loaded if "elsewhere" in url] == []


@pytest_asyncio.fixture(
    loop_scope="module", params=[False, True], ids=["default", "saves state"]
)
async def saves_state(
    window: Window, request: pytest.FixtureRequest
) -> AsyncIterator[bool]:
    """Whether JupyterLab keeps the state of widgets. By default it keeps none."""
    plugin = "/lab/api/settings/@jupyter-widgets/jupyterlab-manager:plugin"
    if request.param:
        await window.drop_page()  # settings are read when a page is loaded
        window.lab.call("PUT", plugin, {"raw": '{"saveState": true}'})
    yield request.param
    if request.param:
        await window.drop_page()
        window.lab.call("PUT", plugin, {"raw": "{}"})


async def test_a_notebook_that_is_opened_again_shows_what_was_said(
    window: Window, saves_state: bool
) -> None:
    """In a new page, with a new kernel, which knows no widget."""
    path = write_notebook(
        window.lab,
        "again.ipynb",
        'chat.ask("hello?")\n'
        'await chat.stream(text_chunks("# Head\\n\\nThe **reply**"))',
    )
    async with window.open_notebook(path, keep=False) as notebook:
        await notebook.run_all()
        await expect_status(view_of(notebook), "done")
        await until_settled(notebook)
        await notebook.save()
        await expect(notebook.page.locator(".jp-mod-dirty")).to_have_count(0)
    saved = nbformat.read(window.lab.folder / path, as_version=4)
    (output,) = saved.cells[0].outputs
    assert sorted(output.data) == ["text/html", "text/plain"]
    assert ("widgets" in saved.metadata) == saves_state
    async with window.open_notebook(path) as notebook:
        shown = notebook.page.locator(".jp-OutputArea-output")
        await expect(shown).to_have_count(1)
        reply = shown.locator("strong", has_text="reply").locator("visible=true")
        await expect(reply).to_be_visible()
        await expect(shown).not_to_contain_text("Error displaying widget")
        await expect(view_of(notebook)).to_have_count(int(saves_state))
        assert notebook.complaints == []


async def test_a_saved_notebook_is_read_without_a_kernel(window: Window) -> None:
    """A file that papermill wrote is not trusted: JupyterLab cleans its HTML."""
    path = window.lab.folder / write_notebook(window.lab, "saved.ipynb", EVERYTHING)
    executed = nbformat.read(path, as_version=4)
    await NotebookClient(executed, timeout=60, kernel_name="python3").async_execute()
    nbformat.write(executed, path)
    async with window.open_notebook(path.name) as notebook:
        output = notebook.page.locator(".jp-RenderedHTML").first
        head = output.get_by_text("Head", exact=True)
        assert await head.evaluate("e => getComputedStyle(e).fontWeight") == "700"
        await expect(output).to_contain_text("it broke")
        await expect(output.locator("summary").first).to_contain_text("Reasoning")
        keyword = output.locator("pre span", has_text="def").first
        colour = await keyword.evaluate("e => getComputedStyle(e).color")
        assert colour == "rgb(207, 34, 46)"
        assert await output.evaluate("e => e.scrollWidth <= e.clientWidth")
        for dark in (True, False):
            await notebook.set_theme(dark=dark)
            for text in ("p", "pre", "pre code", "pre code span", "td", "strong"):
                selector = f".jp-RenderedHTML div {text}"
                contrast = await notebook.page.evaluate(CONTRAST, selector)
                assert contrast > 4.5, (selector, dark)
