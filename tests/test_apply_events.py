"""Option 2's events: three are taken out, whatever way they are emitted."""

from pathlib import Path

import pytest
from repositories import write

from kit.apply.events import remove_events
from kit.apply.steps import Draft, StepNotes
from kit.repo import Settings, locate, open_repository
from kit.repo.source import Source

FILE = "server/socket.ts"


def remove(root: Path, *files: str) -> tuple[list[str], StepNotes]:
    """The files after, in order, and what is said."""
    names = [FILE, *(f"server/other{number}.ts" for number in range(1, len(files)))]
    write(root, dict(zip(names, files, strict=True)))
    layout = locate(open_repository(root, env={"PATH": ""}), Settings())
    draft, notes = Draft(layout.repository), StepNotes()
    remove_events(draft, layout, notes)
    after = []
    for name in names:
        source = draft.source(name)
        assert source is not None
        assert source.first_error is None
        after.append(source.text)
    return after, notes


@pytest.mark.parametrize(
    "emit",
    [
        'io.to(room).emit("stream-chunk", chunk);',
        "io.emit('stream-error', chunk);",
        'emitToTask(room, "stream-complete", chunk);',
        'await this.emitTo(room, "stream-chunk", chunk);',
        'void emitTo(room, "stream-chunk", chunk);',
        'if (io) io.emit("stream-chunk", chunk);',
        'if (io) {\n    io.emit("stream-chunk", chunk);\n  }',
        '// Tell them\n  io.emit("stream-chunk", chunk);',
        'if (a) {\n    // b\n    if (b) {\n      io.emit("stream-chunk");\n    }\n  }',
    ],
)
def test_an_emit_is_taken_out_with_what_is_empty_then(
    tmp_path: Path, emit: str
) -> None:
    before = f"function send(room, chunk) {{\n  keep(chunk);\n  {emit}\n}}\n"
    (after,), notes = remove(tmp_path, before)
    assert after == "function send(room, chunk) {\n  keep(chunk);\n}\n"
    assert not notes.blocked


def test_a_function_that_did_nothing_else_goes_with_its_calls(tmp_path: Path) -> None:
    socket = """\
export function emitChunk(chunk: Chunk) {
  inner(chunk);
}

function inner(chunk: Chunk) {
  io.emit("stream-chunk", chunk);
}

export function emitStatus() {
  io.emit("task-status-updated", 1);
}
"""
    user = """\
import { emitChunk, emitStatus } from "./socket";
import { emitChunk as other } from "./elsewhere";

emitChunk({ type: "content" });
emitStatus();
other();
"""
    (after, used), _ = remove(tmp_path, socket, user)
    assert after == (
        'export function emitStatus() {\n  io.emit("task-status-updated", 1);\n}\n'
    )
    assert (
        used
        == """\
import { emitStatus } from "./socket";
import { emitChunk as other } from "./elsewhere";

emitStatus();
other();
"""
    )


EMITTER = """\
export function emitChunk(chunk: Chunk) {
  io.emit("stream-chunk", chunk);
}
"""


@pytest.mark.parametrize("through", [False, True], ids=["directly", "through another"])
def test_a_function_that_carries_something_else_stays(
    tmp_path: Path, through: bool
) -> None:
    user = 'emitChunk({ type: "init-progress", progress });\n'
    socket = EMITTER
    if through:
        socket = EMITTER.replace("emitChunk", "inner")
        socket += "export function emitChunk(chunk: Chunk) {\n  inner(chunk);\n}\n"
    (after, used), notes = remove(tmp_path, socket, user)
    assert (after, used) == (socket, user)
    (left,) = notes.todo
    assert left == (
        f"{FILE}:2: left, because emitChunk also carries `init-progress`: "
        "server/other1.ts:1."
    )


@pytest.mark.parametrize("user", ["listen(emitChunk);\n", "const x = emitChunk(1);\n"])
def test_a_function_that_is_used_otherwise_stays_and_does_nothing(
    tmp_path: Path, user: str
) -> None:
    (after, used), notes = remove(tmp_path, EMITTER, user)
    assert after == "export function emitChunk(chunk: Chunk) {\n}\n"
    assert used == user
    (left,) = notes.todo
    assert left.startswith("server/other1.ts:1: left, emitChunk does nothing any more")


def test_a_handler_that_also_emits_stays(tmp_path: Path) -> None:
    socket = """\
export function start(port: number) {
  const io = new Server(port);
  io.on("connection", (socket) => {
    work(socket);
    io.emit("stream-complete", 1);
  });
  return io;
}
"""
    (after, _), notes = remove(tmp_path, socket, "const io = start(1);\n")
    assert after == socket.replace('    io.emit("stream-complete", 1);\n', "")
    assert notes.todo == []


@pytest.mark.parametrize(
    ("emit", "said"),
    [
        ('io.emit("stream-chunk", { type: "todo-update" });', "`todo-update`"),
        ('const sent = io.emit("stream-chunk", 1);', "part of an expression"),
        ('const send = () => io.emit("stream-chunk", 1);', "part of an expression"),
        ('if (ask()) io.emit("stream-chunk", 1);', "part of an expression"),
    ],
)
def test_what_cannot_be_taken_out_is_left_and_named(
    tmp_path: Path, emit: str, said: str
) -> None:
    (after,), notes = remove(tmp_path, f"{emit}\n")
    assert after == f"{emit}\n"
    (left,) = notes.todo
    assert left.startswith(f"{FILE}:1: left, ")
    assert said in left


def test_the_other_events_stay(tmp_path: Path) -> None:
    before = "".join(
        f'io.emit("{event}", 1);\n'
        for event in ("task-status-updated", "terminal-output", "fs-change", "mine")
    )
    (after,), notes = remove(tmp_path, before)
    assert after == before
    assert "emits none of the three" in notes.found[0]


def test_listeners_are_left_and_named(tmp_path: Path) -> None:
    before = 'socket.on("stream-chunk", heard);\n'
    (after,), notes = remove(tmp_path, before)
    assert after == before
    assert "listeners of these events are left" in notes.todo[0]


def test_a_file_that_does_not_parse_is_left(tmp_path: Path) -> None:
    before = 'io.emit("stream-chunk", 1);\nconst = ;\n'
    write(tmp_path, {FILE: before})
    layout = locate(open_repository(tmp_path, env={"PATH": ""}), Settings())
    draft, notes = Draft(layout.repository), StepNotes()
    remove_events(draft, layout, notes)
    assert draft.taken_changes() == ()
    assert f"{FILE}:2: the file does not parse" in notes.blocked[0]
    assert Source(FILE, before.encode()).first_error is not None
