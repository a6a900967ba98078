"""Two chats side by side in a real browser: one box, two replies, two status lines."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from browser import Window, open_window, require_browser, start_lab
from playwright.async_api import Locator, expect
from widget_page import expect_output, until_settled, view_of, write_notebook

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
]

TWO = """
left, right = FakeChat(), FakeChat()
split = SplitView(left, right, titles=("Socket.IO", "Convex"))
split.show()

async def answer(chat, pace):
    await chat.until(lambda chat: chat.sent)
    await chat.stream(text_chunks("word " * 600), pace=pace)

async def answer_both():
    await asyncio.gather(answer(left, 20), answer(right, 100))
"""
REPORT = 'print("ended", left.rows[-1]["status"], right.rows[-1]["status"])'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def window(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Window]:
    require_browser()
    folder = tmp_path_factory.mktemp("notebooks")
    with start_lab(folder, tmp_path_factory.mktemp("lab")) as lab:
        async with open_window(lab) as window:
            yield window


async def expect_state(pane: Locator, state: str) -> None:
    await expect(pane).to_have_attribute("data-status", state, timeout=30_000)


async def test_one_message_is_answered_on_both_sides(window: Window) -> None:
    path = write_notebook(
        window.lab, "both.ipynb", "await answer_both()", REPORT, show=TWO
    )
    async with window.open_notebook(path, width=1400) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        left = view.get_by_role("group", name="Socket.IO")
        right = view.get_by_role("group", name="Convex")
        box = view.get_by_role("textbox", name="Message")
        await box.fill("the same for both")
        await box.press("Enter")
        await expect(box).to_have_value("")
        for pane in (left, right):
            await expect(pane.locator("[data-role=user]")).to_contain_text(
                "the same for both"
            )
            await expect(pane.locator(".kit-text").last).to_contain_text("word word")
        await expect_state(right, "done")
        await expect_state(left, "streaming")
        await expect(view.get_by_role("button", name="Send")).to_be_disabled()
        for pane, figures in ((left, "≈ "), (right, "tokens")):
            await expect(pane.locator(".kit-status")).to_contain_text(figures)
        await box.press("Escape")
        await expect_state(left, "stopped")
        await expect_output(notebook, "ended stopped complete")
        await expect(view.get_by_role("button", name="Send")).to_be_enabled()
        assert notebook.complaints == []


async def test_a_side_that_refused_is_sent_it_again(window: Window) -> None:
    path = write_notebook(
        window.lab,
        "refused.ipynb",
        'left.refusal = KitError("There is no connection.")',
        "await right.until(lambda chat: chat.sent)",
        "left.refusal = None",
        'await left.until(lambda chat: chat.sent)\nprint("got", left.sent, right.sent)',
        show=TWO,
    )
    async with window.open_notebook(path, width=1400) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        left = view.get_by_role("group", name="Socket.IO")
        box = view.get_by_role("textbox", name="Message")
        await box.fill("hello")
        await box.press("Enter")
        await expect(left.get_by_role("alert")).to_contain_text("no connection")
        await expect(box).to_have_value("")  # the other side has it
        await expect(
            view.get_by_role("group", name="Convex").get_by_role("alert")
        ).to_have_count(0)
        await left.get_by_role("button", name="Send it again").click()
        await expect_output(notebook, "got ['hello'] ['hello']")
        await expect(left.get_by_role("alert")).to_have_count(0)


async def test_a_message_that_both_refuse_comes_back(window: Window) -> None:
    path = write_notebook(
        window.lab,
        "both_refuse.ipynb",
        'left.refusal = right.refusal = KitError("There is no connection.")',
        show=TWO,
    )
    async with window.open_notebook(path, width=1400) as notebook:
        await notebook.run_all()
        await until_settled(notebook)
        view = view_of(notebook)
        box = view.get_by_role("textbox", name="Message")
        await box.fill("hello")
        await box.press("Enter")
        await expect(view.get_by_role("alert")).to_have_count(2)
        await expect(box).to_have_value("hello")
        await expect(view.get_by_role("button", name="Send it again")).to_have_count(0)


@pytest.mark.parametrize(("width", "beside"), [(1400, True), (760, False)])
async def test_in_a_narrow_output_the_sides_are_stacked(
    window: Window, width: int, beside: bool
) -> None:
    path = write_notebook(window.lab, "narrow.ipynb", 'left.ask("x")', show=TWO)
    async with window.open_notebook(path, width=width) as notebook:
        await notebook.run_all()
        view = view_of(notebook)
        await expect(view.locator("[data-role=user]")).to_have_count(1)
        panes = [await pane.bounding_box() for pane in await panes_of(view)]
        first, second = panes
        assert first is not None
        assert second is not None
        assert (second["x"] > first["x"]) == beside
        assert (second["y"] > first["y"]) == (not beside)
        assert await view.evaluate("e => e.scrollWidth <= e.clientWidth")


async def test_the_sides_line_up_and_nothing_else_is_shown(window: Window) -> None:
    path = write_notebook(
        window.lab,
        "lines.ipynb",
        'left.ask("x")\nright.error = "It broke."\nright.set_connection("connected")',
        show=TWO.replace('"Socket.IO"', '"a title that takes two lines " * 4'),
    )
    async with window.open_notebook(path, width=1400) as notebook:
        await notebook.run_all()
        await until_settled(notebook)
        view = view_of(notebook)
        await expect(view.get_by_role("alert").last).to_contain_text("It broke.")
        for part in ("head", "frame"):
            first, second = await view.locator(f".kit-{part}").evaluate_all(
                "parts => parts.map(part => part.getBoundingClientRect().bottom)"
            )
            assert first == second
        # The static face gives way to the view.
        await expect(
            notebook.page.locator("kit-chat-place > *").locator("visible=true")
        ).to_have_count(1)


async def panes_of(view: Locator) -> list[Locator]:
    return await view.locator(".kit-pane").all()
