"""How a built request travels: one client per process, its timeouts, and the one place foreign failures become ours.

The types are httpx's; underneath runs aiohttp, at a fifth of the CPU of httpx's own pool. The transport is called
directly, past httpx.AsyncClient: its redirects, cookies and auth flow are things a gateway must not do anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from functools import lru_cache
from typing import Any, Protocol

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from httpx_aiohttp.transport import AiohttpTransport

from apps.core.errors import GatewayError, InvalidRequest, ProviderError, ProviderTimeout
from apps.providers.base import TextAdapter, TextStreamParser
from apps.providers.sse import SSEDecoder
from apps.providers.types import ModelSpec, ServerSentEvent, TextChunk, TextRequest, TextResult

MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_ERROR_BYTES = 256 * 1024
# Makers close idle connections after a minute or more; staying below means not writing into a closed one.
KEEPALIVE_S = 30.0
USER_AGENT = "distributed-electrons/0.1"


class PrivateAddressRefused(OSError):
    """A guarded host name resolved to an address that is not public."""


class PublicResolver(AbstractResolver):
    """Resolves to public addresses only. What it answers is what gets connected to: no second look-up can differ."""

    def __init__(self) -> None:
        self._inner = aiohttp.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for entry in found:
            if not ipaddress.ip_address(entry["host"]).is_global:
                raise PrivateAddressRefused(f"{host} is not a public address.")
        return found

    async def close(self) -> None:
        await self._inner.close()


class ProviderClient:
    """Sends requests to providers. Open it once per process, inside the event loop; close it at the end.

    allow_private: whether addresses that people typed in may be private ones.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._open = _transport(resolver=None)
        self._guarded = self._open if allow_private else _transport(resolver=PublicResolver())

    async def aclose(self) -> None:
        await self._open.aclose()
        await self._guarded.aclose()

    async def text(self, spec: ModelSpec, adapter: TextAdapter, request: TextRequest) -> TextResult:
        """One whole answer. Raises ProviderError and its kin, InvalidRequest for what the provider can't express.

        A whole answer comes when all of it is written, so only connecting and the total are bounded.
        """
        wire = adapter.build_text_request(spec, request, stream=False)
        with map_errors(spec):
            async with asyncio.timeout(spec.timeouts.total_s):
                response = await self._send(spec, wire)
                async with contextlib.aclosing(response):
                    body = await _read(spec, response, MAX_ANSWER_BYTES)
        if not 200 <= response.status_code < 300:
            raise adapter.parse_error(spec, response.status_code, response.headers, body)
        return adapter.parse_text_result(spec, body)

    async def text_stream(
        self, spec: ModelSpec, adapter: TextAdapter, request: TextRequest
    ) -> AsyncGenerator[list[TextChunk], None]:
        """The pieces of a streamed answer, those of one network read together.

        Raises as `text` does, ProviderTimeout by which clock ran out, ProviderError when the stream ends without the
        provider's own end. Closing the generator closes the provider's connection.
        """
        wire = adapter.build_text_request(spec, request, stream=True)
        decoder = stream_decoder(adapter, spec)
        parser = adapter.text_stream_parser(spec)
        clock = StreamClock(spec)
        with map_errors(spec), clock:
            with clock.waiting():
                response = await self._send(spec, wire)
            async with contextlib.aclosing(response):
                if not 200 <= response.status_code < 300:
                    with clock.waiting():
                        body = await _read(spec, response, MAX_ERROR_BYTES)
                    raise adapter.parse_error(spec, response.status_code, response.headers, body)
                pieces = _raw(response)
                is_over = False
                while not is_over:
                    with clock.waiting():
                        data = await anext(pieces, None)
                    chunks, failure = _feed(spec, decoder, parser, data)
                    if chunks:
                        clock.note(chunks)
                        yield chunks
                    if failure is not None:
                        raise failure
                    is_over = data is None or parser.is_complete
        if not parser.is_complete:
            raise ProviderError(
                f"{spec.provider} ended its stream in the middle of an answer.", provider=spec.provider
            )

    async def _send(self, spec: ModelSpec, request: httpx.Request) -> httpx.Response:
        # Only connecting is bounded here; reading has the clocks of `text` and `text_stream`.
        request.extensions["timeout"] = {"connect": spec.timeouts.connect_s}
        if spec.is_sandbox and not str(request.url).startswith(f"{spec.base_url}/"):
            # Whatever a mapping says: the last gate before a test key's call could reach a real provider.
            raise InvalidRequest("A test key reaches the sandbox only, and this request would have left it.")
        if not spec.is_guarded or self._allow_private:
            return await self._open.handle_async_request(request)
        _refuse_private_literal(request.url.host)
        return await self._guarded.handle_async_request(request)


