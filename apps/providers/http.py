"""How a built request travels: one client per process, its timeouts, and the one place foreign failures become ours.

Adapters build httpx requests; aiohttp sends them, at a fraction of the CPU of httpx's own pool and without a second
set of response objects in between (docs/adr/0004-requests-are-httpx-sending-is-aiohttp.md). Redirects are not
followed and cookies not kept: a provider's answer must not lead a tenant's key elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator
from functools import lru_cache
from typing import Protocol

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from apps.core.errors import GatewayError, InvalidRequest, ProviderError, ProviderTimeout
from apps.providers.base import TextAdapter
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
        self._open = _session(resolver=None)
        self._guarded = self._open if allow_private else _session(resolver=PublicResolver())

    async def aclose(self) -> None:
        await self._open.close()
        await self._guarded.close()

    async def text(self, spec: ModelSpec, adapter: TextAdapter, request: TextRequest) -> TextResult:
        """One whole answer. Raises ProviderError and its kin, InvalidRequest for what the provider can't express.

        A whole answer comes when all of it is written, so only connecting and the total are bounded.
        """
        wire = adapter.build_text_request(spec, request, stream=False)
        with map_errors(spec):
            async with await self._send(spec, wire, total_s=spec.timeouts.total_s) as response:
                body = await _read(spec, response, MAX_ANSWER_BYTES)
        if not 200 <= response.status < 300:
            raise adapter.parse_error(spec, response.status, response.headers, body)
        return adapter.parse_text_result(spec, body)

    @contextlib.asynccontextmanager
    async def text_stream(
        self, spec: ModelSpec, adapter: TextAdapter, request: TextRequest
    ) -> AsyncIterator[TextStream]:
        """A streamed answer that has begun; leaving the block closes the provider's connection.

        Raises as `text` does, ProviderTimeout when its first clock runs out.
        """
        wire = adapter.build_text_request(spec, request, stream=True)
        clock = StreamClock(spec)
        with map_errors(spec):
            async with asyncio.timeout_at(clock.deadline):
                response = await self._send(spec, wire, total_s=None)
        try:
            if not 200 <= response.status < 300:
                with map_errors(spec):
                    async with asyncio.timeout_at(clock.deadline):
                        body = await _read(spec, response, MAX_ERROR_BYTES)
                raise adapter.parse_error(spec, response.status, response.headers, body)
            with clock.watching(response.content):
                yield TextStream(spec, adapter, response.content, clock)
        finally:
            # Releases a connection whose answer was read to its end, closes any other.
            response.release()

    async def _send(
        self, spec: ModelSpec, request: httpx.Request, *, total_s: float | None
    ) -> aiohttp.ClientResponse:
        url = str(request.url)
        if spec.is_sandbox and not url.startswith(f"{spec.base_url}/"):
            # Whatever a mapping says: the last gate before a test key's call could reach a real provider.
            raise InvalidRequest("A test key reaches the sandbox only, and this request would have left it.")
        session = self._open
        if spec.is_guarded and not self._allow_private:
            _refuse_private_literal(request.url.host)
            session = self._guarded
        return await session.request(
            request.method,
            _url(url),
            headers=CIMultiDict(
                [(name.decode(), value.decode("latin-1")) for name, value in request.headers.raw]
            ),
            data=request.content or None,
            allow_redirects=False,
            timeout=_timeout(spec.timeouts.connect_s, total_s),
        )


class TextStream:
    """A streamed answer, read piece by piece. Not a generator: it is asked once per piece, and each layer costs."""

    def __init__(
        self, spec: ModelSpec, adapter: TextAdapter, content: aiohttp.StreamReader, clock: StreamClock
    ) -> None:
        self._spec = spec
        self._content = content
        self._clock = clock
        self._decoder = stream_decoder(adapter, spec)
        self._parser = adapter.text_stream_parser(spec)
        self._failure: GatewayError | None = None

    async def read(self) -> list[TextChunk] | None:
        """The next pieces, those of one network read together; None after the provider's own end.

        Raises what the provider says went wrong, ProviderTimeout by which clock ran out, ProviderError when the
        stream ends without the provider's own end.
        """
        clock = self._clock
        while self._failure is None and not self._parser.is_complete:
            clock.is_reading = True
            try:
                data = await self._content.readany()
            except (aiohttp.ClientError, OSError) as exc:
                raise failure_of(self._spec, exc) from exc
            clock.is_reading = False
            chunks, self._failure = self._feed(data)
            if chunks:
                clock.note(chunks)
                return chunks
        if self._failure is not None:
            raise self._failure
        return None

    def _feed(self, data: bytes) -> tuple[list[TextChunk], GatewayError | None]:
        """What one network read says (empty: the end), and the failure it ends in: words that came before the failure
        in the same packet still count."""
        provider = self._spec.provider
        parser = self._parser
        chunks: list[TextChunk] = []
        try:
            for event in self._decoder.feed(data) if data else self._decoder.flush():
                chunk = parser.feed(event)
                if chunk is not None:
                    chunks.append(chunk)
        except GatewayError as exc:
            return chunks, exc
        except ValueError as exc:
            failure = ProviderError(f"{provider} sent an unreadable stream: {exc}", provider=provider)
            failure.__cause__ = exc
            return chunks, failure
        if not data and not parser.is_complete:
            return chunks, ProviderError(
                f"{provider} ended its stream in the middle of an answer.", provider=provider
            )
        return chunks, None


@lru_cache(maxsize=1024)
def _url(url: str) -> URL:
    return URL(url, encoded=True)


@lru_cache(maxsize=256)
def _timeout(connect_s: float, total_s: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=total_s, sock_connect=connect_s)


class StreamClock:
    """When to give up on a stream: on its first content, between events after that, and on the whole.

    One timer a stream that looks at the time of the last event when it goes off, rather than one set and taken back
    for every read. It runs against the provider alone: while our client is slow to take a piece, nothing expires.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle_s = spec.timeouts.idle_s
        start = self._loop.time()
        self._total_at = start + spec.timeouts.total_s
        self._next_at = start + spec.timeouts.first_token_s
        self._has_begun = False
        self._content: aiohttp.StreamReader | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.is_reading = False

    @property
    def deadline(self) -> float:
        """Loop time by which the provider must have said something."""
        return min(self._next_at, self._total_at)

    @contextlib.contextmanager
    def watching(self, content: aiohttp.StreamReader) -> Iterator[None]:
        """Inside, a read that a clock runs out on raises TimeoutError."""
        self._content = content
        self._arm()
        try:
            yield
        finally:
            self._disarm()

    def note(self, chunks: list[TextChunk]) -> None:
        """Something came."""
        if self._has_begun:
            self._next_at = self._loop.time() + self._idle_s
        elif any(chunk.has_content for chunk in chunks):
            self._has_begun = True
            self._next_at = self._loop.time() + self._idle_s
            # The only time the deadline may come nearer; from here on the timer finds that it has moved away.
            self._disarm()
            self._arm()

    def _arm(self) -> None:
        self._timer = self._loop.call_at(self.deadline, self._look)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        if self._loop.time() < self.deadline:
            self._arm()
        elif self.is_reading and self._content is not None:
            self._content.set_exception(TimeoutError())
        else:
            self._timer = self._loop.call_later(0.05, self._look)


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


