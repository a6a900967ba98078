"""Keys that do not show, and texts that have been cleared of them.

Holds `Secret`, the only form in which a key travels inside the kit, and `redact`.
Does not read keys from anywhere.
"""

from __future__ import annotations

import hmac
import re
from typing import NoReturn, SupportsIndex

__all__ = ["PLACEHOLDER_KEY", "REDACTED", "Secret", "redact", "without_keys"]

REDACTED = "[redacted]"

# What the scripted provider is sent where a real one needs a key. It is no secret,
# and redacting it would garble every text that mentions that provider.
PLACEHOLDER_KEY = "scripted"

# Nothing shorter is a real key, and replacing short strings would garble texts.
_SHORTEST_KEY = 8

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Keys of all three providers, also as the providers mask them: sk-ab***yz.
    (re.compile(r"\bsk-[\w*.-]{7,}[\w*]"), REDACTED),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=*-]{16,}"), rf"\1{REDACTED}"),
    (
        re.compile(r"""(?i)\b((?:x-)?api[-_]?key["']?\s*[:=]\s*["']?)[^\s"',;}]{8,}"""),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"(://)[^/\s@]+@"), rf"\1{REDACTED}@"),
)


class Secret:
    """A key: compares, hashes, and shows itself to `reveal()` only.

    `repr` and `str` hide it; pickling, copying and JSON encoding fail.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key itself, for the header of a request and nothing else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('…')"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        raise TypeError("a Secret is never pickled or copied: pass the object itself")


def without_keys(text: str, *secrets: Secret | str | None) -> str:
    """`text` without these keys."""
    values = [s.reveal() if isinstance(s, Secret) else s for s in secrets if s]
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST_KEY and value != PLACEHOLDER_KEY:
            text = text.replace(value, REDACTED)
    return text


def redact(text: str, *secrets: Secret | str | None) -> str:
    """`text` without these keys and without anything that looks like one."""
    text = without_keys(text, *secrets)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
