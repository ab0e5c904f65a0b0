"""What an adapter must be able to do: one small Protocol per capability.

An adapter only translates. It builds an `httpx.Request` from our nouns and reads the provider's bytes back into
them; `http.py` sends. Adapters are stateless singletons (see `registry.py`); whatever a stream must remember
lives in the parser it hands out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import httpx

from apps.core.errors import GatewayError
from apps.providers.types import ModelSpec, ServerSentEvent, TextChunk, TextRequest, TextResult

StreamFormat = Literal["sse", "ndjson"] | None


class TextStreamParser(Protocol):
    """Reads one streamed answer."""

    def feed(self, event: ServerSentEvent) -> TextChunk | None:
        """The neutral form of one event; None when it says nothing. Raises ProviderError on an error event."""
        ...

    @property
    def is_complete(self) -> bool:
        """Whether the provider said its proper end. False at the end of the body means: interrupted."""
        ...


class TextAdapter(Protocol):
    default_base_url: str

    def build_text_request(self, spec: ModelSpec, request: TextRequest, *, stream: bool) -> httpx.Request:
        """The provider's own request. Raises InvalidRequest for what this provider cannot express."""
        ...

    def parse_text_result(self, spec: ModelSpec, body: bytes) -> TextResult:
        """Reads a whole 2xx answer. Raises ContentRefused on a refusal, ProviderError on nonsense."""
        ...

    def text_stream_parser(self, spec: ModelSpec) -> TextStreamParser: ...

    def stream_format(self, spec: ModelSpec) -> StreamFormat:
        """How this model's streamed answers are framed; None when it can't stream."""
        ...

    def parse_error(
        self, spec: ModelSpec, status: int, headers: Mapping[str, str], body: bytes
    ) -> GatewayError:
        """The failure behind a non-2xx answer. headers: lower-case names. Never quotes the key."""
        ...
