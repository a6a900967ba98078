"""Models: one adapter per wire format, one shape of chunks out.

`kit.llm.route` decides who is asked, with which key, over which wire; `open_wire`
there gives a `Wire`; a `Wire` starts a `Conversation` (`kit.llm.wire`), whose
`step()` streams one model call as the chunks of `kit.parts`. `kit.llm.scripted` is a
provider that needs no account and no network.

Only the modules below this package know a provider's field names, and only the one
adapter in use imports its SDK: importing this package, `kit.llm.route` or
`kit.llm.wire` imports none.
"""

from __future__ import annotations

import copyreg
from typing import Any

from kit.errors import LLMError


def _rebuild_error(kind: Any, message: str, provider: str) -> LLMError:
    return LLMError(kind, message, provider=provider)


def _reduce_error(error: LLMError) -> tuple[Any, ...]:
    made_from = (error.kind, error.message, error.provider)
    return _rebuild_error, made_from, error.__dict__


# An exception is pickled by its text alone, from which this one cannot be made again:
# a worker process could not tell what went wrong.
copyreg.pickle(LLMError, _reduce_error)
