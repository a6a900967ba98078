"""What the kit's servers share: who may reach them."""

import pytest

from kit.serving import is_loopback


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8888", True),
        ("http://localhost", True),
        ("https://[::1]:1", True),
        ("//127.0.0.1:80", True),
        ("http://127.0.0.1.example.org", False),
        ("http://example.org", False),
        ("http://evil.example@localhost", False),
        ("http://localhost/evil.example", False),
        ("null", False),
        ("", False),
        ("http://[", False),
    ],
)
def test_is_loopback(url: str, local: bool) -> None:
    assert is_loopback(url) is local
