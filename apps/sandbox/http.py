"""A little HTTP over raw ASGI: a request, a reply, a stream, and how they reach the client.

No Django here: the sandbox plays the outside world, so it shares nothing with the house that calls it.
"""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_JSON_DEPTH = 100
DEFAULT_PACE_S = 0.004  # between two events of a stream: looks live, keeps tests quick


class ClientLeft(Exception):
    """Nobody is listening any more."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """path: below the maker's prefix, with its leading slash. headers: names in lower case.

    is_too_large: the body went over MAX_BODY_BYTES and was thrown away. is_refused: a refusal is rehearsed.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    id: str
    is_too_large: bool = False
    is_refused: bool = False


class Reply(msgspec.Struct, kw_only=True):
    """A whole answer.

    delay_s: until its first byte, may be infinite. is_cut: the connection drops half-way through the body.
    """

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: dict[str, str] = {}
    delay_s: float = 0.0
    is_cut: bool = False


class Stream(msgspec.Struct, kw_only=True):
    """An answer in pieces. frames: its events as bytes, made while they are sent.

    failure: the frames in which that maker says that it broke in mid-stream. pace_s: between two frames.
    is_cut: the connection drops after the last frame, instead of ending in good order.
    """

    frames: Iterable[bytes]
    failure: tuple[bytes, ...]
    content_type: str = "text/event-stream"
    headers: dict[str, str] = {}
    delay_s: float = 0.0
    pace_s: float = DEFAULT_PACE_S
    is_cut: bool = False


Response = Reply | Stream


def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object. Raises ValueError when it is anything else."""
    try:
        body = msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ValueError(str(exc)) from None
    if not isinstance(body, dict):
        raise ValueError("it is not an object")
    if not _is_shallow(body):
        raise ValueError("it is nested too deeply")
    return body


def _is_shallow(body: Any) -> bool:
    """Level by level, so that nobody further on has to think of the recursion limit."""
    level = [body]
    for _ in range(MAX_JSON_DEPTH):
        below: list[Any] = []
        for part in level:
            below.extend(part.values() if isinstance(part, dict) else part)
        level = [part for part in below if isinstance(part, (dict, list))]
        if not level:
            return True
    return False


def json_reply(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(body=msgspec.json.encode(body), status=status, headers=dict(headers or {}))


async def request_read(scope: Scope, receive: Receive, *, path: str) -> Request:
    """The request with its whole body. Raises ClientLeft when the client leaves before it is read."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        chunk = message.get("body", b"")
        size += len(chunk)
        # Read on to the end: a client still sending would see a reset instead of our refusal.
        if size <= MAX_BODY_BYTES:
            chunks.append(chunk)
        if not message.get("more_body", False):
            break
    is_too_large = size > MAX_BODY_BYTES
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Request(
        method=scope["method"],
        path=path,
        query=dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)),
        headers=headers,
        body=b"" if is_too_large else b"".join(chunks),
        id=uuid.uuid4().hex,
        is_too_large=is_too_large,
    )


async def deliver(response: Response, receive: Receive, send: Send) -> None:
    """Send the answer as it wants to be sent; stop at once when the client leaves."""
    client = asyncio.ensure_future(_client_leaves(receive))
    try:
        if response.delay_s:
            await _pause(client, response.delay_s)
        if isinstance(response, Reply):
            await _send_reply(response, send)
        else:
            await _send_stream(response, client, send)
    except ClientLeft:
        pass
    finally:
        client.cancel()


async def _send_reply(reply: Reply, send: Send) -> None:
    length = {"content-length": str(len(reply.body))}
    await _send_start(reply.status, reply.content_type, reply.headers | length, send)
    if reply.is_cut:
        # Returning with the body unfinished makes the server close the connection: the cut is real.
        await send(_body(reply.body[: len(reply.body) // 2], more=True))
    else:
        await send(_body(reply.body))


async def _send_stream(stream: Stream, client: asyncio.Future[None], send: Send) -> None:
    headers = stream.headers | {"cache-control": "no-cache"}
    await _send_start(200, stream.content_type, headers, send)
    for position, frame in enumerate(stream.frames):
        if position:
            await _pause(client, stream.pace_s)
        await send(_body(frame, more=True))
    if not stream.is_cut:
        await send(_body(b""))


async def _send_start(status: int, content_type: str, headers: Mapping[str, str], send: Send) -> None:
    lines = {"content-type": content_type} | dict(headers)
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


def _body(chunk: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


async def _pause(client: asyncio.Future[None], seconds: float) -> None:
    done, _ = await asyncio.wait({client}, timeout=None if math.isinf(seconds) else seconds)
    if done:
        raise ClientLeft


async def _client_leaves(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
