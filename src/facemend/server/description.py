"""What the OpenAPI description says beside what the routes say themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from facemend.server.limits import OPEN

_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "Where the server has a token, see `/api/info`; the cookie of `/api/login` does as well.",
}


def describe_tokens(app: FastAPI) -> None:
    """Say which routes take the token; it is optional, as not every server has one."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        said = plain()
        said["components"]["securitySchemes"] = {"token": _SCHEME}
        for path in said["paths"].keys() - OPEN:
            for operation in said["paths"][path].values():
                operation["security"] = [{}, {"token": []}]
        return said

    app.openapi = described  # type: ignore[method-assign]
