"""Server-sent events: their framing, and a response that lets go of its source the moment the client leaves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import msgspec
import structlog
from django.http import HttpRequest, StreamingHttpResponse

from apps.core.errors import GatewayError, InternalError

log = structlog.get_logger(__name__)

# Decimals (money) go out as plain JSON numbers.
json_encode: Callable[[Any], bytes] = msgspec.json.Encoder(decimal_format="number").encode

KEEPALIVE = b": keep-alive\n\n"


def sse(event: str, data: Any) -> bytes:
    """One named event; `data` as JSON on one line."""
    return b"event: " + event.encode("ascii") + b"\ndata: " + json_encode(data) + b"\n\n"


class EventStreamResponse(StreamingHttpResponse):
    """Server-sent events that close their source the moment the client leaves.

    describe: a failure in mid-stream as the stream's last event.
    """

    def __init__(self, events: Events, *, describe: Callable[[GatewayError], bytes]) -> None:
        super().__init__(events.rest, content_type="text/event-stream; charset=utf-8")
        self.events = events
        self._describe = describe
        self.headers["Cache-Control"] = "no-cache"
        # nginx would otherwise gather events until its buffer is full.
        self.headers["X-Accel-Buffering"] = "no"

    def last_event(self, exc: Exception) -> bytes:
        """What to say when the source fails. A bug is logged and told apart no further."""
        if isinstance(exc, GatewayError):
            return self._describe(exc)
        log.error("stream_failed", exc_info=exc)
        return self._describe(InternalError())

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """For Django's own handler; the lean one reads `events` itself."""
        async with contextlib.aclosing(self.events):
            try:
                if (first := await self.events.first()) is not None:
                    yield first
                async for event in self.events.rest:
                    yield event
            except Exception as exc:
                yield self.last_event(exc)


def client_watch(request: HttpRequest) -> None:
    """From here on the client's leaving cancels this request. Without it a request runs to its end regardless, as a
    plain call should: the provider is paid either way, and the answer's cost is known only when it is whole."""
    start: Callable[[], None] | None = getattr(request, "scope", {}).get("de.watch_client")
    if start is not None:
        start()


async def first_of(events: AsyncGenerator[bytes, None], *, within_s: float) -> Events:
    """The same events, once the first is there or `within_s` have passed.

    Awaiting the first means a refusal keeps its real status; after `within_s` the stream begins anyway, so that
    keep-alives can flow and proxies in between don't hang up, and a late refusal is an `error` event.
    """
    first = asyncio.ensure_future(anext(events, None))
    try:
        await asyncio.wait({first}, timeout=within_s)
    except asyncio.CancelledError:
        first.cancel()
        await asyncio.wait({first})
        raise
    if first.done():
        first.result()  # raises what the first step raised
    return Events(first, events)


class Events:
    """A source of events with its first one on the way.

    Take `first`, then iterate `rest`, which is the source itself: nothing is added to the events after the first.
    """

    def __init__(self, first: asyncio.Future[bytes | None], rest: AsyncGenerator[bytes, None]) -> None:
        self._first = first
        self.rest = rest

    async def first(self) -> bytes | None:
        """None when there was none at all. Raises what the source's first step raised."""
        return await self._first

    async def aclose(self) -> None:
        """Closes the source, wherever it stands."""
        if not self._first.done():
            self._first.cancel()
            await asyncio.wait({self._first})
        await self.rest.aclose()
