"""Server-sent events out of a byte stream, whatever the chunk boundaries.

One call per streamed piece, so the usual case is short: a chunk of whole events and nothing held back.
Format: html.spec.whatwg.org, "Server-sent events"; `id` and `retry` mean nothing to us and are passed over.
"""

from __future__ import annotations

from apps.providers.types import ServerSentEvent

MAX_BUFFER_BYTES = 8 * 1024 * 1024

_BOM = "\ufeff"


class SSEDecoder:
    """Feed it bytes, take events. One per stream."""

    __slots__ = ("_is_after_cr", "_is_start", "_limit", "_pending")

    def __init__(self, *, max_buffer_bytes: int = MAX_BUFFER_BYTES) -> None:
        self._limit = max_buffer_bytes
        self._pending = bytearray()
        self._is_start = True
        self._is_after_cr = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that `chunk` completes.

        Raises ValueError when an event outgrows the buffer: that peer is not speaking this protocol.
        """
        if self._is_after_cr or b"\r" in chunk:
            chunk = self._with_line_feeds(chunk)
        elif not self._pending and _is_one_line(chunk):
            self._is_start = False
            return [ServerSentEvent("message", chunk[6:-2].decode("utf-8", "replace"))]
        if not self._pending and chunk.endswith(b"\n\n"):
            return self._events(chunk)
        return self._events(self._whole_events(chunk))

    def flush(self) -> list[ServerSentEvent]:
        """The event left at the end of the body, if it lacks only its blank line.

        Browsers drop it; some servers forget that line after their last event, and mean it. After a broken
        connection it may be cut anywhere.
        """
        rest = bytes(self._pending)
        self._pending.clear()
        return self._events(rest + b"\n\n") if rest.strip() else []

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        # A CR ends its line at once; the LF that may follow it in the next chunk belongs to it.
        if self._is_after_cr and chunk:
            self._is_after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" not in chunk:
            return chunk
        self._is_after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _whole_events(self, chunk: bytes) -> bytes:
        """What is complete of all held so far; the rest stays."""
        pending = self._pending
        # Only the new bytes, and the one before them, can hold a blank line: a long event stays linear.
        searched = max(0, len(pending) - 1)
        pending += chunk
        end = pending.rfind(b"\n\n", searched)
        if end < 0:
            if len(pending) > self._limit:
                raise ValueError(f"an event of more than {self._limit} bytes")
            return b""
        whole = bytes(pending[: end + 2])
        del pending[: end + 2]
        return whole

    def _events(self, whole: bytes) -> list[ServerSentEvent]:
        if not whole:
            return []
        text = whole.decode("utf-8", "replace")
        if self._is_start:
            self._is_start = False
            text = text.removeprefix(_BOM)
        events = []
        for block in text[:-2].split("\n\n"):
            if block.startswith("data: ") and "\n" not in block:
                events.append(ServerSentEvent("message", block[6:]))
            elif (event := _event(block)) is not None:
                events.append(event)
        return events


def _is_one_line(chunk: bytes) -> bool:
    """Exactly one unnamed event of one line: what nearly every packet of a live stream is."""
    return chunk.endswith(b"\n\n") and chunk.startswith(b"data: ") and chunk.find(b"\n") == len(chunk) - 2


def _event(block: str) -> ServerSentEvent | None:
    """One block of lines; None when it has no data line."""
    name = ""
    lines: list[str] = []
    for line in block.split("\n"):
        field, _, value = line.partition(":")
        if field == "data":
            lines.append(value.removeprefix(" "))
        elif field == "event":
            name = value.removeprefix(" ")
    return ServerSentEvent(name or "message", "\n".join(lines)) if lines else None
