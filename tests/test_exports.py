"""The front door: at most fifteen names, sorted, loaded when used, all documented."""

import subprocess
import sys
from pathlib import Path

import kit

README = Path(__file__).parent.parent / "README.md"


def test_the_front_door_is_small_and_sorted() -> None:
    assert len(kit.__all__) <= 15
    assert kit.__all__ == sorted(kit.__all__)


def test_each_name_leads_somewhere_and_explains_itself() -> None:
    for name in kit.__all__:
        assert getattr(kit, name).__doc__, f"{name} has no docstring"
    assert set(kit.__all__) <= set(dir(kit))


def test_an_unknown_name_is_an_attribute_error() -> None:
    try:
        kit.nonsense  # noqa: B018
    except AttributeError as error:
        assert "nonsense" in str(error)
    else:
        raise AssertionError("kit.nonsense exists")


def test_importing_the_kit_and_its_command_line_loads_nothing_heavy() -> None:
    heavy = "anthropic openai aiohttp sqlalchemy socketio ipywidgets papermill convex"
    script = (
        "import sys, kit, kit.cli\n"
        f"print([name for name in '{heavy}'.split() if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
