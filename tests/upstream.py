"""A provider under a test's control: a real HTTP server on loopback that misbehaves exactly as told."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any


class _Answered(Exception):
    """One exchange a connection: simple, and the end is unmistakable."""


@dataclass
class Exchange:
    """One request as it arrived, and whether its connection was closed by the other side."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    closed_at: float | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """What to send back. `pieces` (flushed one by one) go before `body`; `cut` drops the connection at the end."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    body: bytes = b""
    pieces: AsyncIterator[bytes] | None = None
    cut: bool = False


Handler = Callable[[Exchange], Awaitable[Answer]]


class Upstream:
    """`with Upstream(handler) as upstream:` serves on upstream.url; upstream.exchanges has what came in."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.exchanges: list[Exchange] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self.url = ""

    def __enter__(self) -> Upstream:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def wait_for(self, condition: Callable[[], Any], *, within_s: float = 5.0) -> None:
        give_up_at = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < give_up_at, "It did not happen in time."
            time.sleep(0.01)

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    async def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # closed transports let go of their sockets a turn later

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while exchange := await _read(reader):
                self.exchanges.append(exchange)
                await self._answer(exchange, reader, writer)
        except _Answered:
            writer.close()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()  # what is still unsent has nobody to go to
        else:
            writer.close()

    async def _answer(
        self, exchange: Exchange, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        working = asyncio.ensure_future(self._respond(exchange, writer))
        leaving = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done() and isinstance(working.exception(), _Answered):
            leaving.cancel()
            raise _Answered
        exchange.closed_at = time.monotonic()
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)
        raise ConnectionResetError

    async def _respond(self, exchange: Exchange, writer: asyncio.StreamWriter) -> None:
        answer = await self.handler(exchange)
        headers = dict(answer.headers) | {"connection": "close"}
        if answer.pieces is None and not answer.cut:
            headers["content-length"] = str(len(answer.body))
        else:
            headers["transfer-encoding"] = "chunked"
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {answer.status} X\r\n{head}\r\n".encode())
        if "content-length" in headers:
            writer.write(answer.body)
        else:
            async for piece in _pieces(answer):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            if not answer.cut:
                writer.write(b"0\r\n\r\n")
        await writer.drain()
        raise _Answered


async def _pieces(answer: Answer) -> AsyncIterator[bytes]:
    if answer.pieces is not None:
        async for piece in answer.pieces:
            yield piece
    if answer.body:
        yield answer.body


async def _read(reader: asyncio.StreamReader) -> Exchange | None:
    line = await reader.readline()
    if not line:
        return None
    method, path, _ = line.decode().split(" ", 2)
    headers: dict[str, str] = {}
    while line := (await reader.readline()).decode().rstrip("\r\n"):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Exchange(method, path, headers, body)


# --- answers in OpenAI's form, the plainest of the makers' ----------------------------------------------------


def chat_answer(text: str = "The Ebro.", *, usage: dict[str, Any] | None = None, **message: Any) -> Answer:
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text} | message, "finish_reason": "stop"}
        ],
        "usage": usage or {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200},
    }
    return Answer(body=json.dumps(body).encode())


def chat_event(content: str | None = None, **fields: Any) -> bytes:
    choice: dict[str, Any] = {"index": 0, "delta": {} if content is None else {"content": content}}
    chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    body = chunk | {"choices": [choice | {"finish_reason": None}]} | fields
    return b"data: " + json.dumps(body).encode() + b"\n\n"


CHAT_END = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}\n\n'
    b"data: [DONE]\n\n"
)
EVENT_STREAM = {"content-type": "text/event-stream"}
