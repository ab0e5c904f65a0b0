"""The front door: every request passes here once, then goes to one of two handlers of the same Django.

It settles what is the same for all: the request id, the host label, trailing slashes, CORS, the size of a body. Then
generation endpoints go to the lean handler (de/lean.py), everything else to Django's own.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "de.settings")
# Sets Django up, which everything below needs to have happened.
django_application: Any = get_asgi_application()

# ruff: noqa: E402
import structlog
from django.conf import settings
from django.urls import Resolver404, ResolverMatch, get_resolver

from apps.core.api_paths import is_api_path
from apps.core.errors import PayloadTooLarge
from apps.core.lean import error_response
from apps.core.requests import request_id_choose
from de import process
from de.hosts import path_for
from de.lean import ClientGone, body_read, lean_handle, response_send

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_EXPOSED = b"X-Request-ID, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, Retry-After, Location"
_ALLOWED_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_ALLOWED_HEADERS = b", ".join(
    (
        *(b"Authorization", b"Content-Type", b"X-API-Key", b"X-Request-ID", b"X-Instance-ID"),
        *(b"X-DE-Rehearse", b"Idempotency-Key", b"Prefer"),
    )
)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await process.lifespan(receive, send)
    elif scope["type"] == "http":
        await _http(scope, receive, send)
    else:  # a websocket: none are served
        await send({"type": "websocket.close", "code": 1000})


async def _http(scope: Scope, receive: Receive, send: Send) -> None:
    sent_id = host = origin = b""
    preflight = False
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            sent_id = value
        elif name == b"host":
            host = value
        elif name == b"origin":
            origin = value
        elif name == b"access-control-request-method":
            preflight = scope["method"] == "OPTIONS"
    request_id = request_id_choose(sent_id.decode("latin-1"))
    scope["de.request_id"] = request_id
    structlog.contextvars.bind_contextvars(request_id=request_id)

    path = _path(host.decode("latin-1"), scope["path"])
    is_api = is_api_path(path)
    scope["path"] = path
    extra = [(b"x-request-id", request_id.encode("ascii"))]
    if is_api and origin:
        extra += _cors_headers(origin)

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *extra]
        await send(message)

    if is_api and preflight:
        await _answer_preflight(send_with_headers)
        return
    match = _lean_match(path)
    if match is not None:
        await lean_handle(scope, receive, send, match, extra=extra)
    elif is_api:
        await _to_django(scope, receive, send_with_headers)
    else:
        await django_application(scope, receive, send_with_headers)


def _path(host: str, path: str) -> str:
    if settings.DE_DOMAIN:
        path = path_for(host, path, domain=settings.DE_DOMAIN)
    # Both forms answer on API paths; one of them is in the URLconf.
    if path.endswith("/") and len(path) > 1 and is_api_path(path):
        path = path.rstrip("/") or "/"
    return path


@lru_cache(maxsize=1024)
def _lean_match(path: str) -> ResolverMatch | None:
    try:
        match = get_resolver().resolve(path)
    except Resolver404:
        return None
    return match if getattr(match.func, "is_lean", False) else None


async def _to_django(scope: Scope, receive: Receive, send: Send) -> None:
    """Django's own handler, with the body read and bounded beforehand."""
    try:
        body = await body_read(scope, receive, limit=settings.DE_MAX_BODY_BYTES)
    except ClientGone:
        return
    except PayloadTooLarge as exc:
        await response_send(error_response(exc, request_id=scope["de.request_id"]), send, is_head=False)
        return
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    await django_application(scope, replay, send)


def _cors_headers(origin: bytes) -> list[tuple[bytes, bytes]]:
    allowed: list[str] = settings.DE_CORS_ORIGINS
    if "*" in allowed:
        return [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", _EXPOSED)]
    if origin.decode("latin-1") in allowed:
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin"),
        ]
    return [(b"vary", b"Origin")]


async def _answer_preflight(send: Send) -> None:
    headers = [
        (b"access-control-allow-methods", _ALLOWED_METHODS),
        (b"access-control-allow-headers", _ALLOWED_HEADERS),
        (b"access-control-max-age", b"86400"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
