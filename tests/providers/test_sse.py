from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.providers.sse import SSEDecoder
from apps.providers.types import ServerSentEvent


def decoded(*chunks: bytes, flush: bool = False) -> list[ServerSentEvent]:
    decoder = SSEDecoder()
    events = fed(decoder, chunks)
    return events + decoder.flush() if flush else events


def fed(decoder: SSEDecoder, chunks: Iterable[bytes]) -> list[ServerSentEvent]:
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def message(data: str) -> ServerSentEvent:
    return ServerSentEvent("message", data)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [message("a")]),
        (b"data:a\n\n", [message("a")]),
        (b"data:  a\n\n", [message(" a")]),
        (b"data: a\r\n\r\n", [message("a")]),
        (b"data: a\r\r", [message("a")]),
        (b"data: a\r\n\n", [message("a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [message("a")]),
        (b"event: delta\ndata: a\n\n", [ServerSentEvent("delta", "a")]),
        (b"data: a\nevent: delta\n\n", [ServerSentEvent("delta", "a")]),
        (b"data: a\ndata: b\n\n", [message("a\nb")]),
        (b"data: a\n\n\n\ndata: b\n\n", [message("a"), message("b")]),
        (b"\n\ndata: a\n\n", [message("a")]),
        (b": keep-alive\n\ndata: a\n: more\n\n", [message("a")]),
        (b"id: 7\nretry: 10\ndata: a\n\n", [message("a")]),
        (b"data\n\n", [message("")]),
        (b"data:\n\n", [message("")]),
        (b"datum: a\n\n", []),
        (b"event: ping\n\ndata: a\n\n", [message("a")]),
        (b"data: a: b\n\n", [message("a: b")]),
        ("data: é…🌍\n\n".encode(), [message("é…🌍")]),
        (b"data: \xff\n\n", [message("�")]),
        (b"data: \xef\xbb\xbfa\n\n", [message("\ufeffa")]),
    ],
)
def test_stream_means_what_the_standard_says(stream: bytes, events: list[ServerSentEvent]) -> None:
    assert decoded(stream) == events


def test_event_comes_out_with_the_byte_that_ends_it() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\n") == [message("a")]
    assert decoder.feed(b"data: b\r\n\r") == [message("b")]
    assert decoder.feed(b"\ndata: c\n\n") == [message("c")]


def test_line_feed_after_a_split_carriage_return_is_not_a_second_line_end() -> None:
    assert decoded(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == [message("a\nb")]


def test_unended_last_event_waits_for_the_end_of_the_body() -> None:
    assert decoded(b"data: a\n\ndata: b") == [message("a")]
    assert decoded(b"data: a\n\ndata: b", flush=True) == [message("a"), message("b")]
    assert decoded(b"data: a\n\n: bye", flush=True) == [message("a")]


def test_flush_says_nothing_twice() -> None:
    decoder = SSEDecoder()
    decoder.feed(b"data: a")
    assert decoder.flush() == [message("a")]
    assert decoder.flush() == []


def test_endless_line_is_refused_instead_of_kept() -> None:
    decoder = SSEDecoder(max_buffer_bytes=100)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        fed(decoder, [b"data: 0123"] * 20)


def test_endless_event_is_refused_though_its_lines_end() -> None:
    decoder = SSEDecoder(max_buffer_bytes=100)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        fed(decoder, [b"data: 0\n"] * 20)


def test_many_events_may_pass_through_a_small_buffer() -> None:
    decoder = SSEDecoder(max_buffer_bytes=20)
    assert len(fed(decoder, [b"\n\ndata: 0123"] * 50)) == 49


def by_the_standard(stream: bytes) -> list[ServerSentEvent]:
    """The standard's own algorithm, line by line, with none of our short cuts."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\n|\r", text)[:-1]
    events, data, name = [], list[str](), ""
    for line in lines:
        field, _, value = line.partition(":")
        if line == "":
            if data:
                events.append(ServerSentEvent(name or "message", "\n".join(data)))
            data, name = [], ""
        elif field == "data":
            data.append(value.removeprefix(" "))
        elif field == "event":
            name = value.removeprefix(" ")
    return events


streams = st.lists(
    st.one_of(
        st.sampled_from(
            [b"\n", b"\r", b"\r\n", b"\n\n", b"data: ", b"data:", b"data", b"event: ", b": ", b"\xef\xbb\xbf"]
        ),
        st.text(alphabet="aé…🌍: ", max_size=4).map(str.encode),
        st.sampled_from([b"\xf0\x9f", b"\x8c", b"\xff"]),
    ),
    max_size=40,
).map(b"".join)


@given(stream=streams, cuts=st.lists(st.integers(min_value=0, max_value=120), max_size=20))
def test_any_chunking_yields_the_same_events(stream: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut <= len(stream))})
    chunks = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert decoded(*chunks) == by_the_standard(stream)
    assert decoded(*chunks, flush=True) == decoded(stream, flush=True)
    assert decoded(*(bytes([byte]) for byte in stream)) == by_the_standard(stream)
