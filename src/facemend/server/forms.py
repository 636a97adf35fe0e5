"""Forms that cannot fill the memory: what is no file in an upload is held there until the request is over."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

_FIELDS = 16  # more than a job has
_FIELD = 4096  # bytes


class _SmallForm(Request):
    def form(self, **_: Any) -> Any:
        """One file, and some short fields; more is answered with 400."""
        return super().form(max_files=1, max_fields=_FIELDS, max_part_size=_FIELD)


class SmallForms(APIRoute):
    """A route whose forms have few fields."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        handle = super().get_route_handler()

        async def handle_small(request: Request) -> Response:
            return await handle(_SmallForm(request.scope, request.receive))

        return handle_small
