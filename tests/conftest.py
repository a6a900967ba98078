"""What holds for every test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def forget_functions() -> Iterator[None]:
    """A folder of functions is imported through `sys.path`: leave none behind."""
    path = list(sys.path)
    yield
    added = [Path(folder) for folder in sys.path if folder not in path]
    if not added:
        return
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None and any(map(Path(file).is_relative_to, added)):
            del sys.modules[name]
