"""Every exception that the kit raises on purpose.

```text
KitError
├── ConfigError              a setting, a path, a flag or a model name is wrong
├── DatabaseError            the data folder or its database file cannot be used
│   └── MessageIdTaken           a message's id is that of another task's message
├── FunctionLoadError        a folder of Convex functions cannot be served
├── ProtocolError            a peer sent a sync message that breaks the protocol
├── DeploymentError          a call to a deployment failed
│   ├── DeploymentUnreachable    nobody answers at that URL
│   ├── RequestRejected          the deployment refused the request itself
│   └── FunctionError            the function ran and raised
│       └── ConvexFunctionError      it raised a ConvexError: `.data` holds its data
├── ReplyOutOfSight          a reply may go on in Convex, which does not answer
├── LLMError                 the model provider refused, failed or was cut off
├── StackError               a process of the stack did not start or died
└── CheckFailed              an expected behaviour did not hold
```

The text says what happened, where, and what to do; what a program needs is in
attributes. No text ever holds a key.
"""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path
from typing import Any, Literal, get_args

__all__ = [
    "ERROR_KINDS",
    "CheckFailed",
    "ConfigError",
    "ConvexFunctionError",
    "DatabaseError",
    "DeploymentError",
    "DeploymentUnreachable",
    "ErrorKind",
    "FunctionError",
    "FunctionLoadError",
    "KitError",
    "LLMError",
    "LLMErrorKind",
    "MessageIdTaken",
    "ProtocolError",
    "ReplyOutOfSight",
    "RequestRejected",
    "StackError",
    "ToolErrorKind",
]


# Files whose frames are not the user's.
_LIBRARIES = re.compile(
    "|".join(
        re.escape(str(folder))
        for folder in (
            Path(__file__).parent,
            *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
        )
    )
)


class KitError(Exception):
    """Base of all errors that the kit raises on purpose. May be pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is otherwise rebuilt from its text alone, which is not what
        # the constructors below take.
        return _rebuild, (type(self), self.args, self.__dict__)

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it: the user's own lines and the text.

        The kit's frames say nothing to whoever is to change a setting or a URL. They
        are still there: `import traceback; traceback.print_last()`.
        """
        lines = [
            f"line {frame.lineno}, in {frame.name}: {frame.line}"
            for frame in traceback.extract_tb(self.__traceback__)
            if not _LIBRARIES.search(frame.filename)
        ]
        return [*lines, f"{type(self).__name__}: {self}"]


def _rebuild(
    cls: type[KitError], args: tuple[Any, ...], state: dict[str, Any]
) -> KitError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigError(KitError, ValueError):
    """A setting is wrong: a path, a URL, a port, a flag, a model name."""


class DatabaseError(KitError):
    """The data folder or the database file in it cannot be used."""


class MessageIdTaken(DatabaseError):
    """A message was to be stored with the id of a message in another task."""


class FunctionLoadError(KitError):
    """A folder of Convex functions cannot be served: bad module, schema, name."""


class ProtocolError(KitError):
    """A peer sent a message that breaks Convex's sync protocol."""


class DeploymentError(KitError):
    """A call to a Convex deployment failed."""


class DeploymentUnreachable(DeploymentError, ConnectionError):
    """Nobody answers at the deployment's URL, or it stopped answering."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(
            f"No Convex deployment answers at {url}: {reason}. "
            "Check the URL (NEXT_PUBLIC_CONVEX_URL) and that the deployment is running."
        )


class RequestRejected(DeploymentError):
    """The deployment refused the request itself, before any function ran."""

    def __init__(self, status: int, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        super().__init__(
            f"The deployment refused the request ({status} {code}): {message}"
        )


class FunctionError(DeploymentError):
    """A query, mutation or action ran and failed."""

    def __init__(self, path: str, message: str) -> None:
        self.path = path
        self.message = message
        super().__init__(f"{path}: {message.strip()}")


class ConvexFunctionError(FunctionError):
    """The function raised a `ConvexError`; `data` is what it carried."""

    def __init__(self, path: str, message: str, data: Any) -> None:
        super().__init__(path, message)
        self.data = data


# --- what a reply may fail with ---------------------------------------------------

# The one list of error kinds: a program goes by them, a person by the text beside. A
# message, an error part and a tool's failed result hold one each. `schema.ts` has the
# same list, and a test holds the two together.


class ReplyOutOfSight(KitError):
    """A reply may have been begun in Convex and go on there, where nobody can see it.

    No reason to answer by other means: that would answer twice.
    """


LLMErrorKind = Literal[
    "auth",  # 401, or no key at all
    "billing",  # 402
    "forbidden",  # 403
    "not-found",  # 404: no such model
    "bad-request",  # 400, 422
    "too-large",  # 413, context too long
    "rate-limit",  # 429
    "overloaded",  # 503, 529
    "server",  # other 5xx
    "timeout",  # nothing arrived for too long
    "connection",  # refused, reset, cut
    "protocol",  # what arrived is not the provider's format
    "interrupted",  # the stream, or its producer, ended without the last event
]
ToolErrorKind = Literal[
    "tool-input",  # the arguments are no JSON object, or too long
    "tool-unknown",  # there is no such tool
    "tool-failed",  # it raised, or what it returned is not JSON
    "tool-timeout",  # it did not answer in time
    "tool-not-run",  # the reply ended before its result: stopped, failed or cut off
]
ErrorKind = Literal[
    LLMErrorKind,
    ToolErrorKind,
    "step-limit",  # the model still asked for tools in the last step it was given
    "reply-too-long",  # the reply is longer than one message may be
    "config",  # a setting in the deployment's environment cannot be used
    "application",  # the application said so over Socket.IO, in words only
    "internal",  # none of these, so a defect: the log says more
]
ERROR_KINDS: tuple[ErrorKind, ...] = get_args(ErrorKind)


class LLMError(KitError):
    """A model call failed. Holds no request, response or key.

    `midstream` is true when chunks were already handed out: such a call is never
    retried silently.
    """

    def __init__(
        self,
        kind: LLMErrorKind,
        message: str,
        *,
        provider: str,
        status: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
        request_id: str | None = None,
        midstream: bool = False,
    ) -> None:
        self.kind: LLMErrorKind = kind
        self.message = message
        self.provider = provider
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after
        self.request_id = request_id
        self.midstream = midstream
        super().__init__(f"{provider}: {message}")


class StackError(KitError):
    """A process of the stack did not start, or died; the text ends in its log."""


class CheckFailed(KitError, AssertionError):
    """One or more expected behaviours did not hold."""
