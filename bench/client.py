"""One keep-alive connection of the load generator: it sends a request, reads the answer and judges it."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Owner(Protocol):
    """What a client needs of the load it is part of."""

    stream_events: int

    def next_request(self) -> bytes: ...

    def finished(self, client: Client, error: str, now: float) -> None: ...


class Client(asyncio.Protocol):
    """One connection with at most one request on it."""

    def __init__(self, load: Owner) -> None:
        self.load = load
        self.transport: asyncio.Transport | None = None
        self.left = 0  # requests still to send, when they are counted
        self.busy = False
        self._reset()

    def _reset(self) -> None:
        self.head = b""
        self.status = b""
        self.body: list[bytes] = []
        self.remaining = -1  # bytes of a body of known length; -1: chunked
        self.tail = b""
        self.first_at = 0.0
        self.closes = False

    def send(self) -> None:
        assert self.transport is not None
        self._reset()
        self.busy = True
        self.sent_at = time.perf_counter()
        self.transport.write(self.load.next_request())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.busy:
            self._finish(f"connection lost ({exc or 'closed by the server'}) after {len(self.body)} pieces")

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            return
        if not self.status:
            self.head += data
            at = self.head.find(b"\r\n\r\n")
            if at < 0:
                return
            data = self.head[at + 4 :]
            self._read_head(self.head[:at].lower())
            if not data and self.remaining != 0:
                return
        if not self.first_at and data:
            self.first_at = time.perf_counter()
        self.body.append(data)
        if self.remaining >= 0:
            self.remaining -= len(data)
            if self.remaining <= 0:
                self._finish()
        else:
            self.tail = (self.tail + data)[-7:]
            if self.tail == b"\r\n0\r\n\r\n":
                self._finish()

    def _read_head(self, head: bytes) -> None:
        self.status = head[9:12]
        self.closes = b"\r\nconnection: close" in head
        at = head.find(b"\r\ncontent-length:")
        if at >= 0:
            self.remaining = int(head[at + 17 :].split(b"\r\n", 1)[0])
        self.tail = b"\r\n"

    def _finish(self, error: str = "") -> None:
        self.busy = False
        self.load.finished(self, error or self._fault(), time.perf_counter())

    def _fault(self) -> str:
        body = b"".join(self.body)
        if self.status != b"200":
            return f"status {self.status.decode()}: {body[:300].decode(errors='replace')}"
        events = self.load.stream_events
        if not events:
            return ""
        if b"event: error" in body or not (b"[DONE]" in body or b"event: done" in body):
            return f"a stream without its ending: …{body[-300:].decode(errors='replace')}"
        if (seen := body.count(b"data:")) < events:
            return f"a stream of {seen} events instead of {events}"
        return ""
