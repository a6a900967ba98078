"""The guide's places, found in the fixture and in what differs from it."""

from dataclasses import replace
from pathlib import Path

from repositories import CHAT, HYBRID, SOCKET, change, copy_monorepo, write

from kit.repo import Layout, Settings, locate, open_repository
from kit.repo.settings import Names


def layout_of(root: Path, settings: Settings | None = None) -> Layout:
    return locate(open_repository(root, env={"PATH": ""}), settings or Settings())


def test_the_fixture_is_found_whole(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    layout = layout_of(root)
    assert layout.missing == ()
    assert layout.frontend is not None
    assert layout.frontend.env_file == "apps/frontend/.env.local"
    assert layout.frontend.provider is not None
    loop = layout.server.loop
    assert loop is not None
    assert (loop.place.file, loop.method) == (CHAT, "processMessage")
    lines = (root / CHAT).read_text().splitlines()
    assert "for await" in lines[loop.place.line - 1]
    assert {"taskId", "userMessage", "context", "systemPrompt"} <= loop.names
    assert layout.server.stop_name == "stopStream"
    assert layout.server.client_file == "apps/server/src/lib/convex-client.ts"
    assert layout.hooks.merging is not None
    assert layout.hooks.merging.source.file == HYBRID
    assert {"sendMessage", "autoPRStatus"} <= set(layout.hooks.used)
    assert [place.file for place in layout.events.emitted["stream-chunk"]] == [SOCKET]
    assert layout.events.handled["stream-error"]
    assert layout.functions.folder == "convex"
    assert layout.functions.schema is not None
    assert set(layout.functions.schema.tables) == {"notes"}


def test_a_stream_in_a_variable_is_found(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    change(root, CHAT, "for await (const chunk of this.llm", "const made = this.llm")
    change(
        root,
        CHAT,
        "        controller.signal,\n      )) {",
        "        controller.signal,\n      );\n      for await (const chunk of made) {",
    )
    loop = layout_of(root).server.loop
    assert loop is not None
    assert loop.statement.type == "lexical_declaration"


def test_two_loops_are_not_chosen_between(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    other = CHAT.replace("chat.ts", "other.ts")
    write(root, {other: (root / CHAT).read_text()})
    (found,) = layout_of(root).missing
    assert "There are 2 loops" in str(found)
    assert "--server-file" in str(found)
    assert {place.file for place in found.places} == {CHAT, other}
    layout = layout_of(root, Settings(server_file=other))
    assert layout.server.loop is not None
    assert layout.server.loop.place.file == other


def test_other_names_are_given(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    for path in root.rglob("*.ts*"):
        text = path.read_text()
        text = text.replace("createMessageStream", "openStream")
        text = text.replace("useTaskSocket", "useLiveTask")
        path.write_text(text.replace("useHybridTask", "useTask"))
    missing = " ".join(map(str, layout_of(root).missing))
    assert "createMessageStream" in missing
    assert "useTaskSocket" in missing
    names = Names(
        stream_method="openStream", socket_hook="useLiveTask", hybrid_hook="useTask"
    )
    layout = layout_of(root, replace(Settings(), names=names))
    assert layout.missing == ()
    assert layout.server.loop is not None


def test_the_hook_that_calls_the_sockets_hook_is_the_one(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    for path in root.rglob("*.tsx"):
        path.write_text(path.read_text().replace("useHybridTask", "useWork"))
    change(root, HYBRID, "useHybridTask", "useWork")
    layout = layout_of(root)
    assert layout.hooks.merging is not None
    assert layout.hooks.merging.name == "useWork"
    assert len(layout.hooks.consumers) == 2


def test_several_next_applications_are_told_apart_by_the_hook(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    write(root, {"apps/docs/package.json": '{"dependencies": {"next": "1"}}'})
    layout = layout_of(root)
    assert layout.frontend is not None
    assert layout.frontend.folder == "apps/frontend"


def test_functions_are_where_convex_json_says(tmp_path: Path) -> None:
    root = copy_monorepo(tmp_path, committed=False)
    (root / "packages").mkdir()
    (root / "convex").rename(root / "packages" / "backend")
    write(root, {"packages/convex.json": '{"functions": "backend/"}'})
    layout = layout_of(root)
    assert layout.functions.folder == "packages/backend"
    assert layout.functions.schema is not None
