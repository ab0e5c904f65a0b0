"""The floor F: the least a Python gateway can cost. A bare ASGI function, a plain aiohttp client, nothing else.

No keys, limits, ledger, parsing or errors: the body goes up as it came, the bytes come down as they come. Run it with
the flags the gateway runs with: `uvicorn bench.floor:application --loop uvloop --http httptools --no-access-log`.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

URL = os.environ.get("BENCH_UPSTREAM", "http://127.0.0.1:1") + "/v1/chat/completions"
HEADERS = {"content-type": "application/json", "authorization": "Bearer sk-bench"}

_session: aiohttp.ClientSession | None = None


async def application(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    assert _session is not None
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    async with _session.post(URL, data=body, headers=HEADERS) as answer:
        content_type = answer.headers["content-type"]
        headers = [(b"content-type", content_type.encode("latin-1"))]
        if content_type.startswith("text/event-stream"):
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            async for data in answer.content.iter_any():
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        else:
            content = await answer.read()
            headers.append((b"content-length", b"%d" % len(content)))
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": content})


async def _lifespan(receive: Receive, send: Send) -> None:
    global _session
    await receive()
    # Both defaults (100 connections, 5 minutes in all) would end a crowd of long streams.
    _session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
    )
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await _session.close()
    await send({"type": "lifespan.shutdown.complete"})
