"""What the doctor knows about code: what users see of it, and what to do about it.

Plain data, by an id that stays the same from version to version. How each is detected
is in the modules beside this one; what the deployment, the settings file and a running
application show has the codes of `kit.doctor.faults`, which `rule_of` knows, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kit.doctor.faults import FAULTS

__all__ = ["RULES", "Level", "Rule", "rule_of"]

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Rule:
    """`effect`: what users of the application see. `notebook`: where that is shown.

    `level` is the usual one; a finding may have another.
    """

    level: Level
    title: str
    effect: str
    remedy: str
    notebook: str = ""


_BEFORE = "01_before_socketio"
_OPTION_1 = "02_option_1_minimal"
_OPTION_2 = "03_option_2_full_migration"
_BREAK = "04_when_things_break"
_ROLLBACK = "05_rollback"

RULES: Mapping[str, Rule] = {
    # --- the order of things --------------------------------------------------------
    "answers-twice": Rule(
        "error",
        "the Socket.IO loop runs although Convex has answered",
        "Each message is answered twice and paid twice: by Convex, then by the loop.",
        "Return when Convex has answered, before the loop. `kit apply` does it.",
        _OPTION_1,
    ),
    "no-client-message-id": Rule(
        "warning",
        "Convex is asked without `clientMessageId`",
        "When the answer to the call is lost, the reply is generated a second time: "
        "nobody can tell that Convex has begun it.",
        "Pass the message's `clientMessageId` with the call, and look the reply up by "
        "it before falling back. `kit apply` does both.",
        _OPTION_1,
    ),
    # --- functions ------------------------------------------------------------------
    "function-unknown": Rule(
        "error",
        "a function is called that the repository does not have",
        "The call fails with “Could not find public function”.",
        "Add the function to the Convex folder, or correct the name. `kit apply` "
        "brings the kit's.",
        _BREAK,
    ),
    "function-kind": Rule(
        "error",
        "a function is called as something that it is not",
        "The call fails with “Trying to execute …”.",
        "Call it as what it is defined as.",
        _BREAK,
    ),
    "function-args": Rule(
        "error",
        "a function is called with arguments that it does not take",
        "The call fails with “ArgumentValidationError”.",
        "Correct the call, or the `args` of the function.",
        _BREAK,
    ),
    # --- the flag -------------------------------------------------------------------
    "flag-not-read": Rule(
        "error",
        "messages come from Convex whatever the flag says",
        "Turning the flag off, the first step of a rollback, changes nothing.",
        "Read NEXT_PUBLIC_USE_CONVEX_REALTIME where Convex's messages are taken, and "
        "pass no task while it is off. `kit apply` brings such a hook.",
        _ROLLBACK,
    ),
    "server-ignores-flag": Rule(
        "warning",
        "the server asks Convex whatever the flag says",
        "With the flag off, replies still go to Convex, where no view looks: "
        "responses do not show.",
        "Skip the call while NEXT_PUBLIC_USE_CONVEX_REALTIME is false in the server's "
        "environment. `kit apply` does it.",
        _ROLLBACK,
    ),
    "socket-hook-direct": Rule(
        "warning",
        "a view takes streamed text past the hybrid hook",
        "This view shows nothing of replies that Convex streams.",
        "Use the hybrid hook here.",
        _OPTION_1,
    ),
    # --- events ---------------------------------------------------------------------
    "text-over-socket": Rule(
        "note",
        "text streams over Socket.IO",
        "Who is away for a moment misses text: responses do not show.",
        "Nothing yet: Option 1 of the guide goes round it, Option 2 removes it.",
        _BEFORE,
    ),
    "event-emitted": Rule(
        "warning",
        "an event that streamed text is still emitted",
        "A view that still handles it shows text twice, or ends a reply too early.",
        "Remove it, as Option 2, step 2 of the guide does.",
        _OPTION_2,
    ),
    "event-handled": Rule(
        "note",
        "an event is handled that nothing emits",
        "Nothing; but whoever reads the code believes that text comes this way.",
        "Remove the handler once no older server is in use.",
        _OPTION_2,
    ),
    "event-gone": Rule(
        "error",
        "an event is handled that nothing emits, and that is to stay",
        "Status, terminal or files stand still in the view.",
        "Emit it again: Option 2 removes the events that streamed text, not this one.",
        _OPTION_2,
    ),
    "error-event-unhandled": Rule(
        "warning",
        "the server says that a reply failed, and no view listens",
        "After a failed reply the view goes on saying that one is being written.",
        "Handle `stream-error` as `stream-complete` is handled.",
        _BEFORE,
    ),
    # --- what stays behind ----------------------------------------------------------
    "streaming-not-cleared": Rule(
        "error",
        "`isStreaming` is set and never cleared",
        "The view says for ever that a reply is being written; the next message may "
        "not be sent.",
        "Set it to false where the reply ends, where it fails and where it is stopped. "
        "On Convex it follows from the message's status.",
        _BREAK,
    ),
    "streaming-row-left": Rule(
        "warning",
        "a reply that fails stays stored as being written",
        "After an error the stored message says for ever that it is being written.",
        "Write `isStreaming: false` where the error is caught, too. On Convex the end "
        "of a reply is one transaction, and a sweep ends what nobody ends.",
        _BREAK,
    ),
    "whole-rewrite": Rule(
        "warning",
        "the whole message is written again while it streams",
        "Long replies get slower and slower: what is written, and pushed to every "
        "view, grows with the square of the length.",
        "Append what is new, as the kit's functions do.",
        _OPTION_1,
    ),
    "abort-in-memory": Rule(
        "warning",
        "replies can only be stopped by the process that writes them",
        "After a restart, or with a second server process, Stop does nothing and the "
        "reply runs on.",
        "Have Convex stop it: `streaming:stopTask`. `kit apply` makes the method that "
        "stops call it.",
        _OPTION_2,
    ),
    "sql-write": Rule(
        "note",
        "messages are still written to SQL",
        "Nothing at once; but two histories that drift apart.",
        "Remove it when nothing reads it any more; keep it while you may roll back.",
        _ROLLBACK,
    ),
    # --- keys -----------------------------------------------------------------------
    "key-logged": Rule(
        "error",
        "an API key goes to the log",
        "Nothing; but whoever reads the log, or an error service, has the key.",
        "Log whether there is a key, not the key. Replace keys that were logged.",
    ),
    "key-scheduled": Rule(
        "error",
        "an API key is stored with a scheduled function",
        "Nothing; but the key stands in the database, and in the dashboard.",
        "Set keys in the deployment's environment (`npx convex env set`), and schedule "
        "without them.",
    ),
    "key-in-browser": Rule(
        "error",
        "an API key is sent to every browser",
        "Nothing; but every visitor can read the key.",
        "What is called NEXT_PUBLIC_ is part of the page: keep keys on the server or "
        "in the deployment's environment, and replace this one.",
    ),
    "key-in-arguments": Rule(
        "note",
        "API keys travel as arguments of a Convex function",
        "Nothing; but the key passes through one more process with each message.",
        "Better: set keys in the deployment's environment (`npx convex env set`) and "
        "leave `apiKeys` out.",
        _OPTION_1,
    ),
    # --- reading --------------------------------------------------------------------
    "unreadable": Rule(
        "warning",
        "this file does not parse",
        "Nothing, if it is not built.",
        "Correct the syntax; until then, what else is in this file is not looked at.",
    ),
}

# What is wrong in a settings file that is on purpose, or need not be there.
_FAULT_LEVELS: Mapping[str, Level] = {
    "flag-off": "note",
    "deployment-other-kit": "warning",
    "application-other-kit": "warning",
    "restart-needed": "warning",
    "functions-newer": "warning",
    "functions-older": "warning",
}


def rule_of(code: str) -> Rule:
    """The rule of this id, or the fault of this code as a rule."""
    if code in RULES:
        return RULES[code]
    fault = FAULTS[code]
    level = _FAULT_LEVELS.get(code, "error")
    return Rule(level, fault.title, fault.effect, fault.remedy, fault.notebook)
