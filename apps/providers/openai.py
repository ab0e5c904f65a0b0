"""OpenAI's chat completions, and whoever speaks the same: Ollama, vLLM and many more.

Facts a model's profile may hold:
- max_tokens_field: "max_tokens" for older and compatible servers; OpenAI's own models refuse it.
- sampling: False for models that answer 400 to temperature, top_p and the penalties: they are left out.
- system_role: "developer" for reasoning models.
- user_field: "user" for servers that don't know `safety_identifier`.
- structured_output: False for servers without response_format; the caller's own check is then all there is.

Reasoning in the history is left out: this API has no place for it.
Source: docs of POST /v1/chat/completions, recorded answers (read 2026-11-23).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import httpx

from apps.core.errors import GatewayError, InvalidRequest
from apps.providers import faults, wire
from apps.providers.base import StreamFormat
from apps.providers.openai_answer import OpenAIStream, fault, read_answer
from apps.providers.types import (
    ImagePart,
    Message,
    ModelSpec,
    ReasoningPart,
    ResponseFormat,
    TextPart,
    TextRequest,
    TextResult,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)

DEFAULT_BASE_URL = "https://api.openai.com"

_FIXED = frozenset({"model", "messages", "stream"})
_SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_MAX_IDENTIFIER = 64


class OpenAIAdapter:
    default_base_url = DEFAULT_BASE_URL

    def build_text_request(self, spec: ModelSpec, request: TextRequest, *, stream: bool) -> httpx.Request:
        return wire.json_request(
            _head(spec.base_url, spec.api_key, spec.headers, spec.provider),
            _body(spec, request, stream=stream),
        )

    def parse_text_result(self, spec: ModelSpec, body: bytes) -> TextResult:
        return read_answer(spec, body)

    def text_stream_parser(self, spec: ModelSpec) -> OpenAIStream:
        return OpenAIStream(spec)

    def stream_format(self, spec: ModelSpec) -> StreamFormat:
        return "sse"

    def parse_error(
        self, spec: ModelSpec, status: int, headers: Mapping[str, str], body: bytes
    ) -> GatewayError:
        return fault(spec, faults.error_object(body), status=status, wait_s=faults.retry_after_s(headers))


# --- the request --------------------------------------------------------------------------------------------


@lru_cache(maxsize=wire.HEADS_KEPT)
def _head(base_url: str, api_key: str, extra: tuple[tuple[str, str], ...], provider: str) -> wire.Head:
    url = f"{base_url.rstrip('/')}/v1/chat/completions"
    authorization = f"Bearer {api_key}" if api_key else ""
    return wire.json_head(url, {"authorization": authorization}, extra, provider=provider)


def _body(spec: ModelSpec, request: TextRequest, *, stream: bool) -> dict[str, Any]:
    profile = spec.profile
    body = wire.said_only(
        model=spec.model,
        messages=list(_messages(request, profile.get("system_role", "system"))),
        temperature=request.temperature,
        top_p=request.top_p,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        seed=request.seed,
        reasoning_effort=request.reasoning_effort,
    )
    if request.max_tokens is not None:
        body[profile.get("max_tokens_field", "max_completion_tokens")] = request.max_tokens
    if request.stop:
        body["stop"] = request.stop
    if request.user:
        body[profile.get("user_field", "safety_identifier")] = _identifier(request.user)
    if request.tools:
        body.update(_tool_fields(request.tools, request.tool_choice))
    if request.response_format is not None and profile.get("structured_output") is not False:
        body["response_format"] = _response_format(request.response_format)
    if request.extra:
        wire.add_extra(body, request.extra, fixed=_FIXED)
    if profile.get("sampling") is False:
        for name in _SAMPLING:
            body.pop(name, None)
    if stream:
        # Without include_usage no count arrives, and the call could not be charged.
        body |= {"stream": True, "stream_options": {**body.get("stream_options", {}), "include_usage": True}}
    return body


def _messages(request: TextRequest, system_role: str) -> Iterable[dict[str, Any]]:
    if request.system:
        yield {"role": system_role, "content": request.system}
    for message in request.messages:
        if message.role == "assistant":
            yield _assistant_message(message)
        else:
            yield from _user_messages(message)


def _assistant_message(message: Message) -> dict[str, Any]:
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, TextPart):
            texts.append(part.text)
        elif isinstance(part, ToolCallPart):
            function = {"name": part.name, "arguments": part.arguments}
            calls.append({"id": part.id, "type": "function", "function": function})
        elif not isinstance(part, ReasoningPart):
            raise InvalidRequest("An assistant message can hold text and tool calls only.")
    text = "".join(texts)
    if calls:
        return {"role": "assistant", "content": text or None, "tool_calls": calls}
    return {"role": "assistant", "content": text}


def _user_messages(message: Message) -> Iterable[dict[str, Any]]:
    """Tool results are messages of their own, and must follow their calls: they go first."""
    parts = message.parts
    if len(parts) == 1 and isinstance(parts[0], TextPart):
        yield {"role": "user", "content": parts[0].text}
        return
    content: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, ToolResultPart):
            yield {"role": "tool", "tool_call_id": part.tool_call_id, "content": part.content}
        elif isinstance(part, TextPart):
            content.append({"type": "text", "text": part.text})
        elif isinstance(part, ImagePart):
            content.append(_image(part))
        else:
            raise InvalidRequest("A user message can hold text, images and tool results only.")
    if content:
        yield {"role": "user", "content": content}


def _image(part: ImagePart) -> dict[str, Any]:
    inline = wire.inline_image(part)
    url = part.url if inline is None else f"data:{inline[0]};base64,{inline[1]}"
    return {"type": "image_url", "image_url": wire.said_only(url=url, detail=part.detail)}


def _identifier(user: str) -> str:
    """At most 64 characters, or it is a 400; a longer one is hashed, as OpenAI suggests for all."""
    return user if len(user) <= _MAX_IDENTIFIER else hashlib.sha256(user.encode()).hexdigest()


def _tool_fields(tools: Sequence[Tool], choice: ToolChoice | None) -> dict[str, Any]:
    """OpenAI refuses a choice without tools, so the two go together."""
    fields: dict[str, Any] = {"tools": [_tool(tool) for tool in tools]}
    if choice is not None:
        named = {"type": "function", "function": {"name": choice.name}}
        fields["tool_choice"] = named if choice.mode == "tool" else choice.mode
        if choice.parallel is not None:
            fields["parallel_tool_calls"] = choice.parallel
    return fields


def _tool(tool: Tool) -> dict[str, Any]:
    function = wire.said_only(
        name=tool.name,
        description=tool.description or None,
        parameters=tool.parameters or None,
        strict=tool.strict,
    )
    return {"type": "function", "function": function}


def _response_format(wanted: ResponseFormat) -> dict[str, Any]:
    if wanted.json_schema is None:
        return {"type": "json_object"}
    schema = wire.said_only(name=wanted.name, schema=wanted.json_schema, strict=wanted.strict)
    return {"type": "json_schema", "json_schema": schema}