class StreamClock:
    """When to give up on a stream: on its first content, between events after that, and on the whole.

    One timer a stream that looks at the time of the last event when it goes off, rather than one set and taken back
    for every read. While the consumer has the turn (`waiting` is not entered) no clock of the provider's runs out.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle_s = spec.timeouts.idle_s
        start = self._loop.time()
        self._total_at = start + spec.timeouts.total_s
        self._deadline = start + spec.timeouts.first_token_s
        self._has_begun = False
        self._reader: asyncio.Task[Any] | None = None
        self._has_fired = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._arm()

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def note(self, chunks: list[TextChunk]) -> None:
        """Something came."""
        if self._has_begun:
            self._deadline = self._loop.time() + self._idle_s
        elif any(chunk.has_content for chunk in chunks):
            self._has_begun = True
            self._deadline = self._loop.time() + self._idle_s
            # The only time it may move nearer: from here on the timer just finds that it has moved away.
            self.__exit__()
            self._arm()

    def waiting(self) -> StreamClock._Waiting:
        """Around each wait for the provider. Raises TimeoutError inside when a clock runs out."""
        return self._Waiting(self)

    class _Waiting:
        __slots__ = ("_clock",)

        def __init__(self, clock: StreamClock) -> None:
            self._clock = clock

        def __enter__(self) -> None:
            self._clock._reader = asyncio.current_task()

        def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
            clock = self._clock
            reader, clock._reader = clock._reader, None
            if clock._has_fired and reader is not None:
                clock._has_fired = False
                # The cancellation was ours alone: make of it the time-out it stands for.
                if reader.uncancel() == 0 and kind is asyncio.CancelledError:
                    raise TimeoutError

    def _arm(self) -> None:
        self._timer = self._loop.call_at(min(self._deadline, self._total_at), self._look)

    def _look(self) -> None:
        now = self._loop.time()
        if now < min(self._deadline, self._total_at):
            self._arm()  # something came meanwhile
        elif self._reader is None:
            self._timer = self._loop.call_later(0.05, self._look)  # the consumer is slow, not the provider
        else:
            self._has_fired = True
            self._reader.cancel()


def _feed(
    spec: ModelSpec, decoder: StreamDecoder, parser: TextStreamParser, data: bytes | None
) -> tuple[list[TextChunk], GatewayError | None]:
    """What one network read says (None: the end), and the failure it ends in: words that came before the failure in
    the same packet still count."""
    chunks: list[TextChunk] = []
    try:
        for event in decoder.feed(data) if data is not None else decoder.flush():
            chunk = parser.feed(event)
            if chunk is not None:
                chunks.append(chunk)
    except GatewayError as exc:
        return chunks, exc
    except ValueError as exc:
        failure = ProviderError(f"{spec.provider} sent an unreadable stream: {exc}", provider=spec.provider)
        failure.__cause__ = exc
        return chunks, failure
    return chunks, None


class StreamDecoder(Protocol):
    """Bytes to events; SSE as a rule, one JSON value a line for providers whose mapping says so."""

    def feed(self, data: bytes) -> list[ServerSentEvent]: ...

    def flush(self) -> list[ServerSentEvent]: ...


class LineDecoder:
    """Newline-delimited JSON: each line is an event of its own."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_ANSWER_BYTES:
            raise ValueError("a line that does not end")
        return [ServerSentEvent("message", line.decode()) for line in lines if line.strip()]

    def flush(self) -> list[ServerSentEvent]:
        return self.feed(b"\n")


def stream_decoder(adapter: TextAdapter, spec: ModelSpec) -> StreamDecoder:
    return LineDecoder() if adapter.stream_format(spec) == "ndjson" else SSEDecoder()


def _raw(response: httpx.Response) -> AsyncIterator[bytes]:
    if "content-encoding" in response.headers:
        return response.aiter_bytes()
    stream = response.stream
    assert isinstance(stream, httpx.AsyncByteStream)
    return aiter(stream)


async def _read(spec: ModelSpec, response: httpx.Response, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in _raw(response):
        parts.append(part)
        size += len(part)
        if size > limit:
            raise ProviderError(
                f"{spec.provider} answered with more than {limit} bytes.", provider=spec.provider
            )
    return b"".join(parts)


@contextlib.contextmanager
def map_errors(spec: ModelSpec) -> Iterator[None]:
    """The transport's failures as ours, the most specific that fits."""
    provider = spec.provider
    try:
        yield
    except TimeoutError as exc:  # our own clocks
        raise ProviderTimeout(f"{provider} did not answer in time.", provider=provider) from exc
    except (httpx.ConnectTimeout, httpx.ReadTimeout) as exc:
        # httpx-aiohttp files every lost connection under ConnectTimeout; the cause tells them apart.
        if isinstance(exc.__cause__, TimeoutError):
            raise ProviderTimeout(f"{provider} did not answer in time.", provider=provider) from exc
        raise ProviderError(f"The connection to {provider} broke.", provider=provider) from exc
    except httpx.ConnectError as exc:
        if isinstance(exc.__cause__, aiohttp.ClientConnectorDNSError) and _is_private(exc.__cause__):
            raise InvalidRequest(f"The address configured for {provider} is not a public one.") from exc
        raise ProviderError(f"{provider} could not be reached.", provider=provider) from exc
    except httpx.TransportError as exc:
        raise ProviderError(f"The connection to {provider} broke.", provider=provider) from exc
    except (httpx.DecodingError, httpx.InvalidURL, aiohttp.ClientError, OSError) as exc:
        raise ProviderError(f"{provider} could not be understood.", provider=provider) from exc


def _is_private(exc: aiohttp.ClientConnectorDNSError) -> bool:
    return isinstance(exc.os_error, PrivateAddressRefused)


@lru_cache(maxsize=1024)
def _literal_is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return True  # a name: the resolver's business


def _refuse_private_literal(host: str) -> None:
    """aiohttp doesn't ask the resolver about literal addresses."""
    if not _literal_is_public(host):
        raise InvalidRequest(f"The configured address {host} is not a public one.")


def _transport(*, resolver: AbstractResolver | None) -> AiohttpTransport:
    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEPALIVE_S, resolver=resolver, ttl_dns_cache=60
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept-Encoding",),
            headers={"User-Agent": USER_AGENT},
            timeout=aiohttp.ClientTimeout(total=None),
        )

    options: dict[str, Any] = {"client": session}
    return AiohttpTransport(**options)