async def _read(spec: ModelSpec, response: aiohttp.ClientResponse, limit: int) -> bytes:
    body = await response.content.readany()
    if response.content.at_eof() and len(body) <= limit:
        return body
    parts, size = [body], len(body)
    while (part := await response.content.readany()) and size <= limit:
        parts.append(part)
        size += len(part)
    if size > limit:
        raise ProviderError(f"{spec.provider} answered with more than {limit} bytes.", provider=spec.provider)
    return b"".join(parts)


@contextlib.contextmanager
def map_errors(spec: ModelSpec) -> Iterator[None]:
    """The transport's failures as ours."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as exc:
        raise failure_of(spec, exc) from exc


def failure_of(spec: ModelSpec, exc: Exception) -> GatewayError:
    """A failure of the transport as ours, the most specific that fits."""
    provider = spec.provider
    if isinstance(exc, TimeoutError):  # our own clocks, and aiohttp's
        return ProviderTimeout(f"{provider} did not answer in time.", provider=provider)
    if isinstance(exc, aiohttp.ClientConnectorError):
        if isinstance(exc.os_error, PrivateAddressRefused):
            return InvalidRequest(f"The address configured for {provider} is not a public one.")
        return ProviderError(f"{provider} could not be reached.", provider=provider)
    if isinstance(exc, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError):
        return ProviderError(f"The connection to {provider} broke.", provider=provider)
    if isinstance(exc, aiohttp.InvalidURL):
        return ProviderError(f"The address configured for {provider} is not a URL.", provider=provider)
    return ProviderError(f"{provider} could not be understood.", provider=provider)


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


def _session(*, resolver: AbstractResolver | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, keepalive_timeout=KEEPALIVE_S, resolver=resolver, ttl_dns_cache=60
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept-Encoding", "Accept"),
        headers={"User-Agent": USER_AGENT},
    )
