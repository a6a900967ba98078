"""What holds for every test.

Property-based tests draw the same examples in every run, so that a run says something
about a change and not about its luck. To search for new ones, with the seed of your
choice: `pytest --hypothesis-profile=explore --hypothesis-seed=1`. A failure prints the
decorator that replays it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No deadline and no complaint about slowness: other processes share the machine, and
# pytest's time limits end what hangs.
settings.register_profile(
    "fixed",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "explore", settings.get_profile("fixed"), derandomize=False, max_examples=1000
)
settings.load_profile("fixed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, by the limits that their tests set.

    Where files run side by side, none of these is then alone at the end.
    """
    limits: dict[Path, float] = {}
    for item in items:
        marker = item.get_closest_marker("timeout")
        limit = float(marker.args[0]) if marker else 0.0
        limits[item.path] = max(limit, limits.get(item.path, 0.0))
    items.sort(key=lambda item: -limits[item.path])


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
