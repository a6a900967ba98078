"""The faults that the doctor knows: what users see of each, and what to do about it.

Plain data, by a code that stays the same from version to version. Which fault there is,
the probes find out; what was seen of it, and advice that depends on that, is in the
finding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FAULTS", "Fault"]


@dataclass(frozen=True, slots=True)
class Fault:
    """`effect`: what users of the application see. `notebook`: where that is shown."""

    title: str
    effect: str
    remedy: str
    notebook: str = ""


_HERE = "04_when_things_break"
_OPTION_1 = "02_option_1_minimal"

_BEFORE = (
    "Replies come, over Socket.IO and from SQL, as before the migration. Nothing is on "
    "Convex."
)
_NO_START = "The application does not start; its log names the setting."
_NO_CONVEX = (
    "Option 1: replies still come, over Socket.IO, after the log line “Convex "
    "streaming failed, falling back”. Option 2: each message fails. Views show "
    "connecting or reconnecting."
)
_NO_TASK = "The view stays empty: it waits for messages that go elsewhere."
_FAILED = "The reply ends as failed, with this text; what came before it is kept."
_FIND_URL = (
    "The dashboard shows a deployment's URL in its settings, as "
    "https://<name>.convex.cloud; a container of your own listens on port 3210; "
    "`kit deployment` prints its URL."
)
_INSTALL = "Install again in this interpreter: python -m pip install -e . (a checkout)."

FAULTS: Mapping[str, Fault] = {
    # --- .env.local -----------------------------------------------------------------
    "file-missing": Fault(
        "there is no such file",
        _BEFORE,
        "Create it with NEXT_PUBLIC_USE_CONVEX_REALTIME=true and "
        "NEXT_PUBLIC_CONVEX_URL=<the deployment's URL>, or name the right file with "
        "--env-file; then restart the application.",
        _OPTION_1,
    ),
    "file-unreadable": Fault(
        "the file cannot be read",
        _NO_START,
        "It should be a UTF-8 text of KEY=value lines that this user may read.",
    ),
    "flag-off": Fault(
        "the flag is off",
        _BEFORE,
        "If that is not meant: set NEXT_PUBLIC_USE_CONVEX_REALTIME=true and restart "
        "the application.",
        _HERE,
    ),
    "flag-misspelt": Fault(
        "a setting looks misspelt",
        _BEFORE,
        "Correct the name and restart the application.",
        _HERE,
    ),
    "flag-value": Fault(
        "a setting has a value that it cannot have",
        _NO_START,
        "NEXT_PUBLIC_USE_CONVEX_REALTIME is true or false, in small letters; "
        "KIT_MIGRATION_OPTION is 1 or 2.",
    ),
    # --- the URL, as it is written --------------------------------------------------
    "url-missing": Fault(
        "the flag is on, and there is no URL",
        _NO_START,
        "Add NEXT_PUBLIC_CONVEX_URL=<the deployment's URL>, or turn the flag off. "
        + _FIND_URL,
        _HERE,
    ),
    "url-placeholder": Fault(
        "the URL is still the guide's example",
        _NO_START,
        f"Write your own deployment's URL. {_FIND_URL}",
        _HERE,
    ),
    "url-malformed": Fault("this is no http(s) URL", _NO_START, _FIND_URL),
    "url-key": Fault(
        "a key stands where the URL belongs",
        _NO_START,
        "Remove it: what is NEXT_PUBLIC_ is sent to every browser, so make a new key, "
        f"too, if that was ever served. {_FIND_URL}",
    ),
    "url-dashboard": Fault(
        "this is the dashboard's address, not a deployment's",
        _NO_START,
        _FIND_URL,
        _HERE,
    ),
    "url-site": Fault(
        "this is where HTTP actions are served",
        _NO_START,
        "The deployment has the same name at .convex.cloud.",
        _HERE,
    ),
    "url-path": Fault(
        "the URL has more than scheme, host and port",
        _NO_START,
        "Leave out the path, and what follows it.",
    ),
    "url-not-https": Fault(
        "Convex's cloud is reached by https only",
        _NO_CONVEX,
        "Write https:// for http://.",
    ),
    "url-differs": Fault(
        "the application uses another deployment than was asked about",
        _NO_TASK,
        "Use the same URL for both: in .env.local (restart the application after it), "
        "and wherever clients are told one.",
        _HERE,
    ),
    # --- who answers there ----------------------------------------------------------
    "deployment-dns": Fault(
        "the name of the host is not known",
        _NO_CONVEX,
        "Look for a misspelt name, and whether this machine is online. " + _FIND_URL,
        _HERE,
    ),
    "deployment-refused": Fault(
        "nothing listens there",
        _NO_CONVEX,
        "Start the deployment, or correct the port: 3210 for a container or `npx "
        "convex dev`, what it printed for `kit deployment`.",
        _HERE,
    ),
    "deployment-unreachable": Fault(
        "there is no way to that host",
        _NO_CONVEX,
        "Check the network, a VPN and a firewall between here and there.",
    ),
    "deployment-silent": Fault(
        "something is there and does not answer",
        _NO_CONVEX,
        "Restart the deployment if it is yours. A firewall that drops packets looks "
        "the same.",
    ),
    "deployment-tls": Fault(
        "no encrypted connection can be made",
        _NO_CONVEX,
        "A deployment on this machine or in a container speaks plain http:// unless a "
        "proxy in front of it has a certificate.",
    ),
    "deployment-certificate": Fault(
        "the certificate is not trusted here",
        _NO_CONVEX,
        "Use a certificate that this machine trusts, for exactly this host name. Some "
        "company proxies put their own in between: add its issuer to the system's.",
    ),
    "deployment-not-http": Fault(
        "what answers does not speak HTTP",
        _NO_CONVEX,
        "Check the port, and whether it should be https://.",
    ),
    "deployment-redirect": Fault(
        "the address sends callers elsewhere",
        _NO_CONVEX,
        "Write the address that it leads to, if that is the deployment's: clients "
        "follow no redirects.",
    ),
    "deployment-gateway": Fault(
        "a proxy answers, the deployment behind it does not",
        _NO_CONVEX,
        "Start the deployment, and check where the proxy sends to.",
    ),
    "deployment-forbidden": Fault(
        "something in between wants to know who asks",
        _NO_CONVEX,
        "A deployment lets everybody ask for its version. Take the login, filter or "
        "access rule in front of it away, for its host.",
    ),
    "deployment-unknown": Fault(
        "Convex's cloud has no such deployment",
        _NO_CONVEX,
        f"Look for a misspelt name, or a deployment that was deleted. {_FIND_URL}",
    ),
    "deployment-not-convex": Fault(
        "something else than Convex answers there",
        _NO_CONVEX,
        _FIND_URL,
        _HERE,
    ),
    "deployment-stopped": Fault(
        "the deployment runs no functions at present",
        _NO_CONVEX,
        "Its dashboard says why, and resumes it.",
    ),
    "deployment-other-kit": Fault(
        "the embedded deployment runs another version of the kit",
        "What one of the two knows and the other does not fails.",
        "Restart it, so that it runs what is installed now.",
    ),
    "subscription": Fault(
        "calls are answered, subscriptions are not",
        "Messages are accepted and never show; views stay empty or at reconnecting.",
        "Subscriptions use a WebSocket at /api/sync: a proxy in between must let it "
        "through. If it is the client itself that fails, reinstall the package convex.",
    ),
    "client-unsupported": Fault(
        "the deployment no longer takes this version of the client",
        _NO_CONVEX,
        "Install a newer release of the package convex, and restart what uses it.",
    ),
    "sign-in-missing": Fault(
        "the deployment asks who calls, and nobody is signed in",
        "Each call fails, and the log says so; views stay empty.",
        "Set KIT_CONVEX_TOKEN to a user's token in the environment of the application, "
        "restart it, and give clients of yours one as well. An admin key does only "
        "where it acts as a user, and on an embedded deployment.",
    ),
    "sign-in-refused": Fault(
        "the deployment refuses the token or the admin key",
        "Each call fails, and the log says so; views stay empty.",
        "Take a new one: a token ends after a while, and both are for one deployment "
        "only. It stands in KIT_CONVEX_TOKEN or KIT_CONVEX_ADMIN_KEY.",
    ),
    # --- the functions on it --------------------------------------------------------
    "functions-missing": Fault(
        "the kit's functions are not on this deployment",
        _NO_CONVEX + " The log says “Could not find public function”.",
        "Run kit deploy, or name the deployment that has them.",
        _HERE,
    ),
    "functions-incomplete": Fault(
        "some of the kit's functions are missing",
        "Whatever needs them fails with “Could not find public function”.",
        "Run kit deploy: the deployment has an older version, or a part of it.",
        _HERE,
    ),
    "functions-foreign": Fault(
        "functions of these names are of another kind",
        "Whatever needs them fails with “Trying to execute …”.",
        "They are not this kit's: choose another deployment, or rename yours.",
    ),
    "functions-unsupported": Fault(
        "Convex no longer runs functions of this age",
        _NO_CONVEX,
        "Run kit deploy: it brings functions that were built with a newer release.",
    ),
    "functions-older": Fault(
        "the functions are older than this kit",
        "What is newer than they are fails, or is silently left out.",
        "Run kit deploy.",
        _HERE,
    ),
    "functions-newer": Fault(
        "the functions are newer than this kit",
        "What they expect of callers, and this version does not know, fails.",
        "Update the kit where this was run, and the application; then restart it.",
        _HERE,
    ),
    # --- the application ------------------------------------------------------------
    "application-down": Fault(
        "the application does not answer",
        "Nothing works: views show connecting, and messages cannot be sent.",
        "Start it. If it has just ended by itself, the last lines of its log say why.",
        _HERE,
    ),
    "application-foreign": Fault(
        "something else than the application answers",
        "Nothing works: views show connecting, and messages cannot be sent.",
        "Check the address: the application prints its own when it starts.",
    ),
    "application-other-kit": Fault(
        "the application runs another version of the kit",
        "What one of the two knows and the other does not fails.",
        "Restart it, so that it runs what is installed now.",
        _HERE,
    ),
    "restart-needed": Fault(
        "the application still runs with older settings",
        "It behaves as .env.local said when it started.",
        "Restart the application: it reads the file only then.",
        _HERE,
    ),
    "other-env-file": Fault(
        "the application reads another file",
        "Edits of this file change nothing.",
        "Edit that one, or name it with --env-file.",
    ),
    "client-import": Fault(
        "the Convex client cannot be imported",
        "The application does not start, or fails when it needs Convex for the first "
        "time; its log ends in an import error.",
        "Reinstall it in the interpreter that runs the application: python -m pip "
        "install --force-reinstall convex. If that does not help, a file or folder "
        "named convex comes first, in PYTHONPATH or the working folder: rename it.",
        _HERE,
    ),
    "packages": Fault(
        "installed packages are not the ones that the kit needs",
        "Anything from an import error to replies that break off.",
        _INSTALL,
        _HERE,
    ),
    # --- the task -------------------------------------------------------------------
    "task-unknown": Fault(
        "there is no such task",
        _NO_TASK + " Messages to it are refused.",
        "Use the id that POST /api/tasks or tasks:create gave, whole, on the "
        "deployment where it was made. To anybody but its owner it does not exist.",
        _HERE,
    ),
    "task-only-in-sql": Fault(
        "Convex does not know this task, SQL does",
        "Option 1: replies come over Socket.IO. Option 2: each message fails. Views "
        "that follow Convex stay empty.",
        "It was created while the flag was off, or on another deployment. Create a new "
        "task now that the flag is on.",
        _HERE,
    ),
    "task-only-in-convex": Fault(
        "Convex knows this task, SQL does not",
        "With the flag off the application refuses its messages: no such task.",
        "Turn the flag on, or create a new task.",
    ),
    "reply-key-refused": Fault(
        "the newest reply failed: the provider refused the key",
        _FAILED,
        "Correct the key where replies are generated and restart that process; then "
        "send the message again. This stands until a newer reply is there.",
        _HERE,
    ),
    "reply-broke-off": Fault(
        "the newest reply broke off: whoever wrote it died or lost its connection",
        "The text that was accepted stays, marked as failed; the task is free.",
        "Send the message again. If it happens often, see the deployment's log.",
        _HERE,
    ),
    "reply-failed": Fault(
        "the newest reply failed",
        _FAILED,
        "Do what the text says, then send the message again.",
    ),
    "reply-stuck": Fault(
        "the newest reply has been written for too long",
        "The view says streaming, and nothing grows; a new message is refused.",
        "Stop it (Stop in the view, or streaming:stopTask). The hourly sweep on the "
        "deployment ends it otherwise.",
    ),
    # --- the model provider ---------------------------------------------------------
    "key-missing": Fault(
        "there is no key for any model provider",
        "Each reply fails: no API key for the model.",
        "Set OPENROUTER_API_KEY, ANTHROPIC_API_KEY or OPENAI_API_KEY where replies are "
        "generated, and restart that process.",
    ),
    "key-unusable": Fault(
        "the key cannot be a key",
        "Each reply fails before it begins.",
        "Copy it again, without spaces, quotes or line breaks.",
    ),
    "key-refused": Fault(
        "the provider refuses the key",
        "Each reply fails: the key was refused.",
        "Take a valid key from the provider's console, set it where replies are "
        "generated, and restart that process.",
        _HERE,
    ),
    "key-empty": Fault(
        "the key has no credit left",
        "Each reply fails: no credit.",
        "Add credit at the provider, raise the key's limit, or use another key.",
    ),
    "provider-away": Fault(
        "the model provider cannot be asked",
        "Replies fail, or begin late after some attempts.",
        "Check the network, and the base URL if one is set. To do without a network: "
        "KIT_SCRIPTED_URL, or `kit lab`.",
    ),
    "application-without-key": Fault(
        "the running application has no key, this environment has",
        "Replies fail: no API key for the model.",
        "Restart the application with the key in its environment.",
    ),
    # --- the doctor itself ----------------------------------------------------------
    "no-answer": Fault(
        "it took too long to find out",
        "Whatever needs this is slow, or hangs.",
        "Try again, with more patience (--timeout).",
    ),
    "probe-failed": Fault(
        "this could not be looked at",
        "Not known.",
        "An answer came in a shape that nobody foresaw: check the address.",
    ),
}
