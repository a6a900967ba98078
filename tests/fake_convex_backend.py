"""What Convex's CLI talks to, a backend and Convex's cloud, for tests.

Answers as they do for a push of the first deployment of a project, and keeps what was
pushed. Runs no function.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["CLOUD_KEY", "NAME", "FakeBackend"]

NAME = "happy-animal-123"
CLOUD_KEY = f"dev:{NAME}|from-the-cloud"

_DEFINITION = {
    "definition": {
        "path": "",
        "definitionType": {"type": "app"},
        "childComponents": [],
        "httpMounts": {},
        "exports": {"type": "branch", "branch": []},
    },
    "schema": None,
    "functions": {},
    "udfConfig": {
        "serverVersion": "1.48.0",
        "importPhaseRngSeed": None,
        "importPhaseUnixTimestamp": None,
    },
}
_START_PUSH: dict[str, Any] = {
    "environmentVariables": {},
    "externalDepsId": None,
    "componentDefinitionPackages": {},
    "appAuth": [],
    "analysis": {"": _DEFINITION},
    "app": {
        "definitionPath": "",
        "componentPath": "",
        "args": {},
        "childComponents": {},
        "httpRoutes": {"httpModuleRoutes": None, "mounts": []},
        "exports": {},
    },
    "schemaChange": {"allocatedComponentIds": {}, "schemaIds": {}},
}
_PROJECT = {"team": "team", "project": "chat", "teamId": 1, "projectId": 1}

_DECOMPRESS = (
    "process.stdout.write(zlib.brotliDecompressSync(require('fs').readFileSync(0)))"
)


class FakeBackend:
    """`requests`: the paths that were asked, in order; `push`: what was pushed last."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[str] = []
        self.push: dict[str, Any] = {}

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[FakeBackend]:
        backend = cls()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Content-Encoding") == "br":
                    body = _brotli_decompressed(body)
                status, answer = backend._answer(self.path, body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(json.dumps(answer).encode())

            do_GET = do_HEAD = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        backend.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield backend
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _answer(self, path: str, body: bytes) -> tuple[int, Any]:
        self.requests.append(path)
        if path == "/api/deploy2/start_push":
            self.push = json.loads(body)
        answers = {**self._of_the_cloud(), **self._of_the_backend()}
        if path in answers:
            return 200, answers[path]
        return 404, {"code": "NotFound", "message": f"The fake has no {path}"}

    def _of_the_cloud(self) -> dict[str, Any]:
        """Who is asked for the deployment that a name or a key stands for."""
        return {
            "/api/authorize": None,
            "/api/check_opt_ins": {"optInsToAccept": []},
            f"/api/deployment/{NAME}/team_and_project": _PROJECT,
            "/api/deployment/authorize_within_current_project": {
                "adminKey": CLOUD_KEY,
                "url": self.url,
                "deploymentName": NAME,
                "deploymentType": "dev",
                "reference": "dev/somebody",
                "isDefault": True,
            },
            "/api/deployment/url_for_key": self.url,
            "/api/deployment/team_and_project_for_key": {
                **_PROJECT,
                "reference": "production",
                "isDefault": True,
            },
        }

    def _of_the_backend(self) -> dict[str, Any]:
        return {
            "/api/v1/get_canonical_urls": {
                "convexCloudUrl": self.url,
                "convexSiteUrl": f"{self.url}/http",
            },
            "/api/get_config_hashes": {
                "config": {"functions": "convex/"},
                "moduleHashes": [],
                "nodeDependencies": [],
            },
            "/api/deploy2/evaluate_schema": {
                "componentSchemaEvaluations": {},
                "newComponentDefinitions": [],
            },
            "/api/deploy2/start_push": _START_PUSH,
            "/api/deploy2/wait_for_schema": {"type": "complete"},
            "/api/deploy2/finish_push": {
                "authDiff": {"added": [], "removed": []},
                "definitionDiffs": {},
                "componentDiffs": {},
            },
            "/api/deploy2/report_push_completed": {},
        }


def _brotli_decompressed(body: bytes) -> bytes:
    """With Node, since Python has no decoder of its own."""
    return subprocess.run(
        ["node", "-e", _DECOMPRESS], input=body, capture_output=True, check=True
    ).stdout
