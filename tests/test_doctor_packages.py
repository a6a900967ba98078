"""What is installed against what is asked for."""

from importlib.metadata import version
from pathlib import Path

import pytest

import kit
from kit.doctor import packages
from kit.doctor.packages import check_packages, look_at_packages, requirements


def test_this_installation_is_as_it_should_be() -> None:
    assert check_packages(requirements()[0]) == []
    assert look_at_packages().state == "ok"


def test_a_checkout_is_asked_what_it_needs_now() -> None:
    asked, source = requirements()
    assert source.endswith("pyproject.toml")
    assert any(text.startswith("convex>=") for text in asked)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no-such-package>=1", "no-such-package is not installed (>=1)"),
        ("convex<0.1", f"convex is {version('convex')} (<0.1)"),
        ("convex >= 0.1, < 99", None),
        ("sqlalchemy[asyncio]>=99", f"sqlalchemy is {version('sqlalchemy')} (>=99)"),
        ("no-such-package; extra == 'dev'", None),
        ("no-such-package; python_version < '3'", None),
        (
            "no-such-package; python_version > '3'",
            "no-such-package is not installed ()",
        ),
        ("???", "'???' cannot be understood"),
    ],
)
def test_what_is_missing_or_out_of_range_is_told(text: str, told: str | None) -> None:
    assert check_packages([text]) == ([told] if told else [])


def test_it_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["convex>=0.1", "no-such-package>=1", "convex<0.1"]
    monkeypatch.setattr(packages, "requirements", lambda: (asked, "somewhere"))
    finding = look_at_packages()
    assert (finding.fault, finding.place) == ("packages", "somewhere")
    assert "no-such-package is not installed" in finding.seen
    assert "; convex is" in finding.seen
    monkeypatch.setattr(packages, "requirements", lambda: ([], "It"))
    assert look_at_packages().state == "skipped"


def test_outside_a_checkout_the_installed_package_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit, "__file__", str(tmp_path / "site" / "kit" / "__init__.py"))
    asked, source = requirements()
    assert source == "convex-streaming-kit"
    assert any("convex" in text for text in asked)
    # Nor is somebody else's project asked.
    (tmp_path / "site").mkdir()
    project = tmp_path / "site" / "pyproject.toml"
    for text in ('[project]\nname = "other"\ndependencies = ["x"]\n', "nonsense", "["):
        project.write_text(text)
        assert requirements()[1] == "convex-streaming-kit"
