"""The sandbox: the makers' wire protocols, each below its own prefix, in one ASGI process of its own.

    python -m uvicorn apps.sandbox.asgi:application --port 8001

    /openai/v1/…   /anthropic/v1/…   /gemini/v1beta/…   and   /health

Point a maker's SDK at `http://127.0.0.1:8001/<maker>` and it works, with any key but `invalid`.
"""

from __future__ import annotations

import msgspec

from apps.sandbox.anthropic.maker import ANTHROPIC
from apps.sandbox.gemini.maker import GEMINI
from apps.sandbox.http import (
    ClientLeft,
    Receive,
    Reply,
    Request,
    Response,
    Scope,
    Send,
    deliver,
    json_reply,
    request_read,
)
from apps.sandbox.maker import Fault, Maker
from apps.sandbox.openai.maker import OPENAI
from apps.sandbox.rehearse import rehearsal_apply, rehearsal_read

MAKERS: dict[str, Maker] = {
    "openai": OPENAI,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
}

_calls_in_flight = 0


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "http":
        await _serve(scope, receive, send)


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    global _calls_in_flight
    prefix, _, rest = scope["path"].lstrip("/").partition("/")
    maker = MAKERS.get(prefix)
    if maker is None:
        await deliver(_house_page(scope["path"]), receive, send)
        return
    _calls_in_flight += 1
    try:
        request = await request_read(scope, receive, path=f"/{rest}")
        await deliver(maker_response(maker, request), receive, send)
    except ClientLeft:
        pass
    finally:
        _calls_in_flight -= 1


def maker_response(maker: Maker, request: Request) -> Response:
    """What that maker says, key first, rehearsal next, then the request itself."""
    response: Response
    try:
        maker.gate(request)
        rehearsal = rehearsal_read(maker, request)
    except Fault as fault:
        response = maker.fault_reply(request, fault)
    else:
        request = msgspec.structs.replace(request, is_refused=rehearsal.is_refused)
        try:
            if rehearsal.is_unpaid:
                raise maker.unpaid()
            if rehearsal.status is not None:
                raise maker.rehearsed(rehearsal.status, rehearsal.retry_after_s)
            response = maker.handle(request)
        except Fault as fault:
            response = maker.fault_reply(request, fault)
        response = rehearsal_apply(rehearsal, response)
    response.headers = maker.headers(request) | response.headers
    return response


def _house_page(path: str) -> Reply:
    """The sandbox's own two pages; `/calls` lets a test see that a hung-up call really ended."""
    if path.rstrip("/") == "/health":
        return json_reply({"status": "healthy", "service": "sandbox"})
    if path.rstrip("/") == "/calls":
        return json_reply({"in_flight": _calls_in_flight})
    return json_reply({"error": f"No maker lives at {path}.", "makers": sorted(MAKERS)}, status=404)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
