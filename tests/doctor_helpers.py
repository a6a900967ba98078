"""What tests of the doctor share: a Convex of a few lines, and a case to look at."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fake_convex import json_response
from serving_app import serving

from kit.convex.contract import VERSION
from kit.doctor.case import Case
from kit.doctor.findings import Finding
from kit.doctor.functions import public_functions
from kit.doctor.http import Http

TIMEOUT = 20.0  # for what does answer, on a machine that is busy

# Functions as they are seen from outside: a kind, or what a query returns or throws.
Functions = dict[str, Any]


class Thrown(Exception):
    """A ConvexError with this data."""

    def __init__(self, data: Any) -> None:
        super().__init__(str(data))
        self.data = data


@dataclass
class PlayedConvex:
    """A deployment that answers `POST /api/query` with Convex's texts.

    `hides` errors as production does; `all_fail_with` one text; `requests` keeps what
    was asked.
    """

    functions: Functions
    hides: bool = False
    all_fail_with: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    name: str = "happy-animal-123"
    requests: list[tuple[str, str, Any]] = field(default_factory=list)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/version", self._version)
        app.router.add_get("/instance_name", self._instance_name)
        app.router.add_post("/api/{kind}", self._call)
        return app

    async def _version(self, _: web.Request) -> web.Response:
        return web.Response(text="0123abc")

    async def _instance_name(self, _: web.Request) -> web.Response:
        return web.Response(text=self.name)

    async def _call(self, request: web.Request) -> web.Response:
        body = await request.json()
        kind, path, args = request.match_info["kind"], body["path"], body["args"]
        self.requests.append((kind, path, args))
        answer: dict[str, Any]
        try:
            answer = {"status": "success", "value": self._run(kind, path, args)}
        except Thrown as error:
            answer = self._failure(f"Uncaught ConvexError: {error}")
            answer["errorData"] = error.data
        except ValueError as error:
            answer = self._failure(str(error))
        response = json_response(answer)
        response.headers.update(self.headers)
        return response

    def _run(self, kind: str, path: str, args: Any) -> Any:
        if self.all_fail_with:
            raise ValueError(self.all_fail_with)
        function = self.functions.get(path)
        if function is None:
            raise ValueError(f"Could not find public function for '{path}'.")
        defined = function if function in ("mutation", "action") else "query"
        if defined != kind:
            name = path.replace(":", ".js:")
            raise ValueError(
                f"Trying to execute {name} as {kind.capitalize()}, but it is defined "
                f"as {defined.capitalize()}."
            )
        if function == "query" or "kitDoctor" in args:
            raise ValueError("ArgumentValidationError: Object contains extra field")
        return function(args) if callable(function) else function

    def _failure(self, text: str) -> dict[str, Any]:
        message = "[Request ID: 0123456789abcdef] Server Error"
        if not self.hides:
            message += f"\n{text}\n"
        return {"status": "error", "errorMessage": message}


def bad_arguments(args: Any) -> Any:
    raise Thrown({"code": "BadArguments", "message": "no"})


def kit_functions() -> Functions:
    """The kit's functions; queries take nothing, but for the version."""
    return {**public_functions(), "contract:version": float(VERSION)}


@asynccontextmanager
async def played(convex: PlayedConvex) -> AsyncIterator[str]:
    async with serving(convex.app()) as url:
        yield url


@asynccontextmanager
async def http(timeout: float = TIMEOUT) -> AsyncIterator[Http]:
    async with Http(timeout) as requests:
        yield requests


def case(**given: Any) -> Case:
    """A case with an empty environment."""
    return Case(**{"env": {}, "timeout": TIMEOUT, **given})


def env_file(folder: Path, *lines: str) -> Path:
    path = folder / ".env.local"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def fault(finding: Finding) -> str | None:
    return finding.fault


@asynccontextmanager
async def tls_server(folder: Path) -> AsyncIterator[str]:
    """An https server on 127.0.0.1 with a certificate that nobody trusts; its URL."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    async with serving(PlayedConvex({}).app(), tls=context) as url:
        yield url


def json_app(paths: Mapping[str, Any], status: int = 200) -> web.Application:
    """A server that answers these paths with these values."""
    app = web.Application()
    for path, value in paths.items():
        body = msgspec.json.encode(value)

        async def answer(_: web.Request, body: bytes = body) -> web.Response:
            return web.Response(
                body=body, status=status, content_type="application/json"
            )

        app.router.add_get(path, answer)
    return app
