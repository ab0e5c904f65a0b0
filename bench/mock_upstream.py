"""A pretend OpenAI that costs next to nothing: prebuilt bytes over a raw asyncio protocol.

Run it as `python -m bench.mock_upstream --port P`. `POST /v1/chat/completions` answers at once; with `"stream": true`
it sends content chunks, their number and pace taken from the model's name ("mock-100x20": 100 chunks, one every
20 ms) or else from the command line. A pace of 0 sends each chunk by itself, as fast as the loop turns. `GET /stats`
counts the calls.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from functools import lru_cache

import uvloop

_SHAPE = re.compile(rb"mock-(\d{1,5})x(\d{1,5})")
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)
_CHUNKED_END = b"\r\n0\r\n\r\n"

_WORDS = ("The", " quick", " brown", " fox", " jumps", " over", " the", " lazy", " dog", ".")
_PROMPT_TOKENS = 21


def _usage(output_tokens: int) -> dict[str, object]:
    return {
        "prompt_tokens": _PROMPT_TOKENS,
        "completion_tokens": output_tokens,
        "total_tokens": _PROMPT_TOKENS + output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _response(body: dict[str, object], status: bytes = b"200 OK") -> bytes:
    content = json.dumps(body, separators=(",", ":")).encode()
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % (status, len(content)) + content


_COMPLETION = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "mock-model"}
PLAIN = _response(
    {
        **_COMPLETION,
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "".join(_WORDS), "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": _usage(len(_WORDS)),
        "system_fingerprint": "fp_bench",
    }
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
NOT_FOUND = _response({"error": {"message": "Not found", "type": "invalid_request_error"}}, b"404 Not Found")


def _chunk(payload: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def _event(delta: dict[str, object] | None, *, finish: str | None = None, output_tokens: int = 0) -> bytes:
    """One chunk of the stream in HTTP's chunked coding; no delta: the usage chunk."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    body = {
        **_COMPLETION,
        "object": "chat.completion.chunk",
        "system_fingerprint": "fp_bench",
        "choices": [] if delta is None else [choice],
        "usage": _usage(output_tokens) if delta is None else None,
    }
    return _chunk(b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n")


@lru_cache(maxsize=64)
def stream_parts(chunks: int) -> tuple[bytes, ...]:
    """What to write, in order: the head with the first of `chunks` content chunks, the others, then the ending."""
    first = STREAM_HEAD + _event({"role": "assistant", "content": _WORDS[0], "refusal": None})
    middle = [_event({"content": _WORDS[n % len(_WORDS)]}) for n in range(1, chunks)]
    ending = (
        _event({}, finish="stop")
        + _event(None, output_tokens=chunks)
        + _chunk(b"data: [DONE]\n\n")
        + b"0\r\n\r\n"
    )
    return (first, *middle, ending)


class Counts:
    plain = streamed = left_early = 0


class Upstream(asyncio.Protocol):
    """One keep-alive connection. Requests on it are answered in turn."""

    chunks, pace_s = 100, 0.0  # from the command line
    transport: asyncio.Transport

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._timer: asyncio.Handle | None = None
        self._parts: tuple[bytes, ...] = ()
        self._next = 0
        self._pace_s = 0.0
        self._started_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            Counts.left_early += 1

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        while self._timer is None and (request := self._take_request()) is not None:
            self._answer(*request)

    def _take_request(self) -> tuple[bytes, bytes] | None:
        """(head, body) of the next request that has arrived whole."""
        received = self._received
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        head, body_at = received[:head_end], head_end + 4
        if length := _CONTENT_LENGTH.search(head):
            end = body_at + int(length[1])
            if len(received) < end:
                return None
        elif _CHUNKED.search(head):  # good enough for a JSON body: the end marker can't be inside one
            marker = received.find(_CHUNKED_END, body_at)
            if marker < 0:
                return None
            end = marker + len(_CHUNKED_END)
        else:
            end = body_at
        self._received = received[end:]
        return head, received[body_at:end]

    def _answer(self, head: bytes, body: bytes) -> None:
        if not head.startswith(b"POST "):
            self._answer_get(head)
        elif _STREAM.search(body) is None:
            Counts.plain += 1
            self.transport.write(PLAIN)
        else:
            Counts.streamed += 1
            shape = _SHAPE.search(body)
            chunks, self._pace_s = (
                (int(shape[1]), int(shape[2]) / 1000) if shape is not None else (self.chunks, self.pace_s)
            )
            self._parts = stream_parts(chunks)
            self._next = 0
            self._started_at = self._loop.time()
            self._tick()

    def _answer_get(self, head: bytes) -> None:
        if head.startswith(b"GET /stats "):
            counts = {name: getattr(Counts, name) for name in ("plain", "streamed", "left_early")}
            self.transport.write(_response(counts))
        elif head.startswith((b"GET /v1/models ", b"GET /health ")):
            self.transport.write(
                _response({"object": "list", "data": [{"id": "mock-model", "object": "model"}]})
            )
        else:
            self.transport.write(NOT_FOUND)

    def _tick(self) -> None:
        self.transport.write(self._parts[self._next])
        self._next += 1
        if self._next == len(self._parts):
            self._timer = None
            if self._received:
                self._loop.call_soon(self.data_received, b"")
        elif self._pace_s:
            # By the stream's own clock, so that a late tick does not delay all that follow.
            self._timer = self._loop.call_at(self._started_at + self._next * self._pace_s, self._tick)
        else:
            self._timer = self._loop.call_soon(self._tick)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--pace-ms", type=float, default=0.0)
    options = parser.parse_args()
    Upstream.chunks, Upstream.pace_s = options.chunks, options.pace_ms / 1000
    uvloop.run(serve(options.port))


if __name__ == "__main__":
    main()
