"""The steps of the guide: known by name, each once."""

import pytest

from kit.errors import ConfigError
from kit.guide import STEPS, known_step


def test_every_step_is_known_by_its_own_name() -> None:
    names = [step.name for step in STEPS]
    assert len(set(names)) == len(names)
    assert [known_step(name) for name in names] == names


def test_an_unknown_step_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no step 'Option 3'.*Option 1, step 1"):
        known_step("Option 3")
