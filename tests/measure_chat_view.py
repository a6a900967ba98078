"""What one update of the chat view costs the browser, by length of the reply.

Not a test: nothing here passes or fails. It opens JupyterLab in the system's Chromium,
writes a reply of a given length, goes on at 100 updates a second for some seconds, and
asks the browser how long its main thread was busy meanwhile.

    python tests/measure_chat_view.py [--tokens 1000 20000 200000] [--seconds 5]

A token is four characters here. Columns: milliseconds of the main thread per update,
all told and in its parts; updates are those of the source, of which the view gets about
30 a second. `idle` is the same page while nothing is written. `longest frame` is the
longest time between two frames; `end` is how long the end of the turn took, which sends
everything once more and makes the view anew.
"""

import argparse
import asyncio
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from browser import Notebook, open_notebook, require_browser, start_lab, write_notebook
from playwright.async_api import CDPSession

TESTS = Path(__file__).parent
RATE = 100  # updates a second

KINDS = {
    "mixed": (
        "## A heading\\n\\nSome text with **bold** words and `code`, as replies have "
        "it, in a paragraph of two lines or so.\\n\\n- an item\\n- another item\\n\\n"
        "```python\\ndef f(x):\\n    return x + 1\\n```\\n\\n"
    ),
    "one paragraph": "words and more of them, ",
    "one code block": "value = compute(value, 12)  # a line\\n",
    "one list": "- an item of **some** words and `code`\\n",
    "one table": "| a cell | and *another* one | 12.5 |\\n",
}
STARTS = {
    "one code block": "```python\\n",
    "one table": "| a | b | c |\\n|---|---|---|\\n",
}

CELL = """
import asyncio, pathlib, sys, time
sys.path.insert(0, {tests!r})
from fake_chat import FakeChat
from kit.widget import ChatView

chat = FakeChat()
view = ChatView(chat)
view.show()
unit = "{unit}"
start = "{start}"

def feed(text):
    chat.feed({{"type": "text-delta", "id": "text-0", "delta": text}})

async def until(name):
    while not pathlib.Path({folder!r}, name).exists():
        await asyncio.sleep(0.02)

chat.ask("Go on")
chat.begin()
chat.feed({{"type": "text-start", "id": "text-0"}})
feed(start)
whole = unit * (4 * {tokens} // len(unit) + 1)
for at in range(0, 4 * {tokens}, 20_000):
    feed(whole[at : at + 20_000])
    await asyncio.sleep(0.01)
await until("go")
text = unit * (4 * {rate} * {seconds} // len(unit) + 2)
started = time.monotonic()
for number in range({rate} * {seconds}):
    feed(text[4 * number : 4 * number + 4])
    await asyncio.sleep(max(0, started + (number + 1) / {rate} - time.monotonic()))
print("streamed")
await until("end")
chat.end()
"""

FRAMES = """() => {
  const state = { last: performance.now(), longest: 0 };
  globalThis.frames = state;
  const look = (now) => {
    state.longest = Math.max(state.longest, now - state.last);
    state.last = now;
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""


@dataclass
class Busy:
    """Seconds of the main thread."""

    TaskDuration: float
    ScriptDuration: float
    LayoutDuration: float
    RecalcStyleDuration: float

    @classmethod
    async def read(cls, cdp: CDPSession) -> "Busy":
        metrics = await cdp.send("Performance.getMetrics")
        found = {each["name"]: each["value"] for each in metrics["metrics"]}
        return cls(**{name: found[name] for name in cls.__annotations__})

    def since(self, earlier: "Busy", updates: int) -> dict[str, float]:
        """Milliseconds per update."""
        return {
            name: (getattr(self, name) - getattr(earlier, name)) * 1000 / updates
            for name in self.__annotations__
        }


async def measure(notebook: Notebook, folder: Path, seconds: int) -> str:
    page = notebook.page
    cdp = await page.context.new_cdp_session(page)
    await cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
    await notebook.run_all()
    await page.wait_for_selector(".kit-chat[data-status=streaming]")
    length = await page.wait_for_function(SETTLED, polling=1500)
    shown = await length.json_value()
    before = await Busy.read(cdp)
    await asyncio.sleep(seconds)
    idle = (await Busy.read(cdp)).since(before, RATE * seconds)["TaskDuration"]
    await page.evaluate(FRAMES)
    before = await Busy.read(cdp)
    (folder / "go").touch()
    await page.wait_for_function(STREAMED, polling=100, timeout=60_000)
    after = await Busy.read(cdp)
    cost = after.since(before, RATE * seconds)
    longest = await page.evaluate("globalThis.frames.longest")
    await page.evaluate("() => { globalThis.frames.longest = 0 }")
    (folder / "end").touch()
    await page.wait_for_selector(".kit-chat[data-status=done]", timeout=120_000)
    await asyncio.sleep(1)
    end = (await Busy.read(cdp)).since(after, 1)["TaskDuration"]
    end_frame = await page.evaluate("globalThis.frames.longest")
    return (
        f"{shown:>10,} {cost['TaskDuration']:>8.2f} {cost['ScriptDuration']:>8.2f} "
        f"{cost['RecalcStyleDuration']:>8.2f} {cost['LayoutDuration']:>8.2f} "
        f"{idle:>8.2f} {longest:>10.0f} {end:>10.0f} {end_frame:>10.0f}"
    )


# The length of the reply, once it does not grow from one look to the next.
SETTLED = """() => {
  const text = document.querySelector('[data-role=assistant] .kit-text');
  const length = text?.textContent.length ?? 0;
  const settled = length > 0 && length === globalThis.lengthBefore;
  globalThis.lengthBefore = length;
  return settled && length;
}"""
# Looks where no chat is: reading a long one would count as work of the view.
STREAMED = """() => {
  const printed = document.querySelector('.jp-RenderedText pre');
  return printed?.textContent.startsWith('streamed');
}"""
HEAD = (
    f"{'kind':<16} {'characters':>10} {'all':>8} {'script':>8} {'style':>8} "
    f"{'layout':>8} {'idle':>8} {'long frame':>10} {'end, ms':>10} {'end frame':>10}"
)


async def main() -> None:
    parser = argparse.ArgumentParser(description="Costs of the chat view in a browser.")
    parser.add_argument("--tokens", type=int, nargs="+", default=[1000, 20000, 200000])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    require_browser()
    _say(HEAD)
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        (top / "notebooks").mkdir()
        with start_lab(top / "notebooks", top / "state") as lab:
            for kind in options.kinds:
                for tokens in options.tokens:
                    folder = Path(tempfile.mkdtemp(dir=top))
                    cell = CELL.format(
                        tests=str(TESTS),
                        folder=str(folder),
                        unit=KINDS[kind],
                        start=STARTS.get(kind, ""),
                        tokens=tokens,
                        rate=RATE,
                        seconds=options.seconds,
                    )
                    write_notebook(lab.folder / "measure.ipynb", [cell])
                    async with open_notebook(lab, "measure.ipynb") as notebook:
                        line = await measure(notebook, folder, options.seconds)
                        _say(f"{kind:<16} {line}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
