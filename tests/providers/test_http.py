"""The client on real sockets: where it may go, how long it waits, what it makes of what comes back."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from apps.core.errors import InvalidRequest, ProviderError, ProviderTimeout
from apps.providers import http
from apps.providers.http import ProviderClient
from apps.providers.registry import text_adapter
from apps.providers.types import Message, ModelSpec, TextRequest, Timeouts
from tests.upstream import (
    CHAT_END,
    EVENT_STREAM,
    Answer,
    Exchange,
    Upstream,
    chat_answer,
    chat_event,
)

ADAPTER = text_adapter("openai")
REQUEST = TextRequest(messages=(Message.user("Hi"),))


def spec(url: str, **fields: Any) -> ModelSpec:
    base: dict[str, Any] = {
        "model_id": "m",
        "provider": "openai",
        "adapter": "openai",
        "model": "gpt-4o",
        "base_url": url,
        "api_key": "sk-secret-1234567890",
    }
    return ModelSpec(**base | fields)


@pytest_asyncio.fixture
async def client() -> AsyncIterator[ProviderClient]:
    made = ProviderClient(allow_private=True)
    yield made
    await made.aclose()


@pytest_asyncio.fixture
async def careful() -> AsyncIterator[ProviderClient]:
    made = ProviderClient(allow_private=False)
    yield made
    await made.aclose()


async def answering(_exchange: Exchange) -> Answer:
    return chat_answer()


async def pieces_of(client: ProviderClient, to: ModelSpec) -> AsyncIterator[str]:
    async with client.text_stream(to, ADAPTER, REQUEST) as stream:
        while (chunks := await stream.read()) is not None:
            yield "".join(chunk.text for chunk in chunks)


async def collect(client: ProviderClient, to: ModelSpec) -> str:
    return "".join([text async for text in pieces_of(client, to)])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_an_address_that_a_person_typed_must_be_public(careful: ProviderClient, host: str):
    with Upstream(answering) as upstream:
        url = upstream.url.replace("127.0.0.1", host)
        with pytest.raises(InvalidRequest, match="not a public one"):
            await careful.text(spec(url, is_guarded=True), ADAPTER, REQUEST)
        assert upstream.exchanges == []
        # A maker's own address is not looked at twice.
        assert (await careful.text(spec(url), ADAPTER, REQUEST)).text == "The Ebro."


async def test_a_sandbox_call_that_would_leave_the_sandbox_is_not_sent(client: ProviderClient):
    class Leaving:
        def build_text_request(self, to: ModelSpec, request: TextRequest, *, stream: bool) -> Any:
            return ADAPTER.build_text_request(spec(upstream.url), request, stream=stream)

    with Upstream(answering) as upstream:
        to = spec("http://127.0.0.1:1/openai", is_sandbox=True)
        with pytest.raises(InvalidRequest, match="sandbox only"):
            await client.text(to, Leaving(), REQUEST)  # type: ignore[arg-type]  # all that is used of it
        assert upstream.exchanges == []


async def test_a_redirect_is_an_error_and_not_followed_with_the_key(client: ProviderClient):
    async def away(exchange: Exchange) -> Answer:
        return Answer(status=302, headers={"location": f"{other.url}/stolen"})

    with Upstream(answering) as other, Upstream(away) as upstream:
        with pytest.raises(ProviderError):
            await client.text(spec(upstream.url), ADAPTER, REQUEST)
        assert other.exchanges == []


async def test_an_answer_that_never_ends_is_cut_off(client: ProviderClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 100_000)

    async def endless(_exchange: Exchange) -> Answer:
        async def pieces() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 10_000

        return Answer(pieces=pieces())

    with Upstream(endless) as upstream:
        with pytest.raises(ProviderError, match="more than 100000 bytes"):
            await client.text(spec(upstream.url), ADAPTER, REQUEST)
        await asyncio.to_thread(upstream.wait_for, lambda: upstream.exchanges[0].closed_at)


async def test_a_compressed_answer_is_read(client: ProviderClient):
    async def compressed(exchange: Exchange) -> Answer:
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        return Answer(headers=headers, body=gzip.compress(chat_answer("Zipped.").body))

    with Upstream(compressed) as upstream:
        assert (await client.text(spec(upstream.url), ADAPTER, REQUEST)).text == "Zipped."


async def test_words_before_a_failure_in_the_same_packet_are_not_lost(client: ProviderClient):
    async def failing(_exchange: Exchange) -> Answer:
        async def pieces() -> AsyncIterator[bytes]:
            error = {"error": {"message": "overloaded", "type": "server_error", "code": None, "param": None}}
            yield chat_event("Words. ") + b"data: " + json.dumps(error).encode() + b"\n\n"

        return Answer(headers=EVENT_STREAM, pieces=pieces())

    said: list[str] = []

    async def read(url: str) -> None:
        async for text in pieces_of(client, spec(url)):
            said.append(text)

    with Upstream(failing) as upstream, pytest.raises(ProviderError):
        await read(upstream.url)
    assert said == ["Words. "]


async def test_a_slow_reader_on_our_side_does_not_run_out_the_providers_clock(client: ProviderClient):
    async def quick(_exchange: Exchange) -> Answer:
        async def pieces() -> AsyncIterator[bytes]:
            yield chat_event("a")
            await asyncio.sleep(0.05)
            yield chat_event("b")
            yield CHAT_END

        return Answer(headers=EVENT_STREAM, pieces=pieces())

    with Upstream(quick) as upstream:
        to = spec(upstream.url, timeouts=Timeouts(idle_s=0.3))
        said = ""
        async for text in pieces_of(client, to):
            said += text
            await asyncio.sleep(0.6)
    assert said == "ab"


async def test_an_idle_stream_times_out_when_it_should_and_not_before(client: ProviderClient):
    async def stalling(_exchange: Exchange) -> Answer:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(4):
                yield chat_event("a")
                await asyncio.sleep(0.2)
            await asyncio.sleep(10)

        return Answer(headers=EVENT_STREAM, pieces=pieces())

    with Upstream(stalling) as upstream:
        started = time.monotonic()
        with pytest.raises(ProviderTimeout):
            await collect(client, spec(upstream.url, timeouts=Timeouts(idle_s=0.4)))
        assert 0.9 < time.monotonic() - started < 2.0


async def test_a_connection_that_read_its_answer_to_the_end_is_used_again(client: ProviderClient):
    connections = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = chat_answer().body
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                connections.add(writer.get_extra_info("peername"))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for _ in range(5):
        await client.text(spec(f"http://127.0.0.1:{port}"), ADAPTER, REQUEST)
    assert len(connections) == 1
    server.close()
    await client.aclose()
    await asyncio.sleep(0.05)
