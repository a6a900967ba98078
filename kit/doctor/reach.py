"""Who answers at the deployment's URL: a Convex deployment, or what else.

Asks `GET /version` and `GET /instance_name`, which need no key and change nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

from kit import __version__
from kit.doctor.case import Case
from kit.doctor.findings import Finding, ok, problem
from kit.doctor.http import Answer, Http, NoAnswer

__all__ = ["Reached", "reach"]

# What the embedded deployment calls itself.
EMBEDDED = "convex-streaming-kit"

_OBSTACLES = {
    "dns": "deployment-dns",
    "refused": "deployment-refused",
    "unreachable": "deployment-unreachable",
    "silent": "deployment-silent",
    "tls": "deployment-tls",
    "certificate": "deployment-certificate",
    "not-http": "deployment-not-http",
}
# The other ports of a container of one's own.
_PORTS = {
    3211: "A container serves HTTP actions at 3211; its deployment is at 3210.",
    6791: "A container's dashboard is at 6791; its deployment is at 3210.",
}


@dataclass(frozen=True)
class Reached:
    """A deployment that answers."""

    url: str
    version: str
    name: str

    @property
    def is_embedded(self) -> bool:
        return self.name == EMBEDDED


async def reach(case: Case, http: Http, url: str) -> tuple[Finding, Reached | None]:
    """Ask who answers at `url`."""
    try:
        version, name = await asyncio.gather(
            http.get(f"{url}/version"), _instance_name(http, url)
        )
    except NoAnswer as error:
        fault = _OBSTACLES[error.obstacle]
        advice = _PORTS.get(urlsplit(url).port or 0, "")
        seen = _sentence(str(error))
        return problem("deployment", fault, seen, url, advice), None
    if _is_version(version):
        return _found(Reached(url, version.text, name))
    fault, advice = await _something_else(case, http, url, version)
    seen = f"GET /version: status {version.status}"
    seen += f", {version.content_type}." if version.content_type else "."
    return problem("deployment", fault, seen, url, advice), None


def _is_version(answer: Answer) -> bool:
    if answer.status != 200 or answer.content_type not in ("", "text/plain"):
        return False
    return 0 < len(answer.text) <= 100 and "\n" not in answer.text


async def _instance_name(http: Http, url: str) -> str:
    try:
        answer = await http.get(f"{url}/instance_name")
    except NoAnswer:
        return ""
    return answer.text if _is_version(answer) else ""


def _found(reached: Reached) -> tuple[Finding, Reached]:
    if not reached.is_embedded:
        name = f" {reached.name}" if reached.name else ""
        seen = f"Convex deployment{name}, version {reached.version}."
        return ok("deployment", seen, reached.url), reached
    seen = f"The embedded deployment of kit {reached.version}."
    if reached.version == __version__:
        return ok("deployment", seen, reached.url), reached
    seen += f" This is kit {__version__}."
    fault = "deployment-other-kit"
    return problem("deployment", fault, seen, reached.url), reached


async def _something_else(
    case: Case, http: Http, url: str, answer: Answer
) -> tuple[str, str]:
    """The fault, and advice, when what answers is no deployment."""
    status = answer.status
    if 300 <= status < 400:
        target = answer.headers.get("location", "")
        leads_to = f"It leads to {target[:120]}." if target else ""
        return "deployment-redirect", leads_to
    if status in (502, 503, 504):
        return "deployment-gateway", ""
    if status in (401, 403, 407):
        return "deployment-forbidden", ""
    if status == 404 and (urlsplit(url).hostname or "").endswith(".convex.cloud"):
        return "deployment-unknown", ""
    return "deployment-not-convex", await _what_it_is(case, http, url, answer)


async def _what_it_is(case: Case, http: Http, url: str, answer: Answer) -> str:
    """What is known of a server that is no deployment, for the advice."""
    if url == case.app_url:
        return "It is the application itself."
    if "https" in answer.text.lower() and answer.status == 400:
        return "It wants https://."
    if advice := _PORTS.get(urlsplit(url).port or 0):
        return advice
    try:
        health = (await http.get(f"{url}/health")).json()
    except NoAnswer:
        return ""
    match health:
        case {"status": "ok", "mode": str()}:
            return "It is the kit's application."
        case {"ok": True}:
            return "It is the scripted model provider."
        case _:
            return ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
