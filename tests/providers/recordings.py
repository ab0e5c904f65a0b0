"""The recorded answers, and the ways to play them to an adapter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx

from apps.providers.registry import text_adapter
from apps.providers.sse import SSEDecoder
from apps.providers.types import (
    FinishReason,
    ModelSpec,
    ReasoningPart,
    ServerSentEvent,
    TextChunk,
    TextPart,
    TextRequest,
    TextResult,
    ToolCallPart,
    Usage,
)

RECORDED = Path(__file__).parent / "recorded"
SPECS = Path(__file__).parent / "specs"
KEY = "sk-secret-0123456789abcdefghijklmnop"

BUILT_IN = ("anthropic", "gemini", "openai")

MODELS = {"openai": "gpt-6-luna", "anthropic": "claude-haiku-5-5", "gemini": "gemini-3.8-flash"}


def spec_for(provider: str, **changes: Any) -> ModelSpec:
    fields: dict[str, Any] = {
        "model_id": "our-model",
        "provider": provider,
        "adapter": provider,
        "model": MODELS[provider],
        "base_url": text_adapter(provider).default_base_url,
        "api_key": KEY,
    }
    return ModelSpec(**(fields | changes))


def built(provider: str, request: TextRequest, *, stream: bool = False, **spec: Any) -> httpx.Request:
    return text_adapter(provider).build_text_request(spec_for(provider, **spec), request, stream=stream)


def body_of(request: httpx.Request) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.content)
    return body


def recorded(provider: str, name: str) -> bytes:
    return (RECORDED / provider / name).read_bytes()


def recorded_errors(provider: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(recorded(provider, "errors.json"))
    return cases


def events_of(stream: bytes) -> list[ServerSentEvent]:
    decoder = SSEDecoder()
    return decoder.feed(stream) + decoder.flush()


def recorded_events(provider: str, name: str) -> list[ServerSentEvent]:
    return events_of(recorded(provider, name))


def event(data: Any, name: str = "message") -> ServerSentEvent:
    return ServerSentEvent(name, data if isinstance(data, str) else json.dumps(data))


def played(provider: str, events: Iterable[ServerSentEvent]) -> list[TextChunk]:
    """The chunks of a whole stream. Raises what the parser raises."""
    parser = text_adapter(provider).text_stream_parser(spec_for(provider))
    return [chunk for event in events if (chunk := parser.feed(event)) is not None]


def read(provider: str, body: bytes | Mapping[str, Any]) -> TextResult:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return text_adapter(provider).parse_text_result(spec_for(provider), content)


def gist_of_result(result: TextResult) -> dict[str, Any]:
    """What an answer says, in the form in which whole and streamed ones can be compared."""
    calls = [part for part in result.parts if isinstance(part, ToolCallPart)]
    reasoning = [part for part in result.parts if isinstance(part, ReasoningPart)]
    return _gist(
        text="".join(part.text for part in result.parts if isinstance(part, TextPart)),
        reasoning="".join(part.text for part in reasoning),
        signatures=[part.signature for part in reasoning if part.signature],
        redacted=[part.redacted for part in reasoning if part.redacted],
        calls=[(call.id, call.name, call.arguments, call.signature) for call in calls],
        finish=result.finish_reason,
        usage=result.usage,
        model=result.model,
        stop_sequence=result.stop_sequence,
    )


def gist_of_chunks(chunks: list[TextChunk]) -> dict[str, Any]:
    calls: dict[int, list[Any]] = {}
    for delta in (delta for chunk in chunks for delta in chunk.tool_calls):
        call = calls.setdefault(delta.index, [None, None, "", None])
        call[0] = delta.id or call[0]
        call[1] = delta.name or call[1]
        call[2] += delta.arguments
        call[3] = delta.signature or call[3]
    return _gist(
        text="".join(chunk.text for chunk in chunks),
        reasoning="".join(chunk.reasoning for chunk in chunks),
        signatures=[chunk.signature for chunk in chunks if chunk.signature],
        redacted=[chunk.redacted for chunk in chunks if chunk.redacted],
        calls=[tuple(calls[index]) for index in sorted(calls)],
        finish=_last(chunk.finish_reason for chunk in chunks),
        usage=_last(chunk.usage for chunk in chunks),
        model=_last(chunk.model for chunk in chunks),
        stop_sequence=_last(chunk.stop_sequence for chunk in chunks),
    )


def _gist(
    *, calls: list[Any], finish: FinishReason | None, usage: Usage | None, **fields: Any
) -> dict[str, Any]:
    # Spaces in the arguments are the maker's own affair.
    loaded = [(call_id, name, json.loads(text or "null"), sign) for call_id, name, text, sign in calls]
    return fields | {"calls": loaded, "finish": finish, "usage": usage}


def _last(values: Iterable[Any]) -> Any:
    return next((value for value in reversed(list(values)) if value is not None), None)
