"""`isStreaming` that stays: in a view's state, and in a stored message."""

from pathlib import Path

import pytest
from reviewed import SERVER, VIEW, codes, found_in

HOOK = """
export function useTask(taskId: string) {
  const [isStreaming, setIsStreaming] = useState(false);
  useEffect(() => {
    socket.on("chunk", () => setIsStreaming(true));
    %s
  }, [socket, setIsStreaming]);
  return %s;
}
"""


def test_a_state_that_is_only_set_is_found(tmp_path: Path) -> None:
    (finding,) = found_in(tmp_path, {VIEW: HOOK % ("", "<p>{isStreaming}</p>")})
    assert (finding.code, finding.line) == ("streaming-not-cleared", 5)


CLEARED = {
    "by false": ('socket.on("complete", () => setIsStreaming(false));', "isStreaming"),
    "by an expression": ("setIsStreaming(status === 'RUNNING');", "isStreaming"),
    "by a function": ("setIsStreaming((old) => !old);", "isStreaming"),
    "elsewhere": ("", "{ isStreaming, setIsStreaming }"),
    "by a child": ("", "<Child onDone={setIsStreaming} />"),
    "by a callee": ("follow(socket, setIsStreaming);", "isStreaming"),
}


@pytest.mark.parametrize("filled", CLEARED.values(), ids=CLEARED)
def test_a_state_that_may_be_cleared_is_left(
    tmp_path: Path, filled: tuple[str, str]
) -> None:
    assert codes(tmp_path, HOOK % filled, VIEW) == []


def test_another_state_may_stay(tmp_path: Path) -> None:
    source = HOOK % ("", "isStreaming")
    source = source.replace("isStreaming", "wasOpened").replace("IsStreaming", "Opened")
    assert codes(tmp_path, source, VIEW) == []


SERVICE = """
class Chat {
  async run(taskId: string) {
    try {
      for await (const chunk of stream) {
        await prisma.m.create({ data: { metadata: { isStreaming: true } } });
      }
      await prisma.m.update({ data: { metadata: { isStreaming: false } } });
    } catch (error) {
      %s
    }
  }
  %s
}
"""


def test_a_row_that_an_error_leaves_streaming(tmp_path: Path) -> None:
    (finding,) = found_in(tmp_path, {SERVER: SERVICE % ("console.error('x');", "")})
    assert (finding.code, finding.line) == ("streaming-row-left", 6)


CLEARS = "await prisma.m.update({ data: { metadata: { isStreaming: false } } });"


@pytest.mark.parametrize(
    "filled",
    [(CLEARS, ""), ("await this.fail();", f"async fail() {{ {CLEARS} }}")],
    ids=["in the catch", "in a method"],
)
def test_a_row_that_is_put_right(tmp_path: Path, filled: tuple[str, str]) -> None:
    assert codes(tmp_path, SERVICE % filled) == []


def test_a_row_in_no_try_is_not_judged(tmp_path: Path) -> None:
    source = """
    async function run() {
      for await (const chunk of stream) {
        await prisma.m.create({ data: { isStreaming: true } });
      }
    }
    """
    assert codes(tmp_path, source) == []
