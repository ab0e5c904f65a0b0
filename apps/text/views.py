"""Text over HTTP: parse, call one service, answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from apps.accounts.authentication import authenticate_async
from apps.core.errors import GatewayError, error_body
from apps.core.jsonbody import json_object_read
from apps.core.lean import error_response, json_response, lean_view
from apps.core.requests import request_id_of
from apps.core.streaming import EventStreamResponse, client_watch, first_of, json_encode, sse
from apps.providers.registry import BUILT_IN_PROVIDERS
from apps.providers.types import TextChunk
from apps.text import services
from apps.text.inputs import text_input_read
from apps.text.services import TextCall, TextOutcome
from apps.usage.provider_state import provider_states


@lean_view("POST")
async def text_generate(request: HttpRequest) -> HttpResponseBase:
    """POST /generate"""
    call = await _call_open(request)
    if call.given.wants_stream:
        return await _stream_response(request, call)
    try:
        outcome = await services.text_generate(call)
    except GatewayError as exc:
        return _failure(exc, call)
    return json_response({"success": True} | _answer(call, outcome), headers=call.headers)


@lean_view("POST")
async def text_generate_stream(request: HttpRequest) -> HttpResponseBase:
    """POST /generate/stream"""
    call = await _call_open(request, is_stream=True)
    return await _stream_response(request, call)


@lean_view("GET")
async def text_health(request: HttpRequest) -> HttpResponseBase:
    """GET /health: each provider as this process last saw it, nobody called."""
    return json_response(
        {
            "status": "healthy",
            "service": "text-service",
            "providers": provider_states(BUILT_IN_PROVIDERS),
            "timestamp": datetime.now(UTC).isoformat(),
        }
    )


async def _call_open(request: HttpRequest, *, is_stream: bool = False) -> TextCall:
    caller = await authenticate_async(request)
    body = json_object_read(request.body)
    if is_stream:
        body = _with_stream(body)
    given = text_input_read(body, instance_header=request.META.get("HTTP_X_INSTANCE_ID"))
    return await services.text_call_open(
        caller=caller,
        given=given,
        request_id=request_id_of(request),
        rehearse=request.META.get("HTTP_X_DE_REHEARSE"),
    )


def _with_stream(body: dict[str, Any]) -> dict[str, Any]:
    options = body.get("options")
    if options is None or isinstance(options, dict):
        return body | {"options": (options or {}) | {"stream": True}}
    return body  # ill-typed: the check that names fields says so


async def _stream_response(request: HttpRequest, call: TextCall) -> HttpResponseBase:
    client_watch(request)

    def render(piece: list[TextChunk] | TextOutcome) -> bytes:
        if isinstance(piece, TextOutcome):
            return sse("done", _answer(call, piece))
        return _delta(piece[0]) if len(piece) == 1 else b"".join(map(_delta, piece))

    try:
        events = await first_of(services.text_stream(call, render=render), within_s=settings.DE_KEEPALIVE_S)
    except GatewayError as exc:
        return _failure(exc, call)
    response = EventStreamResponse(events, describe=lambda exc: _error_event(exc, call))
    for name, value in call.headers.items():
        response.headers[name] = value
    return response


def _delta(chunk: TextChunk) -> bytes:
    if not chunk.text:
        return b""  # thinking is not part of this API's answer; keep-alives cover the wait
    # sse("delta", {"text": …}), put together by hand: this runs once per piece of every stream.
    return b'event: delta\ndata: {"text":' + json_encode(chunk.text) + b"}\n\n"


def _error_event(exc: GatewayError, call: TextCall) -> bytes:
    return sse("error", error_body(exc, request_id=call.request_id))


def _failure(exc: GatewayError, call: TextCall) -> HttpResponseBase:
    response = error_response(exc, request_id=call.request_id)
    for name, value in call.headers.items():
        response.headers.setdefault(name, value)
    return response


def _answer(call: TextCall, outcome: TextOutcome) -> dict[str, Any]:
    """The contract's body of an answer, less `success`."""
    usage = outcome.usage
    metadata: dict[str, Any] = {
        "provider": outcome.route.record.provider_id,
        "model": outcome.model,
        "model_id": outcome.route.record.model_id,
        "tokens_used": usage.total_tokens,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "cost_usd": outcome.cost_usd,
        "generation_time_ms": outcome.generation_time_ms,
        "finish_reason": outcome.finish_reason,
        "fallback_used": False,
    }
    if outcome.route.spec.is_sandbox:
        metadata["sandbox"] = True
    body: dict[str, Any] = {
        "text": outcome.text,
        "metadata": metadata,
        "request_id": call.request_id,
        "timestamp": datetime.now(UTC).isoformat(),
    }
    if outcome.json_value is not msgspec.UNSET:
        attempts = outcome.attempts
        body["json"] = outcome.json_value
        metadata["json_qa"] = {"validated": True, "attempts": attempts, "repaired": attempts > 1}
    return body
