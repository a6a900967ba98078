"""Plain modules become one, and what cannot be joined is refused."""

import subprocess
from pathlib import Path

import pytest
from node import require_node

from kit.widget import ChatView
from kit.widget.script import join_modules, join_styles


def write(folder: Path, **modules: str) -> Path:
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text)
    return folder / "entry.js"


def test_each_module_comes_once_after_those_that_it_imports(tmp_path: Path) -> None:
    entry = write(
        tmp_path,
        entry='import { b } from "./b.js";\n'
        'import {\n  a,\n} from "./a.js";\n'
        "export default () => a + b;\n",
        b='import { a } from "./a.js";\n\nexport const b = a + 1;\n',
        a="export function a() {}\nexport class A {}\n",
    )
    joined = join_modules(entry)
    assert joined.count("function a() {}") == 1
    assert joined.index("class A {}") < joined.index("const b") < joined.index("=> a")
    assert "import" not in joined
    assert joined.count("export") == joined.count("export default") == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('import { x as y } from "./x.js";\n', "cannot be joined"),
        ('import * as x from "./x.js";\n', "cannot be joined"),
        ('import "https://cdn.example/x.js";\n', "cannot be joined"),
        ('export { x } from "./x.js";\n', "cannot be joined"),
        ('import { x } from "./x.js";\nconst x = 2;\n', "defined in"),
        ('import { x } from "./entry.js";\n', "import each other"),
    ],
)
def test_what_cannot_be_joined_is_refused(
    tmp_path: Path, text: str, complaint: str
) -> None:
    entry = write(tmp_path, x="export const x = 1;\n", entry=text)
    with pytest.raises(ValueError, match=complaint):
        join_modules(entry)


def test_styles_are_joined_in_their_order(tmp_path: Path) -> None:
    paths = [tmp_path / "b.css", tmp_path / "a.css"]
    for path in paths:
        path.write_text(f".{path.stem} {{}}\n")
    assert join_styles(paths) == ".b {}\n\n.a {}\n"


def test_the_joined_module_is_one_that_a_browser_can_read(tmp_path: Path) -> None:
    joined = tmp_path / "joined.mjs"
    joined.write_text(str(ChatView._esm))
    require_node()
    done = subprocess.run(
        ["node", "--check", joined], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr


def test_nothing_is_loaded_from_elsewhere() -> None:
    for text in (str(ChatView._esm), str(ChatView._css)):
        for word in ("://", "@import", "url(", "import(", "fetch(", "eval("):
            assert word not in text
