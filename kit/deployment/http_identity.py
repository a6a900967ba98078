"""As whom a request acts, by its `Authorization` header."""

from __future__ import annotations

from aiohttp import web

from kit.deployment.auth import AuthFailed
from kit.deployment.http_guard import Rejection
from kit.deployment.identity import Identity
from kit.deployment.runtime import Runtime

__all__ = ["identify", "require_admin"]


def identify(runtime: Runtime, request: web.Request) -> Identity:
    """As whom the client acts. Raises Rejection."""
    try:
        return runtime.auth.of_header(request.headers.get("Authorization"))
    except AuthFailed as error:
        raise Rejection(error.status, error.code, str(error)) from None


def require_admin(identity: Identity) -> None:
    """Raises Rejection for anybody else."""
    if not identity.is_admin:
        raise Rejection(
            403,
            "BadDeployKey",
            "This is for admins of the deployment: send `Authorization: Convex "
            "<admin key>`.",
        )
